//! What the store never will take, kept with the reason until somebody decides what becomes of it.
//!
//! A small SQLite file of its own. A row is on disk before delivery goes on. It holds what is needed to send the
//! reading again ([`Quarantine::replay`]), which goes by the spool like everything else; the record was acknowledged
//! and judged when it came, so it is not judged again.

use std::{fmt, path::Path, sync::Arc};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::Error;
use crate::{
    model::{
        EquipmentNumber, IntegrationId, MetricNumber, Quality, Reading, RequestId, SeriesId,
        record::{self, RecordHeader},
    },
    spool,
};

/// Rows that one call of [`Quarantine::list`] gives at most.
const LIST_ROWS_MAX: usize = 1000;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS quarantine (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    position       INTEGER NOT NULL,
    ordinal        INTEGER NOT NULL,
    quarantined_us INTEGER NOT NULL,
    reason         TEXT NOT NULL,
    integration_id BLOB,
    request_id     BLOB,
    received_us    INTEGER,
    series         INTEGER,
    timestamp_us   INTEGER,
    value          REAL,
    quality        INTEGER,
    record         BLOB,
    UNIQUE (position, ordinal)
) STRICT;
";

/// What a row holds.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A reading that the store refuses.
    Reading {
        /// The batch it came with.
        header: RecordHeader,
        /// Its place in that batch's record.
        ordinal: u32,
        /// The reading.
        reading: Reading,
    },
    /// A record that cannot be decoded.
    Record(Vec<u8>),
}

/// A row in quarantine.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number; higher for later ones.
    pub id: i64,
    /// Position in the spool of the record that it came in.
    pub position: u64,
    /// When it was put here, microseconds since the Unix epoch.
    pub quarantined_us: i64,
    /// Why the store refuses it, or why it cannot be decoded.
    pub reason: String,
    /// What it is.
    pub what: What,
}

/// Which rows are meant; all conditions must hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search<'a> {
    /// Of these integrations alone.
    pub integrations: &'a [IntegrationId],
    /// Also records that cannot be decoded, of which nobody knows whose they are.
    pub with_records: bool,
    /// Of this request.
    pub request_id: Option<RequestId>,
    /// Of one of these pieces of equipment.
    pub equipment: Option<&'a [EquipmentNumber]>,
    /// Put here not before, in microseconds since the Unix epoch.
    pub from_us: Option<i64>,
    /// Put here before, in microseconds since the Unix epoch.
    pub to_us: Option<i64>,
}

/// Who hears of what was put into quarantine.
pub trait QuarantineListener: Send + Sync {
    /// `entries` are on disk; some may have been before. Called on delivery's thread: it must not block.
    fn quarantined(&self, entries: &[Entry]);
}

/// The quarantine. All calls block: call from delivery's thread or from `spawn_blocking`.
pub struct Quarantine {
    connection: Mutex<Connection>,
    rows_max: u64,
    listener: Option<Arc<dyn QuarantineListener>>,
}

impl fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine").field("rows_max", &self.rows_max).finish_non_exhaustive()
    }
}

impl Quarantine {
    /// Opens the file `path`, made if absent.
    ///
    /// # Errors
    /// When it cannot be opened, or is not a quarantine.
    pub fn open(path: &Path, rows_max: u64) -> Result<Self, Error> {
        let failed = |source| Error::OpenQuarantine { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Self { connection: Mutex::new(connection), rows_max, listener: None })
    }

    /// The same, telling `listener` of what is put in.
    #[must_use]
    pub fn told_to(self, listener: Arc<dyn QuarantineListener>) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Puts `entries` in quarantine (their ids are not looked at), all or none. What is in it already stays as it is.
    ///
    /// # Errors
    /// [`Error::QuarantineFull`] when they have no room, or when the file cannot be written.
    pub fn put(&self, entries: &[Entry]) -> Result<(), Error> {
        let rows = self.count()?;
        if rows + entries.len() as u64 > self.rows_max {
            return Err(Error::QuarantineFull { rows, rows_max: self.rows_max });
        }
        let mut connection = self.connection.lock();
        let transaction = connection.transaction().map_err(Error::WriteQuarantine)?;
        for entry in entries {
            insert(&transaction, entry).map_err(Error::WriteQuarantine)?;
        }
        transaction.commit().map_err(Error::WriteQuarantine)?;
        if let Some(listener) = &self.listener {
            listener.quarantined(entries);
        }
        Ok(())
    }

    /// How many rows are in quarantine.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self) -> Result<u64, Error> {
        self.connection
            .lock()
            .query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))
            .map_err(Error::ReadQuarantine)
    }

    /// The rows behind `after` (0 for the first), oldest first, at most `limit` and 1000.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self, after: i64, limit: usize) -> Result<Vec<Entry>, Error> {
        self.rows(
            "SELECT * FROM quarantine WHERE id > ? ORDER BY id LIMIT ?",
            vec![Box::new(after), Box::new(limit.min(LIST_ROWS_MAX))],
        )
    }

    /// Those of the rows behind `after` that `search` lets through, oldest first, at most `limit` and 1000.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn search(&self, search: &Search<'_>, after: i64, limit: usize) -> Result<Vec<Entry>, Error> {
        let places = vec!["?"; search.integrations.len()].join(", ");
        let or_record = if search.with_records { " OR integration_id IS NULL" } else { "" };
        let mut sql = format!("SELECT * FROM quarantine WHERE (integration_id IN ({places}){or_record}) AND id > ?");
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        for integration in search.integrations {
            values.push(Box::new(*integration.as_uuid().as_bytes()));
        }
        values.push(Box::new(after));
        if let Some(request_id) = search.request_id {
            sql.push_str(" AND request_id = ?");
            values.push(Box::new(*request_id.as_uuid().as_bytes()));
        }
        if let Some(equipment) = search.equipment {
            let ranges = vec!["series BETWEEN ? AND ?"; equipment.len()].join(" OR ");
            sql.push_str(&format!(" AND ({})", if ranges.is_empty() { "FALSE" } else { &ranges }));
            for number in equipment {
                for metric in [MetricNumber(0), MetricNumber(u16::MAX)] {
                    values.push(Box::new(SeriesId::new(*number, metric).as_u64() as i64));
                }
            }
        }
        for (condition, bound) in
            [(" AND quarantined_us >= ?", search.from_us), (" AND quarantined_us < ?", search.to_us)]
        {
            if let Some(bound) = bound {
                sql.push_str(condition);
                values.push(Box::new(bound));
            }
        }
        sql.push_str(" ORDER BY id LIMIT ?");
        values.push(Box::new(limit.min(LIST_ROWS_MAX)));
        self.rows(&sql, values)
    }

    fn rows(&self, sql: &str, values: Vec<Box<dyn ToSql>>) -> Result<Vec<Entry>, Error> {
        let connection = self.connection.lock();
        let read = || -> rusqlite::Result<Vec<Entry>> {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map(params_from_iter(values), entry)?.collect()
        };
        read().map_err(Error::ReadQuarantine)
    }

    /// The readings of `series` with `from_us` ≤ time < `to_us`, oldest row first, at most 1000.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_series(&self, series: SeriesId, from_us: i64, to_us: i64) -> Result<Vec<Entry>, Error> {
        let connection = self.connection.lock();
        let read = || -> rusqlite::Result<Vec<Entry>> {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM quarantine WHERE series = ?1 AND timestamp_us >= ?2 AND timestamp_us < ?3
                 ORDER BY id LIMIT ?4",
            )?;
            let series = series.as_u64().cast_signed();
            statement.query_map(params![series, from_us, to_us, LIST_ROWS_MAX], entry)?.collect()
        };
        read().map_err(Error::ReadQuarantine)
    }

    /// Sends the rows with these ids once more, by `writer`, and takes those out that are durable in the spool. Gives
    /// how many; an id that is not here is passed over. Where a newer reading of the same series and time has been
    /// stored meanwhile, the one from quarantine wins: look before.
    ///
    /// # Errors
    /// At the first one that the spool does not take, or when the file cannot be read or written; those before it are
    /// out. A row that was sent and could not be taken out is sent again the next time, which the store does not mind.
    pub async fn replay(&self, ids: &[i64], writer: &spool::Writer) -> Result<usize, Error> {
        let mut replayed = 0;
        for id in ids {
            let Some(entry) = self.get(*id)? else { continue };
            let record = match entry.what {
                What::Record(record) => record,
                What::Reading { header, reading, .. } => {
                    let mut record = Vec::new();
                    record::encode(&header, &[reading], &mut record);
                    record
                }
            };
            writer.append(record, Box::new(())).await.map_err(Error::Replay)?;
            self.remove(*id)?;
            replayed += 1;
        }
        Ok(replayed)
    }

    /// The row with this id, if it is here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, id: i64) -> Result<Option<Entry>, Error> {
        self.connection
            .lock()
            .query_row("SELECT * FROM quarantine WHERE id = ?1", [id], entry)
            .optional()
            .map_err(Error::ReadQuarantine)
    }

    /// Takes the row with this id out for good; whether it was here.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove(&self, id: i64) -> Result<bool, Error> {
        self.connection
            .lock()
            .execute("DELETE FROM quarantine WHERE id = ?1", [id])
            .map(|rows| rows > 0)
            .map_err(Error::WriteQuarantine)
    }
}

fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let (ordinal, batch, reading, record) = match &entry.what {
        What::Reading { header, ordinal, reading } => (i64::from(*ordinal), Some(header), Some(reading), None),
        What::Record(record) => (-1, None, None, Some(record)),
    };
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO quarantine (position, ordinal, quarantined_us, reason, integration_id, request_id,
                 received_us, series, timestamp_us, value, quality, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            entry.position as i64,
            ordinal,
            entry.quarantined_us,
            entry.reason,
            batch.map(|header| *header.integration_id.as_uuid().as_bytes()),
            batch.map(|header| *header.request_id.as_uuid().as_bytes()),
            batch.map(|header| header.received_at_us),
            reading.map(|reading| reading.series.as_u64() as i64),
            reading.map(|reading| reading.timestamp_us),
            reading.map(|reading| reading.value),
            reading.map(|reading| reading.quality as u8),
            record,
        ])
        .map(drop)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let what = match row.get::<_, Option<Vec<u8>>>("record")? {
        Some(record) => What::Record(record),
        None => What::Reading {
            header: RecordHeader {
                integration_id: IntegrationId::from_uuid(uuid::Uuid::from_bytes(row.get("integration_id")?)),
                request_id: RequestId::from_uuid(uuid::Uuid::from_bytes(row.get("request_id")?)),
                received_at_us: row.get("received_us")?,
            },
            ordinal: row.get("ordinal")?,
            reading: Reading {
                series: SeriesId::from_u64(row.get::<_, i64>("series")? as u64),
                timestamp_us: row.get("timestamp_us")?,
                value: row.get("value")?,
                quality: Quality::from_u8(row.get("quality")?).unwrap_or_default(),
            },
        },
    };
    Ok(Entry {
        id: row.get("id")?,
        position: row.get::<_, i64>("position")? as u64,
        quarantined_us: row.get("quarantined_us")?,
        reason: row.get("reason")?,
        what,
    })
}
