//! Where rejected entries go of integrations that keep them.

use std::fmt;

use bytes::Bytes;

use super::{EntryError, Transport};
use crate::model::{IntegrationId, RequestId};

/// The rejected entries of one batch that was answered.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Whose.
    pub integration_id: IntegrationId,
    /// By which request.
    pub request_id: RequestId,
    /// When it came, microseconds since the Unix epoch.
    pub received_at_us: i64,
    /// Which edge it came in by.
    pub transport: Transport,
    /// The whole batch, as judged.
    pub body: Bytes,
    /// What was wrong, by index.
    pub errors: Vec<EntryError>,
}

/// Takes them.
pub trait RejectedSink: fmt::Debug + Send + Sync {
    /// Keeps what it has room for. Called on the path of a batch, after its answer is known: it must not wait.
    fn keep(&self, rejected: Rejected);
}
