use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Option<i64> {
    Rfc3339::default().parse(text)
}

fn epoch(token: &str) -> i64 {
    epoch_us(&Number::parse(token).expect("a number"))
}

// api.md §1: strict RFC 3339, lower-case t and z, numeric offsets, kept to the microsecond.
#[test]
fn what_rfc_3339_allows_is_read() {
    const T: i64 = 1_767_607_200_000_000;
    for (text, expected) in [
        ("2026-01-05T10:00:00Z", T),
        ("2026-01-05t10:00:00z", T),
        ("2026-01-05T10:00:00+00:00", T),
        ("2026-01-05T10:00:00-00:00", T),
        ("2026-01-05T12:30:00+02:30", T),
        ("2026-01-04T23:00:00-11:00", T),
        ("2026-01-05T10:00:00.1Z", T + 100_000),
        ("2026-01-05T10:00:00.123456Z", T + 123_456),
        ("2026-01-05T10:00:00.1234569Z", T + 123_456),
        ("2026-01-05T10:00:00.000000999999999999999999z", T),
        ("2026-01-05T10:00:00.5+01:00", T - 3_600_000_000 + 500_000),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ] {
        assert_eq!(parse(text), Some(expected), "{text}");
    }
}

// api.md §1: second 60 is not allowed, nor anything that only general parsers take.
#[test]
fn what_rfc_3339_does_not_allow_is_refused() {
    for text in [
        "",
        "2026-01-05",
        "2026-01-05T10:00Z",
        "2026-01-05T10:00:00",
        "2026-01-05 10:00:00Z",
        "2026-01-05T10:00:60Z",
        "2026-01-05T10:60:00Z",
        "2026-01-05T24:00:00Z",
        "2026-01-05T10:00:00.Z",
        "2026-01-05T10:00:00,5Z",
        "2026-01-05T10:00:00+02",
        "2026-01-05T10:00:00+0200",
        "2026-01-05T10:00:00+24:00",
        "2026-01-05T10:00:00+01:60",
        "2026-01-05T10:00:00Z[Europe/Paris]",
        "2026-01-05T10:00:00 Z",
        " 2026-01-05T10:00:00Z",
        "2026-01-05T10:00:00ZZ",
        "20260105T100000Z",
        "2026-1-05T10:00:00Z",
        "2026-00-05T10:00:00Z",
        "2026-13-05T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "1900-02-29T10:00:00Z",
        "2026-04-31T10:00:00Z",
        "2026-01-00T10:00:00Z",
        "+2026-01-05T10:00:00Z",
        "-026-01-05T10:00:00Z",
        "2026-01-05T1a:00:00Z",
        "2026-01-05T10:00:0:Z",
        "2026/01/05T10:00:00Z",
        "2026-01-05T10-00-00Z",
        "2026-W02-1T10:00:00Z",
        "1767607200",
        "now",
        "２026-01-05T10:00:00Z",
        "2026-01-05T10:00:00−01:00",
        "2026-01-05T10:00:00+1:00",
        "2026-01-05T10:00:00.5",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

// A head that was refused is refused again, and a good one after it is read.
#[test]
fn the_memory_holds_only_what_was_good() {
    let mut reader = Rfc3339::default();
    for _ in 0..2 {
        assert_eq!(reader.parse("2026-01-05T10:00:00Z"), Some(1_767_607_200_000_000));
        assert_eq!(reader.parse("2026-01-05T10:00:01Z"), Some(1_767_607_201_000_000));
        assert_eq!(reader.parse("2026-01-05T25:00:01Z"), None);
        assert_eq!(reader.parse("2026-02-30T10:00:01Z"), None);
        assert_eq!(reader.parse("2026-01-05T10:00:01+00:01"), Some(1_767_607_141_000_000));
        assert_eq!(reader.parse("2026-01-06T10:00:01Z"), Some(1_767_693_601_000_000));
    }
    assert_eq!(parse(&format!("{}Z", "\0".repeat(19))), None);
    assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
}

// api.md §1: the unit of an epoch number follows from its size.
#[test]
fn epoch_numbers_tell_their_unit_by_their_size() {
    const T: i64 = 1_767_607_200_123_456;
    for (token, expected) in [
        ("1767607200.123456", T),
        ("1767607200123.456", T),
        ("1767607200123456", T),
        ("1767607200123456789", T),
        ("1767607200.1234569", T),
        ("1.767607200123456e9", T),
        ("1767607200", 1_767_607_200_000_000),
        ("0", 0),
        ("-1.5", -1_500_000),
        ("4999999999", 4_999_999_999_000_000),
        ("5000000000", 5_000_000_000_000),
        ("4999999999999", 4_999_999_999_999_000),
        ("5000000000000", 5_000_000_000_000),
        ("4999999999999999", 4_999_999_999_999_999),
        ("5000000000000000", 5_000_000_000_000),
        ("1e400", i64::MAX),
        ("-1e400", i64::MIN),
    ] {
        assert_eq!(epoch(token), expected, "{token}");
    }
}

// api.md §1: −7 days … +10 minutes; §6: a backfill grant ends by itself.
#[test]
fn the_window_is_wider_while_a_grant_lasts() {
    fn window(received_at_us: i64, grant: Option<&BackfillGrant>) -> Window {
        Window::new(received_at_us, 604_800, 600, grant)
    }
    let now = 1_767_607_200_000_000;
    let plain = Window { earliest_us: now - 604_800_000_000, latest_us: now + 600_000_000 };
    assert_eq!(window(now, None), plain);
    let grant = |window_start_us, until_us| BackfillGrant { window_start_us, until_us };
    assert_eq!(window(now, Some(&grant(5, now + 1))), Window { earliest_us: 5, ..plain });
    assert_eq!(window(now, Some(&grant(5, now))), plain);
    assert_eq!(window(now, Some(&grant(now, now + 1))), plain, "a grant never narrows the window");
}

proptest! {
    // Differential: on the strict subset jiff says the same.
    #[test]
    fn jiff_agrees_on_strict_timestamps(
        (year, month, day) in (0i64..=9999, 1u32..=12, 1u32..=31),
        (hour, minute, second) in (0u32..24, 0u32..60, 0u32..60),
        fraction in "(\\.[0-9]{1,9})?",
        zone in "[Zz]|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
        letter in "[Tt]",
    ) {
        let text = format!("{year:04}-{month:02}-{day:02}{letter}{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
        let ours = parse(&text);
        match text.parse::<jiff::Timestamp>() {
            Ok(theirs) => {
                let us = theirs.as_nanosecond().div_euclid(1_000);
                prop_assert_eq!(ours.map(i128::from), Some(us), "{}", text);
            }
            // jiff leaves room at its ends for every offset.
            Err(_) if year == 9999 && month == 12 => {}
            Err(error) => prop_assert_eq!(ours, None, "{}: {}", text, error),
        }
    }

    #[test]
    fn whatever_is_read_is_read_by_jiff_as_well(text in "[0-9]{4}[-:][0-9]{2}[-0-9][0-9]{2}[TtZ 0-9][0-9]{2}:[0-9]{2}[:.][0-9]{2}[.0-9]{0,3}(Z|[+-][0-9]{2}:[0-9]{2})?") {
        if let Some(us) = parse(&text)
            && let Ok(theirs) = text.parse::<jiff::Timestamp>()
        {
            prop_assert_eq!(i128::from(us), theirs.as_nanosecond().div_euclid(1_000), "{}", text);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), after in any::<String>()) {
        let mut reader = Rfc3339::default();
        let first = reader.parse(&text);
        reader.parse(&after);
        prop_assert_eq!(reader.parse(&text), first);
    }
}
