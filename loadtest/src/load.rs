//! The load itself: threads, each with its share of the connections and of the integrations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use crate::body::Template;
use crate::connection::{Connector, Envelope};
use crate::ledger::{Book, Ledger};
use crate::measure::Tally;
use crate::mqtt::Gateway;
use crate::plan::Plan;
use crate::profile::{Encoding, Load, Profile};
use crate::schedule::Pace;

mod answer;
mod line;
mod receipt;
mod worker;

/// After the end of the load batches with an open outcome are sent again for so long.
pub const FINISH: Duration = Duration::from_secs(30);

/// When what happens.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Start of the load.
    pub start: Instant,
    /// Start of the measured window.
    pub measure_from: Instant,
    /// End of the measured window and of the load.
    pub stop_at: Instant,
}

impl Clock {
    /// A clock whose load starts `delay` from now.
    #[must_use]
    pub fn new(profile: &Profile, delay: Duration) -> Self {
        let start = Instant::now() + delay;
        let measure_from = start + Duration::from_secs_f64(profile.warm_up_s);
        Self { start, measure_from, stop_at: measure_from + Duration::from_secs_f64(profile.duration_s) }
    }

    /// Whether `at` lies in the measured window.
    #[must_use]
    pub fn is_measured(&self, at: Instant) -> bool {
        at >= self.measure_from && at < self.stop_at
    }
}

/// A batch that was just acked, for the lag probe.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Its integration.
    pub integration: u32,
    /// Its number.
    pub batch: u64,
    /// When the ack came.
    pub at: Instant,
}

/// Everything that the threads share, read only but for the two marks.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub profile: Profile,
    /// Which readings.
    pub plan: Arc<Plan>,
    /// Where to.
    pub connector: Connector,
    /// Per integration; a single one where the server knows no integrations.
    pub envelopes: Vec<Envelope>,
    /// The same for MQTT; empty where the profile has none.
    pub gateways: Vec<Gateway>,
    /// The body's form.
    pub template: Template,
    /// The offered rate, for an open loop.
    pub requests_per_s: Option<f64>,
    /// Whether a 2xx is taken at its word: floors and peers have no counts.
    pub trusting: bool,
    /// When.
    pub clock: Clock,
    /// Readings acked so far, for the progress line.
    pub acked: AtomicU64,
    /// The last batch acked, for the lag probe.
    pub fresh: Mutex<Option<Fresh>>,
}

/// What a run of load leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// Counts of all threads.
    pub tally: Tally,
    /// What was promised.
    pub ledger: Ledger,
}

impl Job {
    fn envelope(&self, integration: u32) -> &Envelope {
        &self.envelopes[integration as usize % self.envelopes.len()]
    }

    fn gateway(&self, integration: u32) -> &Gateway {
        &self.gateways[integration as usize % self.gateways.len()]
    }

    /// Whether the rate follows from the answers.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.profile.load, Load::Closed { .. })
    }

    /// Readings acked so far.
    pub fn acked_so_far(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }
}

/// Bodies made before the load starts. A plain body costs the generator little; a compressed one would slow it down.
type Prepared = HashMap<(u32, u64), Bytes>;

/// Encodes what the profile wants prepared: for each integration its first batches.
fn prepare(job: &Job, integrations: &[u32]) -> Result<Prepared> {
    let mut prepared = Prepared::new();
    if job.profile.encoding == Encoding::Identity {
        return Ok(prepared);
    }
    let each = u64::from(job.profile.data.prepared_requests.div_ceil(job.plan.integrations));
    for integration in integrations {
        for batch in 0..each {
            prepared.insert((*integration, batch), job.template.encode(&job.plan, *integration, batch, 0)?);
        }
    }
    Ok(prepared)
}

/// Generator threads under way.
#[derive(Debug)]
pub struct Running {
    threads: Vec<std::thread::JoinHandle<Result<Share>>>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Share {
    integrations: Vec<u32>,
    books: Vec<Book>,
    tally: Tally,
}

/// Starts the generator. `clock` is asked for once all bodies are prepared, so that preparing costs no load time.
///
/// # Errors
///
/// When bodies cannot be made or threads not be started.
pub fn start(mut job: Job) -> Result<(Arc<Job>, Running)> {
    let profile = &job.profile;
    let threads = profile.threads.min(profile.connections + profile.mqtt.sessions).min(job.plan.integrations);
    let shares: Vec<Vec<u32>> =
        (0..threads).map(|thread| (thread..job.plan.integrations).step_by(threads as usize).collect()).collect();
    let prepared = shares.iter().map(|integrations| prepare(&job, integrations)).collect::<Result<Vec<_>>>()?;
    job.clock = Clock::new(&job.profile, Duration::from_millis(100));
    let job = Arc::new(job);
    let mut handles = Vec::new();
    for (thread, (integrations, prepared)) in shares.into_iter().zip(prepared).enumerate() {
        let mine = |number: &u32| number % threads == thread as u32;
        let lines = worker::Lines {
            connections: (0..job.profile.connections).filter(mine).count(),
            sessions: (0..job.profile.mqtt.sessions).filter(mine).collect(),
        };
        let work = Arc::clone(&job);
        let handle = std::thread::Builder::new()
            .name(format!("generator-{thread}"))
            .spawn(move || run_thread(&work, integrations, prepared, lines, f64::from(threads)))
            .context("cannot start a generator thread")?;
        handles.push(handle);
    }
    let plan = Arc::clone(&job.plan);
    Ok((job, Running { threads: handles, plan }))
}

impl Running {
    /// Whether all threads have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(std::thread::JoinHandle::is_finished)
    }

    /// Waits for the end and puts the parts together.
    ///
    /// # Errors
    ///
    /// When a generator thread failed.
    pub fn join(self) -> Result<Outcome> {
        let mut ledger = Ledger::new(self.plan);
        let mut tally = Tally::default();
        for thread in self.threads {
            let share = thread.join().map_err(|_| anyhow!("a generator thread panicked"))??;
            for (integration, book) in share.integrations.into_iter().zip(share.books) {
                ledger.books[integration as usize] = book;
            }
            tally.add(&share.tally);
        }
        Ok(Outcome { tally, ledger })
    }
}

fn run_thread(
    job: &Arc<Job>,
    integrations: Vec<u32>,
    prepared: Prepared,
    lines: worker::Lines,
    threads: f64,
) -> Result<Share> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pace = match (&job.profile.load, job.requests_per_s) {
        (Load::Closed { .. }, _) => Pace::Closed { stop_at: job.clock.stop_at },
        (_, rate) => {
            let rate = rate.context("the rate of an open loop is not known yet")?;
            Pace::open(job.clock.start, job.clock.stop_at, rate / threads)
        }
    };
    let books = vec![Book::default(); integrations.len()];
    let desk = worker::Desk::new(Arc::clone(job), pace, integrations, books, prepared);
    let local = tokio::task::LocalSet::new();
    let (integrations, books, tally) = local.block_on(&runtime, worker::run(desk, lines))?;
    Ok(Share { integrations, books, tally })
}
