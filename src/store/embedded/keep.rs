//! What can wait, in short steps: checkpoints, closing of days, retention. A step holds the writer only to put in what
//! it has prepared beside it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    super::{Error, Maintenance},
    Embedded,
    chunk::{HOUR_US, Key},
    close::{Closing, Reported},
    database::{self, classify},
    retain::Retention,
};
use crate::telemetry::metrics as names;

/// Checkpoints are made this often at most, so that pages written by several commits go into the file once.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// Pause between two passes over the open chunks, and between two of retention, in microseconds.
const CLOSING_INTERVAL_US: i64 = 60_000_000;
const RETENTION_INTERVAL_US: i64 = HOUR_US;

/// The state of maintenance. Whoever has it is the only one to touch closed blocks.
pub(super) struct Keeper {
    pub(super) connection: Connection,
    checkpoint_at: Instant,
    /// The position at the last checkpoint.
    checkpoint_position: Option<u64>,
    /// Something but the position changed since.
    changed: bool,
    closing: Pass<Closing>,
    reported: Reported,
    retention: Pass<Retention>,
}

/// A pass over the file, done in steps and begun again after a while.
#[derive(Debug, Default)]
struct Pass<T> {
    running: Option<T>,
    begun_us: Option<i64>,
}

impl<T> Pass<T> {
    /// Begins a pass when the time has come. A clock that was set back does not stop it.
    fn begin(&mut self, now_us: i64, interval_us: i64, make: impl FnOnce() -> T) {
        let due = self.begun_us.is_none_or(|begun_us| now_us < begun_us || now_us - begun_us >= interval_us);
        if self.running.is_none() && due {
            self.begun_us = Some(now_us);
            self.running = Some(make());
        }
    }
}

impl Keeper {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            checkpoint_at: Instant::now(),
            checkpoint_position: None,
            changed: true,
            closing: Pass { running: None, begun_us: None },
            reported: Reported::default(),
            retention: Pass { running: None, begun_us: None },
        }
    }
}

/// Moves what stands in the log into the file, as far as no reader needs it where it is. Waits for nobody.
pub(super) fn checkpoint(connection: &Connection) -> Result<(), Error> {
    connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .map_err(|error| classify("checkpoint", error))
}

/// Length of the log's file. It does not shrink after a checkpoint: the log starts again at its front.
pub(super) fn log_bytes(dir: &Path) -> u64 {
    std::fs::metadata(dir.join(database::WAL_FILE)).map_or(0, |metadata| metadata.len())
}

impl Embedded {
    /// One step.
    pub(super) fn keep(&self, now_us: i64) -> Result<Maintenance, Error> {
        let mut keeper = self.keeper.lock();
        let keeper = &mut *keeper;
        self.report();
        self.checkpoint_if_due(keeper)?;

        let now_h = Key::hour_of(now_us);
        let open_from_h = (now_h - i64::from(self.config.close_after_h)).div_euclid(24) * 24;
        keeper.closing.begin(now_us, CLOSING_INTERVAL_US, || Closing::new(open_from_h));
        if let Some(pass) = &mut keeper.closing.running {
            let more = pass.step(&keeper.connection, &self.writer, &mut keeper.reported)?;
            keeper.changed = true;
            if !more {
                keeper.closing.running = None;
            }
            return Ok(Maintenance::More);
        }

        if self.config.retention_days > 0 {
            keeper.retention.begin(now_us, RETENTION_INTERVAL_US, Retention::default);
        }
        if let Some(pass) = &mut keeper.retention.running {
            let more = pass.step(&self.writer, now_us, self.config.retention_days)?;
            keeper.changed = true;
            if !more {
                keeper.retention.running = None;
            }
            return Ok(Maintenance::More);
        }
        Ok(Maintenance::Idle)
    }

    fn checkpoint_if_due(&self, keeper: &mut Keeper) -> Result<(), Error> {
        let position = *self.delivered.lock();
        let changed = keeper.changed || keeper.checkpoint_position != position;
        let long = log_bytes(&self.dir) > u64::from(self.config.wal_mb_max) << 19;
        if changed && (long || keeper.checkpoint_at.elapsed() >= CHECKPOINT_INTERVAL) {
            checkpoint(&keeper.connection)?;
            keeper.checkpoint_at = Instant::now();
            keeper.checkpoint_position = position;
            keeper.changed = false;
        }
        Ok(())
    }

    fn report(&self) {
        let held: usize = self.held.read().iter().map(|group| group.len()).sum();
        metrics::gauge!(names::STORE_HELD_READINGS).set(held as f64);
        metrics::gauge!(names::STORE_LOG_BYTES).set(log_bytes(&self.dir) as f64);
    }
}
