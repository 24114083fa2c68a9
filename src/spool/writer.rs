//! The side of the appenders.

use std::{any::Any, fmt, future::Future, sync::Arc, thread};

use parking_lot::Mutex;

use super::{AppendError, Damage, shared::Shared};
use crate::telemetry::health::Health;

/// Proof that a record is on disk. Only the spool makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    position: u64,
}

impl Receipt {
    pub(super) const fn new(position: u64) -> Self {
        Self { position }
    }

    /// The record's place: higher for later records, never used twice, but not without gaps.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }
}

/// Makes records durable. Clones share one spool; dropping the last one writes what waits, waits for the disk and
/// stops.
#[derive(Debug, Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, thread: thread::JoinHandle<()>) -> Self {
        Self { inner: Arc::new(Inner { shared, thread: Mutex::new(Some(thread)) }) }
    }

    /// Puts `record` in the queue at once, in the order of the calls; the future ends when it is on disk, or has been
    /// refused. Dropping the future stops nothing. `hold` is dropped when the record is durable or refused: what waits
    /// for that (the gate of the integration) then knows that nothing is on its way any more.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing of the record will be delivered then, but after `Poisoned`, where it is unknown.
    ///
    /// # Panics
    /// If the record is larger than [`RECORD_BYTES_MAX`](super::RECORD_BYTES_MAX).
    pub fn append(
        &self,
        record: Vec<u8>,
        hold: Box<dyn Any + Send>,
    ) -> impl Future<Output = Result<Receipt, AppendError>> + Send + use<> {
        let queued = self.inner.shared.enqueue(record, hold);
        async move { queued?.await.unwrap_or(Err(AppendError::Poisoned)) }
    }

    /// Whether an append would be taken now. Costs a lock, no disk.
    ///
    /// # Errors
    /// What the append would be refused with.
    pub fn headroom(&self) -> Result<(), AppendError> {
        self.inner.shared.admit(&self.inner.shared.queue.lock(), 0)
    }

    /// Tells `health`, as `spool`, when the spool takes nothing more and why. Once.
    pub fn report_to(&self, health: Health) {
        self.inner.shared.report_to(health);
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Records found damaged since the spool was opened, for the operator.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.inner.shared.damage()
    }

    /// Takes no more appends, and returns when those that wait are on disk and answered.
    pub async fn shutdown(&self) {
        self.inner.shared.close();
        let thread = self.inner.thread.lock().take();
        if let Some(thread) = thread
            && let Err(error) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!(%error, "the thread that writes the spool was not waited for");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.get_mut().take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic in there has been logged and has poisoned the spool.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
