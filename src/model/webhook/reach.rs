//! Which addresses lead out, which stay inside, and which must never be sent to (RFC 6890 and the IANA registries).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the Internet.
    Public,
    /// Into a private network, or to this machine: only where it is allowed.
    Private,
    /// To many, to nobody, to the neighbours on the wire or to a cloud's metadata: whatever the configuration says.
    Never,
}

/// Network, bits of its prefix, where it leads. The first that holds an address says.
const V4: &[([u8; 4], u32, Reach)] = &[
    ([168, 63, 129, 16], 32, Reach::Never),   // Azure's own services
    ([100, 100, 100, 200], 32, Reach::Never), // Alibaba's metadata
    ([0, 0, 0, 0], 8, Reach::Never),
    ([169, 254, 0, 0], 16, Reach::Never), // link-local, metadata of most clouds
    ([192, 0, 0, 0], 24, Reach::Never),
    ([192, 0, 2, 0], 24, Reach::Never),
    ([192, 88, 99, 0], 24, Reach::Never),
    ([198, 18, 0, 0], 15, Reach::Never),
    ([198, 51, 100, 0], 24, Reach::Never),
    ([203, 0, 113, 0], 24, Reach::Never),
    ([224, 0, 0, 0], 3, Reach::Never), // multicast and reserved
    ([10, 0, 0, 0], 8, Reach::Private),
    ([100, 64, 0, 0], 10, Reach::Private),
    ([127, 0, 0, 0], 8, Reach::Private),
    ([172, 16, 0, 0], 12, Reach::Private),
    ([192, 168, 0, 0], 16, Reach::Private),
];

/// The same for IPv6; what none of them holds leads nowhere: NAT64, v4-compatible, link-local, multicast and the rest.
const V6: &[([u16; 8], u32, Reach)] = &[
    ([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254], 128, Reach::Never), // Amazon's metadata
    ([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254], 128, Reach::Never), // Google's metadata
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Reach::Private),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Reach::Private),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Reach::Never), // Teredo and other protocols
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32, Reach::Never),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Reach::Never), // 6to4
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Reach::Never),
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, Reach::Public),
];

/// Where `ip` leads; an IPv4 address inside an IPv6 one counts as itself.
#[must_use]
pub fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let holds = |net: [u8; 4], bits: u32| (u32::from(ip) ^ u32::from(Ipv4Addr::from(net))) >> (32 - bits) == 0;
            V4.iter().find(|(net, bits, _)| holds(*net, *bits)).map_or(Reach::Public, |(_, _, reach)| *reach)
        }
        IpAddr::V6(ip) => {
            let holds =
                |net: [u16; 8], bits: u32| (u128::from(ip) ^ u128::from(Ipv6Addr::from(net))) >> (128 - bits) == 0;
            V6.iter().find(|(net, bits, _)| holds(*net, *bits)).map_or(Reach::Never, |(_, _, reach)| *reach)
        }
    }
}
