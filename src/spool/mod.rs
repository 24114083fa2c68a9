//! Accepted batches on disk until the store has them: bytes in, bytes out, nothing about readings.
//!
//! An append-only log of our own (`docs/adr/0002-spool-is-our-own-log.md`). One thread writes: it takes everything that
//! waits, writes it in one go, syncs once, and answers them all ([`Writer::append`]). One [`Reader`] takes the records
//! out again in order, and says how far it has come; segments behind that point are dropped.
//!
//! ```text
//! appenders → queue (bounded) → committer thread: write, fdatasync → Receipt, hold dropped
//!                                   ├→ segment files  {first position}.seg
//!                                   └→ tail in memory (bounded) → Reader → delivery → release → segment dropped
//! ```
//!
//! What it refuses: to acknowledge before the sync returned, to go on after a failed sync, to hand out what is not
//! synced, to be opened twice.

mod commit;
mod config;
mod cursor;
mod damage;
mod error;
mod file;
mod frame;
mod lock;
mod log;
mod meters;
mod reader;
mod recovery;
mod replay;
mod scan;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::{path::Path, sync::Arc};

pub use self::{
    config::Config,
    damage::Damage,
    error::{AppendError, Error},
    frame::RECORD_BYTES_MAX,
    reader::{Block, Reader},
    writer::{Receipt, Writer},
};
use self::{
    file::{Disk, OsDisk},
    recovery::Recovered,
    shared::Shared,
};

/// Opens the spool in `dir` (made if absent), recovers what is there, and starts the thread that writes.
///
/// # Errors
/// When another process has it open, or a file of it cannot be read, made or written. Damaged records are no error:
/// they are logged, counted ([`Writer::damage`]) and stepped over, and their segment is kept in `corrupt/`.
pub fn open(dir: &Path, config: &Config) -> Result<(Writer, Reader), Error> {
    open_on(Arc::new(OsDisk), dir, config)
}

fn open_on(disk: Arc<dyn Disk>, dir: &Path, config: &Config) -> Result<(Writer, Reader), Error> {
    let Recovered { lock, cursor, log, next_position, damage } = recovery::recover(&*disk, dir, config)?;
    if !config.sync {
        tracing::warn!(
            path = %dir.display(),
            "spool.sync is false: acknowledged readings are lost when the machine stops. Only for measuring"
        );
    }
    let shared = Arc::new(Shared::new(shared::Args { dir, config, disk, log, damage, lock, next_position }));
    let reader = Reader::new(Arc::clone(&shared), cursor);
    let thread = commit::start(Arc::clone(&shared), next_position)?;
    Ok((Writer::new(shared, thread), reader))
}
