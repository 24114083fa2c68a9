//! `sensorgate scopes`, `vendors`, `equipment-types`: what there is to choose from.

use clap::Args;

use super::{context::Context, error::Result, options::Options, table::Column};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) options: Options,
}

pub(super) async fn scopes(cx: &Context) -> Result {
    const COLUMNS: &[Column<'_>] = &[
        Column::new("CATEGORY", "category"),
        Column::new("GRANTS", "grants"),
        Column::new("SENSITIVITY", "sensitivity"),
        Column::new("COVERS", "covers"),
    ];
    list(cx, "/admin/v1/scopes", COLUMNS).await
}

pub(super) async fn vendors(cx: &Context) -> Result {
    list(cx, "/admin/v1/vendors", &[Column::new("NAME", "name"), Column::new("CATEGORY", "category")]).await
}

pub(super) async fn equipment_types(cx: &Context) -> Result {
    const COLUMNS: &[Column<'_>] =
        &[Column::new("TYPE", "name"), Column::new("KIND", "kind"), Column::new("MEANING", "label")];
    list(cx, "/admin/v1/taxonomies/equipment-types", COLUMNS).await
}

async fn list(cx: &Context, path: &str, columns: &[Column<'_>]) -> Result {
    cx.out.list(&cx.client.get(path).whole().await?, columns, |_| {})
}
