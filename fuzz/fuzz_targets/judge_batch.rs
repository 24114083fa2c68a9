//! Any bytes: every entry of a batch is either a reading or an error, in order, and the answer is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensorgate::{
    auth::EquipmentIndex,
    ingest::{
        BatchResult,
        config::{MetricsConfig, Parser, metric_table},
        parse::parse,
        validate::{Judge, Rules, Verdict, Window},
    },
    model::{EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber, IntegrationId, MetricNumber, RequestId},
};

fuzz_target!(|body: &[u8]| {
    let mut equipment = EquipmentIndex::default();
    equipment.upsert(&EquipmentFacts {
        id: EquipmentId::generate(),
        integration_id: IntegrationId::generate(),
        number: EquipmentNumber(1),
        kind: EquipmentKind::Sensor,
        external_id: Some("s".into()),
        retired: false,
    });
    let metrics: MetricsConfig = sensorgate::config::DEFAULT_TOML
        .parse::<toml::Table>()
        .expect("the shipped configuration")
        .remove("metrics")
        .expect("the section")
        .try_into()
        .expect("the metrics");
    let numbers: Vec<_> = (1..).map(MetricNumber).take(metrics.len()).collect();
    let metrics = metric_table(&metrics, &numbers);
    let received_at_us = 1_767_607_200_000_000;
    let window = Window::new(received_at_us, 604_800, 600, None);
    let rules = Rules { equipment: &equipment, metrics: &metrics, name_bytes_max: 256, received_at_us, window };
    let mut verdict = Verdict::new(500);
    let Ok(parsed) = parse(body, 500, Parser::Fast, &mut Judge::new(rules, &mut verdict)) else { return };
    assert_eq!(verdict.readings.len() + verdict.errors.len(), parsed.count);
    assert!(verdict.errors.is_sorted_by(|a, b| a.index < b.index));
    for reading in &verdict.readings {
        assert!(reading.value.is_finite() && (reading.value != 0.0 || reading.value.is_sign_positive()));
        assert!((window.earliest_us..=window.latest_us).contains(&reading.timestamp_us));
    }
    for error in &verdict.errors {
        assert!(!error.message.chars().any(char::is_control) && error.message.len() < 1_500);
    }
    let result = BatchResult { errors: verdict.errors, batch_id: parsed.batch_id, ..BatchResult::default() };
    let json = result.to_mqtt_json(RequestId::generate());
    serde_json::from_slice::<serde_json::Value>(&json).expect("the answer is JSON");
});
