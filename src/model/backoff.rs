//! How long to wait before trying again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Pauses that double up to a limit, each shortened at random by up to a half, so that several nodes do not knock in
/// step.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// The first pause is at most `min`, the longest at most `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        // The keys of a `RandomState` are random, and differ from one to the next.
        let share = RandomState::new().hash_one(0u8) as u32;
        pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// It worked: the next trouble starts small again.
    pub const fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_small_again() {
        let (min, max) = (Duration::from_millis(50), Duration::from_millis(5000));
        let mut backoff = Backoff::new(min, max);
        let mut bound = min;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause >= bound / 2 && pause <= bound, "{pause:?} for {bound:?}");
            bound = (bound * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
