//! The side of delivery: takes records out in order, and says how far it has come.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Error,
    cursor::{Cursor, Mark},
    damage::copy_aside,
    file::forget,
    log::Next,
    replay::Replay,
    segment,
    shared::Shared,
};

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Higher for later records, not without gaps.
    pub position: u64,
    /// What was appended.
    pub record: Bytes,
}

/// The only reader of a spool. It sees only what is on disk.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    cursor: Cursor,
    replay: Replay,
    released: u64,
    /// Position of the last record handed out.
    taken: u64,
    /// Last position and size of each answer of `next` that is not released.
    outstanding: VecDeque<(u64, u64)>,
    /// Records in the segments that were dropped since the spool was opened.
    dropped_records: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, cursor: Cursor) -> Self {
        let released = cursor.mark().map_or(0, |mark| mark.released);
        let (replay, outstanding, dropped_records) = (Replay::default(), VecDeque::new(), 0);
        let reader = Self { shared, cursor, replay, released, taken: released, outstanding, dropped_records };
        reader.count_released();
        reader.shared.show_backlog();
        reader
    }

    /// The records behind the last ones, in order: as soon as `bytes_max` bytes of them are there, else after `wait`
    /// those that are there, perhaps none. At least one if there is one, however large. Dropping the future loses
    /// nothing.
    ///
    /// While the reader is behind what is kept in memory, it reads segments, which blocks the thread for the time of
    /// it: call from a thread of your own.
    ///
    /// # Errors
    /// When a segment cannot be read. The next call tries again at the same place.
    pub async fn next(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Block>, Error> {
        let deadline = Instant::now() + wait;
        self.shared.wanted_bytes.store(bytes_max, Relaxed);
        loop {
            let next = self.shared.log.lock().next(self.taken);
            match next {
                Next::Disk(segment) => {
                    let blocks = self.read_back(&segment, bytes_max)?;
                    if !blocks.is_empty() {
                        return Ok(blocks);
                    }
                }
                Next::Tail { bytes } if bytes >= bytes_max || Instant::now() >= deadline => {
                    let blocks = self.shared.log.lock().take_tail(bytes_max);
                    self.note(&blocks);
                    return Ok(blocks);
                }
                Next::Tail { .. } => {
                    tokio::select! {
                        () = self.shared.arrived.notified() => {}
                        () = tokio::time::sleep_until(deadline) => {}
                    }
                }
            }
        }
    }

    fn read_back(&mut self, segment: &segment::Segment, bytes_max: usize) -> Result<Vec<Block>, Error> {
        let read = self.replay.read(segment, self.taken, bytes_max)?;
        self.shared.meters.disk_reads.increment(read.bytes_read);
        if !read.damage.is_empty() {
            copy_aside(&self.shared.dir, &segment.path);
            self.shared.add_damage(read.damage);
            if let Some(known) = self.shared.log.lock().segments.iter_mut().find(|known| known.first == segment.first) {
                known.gaps = read.gaps;
            }
        }
        self.taken = read.upto.max(self.taken);
        self.note(&read.blocks);
        Ok(read.blocks)
    }

    fn note(&mut self, blocks: &[Block]) {
        if let Some(last) = blocks.last() {
            self.taken = self.taken.max(last.position);
            self.outstanding.push_back((last.position, blocks.len() as u64));
        }
    }

    /// Everything up to `upto` is in the store: it is not handed out after a restart, and segments behind it are
    /// dropped. What was not handed out yet is not released. Trouble with the disk is logged; at worst, records come
    /// again.
    pub fn release(&mut self, upto: u64) {
        let upto = upto.min(self.taken);
        if upto > self.released {
            self.released = upto;
            self.save();
        }
        while let Some((last, records)) = self.outstanding.front().copied().filter(|(last, _)| *last <= upto) {
            debug_assert!(last <= upto);
            self.shared.records_released.fetch_add(records, Relaxed);
            self.outstanding.pop_front();
        }
        self.drop_drained();
        self.shared.show_backlog();
    }

    fn save(&mut self) {
        let used = self.shared.log.lock().synced.max(self.shared.position_floor.load(Relaxed));
        if let Err(error) = self.cursor.write(Mark { released: self.released, used }) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the cursor is not written; a restart delivers again"
            );
        }
    }

    fn drop_drained(&mut self) {
        let keep = Duration::from_secs(self.shared.config.drained_keep_s);
        let drained = self.shared.log.lock().take_drained(self.released.min(self.taken), keep);
        if drained.is_empty() {
            return;
        }
        // Else a restart would miss records that the cursor does not know to be released.
        if let Err(error) = self.cursor.sync() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the cursor is not synced; drained segments stay");
            let mut log = self.shared.log.lock();
            drained.into_iter().rev().for_each(|segment| log.segments.push_front(segment));
            return;
        }
        for segment in drained {
            self.dropped_records += segment.records;
            let spare = segment::spare_path(&self.shared.dir, segment.first);
            let wanted = segment.reusable && self.shared.log.lock().spares.len() < self.shared.config.spare_segments;
            if wanted && self.shared.disk.rename(&segment.path, &spare).is_ok() {
                self.shared.log.lock().spares.push(spare);
            } else {
                forget(&*self.shared.disk, &segment.path);
            }
        }
        let log = self.shared.log.lock();
        self.shared.set_bytes(&log);
    }

    /// Goes on at the first record whose position is `from` or above, forwards or backwards; what is dropped is
    /// skipped.
    pub fn seek(&mut self, from: u64) {
        self.taken = from.saturating_sub(1);
        self.replay = Replay::default();
        self.outstanding.clear();
        self.count_released();
    }

    /// Counts anew what is in the segments and behind the reader, for the figure of the backlog.
    fn count_released(&self) {
        let log = self.shared.log.lock();
        let behind = |segment: &segment::Segment| match self.taken {
            taken if taken >= segment.last => segment.records,
            taken => (taken + 1).saturating_sub(segment.first).min(segment.records),
        };
        let released = log.segments.iter().map(behind).sum::<u64>() + self.dropped_records;
        self.shared.records_released.store(released, Relaxed);
    }

    /// Records up to this position are released; kept over restarts.
    #[must_use]
    pub const fn released(&self) -> u64 {
        self.released
    }

    /// The lowest position that may still be here; those below have been dropped, or never were.
    #[must_use]
    pub fn earliest(&self) -> u64 {
        let log = self.shared.log.lock();
        log.segments.front().map_or(log.synced + 1, |segment| segment.first)
    }

    /// Position of the newest record on disk, or the last one used before.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.shared.log.lock().synced
    }

    /// No record that is appended from now on gets a position up to `position`. For a store that has seen higher ones
    /// than this spool, as after the spool was restored from an old copy.
    pub fn skip_positions(&mut self, position: u64) {
        self.shared.position_floor.fetch_max(position, Relaxed);
        self.save();
    }
}
