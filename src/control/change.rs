//! What requests are judged by, on its way out of the control plane.

use std::{future::Future, pin::Pin};

use crate::model::{EquipmentFacts, IntegrationFacts, KeyFact};

/// What changed. Handed over after its transaction was committed and before the administrator is answered.
#[derive(Debug, Clone)]
pub enum Change {
    /// The integration as it stands now, whole.
    Integration(IntegrationFacts),
    /// New keys. Keys are never taken away: an old one is dead by its generation.
    Keys(Vec<KeyFact>),
    /// Equipment as it stands now. A removed external id shows as an upsert without it.
    Equipment(Vec<EquipmentFacts>),
}

/// What a suspend, revoke or regenerate cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// MQTT sessions closed.
    pub sessions: u64,
    /// Requests in flight that answer 401.
    pub requests: u64,
}

impl std::ops::AddAssign for Cut {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.requests += other.requests;
    }
}

/// Who must know of changes: the auth snapshot.
pub trait ChangeListener: Send + Sync {
    /// Takes `change` in. Returns when it holds for every request that starts later and, for a suspend, revoke or
    /// regenerate, when writers past the gate are done as well (S113, S115).
    fn apply<'a>(&'a self, change: Change) -> Pin<Box<dyn Future<Output = Cut> + Send + 'a>>;
}
