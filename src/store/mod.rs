//! Where readings stay: the contract that every store keeps, and the embedded one.
//!
//! Delivery writes groups in the order of the spool, the administrators' API reads. All calls block: delivery has a
//! thread of its own, everybody else calls from `spawn_blocking`.
//!
//! Exactly once is the store's promise: a reading is known by (series, timestamp), of one key the reading that stands
//! later in the spool wins, and the spool position moves in the same transaction as the readings.

mod config;
#[cfg(test)]
mod contract;
pub mod embedded;
pub mod error;
pub mod maintenance;
#[cfg(test)]
mod testing;

use std::{ops::ControlFlow, path::Path, sync::Arc};

pub use config::{Config, Kind};
pub use embedded::Embedded;
pub use error::Error;

use crate::model::{Quality, Reading, SeriesId};

/// Points that one call of [`Store::range`] gives at most, whatever limit it was asked for.
pub const RANGE_POINTS_MAX: usize = 10_000;
/// Buckets that one call of [`Store::downsample`] gives at most.
pub const DOWNSAMPLE_BUCKETS_MAX: usize = 10_000;

/// One stored reading of a series that the caller knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, in microseconds since the Unix epoch, UTC.
    pub timestamp_us: i64,
    /// How much, in the metric's own unit.
    pub value: f64,
    /// How far to trust it.
    pub quality: Quality,
}

/// What happened to a series within one step of the resolution. Readings of quality `bad` are left out; a bucket
/// without any other reading does not exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Its first microsecond: a multiple of the resolution since the Unix epoch (also before it).
    pub start_us: i64,
    /// Readings in it, at least 1.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean, summed in order of time.
    pub mean: f64,
    /// Value of the earliest reading.
    pub first: f64,
    /// Value of the latest reading.
    pub last: f64,
}

/// What a [`Store::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteSummary {
    /// The spool may be released up to this position, and no further: what stands before it is durable in the store.
    /// A store may hold small groups back for a while, then this lies behind the `upto` of the call.
    pub delivered: Option<u64>,
    /// Readings taken in, after those of the group that another of the same group replaced were left out. 0 where
    /// the group had been written before.
    pub taken: u64,
    /// Readings of the group that a later one of the same group replaced.
    pub replaced: u64,
}

/// What a [`Store::maintain`] left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// Nothing for now: ask again after a while.
    Idle,
    /// There is more: ask again at once, unless somebody needs the machine.
    More,
}

/// The contract of a store, proved for each by the suite in `store::contract`.
pub trait Store: Send + Sync {
    /// The last spool position whose readings, and all before them, are durable here; none where nothing was ever
    /// written. After a restart the spool is read from behind it.
    ///
    /// # Errors
    /// As [`Store::range`].
    fn delivered(&self) -> Result<Option<u64>, Error>;

    /// Takes in `readings`, which stand in the order of the spool and end at position `upto`. They can be read as soon
    /// as this returns. Idempotent: a group with `upto` at or before a position already taken changes nothing.
    ///
    /// `readings` is left in any order, so that the store may sort in place and the caller keep the allocation; after
    /// [`Error::Refused`] it is as it was, so that the indices fit.
    ///
    /// # Errors
    /// [`Error::Refused`] names readings that can never be stored: nothing of the group was taken in, send the rest
    /// again with the same `upto`. On any other error nothing can be said: send the same group again
    /// ([`Error::is_transient`] says whether that may help).
    fn write(&self, readings: &mut Vec<Reading>, upto: u64) -> Result<WriteSummary, Error>;

    /// Makes durable at once what [`Store::write`] held back, for a shutdown. Gives the same as
    /// [`Store::delivered`] afterwards.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn flush(&self) -> Result<Option<u64>, Error> {
        self.delivered()
    }

    /// Readings of `series` with `from_us` ≤ timestamp < `to_us`, earliest first, at most `limit` and
    /// [`RANGE_POINTS_MAX`]. The next page starts behind `after_us`, the timestamp of the last point seen.
    ///
    /// # Errors
    /// [`Error::Transient`] when the store cannot be read now; [`Error::CorruptChunk`] when a part of this series is
    /// damaged; [`Error::Corrupt`] when the whole store is.
    fn range(
        &self,
        series: SeriesId,
        from_us: i64,
        to_us: i64,
        after_us: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Point>, Error>;

    /// The non-empty buckets of `series` with `from_us` ≤ timestamp < `to_us`, earliest first, at most
    /// [`DOWNSAMPLE_BUCKETS_MAX`]; the next ones start at the last bucket's `start_us + resolution_us`. A bucket at
    /// the edge holds only what lies within the range. A resolution below 1 counts as 1.
    ///
    /// # Errors
    /// As [`Store::range`].
    fn downsample(&self, series: SeriesId, from_us: i64, to_us: i64, resolution_us: i64) -> Result<Vec<Bucket>, Error>;

    /// For each of `series` its latest reading by timestamp, whatever its quality and whenever it arrived.
    ///
    /// # Errors
    /// As [`Store::range`].
    fn latest(&self, series: &[SeriesId]) -> Result<Vec<Option<Point>>, Error>;

    /// Hands everything of `series` with `from_us` ≤ timestamp < `to_us` to `visit`, earliest first, page by page, so
    /// that a whole export never stands in memory; ends early when `visit` breaks. A page is of one moment, the next
    /// one may be of a later one.
    ///
    /// # Errors
    /// As [`Store::range`]; `visit` may then have seen a part.
    fn scan(
        &self,
        series: SeriesId,
        from_us: i64,
        to_us: i64,
        visit: &mut dyn FnMut(&[Point]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut after_us = None;
        loop {
            let page = self.range(series, from_us, to_us, after_us, RANGE_POINTS_MAX)?;
            let Some(last) = page.last() else { return Ok(()) };
            after_us = Some(last.timestamp_us);
            if visit(&page).is_break() {
                return Ok(());
            }
        }
    }

    /// One bounded step (some tens of milliseconds) of what can wait: re-encoding what is closed, retention,
    /// checkpoints. `now_us` is the time in microseconds since the Unix epoch. A background task calls it.
    ///
    /// # Errors
    /// As [`Store::write`]; nothing is lost then, and a later step tries again.
    fn maintain(&self, now_us: i64) -> Result<Maintenance, Error> {
        let _ = now_us;
        Ok(Maintenance::Idle)
    }
}

/// Opens the store that `config` names. Files of an embedded one lie below `data_dir`.
///
/// # Errors
/// As [`Embedded::open`].
pub fn open(data_dir: &Path, config: &Config) -> Result<Arc<dyn Store>, Error> {
    match config.kind {
        Kind::Embedded => Ok(Arc::new(Embedded::open(&data_dir.join(&config.directory), config)?)),
    }
}
