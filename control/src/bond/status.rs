//! What an agent knows, for `show bonds`.

use std::net::Ipv4Addr;

use dataplane::bond::BondView;
use dataplane::clock::Nanos;
use wire::MacAddr;
use wire::lacp::PortInfo;

use super::BondSettings;
use super::named::named;

named! {
    /// State of a member's link (`BOND_LINK_*`).
    LinkState {
        /// Usable.
        Up = "up",
        /// Carrier is gone, `downdelay` runs; still used.
        Fail = "going down",
        /// Not usable.
        Down = "down",
        /// Carrier is back, `updelay` runs; not used yet.
        Back = "going back",
    }
}

named! {
    /// State of the LACP receive machine (IEEE 802.1AX-2014 figure 6-18).
    ReceiveState {
        /// The link is down.
        PortDisabled = "port_disabled",
        /// The link is half duplex, LACP does not run.
        LacpDisabled = "lacp_disabled",
        /// Nothing heard lately; the partner is given one short timeout more.
        Expired = "expired",
        /// No partner; defaults stand for it.
        Defaulted = "defaulted",
        /// The partner sends.
        Current = "current",
    }
}

named! {
    /// State of the LACP mux machine, coupled control (IEEE 802.1AX-2014 figure 6-22).
    MuxState {
        /// Not attached to an aggregator.
        Detached = "detached",
        /// Waits, so that all links of an aggregator attach together.
        Waiting = "waiting",
        /// Attached, waits for the partner.
        Attached = "attached",
        /// Carries frames.
        CollectingDistributing = "collecting_distributing",
    }
}

named! {
    /// State of a churn detection machine (IEEE 802.1AX-2014 figure 6-23).
    Churn {
        /// Watching.
        Monitoring = "monitoring",
        /// Out of sync for 60 s.
        Churned = "churned",
        /// In sync.
        None = "none",
    }
}

/// LACP of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberLacp {
    /// Identifier of the aggregator it belongs to.
    pub aggregator: Option<u8>,
    /// What it says.
    pub actor: PortInfo,
    /// What it heard, or the defaults.
    pub partner: PortInfo,
    /// Receive machine.
    pub receive: ReceiveState,
    /// Mux machine.
    pub mux: MuxState,
    /// Actor churn machine.
    pub actor_churn: Churn,
    /// Times the actor churned.
    pub actor_churned: u32,
    /// Partner churn machine.
    pub partner_churn: Churn,
    /// Times the partner churned.
    pub partner_churned: u32,
    /// LACPDUs sent.
    pub lacpdu_tx: u64,
    /// LACPDUs received.
    pub lacpdu_rx: u64,
    /// Markers received and answered.
    pub marker_rx: u64,
    /// Marker responses sent.
    pub marker_tx: u64,
    /// LACPDUs that were ignored because they are malformed or our own.
    pub lacpdu_unknown: u64,
    /// Markers that were ignored because they are malformed or too many.
    pub marker_unknown: u64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Slot.
    pub slot: u8,
    /// Name.
    pub name: String,
    /// `prio`.
    pub prio: i32,
    /// Whether the device has a carrier.
    pub carrier: bool,
    /// Link state.
    pub link: LinkState,
    /// Since when the link is in that state.
    pub link_since: Nanos,
    /// Why.
    pub link_reason: String,
    /// Whether it carries frames out.
    pub transmits: bool,
    /// Whether its frames are accepted.
    pub receives: bool,
    /// Mbit/s, when known.
    pub mbps: Option<u32>,
    /// Whether not half duplex.
    pub full_duplex: bool,
    /// Times its link went down.
    pub link_failure_count: u32,
    /// The device's own MAC address.
    pub permanent_mac: MacAddr,
    /// The MAC address it was given.
    pub mac: MacAddr,
    /// ARP monitor: when each IPv4 target last answered here.
    pub arp_last_rx: Vec<(Ipv4Addr, Option<Nanos>)>,
    /// LACP, in mode 802.3ad.
    pub lacp: Option<MemberLacp>,
}

/// LACP of the bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LacpStatus {
    /// The aggregator that carries frames.
    pub active_aggregator: Option<u8>,
    /// Members of it.
    pub ports: u8,
    /// Key of the actor.
    pub actor_key: u16,
    /// Key of the partner.
    pub partner_key: u16,
    /// The partner's system.
    pub partner_mac: MacAddr,
    /// Whether the bond behaves as active-backup for want of a partner.
    pub fallback: bool,
}

/// Everything about one bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BondStatus {
    /// What it was told.
    pub settings: BondSettings,
    /// Its MAC address; `None` before the first member.
    pub mac: Option<MacAddr>,
    /// Whether it carries frames.
    pub carrier: bool,
    /// The active member.
    pub active: Option<u8>,
    /// Since when it is the active one (or none is).
    pub active_since: Nanos,
    /// Why.
    pub active_reason: String,
    /// Times the active member changed to another.
    pub failovers: u64,
    /// What workers were told last.
    pub view: BondView,
    /// LACP, in mode 802.3ad.
    pub lacp: Option<LacpStatus>,
    /// Members, in the order they joined.
    pub members: Vec<MemberStatus>,
}
