//! The daemon's life: start, restart, end, and its clients.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use crate::lab::{Lab, Lines, eventually, lab, skip};

/// `monitor --json` that has shown to be listening: it has printed a change made for the purpose.
#[track_caller]
pub(crate) fn listening_monitor(lab: &Lab) -> Lines {
    let lines = std::cell::RefCell::new(lab.ctl_lines("monitor --json"));
    eventually("monitor prints events", || {
        lab.ctl("add-switch probe-of-monitor");
        lab.ctl("del-switch probe-of-monitor");
        lines.borrow_mut().so_far().iter().any(|line| line.contains("probe-of-monitor"))
    });
    lines.into_inner()
}

#[test]
fn kill_9_loses_neither_configuration_nor_traffic_for_long() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan --ageing-time 60s");
    let a = lab.host("lan", "a", "10.0.0.1", "--access 10");
    let b = lab.host("lan", "b", "10.0.0.2", "--access 10");
    lab.ctl("add-fdb lan 02:00:00:00:00:01 a --vlan 10");
    assert!(a.reaches("10.0.0.2"));
    let before = lab.ctl("export");
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(lab.ctl("export"), before);
    assert!(lab.fdb("lan").iter().any(|entry| entry.is_static && entry.port == "a"));
    // TAP interfaces went with their owner, and their addresses with them.
    a.run("ip addr add 10.0.0.1/24 dev a");
    b.run("ip addr add 10.0.0.2/24 dev b");
    assert!(a.reaches("10.0.0.2"));
}

#[test]
fn kill_9_amid_changes_leaves_a_whole_configuration() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    for round in 0..3 {
        let mut changing = lab.ctl_lines("status --watch 0.1");
        changing.expect("status", |line| line.contains("vswitchd"));
        for i in 0..5 {
            lab.ctl(&format!("add-port lan p{round}-{i} --sim"));
        }
        // The next change is under way, or done, or not begun.
        let _half = lab.ctl_lines(&format!("add-port lan half{round} --sim"));
        lab.kill_daemon();
        lab.start_daemon();
        let ports: Vec<proto::api::PortInfo> = lab.json("show ports");
        assert!(ports.iter().filter(|port| !port.name.starts_with("half")).count() == 5 * (round + 1), "{ports:?}");
    }
}

#[test]
fn sigterm_leaves_nothing_behind() {
    let lab = lab!();
    lab.ctl("add-switch lan --host-port");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    lab.ctl("add-port lan t --tap");
    assert!(lab.home.has("lan") && lab.home.has("t") && a.has("a") && lab.socket().exists());
    assert_eq!(lab.stop_daemon(), Some(0));
    assert!(!lab.home.has("lan") && !lab.home.has("t") && !a.has("a"), "no interface stays");
    assert!(!lab.socket().exists(), "no socket stays");
    let left: Vec<_> = fs::read_dir(lab.path("state")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() <= 1, "nothing but the stored configuration stays: {left:?}");
    assert_eq!(lab.try_ctl("status").code, 3);
    lab.start_daemon();
    assert!(lab.home.has("lan") && lab.home.has("t") && a.has("a"), "and all is restored");
}

#[test]
fn an_idle_daemon_with_16_ports_uses_under_one_percent_of_a_core() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    for i in 0..16 {
        lab.ctl(&format!("add-port lan p{i} --tap"));
    }
    // utime and stime of proc(5), in ticks of 10 ms.
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", lab.daemon_pid())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // What the set-up itself stirred up may settle first: one quiet window of several is the proof.
    let mut least = u64::MAX;
    for _ in 0..4 {
        let before = ticks();
        std::thread::sleep(Duration::from_secs(3));
        least = least.min(ticks() - before);
        if least < 3 {
            break;
        }
    }
    assert!(least < 3, "{least} ticks of 10 ms in 3 s");
}

#[test]
fn a_configuration_file_is_taken_at_the_start() {
    let lab = crate::lab::lacking(&[]).is_none().then(Lab::without_daemon);
    let Some(lab) = lab else { return skip("daemon::a_configuration_file_is_taken_at_the_start", "needs network namespaces") };
    let file = lab.path("vswitch.toml");
    fs::write(&file, "[switch.lan]\nageing_time = \"60s\"\n[port.a]\nswitch = \"lan\"\nkind = \"sim\"\naccess = 10\n").unwrap();
    lab.start_daemon_with(&["--config", file.to_str().unwrap()]);
    assert_eq!(lab.port("a").vlan, "access 10");
}

#[test]
fn others_may_look_but_not_touch() {
    let lab = lab!();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !Command::new(nobody[0]).args(&nobody[1..]).arg("true").status().unwrap().success() {
        return skip("daemon::others_may_look_but_not_touch", "needs a second user (none in this user namespace)");
    }
    lab.ctl("add-switch lan");
    // Neither the build directory nor a temporary one need be open to all.
    let program = lab.path("vswitchctl");
    fs::copy(env!("CARGO_BIN_EXE_vswitchctl"), &program).unwrap();
    fs::set_permissions(program.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |verb: &str| {
        let mut command = Command::new(nobody[0]);
        command.args(&nobody[1..]).arg(&program).arg("--socket").arg(lab.socket()).args(verb.split(' '));
        command.output().unwrap()
    };
    let look = run("show switches --json");
    assert!(look.status.success() && String::from_utf8_lossy(&look.stdout).contains("lan"), "{look:?}");
    let touch = run("del-switch lan");
    assert_eq!(touch.status.code(), Some(1), "{touch:?}");
    assert!(!touch.stderr.is_empty());
    assert_eq!(lab.json::<Vec<proto::api::SwitchInfo>>("show switches").len(), 1);
}

#[test]
fn a_second_daemon_at_the_same_socket_is_refused() {
    let lab = lab!();
    let mut second = lab.home.command(env!("CARGO_BIN_EXE_vswitchd"));
    second.arg("--socket").arg(lab.socket()).arg("--state-dir").arg(lab.path("other"));
    let output = second.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("socket"), "{output:?}");
    assert_eq!(lab.try_ctl("status").code, 0, "the first goes on");
}
