//! The room's configuration: `[ingest]` and the metric table `[metrics.*]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::{EquipmentKind, Metric, MetricNumber, MetricTable, metric::Unit};

/// Which reader judges a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parser {
    /// The scanner, then simd-json, then serde_json: the first that can.
    Fast,
    /// serde_json alone: the way out should one of the others turn out to be unsafe.
    SerdeJson,
}

/// `[ingest]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Readings of one batch, at most; 1 to 500, the contract's own limit (S255, S256).
    pub readings_max: usize,
    /// Bytes of batches in memory at once, over all connections.
    pub in_flight_bytes_max: u32,
    /// `Retry-After` of a 503, in seconds.
    pub retry_after_s: u64,
    /// Bytes of an external ID, a metric's name or a unit, at most.
    pub name_bytes_max: usize,
    /// How old a reading may be, in seconds.
    pub timestamp_past_max_s: u32,
    /// How far ahead of the server's clock a reading may be, in seconds.
    pub timestamp_future_max_s: u32,
    /// Batches that are remembered so that a resend is counted as duplicates; a power of two.
    pub resend_memory_batches: usize,
    /// Which reader judges a batch.
    pub parser: Parser,
}

impl Config {
    /// Whether the values make sense, alone and together.
    ///
    /// # Errors
    /// Names the key, the value and its range.
    pub fn check(&self) -> Result<(), String> {
        range("ingest.readings_max", self.readings_max, 1, 500)?;
        range("ingest.in_flight_bytes_max", self.in_flight_bytes_max, 1 << 20, 1 << 31)?;
        range("ingest.retry_after_s", self.retry_after_s, 1, 3_600)?;
        range("ingest.name_bytes_max", self.name_bytes_max, 16, 4_096)?;
        range("ingest.timestamp_past_max_s", self.timestamp_past_max_s, 60, 315_360_000)?;
        range("ingest.timestamp_future_max_s", self.timestamp_future_max_s, 0, 86_400)?;
        range("ingest.resend_memory_batches", self.resend_memory_batches, 1, 1 << 24)?;
        if !self.resend_memory_batches.is_power_of_two() {
            return Err(format!("ingest.resend_memory_batches = {} is not a power of two", self.resend_memory_batches));
        }
        Ok(())
    }
}

fn range<T: PartialOrd + std::fmt::Display + Copy>(key: &str, value: T, min: T, max: T) -> Result<(), String> {
    if value < min || value > max {
        return Err(format!("{key} = {value} is not within {min} to {max}"));
    }
    Ok(())
}

/// `[metrics.*]`: metric by name.
pub type MetricsConfig = BTreeMap<String, MetricConfig>;

/// One metric: `[metrics.NAME]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// The unit that is stored; a sender may leave it out.
    pub unit: String,
    /// Smallest plausible value in `unit`, inclusive.
    pub min: f64,
    /// Largest plausible value in `unit`, inclusive.
    pub max: f64,
    /// Kinds of equipment that may report it; left out: all four (A36).
    #[serde(default = "all_kinds")]
    pub kinds: Vec<EquipmentKind>,
    /// Other units and spellings a sender may use.
    #[serde(default)]
    pub units: BTreeMap<String, UnitConfig>,
}

/// How another unit becomes the metric's own: `(value + offset) * multiply / divide`. What is left out changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitConfig {
    /// Added first.
    #[serde(default)]
    pub offset: f64,
    /// Then multiplied.
    #[serde(default = "one")]
    pub multiply: f64,
    /// Then divided.
    #[serde(default = "one")]
    pub divide: f64,
}

fn all_kinds() -> Vec<EquipmentKind> {
    EquipmentKind::ALL.to_vec()
}

const fn one() -> f64 {
    1.0
}

/// Whether the metrics make sense.
///
/// # Errors
/// Names the key and what is wrong with it: a core metric missing, a range or conversion that makes no sense.
pub fn check_metrics(metrics: &MetricsConfig) -> Result<(), String> {
    for core in ["temperature", "humidity", "co2"] {
        if !metrics.contains_key(core) {
            return Err(format!("metrics.{core} is missing: this metric is always accepted"));
        }
    }
    metrics.iter().try_for_each(|(name, metric)| check_metric(name, metric))
}

/// The metric table behind the configuration. `numbers` are the stable numbers of the names, which the control plane
/// gives out, in the order of `metrics`.
///
/// # Panics
/// If there are not as many numbers as metrics.
#[must_use]
pub fn metric_table(metrics: &MetricsConfig, numbers: &[MetricNumber]) -> MetricTable {
    assert_eq!(metrics.len(), numbers.len(), "every metric has a number");
    MetricTable::new(
        metrics.iter().zip(numbers).map(|((name, metric), number)| compile(name, metric, *number)).collect(),
    )
}

fn check_metric(name: &str, metric: &MetricConfig) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(format!("metrics.{name}: a name is 1 to 64 characters of a-z, 0-9 and _"));
    }
    let finite = metric.min.is_finite() && metric.max.is_finite();
    if !finite || metric.min >= metric.max {
        return Err(format!("metrics.{name}: min = {} must be below max = {}", metric.min, metric.max));
    }
    if metric.kinds.is_empty() {
        return Err(format!("metrics.{name}.kinds is empty: nothing could report it"));
    }
    for (unit, rule) in &metric.units {
        let finite = rule.offset.is_finite() && rule.multiply.is_finite() && rule.divide.is_finite();
        if !finite || rule.divide == 0.0 || rule.multiply == 0.0 {
            return Err(format!(
                "metrics.{name}.units.{unit}: offset, multiply and divide are finite, the last two not 0"
            ));
        }
        if *unit == metric.unit {
            return Err(format!("metrics.{name}.units.{unit} is the metric's own unit"));
        }
    }
    Ok(())
}

fn compile(name: &str, metric: &MetricConfig, number: MetricNumber) -> Metric {
    let unit = |(name, rule): (&String, &UnitConfig)| Unit {
        name: name.clone(),
        offset: rule.offset,
        multiply: rule.multiply,
        divide: rule.divide,
    };
    Metric {
        number,
        name: name.to_owned(),
        unit: metric.unit.clone(),
        units: metric.units.iter().map(unit).collect(),
        min: metric.min,
        max: metric.max,
        kinds: metric.kinds.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
