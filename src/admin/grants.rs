//! Grants that end by themselves: a temporary limit, and a wider time window for readings.

use axum::{extract::State, response::Response};
use http::StatusCode;

use super::{
    Admin, body::Fields, caller::Administrator, etag::IfMatch, integration_view::shown, parameters::Parameters,
    path::Id, problem::Problem,
};
use crate::{
    control::integration::{GrantKind, GrantRequest},
    model::IntegrationId,
};

/// `POST /admin/v1/integrations/{id}/grants`
pub(super) async fn create(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let rpm = fields.nullable_integer("rpm").flatten();
    let window_start_us = fields.nullable_time("window_start").flatten();
    let reason = fields.nullable_text("reason").flatten().unwrap_or_default();
    let until_us = fields.required_time("until");
    fields.finish()?;
    let request = GrantRequest { rpm, window_start_us, until_us, reason };
    Ok(shown(StatusCode::OK, admin.control.grant(actor, id, version, request).await?))
}

/// `DELETE /admin/v1/integrations/{id}/grants`: all, or with `kind` one of `temporary_limit` and `backfill`.
pub(super) async fn end(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let kind = parameters.read("kind", "temporary_limit or backfill", |name| match name {
        "temporary_limit" => Some(GrantKind::TemporaryLimit),
        "backfill" => Some(GrantKind::Backfill),
        _ => None,
    })?;
    parameters.finish()?;
    Ok(shown(StatusCode::OK, admin.control.end_grants(actor, id, version, kind).await?))
}
