//! Times as people give them: RFC 3339, a date, or a distance from now such as `24h` or `7d`.

use clap::Args;
use jiff::{Span, Timestamp, civil};

use super::client::Call;

/// A stretch of time that has passed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Period {
    /// From this time on: 2026-01-05T10:00:00Z, 2026-01-05, 24h (ago) …
    #[arg(long, value_name = "TIME", value_parser = past, visible_alias = "since")]
    pub(super) from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = past)]
    pub(super) to: Option<String>,
}

impl Period {
    /// The call, narrowed to it.
    pub(super) fn narrow<'a>(&self, call: Call<'a>) -> Call<'a> {
        call.query("from", self.from.as_deref()).query("to", self.to.as_deref())
    }
}

/// A time that has passed: `24h` is a day ago. For `value_parser`.
///
/// # Errors
/// When it is no time.
pub(super) fn past(text: &str) -> Result<String, String> {
    read(text, Timestamp::now(), -1)
}

/// A time to come: `24h` is in a day. For `value_parser`.
///
/// # Errors
/// When it is no time.
pub(super) fn future(text: &str) -> Result<String, String> {
    read(text, Timestamp::now(), 1)
}

fn read(text: &str, now: Timestamp, direction: i64) -> Result<String, String> {
    if text == "now" {
        return Ok(now.to_string());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_string());
    }
    if let Ok(date) = text.parse::<civil::Date>() {
        return read(&format!("{date}T00:00:00Z"), now, direction);
    }
    let bare = text.trim_start_matches(['+', '-']);
    let distance = bare.parse::<Span>().ok().and_then(|span| {
        // A day is 24 hours in UTC.
        let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        let seconds = span.as_secs().checked_mul(direction)?;
        now.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
    });
    let form = "give 2026-01-05T10:00:00Z, 2026-01-05 (00:00 UTC), or a distance from now such as 90m, 24h or 7d";
    distance.map(|time| time.to_string()).ok_or_else(|| form.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_relative() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for (text, direction, time) in [
            ("2026-01-05T10:00:00+02:00", -1, "2026-01-05T08:00:00Z"),
            ("2026-01-05", -1, "2026-01-05T00:00:00Z"),
            ("24h", -1, "2026-01-09T12:00:00Z"),
            ("-24h", -1, "2026-01-09T12:00:00Z"),
            ("7d", -1, "2026-01-03T12:00:00Z"),
            ("1w", -1, "2026-01-03T12:00:00Z"),
            ("90m", 1, "2026-01-10T13:30:00Z"),
            ("+2d", 1, "2026-01-12T12:00:00Z"),
            ("now", 1, "2026-01-10T12:00:00Z"),
        ] {
            assert_eq!(read(text, now, direction).as_deref(), Ok(time), "{text}");
        }
        for text in ["", "yesterday", "1", "2026-13-01", "h"] {
            assert!(read(text, now, -1).is_err(), "{text}");
        }
    }
}
