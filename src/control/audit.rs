//! The audit log: who did what to what, when, from where and why. One hash chain per organisation.
//!
//! An entry is written in the transaction of the change that it tells of, as one JSON text that is never touched
//! again: its hash covers the very bytes. The columns that lists filter by are computed from that text by the
//! database, so that they cannot disagree with it. Entries hold no secret (S084).

pub mod chain;
pub mod checkpoint;
mod export;
mod list;
pub mod proof;
mod seal;
mod verify;

use std::net::IpAddr;

use rusqlite::OptionalExtension;
use serde::Serialize;
use serde_json::{Value, json};

use self::chain::{GENESIS, chain_hash};
pub(super) use self::seal::Seal;
pub use self::{
    export::StoredEntry,
    list::{AuditFilter, Entry},
    seal::Head,
    verify::{Fault, Verdict},
};
use super::{Actor, Control, Error, IntegrationActor, db::Tx};
use crate::model::{
    AccessReviewId, EquipmentId, IntegrationId, OrganisationId, ProblemCode, RequestId, UserId, WebhookId,
};

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the object of that name")]
pub enum Target {
    Organisation(OrganisationId),
    User(UserId),
    Integration(IntegrationId),
    Equipment(EquipmentId),
    AccessReview(AccessReviewId),
    Webhook(WebhookId),
}

impl Target {
    /// The kind of object, `integration` for example.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Organisation(_) => "organisation",
            Self::User(_) => "user",
            Self::Integration(_) => "integration",
            Self::Equipment(_) => "equipment",
            Self::AccessReview(_) => "access_review",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Its id as text.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Organisation(id) => id.to_string(),
            Self::User(id) => id.to_string(),
            Self::Integration(id) => id.to_string(),
            Self::Equipment(id) => id.to_string(),
            Self::AccessReview(id) => id.to_string(),
            Self::Webhook(id) => id.to_string(),
        }
    }
}

/// One entry, before it has a place in the chain.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// Whose chain.
    pub organisation_id: OrganisationId,
    /// Who; none: an integration, the server itself, or its command line.
    pub actor: Option<UserId>,
    /// The integration that did it, where it was one.
    pub actor_integration: Option<IntegrationId>,
    /// What was done, `integration_approve`; a refused attempt ends in `_refused`.
    pub action: &'static str,
    /// To what.
    pub target: Target,
    /// The changed fields as they were.
    pub before: Option<Value>,
    /// The changed fields as they are.
    pub after: Option<Value>,
    /// Why, in the actor's own words, byte for byte (S110).
    pub reason: Option<String>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// By which call.
    pub request_id: Option<RequestId>,
}

impl AuditEntry {
    /// `actor` did `action` to `target`; the rest is for the caller to fill in.
    #[must_use]
    pub fn by(actor: &Actor, action: &'static str, target: Target) -> Self {
        Self {
            organisation_id: actor.organisation_id,
            actor: Some(actor.user_id),
            actor_integration: None,
            action,
            target,
            before: None,
            after: None,
            reason: None,
            ip: actor.ip,
            request_id: Some(actor.request_id),
        }
    }

    /// The integration `actor` did `action` to `target`, which is its own.
    #[must_use]
    pub fn by_integration(actor: &IntegrationActor, action: &'static str, target: Target) -> Self {
        Self {
            actor_integration: Some(actor.integration_id),
            ip: Some(actor.ip),
            request_id: Some(actor.request_id),
            ..Self::by_server(actor.organisation_id, action, target)
        }
    }

    /// The server itself did `action` to `target`.
    #[must_use]
    pub fn by_server(organisation_id: OrganisationId, action: &'static str, target: Target) -> Self {
        Self {
            organisation_id,
            actor: None,
            actor_integration: None,
            action,
            target,
            before: None,
            after: None,
            reason: None,
            ip: None,
            request_id: None,
        }
    }
}

/// The stored text of an entry. The order of the fields is the order in the file.
#[derive(Serialize)]
struct Body<'a> {
    organisation_id: OrganisationId,
    seq: u64,
    at_us: i64,
    actor: Option<UserId>,
    /// Left out where there is none, as in all entries written before integrations could act.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_integration: Option<IntegrationId>,
    action: &'a str,
    target_type: &'a str,
    target: String,
    before: Option<Value>,
    after: Option<Value>,
    reason: Option<String>,
    ip: Option<IpAddr>,
    request_id: Option<RequestId>,
}

/// Writes `entry` at the end of its organisation's chain, within `tx`.
pub(super) fn append(tx: &Tx<'_>, entry: AuditEntry) -> Result<(), Error> {
    let organisation_id = entry.organisation_id;
    let tail: Option<(u64, [u8; 32])> = tx
        .prepare_cached("SELECT seq, hash FROM audit_entries WHERE organisation_id = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([organisation_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (last_seq, previous) = tail.unwrap_or((0, GENESIS));
    let seq = last_seq + 1;
    let body = Body {
        organisation_id,
        seq,
        at_us: tx.now_us,
        actor: entry.actor,
        actor_integration: entry.actor_integration,
        action: entry.action,
        target_type: entry.target.kind(),
        target: entry.target.id(),
        before: entry.before,
        after: entry.after,
        reason: entry.reason,
        ip: entry.ip,
        request_id: entry.request_id,
    };
    let text = serde_json::to_string(&body).expect("ids, strings and JSON values serialise");
    let hash = chain_hash(seq, &previous, text.as_bytes());
    tx.prepare_cached("INSERT INTO audit_entries (organisation_id, seq, body, hash) VALUES (?1, ?2, ?3, ?4)")?
        .execute((organisation_id, seq, text, hash))?;
    tx.audited.borrow_mut().insert(organisation_id);
    Ok(())
}

impl Control {
    /// Writes down what an administrator is about to do to something that this room does not keep.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`], which is audited as every such attempt.
    pub async fn audit_action(
        &self,
        actor: Actor,
        action: &'static str,
        target: Target,
        after: Value,
        reason: Option<String>,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            tx.attempt(&actor, "admin_call_refused", target);
            actor.require_permission(tx)?;
            append(tx, AuditEntry { after: Some(after), reason, ..AuditEntry::by(&actor, action, target) })
        })
        .await
    }

    /// Writes down an attempt that was refused because of the person before it reached this room (S287). `action` ends
    /// in `_refused`.
    pub async fn audit_refusal(
        &self,
        actor: Actor,
        action: &'static str,
        target: Target,
        problem: ProblemCode,
    ) -> Result<(), Error> {
        let after = Some(json!({ "refused": problem.code() }));
        self.write(move |tx| append(tx, AuditEntry { after, ..AuditEntry::by(&actor, action, target) })).await
    }
}
