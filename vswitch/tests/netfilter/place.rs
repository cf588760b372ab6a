//! Who is where: the addresses around a router under test, and what they are called in scripts.
//!
//! The router has two interfaces, `lan` and `wan`. Behind each stands one neighbour (the test itself), and all hosts are behind
//! these, so there is nothing to resolve. Every sequence has hosts of its own: the last two octets of their addresses are the
//! number of the sequence, its *slot*. So a thousand sequences run in one router without meeting.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

/// An interface of the router, and what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    Lan,
    Wan,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Lan, Side::Wan];

    /// The name of the interface.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            Side::Lan => "lan",
            Side::Wan => "wan",
        }
    }

    /// The MAC address of the neighbour behind it.
    pub(crate) fn neighbour_mac(self) -> [u8; 6] {
        [2, 0, 0, 0, self as u8 + 1, 2]
    }

    /// The address of the neighbour behind it.
    pub(crate) fn neighbour(self, family: Family) -> IpAddr {
        address(match (self, family) {
            (Side::Lan, Family::V4) => "192.168.1.2",
            (Side::Lan, Family::V6) => "fd00:1::2",
            (Side::Wan, Family::V4) => "203.0.113.254",
            (Side::Wan, Family::V6) => "2001:db8:ff::fe",
        })
    }

    /// The router's addresses there, the primary one first, and the length of the prefix.
    pub(crate) fn router(self, family: Family) -> (&'static [&'static str], u8) {
        match (self, family) {
            (Side::Lan, Family::V4) => (&["192.168.1.1"], 24),
            (Side::Lan, Family::V6) => (&["fd00:1::1"], 64),
            (Side::Wan, Family::V4) => (&["203.0.113.1"], 24),
            (Side::Wan, Family::V6) => (&["2001:db8:ff::1"], 64),
        }
    }

    /// The networks behind the neighbour.
    pub(crate) fn networks(self, family: Family) -> &'static [&'static str] {
        match (self, family) {
            (Side::Lan, Family::V4) => &["10.0.0.0/8", "198.18.0.0/16"],
            (Side::Lan, Family::V6) => &["fd10::/16"],
            (Side::Wan, Family::V4) => &["100.64.0.0/12", "198.19.0.0/16"],
            (Side::Wan, Family::V6) => &["2001:db8::/40"],
        }
    }

    /// MTU of the interface: smaller to the outside, so that there is something to fragment.
    pub(crate) fn mtu(self) -> usize {
        match self {
            Side::Lan => 1500,
            Side::Wan => 1400,
        }
    }
}

/// Routes to nowhere: kind (as `ip route` calls it) and prefix.
pub(crate) fn dead_routes(family: Family) -> &'static [(&'static str, &'static str)] {
    match family {
        Family::V4 => &[
            ("blackhole", "198.51.100.0/24"),
            ("unreachable", "100.126.0.0/16"),
            ("prohibit", "100.125.0.0/16"),
            ("blackhole", "100.124.0.0/16"),
        ],
        Family::V6 => &[
            ("blackhole", "2001:db8:beef::/48"),
            ("unreachable", "2001:db8:fffe::/48"),
            ("prohibit", "2001:db8:fffd::/48"),
            ("blackhole", "2001:db8:fffc::/48"),
        ],
    }
}

/// Timeouts of connections that are too short by default to be compared at leisure: sysctl without `nf_conntrack_`, seconds.
pub(crate) const LONGER_TIMEOUTS: &[(&str, u64)] = &[
    ("sctp_timeout_cookie_wait", 51),
    ("sctp_timeout_cookie_echoed", 52),
    ("sctp_timeout_shutdown_sent", 53),
    ("sctp_timeout_shutdown_recd", 54),
    ("sctp_timeout_shutdown_ack_sent", 55),
];

/// An address of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// One of four hosts of the sequence on the inside.
    Lan(u8),
    /// One of four on the outside.
    Wan(u8),
    /// The router's address of an interface.
    Router(Side),
    /// A server on the inside that all sequences share: where rules translate to.
    Server,
    /// An address that rules translate from or to and that nobody has: 198.51.100.n.
    Pool(u8),
    /// Behind a route of kind unreachable, prohibit or blackhole, or behind none.
    Unreachable,
    Prohibited,
    Blackhole,
    NoRoute,
    /// What no packet may come from or go to through a router: loopback, multicast, broadcast, unspecified, class E.
    Martian(u8),
}

const MARTIANS: [[&str; 2]; 5] =
    [["127.0.0.1", "::1"], ["224.0.0.5", "ff0e::5"], ["255.255.255.255", "ff02::1:5"], ["0.0.0.0", "::"], ["240.0.0.1", "fec0::1"]];

impl Host {
    pub(crate) fn address(self, family: Family, slot: u16) -> IpAddr {
        let [high, low] = slot.to_be_bytes();
        let v4 = |a, b| IpAddr::from([a, b, high, low]);
        let v6 = |groups: [u16; 3]| IpAddr::from([groups[0], groups[1], groups[2], 0, 0, 0, 0, slot]);
        match (self, family) {
            (Host::Lan(n), Family::V4) => v4(10, n),
            (Host::Lan(n), Family::V6) => v6([0xfd10, n.into(), 0]),
            (Host::Wan(n), Family::V4) => v4(100, 64 + n),
            (Host::Wan(n), Family::V6) => v6([0x2001, 0xdb8, n.into()]),
            (Host::Router(side), _) => address(side.router(family).0[0]),
            (Host::Server, Family::V4) => address("10.9.0.80"),
            (Host::Server, Family::V6) => address("fd10:9::80"),
            (Host::Pool(n), Family::V4) => Ipv4Addr::new(198, 51, 100, n).into(),
            (Host::Pool(n), Family::V6) => Ipv6Addr::new(0x2001, 0xdb8, 0xbeef, 0, 0, 0, 0, n.into()).into(),
            (Host::Unreachable, Family::V4) => v4(100, 126),
            (Host::Unreachable, Family::V6) => v6([0x2001, 0xdb8, 0xfffe]),
            (Host::Prohibited, Family::V4) => v4(100, 125),
            (Host::Prohibited, Family::V6) => v6([0x2001, 0xdb8, 0xfffd]),
            (Host::Blackhole, Family::V4) => v4(100, 124),
            (Host::Blackhole, Family::V6) => v6([0x2001, 0xdb8, 0xfffc]),
            (Host::NoRoute, Family::V4) => v4(172, 16),
            (Host::NoRoute, Family::V6) => v6([0x2400, 0, 0]),
            // Of these there are enough for each sequence to have its own.
            (Host::Martian(4), Family::V4) => v4(240, 0),
            (Host::Martian(4), Family::V6) => v6([0xfec0, 0, 0]),
            (Host::Martian(n), _) => address(MARTIANS[usize::from(n) % MARTIANS.len()][usize::from(family == Family::V6)]),
        }
    }

    /// Where it is, so where a packet from it comes in. The router itself and nobody's addresses count as outside.
    pub(crate) fn side(self) -> Side {
        match self {
            Host::Lan(_) | Host::Server => Side::Lan,
            Host::Router(side) => side,
            _ => Side::Wan,
        }
    }

    /// What an address is called.
    pub(crate) fn name(address: IpAddr, slot: u16) -> String {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let few = (0..4).flat_map(|n| [Host::Lan(n), Host::Wan(n)]);
        let others = [
            Host::Router(Side::Lan),
            Host::Router(Side::Wan),
            Host::Server,
            Host::Unreachable,
            Host::Prohibited,
            Host::Blackhole,
            Host::NoRoute,
            Host::Martian(4),
        ];
        few.chain(others).find(|host| host.address(family, slot) == address).map_or_else(|| address.to_string(), |host| host.to_string())
    }

    /// The slot in an address of a host, whatever the host.
    pub(crate) fn slot(address: IpAddr) -> Option<u16> {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, high, low] = v4.octets();
                (matches!((a, b), (10, 0..4) | (100, _) | (172, 16) | (240, 0))).then(|| u16::from_be_bytes([high, low]))
            }
            IpAddr::V6(v6) => {
                let groups = v6.segments();
                let has = matches!(groups[..3], [0xfd10, 0..4, 0] | [0x2001, 0xdb8, 0..4 | 0xfffc..=0xfffe] | [0x2400 | 0xfec0, 0, 0]);
                (has && groups[3..7] == [0; 4]).then_some(groups[7])
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Lan(n) => write!(f, "lan{n}"),
            Host::Wan(n) => write!(f, "wan{n}"),
            Host::Router(side) => write!(f, "router-{}", side.interface()),
            Host::Server => write!(f, "server"),
            Host::Pool(n) => write!(f, "pool{n}"),
            Host::Unreachable => write!(f, "unreachable"),
            Host::Prohibited => write!(f, "prohibited"),
            Host::Blackhole => write!(f, "blackhole"),
            Host::NoRoute => write!(f, "no-route"),
            Host::Martian(n) => write!(f, "{}", MARTIANS[usize::from(*n) % MARTIANS.len()][0]),
        }
    }
}

/// # Panics
///
/// If `text` is no address.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
