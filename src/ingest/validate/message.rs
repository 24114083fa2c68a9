//! Sentences about refused entries: what the sender sent may stand in them, a little of it, and harmless.

use std::fmt::Write as _;

/// Characters of the input that a message repeats, at most.
const ECHO_CHARS_MAX: usize = 64;

/// `text` in quotes, cut short, with everything escaped that does not show or that turns the line around. What looks
/// like one of our credentials, put into the wrong field, is not repeated at all.
#[must_use]
pub(super) fn quoted(text: &str) -> String {
    if text.contains("grq_") || text.contains("eyJ") {
        return "a value that looks like a credential".to_owned();
    }
    let mut out = String::with_capacity(text.len().min(ECHO_CHARS_MAX) + 8);
    out.push('"');
    for (count, c) in text.chars().enumerate() {
        if count == ECHO_CHARS_MAX {
            out.push('…');
            break;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if is_hidden(c) => out.extend(c.escape_unicode()),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Control characters, line separators, and marks without width that change the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number as people write it, at most about 24 characters.
#[must_use]
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size.is_infinite() => "a number too large to be kept".to_owned(),
        size if size != 0.0 && !(1e-6..1e15).contains(&size) => format!("{value:e}"),
        _ => format!("{value}"),
    }
}

/// A time as RFC 3339 in UTC.
#[must_use]
pub(super) fn time(timestamp_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(timestamp_us) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) if timestamp_us < 0 => "before the year -9999".to_owned(),
        Err(_) => "after the year 9999".to_owned(),
    }
}

/// `names` as a list for people: `a, b or c`.
#[must_use]
pub(super) fn either<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let mut out = String::new();
    for (i, name) in names.iter().enumerate() {
        let joint = match i {
            0 => "",
            _ if i + 1 == names.len() => " or ",
            _ => ", ",
        };
        write!(out, "{joint}{name}").expect("a String takes everything");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_short_and_harmless() {
        assert_eq!(quoted("AA:BB"), r#""AA:BB""#);
        assert_eq!(quoted("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quoted("a\nb\0\u{202e}c\u{7f}"), r#""a\u{a}b\u{0}\u{202e}c\u{7f}""#);
        assert_eq!(quoted(&"ü".repeat(65)), format!("\"{}…\"", "ü".repeat(64)));
        assert_eq!(quoted(&"x".repeat(64)), format!("\"{}\"", "x".repeat(64)));
        assert!(!quoted("grq_live_0123456789").contains("0123"));
        assert!(!quoted("Bearer eyJhbGciOi").contains("hbGci"));
    }

    #[test]
    fn numbers_and_times_are_as_people_write_them() {
        assert_eq!([number(141.0), number(-0.5), number(1e300), number(0.0)], ["141", "-0.5", "1e300", "0"]);
        assert_eq!(number(f64::INFINITY), "a number too large to be kept");
        assert_eq!(time(1_767_607_200_000_000), "2026-01-05T10:00:00Z");
        assert_eq!(time(i64::MAX), "after the year 9999");
        assert_eq!(either(["a", "b", "c"]), "a, b or c");
    }
}
