//! Readings.

use utoipa::IntoParams;

use crate::admin::{latest::LatestReading, page::List, readings::ReadingList};

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Range {
    /// The equipment, or `integration_id` and `external_id`.
    equipment_id: Option<uuid::Uuid>,
    integration_id: Option<uuid::Uuid>,
    external_id: Option<String>,
    metric: String,
    /// Inclusive; RFC 3339.
    from: Option<String>,
    /// Exclusive; RFC 3339.
    to: Option<String>,
    /// Steps in place of readings: seconds, or `30s`, `5m`, `1h`, `1d`.
    resolution: Option<String>,
    /// `json` (in pages) or `csv` (whole).
    format: Option<String>,
    cursor: Option<String>,
    /// Items of the page; 1,000 unless said otherwise.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Latest {
    /// The equipment, or `integration_id`, or that and `external_id`.
    equipment_id: Option<uuid::Uuid>,
    integration_id: Option<uuid::Uuid>,
    external_id: Option<String>,
    /// One or several, with commas; all unless given.
    metric: Option<String>,
    cursor: Option<String>,
    /// Items of the page; 200 unless said otherwise.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Read a range of one series, earliest first.
#[utoipa::path(get, path = "/admin/v1/readings", tag = "readings", params(Range),
    responses((status = 200, description = "A page, or with `format=csv` all of it.", content(
        (ReadingList = "application/json"),
        (String = "text/csv"),
    ))))]
pub(super) fn index() {}

/// Read the latest reading of each series, by its timestamp.
#[utoipa::path(get, path = "/admin/v1/readings/latest", tag = "readings", params(Latest),
    responses((status = 200, description = "A page.", body = List<LatestReading>)))]
pub(super) fn latest() {}
