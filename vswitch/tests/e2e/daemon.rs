//! The daemon's life: start, restart, end, and its clients.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::lab::{DEADLINE, Lab, Lines, eventually, lab, skip};

/// `monitor --json` that has shown to be listening: it has printed a change made for the purpose.
#[track_caller]
pub(crate) fn listening_monitor(lab: &Lab) -> Lines {
    let lines = std::cell::RefCell::new(lab.ctl_lines("monitor --json"));
    eventually("monitor prints events", || {
        lab.ctl("add-switch probe");
        lab.ctl("del-switch probe");
        lines.borrow_mut().so_far().iter().any(|line| line.contains("probe"))
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
    let (before, mac) = (lab.ctl("export"), a.mac("a"));
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(lab.ctl("export"), before);
    assert_eq!(a.mac("a"), mac);
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
    let lab = lab!(without daemon);
    let file = lab.path("vswitch.toml");
    fs::write(&file, "[switch.lan]\nageing_time = \"60s\"\n[port.a]\nswitch = \"lan\"\nkind = \"sim\"\naccess = 10\n").unwrap();
    lab.start_daemon_with(&[], &["--config", file.to_str().unwrap()]);
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

#[test]
fn a_full_disk_refuses_changes_and_stops_nothing() {
    let lab = lab!(without daemon, "mount", "dd", "ping");
    // The state directory is a file system of its own with next to no room, in a mount namespace of the daemon's.
    let state = lab.path("state");
    fs::create_dir(&state).unwrap();
    let script = format!("mount -t tmpfs -o size=16k none {0} && exec \"$@\"", state.display());
    lab.start_daemon_with(&["unshare", "-m", "--propagation", "slave", "sh", "-c", &script, "sh"], &[]);
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let _b = lab.host("lan", "b", "10.0.0.2", "");
    let before = lab.ctl("export");
    let inside = format!("/proc/{}/root{}/ballast", lab.daemon_pid(), state.display());
    // dd ends with an error when the disk is full, which is the aim.
    let _ = Command::new("dd").args(["if=/dev/zero", &format!("of={inside}"), "bs=1k"]).output().unwrap();
    let complaint = lab.refused("add-port lan c --sim").to_lowercase();
    assert!(complaint.contains("no space left"), "{complaint}");
    assert_eq!(lab.ctl("export"), before, "the change did not happen");
    assert!(a.reaches("10.0.0.2"));
    fs::remove_file(&inside).unwrap();
    lab.ctl("add-port lan c --sim");
}

#[test]
fn hostile_clients_stall_neither_forwarding_nor_others() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let _b = lab.host("lan", "b", "10.0.0.2", "");
    let connect = || UnixStream::connect(lab.socket()).unwrap();
    // Clients that say half of something and then nothing.
    let mut halves: Vec<_> = (0..20).map(|_| connect()).collect();
    halves.iter_mut().for_each(|half| half.write_all(b"{\"method\":\"io.vsw").unwrap());
    // One that asks much and reads nothing.
    let mut deaf = connect();
    deaf.set_nonblocking(true).unwrap();
    for _ in 0..100_000 {
        if deaf.write_all(b"{\"method\":\"io.vswitch.ListPorts\",\"parameters\":{}}\0").is_err() {
            break;
        }
    }
    // One that never comes to an end: it is cut off long before it could fill the memory.
    let mut endless = connect();
    endless.set_write_timeout(Some(DEADLINE)).unwrap();
    let (chunk, mut sent) = (vec![b' '; 64 << 10], 0);
    while sent < 100 << 20 && endless.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 16 << 20, "{sent} octets of one request were taken");
    // Ones that make no sense.
    for nonsense in [
        &b"\0"[..],
        b"hello\0",
        b"[1,2]\0",
        b"{\"method\":5}\0",
        b"{\"method\":\"io.vswitch.AddPort\",\"parameters\":{\"name\":[]}}\0",
        b"\xff\xfe\0",
    ] {
        let mut client = connect();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(nonsense).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // An error or the end of the connection, but no silence.
        assert!(client.read_to_end(&mut answer).is_ok(), "{nonsense:?}");
    }
    let started = std::time::Instant::now();
    lab.ctl("set-port b --learning off");
    lab.ctl("show ports");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(a.reaches("10.0.0.2"));
    let status: proto::api::StatusInfo = lab.json("status");
    assert!(status.memory_bytes < 512 << 20, "{} octets", status.memory_bytes);
}

/// The soft limit of open files is raised to the hard one. A port that would use the last of them is refused as a whole, whatever its
/// kind, and the others go on.
#[test]
fn without_descriptors_new_ports_are_refused_and_the_others_go_on() {
    let lab = lab!(without daemon, "ping", "prlimit");
    lab.start_daemon_with(&["prlimit", "--nofile=40:64"], &[]);
    lab.ctl("add-switch lan");
    let (a, _b) = (lab.host("lan", "a", "10.0.0.1", ""), lab.host("lan", "b", "10.0.0.2", ""));
    assert!(a.reaches("10.0.0.2"));
    lab.home.run("ip link add near type veth peer name far");
    let status = || lab.json::<proto::api::StatusInfo>("status");
    assert_eq!(status().max_fds, 64);
    let added = (0..100).find(|n| lab.try_ctl(&format!("add-port lan t{n} --tap")).code != 0).expect("there is an end");
    assert!(added > 10, "{added} ports fit");
    let ports = || lab.json::<Vec<proto::api::PortInfo>>("show ports").len();
    let (before, stored) = (ports(), lab.ctl("export"));
    for add in [
        "add-port lan more --tap".to_owned(),
        "add-port lan more --nic near".to_owned(),
        format!("add-port lan more --vhost-user {}", lab.path("vm").display()),
        "add-bond lan more --member near --member far".to_owned(),
    ] {
        let refused = lab.refused(&add);
        assert!(refused.contains("raise LimitNOFILE"), "{add}: {refused}");
        assert_eq!((ports(), lab.ctl("export") == stored, lab.home.has("more")), (before, true, false), "{add}");
    }
    eventually("a warning", || status().problems.iter().any(|problem| problem.contains("new ports will be refused")));
    assert!(a.reaches("10.0.0.2"), "frames go on");
    lab.ctl("del-port t0");
    lab.ctl("del-port t1");
    lab.ctl("add-port lan more --tap");
}
