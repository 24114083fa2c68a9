//! Values as whole numbers of a decimal step, where that loses nothing. Sensors report 21.5, not 21.499998: the steps
//! from one reading to the next then fit one byte instead of eight, at a multiplication and a division a reading.

use super::super::Point;

/// Decimal digits at most. Beyond it a value is kept as it is.
pub(super) const DIGITS_MAX: u8 = 9;
const POWERS: [f64; DIGITS_MAX as usize + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Up to here the product of a value and a power is off by less than a quarter, so that rounding finds the number.
const STEPS_MAX: f64 = (1u64 << 50) as f64;
/// Adding and taking away 1.5 · 2^52 rounds to a whole number, without a call into the C library.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// `value` as a count of steps of 10^-`digits`; none where [`value_of`] would not give back the very same bits.
#[inline]
pub(super) fn steps_of(value: f64, digits: u8) -> Option<i64> {
    let power = POWERS[digits as usize];
    let product = value * power;
    // Not a number fails this comparison too.
    if product.abs() <= STEPS_MAX {
        let steps = (product + ROUNDER) - ROUNDER;
        if (steps / power).to_bits() == value.to_bits() {
            return Some(steps as i64);
        }
    }
    None
}

/// The value of `steps` steps of 10^-`digits`; `digits` is at most [`DIGITS_MAX`].
#[inline]
pub(super) fn value_of(steps: i64, digits: u8) -> f64 {
    steps as f64 / POWERS[digits as usize]
}

/// The fewest digits that lose nothing of any value; none where some value has no such form.
pub(super) fn digits_for(points: &[Point]) -> Option<u8> {
    let mut digits = 0;
    for point in points {
        while steps_of(point.value, digits).is_none() {
            if digits == DIGITS_MAX {
                return None;
            }
            digits += 1;
        }
    }
    // A large value that was fine with few digits may be too large with many.
    points.iter().all(|point| steps_of(point.value, digits).is_some()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_has_steps_comes_back_bit_by_bit(value: f64, digits in 0..=DIGITS_MAX) {
            if let Some(steps) = steps_of(value, digits) {
                prop_assert_eq!(value_of(steps, digits).to_bits(), value.to_bits());
            }
        }

        #[test]
        fn what_a_sensor_sends_has_steps(whole in -100_000i64..100_000, digits in 0u8..=4) {
            let value: f64 = format!("{whole}e-{digits}").parse().expect("a decimal number");
            prop_assert_eq!(steps_of(value, digits), (whole != 0 || !value.is_sign_negative()).then_some(whole));
        }
    }

    #[test]
    fn odd_values_are_kept_as_they_are() {
        for value in [-0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e300, 0.1 + 0.2, 1.0 / 3.0] {
            assert!((0..=DIGITS_MAX).all(|digits| steps_of(value, digits).is_none()), "{value}");
        }
    }
}
