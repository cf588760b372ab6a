//! What a bond is told: the options of the Linux bonding driver, under their names and in their units.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::bond::MEMBERS_MAX;
use wire::MacAddr;

use super::named::named;

/// Entries of `arp_ip_target` and of `ns_ip6_target` at most (`BOND_MAX_ARP_TARGETS`).
pub const TARGETS_MAX: usize = 16;

named! {
    /// How frames are spread over members (`mode`).
    BondMode {
        /// One member after the other.
        BalanceRr = "balance-rr",
        /// One member carries everything, the others wait.
        ActiveBackup = "active-backup",
        /// By hash of the frame.
        BalanceXor = "balance-xor",
        /// Every frame out of every member.
        Broadcast = "broadcast",
        /// Link aggregation by LACP (IEEE 802.1AX).
        Ieee8023ad = "802.3ad",
        /// Transmit balanced by load, receive on the active member.
        BalanceTlb = "balance-tlb",
        /// As balance-tlb, and receive balanced by what ARP answers.
        BalanceAlb = "balance-alb",
        /// A member by chance (runner `random` of team).
        Random = "random",
    }
}

impl BondMode {
    /// Whether the mode has an active member chosen by `primary` and `prio` (`bond_mode_uses_primary`).
    pub const fn uses_primary(self) -> bool {
        matches!(self, BondMode::ActiveBackup | BondMode::BalanceTlb | BondMode::BalanceAlb)
    }

    /// Whether the mode is balance-tlb or balance-alb.
    pub const fn is_lb(self) -> bool {
        matches!(self, BondMode::BalanceTlb | BondMode::BalanceAlb)
    }
}

named! {
    /// Which fields of a frame choose its member (`xmit_hash_policy`).
    XmitHashPolicy {
        /// Addresses and EtherType of the Ethernet header.
        Layer2 = "layer2",
        /// IP addresses as well.
        Layer23 = "layer2+3",
        /// IP addresses and ports.
        Layer34 = "layer3+4",
        /// As layer2+3 of the innermost header.
        Encap23 = "encap2+3",
        /// As layer3+4 of the innermost header.
        Encap34 = "encap3+4",
        /// VLAN and source address.
        VlanSrcmac = "vlan+srcmac",
    }
}

named! {
    /// When the primary member becomes active again (`primary_reselect`).
    PrimaryReselect {
        /// As soon as it is up.
        Always = "always",
        /// When it is up and faster than the active one, or as fast and full duplex over half.
        Better = "better",
        /// Only when the active one fails.
        Failure = "failure",
    }
}

named! {
    /// What happens to MAC addresses at a failover (`fail_over_mac`).
    FailOverMac {
        /// All members have the address of the bond.
        None = "none",
        /// The bond takes the address of the active member.
        Active = "active",
        /// The active member takes the address of the bond, and gives its own to the one before it.
        Follow = "follow",
    }
}

named! {
    /// Which members' ARP and ND frames are validated, and whether others count (`arp_validate`).
    ArpValidate {
        /// Any frame is a sign of life.
        None = "none",
        /// Validate on the active member.
        Active = "active",
        /// Validate on backup members.
        Backup = "backup",
        /// Validate on all.
        All = "all",
        /// Only ARP and ND frames count, not validated.
        Filter = "filter",
        /// `filter`, and validate on the active member.
        FilterActive = "filter_active",
        /// `filter`, and validate on backup members.
        FilterBackup = "filter_backup",
    }
}

impl ArpValidate {
    /// Whether frames of a member in this role are validated.
    pub const fn validates(self, active: bool) -> bool {
        match self {
            ArpValidate::None | ArpValidate::Filter => false,
            ArpValidate::All => true,
            ArpValidate::Active | ArpValidate::FilterActive => active,
            ArpValidate::Backup | ArpValidate::FilterBackup => !active,
        }
    }

    /// Whether frames other than ARP and ND are no sign of life.
    pub const fn filters(self) -> bool {
        matches!(self, ArpValidate::Filter | ArpValidate::FilterActive | ArpValidate::FilterBackup)
    }
}

named! {
    /// How many targets must answer (`arp_all_targets`).
    ArpAllTargets {
        /// One is enough.
        Any = "any",
        /// Each of them.
        All = "all",
    }
}

named! {
    /// How often the partner is asked to send LACPDUs (`lacp_rate`).
    LacpRate {
        /// Every 30 s.
        Slow = "slow",
        /// Every second.
        Fast = "fast",
    }
}

named! {
    /// Which aggregator is active (`ad_select`).
    AdSelect {
        /// The one with the most bandwidth, until it loses all its members.
        Stable = "stable",
        /// The one with the most bandwidth.
        Bandwidth = "bandwidth",
        /// The one with the most members.
        Count = "count",
    }
}

/// What one bond is told. [`Default`] has the defaults of Linux, with `miimon` 100 as 0 would leave links unmonitored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BondSettings {
    /// `mode`.
    pub mode: BondMode,
    /// Grain of `updelay`, `downdelay` and `peer_notif_delay` in ms; carrier changes themselves arrive as events. 0 when
    /// the ARP monitor is used.
    pub miimon: u32,
    /// ms a carrier must be there before the member is used; rounded down to a multiple of `miimon`.
    pub updelay: u32,
    /// ms a carrier must be gone before the member is given up; rounded down to a multiple of `miimon`.
    pub downdelay: u32,
    /// ms between probes of the ARP monitor; 0 without.
    pub arp_interval: u32,
    /// IPv4 addresses that are asked by ARP.
    pub arp_ip_target: Vec<Ipv4Addr>,
    /// IPv6 addresses that are asked by neighbour solicitation.
    pub ns_ip6_target: Vec<Ipv6Addr>,
    /// Source of ARP probes; the host port's address in the target's subnet when absent, else 0.0.0.0 (team's `source_host`).
    pub arp_source: Option<Ipv4Addr>,
    /// `arp_validate`.
    pub arp_validate: ArpValidate,
    /// `arp_all_targets`.
    pub arp_all_targets: ArpAllTargets,
    /// Intervals without an answer after which a member is down, 1 to 255.
    pub missed_max: u8,
    /// Name of the preferred member.
    pub primary: Option<String>,
    /// `primary_reselect`.
    pub primary_reselect: PrimaryReselect,
    /// `fail_over_mac`.
    pub fail_over_mac: FailOverMac,
    /// Rounds of peer notifications after a failover (gratuitous ARP, unsolicited NA, RARP); Linux's num_unsol_na is the
    /// same number.
    pub num_grat_arp: u8,
    /// ms between those rounds, a multiple of `miimon`; 0 is `miimon`.
    pub peer_notif_delay: u32,
    /// IGMP reports per group after a failover, 200 ms apart.
    pub resend_igmp: u8,
    /// Whether inactive members' frames are accepted.
    pub all_slaves_active: bool,
    /// Members that must be usable for the bond to have a carrier. Zero means one, as does one.
    pub min_links: u8,
    /// Seconds between learning frames of balance-tlb and balance-alb.
    pub lp_interval: u32,
    /// Frames per member of balance-rr; 0 chooses by chance.
    pub packets_per_slave: u16,
    /// Whether balance-tlb moves flows by load (otherwise by hash alone).
    pub tlb_dynamic_lb: bool,
    /// `xmit_hash_policy`.
    pub xmit_hash_policy: XmitHashPolicy,
    /// ms between rebalancing of balance-xor by load (tx_balancer of team's `loadbalance`); 0 without.
    pub tx_balancing_interval: u32,
    /// `lacp_rate`.
    pub lacp_rate: LacpRate,
    /// Whether LACPDUs are sent to a partner that sends none.
    pub lacp_active: bool,
    /// `ad_select`.
    pub ad_select: AdSelect,
    /// Priority of the actor system, 1 to 65535; the lower one decides.
    pub ad_actor_sys_prio: u16,
    /// Address of the actor system; the bond's MAC address when absent.
    pub ad_actor_system: Option<MacAddr>,
    /// Upper ten bits of the actor key, 0 to 1023.
    pub ad_user_port_key: u16,
    /// Behave as active-backup while no member has a partner.
    pub lacp_fallback: bool,
}

impl Default for BondSettings {
    fn default() -> BondSettings {
        BondSettings {
            mode: BondMode::BalanceRr,
            miimon: 100,
            updelay: 0,
            downdelay: 0,
            arp_interval: 0,
            arp_ip_target: Vec::new(),
            ns_ip6_target: Vec::new(),
            arp_source: None,
            arp_validate: ArpValidate::None,
            arp_all_targets: ArpAllTargets::Any,
            missed_max: 2,
            primary: None,
            primary_reselect: PrimaryReselect::Always,
            fail_over_mac: FailOverMac::None,
            num_grat_arp: 1,
            peer_notif_delay: 0,
            resend_igmp: 1,
            all_slaves_active: false,
            min_links: 0,
            lp_interval: 1,
            packets_per_slave: 1,
            tlb_dynamic_lb: true,
            xmit_hash_policy: XmitHashPolicy::Layer2,
            tx_balancing_interval: 0,
            lacp_rate: LacpRate::Slow,
            lacp_active: true,
            ad_select: AdSelect::Stable,
            ad_actor_sys_prio: 65535,
            ad_actor_system: None,
            ad_user_port_key: 0,
            lacp_fallback: false,
        }
    }
}

/// What one member is told and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// Name, as `primary` gives it and logs show it.
    pub name: String,
    /// The device's own MAC address, before any bond changed it.
    pub mac: MacAddr,
    /// Preference as active member; the highest wins.
    pub prio: i32,
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The option.
    pub option: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

impl BondSettings {
    /// Everything that is wrong with the settings by themselves; the name in `primary` is not looked up.
    pub fn check(&self) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, option: &'static str, message: String, help: &'static str| {
            if wrong {
                problems.push(SettingsProblem { option, message, help });
            }
        };
        let mode = self.mode;
        let not_in = |what: &str| format!("{what} is not possible in mode {mode}");

        let unmonitored = self.miimon == 0 && self.arp_interval == 0;
        refuse(unmonitored, "miimon", "no link monitor: a dead member would lose frames".into(), "set miimon or arp_interval");
        let both = self.miimon != 0 && self.arp_interval != 0;
        refuse(both, "arp_interval", "two link monitors at once".into(), "set miimon to 0, or leave out arp_interval");
        for (option, delay) in [("updelay", self.updelay), ("downdelay", self.downdelay)] {
            refuse(delay != 0 && self.miimon == 0, option, format!("{option} needs miimon"), "the ARP monitor has no delays; leave it out");
        }
        let arp_mode = !mode.is_lb() && mode != BondMode::Ieee8023ad;
        refuse(self.arp_interval != 0 && !arp_mode, "arp_interval", not_in("the ARP monitor"), "use miimon");
        let targets = self.arp_ip_target.len() + self.ns_ip6_target.len();
        refuse(self.arp_interval != 0 && targets == 0, "arp_interval", "no target to probe".into(), "set arp_ip_target or ns_ip6_target");
        let unused = self.arp_interval == 0;
        refuse(unused && !self.arp_ip_target.is_empty(), "arp_ip_target", "targets without ARP monitor".into(), "set arp_interval");
        refuse(unused && !self.ns_ip6_target.is_empty(), "ns_ip6_target", "targets without ARP monitor".into(), "set arp_interval");
        refuse(
            unused && self.arp_validate != ArpValidate::None,
            "arp_validate",
            "arp_validate without ARP monitor".into(),
            "set arp_interval",
        );
        for (option, count) in [("arp_ip_target", self.arp_ip_target.len()), ("ns_ip6_target", self.ns_ip6_target.len())] {
            refuse(count > TARGETS_MAX, option, format!("{count} targets, at most {TARGETS_MAX} are possible"), "remove some");
        }
        for (i, target) in self.arp_ip_target.iter().enumerate() {
            let bad = target.is_unspecified() || target.is_broadcast() || target.is_multicast();
            refuse(bad, "arp_ip_target", format!("{target} is not the address of a host"), "name a host that answers ARP");
            refuse(self.arp_ip_target[..i].contains(target), "arp_ip_target", format!("{target} is named twice"), "remove one");
        }
        for (i, target) in self.ns_ip6_target.iter().enumerate() {
            let bad = target.is_unspecified() || target.is_multicast() || target.is_loopback();
            refuse(
                bad,
                "ns_ip6_target",
                format!("{target} is not the address of a host"),
                "name a host that answers neighbour solicitations",
            );
            refuse(self.ns_ip6_target[..i].contains(target), "ns_ip6_target", format!("{target} is named twice"), "remove one");
        }
        refuse(self.missed_max == 0, "missed_max", "missed_max is 0".into(), "1 to 255");

        refuse(
            self.primary.is_some() && !mode.uses_primary() && !self.lacp_fallback,
            "primary",
            not_in("a primary member"),
            "leave it out",
        );
        let mac_mode = mode == BondMode::ActiveBackup || self.fail_over_mac == FailOverMac::None;
        refuse(!mac_mode, "fail_over_mac", not_in("fail_over_mac"), "leave it out, or use active-backup");
        refuse(self.peer_notif_delay > 300_000, "peer_notif_delay", "more than 300000 ms".into(), "0 to 300000");
        let grain = if self.miimon == 0 { self.arp_interval } else { self.miimon };
        let uneven = grain != 0 && !self.peer_notif_delay.is_multiple_of(grain);
        refuse(uneven, "peer_notif_delay", format!("not a multiple of the monitor's interval of {grain} ms"), "use a multiple");
        refuse(usize::from(self.min_links) > MEMBERS_MAX, "min_links", format!("a bond has at most {MEMBERS_MAX} members"), "lower it");
        refuse(self.lp_interval == 0 || self.lp_interval > i32::MAX as u32, "lp_interval", "out of range".into(), "1 to 2147483647");
        refuse(
            self.packets_per_slave != 1 && mode != BondMode::BalanceRr,
            "packets_per_slave",
            not_in("packets_per_slave"),
            "leave it out",
        );
        refuse(!self.tlb_dynamic_lb && mode != BondMode::BalanceTlb, "tlb_dynamic_lb", not_in("tlb_dynamic_lb = false"), "leave it out");
        let balancer = self.tx_balancing_interval;
        refuse(balancer != 0 && mode != BondMode::BalanceXor, "tx_balancing_interval", not_in("the tx balancer"), "use balance-xor");
        refuse((1..100).contains(&balancer), "tx_balancing_interval", "less than 100 ms".into(), "100 ms or more");

        let lacp = mode == BondMode::Ieee8023ad;
        refuse(self.lacp_rate != LacpRate::Slow && !lacp, "lacp_rate", not_in("lacp_rate"), "leave it out");
        refuse(!self.lacp_active && !lacp, "lacp_active", not_in("lacp_active"), "leave it out");
        refuse(self.lacp_fallback && !lacp, "lacp_fallback", not_in("lacp_fallback"), "leave it out");
        refuse(self.ad_select != AdSelect::Stable && !lacp, "ad_select", not_in("ad_select"), "leave it out");
        refuse(self.ad_actor_sys_prio != 65535 && !lacp, "ad_actor_sys_prio", not_in("ad_actor_sys_prio"), "leave it out");
        refuse(self.ad_actor_sys_prio == 0, "ad_actor_sys_prio", "ad_actor_sys_prio is 0".into(), "1 to 65535");
        refuse(self.ad_user_port_key != 0 && !lacp, "ad_user_port_key", not_in("ad_user_port_key"), "leave it out");
        refuse(self.ad_user_port_key > 1023, "ad_user_port_key", "more than 1023".into(), "0 to 1023");
        if let Some(system) = self.ad_actor_system {
            refuse(!lacp, "ad_actor_system", not_in("ad_actor_system"), "leave it out");
            let bad = system.is_multicast() || system.is_zero();
            refuse(bad, "ad_actor_system", format!("{system} is not the address of a system"), "use a unicast address");
        }
        problems
    }
}
