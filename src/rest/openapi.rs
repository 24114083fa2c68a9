//! What both documents say in the same words.
#![allow(dead_code, reason = "the types here are read by utoipa's macros alone")]

use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    control::EQUIPMENT_TYPES,
    model::{
        EquipmentKind,
        openapi::{Refinement, line, one_of},
    },
};

/// What the fields of equipment must be in `schema`, the body of a request.
pub(crate) fn equipment_fields(schema: &'static str) -> Vec<Refinement> {
    const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
    let types = EQUIPMENT_TYPES.iter().map(|of| of.name);
    let mut fields = vec![
        (schema, "kind", one_of(EquipmentKind::ALL.map(EquipmentKind::as_str))),
        (schema, "type", one_of(types)),
        (schema, "external_id", json!({"minLength": 1, "maxLength": 128, "pattern": NO_CONTROL})),
        (schema, "status", one_of(["active", "retired"])),
    ];
    fields.extend(["name", "room", "location"].map(|name| (schema, name, line(200))));
    fields
}

/// An entity tag as we give them out, or any.
pub(crate) fn if_match() -> Refinement {
    ("*", "If-Match", json!({"pattern": r#"^(\*|"[1-9][0-9]{0,17}")$"#, "examples": ["\"3\""]}))
}

/// Where a list goes on and how far.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Items of the page; 50 unless said otherwise.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// The version that the caller has read.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Version {
    /// The `ETag` of the object as it was read; 412 when it has changed since.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// What is left out stays; null empties.
#[derive(ToSchema)]
#[schema(as = EquipmentPatch)]
pub(crate) struct EquipmentPatch {
    #[schema(nullable = false)]
    kind: Option<String>,
    r#type: Option<String>,
    external_id: Option<String>,
    name: Option<String>,
    room: Option<String>,
    location: Option<String>,
    /// `active` or `retired`.
    #[schema(nullable = false)]
    status: Option<String>,
}
