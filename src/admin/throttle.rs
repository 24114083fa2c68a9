//! Failed sign-ins, by address and by account: guessing is slowed down before a password is hashed.
//!
//! GCRA counts failures only, so that people who know their password are never in the way of each other. An account
//! that is being guessed at is closed for seconds at a time, not locked.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DashMapStateStore,
};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

/// Failures between two clean-ups of those that have recovered.
const CLEANUP_EVERY: u64 = 1_024;

/// Who failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// SHA-256 of the address in lower case: attackers choose its length, we do not keep it.
    Account([u8; 32]),
}

type Limiter = RateLimiter<Key, DashMapStateStore<Key>, DefaultClock>;

/// Failed sign-ins and who has to wait.
pub(super) struct Throttle {
    addresses: Limiter,
    accounts: Limiter,
    waiting: Cache<Key, Instant>,
    counted: AtomicU64,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

impl Throttle {
    /// So many failures a minute from one address (IPv6: one /64) and for one account, remembering `failing_max` of
    /// those who have to wait.
    pub(super) fn new(per_address: u32, per_account: u32, failing_max: u64) -> Self {
        let limiter = |per_minute: u32| {
            RateLimiter::dashmap(Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN)))
        };
        Self {
            addresses: limiter(per_address),
            accounts: limiter(per_account),
            waiting: Cache::builder().max_capacity(failing_max).time_to_live(Duration::from_secs(60)).build(),
            counted: AtomicU64::new(0),
        }
    }

    /// How long a sign-in from `ip` to `account` has to wait, in seconds; none: it may go on.
    pub(super) fn wait_s(&self, ip: Option<IpAddr>, account: &str) -> Option<u64> {
        let now = Instant::now();
        let waits = keys(ip, account).into_iter().flatten().filter_map(|key| self.waiting.get(&key));
        waits.max().filter(|until| *until > now).map(|until| until.duration_since(now).as_secs() + 1)
    }

    /// Counts a failed sign-in.
    pub(super) fn count(&self, ip: Option<IpAddr>, account: &str) {
        for key in keys(ip, account).into_iter().flatten() {
            let limiter = match key {
                Key::Address(_) => &self.addresses,
                Key::Account(_) => &self.accounts,
            };
            if let Err(early) = limiter.check_key(&key) {
                self.waiting.insert(key, Instant::now() + early.wait_time_from(limiter.clock().now()));
            }
        }
        if self.counted.fetch_add(1, Ordering::Relaxed) % CLEANUP_EVERY == CLEANUP_EVERY - 1 {
            for limiter in [&self.addresses, &self.accounts] {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
    }
}

fn keys(ip: Option<IpAddr>, account: &str) -> [Option<Key>; 2] {
    let account = Sha256::digest(account.to_lowercase().as_bytes()).into();
    [ip.map(|ip| Key::Address(network(ip))), Some(Key::Account(account))]
}

/// IPv4 whole, IPv6 by its /64, since a host has that many addresses to choose from.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1)));
    const THERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 2)));

    #[test]
    fn guessing_at_one_account_closes_it_for_a_while_from_everywhere() {
        let throttle = Throttle::new(1_000, 3, 100);
        for _ in 0..3 {
            throttle.count(HERE, "ann@example.test");
            assert_eq!(throttle.wait_s(HERE, "ann@example.test"), None);
        }
        throttle.count(HERE, "ANN@example.test");
        assert!(throttle.wait_s(THERE, "Ann@Example.test").is_some_and(|wait_s| (1..=61).contains(&wait_s)));
        assert_eq!(throttle.wait_s(HERE, "bob@example.test"), None);
    }

    #[test]
    fn guessing_from_one_address_closes_it_for_every_account() {
        let throttle = Throttle::new(3, 1_000, 100);
        for i in 0..4 {
            throttle.count(HERE, &format!("user{i}@example.test"));
        }
        assert!(throttle.wait_s(HERE, "somebody@example.test").is_some());
        assert_eq!(throttle.wait_s(THERE, "somebody@example.test"), None);
    }
}
