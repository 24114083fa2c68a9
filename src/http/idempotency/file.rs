//! The file behind the memory: written by a thread of its own, about once a second.

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::{Answer, Fingerprint, KEPT_S, Key};
use crate::{http::Error, telemetry::metrics::HTTP_IDEMPOTENCY_UNWRITTEN_TOTAL};

const FILE_NAME: &str = "idempotency.sqlite";
const SCHEMA_VERSION: i64 = 1;
/// Answers that wait for the writer; what finds the queue full is kept in memory only.
const QUEUE_MAX: usize = 8_192;
/// How long answers gather before they are written together: what a kill -9 can lose.
const GATHER: Duration = Duration::from_millis(900);
/// How often answers that are too old, or too many, are deleted from the file.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS answers (
        key BLOB PRIMARY KEY, fingerprint BLOB NOT NULL, answered_s INTEGER NOT NULL,
        status INTEGER NOT NULL, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL, tail BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS answers_by_age ON answers (answered_s);";

/// One answer as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
    pub(super) answer: Answer,
    pub(super) answered_s: i64,
}

/// The writing end. Dropping it writes what is queued, then returns.
#[derive(Debug)]
pub(super) struct Behind {
    queue: Option<SyncSender<Stored>>,
    writer: Option<JoinHandle<()>>,
}

impl Behind {
    /// Queues `stored`. Never waits: an answer that finds the queue full is not written.
    pub(super) fn write(&self, stored: Stored) {
        let queued = self.queue.as_ref().is_some_and(|queue| queue.try_send(stored).is_ok());
        if !queued {
            metrics::counter!(HTTP_IDEMPOTENCY_UNWRITTEN_TOTAL).increment(1);
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already, and nothing hangs on its last words.
            let _ended = writer.join();
        }
    }
}

/// Opens the file, and reads the answers given since `since_s`: the newest `entries_max`, the oldest of them first.
pub(super) fn open(data_dir: &Path, entries_max: usize, since_s: i64) -> Result<(Behind, Vec<Stored>), Error> {
    let path = data_dir.join(FILE_NAME);
    let attempt = || {
        let db = connect(&path)?;
        let kept = read(&db, entries_max, since_s)?;
        Ok((db, kept))
    };
    let (db, kept) = attempt().or_else(|error: rusqlite::Error| {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, path = %path.display(), "kept answers cannot be read; the file is begun anew");
        for suffix in ["", "-wal", "-shm"] {
            // One that is not there is as good as removed; one that cannot be removed fails the next attempt.
            let _removed = std::fs::remove_file(data_dir.join(format!("{FILE_NAME}{suffix}")));
        }
        attempt().map_err(|source| Error::Idempotency { path: path.clone(), source })
    })?;
    let (queue, queued) = sync_channel(QUEUE_MAX);
    let writer = std::thread::Builder::new()
        .name("idempotency".to_owned())
        .spawn(move || write_all(db, &queued, entries_max))
        .map_err(|source| Error::Thread { source })?;
    Ok((Behind { queue: Some(queue), writer: Some(writer) }, kept))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(2))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA_VERSION {
        db.execute_batch("DROP TABLE IF EXISTS answers")?;
        db.execute_batch(SCHEMA)?;
        db.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    Ok(db)
}

fn read(db: &Connection, entries_max: usize, since_s: i64) -> rusqlite::Result<Vec<Stored>> {
    let mut query = db.prepare(
        "SELECT key, fingerprint, answered_s, status, accepted, rejected, tail FROM answers
         WHERE answered_s > ?1 ORDER BY answered_s DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(entries_max).unwrap_or(i64::MAX);
    let rows = query.query_map(params![since_s, limit], |row| {
        Ok(Stored {
            key: row.get(0)?,
            fingerprint: row.get(1)?,
            answered_s: row.get(2)?,
            answer: Answer {
                status: row.get(3)?,
                accepted: row.get(4)?,
                rejected: row.get(5)?,
                tail: Bytes::from(row.get::<_, Vec<u8>>(6)?),
            },
        })
    })?;
    let mut kept = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    kept.reverse();
    Ok(kept)
}

/// The writer's whole life: gather, write, now and then sweep, until nobody can send any more.
fn write_all(mut db: Connection, queued: &Receiver<Stored>, entries_max: usize) {
    let mut swept_at = Instant::now();
    let mut is_failing = false;
    while let Ok(first) = queued.recv() {
        let mut batch = vec![first];
        let until = Instant::now() + GATHER;
        let mut is_last = false;
        while batch.len() < QUEUE_MAX {
            match queued.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(stored) => batch.push(stored),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    is_last = true;
                    break;
                }
            }
        }
        let mut result = write(&mut db, &batch);
        if swept_at.elapsed() > SWEEP_EVERY || is_last {
            swept_at = Instant::now();
            result = result.and_then(|()| sweep(&db, &batch, entries_max));
        }
        match result {
            Ok(()) => is_failing = false,
            Err(error) => {
                metrics::counter!(HTTP_IDEMPOTENCY_UNWRITTEN_TOTAL).increment(batch.len() as u64);
                if !is_failing {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "answers for idempotency keys are kept in memory only");
                }
                is_failing = true;
            }
        }
    }
}

fn write(db: &mut Connection, batch: &[Stored]) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    {
        let mut insert =
            transaction.prepare_cached("INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for Stored { key, fingerprint, answer, answered_s } in batch {
            let Answer { status, accepted, rejected, tail } = answer;
            insert.execute(params![key, fingerprint, answered_s, status, accepted, rejected, &tail[..]])?;
        }
    }
    transaction.commit()
}

fn sweep(db: &Connection, batch: &[Stored], entries_max: usize) -> rusqlite::Result<()> {
    let newest_s = batch.iter().map(|stored| stored.answered_s).max().unwrap_or(0);
    db.execute("DELETE FROM answers WHERE answered_s <= ?1", [newest_s - KEPT_S])?;
    db.execute(
        "DELETE FROM answers WHERE key IN (
             SELECT key FROM answers ORDER BY answered_s LIMIT max(0, (SELECT count(*) FROM answers) - ?1))",
        [i64::try_from(entries_max).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}
