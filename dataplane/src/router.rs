//! Routers: what a worker knows of them, compiled. `pipeline/routing.rs` shows the way of a packet through one.
//!
//! A router has interfaces. Each is a port in a VLAN of a switch, with a MAC address of its own and no device
//! (`Port::interface`): what is switched to it is routed, and what it sends is switched.

use std::sync::Arc;

use wire::MacAddr;

use crate::rules::RuleSet;
use crate::snapshot::PortId;
use crate::{conntrack, nat};

pub mod address;
pub mod fib;
pub mod fragment;
pub mod icmp;
pub mod neighbour;
pub mod packet;
pub mod reassembly;
pub mod waiting;

pub use address::{Address, Family};
use fib::Fib;
use neighbour::Neighbours;

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
}

impl Interface {
    /// Its primary address of a family.
    pub fn primary(&self, family: Family) -> Option<Address> {
        self.addresses.iter().find(|a| a.family == family).map(|a| a.address)
    }
}

/// A router at one point in time.
pub struct Router {
    /// Zone of its flows in the table of connections, as [`crate::conntrack::Tuple::zone`].
    pub zone: u16,
    /// Whether packets pass through it (Linux `ip_forward`).
    pub forwarding: bool,
    /// By [`InterfaceId`]; `None` where the number is free.
    pub interfaces: Vec<Option<Interface>>,
    /// Routes of IPv4 and IPv6.
    pub fib: [Fib; 2],
    /// Rules of IPv4 and IPv6; `None` where there are none.
    pub rules: [Option<Arc<RuleSet>>; 2],
    /// How connections are tracked.
    pub conntrack: conntrack::Settings,
    /// How addresses are translated.
    pub nat: nat::Settings,
    /// Hop limit of packets that the router makes itself (Linux `ip_default_ttl`).
    pub default_ttl: u8,
    /// How often it sends ICMP errors.
    pub rate_limit: icmp::RateLimit,
    /// Answer no echo requests (Linux `icmp_echo_ignore_all`).
    pub echo_ignore_all: bool,
    /// What lives on when the router gets other settings.
    pub state: Arc<RouterState>,
}

/// What of a router survives a change of its settings.
#[derive(Debug, Default)]
pub struct RouterState {
    /// Its neighbours. Control writes them, workers read.
    pub neighbours: Neighbours,
}

impl Router {
    /// The interface with this number.
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(id.index()).and_then(Option::as_ref)
    }
}
