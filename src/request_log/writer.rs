//! The one thread that writes the log. Whatever becomes of the disk, nobody waits for it but who asks questions.

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    Config, Error,
    block::{self, Block},
    entry::{self, Head},
    file,
    queue::Queue,
    retention,
    rollup::Rollups,
};
use crate::{
    model::Backoff,
    telemetry::{
        health::Health,
        metrics::{
            REQUEST_LOG_BYTES, REQUEST_LOG_DROPPED_TOTAL, REQUEST_LOG_ENTRIES_TOTAL, REQUEST_LOG_FILES_BROKEN_TOTAL,
            REQUEST_LOG_WRITE_FAILURES_TOTAL,
        },
    },
};

pub(super) const COMPONENT: &str = "request_log";
/// How often the sums are saved while nobody asks.
const SUMS_EVERY: Duration = Duration::from_secs(60);
/// How often old blocks are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the thread is asked for.
#[derive(Debug, Default)]
struct Wishes {
    synced: Vec<oneshot::Sender<()>>,
    is_ending: bool,
}

/// The handle by which it is asked.
#[derive(Debug, Default)]
pub(super) struct Desk {
    wishes: Mutex<Wishes>,
    bell: Condvar,
}

impl Desk {
    /// Waits until everything that was put in before this call can be read, or cannot be written for now.
    pub(super) async fn synced(&self) {
        let (sender, done) = oneshot::channel();
        self.wishes.lock().synced.push(sender);
        self.bell.notify_one();
        let _ended = done.await;
    }

    /// Writes what is there, and ends the thread.
    pub(super) fn end(&self) {
        self.wishes.lock().is_ending = true;
        self.bell.notify_one();
    }

    fn wait(&self, pause: Duration) -> Wishes {
        let mut wishes = self.wishes.lock();
        if wishes.synced.is_empty() && !wishes.is_ending {
            self.bell.wait_for(&mut wishes, pause);
        }
        Wishes { synced: std::mem::take(&mut wishes.synced), is_ending: wishes.is_ending }
    }
}

struct Meters {
    entries: Counter,
    failures: Counter,
    unreadable: Counter,
    bytes: Gauge,
}

/// What the thread works with.
pub(super) struct Writer {
    path: PathBuf,
    config: Config,
    queue: Arc<Queue>,
    desk: Arc<Desk>,
    health: Health,
    meters: Meters,
    connection: Option<Connection>,
    compressor: zstd::bulk::Compressor<'static>,
    spare: Vec<u8>,
    /// Blocks that are not on disk as they are; the last is being filled.
    blocks: Vec<Block>,
    is_written: bool,
    rollups: Rollups,
    next_seq: u64,
    written_seq: u64,
    /// Whether the sums have what an earlier process wrote.
    has_caught_up: bool,
    sums_at: Instant,
    retention_at: Instant,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

/// Starts the thread. The file is opened there: a start never waits for it.
pub(super) fn start(
    path: PathBuf,
    config: Config,
    queue: Arc<Queue>,
    desk: Arc<Desk>,
    health: Health,
) -> Result<thread::JoinHandle<()>, Error> {
    let meters = Meters {
        entries: metrics::counter!(REQUEST_LOG_ENTRIES_TOTAL),
        failures: metrics::counter!(REQUEST_LOG_WRITE_FAILURES_TOTAL),
        unreadable: metrics::counter!(REQUEST_LOG_DROPPED_TOTAL, "reason" => "unreadable"),
        bytes: metrics::gauge!(REQUEST_LOG_BYTES),
    };
    let writer = Writer {
        path,
        config,
        queue,
        desk,
        health,
        meters,
        connection: None,
        compressor: block::compressor()?,
        spare: Vec::new(),
        blocks: Vec::new(),
        is_written: true,
        rollups: Rollups::default(),
        next_seq: 0,
        written_seq: 0,
        has_caught_up: false,
        sums_at: Instant::now() + SUMS_EVERY,
        retention_at: Instant::now(),
        backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
        retry_at: None,
    };
    Ok(thread::Builder::new().name("request-log".to_owned()).spawn(move || writer.run())?)
}

impl Writer {
    fn run(mut self) {
        let pause = Duration::from_millis(self.config.flush_ms);
        loop {
            let wishes = self.desk.wait(pause);
            let is_asked = !wishes.synced.is_empty() || wishes.is_ending;
            if is_asked || self.retry_at.is_none_or(|at| at <= Instant::now()) {
                let written = self.flush(is_asked);
                self.report(written);
            }
            for synced in wishes.synced {
                let _nobody_waits = synced.send(());
            }
            if wishes.is_ending {
                return;
            }
        }
    }

    fn flush(&mut self, is_asked: bool) -> Result<(), Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let flushed = self.flush_to(&mut connection, is_asked);
        match &flushed {
            Ok(()) => self.connection = Some(connection),
            // A connection that failed is not used again: the disk may have been changed under it.
            Err(error) => {
                drop(connection);
                if error.is_corrupt() {
                    self.set_aside(error)?;
                }
            }
        }
        flushed
    }

    fn flush_to(&mut self, connection: &mut Connection, is_asked: bool) -> Result<(), Error> {
        // Where the disk does not take what was taken out, the rest stays in the queue, which has a limit.
        let unwritten: usize = self.blocks.iter().map(|block| block.raw.len()).sum();
        if self.is_written || unwritten < self.config.queue_bytes_max {
            let taken = self.queue.take(std::mem::take(&mut self.spare));
            let sorted = self.sort(&taken, connection);
            self.spare = taken;
            sorted?;
        }
        let is_time = is_asked || self.sums_at <= Instant::now();
        let are_sums_due = is_time && self.rollups.is_dirty();
        if !self.is_written || are_sums_due {
            self.write(connection, are_sums_due)?;
        }
        if self.retention_at <= Instant::now() {
            let has_more = retention::step(connection, &self.config, now_us())?;
            self.meters.bytes.set(retention::used(connection)? as f64);
            self.retention_at = Instant::now() + if has_more { Duration::ZERO } else { RETENTION_EVERY };
        }
        Ok(())
    }

    /// Puts frames into blocks and sums.
    fn sort(&mut self, frames: &[u8], connection: &Connection) -> Result<(), Error> {
        for (kind, body) in entry::frames(frames) {
            let Some(head) = entry::read_head(kind, body) else {
                self.meters.unreadable.increment(1);
                continue;
            };
            if let Head::Request(request) = &head {
                self.rollups.add(request, connection)?;
            }
            if self.blocks.last().is_none_or(Block::is_full) {
                self.blocks.push(Block::new(self.next_seq));
            }
            if let Some(block) = self.blocks.last_mut() {
                block.add(kind, body, &head);
            }
            self.next_seq += 1;
            self.is_written = false;
        }
        Ok(())
    }

    fn write(&mut self, connection: &mut Connection, with_sums: bool) -> Result<(), Error> {
        let transaction = connection.transaction()?;
        for block in &self.blocks {
            block.write(&transaction, &mut self.compressor)?;
        }
        file::set_meta(&transaction, "next_seq", self.next_seq)?;
        if with_sums {
            self.rollups.save(&transaction, self.config.addresses_max)?;
            file::set_meta(&transaction, "summed_seq", self.next_seq)?;
        }
        transaction.commit()?;
        self.meters.entries.increment(self.next_seq - self.written_seq);
        self.written_seq = self.next_seq;
        self.is_written = true;
        // The last is kept and written again as it grows, so that a quiet hour does not make a block a second.
        let last = self.blocks.pop().filter(|block| !block.is_full());
        self.blocks.clear();
        self.blocks.extend(last);
        if with_sums {
            self.rollups.saved(now_us());
            self.sums_at = Instant::now() + SUMS_EVERY;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<Connection, Error> {
        match self.open_and_catch_up() {
            Err(error) if error.is_corrupt() => {
                self.set_aside(&error)?;
                self.open_and_catch_up()
            }
            opened => opened,
        }
    }

    /// A broken file goes out of the way; what is in memory is written into a new one.
    fn set_aside(&self, error: &Error) -> Result<(), Error> {
        let aside = file::set_aside(&self.path, now_us())?;
        metrics::counter!(REQUEST_LOG_FILES_BROKEN_TOTAL).increment(1);
        let error = error as &dyn std::error::Error;
        tracing::error!(error, aside = %aside.display(), "The API log was broken. It is set aside, a new one begins.");
        Ok(())
    }

    /// Opens the file, and adds what was written after the sums were last saved to the sums.
    fn open_and_catch_up(&mut self) -> Result<Connection, Error> {
        let connection = file::open(&self.path)?;
        if !self.has_caught_up {
            let mut rollups = Rollups::default();
            let next_seq = file::meta(&connection, "next_seq")?;
            let summed = file::meta(&connection, "summed_seq")?;
            let unsummed: Vec<u64> = connection
                .prepare("SELECT first_seq FROM block WHERE first_seq + count > ?1 ORDER BY first_seq")?
                .query_map([summed], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for first_seq in unsummed {
                let raw = block::load(&connection, first_seq)?;
                for (seq, kind, body) in block::places(&raw, first_seq) {
                    if let Some(Head::Request(request)) = entry::read_head(kind, body).filter(|_| seq >= summed) {
                        rollups.add(&request, &connection)?;
                    }
                }
            }
            (self.rollups, self.next_seq, self.written_seq) = (rollups, next_seq, next_seq);
            self.has_caught_up = true;
        }
        Ok(connection)
    }

    fn report(&mut self, written: Result<(), Error>) {
        match written {
            Ok(()) => {
                if self.retry_at.take().is_some() {
                    tracing::info!("The API log is written again.");
                    self.health.degrade(COMPONENT, Ok(()));
                }
                self.backoff.reset();
            }
            Err(error) => {
                self.meters.failures.increment(1);
                if self.retry_at.is_none() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "The API log cannot be written. It is tried again; readings are not affected."
                    );
                }
                self.health.degrade(COMPONENT, Err(format!("{error}; requests are not logged for now")));
                self.retry_at = Some(Instant::now() + self.backoff.pause());
            }
        }
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
