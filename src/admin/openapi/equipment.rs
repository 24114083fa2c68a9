//! Equipment.

use utoipa::{IntoParams, ToSchema};

use super::{Paging, Version};
use crate::rest::{equipment::EquipmentView, equipment_bulk::BulkResult, openapi::EquipmentPatch, page::List};

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
