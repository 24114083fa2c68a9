//! A caller that has proved both credentials.

use std::{net::IpAddr, sync::Arc};

use super::{Integration, integration::InFlight};
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
    _in_flight: InFlight,
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
        Self { integration, facts, generation, addr, token_expires_s, _in_flight: in_flight }
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
