use proptest::prelude::*;

use super::*;
use crate::{
    ingest::{
        config::{Parser, tests::shipped_table},
        parse,
    },
    model::{EquipmentFacts, EquipmentId, EquipmentKind, EquipmentNumber, IntegrationId},
};

const NOW: i64 = 1_767_607_200_000_000;

/// A greenhouse: a sensor `s`, a controller `c`, a retired sensor `old`.
fn equipment() -> EquipmentIndex {
    let mut index = EquipmentIndex::default();
    for (number, external_id, kind, retired) in [
        (1, "s", EquipmentKind::Sensor, false),
        (2, "c", EquipmentKind::Controller, false),
        (3, "old", EquipmentKind::Sensor, true),
        (4, "AA:BB/ ü", EquipmentKind::Monitor, false),
    ] {
        index.upsert(&EquipmentFacts {
            id: known_id(number),
            integration_id: IntegrationId::generate(),
            number: EquipmentNumber(number),
            kind,
            external_id: Some(external_id.into()),
            retired,
        });
    }
    index
}

fn known_id(number: u32) -> EquipmentId {
    format!("01970000-0000-7000-8000-{number:012x}").parse().expect("a UUID")
}

/// The shipped table, with one metric that only sensors may report.
fn metrics() -> MetricTable {
    let metrics = shipped_table();
    MetricTable::new(
        metrics
            .iter()
            .cloned()
            .map(|mut metric| {
                if metric.name == "ph" {
                    metric.kinds = vec![EquipmentKind::Sensor, EquipmentKind::Monitor];
                }
                if metric.name == "light" {
                    (metric.min, metric.max) = (-1e300, 1e300);
                }
                metric
            })
            .collect(),
    )
}

fn judge(body: &str) -> Verdict {
    let (equipment, metrics) = (equipment(), metrics());
    let rules = Rules {
        equipment: &equipment,
        metrics: &metrics,
        name_bytes_max: 64,
        received_at_us: NOW,
        window: Window::new(NOW, 604_800, 600, None),
    };
    let mut verdict = Verdict::new(500);
    parse::parse(body.as_bytes(), 500, Parser::Fast, &mut Judge::new(rules, &mut verdict)).expect(body);
    verdict
}

/// The only error of the only entry.
fn fault(entry: &str) -> EntryError {
    let verdict = judge(&format!("[{entry}]"));
    assert!(verdict.readings.is_empty(), "{entry} was accepted");
    assert_eq!(verdict.errors.len(), 1, "{entry}");
    verdict.errors.into_iter().next().expect("one error")
}

fn good(entry: &str) -> Reading {
    let verdict = judge(&format!("[{entry}]"));
    assert_eq!(verdict.errors, [], "{entry}");
    verdict.readings[0]
}

/// A good entry with `value` in place of the value.
fn with_value(value: &str) -> String {
    format!(r#"{{"external_id":"s","metric":"temperature","value":{value}}}"#)
}

fn code(entry: &str) -> (&'static str, Option<&'static str>) {
    let error = fault(entry);
    (error.code.as_str(), error.field)
}

// api.md §1: every entry code, with the field it names. S267, S274, S281.
#[test]
fn each_fault_has_its_code_and_field() {
    let too_long = format!(r#"{{"external_id":"{}","metric":"co2","value":1}}"#, "x".repeat(65));
    let long_metric = format!(r#"{{"external_id":"s","metric":"{}","value":1}}"#, "x".repeat(65));
    let long_unit = format!(r#"{{"external_id":"s","metric":"co2","value":1,"unit":"{}"}}"#, "x".repeat(65));
    let both = format!(r#"{{"external_id":"s","equipment_id":"{}","metric":"co2","value":1}}"#, known_id(1));
    let unknown = EquipmentId::generate();
    let unknown = format!(r#"{{"equipment_id":"{unknown}","metric":"co2","value":1}}"#);
    let cases: &[(&str, &str, Option<&str>)] = &[
        (r#"{"external_id":"x","metric":"co2","value":1}"#, "unknown_equipment", Some("external_id")),
        (r#"{"external_id":"S","metric":"co2","value":1}"#, "unknown_equipment", Some("external_id")),
        (r#"{"external_id":"","metric":"co2","value":1}"#, "unknown_equipment", Some("external_id")),
        (r#"{"external_id":7,"metric":"co2","value":1}"#, "unknown_equipment", Some("external_id")),
        (r#"{"equipment_id":"s","metric":"co2","value":1}"#, "unknown_equipment", Some("equipment_id")),
        (&unknown, "unknown_equipment", Some("equipment_id")),
        (r#"{"external_id":"old","metric":"co2","value":1}"#, "equipment_retired", Some("external_id")),
        (r#"{"metric":"co2","value":1}"#, "equipment_missing", Some("external_id")),
        (r#"{"external_id":null,"metric":"co2","value":1}"#, "equipment_missing", Some("external_id")),
        (&both, "equipment_ambiguous", Some("equipment_id")),
        (&too_long, "too_large", Some("external_id")),
        (&long_metric, "too_large", Some("metric")),
        (&long_unit, "too_large", Some("unit")),
        (r#"{"external_id":"s","value":1}"#, "unknown_metric", Some("metric")),
        (r#"{"external_id":"s","metric":"CO2","value":1}"#, "unknown_metric", Some("metric")),
        (r#"{"external_id":"s","metric":3,"value":1}"#, "unknown_metric", Some("metric")),
        (r#"{"external_id":"c","metric":"ph","value":7}"#, "metric_not_allowed", Some("metric")),
        (r#"{"external_id":"s","metric":"co2","value":1,"unit":"C"}"#, "unit_mismatch", Some("unit")),
        (r#"{"external_id":"s","metric":"co2","value":1,"unit":1}"#, "unit_mismatch", Some("unit")),
        (r#"{"external_id":"s","metric":"co2"}"#, "value_missing", Some("value")),
        (r#"{"external_id":"s","metric":"co2","value":null}"#, "value_missing", Some("value")),
        (r#"{"external_id":"s","metric":"co2","value":"1"}"#, "value_not_number", Some("value")),
        (r#"{"external_id":"s","metric":"co2","value":true}"#, "value_not_number", Some("value")),
        (r#"{"external_id":"s","metric":"co2","value":[1]}"#, "value_not_number", Some("value")),
        (r#"{"external_id":"s","metric":"co2","value":{}}"#, "value_not_number", Some("value")),
        (r#"{"external_id":"s","metric":"humidity","value":100.01}"#, "value_out_of_range", Some("value")),
        (r#"{"external_id":"s","metric":"humidity","value":-0.01}"#, "value_out_of_range", Some("value")),
        (r#"{"external_id":"s","metric":"light","value":9007199254740993}"#, "precision_loss", Some("value")),
        (r#"{"external_id":"s","metric":"co2","value":1,"quality":"ok"}"#, "quality_invalid", Some("quality")),
        (r#"{"external_id":"s","metric":"co2","value":1,"quality":1}"#, "quality_invalid", Some("quality")),
        (r#"{"external_id":"s","metric":"co2","value":1,"timestamp":null}"#, "timestamp_invalid", Some("timestamp")),
        (r#"{"external_id":"s","metric":"co2","value":1,"timestamp":"now"}"#, "timestamp_invalid", Some("timestamp")),
        (r#"{"external_id":"s","metric":"co2","value":1,"timestamp":true}"#, "timestamp_invalid", Some("timestamp")),
        (r#"{"external_id":"s","metric":"co2","value":1,"timestamp":0}"#, "timestamp_too_old", Some("timestamp")),
        (r#"{"external_id":"s","metric":"co2","value":1,"timestamp":1e300}"#, "timestamp_in_future", Some("timestamp")),
        (r#"{"external_id":"s","metric":"co2","value":1,"value":1}"#, "duplicate_field", Some("value")),
        (r#"{"id":"","external_id":"s","metric":"co2","value":1}"#, "id_invalid", Some("id")),
        (r#"{"id":7,"external_id":"s","metric":"co2","value":1}"#, "id_invalid", Some("id")),
        ("[1]", "not_an_object", None),
    ];
    let mut codes = std::collections::HashSet::new();
    for (entry, expected, field) in cases {
        assert_eq!(code(entry), (*expected, *field), "{entry}");
        codes.insert(*expected);
    }
    assert_eq!(codes.len(), EntryCode::ALL.len(), "every code has its case");
}

// The order of the checks is part of the contract's behaviour: the first fault in it is told.
#[test]
fn of_several_faults_the_first_in_the_order_is_told() {
    let mut fields = vec![
        (r#""value":1"#, "duplicate_field"),
        (r#""id":"""#, "id_invalid"),
        (r#""external_id":"x""#, "unknown_equipment"),
        (r#""metric":"x""#, "unknown_metric"),
        (r#""unit":"x""#, "unit_mismatch"),
        (r#""value":"x""#, "value_not_number"),
        (r#""quality":"x""#, "quality_invalid"),
        (r#""timestamp":"x""#, "timestamp_invalid"),
    ];
    let good = [("external_id", r#""external_id":"s""#), ("metric", r#""metric":"co2""#), ("value", r#""value":1"#)];
    while !fields.is_empty() {
        let mut members: Vec<_> = fields.iter().rev().map(|(member, _)| *member).collect();
        for (name, member) in good {
            if !members.iter().any(|m| m.starts_with(&format!("\"{name}\""))) {
                members.push(member);
            }
        }
        assert_eq!(code(&format!("{{{}}}", members.join(","))).0, fields[0].1, "{members:?}");
        fields.remove(0);
    }
}

// api.md §1: the range is judged before the digits, and 1e400 and a 30-digit integer are out of every range.
#[test]
fn the_range_is_judged_before_the_precision() {
    for value in ["1e400", "-1e400", "123456789012345678901234567890", "9007199254740993", "-1e30"] {
        assert_eq!(code(&with_value(value)).0, "value_out_of_range", "{value}");
    }
    assert_eq!(code(&with_value("24.123456789012345678")).0, "precision_loss");
    assert_eq!(good(&with_value("24.123456789012345")).value.to_bits(), 24.123456789012345_f64.to_bits());
}

// api.md §1: the contract's own message; what stands in others.
#[test]
fn messages_are_plain_sentences_with_little_input_in_them() {
    let message = |entry: &str| fault(entry).message;
    let humidity = r#"{"external_id":"s","metric":"humidity","value":141,"unit":"%"}"#;
    assert_eq!(message(humidity), "humidity must be 0–100 %, got 141");
    let fahrenheit = r#"{"external_id":"s","metric":"temperature","value":500,"unit":"F"}"#;
    assert_eq!(message(fahrenheit), "temperature must be -100–200 C, got 500 F, which is 260 C");
    assert_eq!(message(&with_value("1e400")), "temperature must be -100–200 C, got a number too large to be kept");
    assert_eq!(
        message(r#"{"external_id":"s","metric":"co2","value":1,"timestamp":"2025-12-29T09:59:59.999999Z"}"#),
        "timestamp is before the window 2025-12-29T10:00:00Z to 2026-01-05T10:10:00Z: 2025-12-29T09:59:59.999999Z"
    );
    let long = format!(r#"{{"external_id":"s","metric":"co2","value":1,"timestamp":"{}\n"}}"#, "ä".repeat(500));
    assert!(message(&long).chars().filter(|c| *c == 'ä').count() <= 64);
    let odd = r#"{"external_id":"\u0000\u001b[31m\u202e","metric":"co2","value":1}"#;
    assert!(!message(odd).chars().any(|c| c.is_control() || c == '\u{202e}'), "{}", message(odd));
}

// api.md §1: window −7 days … +10 minutes, both ends inclusive; absent: the time of receipt.
#[test]
fn timestamps_are_judged_by_the_window() {
    let at = |timestamp: &str| format!(r#"{{"external_id":"s","metric":"co2","value":1,"timestamp":{timestamp}}}"#);
    assert_eq!(good(r#"{"external_id":"s","metric":"co2","value":1}"#).timestamp_us, NOW);
    for (timestamp, us) in [
        (r#""2025-12-29T10:00:00Z""#, NOW - 604_800_000_000),
        (r#""2026-01-05T10:10:00Z""#, NOW + 600_000_000),
        (r#""2026-01-05t11:00:00.25+01:00""#, NOW + 250_000),
        ("1767607200", NOW),
        ("1767607200.5", NOW + 500_000),
        ("1767607200000001000", NOW + 1),
    ] {
        assert_eq!(good(&at(timestamp)).timestamp_us, us, "{timestamp}");
    }
    assert_eq!(code(&at(r#""2025-12-29T09:59:59.999999Z""#)).0, "timestamp_too_old");
    assert_eq!(code(&at(r#""2026-01-05T10:10:00.000001Z""#)).0, "timestamp_in_future");
    assert!(fault(&at(r#""2026-01-05T10:10:00.000001Z""#)).retryable, "the clock will get there");
    assert!(!fault(&at("0")).retryable);
}

// S265: units of the core metrics; °F and K are converted. api.md §1: null is no unit, no quality, no id.
#[test]
fn units_and_optional_fields() {
    let temperature = |unit: &str, value: &str| {
        good(&format!(r#"{{"external_id":"s","metric":"temperature","value":{value},"unit":{unit}}}"#)).value
    };
    assert_eq!(temperature(r#""C""#, "24.6"), 24.6);
    assert_eq!(temperature(r#""\u00b0C""#, "24.6"), 24.6);
    assert_eq!(temperature("null", "24.6"), 24.6);
    assert_eq!(temperature(r#""F""#, "212"), 100.0);
    assert_eq!(temperature(r#""K""#, "293.15"), 20.0);
    assert_eq!(temperature(r#""°F""#, "32").to_bits(), 0, "never −0.0");
    assert_eq!(temperature(r#""C""#, "-0.0").to_bits(), 0, "never −0.0");
    let nulls =
        r#"{"id":null,"equipment_id":null,"external_id":"s","metric":"co2","value":1,"unit":null,"quality":null}"#;
    assert_eq!(good(nulls).quality, Quality::Good);
    let bad = r#"{"external_id":"AA:BB/ ü","metric":"co2","value":1,"quality":"bad"}"#;
    assert_eq!(good(bad).quality, Quality::Bad);
}

// S277: our id or theirs; whichever is used, it is the same series.
#[test]
fn both_names_lead_to_one_series() {
    let theirs = good(r#"{"external_id":"s","metric":"co2","value":1}"#);
    let ours = good(&format!(r#"{{"equipment_id":"{}","metric":"co2","value":1}}"#, known_id(1)));
    assert_eq!(theirs.series, ours.series);
    // What is remembered of one name does not answer for the other.
    let id = known_id(1);
    let mixed = format!(
        r#"[{{"external_id":"s","metric":"co2","value":1}},{{"equipment_id":"s","metric":"co2","value":1}},
            {{"equipment_id":"{id}","metric":"co2","value":1}},{{"external_id":"{id}","metric":"co2","value":1}},
            {{"external_id":"old","metric":"co2","value":1}},{{"external_id":"old","metric":"co2","value":1}},
            {{"external_id":"s","metric":"ph","value":7}},{{"external_id":"c","metric":"ph","value":7}}]"#
    );
    let indexes: Vec<_> = judge(&mixed).errors.iter().map(|error| error.index).collect();
    assert_eq!(indexes, [1, 3, 4, 5, 7]);
}

// api.md §1: id, 1 to 128 characters of any kind; it comes back with the error.
#[test]
fn ids_come_back() {
    let entry = |id: &str| format!(r#"{{"id":"{id}","metric":"co2","value":1}}"#);
    assert_eq!(fault(&entry("a1")).id.as_deref(), Some("a1"));
    assert_eq!(fault(&entry(r"\u0000\n\u00e4")).id.as_deref(), Some("\0\nä"));
    let longest = "🌱".repeat(128);
    assert_eq!(fault(&entry(&longest)).id.as_deref(), Some(longest.as_str()));
    let error = fault(&entry(&"🌱".repeat(129)));
    assert_eq!((error.code, error.id), (EntryCode::IdInvalid, None));
}

// S268, A34: a key that the batch had before is accepted, counted, and comes later in the order of the spool.
#[test]
fn duplicates_within_a_batch_are_accepted_and_counted() {
    let verdict = judge(
        r#"[{"external_id":"s","metric":"co2","value":1,"timestamp":1767607200},
            {"external_id":"s","metric":"co2","value":2,"timestamp":"2026-01-05T10:00:00Z"},
            {"external_id":"s","metric":"temperature","value":3,"timestamp":1767607200},
            {"external_id":"c","metric":"co2","value":4,"timestamp":1767607200},
            {"external_id":"s","metric":"co2","value":"x","timestamp":1767607200},
            {"external_id":"s","metric":"co2","value":5}]"#,
    );
    assert_eq!((verdict.readings.len(), verdict.duplicates), (5, 2));
    assert_eq!(verdict.readings.iter().map(|r| r.value).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(verdict.errors.len(), 1, "a duplicate is no error");
}

fn broken_entry() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        r#"{"external_id":"x","metric":"co2","value":1}"#,
        r#"{"external_id":"s","metric":"co2","value":1e400}"#,
        r#"{"external_id":"s","metric":"co2","value":123456789012345678901234567890}"#,
        r#"{"external_id":"s","metric":"co2","value":[[1]]}"#,
        r#"{"external_id":"s","metric":"co2","value":1,"value":1}"#,
        r#"{"external_id":"s","metric":"co2","v\u0061lue":1,"value":1}"#,
        r#"{"external_id":"\ud800","metric":"co2","value":1}"#,
        "[1.5]",
        "null",
        "{}",
    ])
}

proptest! {
    // S257, S258, S259, S260, S264: with k invalid of n exactly n−k are left, with equal values, and the k are named by
    // their places, in order.
    #[test]
    fn k_invalid_of_n_leave_the_others(entries in prop::collection::vec(prop::option::of(broken_entry()), 1..60)) {
        let body: Vec<_> = entries.iter().enumerate().map(|(i, broken)| match broken {
            Some(entry) => (*entry).to_owned(),
            None => format!(r#"{{"id":"e{i}","external_id":"s","metric":"co2","value":{i}.5,"timestamp":{}}}"#, 1_767_607_200 - i),
        }).collect();
        let verdict = judge(&format!(r#"{{"readings":[{}]}}"#, body.join(",")));
        let good = (0..entries.len()).filter(|&i| entries[i].is_none());
        let expected: Vec<_> = good.map(|i| (i as f64 + 0.5, NOW - i as i64 * 1_000_000)).collect();
        prop_assert_eq!(verdict.readings.iter().map(|r| (r.value, r.timestamp_us)).collect::<Vec<_>>(), expected);
        let refused: Vec<_> = (0..entries.len()).filter(|&i| entries[i].is_some()).map(|i| i as u32).collect();
        prop_assert_eq!(verdict.errors.iter().map(|e| e.index).collect::<Vec<_>>(), refused);
        prop_assert_eq!(verdict.duplicates, 0);
    }

    // A verdict that was used before says the same as a new one.
    #[test]
    fn buffers_used_again_remember_nothing(first in prop::collection::vec(broken_entry(), 1..5)) {
        let (equipment, metrics) = (equipment(), metrics());
        let window = Window::new(NOW, 604_800, 600, None);
        let rules =
            Rules { equipment: &equipment, metrics: &metrics, name_bytes_max: 64, received_at_us: NOW, window };
        let mut used = Verdict::new(500);
        for body in [format!("[{}]", first.join(",")), r#"[{"external_id":"s","metric":"co2","value":1}]"#.to_owned()] {
            parse::parse(body.as_bytes(), 500, Parser::Fast, &mut Judge::new(rules, &mut used)).expect("a batch");
        }
        prop_assert_eq!((used.readings.len(), used.errors.len(), used.duplicates), (1, 0, 0));
    }
}
