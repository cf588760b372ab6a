//! Which way packets go: the routes of one family of one router, with the longest prefix that holds an address.
//!
//! A [`Fib`] is made once for a configuration and never changes. Prefixes nest, so together they cut the address space into
//! ranges with one best route each, and a lookup is a binary search among the starts of the ranges. The upper bits of an IPv4
//! address say between which of them to search: most addresses of the Internet have the default route and nothing to search.
//! Of an IPv6 address the upper half is searched first, which seldom leaves a choice.
//!
//! IPv6 link-local addresses mean another link at each interface (RFC 4007), so routes to them are kept by interface, and
//! only [`Fib::lookup_on`] finds them.

use super::address::{Address, Family};
use super::{Interface, InterfaceAddress, InterfaceId, RpFilter};

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Network; bits behind the prefix are ignored.
    pub prefix: Address,
    /// Bits of the prefix.
    pub len: u8,
    /// Where to.
    pub kind: RouteKind,
    /// Of routes with the same prefix the one with the lowest metric counts; of those the first.
    pub metric: u32,
}

/// What becomes of packets of a route (Linux `RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// They are for the router itself: an address of this interface.
    Local {
        /// Whose address it is.
        interface: InterfaceId,
    },
    /// They are for every station at this interface.
    Broadcast {
        /// Whose network it is.
        interface: InterfaceId,
    },
    /// They leave by an interface.
    Unicast {
        /// By which.
        interface: InterfaceId,
        /// The next router; `None` when the destination itself is at the interface.
        via: Option<Address>,
    },
    /// They are dropped silently.
    Blackhole,
    /// They are dropped with ICMP host unreachable, ICMPv6 no route.
    Unreachable,
    /// They are dropped with ICMP administratively prohibited.
    Prohibit,
}

impl RouteKind {
    /// The interface, for those that have one.
    #[inline]
    pub const fn interface(self) -> Option<InterfaceId> {
        match self {
            RouteKind::Local { interface } | RouteKind::Broadcast { interface } | RouteKind::Unicast { interface, .. } => Some(interface),
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit => None,
        }
    }

    /// Linux asks the table `local` before any other, so its routes beat others with the same prefix whatever their metric.
    const fn is_in_local_table(self) -> bool {
        matches!(self, RouteKind::Local { .. } | RouteKind::Broadcast { .. })
    }
}

/// What kind of address one is, seen from a router (match `addrtype`, proxy ARP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// Unspecified: 0.0.0.0 counts as broadcast in Linux, so only `::`.
    Unspecified,
    /// An address of the router.
    Local,
    /// A broadcast address of a network of the router, 255.255.255.255, or 0.0.0.0/8.
    Broadcast,
    /// A station, as far as is known: also when no route leads there.
    Unicast,
    /// A group.
    Multicast,
    /// A blackhole route leads there.
    Blackhole,
    /// An unreachable route leads there.
    Unreachable,
    /// A prohibit route leads there.
    Prohibit,
}

/// The routes of one family.
#[derive(Debug)]
pub struct Fib {
    family: Family,
    routes: Box<[Route]>,
    global: Ranges,
    /// By interface.
    link_local: Vec<(InterfaceId, Ranges)>,
}

/// Ranges of addresses; each ends where the next starts. The first starts at 0.
#[derive(Debug)]
struct Ranges {
    starts: Starts,
    /// The route of each, as an index, or [`Ranges::NONE`].
    best: Box<[u32]>,
}

#[derive(Debug)]
enum Starts {
    V4 {
        starts: Box<[u32]>,
        /// By the upper bits of an address: starts up to the first address with these bits, and at last all of them.
        index: Box<[u32]>,
        /// Of an address, below those bits.
        shift: u32,
    },
    /// The halves of the addresses.
    V6 { upper: Box<[u64]>, lower: Box<[u64]> },
}

impl Starts {
    fn new(family: Family, starts: impl Iterator<Item = u128> + Clone) -> Starts {
        match family {
            Family::V4 => {
                let starts: Box<[u32]> = starts.map(|start| start as u32).collect();
                let bits = if starts.len() < 4096 { 8 } else { 16 };
                let shift = 32 - bits;
                let before = |top: u32| starts.partition_point(|start| *start <= top << shift) as u32;
                let index = (0..1 << bits).map(before).chain([starts.len() as u32]).collect();
                Starts::V4 { starts, index, shift }
            }
            Family::V6 => {
                let upper = starts.clone().map(|start| (start >> 64) as u64).collect();
                Starts::V6 { upper, lower: starts.map(|start| start as u64).collect() }
            }
        }
    }

    /// How many start at or before an address.
    #[inline]
    fn up_to(&self, address: Address) -> usize {
        match self {
            Starts::V4 { starts, index, shift } => {
                let address = address.0 as u32;
                let top = (address >> shift) as usize;
                let (from, to) = (index[top] as usize, index[top + 1] as usize);
                from + starts[from..to].partition_point(|start| *start <= address)
            }
            Starts::V6 { upper, lower } => {
                let (high, low) = ((address.0 >> 64) as u64, address.0 as u64);
                let to = upper.partition_point(|start| *start <= high);
                if upper[to - 1] != high || lower[to - 1] <= low {
                    return to;
                }
                let from = upper.partition_point(|start| *start < high);
                from + lower[from..to].partition_point(|start| *start <= low)
            }
        }
    }
}

impl Ranges {
    const NONE: u32 = u32::MAX;

    /// `routes` in order of prefix and length, no two alike; `index` says which route of the table each is.
    fn new(family: Family, routes: &[Route], index: &[u32]) -> Ranges {
        let mut starts = vec![(0u128, Ranges::NONE)];
        let mut add = |start: u128, route: u32| match starts.last_mut() {
            Some(last) if last.0 == start => last.1 = route,
            _ => starts.push((start, route)),
        };
        // The prefixes around the current one, with the last address of each.
        let mut around: Vec<(u128, u32)> = Vec::new();
        let outer = |around: &[(u128, u32)]| around.last().map_or(Ranges::NONE, |last| last.1);
        for i in index {
            let route = &routes[*i as usize];
            let (start, end) = (route.prefix.0, route.prefix.0 | Address::host_mask(family, route.len));
            while let Some((last, _)) = around.pop_if(|(last, _)| *last < start) {
                add(last + 1, outer(&around));
            }
            add(start, *i);
            around.push((end, *i));
        }
        let top = Address::host_mask(family, 0);
        while let Some((last, _)) = around.pop() {
            if last < top {
                add(last + 1, outer(&around));
            }
        }
        starts.dedup_by_key(|(_, route)| *route);
        let best = starts.iter().map(|(_, route)| *route).collect();
        Ranges { starts: Starts::new(family, starts.iter().map(|(start, _)| *start)), best }
    }

    #[inline]
    fn find(&self, address: Address) -> u32 {
        // The first range starts at 0, so there is one at or before every address.
        self.best[self.starts.up_to(address) - 1]
    }
}

impl Fib {
    /// A table of these routes. An interface of an IPv6 route to link-local addresses is the one they are reached by.
    ///
    /// # Panics
    ///
    /// If a prefix is longer than an address of the family, in debug builds.
    pub fn new(family: Family, mut routes: Vec<Route>) -> Fib {
        for route in &mut routes {
            route.prefix.0 &= !Address::host_mask(family, route.len);
        }
        // Stable, so that of equal routes the first stays.
        routes.sort_by_key(|route| (route.prefix, route.len, !route.kind.is_in_local_table(), route.metric));
        let scope = |route: &Route| route.kind.interface().filter(|_| family == Family::V6 && route.prefix.is_link_local(family));
        let mut interfaces: Vec<InterfaceId> = routes.iter().filter_map(scope).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        let ranges_of = |wanted: Option<InterfaceId>| {
            let of_scope = (0u32..).zip(&routes).filter(|(_, route)| scope(route) == wanted);
            let mut index: Vec<u32> = of_scope.map(|(i, _)| i).collect();
            index.dedup_by_key(|i| (routes[*i as usize].prefix, routes[*i as usize].len));
            Ranges::new(family, &routes, &index)
        };
        let global = ranges_of(None);
        let link_local = interfaces.into_iter().map(|interface| (interface, ranges_of(Some(interface)))).collect();
        Fib { family, routes: routes.into(), global, link_local }
    }

    /// The routes that come with the addresses of interfaces: the addresses themselves, their networks, and the broadcast
    /// addresses of these. As `fib_add_ifaddr` (`net/ipv4/fib_frontend.c`), where the lowest address of a network is a
    /// station's since Linux 5.14, and `addrconf_prefix_route` (`net/ipv6/addrconf.c`).
    pub fn routes_of<'i>(family: Family, interfaces: impl IntoIterator<Item = (InterfaceId, &'i Interface)>) -> Vec<Route> {
        let mut routes = Vec::new();
        for (id, interface) in interfaces {
            for own in interface.addresses.iter().filter(|own| own.family == family) {
                let (bits, len, mask) = (family.bits(), own.prefix_len, Address::host_mask(family, own.prefix_len));
                routes.push(Route { prefix: own.address, len: bits, kind: RouteKind::Local { interface: id }, metric: 0 });
                if len < bits {
                    let metric = if family == Family::V4 { 0 } else { 256 };
                    let prefix = Address(own.address.0 & !mask);
                    routes.push(Route { prefix, len, kind: RouteKind::Unicast { interface: id, via: None }, metric });
                }
                if family == Family::V4 && len < 31 {
                    let prefix = Address(own.address.0 | mask);
                    routes.push(Route { prefix, len: bits, kind: RouteKind::Broadcast { interface: id }, metric: 0 });
                }
            }
        }
        routes
    }

    /// The route with the longest prefix that holds `address`. None for IPv6 link-local addresses.
    #[inline]
    pub fn lookup(&self, address: Address) -> Option<&Route> {
        // No route to all addresses is one to these.
        if self.family == Family::V6 && address.is_link_local(Family::V6) {
            return None;
        }
        self.routes.get(self.global.find(address) as usize)
    }

    /// As [`Fib::lookup`], for an address that was seen or is to be reached at `interface`: it also finds IPv6 link-local
    /// addresses.
    #[inline]
    pub fn lookup_on(&self, address: Address, interface: InterfaceId) -> Option<&Route> {
        if self.family == Family::V6 && address.is_link_local(Family::V6) {
            let ranges = self.link_local.iter().find(|(id, _)| *id == interface).map(|(_, ranges)| ranges)?;
            return self.routes.get(ranges.find(address) as usize);
        }
        self.lookup(address)
    }

    /// All routes, in order of prefix and length; also those that others with the same prefix hide.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether a packet from `source` may have come in by `interface` (`__fib_validate_source`, `net/ipv4/fib_frontend.c`).
    ///
    /// An address of the router itself never may, whatever the filter says; where nothing but a blackhole, unreachable or
    /// prohibit route leads to the source, neither filter lets it pass. The unspecified address may: what it may be used
    /// for is not a question of routes.
    pub fn rp_filter_ok(&self, filter: RpFilter, interface: InterfaceId, source: Address) -> bool {
        if source == Address::UNSPECIFIED {
            return true;
        }
        match self.lookup_on(source, interface).map(|route| route.kind) {
            Some(RouteKind::Local { .. } | RouteKind::Broadcast { .. }) => false,
            Some(RouteKind::Unicast { interface: best, .. }) => filter != RpFilter::Strict || best == interface,
            Some(RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit) | None => filter == RpFilter::Off,
        }
    }

    /// What kind of address one is; with `interface`, addresses and broadcast addresses of others are stations
    /// (`--limit-iface-in`, `--limit-iface-out`).
    ///
    /// Unlike `inet_addr_type` (`net/ipv4/fib_frontend.c`), which reports every route but those of table `local` as unicast,
    /// it tells blackhole, unreachable and prohibit routes apart, as the names promise.
    pub fn address_type(&self, address: Address, interface: Option<InterfaceId>) -> AddressType {
        if address.is_multicast(self.family) {
            return AddressType::Multicast;
        }
        match self.family {
            Family::V4 if address.0 >> 24 == 0 || address.0 == u128::from(u32::MAX) => return AddressType::Broadcast,
            Family::V6 if address == Address::UNSPECIFIED => return AddressType::Unspecified,
            _ => {}
        }
        let ours = |of: InterfaceId| interface.is_none_or(|interface| interface == of);
        let route = match interface {
            Some(interface) => self.lookup_on(address, interface),
            None => self.lookup(address).or_else(|| self.local_on_any(address)),
        };
        match route.map(|route| route.kind) {
            Some(RouteKind::Local { interface }) if ours(interface) => AddressType::Local,
            Some(RouteKind::Broadcast { interface }) if ours(interface) => AddressType::Broadcast,
            Some(RouteKind::Blackhole) => AddressType::Blackhole,
            Some(RouteKind::Unreachable) => AddressType::Unreachable,
            Some(RouteKind::Prohibit) => AddressType::Prohibit,
            Some(RouteKind::Local { .. } | RouteKind::Broadcast { .. } | RouteKind::Unicast { .. }) | None => AddressType::Unicast,
        }
    }

    /// The route of a link-local address that some interface has.
    fn local_on_any(&self, address: Address) -> Option<&Route> {
        let found = self.link_local.iter().filter_map(|(_, ranges)| self.routes.get(ranges.find(address) as usize));
        let mut found = found.filter(|route| route.kind.is_in_local_table());
        found.next()
    }
}

/// The address of `interface` a packet of the router's own to `destination` has as its source: one in the same network, else
/// the primary one (`inet_select_addr`, `net/ipv4/devinet.c`). In IPv6 one of the same scope first, then the one that has the
/// most leading bits in common (RFC 6724 section 5, rules 2 and 8).
pub fn source_address(interface: &Interface, family: Family, destination: Address) -> Option<Address> {
    source_among(&interface.addresses, family, destination)
}

/// As [`source_address`], for these addresses of an interface.
pub fn source_among(addresses: &[InterfaceAddress], family: Family, destination: Address) -> Option<Address> {
    let of_family = || addresses.iter().filter(|own| own.family == family);
    match family {
        Family::V4 => {
            let near = of_family().find(|own| destination.is_in(family, own.address, own.prefix_len));
            near.or_else(|| of_family().next()).map(|own| own.address)
        }
        Family::V6 => {
            let local = destination.is_link_local(family) || (destination.is_multicast(family) && destination.0 >> 112 & 0xf <= 2);
            let rank = |own: Address| (own.is_link_local(family) == local, (own.0 ^ destination.0).leading_zeros());
            // Of equals the first: `max_by_key` gives the last.
            of_family().rev().map(|own| own.address).max_by_key(|own| rank(*own))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::PortId;
    use core::net::IpAddr;
    use proptest::prelude::*;
    use wire::MacAddr;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn route(prefix: &str, len: u8, kind: RouteKind, metric: u32) -> Route {
        Route { prefix: address(prefix), len, kind, metric }
    }

    fn unicast(interface: u8) -> RouteKind {
        RouteKind::Unicast { interface: InterfaceId(interface), via: None }
    }

    fn interface(addresses: &[(&str, u8)]) -> Interface {
        let addresses = addresses.iter().map(|(text, prefix_len)| {
            let ip: IpAddr = text.parse().unwrap();
            InterfaceAddress { family: ip.into(), address: ip.into(), prefix_len: *prefix_len }
        });
        Interface {
            port: PortId(0),
            mac: MacAddr::ZERO,
            mtu: 1500,
            addresses: addresses.collect(),
            rp_filter: RpFilter::Off,
            waiting: Default::default(),
        }
    }

    fn gateway() -> Fib {
        let (lan, wan) = (interface(&[("192.168.45.2", 24)]), interface(&[("203.0.113.2", 30), ("198.51.100.7", 32)]));
        let mut routes = Fib::routes_of(Family::V4, [(InterfaceId(0), &lan), (InterfaceId(1), &wan)]);
        let via = Some(address("203.0.113.1"));
        routes.push(route("0.0.0.0", 0, RouteKind::Unicast { interface: InterfaceId(1), via }, 100));
        routes.push(route("10.0.0.0", 8, RouteKind::Blackhole, 0));
        routes.push(route("10.1.0.0", 16, unicast(0), 5));
        routes.push(route("10.2.0.0", 16, RouteKind::Unreachable, 0));
        routes.push(route("10.3.0.0", 16, RouteKind::Prohibit, 0));
        Fib::new(Family::V4, routes)
    }

    #[test]
    fn the_longest_prefix_wins() {
        let fib = gateway();
        let kind = |text: &str| fib.lookup(address(text)).map(|route| route.kind);
        let default = RouteKind::Unicast { interface: InterfaceId(1), via: Some(address("203.0.113.1")) };
        assert_eq!(kind("192.168.45.3"), Some(unicast(0)));
        assert_eq!(kind("192.168.45.2"), Some(RouteKind::Local { interface: InterfaceId(0) }));
        assert_eq!(kind("192.168.45.255"), Some(RouteKind::Broadcast { interface: InterfaceId(0) }));
        assert_eq!(kind("192.168.45.0"), Some(unicast(0)), "since Linux 5.14 a station's");
        assert_eq!(kind("192.168.44.255"), Some(default));
        assert_eq!(kind("192.168.46.0"), Some(default));
        assert_eq!(kind("255.255.255.255"), Some(default));
        assert_eq!(kind("0.0.0.0"), Some(default));
        assert_eq!((kind("10.0.255.255"), kind("10.1.0.0")), (Some(RouteKind::Blackhole), Some(unicast(0))));
        assert_eq!((kind("10.1.255.255"), kind("10.2.0.0")), (Some(unicast(0)), Some(RouteKind::Unreachable)));
        assert_eq!(kind("10.4.0.0"), Some(RouteKind::Blackhole));
        assert_eq!(Fib::new(Family::V4, Vec::new()).lookup(address("10.0.0.1")), None);
    }

    #[test]
    fn of_equal_prefixes_the_local_one_then_the_lowest_metric_then_the_first() {
        let local = RouteKind::Local { interface: InterfaceId(9) };
        let routes = [(unicast(1), 20), (unicast(2), 10), (unicast(3), 10)].map(|(kind, metric)| route("10.0.0.0", 8, kind, metric));
        let mut routes = routes.to_vec();
        assert_eq!(Fib::new(Family::V4, routes.clone()).lookup(address("10.9.9.9")).unwrap().kind, unicast(2));
        routes.push(route("10.0.0.0", 8, local, 30));
        let fib = Fib::new(Family::V4, routes);
        assert_eq!((fib.lookup(address("10.9.9.9")).unwrap().kind, fib.routes().len()), (local, 4));
    }

    #[test]
    fn link_local_addresses_are_another_at_each_interface() {
        let one = interface(&[("fe80::1", 64), ("2001:db8:1::1", 64)]);
        let two = interface(&[("fe80::1", 64), ("fe80::2", 64)]);
        let mut routes = Fib::routes_of(Family::V6, [(InterfaceId(1), &one), (InterfaceId(2), &two)]);
        routes.push(route("::", 0, RouteKind::Unicast { interface: InterfaceId(1), via: Some(address("fe80::9")) }, 1024));
        let fib = Fib::new(Family::V6, routes);
        let on = |text: &str, id: u8| fib.lookup_on(address(text), InterfaceId(id)).map(|route| route.kind);
        assert_eq!(on("fe80::9", 1), Some(unicast(1)));
        assert_eq!(on("fe80::9", 2), Some(unicast(2)));
        assert_eq!((on("fe80::2", 1), on("fe80::2", 2)), (Some(unicast(1)), Some(RouteKind::Local { interface: InterfaceId(2) })));
        assert_eq!(on("fe80::9", 3), None);
        assert_eq!(on("2001:db8:1::5", 2), Some(unicast(1)), "global addresses have no scope");
        assert_eq!(fib.address_type(address("fe80::2"), None), AddressType::Local);
        assert_eq!(fib.address_type(address("fe80::2"), Some(InterfaceId(1))), AddressType::Unicast);
        assert!(fib.rp_filter_ok(RpFilter::Strict, InterfaceId(2), address("fe80::9")));
        assert!(!fib.rp_filter_ok(RpFilter::Strict, InterfaceId(2), address("2001:db8:1::5")));
    }

    #[test]
    fn reverse_path() {
        let fib = gateway();
        let ok = |filter, interface, text: &str| fib.rp_filter_ok(filter, InterfaceId(interface), address(text));
        for (source, interface, off, loose, strict) in [
            ("192.168.45.3", 0, true, true, true),
            ("192.168.45.3", 1, true, true, false),
            ("8.8.8.8", 1, true, true, true),
            ("8.8.8.8", 0, true, true, false),
            ("10.0.0.1", 1, true, false, false),
            ("10.2.0.1", 0, true, false, false),
            ("192.168.45.2", 0, false, false, false),
            ("192.168.45.255", 0, false, false, false),
            ("0.0.0.0", 0, true, true, true),
        ] {
            let found = [RpFilter::Off, RpFilter::Loose, RpFilter::Strict].map(|filter| ok(filter, interface, source));
            assert_eq!(found, [off, loose, strict], "{source} at {interface}");
        }
    }

    #[test]
    fn address_types() {
        let fib = gateway();
        for (text, expected) in [
            ("192.168.45.2", AddressType::Local),
            ("198.51.100.7", AddressType::Local),
            ("192.168.45.255", AddressType::Broadcast),
            ("255.255.255.255", AddressType::Broadcast),
            ("0.1.2.3", AddressType::Broadcast),
            ("224.0.0.1", AddressType::Multicast),
            ("192.168.45.9", AddressType::Unicast),
            ("10.0.0.1", AddressType::Blackhole),
            ("10.2.0.1", AddressType::Unreachable),
            ("10.3.0.1", AddressType::Prohibit),
        ] {
            assert_eq!(fib.address_type(address(text), None), expected, "{text}");
        }
        assert_eq!(fib.address_type(address("192.168.45.2"), Some(InterfaceId(1))), AddressType::Unicast);
        let empty = Fib::new(Family::V6, Vec::new());
        assert_eq!(empty.address_type(Address::UNSPECIFIED, None), AddressType::Unspecified);
        assert_eq!(empty.address_type(address("2001:db8::1"), None), AddressType::Unicast);
    }

    #[test]
    fn the_source_nearest_to_the_destination() {
        let v4 = interface(&[("192.0.2.1", 24), ("198.51.100.1", 24)]);
        let source = |to: &str| source_address(&v4, Family::V4, address(to));
        assert_eq!((source("198.51.100.9"), source("8.8.8.8")), (Some(address("198.51.100.1")), Some(address("192.0.2.1"))));
        let v6 = interface(&[("fe80::1", 64), ("2001:db8:1::1", 64), ("2001:db8:2::1", 64)]);
        let source = |to: &str| source_address(&v6, Family::V6, address(to));
        assert_eq!((source("fe80::9"), source("ff02::1")), (Some(address("fe80::1")), Some(address("fe80::1"))));
        assert_eq!(source("2001:db8:2::9"), Some(address("2001:db8:2::1")));
        assert_eq!(source_address(&v4, Family::V6, address("::2")), None);
    }

    /// What [`Fib::lookup`] promises, said slowly.
    fn model(routes: &[Route], family: Family, address: Address) -> Option<Route> {
        let holding = routes.iter().filter(|route| address.is_in(family, route.prefix, route.len));
        let rank = |route: &&Route| (family.bits() - route.len, !route.kind.is_in_local_table(), route.metric);
        holding.min_by_key(rank).copied()
    }

    #[test]
    fn a_large_table() {
        let kind = |i: u32| RouteKind::Unicast { interface: InterfaceId((i % 200) as u8), via: None };
        let prefix = |i: u32| Address((i.wrapping_mul(2_654_435_761) & 0xffff_ff00).into());
        let mut routes: Vec<Route> = (0..20_000).map(|i| Route { prefix: prefix(i), len: 24, kind: kind(i), metric: 0 }).collect();
        routes.push(route("0.0.0.0", 0, RouteKind::Unreachable, 0));
        let fib = Fib::new(Family::V4, routes.clone());
        for i in (0..20_000).step_by(97) {
            for address in [prefix(i).0, prefix(i).0 + 255, prefix(i).0 + 256, prefix(i).0.wrapping_sub(1)] {
                let address = Address(address & 0xffff_ffff);
                assert_eq!(fib.lookup(address).copied(), model(&routes, Family::V4, address));
            }
        }
    }

    proptest! {
        #[test]
        fn lookups_agree_with_a_walk_over_all_routes(
            is_v6 in any::<bool>(),
            raw in prop::collection::vec((any::<u128>(), 0u8..=128, 0u8..5, 0u32..3), 0..40),
            near in prop::collection::vec((any::<prop::sample::Index>(), any::<u128>(), -1i8..=1), 1..40),
        ) {
            let family = if is_v6 { Family::V6 } else { Family::V4 };
            let routes: Vec<Route> = raw.iter().enumerate().map(|(i, (bits, len, kind, metric))| {
                // Few different prefixes, so that they nest and meet; not link-local ones.
                let prefix = if is_v6 { bits & 0x000f << 108 | bits & 0xff } else { bits & 0xf000_000f };
                let len = len % (family.bits() + 1);
                let interface = InterfaceId(i as u8);
                let kind = match kind {
                    0 => RouteKind::Local { interface },
                    1 => RouteKind::Blackhole,
                    _ => RouteKind::Unicast { interface, via: None },
                };
                Route { prefix: Address(prefix & !Address::host_mask(family, len)), len, kind, metric: *metric }
            }).collect();
            let fib = Fib::new(family, routes.clone());
            for (at, random, step) in near {
                let top = Address::host_mask(family, 0);
                let edge = if routes.is_empty() { random } else {
                    let route = routes[at.index(routes.len())];
                    if random & 1 == 0 { route.prefix.0 } else { route.prefix.0 | Address::host_mask(family, route.len) }
                };
                let address = Address(edge.wrapping_add_signed(i128::from(step)) & top);
                prop_assume!(!is_v6 || !address.is_link_local(family));
                prop_assert_eq!(fib.lookup(address).copied(), model(&routes, family, address));
            }
        }
    }
}
