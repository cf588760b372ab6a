//! `vswitchctl`: exit codes, idempotence, files, events, what it prints.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use crate::daemon::listening_monitor;
use crate::lab::{eventually, frame, lab};

fn vswitchctl(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_vswitchctl")).args(arguments).env_remove("VSWITCH_SOCKET").output().unwrap()
}

#[test]
fn without_a_daemon_the_exit_code_is_3_and_the_socket_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("absent");
    let socket = socket.to_str().unwrap();
    for verb in [&["show"][..], &["status", "--json"], &["add-switch", "lan"], &["monitor"], &["export"]] {
        let output = vswitchctl(&[&["--socket", socket], verb].concat());
        assert_eq!(output.status.code(), Some(3), "{verb:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(socket));
        assert!(output.stdout.is_empty());
    }
    let by_environment = Command::new(env!("CARGO_BIN_EXE_vswitchctl")).arg("status").env("VSWITCH_SOCKET", socket).output().unwrap();
    assert_eq!(by_environment.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&by_environment.stderr).contains(socket));
}

#[test]
fn wrong_usage_is_2() {
    for line in ["", "frobnicate", "add-port lan", "add-port lan p", "add-port lan p --tap --access 5000", "set-port p", "add-fdb lan 02 p"]
    {
        let output = vswitchctl(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{line:?}");
    }
    assert_eq!(vswitchctl(&["--help"]).status.code(), Some(0));
    assert_eq!(vswitchctl(&["--version"]).status.code(), Some(0));
}

#[test]
fn check_needs_no_daemon_and_points_at_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vswitch.toml");
    fs::write(&file, "[switch.lan]\n[port.a]\nswitch = \"lan\"\naccess = 10\n").unwrap();
    let good = vswitchctl(&["check", file.to_str().unwrap()]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    fs::write(&file, "[switch.lan]\n[port.a]\nswitch = \"lan\"\naccess = 5000\n").unwrap();
    let bad = vswitchctl(&["check", file.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(text.contains("vswitch.toml:4") && text.contains("5000") && text.contains('^'), "{text}");
    assert_eq!(vswitchctl(&["check", "/nonexistent"]).status.code(), Some(1));
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let output = vswitchctl(&["completions", shell]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("add-port"), "{shell}");
    }
}

#[test]
fn what_exists_is_refused_unless_it_may_and_what_does_not_unless_it_need_not() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    assert!(lab.refused("add-switch lan").contains("lan"));
    lab.ctl("add-switch lan --may-exist");
    lab.ctl("add-port lan p --sim");
    assert!(lab.refused("add-port lan p --sim").contains('p'));
    lab.ctl("add-port lan p --sim --may-exist");
    assert!(lab.refused("add-port lan p --tap --may-exist").contains('p'), "of another kind");
    assert!(lab.refused("add-port nowhere q --sim").contains("nowhere"));
    lab.ctl("add-switch wan");
    assert!(lab.refused("del-port wan p").contains("wan"), "of another switch");
    lab.ctl("del-port lan p");
    assert!(lab.refused("del-port lan p").contains('p'));
    assert!(lab.refused("set-port p --mtu 1400").contains('p'));
    lab.ctl("del-port lan p --if-exists");
    lab.ctl("del-port p --if-exists");
    lab.ctl("del-switch wan");
    assert!(lab.refused("del-switch wan").contains("wan"));
    lab.ctl("del-switch wan --if-exists");
}

#[test]
fn settings_can_be_changed_and_reset() {
    let lab = lab!();
    lab.ctl("add-switch lan --ageing-time 60s --group-fwd-mask 0x4000");
    lab.ctl("add-port lan p --tap --trunk 10,20-30 --native 10 --learn-limit 5");
    lab.ctl("set-port p --access 7 --isolated on");
    let port = lab.port("p");
    assert_eq!((port.vlan.as_str(), port.config.trunk, port.config.isolated), ("access 7", None, true));
    lab.ctl("set-port p --default access --default isolated --default learn_limit --mtu 1400");
    let port = lab.port("p");
    assert_eq!((port.vlan.as_str(), port.config.learn_limit, port.config.isolated, port.mtu), ("trunk all", None, false, 1400));
    assert!(lab.home.run("ip link show dev p").contains("mtu 1400"));
    lab.ctl("set-switch lan --hub --default ageing_time");
    let switches: Vec<proto::api::SwitchInfo> = lab.json("show switches");
    assert_eq!((switches[0].config.hub, switches[0].config.ageing_time.to_string()), (true, "300s".to_owned()));
    assert_eq!(switches[0].config.group_fwd_mask, 0x4000);
}

#[test]
fn apply_and_export_go_round_and_a_refused_file_changes_nothing() {
    let lab = lab!();
    lab.ctl("add-switch lan --host-port");
    lab.ctl("add-port lan a --tap --access 10 --mtu 1400");
    lab.ctl("add-port lan b --sim --trunk 10,20");
    let exported = lab.ctl("export");
    let file = lab.path("exported.toml");
    fs::write(&file, &exported).unwrap();
    let file = file.to_str().unwrap();
    lab.ctl(&format!("check {file}"));
    let index = || lab.home.run("ip -o link show dev a").split(':').next().unwrap().to_owned();
    let before = index();
    assert_eq!(lab.ctl(&format!("apply {file}")).trim(), "nothing to change");
    assert_eq!(index(), before, "interfaces that do not change are not made anew");

    let other = lab.path("other.toml");
    fs::write(&other, "[switch.wan]\n[port.c]\nswitch = \"wan\"\nkind = \"sim\"\n").unwrap();
    let dry = lab.ctl(&format!("apply {} --dry-run", other.display()));
    assert!(dry.contains("wan") && dry.contains("lan"), "{dry}");
    assert_eq!(lab.ctl("export"), exported, "a dry run changes nothing");

    let broken = lab.path("broken.toml");
    fs::write(&broken, "[switch.wan]\n[port.c]\nswitch = \"nowhere\"\n").unwrap();
    let complaint = lab.refused(&format!("apply {}", broken.display()));
    assert!(complaint.contains("broken.toml:3") && complaint.contains("nowhere"), "{complaint}");
    assert_eq!(lab.ctl("export"), exported);
    // A file whose devices cannot be opened is refused as a whole, too.
    fs::write(&broken, "[switch.lan]\n[port.new]\nswitch = \"lan\"\nkind = \"sim\"\n[port.c]\nswitch = \"lan\"\nnetns = \"nowhere\"\n")
        .unwrap();
    assert!(lab.refused(&format!("apply {}", broken.display())).contains("nowhere"));
    assert_eq!(lab.ctl("export"), exported);

    lab.ctl(&format!("apply {}", other.display()));
    assert!(!lab.home.has("a") && !lab.home.has("lan"));
    lab.ctl(&format!("apply {file}"));
    assert_eq!(lab.ctl("export"), exported);
    let json: serde_json::Value = lab.json("export");
    assert_eq!(json["port"]["a"]["access"], 10);
}

#[test]
fn monitor_prints_what_happens() {
    let lab = lab!();
    let mut events = listening_monitor(&lab);
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan a --sim");
    lab.ctl("add-port lan b --sim");
    events.expect("the change", |line| line.contains(r#""event":"config-changed""#) && line.contains("lan"));
    lab.ctl("sim carrier a down");
    events.expect("link down", |line| line.contains(r#""event":"link""#) && line.contains(r#""link":"down""#));
    lab.ctl("sim carrier a up");
    events.expect("link up", |line| line.contains(r#""event":"link""#) && line.contains(r#""link":"up""#));
    lab.send("a", &frame("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:0a", &[], b""));
    events.expect("the address", |line| line.contains(r#""event":"fdb-learned""#) && line.contains("02:00:00:00:00:0a"));
    lab.send("b", &frame("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:0a", &[], b""));
    let moved = events.expect("the move", |line| line.contains(r#""event":"fdb-moved""#));
    let moved: serde_json::Value = serde_json::from_str(&moved).unwrap();
    assert_eq!((&moved["port"], &moved["switch"], &moved["vlan"]), (&"b".into(), &"lan".into(), &0.into()));
}

#[test]
fn every_read_prints_tables_and_json() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan a --sim --access 10");
    lab.send("a", &frame("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:0a", &[], b""));
    eventually("the address is learned", || !lab.fdb("lan").is_empty());
    for (list, word) in
        [("switches", "lan"), ("ports", "a"), ("fdb", "02:00:00:00:00:0a"), ("vlans", "10"), ("drops", "no-flood-target"), ("workers", "0")]
    {
        let table = lab.ctl(&format!("show {list}"));
        assert!(table.lines().count() >= 2 && table.lines().last().unwrap().contains(word), "{table}");
        assert!(!table.contains('\x1b'), "no colour in a pipe");
        assert!(table.lines().all(|line| line.trim_end() == line), "{table:?}");
        let objects: Vec<serde_json::Map<String, serde_json::Value>> = lab.json(&format!("show {list}"));
        assert!(!objects.is_empty(), "{list}");
    }
    assert!(lab.ctl("show").contains("switch lan"));
    assert_eq!(lab.json::<serde_json::Value>("show")["ports"][0]["name"], "a");
    let status: proto::api::StatusInfo = lab.json("status");
    assert_eq!((status.pid, status.ports, status.switches), (lab.daemon_pid(), 1, 1));
    assert!(lab.ctl("status").contains("vswitchd"));
    let port = &lab.json::<Vec<serde_json::Value>>("show ports")[0];
    for field in ["name", "switch", "kind", "link", "mtu", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "drops"] {
        assert!(port.get(field).is_some(), "{field}");
    }
    assert_eq!(port["drops"]["no-flood-target"], 1);
}

#[test]
fn watch_prints_again_and_a_reader_that_leaves_is_no_error() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    let mut watching = lab.ctl_lines("show switches --watch 0.1");
    for _ in 0..3 {
        watching.expect("the table", |line| line.starts_with("lan"));
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_vswitchctl"))
        .args(["show", "switches", "--watch=0.1", "--socket"])
        .arg(lab.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut octet = [0];
    child.stdout.take().unwrap().read_exact(&mut octet).unwrap();
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(status.unwrap().success() && complaint.is_empty(), "{complaint}");
}
