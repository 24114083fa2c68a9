//! Room in memory for bodies: taken before a body is read, so that what cannot be kept stays with its sender.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::refusal::Refusal;
use crate::{
    ingest::{Budget, BudgetPermit},
    model::{IntegrationId, ProblemCode},
};

/// The bytes of all bodies in memory, and the share of each integration.
#[derive(Debug)]
pub(super) struct Capacity {
    budget: Budget,
    wait: Duration,
    share_bytes: usize,
    /// One entry for each integration that ever sent a body: as many as the registry has.
    shares: RwLock<FxHashMap<IntegrationId, Arc<Semaphore>>>,
}

/// Bytes taken; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the bytes back"]
pub(super) struct Room {
    permit: BudgetPermit,
    share: OwnedSemaphorePermit,
}

impl Capacity {
    pub(super) fn new(budget: Budget, share_bytes: usize, wait: Duration) -> Self {
        Self { budget, wait, share_bytes, shares: RwLock::default() }
    }

    /// Takes `bytes` for a body of `integration`. While they are not free the request waits, its body unread in the
    /// sender's hands, so that a short burst is slowed down rather than refused.
    ///
    /// # Errors
    /// 503 when they were not free within the time allowed.
    pub(super) async fn take(&self, integration: IntegrationId, bytes: usize) -> Result<Room, Refusal> {
        let share = self.share(integration);
        let bytes = bytes.max(1);
        if let Ok(share) = Arc::clone(&share).try_acquire_many_owned(count(bytes)?)
            && let Ok(permit) = self.budget.take(bytes)
        {
            return Ok(Room { permit, share });
        }
        let until = Instant::now() + self.wait;
        let own = match timeout_at(until, share.acquire_many_owned(count(bytes)?)).await {
            Ok(Ok(share)) => share,
            Ok(Err(_)) | Err(_) => return Err(crowded()),
        };
        match timeout_at(until, self.budget.wait(bytes)).await {
            Ok(permit) => Ok(Room { permit: permit?, share: own }),
            // Asked once more for the words and the waiting time that belong to a budget used up.
            Err(_late) => Ok(Room { permit: self.budget.take(bytes)?, share: own }),
        }
    }

    fn share(&self, integration: IntegrationId) -> Arc<Semaphore> {
        if let Some(share) = self.shares.read().get(&integration) {
            return Arc::clone(share);
        }
        let mut shares = self.shares.write();
        Arc::clone(shares.entry(integration).or_insert_with(|| Arc::new(Semaphore::new(self.share_bytes))))
    }
}

impl Room {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.permit.bytes()
    }

    /// Takes more until at least `bytes` are held, at once or not at all: the body is half-way here.
    ///
    /// # Errors
    /// 503 when they are not free.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes());
        if more > 0 {
            let share = Arc::clone(self.share.semaphore());
            self.share.merge(share.try_acquire_many_owned(count(more)?).map_err(|_| crowded())?);
            self.permit.extend(more)?;
        }
        Ok(())
    }
}

fn count(bytes: usize) -> Result<u32, Refusal> {
    u32::try_from(bytes).map_err(|_| Refusal::new(ProblemCode::BodyTooLarge))
}

fn crowded() -> Refusal {
    Refusal::new(ProblemCode::Overloaded).because("integration_bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(budget: u32, share: usize, wait_ms: u64) -> Capacity {
        Capacity::new(Budget::new(budget, 2), share, Duration::from_millis(wait_ms))
    }

    // api.md §1: 503 with Retry-After when a batch cannot be taken now; one integration harms only itself.
    #[tokio::test]
    async fn one_integration_cannot_take_it_all() {
        let capacity = capacity(100, 60, 1);
        let (greedy, modest) = (IntegrationId::generate(), IntegrationId::generate());
        let held = capacity.take(greedy, 60).await.unwrap();
        let refused = capacity.take(greedy, 1).await.unwrap_err();
        assert_eq!((refused.problem, refused.cause), (ProblemCode::Overloaded, "integration_bytes"));
        let _room = capacity.take(modest, 40).await.unwrap();
        let refused = capacity.take(modest, 1).await.unwrap_err();
        assert_eq!((refused.problem, refused.retry_after_s), (ProblemCode::Overloaded, Some(2)));
        drop(held);
        assert_eq!(capacity.take(greedy, 60).await.unwrap().bytes(), 60);
    }

    #[tokio::test]
    async fn who_waits_gets_what_others_give_back() {
        let capacity = Arc::new(capacity(100, 100, 20_000));
        let id = IntegrationId::generate();
        let held = capacity.take(id, 100).await.unwrap();
        let waiting = crate::telemetry::task::spawn("waiting", {
            let capacity = capacity.clone();
            async move { capacity.take(id, 50).await.map(|room| room.bytes()) }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waiting.await.unwrap().unwrap(), 50);
    }

    #[tokio::test]
    async fn a_room_grows_and_shrinks_back_to_nothing() {
        let capacity = capacity(100, 80, 0);
        let id = IntegrationId::generate();
        let mut room = capacity.take(id, 10).await.unwrap();
        room.grow_to(80).unwrap();
        room.grow_to(5).unwrap();
        assert_eq!(room.bytes(), 80);
        assert!(room.grow_to(81).is_err());
        drop(room);
        assert_eq!((capacity.budget.available(), capacity.share(id).available_permits()), (100, 80));
    }
}
