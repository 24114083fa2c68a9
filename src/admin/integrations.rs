//! Integrations: requesting, listing, reading and changing them.

use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    body::Fields,
    caller::Administrator,
    etag::{IfMatch, located},
    integration_view::{IntegrationView, shown},
    parameters::Parameters,
    path::Id,
    problem::Problem,
};
use crate::{
    control::{
        Vendor,
        integration::{Contact, IntegrationFilter, IntegrationPatch, NewIntegration},
    },
    model::{IntegrationId, Status},
};

/// A page of integrations.
#[derive(Serialize, ToSchema)]
pub(super) struct IntegrationList {
    /// In order of request.
    items: Vec<IntegrationView>,
    /// For `cursor` of the next call; null: this was the last page.
    next_cursor: Option<String>,
    /// Active and suspended integrations of the organisation.
    used: u32,
    /// How many there may be.
    limit: u32,
}

/// `GET /admin/v1/integrations`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<IntegrationList>, Problem> {
    let filter = IntegrationFilter {
        status: parameters.read("status", "requested, approved, active, suspended or revoked", Status::parse)?,
        vendor: parameters.read("vendor", "a name of the registry of vendors", Vendor::parse)?,
        q: parameters.text("q")?,
    };
    let page = parameters.page()?;
    parameters.finish()?;
    let found = admin.control.integrations(actor.organisation_id, filter, page).await?;
    Ok(Json(IntegrationList {
        items: found.page.items.into_iter().map(IntegrationView::from).collect(),
        next_cursor: found.page.next_cursor,
        used: found.used,
        limit: found.limit,
    }))
}

/// `POST /admin/v1/integrations`
pub(super) async fn create(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let request = NewIntegration {
        vendor: fields.text("vendor"),
        name: fields.text("name"),
        description: fields.text("description"),
        owner_id: fields.id("owner_id"),
        scopes: fields.texts("scopes").unwrap_or_default(),
        rate_limit_rpm: fields.integer("rate_limit_rpm"),
        daily_quota: fields.nullable_integer("daily_quota").flatten(),
        client_id: fields.nullable_text("client_id").flatten(),
        client_issuer: fields.nullable_text("client_issuer").flatten(),
        contacts: contacts(&mut fields).unwrap_or_default(),
        justification: fields.nullable_text("justification").flatten(),
    };
    fields.finish()?;
    let integration = admin.control.create_integration(actor, request).await?;
    let location = format!("/admin/v1/integrations/{}", integration.id);
    Ok(located(&location, shown(StatusCode::CREATED, integration)))
}

/// `GET /admin/v1/integrations/{id}`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
) -> Result<Response, Problem> {
    let integration = admin.control.integration(actor.organisation_id, id).await?;
    Ok(shown(StatusCode::OK, integration))
}

/// `PATCH /admin/v1/integrations/{id}`
pub(super) async fn update(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let patch = IntegrationPatch {
        name: fields.text("name"),
        description: fields.text("description"),
        owner_id: fields.id("owner_id"),
        scopes: fields.texts("scopes"),
        rate_limit_rpm: fields.integer("rate_limit_rpm"),
        daily_quota: fields.nullable_integer("daily_quota"),
        keep_rejected: fields.flag("keep_rejected"),
        contacts: contacts(&mut fields),
        client_id: fields.text("client_id"),
        client_issuer: fields.text("client_issuer"),
        justification: fields.nullable_text("justification").flatten(),
    };
    fields.finish()?;
    let integration = admin.control.update_integration(actor, id, version, patch).await?;
    Ok(shown(StatusCode::OK, integration))
}

/// `POST /admin/v1/integrations/{id}/scopes/confirm`
pub(super) async fn confirm_scopes(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    Ok(shown(StatusCode::OK, admin.control.confirm_scopes(actor, id, version).await?))
}

/// `POST /admin/v1/integrations/{id}/scopes/decline`
pub(super) async fn decline_scopes(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<IntegrationId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let reason = fields.nullable_text("reason").flatten();
    fields.finish()?;
    Ok(shown(StatusCode::OK, admin.control.decline_scopes(actor, id, version, reason).await?))
}

fn contacts(fields: &mut Fields) -> Option<Vec<Contact>> {
    fields.objects("contacts", |contact| Contact {
        name: contact.text("name").unwrap_or_default(),
        email: contact.text("email").unwrap_or_default(),
        company: contact.nullable_text("company").flatten(),
        confirmed_at_us: contact.nullable_time("confirmed_at").flatten(),
    })
}
