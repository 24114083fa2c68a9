//! How many connections one address may hold, so that a single neighbour cannot take them all.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Counts connections by address; an IPv6 caller is counted by its /64, which is what one subscriber gets.
#[derive(Debug)]
pub(super) struct AddressCap {
    max: usize,
    held: Mutex<FxHashMap<IpAddr, usize>>,
}

impl AddressCap {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, held: Mutex::default() })
    }

    /// A place for one more connection of `addr`, or none if it holds the maximum already.
    pub(super) fn enter(self: &Arc<Self>, addr: IpAddr) -> Option<AddressSlot> {
        let network = network(addr);
        let mut held = self.held.lock();
        let count = held.entry(network).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(AddressSlot { cap: Arc::clone(self), network })
    }
}

fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct AddressSlot {
    cap: Arc<AddressCap>,
    network: IpAddr,
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut held = self.cap.held.lock();
        if let Some(count) = held.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AddressCap;

    #[test]
    fn an_address_gets_its_maximum_and_gives_back_what_it_leaves() {
        let cap = AddressCap::new(2);
        let enter = |addr: &str| cap.enter(addr.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _mapped = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none(), "the mapped form is the same address");
        assert!(enter("192.0.2.2").is_some(), "its neighbour is not harmed");
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        let _one = enter("2001:db8:1:2::1").unwrap();
        let _two = enter("2001:db8:1:2:ffff::9").unwrap();
        assert!(enter("2001:db8:1:2:3::").is_none(), "one /64 counts as one caller");
        assert!(enter("2001:db8:1:3::1").is_some());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let cap = AddressCap::new(1);
        for last in 0..=255 {
            drop(cap.enter([10, 0, 0, last].into()).unwrap());
        }
        assert!(cap.held.lock().is_empty());
    }
}
