//! The database file: opening it, and setting a broken one aside.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::Error;

/// Name of the file in the data directory.
pub(super) const FILE: &str = "request-log.db";
const SCHEMA: &str = include_str!("schema.sql");
const VERSION: i64 = 1;
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the file to write, makes it where it is absent.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // NORMAL: a kill loses nothing that was written, a power cut perhaps the last seconds, and neither breaks the file.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        VERSION => {}
        later => return Err(Error::Version(later)),
    }
    Ok(connection)
}

/// Opens the file to read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Moves a broken file out of the way, with the two that SQLite keeps beside it. Gives its new name.
pub(super) fn set_aside(path: &Path, now_us: i64) -> io::Result<PathBuf> {
    let name = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let aside = name(&format!(".broken-{}", now_us / 1_000_000));
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(name(suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// A number kept under `name`; 0 where there is none.
pub(super) fn meta(connection: &Connection, name: &str) -> Result<u64, Error> {
    let value = connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0))
}

/// Keeps a number.
pub(super) fn set_meta(connection: &Connection, name: &str, value: u64) -> Result<(), Error> {
    let value = i64::try_from(value).map_err(|_| Error::Damaged("a number beyond what SQLite holds"))?;
    connection.prepare_cached("REPLACE INTO meta (name, value) VALUES (?1, ?2)")?.execute((name, value))?;
    Ok(())
}
