//! What integrations have used: the daily quota, and when a key was last seen. Kept apart from the integrations' own
//! rows, whose versions count decisions, not traffic.

use super::{Control, Error};
use crate::model::IntegrationId;

/// Requests that an integration has used of one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Whose.
    pub integration_id: IntegrationId,
    /// Days since 1970-01-01.
    pub utc_day: u64,
    /// Requests.
    pub used: u32,
}

/// When a key was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage {
    /// Whose.
    pub integration_id: IntegrationId,
    /// Which of its keys.
    pub generation: u64,
    /// When, in microseconds (Unix). The caller decides how coarse.
    pub last_used_at_us: i64,
}

impl Control {
    /// Saves what was used of daily quotas, in one transaction. A count never goes back within its day (S232).
    pub async fn save_quota_usage(&self, usage: Vec<QuotaUsage>) -> Result<(), Error> {
        if usage.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            let mut statement = tx.prepare_cached(
                "INSERT INTO quota_usage (integration_id, utc_day, used)
                 SELECT id, ?2, ?3 FROM integrations WHERE id = ?1
                 ON CONFLICT (integration_id) DO UPDATE SET utc_day = excluded.utc_day, used = excluded.used
                   WHERE (excluded.utc_day, excluded.used) > (utc_day, used)",
            )?;
            for one in &usage {
                statement.execute((one.integration_id, one.utc_day, one.used))?;
            }
            Ok(())
        })
        .await
    }

    /// What was saved, for the start.
    pub async fn quota_usage(&self) -> Result<Vec<QuotaUsage>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT integration_id, utc_day, used FROM quota_usage")?;
            let usage = statement.query_map([], |row| {
                Ok(QuotaUsage { integration_id: row.get(0)?, utc_day: row.get(1)?, used: row.get(2)? })
            })?;
            Ok(usage.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Saves when keys were last used, in one transaction. A time never goes back.
    pub async fn save_key_usage(&self, usage: Vec<KeyUsage>) -> Result<(), Error> {
        if usage.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            let mut statement = tx.prepare_cached(
                "INSERT INTO key_usage (integration_id, generation, last_used_at_us)
                 SELECT integration_id, generation, ?3 FROM api_keys WHERE integration_id = ?1 AND generation = ?2
                 ON CONFLICT (integration_id, generation) DO UPDATE SET last_used_at_us = excluded.last_used_at_us
                   WHERE excluded.last_used_at_us > last_used_at_us",
            )?;
            for one in &usage {
                statement.execute((one.integration_id, one.generation, one.last_used_at_us))?;
            }
            Ok(())
        })
        .await
    }
}
