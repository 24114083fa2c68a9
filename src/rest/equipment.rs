//! The one form of a piece of equipment, whoever asks.

use std::collections::BTreeMap;

use axum::{Json, response::Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    body::Fields,
    etag::{located, tagged},
    last_values::{self, LastSeen, LastValue},
    page::List,
    parameters::Parameters,
    problem::Problem,
    time,
};
use crate::{
    control::{Equipment, EquipmentFilter, EquipmentPatch, Page},
    model::{EquipmentId, EquipmentKind, IntegrationId},
};

/// A sensor, controller, actuator or monitor.
#[derive(Serialize, ToSchema)]
#[schema(as = Equipment)]
pub(crate) struct EquipmentView {
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
    /// The latest reading in the store of each metric that has one, by the metric's name.
    last_values: BTreeMap<String, LastValue>,
    /// The `ETag`.
    version: u64,
    created_at: String,
    updated_at: String,
}

impl EquipmentView {
    fn new(equipment: Equipment, seen: LastSeen) -> Self {
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
            last_seen_at: time::format_some(seen.at_us),
            last_values: seen.values,
            version: equipment.version,
            created_at: time::format(equipment.created_at_us),
            updated_at: time::format(equipment.updated_at_us),
        }
    }
}

/// One piece, with its version as entity tag.
pub(crate) async fn shown(api: &impl Api, status: StatusCode, equipment: Equipment) -> Response {
    let version = equipment.version;
    let seen = last_values::of(api, equipment.number).await;
    tagged(version, (status, Json(EquipmentView::new(equipment, seen))))
}

/// A piece that was just registered, to be found below `path`.
pub(crate) async fn created(api: &impl Api, path: &str, equipment: Equipment) -> Response {
    let location = format!("{path}/{}", equipment.id);
    located(&location, shown(api, StatusCode::CREATED, equipment).await)
}

/// A page of them.
pub(crate) async fn listed(api: &impl Api, page: Page<Equipment>) -> Json<List<EquipmentView>> {
    let seen = last_values::of_all(api, page.items.iter().map(|one| one.number).collect()).await;
    let items = page.items.into_iter().zip(seen).map(|(one, seen)| EquipmentView::new(one, seen)).collect();
    Json(List { items, next_cursor: page.next_cursor })
}

/// The filters of a list, but the integration's.
pub(crate) fn filter(parameters: &mut Parameters) -> Result<EquipmentFilter, Problem> {
    Ok(EquipmentFilter {
        integration_id: None,
        external_id: parameters.text("external_id")?,
        kind: parameters.read("kind", "sensor, controller, actuator or monitor", EquipmentKind::parse)?,
        type_name: parameters.text("type")?,
        retired: parameters.read("status", "active or retired", |status| match status {
            "active" => Some(false),
            "retired" => Some(true),
            _ => None,
        })?,
        room: parameters.text("room")?,
        location: parameters.text("location")?,
        q: parameters.text("q")?,
    })
}

/// The changeable fields.
pub(crate) fn patch(fields: &mut Fields) -> EquipmentPatch {
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

/// What retires.
pub(crate) fn retirement() -> EquipmentPatch {
    EquipmentPatch { status: Some("retired".to_owned()), ..EquipmentPatch::default() }
}
