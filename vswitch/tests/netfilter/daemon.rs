//! A running `vswitchd`: its ports are the links, `vswitchctl` gives it the rules and reads its state.
//!
//! The LAN is a port of a switch that the router has an interface on, the WAN a port of the router's own; both are AF_PACKET
//! sockets on the TAP interfaces of [`Wires`], and each may have a worker of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::connections::Connection;
use crate::lab::Lab;
use crate::place::{Family, LONGER_TIMEOUTS, Side, dead_routes};
use crate::rule_sets::RuleSet;
use crate::system::System;
use crate::wires::Wires;

/// The name of the router.
const ROUTER: &str = "gw";

/// MAC address of the router's interface on a side.
fn mac(side: Side) -> wire::MacAddr {
    wire::MacAddr([2, 0, 0, 0, side as u8 + 1, 1])
}

pub(crate) struct Daemon {
    lab: Lab,
    wires: Wires,
}

impl Daemon {
    /// Makes a namespace with both links, and starts a daemon there.
    pub(crate) fn new() -> Daemon {
        let lab = Lab::without_daemon();
        let mut wires = Wires::new(&lab.home).in_bursts();
        for side in Side::BOTH {
            wires.set_mac(side, &mac(side).to_string());
        }
        let file = lab.path("vswitch.toml");
        fs::write(&file, configuration()).unwrap();
        lab.start_daemon();
        lab.ctl(&format!("apply {}", file.display()));
        Daemon { lab, wires }
    }

    /// Gives text to a subcommand that reads standard input.
    fn feed(&self, line: &str, input: &str) {
        let mut child = self.lab.ctl_command().args(line.split(' ')).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "vswitchctl {line}: {}\n{input}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The same router as the kernel's.
fn configuration() -> String {
    let mut text = format!(
        "[switch.lan]\n[port.lan]\nkind = \"nic\"\ninterface = \"lan\"\nswitch = \"lan\"\n[port.wan]\nkind = \"nic\"\ninterface = \"wan\"\n\
         [router.{ROUTER}]\nicmp_ratelimit = 0\nicmp_msgs_per_sec = 1000000\nicmp_msgs_burst = 1000000\n\
         [router.{ROUTER}.nat]\nmapping = \"address-and-port-dependent\"\n[router.{ROUTER}.conntrack]\n"
    );
    for (timeout, seconds) in LONGER_TIMEOUTS {
        let _ = writeln!(text, "{timeout} = \"{seconds}s\"");
    }
    let families = [Family::V4, Family::V6];
    for side in Side::BOTH {
        let interface = side.interface();
        let place = if side == Side::Lan { "switch" } else { "port" };
        let addresses: Vec<String> = families
            .iter()
            .flat_map(|&family| {
                let (addresses, len) = side.router(family);
                addresses.iter().map(move |address| format!("{address}/{len}"))
            })
            .collect();
        let _ = writeln!(
            text,
            "[router.{ROUTER}.interface.{interface}]\n{place} = \"{interface}\"\nmac = \"{}\"\nmtu = {}\naddress = {addresses:?}",
            mac(side),
            side.mtu()
        );
        for family in families {
            let neighbour = side.neighbour(family);
            let mac = wire::MacAddr(side.neighbour_mac());
            let _ = writeln!(text, "[[router.{ROUTER}.neighbor]]\naddress = \"{neighbour}\"\ndev = \"{interface}\"\nlladdr = \"{mac}\"");
            for network in side.networks(family) {
                let _ = writeln!(text, "[[router.{ROUTER}.route]]\nto = \"{network}\"\nvia = \"{neighbour}\"");
            }
        }
    }
    for (kind, prefix) in families.iter().flat_map(|&family| dead_routes(family)) {
        let _ = writeln!(text, "[[router.{ROUTER}.route]]\nto = \"{prefix}\"\nkind = \"{kind}\"");
    }
    text
}

impl System for Daemon {
    fn name(&self) -> &str {
        "vswitchd"
    }

    fn load(&mut self, rules: &RuleSet) {
        // The sets cannot go while rules use them.
        self.feed(&format!("iptables-restore {ROUTER}"), &RuleSet::empty());
        self.feed(&format!("ip6tables-restore {ROUTER}"), &RuleSet::empty());
        self.lab.ctl(&format!("ipset {ROUTER} destroy"));
        for line in rules.ipset() {
            self.lab.ctl(&format!("ipset {ROUTER} {line}"));
        }
        self.feed(&format!("iptables-restore {ROUTER}"), &rules.iptables(Family::V4));
        self.feed(&format!("ip6tables-restore {ROUTER}"), &rules.iptables(Family::V6));
        self.lab.ctl("conntrack -F");
    }

    fn exchange(&mut self, side: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)> {
        self.wires.exchange(side, packet)
    }

    fn connections(&self) -> Vec<Connection> {
        self.lab.ctl(&format!("conntrack {ROUTER} -L")).lines().map(Connection::parse).collect()
    }

    fn counters(&self) -> String {
        [self.lab.ctl(&format!("iptables-save {ROUTER} -c")), self.lab.ctl(&format!("ip6tables-save {ROUTER} -c"))].concat()
    }
}
