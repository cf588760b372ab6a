//! The rules of a bond: what the Linux bonding driver refuses is refused here, with the reason.
//!
//! Source: `bond_opts` and the setters in Linux `drivers/net/bonding/bond_options.c`, `bond_check_params` in
//! `bond_main.c`. Where the driver would change another option silently (such as `miimon` when `arp_interval` is set), or
//! keep an option that does nothing in the mode, the combination is refused instead.

use proto::bond::{AdSelect, ArpAllTargets, ArpValidate, BondConfig, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy};
use proto::config::{PortConfig, PortKind};

use super::problem::{Problem, Subject};
use super::validate::{self, NAME_HELP, is_name, kind_name};
use crate::bond::{self, BondSettings, MEMBERS_MAX};

/// Longest time of an option, milliseconds (Linux `INT_MAX`).
pub const TIME_MAX: u32 = i32::MAX as u32;

/// The options of a bond port; the defaults when it names none.
pub fn options(port: &PortConfig) -> BondConfig {
    port.bond.clone().unwrap_or_default()
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
    check_options(name, port, &options(port), problems);
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

/// Checks the options of a bond: those that concern one value here, combinations by [`BondSettings::check`].
fn check_options(name: &str, port: &PortConfig, options: &BondConfig, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, message: String, help: &str| {
        problems.push(Problem::new(Subject::Bond(name.to_owned()), message).at(key).help(help));
    };
    let times = [
        ("miimon", options.miimon.unwrap_or(0)),
        ("updelay", options.updelay),
        ("downdelay", options.downdelay),
        ("arp_interval", options.arp_interval),
        ("tx_balancing_interval", options.tx_balancing_interval),
    ];
    for (key, value) in times.into_iter().filter(|(_, value)| *value > TIME_MAX) {
        wrong(key, format!("{value} ms"), &format!("0 to {TIME_MAX} ms"));
    }
    if !options.use_carrier {
        let help = "remove it; the kernel reports carriers by event, and newer ones take only 1, too";
        wrong("use_carrier", "only 1 is possible".to_owned(), help);
    }
    if let (Some(arp), Some(na)) = (options.num_grat_arp, options.num_unsol_na)
        && arp != na
    {
        wrong("num_unsol_na", format!("{na}, and num_grat_arp is {arp}"), "they are one option under two names; give one of them");
    }
    if let Some(primary) = options.primary.as_ref().filter(|primary| !port.member.contains_key(*primary)) {
        let help = match port.member.len() {
            0 => "the bond has no members yet".to_owned(),
            _ => format!("members: {}", port.member.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        let related = Subject::Member(name.to_owned(), primary.clone());
        let problem = Problem::new(Subject::Bond(name.to_owned()), format!("no member {primary:?}"));
        problems.push(problem.at("primary").help(help).related(related));
    }
    problems.extend(
        settings(options)
            .check()
            .into_iter()
            .map(|problem| Problem::new(Subject::Bond(name.to_owned()), problem.message).at(problem.option).help(problem.help)),
    );
}

/// What the bond's agent is told.
pub fn settings(options: &BondConfig) -> BondSettings {
    BondSettings {
        mode: mode(options.mode),
        miimon: options.effective_miimon(),
        updelay: options.updelay,
        downdelay: options.downdelay,
        arp_interval: options.arp_interval,
        arp_ip_target: options.arp_ip_target.clone(),
        ns_ip6_target: options.ns_ip6_target.clone(),
        arp_source: options.arp_source,
        arp_validate: match options.arp_validate {
            ArpValidate::None => bond::ArpValidate::None,
            ArpValidate::Active => bond::ArpValidate::Active,
            ArpValidate::Backup => bond::ArpValidate::Backup,
            ArpValidate::All => bond::ArpValidate::All,
            ArpValidate::Filter => bond::ArpValidate::Filter,
            ArpValidate::FilterActive => bond::ArpValidate::FilterActive,
            ArpValidate::FilterBackup => bond::ArpValidate::FilterBackup,
        },
        arp_all_targets: match options.arp_all_targets {
            ArpAllTargets::Any => bond::ArpAllTargets::Any,
            ArpAllTargets::All => bond::ArpAllTargets::All,
        },
        missed_max: options.missed_max,
        primary: options.primary.clone(),
        primary_reselect: match options.primary_reselect {
            PrimaryReselect::Always => bond::PrimaryReselect::Always,
            PrimaryReselect::Better => bond::PrimaryReselect::Better,
            PrimaryReselect::Failure => bond::PrimaryReselect::Failure,
        },
        fail_over_mac: match options.fail_over_mac {
            FailOverMac::None => bond::FailOverMac::None,
            FailOverMac::Active => bond::FailOverMac::Active,
            FailOverMac::Follow => bond::FailOverMac::Follow,
        },
        num_grat_arp: options.peer_notifications(),
        peer_notif_delay: options.peer_notif_delay,
        resend_igmp: options.resend_igmp,
        all_slaves_active: options.all_slaves_active,
        min_links: options.min_links,
        lp_interval: options.lp_interval,
        packets_per_slave: options.packets_per_slave,
        tlb_dynamic_lb: options.tlb_dynamic_lb,
        xmit_hash_policy: match options.xmit_hash_policy {
            XmitHashPolicy::Layer2 => bond::XmitHashPolicy::Layer2,
            XmitHashPolicy::Layer23 => bond::XmitHashPolicy::Layer23,
            XmitHashPolicy::Layer34 => bond::XmitHashPolicy::Layer34,
            XmitHashPolicy::Encap23 => bond::XmitHashPolicy::Encap23,
            XmitHashPolicy::Encap34 => bond::XmitHashPolicy::Encap34,
            XmitHashPolicy::VlanSrcMac => bond::XmitHashPolicy::VlanSrcmac,
        },
        tx_balancing_interval: options.tx_balancing_interval,
        lacp_rate: match options.lacp_rate {
            LacpRate::Slow => bond::LacpRate::Slow,
            LacpRate::Fast => bond::LacpRate::Fast,
        },
        lacp_active: options.lacp_active,
        ad_select: match options.ad_select {
            AdSelect::Stable => bond::AdSelect::Stable,
            AdSelect::Bandwidth => bond::AdSelect::Bandwidth,
            AdSelect::Count => bond::AdSelect::Count,
        },
        ad_actor_sys_prio: options.ad_actor_sys_prio,
        ad_actor_system: options.ad_actor_system,
        ad_user_port_key: options.ad_user_port_key,
        lacp_fallback: options.lacp_fallback,
    }
}

fn mode(mode: BondMode) -> bond::BondMode {
    match mode {
        BondMode::BalanceRr => bond::BondMode::BalanceRr,
        BondMode::ActiveBackup => bond::BondMode::ActiveBackup,
        BondMode::BalanceXor => bond::BondMode::BalanceXor,
        BondMode::Broadcast => bond::BondMode::Broadcast,
        BondMode::Ieee8023ad => bond::BondMode::Ieee8023ad,
        BondMode::BalanceTlb => bond::BondMode::BalanceTlb,
        BondMode::BalanceAlb => bond::BondMode::BalanceAlb,
        BondMode::Random => bond::BondMode::Random,
    }
}

#[cfg(test)]
mod tests {
    use proto::bond::MemberConfig;
    use proto::config::{Config, SwitchConfig};
    use serde_json::{Value, json};

    use super::*;

    fn problems(options: Value) -> Vec<Problem> {
        let mut config = Config::default();
        config.switch.insert("lan".into(), SwitchConfig::default());
        let mut port = PortConfig { kind: PortKind::Bond, ..PortConfig::new("lan") };
        port.bond = Some(serde_json::from_value(options).unwrap());
        port.member.insert("eth0".into(), MemberConfig::default());
        port.member.insert("eth1".into(), MemberConfig::default());
        config.port.insert("up".into(), port);
        crate::config::validate(&config)
    }

    #[test]
    fn what_the_driver_refuses_is_refused_with_the_reason() {
        let targets = json!(["10.0.0.1"]);
        let cases = [
            (json!({"mode": "802.3ad", "arp_interval": 100, "arp_ip_target": targets}), "arp_interval", "not possible in mode 802.3ad"),
            (
                json!({"mode": "balance-alb", "arp_interval": 100, "arp_ip_target": targets}),
                "arp_interval",
                "not possible in mode balance-alb",
            ),
            (json!({"mode": "balance-tlb", "arp_validate": "all"}), "arp_validate", "without ARP monitor"),
            (json!({"mode": "balance-tlb", "miimon": 0}), "miimon", "no link monitor"),
            (json!({"miimon": 100, "arp_interval": 100, "arp_ip_target": targets}), "arp_interval", "two link monitors"),
            (json!({"arp_interval": 100}), "arp_interval", "no target to probe"),
            (json!({"arp_ip_target": targets}), "arp_ip_target", "targets without ARP monitor"),
            (json!({"mode": "active-backup", "arp_validate": "active"}), "arp_validate", "without ARP monitor"),
            (json!({"arp_interval": 100, "arp_ip_target": targets, "downdelay": 100}), "downdelay", "downdelay needs miimon"),
            (json!({"use_carrier": false}), "use_carrier", "only 1 is possible"),
            (json!({"mode": "balance-xor", "primary": "eth0"}), "primary", "not possible in mode balance-xor"),
            (json!({"mode": "active-backup", "primary": "eth9"}), "primary", "no member \"eth9\" (members: eth0, eth1)"),
            (json!({"mode": "active-backup", "packets_per_slave": 2}), "packets_per_slave", "not possible in mode active-backup"),
            (json!({"mode": "balance-alb", "tlb_dynamic_lb": false}), "tlb_dynamic_lb", "not possible in mode balance-alb"),
            (json!({"mode": "balance-alb", "tx_balancing_interval": 5000}), "tx_balancing_interval", "not possible in mode balance-alb"),
            (json!({"mode": "balance-xor", "fail_over_mac": "active"}), "fail_over_mac", "not possible in mode balance-xor"),
            (json!({"mode": "balance-xor", "lacp_rate": "fast"}), "lacp_rate", "not possible in mode balance-xor"),
            (json!({"mode": "balance-xor", "lacp_active": false}), "lacp_active", "not possible in mode balance-xor"),
            (json!({"mode": "balance-xor", "ad_select": "count"}), "ad_select", "not possible in mode balance-xor"),
            (json!({"mode": "balance-xor", "ad_actor_sys_prio": 1}), "ad_actor_sys_prio", "not possible in mode balance-xor"),
            (json!({"mode": "balance-xor", "ad_user_port_key": 1}), "ad_user_port_key", "not possible in mode balance-xor"),
            (json!({"mode": "balance-xor", "lacp_fallback": true}), "lacp_fallback", "not possible in mode balance-xor"),
            (json!({"mode": "802.3ad", "ad_actor_system": "01:00:00:00:00:01"}), "ad_actor_system", "not the address of a system"),
            (json!({"mode": "802.3ad", "ad_actor_sys_prio": 0}), "ad_actor_sys_prio", "1 to 65535"),
            (json!({"mode": "802.3ad", "ad_user_port_key": 1024}), "ad_user_port_key", "0 to 1023"),
            (json!({"missed_max": 0}), "missed_max", "1 to 255"),
            (json!({"lp_interval": 0}), "lp_interval", "1 to 2147483647"),
            (json!({"min_links": 33}), "min_links", "at most 32 members"),
            (json!({"updelay": 3_000_000_000_u32}), "updelay", "0 to 2147483647 ms"),
            (json!({"peer_notif_delay": 300_100}), "peer_notif_delay", "0 to 300000"),
            (json!({"num_grat_arp": 2, "num_unsol_na": 3}), "num_unsol_na", "one option under two names"),
            (json!({"arp_interval": 100, "arp_ip_target": ["0.0.0.0"]}), "arp_ip_target", "not the address of a host"),
            (json!({"arp_interval": 100, "ns_ip6_target": ["ff02::1"]}), "ns_ip6_target", "not the address of a host"),
            (json!({"arp_interval": 100, "arp_ip_target": ["10.0.0.1", "10.0.0.1"]}), "arp_ip_target", "named twice"),
        ];
        for (options, key, reason) in cases {
            let found = problems(options.clone());
            let texts: Vec<String> = found.iter().map(Problem::to_string).collect();
            assert!(found.len() == 1 && found[0].key.as_deref() == Some(key) && texts[0].contains(reason), "{options}: {texts:?}");
            assert_eq!(found[0].subject, Subject::Bond("up".into()));
        }
    }

    #[test]
    fn what_the_driver_takes_is_taken() {
        for mode in BondMode::NAMES {
            // Taken in every mode, used in some.
            let options = json!({"mode": mode, "miimon": 100, "updelay": 100, "downdelay": 100, "xmit_hash_policy": "layer3+4",
                "min_links": 1, "resend_igmp": 0, "num_grat_arp": 3, "num_unsol_na": 3, "all_slaves_active": true, "lp_interval": 5,
                "primary_reselect": "better", "peer_notif_delay": 200});
            assert_eq!(problems(options), [], "{mode}");
        }
        for options in [
            json!({"mode": "active-backup", "arp_interval": 100, "arp_ip_target": ["10.0.0.1"], "ns_ip6_target": ["fd00::1"],
                "arp_validate": "filter_active", "arp_all_targets": "all", "missed_max": 3, "primary": "eth1", "fail_over_mac": "follow"}),
            json!({"mode": "802.3ad", "lacp_rate": "fast", "lacp_active": false, "ad_select": "bandwidth", "ad_actor_sys_prio": 1,
                "ad_actor_system": "02:00:00:00:00:01", "ad_user_port_key": 1023, "lacp_fallback": true}),
        ] {
            assert_eq!(problems(options), []);
        }
    }

    #[test]
    fn the_agent_gets_the_values_of_the_same_names() {
        for mode in BondMode::NAMES {
            let options: BondConfig = serde_json::from_value(json!({"mode": mode})).unwrap();
            assert_eq!(settings(&options).mode.name(), *mode);
        }
        for policy in XmitHashPolicy::NAMES {
            let options: BondConfig = serde_json::from_value(json!({"xmit_hash_policy": policy})).unwrap();
            assert_eq!(settings(&options).xmit_hash_policy.name(), *policy);
        }
        for validate in ArpValidate::NAMES {
            let options: BondConfig = serde_json::from_value(json!({"arp_validate": validate})).unwrap();
            assert_eq!(settings(&options).arp_validate.name(), *validate);
        }
        assert_eq!(settings(&BondConfig::default()), BondSettings::default());
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
