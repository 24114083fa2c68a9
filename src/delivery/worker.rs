//! The loop of delivery.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio_util::sync::CancellationToken;

use super::{
    Args, Config, Entry, Progress, Quarantine, What,
    group::{Group, Undecodable},
    meters::Meters,
};
use crate::{
    model::{
        Backoff,
        record::{HEADER_BYTES, READING_BYTES},
    },
    spool::{Block, Reader},
    store::{self, Store},
    telemetry::health::Health,
};

const COMPONENT: &str = "delivery";

pub(super) struct Worker {
    reader: Reader,
    store: Arc<dyn Store>,
    quarantine: Arc<Quarantine>,
    config: Config,
    health: Health,
    progress: Progress,
    shutdown: CancellationToken,
    meters: Meters,
    group: Group,
    backoff: Backoff,
    /// Whether it is known where to begin.
    started: bool,
    /// Position of the newest record when the spool was opened.
    synced_at_open: u64,
    trouble: Option<Trouble>,
}

/// What stands in the way, since when, and whether it has been said.
struct Trouble {
    since: Instant,
    logged: String,
    complained: bool,
}

impl Worker {
    pub(super) fn new(args: Args, progress: Progress, shutdown: CancellationToken) -> Self {
        let Args { reader, store, quarantine, config, health } = args;
        let backoff =
            Backoff::new(Duration::from_millis(config.retry_ms_min), Duration::from_millis(config.retry_ms_max));
        let synced_at_open = reader.synced();
        let (meters, group) = (Meters::new(), Group::default());
        Self {
            reader,
            store,
            quarantine,
            config,
            health,
            progress,
            shutdown,
            meters,
            group,
            backoff,
            started: false,
            synced_at_open,
            trouble: None,
        }
    }

    /// Begins behind what the store has; where it does not know, behind what was released.
    pub(super) fn find_start(&mut self) -> Result<(), store::Error> {
        if let Some(delivered) = self.store.delivered()? {
            if delivered > self.synced_at_open {
                tracing::error!(
                    delivered,
                    spool = self.synced_at_open,
                    "the store has seen more than the spool: was the spool restored from a copy, or replaced? \
                     What it still holds counts as delivered"
                );
                self.reader.skip_positions(delivered);
            } else if delivered < self.reader.released() && delivered + 1 < self.reader.earliest() {
                tracing::error!(
                    delivered,
                    earliest = self.reader.earliest(),
                    "the store has less than the spool delivered to it, and what is between them is no longer in the \
                     spool: was the store restored from a copy?"
                );
            }
            self.reader.seek(delivered + 1);
            self.progress.begin_at(delivered);
            self.released(delivered);
        }
        self.started = true;
        Ok(())
    }

    pub(super) async fn run(mut self) {
        let _guard = ComplainOnPanic(self.health.clone());
        self.show_quarantine();
        while !self.shutdown.is_cancelled() {
            if let ControlFlow::Break(()) = self.round().await {
                break;
            }
        }
        match self.store.flush() {
            Ok(delivered) => self.released(delivered.unwrap_or_default()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the store did not write down what it held; it comes again after the start");
            }
        }
        tracing::info!(delivered = self.progress.delivered(), "delivery has stopped");
    }

    /// Brings one group into the store. Breaks when it is time to stop.
    async fn round(&mut self) -> ControlFlow<()> {
        while !self.started {
            if let Err(error) = self.find_start() {
                self.wait_out(&error, error.is_transient()).await?;
            }
        }
        let blocks = loop {
            match self.next().await? {
                Ok(blocks) => break blocks,
                Err(error) => self.wait_out(&error, false).await?,
            }
        };
        self.all_is_well();
        if blocks.is_empty() {
            self.idle();
            return ControlFlow::Continue(());
        }
        let undecodable = self.group.fill(blocks);
        self.quarantine_records(&undecodable).await?;
        self.write().await
    }

    async fn next(&mut self) -> ControlFlow<(), Result<Vec<Block>, crate::spool::Error>> {
        let wait = Duration::from_millis(self.config.delay_ms_max);
        let bytes_max = self.config.group_readings_max * READING_BYTES + HEADER_BYTES;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => ControlFlow::Break(()),
            blocks = self.reader.next(bytes_max, wait) => ControlFlow::Continue(blocks),
        }
    }

    /// Nothing came: what the store held back may be durable by now.
    fn idle(&mut self) {
        self.meters.backlog_seconds.set(0.0);
        if let Ok(Some(delivered)) = self.store.delivered() {
            self.released(delivered);
        }
    }

    /// Writes the group, however long it takes.
    async fn write(&mut self) -> ControlFlow<()> {
        let Some(upto) = self.group.upto() else { return ControlFlow::Continue(()) };
        loop {
            self.show_age();
            let started = Instant::now();
            let (count, result) = (self.group.readings.len(), self.store.write(&mut self.group.readings, upto));
            match result {
                Ok(summary) => {
                    self.meters.write_seconds.record(started.elapsed());
                    self.meters.groups.increment(1);
                    self.meters.readings.increment(count as u64);
                    self.progress.set_written(upto);
                    self.released(summary.delivered.unwrap_or_default());
                    self.all_is_well();
                    return ControlFlow::Continue(());
                }
                Err(store::Error::Refused { indices, reason }) if self.may_refuse(&indices) => {
                    self.quarantine_readings(&indices, &reason).await?;
                }
                Err(error) => {
                    self.wait_out(&error, error.is_transient()).await?;
                    self.group.restore();
                }
            }
        }
    }

    fn may_refuse(&self, indices: &[usize]) -> bool {
        !indices.is_empty() && indices.iter().all(|index| *index < self.group.readings.len())
    }

    async fn quarantine_readings(&mut self, indices: &[usize], reason: &str) -> ControlFlow<()> {
        let picked = self.group.pick(indices).unwrap_or_default();
        let now_us = now_us();
        let entries: Vec<_> = picked
            .iter()
            .map(|((position, ordinal), header, reading)| Entry {
                id: 0,
                position: *position,
                quarantined_us: now_us,
                reason: reason.to_owned(),
                what: What::Reading { header: *header, ordinal: *ordinal, reading: *reading },
            })
            .collect();
        self.put(&entries).await?;
        tracing::error!(readings = entries.len(), reason, "readings that the store refuses are in quarantine");
        self.group.refuse(picked.into_iter().map(|(origin, ..)| origin));
        ControlFlow::Continue(())
    }

    async fn quarantine_records(&mut self, undecodable: &[Undecodable]) -> ControlFlow<()> {
        if undecodable.is_empty() {
            return ControlFlow::Continue(());
        }
        let now_us = now_us();
        let entries: Vec<_> = undecodable
            .iter()
            .map(|Undecodable { block, error }| Entry {
                id: 0,
                position: block.position,
                quarantined_us: now_us,
                reason: error.to_string(),
                what: What::Record(block.record.to_vec()),
            })
            .collect();
        self.put(&entries).await?;
        tracing::error!(
            records = entries.len(),
            reason = entries[0].reason,
            "records of unknown form are in quarantine"
        );
        ControlFlow::Continue(())
    }

    /// Puts `entries` in quarantine, however long it takes: nothing is dropped.
    async fn put(&mut self, entries: &[Entry]) -> ControlFlow<()> {
        while let Err(error) = self.quarantine.put(entries) {
            self.wait_out(&error, false).await?;
        }
        self.meters.quarantined.increment(entries.len() as u64);
        self.show_quarantine();
        ControlFlow::Continue(())
    }

    /// The store has everything up to `position` on disk.
    fn released(&mut self, position: u64) {
        self.reader.release(position);
        self.progress.set_delivered(position);
    }

    /// Says what is in the way, once, and pauses. Breaks when it is time to stop.
    async fn wait_out<E: std::error::Error + 'static>(&mut self, error: &E, will_pass: bool) -> ControlFlow<()> {
        self.meters.retries.increment(1);
        self.show_age();
        let text = error.to_string();
        let complain_after = if will_pass { Duration::from_secs(self.config.complain_after_s) } else { Duration::ZERO };
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: Instant::now(),
            logged: String::new(),
            complained: false,
        });
        if trouble.logged != text {
            let error: &dyn std::error::Error = error;
            if will_pass {
                tracing::warn!(error, "the store takes nothing for now; accepted readings wait in the spool");
            } else {
                tracing::error!(
                    error,
                    "nothing is delivered until this is mended; accepted readings wait in the spool"
                );
            }
            trouble.logged.clone_from(&text);
        }
        if !trouble.complained && trouble.since.elapsed() >= complain_after {
            trouble.complained = true;
            self.health.set(COMPONENT, Err(format!("readings wait in the spool: {text}")));
        }
        let pause = self.backoff.pause();
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => ControlFlow::Break(()),
            () = tokio::time::sleep(pause) => ControlFlow::Continue(()),
        }
    }

    fn all_is_well(&mut self) {
        self.backoff.reset();
        if let Some(trouble) = self.trouble.take() {
            tracing::info!(seconds = trouble.since.elapsed().as_secs(), "delivery goes on");
            self.health.set(COMPONENT, Ok(()));
        }
    }

    fn show_age(&self) {
        let age_us = self.group.oldest_received_us().map_or(0, |received_us| (now_us() - received_us).max(0));
        self.meters.backlog_seconds.set(age_us as f64 / 1e6);
    }

    fn show_quarantine(&self) {
        if let Ok(rows) = self.quarantine.count() {
            self.meters.quarantine_rows.set(rows as f64);
        }
    }
}

fn now_us() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros() as i64)
}

struct ComplainOnPanic(Health);

impl Drop for ComplainOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set(COMPONENT, Err("the thread that delivers panicked: restart the service".to_owned()));
        }
    }
}
