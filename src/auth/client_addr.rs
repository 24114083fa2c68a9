//! The true address of the caller (S250): the peer of the connection, unless that is a proxy we trust.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who is believed about other addresses.
#[derive(Debug, Clone, Default)]
pub struct ClientAddr {
    trusted: Vec<IpNet>,
}

impl ClientAddr {
    /// Believes `X-Forwarded-For` from `trusted` networks only.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted }
    }

    /// The caller's address: walking from the peer to the left through all `X-Forwarded-For` lines, the first hop
    /// that is not a trusted proxy. An element that cannot be read ends the walk at the last hop that could.
    #[must_use]
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let lines: Vec<&str> =
            headers.get_all(&X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?")).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(addr) = parse_hop(hop.trim()) else { break };
            client = addr;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn trusts(&self, addr: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&addr))
    }
}

/// `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:567`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let addr = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().expect("a header value"));
        }
        ClientAddr::new(trusted.into()).resolve(peer.parse().expect("an address"), &headers).to_string()
    }

    // S250
    #[test]
    fn a_spoofed_header_never_passes() {
        assert_eq!(check("203.0.113.9", &["10.1.1.1"]), "203.0.113.9");
        assert_eq!(check("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["1.1.1.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["198.51.100.7", "10.0.0.2,10.0.0.3"]), "198.51.100.7");
    }

    #[test]
    fn odd_elements_end_the_walk_at_the_last_good_hop() {
        assert_eq!(check("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &["unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(check("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["[2001:db8:2::1]:4711"]), "2001:db8:2::1");
        assert_eq!(check("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
    }
}
