//! What there is to choose from: vendors, scopes, types of equipment.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    caller::Member,
    page::{List, whole},
};
use crate::{
    control::VENDORS,
    model::{Scope, scope::Category},
    rest::taxonomy::{self, EquipmentTypeView},
};

/// A vendor of the registry.
#[derive(Serialize, ToSchema)]
#[schema(as = Vendor)]
pub(super) struct VendorView {
    /// As requests for integrations name it.
    name: &'static str,
    category: &'static str,
}

/// A category of scopes.
#[derive(Serialize, ToSchema)]
#[schema(as = ScopeCategory)]
pub(super) struct CategoryView {
    /// The category as people read it.
    category: &'static str,
    /// What it covers.
    covers: &'static str,
    /// `Operational`, `Operational (read-only)`, `Regulatory`, `Financial`, `PII` or `Administrative`.
    sensitivity: &'static str,
    /// Whether granting it raises a warning.
    sensitive: bool,
    /// The grants that there are.
    grants: Vec<&'static str>,
}

/// `GET /admin/v1/vendors`
pub(super) async fn vendors(_: Member) -> Json<List<VendorView>> {
    whole(VENDORS.iter().map(|vendor| VendorView { name: vendor.name, category: vendor.category }))
}

/// `GET /admin/v1/scopes`
pub(super) async fn scopes(_: Member) -> Json<List<CategoryView>> {
    whole(Category::ALL.into_iter().map(|category| CategoryView {
        category: category.label(),
        covers: category.covers(),
        sensitivity: category.sensitivity().as_str(),
        sensitive: category.sensitivity().is_sensitive(),
        grants: category.grants().map(Scope::as_str).collect(),
    }))
}

/// `GET /admin/v1/taxonomies/equipment-types`
pub(super) async fn equipment_types(_: Member) -> Json<List<EquipmentTypeView>> {
    taxonomy::equipment_types()
}
