//! What an agent is told.

use std::net::IpAddr;

use wire::{MacAddr, Tag};

/// An address of the host itself on the switch, as seen on the wire of the bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// The tag its frames carry on the bond's members; none when untagged.
    pub tag: Option<Tag>,
    /// MAC address of the host's port.
    pub mac: MacAddr,
    /// IP address.
    pub ip: IpAddr,
    /// Length of its subnet's prefix in bits.
    pub prefix: u8,
}

/// An address learned at another port of the switch: a station that upstream switches reach through the bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedAddress {
    /// The tag its frames carry on the bond's members; none when untagged.
    pub tag: Option<Tag>,
    /// The station.
    pub mac: MacAddr,
}

/// What workers saw on one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberActivity {
    /// Its slot.
    pub member: u8,
    /// When the last frame was received; `None` for never.
    pub last_rx: Option<u64>,
    /// When the last frame was transmitted; `None` for never.
    pub last_tx: Option<u64>,
}

/// Something an agent must know.
///
/// Members are named by slot. An event about a slot without member is ignored.
#[derive(Clone, Copy, Debug)]
pub enum BondEvent<'a> {
    /// A member's carrier came or went (link and administrative state together). Repeating a state is harmless.
    Carrier {
        /// Slot.
        member: u8,
        /// Whether frames can be sent and received.
        up: bool,
    },
    /// A member's speed and duplex; `mbps` is `None` while unknown.
    Speed {
        /// Slot.
        member: u8,
        /// Mbit/s.
        mbps: Option<u32>,
        /// Whether it is not half duplex.
        full_duplex: bool,
    },
    /// A frame that the data plane copied out: slow protocols, ARP, neighbour discovery.
    Frame {
        /// Slot it was received at.
        member: u8,
        /// Outermost VLAN tag, which is not part of `octets`.
        tag: Option<Tag>,
        /// The frame from its destination address on, without that tag.
        octets: &'a [u8],
    },
    /// A frame that leaves through the bond and that the data plane copied out: ARP of the host (balance-alb), IGMP
    /// reports (`resend_igmp`).
    Sent {
        /// Outermost VLAN tag, which is not part of `octets`.
        tag: Option<Tag>,
        /// The frame from its destination address on, without that tag.
        octets: &'a [u8],
    },
    /// The time of [`BondAgent::next_deadline`](super::BondAgent::next_deadline) has come.
    Deadline,
    /// Make this member active (`vswitchctl set-active`); `None` lets the agent choose anew.
    SetActive(Option<u8>),
    /// The host's addresses, all of them, whenever they change. At most
    /// [`HOST_ADDRESSES_MAX`](Self::HOST_ADDRESSES_MAX) are kept.
    Host(&'a [HostAddress]),
    /// Answer to [`Reading::Activity`](super::Reading::Activity): every member.
    Activity(&'a [MemberActivity]),
    /// Answer to [`Reading::Learned`](super::Reading::Learned).
    Learned(&'a [LearnedAddress]),
    /// Answer to [`Reading::Buckets`](super::Reading::Buckets): octets transmitted since the last reading.
    Buckets {
        /// Those of each hash bucket.
        octets: &'a [u64; 256],
        /// Those of the active member that belong to no bucket.
        unbalanced: u64,
    },
}

impl BondEvent<'_> {
    /// Addresses of the host that an agent keeps.
    pub const HOST_ADDRESSES_MAX: usize = 64;
}
