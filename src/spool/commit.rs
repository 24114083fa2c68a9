//! The one thread that writes: takes all that waits, writes it in one go, syncs once, answers.

use std::{
    any::Any,
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    AppendError, Block, Error, Receipt,
    file::{File, forget, is_for_want_of_room, write_all},
    frame,
    segment::{self, Header, PAGE, Segment},
    shared::{Append, Shared, State},
};

/// How often free space and the like are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });
static ZEROS: [u8; PAGE] = [0; PAGE];

/// Starts the committer; the first record gets a position of at least `next_position`.
pub(super) fn start(shared: Arc<Shared>, next_position: u64) -> Result<thread::JoinHandle<()>, Error> {
    let mut committer = Committer {
        shared,
        active: None,
        next_position,
        batch: VecDeque::new(),
        answers: Vec::new(),
        heads: Vec::new(),
        looked_at: None,
    };
    thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || {
            let _guard = PoisonOnPanic(Arc::clone(&committer.shared));
            committer.run();
        })
        .map_err(Error::Thread)
}

/// The segment that is being written.
struct Active {
    file: Box<dyn File>,
    first: u64,
    /// Position of the last synced record, `first - 1` before that.
    last: u64,
    seed: u32,
    /// Offset behind the last synced record.
    end: u64,
    /// The file's size.
    capacity: u64,
}

struct Answer {
    hold: Box<dyn Any + Send>,
    done: oneshot::Sender<Result<Receipt, AppendError>>,
    position: u64,
}

struct Committer {
    shared: Arc<Shared>,
    active: Option<Active>,
    next_position: u64,
    batch: VecDeque<Append>,
    answers: Vec<Answer>,
    heads: Vec<u8>,
    looked_at: Option<Instant>,
}

impl Committer {
    fn run(&mut self) {
        loop {
            if self.looked_at.is_none_or(|at| at.elapsed() >= HOUSEKEEPING) {
                self.keep_house();
            }
            let closed = self.wait();
            if self.batch.is_empty() && closed {
                break;
            }
            while !self.batch.is_empty() {
                if let Err(refusal) = self.commit() {
                    self.refuse_batch(refusal);
                }
            }
        }
        self.shared.show_backlog();
    }

    /// Waits for work, but not for ever. Says whether the spool is closing.
    fn wait(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        if queue.waiting.is_empty() && !queue.closed {
            self.shared.work.wait_for(&mut queue, HOUSEKEEPING);
        }
        mem::swap(&mut queue.waiting, &mut self.batch);
        queue.closed
    }

    /// Makes one group durable: as much of the batch as fits in the segment and in a group.
    fn commit(&mut self) -> Result<(), AppendError> {
        if self.shared.state() == State::Poisoned {
            return Err(AppendError::Poisoned);
        }
        self.next_position = self.next_position.max(self.shared.position_floor.load(Relaxed) + 1);
        let needed = frame::total(self.batch[0].record.len()) as u64;
        if !self.active.as_ref().is_some_and(|active| active.has_room_for(needed)) {
            self.rotate(needed)?;
        }
        let active = self.active.as_ref().expect("rotate made one, or gave an error");
        let count = group_len(&self.batch, active, self.shared.config.group_bytes_max as u64);
        let records = self.batch.iter().take(count).map(|append| &*append.record);
        let end = match write_group(active, self.next_position, records, &mut self.heads) {
            Ok(end) => end,
            Err(error) => return Err(self.give_up_group(&error)),
        };
        let started = Instant::now();
        if self.shared.config.sync
            && let Err(error) = active.file.sync_data()
        {
            tracing::error!(%error, "a sync failed: what is on disk is unknown until a restart, nothing more is taken");
            self.shared.set_state(State::Poisoned);
            return Err(AppendError::Poisoned);
        }
        self.shared.meters.sync_seconds.record(started.elapsed());
        self.publish(count, end);
        Ok(())
    }

    /// Shows `count` durable records to the reader, then answers their appenders.
    fn publish(&mut self, count: usize, end: u64) {
        let Self { shared, batch, answers, next_position, active, .. } = self;
        if let Some(active) = active {
            active.end = end;
            active.last = *next_position + count as u64 - 1;
        }
        let mut bytes = 0;
        let group = batch.drain(..count).map(|Append { record, hold, done }| {
            let position = *next_position;
            *next_position += 1;
            bytes += record.len();
            answers.push(Answer { hold, done, position });
            Block { position, record }
        });
        let wake = {
            let mut log = shared.log.lock();
            log.publish(group, end, shared.config.tail_bytes_max);
            shared.set_bytes(&log);
            log.tail_bytes() >= shared.wanted_bytes.load(Relaxed)
        };
        shared.records.fetch_add(count as u64, Relaxed);
        {
            let mut queue = shared.queue.lock();
            queue.records -= count;
            queue.bytes -= bytes;
        }
        if wake {
            shared.arrived.notify_one();
        }
        for Answer { hold, done, position } in answers.drain(..) {
            drop(hold);
            // The caller may have gone; its record is durable all the same.
            done.send(Ok(Receipt::new(position))).ok();
        }
        shared.meters.group_records.record(count as f64);
        shared.meters.appended_records.increment(count as u64);
        shared.meters.appended_bytes.increment(bytes as u64);
    }

    /// The write of a group failed. Takes back what may have been written, if it can.
    fn give_up_group(&mut self, error: &io::Error) -> AppendError {
        let Some(active) = self.active.take() else { return AppendError::Poisoned };
        if is_for_want_of_room(error) {
            match active
                .file
                .truncate(active.end)
                .and_then(|()| active.mark_end())
                .and_then(|()| active.file.sync_all())
            {
                Ok(()) => {
                    tracing::warn!(%error, "no room to write a group; it was taken back and its senders told to try again");
                    if let Some(segment) = self.shared.log.lock().segments.back_mut() {
                        segment.reusable = false;
                    }
                    self.shared.set_state(State::DiskFull);
                    return AppendError::DiskFull;
                }
                Err(error) => tracing::error!(%error, "a group that did not fit cannot be taken back"),
            }
        }
        tracing::error!(%error, "a write failed: what is on disk is unknown until a restart, nothing more is taken");
        self.shared.set_state(State::Poisoned);
        AppendError::Poisoned
    }

    /// Begins a segment in which a frame of `needed` bytes has room.
    fn rotate(&mut self, needed: u64) -> Result<(), AppendError> {
        self.active = None;
        let shared = &*self.shared;
        let least = Active::overhead() + needed;
        let capacity = shared.config.segment_bytes.max(least.next_multiple_of(PAGE as u64));
        let (previous, spare) = {
            let mut log = shared.log.lock();
            (log.synced, if capacity == shared.config.segment_bytes { log.spares.pop() } else { None })
        };
        if spare.is_none() && !self.has_free(capacity) {
            tracing::warn!("less free disk than spool.free_disk_bytes_min: nothing is taken until there is more");
            shared.set_state(State::DiskFull);
            return Err(AppendError::DiskFull);
        }
        let header = Header { first: self.next_position, previous };
        match segment::create(&*shared.disk, &shared.dir, header, spare.as_deref(), capacity) {
            Ok(file) => {
                let segment = Segment::empty(&shared.dir, header.first);
                let end = segment.end;
                let (first, last) = (segment.first, segment.last);
                self.active = Some(Active { file, first, last, seed: frame::seed(first), end, capacity });
                if let Some(unused) = shared.log.lock().push(segment) {
                    forget(&*shared.disk, &unused);
                }
                Ok(())
            }
            Err(error) if is_for_want_of_room(&error) => {
                tracing::warn!(%error, "no room for another segment: nothing is taken until there is");
                shared.set_state(State::DiskFull);
                Err(AppendError::DiskFull)
            }
            Err(error) => {
                tracing::error!(%error, "a segment cannot be made: nothing more is taken until a restart");
                shared.set_state(State::Poisoned);
                Err(AppendError::Poisoned)
            }
        }
    }

    fn refuse_batch(&mut self, refusal: AppendError) {
        let (count, mut bytes) = (self.batch.len(), 0);
        for Append { record, hold, done } in self.batch.drain(..) {
            bytes += record.len();
            drop(hold);
            done.send(Err(refusal)).ok();
        }
        let mut queue = self.shared.queue.lock();
        queue.records -= count;
        queue.bytes -= bytes;
    }

    /// Free space, and what follows from it; the figures that need not be exact to the group.
    fn keep_house(&mut self) {
        self.looked_at = Some(Instant::now());
        self.shared.show_backlog();
        let has_spare = !self.shared.log.lock().spares.is_empty();
        let more = if self.active.is_some() || has_spare { 0 } else { self.shared.config.segment_bytes };
        if self.has_free(more) {
            self.shared.set_state(State::Open);
            return;
        }
        let spares = mem::take(&mut self.shared.log.lock().spares);
        for spare in &spares {
            forget(&*self.shared.disk, spare);
        }
        if self.shared.state() == State::Open && !self.has_free(more) {
            tracing::warn!("less free disk than spool.free_disk_bytes_min: nothing is taken until there is more");
            self.shared.set_state(State::DiskFull);
        }
    }

    /// Whether the limit on free space leaves room for `more` bytes.
    fn has_free(&self, more: u64) -> bool {
        match self.shared.disk.free_bytes(&self.shared.dir) {
            Ok(free) => {
                self.shared.meters.free_disk_bytes.set(free as f64);
                free >= self.shared.config.free_disk_bytes_min.saturating_add(more)
            }
            Err(error) => {
                tracing::warn!(%error, "the free disk space cannot be told");
                true
            }
        }
    }
}

impl Active {
    /// Bytes of a segment that no frame can have.
    const fn overhead() -> u64 {
        (segment::FIRST_FRAME + frame::HEADER_BYTES) as u64
    }

    /// Puts the end mark back, if there is room for it; a file that just ends there is as good.
    fn mark_end(&self) -> io::Result<()> {
        match segment::end_at(&*self.file, self.first, self.last, self.end) {
            Err(error) if is_for_want_of_room(&error) => self.file.truncate(self.end),
            other => other,
        }
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.end + bytes + frame::HEADER_BYTES as u64 <= self.capacity
    }
}

/// How many records from the front of `batch` make the next group. At least one, which has room.
fn group_len(batch: &VecDeque<Append>, active: &Active, bytes_max: u64) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for append in batch {
        bytes += frame::total(append.record.len()) as u64;
        if count > 0 && (bytes > bytes_max || !active.has_room_for(bytes)) {
            break;
        }
        count += 1;
    }
    count
}

/// Writes `records` behind the last group, and the end mark behind them, straight from where they lie. Gives the
/// offset of the end mark. `heads` is scratch.
fn write_group<'a>(
    active: &Active,
    first_position: u64,
    records: impl Iterator<Item = &'a [u8]> + Clone,
    heads: &mut Vec<u8>,
) -> io::Result<u64> {
    heads.clear();
    let (mut end, mut position, mut padding) = (active.end, first_position, 0);
    let mut cuts = Vec::with_capacity(16);
    for record in records.clone() {
        heads.extend_from_slice(&frame::PADDING[..padding]);
        let index = (position - first_position) as u32;
        heads.extend_from_slice(&frame::record_header(active.seed, position, index, record));
        cuts.push(heads.len());
        end += frame::total(record.len()) as u64;
        padding = frame::padding(record.len());
        position += 1;
    }
    heads.extend_from_slice(&frame::PADDING[..padding]);
    heads.extend_from_slice(&frame::end_mark(active.seed, position));

    let mut pieces = Vec::with_capacity(2 * cuts.len() + 2);
    let mut from = 0;
    for (record, cut) in records.zip(cuts) {
        pieces.push(IoSlice::new(&heads[from..cut]));
        pieces.push(IoSlice::new(record));
        from = cut;
    }
    pieces.push(IoSlice::new(&heads[from..]));
    let written_to = end + frame::HEADER_BYTES as u64;
    let blank = written_to.next_multiple_of(PAGE as u64).min(active.capacity) - written_to;
    pieces.push(IoSlice::new(&ZEROS[..blank as usize]));
    write_all(&*active.file, &mut pieces, active.end)?;
    Ok(end)
}

/// A bug in the committer must not leave appenders waiting for ever.
struct PoisonOnPanic(Arc<Shared>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        tracing::error!("the thread that writes the spool panicked: nothing more is taken until a restart");
        self.0.set_state(State::Poisoned);
        // Whoever waits is told by the drop of its channel.
        self.0.queue.lock().waiting.clear();
    }
}
