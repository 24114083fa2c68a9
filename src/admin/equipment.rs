//! The equipment registry.

use axum::{Json, extract::State, response::Response};
use http::{HeaderValue, StatusCode, header::LOCATION};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    body::Fields,
    caller::Administrator,
    etag::{IfMatch, tagged},
    last_seen,
    page::List,
    parameters::Parameters,
    path::Id,
    problem::Problem,
    time,
};
use crate::{
    control::{Equipment, EquipmentFilter, EquipmentPatch},
    model::{EquipmentId, EquipmentKind, IntegrationId},
};

/// A sensor, controller, actuator or monitor.
#[derive(Serialize, ToSchema)]
#[schema(as = Equipment)]
pub(super) struct EquipmentView {
    #[schema(value_type = String, format = Uuid)]
    id: EquipmentId,
    /// The integration that reports it.
    #[schema(value_type = String, format = Uuid)]
    integration_id: IntegrationId,
    /// `sensor`, `controller`, `actuator` or `monitor`.
    #[schema(value_type = String)]
    kind: EquipmentKind,
    /// From the taxonomy, of this kind.
    r#type: Option<String>,
    /// The partner's own name for it, byte for byte; unique in its integration.
    external_id: Option<String>,
    name: Option<String>,
    room: Option<String>,
    location: Option<String>,
    /// `active` or `retired`.
    status: &'static str,
    /// Time of the latest reading in the store.
    last_seen_at: Option<String>,
    /// The `ETag`.
    version: u64,
    created_at: String,
    updated_at: String,
}

impl EquipmentView {
    pub(super) fn new(equipment: Equipment, last_seen_us: Option<i64>) -> Self {
        Self {
            id: equipment.id,
            integration_id: equipment.integration_id,
            kind: equipment.kind,
            r#type: equipment.type_name,
            external_id: equipment.external_id,
            name: equipment.name,
            room: equipment.room,
            location: equipment.location,
            status: if equipment.retired { "retired" } else { "active" },
            last_seen_at: time::format_some(last_seen_us),
            version: equipment.version,
            created_at: time::format(equipment.created_at_us),
            updated_at: time::format(equipment.updated_at_us),
        }
    }
}

async fn shown(admin: &Admin, status: StatusCode, equipment: Equipment) -> Response {
    let version = equipment.version;
    let seen = last_seen::of(admin, equipment.number).await;
    tagged(version, (status, Json(EquipmentView::new(equipment, seen))))
}

/// `GET /admin/v1/equipment`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<EquipmentView>>, Problem> {
    let filter = EquipmentFilter {
        integration_id: parameters.id("integration_id")?,
        external_id: parameters.text("external_id")?,
        kind: parameters.read("kind", "sensor, controller, actuator or monitor", EquipmentKind::parse)?,
        retired: parameters.read("status", "active or retired", |status| match status {
            "active" => Some(false),
            "retired" => Some(true),
            _ => None,
        })?,
        room: parameters.text("room")?,
        q: parameters.text("q")?,
    };
    let request = parameters.page()?;
    parameters.finish()?;
    let page = admin.control.equipment_list(actor.organisation_id, filter, request).await?;
    let seen = last_seen::of_all(&admin, page.items.iter().map(|one| one.number).collect()).await;
    let items = page.items.into_iter().zip(seen).map(|(one, seen)| EquipmentView::new(one, seen)).collect();
    Ok(Json(List { items, next_cursor: page.next_cursor }))
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
    let location = format!("/admin/v1/equipment/{}", equipment.id);
    let mut response = shown(&admin, StatusCode::CREATED, equipment).await;
    let location = HeaderValue::from_str(&location).expect("a path with a UUID is a header value");
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
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
    let retired = EquipmentPatch { status: Some("retired".to_owned()), ..EquipmentPatch::default() };
    let equipment = admin.control.update_equipment(actor, id, retired, version).await?;
    Ok(shown(&admin, StatusCode::OK, equipment).await)
}

/// The changeable fields.
pub(super) fn patch(fields: &mut Fields) -> EquipmentPatch {
    EquipmentPatch {
        kind: fields.text("kind"),
        type_name: fields.nullable_text("type"),
        external_id: fields.nullable_text("external_id"),
        name: fields.nullable_text("name"),
        room: fields.nullable_text("room"),
        location: fields.nullable_text("location"),
        status: fields.text("status"),
    }
}
