//! What can be typed about routers, and the configuration keys it becomes.
//!
//! Settings have the names of Linux sysctls and of ip(8), with `-` for `_` as everywhere on this command line.

use std::net::{IpAddr, Ipv6Addr};

use clap::{Args, ValueHint};
use proto::config::{PortConfig, PortKind, SocketMode, Span};
use proto::router::{Destination, Endpoint, ForwardConfig, ForwardProtocol, NeighborConfig, Network, Ports, RouteConfig, RouteKind};
use proto::router_api::{
    AddForward as ForwardRequest, AddInterface as InterfaceRequest, AddNeighbor as NeighborRequest, AddRoute as RouteRequest,
};
use serde_json::{Map, Value};
use wire::MacAddr;

use crate::args::{on_off, vid};
use crate::bond_args::{BondSettings, bond_port, member_name};
use crate::settings::{put, reset};

#[derive(Debug, Args)]
#[command(after_help = "\
Example: hosts behind switch lan, masqueraded to the uplink eth0
  vswitchctl add-router gw
  vswitchctl add-interface gw lan --switch lan --address 192.168.45.2/24
  vswitchctl add-interface gw wan --nic eth0 --address 203.0.113.2/24
  vswitchctl add-route gw default --via 203.0.113.1
  vswitchctl iptables gw -t nat -A POSTROUTING -s 192.168.45.0/24 -o wan -j MASQUERADE")]
pub(crate) struct AddRouter {
    /// Name of the new router
    pub(crate) router: String,
    /// Do nothing when the router exists
    #[arg(long)]
    pub(crate) may_exist: bool,
    #[command(flatten)]
    pub(crate) settings: RouterSettings,
}

#[derive(Debug, Args)]
pub(crate) struct SetRouter {
    /// Name of the router
    pub(crate) router: String,
    /// Reset a setting to its default, such as forwarding or conntrack.udp_timeout; may be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) default: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: RouterSettings,
}

/// Settings of a router; each is the configuration key of the same name.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct RouterSettings {
    /// Pass packets on between interfaces [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    pub(crate) forwarding: Option<bool>,
    /// Reverse path filter of every interface: 0 none, 1 strict, 2 loose [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) rp_filter: Option<u8>,
    /// Hop limit of packets that the router makes itself [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) ip_default_ttl: Option<u8>,
    /// Milliseconds between two ICMP errors to the same host; 0 does not limit them [default: 1000]
    #[arg(long, value_name = "MS")]
    pub(crate) icmp_ratelimit: Option<u32>,
    /// Bit n limits ICMP messages of type n [default: 6168]
    #[arg(long, value_name = "MASK")]
    pub(crate) icmp_ratemask: Option<u32>,
    /// Limited ICMP messages a second, for all hosts together [default: 1000]
    #[arg(long, value_name = "N")]
    pub(crate) icmp_msgs_per_sec: Option<u32>,
    /// How many of them may come at once [default: 50]
    #[arg(long, value_name = "N")]
    pub(crate) icmp_msgs_burst: Option<u32>,
    /// Answer no echo requests [default: off]
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    pub(crate) icmp_echo_ignore_all: Option<bool>,
    /// How long fragments of IPv4 wait for the others of their packet [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) ipfrag_time: Option<Span>,
    /// A setting of connection tracking: a sysctl without net.netfilter.nf_conntrack_, such as udp_timeout=60s; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) conntrack: Vec<(String, Value)>,
    /// A setting of address translation, such as filtering=endpoint-independent; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) nat: Vec<(String, Value)>,
    /// A timer or limit of neighbors by ARP: a sysctl without net.ipv4.neigh.default., such as gc_thresh3=4096; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) ipv4_neigh: Vec<(String, Value)>,
    /// The same for IPv6, by neighbor discovery; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) ipv6_neigh: Vec<(String, Value)>,
    /// A setting by its name; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, Value)>,
}

/// A key and a value as TOML would have it: a number, `true` or `false` (or `on`, `off`), else a text.
fn key_value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    let value = match value {
        "on" | "true" => Value::Bool(true),
        "off" | "false" => Value::Bool(false),
        number if number.parse::<i64>().is_ok() => Value::from(number.parse::<i64>().unwrap_or_default()),
        text => Value::from(text),
    };
    Ok((key.trim().to_owned(), value))
}

/// A key of an interface, or one of the tables below it with a dot.
fn interface_key(text: &str) -> Result<String, String> {
    let key = text.split('.').next().unwrap_or_default();
    let known = InterfaceSettings::KEYS;
    if known.contains(&key) { Ok(text.to_owned()) } else { Err(format!("possible values: {}", known.join(", "))) }
}

/// Keys of a table below the settings.
fn put_below(map: &mut Map<String, Value>, table: &str, list: &[(String, Value)]) {
    if !list.is_empty() {
        map.insert(table.to_owned(), Value::Object(list.iter().cloned().collect()));
    }
}

/// Resets settings to their defaults, those of tables below by `TABLE.KEY`.
fn reset_below(map: &mut Map<String, Value>, keys: &[String]) -> Result<(), String> {
    let (below, own): (Vec<&String>, Vec<&String>) = keys.iter().partition(|key| key.contains('.'));
    for key in below {
        let (table, key) = key.split_once('.').unwrap_or_default();
        let entry = map.entry(table).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = entry else { return Err(format!("{table} is not a table of settings")) };
        if inner.insert(key.to_owned(), Value::Null).is_some() {
            return Err(format!("the setting {table}.{key} is both given and reset to its default"));
        }
    }
    let own: Vec<String> = own.into_iter().cloned().collect();
    reset(map, &own)
}

impl RouterSettings {
    /// The keys that were given.
    pub(crate) fn map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "forwarding", self.forwarding.as_ref());
        put(&mut map, "rp_filter", self.rp_filter.as_ref());
        put(&mut map, "ip_default_ttl", self.ip_default_ttl.as_ref());
        put(&mut map, "icmp_ratelimit", self.icmp_ratelimit.as_ref());
        put(&mut map, "icmp_ratemask", self.icmp_ratemask.as_ref());
        put(&mut map, "icmp_msgs_per_sec", self.icmp_msgs_per_sec.as_ref());
        put(&mut map, "icmp_msgs_burst", self.icmp_msgs_burst.as_ref());
        put(&mut map, "icmp_echo_ignore_all", self.icmp_echo_ignore_all.as_ref());
        put(&mut map, "ipfrag_time", self.ipfrag_time.as_ref());
        put_below(&mut map, "conntrack", &self.conntrack);
        put_below(&mut map, "nat", &self.nat);
        put_below(&mut map, "ipv4_neigh", &self.ipv4_neigh);
        put_below(&mut map, "ipv6_neigh", &self.ipv6_neigh);
        map.extend(self.set.iter().cloned());
        map
    }
}

impl SetRouter {
    /// The keys to change.
    pub(crate) fn changes(&self) -> Result<Map<String, Value>, String> {
        let mut map = self.settings.map();
        reset_below(&mut map, &self.default)?;
        Ok(map)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DelRouter {
    /// Name of the router
    pub(crate) router: String,
    /// Do nothing when the router does not exist
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vswitchctl add-interface gw lan --switch lan --vlan 10 --address 192.168.45.2/24 --address fd00::1/64
  vswitchctl add-interface gw wan --nic eth0 --address 203.0.113.2/24    eth0 is for the router alone
  vswitchctl add-interface gw wan --bond up --member eth0 --member eth1 --mode 802.3ad --address 203.0.113.2/24
  vswitchctl add-interface gw wan20 --port up --vlan 20 --address 198.51.100.2/24    another one on the same bond
  vswitchctl add-interface gw vm1 --vhost-user /run/vswitch/vm1.sock --address 10.0.1.1/24    a virtual machine

A port for the router alone goes with its last interface. Its own settings are changed by set-port, those of a bond by set-bond,
add-member and del-member.")]
pub(crate) struct AddInterface {
    /// The router
    pub(crate) router: String,
    /// Name of the new interface, as rules (-i, -o) and routes name it
    pub(crate) interface: String,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Network namespace of the Ethernet interfaces of --nic, --tap or --member
    #[arg(long, value_name = "NAME")]
    pub(crate) netns: Option<String>,
    /// The VMM makes the socket of --vhost-user, and the daemon connects [default: the other way round]
    #[arg(long)]
    pub(crate) client: bool,
    /// A member of --bond: an existing interface, or tap:NAME or sim:NAME; may be repeated
    #[arg(long, value_name = "IFACE", value_parser = member_name)]
    pub(crate) member: Vec<(PortKind, String)>,
    /// Do nothing when the router has this interface already, at the same place
    #[arg(long)]
    pub(crate) may_exist: bool,
    #[command(flatten)]
    pub(crate) settings: InterfaceSettings,
    #[command(flatten)]
    pub(crate) bond_options: BondSettings,
}

/// Where a new interface is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where it is (one of)")]
#[group(required = true, multiple = false)]
pub(crate) struct Place {
    /// On this switch
    #[arg(long, value_name = "SWITCH")]
    pub(crate) switch: Option<String>,
    /// On an existing Ethernet interface, which becomes a port for the router alone
    #[arg(long, value_name = "IFACE", value_hint = ValueHint::Other)]
    pub(crate) nic: Option<String>,
    /// On a TAP interface that the daemon makes, a port for the router alone
    #[arg(long, value_name = "IFACE")]
    pub(crate) tap: Option<String>,
    /// On a new bond of this name, a port for the router alone; see --member
    #[arg(long, value_name = "PORT")]
    pub(crate) bond: Option<String>,
    /// On the rings of a virtual machine, a port for the router alone that is named like the interface; PATH is the socket
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) vhost_user: Option<String>,
    /// On a new port in memory (see sim)
    #[arg(long, value_name = "PORT")]
    pub(crate) sim: Option<String>,
    /// On this port, which an interface of the router is on already
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SetInterface {
    /// The router
    pub(crate) router: String,
    /// Name of the interface
    pub(crate) interface: String,
    /// Reset a setting to its default, such as mtu or ipv4_neigh.retrans_time; may be repeated
    #[arg(long, value_name = "KEY", value_parser = interface_key)]
    pub(crate) default: Vec<String>,
    /// Move it to this switch
    #[arg(long, value_name = "SWITCH")]
    pub(crate) switch: Option<String>,
    /// Move it to this port, which belongs to no switch
    #[arg(long, value_name = "PORT", conflicts_with = "switch")]
    pub(crate) port: Option<String>,
    #[command(flatten)]
    pub(crate) settings: InterfaceSettings,
}

/// Settings of an interface; each is the configuration key of the same name.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct InterfaceSettings {
    /// Its VLAN [default: frames without one]
    #[arg(long, value_name = "VID", value_parser = vid())]
    pub(crate) vlan: Option<u16>,
    /// An address with the length of its network's prefix; may be repeated. With set-interface, all addresses from now on
    #[arg(long, value_name = "A/L")]
    pub(crate) address: Vec<Network>,
    /// Octets of an IP packet that leaves here at most [default: 1500]
    #[arg(long, value_name = "N")]
    pub(crate) mtu: Option<u32>,
    /// MAC address [default: a stable one]
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<MacAddr>,
    /// Take part, or not [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    pub(crate) enabled: Option<bool>,
    /// Reverse path filter: 0 none, 1 strict, 2 loose [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) rp_filter: Option<u8>,
    /// Answer ARP requests for hosts behind other interfaces [default: off]
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = on_off)]
    pub(crate) proxy_arp: Option<bool>,
    /// Answer ARP requests for hosts behind this interface too [default: off]
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = on_off)]
    pub(crate) proxy_arp_pvlan: Option<bool>,
    /// An IPv6 address for which neighbor solicitations are answered; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) proxy_ndp: Vec<Ipv6Addr>,
    /// A timer or limit of neighbors by ARP that differs from the router's, such as base_reachable_time=60s; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) ipv4_neigh: Vec<(String, Value)>,
    /// The same for IPv6, by neighbor discovery; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) ipv6_neigh: Vec<(String, Value)>,
}

impl InterfaceSettings {
    /// The keys that can be reset.
    pub(crate) const KEYS: [&'static str; 11] =
        ["vlan", "address", "mtu", "mac", "enabled", "rp_filter", "proxy_arp", "proxy_arp_pvlan", "proxy_ndp", "ipv4_neigh", "ipv6_neigh"];

    /// The keys that were given.
    fn map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "vlan", self.vlan.as_ref());
        put(&mut map, "address", Some(&self.address).filter(|list| !list.is_empty()));
        put(&mut map, "mtu", self.mtu.as_ref());
        put(&mut map, "mac", self.mac.as_ref());
        put(&mut map, "enabled", self.enabled.as_ref());
        put(&mut map, "rp_filter", self.rp_filter.as_ref());
        put(&mut map, "proxy_arp", self.proxy_arp.as_ref());
        put(&mut map, "proxy_arp_pvlan", self.proxy_arp_pvlan.as_ref());
        put(&mut map, "proxy_ndp", Some(&self.proxy_ndp).filter(|list| !list.is_empty()));
        put_below(&mut map, "ipv4_neigh", &self.ipv4_neigh);
        put_below(&mut map, "ipv6_neigh", &self.ipv6_neigh);
        map
    }
}

impl AddInterface {
    /// The request.
    pub(crate) fn request(&self) -> Result<InterfaceRequest, String> {
        let mut map = self.settings.map();
        let new_port = self.new_port()?;
        put(&mut map, "switch", self.place.switch.as_ref());
        put(&mut map, "port", self.place.port.as_ref().or(new_port.as_ref().map(|(name, _)| name)));
        let new_port = new_port.map(|(_, port)| PortConfig { mtu: self.settings.mtu.unwrap_or(0).max(port.mtu), ..port });
        let config = serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())?;
        let (router, name) = (self.router.clone(), self.interface.clone());
        Ok(InterfaceRequest { router, name, config, new_port, may_exist: self.may_exist })
    }
}

impl AddInterface {
    /// The port that is made with the interface, and its name.
    fn new_port(&self) -> Result<Option<(String, PortConfig)>, String> {
        let Place { nic, tap, bond, vhost_user, sim, .. } = &self.place;
        if self.netns.is_some() && nic.is_none() && tap.is_none() && bond.is_none() {
            return Err("--netns is for --nic, --tap and --bond".into());
        }
        if bond.is_none() && !(self.bond_options.map().is_empty() && self.member.is_empty()) {
            return Err("members and options of a bond are for --bond; add-member and set-bond change one that exists".into());
        }
        if self.client && vhost_user.is_none() {
            return Err("--client is for --vhost-user".into());
        }
        let port = PortConfig { netns: self.netns.clone(), ..PortConfig::routed() };
        Ok(if let Some(name) = nic {
            Some((name.clone(), PortConfig { kind: PortKind::Nic, interface: Some(name.clone()), ..port }))
        } else if let Some(name) = tap {
            Some((name.clone(), PortConfig { kind: PortKind::Tap, ..port }))
        } else if let Some(name) = sim {
            Some((name.clone(), PortConfig { kind: PortKind::Sim, ..port }))
        } else if let Some(path) = vhost_user {
            let socket_mode = if self.client { SocketMode::Client } else { SocketMode::default() };
            Some((self.interface.clone(), PortConfig { kind: PortKind::VhostUser, socket_path: Some(path.clone()), socket_mode, ..port }))
        } else if let Some(name) = bond {
            let mut device = Map::new();
            put(&mut device, "netns", self.netns.as_ref());
            // The members are somewhere, the bond is not.
            Some((name.clone(), bond_port(Map::new(), device, self.bond_options.map(), Map::new(), &self.member)?))
        } else {
            None
        })
    }
}

impl SetInterface {
    /// The keys to change.
    pub(crate) fn changes(&self) -> Result<Map<String, Value>, String> {
        let mut map = self.settings.map();
        put(&mut map, "switch", self.switch.as_ref());
        put(&mut map, "port", self.port.as_ref());
        reset_below(&mut map, &self.default)?;
        Ok(map)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DelInterface {
    /// The router
    pub(crate) router: String,
    /// Name of the interface
    pub(crate) interface: String,
    /// Do nothing when it does not exist
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vswitchctl add-route gw default --via 203.0.113.1
  vswitchctl add-route gw 10.0.0.0/8 --via 192.168.45.9 --metric 10
  vswitchctl add-route gw 192.0.2.0/24 --blackhole")]
pub(crate) struct AddRoute {
    /// The router
    pub(crate) router: String,
    /// The destinations: a network, or default
    #[arg(value_name = "PREFIX")]
    pub(crate) to: Destination,
    /// The next router
    #[arg(long, value_name = "ADDR")]
    pub(crate) via: Option<IpAddr>,
    /// The interface
    #[arg(long, value_name = "IF")]
    pub(crate) dev: Option<String>,
    /// Drop the packets silently
    #[arg(long, group = "kind", conflicts_with_all = ["via", "dev"])]
    pub(crate) blackhole: bool,
    /// Drop the packets, and tell senders that the destination is unreachable
    #[arg(long, visible_alias = "unreachable", group = "kind", conflicts_with_all = ["via", "dev"])]
    pub(crate) reject: bool,
    /// Drop the packets, and tell senders that it is prohibited
    #[arg(long, group = "kind", conflicts_with_all = ["via", "dev"])]
    pub(crate) prohibit: bool,
    /// Of routes to the same network that with the lowest number counts [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) metric: Option<u32>,
    /// Replace a route to the same network with the same metric
    #[arg(long)]
    pub(crate) may_exist: bool,
}

impl AddRoute {
    /// The request.
    pub(crate) fn request(&self) -> Result<RouteRequest, String> {
        let kind = match (self.blackhole, self.reject, self.prohibit) {
            (true, ..) => RouteKind::Blackhole,
            (_, true, _) => RouteKind::Unreachable,
            (.., true) => RouteKind::Prohibit,
            _ if self.via.is_none() && self.dev.is_none() => {
                return Err("one of --via, --dev, --blackhole, --reject and --prohibit is needed".into());
            }
            _ => RouteKind::Unicast,
        };
        let route = RouteConfig { to: self.to, via: self.via, dev: self.dev.clone(), kind, metric: self.metric.unwrap_or(0) };
        Ok(RouteRequest { router: self.router.clone(), route, may_exist: self.may_exist })
    }
}

#[derive(Debug, Args)]
pub(crate) struct DelRoute {
    /// The router
    pub(crate) router: String,
    /// The destinations: a network, or default
    #[arg(value_name = "PREFIX")]
    pub(crate) to: Destination,
    /// Only that by this next router
    #[arg(long, value_name = "ADDR")]
    pub(crate) via: Option<IpAddr>,
    /// Only that with this metric
    #[arg(long, value_name = "N")]
    pub(crate) metric: Option<u32>,
    /// Do nothing when there is none
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddNeighbor {
    /// The router
    pub(crate) router: String,
    /// Address of the neighbor
    pub(crate) address: IpAddr,
    /// Its MAC address
    #[arg(long, value_name = "MAC")]
    pub(crate) lladdr: MacAddr,
    /// The interface it is behind
    #[arg(long, value_name = "IF")]
    pub(crate) dev: String,
    /// Replace an entry for the same address
    #[arg(long)]
    pub(crate) may_exist: bool,
}

impl AddNeighbor {
    /// The request.
    pub(crate) fn request(&self) -> NeighborRequest {
        let neighbor = NeighborConfig { address: self.address, dev: self.dev.clone(), lladdr: self.lladdr };
        NeighborRequest { router: self.router.clone(), neighbor, may_exist: self.may_exist }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DelNeighbor {
    /// The router
    pub(crate) router: String,
    /// Address of the neighbor
    pub(crate) address: IpAddr,
    /// Behind this interface only
    #[arg(long, value_name = "IF")]
    pub(crate) dev: Option<String>,
    /// Do nothing when there is none
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vswitchctl add-forward gw tcp 8080 10.0.0.5:80
  vswitchctl add-forward gw udp 5000-5009 10.0.0.5 --address 203.0.113.7")]
pub(crate) struct AddForward {
    /// The router
    pub(crate) router: String,
    /// tcp, udp or sctp
    #[arg(value_name = "PROTO", value_parser = protocol)]
    pub(crate) protocol: ForwardProtocol,
    /// The external port, or a range such as 8000-8010
    #[arg(value_name = "PORT")]
    pub(crate) port: Ports,
    /// Where it goes; of a range the first port; without a port the ports stay
    #[arg(value_name = "ADDR:PORT")]
    pub(crate) to: Endpoint,
    /// The external address [default: every address of the router]
    #[arg(long, value_name = "EXT")]
    pub(crate) address: Option<IpAddr>,
    /// tcp: answer SYNs with cookies, so that the host sees only clients that exist
    #[arg(long)]
    pub(crate) syn_proxy: bool,
    /// When the port is forwarded already, forward it to here instead
    #[arg(long)]
    pub(crate) may_exist: bool,
}

impl AddForward {
    /// The request.
    pub(crate) fn request(&self) -> ForwardRequest {
        let AddForward { protocol, port, to, address, syn_proxy, .. } = *self;
        let forward = ForwardConfig { protocol, port, to, address, syn_proxy };
        ForwardRequest { router: self.router.clone(), forward, may_exist: self.may_exist }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DelForward {
    /// The router
    pub(crate) router: String,
    /// tcp, udp or sctp
    #[arg(value_name = "PROTO", value_parser = protocol)]
    pub(crate) protocol: ForwardProtocol,
    /// The external port or range, as it was added
    #[arg(value_name = "PORT")]
    pub(crate) port: Ports,
    /// Only of this external address
    #[arg(long, value_name = "EXT")]
    pub(crate) address: Option<IpAddr>,
    /// Do nothing when there is none
    #[arg(long)]
    pub(crate) if_exists: bool,
}

fn protocol(text: &str) -> Result<ForwardProtocol, String> {
    match text {
        "tcp" => Ok(ForwardProtocol::Tcp),
        "udp" => Ok(ForwardProtocol::Udp),
        "sctp" => Ok(ForwardProtocol::Sctp),
        _ => Err("not tcp, udp or sctp".into()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct OfRouter {
    /// Only of this router
    pub(crate) router: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proto::router::{InterfaceConfig, RouterConfig};
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parse(line: &str) -> Result<Verb, clap::Error> {
        Cli::try_parse_from(["vswitchctl"].into_iter().chain(line.split_whitespace())).map(|cli| cli.verb)
    }

    fn keys<T: schemars::JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T);
        let mut keys: Vec<String> = schema.get("properties").and_then(Value::as_object).unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_key_of_a_router_can_be_set() {
        let line = "set-router gw --forwarding off --rp-filter 2 --ip-default-ttl 32 --icmp-ratelimit 0 --icmp-ratemask 1 \
            --icmp-msgs-per-sec 5 --icmp-msgs-burst 6 --icmp-echo-ignore-all on --ipfrag-time 10s --conntrack udp_timeout=60s \
            --nat hairpin=off --ipv4-neigh gc_thresh3=4096 --ipv6-neigh retrans_time=2s --set whatever=7 --default conntrack.tcp_loose";
        let Verb::SetRouter(set) = parse(line).unwrap() else { panic!() };
        let mut changes = set.changes().unwrap();
        assert_eq!(changes["conntrack"], json!({"udp_timeout": "60s", "tcp_loose": null}));
        assert_eq!((&changes["nat"], &changes["whatever"]), (&json!({"hairpin": false}), &json!(7)));
        changes.remove("whatever");
        let mut set: Vec<String> = changes.keys().cloned().collect();
        // Lists and rules have verbs of their own.
        set.extend(["interface", "route", "neighbor", "forward", "iptables", "ip6tables", "ipset"].map(str::to_owned));
        set.sort();
        assert_eq!(set, keys::<RouterConfig>());
        for wrong in ["set-router gw", "set-router gw --forwarding on --default forwarding", "set-router gw --conntrack loose"] {
            let refused = parse(wrong).map(|verb| match verb {
                Verb::SetRouter(set) => set.changes().is_err(),
                _ => false,
            });
            assert!(refused.unwrap_or(true), "{wrong}");
        }
    }

    #[test]
    fn every_key_of_an_interface_can_be_set_and_reset() {
        let line = "set-interface gw lan --switch br0 --vlan 10 --address 10.0.0.1/24 --address fd00::1/64 --mtu 1400 --mac 02:00:00:00:00:01 \
            --enabled off --rp-filter 1 --proxy-arp --proxy-arp-pvlan=off --proxy-ndp fd00::9 --ipv4-neigh ucast_solicit=5 \
            --ipv6-neigh base_reachable_time=60s --default ipv4_neigh.locktime";
        let Verb::SetInterface(set) = parse(line).unwrap() else { panic!() };
        let mut changes = set.changes().unwrap();
        assert_eq!(changes["address"], json!(["10.0.0.1/24", "fd00::1/64"]));
        assert_eq!(changes["ipv4_neigh"], json!({"ucast_solicit": 5, "locktime": null}));
        assert!(parse("set-interface gw lan --default nonsense").is_err());
        changes.insert("port".to_owned(), Value::Null);
        assert_eq!(changes.keys().cloned().collect::<Vec<_>>(), keys::<InterfaceConfig>());
        let mut reset: Vec<String> = InterfaceSettings::KEYS.iter().map(|key| (*key).to_owned()).collect();
        reset.extend(["switch", "port"].map(str::to_owned));
        reset.sort();
        assert_eq!(reset, keys::<InterfaceConfig>());
    }

    #[test]
    fn a_new_interface_is_somewhere() {
        let request = |line: &str| match parse(&format!("add-interface gw {line}")).map_err(|e| e.to_string())? {
            Verb::AddInterface(add) => add.request(),
            other => panic!("{other:?}"),
        };
        let on_switch = request("lan --switch br0 --vlan 10 --address 192.168.45.2/24").unwrap();
        assert_eq!((on_switch.config.switch.as_deref(), on_switch.config.vlan, on_switch.new_port), (Some("br0"), Some(10), None));
        let on_nic = request("wan --nic eth0 --netns out --mtu 9000").unwrap();
        let port = on_nic.new_port.unwrap();
        assert_eq!((on_nic.config.port.as_deref(), port.interface.as_deref(), port.switch), (Some("eth0"), Some("eth0"), None));
        assert_eq!((port.kind, port.mtu, port.netns.as_deref()), (PortKind::Nic, 9000, Some("out")));
        let on_bond = request("wan --bond up --member eth0 --member tap:t --netns out --mode 802.3ad --lacp-rate fast").unwrap();
        let port = on_bond.new_port.unwrap();
        assert_eq!((on_bond.config.port.as_deref(), port.kind, port.switch), (Some("up"), PortKind::Bond, None));
        assert_eq!((port.netns, port.member["eth0"].netns.as_deref(), port.member["t"].kind), (None, Some("out"), PortKind::Tap));
        let on_vm = request("vm --vhost-user /run/vm.sock --client").unwrap();
        let port = on_vm.new_port.unwrap();
        assert_eq!((on_vm.config.port.as_deref(), port.kind, port.socket_mode), (Some("vm"), PortKind::VhostUser, SocketMode::Client));
        assert_eq!(request("wan --port eth0").unwrap().config.port.as_deref(), Some("eth0"));
        for wrong in [
            "lan",
            "lan --switch a --port b",
            "lan --nic a --tap b",
            "lan --switch a --netns n",
            "lan --nic a --member b",
            "lan --nic a --mode 802.3ad",
            "lan --tap a --client",
            "lan --switch a --address 10.0.0.1/33",
        ] {
            assert!(request(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn routes_and_forwards_read_as_typed() {
        let route = |line: &str| match parse(&format!("add-route gw {line}")).map_err(|e| e.to_string())? {
            Verb::AddRoute(add) => add.request().map(|request| request.route),
            other => panic!("{other:?}"),
        };
        assert_eq!(route("default --via 10.0.0.1 --metric 5").unwrap().metric, 5);
        assert_eq!(route("192.0.2.0/24 --reject").unwrap().kind, RouteKind::Unreachable);
        for wrong in ["default", "default --via 10.0.0.1 --blackhole", "10.0.0.0/33 --blackhole", "default --reject --prohibit"] {
            assert!(route(wrong).is_err(), "{wrong}");
        }
        let Verb::AddForward(add) = parse("add-forward gw tcp 8080 10.0.0.5:80 --syn-proxy").unwrap() else { panic!() };
        assert_eq!(
            serde_json::to_value(add.request().forward).unwrap(),
            json!({"protocol": "tcp", "port": 8080, "to": "10.0.0.5:80", "syn_proxy": true})
        );
        assert!(parse("add-forward gw icmp 1 10.0.0.5").is_err());
    }
}
