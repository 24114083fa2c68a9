//! When a request should be sent. In an open loop the times are fixed beforehand, so that a slow answer cannot hide
//! the requests that waited behind it (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Fixed send times at a steady rate.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start: Instant,
    requests_per_s: f64,
}

impl Schedule {
    /// `requests_per_s` from `start` on.
    #[must_use]
    pub fn new(start: Instant, requests_per_s: f64) -> Self {
        Self { start, requests_per_s }
    }

    /// Intended time of request `k`.
    #[must_use]
    pub fn intended(&self, k: u64) -> Instant {
        self.start + Duration::from_secs_f64(k as f64 / self.requests_per_s)
    }

    /// How many requests should have been sent by `now`.
    #[must_use]
    pub fn due(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.start) {
            None => 0,
            Some(passed) => (passed.as_secs_f64() * self.requests_per_s).floor() as u64 + 1,
        }
    }
}

/// Hands out the turns of one generator thread.
#[derive(Debug)]
pub enum Pace {
    /// Closed loop: it is always one's turn until the end.
    Closed {
        /// The end of the load.
        stop_at: Instant,
    },
    /// Open loop: turns come from the clock.
    Open(Turns),
}

/// Turns of an open loop, released by a thread of its own: a timer of the runtime is only good to a millisecond.
#[derive(Debug)]
pub struct Turns {
    schedule: Schedule,
    released: Arc<Semaphore>,
    taken: AtomicU64,
}

/// One turn to send a request.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// When it should be sent; `None` in a closed loop: now.
    pub intended: Option<Instant>,
    /// Whether the connection stood waiting for this turn, so that any delay is the generator's own.
    pub waited: bool,
}

impl Pace {
    /// An open loop from `start` to `stop_at`.
    #[must_use]
    pub fn open(start: Instant, stop_at: Instant, requests_per_s: f64) -> Self {
        let schedule = Schedule::new(start, requests_per_s);
        let released = Arc::new(Semaphore::new(0));
        let semaphore = Arc::clone(&released);
        std::thread::spawn(move || release(&schedule, stop_at, &semaphore));
        Self::Open(Turns { schedule, released, taken: AtomicU64::new(0) })
    }

    /// Waits for a turn; `None` at the end of the load.
    pub async fn turn(&self) -> Option<Turn> {
        match self {
            Self::Closed { stop_at } => (Instant::now() < *stop_at).then_some(Turn { intended: None, waited: false }),
            Self::Open(turns) => {
                let (permit, waited) = match turns.released.try_acquire() {
                    Ok(permit) => (permit, false),
                    Err(_) => (turns.released.acquire().await.ok()?, true),
                };
                permit.forget();
                let k = turns.taken.fetch_add(1, Ordering::Relaxed);
                Some(Turn { intended: Some(turns.schedule.intended(k)), waited })
            }
        }
    }
}

fn release(schedule: &Schedule, stop_at: Instant, semaphore: &Semaphore) {
    let mut released = 0;
    loop {
        let now = Instant::now();
        if now >= stop_at {
            break;
        }
        let due = schedule.due(now);
        if due > released {
            semaphore.add_permits(usize::try_from(due - released).unwrap_or(0));
            released = due;
        }
        let next = schedule.intended(released).min(stop_at);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // Turns that nobody took are part of the offer, and they end here: closing wakes all who wait.
    semaphore.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_evenly_spaced_and_due_when_they_come() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 150.0);
        for k in [0, 1, 149, 150, 151, 90_000] {
            let at = schedule.intended(k);
            assert!((at.duration_since(start).as_secs_f64() - k as f64 / 150.0).abs() < 1e-6);
            assert!(schedule.due(at + Duration::from_micros(1)) == k + 1, "{k}");
        }
        assert_eq!(schedule.due(start), 1);
        assert_eq!(Schedule::new(start + Duration::from_secs(1), 150.0).due(start), 0);
    }

    #[tokio::test]
    async fn a_late_turn_keeps_its_intended_time() {
        let start = Instant::now() - Duration::from_secs(1);
        let pace = Pace::open(start, Instant::now() + Duration::from_millis(300), 1_000.0);
        let mut turns = Vec::new();
        while let Some(turn) = pace.turn().await {
            turns.push(turn.intended.unwrap());
        }
        // A second's worth was overdue at once; each has its own time, a millisecond after the one before.
        assert!(turns.len() >= 1_000, "{}", turns.len());
        assert_eq!(turns[0], start);
        for pair in turns.windows(2) {
            let gap = pair[1].duration_since(pair[0]);
            assert!((gap.as_secs_f64() - 0.001).abs() < 1e-6);
        }
    }

    #[tokio::test]
    async fn a_closed_loop_ends_with_its_time() {
        let past = Pace::Closed { stop_at: Instant::now() };
        assert!(past.turn().await.is_none());
        let future = Pace::Closed { stop_at: Instant::now() + Duration::from_secs(60) };
        assert!(future.turn().await.unwrap().intended.is_none());
    }
}
