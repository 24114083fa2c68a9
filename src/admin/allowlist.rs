//! Where an integration may call from.

use axum::{Json, extract::State, response::Response};

use super::{
    Admin,
    body::Fields,
    caller::Administrator,
    etag::{IfMatch, tagged},
    integration_view::AllowlistView,
    path::Id,
    problem::Problem,
};
use crate::{
    control::{Integration, integration::AllowlistUpdate},
    model::IntegrationId,
};

fn shown(integration: &Integration) -> Response {
    tagged(integration.version, Json(AllowlistView::from(integration)))
}

/// `GET /admin/v1/integrations/{id}/ip-allowlist`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
) -> Result<Response, Problem> {
    Ok(shown(&admin.control.integration(actor.organisation_id, id).await?))
}

/// `PUT /admin/v1/integrations/{id}/ip-allowlist`
pub(super) async fn replace(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let enabled = fields.required_flag("enabled");
    let entries = fields.texts("entries");
    fields.finish()?;
    let update = AllowlistUpdate { enabled, entries };
    Ok(shown(&admin.control.set_allowlist(actor, id, version, update).await?))
}
