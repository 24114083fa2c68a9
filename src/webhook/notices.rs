//! What happens to readings, counted in memory and told in the background.
//!
//! On the path of a batch there is one short lock, and only where something was refused; the control plane is asked by
//! a task of its own, every few seconds. What is more than there is room for is dropped and counted: readings never
//! wait for a notice.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

use metrics::counter;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    control::{Control, QuotaNotice, ReadingsNotice},
    journal::{Journal, Record},
    model::{IntegrationId, RequestId, WebhookEvent},
    telemetry::metrics::WEBHOOK_EVENTS_DROPPED_TOTAL,
};

/// Request ids that one event names, at most.
const REQUEST_IDS_MAX: usize = 20;

/// Who has used how much of a daily quota: asked every few seconds, by the task, not by requests.
pub type QuotaFigures = Arc<dyn Fn() -> Vec<QuotaNotice> + Send + Sync>;

/// Sums up what is to be told. Cheap to share.
pub struct Notices {
    sums: Mutex<HashMap<(IntegrationId, WebhookEvent), ReadingsNotice>>,
    sums_max: usize,
    every: Duration,
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").field("sums_max", &self.sums_max).finish_non_exhaustive()
    }
}

impl Notices {
    /// Sums up over `every`, of `sums_max` integrations at a time.
    #[must_use]
    pub fn new(sums_max: usize, every: Duration) -> Self {
        Self { sums: Mutex::default(), sums_max, every }
    }

    /// A reading of `integration_id` that had come with `request_id` was put into quarantine at `at_us`.
    pub fn quarantined(&self, integration_id: IntegrationId, request_id: RequestId, at_us: i64) {
        self.add(integration_id, WebhookEvent::ReadingsQuarantined, request_id, at_us, 1, &mut std::iter::empty());
    }

    fn add(
        &self,
        integration_id: IntegrationId,
        event: WebhookEvent,
        request_id: RequestId,
        at_us: i64,
        readings: u64,
        codes: &mut dyn Iterator<Item = &'static str>,
    ) {
        let mut sums = self.sums.lock();
        let full = sums.len() >= self.sums_max;
        let sum = match sums.entry((integration_id, event)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => {
                counter!(WEBHOOK_EVENTS_DROPPED_TOTAL, "reason" => "notices_full").increment(1);
                return;
            }
            Entry::Vacant(entry) => entry.insert(ReadingsNotice {
                integration_id,
                event,
                span_us: (at_us, at_us),
                readings: 0,
                codes: BTreeMap::new(),
                requests: 0,
                request_ids: Vec::new(),
            }),
        };
        sum.span_us = (sum.span_us.0.min(at_us), sum.span_us.1.max(at_us));
        sum.readings += readings;
        for code in codes {
            *sum.codes.entry(code).or_default() += 1;
        }
        // Readings of one request come one behind the other.
        if sum.request_ids.last() != Some(&request_id) {
            sum.requests += 1;
            if sum.request_ids.len() < REQUEST_IDS_MAX {
                sum.request_ids.push(request_id);
            }
        }
    }

    /// Hands over what was summed up, and who has used how much, until `shutdown`.
    pub async fn run(self: Arc<Self>, control: Control, figures: QuotaFigures, shutdown: CancellationToken) {
        while timeout(self.every, shutdown.cancelled()).await.is_err() {
            self.hand_over(&control, &figures).await;
        }
        self.hand_over(&control, &figures).await;
    }

    async fn hand_over(&self, control: &Control, figures: &QuotaFigures) {
        let notices: Vec<_> = mem::take(&mut *self.sums.lock()).into_values().collect();
        let count = notices.len() as u64;
        if let Err(error) = control.emit_readings_notices(notices).await {
            counter!(WEBHOOK_EVENTS_DROPPED_TOTAL, "reason" => "unwritten").increment(count);
            tracing::warn!(error = &error as &dyn std::error::Error, "Nobody is told of refused readings.");
        }
        let quotas = figures().into_iter().filter(|notice| notice.level().is_some()).collect();
        if let Err(error) = control.emit_quota_notices(quotas).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "Nobody is told of quotas for now.");
        }
    }
}

impl Journal for Notices {
    fn record(&self, record: &Record<'_>) {
        let (Some(integration_id), Some(counts)) = (record.integration_id, record.readings) else { return };
        if counts.rejected == 0 {
            return;
        }
        let codes = &mut record.rejected.iter().map(|entry| entry.code.as_str());
        let event = WebhookEvent::ReadingsRejected;
        self.add(integration_id, event, record.request_id, record.at_us, counts.rejected.into(), codes);
    }
}
