//! A change of the configuration happens wholly or not at all, and keeps what it does not touch.

mod support;

use std::time::Duration;

use control::config::to_toml;
use proto::api::{Event, Link};
use proto::config::{Config, PortConfig, PortKind, SwitchConfig};
use support::{Bench, FakeDevices, FakeStore};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const ALL: &str = "ff:ff:ff:ff:ff:ff";

const TWO: &str = "[switch.lan]\n[port.a]\nswitch = \"lan\"\n[port.b]\nswitch = \"lan\"\n";

/// What an observer can see of a bench; equal before and after a refused change.
fn picture(bench: &Bench) -> (Config, u64, Vec<String>, Vec<(u16, String, String)>, Option<String>) {
    let mut ports = bench.controller.ports(&proto::api::Filter::default());
    ports.iter_mut().for_each(|port| port.rx_errors = 0);
    let ports = ports.iter().map(|port| serde_json::to_string(port).unwrap()).collect();
    let stored = bench.store.0.lock().unwrap().text.clone();
    (bench.controller.config().clone(), bench.controller.generation(), ports, bench.fdb(), stored)
}

fn two_with_traffic() -> Bench {
    let mut bench = Bench::start();
    bench.apply(TWO).unwrap();
    bench.send("a", ALL, A);
    bench.receive("b");
    bench.send("b", A, B);
    bench.receive("a");
    bench.wait_for_fdb(2);
    bench
}

#[test]
fn ports_forward_and_learn_after_a_change() {
    let bench = two_with_traffic();
    assert_eq!(bench.fdb(), [(0, A.to_owned(), "a".to_owned()), (0, B.to_owned(), "b".to_owned())]);
    assert_eq!((bench.port("a").rx_packets, bench.port("a").tx_packets, bench.link("a")), (1, 1, Link::Up));
}

#[test]
fn an_unrelated_change_keeps_devices_counters_and_addresses() {
    let mut bench = two_with_traffic();
    bench.devices.log();
    let before = (bench.fdb(), bench.port("a").rx_packets);
    bench.apply(&format!("{TWO}isolated = true\n[port.c]\nswitch = \"lan\"\n")).unwrap();
    assert_eq!(bench.devices.log(), ["open c"], "no other device was touched");
    assert_eq!((bench.fdb(), bench.port("a").rx_packets), before);
    assert!(bench.port("b").config.isolated);
}

#[test]
fn when_the_nth_device_does_not_open_nothing_happened() {
    for refused in ["c", "d", "e"] {
        let mut bench = two_with_traffic();
        let before = picture(&bench);
        bench.devices.world().refuse.insert(refused.into());
        let ports: String = ["c", "d", "e"].iter().map(|name| format!("[port.{name}]\nswitch = \"lan\"\n")).collect();
        let error = bench.apply(&format!("{TWO}mtu = 9000\n{ports}")).unwrap_err();
        assert_eq!(error, format!("port {refused:?}: open {refused}: Operation not permitted (needs CAP_NET_ADMIN)"));
        assert_eq!(picture(&bench), before);
        assert_eq!(bench.devices.world().netdevs.keys().collect::<Vec<_>>(), ["a", "b"], "what was opened is closed again");
        bench.send("a", ALL, A);
        bench.receive("b");
    }
}

#[test]
fn when_storing_fails_nothing_happened_and_the_cause_is_named() {
    let mut bench = two_with_traffic();
    let before = picture(&bench);
    bench.devices.log();
    bench.store.0.lock().unwrap().fail = Some("store the configuration in /state: No space left on device (make room there)".into());
    let text = format!("{TWO}mtu = 9000\n[port.c]\nswitch = \"lan\"\n[[fdb]]\nswitch = \"lan\"\nmac = \"{A}\"\nport = \"b\"\n");
    assert!(bench.apply(&text).unwrap_err().contains("No space left"));
    assert_eq!(picture(&bench), before);
    let undone = ["open c", "configure b mtu 9000", "configure b mtu 1500", "close c"];
    assert_eq!(bench.devices.log(), undone, "the MTU is set back");
    bench.store.0.lock().unwrap().fail = None;
    bench.apply(&text).unwrap();
    assert_eq!(bench.fdb()[0], (0, A.to_owned(), "b".to_owned()));
}

#[test]
fn an_invalid_configuration_changes_nothing() {
    let mut bench = two_with_traffic();
    let before = picture(&bench);
    let mut config = bench.controller.config().clone();
    config.port.get_mut("a").unwrap().mtu = 1;
    config.port.insert("c".into(), PortConfig::new("none"));
    let error = bench.transact(config).unwrap_err();
    assert!(error.contains("an MTU of 1") && error.contains("no switch \"none\""), "{error}");
    assert_eq!(picture(&bench), before);
}

#[test]
fn mtu_is_changed_in_place_and_queues_by_opening_anew() {
    let mut bench = two_with_traffic();
    bench.devices.log();
    bench.apply(&format!("{TWO}mtu = 9000\n")).unwrap();
    assert_eq!(bench.devices.log(), ["configure b mtu 9000"]);
    bench.apply(&format!("{TWO}mtu = 9000\nqueues = 2\n")).unwrap();
    assert_eq!(bench.devices.log(), ["close b", "open b"], "the netdev must be gone before it is made again");
    assert_eq!((bench.link("b"), bench.port("b").rx_packets), (Link::Up, 1), "the port is the same one");
    bench.send("a", ALL, A);
    bench.receive("b");
}

#[test]
fn a_netdev_moves_between_ports_in_one_change() {
    let mut bench = two_with_traffic();
    bench.devices.log();
    bench.apply("[switch.lan]\n[port.a]\nswitch = \"lan\"\n[port.new]\nswitch = \"lan\"\ninterface = \"b\"\n").unwrap();
    assert_eq!(bench.devices.log(), ["close b", "open b"]);
    assert_eq!(bench.fdb(), [(0, A.to_owned(), "a".to_owned())], "the addresses of the removed port are forgotten");
    bench.send("a", ALL, A);
    bench.receive("new");
}

#[test]
fn a_refused_move_brings_the_former_netdev_back() {
    let mut bench = two_with_traffic();
    bench.devices.world().refuse.insert("new".into());
    let text = "[switch.lan]\n[port.a]\nswitch = \"lan\"\n[port.new]\nswitch = \"lan\"\ninterface = \"b\"\n";
    assert!(bench.apply(text).unwrap_err().contains("port \"new\""));
    assert_eq!(bench.link("b"), Link::Up);
    bench.send("a", ALL, A);
    bench.receive("b");
}

#[test]
fn a_port_moved_to_another_switch_starts_afresh() {
    let mut bench = two_with_traffic();
    bench.apply("[switch.lan]\n[switch.wan]\n[port.a]\nswitch = \"lan\"\n[port.b]\nswitch = \"wan\"\n").unwrap();
    assert_eq!((bench.port("b").rx_packets, bench.link("b")), (0, Link::Up));
    assert_eq!(bench.fdb(), [(0, A.to_owned(), "a".to_owned())]);
}

#[test]
fn a_table_of_another_size_keeps_its_addresses() {
    let mut bench = two_with_traffic();
    let mut config = bench.controller.config().clone();
    config.switch.insert("lan".into(), SwitchConfig { fdb_size: 1024, ..SwitchConfig::default() });
    let before = bench.fdb();
    bench.transact(config).unwrap();
    assert_eq!(bench.fdb(), before);
    assert_eq!(bench.port("a").fdb_entries, 1);
}

#[test]
fn a_changed_vlan_forgets_the_addresses_of_the_port() {
    let mut bench = two_with_traffic();
    bench.apply(&format!("{TWO}access = 10\n")).unwrap();
    assert_eq!(bench.fdb(), [(0, A.to_owned(), "a".to_owned())]);
}

#[test]
fn static_entries_come_move_and_go_with_the_configuration() {
    let mut bench = two_with_traffic();
    let entry = |port: &str| format!("{TWO}[[fdb]]\nswitch = \"lan\"\nmac = \"02:00:00:00:00:77\"\nvlan = 5\nport = \"{port}\"\n");
    let found = |bench: &Bench| bench.fdb().into_iter().find(|(vlan, ..)| *vlan == 5).map(|(.., port)| port);
    bench.apply(&entry("a")).unwrap();
    assert_eq!(found(&bench).as_deref(), Some("a"));
    bench.apply(&entry("b")).unwrap();
    assert_eq!(found(&bench).as_deref(), Some("b"));
    bench.apply(TWO).unwrap();
    assert_eq!(found(&bench), None);
}

#[test]
fn static_entries_that_find_no_room_are_refused_as_a_whole() {
    let mut bench = two_with_traffic();
    let mut config = bench.controller.config().clone();
    config.switch.insert("lan".into(), SwitchConfig { fdb_size: 64, ..SwitchConfig::default() });
    bench.transact(config.clone()).unwrap();
    let before = picture(&bench);
    for n in 0..200u8 {
        let mac = wire::MacAddr([2, 0, 0, 0, 9, n]);
        config.fdb.push(proto::config::FdbConfig { switch: "lan".into(), mac, vlan: 0, port: "a".into() });
    }
    assert!(bench.transact(config).unwrap_err().contains("has no room for it"));
    let after = picture(&bench);
    // Learned addresses may have made room; they are learned again. Nothing else is different.
    assert_eq!((&after.0, after.1, &after.4), (&before.0, before.1, &before.4));
    assert!(after.3.iter().all(|entry| before.3.contains(entry)), "no static entry stays");
}

#[test]
fn a_host_port_has_its_own_address_in_the_table() {
    let mut bench = Bench::start();
    let host = |extra: &str| format!("[switch.lan]\n[port.lan]\nswitch = \"lan\"\nkind = \"host\"\n{extra}");
    bench.apply(&host("")).unwrap();
    assert_eq!(bench.fdb(), [(0, "02:00:00:00:99:99".to_owned(), "lan".to_owned())]);
    bench.apply(&host("trunk = \"10\"\nnative = 5\n")).unwrap();
    assert_eq!(bench.fdb().iter().map(|(vlan, ..)| *vlan).collect::<Vec<_>>(), [5, 10]);
    bench.devices.del_netdev("lan");
    bench.pass(Duration::from_millis(1));
    bench.apply("[switch.lan]\n").unwrap();
    assert!(bench.fdb().is_empty());
}

#[test]
fn patch_ports_are_up_while_both_ends_are() {
    let mut bench = Bench::start();
    let one = "[switch.x]\n[switch.y]\n[port.px]\nswitch = \"x\"\nkind = \"patch\"\npeer = \"py\"\n";
    bench.apply(one).unwrap();
    assert_eq!(bench.link("px"), Link::Down);
    let both =
        format!("{one}[port.py]\nswitch = \"y\"\nkind = \"patch\"\npeer = \"px\"\n[port.a]\nswitch = \"x\"\n[port.b]\nswitch = \"y\"\n");
    bench.apply(&both).unwrap();
    assert_eq!((bench.link("px"), bench.link("py")), (Link::Up, Link::Up));
    bench.send("a", ALL, A);
    bench.receive("b");
    bench.apply(&both.replace("peer = \"px\"\n", "peer = \"px\"\nenabled = false\n")).unwrap();
    assert_eq!((bench.link("px"), bench.link("py")), (Link::Down, Link::Disabled));
}

#[test]
fn the_same_configuration_again_is_no_change() {
    let mut bench = two_with_traffic();
    let generation = bench.controller.generation();
    let changed = bench.apply(TWO).unwrap();
    assert!(changed.changes.is_empty() && changed.generation == generation);
}

#[test]
fn many_ports_come_and_go_without_running_out_of_numbers() {
    let mut bench = Bench::start();
    let mut full = Config::default();
    full.switch.insert("lan".into(), SwitchConfig { fdb_size: 64, ..SwitchConfig::default() });
    for n in 0..200 {
        full.port.insert(format!("p{n}"), PortConfig { kind: PortKind::Sim, ..PortConfig::new("lan") });
    }
    let mut empty = full.clone();
    empty.port.clear();
    for _ in 0..30 {
        bench.transact(full.clone()).unwrap();
        bench.transact(empty.clone()).unwrap();
    }
    assert!(bench.controller.ports(&Default::default()).is_empty());
}

// Restart.

#[test]
fn a_restart_brings_the_configuration_back() {
    let (devices, store) = (FakeDevices::default(), FakeStore::default());
    let mut bench = Bench::start_with(devices.clone(), store.clone(), "").unwrap();
    bench.apply(TWO).unwrap();
    let config = bench.controller.config().clone();
    drop(bench);
    support::eventually("devices close", || devices.world().netdevs.is_empty().then_some(()));
    let bench = Bench::start_with(devices, store, "[switch.other]\n").unwrap();
    assert_eq!(*bench.controller.config(), config, "the store wins over --config");
    assert_eq!((bench.link("a"), bench.controller.generation()), (Link::Up, 0));
}

#[test]
fn a_daemon_killed_after_storing_comes_back_with_the_new_configuration() {
    // Storing is the moment of truth: here everything after it is lost.
    let store = FakeStore::default();
    let new = control::config::load(TWO, "t").unwrap();
    store.0.lock().unwrap().text = Some(to_toml(&new));
    let bench = Bench::start_with(FakeDevices::default(), store, "").unwrap();
    assert_eq!(*bench.controller.config(), new);
    bench.send("a", ALL, A);
    bench.receive("b");
}

#[test]
fn the_initial_configuration_is_used_but_not_stored() {
    let store = FakeStore::default();
    let mut bench = Bench::start_with(FakeDevices::default(), store.clone(), TWO).unwrap();
    assert_eq!(bench.link("a"), Link::Up);
    assert_eq!(store.0.lock().unwrap().text, None);
    bench.apply(&format!("{TWO}isolated = true\n")).unwrap();
    assert!(store.0.lock().unwrap().text.is_some());
}

#[test]
fn a_damaged_store_is_refused_with_the_remedy_and_kept() {
    let store = FakeStore::default();
    store.0.lock().unwrap().text = Some("[switch.lan\nfdb_si".into());
    let error = Bench::start_with(FakeDevices::default(), store.clone(), TWO).err().unwrap();
    assert!(error.contains("/state/config.toml") && error.contains("move it away"), "{error}");
    assert!(store.0.lock().unwrap().text.as_deref().unwrap().starts_with("[switch.lan"));
}

#[test]
fn an_invalid_initial_configuration_is_refused() {
    let error = Bench::start_with(FakeDevices::default(), FakeStore::default(), "[switch.lan]\nhubb = true\n").err().unwrap();
    assert!(error.contains("initial.toml:2:1") && error.contains("did you mean `hub`?"), "{error}");
}

#[test]
fn at_start_a_missing_device_does_not_hold_up_the_others() {
    let devices = FakeDevices::default();
    let text = format!("{TWO}[port.up]\nswitch = \"lan\"\nkind = \"nic\"\ninterface = \"eth0\"\n");
    let mut bench = Bench::start_with(devices.clone(), FakeStore::default(), &text).unwrap();
    assert_eq!(bench.link("up"), Link::Lost);
    assert_eq!(bench.port("up").problem.as_deref(), Some("no interface \"eth0\""));
    let status = bench.controller.status(0);
    assert_eq!((status.ports_down, &status.problems[..]), (1, &["port \"up\": no interface \"eth0\"".to_owned()][..]));
    bench.send("a", ALL, A);
    bench.receive("b");
    devices.add_netdev("eth0");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.link("up"), Link::Up);
    bench.send("up", A, B);
    bench.receive("a");
}

// Devices that come and go.

#[test]
fn a_carrier_that_goes_down_is_shown_and_forgets_addresses() {
    let mut bench = two_with_traffic();
    bench.controller.take_events();
    bench.devices.carrier("a", false);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.link("a"), Link::Down);
    assert_eq!(bench.fdb(), [(0, B.to_owned(), "b".to_owned())]);
    bench.devices.carrier("a", true);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.link("a"), Link::Up);
    let (events, lost) = bench.controller.take_events();
    let link = |link| Event::Link { port: "a".into(), link, problem: None };
    assert_eq!((Vec::from(events), lost), (vec![link(Link::Down), link(Link::Up)], 0));
}

#[test]
fn a_deleted_tap_is_made_again_after_a_second() {
    let mut bench = two_with_traffic();
    bench.pass(Duration::from_secs(1));
    bench.devices.log();
    bench.devices.del_netdev("a");
    bench.controller.poll_devices(dataplane::clock::Clock::now(&bench.clock));
    assert_eq!((bench.link("a"), bench.port("a").problem.as_deref()), (Link::Lost, Some("its interface was deleted")));
    assert_eq!(bench.devices.log(), ["close a"]);
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.devices.log(), [""; 0], "not at once");
    bench.pass(Duration::from_millis(500));
    assert_eq!((bench.devices.log(), bench.link("a")), (vec!["open a".to_owned()], Link::Up));
    assert_eq!(bench.port("a").rx_packets, 1, "the counters go on");
    bench.send("a", ALL, A);
    bench.receive("b");
}

#[test]
fn a_netdev_replaced_by_another_of_the_same_name_is_attached_anew() {
    let devices = FakeDevices::default();
    devices.add_netdev("eth0");
    let text = "[switch.lan]\n[port.up]\nswitch = \"lan\"\nkind = \"nic\"\ninterface = \"eth0\"\n";
    let mut bench = Bench::start_with(devices.clone(), FakeStore::default(), text).unwrap();
    bench.pass(Duration::from_secs(1));
    devices.log();
    devices.world().netdevs.remove("eth0");
    devices.add_netdev("eth0");
    bench.pass(Duration::from_secs(1));
    bench.pass(Duration::from_secs(1));
    assert_eq!((devices.log(), bench.link("up")), (vec!["close eth0".to_owned(), "open eth0".to_owned()], Link::Up));
}

#[test]
fn old_addresses_are_forgotten_by_the_sweep() {
    let mut bench = two_with_traffic();
    bench.pass(Duration::from_secs(200));
    bench.send("a", ALL, A);
    bench.receive("b");
    bench.pass(Duration::from_secs(150));
    let switch = &bench.controller.switches()[0];
    assert_eq!((switch.fdb_entries, switch.fdb_expired), (1, 1));
    assert_eq!(bench.fdb(), [(0, A.to_owned(), "a".to_owned())]);
}

#[test]
fn a_stored_configuration_with_a_port_that_fails_is_not_lost() {
    // A port that cannot be opened at start stays in the configuration through later changes.
    let devices = FakeDevices::default();
    devices.world().refuse.insert("b".into());
    let mut bench = Bench::start_with(devices, FakeStore::default(), TWO).unwrap();
    assert_eq!(bench.link("b"), Link::Lost);
    bench.apply(&format!("{TWO}[port.c]\nswitch = \"lan\"\n")).unwrap();
    assert_eq!(bench.link("b"), Link::Lost);
    assert!(bench.store.0.lock().unwrap().text.as_deref().unwrap().contains("[port.b]"));
}

#[test]
fn a_worker_that_panics_ends_the_daemon() {
    let mut bench = two_with_traffic();
    assert_eq!(bench.controller.fatal(), None);
    bench.devices.world().panic.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.send("a", ALL, A);
    support::eventually("the loss is noticed", || {
        bench.controller.upkeep(dataplane::clock::Clock::now(&bench.clock));
        bench.controller.fatal().map(str::to_owned)
    });
    // No change is possible any more, and asking for one does not hang.
    let error = bench.apply(&format!("{TWO}isolated = true\n")).unwrap_err();
    assert!(error.contains("must be restarted"), "{error}");
}
