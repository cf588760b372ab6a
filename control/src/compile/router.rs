//! Routers: interfaces as ports of switches, routes, settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dataplane::clock::Nanos;
use dataplane::conntrack::{self, Timeout};
use dataplane::counters::PortCounters;
use dataplane::nat::{self, MappingBehaviour};
use dataplane::router::fib::{Fib, Route, RouteKind};
use dataplane::router::icmp::RateLimit;
use dataplane::router::{
    Address, Family, Interface, InterfaceAddress, InterfaceId, InterfaceOf, Router, RouterId, RouterState, RpFilter, reassembly,
};
use dataplane::snapshot::{Admit, Port, PortId, PortState, PriorityTags, Snapshot, VlanPolicy};
use proto::config::{Config, Span};
use proto::router::{self, ConntrackConfig, Filtering, ForwardConfig, InterfaceConfig, Mapping, NatConfig, Network, RouterConfig};
use wire::{MacAddr, VlanId};

use super::forward::{self, ForwardStates};
use super::{Compiled, Context, Numbers, SwitchParts, own_switch, put};
use crate::config::diff::words;
use crate::config::neigh;
use crate::config::router::{interface_towards, rules_of, vlan_of};
use crate::iptables::compile::{self as rules, RouterRules};

/// A router with what survives a change of its settings.
#[derive(Clone)]
pub struct RouterParts {
    /// Its number, which is also the zone of its flows.
    pub id: RouterId,
    /// What changes without configuration.
    pub state: Arc<RouterState>,
    /// Its interfaces by name.
    pub interfaces: BTreeMap<String, InterfaceParts>,
    /// Its rules and sets, and their counters.
    pub rules: Arc<RouterRules>,
    forwards: ForwardStates,
}

impl RouterParts {
    /// Packets and octets that a forwarded port matched: first packets of flows.
    pub fn forward_counts(&self, forward: &ForwardConfig) -> (u64, u64) {
        self.forwards.get(&words::forward(forward)).map_or((0, 0), |state| state.counts())
    }
}

/// An interface with what survives a change of its settings.
#[derive(Clone)]
pub struct InterfaceParts {
    /// Its number.
    pub id: InterfaceId,
    /// The port that stands for it.
    pub port: PortId,
    /// State of that port.
    pub state: Arc<PortState>,
    /// Counters of that port.
    pub counters: Arc<[PortCounters]>,
    /// The switch it is on, as [`Compiled::switches`] names it.
    pub switch: String,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses, with the link-local one where none is given; none when it is disabled.
    pub addresses: Vec<Network>,
    /// Its settings.
    pub config: InterfaceConfig,
}

/// The name of the port of an interface: no port can have it, as names of ports have no slash.
pub fn interface_port(router: &str, interface: &str) -> String {
    format!("{router}/{interface}")
}

/// Routers and interfaces with the numbers they had, or new ones.
pub(super) fn parts(
    config: &Config,
    old: &Compiled,
    context: &Context<'_>,
    ports: &mut Numbers,
) -> Result<BTreeMap<String, RouterParts>, String> {
    let mut routers = Numbers::new(old.routers.values().map(|router| router.id.0));
    let mut all = BTreeMap::new();
    for (name, settings) in &config.router {
        let former = old.routers.get(name);
        let mut numbers = Numbers::new(former.iter().flat_map(|router| router.interfaces.values()).map(|former| former.id.0.into()));
        let interfaces = settings.interface.iter().map(|(interface, settings)| {
            let former = former.and_then(|router| router.interfaces.get(interface));
            let id = former.map_or_else(|| InterfaceId(u8::try_from(numbers.take()).unwrap_or(u8::MAX)), |former| former.id);
            let switch = match (&settings.switch, &settings.port) {
                (Some(switch), _) => switch.clone(),
                (None, Some(port)) => own_switch(port),
                (None, None) => String::new(),
            };
            let (port, state, counters) = match former.filter(|former| former.switch == switch) {
                Some(former) => (former.port, former.state.clone(), former.counters.clone()),
                None => {
                    let counters = (0..context.workers.max(1)).map(|_| PortCounters::default()).collect();
                    (PortId(ports.take()), Arc::new(PortState::new(settings.enabled, true)), counters)
                }
            };
            let mac = settings.mac.unwrap_or_else(|| (context.stable_mac)(name, interface));
            let vlan = VlanId::new(vlan_of(settings)).unwrap_or_default();
            let addresses = addresses(settings, mac);
            let parts = InterfaceParts { id, port, state, counters, switch, vlan, mac, addresses, config: settings.clone() };
            (interface.clone(), parts)
        });
        let interfaces: BTreeMap<String, InterfaceParts> = interfaces.collect();
        let (id, state) = match former {
            Some(former) => (former.id, former.state.clone()),
            None => (RouterId(routers.take()), Arc::new(RouterState::new(context.connections.clone(), context.translations.clone()))),
        };
        let forwards = forward::states(&settings.forward, former.map(|former| &former.forwards), context.workers);
        let front = [Family::V4, Family::V6].map(|family| forward::front(family, &settings.forward, &forwards, context.workers));
        let ids = interfaces.iter().map(|(name, parts)| (name.clone(), parts.id)).collect();
        let rules = rules::compile(&rules_of(settings), &ids, &front, former.map(|former| &*former.rules), context.workers, context.now);
        let rules = rules.map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(|fault| format!("router {name:?}: {fault}")).collect();
            faults.join("\n")
        })?;
        all.insert(name.clone(), RouterParts { id, state, interfaces, rules: Arc::new(rules), forwards });
    }
    Ok(all)
}

/// The addresses of an interface. With IPv6 each has one of its own for its link (RFC 4291 section 2.8).
fn addresses(settings: &InterfaceConfig, mac: MacAddr) -> Vec<Network> {
    if !settings.enabled {
        return Vec::new();
    }
    let mut list = settings.address.clone();
    let is_link_local = |network: &Network| matches!(network.address, IpAddr::V6(address) if address.is_unicast_link_local());
    if list.iter().any(|network| network.address.is_ipv6()) && !list.iter().any(is_link_local) {
        list.push(Network { address: link_local(mac).into(), prefix_len: 64 });
    }
    list
}

/// The link-local address of a MAC address (modified EUI-64, RFC 4291 appendix A).
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let id = u64::from_be_bytes([a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(id))
}

/// The ports that stand for the interfaces of a router.
pub(super) fn ports(parts: &RouterParts, switches: &BTreeMap<String, SwitchParts>, snapshot: &Snapshot) -> Vec<(PortId, Port)> {
    let port = |interface: &InterfaceParts| {
        let switch = switches.get(&interface.switch)?.id;
        // A hub looks no address up, so the interface gets everything, and takes what is its own.
        let hub = snapshot.switch(switch).is_some_and(|switch| switch.hub);
        let port = Port {
            vlan: VlanPolicy {
                pvid: Some(interface.vlan),
                members: [interface.vlan].into_iter().collect(),
                untagged: Some(interface.vlan),
                admit: Admit::UntaggedOnly,
                priority_tags: PriorityTags::Never,
            },
            // What arrives is bounded by the ports it comes from, what leaves by the interface's own MTU.
            mtu: u32::from(u16::MAX),
            learning: false,
            flood: hub,
            interface: Some(InterfaceOf { router: parts.id, interface: interface.id }),
            state: interface.state.clone(),
            counters: interface.counters.clone(),
            ..Port::new(switch, 0)
        };
        Some((interface.port, port))
    };
    parts.interfaces.values().filter_map(port).collect()
}

/// The router as workers see it.
pub(super) fn router(settings: &RouterConfig, parts: &RouterParts) -> Router {
    let mut interfaces = Vec::new();
    for interface in parts.interfaces.values() {
        let compiled = Interface {
            port: interface.port,
            mac: interface.mac,
            mtu: interface.config.mtu,
            addresses: interface.addresses.iter().map(interface_address).collect(),
            rp_filter: match settings.rp_filter.max(interface.config.rp_filter) {
                0 => RpFilter::Off,
                1 => RpFilter::Strict,
                _ => RpFilter::Loose,
            },
            waiting: neigh::waiting(settings, &interface.config),
        };
        put(&mut interfaces, interface.id.index(), compiled);
    }
    let fib = [Family::V4, Family::V6].map(|family| Fib::new(family, routes(family, settings, parts, &interfaces)));
    let default = reassembly::Settings::default();
    Router {
        id: parts.id,
        forwarding: settings.forwarding,
        interfaces,
        fib,
        rules: [Family::V4, Family::V6].map(|family| parts.rules.rule_set(family).cloned()),
        conntrack: conntrack_settings(&settings.conntrack, settings.forward.iter().any(|forward| forward.syn_proxy)),
        nat: nat_settings(&settings.nat),
        reassembly: reassembly::Settings {
            ipfrag_time: settings.ipfrag_time.map_or(default.ipfrag_time, Span::nanos),
            nf_conntrack_frag6_timeout: settings.conntrack.frag6_timeout.map_or(default.nf_conntrack_frag6_timeout, Span::nanos),
        },
        default_ttl: settings.ip_default_ttl,
        rate_limit: RateLimit {
            icmp_ratelimit: Nanos::from(settings.icmp_ratelimit) * 1_000_000,
            icmp_ratemask: settings.icmp_ratemask,
            icmp_msgs_per_sec: settings.icmp_msgs_per_sec,
            icmp_msgs_burst: settings.icmp_msgs_burst,
        },
        echo_ignore_all: settings.icmp_echo_ignore_all,
        state: parts.state.clone(),
    }
}

pub(crate) fn interface_address(network: &Network) -> InterfaceAddress {
    InterfaceAddress { family: network.address.into(), address: network.address.into(), prefix_len: network.prefix_len }
}

/// The routes of a family: those of the addresses, and those of the configuration by interfaces that are enabled.
fn routes(family: Family, settings: &RouterConfig, parts: &RouterParts, interfaces: &[Option<Interface>]) -> Vec<Route> {
    let numbered = interfaces.iter().enumerate().filter_map(|(n, interface)| Some((InterfaceId(n as u8), interface.as_ref()?)));
    let mut list = Fib::routes_of(family, numbered);
    for route in &settings.route {
        let network = route.to.network(route.via);
        if Family::from(network.address) != family {
            continue;
        }
        let kind = match route.kind {
            router::RouteKind::Blackhole => RouteKind::Blackhole,
            router::RouteKind::Unreachable => RouteKind::Unreachable,
            router::RouteKind::Prohibit => RouteKind::Prohibit,
            router::RouteKind::Unicast => {
                let Some(interface) = out_interface(settings, route).and_then(|name| parts.interfaces.get(name)) else { continue };
                if !interface.config.enabled {
                    continue;
                }
                RouteKind::Unicast { interface: interface.id, via: route.via.map(Address::from) }
            }
        };
        list.push(Route { prefix: network.address.into(), len: network.prefix_len, kind, metric: route.metric });
    }
    list
}

/// The interface by which packets of a route leave.
pub fn out_interface<'r>(router: &'r RouterConfig, route: &'r router::RouteConfig) -> Option<&'r str> {
    route.dev.as_deref().or_else(|| interface_towards(router, route.via?, None))
}

/// What a SYN proxy answers to must belong to no flow, so with one, flows are not taken up in their middle.
fn conntrack_settings(config: &ConntrackConfig, syn_proxy: bool) -> conntrack::Settings {
    let mut settings = conntrack::Settings {
        tcp_loose: config.tcp_loose.unwrap_or(!syn_proxy),
        tcp_be_liberal: config.tcp_be_liberal,
        tcp_ignore_invalid_rst: config.tcp_ignore_invalid_rst,
        tcp_max_retrans: config.tcp_max_retrans,
        checksum: config.checksum,
        acct: config.acct,
        ..conntrack::Settings::default()
    };
    for (name, span) in config.timeouts() {
        if let Some(timeout) = Timeout::ALL.iter().find(|timeout| timeout.name() == name) {
            settings.timeouts[*timeout] = span.nanos();
        }
    }
    settings
}

fn nat_settings(config: &NatConfig) -> nat::Settings {
    let default = nat::Settings::default();
    nat::Settings {
        mapping: match config.mapping {
            Mapping::EndpointIndependent => MappingBehaviour::EndpointIndependent,
            Mapping::AddressAndPortDependent => MappingBehaviour::AddressAndPortDependent,
        },
        filtering: match config.filtering {
            Filtering::EndpointIndependent => nat::Filtering::EndpointIndependent,
            Filtering::AddressDependent => nat::Filtering::AddressDependent,
            Filtering::AddressAndPortDependent => nat::Filtering::AddressAndPortDependent,
        },
        port_parity: config.port_parity,
        ip_local_port_range: config.ip_local_port_range.map(|ports| (ports.first, ports.last)),
        hairpin: config.hairpin,
        udp_timeout: config.udp_timeout.map_or(default.udp_timeout, Span::nanos),
        tcp_transitory_timeout: config.tcp_transitory_timeout.map_or(default.tcp_transitory_timeout, Span::nanos),
        icmp_timeout: config.icmp_timeout.map_or(default.icmp_timeout, Span::nanos),
        tcp_incoming_syn_timeout: config.tcp_incoming_syn_timeout.map_or(default.tcp_incoming_syn_timeout, Span::nanos),
        mappings_per_port: config.mappings_per_port.unwrap_or(default.mappings_per_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_comes_from_the_mac() {
        // RFC 4291 appendix A, with the bit for a local address.
        assert_eq!(link_local(MacAddr([0x02, 0, 0, 0x12, 0x34, 0x56])).to_string(), "fe80::ff:fe12:3456");
        assert_eq!(link_local(MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde])).to_string(), "fe80::3656:78ff:fe9a:bcde");
    }

    #[test]
    fn every_timeout_of_the_configuration_is_one_of_the_table() {
        for timeout in Timeout::ALL.iter().filter(|timeout| timeout.name() != "tcp_timeout_syn_sent2") {
            let config: ConntrackConfig = serde_json::from_value(serde_json::json!({ timeout.name(): "77s" })).unwrap();
            let settings = conntrack_settings(&config, false);
            for other in Timeout::ALL {
                let expected = if other == timeout { 77_000_000_000 } else { other.default_nanos() };
                assert_eq!(settings.timeouts[*other], expected, "{}", other.name());
            }
        }
        assert_eq!(conntrack_settings(&ConntrackConfig::default(), false), conntrack::Settings::default());
        assert_eq!(nat_settings(&NatConfig::default()), nat::Settings::default());
    }
}
