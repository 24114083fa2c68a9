//! The metric table: what may be measured, in which unit, within which range (S265–S267, A33).

use rustc_hash::FxHashMap;

use super::EquipmentKind;

/// The registry's stable number of a metric. Given out once for a name and never reused; half of a
/// [`super::SeriesId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricNumber(pub u16);

/// A unit that a sender may use, and how it becomes the metric's own: `(value + offset) * multiply / divide`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// As the sender spells it, byte for byte.
    pub name: String,
    /// Added first.
    pub offset: f64,
    /// Then multiplied.
    pub multiply: f64,
    /// Then divided. Never 0.
    pub divide: f64,
}

impl Unit {
    /// `value` of this unit in the metric's own unit.
    #[must_use]
    pub fn convert(&self, value: f64) -> f64 {
        (value + self.offset) * self.multiply / self.divide
    }
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its stable number.
    pub number: MetricNumber,
    /// As the sender spells it.
    pub name: String,
    /// The unit that is stored.
    pub unit: String,
    /// Other spellings and units, with their conversion.
    pub units: Vec<Unit>,
    /// Smallest plausible value, in `unit`, inclusive.
    pub min: f64,
    /// Largest plausible value, in `unit`, inclusive.
    pub max: f64,
    /// Kinds that may report it.
    pub kinds: Vec<EquipmentKind>,
}

/// All metrics, looked up by name.
#[derive(Debug, Clone, Default)]
pub struct MetricTable {
    metrics: Vec<Metric>,
    by_name: FxHashMap<String, usize>,
}

impl MetricTable {
    /// A table of `metrics`; of two with one name the later stands.
    #[must_use]
    pub fn new(metrics: Vec<Metric>) -> Self {
        let by_name = metrics.iter().enumerate().map(|(i, metric)| (metric.name.clone(), i)).collect();
        Self { metrics, by_name }
    }

    /// The metric called `name`, exactly as spelled.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Metric> {
        self.by_name.get(name).map(|&i| &self.metrics[i])
    }

    /// The metric with this number.
    #[must_use]
    pub fn by_number(&self, number: MetricNumber) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.number == number)
    }

    /// All, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.iter()
    }
}
