//! The equipment registry.

use axum::{Json, extract::State, response::Response};
use http::StatusCode;

use super::{
    Admin,
    body::{Fields, RawBody},
    caller::Administrator,
    etag::IfMatch,
    page::List,
    parameters::Parameters,
    path::Id,
    problem::Problem,
};
use crate::{
    control::EquipmentFilter,
    model::{EquipmentId, IntegrationId},
    rest::{
        equipment::{EquipmentView, created, filter, listed, patch, retirement, shown},
        equipment_bulk::{self, Batch},
    },
};

/// `GET /admin/v1/equipment`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<EquipmentView>>, Problem> {
    let integration_id = parameters.id("integration_id")?;
    let filter = EquipmentFilter { integration_id, ..filter(&mut parameters)? };
    let request = parameters.page()?;
    parameters.finish()?;
    let page = admin.control.equipment_list(actor.organisation_id, filter, request).await?;
    Ok(listed(&admin, page).await)
}

/// `POST /admin/v1/equipment`
pub(super) async fn create(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let integration_id = fields.id::<IntegrationId>("integration_id");
    let new = patch(&mut fields);
    fields.finish()?;
    let equipment = admin.control.create_equipment(actor, integration_id, new).await?;
    Ok(created(&admin, "/admin/v1/equipment", equipment).await)
}

/// `POST /admin/v1/equipment/bulk`
pub(super) async fn upsert(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let batch = Batch::read(&body, |fields| fields.id::<IntegrationId>("integration_id"))?;
    let summary = admin.control.bulk_upsert_equipment(actor, batch.call).await?;
    Ok(equipment_bulk::answer(actor.request_id, batch.received, summary))
}

/// `GET /admin/v1/equipment/{id}`
pub(super) async fn show(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<EquipmentId>,
) -> Result<Response, Problem> {
    let equipment = admin.control.equipment(actor.organisation_id, id).await?;
    Ok(shown(&admin, StatusCode::OK, equipment).await)
}

/// `PATCH /admin/v1/equipment/{id}`
pub(super) async fn update(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<EquipmentId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let patch = patch(&mut fields);
    fields.finish()?;
    let equipment = admin.control.update_equipment(actor, id, patch, version).await?;
    Ok(shown(&admin, StatusCode::OK, equipment).await)
}

/// `POST /admin/v1/equipment/{id}/retire`: again does nothing. `PATCH` with `status: active` brings it back.
pub(super) async fn retire(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    Id(id): Id<EquipmentId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    let equipment = admin.control.update_equipment(actor, id, retirement(), version).await?;
    Ok(shown(&admin, StatusCode::OK, equipment).await)
}
