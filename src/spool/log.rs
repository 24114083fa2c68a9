//! What is in the spool: the list of segments, and the newest synced records in memory.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Block, segment::Segment};

/// Changed by the committer (appends at the end) and by the reader (takes and drops at the front).
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By position. The last one is being written.
    pub(super) segments: VecDeque<Segment>,
    /// Drained files that can be written over.
    pub(super) spares: Vec<PathBuf>,
    /// Position of the last synced record, or the last one before the spool was opened.
    pub(super) synced: u64,
    tail: VecDeque<Block>,
    tail_bytes: usize,
    /// The tail holds every synced record above this position.
    tail_after: u64,
}

/// Where the reader finds what it wants next.
#[derive(Debug)]
pub(super) enum Next {
    /// In memory: so many bytes are ready.
    Tail { bytes: usize },
    /// In this segment on disk, as it stands now.
    Disk(Box<Segment>),
}

impl Log {
    /// The recovered `segments`, whose last record is `synced`.
    pub(super) fn new(segments: VecDeque<Segment>, spares: Vec<PathBuf>, synced: u64) -> Self {
        Self { segments, spares, synced, tail_after: synced, ..Self::default() }
    }

    /// Bytes of the segments, as far as they are written.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// Takes in a new segment. One that no record came into makes room for it; its file is given if it has another
    /// name.
    pub(super) fn push(&mut self, segment: Segment) -> Option<PathBuf> {
        let unused = self.segments.pop_back_if(|last| last.records == 0).map(|unused| unused.path);
        let unused = unused.filter(|path| *path != segment.path);
        self.segments.push_back(segment);
        unused
    }

    /// Takes in a synced group that ends at `end` in the newest segment.
    pub(super) fn publish(&mut self, group: impl Iterator<Item = Block>, end: u64, tail_bytes_max: usize) {
        let segment = self.segments.back_mut().expect("the committer pushed the segment before it wrote to it");
        segment.end = end;
        for block in group {
            segment.records += 1;
            segment.last = block.position;
            self.synced = block.position;
            self.tail_bytes += block.record.len();
            self.tail.push_back(block);
        }
        while self.tail_bytes > tail_bytes_max {
            if self.pop_tail().is_none() {
                break;
            }
        }
    }

    /// Bytes that are ready in memory.
    pub(super) const fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    fn pop_tail(&mut self) -> Option<Block> {
        let block = self.tail.pop_front()?;
        self.tail_bytes -= block.record.len();
        self.tail_after = block.position;
        Some(block)
    }

    /// Where the record behind `after` is.
    pub(super) fn next(&mut self, after: u64) -> Next {
        if after < self.tail_after
            && let Some(segment) = self.segments.iter().find(|segment| segment.last > after && segment.records > 0)
            && segment.first <= self.tail_after
        {
            return Next::Disk(Box::new(segment.clone()));
        }
        while self.tail.front().is_some_and(|block| block.position <= after) {
            self.pop_tail();
        }
        Next::Tail { bytes: self.tail_bytes }
    }

    /// Takes records from memory, as many as fit in `bytes_max`, but at least one.
    pub(super) fn take_tail(&mut self, bytes_max: usize) -> Vec<Block> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(block) = self.tail.front() {
            bytes += block.record.len();
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.extend(self.pop_tail());
        }
        taken
    }

    /// Takes the segments out that hold nothing above `released` and have been so for `keep`; never the newest.
    pub(super) fn take_drained(&mut self, released: u64, keep: Duration) -> Vec<Segment> {
        let mut drained = Vec::new();
        while self.segments.len() > 1 && self.segments.front().is_some_and(|segment| segment.last <= released) {
            let segment = &mut self.segments[0];
            if segment.drained_at.get_or_insert_with(Instant::now).elapsed() < keep {
                break;
            }
            drained.extend(self.segments.pop_front());
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;

    fn blocks(positions: std::ops::Range<u64>) -> impl Iterator<Item = Block> {
        positions.map(|position| Block { position, record: Bytes::from(vec![0; 10]) })
    }

    fn log() -> Log {
        Log::new([Segment::empty(Path::new("x"), 10)].into(), Vec::new(), 9)
    }

    #[test]
    fn a_reader_that_keeps_up_is_served_from_memory() {
        let mut log = log();
        log.publish(blocks(10..13), 100, 1000);
        assert!(matches!(log.next(9), Next::Tail { bytes: 30 }));
        assert_eq!(log.take_tail(25).iter().map(|block| block.position).collect::<Vec<_>>(), [10, 11]);
        assert_eq!(log.take_tail(1).len(), 1);
        assert!(matches!(log.next(12), Next::Tail { bytes: 0 }));
    }

    #[test]
    fn a_reader_that_fell_behind_is_sent_to_the_disk_and_back() {
        let mut log = log();
        log.publish(blocks(10..20), 100, 30);
        assert!(matches!(log.next(9), Next::Disk(_)));
        assert!(matches!(log.next(15), Next::Disk(_)));
        assert!(matches!(log.next(16), Next::Tail { bytes: 30 }));
        assert!(matches!(log.next(17), Next::Tail { bytes: 20 }));
        assert!(matches!(log.next(15), Next::Disk(_)), "back again: what was taken is no longer in memory");
    }

    #[test]
    fn the_newest_segment_is_never_dropped() {
        let mut log = log();
        log.publish(blocks(10..20), 100, 0);
        log.segments.push_back(Segment::empty(Path::new("x"), 20));
        assert!(log.take_drained(18, Duration::ZERO).is_empty());
        assert!(log.take_drained(19, Duration::from_secs(3600)).is_empty());
        assert_eq!(log.take_drained(25, Duration::ZERO).len(), 1);
        assert!(log.take_drained(99, Duration::ZERO).is_empty());
    }
}
