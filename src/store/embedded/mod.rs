//! The store for one machine: one SQLite file, written in groups, read beside.
//!
//! ```text
//! write → group (sorted) → held (memory, readable) → open chunk (one row a series and hour, grows at its end)
//!                                                     → closed block (one series and day, packed by pco)
//! ```
//!
//! Small groups are held in memory for a while, so that a chunk is touched once for many readings; until they are in
//! the file, the spool position stays and the spool keeps them. Reads see all three places.

mod block;
mod chunk;
mod close;
mod database;
mod decimal;
mod group;
mod keep;
mod pool;
mod read;
mod retain;
mod varint;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;

use self::{
    group::{Group, Sorter},
    pool::Pool,
    read::Scan,
};
use super::{Bucket, Config, Error, Maintenance, Point, RANGE_POINTS_MAX, Store, WriteSummary};
use crate::{
    model::{Reading, SeriesId},
    telemetry::metrics as names,
};

/// The store in one SQLite file.
pub struct Embedded {
    dir: PathBuf,
    config: Config,
    writer: Mutex<Writer>,
    /// Groups not in the file yet, oldest first. Changed only by who has the writer.
    held: RwLock<Vec<Arc<Group>>>,
    /// The position whose readings are durable. Changed only by who has the writer.
    delivered: Mutex<Option<u64>>,
    pool: Pool,
    keeper: Mutex<keep::Keeper>,
    _lock: database::Lock,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What writing needs. Whoever has it is the only one to change anything.
struct Writer {
    connection: Connection,
    sorter: Sorter,
    /// The position whose readings are in the file or held.
    taken: Option<u64>,
    /// Since when something is held.
    held_since: Option<Instant>,
    held_readings: usize,
}

impl Embedded {
    /// Opens the store in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it; [`Error::Newer`] when a later version wrote it;
    /// [`Error::Corrupt`] when the file is damaged or no database; [`Error::Transient`] when it cannot be opened now.
    pub fn open(dir: &Path, config: &Config) -> Result<Self, Error> {
        let lock = database::lock(dir)?;
        let connection = database::open_writer(dir, config)?;
        let delivered = write::delivered(&connection)?;
        let keeper = keep::Keeper::new(database::open_keeper(dir)?);
        Ok(Self {
            dir: dir.to_owned(),
            config: config.clone(),
            writer: Mutex::new(Writer {
                connection,
                sorter: Sorter::default(),
                taken: delivered,
                held_since: None,
                held_readings: 0,
            }),
            held: RwLock::new(Vec::new()),
            delivered: Mutex::new(delivered),
            pool: Pool::new(dir.to_owned(), config.readers, std::time::Duration::from_millis(config.reader_timeout_ms)),
            keeper: Mutex::new(keeper),
            _lock: lock,
        })
    }

    /// Whether `group` may wait in memory for more.
    fn may_wait(&self, writer: &Writer, group: &Group) -> bool {
        writer.held_readings + group.len() < self.config.hold_readings_max
            && writer.held_since.is_none_or(|since| since.elapsed() < self.config.hold())
    }

    /// Writes what is held, and `group` behind it, up to `upto`.
    fn settle(&self, writer: &mut Writer, group: Option<Group>, upto: u64) -> Result<(), Error> {
        let begun = Instant::now();
        let held = self.held.read().clone();
        let group = match group {
            Some(group) if held.is_empty() => group,
            last => {
                let mut readings = Vec::new();
                for group in held.iter().map(Arc::as_ref).chain(&last) {
                    group.append_to(&mut readings);
                }
                writer.sorter.sort(&readings)
            }
        };
        write::commit(&mut writer.connection, &group, upto)?;
        metrics::histogram!(names::STORE_COMMIT_SECONDS).record(begun.elapsed().as_secs_f64());
        metrics::counter!(names::STORE_READINGS_TOTAL).increment(group.len() as u64);
        // The position before the memory: a reader that finds nothing held finds it in the file.
        *self.delivered.lock() = Some(upto);
        writer.taken = Some(upto);
        writer.held_since = None;
        writer.held_readings = 0;
        self.held.write().clear();
        self.shorten_log(&writer.connection);
        Ok(())
    }

    /// Where maintenance does not keep up, the writer moves the log into the file itself.
    fn shorten_log(&self, connection: &Connection) {
        if keep::log_bytes(&self.dir) > u64::from(self.config.wal_mb_max) << 20
            && let Err(error) = keep::checkpoint(connection)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store's log could not be shortened");
        }
    }

    /// What is held of `series` within the range, strictly ascending.
    fn held_of(&self, series: SeriesId, from_us: i64, to_us: i64) -> Vec<Point> {
        let held = self.held.read().clone();
        let mut points: Vec<Point> = Vec::new();
        for group in &held {
            let of_series = group.of(series.as_u64());
            let start = of_series.partition_point(|point| point.timestamp_us < from_us);
            let end = of_series.partition_point(|point| point.timestamp_us < to_us);
            let Some(newer) = of_series.get(start..end).filter(|newer| !newer.is_empty()) else { continue };
            if points.last().is_none_or(|last| last.timestamp_us < newer[0].timestamp_us) {
                points.extend_from_slice(newer);
            } else {
                points = group::merge(&points, newer);
            }
        }
        points
    }
}

impl Store for Embedded {
    fn delivered(&self) -> Result<Option<u64>, Error> {
        Ok(*self.delivered.lock())
    }

    fn write(&self, readings: &mut Vec<Reading>, upto: u64) -> Result<WriteSummary, Error> {
        let mut writer = self.writer.lock();
        if writer.taken.is_some_and(|taken| upto <= taken) {
            return Ok(WriteSummary { delivered: *self.delivered.lock(), ..WriteSummary::default() });
        }
        let group = writer.sorter.sort(readings);
        let (taken, replaced) = (group.len() as u64, group.replaced);
        if self.may_wait(&writer, &group) {
            writer.taken = Some(upto);
            writer.held_since.get_or_insert_with(Instant::now);
            writer.held_readings += group.len();
            self.held.write().push(Arc::new(group));
        } else {
            self.settle(&mut writer, Some(group), upto)?;
        }
        Ok(WriteSummary { delivered: *self.delivered.lock(), taken, replaced })
    }

    fn flush(&self) -> Result<Option<u64>, Error> {
        let mut writer = self.writer.lock();
        if let (Some(_), Some(taken)) = (writer.held_since, writer.taken) {
            self.settle(&mut writer, None, taken)?;
        }
        Ok(*self.delivered.lock())
    }

    fn range(
        &self,
        series: SeriesId,
        from_us: i64,
        to_us: i64,
        after_us: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Point>, Error> {
        let from_us = match after_us.map(|after_us| after_us.checked_add(1)) {
            None => from_us,
            Some(Some(next_us)) => from_us.max(next_us),
            Some(None) => return Ok(Vec::new()),
        };
        if from_us >= to_us {
            return Ok(Vec::new());
        }
        let held = self.held_of(series, from_us, to_us);
        let snapshot = self.pool.snapshot()?;
        let scan = Scan::new(&snapshot, series.as_u64(), from_us, to_us, held)?;
        read::page(scan, limit.min(RANGE_POINTS_MAX))
    }

    fn downsample(&self, series: SeriesId, from_us: i64, to_us: i64, resolution_us: i64) -> Result<Vec<Bucket>, Error> {
        if from_us >= to_us {
            return Ok(Vec::new());
        }
        let held = self.held_of(series, from_us, to_us);
        let snapshot = self.pool.snapshot()?;
        let scan = Scan::new(&snapshot, series.as_u64(), from_us, to_us, held)?;
        read::buckets(scan, resolution_us.max(1))
    }

    fn latest(&self, series: &[SeriesId]) -> Result<Vec<Option<Point>>, Error> {
        let held = self.held.read().clone();
        let snapshot = self.pool.snapshot()?;
        let of_one = |series: &SeriesId| {
            let filed = read::latest(&snapshot, series.as_u64())?;
            // Later groups come later, and the last of equal keys is what max_by_key gives.
            let newest = held.iter().filter_map(|group| group.of(series.as_u64()).last().copied());
            Ok(filed.into_iter().chain(newest).max_by_key(|point| point.timestamp_us))
        };
        series.iter().map(of_one).collect()
    }

    fn maintain(&self, now_us: i64) -> Result<Maintenance, Error> {
        let overdue = self.writer.lock().held_since.is_some_and(|since| since.elapsed() >= self.config.hold());
        if overdue {
            self.flush()?;
        }
        self.keep(now_us)
    }
}

#[cfg(test)]
mod tests;
