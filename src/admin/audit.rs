//! The audit log and its proof.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Admin,
    caller::Administrator,
    page::{List, list},
    parameters::Parameters,
    path::Id,
    problem::Problem,
    time,
};
use crate::{
    control::audit::{AuditFilter, Entry, Fault, Head, Verdict},
    model::{IntegrationId, OrganisationId, RequestId, UserId},
};

/// One entry of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct EntryView {
    /// Its place in the organisation's chain, from 1, without a gap.
    seq: u64,
    at: String,
    /// The user; null: an integration, or the server itself.
    #[schema(value_type = Option<String>, format = Uuid)]
    actor: Option<UserId>,
    /// The integration, where one acted for itself.
    #[schema(value_type = Option<String>, format = Uuid)]
    actor_integration: Option<IntegrationId>,
    /// What was done; a refused attempt ends in `_refused`.
    action: String,
    /// `organisation`, `user`, `integration` or `equipment`.
    target_type: String,
    /// The object's id.
    target: String,
    /// The changed fields as they were.
    before: Option<Value>,
    /// The changed fields as they became.
    after: Option<Value>,
    reason: Option<String>,
    ip: Option<String>,
    #[schema(value_type = Option<String>, format = Uuid)]
    request_id: Option<RequestId>,
    /// SHA-256 over the entry and the hash before it.
    hash: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at: time::format(entry.at_us),
            actor: entry.actor,
            actor_integration: entry.actor_integration,
            action: entry.action,
            target_type: entry.target_type,
            target: entry.target,
            before: entry.before,
            after: entry.after,
            reason: entry.reason,
            ip: entry.ip.map(|ip| ip.to_string()),
            request_id: entry.request_id,
            hash: entry.hash,
        }
    }
}

/// Whether the audit log is what was written.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditVerdict)]
pub(super) struct VerdictView {
    ok: bool,
    /// Entries in the log.
    entries: u64,
    /// Hash of the last entry, as it was signed and kept outside the database.
    head: Option<String>,
    /// The head as it was signed.
    signed_head: Option<HeadView>,
    /// Checkpoints that the log meets.
    checkpoints: usize,
    /// `entry_altered`, `entry_missing`, `head_unmet`, `head_missing`, `head_forged`, `checkpoint_unmet` or
    /// `checkpoint_forged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    /// The first entry that cannot be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad_seq: Option<u64>,
}

/// A signed head of a chain.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditHead)]
pub(super) struct HeadView {
    seq: u64,
    at: String,
    /// Ed25519, hexadecimal.
    public_key: String,
    /// Hexadecimal.
    signature: String,
}

impl From<&Head> for HeadView {
    fn from(head: &Head) -> Self {
        Self {
            seq: head.seq,
            at: time::format(head.at_us),
            public_key: head.public_key.clone(),
            signature: head.signature.clone(),
        }
    }
}

/// A head that was kept for good. The signature is Ed25519 over the bytes that `docs/audit.md` names.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditCheckpoint)]
pub(super) struct CheckpointView {
    #[schema(value_type = String, format = Uuid)]
    organisation_id: OrganisationId,
    seq: u64,
    /// Hash of the entry `seq`.
    hash: String,
    /// When it was signed, microseconds since the Unix epoch: a part of what is signed.
    at_us: i64,
    /// Ed25519, hexadecimal.
    public_key: String,
    /// Hexadecimal.
    signature: String,
}

impl From<Head> for CheckpointView {
    fn from(head: Head) -> Self {
        let Head { organisation_id, seq, hash, at_us, public_key, signature } = head;
        Self { organisation_id, seq, hash, at_us, public_key, signature }
    }
}

impl From<Verdict> for VerdictView {
    fn from(verdict: Verdict) -> Self {
        Self {
            ok: verdict.is_ok(),
            entries: verdict.entries,
            head: verdict.head.as_ref().map(|head| head.hash.clone()),
            signed_head: verdict.head.as_ref().map(HeadView::from),
            checkpoints: verdict.checkpoints,
            fault: verdict.fault.map(Fault::as_str),
            first_bad_seq: verdict.first_bad_seq,
        }
    }
}

/// `GET /admin/v1/audit-log`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<EntryView>>, Problem> {
    let filter = AuditFilter {
        actor: parameters.id("actor")?,
        action: parameters.text("action")?,
        target: parameters.text("target")?,
        from_us: parameters.time("from")?,
        to_us: parameters.time("to")?,
        newest_first: parameters
            .read("order", "asc or desc", |order| match order {
                "asc" => Some(false),
                "desc" => Some(true),
                _ => None,
            })?
            .unwrap_or(false),
    };
    let page = parameters.page()?;
    parameters.finish()?;
    Ok(list(admin.control.audit_log(actor.organisation_id, filter, page).await?))
}

/// `GET /admin/v1/audit-log/verify`
pub(super) async fn verify(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
) -> Result<Json<VerdictView>, Problem> {
    Ok(Json(admin.control.verify_audit(actor.organisation_id).await?.into()))
}

/// `GET /admin/v1/audit-log/checkpoints`
pub(super) async fn checkpoints(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<CheckpointView>>, Problem> {
    let page = parameters.page()?;
    parameters.finish()?;
    Ok(list(admin.control.audit_checkpoints(actor.organisation_id, page).await?))
}

/// `GET /admin/v1/integrations/{id}/history`
pub(super) async fn history(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    mut parameters: Parameters,
) -> Result<Json<List<EntryView>>, Problem> {
    let page = parameters.page()?;
    parameters.finish()?;
    Ok(list(admin.control.history(actor.organisation_id, id, page).await?))
}
