//! From the spool to the store, in the background: whatever the store does, no acknowledgement waits for it.
//!
//! One thread of its own: take what has arrived ([`spool::Reader::next`](crate::spool::Reader::next)), decode it,
//! write it as one group, release what the store says is durable. A store that cannot take it now is asked again for
//! ever; readings that it never will take go into [`Quarantine`], each with the reason. Nothing is ever dropped:
//! where the quarantine is full too, delivery stands still, and in the end the spool refuses new batches.
//!
//! Read-back lags by [`Config::delay_ms_max`] and the time of one write: the promise is 2 s.

mod config;
mod error;
mod group;
mod meters;
mod progress;
mod quarantine;
#[cfg(test)]
pub(crate) mod tests;
mod worker;

use std::{fmt, sync::Arc, thread};

use tokio_util::sync::CancellationToken;

pub use self::{
    config::Config,
    error::Error,
    progress::Progress,
    quarantine::{Entry, Quarantine, QuarantineListener, Search, What},
};
use crate::{spool, store::Store, telemetry::health::Health};

/// What delivery works with.
pub struct Args {
    /// Where the records come from. Nothing may have been appended since the spool was opened.
    pub reader: spool::Reader,
    /// Where the readings go.
    pub store: Arc<dyn Store>,
    /// Where the readings go that the store refuses.
    pub quarantine: Arc<Quarantine>,
    /// Delays and limits.
    pub config: Config,
    /// Told, as `delivery`, when the store has not taken anything for a while, and why.
    pub health: Health,
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("reader", &self.reader).field("config", &self.config).finish_non_exhaustive()
    }
}

/// Delivery at work.
#[derive(Debug)]
pub struct Delivery {
    progress: Progress,
    thread: thread::JoinHandle<()>,
}

/// Starts the thread that delivers, from where the store or else the spool says it left off, until `shutdown`.
///
/// # Errors
/// When the store cannot say how far it has come, for a reason that will not go away by itself, or when the thread or
/// its runtime cannot be made.
pub fn start(args: Args, shutdown: CancellationToken) -> Result<Delivery, Error> {
    let progress = Progress::new(args.reader.released());
    let mut worker = worker::Worker::new(args, progress.clone(), shutdown);
    match worker.find_start() {
        Ok(()) => {}
        // It is asked again by the thread, for ever.
        Err(error) if error.is_transient() => {}
        Err(error) => return Err(Error::Start(error)),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Error::Thread)?;
    let thread = thread::Builder::new()
        .name("delivery".to_owned())
        .spawn(move || runtime.block_on(worker.run()))
        .map_err(Error::Thread)?;
    Ok(Delivery { progress, thread })
}

impl Delivery {
    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Returns when delivery has ended after its shutdown: the group at hand written, or left in the spool if the store
    /// does not take it.
    ///
    /// # Errors
    /// When its thread panicked; what was not delivered is in the spool.
    pub async fn stopped(self) -> Result<(), Error> {
        match tokio::task::spawn_blocking(move || self.thread.join()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Panicked),
        }
    }
}
