//! When equipment last sent a reading, asked of the store.

use super::{Admin, problem::Problem, store::ask};
use crate::model::{EquipmentNumber, SeriesId};

/// Time of the latest reading of each of `equipment`, over all metrics, in microseconds (Unix).
pub(super) async fn of_all(admin: &Admin, equipment: Vec<EquipmentNumber>) -> Result<Vec<Option<i64>>, Problem> {
    let metrics: Vec<_> = admin.metrics.iter().map(|metric| metric.number).collect();
    if equipment.is_empty() || metrics.is_empty() {
        return Ok(vec![None; equipment.len()]);
    }
    ask(admin, move |store| {
        let series: Vec<SeriesId> =
            equipment.iter().flat_map(|number| metrics.iter().map(|metric| SeriesId::new(*number, *metric))).collect();
        let latest = store.latest(&series)?;
        Ok(latest
            .chunks(metrics.len())
            .map(|points| points.iter().flatten().map(|point| point.timestamp_us).max())
            .collect())
    })
    .await
}

/// Likewise, for a known number of them.
pub(super) async fn of<const N: usize>(
    admin: &Admin,
    equipment: [EquipmentNumber; N],
) -> Result<[Option<i64>; N], Problem> {
    let seen = of_all(admin, equipment.to_vec()).await?;
    Ok(seen.try_into().expect("one answer for each"))
}
