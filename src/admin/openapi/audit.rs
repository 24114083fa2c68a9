//! The audit log.

use utoipa::IntoParams;

use super::Paging;
use crate::admin::{
    audit::{CheckpointView, EntryView, VerdictView},
    page::List,
};

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The user who acted.
    actor: Option<uuid::Uuid>,
    action: Option<String>,
    /// The id of the object.
    target: Option<String>,
    /// Inclusive; RFC 3339.
    from: Option<String>,
    /// Exclusive; RFC 3339.
    to: Option<String>,
    /// `asc` (the default: oldest first) or `desc`.
    order: Option<String>,
}

/// Read the audit log.
#[utoipa::path(get, path = "/admin/v1/audit-log", tag = "audit", params(Filter, Paging),
    responses((status = 200, description = "A page.", body = List<EntryView>)))]
pub(super) fn index() {}

/// Prove that the log is what was written: every hash is computed anew and held against the signed head.
#[utoipa::path(get, path = "/admin/v1/audit-log/verify", tag = "audit",
    responses((status = 200, description = "The verdict.", body = VerdictView)))]
pub(super) fn verify() {}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Export {
    /// `ndjson` (the default: every entry byte for byte, with its hash) or `csv`.
    format: Option<String>,
    /// Inclusive; RFC 3339.
    from: Option<String>,
    /// Exclusive; RFC 3339.
    to: Option<String>,
}

/// Take the log out as a file. Taking it out is an entry of its own.
#[utoipa::path(get, path = "/admin/v1/audit-log/export", tag = "audit", params(Export),
    responses((status = 200, description = "The entries, oldest first.", content(
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    ))))]
pub(super) fn export() {}

/// The signed checkpoints, oldest first: put them aside, and whoever rules this machine later is bound by them.
#[utoipa::path(get, path = "/admin/v1/audit-log/checkpoints", tag = "audit", params(Paging),
    responses((status = 200, description = "A page.", body = List<CheckpointView>)))]
pub(super) fn checkpoints() {}
