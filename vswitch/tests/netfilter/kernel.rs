//! The kernel as a router: a network namespace with netfilter.

use std::io::Write as _;
use std::process::Stdio;

use crate::connections::Connection;
use crate::lab::Lab;
use crate::place::{Family, LONGER_TIMEOUTS, Side, dead_routes};
use crate::rule_sets::RuleSet;
use crate::system::System;
use crate::wires::Wires;

pub(crate) struct Kernel {
    name: String,
    lab: Lab,
    wires: Wires,
}

impl Kernel {
    /// Makes a namespace with both links, addresses and routes.
    pub(crate) fn new(name: &str) -> Kernel {
        let lab = Lab::without_daemon();
        let mut wires = Wires::new(&lab.home);
        lab.home.run("ip link set dev lo up");
        // No answers and messages of its own that depend on time or chance: no router solicitations, no duplicate address
        // detection, no redirects, no rate limits.
        let settings = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/disable_ipv6", "0"),
            ("net/ipv6/conf/default/disable_ipv6", "0"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
            ("net/ipv4/icmp_ratelimit", "0"),
            // Else each error takes from what `ip_error` may send to the same host.
            ("net/ipv4/icmp_ratemask", "0"),
            ("net/ipv4/icmp_msgs_per_sec", "1000000"),
            ("net/ipv4/icmp_msgs_burst", "1000000"),
            ("net/ipv6/icmp/ratelimit", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
        ];
        for (timeout, seconds) in LONGER_TIMEOUTS {
            write_setting(&lab, &format!("net/netfilter/nf_conntrack_{timeout}"), &seconds.to_string());
        }
        for (key, value) in settings {
            write_setting(&lab, key, value);
        }
        for side in Side::BOTH {
            let interface = side.interface();
            for (key, value) in [
                // What it says of its groups is said, twice, when the first sequence begins.
                ("ipv6/conf/IF/mldv2_unsolicited_report_interval", "1"),
                ("ipv6/conf/IF/addr_gen_mode", "1"),
                ("ipv6/conf/IF/disable_ipv6", "0"),
                ("ipv6/conf/IF/accept_dad", "0"),
                ("ipv4/conf/IF/send_redirects", "0"),
                ("ipv4/conf/IF/rp_filter", "0"),
            ] {
                write_setting(&lab, &format!("net/{}", key.replace("IF", interface)), value);
            }
            wires.set_mac(side, &lab.home.mac(interface));
            let mac = wire::MacAddr(side.neighbour_mac());
            for family in [Family::V4, Family::V6] {
                let (addresses, len) = side.router(family);
                for address in addresses {
                    lab.home
                        .run(&format!("ip addr add {address}/{len} dev {interface} {}", if family == Family::V6 { "nodad" } else { "" }));
                }
                let neighbour = side.neighbour(family);
                lab.home.run(&format!("ip neigh add {neighbour} lladdr {mac} dev {interface} nud permanent"));
                for network in side.networks(family) {
                    lab.home.run(&format!("ip route add {network} via {neighbour} dev {interface}"));
                }
            }
        }
        for family in [Family::V4, Family::V6] {
            for (kind, prefix) in dead_routes(family) {
                lab.home.run(&format!("ip {} route add {kind} {prefix}", if family == Family::V6 { "-6" } else { "-4" }));
            }
        }
        Kernel { name: name.to_owned(), lab, wires }
    }

    fn feed(&self, program: &str, input: &str) {
        let mut command = self.lab.home.command(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program}: {}\n{input}", String::from_utf8_lossy(&output.stderr));
    }
}

fn write_setting(lab: &Lab, key: &str, value: &str) {
    let output = lab.home.command("sh").args(["-c", &format!("echo {value} >/proc/sys/{key}")]).output().unwrap();
    assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
}

impl System for Kernel {
    fn name(&self) -> &str {
        &self.name
    }

    fn load(&mut self, rules: &RuleSet) {
        // The sets cannot go while rules use them.
        self.feed("iptables-restore", &RuleSet::empty());
        self.feed("ip6tables-restore", &RuleSet::empty());
        self.lab.home.run("ipset destroy");
        for line in rules.ipset() {
            self.lab.home.run(&format!("ipset {line}"));
        }
        self.feed("iptables-restore", &rules.iptables(Family::V4));
        self.feed("ip6tables-restore", &rules.iptables(Family::V6));
        self.lab.home.run("conntrack -F");
    }

    fn exchange(&mut self, side: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)> {
        self.wires.exchange(side, packet)
    }

    fn connections(&self) -> Vec<Connection> {
        let list = |family: &str| self.lab.home.run(&format!("conntrack -L -f {family}"));
        [list("ipv4"), list("ipv6")].iter().flat_map(|text| text.lines()).map(Connection::parse).collect()
    }

    fn counters(&self) -> String {
        [self.lab.home.run("iptables-save -c"), self.lab.home.run("ip6tables-save -c")].concat()
    }
}
