//! Times at the edge: RFC 3339 outside, microseconds (Unix, UTC) inside.

use jiff::Timestamp;

/// The microsecond that `text` means, if it is RFC 3339.
pub(crate) fn parse(text: &str) -> Option<i64> {
    // jiff takes more than RFC 3339: dates with a space, with a zone's name, without seconds.
    let bytes = text.as_bytes();
    let has_form = bytes.len() >= 20
        && bytes[4] == b'-'
        && matches!(bytes[10], b'T' | b't')
        && bytes[16] == b':'
        && !text.contains('[');
    if !has_form {
        return None;
    }
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// `us` as RFC 3339 in UTC, with as many digits as it needs.
pub(crate) fn format(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Likewise, where there may be none.
pub(crate) fn format_some(us: Option<i64>) -> Option<String> {
    us.map(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_in_and_out() {
        for (text, out) in [
            ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z"),
            ("2026-01-05t12:00:00.25+02:00", "2026-01-05T10:00:00.25Z"),
            ("2026-01-05T10:00:00.000001z", "2026-01-05T10:00:00.000001Z"),
            ("1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59.9Z"),
        ] {
            assert_eq!(format(parse(text).expect(text)), out);
        }
        for text in
            ["", "2026-01-05", "2026-01-05 10:00:00Z", "2026-01-05T10:00:00", "1767607200", "2026-13-05T10:00:00Z"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("2026-01-05T10:00:00+01:00[Europe/Berlin]"), None);
    }
}
