//! Readings that did not get into the store and can still: looked at, sent again, or let go.
//!
//! Two kinds. What was accepted and the store refuses is held by `delivery`, without a limit in time, because it was
//! acknowledged. What was rejected when it came is held here, where an integration asks for it: a sensor that was
//! installed before it was registered loses nothing. That is a convenience, not a record: bounded in number, size
//! and days, off the path of a batch, and counted where something has no room.

mod config;
mod desk;
mod error;
mod item;
mod keeper;
mod rejected;

#[cfg(test)]
pub(crate) mod tests;

pub use config::Config;
pub use desk::{Desk, Outcome, Parts, Place};
pub use error::Error;
pub use item::{Entry, Filter, Held, Item, ItemId, Kind, NoItemId};

use std::{path::Path, sync::Arc};

use crate::ingest::RejectedSink;
use keeper::Keeper;
use rejected::RejectedFile;

/// What rejected readings are kept in.
#[derive(Debug, Clone)]
pub struct Rejections(Arc<RejectedFile>);

impl Rejections {
    /// Opens `rejected.db` in `data_dir`, made if absent.
    ///
    /// # Errors
    /// When it cannot be opened, or is none.
    pub fn open(data_dir: &Path, config: &Config) -> Result<Self, Error> {
        RejectedFile::open(&data_dir.join("rejected.db"), config).map(|file| Self(Arc::new(file)))
    }

    /// Where ingest hands them in; a thread of its own writes.
    ///
    /// # Errors
    /// When the system gives us no thread.
    pub fn sink(&self, config: &Config) -> Result<Arc<dyn RejectedSink>, Error> {
        Ok(Arc::new(Keeper::start(Arc::clone(&self.0), config)?))
    }
}
