//! The tasks of one generator thread: take a turn, send a batch, write down what was promised.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use super::answer::{self, Judged};
use super::line::{Line, Reply, SessionLine};
use super::{FINISH, Fresh, Job, Prepared, receipt};
use crate::connection::Failure;
use crate::ledger::Book;
use crate::measure::{End, Sample, Tally, as_us};
use crate::mqtt::Client;
use crate::profile::{Load, OnRefusal};
use crate::schedule::Pace;

/// Occasions that are drawn by chance.
const RESEND: u64 = 1;
const REWRITE: u64 = 2;

/// What the tasks of a thread share.
#[derive(Debug)]
pub(super) struct Desk {
    job: Arc<Job>,
    pace: Pace,
    integrations: Vec<u32>,
    books: RefCell<Vec<Book>>,
    tally: RefCell<Tally>,
    prepared: Prepared,
    next: std::cell::Cell<usize>,
}

impl Desk {
    pub(super) fn new(
        job: Arc<Job>,
        pace: Pace,
        integrations: Vec<u32>,
        books: Vec<Book>,
        prepared: Prepared,
    ) -> Rc<Self> {
        let (books, tally) = (RefCell::new(books), RefCell::new(Tally::default()));
        Rc::new(Self { job, pace, integrations, books, tally, prepared, next: std::cell::Cell::new(0) })
    }

    fn body(&self, integration: u32, batch: u64, revision: u8) -> Result<Bytes> {
        if revision == 0
            && let Some(body) = self.prepared.get(&(integration, batch))
        {
            return Ok(body.clone());
        }
        self.job.template.encode(&self.job.plan, integration, batch, revision)
    }

    /// Opens the next batch: of the integration that a line is `bound` to, or of one integration after the other, so
    /// that all stay as far within their limits as can be.
    fn open(&self, bound: Option<usize>) -> Result<Parcel> {
        let local = bound.unwrap_or_else(|| {
            let local = self.next.get();
            self.next.set((local + 1) % self.integrations.len());
            local
        });
        let batch = self.books.borrow_mut()[local].open();
        if batch >= self.job.plan.batches_max() {
            return Err(anyhow!("the time window is used up: lower step_ms or take more sensors"));
        }
        Ok(Parcel { local, integration: self.integrations[local], batch, revision: 0 })
    }
}

/// One batch on its way.
#[derive(Debug, Clone, Copy)]
struct Parcel {
    /// Index of the integration in this thread.
    local: usize,
    integration: u32,
    batch: u64,
    revision: u8,
}

/// The lines of one thread.
#[derive(Debug)]
pub(super) struct Lines {
    /// HTTP connections.
    pub(super) connections: usize,
    /// MQTT sessions, by their number in the run.
    pub(super) sessions: Vec<u32>,
}

/// Runs `lines` until the end of the load; gives back what the thread knows.
pub(super) async fn run(desk: Rc<Desk>, lines: Lines) -> Result<(Vec<u32>, Vec<Book>, Tally)> {
    let profile = desk.job.profile.clone();
    let mut workers = Vec::new();
    for _ in 0..lines.connections {
        let shared = Rc::new(RefCell::new(None));
        workers.extend((0..profile.streams).map(|_| Line::Http { shared: Rc::clone(&shared), own: None }));
    }
    for (place, number) in lines.sessions.into_iter().enumerate() {
        let version = profile.mqtt.versions[number as usize % profile.mqtt.versions.len()];
        let client = Client { id: format!("load-{number}"), version, results: profile.mqtt.results };
        let line = Rc::new(SessionLine::new(place % desk.integrations.len(), client));
        workers.extend((0..profile.mqtt.in_flight).map(|_| Line::Mqtt(Rc::clone(&line))));
    }
    let tasks: Vec<_> = workers
        .into_iter()
        .map(|line| tokio::task::spawn_local(Worker { desk: Rc::clone(&desk), line }.work()))
        .collect();
    for task in tasks {
        task.await.map_err(|_| anyhow!("a connection's task panicked"))??;
    }
    let desk = Rc::into_inner(desk).context("a task is still running")?;
    Ok((desk.integrations, desk.books.into_inner(), desk.tally.into_inner()))
}

struct Worker {
    desk: Rc<Desk>,
    line: Line,
}

impl Worker {
    async fn work(mut self) -> Result<()> {
        let job = Arc::clone(&self.desk.job);
        tokio::time::sleep_until(job.clock.start.into()).await;
        while let Some(turn) = self.desk.pace.turn().await {
            let parcel = self.desk.open(self.line.local())?;
            let body = self.desk.body(parcel.integration, parcel.batch, 0)?;
            let intended = turn.intended.unwrap_or_else(Instant::now);
            if turn.waited && job.clock.is_measured(intended) {
                self.desk.tally.borrow_mut().lateness.saturating_record(as_us(intended.elapsed()));
            }
            if !self.deliver(parcel, body.clone(), intended).await {
                continue;
            }
            let data = &job.profile.data;
            let draws = |salt, share| job.plan.draws(parcel.integration, parcel.batch, salt, share);
            if draws(RESEND, data.resend_share) {
                self.deliver(parcel, body, Instant::now()).await;
            }
            if draws(REWRITE, data.rewrite_share) {
                let parcel = Parcel { revision: 1, ..parcel };
                let body = self.desk.body(parcel.integration, parcel.batch, 1)?;
                self.deliver(parcel, body, Instant::now()).await;
            }
        }
        Ok(())
    }

    /// Sends a batch until it is acked or given up. Says whether it was acked.
    async fn deliver(&mut self, parcel: Parcel, body: Bytes, intended: Instant) -> bool {
        let job = Arc::clone(&self.desk.job);
        let retries = job.profile.on_refusal == OnRefusal::Retry;
        loop {
            let sent = Instant::now();
            let result = self.line.attempt(&job, parcel.integration, body.clone()).await;
            let (end, pause) = self.settle(parcel, &result, sent, intended, body.len());
            if let End::Acked { .. } = end {
                return true;
            }
            let give_up = Instant::now() + pause >= job.clock.stop_at + FINISH;
            if end == End::Failed || give_up || (!retries && end != End::Unknown) {
                return false;
            }
            // In an open loop that drops, the next turn is due; an unknown outcome stays one.
            if !retries && matches!(job.profile.load, Load::Open { .. } | Load::OpenTimes { .. }) {
                return false;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Writes the end of an attempt into ledger and tally; says how long to wait before the next.
    fn settle(
        &self,
        parcel: Parcel,
        result: &Result<Reply, Failure>,
        sent: Instant,
        intended: Instant,
        body_bytes: usize,
    ) -> (End, Duration) {
        let job = &self.desk.job;
        let now = Instant::now();
        let mut book = self.desk.books.borrow_mut();
        let book = &mut book[parcel.local];
        let mut tally = self.desk.tally.borrow_mut();
        let (Judged { end, label, misfit }, pause) = self.judge(parcel, result);
        if let Some(misfit) = misfit {
            tally.miscount(misfit);
        }
        if result.as_ref().is_err_and(Failure::is_unknown) {
            book.unknown(parcel.batch, parcel.revision);
        }
        match end {
            End::Acked { accepted, .. } => {
                book.ack(parcel.batch, parcel.revision);
                job.acked.fetch_add(u64::from(accepted), Ordering::Relaxed);
                if job.profile.check.lag_probe
                    && let Ok(mut fresh) = job.fresh.try_lock()
                {
                    *fresh = Some(Fresh { integration: parcel.integration, batch: parcel.batch, at: now });
                }
            }
            End::Unknown if result.is_ok() => book.unknown(parcel.batch, parcel.revision),
            End::Unknown | End::Refused | End::Failed => (),
        }
        tally.count(&Sample {
            end,
            label: &label,
            at: now.saturating_duration_since(job.clock.start),
            measured: job.clock.is_measured(now),
            service: now - sent,
            response: now.saturating_duration_since(intended),
            body_bytes,
        });
        (end, pause)
    }

    /// How an attempt ended, and how long to wait before the next.
    fn judge(&self, parcel: Parcel, result: &Result<Reply, Failure>) -> (Judged, Duration) {
        let job = &self.desk.job;
        let batch = (parcel.integration, parcel.batch);
        match result {
            Ok(Reply::Http(answer)) => {
                let pause = answer.retry_after.unwrap_or(Duration::from_millis(100));
                (answer::judge(answer, &job.plan, job.trusting, batch), pause)
            }
            Ok(Reply::Mqtt(receipt)) => {
                (receipt::judge(receipt, &job.plan, job.profile.mqtt.results, batch), Duration::from_secs(1))
            }
            Err(failure @ Failure::Refused(_)) => {
                (Judged { end: End::Refused, label: failure.label(), misfit: None }, Duration::from_secs(1))
            }
            Err(failure) => {
                let judged = Judged { end: End::Unknown, label: failure.label(), misfit: None };
                (judged, Duration::from_millis(20))
            }
        }
    }
}
