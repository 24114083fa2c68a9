//! The file of rejected entries: SQLite of its own, so that neither the store nor the control plane feels it.

use std::{path::Path, time::Duration};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{
    Config, Error,
    item::{Entry, Filter, Held, Item, ItemId, Kind},
};
use crate::{
    ingest::{EntryError, Rejected},
    model::{IntegrationId, RequestId},
};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS rejected (
        id             INTEGER PRIMARY KEY AUTOINCREMENT,
        integration_id BLOB    NOT NULL,
        -- Of the entry as it was sent: the same entry sent again is the same row.
        hash           BLOB    NOT NULL,
        request_id     BLOB    NOT NULL,
        received_us    INTEGER NOT NULL,
        held_us        INTEGER NOT NULL,
        transport      TEXT    NOT NULL,
        code           TEXT    NOT NULL,
        field          TEXT,
        message        TEXT    NOT NULL,
        external_id    TEXT,
        equipment_id   TEXT,
        metric         TEXT,
        entry          TEXT    NOT NULL,
        seen           INTEGER NOT NULL DEFAULT 1,
        replays        INTEGER NOT NULL DEFAULT 0,
        replayed_us    INTEGER,
        UNIQUE (integration_id, hash)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS rejected_by_age ON rejected (held_us);
";

/// What became of a batch's entries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// In the file, new or again.
    pub(super) kept: u64,
    /// No room left.
    pub(super) full: u64,
    /// Larger than one may be.
    pub(super) too_large: u64,
    /// The batch cannot be taken apart again.
    pub(super) unreadable: u64,
}

/// The file. All calls block.
#[derive(Debug)]
pub(super) struct RejectedFile {
    connection: Mutex<Connection>,
    config: Config,
}

impl RejectedFile {
    pub(super) fn open(path: &Path, config: &Config) -> Result<Self, Error> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let connection = open().map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Ok(Self { connection: Mutex::new(connection), config: config.clone() })
    }

    /// Keeps the rejected entries of one batch, as far as there is room.
    pub(super) fn keep(&self, rejected: &Rejected, now_us: i64) -> Result<Kept, Error> {
        let mut kept = Kept::default();
        let Some(entries) = entries(&rejected.body) else {
            kept.unreadable = rejected.errors.len() as u64;
            return Ok(kept);
        };
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let mut room = self.room(&transaction, rejected.integration_id)?;
        for error in &rejected.errors {
            let Some(entry) = entries.get(error.index as usize).map(|entry| entry.get()) else {
                kept.unreadable += 1;
                continue;
            };
            if entry.len() > self.config.rejected_entry_bytes_max {
                kept.too_large += 1;
                continue;
            }
            let hash = hash(entry, rejected.received_at_us);
            if again(&transaction, rejected, error, hash, now_us)? {
                kept.kept += 1;
            } else if room == 0 {
                kept.full += 1;
            } else {
                insert(&transaction, rejected, error, entry, hash, now_us)?;
                kept.kept += 1;
                room -= 1;
            }
        }
        transaction.commit()?;
        Ok(kept)
    }

    fn room(&self, connection: &Connection, integration_id: IntegrationId) -> Result<u64, Error> {
        let all: u64 = connection.query_row("SELECT count(*) FROM rejected", [], |row| row.get(0))?;
        let own: u64 = connection
            .prepare_cached("SELECT count(*) FROM rejected WHERE integration_id = ?1")?
            .query_row([bytes(integration_id)], |row| row.get(0))?;
        let of = |max: u64, rows: u64| max.saturating_sub(rows);
        Ok(of(self.config.rejected_rows_max, all).min(of(self.config.rejected_rows_per_integration_max, own)))
    }

    /// Rows.
    pub(super) fn count(&self) -> Result<u64, Error> {
        Ok(self.connection.lock().query_row("SELECT count(*) FROM rejected", [], |row| row.get(0))?)
    }

    /// The rows behind `after` that `filter` lets through, oldest first.
    pub(super) fn list(&self, filter: &Filter, after: i64, limit: usize) -> Result<Vec<Item>, Error> {
        if filter.integrations.is_empty() || filter.kind == Some(Kind::Refused) {
            return Ok(Vec::new());
        }
        let places = vec!["?"; filter.integrations.len()].join(", ");
        let mut sql = format!("SELECT * FROM rejected WHERE integration_id IN ({places}) AND id > ?");
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        for integration in &filter.integrations {
            values.push(Box::new(bytes(*integration)));
        }
        values.push(Box::new(after));
        let mut and = |condition: &str, value: Option<Box<dyn ToSql>>| {
            if let Some(value) = value {
                sql.push_str(condition);
                values.push(value);
            }
        };
        and(" AND code = ?", filter.code.clone().map(|code| Box::new(code) as _));
        and(" AND external_id = ?", filter.external_id.clone().map(|name| Box::new(name) as _));
        and(" AND request_id = ?", filter.request_id.map(|id| Box::new(*id.as_uuid().as_bytes()) as _));
        and(" AND held_us >= ?", filter.from_us.map(|us| Box::new(us) as _));
        and(" AND held_us < ?", filter.to_us.map(|us| Box::new(us) as _));
        and(" ORDER BY id LIMIT ?", Some(Box::new(limit)));
        let connection = self.connection.lock();
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), item)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn get(&self, id: i64) -> Result<Option<Item>, Error> {
        let connection = self.connection.lock();
        Ok(connection.query_row("SELECT * FROM rejected WHERE id = ?1", [id], item).optional()?)
    }

    /// Takes one out; whether it was there.
    pub(super) fn remove(&self, id: i64) -> Result<bool, Error> {
        Ok(self.connection.lock().execute("DELETE FROM rejected WHERE id = ?1", [id])? > 0)
    }

    /// Notes that it was sent again and refused again, for this reason.
    pub(super) fn refused_again(&self, id: i64, error: &EntryError, now_us: i64) -> Result<(), Error> {
        let sql = "UPDATE rejected SET code = ?2, field = ?3, message = ?4, replays = replays + 1, replayed_us = ?5
                   WHERE id = ?1";
        self.connection.lock().prepare_cached(sql)?.execute(params![
            id,
            error.code.as_str(),
            error.field,
            error.message,
            now_us
        ])?;
        Ok(())
    }

    /// Forgets what is too old; how many rows.
    pub(super) fn sweep(&self, now_us: i64) -> Result<usize, Error> {
        let since_us = now_us - i64::from(self.config.rejected_keep_days) * 86_400_000_000;
        Ok(self.connection.lock().execute("DELETE FROM rejected WHERE held_us < ?1", [since_us])?)
    }
}

fn bytes(id: IntegrationId) -> [u8; 16] {
    *id.as_uuid().as_bytes()
}

/// The entries of a batch, each as it was sent. It was read once, so it is JSON.
fn entries(body: &[u8]) -> Option<Vec<&RawValue>> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        readings: Vec<&'a RawValue>,
    }
    let begin = body.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *begin == b'[' {
        return serde_json::from_slice(body).ok();
    }
    serde_json::from_slice::<Batch<'_>>(body).ok().map(|batch| batch.readings)
}

/// What names an entry. One without a timestamp means another moment each time it comes.
fn hash(entry: &str, received_us: i64) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(entry);
    if member(entry, "timestamp").is_none() {
        hasher.update(received_us.to_be_bytes());
    }
    hasher.finalize().into()
}

/// A member of the entry, if it is an object that has it.
fn member(entry: &str, name: &str) -> Option<Value> {
    serde_json::from_str::<serde_json::Map<String, Value>>(entry).ok()?.remove(name)
}

fn text(entry: &str, name: &str) -> Option<String> {
    match member(entry, name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Notes that an entry that is kept came again; whether it is kept.
fn again(
    connection: &Connection,
    rejected: &Rejected,
    error: &EntryError,
    hash: [u8; 32],
    now_us: i64,
) -> Result<bool, Error> {
    let sql = "UPDATE rejected SET seen = seen + 1, request_id = ?3, received_us = ?4, held_us = ?5, transport = ?6,
                   code = ?7, field = ?8, message = ?9
               WHERE integration_id = ?1 AND hash = ?2";
    let rows = connection.prepare_cached(sql)?.execute(params![
        bytes(rejected.integration_id),
        hash,
        *rejected.request_id.as_uuid().as_bytes(),
        rejected.received_at_us,
        now_us,
        rejected.transport.as_str(),
        error.code.as_str(),
        error.field,
        error.message,
    ])?;
    Ok(rows > 0)
}

fn insert(
    connection: &Connection,
    rejected: &Rejected,
    error: &EntryError,
    entry: &str,
    hash: [u8; 32],
    now_us: i64,
) -> Result<(), Error> {
    let sql = "INSERT INTO rejected (integration_id, hash, request_id, received_us, held_us, transport, code, field,
                   message, external_id, equipment_id, metric, entry)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    connection.prepare_cached(sql)?.execute(params![
        bytes(rejected.integration_id),
        hash,
        *rejected.request_id.as_uuid().as_bytes(),
        rejected.received_at_us,
        now_us,
        rejected.transport.as_str(),
        error.code.as_str(),
        error.field,
        error.message,
        text(entry, "external_id"),
        text(entry, "equipment_id"),
        text(entry, "metric"),
        entry,
    ])?;
    Ok(())
}

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let uuid = |name: &str| row.get::<_, [u8; 16]>(name).map(uuid::Uuid::from_bytes);
    Ok(Item {
        id: ItemId::Rejected(row.get("id")?),
        integration_id: Some(IntegrationId::from_uuid(uuid("integration_id")?)),
        request_id: Some(RequestId::from_uuid(uuid("request_id")?)),
        received_us: Some(row.get("received_us")?),
        held_us: row.get("held_us")?,
        reason: row.get("message")?,
        held: Held::Entry(Box::new(Entry {
            code: row.get("code")?,
            field: row.get("field")?,
            external_id: row.get("external_id")?,
            equipment_id: row.get("equipment_id")?,
            metric: row.get("metric")?,
            json: row.get("entry")?,
            transport: row.get("transport")?,
            seen: row.get("seen")?,
            replays: row.get("replays")?,
            replayed_us: row.get("replayed_us")?,
        })),
    })
}
