//! The rules of a router that types cannot express: addresses, networks, routes, forwarded ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use dataplane::router::{Family, INTERFACES_MAX, ROUTERS_MAX};
use proto::config::{Config, PortConfig, PortKind, Span};
use proto::router::{
    Filtering, ForwardConfig, ForwardProtocol, InterfaceConfig, Mapping, NeighborConfig, Network, Ports, RouteConfig, RouteKind,
    RouterConfig,
};
use wire::MacAddr;

use super::neigh;
use super::problem::{Problem, Subject};
use super::validate::{MTU, NAME_HELP, is_name, no_switch};
use super::vlan;
use crate::iptables::compile as rules;
use crate::iptables::fault::{Fault, Place};

/// Smallest MTU of an interface with IPv6 (RFC 8200 section 5).
pub const IPV6_MTU_MIN: u32 = 1280;
/// Addresses of one interface at most.
pub const ADDRESSES_MAX: usize = 64;
/// Addresses for which one interface answers neighbor solicitations at most.
pub const PROXY_NDP_MAX: usize = 256;
/// Routes of one router at most, a guard of memory and time.
pub const ROUTES_MAX: usize = 65_536;
/// Neighbors of one router at most.
pub const NEIGHBORS_MAX: usize = 1024;
/// Forwarded ports and ranges of one router at most.
pub const FORWARDS_MAX: usize = 1024;
/// Longest timeout of connection tracking and address translation: what its clock can hold.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(25 * 24 * 3600);

/// Checks all routers, and the ports without switch that are theirs.
pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    if config.router.len() > ROUTERS_MAX {
        let message = format!("{} routers; a daemon has at most {ROUTERS_MAX}", config.router.len());
        problems.push(Problem::new(Subject::Whole, message).at("router"));
    }
    for (name, router) in &config.router {
        if !is_name(name) {
            problems.push(Problem::new(Subject::Router(name.clone()), "not a valid name").help(NAME_HELP));
        }
        Check { config, name, router, problems }.all();
    }
    routed_ports(config, problems);
    macs(config, problems);
}

/// The VLAN of an interface; 0 for frames without one.
pub fn vlan_of(interface: &InterfaceConfig) -> u16 {
    interface.vlan.unwrap_or(0)
}

/// Each port without switch is for one router, whose interfaces there are told apart by their VLAN.
fn routed_ports(config: &Config, problems: &mut Vec<Problem>) {
    let mut users: BTreeMap<&str, Vec<(&str, &str, u16)>> = BTreeMap::new();
    for (router, settings) in &config.router {
        for (name, interface) in &settings.interface {
            if let Some(port) = &interface.port {
                users.entry(port).or_default().push((router, name, vlan_of(interface)));
            }
        }
    }
    let needs_switch = |port: &PortConfig| matches!(port.kind, PortKind::Host | PortKind::Patch);
    let unused = |name: &str, port: &PortConfig| port.switch.is_none() && !needs_switch(port) && !users.contains_key(name);
    for (name, _) in config.port.iter().filter(|(name, port)| unused(name, port)) {
        let problem = Problem::new(Subject::Port(name.clone()), "belongs to no switch, and no interface of a router is on it");
        problems.push(problem.help(format!("set `switch`, or add an interface with port = {name:?}")).related(Subject::Whole));
    }
    for (port, users) in users {
        let Some((first, rest)) = users.split_first() else { continue };
        let mut vlans = BTreeSet::from([first.2]);
        for (router, name, vlan) in rest {
            let subject = Subject::Interface((*router).to_owned(), (*name).to_owned());
            let related = Subject::Interface(first.0.to_owned(), first.1.to_owned());
            if *router != first.0 {
                let message = format!("port {port:?} belongs to router {:?} already", first.0);
                let help = "a port without switch is for one router; put both on a switch";
                problems.push(Problem::new(subject, message).at("port").help(help).related(related));
            } else if !vlans.insert(*vlan) {
                let message = format!("port {port:?} has an interface for {} already", vlan_words(*vlan));
                problems.push(Problem::new(subject, message).at("port").help("interfaces on one port differ in `vlan`").related(related));
            }
        }
    }
}

fn vlan_words(vlan: u16) -> String {
    if vlan == 0 { "frames without VLAN".to_owned() } else { format!("VLAN {vlan}") }
}

/// A MAC address is at one place of a VLAN of a switch.
fn macs(config: &Config, problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<(&str, u16, MacAddr), Subject> = BTreeMap::new();
    for (router, name, interface) in interfaces(config) {
        let (Some(mac), Some(at)) = (interface.mac, interface.switch.as_ref().or(interface.port.as_ref())) else { continue };
        let subject = Subject::Interface(router.clone(), name.clone());
        if let Some(other) = first.insert((at, vlan_of(interface), mac), subject.clone()) {
            let problem = Problem::new(subject, format!("{mac} is the address of {other} already")).at("mac");
            problems.push(problem.help("give each its own, or none").related(other));
        }
    }
    for (index, entry) in config.fdb.iter().enumerate() {
        if let Some(owner) = first.get(&(entry.switch.as_str(), entry.vlan, entry.mac)) {
            let problem = Problem::new(Subject::Fdb(index), format!("{} is the address of {owner}", entry.mac)).at("mac");
            problems.push(problem.help("remove the entry").related(owner.clone()));
        }
    }
}

/// All interfaces with the names of their routers and their own.
pub fn interfaces(config: &Config) -> impl Iterator<Item = (&String, &String, &InterfaceConfig)> {
    config.router.iter().flat_map(|(router, settings)| settings.interface.iter().map(move |(name, interface)| (router, name, interface)))
}

/// The part of a router that is about rules.
pub fn rules_of(settings: &RouterConfig) -> rules::Source<'_> {
    rules::Source { iptables: &settings.iptables, ip6tables: &settings.ip6tables, ipset: &settings.ipset }
}

struct Check<'c, 'p> {
    config: &'c Config,
    name: &'c str,
    router: &'c RouterConfig,
    problems: &'p mut Vec<Problem>,
}

impl<'c> Check<'c, '_> {
    fn wrong(&mut self, subject: &Subject, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::new(subject.clone(), message).at(key).help(help));
    }

    fn all(&mut self) {
        let (router, subject) = (self.router, Subject::Router(self.name.to_owned()));
        if router.rp_filter > 2 {
            self.wrong(&subject, "rp_filter", format!("{} is no reverse path filter", router.rp_filter), RP_FILTER_HELP);
        }
        if router.ip_default_ttl == 0 {
            self.wrong(&subject, "ip_default_ttl", "a hop limit of 0", "1 to 255");
        }
        for (key, count, max) in [
            ("interface", router.interface.len(), INTERFACES_MAX),
            ("route", router.route.len(), ROUTES_MAX),
            ("neighbor", router.neighbor.len(), NEIGHBORS_MAX),
            ("forward", router.forward.len(), FORWARDS_MAX),
        ] {
            if count > max {
                self.wrong(&subject, key, format!("{count} of `{key}`"), format!("a router has at most {max}"));
            }
        }
        for (name, interface) in &router.interface {
            self.interface(name, interface);
        }
        self.networks();
        self.routes();
        for (index, neighbor) in router.neighbor.iter().enumerate() {
            self.neighbor(index, neighbor);
        }
        self.forwards();
        let nat = &router.nat;
        if nat.mapping == Mapping::AddressAndPortDependent && nat.filtering != Filtering::default() {
            let help = "with mapping = \"address-and-port-dependent\" only answers reach a host; remove `filtering`";
            self.wrong(
                &Subject::Nat(self.name.to_owned()),
                "filtering",
                "`filtering` has a meaning only with endpoint-independent mapping",
                help,
            );
        }
        self.timeouts();
        neigh::check(self.name, router, self.problems);
        let names = router.interface.keys().map(String::as_str);
        let faults = rules::check(&rules_of(router), names);
        self.problems.extend(faults.into_iter().map(|fault| problem_of(self.name, fault)));
    }

    fn interface(&mut self, name: &str, interface: &InterfaceConfig) {
        let subject = Subject::Interface(self.name.to_owned(), name.to_owned());
        if !is_name(name) {
            self.problems.push(Problem::new(subject.clone(), "not a valid name").help(NAME_HELP));
        }
        self.place(&subject, interface);
        if let Some(vlan) = interface.vlan.filter(|vlan| vlan::vid(*vlan).is_none()) {
            self.wrong(&subject, "vlan", format!("{vlan} is not a VLAN"), "1 to 4094; without `vlan`, frames without one");
        }
        if interface.address.len() > ADDRESSES_MAX {
            let message = format!("{} addresses", interface.address.len());
            self.wrong(&subject, "address", message, format!("an interface has at most {ADDRESSES_MAX}"));
        }
        for network in &interface.address {
            if let Some((message, help)) = not_a_station(network) {
                self.wrong(&subject, "address", message, help);
            }
        }
        if !MTU.contains(&interface.mtu) {
            self.wrong(&subject, "mtu", format!("an MTU of {}", interface.mtu), "68 to 65535");
        } else if interface.mtu < IPV6_MTU_MIN && interface.address.iter().any(|network| network.address.is_ipv6()) {
            let message = format!("an MTU of {} with an IPv6 address", interface.mtu);
            self.wrong(&subject, "mtu", message, format!("IPv6 needs at least {IPV6_MTU_MIN}"));
        }
        if let Some(mac) = interface.mac.filter(|mac| mac.is_multicast() || *mac == MacAddr::ZERO) {
            self.wrong(&subject, "mac", format!("{mac} is not a unicast address"), "first octet even, and not all zeros");
        }
        if interface.rp_filter > 2 {
            self.wrong(&subject, "rp_filter", format!("{} is no reverse path filter", interface.rp_filter), RP_FILTER_HELP);
        }
        if interface.proxy_ndp.len() > PROXY_NDP_MAX {
            let message = format!("{} addresses", interface.proxy_ndp.len());
            self.wrong(&subject, "proxy_ndp", message, format!("at most {PROXY_NDP_MAX}"));
        }
        if let Some(address) = interface.proxy_ndp.iter().find(|address| address.is_multicast() || address.is_unspecified()) {
            self.wrong(&subject, "proxy_ndp", format!("{address} is not a host"), "the address of a host behind another interface");
        }
    }

    /// Where the interface is.
    fn place(&mut self, subject: &Subject, interface: &InterfaceConfig) {
        let port = match (&interface.switch, &interface.port) {
            (Some(switch), None) => return self.problems.extend(no_switch(subject, switch, self.config)),
            (None, Some(port)) => port,
            (Some(_), Some(_)) => return self.wrong(subject, "port", "`switch` and `port` exclude each other", "remove one of them"),
            (None, None) => {
                let problem = Problem::new(subject.clone(), "is nowhere");
                return self.problems.push(problem.help("set `switch`, or `port` with the name of a port without switch"));
            }
        };
        match self.config.port.get(port) {
            None => {
                let help = format!("add [port.{}] without `switch`", if is_name(port) { port } else { "NAME" });
                let problem = Problem::new(subject.clone(), format!("no port {port:?}")).at("port").help(help);
                self.problems.push(problem.related(Subject::Port(port.clone())));
            }
            Some(PortConfig { switch: Some(switch), .. }) => {
                let message = format!("port {port:?} belongs to switch {switch:?}");
                let help = format!("put the interface on it with switch = {switch:?}, or remove `switch` of the port");
                self.problems.push(Problem::new(subject.clone(), message).at("port").help(help).related(Subject::Port(port.clone())));
            }
            Some(found) if interface.mtu > found.mtu => {
                let message = format!("an MTU of {}, and port {port:?} has {}", interface.mtu, found.mtu);
                self.wrong(subject, "mtu", message, "raise the port's, or lower the interface's");
            }
            Some(found) => {
                let passes = vlan::policy(found)
                    .is_none_or(|policy| wire::VlanId::new(vlan_of(interface)).is_none_or(|vlan| policy.members.contains(vlan)));
                if !passes {
                    let message = format!("port {port:?} does not carry {}", vlan_words(vlan_of(interface)));
                    let help = format!("the port is {}", vlan::words(found));
                    self.wrong(subject, if interface.vlan.is_some() { "vlan" } else { "port" }, message, help);
                }
            }
        }
    }

    /// Each address exists once, and no host is in the networks of two interfaces.
    fn networks(&mut self) {
        let mut all: Vec<(Network, &'c str)> = Vec::new();
        for (name, interface) in &self.router.interface {
            for network in interface.address.iter().take(ADDRESSES_MAX) {
                all.push((*network, name));
            }
        }
        // Networks nest or are apart, so in the order of their first addresses, the wider first, an enclosing one is on the stack.
        let is_link_local = |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        all.retain(|(network, _)| !is_link_local(network.address));
        all.sort_by_key(|(network, _)| (network.first(), network.prefix_len));
        let mut found = Vec::new();
        let mut around: Vec<(Network, &str)> = Vec::new();
        let mut owner: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for (network, name) in all {
            around.retain(|(wider, _)| wider.contains(network.first()));
            let subject = Subject::Interface(self.name.to_owned(), name.to_owned());
            if let Some(other) = owner.insert(network.address, name) {
                let message = format!("{} is an address of interface {other:?} already", network.address);
                found.push((subject, message, "an address belongs to one interface, and is named once", other));
            } else if network.prefix_len < network.bits()
                && let Some((wider, other)) = around.iter().find(|(_, other)| *other != name)
            {
                let message = format!("{network} overlaps {wider} of interface {other:?}");
                found.push((subject, message, "the networks of two interfaces must be apart, so that a host is behind one of them", other));
            }
            if network.prefix_len < network.bits() {
                around.push((network, name));
            }
        }
        for (subject, message, help, other) in found {
            let related = Subject::Interface(self.name.to_owned(), other.to_owned());
            self.problems.push(Problem::new(subject, message).at("address").help(help).related(related));
        }
    }

    fn routes(&mut self) {
        // Routes that come with the addresses have metric 0.
        let mut first: BTreeMap<(IpAddr, u8, u32), String> = BTreeMap::new();
        for (name, interface) in &self.router.interface {
            for network in interface.address.iter().filter(|network| network.prefix_len < network.bits()) {
                first.insert((network.first(), network.prefix_len, 0), format!("the network of interface {name:?}"));
            }
        }
        for (index, route) in self.router.route.iter().take(ROUTES_MAX).enumerate() {
            let subject = Subject::Route(self.name.to_owned(), index);
            let network = route.to.network(route.via);
            if network.address != network.first() {
                let message = format!("{network} has bits behind the prefix");
                let right = Network { address: network.first(), ..network };
                self.wrong(&subject, "to", message, format!("the network is {right}"));
            } else if network.address.is_multicast() {
                self.wrong(&subject, "to", format!("{network} is a group"), "groups are not routed");
            } else if let Some(other) = first.insert((network.address, network.prefix_len, route.metric), format!("route {}", index + 1)) {
                let message = format!("{network} with metric {} is {other} already", route.metric);
                self.wrong(&subject, "to", message, "give it another metric, or remove one of them");
            }
            self.next_hop(&subject, route, network);
        }
    }

    fn next_hop(&mut self, subject: &Subject, route: &RouteConfig, network: Network) {
        let kind = route.kind.name();
        if route.kind != RouteKind::Unicast {
            for (key, set) in [("via", route.via.is_some()), ("dev", route.dev.is_some())] {
                if set {
                    self.wrong(subject, key, format!("a route of kind {kind} leads nowhere"), format!("remove `{key}`"));
                }
            }
            return;
        }
        if let Some(dev) = &route.dev
            && !self.has_interface(subject, "dev", dev)
        {
            return;
        }
        let Some(via) = route.via else {
            if route.dev.is_none() {
                let help = "set `via` to the next router, `dev` to an interface, or kind to blackhole, unreachable or prohibit";
                self.problems.push(Problem::new(subject.clone(), "leads nowhere").help(help));
            }
            return;
        };
        if via.is_ipv4() != network.address.is_ipv4() {
            self.wrong(subject, "via", format!("{via} is of another family than {network}"), "both IPv4, or both IPv6");
        } else if let IpAddr::V6(address) = via
            && address.is_unicast_link_local()
        {
            if route.dev.is_none() {
                self.wrong(subject, "via", format!("{via} may be behind every interface"), "name the interface in `dev`");
            }
        } else if self.interface_towards(via, route.dev.as_deref()).is_none() {
            let place = route.dev.as_ref().map_or_else(|| "any interface".to_owned(), |dev| format!("interface {dev:?}"));
            self.wrong(subject, "via", format!("{via} is not in a network of {place}"), "the next router must be a neighbor");
        } else if self.router.interface.values().any(|interface| interface.address.iter().any(|network| network.address == via)) {
            self.wrong(subject, "via", format!("{via} is the router itself"), "name the next router");
        }
    }

    /// The interface in one of whose networks the address is, the longest prefix first; link-local networks are left out.
    fn interface_towards(&self, address: IpAddr, dev: Option<&str>) -> Option<&'c str> {
        interface_towards(self.router, address, dev)
    }

    fn has_interface(&mut self, subject: &Subject, key: &str, name: &str) -> bool {
        if self.router.interface.contains_key(name) {
            return true;
        }
        let help = match self.router.interface.len() {
            0 => "the router has no interfaces yet".to_owned(),
            1..=8 => format!("interfaces: {}", self.router.interface.keys().cloned().collect::<Vec<_>>().join(", ")),
            many => format!("the router has {many} interfaces; see `vswitchctl show interfaces`"),
        };
        let related = Subject::Interface(self.name.to_owned(), name.to_owned());
        self.problems.push(Problem::new(subject.clone(), format!("no interface {name:?}")).at(key).help(help).related(related));
        false
    }

    fn neighbor(&mut self, index: usize, neighbor: &NeighborConfig) {
        let subject = Subject::Neighbor(self.name.to_owned(), index);
        let NeighborConfig { address, dev, lladdr } = neighbor;
        if lladdr.is_multicast() || *lladdr == MacAddr::ZERO {
            self.wrong(&subject, "lladdr", format!("{lladdr} is not a unicast address"), "first octet even, and not all zeros");
        }
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        if self.has_interface(&subject, "dev", dev) && !link_local && self.interface_towards(*address, Some(dev)).is_none() {
            self.wrong(&subject, "address", format!("{address} is not in a network of interface {dev:?}"), "name the right interface");
        }
        let earlier = self.router.neighbor.iter().take(index.min(NEIGHBORS_MAX));
        if earlier.filter(|other| other.address == *address && other.dev == *dev).count() > 0 {
            self.wrong(&subject, "address", format!("{address} has an entry already"), "remove one of them");
        }
    }

    fn forwards(&mut self) {
        let mut seen: BTreeMap<_, Vec<(Ports, usize)>> = BTreeMap::new();
        for (index, forward) in self.router.forward.iter().take(FORWARDS_MAX).enumerate() {
            let subject = Subject::Forward(self.name.to_owned(), index);
            self.forward(&subject, forward);
            let same = seen.entry((forward.protocol, forward.to.address.is_ipv4(), forward.address)).or_default();
            if let Some((_, other)) = same.iter().find(|(ports, _)| ports.overlaps(forward.port)) {
                let message = format!("{} port {} is forwarded by forward {} already", forward.protocol.name(), forward.port, other + 1);
                let related = Subject::Forward(self.name.to_owned(), *other);
                let problem = Problem::new(subject, message).at("port").help("a port goes to one host");
                self.problems.push(problem.related(related));
            }
            same.push((forward.port, index));
        }
    }

    fn forward(&mut self, subject: &Subject, forward: &ForwardConfig) {
        let is_host = |address: IpAddr| !(address.is_multicast() || address.is_unspecified() || address.is_loopback());
        if !is_host(forward.to.address) {
            self.wrong(subject, "to", format!("{} is not a host", forward.to.address), "the host that the port is forwarded to");
        }
        if let Some(address) = forward.address {
            if address.is_ipv4() != forward.to.address.is_ipv4() {
                let message = format!("{address} is of another family than {}", forward.to.address);
                self.wrong(subject, "address", message, "both IPv4, or both IPv6");
            } else if !is_host(address) {
                self.wrong(subject, "address", format!("{address} is not the address of a host"), "an address of the router");
            }
        }
        let span = forward.port.last - forward.port.first;
        if let Some(port) = forward.to.port.filter(|port| port.checked_add(span).is_none()) {
            let message = format!("{} ports from {port} on end behind 65535", u32::from(span) + 1);
            self.wrong(subject, "to", message, "begin with a lower port");
        }
        if forward.syn_proxy && forward.protocol != ForwardProtocol::Tcp {
            self.wrong(subject, "syn_proxy", format!("{} has no SYNs", forward.protocol.name()), "remove it, or use protocol = \"tcp\"");
        }
        if forward.syn_proxy && self.router.conntrack.tcp_loose == Some(true) {
            let help = "remove one of them; what a SYN proxy answers to must belong to no flow";
            self.wrong(subject, "syn_proxy", "`syn_proxy` and conntrack.tcp_loose exclude each other", help);
        }
    }

    fn timeouts(&mut self) {
        let (conntrack, nat) = (Subject::Conntrack(self.name.to_owned()), Subject::Nat(self.name.to_owned()));
        let subject = Subject::Router(self.name.to_owned());
        let own = self.router.ipfrag_time.map(|span| (&subject, ("ipfrag_time", span)));
        let all = own.into_iter().chain(self.router.conntrack.timeouts().into_iter().map(|timeout| (&conntrack, timeout)));
        let all: Vec<(&Subject, (&str, Span))> = all.chain(self.router.nat.timeouts().into_iter().map(|timeout| (&nat, timeout))).collect();
        for (subject, (key, span)) in all {
            if span.0 > TIMEOUT_MAX || span.0 < Duration::from_millis(1) {
                self.wrong(subject, key, format!("a timeout of {span}"), format!("1ms to {}s", TIMEOUT_MAX.as_secs()));
            }
        }
        let Some(span) = self.router.nat.tcp_incoming_syn_timeout else { return };
        if self.router.nat.mapping == Mapping::AddressAndPortDependent {
            let message = "`tcp_incoming_syn_timeout` has a meaning only with endpoint-independent mapping";
            self.wrong(&nat, "tcp_incoming_syn_timeout", message, "remove it: what is no answer is for the router itself");
        } else if !span.0.is_zero() && !INCOMING_SYN.contains(&span.0) {
            let help = "6s to 60s (RFC 5382 REQ-4), or 0s for no answer";
            self.wrong(&nat, "tcp_incoming_syn_timeout", format!("a timeout of {span}"), help);
        }
    }
}

/// A fault of a rule or set at its place in the configuration.
fn problem_of(router: &str, fault: Fault) -> Problem {
    let (subject, key) = match fault.place {
        Place::Chain { family, table, chain, rule } => {
            let family = if family == Family::V4 { "iptables" } else { "ip6tables" };
            (Subject::Chain(router.to_owned(), family, table, chain), rule.map(|rule| format!("rules {rule}")))
        }
        Place::Set { set, entry } => (Subject::Set(router.to_owned(), set), entry.map(|entry| format!("entries {entry}"))),
    };
    let problem = Problem::new(subject, fault.message);
    match key {
        Some(key) => problem.at(key),
        None => problem,
    }
}

/// How soon an unsolicited SYN may be answered, and how late.
const INCOMING_SYN: RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_secs(60);

const RP_FILTER_HELP: &str = "0 none, 1 strict, 2 loose";

/// The interface in one of whose networks the address is: that with the longest prefix, or `dev`. Link-local networks are at
/// every interface, so they do not count.
pub fn interface_towards<'r>(router: &'r RouterConfig, address: IpAddr, dev: Option<&str>) -> Option<&'r str> {
    let interfaces = router.interface.iter().filter(|(name, _)| dev.is_none_or(|dev| dev == *name));
    let networks = interfaces.flat_map(|(name, interface)| interface.address.iter().map(move |network| (network, name)));
    let best = networks.filter(|(network, _)| network.contains(address)).max_by_key(|(network, _)| network.prefix_len);
    best.map(|(_, name)| name.as_str())
}

/// Why an address cannot be that of an interface, and what to do.
fn not_a_station(network: &Network) -> Option<(String, &'static str)> {
    let Network { address, prefix_len } = *network;
    let help = "an address of a host, such as \"192.168.45.2/24\"";
    let broad = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.octets()[0] == 0 || address.octets()[0] >= 240,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() || broad {
        return Some((format!("{address} cannot be the address of an interface"), help));
    }
    if prefix_len == 0 {
        return Some((format!("{network} holds every address"), "the length of the network's prefix, such as /24 or /64"));
    }
    // RFC 3021 and RFC 6164: a network of two addresses has two stations.
    if prefix_len + 1 < network.bits() {
        if address == network.first() {
            let message = match address {
                IpAddr::V4(_) => format!("{address} is the address of network {network} itself"),
                IpAddr::V6(_) => format!("{address} is the anycast address of the routers in {network}"),
            };
            return Some((message, help));
        }
        if address.is_ipv4() && address == network.last() {
            return Some((format!("{address} is the broadcast address of {network}"), help));
        }
    }
    None
}
