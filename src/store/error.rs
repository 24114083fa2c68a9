//! What can go wrong in a store, by what the caller can do about it.

use std::path::PathBuf;

/// The cause below a store's error.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A store's refusal or failure. No variant holds a reading's value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot do it now: locked, full, slow, not reachable. The same call may succeed later.
    #[error("the store cannot {operation} now")]
    Transient {
        /// What was tried, as a verb: "write", "read" …
        operation: &'static str,
        /// Why not.
        #[source]
        source: Source,
    },
    /// The store will never take these readings. It took none of the group.
    #[error("the store refuses {} readings: {reason}", indices.len())]
    Refused {
        /// Their places in the group, ascending.
        indices: Vec<usize>,
        /// Why, for people.
        reason: String,
    },
    /// A part of one series cannot be read; every other series, and every other hour of this one, can.
    #[error("series {series:#x} is damaged in the chunk that begins at {start_us} µs")]
    CorruptChunk {
        /// Packed number of the series.
        series: u64,
        /// First microsecond of the chunk, since the Unix epoch.
        start_us: i64,
        /// What is wrong with its bytes.
        #[source]
        source: Source,
    },
    /// The store as a whole is damaged: a human is needed.
    #[error("the store is damaged: it cannot {operation}")]
    Corrupt {
        /// What was tried, as a verb.
        operation: &'static str,
        /// How it showed.
        #[source]
        source: Source,
    },
    /// Another process has the store open.
    #[error("{} is in use by another sensorgate process: stop that one first", path.display())]
    InUse {
        /// The file that is locked.
        path: PathBuf,
    },
    /// A later version of sensorgate wrote the store.
    #[error("the store has format {found}, this version knows up to {known}: run the later version")]
    Newer {
        /// The format of the file.
        found: i64,
        /// The latest one known here.
        known: i64,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
