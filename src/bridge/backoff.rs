//! How long to wait before the broker is tried again.

use std::time::Duration;

/// Pauses that double up to a limit, each shortened at random by up to a half: a broker that comes back is not met by
/// all nodes at once.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        let share = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
        pause / 2 + (pause / 2).mul_f64(share)
    }

    /// It held: the next trouble starts small again.
    pub(super) const fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_small_again() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = Backoff::new(min, max);
        let mut bound = min;
        for _ in 0..12 {
            let pause = backoff.pause();
            assert!(pause >= bound / 2 && pause <= bound, "{pause:?} for {bound:?}");
            bound = (bound * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
