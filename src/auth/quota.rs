//! The daily quota of one integration: a count of the UTC day, carried over a restart by [`super::Registry`].

use std::sync::atomic::{AtomicU64, Ordering};

use super::RateState;

/// Seconds of a day.
pub(super) const DAY_S: u64 = 86_400;
const USED_BITS: u32 = 32;

/// Day number and used count packed into one word.
#[derive(Debug, Default)]
pub(super) struct Quota(AtomicU64);

impl Quota {
    /// Takes one request of the UTC day that `now_s` falls in (S235), or tells why not. Without a `limit` the count
    /// goes on, so that a quota set at noon knows the morning.
    pub(super) fn take(&self, limit: Option<u32>, now_s: u64) -> Result<(), RateState> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (day, used) = current(word, now_s);
            if let Some(limit) = limit
                && used >= limit
            {
                return Err(RateState { limit, remaining: 0, reset_s: (day + 1) * DAY_S });
            }
            let next = day << USED_BITS | u64::from(used.saturating_add(1));
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(seen) => word = seen,
            }
        }
    }

    /// Requests used of the UTC day at `now_s`, and the second at which it ends.
    pub(super) fn peek(&self, now_s: u64) -> (u32, u64) {
        let (day, used) = current(self.0.load(Ordering::Acquire), now_s);
        (used, (day + 1) * DAY_S)
    }

    /// Day number (days since the Unix epoch) and requests used in it.
    pub(super) fn used(&self) -> (u64, u32) {
        let word = self.0.load(Ordering::Acquire);
        (word >> USED_BITS, word as u32)
    }

    /// Puts back what was saved before a restart, unless more was counted meanwhile.
    pub(super) fn restore(&self, day: u64, used: u32) {
        self.0.fetch_max(day << USED_BITS | u64::from(used), Ordering::AcqRel);
    }
}

fn current(word: u64, now_s: u64) -> (u64, u32) {
    let (day, used, today) = (word >> USED_BITS, word as u32, now_s / DAY_S);
    // A clock that steps back over midnight does not start yesterday again.
    if today > day { (today, 0) } else { (day, used) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S234, S235: the day ends at 00:00 UTC exactly, and the refusal points there.
    #[test]
    fn the_quota_ends_at_midnight_utc() {
        let quota = Quota::default();
        let noon = 20_000 * DAY_S + 43_200;
        assert_eq!(quota.take(Some(2), noon), Ok(()));
        assert_eq!(quota.take(Some(2), noon), Ok(()));
        let refused = RateState { limit: 2, remaining: 0, reset_s: 20_001 * DAY_S };
        assert_eq!(quota.take(Some(2), noon + 43_199), Err(refused));
        assert_eq!(quota.take(Some(2), noon + 43_200), Ok(()));
        assert_eq!(quota.used(), (20_001, 1));
    }

    // S232
    #[test]
    fn a_restored_count_goes_on() {
        let quota = Quota::default();
        quota.restore(20_000, 7);
        assert_eq!(quota.take(Some(8), 20_000 * DAY_S), Ok(()));
        assert!(quota.take(Some(8), 20_000 * DAY_S).is_err());
        quota.restore(20_000, 3);
        assert_eq!(quota.used(), (20_000, 8));
    }

    // S233: a quota set later knows what was used before.
    #[test]
    fn requests_are_counted_without_a_quota_too() {
        let quota = Quota::default();
        for _ in 0..5 {
            assert_eq!(quota.take(None, 86_400), Ok(()));
        }
        assert!(quota.take(Some(5), 86_400).is_err());
    }
}
