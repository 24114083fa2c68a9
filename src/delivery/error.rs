//! What can go wrong between spool and store. What goes away by itself is no error here: it is tried again.

use std::{io, path::PathBuf};

use crate::{spool, store};

/// Delivery or its quarantine cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store does not say how far it has come.
    #[error("the store cannot be asked where delivery left off")]
    Start(#[source] store::Error),
    /// No thread or runtime to be had.
    #[error("cannot start the thread that delivers")]
    Thread(#[source] io::Error),
    /// A bug: the thread ended in a panic.
    #[error("the thread that delivers panicked")]
    Panicked,
    /// The quarantine's file cannot be opened.
    #[error("cannot open the quarantine {path}")]
    OpenQuarantine {
        /// Its file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: rusqlite::Error,
    },
    /// The quarantine cannot be read.
    #[error("cannot read the quarantine")]
    ReadQuarantine(#[source] rusqlite::Error),
    /// The quarantine cannot be written.
    #[error("cannot write the quarantine")]
    WriteQuarantine(#[source] rusqlite::Error),
    /// There are as many rows in quarantine as there may be.
    #[error("the quarantine is full: {rows} of {rows_max} rows")]
    QuarantineFull {
        /// Rows in it.
        rows: u64,
        /// Rows that may be in it (`delivery.quarantine_rows_max`).
        rows_max: u64,
    },
    /// What was to be replayed could not be put into the spool.
    #[error("the spool does not take what was to be replayed")]
    Replay(#[source] spool::AppendError),
}
