//! The limit on failed attempts of one address: before any cryptography, so that guessing costs us nothing.
//!
//! The right place for GCRA (`api.md` §4): no window is promised to strangers. IPv6 counts by /64.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DashMapStateStore,
};
use moka::sync::Cache;

use super::RateState;

/// Requests between two clean-ups of addresses that have recovered.
const CLEANUP_EVERY: u64 = 4_096;

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock>;

/// Failed attempts, by address.
pub(super) struct Failures {
    limiter: Limiter,
    per_minute: NonZeroU32,
    /// Addresses that are shut out for now, with the Unix second at which they may try again.
    blocked: Cache<IpAddr, u64>,
    counted: AtomicU64,
}

impl std::fmt::Debug for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failures").field("per_minute", &self.per_minute).finish_non_exhaustive()
    }
}

impl Failures {
    /// At most `per_minute` failures a minute from one address, remembering `addresses_max` of those shut out.
    pub(super) fn new(per_minute: NonZeroU32, addresses_max: u64) -> Self {
        let blocked = Cache::builder().max_capacity(addresses_max).time_to_live(Duration::from_secs(60)).build();
        Self { limiter: RateLimiter::dashmap(Quota::per_minute(per_minute)), per_minute, blocked, counted: 0.into() }
    }

    /// The Unix second until which `addr` is shut out, if it is.
    pub(super) fn blocked_until_s(&self, addr: IpAddr, now_s: u64) -> Option<u64> {
        // The common case is that nobody is shut out: then no address has to be hashed.
        if self.blocked.entry_count() == 0 && self.counted.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.blocked.get(&network(addr)).filter(|&until_s| until_s > now_s)
    }

    /// Counts a failure of `addr`; one too many shuts it out until the limiter would let the next one pass.
    pub(super) fn count(&self, addr: IpAddr, now_s: u64) {
        let key = network(addr);
        if let Err(early) = self.limiter.check_key(&key) {
            let wait = early.wait_time_from(self.limiter.clock().now());
            self.blocked.insert(key, now_s + wait.as_secs() + 1);
        }
        if self.counted.fetch_add(1, Ordering::Relaxed) % CLEANUP_EVERY == CLEANUP_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    /// What a caller without proven credentials is shown (A23): the policy, and whether the address is shut out. It
    /// says nothing about any integration.
    pub(super) fn rate_state(&self, addr: IpAddr, now_s: u64) -> RateState {
        let limit = self.per_minute.get();
        match self.blocked_until_s(addr, now_s) {
            Some(until_s) => RateState { limit, remaining: 0, reset_s: until_s },
            None => RateState { limit, remaining: limit, reset_s: now_s + super::window::WINDOW_S },
        }
    }
}

/// The address that is counted: IPv4 whole, IPv6 by its /64, since a host has that many to choose from.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_the_limit_shut_the_address_out_and_nobody_else() {
        let failures = Failures::new(NonZeroU32::new(3).expect("not 0"), 100);
        let (bad, good) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from([203, 0, 113, 2]));
        for _ in 0..3 {
            failures.count(bad, 1_000);
            assert_eq!(failures.blocked_until_s(bad, 1_000), None);
        }
        failures.count(bad, 1_000);
        let until_s = failures.blocked_until_s(bad, 1_000).expect("shut out");
        assert!((1_001..=1_061).contains(&until_s));
        assert_eq!(failures.rate_state(bad, 1_000), RateState { limit: 3, remaining: 0, reset_s: until_s });
        assert_eq!(failures.blocked_until_s(bad, until_s), None);
        assert_eq!(failures.blocked_until_s(good, 1_000), None);
    }

    #[test]
    fn ipv6_counts_by_its_64_bit_network() {
        let a: IpAddr = "2001:db8::1".parse().expect("an address");
        let b: IpAddr = "2001:db8::ffff:1".parse().expect("an address");
        let c: IpAddr = "2001:db8:0:1::1".parse().expect("an address");
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network(c));
    }
}
