//! A caller that has proved both credentials.

use std::{net::IpAddr, sync::Arc};

use super::{GateClosed, GatePermit, Integration, integration::InFlight, session::Live};
use crate::model::IntegrationFacts;

/// Who is calling. Only [`super::Authenticator`] makes one; it counts as a request in flight while it lives.
#[derive(Debug)]
pub struct Principal {
    /// The integration that the key names.
    pub integration: Arc<Integration>,
    /// Its facts as they stood when the request was let in.
    pub facts: Arc<IntegrationFacts>,
    /// The generation of the key; compared again at the gate.
    pub generation: u64,
    /// The true address of the caller.
    pub addr: IpAddr,
    /// When the token ends, Unix seconds: a session may not outlive it (S190).
    pub token_expires_s: u64,
    session: Option<Arc<Live>>,
    _in_flight: InFlight,
}

/// What a request is judged by once more, right before its batch is made durable; it goes along with the batch.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The integration that the key names.
    pub integration: Arc<Integration>,
    generation: u64,
    session: Option<Arc<Live>>,
}

impl Pass {
    /// Whether status and key are what they were, and the session, where there is one, has not been cut off.
    #[must_use]
    pub fn still_valid(&self) -> bool {
        self.integration.still_valid(self.generation) && !self.session.as_ref().is_some_and(|session| session.is_cut())
    }

    /// The last check, right before a batch is made durable. Whoever holds the permit keeps a suspension waiting, so
    /// it goes along with the batch and is dropped once that is on disk.
    ///
    /// # Errors
    /// [`GateClosed`] when the request is no longer valid.
    pub async fn enter_gate(&self) -> Result<GatePermit, GateClosed> {
        let permit = self.integration.enter_gate().await;
        if self.still_valid() { Ok(permit) } else { Err(GateClosed) }
    }
}

impl Principal {
    pub(super) fn new(
        integration: Arc<Integration>,
        facts: Arc<IntegrationFacts>,
        generation: u64,
        addr: IpAddr,
        token_expires_s: u64,
    ) -> Self {
        let in_flight = InFlight::enter(&integration);
        Self { integration, facts, generation, addr, token_expires_s, session: None, _in_flight: in_flight }
    }

    /// The same caller, on a session that can be cut off.
    pub(super) fn on_session(mut self, session: Arc<Live>) -> Self {
        self.session = Some(session);
        self
    }

    /// What the request is judged by at the gate.
    #[must_use]
    pub fn pass(&self) -> Pass {
        Pass { integration: Arc::clone(&self.integration), generation: self.generation, session: self.session.clone() }
    }

    /// What was sent by `integration` before and rejected is sent once more on its behalf, by an administrator. Status
    /// and key are those of now, and are judged at the gate as ever. What is rejected again is not kept anew.
    #[must_use]
    pub fn on_behalf(integration: Arc<Integration>, addr: IpAddr) -> Self {
        let facts = Arc::new(IntegrationFacts { keep_rejected: false, ..(*integration.facts()).clone() });
        let generation = facts.key_generation;
        Self::new(integration, facts, generation, addr, u64::MAX)
    }

    /// A caller for benches and tests of later steps, which have no credentials to check.
    #[doc(hidden)]
    #[must_use]
    pub fn assumed(integration: Arc<Integration>, addr: IpAddr) -> Self {
        let facts = integration.facts();
        let generation = facts.key_generation;
        Self::new(integration, facts, generation, addr, u64::MAX)
    }
}
