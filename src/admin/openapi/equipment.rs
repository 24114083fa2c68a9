//! Equipment.

use utoipa::{IntoParams, ToSchema};

use super::{Paging, Version};
use crate::{
    admin::{equipment_csv::ImportResult, rooms::RoomView},
    rest::{equipment::EquipmentView, equipment_bulk::BulkResult, openapi::EquipmentPatch, page::List},
};

#[derive(ToSchema)]
pub(super) struct NewEquipment {
    integration_id: uuid::Uuid,
    /// `sensor`, `controller`, `actuator` or `monitor`.
    kind: String,
    /// A type of this kind: `GET /admin/v1/taxonomies/equipment-types`.
    r#type: Option<String>,
    /// The partner's own name for it, at most 128 bytes, kept byte for byte; unique in its integration.
    external_id: Option<String>,
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 200)]
    room: Option<String>,
    #[schema(max_length = 200)]
    location: Option<String>,
    /// `active` or `retired`.
    #[schema(nullable = false)]
    status: Option<String>,
}

/// Known by `id`, or by integration and external id; what is not known yet is registered.
#[derive(ToSchema)]
#[schema(as = EquipmentUpsert)]
pub(super) struct Upsert {
    #[schema(nullable = false)]
    id: Option<uuid::Uuid>,
    #[schema(nullable = false)]
    integration_id: Option<uuid::Uuid>,
    #[schema(nullable = false)]
    external_id: Option<String>,
    /// Needed for equipment that is registered.
    #[schema(nullable = false)]
    kind: Option<String>,
    r#type: Option<String>,
    name: Option<String>,
    room: Option<String>,
    location: Option<String>,
    #[schema(nullable = false)]
    status: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = EquipmentBulk)]
pub(super) struct Bulk {
    #[schema(min_items = 1, max_items = 500)]
    equipment: Vec<Upsert>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    integration_id: Option<uuid::Uuid>,
    /// Byte for byte.
    external_id: Option<String>,
    kind: Option<String>,
    /// A type of the taxonomy.
    r#type: Option<String>,
    /// `active` or `retired`.
    status: Option<String>,
    /// Byte for byte.
    room: Option<String>,
    /// Byte for byte.
    location: Option<String>,
    /// A part of name, external id, room or location.
    q: Option<String>,
}

/// List the equipment, in order of registration.
#[utoipa::path(get, path = "/admin/v1/equipment", tag = "equipment", params(Filter, Paging),
    responses((status = 200, description = "A page.", body = List<EquipmentView>)))]
pub(super) fn index() {}

/// Register a piece of equipment. Readings may name it from the next request on.
#[utoipa::path(post, path = "/admin/v1/equipment", tag = "equipment", request_body = NewEquipment,
    responses((status = 201, description = "Registered.", body = EquipmentView)))]
pub(super) fn create() {}

/// Register or change up to 500 pieces. Each is judged on its own; the good ones are saved.
#[utoipa::path(post, path = "/admin/v1/equipment/bulk", tag = "equipment", request_body = Bulk,
    responses(
        (status = 200, description = "All were saved.", body = BulkResult),
        (status = 207, description = "Some were saved.", body = BulkResult),
        (status = 422, description = "None was saved; or, as a problem, the body has not the right form.",
            body = BulkResult),
    ))]
pub(super) fn bulk() {}

/// Read a piece of equipment.
#[utoipa::path(get, path = "/admin/v1/equipment/{id}", tag = "equipment", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The equipment.", body = EquipmentView)))]
pub(super) fn show() {}

/// Change a piece of equipment. Its history stays, also when its external id changes.
#[utoipa::path(patch, path = "/admin/v1/equipment/{id}", tag = "equipment",
    params(("id" = uuid::Uuid, Path), Version), request_body = EquipmentPatch,
    responses((status = 200, description = "As it stands now.", body = EquipmentView)))]
pub(super) fn update() {}

/// Retire a piece of equipment: it takes no further readings and keeps its history. `status: active` brings it back.
#[utoipa::path(post, path = "/admin/v1/equipment/{id}/retire", tag = "equipment",
    params(("id" = uuid::Uuid, Path), Version),
    responses((status = 200, description = "Retired.", body = EquipmentView)))]
pub(super) fn retire() {}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct File {
    /// `csv`, which it is without, too.
    format: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Rehearsal {
    /// Judge the file as if it were saved, and save nothing.
    validate_only: Option<bool>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Owner {
    integration_id: Option<uuid::Uuid>,
}

/// Export the equipment as CSV (RFC 4180), whole.
///
/// A cell that a spreadsheet would take for a formula, or that begins with an apostrophe, has an apostrophe in front;
/// the import takes one away.
#[utoipa::path(get, path = "/admin/v1/equipment/export", tag = "equipment", params(Filter, File),
    responses((status = 200, description = "The file.", content((String = "text/csv")))))]
pub(super) fn export() {}

/// Import equipment from CSV with the columns of the export, in any order and not all of them.
///
/// Each row is judged on its own, as an entry of a bulk; the good ones are saved. An empty cell empties its field.
#[utoipa::path(post, path = "/admin/v1/equipment/import", tag = "equipment", params(Rehearsal),
    request_body(content((String = "text/csv"))),
    responses(
        (status = 200, description = "All rows were saved.", body = ImportResult),
        (status = 207, description = "Some were saved.", body = ImportResult),
        (status = 422, description = "None was saved.", body = ImportResult),
    ))]
pub(super) fn import() {}

/// List the rooms that equipment is in, in the order of their names' bytes.
#[utoipa::path(get, path = "/admin/v1/rooms", tag = "equipment", params(Owner, Paging),
    responses((status = 200, description = "A page.", body = List<RoomView>)))]
pub(super) fn rooms() {}
