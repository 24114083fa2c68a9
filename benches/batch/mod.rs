//! Batches for the benches of ingest, and a world that knows their equipment.

use sensorgate::{
    auth::EquipmentIndex,
    ingest::config::{MetricsConfig, metric_table},
    model::{EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber, IntegrationId, MetricNumber, MetricTable},
};
use serde::Deserialize;

/// Readings of one body.
pub(crate) const READINGS: u64 = 500;
/// Time of receipt that the bodies fit.
#[allow(dead_code, reason = "not every bench judges")]
pub(crate) const RECEIVED_AT_US: i64 = 1_767_614_400_000_000;

/// 500 readings in the contract's own form, about 59 KB: three metrics of each sensor in turn, a second apart.
pub(crate) fn contract() -> String {
    let entries: Vec<_> = (0..READINGS)
        .map(|i| {
            let (metric, unit, value) =
                [("temperature", "C", 24.6), ("humidity", "%", 61.25), ("co2", "ppm", 812.0)][i as usize % 3];
            format!(
                r#"{{"id":"a{i}","external_id":"AA:BB:{:02}","metric":"{metric}","value":{:?},"unit":"{unit}","timestamp":"2026-01-05T10:{:02}:{:02}Z"}}"#,
                i / 3 % 100,
                value + (i % 7) as f64,
                i / 60,
                i % 60
            )
        })
        .collect();
    format!(r#"{{"readings":[{}]}}"#, entries.join(","))
}

/// The sensors of [`contract`].
#[allow(dead_code, reason = "not every bench judges")]
pub(crate) fn equipment(integration_id: IntegrationId) -> EquipmentIndex {
    let mut index = EquipmentIndex::default();
    for number in 0..100 {
        index.upsert(&EquipmentFacts {
            id: EquipmentId::generate(),
            integration_id,
            number: EquipmentNumber(number),
            kind: EquipmentKind::Sensor,
            external_id: Some(format!("AA:BB:{number:02}").into()),
            retired: false,
        });
    }
    index
}

/// The shipped metrics.
#[allow(dead_code, reason = "not every bench judges")]
pub(crate) fn metrics() -> MetricTable {
    let metrics = section::<MetricsConfig>("metrics");
    let numbers: Vec<_> = (1..).map(MetricNumber).take(metrics.len()).collect();
    metric_table(&metrics, &numbers)
}

/// One section of the shipped configuration.
#[allow(dead_code, reason = "not every bench judges")]
pub(crate) fn section<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let mut table: toml::Table = sensorgate::config::DEFAULT_TOML.parse().expect("the shipped configuration");
    table.remove(name).expect("the section").try_into().expect("the room's own form")
}
