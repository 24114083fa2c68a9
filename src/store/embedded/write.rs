//! One group into the open chunks, in one transaction with the spool position.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    super::{Error, Point},
    chunk::{self, Damage, Key},
    database::classify,
    group::{self, Group},
};
use crate::telemetry::metrics as names;

/// A body shorter than this is written anew when a reading does not fit its form; a longer one is left as it is and
/// the next segment begins.
const REWRITTEN_BYTES_MAX: usize = 1_000;

/// Writes `group` and moves the position to `upto`: both or neither, on disk when this returns.
pub(super) fn commit(connection: &mut Connection, group: &Group, upto: u64) -> Result<(), Error> {
    commit_inner(connection, group, upto).map_err(|error| classify("write", error))
}

fn commit_inner(connection: &mut Connection, group: &Group, upto: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut chunks = Chunks::new(&transaction)?;
        for (key, points) in by_hour(group) {
            chunks.put(key, points)?;
        }
        // The position is kept bit by bit: SQLite has signed numbers only.
        transaction
            .prepare_cached(
                "INSERT INTO progress(id, delivered) VALUES (1, ?1) \
                 ON CONFLICT(id) DO UPDATE SET delivered = excluded.delivered",
            )?
            .execute([upto as i64])?;
    }
    transaction.commit()
}

/// The position that [`commit`] last moved to.
pub(super) fn delivered(connection: &Connection) -> Result<Option<u64>, Error> {
    connection
        .query_row("SELECT delivered FROM progress WHERE id = 1", [], |row| row.get::<_, i64>(0))
        .optional()
        .map(|position| position.map(|position| position as u64))
        .map_err(|error| classify("read", error))
}

/// The parts of `group` that belong to one chunk each, in the order in which the chunks lie in the file.
fn by_hour(group: &Group) -> Vec<(Key, &[Point])> {
    let mut parts = Vec::with_capacity(group.spans.len());
    for span in &group.spans {
        let mut rest = &group.points[span.range.clone()];
        while let Some(first) = rest.first() {
            let hour = Key::hour_of(first.timestamp_us);
            let length = rest.partition_point(|point| Key::hour_of(point.timestamp_us) == hour);
            let (part, later) = rest.split_at(length);
            parts.push((Key { hour, series: span.series }, part));
            rest = later;
        }
    }
    parts.sort_unstable_by_key(|(key, _)| *key);
    parts
}

/// The open chunks, within a transaction.
struct Chunks<'t> {
    transaction: &'t Transaction<'t>,
    newest: CachedStatement<'t>,
    upsert: CachedStatement<'t>,
    /// The body at work, kept from one chunk to the next.
    body: Vec<u8>,
}

impl<'t> Chunks<'t> {
    fn new(transaction: &'t Transaction<'t>) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction,
            newest: transaction.prepare_cached(
                "SELECT segment, body FROM open_chunk WHERE hour = ?1 AND series = ?2 ORDER BY segment DESC LIMIT 1",
            )?,
            upsert: transaction.prepare_cached(
                "INSERT INTO open_chunk(hour, series, segment, body) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT(hour, series, segment) DO UPDATE SET body = excluded.body",
            )?,
            body: Vec::with_capacity(2 * chunk::BODY_BYTES_MAX),
        })
    }

    /// Merges `points`, strictly ascending and all of `key`, into what is there.
    fn put(&mut self, key: Key, points: &[Point]) -> rusqlite::Result<()> {
        let Some(first) = points.first() else { return Ok(()) };
        let Some(segment) = self.load_newest(key)? else { return self.begin(key, 0, points) };
        match chunk::last_us(key, &self.body) {
            Ok(last_us) if last_us < first.timestamp_us => self.append(key, segment, points),
            Ok(_) | Err(_) => self.rewrite(key, points),
        }
    }

    /// Fetches the newest segment's body into `self.body`.
    fn load_newest(&mut self, key: Key) -> rusqlite::Result<Option<i64>> {
        let mut rows = self.newest.query(params![key.hour, key.series as i64])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        self.body.clear();
        self.body.extend_from_slice(row.get_ref(1)?.as_blob()?);
        row.get(0).map(Some)
    }

    fn save(&mut self, key: Key, segment: i64) -> rusqlite::Result<()> {
        self.upsert.execute(params![key.hour, key.series as i64, segment, self.body]).map(drop)
    }

    /// The usual case: everything is later than what `self.body`, the newest segment, holds.
    fn append(&mut self, key: Key, segment: i64, points: &[Point]) -> rusqlite::Result<()> {
        let length = self.body.len();
        let Ok(taken) = chunk::extend(&mut self.body, points) else { return self.rewrite(key, points) };
        if taken == points.len() {
            return self.save(key, segment);
        }
        if length < REWRITTEN_BYTES_MAX && self.body.len() < chunk::BODY_BYTES_MAX / 2 {
            let mut all = Vec::new();
            if chunk::decode(key, &self.body, &mut all).is_err() {
                return self.rewrite(key, points);
            }
            all.extend_from_slice(&points[taken..]);
            return self.begin(key, segment, &all);
        }
        if taken > 0 {
            self.save(key, segment)?;
        }
        self.begin(key, segment + 1, &points[taken..])
    }

    /// Writes `points` into new segments from `segment` on.
    fn begin(&mut self, key: Key, mut segment: i64, mut points: &[Point]) -> rusqlite::Result<()> {
        while !points.is_empty() {
            let taken = chunk::begin(key, points, &mut self.body);
            self.save(key, segment)?;
            points = &points[taken..];
            segment += 1;
        }
        Ok(())
    }

    /// The rare case: something came late, or twice, or a segment is damaged. All segments of the hour are written
    /// anew; damaged ones are kept aside for people, so that the hour goes on.
    fn rewrite(&mut self, key: Key, points: &[Point]) -> rusqlite::Result<()> {
        let mut all: Vec<Point> = Vec::new();
        {
            let mut segments = self.transaction.prepare_cached(
                "SELECT segment, body FROM open_chunk WHERE hour = ?1 AND series = ?2 ORDER BY segment",
            )?;
            let mut rows = segments.query(params![key.hour, key.series as i64])?;
            while let Some(row) = rows.next()? {
                let (segment, body): (i64, &[u8]) = (row.get(0)?, row.get_ref(1)?.as_blob()?);
                let mut found = Vec::new();
                match chunk::decode(key, body, &mut found) {
                    Ok(()) if all.is_empty() => all = found,
                    Ok(()) => all = group::merge(&all, &found),
                    Err(damage) => self.set_aside(key, segment, body, damage)?,
                }
            }
        }
        self.transaction
            .prepare_cached("DELETE FROM open_chunk WHERE hour = ?1 AND series = ?2")?
            .execute(params![key.hour, key.series as i64])?;
        self.begin(key, 0, &group::merge(&all, points))
    }

    fn set_aside(&self, key: Key, segment: i64, body: &[u8], damage: Damage) -> rusqlite::Result<()> {
        tracing::error!(
            series = key.series,
            hour = key.hour,
            segment,
            cause = %damage,
            "a chunk of the store is damaged: its readings are lost to queries, its bytes are kept in damaged_chunk",
        );
        metrics::counter!(names::STORE_DAMAGED_CHUNKS_TOTAL).increment(1);
        self.transaction
            .prepare_cached("INSERT INTO damaged_chunk(series, hour, segment, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![key.series as i64, key.hour, segment, body])
            .map(drop)
    }
}
