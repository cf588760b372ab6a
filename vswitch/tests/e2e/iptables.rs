//! Rules and sets of a router as one types them, and the real programs beside them.

use std::fs;
use std::process::{Command, Stdio};

use crate::lab::{lab, lacking, skip};

const RECORDED: &str = include_str!("../../../control/tests/iptables/recorded.txt");

/// The listings the language is tested against are those of the iptables of this machine: the same rules, given to it in a
/// network namespace of its own, are printed as recorded.
#[test]
fn recorded_listings_are_those_of_iptables() {
    const TEST: &str = "iptables::recorded_listings_are_those_of_iptables";
    if let Some(reason) = lacking(&["iptables-legacy", "ip6tables-legacy", "ipset", "unshare"]) {
        return skip(TEST, &reason);
    }
    let probe = Command::new("unshare").args(["--net", "iptables-legacy", "-L"]).output().unwrap();
    if !probe.status.success() {
        return skip(TEST, "the kernel gives no iptables here (a user namespace cannot load its modules); run as root");
    }
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("rules");
    let rules: String = RECORDED.lines().filter(|line| line.starts_with("ip")).map(|line| format!("{line}\n")).collect();
    fs::write(&input, rules).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../control/tests/iptables/record.sh");
    let output = Command::new(script).stdin(Stdio::from(fs::File::open(&input).unwrap())).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), RECORDED);
}

/// Commands work as typed from a script, their outcome is stored, and a refusal has exit status 1 and changes nothing.
#[test]
fn rules_and_sets_by_command() {
    let lab = lab!();
    let file = lab.path("router.toml");
    fs::write(
        &file,
        "[switch.lan]\n[router.gw.interface.lan]\nswitch = \"lan\"\naddress = [\"192.168.45.2/24\", \"fd00::1/64\"]\n\
         [router.gw.interface.wan]\nswitch = \"lan\"\nvlan = 10\naddress = [\"10.0.0.1/24\"]\n",
    )
    .unwrap();
    lab.ctl(&format!("apply {}", file.display()));
    lab.ctl("iptables gw -t nat -A POSTROUTING -s 192.168.45.0/24 -o wan -j MASQUERADE");
    lab.ctl("ipset gw create blocked hash:net family inet maxelem 1000");
    lab.ctl("ipset gw add blocked 203.0.113.0/24");
    lab.ctl("iptables gw -w -I FORWARD 1 -m set --match-set blocked src -j DROP");
    lab.ctl("ip6tables gw -P FORWARD DROP");
    lab.ctl("iptables gw -C FORWARD -m set --match-set blocked src -j DROP");
    assert!(lab.refused("iptables gw -C FORWARD -j DROP").contains("does a matching rule exist in that chain?"));
    assert!(lab.refused("iptables gw -A FORWARD -i wam -j DROP").contains("no interface \"wam\" (did you mean \"wan\"?)"));
    assert!(lab.refused("iptables gw -A FORWARD -j NFQUEUE --queue-num 1").contains("target \"NFQUEUE\" is not supported"));
    assert!(lab.refused("iptables gone -L").contains("no router \"gone\""));
    assert!(lab.refused("ipset gw destroy blocked").contains("in use"));
    let shown = |lab: &crate::lab::Lab| {
        let rules = [lab.ctl("iptables gw -t nat -S POSTROUTING"), lab.ctl("iptables gw -S FORWARD"), lab.ctl("ip6tables gw -S FORWARD")];
        (rules.concat(), lab.ctl("ipset gw save"), lab.ctl("iptables-save gw"))
    };
    let before = shown(&lab);
    assert_eq!(
        before.0,
        "-P POSTROUTING ACCEPT\n-A POSTROUTING -s 192.168.45.0/24 -o wan -j MASQUERADE\n\
         -P FORWARD ACCEPT\n-A FORWARD -m set --match-set blocked src -j DROP\n-P FORWARD DROP\n"
    );
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(shown(&lab), before, "a restart brings them back");
    let listed: serde_json::Value = lab.json("iptables gw -L FORWARD");
    assert_eq!(listed["chains"][0]["rules"][0]["rule"], "-m set --match-set blocked src -j DROP");

    let restore = |input: &str| {
        let path = lab.path("rules.v4");
        fs::write(&path, input).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vswitchctl"));
        command.arg("--socket").arg(lab.socket()).args(["iptables-restore", "gw"]).stdin(fs::File::open(&path).unwrap());
        command.output().unwrap()
    };
    let wrong = restore("*filter\n-A INPUT -j ACCEPT\n-A INPUT -j NOPE\nCOMMIT\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("line 3: there is no chain \"NOPE\""), "{wrong:?}");
    assert_eq!(shown(&lab), before);
    assert!(restore(&before.2).status.success());
    assert_eq!(shown(&lab), before);
    assert!(restore("*nat\nCOMMIT\n").status.success());
    assert_eq!(lab.ctl("iptables gw -t nat -S POSTROUTING"), "-P POSTROUTING ACCEPT\n");
}
