//! Routers: what they become in the data plane, what survives a change, what is refused.

mod support;

use control::config::edit::router as edit;
use control::config::{load, to_toml};
use proto::config::Config;
use proto::router_api::{AddInterface, AddRouter, DelInterface, DelRouter, InterfaceInfo, RouterFilter};
use serde_json::{Value, json};
use support::{Bench, FakeDevices, FakeStore};

/// A LAN on a switch, an uplink of its own.
const GATEWAY: &str = r#"
[switch.br0]
[port.a]
switch = "br0"
[port.eth0]
kind = "nic"
interface = "eth0"
[router.gw.interface.lan]
switch = "br0"
address = ["192.168.45.2/24", "fd00::1/64"]
mac = "02:00:00:00:45:02"
[router.gw.interface.wan]
port = "eth0"
address = ["203.0.113.2/24"]
[[router.gw.route]]
to = "default"
via = "203.0.113.1"
[router.gw.iptables.nat.POSTROUTING]
rules = ["-s 192.168.45.0/24 -o wan -j MASQUERADE"]
[[router.gw.forward]]
protocol = "tcp"
port = 8080
to = "192.168.45.3:80"
"#;

const LAN_MAC: &str = "02:00:00:00:45:02";

fn start(text: &str) -> Bench {
    let mut bench = Bench::start();
    bench.devices.add_netdev("eth0");
    bench.apply(text).unwrap();
    bench
}

fn interface(bench: &Bench, name: &str) -> InterfaceInfo {
    let list = bench.controller.interface_infos(&RouterFilter::default());
    list.into_iter().find(|info| info.name == name).unwrap_or_else(|| panic!("no interface {name}"))
}

fn routes(bench: &Bench) -> Vec<String> {
    let list = bench.controller.route_infos(&RouterFilter::default());
    let words = |route: &proto::router_api::RouteInfo| {
        let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
        let dev = route.dev.as_ref().map(|dev| format!(" dev {dev}")).unwrap_or_default();
        format!("{} {}{via}{dev} {}", route.kind.name(), route.to, route.protocol)
    };
    list.iter().map(words).collect()
}

#[test]
fn a_gateway_comes_into_force_and_back_after_a_restart() {
    let bench = start(GATEWAY);
    let all = RouterFilter::default();
    let router = &bench.controller.router_infos(&all)[0];
    assert_eq!((router.interfaces.as_slice(), router.forwards, router.rules), (&["lan".to_owned(), "wan".to_owned()][..], 1, 1));
    assert_eq!(
        routes(&bench),
        [
            "unicast 0.0.0.0/0 via 203.0.113.1 dev wan static",
            "unicast 192.168.45.0/24 dev lan kernel",
            "unicast 203.0.113.0/24 dev wan kernel",
            "unicast fd00::/64 dev lan kernel",
            "unicast fe80::/64 dev lan kernel",
        ]
    );
    let lan = interface(&bench, "lan");
    let addresses: Vec<String> = lan.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.168.45.2/24", "fd00::1/64", "fe80::ff:fe00:4502/64"]);
    assert_eq!(bench.controller.forward_infos(&all)[0].packets, 0);

    let (devices, store) = (FakeDevices::default(), FakeStore(bench.store.0.clone()));
    devices.add_netdev("eth0");
    let config = bench.controller.config().clone();
    drop(bench);
    let again = Bench::start_with(devices, store, "").unwrap();
    assert_eq!(again.controller.config(), &config);
    assert_eq!(interface(&again, "wan").mac, interface(&again, "wan").mac);
    assert_eq!(again.fdb(), [(0, LAN_MAC.to_owned(), "gw/lan".to_owned())]);
}

#[test]
fn the_address_of_an_interface_is_in_the_table_and_stays() {
    let mut bench = start(GATEWAY);
    let own = (0, LAN_MAC.to_owned(), "gw/lan".to_owned());
    assert_eq!(bench.fdb(), std::slice::from_ref(&own));
    // A guest that claims it does not get it.
    bench.send("a", "02:00:00:00:00:99", LAN_MAC);
    bench.send("a", "02:00:00:00:00:99", "02:00:00:00:00:0a");
    bench.wait_for_fdb(2);
    assert!(bench.fdb().contains(&own));
    let flush = proto::api::FlushFdb { switch: "br0".into(), ..Default::default() };
    assert_eq!(bench.controller.flush_fdb(&flush).unwrap(), 1);
    assert_eq!(bench.fdb(), [own]);
    let del = proto::api::DelFdb { switch: "br0".into(), mac: LAN_MAC.parse().unwrap(), vlan: 0, if_exists: true };
    assert!(bench.controller.del_fdb(&del, 0).unwrap_err().contains("a router's own address at interface \"gw/lan\""));
    // A new MAC address, a VLAN, a larger table: it follows.
    let other = GATEWAY.replace(LAN_MAC, "02:00:00:00:45:77");
    bench.apply(&other).unwrap();
    assert_eq!(bench.fdb(), [(0, "02:00:00:00:45:77".to_owned(), "gw/lan".to_owned())]);
    bench.apply(&other.replace("[switch.br0]", "[switch.br0]\nfdb_size = 128")).unwrap();
    assert_eq!(bench.fdb(), [(0, "02:00:00:00:45:77".to_owned(), "gw/lan".to_owned())]);
    bench.apply(&other.replace("switch = \"br0\"\naddress", "switch = \"br0\"\nvlan = 10\naddress")).unwrap();
    assert_eq!(bench.fdb(), [(10, "02:00:00:00:45:77".to_owned(), "gw/lan".to_owned())]);
    bench.apply("[switch.br0]\n[port.a]\nswitch = \"br0\"\n").unwrap();
    assert_eq!(bench.fdb(), []);
}

#[test]
fn a_refused_change_leaves_tables_and_routers_as_they_were() {
    let mut bench = start(GATEWAY);
    let before = (bench.fdb(), routes(&bench), bench.controller.generation());
    bench.devices.world().refuse.insert("c".into());
    let text = GATEWAY.replace(LAN_MAC, "02:00:00:00:45:77") + "[port.c]\nswitch = \"br0\"\n";
    assert!(bench.apply(&text).is_err());
    bench.store.0.lock().unwrap().fail = Some("store the configuration: No space left on device".into());
    assert!(bench.apply(&GATEWAY.replace(LAN_MAC, "02:00:00:00:45:78")).is_err());
    assert_eq!((bench.fdb(), routes(&bench), bench.controller.generation()), before);
}

#[test]
fn unrelated_changes_keep_devices_and_a_derived_address_in_the_way_is_refused() {
    let mut bench = start(GATEWAY);
    bench.devices.log();
    bench.apply(&GATEWAY.replace("via = \"203.0.113.1\"", "via = \"203.0.113.9\"\nmetric = 5")).unwrap();
    assert_eq!(bench.devices.log(), [""; 0]);
    assert!(routes(&bench)[0].contains("via 203.0.113.9"));
    let derived = GATEWAY.replace("mac = \"02:00:00:00:45:02\"\n", "");
    bench.apply(&derived).unwrap();
    let mac = interface(&bench, "lan").mac;
    let text = format!("{derived}[[fdb]]\nswitch = \"br0\"\nmac = \"{mac}\"\nport = \"a\"\n");
    let error = bench.apply(&text).unwrap_err();
    assert!(error.contains("is that of interface \"lan\" of router \"gw\""), "{error}");
}

#[test]
fn a_disabled_interface_has_no_addresses_and_no_routes() {
    let bench = start(&GATEWAY.replace("port = \"eth0\"\naddress", "port = \"eth0\"\nenabled = false\naddress"));
    assert_eq!(routes(&bench).iter().filter(|route| route.contains("wan")).count(), 0);
    let wan = interface(&bench, "wan");
    assert_eq!((wan.link, wan.addresses.len()), (proto::api::Link::Disabled, 0));
}

#[test]
fn verbs_edit_and_name_what_stands_in_the_way() {
    let empty = Config::default();
    let add = AddRouter { name: "gw".into(), config: Default::default(), may_exist: false };
    let config = edit::add_router(&empty, &add).unwrap();
    assert!(edit::add_router(&config, &add).unwrap_err().contains("--may-exist"));
    let add = |value: Value| -> AddInterface { serde_json::from_value(value).unwrap() };
    let nic = json!({"router": "gw", "name": "wan", "config": {"port": "eth0", "address": ["203.0.113.2/24"]},
        "new_port": {"kind": "nic", "interface": "eth0"}});
    let config = edit::add_interface(&config, &add(nic.clone())).unwrap();
    assert!(config.port["eth0"].switch.is_none());
    assert!(edit::add_interface(&config, &add(nic.clone())).unwrap_err().contains("already (--may-exist"));
    let again: AddInterface = AddInterface { may_exist: true, ..add(nic) };
    assert_eq!(edit::add_interface(&config, &again).unwrap(), config);

    let set = |config: &Config, value: Value| edit::set_router(config, "gw", value.as_object().unwrap());
    let changed = set(&config, json!({"forwarding": false, "conntrack": {"udp_timeout": "60s"}, "nat": {"hairpin": false}})).unwrap();
    let changed = set(&changed, json!({"conntrack": {"tcp_loose": false}, "nat": {"hairpin": null}})).unwrap();
    let gw = &changed.router["gw"];
    assert_eq!(
        (gw.forwarding, gw.conntrack.tcp_loose, gw.conntrack.udp_timeout.is_some(), gw.nat.hairpin),
        (false, Some(false), true, true)
    );
    assert_eq!(gw.interface.len(), 1, "what is below a router stays");
    for key in ["tcp_tw_recycle", "net.ipv4.tcp_tw_recycle"] {
        let error = set(&config, json!({ key: 1 })).unwrap_err();
        assert!(error.contains("removed in Linux 4.12, unsafe behind NAT"), "{error}");
    }
    assert!(set(&config, json!({"conntrack": {"max": 5}})).unwrap_err().contains("daemon.conntrack_max"));
    assert!(set(&config, json!({"conntrack": {"zzz": null}})).is_err() && set(&config, json!({"forwardin": true})).is_err());

    let move_to = json!({"switch": "br0"});
    // Tables below are changed key by key, at the router and at an interface.
    let slow = set(&config, json!({"ipv4_neigh": {"gc_thresh3": 4096, "retrans_time": "2s"}})).unwrap();
    let slow = set(&slow, json!({"ipv4_neigh": {"retrans_time": null, "ucast_solicit": 5}})).unwrap();
    let neigh = &slow.router["gw"].ipv4_neigh;
    assert_eq!((neigh.gc_thresh3, neigh.retrans_time, neigh.ucast_solicit), (Some(4096), None, Some(5)));
    let at_interface = |config: &Config, value: Value| edit::set_interface(config, "gw", "wan", value.as_object().unwrap());
    let fast = at_interface(&slow, json!({"ipv6_neigh": {"retrans_time": "100ms"}, "proxy_arp": true})).unwrap();
    let fast = at_interface(&fast, json!({"ipv6_neigh": {"mcast_solicit": 1}})).unwrap();
    let (neigh, span) = (&fast.router["gw"].interface["wan"].ipv6_neigh, "100ms".parse().unwrap());
    assert_eq!((neigh.retrans_time, neigh.mcast_solicit), (Some(span), Some(1)));
    let none = at_interface(&fast, json!({"ipv6_neigh": null})).unwrap();
    assert_eq!(none.router["gw"].interface["wan"].ipv6_neigh, Default::default());
    for (value, says) in [
        (json!({"ipv4_neigh": {"gc_thresh1": 1}}), "the table is the router's"),
        (json!({"ipv4_neigh": {"app_solicit": 1}}), "probes itself"),
        (json!({"ipv4_neigh": {"unknown": null}}), "unknown key `unknown`"),
        (json!({"ipv4_neigh": {"ucast_solicit": "x"}}), "`ucast_solicit`"),
        (json!({"ipv4_neigh": 5}), "expected a table"),
    ] {
        let refusal = at_interface(&config, value.clone()).unwrap_err();
        assert!(refusal.contains(says), "{value}: {refusal}");
    }
    let moved = edit::set_interface(&config, "gw", "wan", move_to.as_object().unwrap()).unwrap();
    assert!(moved.port.is_empty(), "a port that is left by its last interface goes with it");
    let del = DelInterface { router: "gw".into(), name: "wan".into(), if_exists: false };
    assert!(edit::del_interface(&config, &del).unwrap().port.is_empty());
    let del = DelRouter { name: "gw".into(), if_exists: false };
    assert_eq!(edit::del_router(&config, &del).unwrap(), empty);
    assert!(edit::del_router(&empty, &del).unwrap_err().contains("--if-exists"));
}

#[test]
fn routes_and_forwards_come_and_go() {
    let config = load(GATEWAY, "test").unwrap();
    let route = |value: Value| serde_json::from_value(json!({"router": "gw", "route": value})).unwrap();
    let more = edit::add_route(&config, &route(json!({"to": "10.0.0.0/8", "via": "192.168.45.9"}))).unwrap();
    assert!(
        edit::add_route(&more, &route(json!({"to": "10.0.0.0/8", "kind": "blackhole"})))
            .unwrap_err()
            .contains("10.0.0.0/8 via 192.168.45.9")
    );
    let gone = json!({"router": "gw", "to": "10.0.0.0/8", "via": "192.168.45.8"});
    assert!(edit::del_route(&more, &serde_json::from_value(gone).unwrap()).is_err());
    let gone = json!({"router": "gw", "to": "10.0.0.0/8"});
    assert_eq!(edit::del_route(&more, &serde_json::from_value(gone).unwrap()).unwrap(), config);

    let forward = |to: &str| json!({"router": "gw", "forward": {"protocol": "tcp", "port": 8080, "to": to}});
    let again = serde_json::from_value(forward("192.168.45.4:80")).unwrap();
    assert!(edit::add_forward(&config, &again).unwrap_err().contains("tcp 8080 to 192.168.45.3:80"));
    let mut replace = again;
    replace.may_exist = true;
    let replaced = edit::add_forward(&config, &replace).unwrap();
    assert_eq!(replaced.router["gw"].forward[0].to.to_string(), "192.168.45.4:80");
    let gone = json!({"router": "gw", "protocol": "tcp", "port": 8080});
    let without = edit::del_forward(&config, &serde_json::from_value(gone.clone()).unwrap()).unwrap();
    assert!(without.router["gw"].forward.is_empty());
    assert!(edit::del_forward(&without, &serde_json::from_value(gone).unwrap()).is_err());

    // The routes by an interface go with it.
    let del = DelInterface { router: "gw".into(), name: "wan".into(), if_exists: false };
    assert!(edit::del_interface(&config, &del).unwrap().router["gw"].route.is_empty());
    assert_eq!(load(&to_toml(&more), "written").unwrap(), more);
}
