//! The rules of a bond: what the Linux bonding driver refuses is refused here, with the reason.
//!
//! Source: `bond_opts` and the setters in Linux `drivers/net/bonding/bond_options.c`, `bond_check_params` in
//! `bond_main.c`. An option the driver takes and does not use in some mode is taken here too. Where the driver would
//! change another option silently (such as `miimon` when `arp_interval` is set), the combination is refused instead.

use proto::bond::{ArpValidate, BondConfig, BondMode, LacpRate};
use proto::config::{PortConfig, PortKind};
use wire::MacAddr;

use super::problem::{Problem, Subject};
use super::validate::{self, NAME_HELP, is_name, kind_name};

/// Members of a bond at most.
pub const MEMBERS_MAX: usize = 32;
/// Targets of each kind at most (Linux `BOND_MAX_ARP_TARGETS`, `BOND_MAX_NS_TARGETS`).
pub const TARGETS_MAX: usize = 16;
/// Longest time of an option, milliseconds (Linux `INT_MAX`).
pub const TIME_MAX: u32 = i32::MAX as u32;
/// Longest `peer_notif_delay`, milliseconds.
pub const PEER_NOTIF_DELAY_MAX: u32 = 300_000;
/// Largest `ad_user_port_key`.
pub const USER_PORT_KEY_MAX: u16 = 1023;

/// The options of a bond port; the defaults when it names none.
pub fn options(port: &PortConfig) -> BondConfig {
    port.bond.clone().unwrap_or_default()
}

/// Whether one member is active and can be chosen (Linux `bond_uses_primary`).
pub fn uses_primary(mode: BondMode) -> bool {
    matches!(mode, BondMode::ActiveBackup | BondMode::BalanceTlb | BondMode::BalanceAlb)
}

fn can_monitor_by_arp(mode: BondMode) -> bool {
    !matches!(mode, BondMode::Ieee8023ad | BondMode::BalanceTlb | BondMode::BalanceAlb)
}

/// Checks the tables `bond` and `member` of a port.
pub(super) fn check(name: &str, port: &PortConfig, problems: &mut Vec<Problem>) {
    if port.kind != PortKind::Bond {
        let kind = kind_name(port.kind);
        let mut wrong = |key: &str, what: &str| {
            let message = format!("a {kind} port has no {what}");
            problems.push(Problem::new(Subject::Port(name.to_owned()), message).at(key).help("use kind = \"bond\""));
        };
        if port.bond.is_some() {
            wrong("bond", "bond options");
        }
        if !port.member.is_empty() {
            wrong("member", "members");
        }
        return;
    }
    let options = options(port);
    Bond { name, port, options: &options, problems }.check();
    if port.member.len() > MEMBERS_MAX {
        let message = format!("{} members; a bond has at most {MEMBERS_MAX}", port.member.len());
        problems.push(Problem::new(Subject::Port(name.to_owned()), message).at("member"));
    }
    for (member, settings) in &port.member {
        let subject = Subject::Member(name.to_owned(), member.clone());
        if !is_name(member) {
            problems.push(Problem::new(subject.clone(), "not a valid name").help(NAME_HELP));
        }
        if matches!(settings.kind, PortKind::Nic | PortKind::Tap | PortKind::Sim) {
            if settings.kind == PortKind::Sim && settings.interface.is_some() {
                let message = "a sim member has no interface";
                problems.push(Problem::new(subject.clone(), message).at("interface").help("remove `interface`"));
            }
            validate::device(subject, &settings.device(member, port), problems);
        } else {
            let message = format!("a {} device cannot be a member", kind_name(settings.kind));
            problems.push(Problem::new(subject, message).at("kind").help("nic, tap or sim"));
        }
    }
}

struct Bond<'c, 'p> {
    name: &'c str,
    port: &'c PortConfig,
    options: &'c BondConfig,
    problems: &'p mut Vec<Problem>,
}

impl Bond<'_, '_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>, help: &str) {
        self.problems.push(Problem::new(Subject::Bond(self.name.to_owned()), message).at(key).help(help));
    }

    fn check(&mut self) {
        self.ranges();
        self.modes();
        self.carrier();
        self.targets();
    }

    fn ranges(&mut self) {
        let options = self.options;
        let times = [
            ("miimon", options.miimon.unwrap_or(0), TIME_MAX),
            ("updelay", options.updelay, TIME_MAX),
            ("downdelay", options.downdelay, TIME_MAX),
            ("arp_interval", options.arp_interval, TIME_MAX),
            ("peer_notif_delay", options.peer_notif_delay, PEER_NOTIF_DELAY_MAX),
        ];
        for (key, value, max) in times {
            if value > max {
                self.wrong(key, format!("{value} ms"), &format!("0 to {max} ms"));
            }
        }
        if !options.use_carrier {
            let help = "remove it; carrier comes from the kernel by event, and kernels without MII ioctls take only 1, too";
            self.wrong("use_carrier", "only 1 is supported", help);
        }
        if options.missed_max == 0 {
            self.wrong("missed_max", "0 missed intervals", "1 to 255");
        }
        if !(1..=TIME_MAX).contains(&options.lp_interval) {
            self.wrong("lp_interval", format!("{} s", options.lp_interval), "1 to 2147483647 s");
        }
        if let (Some(arp), Some(na)) = (options.num_grat_arp, options.num_unsol_na)
            && arp != na
        {
            self.wrong("num_unsol_na", format!("{na}, and num_grat_arp {arp}"), "they are one option under two names; give one of them");
        }
        if options.ad_actor_sys_prio == 0 {
            self.wrong("ad_actor_sys_prio", "a priority of 0", "1 to 65535");
        }
        if options.ad_user_port_key > USER_PORT_KEY_MAX {
            self.wrong("ad_user_port_key", format!("a key of {}", options.ad_user_port_key), "0 to 1023");
        }
        if let Some(mac) = options.ad_actor_system.filter(|mac| mac.is_multicast() || *mac == MacAddr::ZERO) {
            self.wrong("ad_actor_system", format!("{mac} is not a unicast address"), "first octet even, and not all zeros");
        }
        if let Some(primary) = options.primary.as_ref().filter(|primary| !self.port.member.contains_key(*primary)) {
            let help = match self.port.member.len() {
                0 => "the bond has no members yet".to_owned(),
                _ => format!("members: {}", self.port.member.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            self.wrong("primary", format!("no member {primary:?}"), &help);
        }
    }

    /// Options the driver refuses outside some modes.
    fn modes(&mut self) {
        let default = BondConfig::default();
        let (options, mode) = (self.options, self.options.mode);
        let ad = mode == BondMode::Ieee8023ad;
        let needs = [
            ("packets_per_slave", options.packets_per_slave != default.packets_per_slave, mode == BondMode::BalanceRr, "balance-rr"),
            (
                "primary",
                options.primary.is_some(),
                uses_primary(mode),
                "active-backup, balance-tlb or balance-alb, where one member is active",
            ),
            ("tlb_dynamic_lb", !options.tlb_dynamic_lb, mode == BondMode::BalanceTlb, "balance-tlb"),
            ("lacp_rate", options.lacp_rate != LacpRate::default(), ad, "802.3ad"),
            ("lacp_active", !options.lacp_active, ad, "802.3ad"),
            ("ad_actor_sys_prio", options.ad_actor_sys_prio != default.ad_actor_sys_prio, ad, "802.3ad"),
            ("ad_actor_system", options.ad_actor_system.is_some(), ad, "802.3ad"),
            ("ad_user_port_key", options.ad_user_port_key != 0, ad, "802.3ad"),
            ("lacp_fallback", options.lacp_fallback, ad, "802.3ad"),
        ];
        for (key, set, fits, modes) in needs {
            if set && !fits {
                self.wrong(key, format!("`{key}` is not an option of mode {mode}"), &format!("it needs mode {modes}"));
            }
        }
        if !can_monitor_by_arp(mode) {
            let help = "this mode needs link monitoring by carrier (miimon); ARP monitoring works with the other modes";
            for (key, set) in [("arp_interval", options.arp_interval != 0), ("arp_validate", options.arp_validate != ArpValidate::None)] {
                if set {
                    self.wrong(key, format!("`{key}` is not an option of mode {mode}"), help);
                }
            }
            if options.miimon == Some(0) {
                self.wrong("miimon", format!("mode {mode} without link monitoring"), "this mode needs miimon; 100 is the default");
            }
        }
    }

    /// What belongs to link monitoring by carrier.
    fn carrier(&mut self) {
        let options = self.options;
        let miimon = options.effective_miimon();
        if miimon != 0 && options.arp_interval != 0 {
            let help = "a bond is monitored by carrier (miimon) or by ARP (arp_interval), not by both";
            self.wrong("arp_interval", format!("arp_interval {} with miimon {miimon}", options.arp_interval), help);
        }
        if miimon == 0 {
            let needs = [("updelay", options.updelay), ("downdelay", options.downdelay), ("peer_notif_delay", options.peer_notif_delay)];
            for (key, value) in needs.into_iter().filter(|(_, value)| *value != 0) {
                self.wrong(key, format!("{key} {value} without miimon"), "it counts in steps of miimon, which is off");
            }
        }
    }

    /// What belongs to link monitoring by ARP.
    fn targets(&mut self) {
        let options = self.options;
        for (key, count) in [("arp_ip_target", options.arp_ip_target.len()), ("ns_ip6_target", options.ns_ip6_target.len())] {
            if count > TARGETS_MAX {
                self.wrong(key, format!("{count} targets"), "at most 16");
            }
        }
        for target in &options.arp_ip_target {
            if target.is_unspecified() || target.is_broadcast() || target.is_multicast() {
                self.wrong("arp_ip_target", format!("{target} is not the address of a host"), "addresses that answer ARP");
            }
        }
        for target in &options.ns_ip6_target {
            if target.is_unspecified() || target.is_multicast() || target.is_loopback() {
                self.wrong("ns_ip6_target", format!("{target} is not the address of a host"), "addresses that answer neighbour discovery");
            }
        }
        let twice = |count: usize, all: usize| count != all;
        let v4: std::collections::BTreeSet<_> = options.arp_ip_target.iter().collect();
        let v6: std::collections::BTreeSet<_> = options.ns_ip6_target.iter().collect();
        if twice(v4.len(), options.arp_ip_target.len()) {
            self.wrong("arp_ip_target", "the same target twice", "each once");
        }
        if twice(v6.len(), options.ns_ip6_target.len()) {
            self.wrong("ns_ip6_target", "the same target twice", "each once");
        }
        if options.arp_interval != 0 && options.arp_ip_target.is_empty() && options.ns_ip6_target.is_empty() {
            self.wrong("arp_interval", "arp_interval without a target", "add arp_ip_target or ns_ip6_target");
        }
        if options.arp_interval == 0 && options.arp_validate != ArpValidate::None && can_monitor_by_arp(options.mode) {
            self.wrong("arp_validate", "arp_validate without arp_interval", "only ARP monitoring validates; set arp_interval");
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::bond::{FailOverMac, MemberConfig};
    use proto::config::{Config, SwitchConfig};
    use serde_json::{Value, json};

    use super::*;

    fn problems(options: Value) -> Vec<String> {
        let mut config = Config::default();
        config.switch.insert("lan".into(), SwitchConfig::default());
        let mut port = PortConfig { kind: PortKind::Bond, ..PortConfig::new("lan") };
        port.bond = Some(serde_json::from_value(options).unwrap());
        port.member.insert("eth0".into(), MemberConfig::default());
        port.member.insert("eth1".into(), MemberConfig::default());
        config.port.insert("up".into(), port);
        crate::config::validate(&config).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn what_the_driver_refuses_is_refused_with_the_reason() {
        let cases = [
            (
                json!({"mode": "802.3ad", "arp_interval": 100, "arp_ip_target": ["10.0.0.1"]}),
                "`arp_interval` is not an option of mode 802.3ad",
            ),
            (json!({"mode": "balance-alb", "arp_interval": 100, "arp_ip_target": ["10.0.0.1"]}), "not an option of mode balance-alb"),
            (json!({"mode": "balance-tlb", "arp_validate": "all"}), "`arp_validate` is not an option of mode balance-tlb"),
            (json!({"mode": "balance-tlb", "miimon": 0}), "without link monitoring"),
            (json!({"miimon": 100, "arp_interval": 100, "arp_ip_target": ["10.0.0.1"]}), "not by both"),
            (json!({"arp_interval": 100}), "arp_interval without a target"),
            (json!({"mode": "active-backup", "arp_validate": "active"}), "arp_validate without arp_interval"),
            (json!({"miimon": 0, "updelay": 100}), "updelay 100 without miimon"),
            (json!({"arp_interval": 100, "arp_ip_target": ["10.0.0.1"], "downdelay": 100}), "downdelay 100 without miimon"),
            (json!({"miimon": 0, "peer_notif_delay": 100}), "peer_notif_delay 100 without miimon"),
            (json!({"use_carrier": false}), "only 1 is supported"),
            (json!({"mode": "balance-xor", "primary": "eth0"}), "`primary` is not an option of mode balance-xor"),
            (json!({"mode": "active-backup", "primary": "eth9"}), "no member \"eth9\" (members: eth0, eth1)"),
            (json!({"mode": "active-backup", "packets_per_slave": 2}), "it needs mode balance-rr"),
            (json!({"mode": "balance-alb", "tlb_dynamic_lb": false}), "it needs mode balance-tlb"),
            (json!({"mode": "balance-xor", "lacp_rate": "fast"}), "it needs mode 802.3ad"),
            (json!({"mode": "balance-xor", "lacp_active": false}), "it needs mode 802.3ad"),
            (json!({"mode": "balance-xor", "ad_actor_sys_prio": 1}), "it needs mode 802.3ad"),
            (json!({"mode": "balance-xor", "ad_user_port_key": 1}), "it needs mode 802.3ad"),
            (json!({"mode": "balance-xor", "lacp_fallback": true}), "it needs mode 802.3ad"),
            (json!({"mode": "802.3ad", "ad_actor_system": "01:00:00:00:00:01"}), "is not a unicast address"),
            (json!({"mode": "802.3ad", "ad_actor_sys_prio": 0}), "1 to 65535"),
            (json!({"mode": "802.3ad", "ad_user_port_key": 1024}), "0 to 1023"),
            (json!({"missed_max": 0}), "1 to 255"),
            (json!({"lp_interval": 0}), "1 to 2147483647 s"),
            (json!({"peer_notif_delay": 300_001}), "0 to 300000 ms"),
            (json!({"num_grat_arp": 2, "num_unsol_na": 3}), "one option under two names"),
            (json!({"arp_interval": 100, "arp_ip_target": ["0.0.0.0"]}), "not the address of a host"),
            (json!({"arp_interval": 100, "ns_ip6_target": ["ff02::1"]}), "not the address of a host"),
            (json!({"arp_interval": 100, "arp_ip_target": ["10.0.0.1", "10.0.0.1"]}), "the same target twice"),
        ];
        for (options, reason) in cases {
            let found = problems(options.clone());
            assert!(found.len() == 1 && found[0].starts_with("port \"up\": bond: ") && found[0].contains(reason), "{options}: {found:?}");
        }
    }

    #[test]
    fn what_the_driver_takes_is_taken() {
        for mode in BondMode::NAMES {
            // Taken in every mode, used in some.
            let options = json!({"mode": mode, "miimon": 100, "updelay": 100, "downdelay": 100, "xmit_hash_policy": "layer3+4", "min_links": 1,
                "resend_igmp": 0, "num_grat_arp": 3, "num_unsol_na": 3, "all_slaves_active": true, "lp_interval": 5, "ad_select": "count",
                "primary_reselect": "better", "fail_over_mac": FailOverMac::Follow, "peer_notif_delay": 200});
            assert_eq!(problems(options), [""; 0], "{mode}");
        }
        assert_eq!(
            problems(json!({"mode": "active-backup", "arp_interval": 100, "arp_ip_target": ["10.0.0.1"],
            "ns_ip6_target": ["fd00::1"], "arp_validate": "filter_active", "arp_all_targets": "all", "missed_max": 3, "primary": "eth1"})),
            [""; 0]
        );
    }

    #[test]
    fn members_are_devices_that_nothing_else_uses() {
        let mut config = Config::default();
        config.switch.insert("lan".into(), SwitchConfig::default());
        let mut port = PortConfig { kind: PortKind::Bond, ..PortConfig::new("lan") };
        port.member.insert("eth0".into(), MemberConfig::default());
        port.member.insert("eth1".into(), MemberConfig { interface: Some("eth0".into()), ..MemberConfig::default() });
        port.member.insert("p".into(), MemberConfig { kind: PortKind::Patch, ..MemberConfig::default() });
        port.member.insert("q".into(), MemberConfig { kind: PortKind::Sim, queues: 2, ..MemberConfig::default() });
        config.port.insert("up".into(), port);
        let nic = PortConfig { kind: PortKind::Nic, interface: Some("eth0".into()), ..PortConfig::new("lan") };
        config.port.insert(
            "a".into(),
            PortConfig { member: [("x".to_owned(), MemberConfig::default())].into(), bond: Some(BondConfig::default()), ..nic },
        );
        let found: Vec<String> = crate::config::validate(&config).iter().map(Problem::to_string).collect();
        assert_eq!(
            found,
            [
                "port \"a\": a nic port has no bond options (use kind = \"bond\")",
                "port \"a\": a nic port has no members (use kind = \"bond\")",
                "port \"up\": member \"p\": a patch device cannot be a member (nic, tap or sim)",
                "port \"up\": member \"q\": a sim port has one queue (remove `queues`)",
                "port \"up\": member \"eth0\": interface \"eth0\" belongs to port \"a\" already (each interface is behind one port)",
                "port \"up\": member \"eth1\": interface \"eth0\" belongs to port \"up\": member \"eth0\" already (each interface is behind one port)",
            ]
        );
    }
}
