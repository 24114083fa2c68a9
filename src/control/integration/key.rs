//! Issuing keys, and the new key of an integration that goes on.

use serde_json::json;

use super::{
    Integration, IssuedKey,
    client::NewClient,
    lifecycle::{self, Action},
};
use crate::{
    control::{
        Actor, Change, Control, Cut, Error,
        audit::{self, AuditEntry, Target},
        db::Tx,
        text,
        webhook::outbox,
    },
    model::{IntegrationId, KeyFact, Status, WebhookEvent, api_key::ApiKey},
};

/// Fresh credentials, made but not in force: the step of life that writes them decides.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) key: ApiKey,
    pub(super) generation: u64,
    /// Where the embedded issuer's client gets a new secret, or is new itself.
    pub(super) client: Option<NewClient>,
}

impl Issue {
    pub(super) fn fact(&self, integration_id: IntegrationId) -> KeyFact {
        KeyFact { hash: self.key.hash(), integration_id, generation: self.generation }
    }
}

/// Makes the next key of `integration` and stores its hash (S085, S193). It opens nothing before a step names its
/// generation.
pub(super) fn issue_key(
    tx: &Tx<'_>,
    actor: &Actor,
    integration: &Integration,
    cause: Option<&str>,
) -> Result<Issue, Error> {
    let key = ApiKey::generate_with(getrandom::fill).map_err(Error::Random)?;
    let generation: u64 = tx
        .prepare_cached("SELECT 1 + coalesce(max(generation), 0) FROM api_keys WHERE integration_id = ?1")?
        .query_row([integration.id], |row| row.get(0))?;
    tx.prepare_cached(
        "INSERT INTO api_keys (hash, integration_id, generation, prefix, issued_at_us, issued_by, cause)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((key.hash(), integration.id, generation, key.prefix(), tx.now_us, actor.user_id, cause))?;
    Ok(Issue { key, generation, client: None })
}

impl Control {
    /// Gives the integration a new key. While Active it takes the old one's place at once (S201); while Suspended it
    /// is staged, dead until a reactivation keeps it (S205). `cause`: why, for the audit log (S206).
    pub async fn regenerate_key(
        &self,
        actor: Actor,
        id: IntegrationId,
        if_match: Option<u64>,
        cause: Option<String>,
    ) -> Result<(Integration, IssuedKey, Cut), Error> {
        let ((integration, key), cut) = self
            .change_and_cut(
                actor,
                Target::Integration(id),
                |(_, key): &(_, IssuedKey)| !key.is_staged,
                move |tx| {
                    tx.attempt(&actor, "integration_api_key_regenerate_refused", Target::Integration(id));
                    let before = lifecycle::judge(tx, &actor, id, Action::Regenerate)?;
                    let cause = text::optional_reason("cause", cause)?;
                    lifecycle::check_version(&before, if_match)?;
                    let issue = issue_key(tx, &actor, &before, cause.as_deref())?;
                    put_in_force(tx, &before, issue.generation)?;
                    let told = told(&actor, &before, &issue, cause);
                    let details = told.after.clone().unwrap_or_default();
                    outbox::emit_status(tx, id, WebhookEvent::KeyRegenerated, &details, actor.request_id)?;
                    audit::append(tx, told)?;
                    let (after, mut changes) = lifecycle::reload(tx, &before)?;
                    // The key is known before its generation is in force: the swap is one step.
                    changes.insert(0, Change::Keys(vec![issue.fact(id)]));
                    let key = IssuedKey { api_key: issue.key, is_staged: before.status == Status::Suspended };
                    Ok(((after, key), changes))
                },
            )
            .await?;
        Ok((integration, key, cut))
    }
}

fn put_in_force(tx: &Tx<'_>, before: &Integration, generation: u64) -> Result<(), Error> {
    let set = match before.status {
        Status::Suspended => "staged_generation = ?1",
        _ => "key_generation = ?1",
    };
    let sql = format!(
        "UPDATE integrations SET version = version + 1, updated_at_us = ?2, {set}
         WHERE id = ?3 AND organisation_id = ?4 AND version = ?5 AND status = ?6"
    );
    let changed = tx.prepare_cached(&sql)?.execute((
        generation,
        tx.now_us,
        before.id,
        before.organisation_id,
        before.version,
        before.status,
    ))?;
    lifecycle::expect_changed(tx, before, changed)
}

fn told(actor: &Actor, before: &Integration, issue: &Issue, cause: Option<String>) -> AuditEntry {
    let replaced = match before.status {
        Status::Suspended => before.staged_key.as_ref(),
        _ => before.key.as_ref(),
    };
    AuditEntry {
        before: Some(json!({ "key_prefix": replaced.map(|key| &key.prefix) })),
        after: Some(json!({ "key_prefix": issue.key.prefix(), "staged": before.status == Status::Suspended })),
        reason: cause,
        ..AuditEntry::by(actor, "integration_api_key_regenerate", Target::Integration(before.id))
    }
}
