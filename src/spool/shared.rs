//! What the appenders, the committer thread and the reader share.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::{
    AppendError, Config, Damage, RECORD_BYTES_MAX, Receipt, damage, file::Disk, lock::Lock, log::Log, meters::Meters,
};
use crate::telemetry::health::Health;

/// One record that waits for the disk.
pub(super) struct Append {
    pub(super) record: Bytes,
    pub(super) hold: Box<dyn Any + Send>,
    pub(super) done: oneshot::Sender<Result<Receipt, AppendError>>,
}

/// What waits for the committer. The counts include what it has taken and not answered yet.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Append>,
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) closed: bool,
}

/// Whether the spool takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    Open = 0,
    DiskFull = 1,
    Poisoned = 2,
}

pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) config: Config,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) queue: Mutex<Queue>,
    pub(super) work: Condvar,
    pub(super) log: Mutex<Log>,
    /// Tells the reader that as many bytes as it wants are there.
    pub(super) arrived: Notify,
    pub(super) wanted_bytes: AtomicUsize,
    /// Bytes in the segments.
    pub(super) bytes: AtomicU64,
    /// No record gets a position up to this one.
    pub(super) position_floor: AtomicU64,
    /// Records made durable, recovered ones included; and those of them that were released.
    pub(super) records: AtomicU64,
    pub(super) records_released: AtomicU64,
    pub(super) meters: Meters,
    damage: Mutex<Vec<Damage>>,
    state: AtomicU8,
    health: OnceLock<Health>,
    complaint: Mutex<Option<String>>,
    _lock: Lock,
}

pub(super) struct Args<'a> {
    pub(super) dir: &'a Path,
    pub(super) config: &'a Config,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) damage: Vec<Damage>,
    pub(super) lock: Lock,
    pub(super) next_position: u64,
}

impl Shared {
    pub(super) fn new(args: Args<'_>) -> Self {
        let (bytes, records) = (args.log.bytes(), args.log.segments.iter().map(|segment| segment.records).sum());
        let meters = Meters::new();
        meters.damages.increment(args.damage.len() as u64);
        meters.poisoned.set(0.0);
        meters.corrupt_files.set(damage::copies(args.dir) as f64);
        Self {
            dir: args.dir.to_owned(),
            config: args.config.clone(),
            disk: args.disk,
            queue: Mutex::default(),
            work: Condvar::new(),
            log: Mutex::new(args.log),
            arrived: Notify::new(),
            wanted_bytes: AtomicUsize::new(usize::MAX),
            bytes: AtomicU64::new(bytes),
            position_floor: AtomicU64::new(args.next_position - 1),
            records: AtomicU64::new(records),
            records_released: AtomicU64::new(0),
            meters,
            damage: Mutex::new(args.damage),
            state: AtomicU8::new(State::Open as u8),
            health: OnceLock::new(),
            complaint: Mutex::new(None),
            _lock: args.lock,
        }
    }

    /// Puts `record` in the queue.
    ///
    /// # Panics
    /// If it is larger than [`RECORD_BYTES_MAX`].
    pub(super) fn enqueue(
        &self,
        record: Vec<u8>,
        hold: Box<dyn Any + Send>,
    ) -> Result<oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        assert!(record.len() <= RECORD_BYTES_MAX, "a batch has 500 readings of 24 bytes");
        let (done, answer) = oneshot::channel();
        let mut queue = self.queue.lock();
        self.admit(&queue, record.len())?;
        queue.records += 1;
        queue.bytes += record.len();
        queue.waiting.push_back(Append { record: record.into(), hold, done });
        drop(queue);
        self.work.notify_one();
        Ok(answer)
    }

    /// Whether `bytes` more can be taken now.
    pub(super) fn admit(&self, queue: &Queue, bytes: usize) -> Result<(), AppendError> {
        match self.state() {
            State::Poisoned => return Err(AppendError::Poisoned),
            _ if queue.closed => return Err(AppendError::ShuttingDown),
            State::DiskFull => return Err(AppendError::DiskFull),
            State::Open => {}
        }
        let waiting = queue.bytes + bytes;
        if queue.records >= self.config.queue_records_max || waiting > self.config.queue_bytes_max {
            return Err(AppendError::QueueFull);
        }
        if self.bytes.load(Relaxed).saturating_add(waiting as u64) > self.config.bytes_max {
            return Err(AppendError::Full);
        }
        Ok(())
    }

    /// Takes no more appends; those in the queue are still written.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            0 => State::Open,
            1 => State::DiskFull,
            _ => State::Poisoned,
        }
    }

    /// Only the committer calls this. Poisoned is for good.
    pub(super) fn set_state(&self, state: State) {
        if self.state() != State::Poisoned {
            self.state.store(state as u8, Relaxed);
        }
        if state == State::Poisoned {
            self.meters.poisoned.set(1.0);
        }
        self.report();
    }

    /// From now on, complaints go to `health`.
    pub(super) fn report_to(&self, health: Health) {
        if self.health.set(health).is_ok() {
            *self.complaint.lock() = None;
            self.report();
        }
    }

    /// Tells whoever asks for readiness, where something changed.
    pub(super) fn report(&self) {
        let complaint = match self.state() {
            State::Poisoned => Some("a write or sync failed: restart the service once the disk is sound".to_owned()),
            State::DiskFull => Some("the disk is full".to_owned()),
            State::Open if self.bytes.load(Relaxed) >= self.config.bytes_max => {
                Some("full: the store does not take what is accepted".to_owned())
            }
            State::Open => None,
        };
        let mut last = self.complaint.lock();
        if *last != complaint
            && let Some(health) = self.health.get()
        {
            health.set("spool", complaint.clone().map_or(Ok(()), Err));
            *last = complaint;
        }
    }

    pub(super) fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone()
    }

    /// Remembers what the reader found damaged; at start, recovery does it.
    pub(super) fn add_damage(&self, damage: impl IntoIterator<Item = Damage>) {
        for damage in damage {
            damage.report();
            self.meters.damages.increment(1);
            self.damage.lock().push(damage);
        }
        self.meters.corrupt_files.set(damage::copies(&self.dir) as f64);
    }

    pub(super) fn set_bytes(&self, log: &Log) {
        self.bytes.store(log.bytes(), Relaxed);
    }

    pub(super) fn show_backlog(&self) {
        let backlog = self.records.load(Relaxed).saturating_sub(self.records_released.load(Relaxed));
        self.meters.backlog_records.set(backlog as f64);
        self.meters.bytes.set(self.bytes.load(Relaxed) as f64);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).field("state", &self.state()).finish_non_exhaustive()
    }
}
