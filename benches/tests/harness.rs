//! The harness measured by itself: what is known beforehand must come out, and nothing may be left behind.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::bare_loop::Fault;
use benches::cores::{self, Cores};
use benches::generator::{Arrivals, Load, Macs, Rate, Sizes, Traffic, Trial};
use benches::lab::{self, Lab};
use benches::machine::Machine;
use benches::report::Report;
use benches::runner::{self, Plan};
use benches::scenario::{Scenario, Settings};
use benches::system::{self, Programs, System};
use benches::testbed::{Counted, Streams, Testbed};

const BENCH: &str = env!("CARGO_BIN_EXE_vswitch-bench");
/// How long a condition may take to come true.
const DEADLINE: Duration = Duration::from_secs(60);

/// Whether the test has to be skipped, which it says on standard error and in the file that `./run test` lists at its end.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skipped(test: &str) -> bool {
    let Some(reason) = lab::lacking(&[]) else { return false };
    let line = format!("SKIP: {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("VSWITCH_SKIP_LOG") {
        let log = std::fs::File::options().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write the file VSWITCH_SKIP_LOG names");
    }
    true
}

fn programs() -> Programs {
    Programs { bench: BENCH.into(), vswitchd: PathBuf::from("/nonexistent/vswitchd") }
}

/// A bare loop that is as bad as `fault` says, with the generator at its ports.
fn faulty(fault: Fault, cores: Cores) -> Testbed {
    let lab = Lab::new().unwrap();
    let switch = system::start_faulty(&programs(), &lab, cores, fault).unwrap();
    Testbed::around(System::Bare, lab, switch, cores).unwrap()
}

/// Frames through such a loop at saturation.
fn through(fault: Fault) -> Counted {
    let mut bed = faulty(fault, Cores::plan(cores::Load::OneWay));
    let streams = Streams::one_way(Traffic::between(Macs::clients(1), Macs::servers(1)));
    bed.wait_until_it_forwards(&streams).unwrap();
    bed.count(&streams, Duration::from_millis(500)).unwrap()
}

/// A microsecond more per frame shows as a microsecond more of CPU time per frame. (In frames per second it shows too, but
/// those depend on who else uses the machine.)
#[test]
fn a_delay_of_a_microsecond_shows() {
    if skipped("a_delay_of_a_microsecond_shows") {
        return;
    }
    let cost = |delay| through(Fault { delay, drop_every: 0 }).cpu_per_frame.expect("the bare loop is a process");
    // Interleaved, and the least of each: noise only adds.
    let rounds: Vec<_> = (0..4).map(|_| (cost(Duration::ZERO), cost(Duration::from_micros(1)))).collect();
    let without = rounds.iter().map(|(without, _)| *without).min().unwrap();
    let with = rounds.iter().map(|(_, with)| *with).min().unwrap();
    let shown = with.saturating_sub(without).as_nanos();
    assert!((800..=1600).contains(&shown), "1000 ns of delay show as {shown} ns: {rounds:?}");
}

/// One frame in a hundred lost is reported as 1 %, and none as none.
#[test]
fn a_loss_of_one_per_cent_shows() {
    if skipped("a_loss_of_one_per_cent_shows") {
        return;
    }
    let counted = through(Fault { delay: Duration::ZERO, drop_every: 100 });
    let percent = counted.lost() as f64 / counted.sent.accepted as f64 * 100.0;
    assert!(counted.sent.accepted > 1_000, "{counted:?}");
    assert!((0.9..=1.1).contains(&percent), "1 % of loss shows as {percent} %: {counted:?}");
    let counted = through(Fault::default());
    assert_eq!(counted.lost(), 0, "{counted:?}");
    assert_eq!(counted.received, counted.sent.accepted, "{counted:?}");
}

/// The sink finds each frame that is lost, at a rate that is easy and with the switch on the way.
#[test]
fn each_lost_frame_is_found_by_its_number() {
    if skipped("each_lost_frame_is_found_by_its_number") {
        return;
    }
    const FRAMES: u64 = 10_000;
    let mut bed = faulty(Fault { delay: Duration::ZERO, drop_every: 100 }, Cores::default());
    let traffic = Traffic { sizes: Sizes::imix(), ..Traffic::between(Macs::clients(100), Macs::servers(7)) };
    let streams = Streams::one_way(traffic);
    bed.wait_until_it_forwards(&streams).unwrap();
    let load = Load { frames: Some(FRAMES), ..Load::at(Rate::PerSecond(20_000.0)) };
    let trial = Trial { span: DEADLINE, ..Trial::default() };
    let delivery = bed.run(&streams, load, true, &trial).unwrap().delivery(0, 1).unwrap();
    // The loop counts all frames, those of others too; a late sender sends fewer.
    let lost = delivery.sent.accepted / 100;
    assert!((lost - 1..=lost + 1).contains(&delivery.lost), "{delivery:?}");
    let Arrivals { duplicates, reordered, stale, .. } = delivery.arrivals;
    assert_eq!((delivery.sent.offered, duplicates, reordered, stale, delivery.damaged), (FRAMES, 0, 0, 0, 0), "{delivery:?}");
    let latency = delivery.latency.unwrap();
    assert!(latency.count == delivery.arrivals.received && latency.p50_us > 1.0 && latency.p50_us < 1e6, "{latency:?}");
}

/// A system that does not start is reported as failed, with the reason and without a figure.
#[test]
fn a_system_that_does_not_start_gets_no_figure() {
    if skipped("a_system_that_does_not_start_gets_no_figure") {
        return;
    }
    let plan = Plan {
        scenarios: vec![Scenario::named("tap-64").unwrap()],
        systems: vec![System::Vswitch],
        rounds: 2,
        settings: Settings { span: Duration::from_millis(100), programs: programs(), cores: None },
    };
    let mut report = Report {
        command: Vec::new(),
        machine: Machine::here(Path::new("/nonexistent/vswitchd")),
        systems: [].into(),
        configurations: Vec::new(),
        seconds: 0.1,
        scenarios: Vec::new(),
    };
    runner::run(&plan, &mut report);
    let result = &report.scenarios[0].subjects[0];
    assert_eq!((result.summary, result.rounds.len()), (None, 0));
    assert!(result.failure.as_ref().unwrap().contains("/nonexistent/vswitchd"), "{result:?}");
    assert!(report.text().contains("failed"));
}

/// A signal in the middle of a measurement ends the run, with no namespace left.
#[test]
fn a_signal_leaves_nothing_behind() {
    if skipped("a_signal_leaves_nothing_behind") {
        return;
    }
    for signal in ["INT", "TERM"] {
        let mut command = Command::new(BENCH);
        command.args(["--only", "tap-64", "--systems", "bare", "--rounds", "1", "--seconds", "300"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let id = child.id();
        let ours = || {
            let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.file_name());
            names.filter(|name| name.to_string_lossy().starts_with(&format!("vsbench-{id}-"))).count()
        };
        eventually("the namespaces are there", || ours() == 3);
        assert!(Command::new("kill").args(["-s", signal, &id.to_string()]).status().unwrap().success());
        eventually("the run ends", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(1), "SIG{signal}");
        assert_eq!(ours(), 0, "namespaces after SIG{signal}");
    }
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
