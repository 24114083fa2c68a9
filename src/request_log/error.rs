//! What can go wrong with the API log. None of it ever reaches a sender of readings.

/// Why a question is not answered, or an entry not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, read or written.
    #[error("the API log's database does not work")]
    Database(#[from] rusqlite::Error),
    /// The file cannot be moved or looked at.
    #[error("the API log's file cannot be reached")]
    File(#[from] std::io::Error),
    /// A block or a sum that cannot be read.
    #[error("the API log holds something that cannot be read: {0}")]
    Damaged(&'static str),
    /// The file was written by a later version.
    #[error("the API log was written by a later version ({0})")]
    Version(i64),
    /// The thread that writes is gone, or a question's thread died.
    #[error("the API log has stopped")]
    Stopped,
    /// A cursor that no list gave out, or a limit beyond the contract.
    #[error("{0}")]
    Parameter(&'static str),
}

impl Error {
    /// Whether the file itself is broken, so that it has to be set aside.
    pub(super) fn is_corrupt(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Database(error) => matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)),
            Self::Damaged(_) => true,
            Self::File(_) | Self::Version(_) | Self::Stopped | Self::Parameter(_) => false,
        }
    }
}
