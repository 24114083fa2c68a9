//! The API log: every request of the integration API, whichever way it came in and however it ended, so that an
//! administrator can see what was answered and why (S290–S301).
//!
//! A request puts an entry of some hundred bytes into a queue in memory and goes on; one thread writes blocks of many
//! entries into a database of its own, `request-log.db`, and keeps sums by the hour (ADR 10). Where the queue is full
//! entries are dropped and counted; where the disk does not work the log waits, and readings do not notice. Nothing in
//! it is a credential, nor comes from a query; of a body it keeps names and times of refused entries alone.

mod block;
mod config;
mod entry;
mod error;
mod explain;
mod file;
mod queue;
mod retention;
mod rollup;
mod search;
mod sums;
#[cfg(test)]
mod tests;
mod trace;
mod traffic;
mod writer;

use std::{fmt, ops::ControlFlow, path::Path, path::PathBuf, sync::Arc, thread};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking};

pub use self::{
    config::Config,
    entry::{Batch, Entry, Rejected},
    error::Error,
    explain::{Check, Explanation, Verdict, explain},
    rollup::{AddressSum, Outcome, ScopeSum},
    search::{Filter, Found},
    sums::{Count, HourCount, HourOfDay, STEPS_MAX, Seen},
    trace::{Carried, Refused, Traced, Wanted},
    traffic::Traffic,
};
use self::{queue::Queue, writer::Desk};
pub use crate::journal::Counts;
use crate::{
    journal::{Journal, Record, Stored},
    model::IntegrationId,
    telemetry::health::Health,
};

/// Entries that an export hands over at a time.
const EXPORT_CHUNK: usize = 1_000;

/// Whose requests are summed.
#[derive(Debug, Clone, Default)]
pub struct Whose {
    /// Those of these integrations.
    pub integrations: Vec<IntegrationId>,
    /// Those of nobody in particular, too.
    pub with_unattributed: bool,
}

impl Whose {
    fn owners(&self) -> Vec<uuid::Uuid> {
        let nobody = self.with_unattributed.then(|| rollup::owner(None));
        self.integrations.iter().map(|id| rollup::owner(Some(*id))).chain(nobody).collect()
    }
}

/// The API log. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct RequestLog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    queue: Arc<Queue>,
    desk: Arc<Desk>,
    readers: Arc<Semaphore>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.desk.end();
    }
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl RequestLog {
    /// Starts the log in `data_dir`. The file is opened by the log's own thread, so that nothing that is wrong with it
    /// holds up the start: `health` is told, as degraded.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(data_dir: &Path, config: &Config, health: Health) -> Result<Self, Error> {
        let path = data_dir.join(file::FILE);
        let queue = Arc::new(Queue::new(config.queue_bytes_max, config.unattributed_per_minute));
        let desk = Arc::new(Desk::default());
        let thread = writer::start(path.clone(), config.clone(), Arc::clone(&queue), Arc::clone(&desk), health)?;
        let readers = Arc::new(Semaphore::new(config.readers));
        Ok(Self { inner: Arc::new(Inner { path, queue, desk, readers, thread: Mutex::new(Some(thread)) }) })
    }

    /// Writes what waits, and ends. What comes later is lost.
    pub async fn stop(&self) {
        self.inner.desk.end();
        let thread = self.inner.thread.lock().take();
        let Some(thread) = thread else { return };
        if !matches!(spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::error!("The thread of the API log ended by a panic.");
        }
    }

    /// What `integration_id` did with `from_us` ≤ time < `to_us`, widened to whole hours (UTC). Everything that was
    /// answered before this call is in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn traffic(&self, integration_id: IntegrationId, from_us: i64, to_us: i64) -> Result<Traffic, Error> {
        self.read(move |connection| traffic::read(connection, integration_id, from_us, to_us)).await
    }

    /// The newest `limit` requests that `filter` wants and that stand before `before`. Everything that was answered
    /// before this call is in it. A page may be short, even empty, and yet not the last: it looks for a while only.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn search(&self, filter: Filter, before: Option<u64>, limit: usize) -> Result<Found, Error> {
        self.read(move |connection| search::page(connection, &filter, before, limit)).await
    }

    /// The one request that `filter` names by its id, and what its batch held if one was stored.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn find(&self, filter: Filter) -> Result<Option<(Entry, Option<Batch>)>, Error> {
        self.read(move |connection| search::one(connection, &filter)).await
    }

    /// Hands everything that `filter` wants to `visit`, newest first and some at a time, until it breaks off.
    ///
    /// # Errors
    /// When the file cannot be read; `visit` may then have seen a part.
    pub async fn export<V>(&self, filter: Filter, mut visit: V) -> Result<(), Error>
    where
        V: FnMut(Vec<Entry>) -> ControlFlow<()> + Send + 'static,
    {
        self.read(move |connection| {
            let mut before = None;
            loop {
                let found = search::page(connection, &filter, before, EXPORT_CHUNK)?;
                if visit(found.entries).is_break() || found.next_before.is_none() {
                    return Ok(());
                }
                before = found.next_before;
            }
        })
        .await
    }

    /// Sums over time of `integrations` and, if asked for, of nobody in particular: the steps with any request, at most
    /// [`STEPS_MAX`]. A step is a multiple of a minute, and from an hour on of an hour.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn counts(&self, whose: Whose, period: (i64, i64), step_us: i64) -> Result<Vec<Count>, Error> {
        self.read(move |connection| sums::counts(connection, &whose.owners(), period, step_us)).await
    }

    /// The same by the hour of the day (UTC).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn hours_of_day(&self, whose: Whose, period: (i64, i64)) -> Result<[HourOfDay; 24], Error> {
        self.read(move |connection| sums::hours_of_day(connection, &whose.owners(), period)).await
    }

    /// Where requests of `integration_id` came from in a period, the most frequent first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn addresses(&self, integration_id: IntegrationId, period: (i64, i64)) -> Result<Vec<Seen>, Error> {
        self.read(move |connection| sums::addresses(connection, integration_id, period)).await
    }

    /// Which requests brought a reading, or may have, and which refused it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn trace(&self, wanted: Wanted) -> Result<Traced, Error> {
        self.read(move |connection| trace::trace(connection, &wanted)).await
    }

    /// Runs `question` on what is on disk, once everything that was answered before this call is.
    async fn read<T, F>(&self, question: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        self.inner.desk.synced().await;
        let permit = Arc::clone(&self.inner.readers).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let path = self.inner.path.clone();
        let answer = spawn_blocking(move || {
            let _permit = permit;
            question(&file::open_to_read(&path)?)
        });
        answer.await.map_err(|_| Error::Stopped)?
    }
}

impl Journal for RequestLog {
    fn record(&self, record: &Record<'_>) {
        if record.integration_id.is_none() && !self.inner.queue.may_keep_unattributed(record.at_us) {
            return;
        }
        self.inner.queue.push(|out| entry::write_request(record, out));
    }

    fn record_quietly(&self, record: &Record<'_>) {
        self.record(record);
    }

    fn stored(&self, stored: &Stored<'_>) {
        self.inner.queue.push(|out| entry::write_batch(stored, out));
    }
}
