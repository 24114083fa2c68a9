//! The connections that read. Readers of a WAL database block nobody and nobody blocks them.

use std::{ops::Deref, path::PathBuf, time::Duration};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::{super::Error, database};

/// All reading connections are in use and stayed so.
#[derive(Debug, thiserror::Error)]
#[error("all reading connections of the store were busy for {} ms", waited.as_millis())]
struct Busy {
    waited: Duration,
}

/// A fixed number of reading connections, opened when first needed.
pub(super) struct Pool {
    dir: PathBuf,
    timeout: Duration,
    idle: Mutex<Idle>,
    returned: Condvar,
}

struct Idle {
    connections: Vec<Connection>,
    /// Connections that may still be opened.
    unopened: u32,
}

impl Pool {
    pub(super) fn new(dir: PathBuf, size: u32, timeout: Duration) -> Self {
        let idle = Mutex::new(Idle { connections: Vec::new(), unopened: size });
        Self { dir, timeout, idle, returned: Condvar::new() }
    }

    /// A connection with an open read transaction: all that is read by it is of one moment.
    pub(super) fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        let connection = self.take()?;
        let snapshot = Snapshot { pool: self, connection: Some(connection) };
        snapshot.execute_batch("BEGIN").map_err(|error| database::classify("read", error))?;
        Ok(snapshot)
    }

    fn take(&self) -> Result<Connection, Error> {
        let mut idle = self.idle.lock();
        let deadline = std::time::Instant::now() + self.timeout;
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Ok(connection);
            }
            if idle.unopened > 0 {
                idle.unopened -= 1;
                drop(idle);
                return database::open_reader(&self.dir).inspect_err(|_| self.give_up());
            }
            if self.returned.wait_until(&mut idle, deadline).timed_out() {
                return Err(Error::Transient { operation: "read", source: Box::new(Busy { waited: self.timeout }) });
            }
        }
    }

    /// A connection is gone; another may be opened in its place.
    fn give_up(&self) {
        self.idle.lock().unopened += 1;
        self.returned.notify_one();
    }
}

/// A reading connection on loan, in a read transaction.
pub(super) struct Snapshot<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken out only when the loan ends")
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // A connection that cannot even end its transaction is not lent again.
        if connection.is_autocommit() || connection.execute_batch("COMMIT").is_ok() {
            self.pool.idle.lock().connections.push(connection);
            self.pool.returned.notify_one();
        } else {
            self.pool.give_up();
        }
    }
}
