//! The commit gate: the last check before a batch is made durable, and the barrier that a suspension waits at.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Held from the last check of status and generation until the batch is on disk.
#[derive(Debug)]
pub struct GatePermit {
    _passage: OwnedRwLockReadGuard<()>,
}

/// The integration was suspended or revoked, or its key replaced, after the request had been let in (S115).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("status or key changed while the request was in flight")]
pub struct GateClosed;

/// One gate an integration. Writers pass as readers of the lock; closing takes it as a writer, which waits for
/// those inside and lets nobody overtake.
#[derive(Debug, Default)]
pub(super) struct Gate(Arc<RwLock<()>>);

impl Gate {
    /// Waits for a closing in progress, and holds off the next one.
    pub(super) async fn enter(&self) -> GatePermit {
        GatePermit { _passage: Arc::clone(&self.0).read_owned().await }
    }

    /// Returns when everybody who was inside has left. What was changed before this call holds for all who enter
    /// later.
    pub(super) async fn drain(&self) {
        drop(self.0.write().await);
    }
}
