//! Numbers by RFC 8259, with what a double cannot tell: how many digits there were, and the exact decimal.

/// Digits that a `u64` always holds.
const DIGITS_MAX: u32 = 19;
/// Digits that a double can need to be told apart from its neighbours; more are lost in one.
const SIGNIFICANT_MAX: u32 = 17;
/// The largest integer up to which a double has every integer.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
const MANTISSA_EXACT: u64 = 1 << 53;
/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// The nearest double; infinite where it lies beyond all doubles; never −0.0.
    pub value: f64,
    /// Whether a double keeps less than was written: an integer beyond ±2^53, or more than 17 significant digits.
    /// Zeros at either end are not significant.
    pub loses_precision: bool,
    negative: bool,
    exponent: i32,
    /// The decimal is `mantissa * 10^exponent`; digits beyond the 19th are cut off.
    mantissa: u64,
}

impl Number {
    /// The number that `text` spells, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        scan(text.as_bytes(), 0).filter(|(_, end)| *end == text.len()).map(|(number, _)| number)
    }

    /// The exact decimal, times `10^power`, rounded towards minus infinity; the ends of `i64` where it lies beyond.
    #[must_use]
    pub fn scaled(&self, power: i32) -> i64 {
        let shift = self.exponent.saturating_add(power);
        let power = 10_u64.checked_pow(shift.unsigned_abs());
        let magnitude = match (shift < 0, power) {
            _ if self.mantissa == 0 => 0,
            (false, Some(power)) => i128::from(self.mantissa).saturating_mul(i128::from(power)),
            (false, None) => i128::MAX,
            (true, Some(power)) if self.negative => i128::from(self.mantissa.div_ceil(power)),
            (true, Some(power)) => i128::from(self.mantissa / power),
            (true, None) => i128::from(self.negative),
        };
        let signed = if self.negative { -magnitude } else { magnitude };
        signed.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// The number that starts at `at`, and where it ends. None where there is none by RFC 8259; what follows it is not
/// looked at.
pub(super) fn scan(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
    scan_short(bytes, at).or_else(|| scan_long(bytes, at))
}

/// As [`scan`], where it can be had cheaply: up to 15 digits and no exponent. Mantissa and power of ten are exact
/// then, so that one division rounds as it should. None says nothing.
#[inline(always)]
pub(super) fn scan_short(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let (mut mantissa, mut end) = (0_u64, start);
    // Overflow wraps here; so many digits are read again by `scan_long`.
    while let Some(digit) = digit_at(bytes, end) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        end += 1;
    }
    let integer_digits = end - start;
    if integer_digits == 0 || (integer_digits > 1 && bytes.get(start) == Some(&b'0')) {
        return None;
    }
    let mut fraction_digits = 0;
    if bytes.get(end) == Some(&b'.') {
        end += 1;
        let fraction = end;
        while let Some(digit) = digit_at(bytes, end) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            end += 1;
        }
        fraction_digits = end - fraction;
        if fraction_digits == 0 {
            return None;
        }
    }
    if integer_digits + fraction_digits > 15 || matches!(bytes.get(end), Some(b'e' | b'E')) {
        return None;
    }
    let magnitude = mantissa as f64 / POWERS[fraction_digits];
    // Adding 0.0 turns −0.0 into 0.0.
    let value = if negative { -magnitude } else { magnitude } + 0.0;
    let exponent = -(fraction_digits as i32);
    Some((Number { value, loses_precision: false, negative, exponent, mantissa }, end))
}

#[inline(always)]
fn digit_at(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit <= 9).then_some(u64::from(digit))
}

/// Digits gathered one by one: as many as fit into the mantissa, all of them counted.
#[derive(Default)]
struct Digits {
    mantissa: u64,
    /// Digits in the mantissa.
    kept: u32,
    /// Digits from the first that is not 0 to the last that is not 0.
    significant: u32,
    /// Zeros since then.
    zeros: u32,
    /// Digits before the point that did not fit any more.
    cut: i32,
}

impl Digits {
    /// All digits from `at` on; gives where they end.
    fn take(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(digit) = digit_at(bytes, at) {
            self.push(digit);
            at += 1;
        }
        at
    }

    fn push(&mut self, digit: u64) {
        if digit == 0 && self.significant > 0 {
            self.zeros = self.zeros.saturating_add(1);
        } else if digit != 0 {
            self.significant = self.significant.saturating_add(self.zeros).saturating_add(1);
            self.zeros = 0;
        }
        if self.kept < DIGITS_MAX {
            self.mantissa = self.mantissa * 10 + digit;
            self.kept += u32::from(self.mantissa != 0);
        } else {
            self.cut = self.cut.saturating_add(1);
        }
    }
}

/// As [`scan`]: any length, any exponent.
#[cold]
#[inline(never)]
pub(super) fn scan_long(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let mut digits = Digits::default();
    let mut end = digits.take(bytes, start);
    if end == start || (end > start + 1 && bytes.get(start) == Some(&b'0')) {
        return None;
    }
    let mut exponent = 0_i32;
    let mut integer = true;
    if bytes.get(end) == Some(&b'.') {
        integer = false;
        let fraction = end + 1;
        end = digits.take(bytes, fraction);
        if end == fraction {
            return None;
        }
        exponent = i32::try_from(end - fraction).map_or(i32::MIN, |digits| -digits);
    }
    exponent = exponent.saturating_add(digits.cut);
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        integer = false;
        let (power, behind) = scan_exponent(bytes, end + 1)?;
        exponent = exponent.saturating_add(power);
        end = behind;
    }
    let magnitude = magnitude(bytes.get(start..end)?, &digits, exponent)?;
    let value = if negative { -magnitude } else { magnitude } + 0.0;
    let loses_precision = digits.significant > SIGNIFICANT_MAX || (integer && magnitude_beyond(&digits, magnitude));
    Some((Number { value, loses_precision, negative, exponent, mantissa: digits.mantissa }, end))
}

fn scan_exponent(bytes: &[u8], mut at: usize) -> Option<(i32, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let start = at;
    let mut power = 0_i32;
    while let Some(digit) = digit_at(bytes, at) {
        power = power.saturating_mul(10).saturating_add(digit as i32);
        at += 1;
    }
    (at > start).then_some((if negative { -power } else { power }, at))
}

fn magnitude(unsigned: &[u8], digits: &Digits, exponent: i32) -> Option<f64> {
    if digits.cut == 0 && digits.mantissa <= MANTISSA_EXACT && exponent.unsigned_abs() <= 22 {
        let power = POWERS[exponent.unsigned_abs() as usize];
        return Some(if exponent < 0 { digits.mantissa as f64 / power } else { digits.mantissa as f64 * power });
    }
    std::str::from_utf8(unsigned).ok()?.parse().ok()
}

/// Whether an integer lies beyond 2^53. Its nearest double cannot tell 2^53 + 1; its digits can.
fn magnitude_beyond(digits: &Digits, magnitude: f64) -> bool {
    if digits.cut == 0 { digits.mantissa > MANTISSA_EXACT } else { magnitude > INTEGER_MAX }
}
