//! From a configuration to what the workers run on, keeping what can be kept of the running switch.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataplane::clock;
use dataplane::counters::PortCounters;
use dataplane::fdb::Fdb;
use dataplane::snapshot::{Port, PortId, PortState, Snapshot, Switch, SwitchId};
use proto::config::{Config, PortConfig, PortKind};

use crate::config::validate::netdev_of;
use crate::config::vlan;

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
    /// Switches by name.
    pub switches: BTreeMap<String, SwitchParts>,
    /// Ports by name.
    pub ports: BTreeMap<String, PortParts>,
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
        names
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
/// the transaction fills it.
pub fn compile(config: &Config, old_config: &Config, old: &Compiled, workers: usize) -> Compiled {
    let mut switch_ids = Numbers::new(old.switches.values().map(|switch| switch.id.0));
    let switches: BTreeMap<String, SwitchParts> = config
        .switch
        .iter()
        .map(|(name, settings)| {
            let former = old.switches.get(name);
            let same_size = old_config.switch.get(name).is_some_and(|old| old.fdb_size == settings.fdb_size);
            let id = former.map_or_else(|| SwitchId(switch_ids.take()), |former| former.id);
            let fdb = former.filter(|_| same_size).map(|former| former.fdb.clone());
            let fdb = fdb.unwrap_or_else(|| Arc::new(Fdb::new(settings.fdb_size as usize)));
            (name.clone(), SwitchParts { id, fdb })
        })
        .collect();

    let mut port_ids = Numbers::new(old.ports.values().map(|port| port.id.0));
    let ports: BTreeMap<String, PortParts> = config
        .port
        .iter()
        .map(|(name, settings)| {
            let former = old.ports.get(name).zip(old_config.port.get(name)).filter(|(_, old)| is_same_port(name, old, settings));
            let parts = match former {
                Some((parts, old)) => PortParts { device: device_plan(old, settings), ..parts.clone() },
                None => PortParts {
                    id: PortId(port_ids.take()),
                    state: Arc::new(PortState::new(settings.enabled, false)),
                    counters: (0..workers.max(1)).map(|_| PortCounters::default()).collect(),
                    device: DevicePlan::Open,
                },
            };
            (name.clone(), parts)
        })
        .collect();

    let snapshot = Arc::new(snapshot(config, &switches, &ports));
    Compiled { switches, ports, snapshot }
}

fn snapshot(config: &Config, switches: &BTreeMap<String, SwitchParts>, ports: &BTreeMap<String, PortParts>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, settings) in &config.switch {
        let Some(parts) = switches.get(name) else { continue };
        let mut members: Vec<PortId> = config
            .port
            .iter()
            .filter(|(_, port)| port.switch == *name)
            .filter_map(|(port, _)| ports.get(port))
            .map(|port| port.id)
            .collect();
        members.sort_unstable();
        let switch = Switch {
            fdb: parts.fdb.clone(),
            ports: members.into_boxed_slice(),
            ageing: clock::ticks(u64::try_from(settings.ageing_time.0.as_nanos()).unwrap_or(u64::MAX)),
            hub: settings.hub,
            group_fwd_mask: settings.group_fwd_mask,
        };
        put(&mut snapshot.switches, parts.id.index(), switch);
    }
    for (name, settings) in &config.port {
        let (Some(parts), Some(switch), Some(vlan)) = (ports.get(name), switches.get(&settings.switch), vlan::policy(settings)) else {
            continue;
        };
        let peer = settings.peer.as_ref().filter(|_| settings.kind == PortKind::Patch).and_then(|peer| ports.get(peer));
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
            bond: None,
            member_of: None,
            state: parts.state.clone(),
            counters: parts.counters.clone(),
        };
        put(&mut snapshot.ports, parts.id.index(), port);
    }
    snapshot
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
