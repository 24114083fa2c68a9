//! What both documents say in the same words.
#![allow(dead_code, reason = "the types here are read by utoipa's macros alone")]

use utoipa::{IntoParams, ToSchema};

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
