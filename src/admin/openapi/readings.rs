//! Readings.

use utoipa::{IntoParams, ToSchema};

use crate::{
    admin::{latest::LatestReading, readings::ReadingList, room_readings::RoomReading},
    rest::page::List,
};

/// Of one series, or of a room.
#[derive(ToSchema)]
#[schema(as = ReadingPages)]
#[serde(untagged)]
pub(super) enum Pages {
    One(ReadingList),
    Room(List<RoomReading>),
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Range {
    /// The equipment, or `integration_id` and `external_id`, or `room` with or without `integration_id`.
    equipment_id: Option<uuid::Uuid>,
    integration_id: Option<uuid::Uuid>,
    external_id: Option<String>,
    /// All equipment in it, byte for byte: piece by piece, in order of registration.
    room: Option<String>,
    metric: String,
    /// Inclusive; RFC 3339.
    from: Option<String>,
    /// Exclusive; RFC 3339.
    to: Option<String>,
    /// Steps in place of readings: seconds, or `30s`, `5m`, `1h`, `1d`. Of a room, for CSV.
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
    /// The equipment, or `integration_id`, or that and `external_id`, or `room` with or without `integration_id`.
    equipment_id: Option<uuid::Uuid>,
    integration_id: Option<uuid::Uuid>,
    external_id: Option<String>,
    /// Byte for byte.
    room: Option<String>,
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
        (Pages = "application/json"),
        (String = "text/csv"),
    ))))]
pub(super) fn index() {}

/// Read the latest reading of each series, by its timestamp.
#[utoipa::path(get, path = "/admin/v1/readings/latest", tag = "readings", params(Latest),
    responses((status = 200, description = "A page.", body = List<LatestReading>)))]
pub(super) fn latest() {}
