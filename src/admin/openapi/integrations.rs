//! Integrations.

use utoipa::{IntoParams, ToSchema};

use super::{Paging, Version};
use crate::admin::{
    audit::EntryView,
    handover::Handover,
    integration_view::{AllowlistView, IntegrationView},
    integrations::IntegrationList,
    lifecycle::{ActivatedIntegration, CutIntegration, NewKey},
    page::List,
};

#[derive(ToSchema)]
pub(super) struct NewIntegration {
    /// A name of the registry: `GET /admin/v1/vendors`.
    vendor: String,
    #[schema(max_length = 200)]
    name: String,
    /// Why it exists.
    #[schema(max_length = 4000)]
    description: String,
    /// An active member.
    owner_id: uuid::Uuid,
    /// `GET /admin/v1/scopes`; none unless given.
    #[schema(nullable = false)]
    scopes: Option<Vec<String>>,
    /// Requests a minute.
    #[schema(minimum = 1, maximum = 10_000, default = 60, nullable = false)]
    rate_limit_rpm: Option<u32>,
    /// Requests a UTC day; null: unlimited.
    #[schema(minimum = 1, maximum = 14_400_000)]
    daily_quota: Option<u32>,
    /// With an external issuer: the client there.
    client_id: Option<String>,
    /// Which external issuer, where there are several.
    client_issuer: Option<String>,
    #[schema(nullable = false)]
    contacts: Option<Vec<Contact>>,
    /// Why scopes with personal or financial data are needed; shown to the approver.
    #[schema(max_length = 4000)]
    justification: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = ContactInput)]
pub(super) struct Contact {
    name: String,
    email: String,
    company: Option<String>,
    /// When somebody last made sure; RFC 3339.
    confirmed_at: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = IntegrationPatch)]
pub(super) struct Patch {
    #[schema(max_length = 200, nullable = false)]
    name: Option<String>,
    #[schema(max_length = 4000, nullable = false)]
    description: Option<String>,
    #[schema(nullable = false)]
    owner_id: Option<uuid::Uuid>,
    #[schema(nullable = false)]
    scopes: Option<Vec<String>>,
    #[schema(minimum = 1, maximum = 10_000, nullable = false)]
    rate_limit_rpm: Option<u32>,
    /// null: unlimited.
    #[schema(minimum = 1, maximum = 14_400_000)]
    daily_quota: Option<u32>,
    /// Whether readings that are rejected are kept for a while.
    #[schema(nullable = false)]
    keep_rejected: Option<bool>,
    /// With an external issuer: the client there; not while active.
    #[schema(nullable = false)]
    client_id: Option<String>,
    #[schema(nullable = false)]
    client_issuer: Option<String>,
    /// All contacts.
    #[schema(nullable = false)]
    contacts: Option<Vec<Contact>>,
    /// Why added scopes with personal or financial data are needed.
    #[schema(max_length = 4000)]
    justification: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct Suspension {
    /// Required for the audit trail; kept byte for byte.
    reason: String,
    /// `security_concern`, `contract_pause` or `unexpected_api_behaviour`.
    category: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct Reactivation {
    /// `generate` (the default): a new key. `keep_staged`: the one that was made while suspended.
    credentials: Option<String>,
    reason: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct Revocation {
    reason: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct Regeneration {
    /// Why: suspected compromise, staff left, routine rotation.
    cause: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = IpAllowlistUpdate)]
pub(super) struct Allowlist {
    enabled: bool,
    /// Networks in CIDR notation; the entries stay as they are where this is left out.
    #[schema(max_items = 50, nullable = false)]
    entries: Option<Vec<String>>,
}

#[derive(ToSchema)]
pub(super) struct Grant {
    /// Requests a minute while it lasts.
    #[schema(minimum = 1, maximum = 10_000)]
    rpm: Option<u32>,
    /// Oldest timestamp of readings while it lasts; RFC 3339.
    window_start: Option<String>,
    /// When it ends; RFC 3339.
    until: String,
    reason: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// `requested`, `approved`, `active`, `suspended` or `revoked`.
    status: Option<String>,
    vendor: Option<String>,
    /// A part of name or description.
    q: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct GrantKind {
    /// `temporary_limit` or `backfill`; both unless given.
    kind: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HandoverFormat {
    /// `json` (the default), `html` or `text`.
    format: Option<String>,
}

/// List the integrations.
#[utoipa::path(get, path = "/admin/v1/integrations", tag = "integrations", params(Filter, Paging),
    responses((status = 200, description = "A page, and how many of the organisation's places are taken.",
        body = IntegrationList)))]
pub(super) fn index() {}

/// Request an integration. It has no credentials before another administrator has approved it.
#[utoipa::path(post, path = "/admin/v1/integrations", tag = "integrations", request_body = NewIntegration,
    responses((status = 201, description = "Requested.", body = IntegrationView)))]
pub(super) fn create() {}

/// Read an integration.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}", tag = "integrations", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The integration.", body = IntegrationView)))]
pub(super) fn show() {}

/// Change an integration: all fields of the call or none. Holds from the next request.
#[utoipa::path(patch, path = "/admin/v1/integrations/{id}", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Patch,
    responses((status = 200, description = "As it stands now.", body = IntegrationView)))]
pub(super) fn update() {}

/// Approve a request of another administrator. Send the ETag of what you have reviewed.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/approve", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "Approved.", body = IntegrationView)))]
pub(super) fn approve() {}

/// Activate: the credentials are made, and shown this once.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/activate", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "Active.", body = ActivatedIntegration)))]
pub(super) fn activate() {}

/// Suspend at once: when this answers, no further reading of the integration becomes durable.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/suspend", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Suspension,
    responses((status = 200, description = "Suspended.", body = CutIntegration)))]
pub(super) fn suspend() {}

/// Reactivate. Not for whoever suspended it (403 `self_reactivation`).
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/reactivate", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Reactivation,
    responses((status = 200, description = "Active, with credentials that are shown this once.",
        body = ActivatedIntegration)))]
pub(super) fn reactivate() {}

/// Revoke for ever.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/revoke", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Revocation,
    responses((status = 200, description = "Revoked.", body = CutIntegration)))]
pub(super) fn revoke() {}

/// Make a new API key. While active the old one is dead at once; while suspended the new one waits for reactivation.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/api-key", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Regeneration,
    responses((status = 200, description = "The key, shown this once.", body = NewKey)))]
pub(super) fn regenerate_key() {}

/// Grant the scopes that wait. Not for whoever asked for them (403 `self_confirmation`).
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/scopes/confirm", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "With the scopes granted.", body = IntegrationView)))]
pub(super) fn confirm_scopes() {}

/// Drop the scopes that wait.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/scopes/decline", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Revocation,
    responses((status = 200, description = "Without them.", body = IntegrationView)))]
pub(super) fn decline_scopes() {}

/// The sheet to hand over to the partner: what they need, and how each item may travel. No secret stands in it.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}/handover", tag = "integrations",
    params(("id" = uuid::Uuid, Path), HandoverFormat),
    responses((status = 200, description = "The sheet.", content(
        (Handover = "application/json"), (String = "text/html"), (String = "text/plain")))))]
pub(super) fn handover() {}

/// Read where it may call from.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}/ip-allowlist", tag = "integrations",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The allowlist.", body = AllowlistView)))]
pub(super) fn show_allowlist() {}

/// Set where it may call from. Holds from the next request.
#[utoipa::path(put, path = "/admin/v1/integrations/{id}/ip-allowlist", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Allowlist,
    responses((status = 200, description = "As it stands now.", body = AllowlistView)))]
pub(super) fn replace_allowlist() {}

/// Give a temporary limit, a wider time window for readings, or both. They end by themselves.
#[utoipa::path(post, path = "/admin/v1/integrations/{id}/grants", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Version), request_body = Grant,
    responses((status = 200, description = "The integration.", body = IntegrationView)))]
pub(super) fn grant() {}

/// End grants early.
#[utoipa::path(delete, path = "/admin/v1/integrations/{id}/grants", tag = "integrations",
    params(("id" = uuid::Uuid, Path), GrantKind, Version),
    responses((status = 200, description = "The integration.", body = IntegrationView)))]
pub(super) fn end_grants() {}

/// Read its audit entries, oldest first; in every status.
#[utoipa::path(get, path = "/admin/v1/integrations/{id}/history", tag = "integrations",
    params(("id" = uuid::Uuid, Path), Paging),
    responses((status = 200, description = "A page.", body = List<EntryView>)))]
pub(super) fn history() {}
