//! The store's SQLite file: opening, the lock against a second process, tables, and what its errors mean.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::{Config, Error};

/// Name of the database within the store's directory.
pub(super) const FILE: &str = "store.db";
/// The write-ahead log beside it.
pub(super) const WAL_FILE: &str = "store.db-wal";
const LOCK_FILE: &str = "store.lock";
/// Format of the tables. A later one gets a step in [`migrate`].
const FORMAT: i64 = 1;
/// "sgst", so that `file` and people know whose database it is.
const APPLICATION_ID: i64 = 0x7367_7374;
/// How long a statement waits for another connection, for a checkpoint's last step for example. Delivery tries again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Open chunks lie by hour, so that a group touches neighbouring pages; closed blocks lie by series, so that a long
/// range is read in one sweep. No row is larger than a quarter of a page, which SQLite would move to overflow pages.
const TABLES: &str = "
CREATE TABLE open_chunk(
    hour INTEGER NOT NULL, series INTEGER NOT NULL, segment INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY(hour, series, segment)
) STRICT, WITHOUT ROWID;
CREATE TABLE closed_block(
    series INTEGER NOT NULL, start_us INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY(series, start_us)
) STRICT, WITHOUT ROWID;
CREATE TABLE damaged_chunk(
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, hour INTEGER NOT NULL, segment INTEGER NOT NULL,
    body BLOB NOT NULL, found_at_s INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;
CREATE TABLE progress(
    id INTEGER PRIMARY KEY CHECK (id = 1), delivered INTEGER NOT NULL
) STRICT;
";

/// A directory taken for this process.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing the file would do, but not while a process that is just being started still has a copy of it.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

/// Takes the directory for this process, until the lock is dropped.
pub(super) fn lock(dir: &Path) -> Result<Lock, Error> {
    let path = dir.join(LOCK_FILE);
    let transient = |source| Error::Transient { operation: "open", source: Box::new(source) };
    std::fs::create_dir_all(dir).map_err(transient)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(transient)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
        Err(TryLockError::Error(error)) => Err(transient(error)),
    }
}

/// The one connection that writes.
///
/// A commit is on disk when it returns (`synchronous=FULL`): the spool is released after it. Checkpoints are made by
/// the maintenance step, or by the writer when the log has grown too long, never by a commit itself.
pub(super) fn open_writer(dir: &Path, config: &Config) -> Result<Connection, Error> {
    let fault = |error| classify("open", error);
    let mut connection = Connection::open(dir.join(FILE)).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    // The page size holds only if it is set before the first page is written.
    connection.pragma_update(None, "page_size", 16_384).map_err(fault)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(fault)?;
    settle(&connection, config.cache_mb).map_err(fault)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// A connection that reads, beside the writer and never in its way.
pub(super) fn open_reader(dir: &Path) -> Result<Connection, Error> {
    let fault = |error| classify("open", error);
    // Not opened read-only: a reader of a WAL database may have to set up the shared index after a crash.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(FILE), flags).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    settle(&connection, 4).map_err(fault)?;
    connection.pragma_update(None, "query_only", true).map_err(fault)?;
    Ok(connection)
}

/// The connection of maintenance: reads what is to be re-encoded, and makes checkpoints beside the writer.
pub(super) fn open_keeper(dir: &Path) -> Result<Connection, Error> {
    let fault = |error| classify("open", error);
    let connection = Connection::open(dir.join(FILE)).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(fault)?;
    settle(&connection, 4).map_err(fault)?;
    Ok(connection)
}

fn settle(connection: &Connection, cache_mb: u32) -> rusqlite::Result<()> {
    // Negative: KiB instead of pages.
    connection.pragma_update(None, "cache_size", -i64::from(cache_mb) * 1024)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let fault = |error| classify("open", error);
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fault)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    match found {
        FORMAT => return Ok(()),
        0 => {
            transaction.execute_batch(TABLES).map_err(fault)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault)?;
            transaction.pragma_update(None, "user_version", FORMAT).map_err(fault)?;
        }
        _ => return Err(Error::Newer { found, known: FORMAT }),
    }
    transaction.commit().map_err(fault)
}

/// What an error of SQLite means to the caller. Whatever is not surely damage may pass: delivery then tries again and
/// the spool keeps the readings.
pub(super) fn classify(operation: &'static str, error: rusqlite::Error) -> Error {
    let damaged = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => true,
        _ => false,
    };
    if damaged {
        Error::Corrupt { operation, source: Box::new(error) }
    } else {
        Error::Transient { operation, source: Box::new(error) }
    }
}
