//! What the administrators' API asks of delivery: it does not know that room itself.

use std::sync::Arc;

use crate::{
    admin::Delivered,
    delivery::{Progress, Quarantine, What},
    model::{Reading, RequestId, SeriesId},
};

/// Delivery, as far as the search for a reading needs it.
pub(super) struct Whereabouts {
    pub(super) progress: Progress,
    pub(super) quarantine: Arc<Quarantine>,
}

impl Delivered for Whereabouts {
    fn written(&self) -> u64 {
        self.progress.written()
    }

    fn quarantined(
        &self,
        series: &[SeriesId],
        from_us: i64,
        to_us: i64,
    ) -> Result<Vec<(RequestId, Reading, String)>, String> {
        let mut found = Vec::new();
        for one in series {
            let entries = self.quarantine.of_series(*one, from_us, to_us).map_err(|error| error.to_string())?;
            found.extend(entries.into_iter().filter_map(|entry| match entry.what {
                What::Reading { header, reading, .. } => Some((header.request_id, reading, entry.reason)),
                What::Record(_) => None,
            }));
        }
        Ok(found)
    }
}
