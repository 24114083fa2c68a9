//! Lists: `{"items":[…],"next_cursor":…}`.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::Page;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// In the list's stable order.
    pub(crate) items: Vec<T>,
    /// For `cursor` of the next call; null: this was the last page.
    pub(crate) next_cursor: Option<String>,
}

/// `page` with its items as they are shown.
pub(crate) fn list<T, V: From<T>>(page: Page<T>) -> Json<List<V>> {
    Json(List { items: page.items.into_iter().map(V::from).collect(), next_cursor: page.next_cursor })
}

/// Everything there is, on one page.
pub(crate) fn whole<V>(items: impl IntoIterator<Item = V>) -> Json<List<V>> {
    Json(List { items: items.into_iter().collect(), next_cursor: None })
}
