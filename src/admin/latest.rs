//! The latest reading of series: of one piece of equipment, or of all of an integration or in a room.

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    caller::Administrator,
    page::List,
    parameters::Parameters,
    problem::Problem,
    series::{Series, named},
    store::ask,
    time,
};
use crate::{
    control::{Equipment, EquipmentFilter, page::PAGE_MAX},
    model::{EquipmentId, EquipmentNumber, Metric, MetricNumber, OrganisationId, SeriesId},
};

/// Keeps the cursors of this list out of others.
const CURSOR: &str = "latest:";
/// Equipment looked at in one go.
const CHUNK: usize = 200;
/// Such goes of one call, at most: an integration whose equipment never sent anything ends in a cursor, not a wait.
const CHUNKS_MAX: usize = 25;

/// The latest reading of a series, by its timestamp.
#[derive(Serialize, ToSchema)]
pub(super) struct LatestReading {
    #[schema(value_type = String, format = Uuid)]
    equipment_id: EquipmentId,
    external_id: Option<String>,
    room: Option<String>,
    metric: String,
    unit: String,
    timestamp: String,
    value: f64,
    /// `good`, `uncertain` or `bad`.
    quality: &'static str,
}

/// `GET /admin/v1/readings/latest`
pub(super) async fn index(
    State(admin): State<Admin>,
    Administrator(actor): Administrator,
    mut parameters: Parameters,
) -> Result<Json<List<LatestReading>>, Problem> {
    let series = Series::named_by(&mut parameters)?;
    let names = parameters.texts("metric");
    let limit = parameters.read("limit", "a whole number from 1 to 200", |text| {
        text.parse().ok().filter(|limit| (1..=PAGE_MAX as usize).contains(limit))
    })?;
    let cursor = parameters.read("cursor", "one that this list gave out", Place::read)?;
    parameters.finish()?;
    let metrics: Vec<Metric> = if names.is_empty() {
        admin.metrics.iter().cloned().collect()
    } else {
        names.iter().map(|name| named(&admin, name).cloned()).collect::<Result<_, _>>()?
    };
    let mut search = Search { admin: &admin, metrics, limit: limit.unwrap_or(PAGE_MAX as usize), items: Vec::new() };
    let next = match series {
        Series::Many(filter) => {
            if let Some(integration_id) = filter.integration_id {
                // Another organisation's integration is not found (S008).
                admin.control.integration(actor.organisation_id, integration_id).await?;
            }
            search.all(actor.organisation_id, filter, cursor).await?
        }
        one => {
            let equipment = one.equipment(&admin, actor.organisation_id).await?;
            search.of(vec![equipment], cursor).await?
        }
    };
    Ok(Json(List { items: search.items, next_cursor: next.map(Place::write) }))
}

/// The series that the next page begins behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    equipment: EquipmentNumber,
    /// Its place among the metrics asked for; none: behind all of them.
    metric: MetricNumber,
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let series = u64::from_be_bytes(bytes.strip_prefix(CURSOR.as_bytes())?.try_into().ok()?);
        let series = SeriesId::from_u64(series);
        Some(Self { equipment: series.equipment(), metric: series.metric() })
    }

    fn write(self) -> String {
        let series = SeriesId::new(self.equipment, self.metric).as_u64();
        URL_SAFE_NO_PAD.encode([CURSOR.as_bytes(), &series.to_be_bytes()].concat())
    }
}

struct Search<'a> {
    admin: &'a Admin,
    metrics: Vec<Metric>,
    limit: usize,
    items: Vec<LatestReading>,
}

impl Search<'_> {
    /// Goes through the equipment that `filter` lets through, from `cursor` on. Gives where the next page begins.
    async fn all(
        &mut self,
        organisation_id: OrganisationId,
        filter: EquipmentFilter,
        cursor: Option<Place>,
    ) -> Result<Option<Place>, Problem> {
        // The equipment of the cursor itself may have further metrics.
        let mut after = cursor.map(|place| EquipmentNumber(place.equipment.0.saturating_sub(1)));
        for _ in 0..CHUNKS_MAX {
            let found = self.admin.control.equipment_after(organisation_id, filter.clone(), after, CHUNK).await?;
            let is_last = found.len() < CHUNK;
            after = found.last().map(|equipment| equipment.number).or(after);
            let full = self.of(found, cursor).await?;
            if full.is_some() || is_last {
                return Ok(full);
            }
        }
        Ok(after.map(|equipment| Place { equipment, metric: MetricNumber(u16::MAX) }))
    }

    /// Adds what `equipment` has sent last, behind `cursor`. Gives the last place where the page became full.
    async fn of(&mut self, equipment: Vec<Equipment>, cursor: Option<Place>) -> Result<Option<Place>, Problem> {
        self.metrics.sort_by_key(|metric| metric.number);
        self.metrics.dedup_by_key(|metric| metric.number);
        let places: Vec<(usize, usize)> = (0..equipment.len())
            .flat_map(|one| (0..self.metrics.len()).map(move |metric| (one, metric)))
            .filter(|(one, metric)| {
                let place = Place { equipment: equipment[*one].number, metric: self.metrics[*metric].number };
                cursor.is_none_or(|cursor| place > cursor)
            })
            .collect();
        let series: Vec<SeriesId> = places
            .iter()
            .map(|(one, metric)| SeriesId::new(equipment[*one].number, self.metrics[*metric].number))
            .collect();
        let points = ask(self.admin, move |store| store.latest(&series)).await?;
        let mut last = None;
        for ((one, metric), point) in places.into_iter().zip(points) {
            let Some(point) = point else { continue };
            if self.items.len() == self.limit {
                return Ok(last);
            }
            let (one, metric) = (&equipment[one], &self.metrics[metric]);
            last = Some(Place { equipment: one.number, metric: metric.number });
            self.items.push(LatestReading {
                equipment_id: one.id,
                external_id: one.external_id.clone(),
                room: one.room.clone(),
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                timestamp: time::format(point.timestamp_us),
                value: point.value,
                quality: point.quality.as_str(),
            });
        }
        Ok(None)
    }
}
