//! What can go wrong with what is kept.

use std::path::PathBuf;

use crate::delivery;

/// The quarantine cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file of rejected readings cannot be opened.
    #[error("cannot open the file of rejected readings {path}")]
    Open {
        /// Its file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: rusqlite::Error,
    },
    /// The system gives us no thread.
    #[error("cannot start the thread that writes rejected readings")]
    Thread(#[source] std::io::Error),
    /// The file of rejected readings cannot be read or written.
    #[error("a statement on the file of rejected readings failed")]
    Statement(#[from] rusqlite::Error),
    /// The readings that the store refused cannot be read, sent or taken out.
    #[error("the readings that the store refused")]
    Refused(#[from] delivery::Error),
    /// A question died.
    #[error("a question to the quarantine died")]
    Task(#[from] tokio::task::JoinError),
}
