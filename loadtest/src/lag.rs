//! How long until an acked reading can be read back: every second one that was just acked is looked for until it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::admin_client::AdminClient;
use crate::load::{Fresh, Job};
use crate::readback::{pages, series_query};
use crate::setup::Estate;

/// A reading that has not shown for so long is given up: the read-back will tell what became of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A probe under way.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Duration>>,
}

impl Probe {
    /// Starts looking.
    #[must_use]
    pub fn start(job: Arc<Job>, admins: Vec<AdminClient>, estate: Estate) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return Vec::new();
            };
            runtime.block_on(look(&job, &admins, &estate, &stopped))
        });
        Self { stop, thread }
    }

    /// Ends it; gives the lags in microseconds, in order of time.
    #[must_use]
    pub fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default().into_iter().map(crate::measure::as_us).collect()
    }
}

async fn look(job: &Job, admins: &[AdminClient], estate: &Estate, stop: &AtomicBool) -> Vec<Duration> {
    let mut lags = Vec::new();
    // The last look comes after the end, so that a short run has one at all.
    let mut last = false;
    while !last {
        tokio::time::sleep(Duration::from_secs(1)).await;
        last = stop.load(Ordering::Relaxed);
        let fresh = job.fresh.lock().ok().and_then(|mut fresh| fresh.take());
        let Some(fresh) = fresh else { continue };
        // While the server is being restarted there is nothing to be seen.
        while !is_visible(job, admins, estate, fresh).await.unwrap_or(false) {
            if fresh.at.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        lags.push(Instant::now() - fresh.at);
    }
    lags
}

async fn is_visible(job: &Job, admins: &[AdminClient], estate: &Estate, fresh: Fresh) -> Result<bool> {
    let plan = &job.plan;
    let first = fresh.batch * u64::from(plan.readings_per_batch);
    let sound = (first..first + u64::from(plan.readings_per_batch))
        .find(|q| plan.reading(fresh.integration, *q, 0).fault.is_none());
    let Some(q) = sound else { return Ok(true) };
    let at_us = plan.reading(fresh.integration, q, 0).timestamp_us;
    let integration = &estate.integrations[fresh.integration as usize];
    let k = q % plan.series_each();
    let query = series_query(plan, &integration.id, fresh.integration, k, at_us, at_us + 1);
    Ok(!pages(&admins[integration.organisation], &query).await?.is_empty())
}
