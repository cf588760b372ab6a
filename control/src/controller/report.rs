//! Answers to questions about the running switch. Nothing here changes anything.

use std::collections::BTreeMap;
use std::fs;

use dataplane::clock::{self, Nanos, TICK_NANOS};
use dataplane::counters::{Counter, PortCounters};
use dataplane::drop_reason::{DropReason, Side};
use dataplane::fdb::{Entry, EntryKind};
use dataplane::memory::{MemoryDevice, MemoryFrame};
use proto::api::{DropInfo, FdbInfo, Filter, Link, PortInfo, StatusInfo, SwitchInfo, VlanInfo, WorkerInfo};
use proto::config::PortKind;
use wire::VlanId;

use super::descriptors::descriptors;
use super::transaction::netdev_of_link;
use super::{Controller, DeviceState};
use crate::compile::{PortParts, interface_port, member_port};
use crate::config::validate::netdev_of;
use crate::config::vlan;

/// Octets of a frame a `sim` port takes at most; longer than any the switch forwards, so that the switch refuses those.
const SIM_FRAME_MAX: usize = 66_000;
/// Octets of frames handed out in one answer at most; the rest waits for the next.
const SIM_REPLY_MAX: usize = 1 << 20;

/// Where a walk over address tables stands, so that a long list is made in pieces.
#[derive(Clone, Debug)]
pub struct FdbCursor {
    filter: Filter,
    /// Switches still to list, the last one first.
    switches: Vec<String>,
    slot: usize,
}

impl Controller {
    /// The switches.
    pub fn switches(&self) -> Vec<SwitchInfo> {
        let mut ports: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, port) in &self.config.port {
            if let Some(switch) = &port.switch {
                ports.entry(switch).or_default().push(name.clone());
            }
        }
        let info = |(name, config): (&String, &proto::config::SwitchConfig)| {
            let fdb = &self.compiled.switches.get(name)?.fdb;
            let stats = fdb.stats();
            Some(SwitchInfo {
                name: name.clone(),
                config: config.clone(),
                ports: ports.remove(name.as_str()).unwrap_or_default(),
                fdb_entries: fdb.len() as u64,
                fdb_learned: stats.learned,
                fdb_moved: stats.moved,
                fdb_expired: stats.expired,
                fdb_evicted: stats.evicted,
                fdb_limited: stats.limited,
                fdb_refused: stats.refused,
            })
        };
        self.config.switch.iter().filter_map(info).collect()
    }

    /// The ports that match.
    pub fn ports(&self, filter: &Filter) -> Vec<PortInfo> {
        let info = |(name, parts): (&String, &PortParts)| {
            let config = &parts.config;
            let link = self.links.get(name)?;
            let counters: &[PortCounters] = &parts.counters;
            let sum = |of: fn(&PortCounters) -> &Counter| counters.iter().map(|set| of(set).get()).fold(0, u64::wrapping_add);
            // Frames come and go at a bond's members, which count them.
            let members = config.member.keys().filter_map(|member| self.compiled.ports.get(&member_port(name, member)));
            let devices: Vec<&PortParts> = if config.kind == PortKind::Bond { members.collect() } else { vec![parts] };
            let traffic = |of: fn(&PortCounters) -> &Counter| {
                devices.iter().flat_map(|parts| parts.counters.iter()).map(|set| of(set).get()).fold(0, u64::wrapping_add)
            };
            let fdb = self.compiled.switches.get(&parts.switch).map(|switch| &switch.fdb);
            Some(PortInfo {
                name: name.clone(),
                switch: config.switch.clone(),
                kind: config.kind,
                link: self.link(name),
                problem: link.device.problem(),
                vhost_user: link.device.vhost_user().map(|state| state.info),
                interface: netdev_of(name, config).map(|(_, interface)| interface),
                netns: config.netns.clone(),
                mac: netdev_of_link(link).and_then(|netdev| netdev.mac),
                mtu: config.mtu,
                vlan: parts.member_of.as_ref().map_or_else(|| vlan::words(config), |place| format!("member of {}", place.bond)),
                fdb_entries: fdb.map_or(0, |fdb| fdb.port_len(parts.id)) as u64,
                rx_packets: traffic(|set| &set.rx_packets),
                rx_bytes: traffic(|set| &set.rx_bytes),
                tx_packets: traffic(|set| &set.tx_packets),
                tx_bytes: traffic(|set| &set.tx_bytes),
                copies: sum(|set| &set.copies),
                rx_errors: sum(|set| &set.rx_errors),
                drops: drops(counters).map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
                config: config.clone(),
            })
        };
        self.matching(filter).filter_map(info).collect()
    }

    /// Dropped frames of the ports that match.
    pub fn drops(&self, filter: &Filter) -> Vec<DropInfo> {
        let mut list = Vec::new();
        let of_ports = self.matching(filter).map(|(name, parts)| (name.clone(), &parts.config.switch, &parts.counters));
        let of_interfaces =
            self.compiled.interfaces().map(|(router, name, parts)| (interface_port(router, name), &parts.config.switch, &parts.counters));
        let of_interfaces = of_interfaces.filter(|(name, switch, _)| {
            filter.port.as_ref().is_none_or(|wanted| wanted == name)
                && filter.switch.as_ref().is_none_or(|wanted| Some(wanted) == switch.as_ref())
        });
        for (name, switch, counters) in of_ports.chain(of_interfaces) {
            list.extend(drops(counters).map(|(reason, count)| DropInfo {
                port: name.clone(),
                switch: switch.clone(),
                reason: reason.name().to_owned(),
                side: match reason.side() {
                    Side::Ingress => "ingress".to_owned(),
                    Side::Egress => "egress".to_owned(),
                },
                count,
                description: reason.description().to_owned(),
            }));
        }
        list
    }

    /// The ports that match, and members of bonds.
    fn matching<'c>(&'c self, filter: &'c Filter) -> impl Iterator<Item = (&'c String, &'c PortParts)> {
        self.compiled.ports.iter().filter(|(name, parts)| {
            filter.port.as_ref().is_none_or(|wanted| wanted == *name)
                && filter.switch.as_ref().is_none_or(|wanted| Some(wanted) == parts.config.switch.as_ref())
        })
    }

    /// The VLANs in use at the switches that match: those a port names, and 0 where a trunk of all VLANs is.
    pub fn vlans(&self, filter: &Filter) -> Vec<VlanInfo> {
        let mut list = Vec::new();
        for switch in self.config.switch.keys().filter(|name| filter.switch.as_ref().is_none_or(|wanted| wanted == *name)) {
            let ports: Vec<_> = self
                .config
                .port
                .iter()
                .filter(|(_, port)| port.switch.as_ref() == Some(switch))
                .filter_map(|(name, port)| vlan::policy(port).map(|policy| (name, vlan::is_trunk_of_all(port), policy)))
                .collect();
            let mut used = wire::VlanSet::EMPTY;
            for (_, all, policy) in &ports {
                if *all {
                    used.insert(VlanId::NONE);
                } else {
                    policy.members.iter().for_each(|vlan| used.insert(vlan));
                }
            }
            for vlan in used.iter().filter(|vlan| filter.vlan.is_none_or(|wanted| wanted == vlan.get())) {
                let (mut untagged, mut tagged) = (Vec::new(), Vec::new());
                for (name, _, policy) in ports
                    .iter()
                    .filter(|(name, _, policy)| policy.members.contains(vlan) && filter.port.as_ref().is_none_or(|wanted| wanted == *name))
                {
                    if policy.untagged == Some(vlan) { untagged.push((*name).clone()) } else { tagged.push((*name).clone()) }
                }
                if filter.port.is_none() || !untagged.is_empty() || !tagged.is_empty() {
                    list.push(VlanInfo { switch: switch.clone(), vlan: vlan.get(), untagged, tagged });
                }
            }
        }
        list
    }

    /// The workers.
    pub fn worker_infos(&self) -> Vec<WorkerInfo> {
        let info = |worker: usize| {
            let stats = self.workers.stats(worker)?;
            let mut ports: Vec<String> = self.workers.ports(worker).into_iter().filter_map(|id| self.port_name(id).cloned()).collect();
            ports.sort_unstable();
            ports.dedup();
            Some(WorkerInfo {
                worker: u16::try_from(worker).unwrap_or(u16::MAX),
                core: self.workers.core(worker),
                ports,
                turns: stats.turns.get(),
                bursts: stats.bursts.get(),
                frames: stats.frames.get(),
                on_path: stats.on_path.get(),
                sleeps: stats.sleeps.get(),
                awake_ms: stats.awake_nanos.get() / 1_000_000,
            })
        };
        (0..self.workers.count()).filter_map(info).collect()
    }

    /// The daemon at a glance.
    pub fn status(&self, now: Nanos) -> StatusInfo {
        let mut problems: Vec<String> = self.notes.values().cloned().collect();
        let mut ports_down = 0;
        for (name, link) in &self.links {
            ports_down += u32::from(matches!(self.link(name), Link::Down | Link::Lost));
            if let Some(problem) = link.device.problem() {
                problems.push(format!("port {name:?}: {problem}"));
            }
        }
        let shown = 100;
        if problems.len() > shown {
            let more = problems.len() - shown;
            problems.truncate(shown);
            problems.push(format!("and {more} more"));
        }
        let (open_fds, max_fds) = descriptors();
        StatusInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.saturating_sub(self.started) / 1_000_000_000,
            generation: self.generation,
            state_dir: self.store.place(),
            poll: self.config.daemon.poll,
            workers: u16::try_from(self.workers.count()).unwrap_or(u16::MAX),
            switches: u32::try_from(self.config.switch.len()).unwrap_or(u32::MAX),
            routers: u32::try_from(self.config.router.len()).unwrap_or(u32::MAX),
            ports: u32::try_from(self.compiled.ports.len()).unwrap_or(u32::MAX),
            ports_down,
            memory_bytes: resident_octets(),
            open_fds,
            max_fds,
            problems,
        }
    }

    /// A cursor over the address tables that match.
    ///
    /// # Errors
    ///
    /// When the filter names something that does not exist.
    pub fn list_fdb(&self, filter: Filter) -> Result<FdbCursor, String> {
        self.check_filter(&filter)?;
        let wanted = match (&filter.switch, &filter.port) {
            (Some(switch), _) => Some(switch.clone()),
            (None, Some(port)) => {
                let interface = || self.compiled.interfaces().find(|(router, name, _)| interface_port(router, name) == *port);
                let of_port = self.compiled.ports.get(port).map(|parts| parts.switch.clone());
                of_port.or_else(|| interface().map(|(.., parts)| parts.switch.clone()))
            }
            (None, None) => None,
        };
        let switches = match wanted {
            Some(switch) => vec![switch],
            None => self.config.switch.keys().rev().cloned().collect(),
        };
        Ok(FdbCursor { filter, switches, slot: 0 })
    }

    /// Whether what a filter names exists.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn check_filter(&self, filter: &Filter) -> Result<(), String> {
        if let Some(switch) = filter.switch.as_ref().filter(|name| !self.config.switch.contains_key(*name)) {
            return Err(format!("no switch {switch:?}"));
        }
        if let Some(port) = filter.port.as_ref().filter(|name| !self.port_names.iter().flatten().any(|port| port == *name)) {
            return Err(format!("no port {port:?}"));
        }
        Ok(())
    }

    /// The next entries, about `max` of them; `false` at the end. Entries that do not match are passed over, so a piece may
    /// be empty before the end.
    pub fn next_fdb(&self, cursor: &mut FdbCursor, max: usize, now: Nanos, into: &mut Vec<FdbInfo>) -> bool {
        let Some(name) = cursor.switches.last() else { return false };
        let mut entries = Vec::with_capacity(max + 8);
        let next = self.compiled.switches.get(name).and_then(|switch| switch.fdb.list(cursor.slot, max, &mut entries));
        let parts = self.compiled.switches.get(name);
        let ageing = parts.and_then(|parts| self.compiled.snapshot.switch(parts.id)).map_or(0, |switch| switch.ageing);
        let tick = clock::tick(now);
        let info = |entry: Entry| {
            let port = self.port_name(entry.port)?;
            let filter = &cursor.filter;
            let matches = filter.port.as_ref().is_none_or(|wanted| wanted == port)
                && filter.vlan.is_none_or(|wanted| wanted == entry.vlan.get())
                && !(entry.kind.ages() && entry.age(tick) > ageing);
            matches.then(|| FdbInfo {
                switch: name.clone(),
                vlan: entry.vlan.get(),
                mac: entry.mac,
                port: port.clone(),
                age_ms: if entry.kind.ages() { u64::from(entry.age(tick)) * TICK_NANOS / 1_000_000 } else { 0 },
                is_static: !entry.kind.ages(),
                sticky: entry.kind == EntryKind::Sticky,
                local: entry.kind == EntryKind::Local,
            })
        };
        into.extend(entries.into_iter().filter_map(info));
        match next {
            Some(slot) => cursor.slot = slot,
            None => {
                cursor.switches.pop();
                cursor.slot = 0;
            }
        }
        !cursor.switches.is_empty()
    }

    fn sim(&self, port: &str) -> Result<&MemoryDevice, String> {
        match self.links.get(port).map(|link| &link.device) {
            Some(DeviceState::Open { sim: Some(sim), .. }) => Ok(sim),
            Some(_) => Err(format!("port {port:?} is not a sim port")),
            None => Err(format!("no port {port:?}")),
        }
    }

    /// Gives a frame to a `sim` port.
    ///
    /// # Errors
    ///
    /// When it is no `sim` port, its link is down, the text is not hexadecimal, or too many frames wait.
    pub fn sim_send(&self, port: &str, hex: &str) -> Result<(), String> {
        let sim = self.sim(port)?;
        if hex.len() > SIM_FRAME_MAX * 2 {
            return Err(format!("port {port:?}: a frame of {} octets; at most {SIM_FRAME_MAX}", hex.len() / 2));
        }
        let octets = decode_hex(hex).ok_or_else(|| format!("port {port:?}: the frame is not hexadecimal, two digits an octet"))?;
        if !self.compiled.ports.get(port).is_some_and(|parts| parts.state.has_carrier()) {
            return Err(format!("port {port:?}: its carrier is down"));
        }
        if sim.inject(MemoryFrame::new(octets)) { Ok(()) } else { Err(format!("port {port:?}: too many frames wait")) }
    }

    /// Takes the frames a `sim` port transmitted, oldest first, about a megaoctet of them at most.
    ///
    /// # Errors
    ///
    /// When it is no `sim` port.
    pub fn sim_receive(&self, port: &str) -> Result<Vec<String>, String> {
        let sim = self.sim(port)?;
        let mut frames = Vec::new();
        let mut octets = 0;
        while octets < SIM_REPLY_MAX
            && let Some(frame) = sim.take()
        {
            octets += frame.octets.len();
            frames.push(encode_hex(&frame.octets));
        }
        Ok(frames)
    }

    /// Sets the carrier of a `sim` port.
    ///
    /// # Errors
    ///
    /// When it is no `sim` port.
    pub fn sim_carrier(&mut self, port: &str, up: bool, now: Nanos) -> Result<(), String> {
        self.sim(port)?;
        self.set_carrier(port, up, now);
        Ok(())
    }
}

pub(super) fn drops(counters: &[PortCounters]) -> impl Iterator<Item = (DropReason, u64)> {
    DropReason::ALL.iter().filter_map(|reason| {
        let count = counters.iter().map(|set| set.drops(*reason)).fold(0, u64::wrapping_add);
        (count > 0).then_some((*reason, count))
    })
}

fn resident_octets() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn encode_hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    octets.iter().flat_map(|octet| [octet >> 4, octet & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: &u8| (*octet as char).to_digit(16).map(|digit| digit as u8);
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trips() {
        assert_eq!(encode_hex(&[0, 0x1f, 0xff]), "001fff");
        assert_eq!(decode_hex("001fFf"), Some(vec![0, 0x1f, 0xff]));
        assert_eq!((decode_hex("0"), decode_hex("zz"), decode_hex("é")), (None, None, None));
    }
}
