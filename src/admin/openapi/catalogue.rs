//! Catalogues.

use crate::{
    admin::catalogue::{CategoryView, VendorView},
    rest::{page::List, taxonomy::EquipmentTypeView},
};

/// List the vendors. Needs no permission.
#[utoipa::path(get, path = "/admin/v1/vendors", tag = "catalogue",
    responses((status = 200, description = "All of them.", body = List<VendorView>)))]
pub(super) fn vendors() {}

/// List the scopes by category. Needs no permission.
#[utoipa::path(get, path = "/admin/v1/scopes", tag = "catalogue",
    responses((status = 200, description = "All of them.", body = List<CategoryView>)))]
pub(super) fn scopes() {}

/// List the types of equipment. Needs no permission.
#[utoipa::path(get, path = "/admin/v1/taxonomies/equipment-types", tag = "catalogue",
    responses((status = 200, description = "All of them.", body = List<EquipmentTypeView>)))]
pub(super) fn equipment_types() {}
