//! One entry of a batch as it was read: eight fields, not yet judged.

use super::number::Number;

/// A field of an entry that means something. All others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// The sender's own name for the entry.
    Id,
    /// The equipment by our id.
    EquipmentId,
    /// The equipment by the sender's name for it.
    ExternalId,
    /// What was measured.
    Metric,
    /// How much.
    Value,
    /// In which unit.
    Unit,
    /// When.
    Timestamp,
    /// How far to trust it.
    Quality,
}

impl Field {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Id,
        Self::EquipmentId,
        Self::ExternalId,
        Self::Metric,
        Self::Value,
        Self::Unit,
        Self::Timestamp,
        Self::Quality,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::EquipmentId => "equipment_id",
            Self::ExternalId => "external_id",
            Self::Metric => "metric",
            Self::Value => "value",
            Self::Unit => "unit",
            Self::Timestamp => "timestamp",
            Self::Quality => "quality",
        }
    }

    /// The field called `name`, exactly as spelled.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

/// What stood behind a field's colon.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Value<'a> {
    /// The field is not there.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A string, its escapes resolved.
    Text(&'a str),
    /// A string that JSON allows and no text can hold: half of a surrogate pair.
    Garbled,
    /// A number.
    Number(Number),
    /// An array or an object; nobody looked into it.
    Nested,
}

/// One entry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<'a> {
    /// Only those in `seen` mean something: a scanner that clears `seen` alone need not write the rest anew.
    values: [Value<'a>; 8],
    seen: u8,
    duplicate: Option<Field>,
}

impl<'a> Entry<'a> {
    /// What `field` holds.
    #[inline]
    #[must_use]
    pub const fn get(&self, field: Field) -> Value<'a> {
        if self.seen & (1 << field as u8) == 0 { Value::Absent } else { self.values[field as usize] }
    }

    /// The first field that was given a second time.
    #[inline]
    #[must_use]
    pub const fn duplicate(&self) -> Option<Field> {
        self.duplicate
    }

    /// An entry without fields again.
    #[inline]
    pub(super) const fn clear(&mut self) {
        self.seen = 0;
        self.duplicate = None;
    }

    /// The first of two stands; that there was a second is remembered.
    #[inline(always)]
    pub(super) fn set(&mut self, field: Field, value: Value<'a>) {
        let bit = 1 << field as u8;
        if self.seen & bit != 0 {
            self.duplicate = self.duplicate.or(Some(field));
        } else {
            self.seen |= bit;
            self.values[field as usize] = value;
        }
    }

    /// Puts a string that had to be unescaped in the place it was read from.
    pub(super) fn resolve(&mut self, field: Field, text: &'a str) {
        self.values[field as usize] = Value::Text(text);
    }
}

/// Takes the entries of a batch as they are read, in order.
///
/// A reader that finds the body too much for it is followed by the next, from the start: `restart` throws away what
/// came so far. What came before an error is worth nothing either: only when the whole body is known to be JSON does
/// it count.
pub trait Sink {
    /// Forget everything; the batch is read anew.
    fn restart(&mut self);
    /// The next entry, with its place in the array.
    fn entry(&mut self, index: usize, entry: &Entry<'_>);
    /// The next entry is not an object.
    fn not_an_object(&mut self, index: usize);
}
