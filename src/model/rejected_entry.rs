//! A refused entry as the API log keeps it: enough to find the reading again, nothing of its value.

use super::EntryCode;

/// Refused entries of one batch that are kept, at most; the rest is counted.
pub const REJECTED_ENTRIES_MAX: usize = 20;
/// Bytes of a name that are kept.
pub const NAME_BYTES_MAX: usize = 64;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedEntry {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// Why.
    pub code: EntryCode,
    /// The partner's name for the equipment, where it was given; cut to [`NAME_BYTES_MAX`].
    pub external_id: Option<Box<str>>,
    /// Our id for it, as given; likewise.
    pub equipment_id: Option<Box<str>>,
    /// The metric, as given; likewise.
    pub metric: Option<Box<str>>,
    /// When it was measured, microseconds since the Unix epoch, where that could be read.
    pub timestamp_us: Option<i64>,
}

/// `text` as far as it is kept. A text that looks like a credential that came in the wrong field is not kept at all.
#[must_use]
pub fn kept(text: &str) -> Option<&str> {
    if looks_secret(text) {
        return None;
    }
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end)
}

/// Whether `text` has a part that begins as our secrets or as a JWT do.
#[must_use]
pub fn looks_secret(text: &str) -> bool {
    ["grq_live_", "grq_cs_", "eyJ"].iter().any(|beginning| text.contains(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    // S300: what a sender puts into the wrong field must not end in the log.
    #[test]
    fn secrets_are_not_kept_and_long_names_are_cut() {
        assert_eq!(kept("AA:BB:01"), Some("AA:BB:01"));
        for secret in ["grq_live_0123", "x grq_cs_1", "Bearer eyJhbGciOi"] {
            assert_eq!(kept(secret), None, "{secret}");
        }
        assert_eq!(kept(&"é".repeat(40)).map(str::len), Some(64));
        assert_eq!(kept(&"日".repeat(40)).map(str::len), Some(63));
    }
}
