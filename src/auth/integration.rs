//! One integration at run time: its facts, its counters, its equipment, its gate.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::{EquipmentIndex, GatePermit, RateState, gate::Gate, quota::Quota, session::Sessions, window::Window};
use crate::model::{IntegrationFacts, Status};

/// The run-time side of an integration. It lives as long as the process; what an administrator changes is swapped
/// within it as one value.
#[derive(Debug)]
pub struct Integration {
    facts: ArcSwap<IntegrationFacts>,
    /// Its equipment. Taken for reading once a batch, for writing once a change.
    pub equipment: RwLock<EquipmentIndex>,
    pub(super) window: Window,
    pub(super) quota: Quota,
    gate: Gate,
    pub(super) sessions: Sessions,
    in_flight: AtomicU64,
    last_used_s: AtomicU64,
    used_since_saved: AtomicBool,
}

impl Integration {
    /// An integration with these facts and no equipment yet.
    #[must_use]
    pub fn new(facts: IntegrationFacts) -> Self {
        Self {
            facts: ArcSwap::from_pointee(facts),
            equipment: RwLock::default(),
            window: Window::default(),
            quota: Quota::default(),
            gate: Gate::default(),
            sessions: Sessions::default(),
            in_flight: AtomicU64::new(0),
            last_used_s: AtomicU64::new(0),
            used_since_saved: AtomicBool::new(false),
        }
    }

    /// The facts as they stand now.
    #[must_use]
    pub fn facts(&self) -> Arc<IntegrationFacts> {
        self.facts.load_full()
    }

    /// Puts `facts` in force: every request that starts after this call is judged by them (S095).
    pub fn replace_facts(&self, facts: IntegrationFacts) {
        self.facts.store(Arc::new(facts));
    }

    /// Whether a request that authenticated with a key of `generation` may still go on.
    #[must_use]
    pub fn still_valid(&self, generation: u64) -> bool {
        let facts = self.facts.load();
        facts.status == Status::Active && facts.key_generation == generation
    }

    /// Into the gate; what is allowed behind it is [`super::Pass`]'s to judge.
    pub(super) async fn enter_gate(&self) -> GatePermit {
        self.gate.enter().await
    }

    /// Waits until every batch that passed the gate before this call is on disk or refused (A15).
    pub async fn drain(&self) {
        self.gate.drain().await;
    }

    /// Sessions that are open.
    #[cfg(test)]
    pub(crate) fn sessions_open(&self) -> usize {
        self.sessions.count()
    }

    /// Requests that were let in and have no answer yet.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// The window's state at `now_s` (Unix seconds), without charging it.
    #[must_use]
    pub fn rate_state(&self, now_s: u64) -> RateState {
        self.window.peek(self.rpm(now_s), now_s)
    }

    /// Requests used of the UTC day that `now_s` (Unix seconds) falls in, and the second at which it ends. Counted
    /// without a quota, too.
    #[must_use]
    pub fn quota_used(&self, now_s: u64) -> (u32, u64) {
        self.quota.peek(now_s)
    }

    /// Requests a minute in force at `now_s`: a temporary limit ends by itself (S228).
    pub(super) fn rpm(&self, now_s: u64) -> u32 {
        let facts = self.facts.load();
        match facts.temporary_limit {
            Some(limit) if i128::from(now_s) * 1_000_000 < i128::from(limit.until_us) => limit.rpm,
            _ => facts.rpm,
        }
    }

    pub(super) fn touch(&self, now_s: u64) {
        self.last_used_s.fetch_max(now_s, Ordering::Relaxed);
        self.used_since_saved.store(true, Ordering::Release);
    }

    /// Whether it was used since this was last asked.
    pub(super) fn take_used(&self) -> bool {
        self.used_since_saved.swap(false, Ordering::AcqRel)
    }

    /// Unix second of the last request that was let in; 0 if none since the start.
    #[must_use]
    pub fn last_used_s(&self) -> u64 {
        self.last_used_s.load(Ordering::Relaxed)
    }
}

/// Counts one request in flight for as long as it lives.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Integration>);

impl InFlight {
    pub(super) fn enter(integration: &Arc<Integration>) -> Self {
        integration.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(integration))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
