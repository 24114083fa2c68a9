use super::*;

const DEFAULTS: &str = include_str!("../../../config/default.toml");

#[derive(Deserialize)]
struct Sections {
    ingest: Config,
    metrics: MetricsConfig,
}

/// The two sections as shipped.
pub(crate) fn shipped() -> (Config, MetricsConfig) {
    let sections: Sections = toml::from_str(DEFAULTS).expect("default.toml is valid");
    (sections.ingest, sections.metrics)
}

/// The metric table as shipped, numbered from 1 in the order of the names.
pub(crate) fn shipped_table() -> MetricTable {
    let metrics = shipped().1;
    let numbers: Vec<_> = (1..).map(MetricNumber).take(metrics.len()).collect();
    metric_table(&metrics, &numbers)
}

// S265, S266: the three core metrics, and further ones from the configuration.
#[test]
fn the_shipped_table_has_the_core_metrics_and_more() {
    let (config, metrics) = shipped();
    config.check().expect("the defaults make sense");
    check_metrics(&metrics).expect("the shipped table makes sense");
    let table = shipped_table();
    for name in ["temperature", "humidity", "co2", "vpd", "par", "ppfd", "ec", "ph", "soil_moisture", "pressure"] {
        assert!(table.get(name).is_some(), "{name}");
    }
    // S267: humidity in 0–100, CO2 not below 0, temperature above absolute zero.
    let range = |name| table.get(name).map(|m| (m.min, m.max)).expect("shipped");
    assert_eq!(range("humidity"), (0.0, 100.0));
    assert!(range("co2").0 >= 0.0);
    assert!(range("temperature").0 > -273.15);
}

// S265: °F and K become °C.
#[test]
fn fahrenheit_and_kelvin_become_celsius() {
    let table = shipped_table();
    let temperature = table.get("temperature").expect("core metric");
    let convert = |unit, value| temperature.units.iter().find(|u| u.name == unit).expect("shipped").convert(value);
    assert_eq!(convert("F", 212.0), 100.0);
    assert_eq!(convert("°F", 32.0), 0.0);
    assert!((convert("K", 293.15) - 20.0).abs() < 1e-9);
    assert_eq!(convert("°C", 21.5), 21.5);
}

#[test]
fn a_table_that_makes_no_sense_is_refused_by_key() {
    let broken = |change: fn(&mut MetricsConfig)| {
        let mut metrics = shipped().1;
        change(&mut metrics);
        check_metrics(&metrics).expect_err("refused")
    };
    type Change = fn(&mut MetricsConfig);
    let cases: [(Change, &str); 5] = [
        (|m| drop(m.remove("co2")), "metrics.co2 is missing"),
        (|m| m.get_mut("co2").expect("core").max = -1.0, "must be below"),
        (|m| m.get_mut("co2").expect("core").min = f64::NAN, "must be below"),
        (|m| m.get_mut("co2").expect("core").kinds.clear(), "metrics.co2.kinds is empty"),
        (
            |m| {
                let unit = UnitConfig { offset: 0.0, multiply: 1.0, divide: 0.0 };
                m.get_mut("co2").expect("core").units.insert("x".to_owned(), unit);
            },
            "metrics.co2.units.x",
        ),
    ];
    for (change, text) in cases {
        let error = broken(change);
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn every_limit_has_a_range() {
    let broken = |change: fn(&mut Config)| {
        let mut config = shipped().0;
        change(&mut config);
        config.check().expect_err("refused")
    };
    assert_eq!(broken(|c| c.readings_max = 501), "ingest.readings_max = 501 is not within 1 to 500");
    assert!(broken(|c| c.resend_memory_batches = 3).contains("power of two"));
    assert!(broken(|c| c.retry_after_s = 0).contains("ingest.retry_after_s"));
}
