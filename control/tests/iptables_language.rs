//! The language of iptables: what is read, how it is printed, what is refused.

use dataplane::router::Family;
use dataplane::rules::Table;
use proto::iptables::Tables;

use control::iptables::command::{Outcome, run};

fn words(line: &str) -> Vec<String> {
    // The commands are those of a shell; the lexer of restore files knows the same double quotes.
    control::iptables::lex::split(line).unwrap()
}

fn family(tool: &str) -> Family {
    if tool == "ip6tables" { Family::V6 } else { Family::V4 }
}

fn command(tables: &Tables, family: Family, line: &str) -> Result<Outcome, String> {
    run(&words(line), family, tables, None, false)
}

fn change(tables: &mut Tables, family: Family, line: &str) -> Result<String, String> {
    let outcome = command(tables, family, line)?;
    if let Some(new) = outcome.tables {
        *tables = new;
    }
    Ok(outcome.text)
}

/// Every rule in `iptables/recorded.txt` is printed by `-S`, `-nL` and `-L` as the iptables it was recorded from did, and what
/// `-S` prints is read as the same rule.
#[test]
fn rules_are_printed_as_iptables_prints_them() {
    let mut lines = include_str!("iptables/recorded.txt").lines();
    let (mut count, mut wrong) = (0, Vec::new());
    while let Some(line) = lines.next() {
        let (tool, rest) = line.split_once(' ').unwrap();
        let (table, line) = rest.split_once(' ').unwrap();
        let family = family(tool);
        let expected: Vec<&str> = (0..3).map(|_| &lines.next().unwrap()[1..]).collect();
        let mut tables = Tables::default();
        change(&mut tables, family, &format!("-t {table} -N uc")).unwrap();
        if let Err(error) = change(&mut tables, family, &format!("-t {table} {line}")) {
            wrong.push(format!("{line}\n  {error}"));
            continue;
        }
        let chain = line.split(' ').nth(1).unwrap();
        for (view, expected) in [("-S", expected[0]), ("-nL", expected[1]), ("-L", expected[2])] {
            let printed = change(&mut tables, family, &format!("-t {table} {view} {chain} 1")).unwrap();
            if printed.trim_end_matches('\n') != expected {
                wrong.push(format!("{line} ({view})\n  real {expected:?}\n  ours {:?}", printed.trim_end_matches('\n')));
            }
        }
        let mut again = Tables::default();
        change(&mut again, family, &format!("-t {table} -N uc")).unwrap();
        change(&mut again, family, &format!("-t {table} {}", expected[0])).unwrap();
        assert_eq!(again, tables, "{line}");
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 200, "{count}");
    assert_eq!(Table::ALL.len(), 5);
}

/// Whole listings are those of iptables, octet for octet: the answers to the lines with `@` in `iptables/listings.txt`, for the
/// rules of `iptables/rules.txt`.
#[test]
fn listings_are_those_of_iptables() {
    let mut tables = Tables::default();
    for line in include_str!("iptables/rules.txt").lines() {
        let (table, line) = line.split_once(' ').unwrap();
        change(&mut tables, Family::V4, &format!("-t {table} {line}")).unwrap();
    }
    let mut count = 0;
    for part in include_str!("iptables/listings.txt").split("@ ").skip(1) {
        let (line, expected) = part.split_once('\n').unwrap();
        assert_eq!(change(&mut tables, Family::V4, line).unwrap(), expected, "{line}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}

/// What iptables refuses, or what is not supported, is refused, and the message names it.
#[test]
fn refusals_name_what_is_wrong() {
    let mut tables = Tables::default();
    change(&mut tables, Family::V4, "-N uc").unwrap();
    change(&mut tables, Family::V4, "-A uc -j RETURN").unwrap();
    change(&mut tables, Family::V4, "-A FORWARD -j uc").unwrap();
    let cases = [
        ("", "no command specified"),
        ("-s 1.2.3.4", "no command specified"),
        ("-t foo -L", "table \"foo\" does not exist"),
        ("-t nat -t nat -L", "multiple -t"),
        ("-L -S", "cannot use --list-rules with --list"),
        ("-A nope -j ACCEPT", "No chain/target/match by that name"),
        ("-t nat -A FORWARD -j ACCEPT", "no chain \"FORWARD\" in table nat"),
        ("-F nope", "No chain/target/match by that name"),
        ("-N uc", "Chain already exists"),
        ("-N INPUT", "Chain already exists"),
        ("-N ACCEPT", "may not clash with target name"),
        ("-N thischainnameisfartoolongforthekernel", "too long (must be under 29 chars)"),
        ("-N \"a b\"", "invalid chain name"),
        ("-X uc", "Too many links"),
        ("-X INPUT", "built in"),
        ("-E uc INPUT", "File exists"),
        ("-E nope x", "No chain/target/match by that name"),
        ("-P uc DROP", "Bad built-in chain name"),
        ("-P INPUT REJECT", "Bad policy name"),
        ("-I FORWARD 3 -j ACCEPT", "Index of insertion too big"),
        ("-I FORWARD 0 -j ACCEPT", "invalid rule number"),
        ("-D FORWARD 9", "Index of deletion too big"),
        ("-R FORWARD 2 -j ACCEPT", "Index of replacement too big"),
        ("-R FORWARD 1 -s 1.1.1.1,2.2.2.2 -j ACCEPT", "does not specify a unique address"),
        ("-D FORWARD -j ACCEPT", "Bad rule (does a matching rule exist in that chain?)"),
        ("-C FORWARD -p icmp -j DROP", "Bad rule (does a matching rule exist in that chain?)"),
        ("-Z FORWARD 2", "Index of zeroing too big"),
        ("-L FORWARD -j ACCEPT", "options of a rule do not go with --list"),
        ("-A FORWARD -n", "-n, -x and --line-numbers go with -L only"),
        ("-A FORWARD -v", "-v goes with -L and -S only"),
        ("-6 -L", "-6 does not go with iptables"),
        ("--modprobe=x -L", "--modprobe is not supported"),
        ("-A FORWARD foo", "bad argument \"foo\""),
        ("-A FORWARD -y", "unknown option \"-y\""),
        ("-A FORWARD ! ! -i a", "multiple consecutive !"),
        ("-A FORWARD -j ACCEPT !", "nothing appropriate following !"),
        ("-A FORWARD -s ! 1.2.3.4", "`!` belongs in front of -s"),
        ("-A FORWARD ! -j ACCEPT", "`!` is not allowed with -j"),
        ("-A FORWARD -s", "option -s requires an argument"),
        ("-A FORWARD -s 1.2.3.400", "\"1.2.3.400\" not found"),
        ("-A FORWARD -s example.org", "host names are not looked up"),
        ("-A FORWARD -s fd00::1", "is an IPv6 address"),
        ("-A FORWARD -s 1.1.1.1/33", "invalid mask \"33\""),
        ("-A FORWARD ! -s 1.1.1.1,2.2.2.2", "! not allowed with multiple"),
        ("-A FORWARD -s 1.1.1.1 -s 2.2.2.2", "multiple -s flags"),
        ("-A FORWARD -p tcp -p udp", "multiple -p flags"),
        ("-A FORWARD -p nope", "unknown protocol \"nope\""),
        ("-A FORWARD -p 256", "unknown protocol \"256\""),
        ("-A FORWARD ! -p all", "rule would never match protocol"),
        ("-A FORWARD -i averyveryverylongname", "1 to 15 octets"),
        ("-A FORWARD -j ACCEPT -j DROP", "multiple -j or -g flags"),
        ("-A FORWARD -m recent --set", "match \"recent\" is not supported"),
        ("-A FORWARD -m conntrak --ctstate NEW", "did you mean \"conntrack\"?"),
        ("-A FORWARD -m hl --hl-eq 1", "match \"hl\" is not one of iptables"),
        ("-A FORWARD -m physdev --physdev-in a", "match \"physdev\" is not supported"),
        ("-A FORWARD -m hashlimit --hashlimit-name a", "match \"hashlimit\" is not supported"),
        ("-A FORWARD -m connlimit --connlimit-above 1", "match \"connlimit\" is not supported"),
        ("-A FORWARD -j NFQUEUE --queue-num 1", "target \"NFQUEUE\" is not supported"),
        ("-A FORWARD -j HL --hl-set 1", "target \"HL\" is not one of iptables"),
        ("-A FORWARD --dport 80", "-p tcp or -p udp must be in front"),
        ("-A FORWARD -p tcp --dporf 80", "did you mean \"dport\"?"),
        ("-A FORWARD -p tcp --dport 70000", "invalid port/service \"70000\""),
        ("-A FORWARD -p tcp --dport 80:20", "goes downwards"),
        ("-A FORWARD -p tcp --dport 80 --dport 81", "--dport is given twice"),
        ("-A FORWARD -p tcp --syn=1", "has no value"),
        ("-A FORWARD -p tcp --syn --tcp-flags SYN SYN", "--syn and --tcp-flags exclude each other"),
        ("-A FORWARD -p tcp --tcp-flags SYN,FOO SYN", "unknown TCP flag \"FOO\""),
        ("-A FORWARD -m tcp --dport 80", "match \"tcp\" needs -p tcp"),
        ("-A FORWARD ! -p tcp --dport 80", "match \"tcp\" needs -p tcp"),
        ("-A FORWARD -m multiport --dports 1,2", "match \"multiport\" needs -p tcp or -p udp"),
        ("-A FORWARD -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16", "more than 15 ports"),
        ("-A FORWARD -p tcp -m multiport", "one of --sports, --dports, --ports is missing"),
        ("-A FORWARD -p icmp --icmp-type nope", "unknown ICMP type \"nope\""),
        ("-A FORWARD -p icmp --icmp-type ttl-zero", "could be several"),
        ("-A FORWARD -m conntrack --ctstate NEWISH", "unknown word \"NEWISH\""),
        ("-A FORWARD -m state --state SNAT", "unknown word \"SNAT\""),
        ("-A FORWARD -m conntrack --ctexpire 5", "unknown option --ctexpire"),
        ("-A FORWARD -m limit --limit 0/s", "is not a rate"),
        ("-A FORWARD -m limit --limit 20000/s", "too fast"),
        ("-A FORWARD -m limit --limit 5/min --limit-burst 0", "not a number from 1 to 10000"),
        ("-A FORWARD -m mark --mark x", "match \"mark\": --mark"),
        ("-A FORWARD -m mark", "--mark is missing"),
        ("-A FORWARD -m mac --mac-source 1", "is not a MAC address"),
        ("-A FORWARD -m ttl --ttl-eq 1 --ttl-gt 2", "exclude each other"),
        ("-A FORWARD -m ttl ! --ttl-gt 2", "`!` is not allowed with --ttl-gt"),
        ("-A FORWARD -m dscp --dscp 64", "not a number from 0 to 63"),
        ("-A FORWARD -m dscp --dscp-class AF14", "unknown DSCP class \"AF14\""),
        ("-A FORWARD -m addrtype --limit-iface-in", "--src-type or --dst-type is missing"),
        ("-A FORWARD -m addrtype --src-type NAT", "unknown word \"NAT\""),
        ("-A FORWARD -m set --match-set s1 up", "not src, dst"),
        ("-A FORWARD -m statistic --mode nth --probability 0.5", "does not go with --mode nth"),
        ("-A FORWARD -m statistic --mode nth --every 2 --packet 2", "not below --every"),
        ("-A FORWARD -j REJECT --reject-with tcp-reset", "needs -p tcp"),
        ("-A FORWARD -j REJECT --reject-with icmp-nope", "unknown reject type"),
        ("-A FORWARD -j LOG --log-prefix 012345678901234567890123456789", "longer than 29 octets"),
        ("-A FORWARD -j LOG --log-uid", "unknown option --log-uid"),
        ("-A FORWARD -j MARK", "is missing"),
        ("-A FORWARD -j MARK --set-mark 1 --or-mark 2", "--set-mark and --or-mark exclude each other"),
        ("-A FORWARD -j CONNMARK --set-mark 1 --mask 2", "--mask goes with --save-mark and --restore-mark only"),
        ("-A FORWARD -p tcp -j TCPMSS --set-mss 1400", "needs --syn"),
        ("-A FORWARD -j TCPMSS --set-mss 1400", "target \"TCPMSS\" needs -p tcp"),
        ("-t raw -A PREROUTING -j CT --helper sip", "helper \"sip\" is not supported"),
        ("-t raw -A PREROUTING -j CT --notrack --zone 1", "--notrack does not go with other options"),
        ("-t nat -A POSTROUTING -j SNAT", "--to-source is missing"),
        ("-t nat -A POSTROUTING -j SNAT --to 1.2.3.4:5", "(it translates ports)"),
        ("-t nat -A POSTROUTING -j SNAT --to 2.2.2.2-1.1.1.1", "goes downwards"),
        ("-t nat -A POSTROUTING -p tcp -j MASQUERADE --to-ports 0", "port 0"),
        ("-t nat -A PREROUTING -j NETMAP --to 10.0.0.0/255.0.255.0", "has gaps"),
        ("-A FORWARD -m comment --comment \"a", "not closed"),
    ];
    for (line, message) in cases {
        let outcome = control::iptables::lex::split(line).and_then(|words| run(&words, Family::V4, &tables, None, false));
        match outcome {
            Ok(outcome) => panic!("{line}: accepted: {:?}", outcome.tables),
            Err(error) => assert!(error.contains(message), "{line}\n  {error}\n  lacks {message:?}"),
        }
    }
}

fn rules_of(tables: &Tables, chain: &str) -> Vec<String> {
    tables.filter.get(chain).map(|chain| chain.rules.clone()).unwrap_or_default()
}

/// Commands place, replace and remove rules as iptables does, also where one command stands for several rules.
#[test]
fn commands_edit_chains() {
    let mut tables = Tables::default();
    let mut run = |line: &str| {
        change(&mut tables, Family::V4, line).unwrap();
        rules_of(&tables, "INPUT")
    };
    run("-A INPUT -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4");
    run("-I INPUT -s 9.9.9.1,9.9.9.2");
    let all = run("-I INPUT 2 -s 9.9.9.3,9.9.9.4");
    let sources: Vec<&str> = all.iter().map(|rule| rule.split(' ').nth(1).unwrap()).collect();
    assert_eq!(sources[..4], ["9.9.9.2/32", "9.9.9.4/32", "9.9.9.3/32", "9.9.9.1/32"]);
    assert_eq!(all[4..6], ["-s 1.1.1.1/32 -d 3.3.3.3/32", "-s 1.1.1.1/32 -d 4.4.4.4/32"]);
    assert_eq!(run("-D INPUT 1").len(), 7);
    assert_eq!(run("-D INPUT -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4").len(), 3);
    assert_eq!(run("-R INPUT 2 -p udp -j DROP")[1], "-p udp -j DROP");
    run("-C INPUT -p 17 --jump DROP");
    assert_eq!(run("-F"), Vec::<String>::new());
    run("-P INPUT DROP");
    run("-N a");
    run("-A a -j RETURN");
    run("-A INPUT -g a");
    assert_eq!(run("-E a b"), ["-g b"]);
    run("-F");
    run("-X");
    run("-P INPUT ACCEPT");
    assert_eq!(tables, Tables::default(), "nothing is left");
}

/// A rule is found by what it means, however it is written in the configuration.
#[test]
fn rules_of_a_file_need_not_be_canonical() {
    let mut tables = Tables::default();
    let chain = proto::iptables::ChainConfig { policy: None, rules: vec!["--protocol tcp --dport=http -j DROP".into()] };
    tables.filter.insert("FORWARD".into(), chain);
    assert_eq!(change(&mut tables, Family::V4, "-S FORWARD").unwrap(), "-P FORWARD ACCEPT\n-A FORWARD -p tcp -m tcp --dport 80 -j DROP\n");
    change(&mut tables, Family::V4, "-D FORWARD -p tcp --dport 80 -j DROP").unwrap();
    assert_eq!(tables, Tables::default());
}
