//! `docs/json.md` names every field that `--json` prints, in the section of its command, and no other.
//!
//! The values are written out in full: a new field does not compile until it is here, and fails until it is documented.

use std::collections::{BTreeMap, BTreeSet};

use proto::api::{DropInfo, Event, FdbInfo, Link, PortInfo, StatusInfo, SwitchInfo, VhostUserInfo, VlanInfo, WorkerInfo};
use proto::bond::{BondConfig, BondMode, MemberConfig, XmitHashPolicy};
use proto::bond_status::{ArpTarget, BondInfo, BondLacp, BondOptions, ExplainBondReply, LacpEnd, MemberInfo, MemberLacp};
use proto::config::{PollMode, PortConfig, PortKind, SwitchConfig};
use proto::conntrack::{ConntrackStats, ExpectationInfo, FlowInfo, FlowTuple, IpFamily};
use proto::router::{ForwardConfig, ForwardProtocol, InterfaceConfig, Ports, RouteKind, RouterConfig};
use proto::router_api::{ForwardInfo, InterfaceInfo, NeighborInfo, RouteInfo, RouterInfo};
use serde::Serialize;

/// The fields of a value; of an optional one it has to be there.
fn fields(value: &impl Serialize) -> BTreeSet<String> {
    serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
}

/// The section of the document under a heading.
fn section(title: &str) -> &'static str {
    let text = include_str!("../../docs/json.md");
    let start = text.find(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    let section = &text[start + 4..];
    &section[..section.find("\n## ").unwrap_or(section.len())]
}

/// What the table of a section has in its first column.
fn documented(title: &str) -> BTreeSet<String> {
    let names = section(title).lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_list_is_documented_field_by_field() {
    let text = || "x".to_owned();
    let mac = wire::MacAddr([2, 0, 0, 0, 0, 1]);
    let switch = SwitchInfo {
        name: text(),
        config: SwitchConfig::default(),
        ports: vec![],
        fdb_entries: 0,
        fdb_learned: 0,
        fdb_moved: 0,
        fdb_expired: 0,
        fdb_evicted: 0,
        fdb_limited: 0,
        fdb_refused: 0,
    };
    assert_eq!(fields(&switch), documented("show switches"));
    let port = PortInfo {
        name: text(),
        switch: Some(text()),
        kind: PortKind::Tap,
        link: Link::Lost,
        problem: Some(text()),
        vhost_user: Some(VhostUserInfo::default()),
        interface: Some(text()),
        netns: Some(text()),
        mac: Some(mac),
        mtu: 1500,
        vlan: text(),
        fdb_entries: 0,
        rx_packets: 0,
        rx_bytes: 0,
        tx_packets: 0,
        tx_bytes: 0,
        copies: 0,
        rx_errors: 0,
        drops: BTreeMap::new(),
        config: PortConfig::new("x"),
    };
    assert_eq!(fields(&port), documented("show ports"));
    assert_eq!(fields(&VhostUserInfo::default()), documented("show ports, `vhost_user`"));
    let entry = FdbInfo { switch: text(), vlan: 0, mac, port: text(), age_ms: 0, is_static: false, sticky: false, local: false };
    assert_eq!(fields(&entry), documented("show fdb"));
    let vlan = VlanInfo { switch: text(), vlan: 0, untagged: vec![], tagged: vec![] };
    assert_eq!(fields(&vlan), documented("show vlans"));
    let drop = DropInfo { port: text(), switch: Some(text()), reason: text(), side: text(), count: 0, description: text() };
    assert_eq!(fields(&drop), documented("show drops"));
    let worker = WorkerInfo { worker: 0, core: None, ports: vec![], turns: 0, bursts: 0, frames: 0, on_path: 0, sleeps: 0, awake_ms: 0 };
    assert_eq!(fields(&worker), documented("show workers"));
    let status = StatusInfo {
        version: text(),
        pid: 0,
        uptime_s: 0,
        generation: 0,
        state_dir: text(),
        poll: PollMode::Adaptive,
        workers: 0,
        switches: 0,
        routers: 0,
        ports: 0,
        ports_down: 0,
        memory_bytes: 0,
        open_fds: 0,
        max_fds: 0,
        problems: vec![],
    };
    assert_eq!(fields(&status), documented("status"));
}

#[test]
fn routers_are_documented_field_by_field() {
    let text = || "x".to_owned();
    let mac = wire::MacAddr([2, 0, 0, 0, 0, 1]);
    let config = RouterConfig::default();
    let router = RouterInfo { name: text(), forwarding: true, interfaces: vec![], routes: 0, forwards: 0, rules: 0, config };
    assert_eq!(fields(&router), documented("show routers"));
    let interface = InterfaceInfo {
        router: text(),
        name: text(),
        link: Link::Up,
        switch: Some(text()),
        port: Some(text()),
        vlan: 0,
        mac,
        mtu: 1500,
        addresses: vec![],
        rx_packets: 0,
        rx_bytes: 0,
        tx_packets: 0,
        tx_bytes: 0,
        drops: BTreeMap::new(),
        config: InterfaceConfig::default(),
    };
    assert_eq!(fields(&interface), documented("show interfaces"));
    let route = RouteInfo {
        router: text(),
        to: "10.0.0.0/8".parse().unwrap(),
        via: "10.0.0.1".parse().ok(),
        dev: Some(text()),
        kind: RouteKind::Unicast,
        metric: 0,
        protocol: text(),
    };
    assert_eq!(fields(&route), documented("show routes"));
    let neighbor = NeighborInfo {
        router: text(),
        dev: text(),
        address: "10.0.0.1".parse().unwrap(),
        lladdr: Some(mac),
        state: text(),
        is_router: true,
        used_ms: 0,
        confirmed_ms: 0,
        updated_ms: 0,
    };
    assert_eq!(fields(&neighbor), documented("show neighbors"));
    let forward = ForwardConfig {
        protocol: ForwardProtocol::Tcp,
        port: Ports { first: 80, last: 80 },
        to: "10.0.0.5:80".parse().unwrap(),
        address: "192.0.2.1".parse().ok(),
        syn_proxy: true,
    };
    assert_eq!(fields(&ForwardInfo { router: text(), forward, packets: 0, bytes: 0 }), documented("show forwards"));
}

#[test]
fn bonds_are_documented_field_by_field() {
    let text = || "x".to_owned();
    let mac = wire::MacAddr([2, 0, 0, 0, 0, 1]);
    let end = || LacpEnd { system_priority: 0, system: mac, key: 0, port_priority: 0, port: 0, state: vec![] };
    let lacp = MemberLacp {
        ad_aggregator_id: None,
        receive: text(),
        mux: text(),
        actor: end(),
        partner: end(),
        actor_churn: text(),
        partner_churn: text(),
        actor_churned: 0,
        partner_churned: 0,
        lacpdu_tx: 0,
        lacpdu_rx: 0,
        marker_tx: 0,
        marker_rx: 0,
        lacpdu_unknown: 0,
        marker_unknown: 0,
    };
    assert_eq!(fields(&end()), documented("show bonds, an end of a link"));
    assert_eq!(fields(&lacp), documented("show bonds, LACP of a member"));
    let member = MemberInfo {
        name: text(),
        state: text(),
        mii_status: text(),
        since_ms: 0,
        reason: text(),
        carrier: true,
        link: Link::Lost,
        problem: Some(text()),
        receives: true,
        speed: None,
        duplex: text(),
        link_failure_count: 0,
        perm_hwaddr: mac,
        mac,
        slot: 0,
        interface: Some(text()),
        rx_packets: 0,
        rx_bytes: 0,
        tx_packets: 0,
        tx_bytes: 0,
        arp_targets: vec![ArpTarget { target: "10.0.0.1".parse().unwrap(), answered_ms: None }],
        lacp: Some(lacp),
        config: MemberConfig::default(),
    };
    assert_eq!(fields(&member), documented("show bonds, a member"));
    let ad = BondLacp { ad_aggregator: None, ad_num_ports: 0, ad_actor_key: 0, ad_partner_key: 0, ad_partner_mac: mac, fallback: false };
    assert_eq!(fields(&ad), documented("show bonds, LACP"));
    let bond = BondInfo {
        name: text(),
        switch: Some(text()),
        link: Link::Up,
        mac: None,
        options: BondOptions::new(&BondConfig::default(), None),
        active_since_ms: 0,
        active_reason: text(),
        failovers: 0,
        lacp: Some(ad),
        members: vec![member],
    };
    assert_eq!(fields(&bond), documented("show bonds"));
    let explanation = ExplainBondReply {
        mode: BondMode::BalanceXor,
        hash: Some(0),
        xmit_hash_policy: Some(XmitHashPolicy::Layer2),
        bucket: Some(0),
        usable: vec![],
        members: vec![],
        reason: text(),
    };
    assert_eq!(fields(&explanation), documented("bond-explain"));
}

#[test]
fn tracked_connections_are_documented_field_by_field() {
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    let tuple = FlowTuple {
        src: address,
        dst: address,
        sport: Some(1),
        dport: Some(1),
        icmp_type: Some(1),
        icmp_code: Some(1),
        icmp_id: Some(1),
        packets: Some(1),
        bytes: Some(1),
    };
    assert_eq!(fields(&tuple), documented("conntrack, one direction"));
    let flow = FlowInfo {
        id: 1,
        router: Some(String::new()),
        zone: 0,
        family: IpFamily::Ipv4,
        protocol: 6,
        protocol_name: String::new(),
        timeout: 0,
        state: Some(String::new()),
        original: tuple.clone(),
        reply: tuple.clone(),
        status: vec![],
        mark: 0,
        helper: Some(String::new()),
        port: Some(String::new()),
    };
    assert_eq!(fields(&flow), documented("conntrack, a flow"));
    let expectation = ExpectationInfo {
        router: Some(String::new()),
        zone: 0,
        protocol: 6,
        timeout: 0,
        tuple: tuple.clone(),
        any_source_port: true,
        master: tuple,
        helper: Some(String::new()),
    };
    assert_eq!(fields(&expectation), documented("conntrack, an expectation"));
    assert_eq!(fields(&ConntrackStats::default()), documented("conntrack, counters"));
}

#[test]
fn every_event_is_documented_field_by_field() {
    let text = || "x".to_owned();
    let mac = wire::MacAddr([2, 0, 0, 0, 0, 1]);
    let events = [
        Event::ConfigChanged { generation: 0, changes: vec![] },
        Event::Link { port: text(), link: Link::Up, problem: Some(text()) },
        Event::FdbLearned { switch: text(), vlan: 0, mac, port: text() },
        Event::FdbMoved { switch: text(), vlan: 0, mac, port: text() },
        Event::Bond { bond: text(), member: Some(text()), transition: text(), reason: text() },
        Event::Lost { count: 0 },
    ];
    let mut known = BTreeSet::from(["event".to_owned()]);
    for event in &events {
        let name = serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned();
        let row = section("monitor").lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap_or_else(|| panic!("no {name}"));
        for field in fields(event) {
            assert!(field == "event" || row.contains(&format!("`{field}`")), "{name}: {field}");
        }
        known.insert(name);
    }
    // A new kind of event does not compile until it is here.
    match &events[0] {
        Event::ConfigChanged { .. }
        | Event::Link { .. }
        | Event::FdbLearned { .. }
        | Event::FdbMoved { .. }
        | Event::Bond { .. }
        | Event::Lost { .. } => {}
    }
    assert_eq!(documented("monitor"), known);
}
