//! The taxonomy of equipment: which types there are of each kind (S280). A list of the product, not of a user.

use crate::model::EquipmentKind;

/// One type of equipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EquipmentType {
    /// The name on the wire.
    pub name: &'static str,
    /// Which kind it is of.
    pub kind: EquipmentKind,
    /// The name that people read.
    pub label: &'static str,
}

const fn of(kind: EquipmentKind, name: &'static str, label: &'static str) -> EquipmentType {
    EquipmentType { name, kind, label }
}

use EquipmentKind::{Actuator, Controller, Monitor, Sensor};

/// All types, by kind.
pub const EQUIPMENT_TYPES: &[EquipmentType] = &[
    of(Sensor, "climate_sensor", "Climate sensor (temperature, humidity, CO2)"),
    of(Sensor, "temperature_sensor", "Temperature sensor"),
    of(Sensor, "humidity_sensor", "Humidity sensor"),
    of(Sensor, "co2_sensor", "CO2 sensor"),
    of(Sensor, "light_sensor", "Light sensor (PAR, PPFD, radiation)"),
    of(Sensor, "pressure_sensor", "Pressure sensor"),
    of(Sensor, "substrate_sensor", "Substrate sensor (moisture, EC, temperature)"),
    of(Sensor, "ec_sensor", "EC sensor"),
    of(Sensor, "ph_sensor", "pH sensor"),
    of(Sensor, "flow_meter", "Flow meter"),
    of(Sensor, "weather_station", "Weather station"),
    of(Sensor, "scale", "Scale"),
    of(Sensor, "other_sensor", "Other sensor"),
    of(Controller, "climate_controller", "Climate controller"),
    of(Controller, "irrigation_controller", "Irrigation controller"),
    of(Controller, "fertigation_controller", "Fertigation controller"),
    of(Controller, "lighting_controller", "Lighting controller"),
    of(Controller, "co2_controller", "CO2 controller"),
    of(Controller, "plc", "Programmable logic controller"),
    of(Controller, "other_controller", "Other controller"),
    of(Actuator, "vent", "Vent"),
    of(Actuator, "screen", "Screen"),
    of(Actuator, "fan", "Fan"),
    of(Actuator, "heater", "Heater"),
    of(Actuator, "cooler", "Cooler"),
    of(Actuator, "humidifier", "Humidifier"),
    of(Actuator, "dehumidifier", "Dehumidifier"),
    of(Actuator, "lamp", "Lamp"),
    of(Actuator, "pump", "Pump"),
    of(Actuator, "valve", "Valve"),
    of(Actuator, "co2_doser", "CO2 doser"),
    of(Actuator, "other_actuator", "Other actuator"),
    of(Monitor, "camera", "Camera"),
    of(Monitor, "energy_monitor", "Energy monitor"),
    of(Monitor, "leak_detector", "Leak detector"),
    of(Monitor, "crop_monitor", "Crop monitor"),
    of(Monitor, "gateway", "Gateway"),
    of(Monitor, "other_monitor", "Other monitor"),
];

/// Whether `name` is a type of `kind`, exactly as spelled.
#[must_use]
pub(super) fn is_type_of(name: &str, kind: EquipmentKind) -> bool {
    EQUIPMENT_TYPES.iter().any(|t| t.kind == kind && t.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    // S280
    #[test]
    fn every_kind_has_types_and_no_name_stands_twice() {
        let names: HashSet<_> = EQUIPMENT_TYPES.iter().map(|t| t.name).collect();
        assert_eq!(names.len(), EQUIPMENT_TYPES.len());
        for kind in EquipmentKind::ALL {
            assert!(EQUIPMENT_TYPES.iter().any(|t| t.kind == kind), "{kind:?}");
        }
        assert!(is_type_of("vent", Actuator) && !is_type_of("vent", Sensor) && !is_type_of("Vent", Actuator));
    }
}
