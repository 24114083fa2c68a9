//! The readings of one series in order of time, from wherever they stand: held in memory, in open chunks, in closed
//! blocks. Of one timestamp the one held wins over the open one, and that over the closed one: in this order they
//! came.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{Bucket, DOWNSAMPLE_BUCKETS_MAX, Error, Point},
    block,
    chunk::{self, Damage, Key},
    database::classify,
    group,
};

const OPERATION: &str = "read";

fn fault(error: rusqlite::Error) -> Error {
    classify(OPERATION, error)
}

fn damaged(series: u64, start_us: i64, damage: Damage) -> Error {
    Error::CorruptChunk { series, start_us, source: Box::new(damage) }
}

/// Points that are used up from the front and filled up again.
#[derive(Debug, Default)]
struct Queue {
    points: Vec<Point>,
    next: usize,
}

impl Queue {
    fn peek(&self) -> Option<&Point> {
        self.points.get(self.next)
    }

    /// Gives the front point if it is of `timestamp_us`, and moves on.
    fn take_at(&mut self, timestamp_us: i64) -> Option<Point> {
        let point = *self.peek().filter(|point| point.timestamp_us == timestamp_us)?;
        self.next += 1;
        Some(point)
    }

    /// Drops what lies before `from_us`.
    fn skip_before(&mut self, from_us: i64) {
        self.next += self.points[self.next..].partition_point(|point| point.timestamp_us < from_us);
    }
}

/// One pass over a series. It reads one chunk and one block at a time.
pub(super) struct Scan<'c> {
    connection: &'c Connection,
    series: u64,
    from_us: i64,
    to_us: i64,
    held: Queue,
    open: Queue,
    /// The hour to look at next; none when there is no more.
    open_hour: Option<i64>,
    closed: Queue,
    /// No block before this one is of interest; none when there is no more.
    closed_start_us: Option<i64>,
}

impl<'c> Scan<'c> {
    /// A pass over `from_us` ≤ timestamp < `to_us`. `held` are the points of that range that are not in the file yet,
    /// strictly ascending; they must have been fetched before the transaction of `connection` began.
    pub(super) fn new(
        connection: &'c Connection,
        series: u64,
        from_us: i64,
        to_us: i64,
        held: Vec<Point>,
    ) -> Result<Self, Error> {
        // The block that `from_us` falls into begins before it.
        let closed_start_us: Option<i64> = connection
            .prepare_cached(
                "SELECT start_us FROM closed_block WHERE series = ?1 AND start_us <= ?2 \
                 ORDER BY start_us DESC LIMIT 1",
            )
            .map_err(fault)?
            .query_row(params![series as i64, from_us], |row| row.get(0))
            .optional()
            .map_err(fault)?;
        Ok(Self {
            connection,
            series,
            from_us,
            to_us,
            held: Queue { points: held, next: 0 },
            open: Queue::default(),
            open_hour: Some(Key::hour_of(from_us)),
            closed: Queue::default(),
            closed_start_us: Some(closed_start_us.unwrap_or(from_us)),
        })
    }

    /// The next point, none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Point>, Error> {
        while self.open.peek().is_none() && self.open_hour.is_some() {
            self.fill_open()?;
        }
        while self.closed.peek().is_none() && self.closed_start_us.is_some() {
            self.fill_closed()?;
        }
        let earliest = [&self.held, &self.open, &self.closed].into_iter().filter_map(Queue::peek);
        let Some(timestamp_us) = earliest.map(|point| point.timestamp_us).min().filter(|us| *us < self.to_us) else {
            return Ok(None);
        };
        // All three move on; the first that has it wins.
        let candidates =
            [self.held.take_at(timestamp_us), self.open.take_at(timestamp_us), self.closed.take_at(timestamp_us)];
        Ok(candidates.into_iter().flatten().next())
    }

    fn fill_open(&mut self) -> Result<(), Error> {
        let last_hour = Key::hour_of(self.to_us);
        let Some(hour) = self.open_hour.filter(|hour| *hour <= last_hour) else {
            self.open_hour = None;
            return Ok(());
        };
        // Chunks lie by hour, then series: the first row at or behind (hour, series) is the chunk itself, or says
        // which hour can have one next.
        let found: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT hour, series FROM open_chunk WHERE (hour, series) >= (?1, ?2) AND hour <= ?3 \
                 ORDER BY hour, series LIMIT 1",
            )
            .map_err(fault)?
            .query_row(params![hour, self.series as i64, last_hour], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(fault)?;
        self.open_hour = match found {
            None => None,
            Some((at, series)) if at == hour && series as u64 == self.series => {
                let key = Key { hour, series: self.series };
                self.open = Queue { points: open_points(self.connection, key)?, next: 0 };
                self.open.skip_before(self.from_us);
                hour.checked_add(1)
            }
            Some((at, _)) if at == hour => hour.checked_add(1),
            Some((at, _)) => Some(at),
        };
        Ok(())
    }

    fn fill_closed(&mut self) -> Result<(), Error> {
        let start_us = self.closed_start_us.take().filter(|start_us| *start_us < self.to_us);
        let Some(start_us) = start_us else { return Ok(()) };
        let mut blocks = self
            .connection
            .prepare_cached(
                "SELECT start_us, body FROM closed_block WHERE series = ?1 AND start_us >= ?2 AND start_us < ?3 \
                 ORDER BY start_us LIMIT 1",
            )
            .map_err(fault)?;
        let mut rows = blocks.query(params![self.series as i64, start_us, self.to_us]).map_err(fault)?;
        let Some(row) = rows.next().map_err(fault)? else { return Ok(()) };
        let start_us: i64 = row.get(0).map_err(fault)?;
        let body = row.get_ref(1).map_err(fault)?.as_blob().map_err(|error| fault(error.into()))?;
        self.closed.points.clear();
        self.closed.next = 0;
        block::decode(self.series, start_us, body, &mut self.closed.points)
            .map_err(|damage| damaged(self.series, start_us, damage))?;
        self.closed.skip_before(self.from_us);
        self.closed_start_us = start_us.checked_add(1);
        Ok(())
    }
}

/// All readings of one open chunk.
fn open_points(connection: &Connection, key: Key) -> Result<Vec<Point>, Error> {
    let mut segments = connection
        .prepare_cached("SELECT body FROM open_chunk WHERE hour = ?1 AND series = ?2 ORDER BY segment")
        .map_err(fault)?;
    let mut rows = segments.query(params![key.hour, key.series as i64]).map_err(fault)?;
    let mut all: Vec<Point> = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let body = row.get_ref(0).map_err(fault)?.as_blob().map_err(|error| fault(error.into()))?;
        let mut segment = Vec::new();
        chunk::decode(key, body, &mut segment).map_err(|damage| damaged(key.series, key.start_us(), damage))?;
        all = if all.is_empty() { segment } else { group::merge(&all, &segment) };
    }
    Ok(all)
}

/// At most `limit` points of `scan`.
pub(super) fn page(mut scan: Scan<'_>, limit: usize) -> Result<Vec<Point>, Error> {
    let mut points = Vec::new();
    while points.len() < limit {
        let Some(point) = scan.next()? else { break };
        points.push(point);
    }
    Ok(points)
}

/// The buckets of `scan`, at most [`DOWNSAMPLE_BUCKETS_MAX`].
pub(super) fn buckets(mut scan: Scan<'_>, resolution_us: i64) -> Result<Vec<Bucket>, Error> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut sum = 0.0;
    while let Some(point) = scan.next()? {
        if point.quality == crate::model::Quality::Bad {
            continue;
        }
        let start_us = point.timestamp_us.saturating_sub(point.timestamp_us.rem_euclid(resolution_us));
        let value = point.value;
        if let Some(bucket) = buckets.last_mut().filter(|bucket| bucket.start_us == start_us) {
            sum += value;
            bucket.count += 1;
            bucket.min = bucket.min.min(value);
            bucket.max = bucket.max.max(value);
            bucket.mean = sum / bucket.count as f64;
            bucket.last = value;
            continue;
        }
        if buckets.len() == DOWNSAMPLE_BUCKETS_MAX {
            break;
        }
        sum = value;
        buckets.push(Bucket { start_us, count: 1, min: value, max: value, mean: value, first: value, last: value });
    }
    Ok(buckets)
}

/// The point of `series` with the largest timestamp in the file.
pub(super) fn latest(connection: &Connection, series: u64) -> Result<Option<Point>, Error> {
    let closed = latest_closed(connection, series)?;
    let from_hour = closed.map_or(i64::MIN, |point| Key::hour_of(point.timestamp_us));
    let open = latest_open(connection, series, from_hour)?;
    // Of one timestamp the open one came later.
    Ok(match (open, closed) {
        (Some(open), Some(closed)) if closed.timestamp_us > open.timestamp_us => Some(closed),
        (open, closed) => open.or(closed),
    })
}

fn latest_closed(connection: &Connection, series: u64) -> Result<Option<Point>, Error> {
    let mut blocks = connection
        .prepare_cached("SELECT start_us, body FROM closed_block WHERE series = ?1 ORDER BY start_us DESC LIMIT 1")
        .map_err(fault)?;
    let mut rows = blocks.query([series as i64]).map_err(fault)?;
    let Some(row) = rows.next().map_err(fault)? else { return Ok(None) };
    let start_us: i64 = row.get(0).map_err(fault)?;
    let body = row.get_ref(1).map_err(fault)?.as_blob().map_err(|error| fault(error.into()))?;
    let mut points = Vec::new();
    block::decode(series, start_us, body, &mut points).map_err(|damage| damaged(series, start_us, damage))?;
    Ok(points.pop())
}

/// The last point of the newest open chunk in `from_hour` or later.
fn latest_open(connection: &Connection, series: u64, from_hour: i64) -> Result<Option<Point>, Error> {
    let mut chunks = connection
        .prepare_cached(
            "SELECT hour, series, body FROM open_chunk WHERE (hour, series) <= (?1, ?2) AND hour >= ?3 \
             ORDER BY hour DESC, series DESC, segment DESC LIMIT 1",
        )
        .map_err(fault)?;
    let mut hour = i64::MAX;
    loop {
        let mut rows = chunks.query(params![hour, series as i64, from_hour]).map_err(fault)?;
        let Some(row) = rows.next().map_err(fault)? else { return Ok(None) };
        let (at, found): (i64, i64) = (row.get(0).map_err(fault)?, row.get(1).map_err(fault)?);
        if found as u64 == series {
            let body = row.get_ref(2).map_err(fault)?.as_blob().map_err(|error| fault(error.into()))?;
            let (key, mut points) = (Key { hour: at, series }, Vec::new());
            chunk::decode(key, body, &mut points).map_err(|damage| damaged(series, key.start_us(), damage))?;
            return Ok(points.pop());
        }
        // Another series stands there: in this hour there is none of ours before it, in an earlier one there may be.
        hour = if at == hour { at - 1 } else { at };
        if hour < from_hour {
            return Ok(None);
        }
    }
}
