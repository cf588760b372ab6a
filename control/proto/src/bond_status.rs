//! Bonds as `show bonds --json` lists them, and what `bond-explain` answers.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::MacAddr;

use crate::api::Link;
use crate::bond::{
    AdSelect, ArpAllTargets, ArpValidate, BondConfig, BondMode, FailOverMac, LacpRate, MemberConfig, PrimaryReselect, XmitHashPolicy,
};

/// How an option reads in `ip -d link show`.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for bool {
    fn shown(&self) -> String {
        u8::from(*self).to_string()
    }
}

impl<T: Display> Shown for Vec<T> {
    fn shown(&self) -> String {
        if self.is_empty() { "none".to_owned() } else { self.iter().map(T::to_string).collect::<Vec<_>>().join(",") }
    }
}

impl<T: Display> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::to_string)
    }
}

macro_rules! shown_by_display {
    ($($type:ty)+) => {
        $(impl Shown for $type {
            fn shown(&self) -> String {
                self.to_string()
            }
        })+
    };
}
shown_by_display!(u8 u16 u32 BondMode ArpValidate ArpAllTargets PrimaryReselect FailOverMac XmitHashPolicy LacpRate AdSelect);

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+) => {
        /// The options of a bond as they are in force, under the names `ip -d link show` prints, in its order.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct BondOptions {
            $($(#[$doc])* pub $name: $type,)+
        }

        impl BondOptions {
            /// Names and values as texts, truth values as 0 and 1.
            pub fn list(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($name), self.$name.shown()),)+]
            }
        }
    };
}

options! {
    /// How members are used.
    mode: BondMode,
    /// The active member, where the mode has one.
    active_slave: Option<String>,
    /// ms; 0 without monitoring by carrier.
    miimon: u32,
    /// ms, rounded down to a multiple of `miimon`.
    updelay: u32,
    /// ms, rounded down to a multiple of `miimon`.
    downdelay: u32,
    /// ms.
    peer_notif_delay: u32,
    /// Always true.
    use_carrier: bool,
    /// ms; 0 without monitoring by ARP.
    arp_interval: u32,
    /// Targets of ARP.
    arp_ip_target: Vec<Ipv4Addr>,
    /// Targets of neighbour discovery.
    ns_ip6_target: Vec<Ipv6Addr>,
    /// Source of ARP probes.
    arp_source: Option<Ipv4Addr>,
    /// Which frames prove that a member is alive.
    arp_validate: ArpValidate,
    /// Whether one target is enough.
    arp_all_targets: ArpAllTargets,
    /// Intervals.
    missed_max: u8,
    /// The preferred member.
    primary: Option<String>,
    /// When it takes over.
    primary_reselect: PrimaryReselect,
    /// What becomes of MAC addresses.
    fail_over_mac: FailOverMac,
    /// The hash.
    xmit_hash_policy: XmitHashPolicy,
    /// Times.
    resend_igmp: u8,
    /// Times.
    num_grat_arp: u8,
    /// The same as `num_grat_arp`.
    num_unsol_na: u8,
    /// Frames at inactive members are accepted.
    all_slaves_active: bool,
    /// Members.
    min_links: u8,
    /// Seconds.
    lp_interval: u32,
    /// Frames.
    packets_per_slave: u16,
    /// ms; 0 without.
    tx_balancing_interval: u32,
    /// Whether LACPDUs are sent without being asked.
    lacp_active: bool,
    /// How often the partner is asked to send.
    lacp_rate: LacpRate,
    /// Which aggregator is active.
    ad_select: AdSelect,
    /// Priority of this system.
    ad_actor_sys_prio: u16,
    /// This system, when it is not the bond's address.
    ad_actor_system: Option<MacAddr>,
    /// Upper bits of the key.
    ad_user_port_key: u16,
    /// Active-backup without partner.
    lacp_fallback: bool,
    /// By load.
    tlb_dynamic_lb: bool,
}

impl BondOptions {
    /// The options of a configuration as they are in force, with the active member.
    pub fn new(config: &BondConfig, active_slave: Option<String>) -> BondOptions {
        let miimon = config.effective_miimon();
        let rounded = |delay: u32| delay.checked_div(miimon).map_or(0, |steps| steps * miimon);
        BondOptions {
            mode: config.mode,
            active_slave,
            miimon,
            updelay: rounded(config.updelay),
            downdelay: rounded(config.downdelay),
            peer_notif_delay: config.peer_notif_delay,
            use_carrier: config.use_carrier,
            arp_interval: config.arp_interval,
            arp_ip_target: config.arp_ip_target.clone(),
            ns_ip6_target: config.ns_ip6_target.clone(),
            arp_source: config.arp_source,
            arp_validate: config.arp_validate,
            arp_all_targets: config.arp_all_targets,
            missed_max: config.missed_max,
            primary: config.primary.clone(),
            primary_reselect: config.primary_reselect,
            fail_over_mac: config.fail_over_mac,
            xmit_hash_policy: config.xmit_hash_policy,
            resend_igmp: config.resend_igmp,
            num_grat_arp: config.peer_notifications(),
            num_unsol_na: config.peer_notifications(),
            all_slaves_active: config.all_slaves_active,
            min_links: config.min_links,
            lp_interval: config.lp_interval,
            packets_per_slave: config.packets_per_slave,
            tx_balancing_interval: config.tx_balancing_interval,
            lacp_active: config.lacp_active,
            lacp_rate: config.lacp_rate,
            ad_select: config.ad_select,
            ad_actor_sys_prio: config.ad_actor_sys_prio,
            ad_actor_system: config.ad_actor_system,
            ad_user_port_key: config.ad_user_port_key,
            lacp_fallback: config.lacp_fallback,
            tlb_dynamic_lb: config.tlb_dynamic_lb,
        }
    }
}

/// A bond, as `show bonds --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BondInfo {
    /// Name.
    pub name: String,
    /// Its switch; none for a bond that belongs to interfaces of a router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// State of its link.
    pub link: Link,
    /// Its MAC address; none before the first member.
    pub mac: Option<MacAddr>,
    /// Its options.
    #[serde(flatten)]
    pub options: BondOptions,
    /// Milliseconds since the active member became it (or since there is none).
    pub active_since_ms: u64,
    /// Why.
    pub active_reason: String,
    /// Times the active member changed to another.
    pub failovers: u64,
    /// LACP, in mode 802.3ad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacp: Option<BondLacp>,
    /// Members in the order they joined.
    pub members: Vec<MemberInfo>,
}

/// LACP of a bond, under the names of `ip -d link show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BondLacp {
    /// The aggregator that carries frames.
    pub ad_aggregator: Option<u8>,
    /// Its members.
    pub ad_num_ports: u8,
    /// Our key.
    pub ad_actor_key: u16,
    /// The partner's key.
    pub ad_partner_key: u16,
    /// The partner's system.
    pub ad_partner_mac: MacAddr,
    /// The bond behaves as active-backup for want of a partner.
    pub fallback: bool,
}

/// A member of a bond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Name.
    pub name: String,
    /// `active` or `backup` (it carries frames out, or not).
    pub state: String,
    /// `up`, `going down`, `down` or `going back`.
    pub mii_status: String,
    /// Milliseconds since it is in this state.
    pub since_ms: u64,
    /// Why it is.
    pub reason: String,
    /// Whether its device has a carrier now.
    pub carrier: bool,
    /// State of its device.
    pub link: Link,
    /// Why its device is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether frames that arrive at it are accepted.
    pub receives: bool,
    /// Mbit/s, when known.
    pub speed: Option<u32>,
    /// `full` or `half`.
    pub duplex: String,
    /// Times its link went down.
    pub link_failure_count: u32,
    /// The MAC address of its device.
    pub perm_hwaddr: MacAddr,
    /// The MAC address it has in the bond.
    pub mac: MacAddr,
    /// Its number, stable while it is a member.
    pub slot: u8,
    /// The interface behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Frames received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_bytes: u64,
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Octets transmitted.
    pub tx_bytes: u64,
    /// Monitoring by ARP: targets and milliseconds since each last answered here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arp_targets: Vec<ArpTarget>,
    /// LACP, in mode 802.3ad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacp: Option<MemberLacp>,
    /// Its settings.
    pub config: MemberConfig,
}

/// A target of ARP monitoring at one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArpTarget {
    /// The target.
    pub target: Ipv4Addr,
    /// Milliseconds since it last answered; none when it never did.
    pub answered_ms: Option<u64>,
}

/// What one end of a link says of itself by LACP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LacpEnd {
    /// Priority of the system.
    pub system_priority: u16,
    /// The system.
    pub system: MacAddr,
    /// Key.
    pub key: u16,
    /// Priority of the port.
    pub port_priority: u16,
    /// Number of the port.
    pub port: u16,
    /// Names of the state bits that are set (IEEE 802.1AX-2014 clause 6.4.2.3).
    pub state: Vec<String>,
}

/// LACP of a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberLacp {
    /// The aggregator it belongs to.
    pub ad_aggregator_id: Option<u8>,
    /// Receive machine.
    pub receive: String,
    /// Mux machine.
    pub mux: String,
    /// What it says.
    pub actor: LacpEnd,
    /// What it heard.
    pub partner: LacpEnd,
    /// Churn of the actor.
    pub actor_churn: String,
    /// Churn of the partner.
    pub partner_churn: String,
    /// Times the actor churned.
    pub actor_churned: u32,
    /// Times the partner churned.
    pub partner_churned: u32,
    /// LACPDUs sent.
    pub lacpdu_tx: u64,
    /// LACPDUs received.
    pub lacpdu_rx: u64,
    /// Marker responses sent.
    pub marker_tx: u64,
    /// Markers received.
    pub marker_rx: u64,
    /// LACPDUs ignored because they are malformed or our own.
    pub lacpdu_unknown: u64,
    /// Markers ignored because they are malformed or too many.
    pub marker_unknown: u64,
}

/// Asks which member a flow takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainBond {
    /// Bond.
    pub bond: String,
    /// The flow, such as `src=MAC,dst=MAC,saddr=IP,daddr=IP,proto=tcp,sport=N,dport=N`.
    pub flow: String,
}

/// Answer to [`ExplainBond`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainBondReply {
    /// Mode.
    pub mode: BondMode,
    /// The hash, where the mode makes one of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
    /// What the hash is made of, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xmit_hash_policy: Option<XmitHashPolicy>,
    /// The bucket the flow is in, where the mode has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<u8>,
    /// Members that may transmit, in the order the hash counts.
    pub usable: Vec<String>,
    /// Members the frame leaves by.
    pub members: Vec<String>,
    /// In words.
    pub reason: String,
}
