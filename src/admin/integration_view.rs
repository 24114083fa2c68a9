//! An integration as it is shown. No field of it is a secret.

use axum::{Json, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{etag::tagged, time};
use crate::{
    control::{
        Integration,
        integration::{Contact, Deed, SuspendCategory},
    },
    model::{IntegrationId, OrganisationId, Scope, Status, UserId},
};

/// An integration.
#[derive(Serialize, ToSchema)]
#[schema(as = Integration)]
pub(super) struct IntegrationView {
    #[schema(value_type = String, format = Uuid)]
    id: IntegrationId,
    #[schema(value_type = String, format = Uuid)]
    organisation_id: OrganisationId,
    /// `requested`, `approved`, `active`, `suspended` or `revoked`.
    status: &'static str,
    /// The `ETag`: grows by one with each change.
    version: u64,
    /// A name of the registry of vendors.
    vendor: &'static str,
    name: String,
    /// Why it exists.
    description: String,
    /// The member who answers for it.
    #[schema(value_type = String, format = Uuid)]
    owner_id: UserId,
    contacts: Vec<ContactView>,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// The scopes as the second administrator approved them.
    approved_scopes: Option<Vec<&'static str>>,
    /// Scopes that wait until another administrator confirms them: `POST …/scopes/confirm`.
    scopes_pending: Option<Vec<&'static str>>,
    /// Who asked for them.
    #[schema(value_type = Option<String>, format = Uuid)]
    scopes_pending_by: Option<UserId>,
    scopes_pending_at: Option<String>,
    /// Why scopes with personal or financial data are needed.
    justification: Option<String>,
    /// Requests a minute.
    rate_limit_rpm: u32,
    /// Requests a UTC day; null: unlimited.
    daily_quota: Option<u32>,
    /// Whether readings that are rejected are kept for a while: `GET /admin/v1/quarantine`.
    keep_rejected: bool,
    ip_allowlist: AllowlistView,
    temporary_limit: Option<TemporaryLimitView>,
    backfill: Option<BackfillView>,
    /// The OAuth client.
    client_id: Option<String>,
    /// The external issuer of the client; null: the embedded one.
    client_issuer: Option<String>,
    /// First 16 characters of the newest key; it is live while the status is `active`.
    key_prefix: Option<String>,
    key_issued_at: Option<String>,
    /// Prefix of the key that waits for reactivation.
    staged_key_prefix: Option<String>,
    /// When a key was last used, in coarse steps.
    last_used_at: Option<String>,
    #[schema(value_type = String, format = Uuid)]
    requested_by: UserId,
    created_at: String,
    #[schema(value_type = Option<String>, format = Uuid)]
    approved_by: Option<UserId>,
    approved_at: Option<String>,
    #[schema(value_type = Option<String>, format = Uuid)]
    activated_by: Option<UserId>,
    activated_at: Option<String>,
    #[schema(value_type = Option<String>, format = Uuid)]
    suspended_by: Option<UserId>,
    suspended_at: Option<String>,
    suspend_reason: Option<String>,
    /// `security_concern`, `contract_pause` or `unexpected_api_behaviour`.
    suspend_category: Option<&'static str>,
    #[schema(value_type = Option<String>, format = Uuid)]
    reactivated_by: Option<UserId>,
    reactivated_at: Option<String>,
    #[schema(value_type = Option<String>, format = Uuid)]
    revoked_by: Option<UserId>,
    revoked_at: Option<String>,
    revoke_reason: Option<String>,
    updated_at: String,
    /// While requested: administrators other than the requester.
    #[serde(skip_serializing_if = "Option::is_none")]
    eligible_approvers: Option<u32>,
    /// While requested: whether anybody can approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    approver_available: Option<bool>,
    /// What deserves a second look. Nothing is stopped by it.
    warnings: Vec<WarningView>,
}

/// Where an integration may call from.
#[derive(Serialize, ToSchema)]
#[schema(as = IpAllowlist)]
pub(super) struct AllowlistView {
    /// Off: any address may call.
    enabled: bool,
    /// Networks in CIDR notation, at most 50.
    entries: Vec<String>,
}

/// Somebody at the partner's.
#[derive(Serialize, ToSchema)]
#[schema(as = Contact)]
pub(super) struct ContactView {
    name: String,
    email: String,
    company: Option<String>,
    /// When somebody last made sure.
    confirmed_at: Option<String>,
}

/// A limit that ends by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = TemporaryLimit)]
pub(super) struct TemporaryLimitView {
    rpm: u32,
    until: String,
    reason: Option<String>,
}

/// A wider time window for readings that ends by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = BackfillGrant)]
pub(super) struct BackfillView {
    /// Oldest timestamp allowed.
    window_start: String,
    until: String,
    reason: Option<String>,
}

/// A hint.
#[derive(Serialize, ToSchema)]
#[schema(as = Warning)]
pub(super) struct WarningView {
    /// Stable.
    code: &'static str,
    /// For people.
    message: String,
}

impl From<&Integration> for AllowlistView {
    fn from(integration: &Integration) -> Self {
        let allowlist = &integration.allowlist;
        Self { enabled: allowlist.enabled, entries: allowlist.entries.iter().map(ToString::to_string).collect() }
    }
}

impl From<Contact> for ContactView {
    fn from(contact: Contact) -> Self {
        let Contact { name, email, company, confirmed_at_us } = contact;
        Self { name, email, company, confirmed_at: time::format_some(confirmed_at_us) }
    }
}

fn names(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}

fn by(deed: Option<Deed>) -> Option<UserId> {
    deed.map(|deed| deed.by)
}

fn at(deed: Option<Deed>) -> Option<String> {
    deed.map(|deed| time::format(deed.at_us))
}

impl From<Integration> for IntegrationView {
    fn from(integration: Integration) -> Self {
        let is_requested = integration.status == Status::Requested;
        let approvers = integration.eligible_approvers;
        let key = integration.key.as_ref();
        let client = integration.client.as_ref();
        Self {
            id: integration.id,
            organisation_id: integration.organisation_id,
            status: integration.status.as_str(),
            version: integration.version,
            vendor: integration.vendor.name,
            owner_id: integration.owner_id,
            scopes: names(&integration.scopes),
            approved_scopes: integration.approved_scopes.as_deref().map(names),
            scopes_pending: integration.scopes_pending.as_ref().map(|pending| names(&pending.scopes)),
            scopes_pending_by: by(integration.scopes_pending.as_ref().map(|pending| pending.asked)),
            scopes_pending_at: at(integration.scopes_pending.as_ref().map(|pending| pending.asked)),
            rate_limit_rpm: integration.rpm,
            daily_quota: integration.daily_quota,
            keep_rejected: integration.keep_rejected,
            ip_allowlist: (&integration).into(),
            temporary_limit: temporary_limit(&integration),
            backfill: backfill(&integration),
            client_id: client.map(|client| client.client_id.clone()),
            client_issuer: client.and_then(|client| client.issuer.clone()),
            key_prefix: key.map(|key| key.prefix.clone()),
            key_issued_at: key.map(|key| time::format(key.issued_at_us)),
            staged_key_prefix: integration.staged_key.as_ref().map(|key| key.prefix.clone()),
            last_used_at: time::format_some(integration.last_used_at_us),
            requested_by: integration.requested.by,
            created_at: time::format(integration.requested.at_us),
            approved_by: by(integration.approved),
            approved_at: at(integration.approved),
            activated_by: by(integration.activated),
            activated_at: at(integration.activated),
            suspended_by: by(integration.suspended),
            suspended_at: at(integration.suspended),
            suspend_category: integration.suspend_category.map(SuspendCategory::as_str),
            reactivated_by: by(integration.reactivated),
            reactivated_at: at(integration.reactivated),
            revoked_by: by(integration.revoked),
            revoked_at: at(integration.revoked),
            updated_at: time::format(integration.updated_at_us),
            eligible_approvers: is_requested.then_some(approvers),
            approver_available: is_requested.then_some(approvers > 0),
            warnings: integration
                .warnings
                .into_iter()
                .map(|warning| WarningView { code: warning.code, message: warning.message })
                .collect(),
            justification: integration.justification,
            name: integration.name,
            description: integration.description,
            contacts: integration.contacts.into_iter().map(ContactView::from).collect(),
            suspend_reason: integration.suspend_reason,
            revoke_reason: integration.revoke_reason,
        }
    }
}

fn temporary_limit(integration: &Integration) -> Option<TemporaryLimitView> {
    integration.temporary_limit.map(|limit| TemporaryLimitView {
        rpm: limit.rpm,
        until: time::format(limit.until_us),
        reason: integration.temporary_reason.clone(),
    })
}

fn backfill(integration: &Integration) -> Option<BackfillView> {
    integration.backfill.map(|grant| BackfillView {
        window_start: time::format(grant.window_start_us),
        until: time::format(grant.until_us),
        reason: integration.backfill_reason.clone(),
    })
}

/// The whole answer: the integration, with its version as the entity tag.
pub(super) fn shown(status: StatusCode, integration: Integration) -> Response {
    tagged(integration.version, (status, Json(IntegrationView::from(integration))))
}
