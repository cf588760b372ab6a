//! The configuration of routers: interfaces, routes, forwarded ports, connection tracking and NAT.
//!
//! Settings have the names and units of the Linux sysctls where those exist. Rules are in [`crate::iptables`]. Which values and
//! combinations are refused is the `control` package's business (`config::router`). What `show` answers is in
//! [`crate::router_api`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::MacAddr;

use crate::config::{Span, as_text, defaults, is_default};
use crate::iptables::{SetConfig, Tables};
use crate::neigh::{InterfaceNeighConfig, NeighConfig};

/// A router: `[router.NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouterConfig {
    /// Pass packets on between interfaces (Linux `ip_forward`, `ipv6.conf.all.forwarding`).
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub forwarding: bool,
    /// Reverse path filter of every interface that has none of a higher number: 0 none, 1 strict, 2 loose (Linux `conf.all.rp_filter`).
    #[serde(skip_serializing_if = "is_default")]
    pub rp_filter: u8,
    /// Hop limit of packets that the router makes itself (Linux `ip_default_ttl`).
    #[serde(skip_serializing_if = "is_ttl")]
    pub ip_default_ttl: u8,
    /// Milliseconds between two ICMP errors to the same host; 0 does not limit them (Linux `icmp_ratelimit`).
    #[serde(skip_serializing_if = "is_thousand")]
    pub icmp_ratelimit: u32,
    /// Bit n limits ICMP messages of type n (Linux `icmp_ratemask`).
    #[serde(skip_serializing_if = "is_ratemask")]
    pub icmp_ratemask: u32,
    /// ICMP messages a second that are limited, for all hosts together (Linux `icmp_msgs_per_sec`).
    #[serde(skip_serializing_if = "is_thousand")]
    pub icmp_msgs_per_sec: u32,
    /// How many of them may come at once (Linux `icmp_msgs_burst`).
    #[serde(skip_serializing_if = "is_fifty")]
    pub icmp_msgs_burst: u32,
    /// Answer no echo requests (Linux `icmp_echo_ignore_all`).
    #[serde(skip_serializing_if = "is_default")]
    pub icmp_echo_ignore_all: bool,
    /// How long fragments of IPv4 wait for the others of their packet [default: 30s].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipfrag_time: Option<Span>,
    /// Interfaces by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub interface: BTreeMap<String, InterfaceConfig>,
    /// Routes, beside those to the networks of the interfaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteConfig>,
    /// Neighbors with a fixed MAC address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neighbor: Vec<NeighborConfig>,
    /// Ports that are forwarded to hosts behind the router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<ForwardConfig>,
    /// Connection tracking.
    #[serde(skip_serializing_if = "is_default")]
    pub conntrack: ConntrackConfig,
    /// Address translation.
    #[serde(skip_serializing_if = "is_default")]
    pub nat: NatConfig,
    /// Timers and limits of neighbors by ARP.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv4_neigh: NeighConfig,
    /// Timers and limits of neighbors by neighbor discovery.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6_neigh: NeighConfig,
    /// Rules for IPv4, by table and chain.
    #[serde(skip_serializing_if = "is_default")]
    pub iptables: Tables,
    /// Rules for IPv6, by table and chain.
    #[serde(skip_serializing_if = "is_default")]
    pub ip6tables: Tables,
    /// Sets of addresses for the rules, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ipset: BTreeMap<String, SetConfig>,
}

impl Default for RouterConfig {
    fn default() -> RouterConfig {
        RouterConfig {
            forwarding: true,
            rp_filter: 0,
            ip_default_ttl: 64,
            icmp_ratelimit: 1000,
            icmp_ratemask: 6168,
            icmp_msgs_per_sec: 1000,
            icmp_msgs_burst: 50,
            icmp_echo_ignore_all: false,
            ipfrag_time: None,
            interface: BTreeMap::new(),
            route: Vec::new(),
            neighbor: Vec::new(),
            forward: Vec::new(),
            conntrack: ConntrackConfig::default(),
            nat: NatConfig::default(),
            ipv4_neigh: NeighConfig::default(),
            ipv6_neigh: NeighConfig::default(),
            iptables: Tables::default(),
            ip6tables: Tables::default(),
            ipset: BTreeMap::new(),
        }
    }
}

fn is_ttl(value: &u8) -> bool {
    *value == 64
}
fn is_thousand(value: &u32) -> bool {
    *value == 1000
}
fn is_ratemask(value: &u32) -> bool {
    *value == 6168
}
fn is_fifty(value: &u32) -> bool {
    *value == 50
}

/// An interface of a router: `[router.R.interface.NAME]`. It is on a switch, or on a port that belongs to none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InterfaceConfig {
    /// The switch it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// The port it is on; a port without `switch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its VLAN; frames without one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Its addresses, each with the length of its network's prefix, such as "192.168.45.2/24" or "fd00::1/64". The first of a family
    /// is the primary one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub address: Vec<Network>,
    /// Octets of an IP packet that leaves here at most.
    #[serde(skip_serializing_if = "defaults::is_mtu")]
    pub mtu: u32,
    /// Its MAC address. A stable one is derived when absent, the same after each restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mac: Option<MacAddr>,
    /// Take part when true.
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub enabled: bool,
    /// Reverse path filter: 0 none, 1 strict, 2 loose; the higher of this and the router's counts (Linux `rp_filter`).
    #[serde(skip_serializing_if = "is_default")]
    pub rp_filter: u8,
    /// Answer ARP requests for hosts behind other interfaces (Linux `proxy_arp`).
    #[serde(skip_serializing_if = "is_default")]
    pub proxy_arp: bool,
    /// Answer ARP requests for hosts behind this interface too (Linux `proxy_arp_pvlan`).
    #[serde(skip_serializing_if = "is_default")]
    pub proxy_arp_pvlan: bool,
    /// IPv6 addresses for which neighbor solicitations are answered (`ip neighbor add proxy`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxy_ndp: Vec<Ipv6Addr>,
    /// Timers and limits of neighbors by ARP that differ from those of the router.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv4_neigh: InterfaceNeighConfig,
    /// Timers and limits of neighbors by neighbor discovery that differ from those of the router.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6_neigh: InterfaceNeighConfig,
}

impl Default for InterfaceConfig {
    fn default() -> InterfaceConfig {
        InterfaceConfig {
            switch: None,
            port: None,
            vlan: None,
            address: Vec::new(),
            mtu: defaults::mtu(),
            mac: None,
            enabled: true,
            rp_filter: 0,
            proxy_arp: false,
            proxy_arp_pvlan: false,
            proxy_ndp: Vec::new(),
            ipv4_neigh: InterfaceNeighConfig::default(),
            ipv6_neigh: InterfaceNeighConfig::default(),
        }
    }
}

/// A route: `[[router.R.route]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The destinations: a network such as "10.0.0.0/8", or "default". "default" is that of IPv4 unless `via` is an IPv6 address.
    pub to: Destination,
    /// The next router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The interface by which packets leave; found by `via` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// What becomes of the packets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: RouteKind,
    /// Of routes to the same network that with the lowest number counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metric: u32,
}

/// What becomes of packets that take a route (ip-route(8)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// They go to the next router, or to the host itself.
    #[default]
    Unicast,
    /// They are dropped silently.
    Blackhole,
    /// They are dropped, and the sender told that the host is unreachable.
    Unreachable,
    /// They are dropped, and the sender told that it is prohibited.
    Prohibit,
}

impl RouteKind {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            RouteKind::Unicast => "unicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
        }
    }
}

/// A neighbor with a fixed MAC address: `[[router.R.neighbor]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighborConfig {
    /// Its address.
    pub address: IpAddr,
    /// The interface it is behind.
    pub dev: String,
    /// Its MAC address.
    #[schemars(with = "String")]
    pub lladdr: MacAddr,
}

/// A port that is forwarded: `[[router.R.forward]]`. Hosts on every side reach it under the external address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// Protocol.
    pub protocol: ForwardProtocol,
    /// The external port, or a range such as "8000-8010".
    pub port: Ports,
    /// Where it goes: address and port, such as `10.0.0.5:80` or `[fd00::5]:80`. Of a range the first port; without a port the ports stay.
    pub to: Endpoint,
    /// The external address; every address of the router when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// `tcp`: answer SYNs with cookies, so that the host sees only clients that exist.
    #[serde(default, skip_serializing_if = "is_default")]
    pub syn_proxy: bool,
}

/// Protocol of a forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl ForwardProtocol {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            ForwardProtocol::Tcp => "tcp",
            ForwardProtocol::Udp => "udp",
            ForwardProtocol::Sctp => "sctp",
        }
    }
}

macro_rules! conntrack_config {
    ($($(#[$doc:meta])* $timeout:ident)+) => {
        /// Connection tracking of a router: `[router.R.conntrack]`. The sysctls `net.netfilter.nf_conntrack_*` without that prefix.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct ConntrackConfig {
            /// Take flows of TCP up in their middle [default: true, or false when the SYN proxy is used for a forwarded port].
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tcp_loose: Option<bool>,
            /// Let only RSTs out of the window be invalid.
            #[serde(skip_serializing_if = "is_default")]
            pub tcp_be_liberal: bool,
            /// An RST out of the window does not make its packet invalid.
            #[serde(skip_serializing_if = "is_default")]
            pub tcp_ignore_invalid_rst: bool,
            /// Retransmissions without answer after which `tcp_timeout_max_retrans` counts.
            #[serde(skip_serializing_if = "is_three")]
            pub tcp_max_retrans: u8,
            /// Packets with a wrong checksum are invalid.
            #[serde(skip_serializing_if = "defaults::is_yes")]
            pub checksum: bool,
            /// Count packets and octets of each flow.
            #[serde(skip_serializing_if = "is_default")]
            pub acct: bool,
            $($(#[$doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $timeout: Option<Span>,)+
        }

        impl Default for ConntrackConfig {
            fn default() -> ConntrackConfig {
                ConntrackConfig {
                    tcp_loose: None,
                    tcp_be_liberal: false,
                    tcp_ignore_invalid_rst: false,
                    tcp_max_retrans: 3,
                    checksum: true,
                    acct: false,
                    $($timeout: None,)+
                }
            }
        }

        impl ConntrackConfig {
            /// The timeouts that are set, by name.
            pub fn timeouts(&self) -> Vec<(&'static str, Span)> {
                let all = [$((stringify!($timeout), self.$timeout)),+];
                all.into_iter().filter_map(|(name, span)| Some((name, span?))).collect()
            }
        }
    };
}

conntrack_config! {
    /// SYN seen [default: 120s].
    tcp_timeout_syn_sent
    /// SYN and SYN/ACK seen [default: 60s].
    tcp_timeout_syn_recv
    /// Handshake done [default: 432000s].
    tcp_timeout_established
    /// One FIN seen [default: 120s].
    tcp_timeout_fin_wait
    /// One FIN seen and acknowledged [default: 60s].
    tcp_timeout_close_wait
    /// Both FINs seen [default: 30s].
    tcp_timeout_last_ack
    /// Both FINs seen and acknowledged [default: 120s].
    tcp_timeout_time_wait
    /// RST seen [default: 10s].
    tcp_timeout_close
    /// Retransmissions without answer, see `tcp_max_retrans` [default: 300s].
    tcp_timeout_max_retrans
    /// Data without acknowledgement [default: 300s].
    tcp_timeout_unacknowledged
    /// UDP and UDP-Lite, without answer [default: 30s].
    udp_timeout
    /// UDP and UDP-Lite, packets in both directions for more than 2 s [default: 120s].
    udp_timeout_stream
    /// ICMP queries [default: 30s].
    icmp_timeout
    /// ICMPv6 queries [default: 30s].
    icmpv6_timeout
    /// GRE, without answer [default: 30s].
    gre_timeout
    /// GRE, packets in both directions [default: 180s].
    gre_timeout_stream
    /// SCTP, association closed [default: 10s].
    sctp_timeout_closed
    /// SCTP, INIT seen [default: 3s].
    sctp_timeout_cookie_wait
    /// SCTP, COOKIE ECHO seen [default: 3s].
    sctp_timeout_cookie_echoed
    /// SCTP, association established [default: 210s].
    sctp_timeout_established
    /// SCTP, SHUTDOWN sent [default: 3s].
    sctp_timeout_shutdown_sent
    /// SCTP, SHUTDOWN received [default: 3s].
    sctp_timeout_shutdown_recd
    /// SCTP, SHUTDOWN ACK sent [default: 3s].
    sctp_timeout_shutdown_ack_sent
    /// SCTP, HEARTBEAT on a new path [default: 30s].
    sctp_timeout_heartbeat_sent
    /// Every other protocol [default: 600s].
    generic_timeout
    /// How long fragments of IPv6 wait for the others of their packet [default: 60s].
    frag6_timeout
}

fn is_three(value: &u8) -> bool {
    *value == 3
}

/// Address translation of a router: `[router.R.nat]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NatConfig {
    /// Which external port a source has for different destinations (RFC 4787 section 4.1).
    #[serde(skip_serializing_if = "is_default")]
    pub mapping: Mapping,
    /// Which unsolicited packets to an external port reach the host behind it (RFC 4787 section 5).
    #[serde(skip_serializing_if = "is_default")]
    pub filtering: Filtering,
    /// Even UDP ports stay even and odd ones odd, where the rule names no ports (RFC 4787 REQ-4).
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub port_parity: bool,
    /// Hosts reach a forwarded port from their own side too, and are seen under their external address (RFC 4787 REQ-9).
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub hairpin: bool,
    /// Ports and identifiers that sources get when the rule names none, such as "32768-60999" (Linux `ip_local_port_range`). When
    /// absent, those of the class of the port that is replaced, as Linux does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_local_port_range: Option<Ports>,
    /// How long an idle mapping of UDP lives (RFC 4787 REQ-5) [default: 300s].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_timeout: Option<Span>,
    /// How long a mapping of TCP lives that has no established connection (RFC 5382 REQ-5) [default: 240s].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_transitory_timeout: Option<Span>,
    /// How long an idle mapping of an ICMP identifier lives (RFC 5508 REQ-2) [default: 60s].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_timeout: Option<Span>,
    /// How long after an unsolicited SYN to an external port its sender is told that it may not send there, unless the host inside
    /// opens the same connection (RFC 5382 REQ-4); 6s to 60s, or 0s for never [default: 6s].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_incoming_syn_timeout: Option<Span>,
    /// Mappings of the hosts behind one port of a switch at most; 0 for no limit [default: 32256].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mappings_per_port: Option<u32>,
}

impl Default for NatConfig {
    fn default() -> NatConfig {
        NatConfig {
            mapping: Mapping::default(),
            filtering: Filtering::default(),
            port_parity: true,
            hairpin: true,
            ip_local_port_range: None,
            udp_timeout: None,
            tcp_transitory_timeout: None,
            icmp_timeout: None,
            tcp_incoming_syn_timeout: None,
            mappings_per_port: None,
        }
    }
}

impl NatConfig {
    /// The timeouts that are set, by name.
    pub fn timeouts(&self) -> Vec<(&'static str, Span)> {
        let all = [
            ("udp_timeout", self.udp_timeout),
            ("tcp_transitory_timeout", self.tcp_transitory_timeout),
            ("icmp_timeout", self.icmp_timeout),
        ];
        all.into_iter().filter_map(|(name, span)| Some((name, span?))).collect()
    }
}

/// Which external port a source has for different destinations (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// Always the same one.
    #[default]
    EndpointIndependent,
    /// One for each destination address and port, where needed (as Linux).
    AddressAndPortDependent,
}

/// Which unsolicited packets to an external port reach the host behind it (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// All.
    EndpointIndependent,
    /// Those of hosts the source has sent to.
    AddressDependent,
    /// None: only answers do (as Linux).
    #[default]
    AddressAndPortDependent,
}

/// An address with the length of its network's prefix, such as `192.168.45.2/24`. The length is that of a single address when absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct Network {
    /// The address, with the bits of the host.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub prefix_len: u8,
}

impl Network {
    /// Bits of an address of this family.
    pub const fn bits(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The first address: that of the network.
    pub fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => IpAddr::V4((u32::from(address) & !self.host_mask() as u32).into()),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !self.host_mask()).into()),
        }
    }

    /// The last address: for IPv4 that of broadcasts.
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => IpAddr::V4((u32::from(address) | self.host_mask() as u32).into()),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) | self.host_mask()).into()),
        }
    }

    /// Whether the network has the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && (self.first()..=self.last()).contains(&address)
    }

    fn host_mask(&self) -> u128 {
        let host = self.bits().saturating_sub(self.prefix_len);
        if host >= 128 { u128::MAX } else { (1 << host) - 1 }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is not an address with prefix length, such as \"192.168.45.2/24\" or \"fd00::1/64\"");
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let network = Network { address, prefix_len: 0 };
        let prefix_len = match len {
            None => network.bits(),
            Some(len) if len.len() <= 3 && len.bytes().all(|octet| octet.is_ascii_digit()) => len.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if prefix_len > network.bits() {
            return Err(format!("{text:?}: the length of a prefix is 0 to {}", network.bits()));
        }
        Ok(Network { address, prefix_len })
    }
}

/// The destinations of a route: `default`, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub enum Destination {
    /// Everything; of IPv4 unless the route's next router is an IPv6 address.
    Default,
    /// A network.
    Network(Network),
}

impl Destination {
    /// As a network. `via` is the next router of the route.
    pub fn network(self, via: Option<IpAddr>) -> Network {
        match (self, via) {
            (Destination::Network(network), _) => network,
            (Destination::Default, Some(IpAddr::V6(_))) => Network { address: Ipv6Addr::UNSPECIFIED.into(), prefix_len: 0 },
            (Destination::Default, _) => Network { address: Ipv4Addr::UNSPECIFIED.into(), prefix_len: 0 },
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Default => f.write_str("default"),
            Destination::Network(network) => network.fmt(f),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        if text == "default" {
            return Ok(Destination::Default);
        }
        let network = text
            .parse()
            .map_err(|error: String| if error.contains("length") && text.contains('/') { error } else { wrong_destination(text) })?;
        Ok(Destination::Network(network))
    }
}

fn wrong_destination(text: &str) -> String {
    format!("{text:?} is not a network, such as \"10.0.0.0/8\" or \"default\"")
}

/// A port, or a range of them: `8080`, `"8000-8010"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Ports {
    /// Whether both have a port.
    pub fn overlaps(self, other: Ports) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Ports, String> {
        let number = |text: &str| if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (number(first), number(last)),
            None => (number(text), number(text)),
        };
        match (first, last) {
            (Some(first), Some(last)) if 0 < first && first <= last => Ok(Ports { first, last }),
            _ => Err(format!("{text:?} is not a port (1 to 65535), or a range such as \"8000-8010\"")),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last { serializer.serialize_u16(self.first) } else { serializer.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Ports;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port from 1 to 65535, or a range such as \"8000-8010\"")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Ports, E> {
                number.to_string().parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Ports, E> {
                number.to_string().parse().map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ports, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Ports {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "pattern": "^[0-9]+(-[0-9]+)?$" },
        ] })
    }
}

/// An address, and a port if there is one: `10.0.0.5:80`, `[fd00::5]:80`, `10.0.0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: Option<u16>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => std::net::SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        if let Ok(address) = text.parse() {
            return Ok(Endpoint { address, port: None });
        }
        match text.parse::<std::net::SocketAddr>() {
            Ok(both) if both.port() != 0 => Ok(Endpoint { address: both.ip(), port: Some(both.port()) }),
            _ => Err(format!("{text:?} is not an address with port, such as \"10.0.0.5:80\" or \"[fd00::5]:80\"")),
        }
    }
}

as_text!(Network, "192.168.45.2/24");
as_text!(Destination, "10.0.0.0/8");
as_text!(Endpoint, "10.0.0.5:80");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn networks_read_and_write() {
        for text in ["192.168.45.2/24", "0.0.0.0/0", "10.0.0.1/32", "fd00::1/64", "::/0"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("10.0.0.1").to_string(), "10.0.0.1/32");
        for text in ["", "10.0.0.1/33", "10.0.0.1/", "10.0.0/8", "fd00::/129", "a/8", "10.0.0.1/+8", "10.0.0.1/0024", "1.2.3.4/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn networks_have_bounds() {
        let net = network("192.168.45.2/24");
        assert_eq!((net.first().to_string(), net.last().to_string()), ("192.168.45.0".to_owned(), "192.168.45.255".to_owned()));
        assert!(net.contains("192.168.45.77".parse().unwrap()) && !net.contains("192.168.46.0".parse().unwrap()));
        assert!(!net.contains("::ffff:192.168.45.2".parse().unwrap()));
        let all = network("::/0");
        assert_eq!((all.first(), all.last()), (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into()));
        assert!(network("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
    }

    #[test]
    fn destinations_ports_and_endpoints_read_and_write() {
        assert_eq!("default".parse(), Ok(Destination::Default));
        assert_eq!(Destination::Default.network(Some("fd00::1".parse().unwrap())).to_string(), "::/0");
        assert_eq!(Destination::Default.network(None).to_string(), "0.0.0.0/0");
        assert!("everything".parse::<Destination>().unwrap_err().contains("default"));
        for (json, text) in [("8080", "8080"), ("\"8080\"", "8080"), ("\"8000-8010\"", "8000-8010")] {
            assert_eq!(serde_json::from_str::<Ports>(json).unwrap().to_string(), text);
        }
        for json in ["0", "65536", "-1", "1.5", "\"9-8\"", "\"1-\"", "\"+1\"", "\"\"", "true"] {
            assert!(serde_json::from_str::<Ports>(json).is_err(), "{json}");
        }
        for text in ["10.0.0.5:80", "[fd00::5]:80", "10.0.0.5", "fd00::5"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.5:0", "10.0.0.5:", ":80", "host:80", "10.0.0.5:70000"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_table_has_the_defaults() {
        assert_eq!(serde_json::from_str::<RouterConfig>("{}").unwrap(), RouterConfig::default());
        assert_eq!(serde_json::to_string(&RouterConfig::default()).unwrap(), "{}");
        let conntrack: ConntrackConfig = serde_json::from_str(r#"{"tcp_timeout_established":"3600s","tcp_loose":false}"#).unwrap();
        assert_eq!(conntrack.timeouts(), [("tcp_timeout_established", Span(Duration::from_secs(3600)))]);
    }
}
