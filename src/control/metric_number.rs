//! The numbers of metrics, which stand in stored series.

use rusqlite::OptionalExtension;

use super::{Control, Error};
use crate::model::MetricNumber;

impl Control {
    /// The number of each of `names`, in their order. A name keeps its number for ever, also while the configuration
    /// does not have it; a new name gets the next one.
    pub async fn metric_numbers(&self, names: Vec<String>) -> Result<Vec<MetricNumber>, Error> {
        self.write(move |tx| {
            let mut find = tx.prepare_cached("SELECT number FROM metrics WHERE name = ?1")?;
            let mut add = tx.prepare_cached(
                "INSERT INTO metrics (number, name) SELECT 1 + coalesce(max(number), 0), ?1 FROM metrics
                 RETURNING number",
            )?;
            let mut numbers = Vec::with_capacity(names.len());
            for name in &names {
                let known: Option<u16> = find.query_row([name], |row| row.get(0)).optional()?;
                let number = match known {
                    Some(number) => number,
                    None => add.query_row([name], |row| row.get(0))?,
                };
                numbers.push(MetricNumber(number));
            }
            Ok(numbers)
        })
        .await
    }
}
