//! Each key of `ipv4_neigh` and `ipv6_neigh` by what it changes, from the configuration to the frames.

use proto::router::RouterConfig;
use serde_json::{Value, json};

use super::*;
use crate::config::neigh;

const HOSTS: [&str; 2] = ["192.168.45.3", "2001:db8:1::3"];
const KEYS: [&str; 2] = ["ipv4_neigh", "ipv6_neigh"];

impl Lab {
    /// A settled router with these settings of both families; the interface WAN has none of its own.
    fn with(router: Value, lan: Value) -> Lab {
        let mut lab = Lab::settled();
        let both = |value: Value| KEYS.into_iter().map(|key| (key.to_owned(), value.clone())).collect::<serde_json::Map<_, _>>();
        let mut config = both(router);
        config.insert("interface".into(), json!({ "lan": both(lan), "wan": {} }));
        let config: RouterConfig = serde_json::from_value(config.into()).unwrap();
        let mut interfaces = interfaces();
        for settings in interfaces.values_mut() {
            settings.neigh = neigh::settings(&config, &config.interface[&settings.name]);
        }
        lab.agent.configure(lab.now, RouterSettings { forwarding: true, tables: neigh::tables(&config) }, interfaces, &[]);
        lab
    }

    /// A host of the network that just answered.
    fn known(&mut self, text: &str) -> Key {
        let host = key(LAN, text);
        self.event(Event::Needed(host));
        self.confirm(text);
        assert_eq!(self.state(host), Some(Nud::Reachable));
        self.sent.clear();
        host
    }

    fn confirm(&mut self, text: &str) {
        let octets = if text.contains(':') { advert(HOST_MAC, text, true, true) } else { reply(HOST_MAC, text) };
        self.frame(LAN, &octets);
    }

    /// A known host that is stale.
    fn stale(&mut self, text: &str) -> Key {
        let host = self.known(text);
        while self.state(host) == Some(Nud::Reachable) {
            self.pass(SECOND);
        }
        self.sent.clear();
        host
    }

    /// How long it takes to leave a state.
    fn leaves(&mut self, host: Key, state: Nud) -> Nanos {
        let start = self.now;
        while self.state(host) == Some(state) {
            let next = self.agent.next_deadline().expect("something happens");
            self.run_until(next.max(self.now + 1));
            assert!(self.now < start + 100_000 * SECOND);
        }
        self.now - start
    }
}

#[test]
fn the_defaults_are_those_of_linux() {
    let config = RouterConfig::default();
    let [arp, nd] = neigh::settings(&config, &Default::default());
    assert_eq!((arp, nd), (NeighbourSettings::ARP, NeighbourSettings::ND));
    assert_eq!((arp.locktime, nd.locktime, arp.proxy_delay), (SECOND, 0, 800_000_000));
    assert_eq!(neigh::tables(&config), ROUTER.tables);
    let [v4, v6] = neigh::waiting(&config, &Default::default());
    assert_eq!((v4, v6, v4.octets, v4.timeout), (Default::default(), Default::default(), 212_992, 5 * SECOND));
}

/// Those of the router hold behind each interface that has none of its own, and those of one family for that only.
#[test]
fn an_interface_has_its_own() {
    let config: RouterConfig = serde_json::from_value(json!({
        "ipv4_neigh": { "ucast_solicit": 7, "retrans_time": "2s", "unres_qlen_bytes": 4096 },
        "interface": { "lan": { "ipv4_neigh": { "ucast_solicit": 1 }, "ipv6_neigh": { "retrans_time": "20ms" } } },
    }))
    .unwrap();
    let [arp, nd] = neigh::settings(&config, &config.interface["lan"]);
    assert_eq!((arp.ucast_solicit, arp.retrans_time, arp.mcast_solicit), (1, 2 * SECOND, 3));
    assert_eq!((nd.ucast_solicit, nd.retrans_time), (3, 20_000_000));
    let [v4, v6] = neigh::waiting(&config, &config.interface["lan"]);
    // Three probes of two seconds each, and two for control to say that nobody answered.
    assert_eq!((v4.octets, v4.timeout, v6.octets, v6.timeout), (4096, 8 * SECOND, 212_992, 5 * SECOND));
}

#[test]
fn base_reachable_time() {
    for host in HOSTS {
        let mut lab = Lab::with(json!({ "base_reachable_time": "10s" }), json!({}));
        for _ in 0..20 {
            let host_key = lab.known(host);
            let span = lab.leaves(host_key, Nud::Reachable);
            assert!((5 * SECOND..15 * SECOND).contains(&span), "{span}");
            lab.agent.remove(&host_key);
        }
    }
}

#[test]
fn delay_first_probe_time_and_retrans_time() {
    for host in HOSTS {
        let mut lab = Lab::with(json!({ "delay_first_probe_time": "2s" }), json!({ "retrans_time": "300ms" }));
        let host = lab.stale(host);
        lab.event(Event::Used(host));
        assert_eq!(lab.leaves(host, Nud::Delay), 2 * SECOND);
        assert_eq!(lab.leaves(host, Nud::Probe), 900_000_000);
        assert_eq!(lab.leaves(host, Nud::Failed), 300_000_000);
    }
}

#[test]
fn ucast_solicit_and_mcast_resolicit() {
    for (host, broadcast) in HOSTS.into_iter().zip([0xff, 0x33]) {
        for (ucast, again) in [(1, 0), (5, 0), (2, 2), (0, 1), (0, 0)] {
            let mut lab = Lab::with(json!({ "ucast_solicit": ucast, "mcast_resolicit": again }), json!({}));
            let host = lab.stale(host);
            lab.event(Event::Used(host));
            lab.leaves(host, Nud::Delay);
            lab.leaves(host, Nud::Probe);
            assert_eq!(lab.state(host), Some(Nud::Failed));
            let first: Vec<u8> = lab.take_sent().iter().map(|(_, octets)| octets[0]).collect();
            let expected = [vec![HOST_MAC.0[0]; ucast], vec![broadcast; again]].concat();
            assert_eq!(first, expected, "{ucast} {again}");
        }
    }
}

#[test]
fn mcast_solicit() {
    for host in HOSTS {
        for count in [1, 4] {
            let mut lab = Lab::with(json!({}), json!({ "mcast_solicit": count }));
            let host = key(LAN, host);
            lab.event(Event::Needed(host));
            assert_eq!(lab.leaves(host, Nud::Incomplete), count * SECOND);
            assert_eq!((lab.take_sent().len(), lab.state(host)), (count as usize, Some(Nud::Failed)));
        }
        // None: nobody is asked for, but those who speak first are known.
        let mut lab = Lab::with(json!({ "mcast_solicit": 0 }), json!({}));
        let silent = key(LAN, host);
        lab.event(Event::Needed(silent));
        assert_eq!((lab.take_sent().len(), lab.state(silent)), (0, Some(Nud::Failed)));
        assert_eq!(lab.agent.publication().unwrap()[0].mac, None, "senders are told");
    }
}

#[test]
fn gc_stale_time_and_gc_thresh1() {
    for host in HOSTS {
        let mut lab = Lab::with(json!({ "gc_stale_time": "10s", "gc_thresh1": 0 }), json!({}));
        let host_key = lab.stale(host);
        assert!(lab.leaves(host_key, Nud::Stale) <= 10 * SECOND, "one second of it has passed");
        assert_eq!(lab.state(host_key), None);
        // As many as the threshold stay for ever.
        let mut lab = Lab::with(json!({ "gc_stale_time": "10s", "gc_thresh1": 1 }), json!({}));
        let host_key = lab.stale(host);
        lab.pass(1000 * SECOND);
        assert_eq!(lab.state(host_key), Some(Nud::Stale));
    }
}

/// Fills the table of a family with neighbours that nobody uses.
fn fill(lab: &mut Lab, v6: bool, count: u32) {
    for i in 0..count {
        let host = if v6 { format!("2001:db8:1::1:{i:x}") } else { format!("192.168.45.{}", i + 10) };
        lab.known(&host);
    }
}

#[test]
fn gc_thresh2() {
    for v6 in [false, true] {
        let mut lab = Lab::with(json!({ "gc_thresh1": 200, "gc_thresh2": 20, "gc_thresh3": 100 }), json!({}));
        fill(&mut lab, v6, 60);
        assert_eq!(lab.agent.neighbours().count(), 60, "all in use");
        lab.pass(60 * SECOND);
        assert_eq!(lab.agent.neighbours().count(), 60, "nobody needs room");
        lab.known(HOSTS[usize::from(v6)]);
        assert_eq!(lab.agent.neighbours().count(), 21);
        // Not again within five seconds.
        fill(&mut lab, v6, 30);
        assert!(lab.agent.neighbours().count() > 21);
    }
}

#[test]
fn gc_thresh3() {
    for v6 in [false, true] {
        let mut lab = Lab::with(json!({ "gc_thresh2": 200, "gc_thresh3": 40 }), json!({}));
        fill(&mut lab, v6, 40);
        lab.event(Event::Needed(key(LAN, HOSTS[usize::from(v6)])));
        assert_eq!((lab.agent.neighbours().count(), lab.agent.table_full()), (40, 1), "all are in use");
        assert!(lab.warnings[0].contains("40 entries") && lab.warnings[0].contains("gc_thresh3"));
    }
}

/// A table that may be large does not take a look at each of its entries for each newcomer.
#[test]
fn a_large_table_makes_room_for_several_at_once() {
    let most = 8192;
    let mut lab = Lab::with(json!({ "gc_thresh2": most, "gc_thresh3": most }), json!({}));
    for i in 0..most + 1 {
        lab.event(Event::Needed(key(LAN, &format!("2001:db8:1::1:{i:x}"))));
    }
    assert_eq!(lab.agent.neighbours().count(), most + 1 - most / 1024);
    lab.pass(10 * SECOND);
    assert_eq!(lab.agent.neighbours().count(), 0, "nobody answered");
}

/// Neighbours with a fixed MAC address take no room from others.
#[test]
fn permanent_neighbours_do_not_count() {
    let mut lab = Lab::with(json!({ "gc_thresh3": 2 }), json!({}));
    let fixed: Vec<(Key, MacAddr)> = (10..20).map(|i| (key(LAN, &format!("192.168.45.{i}")), HOST_MAC)).collect();
    lab.agent.configure(lab.now, RouterSettings { tables: lab.agent.settings.tables, ..ROUTER }, interfaces(), &fixed);
    lab.known("192.168.45.3");
    lab.known("192.168.45.4");
    assert_eq!(lab.agent.neighbours().count(), 12);
    lab.event(Event::Needed(key(LAN, "192.168.45.5")));
    assert_eq!(lab.state(key(LAN, "192.168.45.5")), None);
    // One that becomes fixed makes room.
    let more = [fixed, vec![(key(LAN, "192.168.45.3"), HOST_MAC)]].concat();
    lab.agent.configure(lab.now, RouterSettings { tables: lab.agent.settings.tables, ..ROUTER }, interfaces(), &more);
    lab.event(Event::Needed(key(LAN, "192.168.45.5")));
    assert_eq!(lab.state(key(LAN, "192.168.45.5")), Some(Nud::Incomplete));
}

#[test]
fn locktime() {
    for (time, changes) in [("0s", true), ("1s", false), ("3s", false)] {
        let mut lab = Lab::settled();
        let config: RouterConfig = serde_json::from_value(json!({ "ipv4_neigh": { "locktime": time } })).unwrap();
        let mut interfaces = interfaces();
        interfaces.get_mut(&LAN).unwrap().neigh = neigh::settings(&config, &Default::default());
        lab.agent.configure(lab.now, ROUTER, interfaces, &[]);
        let host = lab.known(HOSTS[0]);
        lab.frame(LAN, &reply(OTHER_MAC, HOSTS[0]));
        assert_eq!(lab.mac(host) == Some(OTHER_MAC), changes, "{time}");
        lab.pass(2 * SECOND);
        lab.frame(LAN, &reply(OTHER_MAC, HOSTS[0]));
        assert_eq!(lab.mac(host) == Some(OTHER_MAC), time != "3s");
    }
}

#[test]
fn proxy_delay_and_proxy_qlen() {
    let asks: [fn(u8) -> Vec<u8>; 2] = [
        |i| request(HOST_MAC, &format!("192.168.45.{i}"), "203.0.113.77"),
        |i| frames::neighbour_solicitation(HOST_MAC, ip6(&format!("2001:db8:1::{i:x}")), ip6("2001:db8:2::5"), None),
    ];
    for ask in asks {
        for (delay, qlen, answers) in [("0s", 0, 20), ("5s", 64, 20), ("5s", 4, 4), ("5s", 0, 0)] {
            let mut lab = Lab::with(json!({}), json!({ "proxy_delay": delay, "proxy_qlen": qlen }));
            let mut interfaces = lab.agent.interfaces.clone();
            let lan = interfaces.get_mut(&LAN).unwrap();
            lan.proxy_arp = true;
            lan.proxy_ndp.insert(ip6("2001:db8:2::5").into());
            lab.agent.configure(lab.now, ROUTER, interfaces, &[]);
            let octets: Vec<Vec<u8>> = (10..30).map(ask).collect();
            octets.iter().for_each(|octets| drop(lab.frame(LAN, octets)));
            let start = lab.now;
            lab.pass(0);
            let at_once = lab.take_sent().len();
            lab.pass(5 * SECOND);
            let later = lab.take_sent().len();
            assert_eq!(at_once + later, answers, "{delay} {qlen}");
            assert!(if delay == "0s" { later == 0 } else { at_once <= 1 }, "{delay} {qlen}: {at_once} at {start}");
        }
    }
}
