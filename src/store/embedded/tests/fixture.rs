//! A store as the tests want it.

use std::path::Path;

use super::super::Embedded;
use crate::{
    model::{EquipmentNumber, MetricNumber, Quality, Reading, SeriesId},
    store::{Config, Kind, Point, Store},
};

/// 2026-01-05T10:00:00Z.
pub(super) const T0: i64 = 1_767_607_200_000_000;
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const HOUR: i64 = 3_600 * SECOND;
pub(super) const DAY: i64 = 24 * HOUR;

/// Groups wait in memory as long as nobody flushes.
pub(super) fn config() -> Config {
    Config {
        kind: Kind::Embedded,
        directory: "store".to_owned(),
        cache_mb: 4,
        readers: 2,
        reader_timeout_ms: 10_000,
        hold_readings_max: 1_000_000,
        hold_ms: 3_600_000,
        close_after_h: 3,
        retention_days: 0,
        wal_mb_max: 4,
        maintenance_interval_ms: 1_000,
    }
}

/// Every group is written as it comes.
pub(super) fn at_once() -> Config {
    Config { hold_readings_max: 0, ..config() }
}

pub(super) fn open(dir: &Path, config: &Config) -> Box<dyn Store> {
    Box::new(Embedded::open(dir, config).expect("opens"))
}

pub(super) fn series(number: u32) -> SeriesId {
    SeriesId::new(EquipmentNumber(number), MetricNumber(1))
}

pub(super) fn reading(number: u32, timestamp_us: i64, value: f64) -> Reading {
    Reading { series: series(number), timestamp_us, value, quality: Quality::Good }
}

/// `count` readings ten seconds apart, of value 0, 1, 2 …
pub(super) fn steady(number: u32, from_us: i64, count: usize) -> Vec<Reading> {
    (0..count).map(|index| reading(number, from_us + index as i64 * 10 * SECOND, index as f64)).collect()
}

/// Up to 10,000 points.
pub(super) fn all(store: &dyn Store, number: u32) -> Vec<Point> {
    store.range(series(number), i64::MIN, i64::MAX, None, usize::MAX).expect("readable")
}
