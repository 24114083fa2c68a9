//! Questions to the store: on a blocking thread, with its failures told apart.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Api, problem::Problem};
use crate::{
    model::ProblemCode,
    store::{self, Store},
};

/// Seconds after which a question is worth repeating.
const RETRY_AFTER_S: u64 = 1;

/// Runs `question` on the store.
pub(crate) async fn ask<T, F>(api: &impl Api, question: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&dyn Store) -> Result<T, store::Error> + Send + 'static,
{
    let store = Arc::clone(api.store());
    match spawn_blocking(move || question(&*store)).await {
        Ok(answer) => answer.map_err(Problem::from),
        Err(error) => {
            tracing::error!(%error, "a question to the store died");
            Err(Problem::new(ProblemCode::Internal))
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let cause = &error as &dyn std::error::Error;
        if error.is_transient() {
            tracing::warn!(error = cause, "the store cannot be read now");
            let unavailable =
                Self::new(ProblemCode::StorageUnavailable).with_detail("The readings cannot be read now.");
            return Self { retry_after_s: Some(RETRY_AFTER_S), ..unavailable };
        }
        tracing::error!(error = cause, "the store cannot be read");
        Self::new(ProblemCode::Internal)
    }
}
