//! Whether an address is on an integration's allowlist.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether `addr` may call. No list lets everybody in (S237), an empty one nobody (S247). Fifty entries at most, so a
/// linear scan is the fastest there is. `addr` is compared in its canonical form: `::ffff:10.0.0.1` is 10.0.0.1 (S248).
pub(super) fn allows(allowlist: Option<&[IpNet]>, addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    allowlist.is_none_or(|nets| nets.iter().any(|net| net.contains(&addr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(nets: &[&str], addr: &str) -> bool {
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().expect("a network")).collect();
        allows(Some(&nets), addr.parse().expect("an address"))
    }

    // S237, S238, S240, S241, S247, S248
    #[test]
    fn only_listed_networks_pass() {
        assert!(allows(None, "203.0.113.1".parse().expect("an address")));
        assert!(!check(&[], "203.0.113.1"));
        assert!(check(&["10.0.0.1/32"], "10.0.0.1") && !check(&["10.0.0.1/32"], "10.0.0.2"));
        for (addr, passes) in
            [("192.168.1.0", true), ("192.168.1.255", true), ("192.168.0.255", false), ("192.168.2.0", false)]
        {
            assert_eq!(check(&["192.168.1.0/24"], addr), passes, "{addr}");
        }
        assert!(check(&["10.0.0.1/32"], "::ffff:10.0.0.1"));
        assert!(check(&["2001:db8::/32"], "2001:db8::7") && !check(&["2001:db8::/32"], "2001:db9::7"));
        assert!(!check(&["::/0"], "10.0.0.1"));
    }
}
