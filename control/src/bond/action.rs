//! What an agent wants done.

use std::fmt;
use std::net::Ipv4Addr;

use dataplane::bond::BondView;
use wire::{MacAddr, VlanId};

/// Something only the caller can look up. It answers at once, with the event of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// When members last received and transmitted.
    Activity,
    /// Addresses learned at the other ports of the switch.
    Learned,
    /// Octets per hash bucket since the last reading.
    Buckets,
}

/// What changed, for logs and `monitor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// State of a member's link.
    Link {
        /// Before.
        from: super::LinkState,
        /// After.
        to: super::LinkState,
    },
    /// The active member; the log's own member is the new one.
    Active {
        /// Slot before.
        from: Option<u8>,
        /// Slot after.
        to: Option<u8>,
    },
    /// LACP receive machine.
    Receive {
        /// Before.
        from: super::ReceiveState,
        /// After.
        to: super::ReceiveState,
    },
    /// LACP mux machine.
    Mux {
        /// Before.
        from: super::MuxState,
        /// After.
        to: super::MuxState,
    },
    /// LACP: the aggregator a member belongs to.
    Aggregator {
        /// Before.
        from: Option<u8>,
        /// After.
        to: Option<u8>,
    },
    /// LACP: the aggregator that carries frames.
    ActiveAggregator {
        /// Before.
        from: Option<u8>,
        /// After.
        to: Option<u8>,
    },
    /// LACP: whether the bond behaves as active-backup for want of a partner.
    Fallback(bool),
    /// LACP churn of the actor.
    ActorChurn(super::Churn),
    /// LACP churn of the partner.
    PartnerChurn(super::Churn),
    /// The bond's carrier.
    Carrier(bool),
    /// The bond's MAC address.
    Mac(MacAddr),
    /// A frame from outside that was not used; the reason says why.
    Ignored,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn slot(value: Option<u8>) -> String {
            value.map_or_else(|| "none".to_owned(), |value| value.to_string())
        }
        match self {
            Transition::Link { from, to } => write!(f, "link {from} -> {to}"),
            Transition::Active { from, to } => write!(f, "active member {} -> {}", slot(*from), slot(*to)),
            Transition::Receive { from, to } => write!(f, "receive machine {from} -> {to}"),
            Transition::Mux { from, to } => write!(f, "mux machine {from} -> {to}"),
            Transition::Aggregator { from, to } => write!(f, "aggregator {} -> {}", slot(*from), slot(*to)),
            Transition::ActiveAggregator { from, to } => write!(f, "active aggregator {} -> {}", slot(*from), slot(*to)),
            Transition::Fallback(on) => f.write_str(if *on { "fallback to active-backup" } else { "end of fallback" }),
            Transition::ActorChurn(churn) => write!(f, "actor churn {churn}"),
            Transition::PartnerChurn(churn) => write!(f, "partner churn {churn}"),
            Transition::Carrier(up) => f.write_str(if *up { "carrier up" } else { "carrier down" }),
            Transition::Mac(mac) => write!(f, "MAC address {mac}"),
            Transition::Ignored => f.write_str("frame ignored"),
        }
    }
}

/// Something to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BondAction {
    /// Give workers this view.
    Publish(BondView),
    /// The bond's carrier, as the switch's port shows it.
    BondCarrier(bool),
    /// Transmit a complete frame (tag included, without checksum) out of this member.
    Send {
        /// Slot.
        member: u8,
        /// The frame.
        octets: Vec<u8>,
    },
    /// Give a member's device this MAC address.
    SetMac {
        /// Slot.
        member: u8,
        /// The address.
        mac: MacAddr,
    },
    /// The bond's own MAC address is now this one.
    SetBondMac(MacAddr),
    /// Member of each of the 256 transmit buckets, `None` while there is none (balance-tlb, balance-alb, balance-xor with tx balancer).
    AssignBuckets(Box<[Option<u8>; 256]>),
    /// balance-alb: the host answers ARP of this client with the MAC address of this member.
    SetClient {
        /// The client.
        ip: Ipv4Addr,
        /// VLAN its frames are tagged with on the bond; 0 for untagged.
        vlan: VlanId,
        /// Slot.
        member: u8,
    },
    /// balance-alb: the client with this address is answered as the host does it.
    ClearClient {
        /// The client.
        ip: Ipv4Addr,
    },
    /// Look something up and answer with the event of the same name.
    Read(Reading),
    /// Tell that something changed, and why.
    Log {
        /// Slot, when it is about a member.
        member: Option<u8>,
        /// What.
        transition: Transition,
        /// Why, in words.
        reason: String,
    },
}
