//! Where requests put their entries: bytes behind one short lock, with a limit.

use std::{
    cell::RefCell,
    mem,
    sync::atomic::{AtomicU64, Ordering},
};

use metrics::Counter;
use parking_lot::Mutex;

use crate::telemetry::metrics::REQUEST_LOG_DROPPED_TOTAL;

thread_local! {
    /// An entry is written here first, so that the lock is held for no longer than a copy takes.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Entries that wait to be written.
pub(super) struct Queue {
    waiting: Mutex<Vec<u8>>,
    bytes_max: usize,
    unattributed: PerMinute,
    dropped_full: Counter,
    dropped_unattributed: Counter,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, unattributed_per_minute: u32) -> Self {
        let dropped = |reason: &'static str| metrics::counter!(REQUEST_LOG_DROPPED_TOTAL, "reason" => reason);
        Self {
            waiting: Mutex::default(),
            bytes_max,
            unattributed: PerMinute { limit: unattributed_per_minute, minute_and_count: AtomicU64::new(0) },
            dropped_full: dropped("queue_full"),
            dropped_unattributed: dropped("unattributed"),
        }
    }

    /// Puts in what `write` appends, or counts it as dropped.
    pub(super) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            write(scratch);
            let mut waiting = self.waiting.lock();
            if waiting.len() + scratch.len() <= self.bytes_max {
                waiting.extend_from_slice(scratch);
            } else {
                drop(waiting);
                self.dropped_full.increment(1);
            }
        });
    }

    /// Whether one more request of nobody in particular is kept in this minute; if not, it is counted.
    pub(super) fn may_keep_unattributed(&self, at_us: i64) -> bool {
        let may = self.unattributed.take(u64::try_from(at_us / 60_000_000).unwrap_or(0));
        if !may {
            self.dropped_unattributed.increment(1);
        }
        may
    }

    /// Takes everything out; `empty` comes in its place, so that its memory is used again.
    pub(super) fn take(&self, mut empty: Vec<u8>) -> Vec<u8> {
        empty.clear();
        mem::replace(&mut *self.waiting.lock(), empty)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

/// A count that begins anew every minute.
struct PerMinute {
    limit: u32,
    minute_and_count: AtomicU64,
}

impl PerMinute {
    fn take(&self, minute: u64) -> bool {
        let mut may = false;
        let next = |word: u64| {
            let (known, used) = (word >> 32, word as u32);
            let used = if minute > known { 0 } else { used };
            may = used < self.limit;
            may.then(|| known.max(minute) << 32 | u64::from(used + 1))
        };
        let _full = self.minute_and_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S298: strangers cannot fill the log.
    #[test]
    fn what_is_nobodys_is_bounded_by_the_minute() {
        let queue = Queue::new(1_000, 3);
        let kept = |at_us| (0..10).filter(|_| queue.may_keep_unattributed(at_us)).count();
        assert_eq!((kept(60_000_000), kept(60_000_001), kept(120_000_000)), (3, 0, 3));
    }

    #[test]
    fn beyond_the_limit_nothing_is_kept_and_nobody_waits() {
        let queue = Queue::new(100, 0);
        for _ in 0..3 {
            queue.push(|out| out.extend_from_slice(&[7; 40]));
        }
        assert_eq!(queue.take(Vec::new()).len(), 80);
        queue.push(|out| out.extend_from_slice(&[7; 40]));
        assert_eq!(queue.take(Vec::new()).len(), 40);
    }
}
