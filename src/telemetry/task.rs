//! Named background tasks: a panic in one of them is an error in the log, not silence.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Starts `future` on the runtime under `name`. The handle may be dropped: the task goes on.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may: it gives the task its name")]
    tokio::spawn(future.instrument(tracing::info_span!("task", name)))
}
