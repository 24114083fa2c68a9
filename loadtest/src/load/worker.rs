//! The tasks of one generator thread: take a turn, send a batch, write down what was promised.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use super::{FINISH, Fresh, Job, Prepared, answer};
use crate::connection::{Answer, Connection, Failure};
use crate::ledger::Book;
use crate::measure::{End, Sample, Tally, as_us};
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

    /// Opens the next batch, integration after integration, so that all stay as far within their limits as can be.
    fn open(&self) -> Result<Parcel> {
        let local = self.next.get();
        self.next.set((local + 1) % self.integrations.len());
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

/// Runs `connections` connections until the end of the load; gives back what the thread knows.
pub(super) async fn run(desk: Rc<Desk>, connections: usize) -> Result<(Vec<u32>, Vec<Book>, Tally)> {
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let line = Rc::new(RefCell::new(None));
        for _ in 0..desk.job.profile.streams {
            let worker = Worker { desk: Rc::clone(&desk), line: Rc::clone(&line), connection: None };
            tasks.push(tokio::task::spawn_local(worker.work()));
        }
    }
    for task in tasks {
        task.await.map_err(|_| anyhow!("a connection's task panicked"))??;
    }
    let desk = Rc::into_inner(desk).context("a task is still running")?;
    Ok((desk.integrations, desk.books.into_inner(), desk.tally.into_inner()))
}

struct Worker {
    desk: Rc<Desk>,
    /// The HTTP/2 connection that the streams share.
    line: Rc<RefCell<Option<Connection>>>,
    connection: Option<Connection>,
}

impl Worker {
    async fn work(mut self) -> Result<()> {
        let job = Arc::clone(&self.desk.job);
        tokio::time::sleep_until(job.clock.start.into()).await;
        while let Some(turn) = self.desk.pace.turn().await {
            let parcel = self.desk.open()?;
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
            let result = self.attempt(parcel, body.clone()).await;
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

    async fn attempt(&mut self, parcel: Parcel, body: Bytes) -> Result<Answer, Failure> {
        let job = &self.desk.job;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let timeout = Duration::from_millis(job.profile.timeout_ms);
        let answer = connection.exchange(job.envelope(parcel.integration), body, timeout).await?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// A connection of one's own (HTTP/1.1), or a handle to the one of this line (HTTP/2).
    async fn connect(&self) -> Result<Connection, Failure> {
        let usable = |line: &Connection| match line {
            Connection::Http1(_) => None,
            Connection::Http2(sender) => (!sender.is_closed()).then(|| line.share()).flatten(),
        };
        if let Some(shared) = self.line.borrow().as_ref().and_then(usable) {
            return Ok(shared);
        }
        let connection = self.desk.job.connector.connect().await?;
        *self.line.borrow_mut() = connection.share();
        Ok(connection)
    }

    /// Writes the end of an attempt into ledger and tally; says how long to wait before the next.
    fn settle(
        &self,
        parcel: Parcel,
        result: &Result<Answer, Failure>,
        sent: Instant,
        intended: Instant,
        body_bytes: usize,
    ) -> (End, Duration) {
        let job = &self.desk.job;
        let now = Instant::now();
        let mut book = self.desk.books.borrow_mut();
        let book = &mut book[parcel.local];
        let mut tally = self.desk.tally.borrow_mut();
        let (end, label, pause) = match result {
            Ok(answer) => {
                let (end, label) = answer::judge(answer, job.plan.readings_per_batch, job.trusting);
                if !job.trusting
                    && let Some(misfit) = answer::misfit(answer, end, &job.plan, (parcel.integration, parcel.batch))
                {
                    tally.miscount(misfit);
                }
                (end, label, answer.retry_after.unwrap_or(Duration::from_millis(100)))
            }
            Err(failure) => {
                if failure.is_unknown() {
                    book.unknown(parcel.batch, parcel.revision);
                }
                (End::Unknown, failure.label().to_owned(), Duration::from_millis(20))
            }
        };
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
}
