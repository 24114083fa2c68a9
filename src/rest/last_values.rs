//! When equipment last sent a reading, and what: asked of the store, one question a page.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, store::ask, time};
use crate::model::{EquipmentNumber, SeriesId};

/// The latest reading of one metric, by its timestamp.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LastValue {
    /// RFC 3339, UTC.
    timestamp: String,
    value: f64,
    /// The metric's own unit.
    unit: String,
    /// `good`, `uncertain` or `bad`.
    quality: &'static str,
}

/// What a piece of equipment sent last.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastSeen {
    /// Time of the latest reading of all metrics, in microseconds (Unix).
    pub(crate) at_us: Option<i64>,
    /// By metric.
    pub(crate) values: BTreeMap<String, LastValue>,
}

/// What each of `equipment` sent last. The registry does not depend on the store: while that cannot be asked, nobody
/// was seen.
pub(crate) async fn of_all(api: &impl Api, equipment: Vec<EquipmentNumber>) -> Vec<LastSeen> {
    let metrics: Vec<_> = api.metrics().iter().cloned().collect();
    let nobody = vec![LastSeen::default(); equipment.len()];
    if equipment.is_empty() || metrics.is_empty() {
        return nobody;
    }
    let seen = ask(api, move |store| {
        let series: Vec<SeriesId> = equipment
            .iter()
            .flat_map(|number| metrics.iter().map(|metric| SeriesId::new(*number, metric.number)))
            .collect();
        let latest = store.latest(&series)?;
        let one = |points: &[Option<crate::store::Point>]| {
            let mut seen = LastSeen::default();
            for (metric, point) in metrics.iter().zip(points) {
                let Some(point) = point else { continue };
                seen.at_us = seen.at_us.max(Some(point.timestamp_us));
                let value = LastValue {
                    timestamp: time::format(point.timestamp_us),
                    value: point.value,
                    unit: metric.unit.clone(),
                    quality: point.quality.as_str(),
                };
                seen.values.insert(metric.name.clone(), value);
            }
            seen
        };
        Ok(latest.chunks(metrics.len()).map(one).collect())
    });
    // Why it could not be asked is logged there.
    seen.await.unwrap_or(nobody)
}

/// Likewise, for one piece.
pub(crate) async fn of(api: &impl Api, equipment: EquipmentNumber) -> LastSeen {
    of_all(api, vec![equipment]).await.into_iter().next().unwrap_or_default()
}
