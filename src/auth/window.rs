//! The fixed 60-second window of one integration (A24), exact under any number of threads (S225).

use std::sync::atomic::{AtomicU64, Ordering};

use super::RateState;

/// Length of a window in seconds.
pub(super) const WINDOW_S: u64 = 60;
const USED_BITS: u32 = 24;
const USED_MASK: u64 = (1 << USED_BITS) - 1;

/// Start second and used count packed into one word, so that no lock can be contended and no request can slip
/// between a check and a charge.
#[derive(Debug, Default)]
pub(super) struct Window(AtomicU64);

impl Window {
    /// Takes one request of the window at `now_s` (Unix seconds), or tells why not. A window starts with the first
    /// request after the last one ended; a clock that steps back never refills it.
    pub(super) fn take(&self, limit: u32, now_s: u64) -> Result<RateState, RateState> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (start_s, used) = current(word, now_s);
            if used >= limit {
                return Err(state(limit, start_s, used));
            }
            let next = pack(start_s, used + 1);
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(state(limit, start_s, used + 1)),
                Err(seen) => word = seen,
            }
        }
    }

    /// The state at `now_s`, without taking anything.
    pub(super) fn peek(&self, limit: u32, now_s: u64) -> RateState {
        let (start_s, used) = current(self.0.load(Ordering::Acquire), now_s);
        state(limit, start_s, used)
    }
}

/// Start and used count of the window that `now_s` falls in: the running one, or a new one.
fn current(word: u64, now_s: u64) -> (u64, u32) {
    let (start_s, used) = (word >> USED_BITS, (word & USED_MASK) as u32);
    if now_s >= start_s + WINDOW_S { (now_s, 0) } else { (start_s, used) }
}

fn pack(start_s: u64, used: u32) -> u64 {
    start_s << USED_BITS | u64::from(used)
}

fn state(limit: u32, start_s: u64, used: u32) -> RateState {
    RateState { limit, remaining: limit.saturating_sub(used), reset_s: start_s + WINDOW_S }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    // S215, S217, S220, S221, S223
    #[test]
    fn sixty_pass_and_the_next_waits_for_the_reset() {
        let window = Window::default();
        for n in 1..=60 {
            assert_eq!(window.take(60, 1_000), Ok(RateState { limit: 60, remaining: 60 - n, reset_s: 1_060 }));
        }
        for now_s in [1_000, 1_030, 1_059] {
            assert_eq!(window.take(60, now_s), Err(RateState { limit: 60, remaining: 0, reset_s: 1_060 }));
        }
        assert_eq!(window.take(60, 1_060), Ok(RateState { limit: 60, remaining: 59, reset_s: 1_120 }));
    }

    // S227: a changed limit holds from the next request and keeps the count.
    #[test]
    fn a_changed_limit_keeps_the_used_count() {
        let window = Window::default();
        for _ in 0..10 {
            assert!(window.take(60, 1_005).is_ok());
        }
        assert_eq!(window.take(5, 1_006), Err(RateState { limit: 5, remaining: 0, reset_s: 1_065 }));
        assert_eq!(window.take(12, 1_007), Ok(RateState { limit: 12, remaining: 1, reset_s: 1_065 }));
    }

    #[test]
    fn a_clock_that_steps_back_refills_nothing() {
        let window = Window::default();
        assert!(window.take(1, 1_000).is_ok());
        assert!(window.take(1, 100).is_err());
        assert!(window.take(1, 1_059).is_err());
        assert!(window.take(1, 1_060).is_ok());
    }

    // S225
    #[test]
    fn exactly_the_limit_passes_under_64_threads() {
        let window = Arc::new(Window::default());
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let window = Arc::clone(&window);
                thread::spawn(move || (0..100).filter(|_| window.take(1_000, 1_700_000_000).is_ok()).count())
            })
            .collect();
        let passed: usize = threads.into_iter().map(|t| t.join().expect("no panic")).sum();
        assert_eq!(passed, 1_000);
    }
}
