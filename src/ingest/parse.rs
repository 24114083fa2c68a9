//! parse: bytes → entries.
//!
//! Three readers that agree, the cheapest first: `scan` knows the shape that senders send, `tape` (simd-json)
//! knows JSON, `raw` (serde_json) knows JSON to the last digit. The first two may only say yes; a body is refused on
//! the third one's word alone. `docs/adr/0004-three-ways-to-read-a-batch.md` says why there are three.

pub mod entry;
pub mod number;
mod raw;
mod scan;
mod tape;

use entry::Sink;

use super::config::Parser;
use crate::model::ProblemCode;

/// Characters of a `batch_id`, at most.
const BATCH_ID_CHARS_MAX: usize = 128;

/// Which reader had the last word on a body. A metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The scanner of the common shape.
    Scanner,
    /// simd-json.
    SimdJson,
    /// serde_json.
    SerdeJson,
}

impl Reader {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Scanner, Self::SimdJson, Self::SerdeJson];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scanner => "scanner",
            Self::SimdJson => "simd_json",
            Self::SerdeJson => "serde_json",
        }
    }
}

/// A body that was read; its entries went to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Entries of the batch, at least 1 and at most `readings_max`.
    pub count: usize,
    /// The sender's own name for the batch: a top-level string of 1 to 128 characters, anything else is ignored. Of
    /// several the last stands.
    pub batch_id: Option<String>,
    /// Who read it.
    pub reader: Reader,
}

/// A body that is no batch. Where several hold, the first in this order is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that is none.
        at: usize,
    },
    /// Not JSON by RFC 8259.
    #[error("not JSON at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// It ends too early.
        truncated: bool,
    },
    /// `readings` given more than once.
    #[error("readings given more than once")]
    ReadingsDuplicated,
    /// Neither an array nor an object with the array `readings`.
    #[error("no readings array")]
    ReadingsMissing,
    /// More entries than the limit. Told only of a body that is JSON to its end.
    #[error("{count} readings, at most {max}")]
    TooMany {
        /// Entries it has.
        count: usize,
        /// Entries it may have.
        max: usize,
    },
    /// No entry at all.
    #[error("no reading")]
    Empty,
}

impl Unreadable {
    /// The code for the caller.
    #[must_use]
    pub const fn problem(&self) -> ProblemCode {
        match self {
            Self::NotUtf8 { .. } | Self::NotJson { .. } => ProblemCode::MalformedJson,
            Self::ReadingsDuplicated => ProblemCode::ReadingsDuplicated,
            Self::ReadingsMissing => ProblemCode::ReadingsMissing,
            Self::TooMany { .. } => ProblemCode::BatchTooLarge,
            Self::Empty => ProblemCode::EmptyBatch,
        }
    }

    /// What the caller is told beyond the code's own words: where, or how many.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::NotUtf8 { at } => Some(format!("The body is not UTF-8: byte {at} (from 0) cannot stand there.")),
            Self::NotJson { truncated: true, .. } => Some("The body is not JSON: it ends too early.".to_owned()),
            Self::NotJson { line, column, .. } => {
                Some(format!("The body is not JSON: line {line}, column {column} cannot stand there."))
            }
            Self::TooMany { count, max } => {
                Some(format!("The batch has {count} readings; at most {max} are taken. Split it: none was stored."))
            }
            Self::ReadingsDuplicated | Self::ReadingsMissing | Self::Empty => None,
        }
    }
}

/// What a reader found around the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outline {
    readings: Readings,
    batch_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readings {
    Absent,
    NotArray,
    Array(usize),
    Twice,
}

impl Outline {
    /// `readings` was found, once more perhaps.
    fn add(&mut self, found: Readings) {
        self.readings = if self.readings == Readings::Absent { found } else { Readings::Twice };
    }

    fn judge(self, readings_max: usize, reader: Reader) -> Result<Parsed, Unreadable> {
        match self.readings {
            Readings::Twice => Err(Unreadable::ReadingsDuplicated),
            Readings::Absent | Readings::NotArray => Err(Unreadable::ReadingsMissing),
            Readings::Array(0) => Err(Unreadable::Empty),
            Readings::Array(count) if count > readings_max => Err(Unreadable::TooMany { count, max: readings_max }),
            Readings::Array(count) => Ok(Parsed { count, batch_id: self.batch_id, reader }),
        }
    }
}

/// A `batch_id` as it is kept.
fn batch_id(text: &str) -> Option<String> {
    let chars = text.chars().take(BATCH_ID_CHARS_MAX + 1).count();
    (1..=BATCH_ID_CHARS_MAX).contains(&chars).then(|| text.to_owned())
}

/// Reads `body` and hands its entries to `sink`, which is left as after [`Sink::restart`] and those entries.
///
/// Costs one pass over the bytes for what senders send, and a bounded number of passes for anything else; nothing
/// recurses. `readings_max` bounds what reaches the sink, not what is read: the edge bounds the bytes.
///
/// # Errors
/// When it is no batch; what reached the sink by then means nothing.
pub fn parse(body: &[u8], readings_max: usize, parser: Parser, sink: &mut impl Sink) -> Result<Parsed, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|error| Unreadable::NotUtf8 { at: error.valid_up_to() })?;
    sink.restart();
    if parser == Parser::Fast {
        if let Some(outline) = scan::read(text, readings_max, sink) {
            return outline.judge(readings_max, Reader::Scanner);
        }
        sink.restart();
        if let Some(outline) = tape::read(body, readings_max, sink) {
            return outline.judge(readings_max, Reader::SimdJson);
        }
        sink.restart();
    }
    raw::read(text, readings_max, sink)?.judge(readings_max, Reader::SerdeJson)
}

#[cfg(test)]
mod tests;
