//! validate: entries → readings, and errors for those that are none.
//!
//! One pass, straight from the reader of the body; no allocation for an entry that is good. The order of the checks,
//! which decides the code where several apply, is the order of the lines in `Judge::judge`: object, duplicate field,
//! id, equipment, metric, unit, value, quality, timestamp.

mod keys;
mod measure;
mod message;
mod origin;
mod timestamp;

pub use keys::Keys;
pub use timestamp::Window;

use super::{
    EntryError,
    parse::entry::{Entry, Field, Sink, Value},
};
use crate::{
    auth::EquipmentIndex,
    model::{
        EntryCode, MetricTable, Quality, Reading, RejectedEntry, SeriesId,
        rejected_entry::{REJECTED_ENTRIES_MAX, kept},
    },
};
use message::quoted;
use origin::Remembered;
use timestamp::{Rfc3339, epoch_us};

/// Characters of an entry's `id`, at most.
const ID_CHARS_MAX: usize = 128;

/// What a batch is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The equipment of the integration. Borrowed for the whole batch, so that it is one registry that judges it.
    pub equipment: &'a EquipmentIndex,
    /// What may be measured.
    pub metrics: &'a MetricTable,
    /// Bytes of an external ID, a metric's name or a unit, at most.
    pub name_bytes_max: usize,
    /// When it came, microseconds since the Unix epoch.
    pub received_at_us: i64,
    /// The times that its readings may be of.
    pub window: Window,
}

/// The outcome of the judgement, in buffers that are used again for the next batch.
#[derive(Debug)]
pub struct Verdict {
    /// What was good, in the order of the batch: of one key the later wins.
    pub readings: Vec<Reading>,
    /// What was not, in the order of the batch.
    pub errors: Vec<EntryError>,
    /// The first of what was not, as the API log keeps it.
    pub rejections: Vec<RejectedEntry>,
    /// Good readings whose key an earlier one of the batch has.
    pub duplicates: u32,
    keys: Keys,
    remembered: Remembered,
}

impl Verdict {
    /// For batches of up to `readings_max` readings.
    #[must_use]
    pub fn new(readings_max: usize) -> Self {
        Self {
            readings: Vec::with_capacity(readings_max),
            errors: Vec::new(),
            rejections: Vec::new(),
            duplicates: 0,
            keys: Keys::new(readings_max),
            remembered: Remembered::default(),
        }
    }

    fn clear(&mut self) {
        self.readings.clear();
        self.errors.clear();
        self.rejections.clear();
        self.duplicates = 0;
        self.keys.clear();
        self.remembered.forget();
    }
}

/// Why an entry is refused.
struct Fault {
    code: EntryCode,
    field: Option<Field>,
    message: String,
}

impl Fault {
    #[cold]
    fn new(code: EntryCode, field: Field, message: impl Into<String>) -> Self {
        Self { code, field: Some(field), message: message.into() }
    }
}

/// Judges the entries of one batch as they are read.
#[derive(Debug)]
pub struct Judge<'a> {
    rules: Rules<'a>,
    clock: Rfc3339,
    metrics: measure::Recent<'a>,
    verdict: &'a mut Verdict,
}

impl<'a> Judge<'a> {
    /// A judge who writes into `verdict`, which is emptied first.
    #[must_use]
    pub fn new(rules: Rules<'a>, verdict: &'a mut Verdict) -> Self {
        verdict.clear();
        Self { rules, clock: Rfc3339::default(), metrics: measure::Recent::default(), verdict }
    }

    #[inline]
    fn judge(&mut self, entry: &Entry<'_>) -> Result<Reading, Fault> {
        if let Some(field) = entry.duplicate() {
            return Err(Fault::new(EntryCode::DuplicateField, field, format!("{} is given twice", field.as_str())));
        }
        id(entry.get(Field::Id))?;
        let equipment = self.verdict.remembered.resolve(&self.rules, entry)?;
        let metric = self.metrics.metric(&self.rules, entry.get(Field::Metric), equipment.kind)?;
        let value = measure::value(&self.rules, metric, entry)?;
        let quality = quality(entry.get(Field::Quality))?;
        let timestamp_us = self.timestamp_us(entry.get(Field::Timestamp))?;
        Ok(Reading { series: SeriesId::new(equipment.number, metric.number), timestamp_us, value, quality })
    }

    #[inline]
    fn timestamp_us(&mut self, value: Value<'_>) -> Result<i64, Fault> {
        let timestamp_us = match value {
            Value::Absent => return Ok(self.rules.received_at_us),
            Value::Text(text) => self.clock.parse(text).ok_or_else(|| not_a_timestamp(value))?,
            Value::Number(number) => epoch_us(&number),
            _ => return Err(not_a_timestamp(value)),
        };
        if timestamp_us < self.rules.window.earliest_us || timestamp_us > self.rules.window.latest_us {
            return Err(outside(self.rules.window, timestamp_us));
        }
        Ok(timestamp_us)
    }

    /// What the API log keeps of a refused entry: its names and its time, as far as they can be read.
    #[cold]
    fn rejected(&mut self, index: usize, entry: &Entry<'_>, code: EntryCode) -> RejectedEntry {
        let name = |field| match entry.get(field) {
            Value::Text(text) => kept(text).map(Box::from),
            _ => None,
        };
        let timestamp_us = match entry.get(Field::Timestamp) {
            Value::Text(text) => self.clock.parse(text),
            Value::Number(number) => Some(epoch_us(&number)),
            Value::Absent => Some(self.rules.received_at_us),
            _ => None,
        };
        RejectedEntry {
            index: index as u32,
            code,
            external_id: name(Field::ExternalId),
            equipment_id: name(Field::EquipmentId),
            metric: name(Field::Metric),
            timestamp_us,
        }
    }

    #[cold]
    fn refuse(&mut self, index: usize, entry: &Entry<'_>, fault: Fault) {
        if self.verdict.rejections.len() < REJECTED_ENTRIES_MAX {
            let rejected = self.rejected(index, entry, fault.code);
            self.verdict.rejections.push(rejected);
        }
        let id = match entry.get(Field::Id) {
            Value::Text(text) if is_id(text) => Some(text.into()),
            _ => None,
        };
        self.verdict.errors.push(EntryError {
            index: index as u32,
            id,
            code: fault.code,
            field: fault.field.map(Field::as_str),
            message: fault.message,
            retryable: fault.code.is_retryable(),
        });
    }
}

impl Sink for Judge<'_> {
    fn restart(&mut self) {
        self.verdict.clear();
    }

    #[inline]
    fn entry(&mut self, index: usize, entry: &Entry<'_>) {
        match self.judge(entry) {
            Ok(reading) => {
                let known = self.verdict.keys.insert(&self.verdict.readings, &reading);
                self.verdict.duplicates += u32::from(known);
                self.verdict.readings.push(reading);
            }
            Err(fault) => self.refuse(index, entry, fault),
        }
    }

    fn not_an_object(&mut self, index: usize) {
        let message = "an entry must be a JSON object".to_owned();
        self.refuse(index, &Entry::default(), Fault { code: EntryCode::NotAnObject, field: None, message });
    }
}

#[inline]
fn id(value: Value<'_>) -> Result<(), Fault> {
    match value {
        Value::Absent | Value::Null => Ok(()),
        Value::Text(text) if is_id(text) => Ok(()),
        _ => Err(Fault::new(EntryCode::IdInvalid, Field::Id, "id must be a string of 1 to 128 characters")),
    }
}

#[inline]
fn is_id(text: &str) -> bool {
    // No character is shorter than a byte, so most need not be counted.
    !text.is_empty() && (text.len() <= ID_CHARS_MAX || text.chars().take(ID_CHARS_MAX + 1).count() <= ID_CHARS_MAX)
}

#[inline]
fn quality(value: Value<'_>) -> Result<Quality, Fault> {
    match value {
        Value::Absent | Value::Null => Ok(Quality::default()),
        Value::Text(text) => Quality::parse(text).ok_or_else(|| not_a_quality(&quoted(text))),
        _ => Err(not_a_quality(kind_of(value))),
    }
}

#[cold]
fn not_a_quality(got: &str) -> Fault {
    Fault::new(EntryCode::QualityInvalid, Field::Quality, format!("quality must be good, uncertain or bad, got {got}"))
}

#[cold]
fn not_a_timestamp(value: Value<'_>) -> Fault {
    let message = match value {
        Value::Null => "timestamp must not be null; without the field the time of receipt is taken".to_owned(),
        Value::Text(text) => {
            format!("timestamp must be RFC 3339 as in 2026-01-05T10:00:00Z, or an epoch number, got {}", quoted(text))
        }
        _ => format!("timestamp must be RFC 3339 in a string, or an epoch number, got {}", kind_of(value)),
    };
    Fault::new(EntryCode::TimestampInvalid, Field::Timestamp, message)
}

#[cold]
fn outside(window: Window, timestamp_us: i64) -> Fault {
    let (code, side) = if timestamp_us < window.earliest_us {
        (EntryCode::TimestampTooOld, "before")
    } else {
        (EntryCode::TimestampInFuture, "after")
    };
    let [at, from, to] = [timestamp_us, window.earliest_us, window.latest_us].map(message::time);
    Fault::new(code, Field::Timestamp, format!("timestamp is {side} the window {from} to {to}: {at}"))
}

/// What a value is, for people.
fn kind_of(value: Value<'_>) -> &'static str {
    match value {
        Value::Absent => "nothing",
        Value::Null => "null",
        Value::Bool => "true or false",
        Value::Text(_) => "a string",
        Value::Garbled => "a string with half of a surrogate pair",
        Value::Number(_) => "a number",
        Value::Nested => "an array or object",
    }
}

#[cfg(test)]
mod tests;
