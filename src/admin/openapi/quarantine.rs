//! Quarantine.

use utoipa::{IntoParams, ToSchema};

use super::Paging;
use crate::{
    admin::quarantine::{DiscardView, ItemView, ReplayView},
    rest::page::List,
};

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    integration_id: Option<uuid::Uuid>,
    /// `refused` or `rejected`.
    kind: Option<String>,
    /// The entry code of rejected ones.
    code: Option<String>,
    external_id: Option<String>,
    request_id: Option<uuid::Uuid>,
    /// Held not before; RFC 3339.
    from: Option<String>,
    /// Held before; RFC 3339.
    to: Option<String>,
}

/// All conditions must hold.
#[derive(ToSchema)]
#[schema(as = QuarantineFilter)]
pub(super) struct FilterBody {
    #[schema(nullable = false)]
    integration_id: Option<uuid::Uuid>,
    /// `refused` or `rejected`.
    #[schema(nullable = false)]
    kind: Option<String>,
    #[schema(nullable = false)]
    code: Option<String>,
    #[schema(nullable = false)]
    external_id: Option<String>,
    #[schema(nullable = false)]
    request_id: Option<uuid::Uuid>,
    from: Option<String>,
    to: Option<String>,
}

/// Either `ids` or a `filter`.
#[derive(ToSchema)]
#[schema(as = QuarantineSelection)]
pub(super) struct Selection {
    #[schema(nullable = false, min_items = 1, max_items = 500)]
    ids: Option<Vec<String>>,
    #[schema(nullable = false)]
    filter: Option<FilterBody>,
    /// Of what the filter lets through, at most; 500 unless said otherwise.
    #[schema(nullable = false, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    #[schema(nullable = false, max_length = 4000)]
    reason: Option<String>,
}

/// Either `ids` or a `filter`; and why.
#[derive(ToSchema)]
#[schema(as = QuarantineDiscardSelection)]
pub(super) struct DiscardSelection {
    #[schema(nullable = false, min_items = 1, max_items = 500)]
    ids: Option<Vec<String>>,
    #[schema(nullable = false)]
    filter: Option<FilterBody>,
    /// Of what the filter lets through, at most; 500 unless said otherwise.
    #[schema(nullable = false, minimum = 1, maximum = 500)]
    limit: Option<u32>,
    #[schema(max_length = 4000)]
    reason: String,
}

/// List the readings that the store refused, then those that were rejected and kept, each oldest first.
#[utoipa::path(get, path = "/admin/v1/quarantine", tag = "quarantine", params(Filter, Paging),
    responses((status = 200, description = "A page.", body = List<ItemView>)))]
pub(super) fn index() {}

/// Read one of them.
#[utoipa::path(get, path = "/admin/v1/quarantine/{id}", tag = "quarantine", params(("id" = String, Path)),
    responses((status = 200, description = "The item.", body = ItemView)))]
pub(super) fn show() {}

/// Send them again. What is rejected again stays, with the new reason. To repeat the call is harmless.
#[utoipa::path(post, path = "/admin/v1/quarantine/replay", tag = "quarantine", request_body = Selection,
    responses((status = 200, description = "What became of each.", body = ReplayView)))]
pub(super) fn replay() {}

/// Let them go for good.
#[utoipa::path(post, path = "/admin/v1/quarantine/discard", tag = "quarantine", request_body = DiscardSelection,
    responses((status = 200, description = "How many are gone.", body = DiscardView)))]
pub(super) fn discard() {}
