//! Reading back by room: a range of one metric of everything in it, piece by piece in order of registration, in pages
//! (S284).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, page::List, problem::Problem, readings::UNKNOWN_CURSOR, store::ask, time};
use crate::{
    control::EquipmentFilter,
    model::{EquipmentId, EquipmentNumber, Metric, OrganisationId, SeriesId},
    store::{Point, RANGE_POINTS_MAX},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "room-readings:";
/// Equipment looked at in one go.
const CHUNK: usize = 100;
/// Pieces without any reading in the range that one page passes over, at most: the rest is the next page's.
const CHUNKS_MAX: usize = 50;

/// A reading, and of which equipment it is.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomReading {
    #[schema(value_type = String, format = Uuid)]
    equipment_id: EquipmentId,
    external_id: Option<String>,
    timestamp: String,
    /// In the metric's own unit.
    value: f64,
    /// `good`, `uncertain` or `bad`.
    quality: &'static str,
}

/// Behind which reading of which equipment the next page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    equipment: EquipmentNumber,
    /// None: behind all of this equipment.
    after_us: Option<i64>,
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (number, time) = bytes.strip_prefix(CURSOR.as_bytes())?.split_first_chunk::<4>()?;
        let after_us = if time.is_empty() { None } else { Some(i64::from_be_bytes(time.try_into().ok()?)) };
        Some(Self { equipment: EquipmentNumber(u32::from_be_bytes(*number)), after_us })
    }

    fn write(self) -> String {
        let mut bytes = CURSOR.as_bytes().to_vec();
        bytes.extend(self.equipment.0.to_be_bytes());
        bytes.extend(self.after_us.map(i64::to_be_bytes).into_iter().flatten());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Of what, and when.
pub(super) struct Query {
    pub(super) organisation_id: OrganisationId,
    pub(super) filter: EquipmentFilter,
    pub(super) metric: Metric,
    /// Inclusive.
    pub(super) from_us: i64,
    /// Exclusive.
    pub(super) to_us: i64,
}

/// One page.
pub(super) async fn page(
    admin: &Admin,
    query: &Query,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Response, Problem> {
    // One more is read to know whether there is one.
    let limit = limit.min(RANGE_POINTS_MAX - 1);
    let mut items = Vec::new();
    let unknown = || Problem::parameter(UNKNOWN_CURSOR);
    let mut place = cursor.map(|text| Place::read(text).ok_or_else(unknown)).transpose()?;
    for _ in 0..CHUNKS_MAX {
        // The equipment of the place itself may have further readings.
        let after = place.map(|place| match place.after_us {
            Some(_) => EquipmentNumber(place.equipment.0.saturating_sub(1)),
            None => place.equipment,
        });
        let found = admin.control.equipment_after(query.organisation_id, query.filter.clone(), after, CHUNK).await?;
        let is_last = found.len() < CHUNK;
        for equipment in found {
            let after_us = place.filter(|place| place.equipment == equipment.number).and_then(|place| place.after_us);
            let missing = limit - items.len();
            let points =
                points(admin, query, SeriesId::new(equipment.number, query.metric.number), after_us, missing + 1);
            let mut points = points.await?;
            let goes_on = points.len() > missing;
            points.truncate(missing);
            // A page that is full ends before the equipment that has more.
            let last_us = points.last().map(|point| point.timestamp_us).or(after_us);
            items.extend(points.into_iter().map(|point| RoomReading {
                equipment_id: equipment.id,
                external_id: equipment.external_id.clone(),
                timestamp: time::format(point.timestamp_us),
                value: point.value,
                quality: point.quality.as_str(),
            }));
            if goes_on {
                let before = Place { equipment: EquipmentNumber(equipment.number.0.saturating_sub(1)), after_us: None };
                let next = last_us.map_or(before, |us| Place { equipment: equipment.number, after_us: Some(us) });
                return Ok(Json(List { items, next_cursor: Some(next.write()) }).into_response());
            }
            place = Some(Place { equipment: equipment.number, after_us: None });
        }
        if is_last {
            return Ok(Json(List { items, next_cursor: None }).into_response());
        }
    }
    Ok(Json(List { items, next_cursor: place.map(Place::write) }).into_response())
}

async fn points(
    admin: &Admin,
    query: &Query,
    series: SeriesId,
    after_us: Option<i64>,
    limit: usize,
) -> Result<Vec<Point>, Problem> {
    let (from_us, to_us) = (query.from_us, query.to_us);
    ask(admin, move |store| store.range(series, from_us, to_us, after_us, limit)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for after_us in [None, Some(i64::MIN), Some(0), Some(1_767_607_200_000_000)] {
            let place = Place { equipment: EquipmentNumber(7), after_us };
            assert_eq!(Place::read(&place.write()), Some(place));
        }
        assert_eq!(Place::read("AAAA"), None);
    }
}
