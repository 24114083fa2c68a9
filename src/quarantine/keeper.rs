//! Takes rejected entries off the path of their batch: a bounded queue, and a thread that writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use metrics::{Counter, counter, gauge};

use super::{
    Config, Error,
    rejected::{Kept, RejectedFile},
};
use crate::{
    ingest::{Rejected, RejectedSink},
    telemetry::metrics::{QUARANTINE_REJECTED_ROWS, QUARANTINE_REJECTED_TOTAL},
};

/// How often what is too old is forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The sink of rejected entries. Dropping it writes what is queued, then returns.
pub(super) struct Keeper {
    queue: Option<SyncSender<Rejected>>,
    writer: Option<JoinHandle<()>>,
    queued_bytes: Arc<AtomicUsize>,
    queue_bytes_max: usize,
    overflowed: Counter,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("queued_bytes", &self.queued_bytes).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Starts the thread that writes into `file`.
    pub(super) fn start(file: Arc<RejectedFile>, config: &Config) -> Result<Self, Error> {
        let (queue, queued) = sync_channel(config.queue_batches_max);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let bytes = Arc::clone(&queued_bytes);
        let writer = std::thread::Builder::new()
            .name("quarantine".to_owned())
            .spawn(move || write_all(&file, &queued, &bytes))
            .map_err(Error::Thread)?;
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
            queued_bytes,
            queue_bytes_max: config.queue_bytes_max,
            overflowed: outcome("queue_full"),
        })
    }
}

fn outcome(outcome: &'static str) -> Counter {
    counter!(QUARANTINE_REJECTED_TOTAL, "outcome" => outcome)
}

impl RejectedSink for Keeper {
    fn keep(&self, rejected: Rejected) {
        let (bytes, count) = (rejected.body.len(), rejected.errors.len() as u64);
        let before = self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let queued = before + bytes <= self.queue_bytes_max
            && self.queue.as_ref().is_some_and(|queue| queue.try_send(rejected).is_ok());
        if !queued {
            self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.overflowed.increment(count);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already, and no acknowledgement hangs on it.
            let _ended = writer.join();
        }
    }
}

/// The writer's whole life: write, now and then sweep, until nobody can send any more.
fn write_all(file: &RejectedFile, queued: &Receiver<Rejected>, queued_bytes: &AtomicUsize) {
    let [kept, full, too_large, unreadable, failed] =
        ["kept", "full", "too_large", "unreadable", "failed"].map(outcome);
    let (mut is_failing, mut swept_at) = (false, None::<std::time::Instant>);
    loop {
        if swept_at.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            swept_at = Some(std::time::Instant::now());
            said(file.sweep(now_us()).map(|_| ()), &mut is_failing);
            show_rows(file);
        }
        let rejected = match queued.recv_timeout(SWEEP_EVERY) {
            Ok(rejected) => rejected,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let (bytes, count) = (rejected.body.len(), rejected.errors.len() as u64);
        let result = file.keep(&rejected, now_us());
        queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        match &result {
            Ok(Kept { kept: rows, full: no_room, too_large: large, unreadable: odd }) => {
                kept.increment(*rows);
                full.increment(*no_room);
                too_large.increment(*large);
                unreadable.increment(*odd);
            }
            Err(_) => failed.increment(count),
        }
        said(result.map(|_| ()), &mut is_failing);
        show_rows(file);
    }
}

/// Says once that writing fails.
fn said(result: Result<(), Error>, is_failing: &mut bool) {
    match result {
        Ok(()) => *is_failing = false,
        Err(error) if !*is_failing => {
            *is_failing = true;
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "rejected readings cannot be kept; they are counted as failed");
        }
        Err(_) => {}
    }
}

fn show_rows(file: &RejectedFile) {
    if let Ok(rows) = file.count() {
        gauge!(QUARANTINE_REJECTED_ROWS).set(rows as f64);
    }
}

pub(super) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
