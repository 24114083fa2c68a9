//! The OpenAPI document of these calls, for the document of the whole integration API.
#![allow(dead_code, reason = "the functions and types here are read by utoipa's macros alone")]

mod webhooks;

use serde_json::json;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::limits::LimitsView;
use crate::{
    model::{
        EquipmentKind, ProblemCode, Scope,
        openapi::{ETAG, LOCATION, OwnRefusals, Part, REPLAYED, Refinement, one_of},
    },
    rest::{
        equipment::EquipmentView,
        equipment_bulk::BulkResult,
        openapi::{EquipmentPatch, Paging, Version, equipment_fields, if_match},
        openapi_webhook,
        page::List,
        taxonomy::EquipmentTypeView,
    },
};

/// The document of everything that this room answers. What all calls share is the edge's to add.
#[must_use]
pub fn part() -> Part {
    let made = "POST /v1/equipment";
    let bulk = ["200", "207", "422"].map(|status| ("POST /v1/equipment/bulk", status, REPLAYED));
    let mut own_headers = vec![(made, "201", ETAG), (made, "201", LOCATION), (made, "201", REPLAYED)];
    own_headers.extend([
        ("GET /v1/equipment/{id}", "200", ETAG),
        ("PATCH /v1/equipment/{id}", "200", ETAG),
        ("POST /v1/equipment/{id}/retire", "200", ETAG),
        ("POST /v1/equipment/{id}/retire", "200", REPLAYED),
    ]);
    own_headers.extend(bulk);
    own_headers.extend([
        ("POST /v1/webhooks", "201", ETAG),
        ("POST /v1/webhooks", "201", LOCATION),
        ("GET /v1/webhooks/{wid}", "200", ETAG),
        ("PATCH /v1/webhooks/{wid}", "200", ETAG),
        ("POST /v1/webhooks/{wid}/secret", "200", ETAG),
    ]);
    let one = json!({"kind": "sensor", "type": "climate_sensor", "external_id": "AA:BB:02", "name": "Bench 5", "room": "House 1"});
    let kinds = || one_of(EquipmentKind::ALL.map(EquipmentKind::as_str));
    let statuses = || one_of(["active", "retired"]);
    let key = || json!({"pattern": "^[ -~]+$"});
    Part {
        document: Api::openapi(),
        own_refusals: OWN_REFUSALS.to_vec(),
        properties: properties(),
        parameters: vec![
            if_match(),
            ("/v1/equipment", "kind", kinds()),
            ("/v1/equipment", "status", statuses()),
            ("/v1/equipment", "Idempotency-Key", key()),
            ("/v1/equipment/bulk", "Idempotency-Key", key()),
            ("/v1/equipment/{id}/retire", "Idempotency-Key", key()),
            openapi_webhook::states("/v1/webhooks/{wid}/deliveries"),
        ],
        schemas: openapi_webhook::schemas()
            .into_iter()
            .chain([
                ("NewOwnEquipment", json!({"examples": [one]})),
                ("OwnEquipmentUpsert", json!({"anyOf": [{"required": ["id"]}, {"required": ["external_id"]}]})),
                ("OwnEquipmentBulk", json!({"examples": [{"equipment": [one]}]})),
            ])
            .collect(),
        own_headers,
    }
}

const OWN_REFUSALS: &[OwnRefusals] = {
    use ProblemCode as P;
    &[
        ("POST /v1/equipment", &[P::Conflict, P::EquipmentLimit]),
        ("PATCH /v1/equipment/{id}", &[P::Conflict]),
        ("POST /v1/webhooks", &[P::WebhookLimit]),
        ("POST /v1/webhooks/{wid}/test", &[P::InvalidState]),
        ("POST /v1/equipment/bulk", &[P::EmptyBatch, P::BatchTooLarge]),
    ]
};

/// What the properties can be beyond their type.
fn properties() -> Vec<Refinement> {
    let kinds = || one_of(EquipmentKind::ALL.map(EquipmentKind::as_str));
    let statuses = || one_of(["active", "retired"]);
    let scopes = one_of(Scope::ALL.map(Scope::as_str));
    let mut properties = vec![("Equipment", "kind", kinds()), ("Equipment", "status", statuses())];
    properties.extend(openapi_webhook::properties());
    properties.extend([("Limits", "scopes", scopes), ("LimitsMetric", "kinds", kinds())]);
    for request in ["NewOwnEquipment", "EquipmentPatch", "OwnEquipmentUpsert"] {
        properties.extend(equipment_fields(request));
    }
    properties
}

#[derive(OpenApi)]
#[openapi(
    paths(
        index, create, bulk, show, update, retire, equipment_types, limits, webhooks::index, webhooks::create,
        webhooks::show, webhooks::update, webhooks::remove, webhooks::regenerate_secret, webhooks::test,
        webhooks::discard, webhooks::deliveries, webhooks::replay,
    ),
    tags(
        (name = "equipment", description = "What readings are of: the integration's own."),
        (name = "taxonomies", description = "What there is to choose from. Read-only."),
        (name = "webhooks", description = "Who is told of what, and what became of it: your own."),
        (name = "limits", description = "What the integration may, and what is left of it."),
    ),
)]
struct Api;

#[derive(ToSchema)]
struct NewOwnEquipment {
    /// `sensor`, `controller`, `actuator` or `monitor`.
    kind: String,
    /// A type of this kind: `GET /v1/taxonomies/equipment-types`.
    r#type: Option<String>,
    /// Your own name for it, at most 128 bytes, kept byte for byte; unique among your equipment.
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

/// Known by `id`, or by external id; what is not known yet is registered.
#[derive(ToSchema)]
struct OwnEquipmentUpsert {
    #[schema(nullable = false)]
    id: Option<uuid::Uuid>,
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
struct OwnEquipmentBulk {
    #[schema(min_items = 1, max_items = 500)]
    equipment: Vec<OwnEquipmentUpsert>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
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

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Idempotency {
    /// 1 to 255 printable ASCII characters: the same key and body get the same answer for 24 hours.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// List your equipment, in order of registration. Needs `equipment:read`.
#[utoipa::path(get, path = "/v1/equipment", tag = "equipment",
    security(("token" = [], "api_key" = [])), params(Filter, Paging),
    responses((status = 200, description = "A page.", body = List<EquipmentView>)))]
fn index() {}

/// Register a piece of equipment. Needs `equipment:write`. Readings may name it from the next request on.
#[utoipa::path(post, path = "/v1/equipment", tag = "equipment",
    security(("token" = [], "api_key" = [])), params(Idempotency), request_body = NewOwnEquipment,
    responses((status = 201, description = "Registered.", body = EquipmentView)))]
fn create() {}

/// Register or change up to 500 pieces. Needs `equipment:write`. Each is judged on its own; the good ones are saved.
#[utoipa::path(post, path = "/v1/equipment/bulk", tag = "equipment",
    security(("token" = [], "api_key" = [])), params(Idempotency), request_body = OwnEquipmentBulk,
    responses(
        (status = 200, description = "All were saved.", body = BulkResult),
        (status = 207, description = "Some were saved.", body = BulkResult),
        (status = 422, description = "None was saved; or, as a problem, the body has not the right form.",
            body = BulkResult),
    ))]
fn bulk() {}

/// Read a piece of equipment. Needs `equipment:read`.
#[utoipa::path(get, path = "/v1/equipment/{id}", tag = "equipment",
    security(("token" = [], "api_key" = [])), params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The equipment.", body = EquipmentView)))]
fn show() {}

/// Change a piece of equipment. Needs `equipment:write`. Its history stays, also when its external id changes.
#[utoipa::path(patch, path = "/v1/equipment/{id}", tag = "equipment",
    security(("token" = [], "api_key" = [])), params(("id" = uuid::Uuid, Path), Version),
    request_body = EquipmentPatch,
    responses((status = 200, description = "As it stands now.", body = EquipmentView)))]
fn update() {}

/// Retire a piece of equipment: it takes no further readings and keeps its history. Needs `equipment:write`.
/// `PATCH` with `status: active` brings it back.
#[utoipa::path(post, path = "/v1/equipment/{id}/retire", tag = "equipment",
    security(("token" = [], "api_key" = [])), params(("id" = uuid::Uuid, Path), Version, Idempotency),
    responses((status = 200, description = "Retired.", body = EquipmentView)))]
fn retire() {}

/// List the types of equipment. Needs `taxonomies:read`.
#[utoipa::path(get, path = "/v1/taxonomies/equipment-types", tag = "taxonomies", security(("token" = [], "api_key" = [])),
    responses((status = 200, description = "All of them.", body = List<EquipmentTypeView>)))]
fn equipment_types() {}

/// Ask for your limits and what is left of them. Needs no scope, and costs one request.
#[utoipa::path(get, path = "/v1/limits", tag = "limits",
    security(("token" = [], "api_key" = [])),
    responses((status = 200, description = "The limits, after this call was charged.", body = LimitsView)))]
fn limits() {}
