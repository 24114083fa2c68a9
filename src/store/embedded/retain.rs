//! Retention: what is older than the configured days goes, whole hours of open chunks and whole days of closed blocks.

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{
    super::Error,
    Writer,
    block::DAY_US,
    chunk::{HOUR_US, Key},
    database::classify,
};

const STEP_CHUNKS_MAX: u32 = 2_000;
const STEP_SERIES_MAX: usize = 500;

/// One pass over the file.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// The series whose blocks were looked at last.
    behind_series: Option<i64>,
    chunks_done: bool,
}

impl Retention {
    /// Deletes some of what is older than `days`, and says whether there may be more.
    ///
    /// Age counts from the newest reading where that is before `now_us`: a clock that jumps ahead deletes nothing.
    pub(super) fn step(&mut self, writer: &Mutex<Writer>, now_us: i64, days: u32) -> Result<bool, Error> {
        self.step_inner(&mut writer.lock().connection, now_us, days).map_err(|error| classify("delete", error))
    }

    fn step_inner(&mut self, connection: &mut Connection, now_us: i64, days: u32) -> rusqlite::Result<bool> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let newest_h: Option<i64> = transaction.query_row("SELECT max(hour) FROM open_chunk", [], |row| row.get(0))?;
        let Some(newest_h) = newest_h else { return Ok(false) };
        let reference_us = now_us.min((newest_h.saturating_add(1)).saturating_mul(HOUR_US));
        let keep_from_us = reference_us.saturating_sub(i64::from(days).saturating_mul(DAY_US));

        if !self.chunks_done {
            let deleted = transaction
                .prepare_cached(
                    "DELETE FROM open_chunk WHERE (hour, series, segment) IN \
                     (SELECT hour, series, segment FROM open_chunk WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
                )?
                .execute(params![Key::hour_of(keep_from_us), STEP_CHUNKS_MAX])?;
            self.chunks_done = deleted < STEP_CHUNKS_MAX as usize;
            transaction.commit()?;
            return Ok(true);
        }
        let keep_from_day_us = keep_from_us.saturating_sub(keep_from_us.rem_euclid(DAY_US));
        for _ in 0..STEP_SERIES_MAX {
            let next: Option<i64> = transaction
                .prepare_cached("SELECT series FROM closed_block WHERE series > ?1 ORDER BY series LIMIT 1")?
                .query_row([self.behind_series.unwrap_or(-1)], |row| row.get(0))
                .optional()?;
            let Some(series) = next else {
                transaction.commit()?;
                return Ok(false);
            };
            transaction
                .prepare_cached("DELETE FROM closed_block WHERE series = ?1 AND start_us < ?2")?
                .execute(params![series, keep_from_day_us])?;
            self.behind_series = Some(series);
        }
        transaction.commit()?;
        Ok(true)
    }
}
