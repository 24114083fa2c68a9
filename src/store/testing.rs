//! Readings as tests want them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Point;
use crate::model::Quality;

pub(super) fn quality() -> impl Strategy<Value = Quality> {
    prop_oneof![6 => Just(Quality::Good), 1 => Just(Quality::Uncertain), 1 => Just(Quality::Bad)]
}

/// What sensors send, and what no sensor should.
pub(super) fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-5_000i64..50_000).prop_map(|tenths| tenths as f64 / 10.0),
        2 => (-500_000i64..500_000).prop_map(|hundredths| hundredths as f64 / 100.0),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()),
    ]
}

/// Strictly ascending points within `length_us` from `start_us`, by cadence (µs, ms, s, 10 s) or at any time.
pub(super) fn points_within(
    start_us: i64,
    length_us: i64,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Point>> {
    let step_us = prop_oneof![Just(1i64), Just(1_000), Just(1_000_000), Just(10_000_000)];
    let odd = prop_oneof![3 => Just(false), 1 => Just(true)];
    let row = (any::<i64>(), value(), quality(), any::<bool>());
    (step_us, odd, any::<bool>(), prop::collection::vec(row, count)).prop_map(move |(step_us, odd, all_good, rows)| {
        let mut points = BTreeMap::new();
        for (index, (any, value, quality, at_any_time)) in rows.into_iter().enumerate() {
            let offset_us = if odd && at_any_time {
                any.rem_euclid(length_us)
            } else {
                (index as i64 * step_us).rem_euclid(length_us)
            };
            let quality = if all_good { Quality::Good } else { quality };
            let timestamp_us = start_us + offset_us;
            points.insert(timestamp_us, Point { timestamp_us, value, quality });
        }
        points.into_values().collect()
    })
}
