//! What goes, and when: requests by age and by the size of the file, sums by age alone.

use rusqlite::{Connection, params};

use super::{Config, Error, rollup::HOUR_US};

const DAY_US: i64 = 24 * HOUR_US;
/// Blocks that go in one step, so that writing is not held up.
const BLOCKS_MAX: u32 = 256;
/// Pages given back to the file system in one step.
const PAGES_MAX: u32 = 2_000;

/// Takes some of what is too old or too much out. Gives whether there may be more.
pub(super) fn step(connection: &mut Connection, config: &Config, now_us: i64) -> Result<bool, Error> {
    let mut gone = 0;
    let oldest_us = now_us - i64::from(config.raw_days) * DAY_US;
    let transaction = connection.transaction()?;
    let first_kept: Option<i64> =
        transaction.query_row("SELECT min(first_seq) FROM block WHERE last_us >= ?1", [oldest_us], |row| row.get(0))?;
    gone += remove_below(&transaction, first_kept.unwrap_or(i64::MAX))?;
    if used(&transaction)? > config.bytes_max {
        let some: Option<i64> = transaction.query_row(
            "SELECT max(first_seq) FROM (SELECT first_seq FROM block ORDER BY first_seq LIMIT ?1)",
            [BLOCKS_MAX],
            |row| row.get(0),
        )?;
        // The newest block is being filled.
        let newest: Option<i64> = transaction.query_row("SELECT max(first_seq) FROM block", [], |row| row.get(0))?;
        if let (Some(some), Some(newest)) = (some, newest) {
            gone += remove_below(&transaction, newest.min(some + 1))?;
        }
    }
    let oldest_hour = (now_us - i64::from(config.rollup_days) * DAY_US).div_euclid(HOUR_US);
    transaction.execute("DELETE FROM hour WHERE hour < ?1", [oldest_hour])?;
    transaction.execute("DELETE FROM address WHERE last_us < ?1", [oldest_hour * HOUR_US])?;
    transaction.commit()?;
    if gone > 0 {
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_MAX})"))?;
    }
    Ok(gone >= BLOCKS_MAX as usize)
}

/// Bytes of the file that hold something.
pub(super) fn used(connection: &Connection) -> Result<u64, Error> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, u64>(0));
    Ok((number("page_count")?.saturating_sub(number("freelist_count")?)) * number("page_size")?)
}

/// Takes the oldest blocks out, as far as the one that begins at `first_seq`, and not too many at once.
fn remove_below(connection: &Connection, first_seq: i64) -> Result<usize, Error> {
    let end: Option<i64> = connection.query_row(
        "SELECT max(first_seq) FROM (SELECT first_seq FROM block WHERE first_seq < ?1 ORDER BY first_seq LIMIT ?2)",
        params![first_seq, BLOCKS_MAX],
        |row| row.get(0),
    )?;
    let Some(end) = end else { return Ok(0) };
    connection.execute("DELETE FROM presence WHERE first_seq <= ?1", [end])?;
    connection.execute("DELETE FROM block_data WHERE first_seq <= ?1", [end])?;
    Ok(connection.execute("DELETE FROM block WHERE first_seq <= ?1", [end])?)
}
