//! The five steps of life as administrators take them.

use serde_json::{Value, json};

use super::{
    Credentials, Integration, ReactivateWith, SuspendCategory,
    client::NewClient,
    key::{Issue, issue_key},
    lifecycle::{self, Action, Step},
    widening,
};
use crate::{
    control::{
        Actor, Change, Control, Cut, Error,
        audit::{self, AuditEntry, Target},
        db::Tx,
        text,
        webhook::outbox,
    },
    model::{IntegrationId, Status, WebhookEvent},
};

impl Control {
    /// Approves a request. Never by its requester (S066); with `if_match` only the version that was reviewed (S073).
    pub async fn approve(&self, actor: Actor, id: IntegrationId, if_match: Option<u64>) -> Result<Integration, Error> {
        let (integration, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_approve_refused", Target::Integration(id));
                let before = lifecycle::judge(tx, &actor, id, Action::Approve)?;
                widening::check_reviewer(tx, &actor, id)?;
                lifecycle::check_version(&before, if_match)?;
                lifecycle::transition(tx, &actor, &before, &Step::Approve)?;
                let scopes: Vec<&str> = before.scopes.iter().map(|scope| scope.as_str()).collect();
                let reviewed = json!({ "status": "approved", "version_approved": before.version, "scopes": scopes });
                tell(tx, &actor, &before, "integration_approve", reviewed, None)?;
                lifecycle::reload(tx, &before)
            })
            .await?;
        Ok(integration)
    }

    /// Activates an approved integration, if one of the 20 places is free, and makes its credentials (S081).
    pub async fn activate(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
    ) -> Result<(Integration, Credentials), Error> {
        let (answer, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_activate_refused", Target::Integration(id));
                let before = lifecycle::judge(tx, &actor, id, Action::Activate)?;
                lifecycle::check_version(&before, if_match)?;
                let issue = issue(tx, &actor, &before, None)?;
                lifecycle::transition(tx, &actor, &before, &Step::Activate(&issue))?;
                let (after, mut changes) = lifecycle::reload(tx, &before)?;
                let told = json!({
                    "status": "active",
                    "key_prefix": issue.key.prefix(),
                    "client_id": after.client.as_ref().map(|client| &client.client_id),
                });
                tell(tx, &actor, &before, "integration_activate", told, None)?;
                changes.insert(0, Change::Keys(vec![issue.fact(id)]));
                let credentials = credentials(&after, Some(issue));
                Ok(((after, credentials), changes))
            })
            .await?;
        Ok(answer)
    }

    /// Suspends an active integration. When this returns, nothing of it is accepted any more (S113). One administrator
    /// alone may (S122); `reason` must not be blank (S108).
    pub async fn suspend(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        reason: String,
        category: Option<SuspendCategory>,
    ) -> Result<(Integration, Cut), Error> {
        self.change_and_cut(
            actor,
            Target::Integration(id),
            |_| true,
            move |tx| {
                tx.attempt(&actor, "integration_suspend_refused", Target::Integration(id));
                let before = lifecycle::judge(tx, &actor, id, Action::Suspend)?;
                text::required_reason("reason", &reason)?;
                lifecycle::check_version(&before, if_match)?;
                lifecycle::transition(tx, &actor, &before, &Step::Suspend { reason: &reason, category })?;
                let told = json!({ "status": "suspended", "category": category.map(SuspendCategory::as_str) });
                outbox::emit_status(tx, id, WebhookEvent::IntegrationSuspended, &told, actor.request_id)?;
                tell(tx, &actor, &before, "integration_suspend", told, Some(reason))?;
                lifecycle::reload(tx, &before)
            },
        )
        .await
    }

    /// Brings a suspended integration back, never by who suspended it last (S125). The key from before stays dead.
    pub async fn reactivate(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        with: ReactivateWith,
        reason: Option<String>,
    ) -> Result<(Integration, Credentials), Error> {
        let (answer, _) = self
            .change(move |tx| {
                tx.attempt(&actor, "integration_reactivate_refused", Target::Integration(id));
                let before = lifecycle::judge(tx, &actor, id, Action::Reactivate(with))?;
                let reason = text::optional_reason("reason", reason)?;
                lifecycle::check_version(&before, if_match)?;
                let issue = match with {
                    ReactivateWith::Generate => Some(issue(tx, &actor, &before, reason.as_deref())?),
                    ReactivateWith::KeepStaged => None,
                };
                lifecycle::transition(tx, &actor, &before, &Step::Reactivate(issue.as_ref()))?;
                let (after, mut changes) = lifecycle::reload(tx, &before)?;
                let told = json!({
                    "status": "active",
                    "credentials": if issue.is_some() { "generate" } else { "keep_staged" },
                    "key_prefix": after.key.as_ref().map(|key| &key.prefix),
                });
                outbox::emit_status(tx, id, WebhookEvent::IntegrationReactivated, &told, actor.request_id)?;
                tell(tx, &actor, &before, "integration_reactivate", told, reason)?;
                if let Some(issue) = &issue {
                    changes.insert(0, Change::Keys(vec![issue.fact(id)]));
                }
                let credentials = credentials(&after, issue);
                Ok(((after, credentials), changes))
            })
            .await?;
        Ok(answer)
    }

    /// Ends an integration for ever, from any status (S137, S138).
    pub async fn revoke(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        reason: Option<String>,
    ) -> Result<(Integration, Cut), Error> {
        let had_key = |after: &Integration| after.key.is_some();
        self.change_and_cut(actor, Target::Integration(id), had_key, move |tx| {
            tx.attempt(&actor, "integration_revoke_refused", Target::Integration(id));
            let before = lifecycle::judge(tx, &actor, id, Action::Revoke)?;
            let reason = text::optional_reason("reason", reason)?;
            lifecycle::check_version(&before, if_match)?;
            lifecycle::transition(tx, &actor, &before, &Step::Revoke { reason: reason.as_deref() })?;
            outbox::emit_revoked(tx, id, before.status == Status::Active, actor.request_id)?;
            tell(tx, &actor, &before, "integration_revoke", json!({ "status": "revoked" }), reason)?;
            lifecycle::reload(tx, &before)
        })
        .await
    }
}

/// A new key and, where the embedded issuer keeps the client, a new secret.
fn issue(tx: &Tx<'_>, actor: &Actor, integration: &Integration, cause: Option<&str>) -> Result<Issue, Error> {
    let client = NewClient::of(tx, integration)?;
    Ok(Issue { client, ..issue_key(tx, actor, integration, cause)? })
}

fn credentials(after: &Integration, issue: Option<Issue>) -> Credentials {
    let (client, api_key) = issue.map(|issue| (issue.client, issue.key)).unzip();
    Credentials {
        client_id: after.client.as_ref().map(|client| client.client_id.clone()).unwrap_or_default(),
        client_secret: client.flatten().map(|client| client.secret),
        api_key,
        key_prefix: after.key.as_ref().map(|key| key.prefix.clone()).unwrap_or_default(),
    }
}

fn tell(
    tx: &Tx<'_>,
    actor: &Actor,
    before: &Integration,
    action: &'static str,
    after: Value,
    reason: Option<String>,
) -> Result<(), Error> {
    let entry = AuditEntry::by(actor, action, Target::Integration(before.id));
    let before = Some(json!({ "status": before.status.as_str() }));
    audit::append(tx, AuditEntry { before, after: Some(after), reason, ..entry })
}
