use proptest::prelude::*;

use super::*;
use crate::store::testing::points_within;

const KEY: Key = Key { hour: 491_002, series: 0x0001_0002 };

/// The bodies of `points`, written in parts of `step` as groups bring them.
fn write(key: Key, points: &[Point], step: usize) -> Vec<Vec<u8>> {
    let (mut bodies, mut body): (Vec<Vec<u8>>, _) = (Vec::new(), Vec::new());
    for part in points.chunks(step) {
        let mut rest = part;
        if let Some(last) = bodies.last_mut() {
            assert_eq!(last_us(key, last).map(|us| us < part[0].timestamp_us), Ok(true));
            rest = &part[extend(last, part).expect("just written")..];
        }
        while !rest.is_empty() {
            let taken = begin(key, rest, &mut body);
            assert!(taken > 0);
            bodies.push(body.clone());
            rest = &rest[taken..];
        }
    }
    bodies
}

fn read(key: Key, bodies: &[Vec<u8>]) -> Vec<Point> {
    let mut points = Vec::new();
    bodies.iter().for_each(|body| decode(key, body, &mut points).expect("just written"));
    points
}

/// Gives `body` the checksum that fits, so that what lies behind it is reached.
fn resign(key: Key, body: &mut [u8]) {
    let Some(form) = body.get(1).and_then(|byte| Form::from_byte(*byte)) else { return };
    if let Some((head, readings)) = body.split_at_mut_checked(HEADER_BYTES) {
        let sum = checksum(Header::seed(key, form), readings) ^ crc32fast::hash(&head[6..]);
        head[2..6].copy_from_slice(&sum.to_le_bytes());
    }
}

proptest! {
    #[test]
    fn what_was_written_comes_back(
        points in points_within(KEY.start_us(), HOUR_US, 0..400), step in 1usize..200,
        hour in prop::sample::select(vec![KEY.hour, 0, -1, Key::hour_of(i64::MIN), Key::hour_of(i64::MAX)]),
    ) {
        let key = Key { hour, ..KEY };
        let moved: Vec<Point> = points.iter().map(|point| Point {
            timestamp_us: key.start_us().wrapping_add(point.timestamp_us - KEY.start_us()), ..*point
        }).filter(|point| Key::hour_of(point.timestamp_us) == hour).collect();
        let bodies = write(key, &moved, step);
        prop_assert!(bodies.iter().all(|body| body.len() <= BODY_BYTES_MAX));
        prop_assert_eq!(read(key, &bodies), moved);
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_panic(
        mut body in prop::collection::vec(any::<u8>(), 0..200), signed: bool,
    ) {
        if signed && body.len() > 1 {
            body[0] = VERSION;
            resign(KEY, &mut body);
        }
        let mut points = Vec::new();
        decode(KEY, &body, &mut points).ok();
        prop_assert!(points.len() <= body.len());
        if last_us(KEY, &body).is_ok() {
            extend(&mut body, &[Point { timestamp_us: KEY.start_us() + 7, value: 1.5, quality: Quality::Bad }]).ok();
        }
    }

    #[test]
    fn a_flipped_bit_is_found(
        points in points_within(KEY.start_us(), HOUR_US, 1..30), at: prop::sample::Index, bit in 0u8..8,
    ) {
        for mut body in write(KEY, &points, 500) {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            prop_assert!(decode(KEY, &body, &mut Vec::new()).is_err());
            prop_assert!(last_us(KEY, &body).is_err());
        }
    }
}

#[test]
fn sensors_that_keep_their_cadence_take_two_bytes_a_reading() {
    let points: Vec<Point> = (0..360)
        .map(|index| Point {
            timestamp_us: KEY.start_us() + index * 10_000_000,
            value: (215 + index % 7) as f64 / 10.0,
            quality: Quality::Good,
        })
        .collect();
    let bodies = write(KEY, &points, 67);
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].len() <= HEADER_BYTES + 2 * points.len() + 8, "{} bytes", bodies[0].len());
}

#[test]
fn a_body_under_another_key_is_refused() {
    let bodies = write(KEY, &[Point { timestamp_us: KEY.start_us(), value: 1.0, quality: Quality::Good }], 1);
    for key in [Key { hour: KEY.hour + 1, ..KEY }, Key { series: KEY.series + 1, ..KEY }] {
        assert_eq!(decode(key, &bodies[0], &mut Vec::new()), Err(Damage::Checksum));
    }
}
