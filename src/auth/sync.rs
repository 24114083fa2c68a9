//! Keeps the [`Registry`] in step with the control plane: the one file of this room that knows it.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use tokio::time::timeout;

use super::{Integration, Registry};
use crate::{
    control::{self, Change, ChangeListener, Control, Cut, KeyUsage, QuotaUsage},
    model::{IntegrationFacts, Status},
    telemetry::metrics::{AUTH_SESSIONS_CUT_SECONDS, AUTH_SESSIONS_CUT_TOTAL},
};

/// A session that does not end in this time hangs in a write that nobody takes; its edge closes it soon after, and
/// the gate is shut for it already.
const SESSIONS_CLOSE_MAX: Duration = Duration::from_secs(5);

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
        let key_died = matches!(before, Some(Some(generation)) if after != Some(generation));
        cut_off(&integration, key_died).await
    }
}

/// The generation of the key that opens something; none while nothing does.
fn live_generation(facts: &IntegrationFacts) -> Option<u64> {
    (facts.status == Status::Active).then_some(facts.key_generation)
}

/// The facts are in force already, so nobody new gets past the gate: ends the sessions that they shut out, and waits
/// for who is past the gate (S113, S115, A15).
async fn cut_off(integration: &Integration, key_died: bool) -> Cut {
    let started = Instant::now();
    let sessions = integration.sessions.cut_those_shut_out(&integration.facts());
    let cut = Cut { sessions: sessions.count(), requests: if key_died { integration.in_flight() } else { 0 } };
    if key_died || cut.sessions > 0 {
        integration.drain().await;
    }
    if cut.sessions > 0 {
        if timeout(SESSIONS_CLOSE_MAX, sessions.closed()).await.is_err() {
            tracing::error!(integration_id = %integration.facts().id, "sessions that were cut off are still open");
        }
        histogram!(AUTH_SESSIONS_CUT_SECONDS).record(started.elapsed());
        counter!(AUTH_SESSIONS_CUT_TOTAL).increment(cut.sessions);
    }
    cut
}

impl ChangeListener for Sync {
    fn apply<'a>(&'a self, change: Change) -> Pin<Box<dyn Future<Output = Cut> + Send + 'a>> {
        Box::pin(self.apply_change(change))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        auth::{NotOpened, Pass, Principal, Session, SessionEnd, SessionRequest, session::Sessions},
        model::{IntegrationId, Scope, ScopeSet},
    };

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn pass(integration: &Arc<Integration>) -> Pass {
        Principal::assumed(Arc::clone(integration), LOCALHOST).pass()
    }

    fn session(integration: &Arc<Integration>, client_id: &str) -> Result<Session, NotOpened> {
        Sessions::open(&Principal::assumed(Arc::clone(integration), LOCALHOST), &opening(client_id), 0)
    }

    fn opening(client_id: &str) -> SessionRequest<'_> {
        SessionRequest { client_id, scope: Scope::SensorsWrite, sessions_max: 2, opens_per_minute: u32::MAX }
    }

    fn sending(facts: IntegrationFacts) -> IntegrationFacts {
        IntegrationFacts { scopes: [Scope::SensorsWrite].into_iter().collect(), ..facts }
    }

    fn facts(id: IntegrationId, status: Status, key_generation: u64) -> IntegrationFacts {
        IntegrationFacts { status, key_generation, ..IntegrationFacts::assumed(id, ScopeSet::EMPTY) }
    }

    // S112, S115, S116: a suspend returns only when the batch past the gate is done, and nobody passes after it.
    #[tokio::test]
    async fn a_suspend_waits_for_who_is_past_the_gate_and_shuts_it() {
        let registry = Arc::new(Registry::new(10));
        let sync = Sync::new(Arc::clone(&registry));
        let id = IntegrationId::generate();
        sync.apply(Change::Integration(facts(id, Status::Active, 1))).await;
        let integration = registry.integration(id).expect("known");
        let before = pass(&integration);
        let permit = before.enter_gate().await.expect("open");
        let suspend = tokio::time::timeout(
            Duration::from_millis(50),
            sync.apply(Change::Integration(facts(id, Status::Suspended, 0))),
        );
        assert!(suspend.await.is_err(), "the suspend waits for the permit");
        assert!(!integration.still_valid(1));
        drop(permit);
        sync.apply(Change::Integration(facts(id, Status::Suspended, 0))).await;
        assert!(before.enter_gate().await.is_err());
    }

    // S201, S202: regenerate swaps the generation: the old one is out, the new one in.
    #[tokio::test]
    async fn a_regenerate_shuts_the_old_generation_out() {
        let registry = Arc::new(Registry::new(10));
        let sync = Sync::new(Arc::clone(&registry));
        let id = IntegrationId::generate();
        sync.apply(Change::Integration(facts(id, Status::Active, 1))).await;
        let integration = registry.integration(id).expect("known");
        let before = pass(&integration);
        sync.apply(Change::Integration(facts(id, Status::Active, 2))).await;
        assert!(before.enter_gate().await.is_err());
        assert!(pass(&integration).enter_gate().await.is_ok());
    }

    // S113: what a change shuts out ends before the change returns, is counted, and nothing of it passes the gate.
    #[tokio::test]
    async fn a_change_ends_the_sessions_that_it_shuts_out_and_waits_for_them() {
        let id = IntegrationId::generate();
        let active = || sending(facts(id, Status::Active, 1));
        let elsewhere = vec!["10.0.0.0/8".parse().expect("a network")];
        for (shut_out, end) in [
            (sending(facts(id, Status::Suspended, 0)), SessionEnd::AccessChanged),
            (sending(facts(id, Status::Active, 2)), SessionEnd::AccessChanged),
            (IntegrationFacts { allowlist: Some(elsewhere.into()), ..active() }, SessionEnd::AccessChanged),
            (facts(id, Status::Active, 1), SessionEnd::ScopeLost),
        ] {
            let registry = Arc::new(Registry::new(10));
            let sync = Sync::new(Arc::clone(&registry));
            sync.apply(Change::Integration(active())).await;
            let integration = registry.integration(id).expect("known");
            let mut session = session(&integration, "a").expect("opened");
            let pass = session.request().pass();
            assert!(pass.still_valid());
            let change = sync.apply(Change::Integration(shut_out));
            tokio::pin!(change);
            let early = timeout(Duration::from_millis(50), &mut change).await;
            assert!(early.is_err(), "{end:?}: the change waits for the open session");
            assert_eq!(session.ended().await, end);
            assert!(pass.enter_gate().await.is_err(), "{end:?}");
            drop(session);
            assert_eq!(change.await.sessions, 1);
            assert_eq!(integration.sessions_open(), 0);
        }
    }

    // S113: a session that was let in by facts of a moment ago ends at once.
    #[tokio::test]
    async fn a_session_opened_beside_a_suspend_ends_at_once() {
        let registry = Arc::new(Registry::new(10));
        let sync = Sync::new(Arc::clone(&registry));
        let id = IntegrationId::generate();
        sync.apply(Change::Integration(sending(facts(id, Status::Active, 1)))).await;
        let integration = registry.integration(id).expect("known");
        let principal = Principal::assumed(Arc::clone(&integration), LOCALHOST);
        sync.apply(Change::Integration(sending(facts(id, Status::Suspended, 0)))).await;
        let mut late = Sessions::open(&principal, &opening("late"), 0).expect("opened");
        assert_eq!(late.ended().await, SessionEnd::AccessChanged);
    }

    // S113: changes that shut nobody out leave sessions alone.
    #[tokio::test]
    async fn another_limit_ends_no_session() {
        let registry = Arc::new(Registry::new(10));
        let sync = Sync::new(Arc::clone(&registry));
        let id = IntegrationId::generate();
        sync.apply(Change::Integration(sending(facts(id, Status::Active, 1)))).await;
        let integration = registry.integration(id).expect("known");
        let session = session(&integration, "a").expect("opened");
        let faster = IntegrationFacts { rpm: 600, ..sending(facts(id, Status::Active, 1)) };
        assert_eq!(sync.apply(Change::Integration(faster)).await, Cut::default());
        assert!(session.request().pass().still_valid());
    }

    #[tokio::test]
    async fn a_client_id_has_one_session_and_an_integration_so_many() {
        let integration = Arc::new(Integration::new(sending(facts(IntegrationId::generate(), Status::Active, 1))));
        let mut first = session(&integration, "a").expect("opened");
        let pass = first.request().pass();
        let second = session(&integration, "a").expect("opened");
        assert_eq!(first.ended().await, SessionEnd::TakenOver);
        assert!(pass.still_valid(), "what the first one sent is still taken");
        drop(first);
        assert_eq!(integration.sessions_open(), 1);
        let _other = session(&integration, "b").expect("opened");
        assert_eq!(session(&integration, "c").err(), Some(NotOpened::Full));
        drop(second);
        assert!(session(&integration, "c").is_ok());
    }

    // api.md §4: sessions are opened at an even rate, after a burst of as many as there may be.
    #[tokio::test]
    async fn sessions_are_not_opened_too_often() {
        let integration = Arc::new(Integration::new(sending(facts(IntegrationId::generate(), Status::Active, 1))));
        let principal = Principal::assumed(Arc::clone(&integration), LOCALHOST);
        let open = |now_us| {
            let opening = SessionRequest { opens_per_minute: 60, ..opening("flapping") };
            Sessions::open(&principal, &opening, now_us)
        };
        assert!(open(0).is_ok() && open(0).is_ok());
        let last = open(0);
        assert_eq!(last.err(), Some(NotOpened::TooOften));
        assert!(open(999_999).is_err());
        assert!(open(1_000_000).is_ok());
        assert!(open(1_000_000).is_err());
        assert!(open(60_000_000).is_ok(), "time that has passed gives a burst again");
    }
}
