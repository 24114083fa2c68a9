//! What an edge needs of this room, so that its own tests can stand at the socket with a stand-in behind it.

use std::future::Future;

use super::{BatchResult, Ingest, Refused, Submission};
use crate::auth::Principal;

/// Takes batches in: [`Ingest`] in the service.
pub trait Intake: Send + Sync + 'static {
    /// Whether a batch could be made durable now; asked before its body is read.
    ///
    /// # Errors
    /// 503.
    fn ready(&self) -> Result<(), Refused>;
    /// Judges a batch and makes the good part of it durable.
    fn submit(
        &self,
        principal: &Principal,
        submission: Submission,
    ) -> impl Future<Output = Result<BatchResult, Refused>> + Send;
}

impl Intake for Ingest {
    fn ready(&self) -> Result<(), Refused> {
        self.admit()
    }

    async fn submit(&self, principal: &Principal, submission: Submission) -> Result<BatchResult, Refused> {
        self.submit(principal, submission).await
    }
}
