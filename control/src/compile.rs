//! From a configuration to what the workers run on, keeping what can be kept of the running switch.

mod forward;
mod router;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dataplane::bond::{Bond, BondState, HashPolicy, MEMBERS_MAX, Member, Mode, PuntRules};
use dataplane::clock::{self, Nanos};
use dataplane::conntrack::Conntrack;
use dataplane::counters::PortCounters;
use dataplane::fdb::Fdb;
use dataplane::nat::NatState;
use dataplane::snapshot::{Port, PortId, PortState, Snapshot, Switch, SwitchId};
use proto::bond::{BondMode, XmitHashPolicy};
use proto::config::{Config, PortConfig, PortKind, SwitchConfig};
use wire::MacAddr;

pub(crate) use self::router::interface_address;
pub use self::router::{InterfaceParts, RouterParts, interface_port, out_interface};
use crate::config::validate::netdev_of;
use crate::config::{self, vlan};

/// A switch with what survives a change of its settings.
#[derive(Clone)]
pub struct SwitchParts {
    /// Its number.
    pub id: SwitchId,
    /// Its address table.
    pub fdb: Arc<Fdb>,
}

/// A port with what survives a change of its settings.
#[derive(Clone)]
pub struct PortParts {
    /// Its number.
    pub id: PortId,
    /// What changes without configuration.
    pub state: Arc<PortState>,
    /// Its counters.
    pub counters: Arc<[PortCounters]>,
    /// What becomes of its device.
    pub device: DevicePlan,
    /// Its settings; those of its device for a member.
    pub config: PortConfig,
    /// Its switch, as [`Compiled::switches`] names it; that of its bond for a member.
    pub switch: String,
    /// The bond it belongs to, if it is a member.
    pub member_of: Option<MemberOf>,
    /// What is more about it, if it is a bond.
    pub bond: Option<Arc<BondState>>,
}

/// The place of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOf {
    /// Name of the bond.
    pub bond: String,
    /// Name of the member.
    pub member: String,
    /// Its slot, below [`MEMBERS_MAX`]; it keeps it while it exists.
    pub slot: u8,
}

/// The name of a member among the ports: no port can have it, as names of ports have no slash.
pub fn member_port(bond: &str, member: &str) -> String {
    format!("{bond}/{member}")
}

/// The name of the switch that a port without one gets for itself: no switch can have it, as names of switches have no slash.
pub fn own_switch(port: &str) -> String {
    format!("/{port}")
}

/// What becomes of the device of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevicePlan {
    /// It stays.
    Keep,
    /// It stays, with another MTU or MAC address.
    Adjust,
    /// The port stays, its device is opened anew.
    Reopen,
    /// The port is new.
    Open,
}

/// Everything that exists under a configuration.
#[derive(Clone, Default)]
pub struct Compiled {
    /// Switches by name, and those of [`own_switch`] of ports without one.
    pub switches: BTreeMap<String, SwitchParts>,
    /// Ports by name, and members of bonds by that of [`member_port`].
    pub ports: BTreeMap<String, PortParts>,
    /// Routers by name.
    pub routers: BTreeMap<String, RouterParts>,
    /// What workers get.
    pub snapshot: Arc<Snapshot>,
}

impl Compiled {
    /// The names of ports by number.
    pub fn port_names(&self) -> Vec<Option<String>> {
        let mut names = vec![None; self.snapshot.ports.len()];
        for (name, port) in &self.ports {
            names[port.id.index()] = Some(name.clone());
        }
        for (router, name, parts) in self.interfaces() {
            names[parts.port.index()] = Some(interface_port(router, name));
        }
        names
    }

    /// All interfaces with the names of their routers and their own.
    pub fn interfaces(&self) -> impl Iterator<Item = (&String, &String, &InterfaceParts)> {
        self.routers.iter().flat_map(|(router, parts)| parts.interfaces.iter().map(move |(name, parts)| (router, name, parts)))
    }

    /// The names of switches by number.
    pub fn switch_names(&self) -> Vec<Option<String>> {
        let mut names = vec![None; self.snapshot.switches.len()];
        for (name, switch) in &self.switches {
            names[switch.id.index()] = Some(name.clone());
        }
        names
    }
}

/// Compiles a valid configuration.
///
/// A port keeps its number, counters and table entries when name, switch and device (kind, interface and namespace) stay
/// the same; a switch keeps its table when name and `fdb_size` do. Numbers in use by the running switch are not given to
/// anything else, so that they are free only after the workers forgot them. A table of another size comes back empty;
/// the transaction fills it. An interface of a router keeps its number while its name stays, and that of its port while it is at
/// the same switch.
///
/// # Errors
///
/// When rules cannot be compiled, which [`crate::config::validate()`] should have said.
pub fn compile(config: &Config, old_config: &Config, old: &Compiled, context: &Context<'_>) -> Result<Compiled, String> {
    let workers = context.workers;
    let mut switch_ids = Numbers::new(old.switches.values().map(|switch| switch.id.0));
    let mut switch = |name: &String, fdb_size: u32, same_size: bool| {
        let former = old.switches.get(name);
        let id = former.map_or_else(|| SwitchId(switch_ids.take()), |former| former.id);
        let fdb = former.filter(|_| same_size).map(|former| former.fdb.clone());
        SwitchParts { id, fdb: fdb.unwrap_or_else(|| Arc::new(Fdb::new(fdb_size as usize))) }
    };
    let mut switches = BTreeMap::new();
    for (name, settings) in &config.switch {
        let same_size = old_config.switch.get(name).is_some_and(|old| old.fdb_size == settings.fdb_size);
        switches.insert(name.clone(), switch(name, settings.fdb_size, same_size));
    }
    for (name, _) in config.port.iter().filter(|(_, port)| port.switch.is_none()) {
        let name = own_switch(name);
        let parts = switch(&name, OWN_SWITCH_FDB_SIZE, true);
        switches.insert(name, parts);
    }

    let taken = old.ports.values().map(|port| port.id).chain(old.interfaces().map(|(.., parts)| parts.port));
    let mut port_ids = Numbers::new(taken.map(|id| id.0));
    let mut parts = |name: &str, settings: &PortConfig, member_of: Option<MemberOf>| {
        // The key of a member has its bond in front, its device the member's own name.
        let device = member_of.as_ref().map_or(name, |place| &place.member);
        let of_bond = member_of.as_ref().map_or(name, |place| &place.bond);
        let switch = settings.switch.clone().unwrap_or_else(|| own_switch(of_bond));
        match old.ports.get(name).filter(|former| is_same_port(device, &former.config, settings)) {
            Some(former) => {
                PortParts { device: device_plan(&former.config, settings), config: settings.clone(), switch, member_of, ..former.clone() }
            }
            None => PortParts {
                id: PortId(port_ids.take()),
                state: Arc::new(PortState::new(settings.enabled, false)),
                counters: (0..workers.max(1)).map(|_| PortCounters::default()).collect(),
                device: DevicePlan::Open,
                config: settings.clone(),
                switch,
                member_of,
                bond: (settings.kind == PortKind::Bond).then(|| Arc::new(BondState::new(workers))),
            },
        }
    };
    let mut ports = BTreeMap::new();
    for (name, settings) in &config.port {
        ports.insert(name.clone(), parts(name, settings, None));
        for (member, slot) in slots(name, settings, old) {
            let Some(device) = settings.member.get(&member).map(|config| config.device(&member, settings)) else { continue };
            let key = member_port(name, &member);
            let place = MemberOf { bond: name.clone(), member, slot };
            ports.insert(key.clone(), parts(&key, &device, Some(place)));
        }
    }

    let routers = router::parts(config, old, context, &mut port_ids)?;
    let snapshot = Arc::new(snapshot(config, &switches, &ports, &routers, old));
    Ok(Compiled { switches, ports, routers, snapshot })
}

/// What a compilation needs beside the configurations.
pub struct Context<'c> {
    /// Number of workers.
    pub workers: usize,
    /// The moment.
    pub now: Nanos,
    /// The connections of all routers.
    pub connections: &'c Arc<Conntrack>,
    /// The translations of all routers.
    pub translations: &'c Arc<NatState>,
    /// The MAC address of an interface that is given none, by the names of the router and its own.
    pub stable_mac: &'c dyn Fn(&str, &str) -> MacAddr,
}

/// Addresses that the switch of a port without one learns at most. Frames to others are flooded, to no other port.
const OWN_SWITCH_FDB_SIZE: u32 = 1024;

/// The slots of the members of a bond: those they have, and for new ones free slots that none had before, as far as there
/// are.
fn slots(bond: &str, settings: &PortConfig, old: &Compiled) -> Vec<(String, u8)> {
    let former = |member: &String| Some(old.ports.get(&member_port(bond, member))?.member_of.as_ref()?.slot);
    let had: Vec<u8> =
        old.ports.values().filter_map(|port| port.member_of.as_ref()).filter(|place| place.bond == bond).map(|place| place.slot).collect();
    let mut taken: Vec<u8> = settings.member.keys().filter_map(former).collect();
    let mut list = Vec::with_capacity(settings.member.len());
    for member in settings.member.keys() {
        let all = 0..MEMBERS_MAX as u8;
        let free = all.clone().find(|slot| !had.contains(slot) && !taken.contains(slot));
        let slot = former(member).or(free).or_else(|| all.clone().find(|slot| !taken.contains(slot)));
        let Some(slot) = slot else { break };
        taken.push(slot);
        list.push((member.clone(), slot));
    }
    list
}

fn snapshot(
    config: &Config,
    switches: &BTreeMap<String, SwitchParts>,
    ports: &BTreeMap<String, PortParts>,
    routers: &BTreeMap<String, RouterParts>,
    old: &Compiled,
) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut on_switch: BTreeMap<&String, Vec<PortId>> = BTreeMap::new();
    for parts in ports.values().filter(|parts| parts.member_of.is_none()) {
        on_switch.entry(&parts.switch).or_default().push(parts.id);
    }
    for interface in routers.values().flat_map(|router| router.interfaces.values()) {
        on_switch.entry(&interface.switch).or_default().push(interface.port);
    }
    let own = SwitchConfig::default();
    for (name, parts) in switches {
        let settings = config.switch.get(name).unwrap_or(&own);
        let mut members = on_switch.remove(name).unwrap_or_default();
        members.sort_unstable();
        let switch = Switch {
            fdb: parts.fdb.clone(),
            ports: members.into_boxed_slice(),
            ageing: clock::ticks(settings.ageing_time.nanos()),
            hub: settings.hub,
            group_fwd_mask: settings.group_fwd_mask,
        };
        put(&mut snapshot.switches, parts.id.index(), switch);
    }
    for (name, parts) in ports {
        let settings = &parts.config;
        let (Some(switch), Some(vlan)) = (switches.get(&parts.switch), vlan::policy(settings)) else { continue };
        let peer = settings.peer.as_ref().filter(|_| settings.kind == PortKind::Patch).and_then(|peer| ports.get(peer));
        let place = parts.member_of.as_ref().and_then(|place| Some((ports.get(&place.bond)?.id, place.slot)));
        let port = Port {
            switch: switch.id,
            vlan,
            mtu: settings.mtu,
            learning: settings.learning,
            sticky: settings.sticky,
            learn_limit: settings.learn_limit.unwrap_or(u32::MAX),
            flood: settings.flood,
            mcast_flood: settings.mcast_flood,
            bcast_flood: settings.bcast_flood,
            hairpin: settings.hairpin,
            isolated: settings.isolated,
            patch_peer: peer.map(|peer| peer.id),
            interface: None,
            bond: parts.bond.as_ref().map(|state| Arc::new(bond(name, parts, ports, old, state))),
            member_of: place.map(|(bond, index)| Member { bond, index }),
            state: parts.state.clone(),
            counters: parts.counters.clone(),
        };
        put(&mut snapshot.ports, parts.id.index(), port);
    }
    for (name, parts) in routers {
        let Some(settings) = config.router.get(name) else { continue };
        for (id, port) in router::ports(parts, switches, &snapshot) {
            put(&mut snapshot.ports, id.index(), port);
        }
        put(&mut snapshot.routers, parts.id.index(), Arc::new(router::router(settings, parts)));
    }
    snapshot
}

fn bond(name: &str, parts: &PortParts, ports: &BTreeMap<String, PortParts>, old: &Compiled, state: &Arc<BondState>) -> Bond {
    let options = config::bond::options(&parts.config);
    let mut members = [None; MEMBERS_MAX];
    for member in parts.config.member.keys().filter_map(|member| ports.get(&member_port(name, member))) {
        if let Some(place) = &member.member_of {
            members[usize::from(place.slot)] = Some(member.id);
        }
    }
    // Those that were there stay in their order; who is new joins behind them.
    let former = old.snapshot.port(parts.id).and_then(|port| port.bond.as_ref());
    let stays =
        |slot: &u8| former.is_some_and(|former| former.member(*slot).is_some() && former.member(*slot) == members[usize::from(*slot)]);
    let mut order: ArrayVec<u8, MEMBERS_MAX> =
        former.map(|former| former.order.iter().copied().filter(stays).collect()).unwrap_or_default();
    for slot in (0..MEMBERS_MAX as u8).filter(|slot| members[usize::from(*slot)].is_some()) {
        if !order.contains(&slot) {
            order.push(slot);
        }
    }
    let dynamic = options.tlb_dynamic_lb;
    Bond {
        mode: match options.mode {
            BondMode::BalanceRr => Mode::BalanceRr { packets_per_slave: options.packets_per_slave },
            BondMode::ActiveBackup => Mode::ActiveBackup,
            BondMode::BalanceXor if options.tx_balancing_interval != 0 => Mode::LoadBalance,
            BondMode::BalanceXor => Mode::BalanceXor,
            BondMode::Broadcast => Mode::Broadcast,
            BondMode::Ieee8023ad => Mode::Ieee8023ad,
            BondMode::BalanceTlb => Mode::BalanceTlb { dynamic },
            BondMode::BalanceAlb => Mode::BalanceAlb { dynamic },
            BondMode::Random => Mode::Random,
        },
        policy: match options.xmit_hash_policy {
            XmitHashPolicy::Layer2 => HashPolicy::Layer2,
            XmitHashPolicy::Layer23 => HashPolicy::Layer23,
            XmitHashPolicy::Layer34 => HashPolicy::Layer34,
            XmitHashPolicy::Encap23 => HashPolicy::Encap23,
            XmitHashPolicy::Encap34 => HashPolicy::Encap34,
            XmitHashPolicy::VlanSrcMac => HashPolicy::VlanSrcMac,
        },
        members,
        order,
        all_slaves_active: options.all_slaves_active,
        punt: PuntRules {
            slow_protocols: options.mode == BondMode::Ieee8023ad,
            arp: options.mode == BondMode::BalanceAlb || !options.arp_ip_target.is_empty(),
            nd: !options.ns_ip6_target.is_empty(),
            igmp: options.resend_igmp != 0,
        },
        state: state.clone(),
    }
}

fn put<T>(slots: &mut Vec<Option<T>>, index: usize, value: T) {
    if slots.len() <= index {
        slots.resize_with(index + 1, || None);
    }
    slots[index] = Some(value);
}

/// Whether a port is the same one as before: its counters, addresses and netdev go on.
pub fn is_same_port(name: &str, old: &PortConfig, new: &PortConfig) -> bool {
    old.switch == new.switch && old.kind == new.kind && netdev_of(name, old) == netdev_of(name, new)
}

fn device_plan(old: &PortConfig, new: &PortConfig) -> DevicePlan {
    let makes_netdev = matches!(new.kind, PortKind::Tap | PortKind::Host);
    let other_socket = old.socket_path != new.socket_path || old.socket_mode != new.socket_mode || old.socket_group != new.socket_group;
    if other_socket
        || old.offload != new.offload
        || old.queues != new.queues
        || old.ring_size != new.ring_size
        || old.tx_queue != new.tx_queue
    {
        DevicePlan::Reopen
    } else if makes_netdev && (old.mtu != new.mtu || old.mac != new.mac) {
        DevicePlan::Adjust
    } else {
        DevicePlan::Keep
    }
}

/// Free numbers in ascending order.
struct Numbers {
    taken: Vec<bool>,
    next: u16,
}

impl Numbers {
    fn new(taken: impl Iterator<Item = u16>) -> Numbers {
        let mut numbers = Numbers { taken: Vec::new(), next: 0 };
        for number in taken {
            put_flag(&mut numbers.taken, usize::from(number));
        }
        numbers
    }

    fn take(&mut self) -> u16 {
        while self.taken.get(usize::from(self.next)).copied().unwrap_or(false) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }
}

fn put_flag(flags: &mut Vec<bool>, index: usize) {
    if flags.len() <= index {
        flags.resize(index + 1, false);
    }
    flags[index] = true;
}
