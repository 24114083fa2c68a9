//! Which equipment an entry is from.

use super::{Fault, Rules, kind_of, message::quoted};
use crate::{
    auth::EquipmentEntry,
    ingest::parse::entry::{Entry, Field, Value},
    model::{EntryCode, EquipmentId},
};

/// The equipment of the entry before: neighbours mostly share it.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    field: Option<Field>,
    name: String,
    entry: Option<EquipmentEntry>,
}

impl Remembered {
    pub(super) fn forget(&mut self) {
        self.field = None;
    }

    /// The equipment that `entry` names: by exactly one of the two ids, known to this integration, not retired.
    #[inline]
    pub(super) fn resolve(&mut self, rules: &Rules<'_>, entry: &Entry<'_>) -> Result<EquipmentEntry, Fault> {
        let (ours, theirs) = (entry.get(Field::EquipmentId), entry.get(Field::ExternalId));
        let (field, value) = match (is_given(ours), is_given(theirs)) {
            (false, true) => (Field::ExternalId, theirs),
            (true, false) => (Field::EquipmentId, ours),
            (true, true) => return Err(ambiguous()),
            (false, false) => return Err(missing()),
        };
        let Value::Text(name) = value else { return Err(not_a_name(field, value)) };
        if self.field != Some(field) || self.name != name {
            self.look_up(rules, field, name)?;
        }
        match self.entry {
            Some(found) if !found.retired => Ok(found),
            found => Err(unusable(field, name, found)),
        }
    }

    fn look_up(&mut self, rules: &Rules<'_>, field: Field, name: &str) -> Result<(), Fault> {
        if name.len() > rules.name_bytes_max {
            return Err(too_large(field, name, rules.name_bytes_max));
        }
        self.entry = match field {
            Field::EquipmentId => name.parse::<EquipmentId>().ok().and_then(|id| rules.equipment.by_id(id)).copied(),
            _ => rules.equipment.by_external(name).copied(),
        };
        self.field = Some(field);
        self.name.clear();
        self.name.push_str(name);
        Ok(())
    }
}

/// `null` is what many serialisers make of a field that is not set.
#[inline]
const fn is_given(value: Value<'_>) -> bool {
    !matches!(value, Value::Absent | Value::Null)
}

#[cold]
fn ambiguous() -> Fault {
    let message = "give equipment_id or external_id, not both";
    Fault::new(EntryCode::EquipmentAmbiguous, Field::EquipmentId, message)
}

#[cold]
fn missing() -> Fault {
    Fault::new(EntryCode::EquipmentMissing, Field::ExternalId, "equipment_id or external_id is missing")
}

#[cold]
fn not_a_name(field: Field, value: Value<'_>) -> Fault {
    let message = format!("{} must be a string, got {}", field.as_str(), kind_of(value));
    Fault::new(EntryCode::UnknownEquipment, field, message)
}

#[cold]
pub(super) fn too_large(field: Field, name: &str, bytes_max: usize) -> Fault {
    let message = format!("{} must be at most {bytes_max} bytes, got {}", field.as_str(), name.len());
    Fault::new(EntryCode::TooLarge, field, message)
}

/// Another organisation's equipment is not in the index, so that it gets the words of equipment that does not exist
/// (S274).
#[cold]
fn unusable(field: Field, name: &str, found: Option<EquipmentEntry>) -> Fault {
    let (name, field_name) = (quoted(name), field.as_str());
    match found {
        Some(_) => Fault::new(
            EntryCode::EquipmentRetired,
            field,
            format!("the equipment with {field_name} {name} is retired and takes no readings"),
        ),
        None => Fault::new(
            EntryCode::UnknownEquipment,
            field,
            format!("this integration has no equipment with {field_name} {name}"),
        ),
    }
}
