//! Each system that is installed starts, passes frames as they are, and is gone afterwards, also when the run is ended by a
//! signal. Those that are not installed are skipped, which is said.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use benches::cores::Load as Demand;
use benches::generator::{Macs, Traffic};
use benches::lab;
use benches::scenario::Settings;
use benches::system::{NotAvailable, Programs, System};
use benches::testbed::{Streams, Testbed};
use benches::topology::{Attachment, Hosts, Topology};

const BENCH: &str = env!("CARGO_BIN_EXE_vswitch-bench");
/// How long a condition may take to come true.
const DEADLINE: Duration = Duration::from_secs(60);

/// Says on standard error, and in the file that `./run test` lists at its end, that a test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skip(test: &str, reason: &str) {
    let line = format!("SKIP: {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("VSWITCH_SKIP_LOG") {
        let log = fs::File::options().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write the file VSWITCH_SKIP_LOG names");
    }
}

fn skipped(test: &str, system: System) -> bool {
    let mut reason = lab::lacking(&[]).or_else(|| system.lacking());
    if matches!(system, System::Vswitch | System::VswitchBusy) && !vswitchd().is_file() {
        reason = Some(format!("no {} (cargo build -p vswitch)", vswitchd().display()));
    }
    reason.inspect(|reason| skip(test, reason)).is_some()
}

fn vswitchd() -> PathBuf {
    Path::new(BENCH).with_file_name("vswitchd")
}

/// One system at a time, also where each test is a process: those that poll would keep others from their core. The turn is over
/// when the file is closed.
fn turn() -> fs::File {
    let file = fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("systems.lock")).unwrap();
    file.lock().unwrap();
    file
}

/// The namespaces of process `pid`'s labs.
fn namespaces(pid: u32) -> usize {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with(&format!("vsbench-{pid}-"))).count()
}

fn runs(pid: u32) -> bool {
    // A zombie is gone, its parent just has not looked.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("\nState:\tZ")
}

/// Starts `system`, sends frames both ways through it, forgets addresses if it can, and looks that nothing of it stays.
#[track_caller]
fn works_and_goes(test: &str, system: System, attachment: Attachment) {
    if skipped(test, system) {
        return;
    }
    let _turn = turn();
    let programs = Programs { bench: BENCH.into(), vswitchd: vswitchd() };
    let settings = Settings { span: Duration::from_millis(100), programs, cores: None };
    let topology = Topology::pair(attachment, Hosts::Generator);
    let mut bed = match Testbed::start(system, &topology, Demand::OneWay, &settings) {
        Err(error) if error.is::<NotAvailable>() => return skip(test, &error.to_string()),
        bed => bed.unwrap(),
    };
    let traffic = Traffic::between(Macs::clients(1), Macs::servers(1));
    // What a server sends to the client of its own accord, a router does not translate.
    let streams = if system.is_router() { Streams::one_way(traffic) } else { Streams::both_ways(traffic) };
    bed.check(&streams).unwrap();
    if matches!(system, System::Bridge | System::Ovs | System::OvsAfxdp | System::OvsDpdk | System::Vswitch) {
        bed.forget().unwrap();
        bed.check(&streams).unwrap();
    }
    assert!(!bed.switch().configuration().is_empty(), "the report shows how it was set up");
    let (pid, directory) = (bed.switch().pid(), bed.directory().to_owned());
    assert_eq!(pid.is_none(), system.is_part_of_the_sender());
    assert!(pid.is_none_or(runs));
    let mine: BTreeSet<_> = children(std::process::id()).into_iter().filter(|child| runs_in(*child, &directory)).collect();
    drop(bed);
    assert!(!pid.is_some_and(runs), "{system} still runs");
    assert!(!mine.into_iter().any(runs), "a process of {system} still runs");
    assert!(!directory.exists(), "{} is still there", directory.display());
}

/// Processes whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{pid}\n"))
    };
    processes.filter(is_child).collect()
}

/// Whether the command line of a process names something in `directory`.
fn runs_in(pid: u32, directory: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*directory.to_string_lossy()))
}

#[test]
fn the_bare_loop_over_tap_works_and_goes() {
    works_and_goes("the_bare_loop_over_tap_works_and_goes", System::Bare, Attachment::Tap);
}

#[test]
fn the_bare_loop_over_af_packet_works_and_goes() {
    works_and_goes("the_bare_loop_over_af_packet_works_and_goes", System::Bare, Attachment::Packet);
}

#[test]
fn the_bridge_works_and_goes() {
    works_and_goes("the_bridge_works_and_goes", System::Bridge, Attachment::Packet);
}

#[test]
fn netfilter_works_and_goes() {
    works_and_goes("netfilter_works_and_goes", System::Netfilter, Attachment::Packet);
}

#[test]
fn open_vswitch_over_af_packet_works_and_goes() {
    works_and_goes("open_vswitch_over_af_packet_works_and_goes", System::Ovs, Attachment::Packet);
}

#[test]
fn open_vswitch_over_af_xdp_works_and_goes() {
    works_and_goes("open_vswitch_over_af_xdp_works_and_goes", System::OvsAfxdp, Attachment::Packet);
}

#[test]
fn open_vswitch_with_dpdk_works_and_goes() {
    works_and_goes("open_vswitch_with_dpdk_works_and_goes", System::OvsDpdk, Attachment::VhostUser);
}

#[test]
fn testpmd_works_and_goes() {
    works_and_goes("testpmd_works_and_goes", System::Testpmd, Attachment::VhostUser);
}

#[test]
fn vde_switch_works_and_goes() {
    works_and_goes("vde_switch_works_and_goes", System::Vde, Attachment::Tap);
}

#[test]
fn vswitchd_over_tap_works_and_goes() {
    works_and_goes("vswitchd_over_tap_works_and_goes", System::Vswitch, Attachment::Tap);
}

#[test]
fn vswitchd_over_af_packet_works_and_goes() {
    works_and_goes("vswitchd_over_af_packet_works_and_goes", System::VswitchBusy, Attachment::Packet);
}

#[test]
fn vswitchd_over_vhost_user_works_and_goes() {
    works_and_goes("vswitchd_over_vhost_user_works_and_goes", System::Vswitch, Attachment::VhostUser);
}

/// A run that measures `system` for long, once it has the processes named.
fn endless(scenario: &str, system: System, processes: &[&str], temporary: &Path) -> (Child, Vec<u32>) {
    let mut command = Command::new(BENCH);
    command.args(["--only", scenario, "--systems", &system.to_string(), "--rounds", "1", "--seconds", "300"]);
    let child = command.env("TMPDIR", temporary).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut found = Vec::new();
    eventually("the processes of the system run", || {
        // Not those that are asked for their version before the run.
        found = children(child.id()).into_iter().filter(|pid| runs_in(*pid, temporary)).collect();
        let names: Vec<_> = found.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok()).collect();
        processes.iter().all(|process| names.iter().any(|name| name.trim() == *process))
    });
    (child, found)
}

/// Ctrl-C in the middle takes Open vSwitch's two daemons with it, and everything they put into files.
#[test]
fn a_signal_ends_open_vswitch_too() {
    if skipped("a_signal_ends_open_vswitch_too", System::Ovs) {
        return;
    }
    let _turn = turn();
    let temporary = tempfile::tempdir().unwrap();
    let (mut child, processes) = endless("packet-64", System::Ovs, &["ovs-vswitchd", "ovsdb-server"], temporary.path());
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    eventually("the run ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(namespaces(child.id()), 0);
    assert!(!processes.into_iter().any(runs), "a process still runs");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "files are left");
}

/// Not even a run that is killed leaves a process; its namespaces and files are removed by the next run.
#[test]
fn a_killed_run_leaves_no_process() {
    if skipped("a_killed_run_leaves_no_process", System::Vde) {
        return;
    }
    let _turn = turn();
    let temporary = tempfile::tempdir().unwrap();
    let (mut child, processes) = endless("tap-64", System::Vde, &["vde_switch"], temporary.path());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("no process is left", || !processes.iter().copied().any(runs));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
    let next =
        Command::new(BENCH).args(["--only", "fdb-scale", "--rounds", "1", "--seconds", "1"]).env("TMPDIR", temporary.path()).output();
    assert!(next.unwrap().status.success());
    assert_eq!(namespaces(child.id()), 0);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "files are left");
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
