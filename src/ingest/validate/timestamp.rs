//! Timestamps: strict RFC 3339 by hand, and epoch numbers. All of them end as microseconds since the Unix epoch.
//!
//! A general parser costs as much as everything else that is done to a reading, and is laxer than the contract
//! (`24:00`, `:60`, `+02`, `[Europe/Paris]`), so this one is our own.

use crate::{ingest::parse::number::Number, model::integration::BackfillGrant};

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Reads RFC 3339, and remembers the last second and the last day: neighbours mostly share them.
#[derive(Debug)]
pub(super) struct Rfc3339 {
    head: [u8; 19],
    /// The second that `head` spells, as if it were UTC.
    head_s: i64,
    /// The first second of the day that `head` spells.
    day_s: i64,
}

impl Default for Rfc3339 {
    /// Remembers the epoch: any good second will do.
    fn default() -> Self {
        Self { head: *b"1970-01-01T00:00:00", head_s: 0, day_s: 0 }
    }
}

impl Rfc3339 {
    /// `text` in microseconds since the Unix epoch; digits beyond the microsecond are cut off. None where it is not
    /// strict RFC 3339: four-digit year, `T` or `t`, second 00 to 59, an offset or `Z` or `z`.
    #[inline]
    pub(super) fn parse(&mut self, text: &str) -> Option<i64> {
        let (head, tail) = text.as_bytes().split_first_chunk::<19>()?;
        if *head != self.head {
            self.read_head(head)?;
        }
        let whole_us = self.head_s * SECOND_US;
        if tail == b"Z" {
            return Some(whole_us);
        }
        let (fraction_us, offset_s) = tail_of(tail)?;
        Some(whole_us - offset_s * SECOND_US + fraction_us)
    }

    fn read_head(&mut self, head: &[u8; 19]) -> Option<()> {
        if head[10] | 0x20 != b't' || head[13] != b':' || head[16] != b':' {
            return None;
        }
        let (hour, minute, second) = (two(head, 11)?, two(head, 14)?, two(head, 17)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        // Nothing is remembered before the whole head is known to be good: a head that was refused must be refused
        // again.
        let day_s = if head[..10] == self.head[..10] { self.day_s } else { day(head)? * DAY_S };
        self.head = *head;
        self.day_s = day_s;
        self.head_s = day_s + hour * 3_600 + minute * 60 + second;
        Some(())
    }
}

/// `YYYY-MM-DD` in days since the Unix epoch.
fn day(head: &[u8; 19]) -> Option<i64> {
    if head[4] != b'-' || head[7] != b'-' {
        return None;
    }
    let (year, month, day) = (two(head, 0)? * 100 + two(head, 2)?, two(head, 5)?, two(head, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    // Years that begin in March put the leap day last; 719,468 days lie between 0000-03-01 and 1970-01-01.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Two digits at `at`.
#[inline]
fn two(head: &[u8; 19], at: usize) -> Option<i64> {
    let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

/// What follows the seconds: microseconds of the fraction, and seconds that local time is ahead of UTC.
fn tail_of(tail: &[u8]) -> Option<(i64, i64)> {
    let mut fraction_us = 0;
    let mut at = 0;
    if tail.first() == Some(&b'.') {
        let digits = tail[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..6 {
            let digit = if place < digits { tail[1 + place] - b'0' } else { 0 };
            fraction_us = fraction_us * 10 + i64::from(digit);
        }
        at = 1 + digits;
    }
    let offset_s = match *tail.get(at..)? {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(u8::is_ascii_digit) => {
            let value = |tens: u8, ones: u8| i64::from((tens - b'0') * 10 + (ones - b'0'));
            let (hours, minutes) = (value(h1, h2), value(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead_s = hours * 3_600 + minutes * 60;
            if sign == b'+' { ahead_s } else { -ahead_s }
        }
        _ => return None,
    };
    Some((fraction_us, offset_s))
}

/// An epoch number in microseconds; its size tells its unit: below 5e9 seconds, below 5e12 milliseconds, below 5e15
/// microseconds, else nanoseconds. Fractions are kept to the microsecond. Beyond `i64`: its nearest end.
#[must_use]
pub(super) fn epoch_us(number: &Number) -> i64 {
    number.scaled(match number.value.abs() {
        size if size < 5e9 => 6,
        size if size < 5e12 => 3,
        size if size < 5e15 => 0,
        _ => -3,
    })
}

/// The time that readings of a batch may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Oldest, inclusive, in microseconds since the Unix epoch.
    pub earliest_us: i64,
    /// Newest, inclusive.
    pub latest_us: i64,
}

impl Window {
    /// The window around `received_at_us`, reaching further back while `grant` lasts.
    #[must_use]
    pub fn new(received_at_us: i64, past_max_s: u32, future_max_s: u32, grant: Option<&BackfillGrant>) -> Self {
        let earliest_us = received_at_us - i64::from(past_max_s) * SECOND_US;
        let granted = grant.filter(|grant| received_at_us < grant.until_us).map(|grant| grant.window_start_us);
        Self {
            earliest_us: granted.map_or(earliest_us, |start_us| start_us.min(earliest_us)),
            latest_us: received_at_us + i64::from(future_max_s) * SECOND_US,
        }
    }
}

#[cfg(test)]
mod tests;
