//! Refused combinations, each by the name of its option.

use control::bond::{AdSelect, ArpValidate, BondMode, BondSettings, FailOverMac, LacpRate};

use crate::lab::settings;

fn refused(settings: &BondSettings) -> Vec<&'static str> {
    settings.check().into_iter().map(|problem| problem.option).collect()
}

#[test]
fn defaults_are_accepted_in_every_mode() {
    for mode in BondMode::ALL {
        assert_eq!(settings(*mode).check(), [], "{mode}");
    }
}

#[test]
fn each_bad_option_is_named() {
    let base = || settings(BondMode::ActiveBackup);
    let arp = || BondSettings { miimon: 0, arp_interval: 100, arp_ip_target: vec![[10, 0, 0, 1].into()], ..base() };
    assert_eq!(refused(&arp()), [""; 0]);
    let lacp = || settings(BondMode::Ieee8023ad);
    let many = (0..17).map(|i| [10, 0, 0, i + 1].into()).collect::<Vec<std::net::Ipv4Addr>>();
    let cases = [
        ("miimon", BondSettings { miimon: 0, ..base() }),
        ("arp_interval", BondSettings { miimon: 100, ..arp() }),
        ("arp_interval", BondSettings { arp_ip_target: vec![], ..arp() }),
        ("arp_interval", BondSettings { mode: BondMode::Ieee8023ad, ..arp() }),
        ("arp_interval", BondSettings { mode: BondMode::BalanceTlb, ..arp() }),
        ("arp_interval", BondSettings { mode: BondMode::BalanceAlb, ..arp() }),
        ("updelay", BondSettings { updelay: 100, ..arp() }),
        ("downdelay", BondSettings { downdelay: 100, ..arp() }),
        ("arp_ip_target", BondSettings { arp_ip_target: vec![[10, 0, 0, 1].into()], ..base() }),
        ("arp_ip_target", BondSettings { arp_ip_target: vec![[0, 0, 0, 0].into()], ..arp() }),
        ("arp_ip_target", BondSettings { arp_ip_target: vec![[10, 0, 0, 1].into(); 2], ..arp() }),
        ("arp_ip_target", BondSettings { arp_ip_target: many, ..arp() }),
        ("ns_ip6_target", BondSettings { ns_ip6_target: vec!["ff02::1".parse().unwrap()], ..arp() }),
        ("ns_ip6_target", BondSettings { ns_ip6_target: vec!["fe80::1".parse().unwrap()], ..base() }),
        ("arp_validate", BondSettings { arp_validate: ArpValidate::All, ..base() }),
        ("missed_max", BondSettings { missed_max: 0, ..arp() }),
        ("primary", BondSettings { primary: Some("eth0".into()), ..settings(BondMode::BalanceRr) }),
        ("fail_over_mac", BondSettings { fail_over_mac: FailOverMac::Active, ..settings(BondMode::BalanceXor) }),
        ("peer_notif_delay", BondSettings { peer_notif_delay: 150, ..base() }),
        ("peer_notif_delay", BondSettings { peer_notif_delay: 300_100, ..base() }),
        ("min_links", BondSettings { min_links: 33, ..base() }),
        ("lp_interval", BondSettings { lp_interval: 0, ..base() }),
        ("packets_per_slave", BondSettings { packets_per_slave: 2, ..base() }),
        ("tlb_dynamic_lb", BondSettings { tlb_dynamic_lb: false, ..base() }),
        ("tx_balancing_interval", BondSettings { tx_balancing_interval: 5000, ..base() }),
        ("tx_balancing_interval", BondSettings { tx_balancing_interval: 99, ..settings(BondMode::BalanceXor) }),
        ("lacp_rate", BondSettings { lacp_rate: LacpRate::Fast, ..base() }),
        ("lacp_active", BondSettings { lacp_active: false, ..base() }),
        ("lacp_fallback", BondSettings { lacp_fallback: true, ..base() }),
        ("ad_select", BondSettings { ad_select: AdSelect::Count, ..base() }),
        ("ad_actor_sys_prio", BondSettings { ad_actor_sys_prio: 1, ..base() }),
        ("ad_actor_sys_prio", BondSettings { ad_actor_sys_prio: 0, ..lacp() }),
        ("ad_user_port_key", BondSettings { ad_user_port_key: 1, ..base() }),
        ("ad_user_port_key", BondSettings { ad_user_port_key: 1024, ..lacp() }),
        ("ad_actor_system", BondSettings { ad_actor_system: Some(wire::MacAddr([2, 0, 0, 0, 0, 1])), ..base() }),
        ("ad_actor_system", BondSettings { ad_actor_system: Some(wire::MacAddr([1, 0, 0x5e, 0, 0, 1])), ..lacp() }),
    ];
    for (option, settings) in cases {
        assert_eq!(refused(&settings), [option], "{settings:?}");
    }
    let fallback = BondSettings { lacp_fallback: true, primary: Some("eth0".into()), ..lacp() };
    assert_eq!(refused(&fallback), [""; 0], "an active-backup bond while it lasts");
}
