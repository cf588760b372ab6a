//! `iptables-save` and `iptables-restore`: files as they are met, positions of errors, counters; and that no input upsets the parser.

use std::collections::BTreeMap;

use dataplane::router::{Family, InterfaceId};
use dataplane::rules::Table;
use proptest::prelude::*;
use proto::iptables::{SetConfig, Tables};

use control::iptables::command::{self, SetCounters};
use control::iptables::compile::{self, Front, RouterRules, Source};
use control::iptables::rule::Rule;
use control::iptables::{lex, restore};

const INTERFACES: [&str; 3] = ["docker0", "eth0", "eth1"];

fn sets() -> BTreeMap<String, SetConfig> {
    BTreeMap::from([("trusted".to_owned(), SetConfig::new("hash:net"))])
}

fn words(line: &str) -> Vec<String> {
    lex::split(line).unwrap()
}

/// Restores a file on top of tables, with the checks the daemon makes.
fn restored(tables: &Tables, options: &str, input: &str) -> Result<command::Outcome, String> {
    let (other, sets) = (Tables::default(), sets());
    let check = |new: &Tables| compile::check(&Source { iptables: new, ip6tables: &other, ipset: &sets }, INTERFACES.into_iter());
    restore::restore(&words(options), input, Family::V4, tables, check)
}

fn compiled(tables: &Tables, former: Option<&RouterRules>) -> RouterRules {
    let (other, sets) = (Tables::default(), sets());
    let interfaces = INTERFACES.iter().enumerate().map(|(id, name)| ((*name).to_owned(), InterfaceId(id as u8))).collect();
    let source = Source { iptables: tables, ip6tables: &other, ipset: &sets };
    compile::compile(&source, &interfaces, &[Front::default(), Front::default()], former, 2, 0)
        .map_err(|faults| format!("{faults:?}"))
        .unwrap()
}

fn saved(tables: &Tables, options: &str, rules: Option<&RouterRules>) -> String {
    restore::save(&words(options), Family::V4, tables, rules).unwrap()
}

/// Files of the kinds that are met in the field are read whole, compile, and come back as they were.
#[test]
fn files_of_the_field_are_read_and_written_back() {
    let files = [include_str!("iptables/docker.rules"), include_str!("iptables/kube.rules"), include_str!("iptables/firewalld.rules")];
    for file in files {
        let tables = restored(&Tables::default(), "", file).unwrap().tables.unwrap();
        compiled(&tables, None);
        let text = saved(&tables, "", None);
        let plain = |line: &&str| line.starts_with("-A") || line.starts_with('[');
        let rules = |text: &str| {
            let mut list: Vec<String> =
                text.lines().filter(plain).map(|line| line.split_once("] ").map_or(line, |(_, rule)| rule).to_owned()).collect();
            list.sort();
            list
        };
        assert_eq!(rules(&text), rules(file), "the rules are canonical, so they are printed as they were written");
        assert!(restored(&tables, "", &text).unwrap().tables.is_none(), "what was saved is what is there");
        assert_eq!(restored(&Tables::default(), "", &text).unwrap().tables.unwrap(), tables);
    }
}

/// A restore replaces the tables it names and no others; with --noflush it adds, and empties user chains it declares.
#[test]
fn flushing_and_not() {
    let docker = include_str!("iptables/docker.rules");
    let tables = restored(&Tables::default(), "", docker).unwrap().tables.unwrap();
    let raw = "*raw\n-A PREROUTING -j NOTRACK\nCOMMIT\n";
    let both = restored(&tables, "", raw).unwrap().tables.unwrap();
    assert_eq!((&both.filter, &both.nat), (&tables.filter, &tables.nat));
    let more = restored(&tables, "--noflush", "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -p icmp -j ACCEPT\n-I INPUT -j DROP\nCOMMIT\n");
    let more = more.unwrap().tables.unwrap();
    assert_eq!(more.filter["FORWARD"].rules.len(), tables.filter["FORWARD"].rules.len() + 1);
    assert_eq!((more.filter["FORWARD"].policy.as_deref(), more.filter["DOCKER-USER"].rules.len()), (Some("DROP"), 0));
    assert!(restored(&tables, "--test", raw).unwrap().tables.is_none());
    let only = restored(&Tables::default(), "-T filter", docker).unwrap().tables.unwrap();
    assert!(only.nat.is_empty() && only.filter == tables.filter);
    // A file for both programs: each leaves out the rules of the other.
    let both = "*filter\n-A INPUT -4 -s 10.0.0.1 -j DROP\n-A INPUT -6 -s fd00::1 -j DROP\n-6 -A INPUT -p icmpv6 -j ACCEPT\nCOMMIT\n";
    let both = restored(&Tables::default(), "", both).unwrap().tables.unwrap();
    assert_eq!(both.filter["INPUT"].rules, ["-s 10.0.0.1/32 -j DROP"]);
}

/// Errors say the line, also those that are found only when the tables are looked at as a whole.
#[test]
fn errors_name_the_line() {
    let cases = [
        ("*filter\n-A INPUT -j ACCEPT\n-A INPUT -j NOPE\nCOMMIT\n", "line 3: there is no chain \"NOPE\" in table filter"),
        ("*filter\n-A INPUT -p tcp --dport 99999\nCOMMIT\n", "line 2: match \"tcp\": --dport"),
        ("*filter\n\n# a\n-A INPUT -i eth7 -j DROP\nCOMMIT\n", "line 4: the router has no interface \"eth7\""),
        ("*filter\n-I INPUT -m set --match-set nope src\n-I INPUT -j ACCEPT\nCOMMIT\n", "line 2: the router has no set \"nope\""),
        ("*filter\n-A INPUT -j ACCEPT\n", "line 3: COMMIT expected"),
        ("*filter\n*nat\n", "line 2: COMMIT expected"),
        ("*foo\n", "line 1: table \"foo\" does not exist"),
        ("-A INPUT\n", "line 1: a line *TABLE is expected first"),
        ("*filter\n:INPUT REJECT [0:0]\n", "line 2: Bad policy name"),
        ("*filter\n:x ACCEPT [0:0]\n", "line 2: user chain \"x\" cannot have policy"),
        ("*filter\n:x - [a:0]\n", "line 2: invalid counters"),
        ("*filter\n[1:2 -A INPUT\n", "line 2: invalid counters"),
        ("*filter\n-t nat -A INPUT\n", "line 2: the -t option cannot be used"),
        ("*filter\n-L\n", "line 2: --list cannot be used"),
        ("*filter\n-A INPUT -o eth0 -j DROP\nCOMMIT\n", "line 2: can't use -o with INPUT"),
    ];
    for (input, message) in cases {
        let error = restored(&Tables::default(), "", input).map(|outcome| outcome.tables).unwrap_err();
        assert!(error.contains(message), "{input}\n  {error}\n  lacks {message:?}");
    }
    assert!(restored(&Tables::default(), "file", "").map(|_| ()).unwrap_err().contains("unknown option \"file\""));
}

/// Counters of rules that stay go on, wherever they move; --counters sets those of the file, -Z sets 0, and a rule that is
/// replaced begins at 0.
#[test]
fn counters_follow_their_rules() {
    let mut tables = Tables::default();
    let mut running = compiled(&tables, None);
    let mut apply = |line: &str, input: Option<&str>| -> String {
        let outcome = match input {
            Some(input) => restored(&tables, line, input).unwrap(),
            None => command::run(&words(line), Family::V4, &tables, Some(&running), false).unwrap(),
        };
        tables = outcome.tables.unwrap_or_else(|| tables.clone());
        running = compiled(&tables, Some(&running));
        command::set_counters(&running, Family::V4, &outcome.counters);
        outcome.text
    };
    apply("--counters", Some("*filter\n:INPUT DROP [7:700]\n[1:10] -A INPUT -s 1.1.1.1\n[2:20] -A INPUT -s 2.2.2.2\nCOMMIT\n"));
    let listed = |text: &str| text.lines().map(|line| line.split(" -c ").nth(1).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(listed(&apply("-vS INPUT", None)), ["7 700", "1 10", "2 20"]);
    apply("-I INPUT -s 2.2.2.2", None);
    apply("-A INPUT -p tcp -c 5 50", None);
    assert_eq!(listed(&apply("-vS INPUT", None)), ["7 700", "0 0", "1 10", "2 20", "5 50"]);
    apply("-D INPUT 1", None);
    apply("-R INPUT 1 -s 3.3.3.3", None);
    assert_eq!(listed(&apply("-vS INPUT", None)), ["7 700", "0 0", "2 20", "5 50"]);
    let listing = apply("-L INPUT -v -Z", None);
    assert!(listing.contains("(policy DROP 7 packets, 700 bytes)") && listing.contains("    2    20 "), "{listing}");
    assert_eq!(listed(&apply("-vS INPUT", None)), ["0 0"; 4]);
    apply("-c", Some("*filter\n:INPUT ACCEPT [0:0]\n[123456:99999999] -A INPUT -s 1.1.1.1\nCOMMIT\n"));
    assert!(apply("-vL INPUT", None).contains("\n 123K  100M            all "));
    let text = restore::save(&words("-c -t filter"), Family::V4, &tables, Some(&running)).unwrap();
    assert!(text.contains("[123456:99999999] -A INPUT -s 1.1.1.1/32\n"), "{text}");
}

/// A rule set that did not change is the same one: workers keep what they have cached of it.
#[test]
fn unchanged_rules_are_not_compiled_anew() {
    let tables = restored(&Tables::default(), "", include_str!("iptables/kube.rules")).unwrap().tables.unwrap();
    let first = compiled(&tables, None);
    let again = compiled(&tables, Some(&first));
    assert!(std::sync::Arc::ptr_eq(first.rule_set(Family::V4).unwrap(), again.rule_set(Family::V4).unwrap()));
    assert!(first.rule_set(Family::V6).is_none());
    let counters = SetCounters { table: Table::Nat, chain: "KUBE-MARK-MASQ".into(), rule: Some(0), counts: (3, 4) };
    command::set_counters(&first, Family::V4, &[counters]);
    assert_eq!(again.counters(Family::V4, Table::Nat, "KUBE-MARK-MASQ").unwrap().rules[0].counts(), (3, 4));
}

/// Adding a rule to many reads that one only: ten thousand of them stay a matter of moments even without optimization.
#[test]
fn large_tables() {
    let mut file = String::from("*filter\n:BIG - [0:0]\n");
    for i in 0..10_000_u32 {
        file += &format!("-A BIG -s 10.{}.{}.{}/32 -p tcp -m tcp --dport {} -j DROP\n", i >> 16, i >> 8 & 255, i & 255, i % 60_000 + 1);
    }
    file += "COMMIT\n";
    let tables = restored(&Tables::default(), "", &file).unwrap().tables.unwrap();
    let outcome = command::run(&words("-A BIG -s 1.2.3.4 -j RETURN"), Family::V4, &tables, None, false).unwrap();
    assert_eq!(outcome.tables.unwrap().filter["BIG"].rules.len(), 10_001);
}

/// Words that rules are made of, and some they are not.
const VOCABULARY: &[&str] = &[
    "-A",
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "-f",
    "-m",
    "-j",
    "-g",
    "!",
    "tcp",
    "udp",
    "icmp",
    "--dport",
    "--sport",
    "80",
    "1:2",
    "multiport",
    "--dports",
    "22,80",
    "1.2.3.4",
    "10.0.0.0/8",
    "fd00::1",
    "eth0",
    "wan+",
    "conntrack",
    "--ctstate",
    "NEW,ESTABLISHED",
    "limit",
    "--limit",
    "5/min",
    "mark",
    "--mark",
    "0x1/0xf",
    "ACCEPT",
    "DNAT",
    "--to",
    "1.2.3.4:80",
    "MASQUERADE",
    "LOG",
    "--log-prefix",
    "a b",
    "comment",
    "--comment",
    "it's",
    "\"",
    "\\",
    "--syn",
    "--tcp-flags",
    "ALL",
    "SYN",
    "MARK",
    "--set-mark",
    "CONNMARK",
    "--save-mark",
    "--mask",
    "REJECT",
    "--reject-with",
    "tcp-reset",
    "set",
    "--match-set",
    "s1",
    "src,dst",
    "ttl",
    "--ttl-eq",
    "64",
    "",
    "-",
    "--",
    "=",
    "--dport=80",
    "-ptcp",
    "-c",
    "1",
    "--icmp-type",
    "8",
    "3/4",
    "statistic",
    "--mode",
    "random",
    "--probability",
    "0.5",
    "99999999999",
    "ü",
    "-\u{fc}",
    "TTL",
    "--ttl-set",
    "addrtype",
    "--src-type",
    "LOCAL",
    "4294967295",
    "0x",
    "iprange",
    "--src-range",
    "1.1.1.1-1.1.1.2",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// No sequence of words makes the parser panic, and what is read is printed so that it is read as the same rule.
    #[test]
    fn any_words_are_read_or_refused(list in prop::collection::vec(prop::sample::select(VOCABULARY), 0..14), v6 in any::<bool>()) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let line: Vec<String> = list.iter().map(|word| lex::quote(word).into_owned()).collect();
        let mut args: Vec<String> = ["-A", "FORWARD"].map(str::to_owned).to_vec();
        args.extend(list.iter().map(|word| (*word).to_owned()));
        let _ = command::run(&args, family, &Tables::default(), None, false);
        if let Ok(rule) = Rule::parse(&line.join(" "), family) {
            let text = rule.spec(None);
            let again = Rule::parse(&text, family).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(again.spec(None), text);
        }
    }

    /// Nor does any text, as a rule or as a file.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", file in "[*:#A-Z a-z0-9\\[\\]\\n\"\\\\!,./-]{0,120}") {
        let _ = Rule::parse(&text, Family::V4);
        let _ = Rule::parse(&text, Family::V6);
        let _ = restored(&Tables::default(), "-c", &file);
        let _ = restored(&Tables::default(), "-c", &format!("*filter\n:{text}\n-A {text}\nCOMMIT\n"));
    }
}
