//! Closing a day: the open chunks of a series and day become closed blocks, merged with those that are there. What
//! comes later for such a day starts an open chunk again, and a later pass merges it in.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use rustc_hash::FxHashSet;

use super::{
    super::{Error, Point},
    Writer, block,
    chunk::{self, Damage, HOUR_US, Key},
    database::classify,
    group,
};
use crate::telemetry::metrics as names;

/// A step ends when one of these is reached.
const STEP: Duration = Duration::from_millis(20);
const STEP_UNITS_MAX: usize = 128;
const STEP_POINTS_MAX: usize = 200_000;
/// Damaged days that are remembered, so that each is told once and not every minute.
const REPORTED_MAX: usize = 1_000;

fn fault(error: rusqlite::Error) -> Error {
    classify("re-encode", error)
}

/// One pass over the open chunks of closed days.
#[derive(Debug)]
pub(super) struct Closing {
    /// Chunks of this hour and later stay open.
    open_from_h: i64,
    /// The chunk looked at last.
    behind: Option<Key>,
}

/// Damaged days that were told of.
#[derive(Debug, Default)]
pub(super) struct Reported(FxHashSet<Key>);

impl Reported {
    fn tell(&mut self, key: Key, damage: Damage) {
        if self.0.len() < REPORTED_MAX && self.0.insert(key) {
            tracing::error!(
                series = key.series,
                hour = key.hour,
                cause = %damage,
                "a day of the store is damaged: it is left as it is",
            );
        }
    }
}

/// One series and day, read and packed.
pub(super) struct Unit {
    series: u64,
    day: Day,
    /// The open rows as they were read.
    rows: Vec<Row>,
    blocks: Vec<(i64, Vec<u8>)>,
    readings: u64,
}

/// An open row: hour, segment, body.
type Row = (i64, i64, Vec<u8>);

/// A UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Day {
    first_hour: i64,
}

impl Day {
    const fn of(hour: i64) -> Self {
        Self { first_hour: hour.div_euclid(24) * 24 }
    }

    /// First and last microsecond, cut off at the ends of time.
    const fn bounds_us(self) -> (i64, i64) {
        let first = self.first_hour.saturating_mul(HOUR_US);
        let last = match (self.first_hour + 24).checked_mul(HOUR_US) {
            Some(end) => end - 1,
            None => i64::MAX,
        };
        (first, last)
    }
}

/// Why a day stays open.
enum Obstacle {
    Damaged(Damage),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Obstacle {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Damage> for Obstacle {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl Closing {
    pub(super) fn new(open_from_h: i64) -> Self {
        Self { open_from_h, behind: None }
    }

    /// Closes some days and says whether there are more. Reads and packs by `connection`, beside the writer; takes the
    /// writer only to put the result in, and leaves out days that were written to meanwhile.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        writer: &Mutex<Writer>,
        reported: &mut Reported,
    ) -> Result<bool, Error> {
        let (units, more) = self.prepare(connection, reported)?;
        if !units.is_empty() {
            let closed = put_in(&mut writer.lock().connection, &units).map_err(fault)?;
            metrics::counter!(names::STORE_CLOSED_READINGS_TOTAL).increment(closed);
        }
        Ok(more)
    }

    pub(super) fn prepare(
        &mut self,
        connection: &Connection,
        reported: &mut Reported,
    ) -> Result<(Vec<Unit>, bool), Error> {
        let begun = Instant::now();
        let snapshot = connection.unchecked_transaction().map_err(fault)?;
        let (mut units, mut points, mut seen) = (Vec::new(), 0, 0);
        let (mut hours, mut hour) = (Hours::default(), None);
        while units.len() < STEP_UNITS_MAX && points < STEP_POINTS_MAX && (seen == 0 || begun.elapsed() < STEP) {
            let Some(key) = self.next(&snapshot).map_err(fault)? else { return Ok((units, false)) };
            // A unit takes in all hours of its day, so the next hour is looked at when these are put in.
            if *hour.get_or_insert(key.hour) != key.hour {
                break;
            }
            self.behind = Some(key);
            seen += 1;
            match read_unit(&snapshot, key.series, hours.of(&snapshot, Day::of(key.hour)).map_err(fault)?) {
                Ok(unit) => {
                    points += unit.readings as usize;
                    units.push(unit);
                }
                Err(Obstacle::Damaged(damage)) => reported.tell(key, damage),
                Err(Obstacle::Database(error)) => return Err(fault(error)),
            }
        }
        Ok((units, true))
    }

    /// The next open chunk of a closed day.
    fn next(&self, connection: &Connection) -> rusqlite::Result<Option<Key>> {
        let (hour, series) = self.behind.map_or((i64::MIN, -1), |key| (key.hour, key.series as i64));
        connection
            .prepare_cached(
                "SELECT hour, series FROM open_chunk WHERE (hour, series) > (?1, ?2) AND hour < ?3 \
                 ORDER BY hour, series LIMIT 1",
            )?
            .query_row(params![hour, series, self.open_from_h], |row| {
                Ok(Key { hour: row.get(0)?, series: row.get::<_, i64>(1)? as u64 })
            })
            .optional()
    }
}

/// The hours of a day in which any series has an open chunk, so that the others are not looked at for each.
#[derive(Debug, Default)]
struct Hours {
    day: Option<Day>,
    hours: Vec<i64>,
}

impl Hours {
    fn of(&mut self, connection: &Connection, day: Day) -> rusqlite::Result<(Day, &[i64])> {
        if self.day != Some(day) {
            self.day = None;
            self.hours.clear();
            let mut next =
                connection.prepare_cached("SELECT min(hour) FROM open_chunk WHERE hour >= ?1 AND hour < ?2")?;
            let mut from = day.first_hour;
            while let Some(hour) = next.query_row([from, day.first_hour + 24], |row| row.get(0))? {
                self.hours.push(hour);
                from = hour + 1;
            }
            self.day = Some(day);
        }
        Ok((day, &self.hours))
    }
}

fn read_unit(connection: &Connection, series: u64, (day, hours): (Day, &[i64])) -> Result<Unit, Obstacle> {
    let rows = open_rows(connection, series, hours)?;
    let mut open: Vec<Point> = Vec::new();
    for (hour, _, body) in &rows {
        let mut points = Vec::new();
        chunk::decode(Key { hour: *hour, series }, body, &mut points)?;
        if open.last().zip(points.first()).is_none_or(|(last, first)| last.timestamp_us < first.timestamp_us) {
            open.append(&mut points);
        } else {
            open = group::merge(&open, &points);
        }
    }
    let mut points = Vec::new();
    let (first_us, last_us) = day.bounds_us();
    let mut blocks = connection.prepare_cached(
        "SELECT start_us, body FROM closed_block WHERE series = ?1 AND start_us BETWEEN ?2 AND ?3 ORDER BY start_us",
    )?;
    let mut found = blocks.query(params![series as i64, first_us, last_us])?;
    while let Some(row) = found.next()? {
        block::decode(series, row.get(0)?, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, &mut points)?;
    }
    let readings = open.len() as u64;
    let points = if points.is_empty() { open } else { group::merge(&points, &open) };
    let mut blocks = Vec::new();
    block::encode_day(series, &points, &mut |start_us, body| {
        blocks.push((start_us, body));
        Ok::<(), Obstacle>(())
    })?;
    Ok(Unit { series, day, rows, blocks, readings })
}

fn open_rows(connection: &Connection, series: u64, hours: &[i64]) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection
        .prepare_cached("SELECT segment, body FROM open_chunk WHERE hour = ?1 AND series = ?2 ORDER BY segment")?;
    let mut rows = Vec::new();
    for &hour in hours {
        let mut found = statement.query(params![hour, series as i64])?;
        while let Some(row) = found.next()? {
            rows.push((hour, row.get(0)?, row.get(1)?));
        }
    }
    Ok(rows)
}

/// Whether all rows of `unit` are still as they were read. Rows that came since do not matter: they stay open, and
/// win over the blocks.
fn is_unchanged(connection: &Connection, unit: &Unit) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM open_chunk WHERE hour = ?1 AND series = ?2 AND segment = ?3")?;
    for (hour, segment, body) in &unit.rows {
        let mut found = statement.query(params![hour, unit.series as i64, segment])?;
        let Some(row) = found.next()? else { return Ok(false) };
        if row.get_ref(0)?.as_blob()? != body {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts the blocks of `units` in place of their open rows, in one transaction, and gives the readings closed.
pub(super) fn put_in(connection: &mut Connection, units: &[Unit]) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut closed = 0;
    for unit in units {
        if !is_unchanged(&transaction, unit)? {
            continue;
        }
        let (first_us, last_us) = unit.day.bounds_us();
        transaction
            .prepare_cached("DELETE FROM closed_block WHERE series = ?1 AND start_us BETWEEN ?2 AND ?3")?
            .execute(params![unit.series as i64, first_us, last_us])?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO closed_block(series, start_us, body) VALUES (?1, ?2, ?3)")?;
        for (start_us, body) in &unit.blocks {
            insert.execute(params![unit.series as i64, start_us, body])?;
        }
        let mut delete =
            transaction.prepare_cached("DELETE FROM open_chunk WHERE hour = ?1 AND series = ?2 AND segment = ?3")?;
        for (hour, segment, _) in &unit.rows {
            delete.execute(params![hour, unit.series as i64, segment])?;
        }
        closed += unit.readings;
    }
    transaction.commit()?;
    Ok(closed)
}
