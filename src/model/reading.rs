//! One accepted reading, in the form that the spool and the store keep.

use super::{EquipmentNumber, MetricNumber};

/// A series: one metric of one piece of equipment. Equipment number and metric number packed into 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(u64);

impl SeriesId {
    /// The series of `metric` at `equipment`.
    #[must_use]
    pub const fn new(equipment: EquipmentNumber, metric: MetricNumber) -> Self {
        Self((equipment.0 as u64) << 16 | metric.0 as u64)
    }

    /// The packed number, below 2^48.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// From a packed number; the bits above 48 are dropped.
    #[must_use]
    pub const fn from_u64(packed: u64) -> Self {
        Self(packed & 0xffff_ffff_ffff)
    }

    /// Which equipment.
    #[must_use]
    pub const fn equipment(self) -> EquipmentNumber {
        EquipmentNumber((self.0 >> 16) as u32)
    }

    /// Which metric.
    #[must_use]
    pub const fn metric(self) -> MetricNumber {
        MetricNumber((self.0 & 0xffff) as u16)
    }
}

/// How far the sender trusts the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Quality {
    /// The default where the sender says nothing.
    #[default]
    Good = 0,
    /// Plausible, not certain.
    Uncertain = 1,
    /// Known to be wrong, kept for the record.
    Bad = 2,
}

impl Quality {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
        }
    }

    /// The quality called `name`, exactly as spelled.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "good" => Some(Self::Good),
            "uncertain" => Some(Self::Uncertain),
            "bad" => Some(Self::Bad),
            _ => None,
        }
    }

    /// From its byte in a record or chunk.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Good),
            1 => Some(Self::Uncertain),
            2 => Some(Self::Bad),
            _ => None,
        }
    }
}

/// One reading that passed every check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// What was measured, and where.
    pub series: SeriesId,
    /// When, in microseconds since the Unix epoch, UTC.
    pub timestamp_us: i64,
    /// How much, in the metric's own unit. Finite; never −0.0.
    pub value: f64,
    /// How far to trust it.
    pub quality: Quality,
}
