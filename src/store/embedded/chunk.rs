//! The open chunk: readings of one series within one hour, as bytes that grow at their end.
//!
//! Layout, little endian: `version u8 = 1`, `form u8`, `checksum u32`, `count u16`, `last offset u32`,
//! `last steps i64`, then per reading a varint of the time since the one before (in units of the form; two more bits
//! for the quality where not all are good), and the value: the zigzag varint of its decimal steps since the one before,
//! or the f64. The checksum covers all of it and the key, in a way that lets it grow with the readings: CRC-32 of
//! version, form, key and readings, xor CRC-32 of the fields behind it.

use super::{
    super::Point,
    decimal,
    varint::{self, unzigzag, zigzag},
};
use crate::model::Quality;

/// Microseconds of an hour.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// Bytes of a body at most: four rows share a page of 16 KiB, and none needs an overflow page (SQLite keeps up to
/// 4,086 bytes of a row in the tree of a table without row ids).
pub(super) const BODY_BYTES_MAX: usize = 4_000;
/// Bytes before the first reading.
const HEADER_BYTES: usize = 20;
/// Bytes of one reading at most: a varint of a 34-bit time and a varint of a 52-bit value, or 8 bytes.
const READING_BYTES_MAX: usize = 5 + 8;
const VERSION: u8 = 1;
/// Microseconds in a unit of time; the place in the list stands in the form.
pub(super) const UNITS_US: [u32; 3] = [1, 1_000, 1_000_000];
const QUALITIES: u8 = 0b100;
/// In place of the digits: values are f64.
const PLAIN: u8 = 15;

/// Which hour of which series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Hours since the Unix epoch, rounded down.
    pub(super) hour: i64,
    /// Packed number of the series.
    pub(super) series: u64,
}

impl Key {
    /// The hour that `timestamp_us` falls into.
    pub(super) const fn hour_of(timestamp_us: i64) -> i64 {
        timestamp_us.div_euclid(HOUR_US)
    }

    /// First microsecond of the hour. At the far ends of time it wraps, and wraps back when an offset is added.
    pub(super) const fn start_us(self) -> i64 {
        self.hour.wrapping_mul(HOUR_US)
    }
}

/// Bytes that no version of this program wrote, or that changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// Ends within a reading or the header.
    #[error("it ends early")]
    Short,
    /// A version, unit or number of digits that is not known.
    #[error("it has an unknown form")]
    Form,
    /// The checksum differs.
    #[error("its checksum does not fit")]
    Checksum,
    /// Count, order or last reading disagree with the readings.
    #[error("its readings contradict its header")]
    Contents,
}

/// How the readings of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    unit: u8,
    qualities: bool,
    digits: Option<u8>,
}

impl Form {
    /// The shortest form that loses nothing of `points`.
    fn fitting(points: &[Point]) -> Self {
        let fits = |unit_us: u32| points.iter().all(|point| point.timestamp_us.rem_euclid(i64::from(unit_us)) == 0);
        let unit = (1..UNITS_US.len()).rev().find(|&unit| fits(UNITS_US[unit])).unwrap_or(0);
        Self {
            unit: unit as u8,
            qualities: points.iter().any(|point| point.quality != Quality::Good),
            digits: decimal::digits_for(points),
        }
    }

    fn to_byte(self) -> u8 {
        self.unit | if self.qualities { QUALITIES } else { 0 } | self.digits.unwrap_or(PLAIN) << 4
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let (unit, digits) = (byte & 0b11, byte >> 4);
        let known = usize::from(unit) < UNITS_US.len()
            && byte & 0b1000 == 0
            && (digits <= decimal::DIGITS_MAX || digits == PLAIN);
        known.then_some(Self { unit, qualities: byte & QUALITIES != 0, digits: (digits != PLAIN).then_some(digits) })
    }
}

/// The header, taken apart.
#[derive(Debug, Clone, Copy)]
struct Header {
    form: Form,
    /// Of version, form, key and readings.
    checksum: u32,
    count: u16,
    /// Offset of the last reading from the start of the hour, in units.
    last_offset: u32,
    /// Decimal steps of the last reading; 0 where values are f64.
    last_steps: i64,
}

impl Header {
    fn parse(body: &[u8]) -> Result<Self, Damage> {
        let head = body.first_chunk::<HEADER_BYTES>().ok_or(Damage::Short)?;
        let form = Form::from_byte(head[1]).filter(|_| head[0] == VERSION).ok_or(Damage::Form)?;
        let checksum = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
        Ok(Self {
            form,
            checksum: checksum ^ crc32fast::hash(&head[6..]),
            count: u16::from_le_bytes([head[6], head[7]]),
            last_offset: u32::from_le_bytes([head[8], head[9], head[10], head[11]]),
            last_steps: i64::from_le_bytes([
                head[12], head[13], head[14], head[15], head[16], head[17], head[18], head[19],
            ]),
        })
    }

    fn write(&self, body: &mut [u8]) {
        body[0] = VERSION;
        body[1] = self.form.to_byte();
        body[6..8].copy_from_slice(&self.count.to_le_bytes());
        body[8..12].copy_from_slice(&self.last_offset.to_le_bytes());
        body[12..20].copy_from_slice(&self.last_steps.to_le_bytes());
        let checksum = self.checksum ^ crc32fast::hash(&body[6..HEADER_BYTES]);
        body[2..6].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The checksum of a body without readings: a body that strayed to another key does not fit.
    fn seed(key: Key, form: Form) -> u32 {
        let mut bytes = [0; 18];
        bytes[0] = VERSION;
        bytes[1] = form.to_byte();
        bytes[2..10].copy_from_slice(&key.series.to_le_bytes());
        bytes[10..].copy_from_slice(&key.hour.to_le_bytes());
        crc32fast::hash(&bytes)
    }

    fn checked(key: Key, body: &[u8]) -> Result<Self, Damage> {
        let header = Self::parse(body)?;
        if checksum(Self::seed(key, header.form), &body[HEADER_BYTES..]) != header.checksum {
            return Err(Damage::Checksum);
        }
        Ok(header)
    }

    fn last_us(&self, key: Key) -> i64 {
        let unit_us = i64::from(UNITS_US[usize::from(self.form.unit)]);
        key.start_us().wrapping_add(i64::from(self.last_offset) * unit_us)
    }
}

/// CRC-32 of `bytes`, going on from `seed`.
pub(super) fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Timestamp of the last reading of `body`, once the checksum has been found right.
pub(super) fn last_us(key: Key, body: &[u8]) -> Result<i64, Damage> {
    Header::checked(key, body).map(|header| header.last_us(key))
}

/// Begins a body in `out` (which is emptied) with the first of `points`, which are of `key` and strictly ascending,
/// and gives how many it took: as many as have room, at least one.
pub(super) fn begin(key: Key, points: &[Point], out: &mut Vec<u8>) -> usize {
    let form = Form::fitting(points);
    let header = Header { form, count: 0, checksum: Header::seed(key, form), last_offset: 0, last_steps: 0 };
    out.clear();
    out.resize(HEADER_BYTES, 0);
    let taken = extend_by(header, points, out);
    debug_assert!(taken > 0 || points.is_empty(), "a fitting form takes the first reading");
    taken
}

/// Appends to `body`, which [`last_us`] found right, as many of `points` as fit its form and have room, and gives
/// their number. All are later than the last reading of the body and strictly ascending.
pub(super) fn extend(body: &mut Vec<u8>, points: &[Point]) -> Result<usize, Damage> {
    let header = Header::parse(body)?;
    Ok(extend_by(header, points, body))
}

fn extend_by(mut header: Header, points: &[Point], out: &mut Vec<u8>) -> usize {
    let from = out.len();
    let unit_us = UNITS_US[usize::from(header.form.unit)];
    let mut taken = 0;
    for point in points {
        if out.len() + READING_BYTES_MAX > BODY_BYTES_MAX {
            break;
        }
        // Below 3.6 · 10^9, hence within 32 bits.
        let offset_us = point.timestamp_us.rem_euclid(HOUR_US) as u32;
        if !offset_us.is_multiple_of(unit_us) {
            break;
        }
        let steps = match header.form.digits {
            Some(digits) => match decimal::steps_of(point.value, digits) {
                Some(steps) => steps,
                None => break,
            },
            None => 0,
        };
        let offset = offset_us / unit_us;
        let delta = u64::from(offset.wrapping_sub(header.last_offset));
        if header.form.qualities {
            varint::put(delta << 2 | point.quality as u64, out);
        } else if point.quality == Quality::Good {
            varint::put(delta, out);
        } else {
            break;
        }
        if header.form.digits.is_some() {
            varint::put(zigzag(steps.wrapping_sub(header.last_steps)), out);
        } else {
            out.extend_from_slice(&point.value.to_le_bytes());
        }
        header.last_offset = offset;
        header.last_steps = steps;
        taken += 1;
    }
    // Room for BODY_BYTES_MAX bytes at two bytes a reading keeps the count far below 2^16.
    header.count = header.count.wrapping_add(taken as u16);
    header.checksum = checksum(header.checksum, &out[from..]);
    header.write(out);
    taken
}

/// Appends the readings of `body` to `out`, earliest first.
///
/// # Errors
/// On any byte that is not as it was written; `out` may then hold a part of them.
pub(super) fn decode(key: Key, body: &[u8], out: &mut Vec<Point>) -> Result<(), Damage> {
    let header = Header::checked(key, body)?;
    decode_checked(key, header, &body[HEADER_BYTES..], out)
}

fn decode_checked(key: Key, header: Header, mut bytes: &[u8], out: &mut Vec<Point>) -> Result<(), Damage> {
    let form = header.form;
    let unit_us = u64::from(UNITS_US[usize::from(form.unit)]);
    let (mut offset, mut steps) = (0u64, 0i64);
    // A reading has two bytes at least: a wild count cannot ask for more memory than the body allows.
    out.reserve(usize::from(header.count).min(bytes.len() / 2));
    for index in 0..header.count {
        let head = varint::take(&mut bytes).ok_or(Damage::Short)?;
        let (delta, quality) = if form.qualities {
            (head >> 2, Quality::from_u8((head & 0b11) as u8).ok_or(Damage::Contents)?)
        } else {
            (head, Quality::Good)
        };
        offset = offset.checked_add(delta).ok_or(Damage::Contents)?;
        if (delta == 0 && index > 0) || offset.checked_mul(unit_us).is_none_or(|us| us >= HOUR_US as u64) {
            return Err(Damage::Contents);
        }
        let value = match form.digits {
            Some(digits) => {
                steps = steps.wrapping_add(unzigzag(varint::take(&mut bytes).ok_or(Damage::Short)?));
                decimal::value_of(steps, digits)
            }
            None => {
                let (value, rest) = bytes.split_first_chunk::<8>().ok_or(Damage::Short)?;
                bytes = rest;
                f64::from_le_bytes(*value)
            }
        };
        let timestamp_us = key.start_us().wrapping_add((offset * unit_us) as i64);
        out.push(Point { timestamp_us, value, quality });
    }
    if !bytes.is_empty() || offset != u64::from(header.last_offset) || steps != header.last_steps {
        return Err(Damage::Contents);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
