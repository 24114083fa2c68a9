//! Keeps the [`Registry`] in step with the control plane: the one file of this room that knows it.

use std::{pin::Pin, sync::Arc};

use super::{Integration, Registry};
use crate::{
    control::{self, Change, ChangeListener, Control, Cut, KeyUsage, QuotaUsage},
    model::{IntegrationFacts, Status},
};

/// Takes changes into the registry, and is the barrier that a suspend, revoke or regenerate waits at.
#[derive(Debug, Clone)]
pub struct Sync {
    registry: Arc<Registry>,
}

impl Sync {
    /// Keeps `registry` in step.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Fills the registry from the control plane. Once, before anybody is let in.
    ///
    /// # Errors
    /// Those of the control plane's database.
    pub async fn load(&self, control: &Control) -> Result<(), control::Error> {
        let (integrations, keys) = control.facts().await?;
        for facts in integrations {
            self.registry.apply_integration(facts);
        }
        self.registry.apply_keys(keys);
        let registry = Arc::clone(&self.registry);
        control.each_equipment(move |equipment| registry.apply_equipment(&equipment)).await?;
        for usage in control.quota_usage().await? {
            if let Some(integration) = self.registry.integration(usage.integration_id) {
                integration.quota.restore(usage.utc_day, usage.used);
            }
        }
        Ok(())
    }

    /// Saves what integrations have used since the start, so that a restart gives no fresh quota (S232).
    ///
    /// # Errors
    /// Those of the control plane's database; nothing is lost in memory.
    pub async fn save_usage(&self, control: &Control) -> Result<(), control::Error> {
        let mut quotas = Vec::new();
        let mut keys = Vec::new();
        for integration in self.registry.integrations() {
            let (last_used_s, facts) = (integration.last_used_s(), integration.facts());
            if !integration.take_used() {
                continue;
            }
            let (utc_day, used) = integration.quota.used();
            quotas.push(QuotaUsage { integration_id: facts.id, utc_day, used });
            let last_used_at_us = i64::try_from(last_used_s * 1_000_000).unwrap_or(i64::MAX);
            let generation = facts.key_generation;
            keys.push(KeyUsage { integration_id: facts.id, generation, last_used_at_us });
        }
        control.save_quota_usage(quotas).await?;
        control.save_key_usage(keys).await
    }

    async fn apply_change(&self, change: Change) -> Cut {
        match change {
            Change::Integration(facts) => self.apply_integration(facts).await,
            Change::Keys(keys) => {
                self.registry.apply_keys(keys);
                Cut::default()
            }
            Change::Equipment(equipment) => {
                self.registry.apply_equipment(&equipment);
                Cut::default()
            }
        }
    }

    async fn apply_integration(&self, facts: IntegrationFacts) -> Cut {
        let before = self.registry.integration(facts.id).map(|integration| live_generation(&integration.facts()));
        let after = live_generation(&facts);
        let integration = self.registry.apply_integration(facts);
        match before {
            Some(Some(generation)) if after != Some(generation) => cut_off(&integration).await,
            _ => Cut::default(),
        }
    }
}

/// The generation of the key that opens something; none while nothing does.
fn live_generation(facts: &IntegrationFacts) -> Option<u64> {
    (facts.status == Status::Active).then_some(facts.key_generation)
}

/// The facts are in force already, so nobody new gets past the gate: waits for those who are past it (S115, A15).
async fn cut_off(integration: &Integration) -> Cut {
    let requests = integration.in_flight();
    integration.drain().await;
    Cut { sessions: 0, requests }
}

impl ChangeListener for Sync {
    fn apply<'a>(&'a self, change: Change) -> Pin<Box<dyn Future<Output = Cut> + Send + 'a>> {
        Box::pin(self.apply_change(change))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{IntegrationId, OrganisationId, ScopeSet};

    fn facts(id: IntegrationId, status: Status, key_generation: u64) -> IntegrationFacts {
        IntegrationFacts {
            id,
            organisation_id: OrganisationId::generate(),
            status,
            key_generation,
            scopes: ScopeSet::EMPTY,
            rpm: 60,
            temporary_limit: None,
            daily_quota: None,
            backfill: None,
            allowlist: None,
            client: None,
        }
    }

    // S112, S115, S116: a suspend returns only when the batch past the gate is done, and nobody passes after it.
    #[tokio::test]
    async fn a_suspend_waits_for_who_is_past_the_gate_and_shuts_it() {
        let registry = Arc::new(Registry::new(10));
        let sync = Sync::new(Arc::clone(&registry));
        let id = IntegrationId::generate();
        sync.apply(Change::Integration(facts(id, Status::Active, 1))).await;
        let integration = registry.integration(id).expect("known");
        let permit = integration.pass_gate(1).await.expect("open");
        let suspend = tokio::time::timeout(
            Duration::from_millis(50),
            sync.apply(Change::Integration(facts(id, Status::Suspended, 0))),
        );
        assert!(suspend.await.is_err(), "the suspend waits for the permit");
        assert!(!integration.still_valid(1));
        drop(permit);
        sync.apply(Change::Integration(facts(id, Status::Suspended, 0))).await;
        assert!(integration.pass_gate(1).await.is_err());
    }

    // S201, S202: regenerate swaps the generation: the old one is out, the new one in.
    #[tokio::test]
    async fn a_regenerate_shuts_the_old_generation_out() {
        let registry = Arc::new(Registry::new(10));
        let sync = Sync::new(Arc::clone(&registry));
        let id = IntegrationId::generate();
        sync.apply(Change::Integration(facts(id, Status::Active, 1))).await;
        sync.apply(Change::Integration(facts(id, Status::Active, 2))).await;
        let integration = registry.integration(id).expect("known");
        assert!(integration.pass_gate(1).await.is_err());
        assert!(integration.pass_gate(2).await.is_ok());
    }
}
