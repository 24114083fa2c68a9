//! One held reading, whoever refused it, and which ones are meant.

use std::{fmt, str::FromStr};

use crate::model::{EquipmentNumber, IntegrationId, Reading, RequestId};

/// The name of a held reading. Text outside: `refused-7`, `rejected-7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemId {
    /// Accepted, and refused by the store.
    Refused(i64),
    /// Rejected when it came, by an integration's wish kept.
    Rejected(i64),
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(number) => write!(f, "refused-{number}"),
            Self::Rejected(number) => write!(f, "rejected-{number}"),
        }
    }
}

/// The text names nothing that could be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no id of the quarantine")]
pub struct NoItemId;

impl FromStr for ItemId {
    type Err = NoItemId;

    fn from_str(text: &str) -> Result<Self, NoItemId> {
        let (kind, number) = text.split_once('-').ok_or(NoItemId)?;
        let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_plain).ok_or(NoItemId)?;
        match kind {
            "refused" => Ok(Self::Refused(number)),
            "rejected" => Ok(Self::Rejected(number)),
            _ => Err(NoItemId),
        }
    }
}

/// Who refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The store, after it was accepted.
    Refused,
    /// We, when it came.
    Rejected,
}

impl Kind {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Rejected => "rejected",
        }
    }

    /// The kind called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Refused, Self::Rejected].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A reading that is held, with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// Whose; none: what came cannot be read, so nobody knows.
    pub integration_id: Option<IntegrationId>,
    /// By which request it came.
    pub request_id: Option<RequestId>,
    /// When it came, microseconds since the Unix epoch.
    pub received_us: Option<i64>,
    /// When it was put here, microseconds since the Unix epoch.
    pub held_us: i64,
    /// Why, in a sentence for people.
    pub reason: String,
    /// What it is.
    pub held: Held,
}

/// What is held.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// A reading that was accepted and that the store refused.
    Reading(Reading),
    /// So many bytes of the spool that cannot be read.
    Unreadable(usize),
    /// An entry as it was sent.
    Entry(Box<Entry>),
}

/// An entry that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's code.
    pub code: String,
    /// The field that is to blame.
    pub field: Option<String>,
    /// As the entry names its equipment.
    pub external_id: Option<String>,
    /// As the entry names its equipment.
    pub equipment_id: Option<String>,
    /// As the entry names it.
    pub metric: Option<String>,
    /// The entry, byte for byte.
    pub json: String,
    /// Which edge it came in by.
    pub transport: String,
    /// How often the same entry came.
    pub seen: u32,
    /// How often it was sent again and refused again.
    pub replays: u32,
    /// When last, microseconds since the Unix epoch.
    pub replayed_us: Option<i64>,
}

/// Which held readings are meant; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of these integrations alone.
    pub integrations: Vec<IntegrationId>,
    /// Also what cannot be read, of which nobody knows whose it is.
    pub with_unreadable: bool,
    /// Refused by whom.
    pub kind: Option<Kind>,
    /// With this entry code: rejected ones.
    pub code: Option<String>,
    /// Rejected ones whose entry names this external id, and refused ones of `equipment`.
    pub external_id: Option<String>,
    /// The equipment of `external_id`, where it is registered.
    pub equipment: Vec<EquipmentNumber>,
    /// Of this request.
    pub request_id: Option<RequestId>,
    /// Put here not before, in microseconds since the Unix epoch.
    pub from_us: Option<i64>,
    /// Put here before, in microseconds since the Unix epoch.
    pub to_us: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_went() {
        for id in [ItemId::Refused(1), ItemId::Rejected(i64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "refused", "refused-", "refused--1", "refused-+1", "stored-1", "rejected-9223372036854775808"]
        {
            assert_eq!(text.parse::<ItemId>(), Err(NoItemId), "{text}");
        }
    }
}
