//! The types of equipment, which nobody writes over either API (S280).

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{List, whole};
use crate::{control::EQUIPMENT_TYPES, model::EquipmentKind};

/// A type of equipment.
#[derive(Serialize, ToSchema)]
#[schema(as = EquipmentType)]
pub(crate) struct EquipmentTypeView {
    /// As equipment names it.
    name: &'static str,
    #[schema(value_type = String)]
    kind: EquipmentKind,
    /// For people.
    label: &'static str,
}

/// All types, by kind.
pub(crate) fn equipment_types() -> Json<List<EquipmentTypeView>> {
    whole(EQUIPMENT_TYPES.iter().map(|t| EquipmentTypeView { name: t.name, kind: t.kind, label: t.label }))
}
