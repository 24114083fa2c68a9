//! The closed block: readings of one series within one UTC day that nobody expects to change, packed by `pco`.
//!
//! Layout, little endian: `version u8 = 2`, `form u8`, `checksum u32`, `packing u8`, `count u32`, `bytes of times u32`,
//! `bytes of values u32`, times (since the block's start, in units of the form), values (decimal steps, or f64), then,
//! where not all are good, the qualities as runs (`quality u8`, length varint). The checksum covers all behind it,
//! version, form and the key.
//!
//! Times are runs of equal distances where sensors keep their cadence, else `pco`. A handful of values is written as
//! in an open chunk, since the tables of `pco` would be longer than they are.

use pco::{ChunkConfig, DeltaSpec, ModeSpec, data_types::Number, standalone};

use super::{
    super::Point,
    chunk::{Damage, UNITS_US, checksum},
    decimal, varint,
};
use crate::model::Quality;

/// Microseconds of a day: no block reaches across midnight UTC.
pub(super) const DAY_US: i64 = 24 * super::chunk::HOUR_US;
/// Readings of a block at most, so that reading one of them costs no more than some tens of microseconds.
pub(super) const POINTS_MAX: usize = 8_192;
/// Bytes of a body that are aimed at: as for open chunks, so that rows share pages and none overflows.
const BODY_BYTES_GOAL: usize = super::chunk::BODY_BYTES_MAX;
/// Below this many readings a block is not divided further, however large.
const POINTS_DIVIDED_MIN: usize = 64;
/// From so many readings on `pco` is shorter.
const PACKED_MIN: usize = 64;
const HEADER_BYTES: usize = 19;
const VERSION: u8 = 2;
const QUALITIES: u8 = 0b100;
const PLAIN: u8 = 15;
/// Packing: times are runs of equal distances; values are varints or f64 one after the other.
const TIME_RUNS: u8 = 0b01;
const VALUES_LOOSE: u8 = 0b10;

/// Packs `points` (strictly ascending, of one day) into as many blocks as they need and hands each to `emit` with its
/// first timestamp.
pub(super) fn encode_day<E>(
    series: u64,
    points: &[Point],
    emit: &mut impl FnMut(i64, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    if points.is_empty() {
        return Ok(());
    }
    if points.len() <= POINTS_MAX {
        let body = encode(series, points);
        if body.len() <= BODY_BYTES_GOAL || points.len() < POINTS_DIVIDED_MIN {
            return emit(points[0].timestamp_us, body);
        }
    }
    let (early, late) = points.split_at(points.len() / 2);
    encode_day(series, early, emit)?;
    encode_day(series, late, emit)
}

/// The body of one block.
pub(super) fn encode(series: u64, points: &[Point]) -> Vec<u8> {
    let start_us = points.first().map_or(0, |point| point.timestamp_us);
    let offsets = || points.iter().map(|point| point.timestamp_us.wrapping_sub(start_us) as u64);
    let unit = (1..UNITS_US.len()).rev().find(|&unit| offsets().all(|us| us % u64::from(UNITS_US[unit]) == 0));
    let unit = unit.unwrap_or(0);
    let times: Vec<u64> = offsets().map(|us| us / u64::from(UNITS_US[unit])).collect();
    let digits = decimal::digits_for(points);

    let (times, packing_of_times) = pack_times(&times);
    let (values, packing_of_values) = pack_values(points, digits);
    let qualities = points.iter().any(|point| point.quality != Quality::Good);
    let mut body = Vec::with_capacity(HEADER_BYTES + times.len() + values.len() + 16);
    body.push(VERSION);
    body.push(unit as u8 | if qualities { QUALITIES } else { 0 } | digits.unwrap_or(PLAIN) << 4);
    body.extend_from_slice(&[0; 4]);
    body.push(packing_of_times | packing_of_values);
    for length in [points.len(), times.len(), values.len()] {
        body.extend_from_slice(&(length as u32).to_le_bytes());
    }
    body.extend_from_slice(&times);
    body.extend_from_slice(&values);
    if qualities {
        for run in points.chunk_by(|a, b| a.quality == b.quality) {
            body.push(run[0].quality as u8);
            varint::put(run.len() as u64, &mut body);
        }
    }
    let sum = checksum(seed(series, start_us, body[1]), &body[6..]);
    body[2..6].copy_from_slice(&sum.to_le_bytes());
    body
}

fn pack_times(times: &[u64]) -> (Vec<u8>, u8) {
    let mut runs = Vec::new();
    let distances: Vec<u64> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    for run in distances.chunk_by(|a, b| a == b) {
        varint::put(run[0], &mut runs);
        varint::put(run.len() as u64, &mut runs);
    }
    if times.len() < PACKED_MIN || runs.len() < times.len() / 4 {
        return (runs, TIME_RUNS);
    }
    (pack(times, ModeSpec::Classic, DeltaSpec::TryConsecutive(1)), 0)
}

fn pack_values(points: &[Point], digits: Option<u8>) -> (Vec<u8>, u8) {
    let loose = points.len() < PACKED_MIN;
    let Some(digits) = digits else {
        let values = points.iter().map(|point| point.value);
        return if loose {
            (values.flat_map(f64::to_le_bytes).collect(), VALUES_LOOSE)
        } else {
            (pack(&values.collect::<Vec<_>>(), ModeSpec::Auto, DeltaSpec::Auto), 0)
        };
    };
    let steps: Vec<i64> =
        points.iter().map(|point| decimal::steps_of(point.value, digits).unwrap_or_default()).collect();
    if !loose {
        return (pack(&steps, ModeSpec::Classic, DeltaSpec::TryConsecutive(1)), 0);
    }
    let (mut bytes, mut last) = (Vec::new(), 0);
    for steps in steps {
        varint::put(varint::zigzag(steps - last), &mut bytes);
        last = steps;
    }
    (bytes, VALUES_LOOSE)
}

/// Level 4 costs 15 to 40 ns a reading and is within a few percent of the best.
fn pack<T: Number>(numbers: &[T], mode: ModeSpec, delta: DeltaSpec) -> Vec<u8> {
    let config = ChunkConfig::default().with_compression_level(4).with_mode_spec(mode).with_delta_spec(delta);
    standalone::simple_compress(numbers, &config).expect("level and order are valid, and memory does not fail")
}

fn seed(series: u64, start_us: i64, form: u8) -> u32 {
    let mut bytes = [0; 18];
    bytes[0] = VERSION;
    bytes[1] = form;
    bytes[2..10].copy_from_slice(&series.to_le_bytes());
    bytes[10..].copy_from_slice(&start_us.to_le_bytes());
    crc32fast::hash(&bytes)
}

/// Appends the readings of `body`, the block of `series` that begins at `start_us`, to `out`, earliest first.
///
/// # Errors
/// On any byte that is not as it was written; `out` may then hold a part of them.
pub(super) fn decode(series: u64, start_us: i64, body: &[u8], out: &mut Vec<Point>) -> Result<(), Damage> {
    let head = body.first_chunk::<HEADER_BYTES>().ok_or(Damage::Short)?;
    let (unit, digits) = (usize::from(head[1] & 0b11), head[1] >> 4);
    if head[0] != VERSION || unit >= UNITS_US.len() || (digits > decimal::DIGITS_MAX && digits != PLAIN) {
        return Err(Damage::Form);
    }
    let field = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if checksum(seed(series, start_us, head[1]), &body[6..]) != field(2) {
        return Err(Damage::Checksum);
    }
    let (packing, count) = (head[6], field(7) as usize);
    if count > POINTS_MAX || packing > TIME_RUNS | VALUES_LOOSE {
        return Err(Damage::Contents);
    }
    let (times, rest) = body[HEADER_BYTES..].split_at_checked(field(11) as usize).ok_or(Damage::Short)?;
    let (values, mut qualities) = rest.split_at_checked(field(15) as usize).ok_or(Damage::Short)?;
    let times = unpack_times(times, count, packing)?;
    let values = unpack_values(values, count, packing, (digits != PLAIN).then_some(digits))?;
    let end = DAY_US as u64 / u64::from(UNITS_US[unit]);
    let ascending = times.windows(2).all(|pair| pair[0] < pair[1]) && times.first().is_none_or(|&first| first == 0);
    if !ascending || times.last().is_some_and(|&last| last >= end) {
        return Err(Damage::Contents);
    }
    let from = out.len();
    out.extend(times.iter().zip(values).map(|(&time, value)| Point {
        timestamp_us: start_us.wrapping_add((time * u64::from(UNITS_US[unit])) as i64),
        value,
        quality: Quality::Good,
    }));
    if head[1] & QUALITIES != 0 {
        read_qualities(&mut qualities, &mut out[from..])?;
    }
    if qualities.is_empty() { Ok(()) } else { Err(Damage::Contents) }
}

fn unpack_times(mut bytes: &[u8], count: usize, packing: u8) -> Result<Vec<u64>, Damage> {
    if packing & TIME_RUNS == 0 {
        return unpack(bytes, count);
    }
    let mut times = Vec::with_capacity(count);
    times.extend((count > 0).then_some(0));
    let mut time = 0u64;
    while !bytes.is_empty() {
        let distance = varint::take(&mut bytes).ok_or(Damage::Short)?;
        let length = varint::take(&mut bytes).ok_or(Damage::Short)?;
        if length > (count - times.len()) as u64 {
            return Err(Damage::Contents);
        }
        for _ in 0..length {
            time = time.checked_add(distance).ok_or(Damage::Contents)?;
            times.push(time);
        }
    }
    if times.len() == count { Ok(times) } else { Err(Damage::Contents) }
}

fn unpack_values(mut bytes: &[u8], count: usize, packing: u8, digits: Option<u8>) -> Result<Vec<f64>, Damage> {
    let steps = match (packing & VALUES_LOOSE != 0, digits) {
        (false, None) => return unpack(bytes, count),
        (true, None) => {
            let (values, rest) = bytes.as_chunks::<8>();
            let whole = values.len() == count && rest.is_empty();
            return whole
                .then(|| values.iter().map(|value| f64::from_le_bytes(*value)).collect())
                .ok_or(Damage::Contents);
        }
        (false, Some(digits)) => {
            return Ok(unpack(bytes, count)?.into_iter().map(|steps| decimal::value_of(steps, digits)).collect());
        }
        (true, Some(digits)) => digits,
    };
    let (mut values, mut last) = (Vec::with_capacity(count), 0i64);
    for _ in 0..count {
        last = last.wrapping_add(varint::unzigzag(varint::take(&mut bytes).ok_or(Damage::Short)?));
        values.push(decimal::value_of(last, steps));
    }
    if bytes.is_empty() { Ok(values) } else { Err(Damage::Contents) }
}

fn read_qualities(bytes: &mut &[u8], mut points: &mut [Point]) -> Result<(), Damage> {
    while !points.is_empty() {
        let (&quality, rest) = bytes.split_first().ok_or(Damage::Short)?;
        *bytes = rest;
        let quality = Quality::from_u8(quality).ok_or(Damage::Contents)?;
        let length = varint::take(bytes).and_then(|length| usize::try_from(length).ok()).ok_or(Damage::Short)?;
        let (run, later) = points.split_at_mut_checked(length).ok_or(Damage::Contents)?;
        if run.is_empty() {
            return Err(Damage::Contents);
        }
        run.iter_mut().for_each(|point| point.quality = quality);
        points = later;
    }
    Ok(())
}

/// Exactly `count` numbers; memory is taken for no more, whatever the bytes claim.
fn unpack<T: Number + Default>(bytes: &[u8], count: usize) -> Result<Vec<T>, Damage> {
    let mut numbers = vec![T::default(); count];
    let progress = standalone::simple_decompress_into(bytes, &mut numbers).map_err(|_| Damage::Contents)?;
    if progress.n_processed == count && progress.finished { Ok(numbers) } else { Err(Damage::Contents) }
}

#[cfg(test)]
mod tests;
