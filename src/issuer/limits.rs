//! How often a token may be asked for. The right place for GCRA (`api.md` §4): no window is promised here.
//!
//! The address is counted before anything is looked up, the client only once its secret has been shown: otherwise
//! anybody who knows a client's id could keep it from its tokens.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use moka::sync::Cache;

use super::Config;

/// After a minute without requests a limit of so many a minute is whole again, so that it can be forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(61);

/// A limit per key, with a bound on the keys remembered.
struct Limit<K> {
    per_minute: NonZeroU32,
    limiters: Cache<K, Arc<DefaultDirectRateLimiter>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Limit<K> {
    fn new(per_minute: u32, keys_max: u64) -> Self {
        Self {
            per_minute: NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN),
            limiters: Cache::builder().max_capacity(keys_max).time_to_idle(FORGOTTEN_AFTER).build(),
        }
    }

    /// Counts a request; refused, it tells the seconds after which the next one passes.
    fn admit(&self, key: K) -> Result<(), u64> {
        let limiter = self.limiters.get_with(key, || Arc::new(RateLimiter::direct(Quota::per_minute(self.per_minute))));
        limiter.check().map_err(|early| early.wait_time_from(limiter.clock().now()).as_secs() + 1)
    }
}

/// The limits of the token end point.
pub(super) struct Limits {
    addresses: Limit<IpAddr>,
    clients: Limit<Box<str>>,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            addresses: Limit::new(config.address_requests_per_minute, config.limited_keys_max),
            clients: Limit::new(config.client_tokens_per_minute, config.limited_keys_max),
        }
    }

    /// A request from `addr` (none: all that cannot be told apart count together).
    pub(super) fn admit_address(&self, addr: Option<IpAddr>) -> Result<(), u64> {
        self.addresses.admit(network(addr.unwrap_or(Ipv6Addr::UNSPECIFIED.into())))
    }

    /// A token for a client that has shown its secret.
    pub(super) fn admit_client(&self, client_id: &str) -> Result<(), u64> {
        self.clients.admit(client_id.into())
    }
}

/// IPv4 whole, IPv6 by its /64, since a host has that many to choose from.
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
    fn each_key_has_its_own_limit_and_is_told_when_to_come_back() {
        let limit = Limit::new(2, 100);
        assert_eq!(limit.admit("a"), Ok(()));
        assert_eq!(limit.admit("a"), Ok(()));
        let wait_s = limit.admit("a").expect_err("one too many");
        assert!((1..=31).contains(&wait_s), "{wait_s}");
        assert_eq!(limit.admit("b"), Ok(()));
    }

    #[test]
    fn the_keys_remembered_are_bounded() {
        let limit = Limit::new(2, 100);
        for key in 0..10_000u32 {
            assert_eq!(limit.admit(key), Ok(()));
        }
        limit.limiters.run_pending_tasks();
        assert!(limit.limiters.entry_count() <= 100);
    }

    #[test]
    fn addresses_of_one_host_count_together() {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(network(parse("2001:db8::1")), network(parse("2001:db8::ffff:1")));
        assert_ne!(network(parse("2001:db8::1")), network(parse("2001:db8:0:1::1")));
        assert_eq!(network(parse("::ffff:10.0.0.1")), parse("10.0.0.1"));
    }
}
