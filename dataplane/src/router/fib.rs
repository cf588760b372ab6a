//! Which way packets go: the routes of one family of one router, with the longest prefix that holds an address.
//!
//! A [`Fib`] is made once for a configuration and never changes. Prefixes nest, so together they cut the address space into
//! ranges with one best route each: a lookup is a binary search among the starts of the ranges, without a branch that
//! depends on the address. 10 routes make about 20 ranges (5 steps), 10,000 routes 20,000 (15 steps).
//!
//! IPv6 link-local addresses mean another link at each interface (RFC 4007), so routes to them are kept by interface, and
//! only [`Fib::lookup_on`] finds them.

use super::address::{Address, Family};
use super::{Interface, InterfaceId, RpFilter};

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
    V4(Box<[u32]>),
    V6(Box<[u128]>),
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
        let starts = match family {
            Family::V4 => Starts::V4(starts.iter().map(|(start, _)| *start as u32).collect()),
            Family::V6 => Starts::V6(starts.iter().map(|(start, _)| *start).collect()),
        };
        Ranges { starts, best }
    }

    #[inline]
    fn find(&self, address: Address) -> u32 {
        // The first range starts at 0, so there is one at or before every address.
        let behind = match &self.starts {
            Starts::V4(starts) => starts.partition_point(|start| *start <= address.0 as u32),
            Starts::V6(starts) => starts.partition_point(|start| *start <= address.0),
        };
        self.best[behind - 1]
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
    let of_family = || interface.addresses.iter().filter(|own| own.family == family);
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
