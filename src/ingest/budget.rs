//! How many bytes of batches may be in memory at once, over all connections of both edges.

use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::Refused;
use crate::{model::ProblemCode, telemetry::metrics::INGEST_IN_FLIGHT_BYTES};

/// A shared budget of bytes in flight. An edge takes what it will hold **before** it reads it.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    retry_after_s: u64,
    gauge: Gauge,
}

impl Budget {
    /// A budget of `bytes_max` bytes; who finds it empty is told to come back after `retry_after_s`.
    #[must_use]
    pub fn new(bytes_max: u32, retry_after_s: u64) -> Self {
        let free = Arc::new(Semaphore::new(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
        Self { free, retry_after_s, gauge: metrics::gauge!(INGEST_IN_FLIGHT_BYTES) }
    }

    /// Takes `bytes` at once.
    ///
    /// # Errors
    /// `overloaded` when fewer are free.
    pub fn take(&self, bytes: usize) -> Result<BudgetPermit, Refused> {
        let count = u32::try_from(bytes).map_err(|_| self.exhausted())?;
        match Arc::clone(&self.free).try_acquire_many_owned(count) {
            Ok(permit) => Ok(self.permit(permit)),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Err(self.exhausted()),
        }
    }

    /// Waits until `bytes` are free: for an edge that can stop reading (MQTT). First come, first served. A wait for
    /// more than the whole budget never ends, so the caller bounds it in time.
    ///
    /// # Errors
    /// `overloaded` when `bytes` cannot be counted.
    pub async fn wait(&self, bytes: usize) -> Result<BudgetPermit, Refused> {
        let count = u32::try_from(bytes).map_err(|_| self.exhausted())?;
        match Arc::clone(&self.free).acquire_many_owned(count).await {
            Ok(permit) => Ok(self.permit(permit)),
            Err(_closed) => Err(self.exhausted()),
        }
    }

    /// Bytes that are free now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.available_permits()
    }

    fn permit(&self, permit: OwnedSemaphorePermit) -> BudgetPermit {
        self.gauge.increment(permit.num_permits() as f64);
        BudgetPermit { permit, budget: self.clone() }
    }

    fn exhausted(&self) -> Refused {
        Refused::new(ProblemCode::Overloaded).because("in_flight_bytes").retry_after(self.retry_after_s)
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping it gives the bytes back"]
pub struct BudgetPermit {
    permit: OwnedSemaphorePermit,
    budget: Budget,
}

impl BudgetPermit {
    /// Takes `bytes` more: for a body that turns out larger than announced, or is being inflated.
    ///
    /// # Errors
    /// `overloaded` when fewer are free; what was held stays held.
    pub fn extend(&mut self, bytes: usize) -> Result<(), Refused> {
        let count = u32::try_from(bytes).map_err(|_| self.budget.exhausted())?;
        let more = Arc::clone(&self.budget.free).try_acquire_many_owned(count).map_err(|_| self.budget.exhausted())?;
        self.budget.gauge.increment(f64::from(count));
        self.permit.merge(more);
        Ok(())
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.num_permits()
    }
}

impl Drop for BudgetPermit {
    fn drop(&mut self) {
        self.budget.gauge.decrement(self.permit.num_permits() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // api.md §1: 503 with Retry-After and nothing accepted, when the batch cannot be taken now.
    #[test]
    fn an_empty_budget_refuses_and_a_dropped_permit_refills_it() {
        let budget = Budget::new(100, 2);
        let first = budget.take(60).expect("100 are free");
        let refused = budget.take(41).expect_err("only 40 are free");
        assert_eq!((refused.problem, refused.retry_after_s), (ProblemCode::Overloaded, Some(2)));
        assert_eq!(refused.cause, "in_flight_bytes");
        drop(first);
        assert_eq!(budget.available(), 100);
        assert!(budget.take(usize::MAX).is_err());
    }

    #[test]
    fn a_permit_grows_within_the_budget_only() {
        let budget = Budget::new(100, 1);
        let mut permit = budget.take(10).expect("free");
        permit.extend(90).expect("free");
        assert_eq!((permit.bytes(), budget.available()), (100, 0));
        assert!(permit.extend(1).is_err());
        drop(permit);
        assert_eq!(budget.available(), 100);
    }

    #[tokio::test]
    async fn waiting_ends_when_bytes_come_back() {
        let budget = Budget::new(10, 1);
        let held = budget.take(10).expect("free");
        let waiting = budget.wait(5);
        tokio::pin!(waiting);
        assert!(futures_poll_once(waiting.as_mut()).await.is_none());
        drop(held);
        assert_eq!(waiting.await.expect("free again").bytes(), 5);
    }

    async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
