//! The integration's own equipment (S276–S279, S281, S282). Others' is unknown (S274).

use axum::{Json, extract::State, response::Response};
use http::StatusCode;

use super::{Parts, caller::Caller};
use crate::{
    control::EquipmentFilter,
    model::{EquipmentId, Problem, ProblemCode},
    rest::{
        body::{Fields, RawBody},
        equipment::{EquipmentView, created, filter, listed, patch, retirement, shown},
        equipment_bulk::{self, Batch},
        etag::IfMatch,
        page::List,
        parameters::Parameters,
        path::Id,
    },
};

/// `GET /v1/equipment`
pub(super) async fn index(
    State(parts): State<Parts>,
    Caller { actor, .. }: Caller,
    mut parameters: Parameters,
) -> Result<Json<List<EquipmentView>>, Problem> {
    let filter = EquipmentFilter { integration_id: Some(actor.integration_id), ..filter(&mut parameters)? };
    let request = parameters.page()?;
    parameters.finish()?;
    let page = parts.control.equipment_list(actor.organisation_id, filter, request).await?;
    Ok(listed(&parts, page).await)
}

/// `POST /v1/equipment`
pub(super) async fn create(
    State(parts): State<Parts>,
    Caller { actor, .. }: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let new = patch(&mut fields);
    fields.finish()?;
    let equipment = parts.control.create_equipment(actor, None, new).await?;
    Ok(created(&parts, "/v1/equipment", equipment).await)
}

/// `POST /v1/equipment/bulk`
pub(super) async fn upsert(
    State(parts): State<Parts>,
    Caller { actor, .. }: Caller,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    let batch = Batch::read(&body, |_| None)?;
    let summary = parts.control.bulk_upsert_equipment(actor, batch.call).await?;
    Ok(equipment_bulk::answer(actor.request_id, batch.received, summary))
}

/// `GET /v1/equipment/{id}`
pub(super) async fn show(
    State(parts): State<Parts>,
    Caller { actor, .. }: Caller,
    Id(id): Id<EquipmentId>,
) -> Result<Response, Problem> {
    let equipment = parts.control.equipment(actor.organisation_id, id).await?;
    if equipment.integration_id != actor.integration_id {
        return Err(Problem::new(ProblemCode::NotFound).with_detail("no such equipment"));
    }
    Ok(shown(&parts, StatusCode::OK, equipment).await)
}

/// `PATCH /v1/equipment/{id}`
pub(super) async fn update(
    State(parts): State<Parts>,
    Caller { actor, .. }: Caller,
    Id(id): Id<EquipmentId>,
    IfMatch(version): IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let patch = patch(&mut fields);
    fields.finish()?;
    let equipment = parts.control.update_equipment(actor, id, patch, version).await?;
    Ok(shown(&parts, StatusCode::OK, equipment).await)
}

/// `POST /v1/equipment/{id}/retire`: again does nothing. `PATCH` with `status: active` brings it back.
pub(super) async fn retire(
    State(parts): State<Parts>,
    Caller { actor, .. }: Caller,
    Id(id): Id<EquipmentId>,
    IfMatch(version): IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    fields.finish()?;
    let equipment = parts.control.update_equipment(actor, id, retirement(), version).await?;
    Ok(shown(&parts, StatusCode::OK, equipment).await)
}
