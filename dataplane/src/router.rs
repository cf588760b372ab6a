//! Routers: what a worker knows of them, compiled. `pipeline/routing.rs` shows the way of a packet through one.
//!
//! A router has interfaces. Each is a port in a VLAN of a switch, with a MAC address of its own and no device
//! (`Port::interface`): what is switched to it is routed, and what it sends is switched.

use std::sync::Arc;

use wire::MacAddr;

use crate::conntrack::{self, Conntrack};
use crate::nat::{self, NatState};
use crate::rules::{AddressTypes, RouterView, RuleSet};
use crate::snapshot::PortId;
use crate::synproxy::SynProxy;
use fib::{AddressType, Fib, RouteKind};
use neighbour::Neighbours;
use packet::Packet;

pub mod address;
pub(crate) mod checksum;
pub mod fib;
pub mod fragment;
pub mod icmp;
pub mod neighbour;
pub mod packet;
pub mod reassembly;
pub mod waiting;

pub use address::{Address, Family};

/// The number of a router, below [`ROUTERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterId(pub u16);

/// The number of an interface of one router, below [`INTERFACES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u8);

impl RouterId {
    /// As an index into per-router tables.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl InterfaceId {
    /// As an index into the interfaces of a router.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One interface of one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceOf {
    /// The router.
    pub router: RouterId,
    /// The interface.
    pub interface: InterfaceId,
}

/// Routers of one daemon at most.
pub const ROUTERS_MAX: usize = 64;
/// Interfaces of one router at most.
pub const INTERFACES_MAX: usize = 255;

/// Reverse path filter of an interface (Linux `rp_filter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RpFilter {
    /// 0: none.
    #[default]
    Off,
    /// 1: the best route to the source must leave by the interface the packet came in by (RFC 3704 section 2.2).
    Strict,
    /// 2: there must be a route to the source (RFC 3704 section 2.4).
    Loose,
}

/// An address of an interface with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Version of IP.
    pub family: Family,
    /// The address.
    pub address: Address,
    /// Bits of the network's prefix.
    pub prefix_len: u8,
}

/// An interface of a router.
pub struct Interface {
    /// The port that stands for it at its switch.
    pub port: PortId,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Octets of an IP packet that leaves by it at most.
    pub mtu: u32,
    /// Its addresses; the first of a family is the primary one.
    pub addresses: Vec<InterfaceAddress>,
    /// Reverse path filter.
    pub rp_filter: RpFilter,
    /// How packets of IPv4 and IPv6 wait for the MAC addresses of their neighbours.
    pub waiting: [waiting::Limits; 2],
}

impl Interface {
    /// Its primary address of a family.
    pub fn primary(&self, family: Family) -> Option<Address> {
        self.addresses.iter().find(|a| a.family == family).map(|a| a.address)
    }
}

/// A router at one point in time.
pub struct Router {
    /// Its number.
    pub id: RouterId,
    /// Whether packets pass through it (Linux `ip_forward`).
    pub forwarding: bool,
    /// By [`InterfaceId`]; `None` where the number is free.
    pub interfaces: Vec<Option<Interface>>,
    /// Routes of IPv4 and IPv6.
    pub fib: [Fib; 2],
    /// Rules of IPv4 (`iptables`) and IPv6 (`ip6tables`); `None` where there are none.
    pub rules: [Option<Arc<RuleSet>>; 2],
    /// How connections are tracked.
    pub conntrack: conntrack::Settings,
    /// How addresses are translated.
    pub nat: nat::Settings,
    /// How fragments are put together.
    pub reassembly: reassembly::Settings,
    /// Time to live and hop limit of packets that the router makes itself (Linux `ip_default_ttl`).
    pub default_ttl: u8,
    /// How often it sends ICMP errors.
    pub rate_limit: icmp::RateLimit,
    /// Answer no echo requests (Linux `icmp_echo_ignore_all`).
    pub echo_ignore_all: bool,
    /// What lives on when the router gets other settings.
    pub state: Arc<RouterState>,
}

/// What of a router survives a change of its settings.
pub struct RouterState {
    /// Its neighbours. Control writes them, workers read.
    pub neighbours: Neighbours,
    /// The connections of all routers of the daemon.
    pub connections: Arc<Conntrack>,
    /// The translations of all routers of the daemon.
    pub translations: Arc<NatState>,
    /// Answers SYNs in place of servers.
    pub syn_proxy: SynProxy,
}

impl RouterState {
    /// The state of a new router.
    pub fn new(connections: Arc<Conntrack>, translations: Arc<NatState>) -> RouterState {
        RouterState { neighbours: Neighbours::new(), connections, translations, syn_proxy: SynProxy::default() }
    }
}

impl Router {
    /// A router without interfaces, with every default.
    pub fn new(id: RouterId, state: Arc<RouterState>) -> Router {
        Router {
            id,
            forwarding: true,
            interfaces: Vec::new(),
            fib: [Family::V4, Family::V6].map(|family| Fib::new(family, Vec::new())),
            rules: [None, None],
            conntrack: conntrack::Settings::default(),
            nat: nat::Settings::default(),
            reassembly: reassembly::Settings::default(),
            default_ttl: 64,
            rate_limit: icmp::RateLimit::default(),
            echo_ignore_all: false,
            state,
        }
    }

    /// The interface with this number.
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(id.index()).and_then(Option::as_ref)
    }

    /// Its interfaces with their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &Interface)> {
        (0u8..).zip(&self.interfaces).filter_map(|(id, interface)| Some((InterfaceId(id), interface.as_ref()?)))
    }

    /// The routes of a family.
    #[inline]
    pub fn fib(&self, family: Family) -> &Fib {
        &self.fib[family.index()]
    }

    /// The rules for packets of a family.
    #[inline]
    pub fn rules(&self, family: Family) -> Option<&RuleSet> {
        self.rules[family.index()].as_deref()
    }

    /// Whether `address` is one of its own.
    pub fn is_local(&self, family: Family, address: Address) -> bool {
        self.fib(family).address_type(address, None) == AddressType::Local
    }

    /// Whether `address` stands for a group of stations.
    pub fn is_group(&self, family: Family, address: Address) -> bool {
        matches!(self.fib(family).address_type(address, None), AddressType::Multicast | AddressType::Broadcast)
    }

    /// The interface and the next hop of what the router itself sends. Link-local destinations and groups are at `scope`.
    pub fn route_for_own(&self, family: Family, destination: Address, scope: Option<InterfaceId>) -> Option<(InterfaceId, Address)> {
        let fib = self.fib(family);
        let route = match scope {
            Some(scope) if destination.is_multicast(family) => return Some((scope, destination)),
            Some(scope) => fib.lookup_on(destination, scope),
            None => fib.lookup(destination),
        };
        match route?.kind {
            RouteKind::Unicast { interface, via } => Some((interface, via.unwrap_or(destination))),
            _ => None,
        }
    }

    /// The address it has for `destination`: of the interface that leads there (`inet_select_addr`, `ipv6_dev_get_saddr`).
    pub fn source_towards(&self, family: Family, destination: Address, scope: Option<InterfaceId>) -> Option<Address> {
        let (id, next_hop) = self.route_for_own(family, destination, scope)?;
        let near = if family == Family::V4 { next_hop } else { destination };
        let of = |interface: &Interface| fib::source_address(interface, family, near);
        // An interface without an address borrows that of another.
        self.interface(id).and_then(of).or_else(|| self.interfaces().find_map(|(_, interface)| of(interface)))
    }
}

impl RouterView for Router {
    fn mtu_towards(&self, family: Family, address: Address) -> Option<u32> {
        let (interface, _) = self.route_for_own(family, address, None)?;
        self.interface(interface).map(|interface| interface.mtu)
    }

    fn id(&self) -> RouterId {
        self.id
    }

    fn address_types(&self, family: Family, address: Address, interface: Option<InterfaceId>) -> AddressTypes {
        // IPv6: every unicast address is UNICAST, whoever has it.
        let local = if family == Family::V6 { AddressTypes(AddressTypes::LOCAL.0 | AddressTypes::UNICAST.0) } else { AddressTypes::LOCAL };
        // Linux has it on `lo`, so on none of the interfaces here.
        if address.is_loopback(family) && interface.is_none() {
            return local;
        }
        match self.fib(family).address_type(address, interface) {
            AddressType::Unspecified => AddressTypes::UNSPEC,
            AddressType::Local => local,
            AddressType::Broadcast => AddressTypes::BROADCAST,
            AddressType::Unicast => AddressTypes::UNICAST,
            AddressType::Multicast => AddressTypes::MULTICAST,
            // Where no route leads is the routing table's business, which Linux does not ask in IPv4 (`inet_addr_type`), and in IPv6
            // for any error alike (`match_lookup_rt6`, `net/netfilter/xt_addrtype.c`).
            AddressType::Blackhole | AddressType::Unreachable | AddressType::Prohibit => match family {
                Family::V4 => AddressTypes::UNICAST,
                Family::V6 => AddressTypes(AddressTypes::UNREACHABLE.0 | AddressTypes::UNICAST.0),
            },
        }
    }

    fn source_address(&self, family: Family, interface: InterfaceId, destination: Address) -> Option<Address> {
        let near = match self.route_for_own(family, destination, Some(interface)) {
            Some((out, next_hop)) if family == Family::V4 && out == interface => next_hop,
            _ => destination,
        };
        fib::source_address(self.interface(interface)?, family, near)
    }

    fn reverse_path(&self, packet: &Packet, in_interface: Option<InterfaceId>, loose: bool, accept_local: bool) -> bool {
        let Some(interface) = in_interface else { return true };
        match self.fib(packet.family).lookup_on(packet.source, interface).map(|route| route.kind) {
            Some(RouteKind::Unicast { interface: best, .. }) => loose || best == interface,
            Some(RouteKind::Local { .. }) => accept_local,
            _ => false,
        }
    }
}
