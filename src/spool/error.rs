//! What can go wrong, for the one who opens and reads, and for the one who appends.

use std::{io, path::PathBuf};

/// A spool that cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory cannot be made or listed.
    #[error("cannot use the spool directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "the spool {path} is in use by another process: two must not write it. Stop the other one, or give this one its own directory"
    )]
    InUse {
        /// The spool's directory.
        path: PathBuf,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The cursor file cannot be read or written.
    #[error("cannot use the cursor {path}")]
    Cursor {
        /// The cursor file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment cannot be read.
    #[error("cannot read the segment {path}")]
    ReadSegment {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment's torn end cannot be cut, or what remains not be synced.
    #[error("cannot cut the segment {path} at its last whole record")]
    CutSegment {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A damaged segment cannot be copied aside, or an unused one not be removed.
    #[error("cannot put aside {path}")]
    PutAside {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes the spool")]
    Thread(#[source] io::Error),
}

/// Why a record was not made durable. Each of them is for a while: the sender may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AppendError {
    /// The spool holds as many undelivered bytes as it may (`spool.bytes_max`).
    #[error("the spool is full")]
    Full,
    /// The file system has no room left (`spool.free_disk_bytes_min`), or a write failed for want of it.
    #[error("the disk is full")]
    DiskFull,
    /// Too many appends wait for the disk (`spool.queue_records_max`, `spool.queue_bytes_max`).
    #[error("too many appends wait for the disk")]
    QueueFull,
    /// A write or sync failed in a way that leaves the file unknown: nothing more is taken until a restart.
    #[error("the spool failed to write and takes nothing more until it is restarted")]
    Poisoned,
    /// The service is stopping.
    #[error("the spool is shutting down")]
    ShuttingDown,
}
