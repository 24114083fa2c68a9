//! What there is to choose from.

use axum::Json;

use super::caller::Caller;
use crate::rest::{
    page::List,
    taxonomy::{self, EquipmentTypeView},
};

/// `GET /v1/taxonomies/equipment-types` (S280)
pub(super) async fn equipment_types(_: Caller) -> Json<List<EquipmentTypeView>> {
    taxonomy::equipment_types()
}
