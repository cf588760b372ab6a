//! Properties of configurations and of changes, over random ones.

mod support;

use control::config::{edit, load, to_toml, validate};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proto::config::*;
use serde_json::{Map, Value, json};
use support::Bench;
use wire::MacAddr;

fn port() -> impl Strategy<Value = PortConfig> {
    let vlan = prop_oneof![
        Just(json!({})),
        (1u16..=4094).prop_map(|vlan| json!({"access": vlan})),
        (1u16..=4094).prop_map(|vlan| json!({"access": vlan, "accept_tagged": "own"})),
        (1u16..=4094, 1u16..=4094).prop_map(|(a, b)| json!({"trunk": format!("{},{}", a, b), "native": b})),
        (1u16..4094).prop_map(|vlan| json!({"trunk": format!("{vlan}-{}", vlan + 1)})),
        (1u16..=4094).prop_map(|vlan| json!({"qinq": vlan, "cvlans": "1-10", "qinq_ethertype": "802.1q"})),
    ];
    let kind = prop_oneof![
        Just(json!({})),
        Just(json!({"kind": "sim"})),
        (1u16..=64).prop_map(|queues| json!({"queues": queues})),
        Just(json!({"offload": false, "mac": "02:00:00:00:00:07"})),
        select(vec!["blue", "/proc/1/ns/net", "ü \"x\""]).prop_map(|netns| json!({"netns": netns.replace(" \"x\"", "")})),
    ];
    let flags = vec(any::<bool>(), 7);
    (select(vec!["s0", "s1"]), vlan, kind, flags, 68u32..=9000, proptest::option::of(1u32..9)).prop_map(
        |(switch, vlan, kind, flags, mtu, limit)| {
            let mut map = Map::from_iter([
                ("switch".to_owned(), json!(switch)),
                ("mtu".to_owned(), json!(mtu)),
                ("learn_limit".to_owned(), json!(limit)),
            ]);
            let names = ["enabled", "learning", "sticky", "flood", "mcast_flood", "hairpin", "isolated"];
            map.extend(names.into_iter().zip(flags).map(|(name, on)| (name.to_owned(), json!(on))));
            for extra in [vlan, kind] {
                map.extend(extra.as_object().unwrap().clone());
            }
            serde_json::from_value(Value::Object(map)).unwrap()
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let switch = (0u64..=1_000_000_000, any::<bool>(), 64u32..=4096, 0u16..=0xfff8).prop_map(|(ms, hub, fdb_size, mask)| SwitchConfig {
        ageing_time: Span(std::time::Duration::from_millis(ms)),
        hub,
        fdb_size,
        group_fwd_mask: mask & !7,
    });
    let daemon = (0u16..=64, any::<bool>(), 0u64..=1_000_000_000).prop_map(|(workers, busy, spin)| DaemonConfig {
        workers,
        poll: if busy { PollMode::Busy } else { PollMode::Adaptive },
        spin: Span(std::time::Duration::from_nanos(spin)),
        ..DaemonConfig::default()
    });
    (daemon, switch.clone(), switch, btree_map("[A-Za-z0-9_-]{1,15}", port(), 0..6)).prop_map(|(daemon, s0, s1, port)| {
        let fdb = port.iter().enumerate().map(|(n, (name, port))| FdbConfig {
            switch: port.switch.clone().unwrap_or_default(),
            mac: MacAddr([2, 0, 0, 0, 1, n as u8]),
            vlan: n as u16,
            port: name.clone(),
        });
        let fdb = fdb.collect();
        Config { daemon, switch: [("s0".to_owned(), s0), ("s1".to_owned(), s1)].into(), port, fdb, router: Default::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read_back(config in config()) {
        prop_assert_eq!(validate(&config), vec![]);
        let text = to_toml(&config);
        prop_assert_eq!(load(&text, "written"), Ok(config), "{}", text);
    }

    #[test]
    fn damaged_text_is_read_or_refused(config in config(), at in any::<prop::sample::Index>(), junk in "\\PC{0,8}", cut in 0usize..8) {
        let text = to_toml(&config);
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let damaged: String = chars[..at].iter().copied().chain(junk.chars()).chain(chars[(at + cut).min(chars.len())..].iter().copied()).collect();
        if let Err(report) = load(&damaged, "damaged.toml") {
            prop_assert!(report.starts_with("error: ") && report.contains("damaged.toml"), "{}", report);
        }
    }

    #[test]
    fn setting_a_key_changes_that_key_only(config in config(), mtu in 68u32..9000, isolated in any::<bool>()) {
        for name in config.port.keys() {
            let Value::Object(set) = json!({"mtu": mtu, "isolated": isolated}) else { unreachable!() };
            let new = edit::set_port(&config, name, &set).unwrap();
            let mut expected = config.clone();
            let port = expected.port.get_mut(name).unwrap();
            (port.mtu, port.isolated) = (mtu, isolated);
            prop_assert_eq!(new, expected);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Box<Config>),
    Refuse(usize),
    Allow,
    StoreFails(bool),
    Pass,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is asked for in whatever order, and whatever fails: the switch has either exactly the new configuration or
    /// exactly the former one, stored, running and shown alike, and each port has a device or says why not.
    #[test]
    fn changes_happen_wholly_or_not_at_all(steps in vec(prop_oneof![
        6 => config().prop_map(|config| Step::Apply(Box::new(config))),
        2 => (0usize..6).prop_map(Step::Refuse),
        1 => Just(Step::Allow),
        1 => any::<bool>().prop_map(Step::StoreFails),
        1 => Just(Step::Pass),
    ], 1..12)) {
        let mut bench = Bench::start();
        let mut model = Config::default();
        let mut stored: Option<String> = None;
        for step in steps {
            match step {
                Step::Apply(config) => {
                    let wanted = Config { daemon: DaemonConfig { poll: PollMode::Adaptive, ..config.daemon.clone() }, ..*config };
                    let same = wanted == model;
                    if bench.transact(wanted.clone()).is_ok() {
                        if !same {
                            stored = Some(to_toml(&wanted));
                        }
                        model = wanted;
                    }
                }
                Step::Refuse(nth) => {
                    let name = model.port.keys().nth(nth).cloned().unwrap_or_else(|| "none".into());
                    bench.devices.world().refuse.insert(name);
                }
                Step::Allow => bench.devices.world().refuse.clear(),
                Step::StoreFails(fails) => bench.store.0.lock().unwrap().fail = fails.then(|| "disk full".into()),
                Step::Pass => bench.pass(std::time::Duration::from_secs(1)),
            }
            prop_assert_eq!(bench.controller.config(), &model);
            prop_assert_eq!(&bench.store.0.lock().unwrap().text, &stored);
            let ports = bench.controller.ports(&Default::default());
            prop_assert_eq!(ports.len(), model.port.len());
            for port in &ports {
                prop_assert_eq!(&port.config, &model.port[&port.name]);
                let may_be_lost = bench.devices.world().refuse.contains(&port.name);
                prop_assert!(port.link != proto::api::Link::Lost || may_be_lost, "{} is lost: {:?}", port.name, port.problem);
            }
            // Nothing was sent, so the tables hold the static entries and nothing else.
            let mut entries: Vec<_> = model.fdb.iter().map(|entry| (entry.vlan, entry.mac.to_string(), entry.port.clone())).collect();
            entries.sort();
            prop_assert_eq!(bench.fdb(), entries);
        }
    }
}
