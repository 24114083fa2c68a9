//! When equipment last sent a reading, asked of the store.

use super::{Admin, store::ask};
use crate::model::{EquipmentNumber, SeriesId};

/// Time of the latest reading of each of `equipment`, over all metrics, in microseconds (Unix). The registry does not
/// depend on the store: while that cannot be asked, nobody was seen.
pub(super) async fn of_all(admin: &Admin, equipment: Vec<EquipmentNumber>) -> Vec<Option<i64>> {
    let metrics: Vec<_> = admin.metrics.iter().map(|metric| metric.number).collect();
    let nobody = vec![None; equipment.len()];
    if equipment.is_empty() || metrics.is_empty() {
        return nobody;
    }
    let seen = ask(admin, move |store| {
        let series: Vec<SeriesId> =
            equipment.iter().flat_map(|number| metrics.iter().map(|metric| SeriesId::new(*number, *metric))).collect();
        let latest = store.latest(&series)?;
        Ok(latest
            .chunks(metrics.len())
            .map(|points| points.iter().flatten().map(|point| point.timestamp_us).max())
            .collect())
    });
    // Why it could not be asked is logged there.
    seen.await.unwrap_or(nobody)
}

/// Likewise, for one piece.
pub(super) async fn of(admin: &Admin, equipment: EquipmentNumber) -> Option<i64> {
    of_all(admin, vec![equipment]).await.into_iter().next().flatten()
}
