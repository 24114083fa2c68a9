use proptest::prelude::*;

use super::*;
use crate::store::testing::points_within;

const SERIES: u64 = 0x0001_0002;
const DAY_START_US: i64 = 1_767_571_200_000_000;

fn write(points: &[Point]) -> Vec<(i64, Vec<u8>)> {
    let mut blocks = Vec::new();
    encode_day(SERIES, points, &mut |start_us, body| {
        blocks.push((start_us, body));
        Ok::<(), ()>(())
    })
    .expect("emitting does not fail");
    blocks
}

fn read(blocks: &[(i64, Vec<u8>)]) -> Vec<Point> {
    let mut points = Vec::new();
    for (start_us, body) in blocks {
        decode(SERIES, *start_us, body, &mut points).expect("just written");
    }
    points
}

fn resign(body: &mut [u8]) {
    if body.len() >= HEADER_BYTES {
        let sum = checksum(seed(SERIES, DAY_START_US, body[1]), &body[6..]);
        body[2..6].copy_from_slice(&sum.to_le_bytes());
    }
}

proptest! {
    #[test]
    fn what_was_written_comes_back(points in points_within(DAY_START_US, DAY_US, 0..500)) {
        let blocks = write(&points);
        prop_assert_eq!(read(&blocks), points);
        prop_assert!(blocks.iter().all(|(_, body)| body.len() <= BODY_BYTES_GOAL));
    }

    // Each layout behind a checksum that fits: what a bug, not a flipped bit, could have written.
    #[test]
    fn any_bytes_are_refused_or_read_without_panic(
        points in points_within(DAY_START_US, DAY_US, 1..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(), whole: bool, signed: bool,
    ) {
        let mut body = encode(SERIES, &points);
        if !whole {
            body.truncate(cut.index(body.len() + 1));
        }
        for (at, byte) in changes {
            if let Some(place) = body.len().checked_sub(1) {
                body[at.index(place + 1)] = byte;
            }
        }
        if signed {
            resign(&mut body);
        }
        let mut found = Vec::new();
        decode(SERIES, DAY_START_US, &body, &mut found).ok();
        prop_assert!(found.len() <= POINTS_MAX);
    }

    #[test]
    fn a_flipped_bit_is_found(
        points in points_within(DAY_START_US, DAY_US, 1..100), at: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut body = encode(SERIES, &points);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        prop_assert!(decode(SERIES, points[0].timestamp_us, &body, &mut Vec::new()).is_err());
    }
}

#[test]
fn a_day_of_ten_second_readings_takes_less_than_a_byte_each() {
    let points: Vec<Point> = (0..8_640i64)
        .map(|index| Point {
            timestamp_us: DAY_START_US + index * 10_000_000,
            value: (215 + index * 7919 % 13 - index / 100) as f64 / 10.0,
            quality: Quality::Good,
        })
        .collect();
    let blocks = write(&points);
    assert_eq!(read(&blocks), points);
    let bytes: usize = blocks.iter().map(|(_, body)| body.len()).sum();
    assert!(bytes < points.len(), "{bytes} bytes");
}

#[test]
fn values_that_no_decimal_step_fits_are_kept_bit_by_bit() {
    let values = [f64::NAN, -0.0, f64::INFINITY, f64::MIN_POSITIVE, 1.0 / 3.0, 1e300];
    for count in [values.len(), 100] {
        let points: Vec<Point> = (0..count)
            .map(|index| Point {
                timestamp_us: DAY_START_US + index as i64,
                value: values[index % values.len()],
                quality: Quality::Uncertain,
            })
            .collect();
        let bits = |points: &[Point]| points.iter().map(|point| point.value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read(&write(&points))), bits(&points));
    }
}

#[test]
fn a_block_under_another_key_is_refused() {
    let points = [Point { timestamp_us: DAY_START_US, value: 1.0, quality: Quality::Good }];
    let body = encode(SERIES, &points);
    assert_eq!(decode(SERIES + 1, DAY_START_US, &body, &mut Vec::new()), Err(Damage::Checksum));
    assert_eq!(decode(SERIES, DAY_START_US + 1, &body, &mut Vec::new()), Err(Damage::Checksum));
}
