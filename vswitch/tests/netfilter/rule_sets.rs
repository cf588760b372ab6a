//! The rule sets that are compared, each written once for both families.
//!
//! A line is a table and what `iptables` is told: `filter -A FORWARD ...`, `filter -P FORWARD DROP`, `filter -N chain`. Words in
//! braces stand for what differs between the families; a line that begins with `4` or `6` is for that one alone.

use std::fmt::Write as _;

use crate::place::{Family, Host, Side};
use crate::random::Random;
use crate::wires::MARKER_PORT;

const TABLES: [(&str, &[&str]); 5] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

/// Rules for both families.
#[derive(Clone, Debug)]
pub(crate) struct RuleSet {
    pub(crate) name: String,
    text: String,
    sets: Vec<&'static str>,
    /// Ranges of ports that its NAT rules choose from.
    pub(crate) ranges: Vec<(u16, u16)>,
}

impl RuleSet {
    pub(crate) fn new(name: &str, text: &str) -> RuleSet {
        RuleSet { name: name.into(), text: text.into(), sets: Vec::new(), ranges: Vec::new() }
    }

    /// The same with other words in it, to see that the difference is found.
    ///
    /// # Panics
    ///
    /// If `from` is not in it.
    pub(crate) fn with(&self, from: &str, to: &str) -> RuleSet {
        assert!(self.text.contains(from), "{from} is not in {}", self.name);
        RuleSet { text: self.text.replace(from, to), ..self.clone() }
    }

    /// What empties all tables.
    pub(crate) fn empty() -> String {
        TABLES.iter().fold(String::new(), |mut text, (table, chains)| {
            let _ = writeln!(text, "*{table}");
            for chain in *chains {
                let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
            }
            text + "COMMIT\n"
        })
    }

    /// For `iptables-restore` or `ip6tables-restore`. Markers pass, untracked, in front of all other rules, and a rule asks for
    /// the state, since the kernel tracks nothing before one does.
    pub(crate) fn iptables(&self, family: Family) -> String {
        let lines: Vec<String> = self.lines(family);
        let mut text = String::new();
        for (table, chains) in TABLES {
            let mine = || lines.iter().filter_map(|line| line.strip_prefix(table)?.strip_prefix(' '));
            let _ = writeln!(text, "*{table}");
            for chain in chains {
                let policy = mine().find_map(|line| line.strip_prefix("-P ")?.strip_prefix(chain)).unwrap_or(" ACCEPT");
                let _ = writeln!(text, ":{chain}{policy} [0:0]");
            }
            for chain in mine().filter_map(|line| line.strip_prefix("-N ")) {
                let _ = writeln!(text, ":{chain} - [0:0]");
            }
            if family == Family::V4 && table != "nat" {
                let targets: &[&str] = if table == "raw" { &["CT --notrack", "ACCEPT"] } else { &["ACCEPT"] };
                for chain in chains.iter().filter(|chain| matches!(**chain, "PREROUTING" | "FORWARD" | "POSTROUTING")) {
                    for target in targets {
                        let _ = writeln!(text, "-A {chain} -s 198.18.0.0/15 -p udp -m udp --dport {MARKER_PORT} -j {target}");
                    }
                }
            }
            if table == "filter" {
                let _ = writeln!(text, "-A FORWARD -m conntrack --ctstate INVALID");
            }
            for line in mine().filter(|line| line.starts_with("-A ")) {
                let _ = writeln!(text, "{line}");
            }
            text.push_str("COMMIT\n");
        }
        text
    }

    /// Arguments for `ipset`, a line each.
    pub(crate) fn ipset(&self) -> &[&'static str] {
        &self.sets
    }

    /// Ranges that no rule has are not looked for: any port may lie in them.
    fn find_ranges(&mut self) {
        let all = [(20000, 20063), (21000, 21063), (22000, 22063)];
        self.ranges = all.into_iter().filter(|(first, last)| self.text.contains(&format!("{first}-{last}"))).collect();
    }

    /// Whether a rule changes the IPv6 header of packets to the router itself.
    pub(crate) fn change_ipv6_to_router(&self) -> bool {
        let forwarded_only = |line: &str| ["FORWARD", "OUTPUT", "POSTROUTING"].iter().any(|chain| line.contains(&format!("-A {chain} ")));
        let lines = self.lines(Family::V6);
        lines
            .iter()
            .any(|line| line.starts_with("mangle -A") && !forwarded_only(line) && (line.contains("-j HL") || line.contains("-j DSCP")))
    }

    /// Whether a rule redirects to the router itself.
    pub(crate) fn redirect(&self) -> bool {
        self.text.contains("-j REDIRECT")
    }

    /// Whether a rule rejects packets of any protocol.
    pub(crate) fn reject_any_protocol(&self, family: Family) -> bool {
        self.lines(family).iter().any(|line| line.contains("-j REJECT") && !line.contains(" -p "))
    }

    fn lines(&self, family: Family) -> Vec<String> {
        self.text.lines().filter_map(|line| for_family(line.trim(), family)).filter(|line| !line.is_empty()).collect()
    }
}

fn for_family(line: &str, family: Family) -> Option<String> {
    let line = match (line.split_once(' '), family) {
        (Some(("4", rest)), Family::V4) | (Some(("6", rest)), Family::V6) => rest,
        (Some(("4" | "6", _)), _) => return None,
        _ => line,
    };
    let mut text = line.to_owned();
    while let Some((before, rest)) = text.split_once('{') {
        let (word, after) = rest.split_once('}').unwrap_or_else(|| panic!("no }} in {line}"));
        text = format!("{before}{}{after}", meaning(word, family));
    }
    Some(text)
}

/// What a word in braces stands for.
fn meaning(word: &str, family: Family) -> String {
    let v4 = family == Family::V4;
    let either = |four: &str, six: &str| if v4 { four.to_owned() } else { six.to_owned() };
    let number = || word.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u8>().unwrap_or_else(|_| panic!("{{{word}}}"));
    let network = |host: Host| {
        let address = host.address(family, 0);
        if v4 { format!("{address}/16") } else { format!("{address}/{}", if matches!(host, Host::Lan(_)) { 32 } else { 48 }) }
    };
    match word {
        "icmp" => either("icmp", "ipv6-icmp"),
        "icmp-match" => either("icmp -m icmp --icmp-type", "ipv6-icmp -m icmp6 --icmpv6-type"),
        "ttl" => either("-m ttl --ttl", "-m hl --hl"),
        "TTL" => either("TTL --ttl", "HL --hl"),
        "lan" => either("10.0.0.0/14", "fd10::/30"),
        "server-net" => either("10.9.0.0/24", "fd10:9::/120"),
        "pool-net" => either("198.51.100.0/24", "2001:db8:beef::/120"),
        "hidden-net" => either("172.31.0.0/16", "fd31::/32"),
        "lan1-net" => network(Host::Lan(1)),
        "server" => Host::Server.address(family, 0).to_string(),
        "router-wan" => Host::Router(Side::Wan).address(family, 0).to_string(),
        // Behind the LAN, and of no sequence.
        "guest" => either("10.9.0.99", "fd10:9::99"),
        "router-lan" => Host::Router(Side::Lan).address(family, 0).to_string(),
        // With a port behind it.
        "server:" | "pool:" if v4 => format!("{}:", meaning(&word[..word.len() - 1], family)),
        "server:" => format!("[{}]:", Host::Server.address(family, 0)),
        "pool:" => format!("[{}]:", Host::Pool(20).address(family, 0)),
        "pool" => Host::Pool(20).address(family, 0).to_string(),
        _ if word.starts_with("pool") => Host::Pool(number()).address(family, 0).to_string(),
        _ if word.starts_with("lan") => network(Host::Lan(number())),
        _ if word.starts_with("wan") => network(Host::Wan(number())),
        _ => panic!("{{{word}}} means nothing"),
    }
}

/// All that are written down here.
pub(crate) fn all() -> Vec<RuleSet> {
    let mut all = vec![
        RuleSet::new("no rules", ""),
        RuleSet::new(
            "stateful firewall",
            "filter -P FORWARD DROP
             filter -P INPUT DROP
             filter -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             filter -A FORWARD -m conntrack --ctstate INVALID -j DROP
             filter -A FORWARD -i lan -o wan -m conntrack --ctstate NEW -j ACCEPT
             filter -A FORWARD -i wan -d {server} -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
             filter -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             filter -A INPUT -p {icmp-match} echo-request -j ACCEPT
             filter -A INPUT -i lan -p tcp -m tcp --dport 22 -j REJECT",
        ),
        RuleSet::new(
            "reject in all ways",
            "4 filter -A FORWARD -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset
             4 filter -A FORWARD -p tcp -m tcp --dport 443 -j REJECT --reject-with icmp-port-unreachable
             4 filter -A FORWARD -p tcp -m tcp --dport 22 -j REJECT --reject-with icmp-net-unreachable
             4 filter -A FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with icmp-admin-prohibited
             4 filter -A FORWARD -p udp -m udp --dport 53 -j REJECT --reject-with icmp-host-unreachable
             4 filter -A FORWARD -p udp -m udp --dport 5353 -j REJECT --reject-with icmp-proto-unreachable
             4 filter -A FORWARD -p udp -m udp --dport 7777 -j REJECT --reject-with icmp-net-prohibited
             4 filter -A FORWARD -p udp -m udp --dport 1001 -j REJECT --reject-with icmp-host-prohibited
             6 filter -A FORWARD -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset
             6 filter -A FORWARD -p tcp -m tcp --dport 443 -j REJECT --reject-with icmp6-port-unreachable
             6 filter -A FORWARD -p tcp -m tcp --dport 22 -j REJECT --reject-with icmp6-no-route
             6 filter -A FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with icmp6-adm-prohibited
             6 filter -A FORWARD -p udp -m udp --dport 53 -j REJECT --reject-with icmp6-addr-unreachable
             6 filter -A FORWARD -p udp -m udp --dport 5353 -j REJECT --reject-with icmp6-policy-fail
             6 filter -A FORWARD -p udp -m udp --dport 7777 -j REJECT --reject-with icmp6-reject-route
             filter -A FORWARD -p {icmp-match} echo-request -j REJECT
             filter -A INPUT -p tcp -j REJECT --reject-with tcp-reset
             filter -A INPUT -p udp -j REJECT
             filter -A OUTPUT -p {icmp-match} destination-unreachable -d {lan3} -j DROP",
        ),
        RuleSet::new("masquerade", "nat -A POSTROUTING -s {lan} -o wan -j MASQUERADE"),
        RuleSet::new(
            "masquerade behind a firewall",
            "nat -A POSTROUTING -s {lan} -o wan -j MASQUERADE
             filter -P FORWARD DROP
             filter -A FORWARD -i lan -o wan -j ACCEPT
             filter -A FORWARD -i wan -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             filter -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
             nat -A PREROUTING -i wan -d {router-wan} -p tcp -m tcp --dport 8080 -j DNAT --to-destination {server:}80",
        ),
        RuleSet::new(
            "SNAT with ranges",
            "nat -A POSTROUTING -s {lan0} -o wan -p udp -j SNAT --to-source {pool:}20000-20063
             nat -A POSTROUTING -s {lan0} -o wan -p tcp -j SNAT --to-source {pool:}21000-21063
             nat -A POSTROUTING -s {lan1-net} -o wan -j SNAT --to-source {pool11}
             nat -A POSTROUTING -s {lan2} -o wan -p tcp -j MASQUERADE --to-ports 22000-22063
             nat -A POSTROUTING -s {lan2} -o wan -p udp -j MASQUERADE --random
             nat -A POSTROUTING -s {lan3} -o wan -j SNAT --to-source {pool12} --persistent",
        ),
        RuleSet::new(
            "port forwarding with hairpin",
            "nat -A PREROUTING -d {router-wan} -p tcp -m tcp --dport 8080 -j DNAT --to-destination {server:}80
             nat -A PREROUTING -d {router-wan} -p udp -m udp --dport 53 -j DNAT --to-destination {server:}5353
             nat -A PREROUTING -d {pool20} -j DNAT --to-destination {server}
             nat -A PREROUTING -d {router-wan} -p {icmp-match} echo-request -s {wan1} -j DNAT --to-destination {server}
             nat -A POSTROUTING -s {lan} -d {server} -j MASQUERADE
             nat -A POSTROUTING -s {lan} -o wan -j SNAT --to-source {router-wan}",
        ),
        RuleSet::new(
            "REDIRECT and the router's own packets",
            "nat -A PREROUTING -i lan -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128
             nat -A PREROUTING -i lan -p udp -m udp --dport 53 -j REDIRECT
             nat -A PREROUTING -i lan -p {icmp-match} echo-request -j REDIRECT
             nat -A INPUT -s {lan1-net} -j SNAT --to-source {guest}
             mangle -A OUTPUT -j DSCP --set-dscp 0x2e
             filter -A OUTPUT -p tcp -d {lan2} -j DROP
             filter -A INPUT -p {icmp-match} echo-request -s {wan1} -j DROP",
        ),
        RuleSet::new(
            "NETMAP",
            "nat -A PREROUTING -d {pool-net} -j NETMAP --to {server-net}
             nat -A POSTROUTING -s {server-net} -o wan -j NETMAP --to {pool-net}
             nat -A POSTROUTING -s {lan0} -o wan -j NETMAP --to {hidden-net}",
        ),
        RuleSet::new(
            "mangle",
            "mangle -A PREROUTING -i lan -p udp -m addrtype ! --dst-type LOCAL -j {TTL}-set 17
             mangle -A PREROUTING -i lan -p tcp -j {TTL}-inc 3
             mangle -A FORWARD -p tcp -m tcp --dport 80 -j DSCP --set-dscp-class AF21
             mangle -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
             mangle -A POSTROUTING -p tcp -m tcp --dport 443 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 300
             mangle -A POSTROUTING -p {icmp} -j {TTL}-dec 2
             mangle -A PREROUTING -s {lan1-net} -j MARK --set-xmark 0x11/0xff
             mangle -A PREROUTING -m mark --mark 0x11/0xff -j CONNMARK --save-mark
             mangle -A PREROUTING -i wan -j CONNMARK --restore-mark
             mangle -A POSTROUTING -o lan -m mark --mark 0x11 -j DSCP --set-dscp 0x11
             mangle -A FORWARD -m connmark ! --mark 0x11 -p udp -j CONNMARK --set-xmark 0x7/0xffffffff
             filter -A FORWARD -m mark --mark 0x11 -p udp -m udp --dport 7777 -j DROP",
        ),
        RuleSet::new(
            "zones",
            "raw -A PREROUTING -p udp -j CT --zone 5
             raw -A PREROUTING -i lan -p tcp -m tcp --dport 80 -j CT --zone 1
             raw -A PREROUTING -i wan -p tcp -m tcp --sport 80 -j CT --zone 1
             raw -A PREROUTING -i lan -p tcp -m tcp --dport 443 -j CT --zone 65535
             filter -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
             filter -A FORWARD -i lan -m conntrack --ctstate NEW -j ACCEPT
             filter -A FORWARD -i wan -p tcp -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset",
        ),
        RuleSet::new(
            "untracked",
            "raw -A PREROUTING -p udp -m udp --dport 7777 -j CT --notrack
             raw -A PREROUTING -p udp -m udp --sport 7777 -j CT --notrack
             raw -A PREROUTING -s {lan2} -j NOTRACK
             raw -A PREROUTING -s {wan2} -j DROP
             filter -A FORWARD -m conntrack --ctstate UNTRACKED -p udp -j ACCEPT
             filter -A FORWARD -m conntrack ! --ctstate NEW,ESTABLISHED,RELATED,UNTRACKED -j DROP
             filter -A FORWARD -m conntrack --ctstate UNTRACKED -p tcp -j REJECT --reject-with tcp-reset
             nat -A POSTROUTING -s {lan} -o wan -j MASQUERADE",
        ),
        RuleSet::new(
            "user chains",
            "filter -N tcp-in
             filter -N udp-in
             filter -N deep
             filter -N deeper
             filter -A FORWARD -p tcp -j tcp-in
             filter -A FORWARD -p udp -g udp-in
             filter -A FORWARD -p tcp -m tcp --dport 443 -j DROP
             filter -A FORWARD -p udp -j DROP
             filter -A tcp-in -p tcp -m tcp --dport 22 -j DROP
             filter -A tcp-in -p tcp -m tcp --dport 80 -g deep
             filter -A tcp-in -p tcp -m tcp --dport 443 -j RETURN
             filter -A tcp-in -p tcp -m tcp --dport 8080 -j deep
             filter -A tcp-in -p tcp -m tcp --dport 8080 -j REJECT --reject-with tcp-reset
             filter -A udp-in -p udp -m udp --dport 53 -j RETURN
             filter -A udp-in -p udp -m udp --dport 5353 -j DROP
             filter -A udp-in -j deeper
             filter -A deep -s {lan0} -j deeper
             filter -A deep -s {lan1-net} -j DROP
             filter -A deeper -s {lan0} -d {wan1} -j RETURN
             filter -A deeper -d {wan1} -j REJECT
             filter -A deeper -m comment --comment \"what is left\" -j ACCEPT",
        ),
        RuleSet::new(
            "matches",
            "mangle -A FORWARD -p tcp -m multiport --dports 22,80,8000:8999 -j DSCP --set-dscp 1
             mangle -A FORWARD -p udp -m multiport ! --ports 53,5353 -j DSCP --set-dscp 2
             mangle -A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j {TTL}-set 41
             mangle -A FORWARD -p tcp -m tcp --tcp-flags ALL NONE -j {TTL}-set 42
             mangle -A FORWARD -p tcp -m tcp ! --tcp-flags SYN,ACK SYN,ACK -m tcp --sport 1024:65535 -j DSCP --set-dscp 3
             mangle -A FORWARD -p udp -m length --length 100:500 -j {TTL}-set 43
             mangle -A FORWARD {ttl}-lt 10 -j DSCP --set-dscp 4
             mangle -A FORWARD {ttl}-eq 64 -p {icmp} -j DSCP --set-dscp 5
             mangle -A FORWARD -m dscp --dscp 0x0a -j {TTL}-set 44
             mangle -A FORWARD -p {icmp-match} echo-reply -j {TTL}-set 45
             mangle -A FORWARD -p {icmp-match} port-unreachable -j {TTL}-set 46
             mangle -A FORWARD ! -s {lan} -i wan ! -d {lan1-net} -p udp -j {TTL}-set 47
             4 mangle -A FORWARD -f -j DSCP --set-dscp 6
             mangle -A PREROUTING -m addrtype --dst-type LOCAL -j MARK --set-xmark 0x1/0xffffffff
             mangle -A PREROUTING -m addrtype ! --dst-type UNICAST -j MARK --set-xmark 0x2/0x2
             filter -A INPUT -m mark --mark 0x1/0x1 -p udp -j DROP
             filter -A FORWARD -m addrtype --src-type UNICAST -i lan -m mac --mac-source 02:00:00:00:01:02 -p tcp -m tcp --dport 443 -j DROP
             filter -A FORWARD -m mac ! --mac-source 02:00:00:00:01:02 -i lan -j DROP
             filter -A FORWARD ! -p tcp -m conntrack --ctstate RELATED -i wan -d {lan2} -j DROP
             filter -A FORWARD -m conntrack --ctstate ESTABLISHED -p sctp -j DROP",
        ),
        RuleSet::new(
            "what state sees",
            "mangle -A POSTROUTING -m conntrack --ctstate NEW -j {TTL}-set 51
             mangle -A POSTROUTING -m conntrack --ctstate ESTABLISHED -j {TTL}-set 52
             mangle -A POSTROUTING -m conntrack --ctstate RELATED -j {TTL}-set 53
             mangle -A POSTROUTING -m conntrack --ctstate INVALID -j {TTL}-set 54
             mangle -A POSTROUTING -m conntrack --ctstate UNTRACKED -j {TTL}-set 55
             mangle -A POSTROUTING -m conntrack --ctstate SNAT -j DSCP --set-dscp 0x10
             mangle -A POSTROUTING -m conntrack --ctstate DNAT -j DSCP --set-dscp 0x20
             nat -A POSTROUTING -s {lan0} -o wan -j MASQUERADE
             nat -A PREROUTING -d {router-wan} -p tcp -m tcp --dport 8080 -j DNAT --to-destination {server:}80",
        ),
        RuleSet::new(
            "security table and policies",
            "security -A FORWARD -p udp -m udp --dport 5353 -j DROP
             security -A INPUT -s {wan1} -j DROP
             security -P OUTPUT DROP
             security -A OUTPUT -p {icmp} -j ACCEPT
             mangle -P INPUT ACCEPT
             filter -P OUTPUT DROP
             filter -A OUTPUT -p {icmp-match} echo-reply -j ACCEPT",
        ),
    ];
    let mut sets = RuleSet::new(
        "sets",
        "4 filter -A FORWARD -m set --match-set hosts4 src -j DROP
         6 filter -A FORWARD -m set --match-set hosts6 src -j DROP
         4 filter -A FORWARD -m set --match-set nets4 dst -p tcp -j REJECT --reject-with tcp-reset
         6 filter -A FORWARD -m set --match-set nets6 dst -p tcp -j REJECT --reject-with tcp-reset
         4 filter -A FORWARD -m set ! --match-set nets4 src -i lan -p udp -m udp --dport 7777 -j DROP
         4 filter -A FORWARD -m set --match-set services4 dst,dst -j DROP
         6 filter -A FORWARD -m set --match-set services6 dst,dst -j DROP",
    );
    sets.sets = vec![
        "create hosts4 hash:ip family inet",
        "add hosts4 10.9.0.80",
        "create hosts6 hash:ip family inet6",
        "add hosts6 fd10:9::80",
        "create nets4 hash:net family inet",
        "add nets4 100.65.0.0/16",
        "add nets4 10.1.0.0/16",
        "add nets4 100.66.0.0/15",
        "create nets6 hash:net family inet6",
        "add nets6 2001:db8:1::/48",
        "create services4 hash:ip,port family inet",
        "add services4 203.0.113.1,tcp:80",
        "add services4 10.9.0.80,udp:53",
        "create services6 hash:ip,port family inet6",
        "add services6 fd10:9::80,tcp:80",
    ];
    all.push(sets);
    all.iter_mut().for_each(RuleSet::find_ranges);
    all
}

/// A rule set by chance: a stateful or open policy, NAT in some shape, and filter and mangle rules of random matches.
pub(crate) fn random(seed: u64) -> RuleSet {
    let mut random = Random::new(seed);
    let mut text = String::new();
    if random.one_in(2) {
        text += "filter -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
    }
    if random.one_in(3) {
        text += "filter -A FORWARD -m conntrack --ctstate INVALID -j DROP\n";
    }
    if random.one_in(6) {
        text += "filter -P FORWARD DROP\nfilter -A FORWARD -i lan -j ACCEPT\n";
    }
    if random.one_in(2) {
        text += random.pick::<&str>(&[
            "nat -A POSTROUTING -s {lan} -o wan -j MASQUERADE\n",
            "nat -A POSTROUTING -o wan -j SNAT --to-source {pool20}\n",
            "nat -A POSTROUTING -o wan -p udp -j MASQUERADE --to-ports 20000-20063\n",
            "nat -A POSTROUTING -o wan -j SNAT --to-source {router-wan}\n",
            "nat -A POSTROUTING ! -d {wan1} -o wan -j MASQUERADE\n",
        ]);
    }
    if random.one_in(2) {
        text += random.pick::<&str>(&[
            "nat -A PREROUTING -i wan -p tcp -m tcp --dport 8080 -j DNAT --to-destination {server:}80\n",
            "nat -A PREROUTING -d {router-wan} -p udp -j DNAT --to-destination {server}\n",
            "nat -A PREROUTING -d {pool-net} -j NETMAP --to {server-net}\n",
            "nat -A PREROUTING -p tcp -m tcp --dport 22 -j REDIRECT\n",
            "nat -A PREROUTING -i lan -p udp -m udp --dport 53 -j DNAT --to-destination {server:}5353\n",
        ]);
    }
    for _ in 0..random.below(8) {
        let mut matches = String::new();
        for kind in RANDOM_MATCHES {
            if random.one_in(3) {
                matches += *random.pick::<&str>(kind);
            }
        }
        let protocol =
            random.pick::<&str>(&["", " -p tcp", " -p udp", " -p tcp -m tcp --dport 80", " -p udp -m udp --dport 53", " -p {icmp}"]);
        let (place, targets) = *random.pick::<(&str, &[&str])>(&[
            ("filter -A FORWARD", &["DROP", "REJECT", "ACCEPT", "RETURN"]),
            ("filter -A FORWARD", &["DROP", "REJECT", "ACCEPT", "RETURN"]),
            ("filter -A INPUT", &["DROP", "REJECT", "ACCEPT"]),
            ("filter -A OUTPUT", &["DROP", "ACCEPT"]),
            ("mangle -A FORWARD", &["DSCP --set-dscp 0x0c", "{TTL}-set 33", "MARK --set-xmark 0x3/0xffffffff", "DROP"]),
            ("mangle -A PREROUTING", &["DSCP --set-dscp 0x0e", "{TTL}-inc 5", "MARK --or-mark 0x5", "CONNMARK --set-xmark 0x9/0xffffffff"]),
            ("mangle -A POSTROUTING", &["DSCP --set-dscp 0x16", "{TTL}-set 35", "CONNMARK --save-mark"]),
            ("raw -A PREROUTING", &["CT --notrack", "DROP", "ACCEPT"]),
        ]);
        let target = random.pick::<&str>(targets);
        // The kernel's editing of IPv6 headers leaves behind a checksum of the packet that conntrack computed, and long
        // datagrams for the router itself are then dropped as damaged.
        let only_v4 = place == "mangle -A PREROUTING" && (target.starts_with("DSCP") || target.starts_with("{TTL}"));
        text += &format!("{}{place}{protocol}{matches} -j {target}\n", if only_v4 { "4 " } else { "" });
    }
    let mut set = RuleSet::new(&format!("random {seed:#x}"), &text);
    set.find_ranges();
    set
}

/// Matches that any chain and protocol may have, one of each kind.
const RANDOM_MATCHES: &[&[&str]] = &[
    &[" -s {lan0}", " -s {lan1-net}", " ! -s {lan2}", " -d {wan0}", " ! -d {wan1}", " -d {server}"],
    &[
        " -m length --length 0:200",
        " -m length ! --length 60:1000",
        " {ttl}-gt 60",
        " {ttl}-lt 30",
        " -m dscp --dscp 0x0a",
        " -m dscp ! --dscp 0x00",
    ],
    &[
        " -m mark --mark 0x1/0x1",
        " -m mark ! --mark 0x3",
        " -m connmark --mark 0x9",
        " -m addrtype --dst-type LOCAL",
        " -m addrtype ! --dst-type LOCAL",
    ],
    &[
        " -m conntrack --ctstate NEW",
        " -m conntrack --ctstate ESTABLISHED",
        " -m conntrack ! --ctstate NEW",
        " -m conntrack --ctstate RELATED,INVALID",
        " -m conntrack --ctstate SNAT,DNAT",
        " -m comment --comment \"by chance\"",
    ],
];
