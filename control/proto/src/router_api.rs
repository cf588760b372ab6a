//! Requests and replies about routers, of the Varlink interface `io.vswitch`; see [`crate::api`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wire::MacAddr;

use crate::api::Link;
use crate::config::PortConfig;
use crate::config::is_default;
use crate::router::{
    Destination, ForwardConfig, ForwardProtocol, InterfaceConfig, NeighborConfig, Network, Ports, RouteConfig, RouteKind, RouterConfig,
};

/// Adds a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRouter {
    /// Name.
    pub name: String,
    /// Settings.
    #[serde(default)]
    pub config: RouterConfig,
    /// No error when it exists; its settings stay as they are.
    #[serde(default)]
    pub may_exist: bool,
}

/// Changes settings of a router; `null` resets a key to its default. Keys of `conntrack` and `nat` are in tables of these names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRouter {
    /// Router.
    pub name: String,
    /// Keys of [`RouterConfig`] and their new values.
    pub set: Map<String, Value>,
}

/// Removes a router, and the ports without switch that are its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelRouter {
    /// Name.
    pub name: String,
    /// No error when it does not exist.
    #[serde(default)]
    pub if_exists: bool,
}

/// Adds an interface to a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddInterface {
    /// Router.
    pub router: String,
    /// Name.
    pub name: String,
    /// Settings.
    #[serde(default)]
    pub config: InterfaceConfig,
    /// Adds the port that `config.port` names too; a port without switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_port: Option<PortConfig>,
    /// No error when it exists at the same place; its other settings stay as they are.
    #[serde(default)]
    pub may_exist: bool,
}

/// Changes settings of an interface; `null` resets a key to its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetInterface {
    /// Router.
    pub router: String,
    /// Interface.
    pub name: String,
    /// Keys of [`InterfaceConfig`] and their new values.
    pub set: Map<String, Value>,
}

/// Removes an interface with the routes and neighbors that name it, and the port without switch that was its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelInterface {
    /// Router.
    pub router: String,
    /// Name.
    pub name: String,
    /// No error when it does not exist.
    #[serde(default)]
    pub if_exists: bool,
}

/// Adds a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRoute {
    /// Router.
    pub router: String,
    /// The route.
    pub route: RouteConfig,
    /// Replace a route to the same network with the same metric.
    #[serde(default)]
    pub may_exist: bool,
}

/// Removes routes to a network: those that match the fields that are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelRoute {
    /// Router.
    pub router: String,
    /// Network; `default` is that of IPv4 unless `via` is an IPv6 address.
    pub to: Destination,
    /// By this next router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// With this metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// No error when there is none.
    #[serde(default)]
    pub if_exists: bool,
}

/// Adds a neighbor with a fixed MAC address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddNeighbor {
    /// Router.
    pub router: String,
    /// The neighbor.
    pub neighbor: NeighborConfig,
    /// Replace an entry for the same address.
    #[serde(default)]
    pub may_exist: bool,
}

/// Removes a neighbor with a fixed MAC address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelNeighbor {
    /// Router.
    pub router: String,
    /// Its address.
    pub address: IpAddr,
    /// Behind this interface only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// No error when there is none.
    #[serde(default)]
    pub if_exists: bool,
}

/// Forwards a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddForward {
    /// Router.
    pub router: String,
    /// What goes where.
    pub forward: ForwardConfig,
    /// Replace what forwards the same ports.
    #[serde(default)]
    pub may_exist: bool,
}

/// No longer forwards a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelForward {
    /// Router.
    pub router: String,
    /// Protocol.
    pub protocol: ForwardProtocol,
    /// The external port or range, as it was added.
    pub port: Ports,
    /// Of this external address only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// No error when there is none.
    #[serde(default)]
    pub if_exists: bool,
}

/// Filter of the list methods about routers; an absent field matches all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterFilter {
    /// Of this router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
}

/// A router, as `show routers --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterInfo {
    /// Name.
    pub name: String,
    /// Whether packets pass through it.
    pub forwarding: bool,
    /// Its interfaces.
    pub interfaces: Vec<String>,
    /// Number of routes, those of the interfaces' networks included.
    pub routes: u64,
    /// Number of forwarded ports and ranges.
    pub forwards: u64,
    /// Rules of both families in all tables; those of forwarded ports do not count.
    pub rules: u64,
    /// Its settings.
    pub config: RouterConfig,
}

/// An interface of a router, as `show interfaces --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceInfo {
    /// Its router.
    pub router: String,
    /// Name.
    pub name: String,
    /// State: that of the port it is on, if it is on one.
    pub link: Link,
    /// The switch it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// The port it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its VLAN; 0 for frames without one.
    pub vlan: u16,
    /// MAC address.
    pub mac: MacAddr,
    /// MTU.
    pub mtu: u32,
    /// Addresses, with the link-local one that every interface with IPv6 has.
    pub addresses: Vec<Network>,
    /// Frames that came to the router here.
    pub rx_packets: u64,
    /// Their octets.
    pub rx_bytes: u64,
    /// Frames the router sent here.
    pub tx_packets: u64,
    /// Their octets.
    pub tx_bytes: u64,
    /// Frames dropped here, by reason; reasons that never happened are left out.
    pub drops: BTreeMap<String, u64>,
    /// Its settings.
    pub config: InterfaceConfig,
}

/// A route, as `show routes --json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteInfo {
    /// Router.
    pub router: String,
    /// Network.
    pub to: Network,
    /// Next router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// Metric.
    pub metric: u32,
    /// Where it comes from: `kernel` from an address of an interface, `static` from the configuration (as ip-route(8) says).
    pub protocol: String,
}

/// A neighbor of a router, as `show neighbors --json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborInfo {
    /// Router.
    pub router: String,
    /// Interface it is reached by.
    pub dev: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<MacAddr>,
    /// `INCOMPLETE`, `REACHABLE`, `STALE`, `DELAY`, `PROBE`, `FAILED` or `PERMANENT` (as ip-neighbour(8) says).
    pub state: String,
    /// It says that it is a router (IPv6).
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_router: bool,
    /// Milliseconds since a packet was sent there, seen to the second.
    pub used_ms: u64,
    /// Milliseconds since it proved to be there, or was entered.
    pub confirmed_ms: u64,
    /// Milliseconds since its state or MAC address changed.
    pub updated_ms: u64,
}

/// A forwarded port, as `show forwards --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForwardInfo {
    /// Router.
    pub router: String,
    /// What goes where.
    #[serde(flatten)]
    pub forward: ForwardConfig,
    /// First packets of flows that it matched.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $type:ty })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            /// The items.
            pub $field: $type,
        })+
    };
}

replies! {
    /// Answer to `ListRouters`.
    ListRoutersReply { routers: Vec<RouterInfo> }
    /// Answer to `ListInterfaces`.
    ListInterfacesReply { interfaces: Vec<InterfaceInfo> }
    /// Answer to `ListRoutes`.
    ListRoutesReply { routes: Vec<RouteInfo> }
    /// Answer to `ListNeighbors`.
    ListNeighborsReply { neighbors: Vec<NeighborInfo> }
    /// Answer to `ListForwards`.
    ListForwardsReply { forwards: Vec<ForwardInfo> }
}
