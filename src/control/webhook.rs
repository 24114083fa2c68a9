//! Webhook subscriptions of integrations: who is told of what, where (S302–S308).
//!
//! They are kept here, with the queue of what waits for each and the log of what became of it, so that an event of an
//! administrative change is written in the change's own transaction: no change without its event, no event without its
//! change. Sending is another room's work; it asks [`Control::due_webhooks`] and reports each attempt.
//!
//! A suspension deletes nothing: subscriptions stay readable and keep id and secret, what is queued waits (A16). A
//! revocation ends them.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Control, Error, FieldError, Registrar,
    audit::{self, AuditEntry, Target},
    db::Tx,
    integration, text, user,
};
use crate::model::{IntegrationId, OrganisationId, Scope, Status, WebhookEvent, WebhookId, WebhookTarget};

mod list;
pub(super) mod outbox;
mod queue;
pub(super) mod secret;

pub use self::{
    list::{DELIVERY_STATES, WebhookAttempt, WebhookDelivery},
    outbox::{QuotaNotice, ReadingsNotice},
    queue::{AttemptReport, DueDelivery, Verdict},
    secret::{SECRET_PREFIX, WebhookSecret},
};

/// Characters of a subscription's description, at most.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// A subscription. Times are microseconds (Unix, UTC). Its secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose.
    pub integration_id: IntegrationId,
    /// Where it is sent to.
    pub url: String,
    /// What it is told of, in the order given.
    pub events: Vec<WebhookEvent>,
    /// For people.
    pub description: Option<String>,
    /// Nothing is sent, and nothing new is queued, while it is not.
    pub enabled: bool,
    /// Why it is not: `requested`, `gone` (the target answered 410) or `failing` (for too long).
    pub disabled_cause: Option<String>,
    /// The first failed attempt since the last good one.
    pub failing_since_us: Option<i64>,
    /// When its secret was made.
    pub secret_issued_at_us: i64,
    /// Deliveries that wait.
    pub queued: u64,
    /// Grows by one with each change: the ETag.
    pub version: u64,
    /// When it was made.
    pub created_at_us: i64,
    /// When it was last changed.
    pub updated_at_us: i64,
    /// When it was deleted.
    pub deleted_at_us: Option<i64>,
}

/// A subscription to be made. The target has been judged, also by what its name resolves to.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where to.
    pub target: WebhookTarget,
    /// Names of events, as the caller spells them.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
}

/// Changes; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookPatch {
    /// Where to from now on; what is queued already goes there too.
    pub target: Option<WebhookTarget>,
    /// Names of events.
    pub events: Option<Vec<String>>,
    /// For people; an inner none empties it.
    pub description: Option<Option<String>>,
    /// Off and on.
    pub enabled: Option<bool>,
}

impl Control {
    /// Makes a subscription for `integration_id`, which is the actor's own where an integration acts.
    ///
    /// # Errors
    /// [`Error::WebhookLimit`], [`Error::Invalid`] for fields, [`Error::InvalidState`] for a revoked integration.
    pub async fn create_webhook(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        new: NewWebhook,
    ) -> Result<(Webhook, WebhookSecret), Error> {
        let actor = actor.into();
        let keys = self.inner.webhook_keys.clone();
        let most = self.inner.webhook_terms.per_integration_max;
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_create_refused", Target::Integration(integration_id))?;
            let mut errors = Vec::new();
            let events = events(&new.events, &mut errors);
            check_description(new.description.as_deref(), &mut errors);
            Error::of_fields(errors)?;
            let count: u32 = tx
                .prepare_cached("SELECT count(*) FROM webhooks WHERE integration_id = ?1 AND deleted_at_us IS NULL")?
                .query_row([integration_id], |row| row.get(0))?;
            if count >= most {
                return Err(Error::WebhookLimit(most));
            }
            let (id, secret) = (WebhookId::generate(), WebhookSecret::generate()?);
            let sealed = keys.seal(id, &secret)?;
            tx.prepare_cached(
                "INSERT INTO webhooks (id, integration_id, organisation_id, url, events, description, secret_sealed,
                     secret_key_id, secret_issued_at_us, created_at_us, updated_at_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?9)",
            )?
            .execute((
                id,
                integration_id,
                actor.organisation_id(),
                new.target.as_str(),
                events_text(&events),
                &new.description,
                &sealed.bytes,
                &sealed.key_id,
                tx.now_us,
            ))?;
            let webhook = find(tx, actor.organisation_id(), integration_id, id)?;
            let entry = actor.entry("webhook_create", Target::Webhook(id));
            audit::append(tx, AuditEntry { after: Some(description(&webhook)), ..entry })?;
            Ok((webhook, secret))
        })
        .await
    }

    /// Changes a subscription, all fields or none. The audit log keeps the old and the new target (S305).
    ///
    /// # Errors
    /// As [`Control::create_webhook`], and [`Error::VersionConflict`].
    pub async fn update_webhook(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        id: WebhookId,
        patch: WebhookPatch,
        version: Option<u64>,
    ) -> Result<Webhook, Error> {
        let actor = actor.into();
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_update_refused", Target::Webhook(id))?;
            let before = find_live(tx, &actor, integration_id, id, version)?;
            let mut errors = Vec::new();
            let mut after = before.clone();
            if let Some(names) = &patch.events {
                after.events = events(names, &mut errors);
            }
            if let Some(text) = patch.description {
                check_description(text.as_deref(), &mut errors);
                after.description = text;
            }
            Error::of_fields(errors)?;
            if let Some(target) = &patch.target {
                target.as_str().clone_into(&mut after.url);
            }
            if let Some(enabled) = patch.enabled.filter(|enabled| *enabled != before.enabled) {
                after.enabled = enabled;
                after.disabled_cause = (!enabled).then(|| "requested".to_owned());
                after.failing_since_us = None;
            }
            if after == before {
                return Ok(before);
            }
            save(tx, &after)?;
            let after = find(tx, actor.organisation_id(), integration_id, id)?;
            let action = if after.url == before.url { "webhook_update" } else { "webhook_redirect" };
            let (was, is) = user::difference(&description(&before), &description(&after));
            let entry = actor.entry(action, Target::Webhook(id));
            audit::append(tx, AuditEntry { before: Some(was.into()), after: Some(is.into()), ..entry })?;
            tx.wake_webhooks();
            Ok(after)
        })
        .await
    }

    /// Deletes a subscription with its secret and what is queued. Its delivery log stays for administrators as long as
    /// logs are kept, so that nobody covers tracks by deleting.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionConflict`], and those of the person.
    pub async fn delete_webhook(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        id: WebhookId,
        version: Option<u64>,
    ) -> Result<(), Error> {
        let actor = actor.into();
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_delete_refused", Target::Webhook(id))?;
            let before = find_live(tx, &actor, integration_id, id, version)?;
            tx.prepare_cached(
                "UPDATE webhooks SET deleted_at_us = ?2, secret_sealed = x'', secret_key_id = '',
                     version = version + 1, updated_at_us = ?2 WHERE id = ?1",
            )?
            .execute((id, tx.now_us))?;
            queue::discard(tx, id)?;
            let entry = actor.entry("webhook_delete", Target::Webhook(id));
            audit::append(tx, AuditEntry { before: Some(description(&before)), ..entry })
        })
        .await
    }

    /// Gives a subscription a new secret. The old one signs nothing from now on: no overlap, as after an incident
    /// (S204, S306).
    ///
    /// # Errors
    /// As [`Control::delete_webhook`].
    pub async fn regenerate_webhook_secret(
        &self,
        actor: impl Into<Registrar>,
        integration_id: IntegrationId,
        id: WebhookId,
        version: Option<u64>,
    ) -> Result<(Webhook, WebhookSecret), Error> {
        let actor = actor.into();
        let keys = self.inner.webhook_keys.clone();
        self.write(move |tx| {
            judge(tx, &actor, integration_id, "webhook_secret_regenerate_refused", Target::Webhook(id))?;
            find_live(tx, &actor, integration_id, id, version)?;
            let secret = WebhookSecret::generate()?;
            let sealed = keys.seal(id, &secret)?;
            tx.prepare_cached(
                "UPDATE webhooks SET secret_sealed = ?2, secret_key_id = ?3, secret_issued_at_us = ?4,
                     version = version + 1, updated_at_us = ?4 WHERE id = ?1",
            )?
            .execute((id, &sealed.bytes, &sealed.key_id, tx.now_us))?;
            let webhook = find(tx, actor.organisation_id(), integration_id, id)?;
            let entry = actor.entry("webhook_secret_regenerate", Target::Webhook(id));
            audit::append(tx, AuditEntry { after: Some(json!({ "integration_id": integration_id })), ..entry })?;
            Ok((webhook, secret))
        })
        .await
    }

    /// One subscription, also one that was deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn webhook(
        &self,
        organisation_id: OrganisationId,
        integration_id: IntegrationId,
        id: WebhookId,
    ) -> Result<Webhook, Error> {
        self.read(move |connection| find(connection, organisation_id, integration_id, id)).await
    }

    /// The subscriptions of an integration, oldest first: a handful.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the integration.
    pub async fn webhooks(
        &self,
        organisation_id: OrganisationId,
        integration_id: IntegrationId,
    ) -> Result<Vec<Webhook>, Error> {
        self.read(move |connection| {
            integration::load(connection, organisation_id, integration_id)?;
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM webhooks w
                 WHERE w.integration_id = ?1 AND w.organisation_id = ?2 AND w.deleted_at_us IS NULL ORDER BY w.id"
            ))?;
            let webhooks = statement.query_map((integration_id, organisation_id), webhook_row)?;
            Ok(webhooks.collect::<Result<_, _>>()?)
        })
        .await
    }
}

const COLUMNS: &str = "w.id, w.integration_id, w.url, w.events, w.description, w.enabled, w.disabled_cause,
    w.failing_since_us, w.secret_issued_at_us, w.version, w.created_at_us, w.updated_at_us, w.deleted_at_us,
    (SELECT count(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending')";

fn webhook_row(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let names: String = row.get(3)?;
    let names: Vec<String> = serde_json::from_str(&names).unwrap_or_default();
    Ok(Webhook {
        id: row.get(0)?,
        integration_id: row.get(1)?,
        url: row.get(2)?,
        events: names.iter().filter_map(|name| WebhookEvent::parse(name)).collect(),
        description: row.get(4)?,
        enabled: row.get(5)?,
        disabled_cause: row.get(6)?,
        failing_since_us: row.get(7)?,
        secret_issued_at_us: row.get(8)?,
        version: row.get(9)?,
        created_at_us: row.get(10)?,
        updated_at_us: row.get(11)?,
        deleted_at_us: row.get(12)?,
        queued: row.get(13)?,
    })
}

/// Whether `actor` may change the webhooks of `integration_id` now. Revoked is terminal (S138).
fn judge(
    tx: &Tx<'_>,
    actor: &Registrar,
    integration_id: IntegrationId,
    refused_action: &'static str,
    target: Target,
) -> Result<(), Error> {
    actor.require_scope(tx, Scope::WebhooksManage, refused_action, target)?;
    match integration::load(tx, actor.organisation_id(), integration_id)?.status {
        Status::Revoked => Err(Error::InvalidState { action: "to change webhooks", status: Status::Revoked }),
        _ => Ok(()),
    }
}

fn find(
    connection: &Connection,
    organisation_id: OrganisationId,
    integration_id: IntegrationId,
    id: WebhookId,
) -> Result<Webhook, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM webhooks w WHERE w.id = ?1 AND w.integration_id = ?2 AND w.organisation_id = ?3"
    );
    connection
        .prepare_cached(&sql)?
        .query_row((id, integration_id, organisation_id), webhook_row)
        .optional()?
        .ok_or(Error::NotFound("webhook"))
}

/// One that is not deleted, at the version that the actor has read.
fn find_live(
    connection: &Connection,
    actor: &Registrar,
    integration_id: IntegrationId,
    id: WebhookId,
    version: Option<u64>,
) -> Result<Webhook, Error> {
    let found = find(connection, actor.organisation_id(), integration_id, id)?;
    if found.deleted_at_us.is_some() {
        return Err(Error::NotFound("webhook"));
    }
    match version {
        Some(version) if version != found.version => Err(Error::VersionConflict { current: found.version }),
        _ => Ok(found),
    }
}

fn save(tx: &Tx<'_>, webhook: &Webhook) -> Result<(), Error> {
    tx.prepare_cached(
        "UPDATE webhooks SET url = ?2, events = ?3, description = ?4, enabled = ?5, disabled_cause = ?6,
             failing_since_us = ?7, version = version + 1, updated_at_us = ?8 WHERE id = ?1",
    )?
    .execute((
        webhook.id,
        &webhook.url,
        events_text(&webhook.events),
        &webhook.description,
        webhook.enabled,
        &webhook.disabled_cause,
        webhook.failing_since_us,
        tx.now_us,
    ))?;
    Ok(())
}

/// The events called `names`, each once.
fn events(names: &[String], errors: &mut Vec<FieldError>) -> Vec<WebhookEvent> {
    let mut events = Vec::new();
    if names.is_empty() {
        errors.push(FieldError::new("events", "must name at least one event"));
    }
    for (index, name) in names.iter().enumerate() {
        match WebhookEvent::subscribable().find(|event| event.as_str() == name) {
            Some(event) if events.contains(&event) => {}
            Some(event) => events.push(event),
            None => {
                let message = format!("{} is not an event: see docs/webhooks.md", text::quote(name));
                errors.push(FieldError::new(format!("events[{index}]"), message));
            }
        }
    }
    events
}

fn events_text(events: &[WebhookEvent]) -> String {
    Value::from(events.iter().map(|event| event.as_str()).collect::<Vec<_>>()).to_string()
}

fn check_description(text: Option<&str>, errors: &mut Vec<FieldError>) {
    if let Some(text) = text {
        text::check_line("description", text, DESCRIPTION_CHARS_MAX, errors);
    }
}

/// For the audit log.
fn description(webhook: &Webhook) -> Value {
    json!({
        "integration_id": webhook.integration_id,
        "url": audited_url(&webhook.url),
        "events": webhook.events.iter().map(|event| event.as_str()).collect::<Vec<_>>(),
        "description": webhook.description,
        "enabled": webhook.enabled,
        "disabled_cause": webhook.disabled_cause,
    })
}

/// The URL; of its query, where a receiver may have put a token of its own, enough to see that it changed.
fn audited_url(url: &str) -> String {
    match url.split_once('?') {
        None => url.to_owned(),
        Some((rest, query)) => format!("{rest}?sha256:{}", &hex::encode(Sha256::digest(query))[..12]),
    }
}

#[cfg(test)]
mod tests;
