//! A bond: one port made of several member devices (Linux `drivers/net/bonding`, whose modes and options it has).
//!
//! A [`Bond`] is configuration and hangs off the snapshot's port. Which members may carry frames now is a [`BondView`]; a
//! state machine of control publishes it in the [`BondState`], which lives as long as the bond, and workers take it up
//! with their next burst, without a new configuration. Members are numbered by slot, below [`MEMBERS_MAX`]; a member keeps
//! its slot while it exists.
//!
//! - [`hash`]: the transmit hash policies, with the formulas of the kernel;
//! - [`select`]: which member a frame leaves by, a pure function, so that explaining a choice cannot differ from making it;
//! - [`admit`]: what becomes of a frame that arrives at a member;
//! - [`state`]: what control and workers tell each other while the bond runs.

pub mod admit;
pub mod flow;
pub mod hash;
pub mod select;
pub mod state;

use std::sync::Arc;

use arrayvec::ArrayVec;

pub use select::{Choice, Egress, Outgoing};
pub use state::{BondState, Client};

use crate::snapshot::PortId;

/// Members of a bond at most.
pub const MEMBERS_MAX: usize = 32;

/// Buckets over which `balance-tlb` and `balance-alb` spread flows (Linux `TLB_HASH_TABLE_SIZE`).
pub const BUCKETS: usize = 256;

/// How a bond spreads frames over its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One member after the other.
    BalanceRr {
        /// Frames a member gets before it is the next one's turn; 0 for a random member each time.
        packets_per_slave: u16,
    },
    /// The active member only.
    ActiveBackup,
    /// By the hash of the frame, modulo the number of usable members.
    BalanceXor,
    /// Every usable member.
    Broadcast,
    /// As [`Mode::BalanceXor`], over the members of the active aggregator.
    Ieee8023ad,
    /// Unicast IP by the load of the members, everything else by the active one; replies come to the active one.
    BalanceTlb {
        /// By load (`tlb_dynamic_lb` 1), else by hash.
        dynamic: bool,
    },
    /// As [`Mode::BalanceTlb`], and peers learn by ARP to send to different members.
    BalanceAlb {
        /// By load (`tlb_dynamic_lb` 1), else by hash.
        dynamic: bool,
    },
    /// A random usable member (team's `random`).
    Random,
    /// By the hash of the frame into a bucket, which control gives to a member by load (team's `loadbalance` with a
    /// `tx_balancer`). Unlike [`Mode::BalanceTlb`], source addresses stay: the other side must be a link aggregation.
    LoadBalance,
}

/// What the hash of a frame is made of (Linux `xmit_hash_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashPolicy {
    /// `layer2`: MAC addresses and EtherType.
    Layer2,
    /// `layer2+3`: these and IP addresses.
    Layer23,
    /// `layer3+4`: IP addresses and ports.
    Layer34,
    /// `encap2+3`: as `layer2+3`, of the innermost IP packet.
    Encap23,
    /// `encap3+4`: as `layer3+4`, of the innermost IP packet.
    Encap34,
    /// `vlan+srcmac`: VLAN tag and source address.
    VlanSrcMac,
}

/// Which frames that arrive at a member control gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PuntRules {
    /// Slow protocols (IEEE 802.3 annex 57A: LACP, marker), instead of the switch.
    pub slow_protocols: bool,
    /// Copies of ARP, for ARP monitoring and `balance-alb`. With [`Mode::BalanceAlb`], also copies of ARP that leaves by the
    /// bond with its own address as the sender's.
    pub arp: bool,
    /// Copies of ICMPv6 neighbour solicitations and advertisements, for monitoring.
    pub nd: bool,
}

/// A bond as configured.
pub struct Bond {
    /// How frames are spread.
    pub mode: Mode,
    /// The hash of the modes that use one.
    pub policy: HashPolicy,
    /// Ports of the members by slot; `None` where a slot is free.
    pub members: [Option<PortId>; MEMBERS_MAX],
    /// Slots in the order in which the members joined: the kernel's slave order, down members included.
    pub order: ArrayVec<u8, MEMBERS_MAX>,
    /// Take frames from inactive members too, duplicates included.
    pub all_slaves_active: bool,
    /// What control gets.
    pub punt: PuntRules,
    /// What changes without configuration.
    pub state: Arc<BondState>,
}

impl Bond {
    /// The port of the member in a slot.
    #[inline]
    pub fn member(&self, slot: u8) -> Option<PortId> {
        self.members.get(usize::from(slot)).copied().flatten()
    }
}

/// Which bond a port's device belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The bond's port.
    pub bond: PortId,
    /// The member's slot.
    pub index: u8,
}

/// Which members may carry frames now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BondView {
    /// The active member (Linux `curr_active_slave`), of the modes that have one; it carries IGMP in `balance-rr`.
    pub active: Option<u8>,
    /// Members that may transmit, in slave order.
    pub tx: ArrayVec<u8, MEMBERS_MAX>,
    /// Bit n: frames that arrive at member n are accepted.
    pub rx: u32,
}

impl BondView {
    /// Whether a member may transmit.
    #[inline]
    pub fn can_transmit(&self, member: u8) -> bool {
        self.tx.contains(&member)
    }

    /// Whether frames from a member are accepted.
    #[inline]
    pub fn can_receive(&self, member: u8) -> bool {
        self.rx.checked_shr(u32::from(member)).unwrap_or(0) & 1 != 0
    }
}
