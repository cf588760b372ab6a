//! The router of `vswitchd` in this process: the data plane with memory devices, its rules compiled as the daemon compiles them.
//! What goes wrong here has nothing to do with devices, sockets or processes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use control::iptables::compile::{Front, RouterRules, Source, compile, table_of};
use dataplane::conntrack::{Conntrack, Timeout};
use dataplane::device::{Capabilities, RxQueue, Wake};
use dataplane::events::EventQueue;
use dataplane::fdb::{EntryKind, Fdb};
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::nat::{MappingBehaviour, NatState};
use dataplane::pipeline::Pipeline;
use dataplane::router::fib::{Fib, Route, RouteKind};
use dataplane::router::icmp::RateLimit;
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{
    Address, Family as IpFamily, Interface, InterfaceAddress, InterfaceId, InterfaceOf, Router, RouterId, RouterState, RpFilter,
};
use dataplane::rules::Table;
use dataplane::snapshot::{Port, PortId, Snapshot, Switch, SwitchId};
use dataplane::{BurstMemory, clock};
use proto::iptables::{ChainConfig, SetConfig, SetFamily, Tables};
use wire::{MacAddr, VlanId};

use crate::connections::Connection;
use crate::place::{Family, Side, dead_routes};
use crate::rule_sets::RuleSet;
use crate::system::System;

/// MAC addresses of the router's interfaces.
const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 2, 1])];

pub(crate) struct InProcess {
    started: Instant,
    snapshot: Snapshot,
    devices: [MemoryDevice; 2],
    rx: [Box<dyn RxQueue>; 2],
    pipeline: Pipeline,
    memory: BurstMemory,
    rules: Option<RouterRules>,
    tables: [Tables; 2],
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

fn family_of(family: Family) -> IpFamily {
    match family {
        Family::V4 => IpFamily::V4,
        Family::V6 => IpFamily::V6,
    }
}

fn prefix(text: &str) -> (Address, u8) {
    let (address, len) = text.split_once('/').unwrap();
    (crate::place::address(address).into(), len.parse().unwrap())
}

impl InProcess {
    pub(crate) fn new() -> InProcess {
        let mut snapshot = Snapshot::default();
        let mut pipeline = Pipeline::new(0, Arc::new(EventQueue::new(Arc::new(NoWake))));
        let devices = Side::BOTH.map(|_| MemoryDevice::new(256, false, Capabilities::ALL));
        for side in Side::BOTH {
            let n = side as u16;
            pipeline.attach(PortId(n), devices[side as usize].tx_queue());
            snapshot.ports.push(Some(Port::new(SwitchId(n), 1)));
        }
        for side in Side::BOTH {
            let n = side as u16;
            let mut port = Port::new(SwitchId(n), 1);
            (port.learning, port.flood, port.mtu) = (false, false, 65_535);
            port.interface = Some(InterfaceOf { router: RouterId(0), interface: InterfaceId(n as u8) });
            snapshot.ports.push(Some(port));
            let fdb = Fdb::new(1024);
            fdb.insert(MACS[side as usize], VlanId::NONE, PortId(2 + n), EntryKind::Static, 0);
            fdb.insert(MacAddr(side.neighbour_mac()), VlanId::NONE, PortId(n), EntryKind::Static, 0);
            let ports = [PortId(n), PortId(2 + n)].into();
            snapshot.switches.push(Some(Switch { fdb: Arc::new(fdb), ports, ageing: 1000, hub: false, group_fwd_mask: 0 }));
        }
        let rx = [devices[0].rx_queue(), devices[1].rx_queue()];
        let (started, memory) = (Instant::now(), BurstMemory::new());
        InProcess { started, snapshot, devices, rx, pipeline, memory, rules: None, tables: Default::default() }
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// A router without connections, with these rules.
    fn router(&self, rules: &RouterRules) -> Router {
        let state = RouterState::new(Arc::new(Conntrack::new(65_536, 1)), Arc::new(NatState::new(65_536)));
        let mut router = Router::new(RouterId(0), Arc::new(state));
        let mut neighbours = Vec::new();
        for side in Side::BOTH {
            let own = |family| {
                let (addresses, prefix_len) = side.router(family);
                let family = family_of(family);
                addresses.iter().map(move |own| InterfaceAddress { family, address: crate::place::address(own).into(), prefix_len })
            };
            router.interfaces.push(Some(Interface {
                port: PortId(2 + side as u16),
                mac: MACS[side as usize],
                mtu: side.mtu() as u32,
                addresses: [Family::V4, Family::V6].into_iter().flat_map(own).collect(),
                rp_filter: RpFilter::Off,
                waiting: Default::default(),
            }));
            for family in [Family::V4, Family::V6] {
                let interface = InterfaceId(side as u8);
                let (address, mac) = (side.neighbour(family).into(), Some(MacAddr(side.neighbour_mac())));
                neighbours.push(Neighbour { interface, family: family_of(family), address, mac });
            }
        }
        router.fib = [Family::V4, Family::V6].map(|family| {
            let mut routes = Fib::routes_of(family_of(family), router.interfaces());
            let mut add = |network: &str, kind| {
                let (prefix, len) = prefix(network);
                routes.push(Route { prefix, len, kind, metric: 0 });
            };
            for side in Side::BOTH {
                let via = Some(side.neighbour(family).into());
                for network in side.networks(family) {
                    add(network, RouteKind::Unicast { interface: InterfaceId(side as u8), via });
                }
            }
            for (kind, network) in dead_routes(family) {
                let kind = match *kind {
                    "blackhole" => RouteKind::Blackhole,
                    "unreachable" => RouteKind::Unreachable,
                    _ => RouteKind::Prohibit,
                };
                add(network, kind);
            }
            Fib::new(family_of(family), routes)
        });
        router.rules = [IpFamily::V4, IpFamily::V6].map(|family| rules.rule_set(family).cloned());
        router.nat.mapping = MappingBehaviour::AddressAndPortDependent;
        router.rate_limit =
            RateLimit { icmp_ratelimit: 0, icmp_msgs_per_sec: 1_000_000, icmp_msgs_burst: 1_000_000, ..RateLimit::default() };
        for (timeout, seconds) in crate::place::LONGER_TIMEOUTS {
            let timeout = Timeout::ALL.iter().find(|each| each.name() == *timeout).unwrap();
            router.conntrack.timeouts[*timeout] = seconds * 1_000_000_000;
        }
        router.state.neighbours.publish(&neighbours, 1);
        router
    }
}

/// The tables in what `iptables-restore` reads.
fn tables(text: &str) -> Tables {
    let mut tables = Tables::default();
    let mut table = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = Some(match name {
                "raw" => &mut tables.raw,
                "mangle" => &mut tables.mangle,
                "nat" => &mut tables.nat,
                "filter" => &mut tables.filter,
                _ => &mut tables.security,
            });
            continue;
        }
        let table = table.as_mut().unwrap();
        if let Some(line) = line.strip_prefix(':') {
            let (chain, policy) = line.split_once(' ').unwrap();
            let policy = policy.split(' ').next().filter(|policy| *policy != "-").map(str::to_owned);
            table.insert(chain.to_owned(), ChainConfig { policy, rules: Vec::new() });
        } else if let Some(line) = line.strip_prefix("-A ") {
            let (chain, rule) = line.split_once(' ').unwrap();
            table.get_mut(chain).unwrap().rules.push(rule.to_owned());
        }
    }
    tables
}

/// The sets in arguments of `ipset`.
fn sets(lines: &[&str]) -> BTreeMap<String, SetConfig> {
    let mut sets = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["create", name, kind, "family", family] => {
                let mut set = SetConfig::new(kind);
                set.family = if family == "inet6" { SetFamily::Inet6 } else { SetFamily::Inet };
                sets.insert(name.to_owned(), set);
            }
            ["add", name, element] => sets.get_mut(name).unwrap().entries.push(element.to_owned()),
            _ => panic!("ipset {line}"),
        }
    }
    sets
}

impl System for InProcess {
    fn name(&self) -> &str {
        "in process"
    }

    fn load(&mut self, rules: &RuleSet) {
        self.tables = [Family::V4, Family::V6].map(|family| tables(&rules.iptables(family)));
        let source = Source { iptables: &self.tables[0], ip6tables: &self.tables[1], ipset: &sets(rules.ipset()) };
        let interfaces = Side::BOTH.map(|side| (side.interface().to_owned(), InterfaceId(side as u8))).into();
        let compiled = compile(&source, &interfaces, &[Front::default(), Front::default()], None, 1, self.now());
        let compiled = compiled.unwrap_or_else(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!("{}: {}", rules.name, faults.join("\n"))
        });
        compiled.activate(self.now());
        self.snapshot.routers = vec![Some(Arc::new(self.router(&compiled)))];
        self.pipeline.prepare(&self.snapshot);
        self.rules = Some(compiled);
    }

    fn exchange(&mut self, side: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)> {
        let ether_type: [u8; 2] = if packet[0] >> 4 == 6 || packet[0] >> 4 == 0xf { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&MACS[side as usize].0[..], &side.neighbour_mac(), &ether_type, packet].concat();
        assert!(self.devices[side as usize].inject(MemoryFrame::new(frame)));
        let now = self.now();
        self.pipeline.set_time(now);
        let mut burst = self.memory.burst();
        self.rx[side as usize].receive(&mut burst).unwrap();
        self.pipeline.run(&self.snapshot, PortId(side as u16), &mut burst, clock::tick(now));
        drop(burst);
        self.rx[side as usize].release();
        let devices = &self.devices;
        let out = |side: Side| {
            let frames = std::iter::from_fn(move || devices[side as usize].take());
            frames.filter(|frame| frame.octets[0] & 1 == 0 && matches!(frame.octets[12..14], [8, 0] | [0x86, 0xdd])).map(move |frame| {
                assert_eq!(frame.octets[..6], side.neighbour_mac(), "destination");
                assert_eq!(frame.octets[6..12], MACS[side as usize].0, "source");
                (side, frame.octets[14..].to_vec())
            })
        };
        out(Side::Lan).chain(out(Side::Wan)).collect()
    }

    fn connections(&self) -> Vec<Connection> {
        let connections = &self.snapshot.routers[0].as_ref().unwrap().state.connections;
        let mut found = Vec::new();
        connections.list(0, u32::MAX, self.now(), |info| {
            let flow = control::conntrack::flow(info, &Nameless);
            let mut text = format!("{} {} {}", flow.protocol_name, flow.protocol, flow.timeout);
            if let Some(state) = &flow.state {
                let _ = write!(text, " {state}");
            }
            for tuple in [&flow.original, &flow.reply] {
                let _ = write!(text, " src={} dst={}", tuple.src, tuple.dst);
                let numbers = [
                    ("sport", tuple.sport.map(u32::from)),
                    ("dport", tuple.dport.map(u32::from)),
                    ("type", tuple.icmp_type.map(u32::from)),
                    ("code", tuple.icmp_code.map(u32::from)),
                    ("id", tuple.icmp_id.map(u32::from)),
                ];
                for (key, number) in numbers.iter().filter_map(|(key, number)| Some((key, (*number)?))) {
                    let _ = write!(text, " {key}={number}");
                }
            }
            let has = |bit: &str| flow.status.iter().any(|status| status == bit);
            if !has("SEEN_REPLY") {
                text.push_str(" [UNREPLIED]");
            }
            if has("ASSURED") {
                text.push_str(" [ASSURED]");
            }
            let _ = write!(text, " mark={}", flow.mark);
            if flow.zone != 0 {
                let _ = write!(text, " zone={}", flow.zone);
            }
            found.push(Connection::parse(&text));
        });
        found
    }

    fn counters(&self) -> String {
        let Some(rules) = &self.rules else { return String::new() };
        let mut text = String::new();
        for (tables, family) in self.tables.iter().zip([IpFamily::V4, IpFamily::V6]) {
            for table in [Table::Raw, Table::Mangle, Table::Nat, Table::Filter, Table::Security] {
                let _ = writeln!(text, "*{}", table.name());
                for (chain, config) in table_of(tables, table) {
                    let Some(states) = rules.counters(family, table, chain) else { continue };
                    for (rule, state) in config.rules.iter().zip(&states.rules) {
                        let (packets, octets) = state.counts();
                        let _ = writeln!(text, "[{packets}:{octets}] -A {chain} {rule}");
                    }
                }
            }
        }
        text
    }
}

struct Nameless;

impl control::conntrack::Names for Nameless {
    fn router(&self, _: RouterId) -> Option<String> {
        None
    }

    fn port(&self, _port: PortId) -> Option<String> {
        None
    }
}
