//! What was measured, in which unit, and how much.

use super::{Fault, Rules, kind_of, message, message::quoted, origin::too_large};
use crate::{
    ingest::parse::{
        entry::{Entry, Field, Value},
        number::Number,
    },
    model::{EntryCode, EquipmentKind, Metric, metric::Unit},
};

/// The metrics of the entries before: a batch mostly has a few, in turn.
#[derive(Debug, Default)]
pub(super) struct Recent<'a>([Option<&'a Metric>; 16]);

impl<'a> Recent<'a> {
    /// The metric that `value` names, if equipment of this `kind` may report it.
    #[inline]
    pub(super) fn metric(
        &mut self,
        rules: &Rules<'a>,
        value: Value<'_>,
        kind: EquipmentKind,
    ) -> Result<&'a Metric, Fault> {
        let Value::Text(name) = value else { return Err(no_metric(value)) };
        // Sets the shipped core metrics apart; two that share a slot only look each other up again.
        let first = name.as_bytes().first().copied().unwrap_or_default();
        let slot = &mut self.0[(name.len() + usize::from(first)) % 16];
        let metric = match *slot {
            Some(metric) if metric.name == name => metric,
            _ => rules.metrics.get(name).ok_or_else(|| unknown_metric(rules, name))?,
        };
        *slot = Some(metric);
        if metric.kinds.contains(&kind) { Ok(metric) } else { Err(not_allowed(metric, kind)) }
    }
}

#[cold]
fn no_metric(value: Value<'_>) -> Fault {
    let message = match value {
        Value::Absent | Value::Null => "metric is missing".to_owned(),
        _ => format!("metric must be a string, got {}", kind_of(value)),
    };
    Fault::new(EntryCode::UnknownMetric, Field::Metric, message)
}

#[cold]
fn unknown_metric(rules: &Rules<'_>, name: &str) -> Fault {
    if name.len() > rules.name_bytes_max {
        return too_large(Field::Metric, name, rules.name_bytes_max);
    }
    Fault::new(EntryCode::UnknownMetric, Field::Metric, format!("there is no metric {}", quoted(name)))
}

#[cold]
fn not_allowed(metric: &Metric, kind: EquipmentKind) -> Fault {
    let may = message::either(metric.kinds.iter().map(|kind| kind.as_str()));
    let message = format!("{} may be reported by {may}, not by {}", metric.name, kind.as_str());
    Fault::new(EntryCode::MetricNotAllowed, Field::Metric, message)
}

/// The entry's value in the metric's own unit: a finite number, plausible, and not more exact than what is kept.
#[inline]
pub(super) fn value(rules: &Rules<'_>, metric: &Metric, entry: &Entry<'_>) -> Result<f64, Fault> {
    let unit = unit(rules, metric, entry.get(Field::Unit))?;
    let Value::Number(number) = entry.get(Field::Value) else { return Err(no_value(entry.get(Field::Value))) };
    // Adding 0.0 turns a −0.0 out of the conversion into 0.0.
    let value = unit.map_or(number.value, |unit| unit.convert(number.value) + 0.0);
    // Written so that a NaN out of an infinite value would be refused as well.
    if !(value >= metric.min && value <= metric.max) {
        return Err(out_of_range(metric, unit, &number, value));
    }
    if number.loses_precision { Err(loses_precision(&number)) } else { Ok(value) }
}

/// The unit to convert from; none where it is the metric's own.
#[inline]
fn unit<'m>(rules: &Rules<'_>, metric: &'m Metric, value: Value<'_>) -> Result<Option<&'m Unit>, Fault> {
    match value {
        Value::Absent | Value::Null => Ok(None),
        Value::Text(name) if name == metric.unit => Ok(None),
        Value::Text(name) => match metric.units.iter().find(|unit| unit.name == name) {
            Some(unit) => Ok(Some(unit)),
            None if name.len() > rules.name_bytes_max => Err(too_large(Field::Unit, name, rules.name_bytes_max)),
            None => Err(unit_mismatch(metric, &quoted(name))),
        },
        _ => Err(unit_mismatch(metric, kind_of(value))),
    }
}

#[cold]
fn unit_mismatch(metric: &Metric, got: &str) -> Fault {
    let units = message::either([metric.unit.as_str()].into_iter().chain(metric.units.iter().map(|u| u.name.as_str())));
    Fault::new(EntryCode::UnitMismatch, Field::Unit, format!("the unit of {} must be {units}, got {got}", metric.name))
}

#[cold]
fn no_value(value: Value<'_>) -> Fault {
    match value {
        Value::Absent => Fault::new(EntryCode::ValueMissing, Field::Value, "value is missing"),
        Value::Null => Fault::new(EntryCode::ValueMissing, Field::Value, "value is null"),
        _ => {
            let message = format!("value must be a number, got {}", kind_of(value));
            Fault::new(EntryCode::ValueNotNumber, Field::Value, message)
        }
    }
}

#[cold]
fn out_of_range(metric: &Metric, unit: Option<&Unit>, number: &Number, value: f64) -> Fault {
    let got = match unit {
        Some(unit) if number.value.is_finite() && unit.convert(1.0) != 1.0 => {
            format!(
                "{} {}, which is {} {}",
                message::number(number.value),
                unit.name,
                message::number(value),
                metric.unit
            )
        }
        _ => message::number(number.value),
    };
    let message = format!("{} must be {}–{} {}, got {got}", metric.name, metric.min, metric.max, metric.unit);
    Fault::new(EntryCode::ValueOutOfRange, Field::Value, message)
}

#[cold]
fn loses_precision(number: &Number) -> Fault {
    let message = format!(
        "value has more digits than are kept: at most 17 significant ones, integers within ±2^53; it would become {}",
        message::number(number.value)
    );
    Fault::new(EntryCode::PrecisionLoss, Field::Value, message)
}
