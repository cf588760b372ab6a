//! A switch in memory for scenario tests: memory devices on every port, a virtual clock, counters to compare.
#![allow(dead_code, unreachable_pub, clippy::wrong_self_convention, reason = "each test binary uses another part of the lab")]

pub mod router;

use std::sync::Arc;

use dataplane::bond::{Bond, BondState, BondView, HashPolicy, Member, Mode, PuntRules};
use dataplane::device::{Capabilities, RxQueue, Wake};
use dataplane::events::EventQueue;
use dataplane::fdb::Fdb;
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::pipeline::Pipeline;
use dataplane::snapshot::{Admit, Port, PortId, PriorityTags, Snapshot, Switch, SwitchId, VlanPolicy};
use dataplane::{BurstMemory, DropReason, PortCounters};
use wire::{MacAddr, Tpid, VlanId, VlanSet};

/// Reasons of routers: `router_drop_reasons.rs` provokes them.
pub const ROUTER_REASONS: &[DropReason] = &[
    DropReason::PuntRateLimit,
    DropReason::OtherHost,
    DropReason::NotIp,
    DropReason::IpInvalid,
    DropReason::Martian,
    DropReason::RpFilter,
    DropReason::NoRoute,
    DropReason::RouteBlackhole,
    DropReason::RouteUnreachable,
    DropReason::RouteProhibit,
    DropReason::ForwardingDisabled,
    DropReason::TtlExceeded,
    DropReason::PacketTooBig,
    DropReason::NotFragmentable,
    DropReason::BeyondScope,
    DropReason::GroupUnicast,
    DropReason::NoListener,
    DropReason::RouterHops,
    DropReason::RuleDrop,
    DropReason::RuleReject,
    DropReason::ConntrackFull,
    DropReason::ConntrackLimit,
    DropReason::ConntrackClash,
    DropReason::NatExhausted,
    DropReason::NatFiltered,
    DropReason::NatUntranslatable,
    DropReason::HelperFailed,
    DropReason::SynProxyRefused,
    DropReason::FragmentDuplicate,
    DropReason::FragmentOverlap,
    DropReason::FragmentInvalid,
    DropReason::FragmentTimeout,
    DropReason::FragmentMemory,
    DropReason::NeighborFailed,
    DropReason::NeighborQueueFull,
];

/// Idle time after which the lab's switches forget an address, in ticks.
pub const AGEING: u32 = 1000;

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

pub fn no_wake() -> Arc<dyn Wake> {
    Arc::new(NoWake)
}

pub struct Lab {
    pub snapshot: Snapshot,
    pub devices: Vec<MemoryDevice>,
    pub rx: Vec<Box<dyn RxQueue>>,
    pub pipeline: Pipeline,
    pub events: Arc<EventQueue>,
    pub memory: BurstMemory,
    pub now: u32,
}

impl Lab {
    /// One switch with `ports` ports that pass everything.
    pub fn new(ports: usize) -> Lab {
        Lab::with_switches(&[ports])
    }

    /// Switches with these numbers of ports, which are numbered through.
    pub fn with_switches(ports: &[usize]) -> Lab {
        let events = Arc::new(EventQueue::new(no_wake()));
        let mut lab = Lab {
            snapshot: Snapshot::default(),
            devices: Vec::new(),
            rx: Vec::new(),
            pipeline: Pipeline::new(0, events.clone()),
            events,
            memory: BurstMemory::new(),
            now: 0,
        };
        for (switch, count) in ports.iter().enumerate() {
            let first = lab.snapshot.ports.len() as u16;
            let ids: Vec<PortId> = (first..first + *count as u16).map(PortId).collect();
            for id in &ids {
                lab.snapshot.ports.push(Some(Port::new(SwitchId(switch as u16), 2)));
                lab.attach(*id, MemoryDevice::new(256, false, Capabilities::ALL));
            }
            lab.snapshot.switches.push(Some(Switch {
                fdb: Arc::new(Fdb::new(1024)),
                ports: ids.into(),
                ageing: AGEING,
                hub: false,
                group_fwd_mask: 0,
            }));
        }
        lab
    }

    /// Puts a device behind a port, instead of the one that was there.
    pub fn attach(&mut self, port: PortId, device: MemoryDevice) {
        self.pipeline.attach(port, device.tx_queue());
        if port.index() < self.rx.len() {
            self.rx[port.index()] = device.rx_queue();
            self.devices[port.index()] = device;
        } else {
            self.rx.push(device.rx_queue());
            self.devices.push(device);
        }
    }

    pub fn port(&mut self, port: usize) -> &mut Port {
        self.snapshot.ports[port].as_mut().unwrap()
    }

    pub fn switch(&mut self, switch: usize) -> &mut Switch {
        self.snapshot.switches[switch].as_mut().unwrap()
    }

    /// Joins two ports as a patch.
    pub fn patch(&mut self, a: usize, b: usize) {
        self.port(a).patch_peer = Some(PortId(b as u16));
        self.port(b).patch_peer = Some(PortId(a as u16));
    }

    /// Makes a port a bond of other ports, with all of them active for reception and transmission, the first one the
    /// active member.
    pub fn bond(&mut self, port: usize, members: &[usize], mode: Mode, policy: HashPolicy) -> Arc<BondState> {
        let state = Arc::new(BondState::new(1));
        let slots = || (0..members.len() as u8).collect();
        state.publish(&BondView { active: Some(0), tx: slots(), rx: (1 << members.len()) - 1 });
        let id = PortId(port as u16);
        for (slot, member) in members.iter().enumerate() {
            self.port(*member).member_of = Some(Member { bond: id, index: slot as u8 });
        }
        for switch in self.snapshot.switches.iter_mut().flatten() {
            switch.ports = switch.ports.iter().copied().filter(|port| !members.contains(&port.index())).collect();
        }
        self.pipeline.detach(id);
        self.port(port).bond = Some(Arc::new(Bond {
            mode,
            policy,
            members: std::array::from_fn(|slot| members.get(slot).map(|member| PortId(*member as u16))),
            order: slots(),
            all_slaves_active: false,
            punt: PuntRules::default(),
            state: state.clone(),
        }));
        self.pipeline.prepare(&self.snapshot);
        state
    }

    /// The bond at a port, for changes of its configuration.
    pub fn bond_mut(&mut self, port: usize) -> &mut Bond {
        Arc::get_mut(self.port(port).bond.as_mut().unwrap()).unwrap()
    }

    /// Lets a frame arrive and runs the switch.
    pub fn send(&mut self, port: usize, octets: &[u8]) {
        self.send_frame(port, MemoryFrame::new(octets));
    }

    /// As [`Lab::send`], with offload or a tag beside the octets.
    pub fn send_frame(&mut self, port: usize, frame: MemoryFrame) {
        assert!(self.devices[port].inject(frame));
        self.run();
    }

    /// Runs the switch until nothing waits.
    pub fn run(&mut self) {
        loop {
            let mut frames = 0;
            for port in 0..self.rx.len() {
                let mut burst = self.memory.burst();
                self.rx[port].receive(&mut burst).unwrap();
                frames += burst.len();
                self.pipeline.run(&self.snapshot, PortId(port as u16), &mut burst, self.now);
                drop(burst);
                self.rx[port].release();
            }
            if frames == 0 {
                return;
            }
        }
    }

    /// Everything a port transmitted since the last look.
    pub fn out(&self, port: usize) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.devices[port].take()).map(|frame| frame.octets).collect()
    }

    /// Which ports transmitted since the last look, with how many frames each.
    pub fn outs(&self) -> Vec<(usize, usize)> {
        (0..self.devices.len()).map(|port| (port, self.out(port).len())).filter(|(_, n)| *n > 0).collect()
    }

    pub fn counters(&self, port: usize) -> &PortCounters {
        &self.snapshot.ports[port].as_ref().unwrap().counters[0]
    }

    pub fn drops(&self, port: usize, reason: DropReason) -> u64 {
        self.counters(port).drops(reason)
    }

    /// Drops of every port and reason that are not 0.
    pub fn all_drops(&self) -> Vec<(usize, &'static str, u64)> {
        (0..self.snapshot.ports.len())
            .flat_map(|port| DropReason::ALL.iter().map(move |reason| (port, reason.name(), self.drops(port, *reason))))
            .filter(|(_, _, n)| *n > 0)
            .collect()
    }

    /// Received, copied and injected frames are all transmitted, punted or dropped, over all ports.
    pub fn assert_conserved(&self) {
        let (mut came, mut went) = (0, 0);
        for port in 0..self.snapshot.ports.len() {
            let counters = self.counters(port);
            came += counters.rx_packets.get() + counters.copies.get() + counters.injected.get();
            went += counters.tx_packets.get()
                + counters.punted.get()
                + DropReason::ALL.iter().map(|reason| counters.drops(*reason)).sum::<u64>();
        }
        assert_eq!(came, went, "received + copies + injected = transmitted + punted + dropped; drops: {:?}", self.all_drops());
    }
}

pub fn vid(vlan: u16) -> VlanId {
    VlanId::new(vlan).unwrap()
}

pub fn access(vlan: u16) -> VlanPolicy {
    VlanPolicy {
        pvid: Some(vid(vlan)),
        members: [vid(vlan)].into_iter().collect(),
        untagged: Some(vid(vlan)),
        admit: Admit::UntaggedOnly,
        priority_tags: PriorityTags::Never,
    }
}

pub fn trunk(vlans: &str, native: Option<u16>) -> VlanPolicy {
    let mut members: VlanSet = vlans.parse().unwrap();
    native.into_iter().for_each(|vlan| members.insert(vid(vlan)));
    VlanPolicy { pvid: native.map(vid), members, untagged: native.map(vid), admit: Admit::Members, priority_tags: PriorityTags::Never }
}

pub fn tunnel(vlan: u16) -> VlanPolicy {
    VlanPolicy { admit: Admit::Tunnel { tpid: Tpid::Dot1Ad, customer_vlans: None }, ..access(vlan) }
}

/// The address of station `n`.
pub fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, n])
}

/// A 60-octet frame of an experimental EtherType (IEEE 802, 0x88b5).
pub fn frame(to: MacAddr, from: MacAddr) -> Vec<u8> {
    let mut octets = [to.0, from.0].concat();
    octets.extend([0x88, 0xb5]);
    octets.resize(60, 0xa5);
    octets
}

/// The same with a VLAN tag.
pub fn tagged(to: MacAddr, from: MacAddr, tpid: u16, tci: u16) -> Vec<u8> {
    let mut octets = frame(to, from);
    octets.splice(12..12, [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    octets
}
