//! The configuration of bonds: the options of the Linux bonding driver under their names, in their units.
//!
//! A bond is a port with `kind = "bond"`; its options are the table `[port.NAME.bond]`, its members the tables
//! `[port.NAME.member.IFNAME]`. Times are milliseconds unless said otherwise. Which combinations are refused is the
//! `control` package's business (`config::bond`).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::MacAddr;

use crate::config::{PortConfig, PortKind, Size, TxQueueMode, defaults, is_default};

/// Options of a bond. Source of names, ranges and defaults: Linux `drivers/net/bonding/bond_options.c` and
/// `Documentation/networking/bonding.rst`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BondConfig {
    /// How members are used.
    pub mode: BondMode,
    /// Granularity of `updelay`, `downdelay` and `peer_notif_delay`. The carrier itself is watched by events, not by polling; 0
    /// turns link monitoring by carrier off. Default: 100, or 0 when `arp_interval` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miimon: Option<u32>,
    /// How long a carrier must be back before the member is used again; rounded down to a multiple of `miimon`.
    #[serde(skip_serializing_if = "is_default")]
    pub updelay: u32,
    /// How long a carrier must be gone before the member is given up; rounded down to a multiple of `miimon`.
    #[serde(skip_serializing_if = "is_default")]
    pub downdelay: u32,
    /// Kept for configurations taken over from Linux; only true, as in newer kernels.
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub use_carrier: bool,
    /// How often the targets are asked (ARP, neighbour discovery); 0 does not monitor so.
    #[serde(skip_serializing_if = "is_default")]
    pub arp_interval: u32,
    /// IPv4 addresses that are asked, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arp_ip_target: Vec<Ipv4Addr>,
    /// IPv6 addresses that are asked, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ns_ip6_target: Vec<Ipv6Addr>,
    /// Source address of ARP probes; the host port's in the subnet of the target when absent, else 0.0.0.0 (not an option of
    /// Linux bonding; `source_host` of team).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arp_source: Option<Ipv4Addr>,
    /// Which frames prove that a member is alive.
    #[serde(skip_serializing_if = "is_default")]
    pub arp_validate: ArpValidate,
    /// Whether one target that answers is enough.
    #[serde(skip_serializing_if = "is_default")]
    pub arp_all_targets: ArpAllTargets,
    /// Intervals without answer after which a member is down (1 to 255).
    #[serde(skip_serializing_if = "is_missed_max")]
    pub missed_max: u8,
    /// The member that is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// When the preferred member takes over again.
    #[serde(skip_serializing_if = "is_default")]
    pub primary_reselect: PrimaryReselect,
    /// What becomes of MAC addresses when another member becomes active.
    #[serde(skip_serializing_if = "is_default")]
    pub fail_over_mac: FailOverMac,
    /// How often neighbours are told after a failover (0 to 255). Default: 1. The same option as `num_unsol_na`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_grat_arp: Option<u8>,
    /// Another name of `num_grat_arp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_unsol_na: Option<u8>,
    /// Time between two such notifications, a multiple of `miimon`; 0 is one `miimon`.
    #[serde(skip_serializing_if = "is_default")]
    pub peer_notif_delay: u32,
    /// How often IGMP reports are sent again after a failover, 200 ms apart (0 to 255).
    #[serde(skip_serializing_if = "is_one_u8")]
    pub resend_igmp: u8,
    /// Accept every frame at members that are not in use.
    #[serde(skip_serializing_if = "is_default")]
    pub all_slaves_active: bool,
    /// Members that must be usable for the bond to have a carrier; at least one always.
    #[serde(skip_serializing_if = "is_default")]
    pub min_links: u8,
    /// Seconds between learning frames of balance-tlb and balance-alb.
    #[serde(skip_serializing_if = "is_one_u32")]
    pub lp_interval: u32,
    /// balance-rr: frames that leave by a member before the next has its turn; 0 chooses by chance.
    #[serde(skip_serializing_if = "defaults::is_one")]
    pub packets_per_slave: u16,
    /// balance-tlb: move flows to less loaded members; otherwise by hash alone.
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub tlb_dynamic_lb: bool,
    /// Which parts of a frame decide on its member.
    #[serde(skip_serializing_if = "is_default")]
    pub xmit_hash_policy: XmitHashPolicy,
    /// balance-xor: how often flows are moved to less loaded members; 0 never does (not an option of Linux bonding; the
    /// tx balancer of team).
    #[serde(skip_serializing_if = "is_default")]
    pub tx_balancing_interval: u32,
    /// 802.3ad: how often the partner is asked to send.
    #[serde(skip_serializing_if = "is_default")]
    pub lacp_rate: LacpRate,
    /// 802.3ad: send without being asked.
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub lacp_active: bool,
    /// 802.3ad: which aggregator is active.
    #[serde(skip_serializing_if = "is_default")]
    pub ad_select: AdSelect,
    /// 802.3ad: priority of this system (1 to 65535).
    #[serde(skip_serializing_if = "is_sys_prio")]
    pub ad_actor_sys_prio: u16,
    /// 802.3ad: address of this system. Default: the address of the bond.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ad_actor_system: Option<MacAddr>,
    /// 802.3ad: upper ten bits of the port key (0 to 1023).
    #[serde(skip_serializing_if = "is_default")]
    pub ad_user_port_key: u16,
    /// 802.3ad: behave as active-backup while no member has a partner (not an option of Linux; as Open vSwitch
    /// `lacp-fallback-ab`).
    #[serde(skip_serializing_if = "is_default")]
    pub lacp_fallback: bool,
}

impl Default for BondConfig {
    fn default() -> BondConfig {
        BondConfig {
            mode: BondMode::default(),
            miimon: None,
            updelay: 0,
            downdelay: 0,
            use_carrier: true,
            arp_interval: 0,
            arp_ip_target: Vec::new(),
            ns_ip6_target: Vec::new(),
            arp_source: None,
            arp_validate: ArpValidate::default(),
            arp_all_targets: ArpAllTargets::default(),
            missed_max: 2,
            primary: None,
            primary_reselect: PrimaryReselect::default(),
            fail_over_mac: FailOverMac::default(),
            num_grat_arp: None,
            num_unsol_na: None,
            peer_notif_delay: 0,
            resend_igmp: 1,
            all_slaves_active: false,
            min_links: 0,
            lp_interval: 1,
            packets_per_slave: 1,
            tlb_dynamic_lb: true,
            xmit_hash_policy: XmitHashPolicy::default(),
            tx_balancing_interval: 0,
            lacp_rate: LacpRate::default(),
            lacp_active: true,
            ad_select: AdSelect::default(),
            ad_actor_sys_prio: 65_535,
            ad_actor_system: None,
            ad_user_port_key: 0,
            lacp_fallback: false,
        }
    }
}

impl BondConfig {
    /// `miimon` as it is in force, milliseconds.
    pub fn effective_miimon(&self) -> u32 {
        self.miimon.unwrap_or(if self.arp_interval == 0 { 100 } else { 0 })
    }

    /// How often neighbours are told after a failover.
    pub fn peer_notifications(&self) -> u8 {
        self.num_grat_arp.or(self.num_unsol_na).unwrap_or(1)
    }
}

fn is_missed_max(value: &u8) -> bool {
    *value == 2
}
fn is_one_u8(value: &u8) -> bool {
    *value == 1
}
fn is_one_u32(value: &u32) -> bool {
    *value == 1
}
fn is_sys_prio(value: &u16) -> bool {
    *value == 65_535
}

/// One member of a bond: a device of its own, in no switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemberConfig {
    /// What it is: `nic`, `tap` or `sim`, as for a port.
    #[serde(skip_serializing_if = "is_nic")]
    pub kind: PortKind,
    /// `nic`: the interface to attach; `tap`: name of the netdev. The member's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Network namespace of the interface: a name under /run/netns, or a path. The daemon's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Checksum and segmentation offload (virtio_net_hdr).
    #[serde(skip_serializing_if = "defaults::is_yes")]
    pub offload: bool,
    /// Number of queues, each polled by a worker of its own as far as there are workers.
    #[serde(skip_serializing_if = "defaults::is_one")]
    pub queues: u16,
    /// `nic`: octets of the receive ring.
    #[serde(skip_serializing_if = "defaults::is_ring_size")]
    pub ring_size: Size,
    /// `nic`: whether frames leave past the interface's queueing discipline.
    #[serde(skip_serializing_if = "is_default")]
    pub tx_queue: TxQueueMode,
    /// The member with the highest is preferred where one is chosen (active-backup, balance-tlb, balance-alb).
    #[serde(skip_serializing_if = "is_default")]
    pub prio: i32,
}

fn is_nic(kind: &PortKind) -> bool {
    *kind == PortKind::Nic
}

impl Default for MemberConfig {
    fn default() -> MemberConfig {
        MemberConfig {
            kind: PortKind::Nic,
            interface: None,
            netns: None,
            offload: true,
            queues: 1,
            ring_size: defaults::ring_size(),
            tx_queue: TxQueueMode::default(),
            prio: 0,
        }
    }
}

impl MemberConfig {
    /// The device of this member (named `name`) of the bond `bond`, as a port of its own would have it.
    pub fn device(&self, name: &str, bond: &PortConfig) -> PortConfig {
        let has_netdev = self.kind != PortKind::Sim;
        PortConfig {
            kind: self.kind,
            interface: has_netdev.then(|| self.interface.clone().unwrap_or_else(|| name.to_owned())),
            netns: self.netns.clone(),
            mtu: bond.mtu,
            enabled: bond.enabled,
            offload: self.offload,
            queues: self.queues,
            ring_size: self.ring_size,
            tx_queue: self.tx_queue,
            switch: bond.switch.clone(),
            ..PortConfig::routed()
        }
    }
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal,)+ })+) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value under its name.
            pub const NAMES: &[&str] = &[$($text),+];

            /// The name in the configuration, which is that of Linux.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        })+
    };
}

choices! {
    /// How members are used.
    BondMode {
        /// One after the other.
        #[default]
        BalanceRr = "balance-rr",
        /// One at a time.
        ActiveBackup = "active-backup",
        /// By hash.
        BalanceXor = "balance-xor",
        /// All at once.
        Broadcast = "broadcast",
        /// By hash among the members that LACP (IEEE 802.1AX) aggregates.
        Ieee8023ad = "802.3ad",
        /// By load, for frames that leave.
        BalanceTlb = "balance-tlb",
        /// By load, in both directions (neighbours are told different addresses).
        BalanceAlb = "balance-alb",
        /// A member by chance (not a mode of Linux bonding; runner `random` of team).
        Random = "random",
    }
    /// Which parts of a frame decide on its member.
    XmitHashPolicy {
        /// MAC addresses and ethertype.
        #[default]
        Layer2 = "layer2",
        /// Also IP addresses.
        Layer23 = "layer2+3",
        /// IP addresses and ports.
        Layer34 = "layer3+4",
        /// As layer2+3, of the innermost headers.
        Encap23 = "encap2+3",
        /// As layer3+4, of the innermost headers.
        Encap34 = "encap3+4",
        /// VLAN and source MAC address.
        VlanSrcMac = "vlan+srcmac",
    }
    /// Which frames prove that a member is alive.
    ArpValidate {
        /// Any frame.
        #[default]
        None = "none",
        /// At the active member only answers of targets.
        Active = "active",
        /// At the others only our own requests that come back.
        Backup = "backup",
        /// Both.
        All = "all",
        /// Any ARP frame, at every member.
        Filter = "filter",
        /// Any ARP frame, validated at the active member.
        FilterActive = "filter_active",
        /// Any ARP frame, validated at the others.
        FilterBackup = "filter_backup",
    }
    /// Whether one target that answers is enough.
    ArpAllTargets {
        /// One is enough.
        #[default]
        Any = "any",
        /// All must answer.
        All = "all",
    }
    /// When the preferred member takes over again.
    PrimaryReselect {
        /// As soon as it is up.
        #[default]
        Always = "always",
        /// When it is up and better (speed, then duplex) than the active one.
        Better = "better",
        /// When the active one fails.
        Failure = "failure",
    }
    /// What becomes of MAC addresses when another member becomes active.
    FailOverMac {
        /// Every member has the address of the bond.
        #[default]
        None = "none",
        /// The bond takes the address of the active member.
        Active = "active",
        /// The active member has the address of the bond, the others their own.
        Follow = "follow",
    }
    /// How often the LACP partner is asked to send.
    LacpRate {
        /// Every 30 s.
        #[default]
        Slow = "slow",
        /// Every second.
        Fast = "fast",
    }
    /// Which aggregator is active.
    AdSelect {
        /// The first, until it is lost wholly.
        #[default]
        Stable = "stable",
        /// The one with most bandwidth.
        Bandwidth = "bandwidth",
        /// The one with most members.
        Count = "count",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_not_written_and_come_back() {
        assert_eq!(serde_json::to_value(BondConfig::default()).unwrap(), serde_json::json!({"mode": "balance-rr"}));
        assert_eq!(serde_json::to_value(MemberConfig::default()).unwrap(), serde_json::json!({}));
        assert_eq!(serde_json::from_str::<BondConfig>("{}").unwrap(), BondConfig::default());
        assert_eq!(serde_json::from_str::<MemberConfig>("{}").unwrap(), MemberConfig::default());
    }

    #[test]
    fn names_are_those_serde_writes() {
        for (at, name) in BondMode::NAMES.iter().enumerate() {
            let mode: BondMode = serde_json::from_value((*name).into()).unwrap();
            assert_eq!((mode.name(), mode as usize), (*name, at), "the numbers are those of Linux, too");
        }
    }

    #[test]
    fn miimon_is_100_unless_arp_monitors() {
        let miimon = |miimon, arp_interval| BondConfig { miimon, arp_interval, ..BondConfig::default() }.effective_miimon();
        assert_eq!([miimon(None, 0), miimon(None, 500), miimon(Some(0), 0), miimon(Some(50), 0)], [100, 0, 0, 50]);
    }
}
