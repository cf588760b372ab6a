//! The configuration as workers see it: immutable, compiled, replaced as a whole.
//!
//! Control builds a [`Snapshot`], hands it to every worker and waits until each has taken it up between two bursts. What
//! changes without a new configuration (carrier, counters, the FDB) hangs off it behind `Arc`s that live as long as the
//! port or switch does.

use core::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use wire::{Tpid, VlanId, VlanSet};

use crate::bond::{Bond, Member};
use crate::counters::PortCounters;
use crate::fdb::Fdb;
use crate::router::{InterfaceOf, Router, RouterId};

/// Ports of one daemon at most: the width of the per-port tables, not a limit of the design.
pub const PORTS_MAX: usize = 4096;
/// Switches of one daemon at most.
pub const SWITCHES_MAX: usize = 256;
/// Switches a frame may cross over patch ports at most.
pub const PATCH_HOPS_MAX: usize = 8;

/// The number of a port, below [`PORTS_MAX`]. Given again only after every worker has forgotten the former owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

/// The number of a switch, below [`SWITCHES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SwitchId(pub u16);

impl PortId {
    /// As an index into per-port tables.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl SwitchId {
    /// As an index into per-switch tables.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All switches and ports at one point in time.
#[derive(Default)]
pub struct Snapshot {
    /// By [`SwitchId`]; `None` where the number is free.
    pub switches: Vec<Option<Switch>>,
    /// By [`PortId`]; `None` where the number is free.
    pub ports: Vec<Option<Port>>,
    /// By [`RouterId`]; `None` where the number is free.
    pub routers: Vec<Option<Arc<Router>>>,
}

impl Snapshot {
    /// The port with this number.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.index()).and_then(Option::as_ref)
    }

    /// The switch with this number.
    #[inline]
    pub fn switch(&self, id: SwitchId) -> Option<&Switch> {
        self.switches.get(id.index()).and_then(Option::as_ref)
    }

    /// The router with this number.
    #[inline]
    pub fn router(&self, id: RouterId) -> Option<&Router> {
        self.routers.get(id.index()).and_then(Option::as_deref)
    }
}

/// One switch: a broadcast domain per VLAN, separate from every other switch.
pub struct Switch {
    /// Its address table.
    pub fdb: Arc<Fdb>,
    /// Its ports in the order in which frames are flooded.
    pub ports: Box<[PortId]>,
    /// Idle time after which a learned address is forgotten, in ticks (see [`crate::clock`]). 0: at once.
    pub ageing: u32,
    /// Flood every frame and learn nothing.
    pub hub: bool,
    /// Bit n lets frames to 01:80:c2:00:00:0n pass (Linux `group_fwd_mask`).
    pub group_fwd_mask: u16,
}

/// One port of a switch.
pub struct Port {
    /// Its switch.
    pub switch: SwitchId,
    /// What happens to VLAN tags.
    pub vlan: VlanPolicy,
    /// Octets behind the Ethernet header and its VLAN tags at most (Linux MTU).
    pub mtu: u32,
    /// Learn source addresses here.
    pub learning: bool,
    /// Addresses learned here move to another port only by configuration (Linux `sticky`).
    pub sticky: bool,
    /// Addresses learned here at most.
    pub learn_limit: u32,
    /// Flood unicast frames with unknown destination to here.
    pub flood: bool,
    /// Flood multicast frames to here.
    pub mcast_flood: bool,
    /// Flood broadcast frames to here.
    pub bcast_flood: bool,
    /// Let frames leave where they came from.
    pub hairpin: bool,
    /// No frames between this and other isolated ports.
    pub isolated: bool,
    /// The other end, if this is a patch port.
    pub patch_peer: Option<PortId>,
    /// How frames leave by members, if this is a bond. A bond's port has no queues, and no counts of its own of frames
    /// received and transmitted: its members have.
    pub bond: Option<Arc<Bond>>,
    /// The bond, if this port is one of a bond's members. Then it is not among the ports of a switch; of its own settings
    /// only state and counters count.
    pub member_of: Option<Member>,
    /// The interface of a router for which the port stands. Such a port has no device: what leaves the switch by it is
    /// routed, and what the router sends comes in by it.
    pub interface: Option<InterfaceOf>,
    /// What changes without configuration.
    pub state: Arc<PortState>,
    /// One set of counters per worker, by worker number.
    pub counters: Arc<[PortCounters]>,
}

impl Port {
    /// A port of `switch` that is up and passes everything, with counters for this many workers: what a port of a new
    /// configuration is before its settings.
    pub fn new(switch: SwitchId, workers: usize) -> Port {
        Port {
            switch,
            vlan: VlanPolicy::all_vlans(),
            mtu: 1500,
            learning: true,
            sticky: false,
            learn_limit: u32::MAX,
            flood: true,
            mcast_flood: true,
            bcast_flood: true,
            hairpin: false,
            isolated: false,
            patch_peer: None,
            bond: None,
            member_of: None,
            interface: None,
            state: Arc::new(PortState::new(true, true)),
            counters: (0..workers).map(|_| PortCounters::default()).collect(),
        }
    }
}

/// Which frames a port admits by VLAN, and how they leave (IEEE 802.1Q-2018 clause 8.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanPolicy {
    /// VLAN of frames without a VLAN identifier; `None` drops them.
    pub pvid: Option<VlanId>,
    /// VLANs that may enter and leave.
    pub members: VlanSet,
    /// VLAN that leaves without a tag.
    pub untagged: Option<VlanId>,
    /// Which tagged frames may enter.
    pub admit: Admit,
    /// Whether a frame that leaves without VLAN identifier keeps its priority in a priority tag.
    pub priority_tags: PriorityTags,
}

impl VlanPolicy {
    /// A trunk of all VLANs, with frames without a tag in VLAN 0, the default of a port.
    pub fn all_vlans() -> VlanPolicy {
        VlanPolicy {
            pvid: Some(VlanId::NONE),
            members: VlanSet::all(),
            untagged: Some(VlanId::NONE),
            admit: Admit::Members,
            priority_tags: PriorityTags::IfNonzero,
        }
    }
}

/// Which tagged frames may enter a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Those of a member VLAN.
    Members,
    /// None but priority tags (strict access port).
    UntaggedOnly,
    /// Any: the tag is the customer's and stays; the frame gets the port's VLAN in a tag of this kind (802.1ad tunnel).
    Tunnel {
        /// Kind of the tag that is pushed.
        tpid: Tpid,
        /// Customer VLANs that may enter; `None` for all, and untagged frames.
        customer_vlans: Option<Box<VlanSet>>,
    },
}

/// Whether frames without VLAN identifier leave with a priority tag (VID 0), as OVS `priority-tags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorityTags {
    /// Never: the priority is lost.
    Never,
    /// When the priority is not 0.
    IfNonzero,
    /// Always.
    Always,
}

/// What is true of a port without a configuration change. Written by control, read by workers on each burst.
#[derive(Debug, Default)]
pub struct PortState(AtomicU8);

impl PortState {
    const ENABLED: u8 = 1;
    const CARRIER: u8 = 2;

    /// A port in this state.
    pub fn new(enabled: bool, carrier: bool) -> PortState {
        let state = PortState::default();
        state.set_enabled(enabled);
        state.set_carrier(carrier);
        state
    }

    /// The administrator's wish.
    pub fn set_enabled(&self, on: bool) {
        self.set(PortState::ENABLED, on);
    }

    /// Whether the device exists and has a carrier.
    pub fn set_carrier(&self, on: bool) {
        self.set(PortState::CARRIER, on);
    }

    fn set(&self, bit: u8, on: bool) {
        if on {
            self.0.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether the administrator wants the port.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PortState::ENABLED != 0
    }

    /// Whether there is a carrier.
    #[inline]
    pub fn has_carrier(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PortState::CARRIER != 0
    }

    /// Whether frames can leave: enabled and with a carrier.
    #[inline]
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PortState::ENABLED | PortState::CARRIER
    }
}
