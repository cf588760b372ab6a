//! `ipset`: commands on sets, and what of them is configuration.

use std::collections::BTreeMap;

use dataplane::clock::Nanos;
use dataplane::router::InterfaceId;
use proto::iptables::{SetConfig, Tables};

use control::iptables::compile::{self, Front, RouterRules, Source};
use control::iptables::{ipset, lex};

/// A router with sets, as the daemon would run it.
struct Router {
    sets: BTreeMap<String, SetConfig>,
    tables: Tables,
    rules: RouterRules,
    now: Nanos,
}

impl Router {
    fn new() -> Router {
        Router { sets: BTreeMap::new(), tables: Tables::default(), rules: RouterRules::default(), now: 1_000_000_000 }
    }

    fn put_in_force(&mut self) {
        let (other, interfaces) = (Tables::default(), BTreeMap::<String, InterfaceId>::new());
        let source = Source { iptables: &self.tables, ip6tables: &other, ipset: &self.sets };
        let rules = compile::compile(&source, &interfaces, &[Front::default(), Front::default()], Some(&self.rules), 1, self.now);
        self.rules = rules.map_err(|faults| format!("{faults:?}")).unwrap();
        self.rules.activate(self.now);
    }

    fn run_with(&mut self, line: &str, input: Option<&str>) -> Result<String, String> {
        let other = Tables::default();
        let scope = ipset::Scope { sets: &self.sets, tables: [&self.tables, &other], rules: Some(&self.rules), now: self.now };
        let outcome = ipset::run(&lex::split(line)?, input, &scope, false)?;
        if let Some(sets) = outcome.sets {
            self.sets = sets;
            self.put_in_force();
        }
        ipset::apply_live(&self.rules, &outcome.live, self.now)?;
        Ok(outcome.text)
    }

    fn run(&mut self, line: &str) -> String {
        self.run_with(line, None).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn refused(&mut self, line: &str) -> String {
        self.run_with(line, None).map(|text| panic!("{line}: accepted: {text}")).unwrap_err()
    }

    fn members(&mut self, set: &str) -> Vec<String> {
        let saved = self.run(&format!("save {set}"));
        saved.lines().skip(1).map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect()
    }
}

/// Every type takes its elements, prints them as ipset does, and finds them again.
#[test]
fn types_and_elements() {
    let cases: [(&str, &[&str], &[&str], &str, &str); 8] = [
        (
            "hash:ip",
            &["1.2.3.4", "1.2.3.8/30", "1.2.3.20-1.2.3.21"],
            &["1.2.3.4", "1.2.3.8", "1.2.3.9", "1.2.3.10", "1.2.3.11", "1.2.3.20", "1.2.3.21"],
            "1.2.3.9",
            "1.2.3.5",
        ),
        (
            "hash:net",
            &["10.0.0.5/8", "192.0.2.0-192.0.2.200"],
            &["10.0.0.0/8", "192.0.2.0/25", "192.0.2.128/26", "192.0.2.192/29", "192.0.2.200"],
            "10.1.2.3",
            "11.0.0.1",
        ),
        ("hash:net family inet6", &["fd00::/64", "fd01::1"], &["fd00::/64", "fd01::1"], "fd00::9", "fd01::2"),
        (
            "hash:ip,port",
            &["1.2.3.4,tcp:80", "1.2.3.4,udp:80-81", "1.2.3.4,99", "1.2.3.4,icmp:echo-request"],
            &["1.2.3.4,icmp:8/0", "1.2.3.4,tcp:80", "1.2.3.4,tcp:99", "1.2.3.4,udp:80", "1.2.3.4,udp:81"],
            "1.2.3.4,tcp:99",
            "1.2.3.4,udp:99",
        ),
        ("hash:net,port", &["10.0.0.0/8,tcp:http"], &["10.0.0.0/8,tcp:80"], "10.2.3.4,tcp:80", "10.2.3.4,udp:80"),
        ("hash:mac", &["00:11:22:aa:bb:cc"], &["00:11:22:AA:BB:CC"], "00:11:22:AA:BB:CC", "00:11:22:AA:BB:CD"),
        ("bitmap:port range 1-1000", &["80", "90-92"], &["80", "90", "91", "92"], "91", "93"),
        ("hash:ip family inet6 hashsize 64 maxelem 5", &["::1"], &["::1"], "::1", "::2"),
    ];
    for (kind, added, members, inside, outside) in cases {
        let mut router = Router::new();
        router.run(&format!("create s {kind}"));
        for element in added {
            router.run(&format!("add s {element}"));
        }
        let mut listed = router.members("s");
        listed.sort();
        let mut expected: Vec<String> = members.iter().map(|text| (*text).to_owned()).collect();
        expected.sort();
        assert_eq!(listed, expected, "{kind}");
        assert_eq!(router.run(&format!("test s {inside}")), format!("{inside} is in set s.\n"));
        assert_eq!(router.refused(&format!("test s {outside}")), format!("{outside} is NOT in set s."));
        assert!(router.refused(&format!("add s {}", added[0])).contains("it's already added"));
        router.run(&format!("add -exist s {}", added[0]));
        let saved = router.run("save");
        let mut again = Router::new();
        again.run_with("restore", Some(&saved)).unwrap();
        assert_eq!(again.run("save"), saved, "{kind}: what is saved is restored");
        router.run(&format!("del s {inside_or_first}", inside_or_first = members[0]));
        assert_eq!(router.members("s").len(), members.len() - 1);
        assert!(router.refused(&format!("del s {}", members[0])).contains("it's not added"));
    }
}

/// Elements with a timeout live in the running set: they end by themselves and are not configuration. Others stay.
#[test]
fn timeouts() {
    let mut router = Router::new();
    router.run("create s hash:ip timeout 10");
    router.run("add s 1.1.1.1");
    router.run("add s 2.2.2.2 timeout 60");
    router.run("add s 3.3.3.3 timeout 0");
    assert_eq!(router.sets["s"].entries, ["3.3.3.3"]);
    assert_eq!(router.members("s"), ["1.1.1.1 timeout 10", "2.2.2.2 timeout 60", "3.3.3.3 timeout 0"]);
    assert!(router.refused("add s 1.1.1.1").contains("already"));
    router.now += 11_000_000_000;
    assert_eq!(router.members("s"), ["2.2.2.2 timeout 49", "3.3.3.3 timeout 0"]);
    router.run("add s 1.1.1.1");
    // Another change of the configuration leaves them alone.
    router.run("create other hash:net");
    assert_eq!(router.members("s").len(), 3);
    router.run("del s 2.2.2.2");
    router.run("-exist add s 3.3.3.3 timeout 5");
    assert!(router.sets["s"].entries.is_empty(), "it has a timeout now");
    router.run("flush s");
    assert!(router.members("s").is_empty());
    router.run("create plain hash:ip");
    assert!(router.refused("add plain 1.1.1.1 timeout 5").contains("without timeout support"));
}

/// Sets that rules match stay; others are renamed, swapped with all that is in them, and destroyed.
#[test]
fn sets_in_use_and_not() {
    let mut router = Router::new();
    for line in
        ["create a hash:ip timeout 0", "create b hash:ip timeout 0", "create c hash:net", "add a 1.1.1.1", "add b 2.2.2.2 timeout 50"]
    {
        router.run(line);
    }
    let chain = proto::iptables::ChainConfig { policy: None, rules: vec!["-m set --match-set a src -j DROP".into()] };
    router.tables.filter.insert("INPUT".into(), chain);
    router.put_in_force();
    assert!(router.refused("destroy a").contains("in use by a kernel component"));
    assert!(router.refused("destroy").contains("in use"));
    assert!(router.refused("rename a z").contains("in use"));
    assert!(router.refused("swap a c").contains("type does not match"));
    router.run("swap a b");
    assert_eq!((router.members("a"), router.members("b")), (vec!["2.2.2.2 timeout 50".to_owned()], vec!["1.1.1.1 timeout 0".to_owned()]));
    router.run("rename b z");
    assert_eq!(router.members("z"), ["1.1.1.1 timeout 0"]);
    // Equal settings: only what has a timeout has to move.
    router.run("flush z");
    router.run("swap a z");
    assert_eq!((router.members("z"), router.members("a")), (vec!["2.2.2.2 timeout 50".to_owned()], vec![]));
    router.run("destroy z");
    router.run("destroy -exist z");
    assert_eq!(router.run("list -n"), "a\nc\n");
    let listed = router.run("list a -t");
    assert_eq!(listed, "Name: a\nType: hash:ip\nHeader: family inet maxelem 65536 timeout 0\nReferences: 1\nNumber of entries: 0\n");
}

/// An entry of a file that is a range loses single elements, and a set never has more than maxelem.
#[test]
fn ranges_and_limits() {
    let mut router = Router::new();
    let config = SetConfig { entries: vec!["10.0.0.0/30".into(), "10.0.1.1".into()], maxelem: 5, ..SetConfig::new("hash:ip") };
    router.sets.insert("s".into(), config);
    router.put_in_force();
    assert!(router.refused("add s 1.1.1.1").contains("Hash is full"), "with 5 elements already");
    router.run("del s 10.0.0.1");
    assert_eq!(router.sets["s"].entries, ["10.0.0.0", "10.0.0.2", "10.0.0.3", "10.0.1.1"]);
    assert_eq!(router.members("s").len(), 4);
    assert!(router.refused("add s 10.0.2.0/24").contains("more elements than maxelem 5"));
}

/// What is wrong or not supported is refused by name, and a file as a whole.
#[test]
fn refusals() {
    let mut router = Router::new();
    router.run("create s hash:ip");
    router.run("create p bitmap:port range 1-10");
    let before = router.sets.clone();
    let cases = [
        ("", "No command specified"),
        ("foo", "unknown argument \"foo\""),
        ("ad s 1.1.1.1", "did you mean \"add\"?"),
        ("create", "missing mandatory argument of create"),
        ("create z hash:foo", "set type \"hash:foo\" is not supported"),
        ("create z list:set", "set type \"list:set\" is not supported"),
        ("create z hash:ip counters", "option \"counters\" of set type hash:ip is not supported"),
        ("create z hash:ip foo", "Unknown argument: \"foo\""),
        ("create z hash:ip maxelem foo", "\"foo\" is invalid as number"),
        ("create z hash:ip maxelem 0", "maxelem 0"),
        ("create z hash:ip timeout 9999999", "timeout is longer"),
        ("create z bitmap:port", "needs range"),
        ("create s hash:ip", "already exists"),
        ("create -exist s hash:net", "already exists"),
        ("create averyveryveryveryverylongsetnamexx hash:ip", "1 to 31 characters"),
        ("add nope 1.1.1.1", "does not exist: \"nope\""),
        ("add s foo", "\"foo\" not found"),
        ("add s fd00::1", "is an IPv6 address"),
        ("add s 0.0.0.0", "null-valued"),
        ("add s 1.1.1.1,tcp:80", "elements of one part"),
        ("add s 1.1.1.1 comment x", "option \"comment\" of an element is not supported"),
        ("add s 10.0.0.0/8", "more elements than maxelem"),
        ("add p 11", "out of the range"),
        ("del s 1.1.1.1", "it's not added"),
        ("list nope", "does not exist"),
        ("list -o xml", "output \"xml\" is not supported"),
        ("-q destroy z", "option \"-q\" is not supported"),
        ("save a b", "Unknown argument: \"b\""),
    ];
    for (line, message) in cases {
        let error = router.refused(line);
        assert!(error.contains(message), "{line}\n  {error}\n  lacks {message:?}");
    }
    let error = router.run_with("restore", Some("create n hash:net\nadd n 10.0.0.0/8\nadd n 1.1.1.1.1\n")).unwrap_err();
    assert!(error.starts_with("line 3: "), "{error}");
    assert_eq!(router.sets, before, "nothing changed");
}
