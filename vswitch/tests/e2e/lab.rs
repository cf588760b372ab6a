//! A laboratory for one test: network namespaces of its own, a `vswitchd` in one of them, and `vswitchctl` to drive it.
//!
//! The daemon runs in a namespace too, so that neither it nor the test touches an interface of the machine. Everything
//! is taken down on drop, also when the test panics; the daemon dies with the test even when the test is killed, and
//! namespaces that a killed test left are removed by the next one.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

/// How long a condition may take to come true. Generous, because a loaded machine is slow; nothing waits longer than needed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How the names of all namespaces of all labs begin.
const PREFIX: &str = "vswe2e-";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// What the machine lacks for end-to-end tests, if anything.
pub(crate) fn lacking(programs: &[&str]) -> Option<String> {
    if !fs::read_to_string("/proc/self/status").unwrap_or_default().lines().any(|line| {
        // Bit 12 of the effective capabilities is CAP_NET_ADMIN, bit 21 CAP_SYS_ADMIN (include/uapi/linux/capability.h).
        let mask = line.strip_prefix("CapEff:").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << 12) != 0 && mask & (1 << 21) != 0)
    }) {
        return Some("needs CAP_NET_ADMIN and CAP_SYS_ADMIN to make network namespaces; run as root or with ./run test".into());
    }
    if fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        return Some("needs /dev/net/tun, open for reading and writing".into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &&&str| std::env::split_paths(&paths).any(|directory| directory.join(name).exists());
    let missing: Vec<_> = ["ip", "nsenter", "setpriv"].iter().chain(programs).filter(|name| !found(name)).copied().collect();
    if !missing.is_empty() {
        return Some(format!("needs {}", missing.join(", ")));
    }
    // tcpdump changes its groups before it captures, and will not do without; user_namespaces(7) says where that is denied.
    let groups_denied = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    (programs.contains(&"tcpdump") && groups_denied)
        .then(|| "tcpdump does not run in this user namespace (setgroups is denied); run as root".into())
}

/// Says that a test was skipped: on standard error, and in the file that `./run test` lists at its end.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("SKIP: {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("VSWITCH_SKIP_LOG") {
        let log = fs::File::options().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write the file VSWITCH_SKIP_LOG names");
    }
}

/// A [`Lab`] for the test that calls it, or the end of that test where the machine lacks something. Takes the names of
/// the programs the test needs beside `ip`; with `without daemon` in front the daemon is not started yet.
macro_rules! lab {
    (without daemon $(, $program:literal)*) => {
        $crate::lab::lab!(@ $crate::lab::Lab::without_daemon, $($program),*)
    };
    (@ $start:path, $($program:literal),*) => {{
        fn here() {}
        let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
        match $crate::lab::lacking(&[$($program),*]) {
            Some(reason) => return $crate::lab::skip(test, &reason),
            None => $start(),
        }
    }};
    ($($program:literal),*) => {
        $crate::lab::lab!(@ $crate::lab::Lab::start, $($program),*)
    };
}
pub(crate) use lab;

/// Waits until `condition` holds.
///
/// # Panics
///
/// With `what` when it does not within [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program to its end. Arguments are split at spaces.
#[track_caller]
fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap_or_else(|e| panic!("{line}: {e}"));
    finished(line, &output)
}

#[track_caller]
fn finished(line: &str, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// A network namespace; gone with its interfaces on drop.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    fn new(name: String) -> Netns {
        sh(&format!("ip netns add {name}"));
        let netns = Netns { name };
        // Neighbour discovery and the like would make frames that no test asked for.
        let quiet = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
        let output = netns.command("sh").args(["-c", quiet]).output().unwrap();
        finished("turn IPv6 off", &output);
        netns.run("ip link set dev lo up");
        netns
    }

    /// Its name under /run/netns.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A program in the namespace. It dies with the thread that starts it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).args(["setpriv", "--pdeathsig", "KILL", program]);
        command
    }

    /// Does something in the namespace, on a thread of its own: sockets stay in the namespace they were made in.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = netdev::Netns::named(&self.name).unwrap();
        netdev::netns::run_in(&Some(netns), work).unwrap()
    }

    /// Runs a program to its end, in whatever way it ends. Arguments are split at spaces.
    #[track_caller]
    pub(crate) fn output(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        self.command(words.next().unwrap()).args(words).output().unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Runs a program that has to succeed; gives its output.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        finished(line, &self.output(line))
    }

    /// Whether a program succeeds.
    #[track_caller]
    pub(crate) fn succeeds(&self, line: &str) -> bool {
        self.output(line).status.success()
    }

    /// Whether an address answers one of a few echo requests.
    #[track_caller]
    pub(crate) fn reaches(&self, address: &str) -> bool {
        self.succeeds(&format!("ping -n -q -c 5 -i 0.2 -W 2 -w 4 {address}"))
    }

    /// Whether an address stays silent.
    #[track_caller]
    pub(crate) fn is_cut_off_from(&self, address: &str) -> bool {
        !self.succeeds(&format!("ping -n -q -c 3 -i 0.2 -W 1 {address}"))
    }

    /// Octets of the MAC address of an interface.
    #[track_caller]
    pub(crate) fn mac(&self, interface: &str) -> String {
        let links: serde_json::Value = serde_json::from_str(&self.run(&format!("ip -j link show dev {interface}"))).unwrap();
        links[0]["address"].as_str().unwrap().to_owned()
    }

    /// Whether an interface exists.
    #[track_caller]
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.succeeds(&format!("ip link show dev {interface}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A program that is running; killed on drop.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a program.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines a running program prints.
pub(crate) struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
    _running: Running,
}

impl Lines {
    #[track_caller]
    fn of(mut command: Command) -> Lines {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = sender.clone();
        std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| errors.send(line)));
        Lines { lines, seen: Vec::new(), _running: Running(child) }
    }

    /// Waits for a line.
    ///
    /// # Panics
    ///
    /// When none comes within [`DEADLINE`].
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("no line with {what} in {:#?}", self.seen),
            }
        }
    }

    /// The lines printed so far, without waiting.
    pub(crate) fn so_far(&mut self) -> &[String] {
        self.seen.extend(self.lines.try_iter());
        &self.seen
    }
}

/// Captures frames at an interface with tcpdump; ready when this returns.
#[track_caller]
pub(crate) fn capture(netns: &Netns, interface: &str, filter: &str) -> Lines {
    let mut command = netns.command("tcpdump");
    // -Z root: in a user namespace there is no user to change to. -Q: what tcpdump itself would see twice on veth pairs.
    command.args(["-i", interface, "-n", "-e", "-l", "-Z", "root", "--immediate-mode"]).args(filter.split_whitespace());
    let mut lines = Lines::of(command);
    lines.expect("listening on", |line| line.contains("listening on"));
    lines
}

/// What `vswitchctl` did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Namespaces and a daemon.
pub(crate) struct Lab {
    name: String,
    daemon: RefCell<Option<Child>>,
    hosts: RefCell<u32>,
    /// Where the daemon runs.
    pub(crate) home: Netns,
    /// Holds the socket, the state directory and the log.
    directory: tempfile::TempDir,
}

impl Lab {
    /// Makes the daemon's namespace and starts it.
    #[track_caller]
    pub(crate) fn start() -> Lab {
        let lab = Lab::without_daemon();
        lab.start_daemon();
        lab
    }

    /// As [`Lab::start`], with no daemon yet.
    #[track_caller]
    pub(crate) fn without_daemon() -> Lab {
        remove_leftovers();
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let home = Netns::new(name.clone());
        let directory = tempfile::tempdir().unwrap();
        Lab { name, daemon: RefCell::new(None), hosts: RefCell::new(0), home, directory }
    }

    /// Starts the daemon, again perhaps, and waits until it answers.
    #[track_caller]
    pub(crate) fn start_daemon(&self) {
        self.start_daemon_with(&[], &[]);
    }

    /// As [`Lab::start_daemon`], with more arguments, and run by another program, which has to become it (exec).
    #[track_caller]
    pub(crate) fn start_daemon_with(&self, by: &[&str], arguments: &[&str]) {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let program = [by, &[env!("CARGO_BIN_EXE_vswitchd")]].concat();
        let child = self
            .home
            .command(program[0])
            .args(&program[1..])
            .arg("--socket")
            .arg(self.socket())
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        assert!(self.daemon.borrow_mut().replace(child).is_none(), "a daemon is running already");
        eventually("vswitchd answers", || {
            let ended = self.daemon.borrow_mut().as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "vswitchd ended: {ended:?}");
            self.try_ctl("status").code == 0
        });
    }

    /// The identifier of the daemon's process.
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.borrow().as_ref().expect("the daemon runs").id()
    }

    /// Kills the daemon as `kill -9` does.
    pub(crate) fn kill_daemon(&self) {
        let mut daemon = self.daemon.borrow_mut().take().expect("the daemon runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Asks the daemon to end (SIGTERM) and waits until it did; gives its exit code.
    #[track_caller]
    pub(crate) fn stop_daemon(&self) -> Option<i32> {
        let mut daemon = self.daemon.borrow_mut().take().expect("the daemon runs");
        sh(&format!("kill -TERM {}", daemon.id()));
        let mut status = None;
        eventually("vswitchd ends after SIGTERM", || {
            status = daemon.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// A file of the lab.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// Runs `vswitchctl`, in whatever way it ends. Arguments are split at spaces.
    #[track_caller]
    pub(crate) fn try_ctl(&self, line: &str) -> Outcome {
        let output = self.ctl_command().args(line.split_whitespace()).output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `vswitchctl` of the daemon, without arguments yet.
    pub(crate) fn ctl_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vswitchctl"));
        command.arg("--socket").arg(self.socket()).stdin(Stdio::null());
        command
    }

    /// Runs `vswitchctl`, which has to succeed; gives its output.
    #[track_caller]
    pub(crate) fn ctl(&self, line: &str) -> String {
        let outcome = self.try_ctl(line);
        assert_eq!(outcome.code, 0, "vswitchctl {line}\n{}{}", outcome.out, outcome.err);
        outcome.out
    }

    /// Runs `vswitchctl`, which has to be refused; gives its complaint.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str) -> String {
        let outcome = self.try_ctl(line);
        assert_eq!(outcome.code, 1, "vswitchctl {line}\n{}{}", outcome.out, outcome.err);
        outcome.err
    }

    /// What `vswitchctl LINE --json` prints.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self, line: &str) -> T {
        let text = self.ctl(&format!("{line} --json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}\n{text}"))
    }

    /// Starts `vswitchctl` and gives the lines it prints.
    #[track_caller]
    pub(crate) fn ctl_lines(&self, line: &str) -> Lines {
        let mut command = self.ctl_command();
        command.args(line.split_whitespace());
        Lines::of(command)
    }

    /// A new namespace.
    #[track_caller]
    pub(crate) fn netns(&self) -> Netns {
        let mut hosts = self.hosts.borrow_mut();
        *hosts += 1;
        Netns::new(format!("{}-{hosts}", self.name))
    }

    /// A new host on a TAP port of `switch`: a namespace with interface `port` and an address. `settings` are those of
    /// `add-port`.
    #[track_caller]
    pub(crate) fn host(&self, switch: &str, port: &str, address: &str, settings: &str) -> Netns {
        let netns = self.netns();
        self.ctl(&format!("add-port {switch} {port} --tap --netns {} {settings}", netns.name()));
        netns.run(&format!("ip addr add {address}/24 dev {port}"));
        netns
    }

    /// The daemon's view of one port.
    #[track_caller]
    pub(crate) fn port(&self, port: &str) -> proto::api::PortInfo {
        let mut ports: Vec<proto::api::PortInfo> = self.json(&format!("show ports --port {port}"));
        assert_eq!(ports.len(), 1, "{ports:?}");
        ports.remove(0)
    }

    /// How often a port dropped a frame for a reason.
    #[track_caller]
    pub(crate) fn drops(&self, port: &str, reason: &str) -> u64 {
        self.port(port).drops.get(reason).copied().unwrap_or(0)
    }

    /// The address table of a switch.
    #[track_caller]
    pub(crate) fn fdb(&self, switch: &str) -> Vec<proto::api::FdbInfo> {
        self.json(&format!("show fdb --switch {switch}"))
    }

    /// Where an address was learned, if it was.
    #[track_caller]
    pub(crate) fn learned_at(&self, switch: &str, mac: &str) -> Option<String> {
        self.fdb(switch).into_iter().find(|entry| entry.mac.to_string() == mac).map(|entry| entry.port)
    }

    /// Gives a frame to a sim port.
    #[track_caller]
    pub(crate) fn send(&self, port: &str, frame: &[u8]) {
        self.ctl(&format!("sim send {port} {}", hex(frame)));
    }

    /// Waits for a frame at a sim port; others that come before it are passed over.
    #[track_caller]
    pub(crate) fn receive(&self, port: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut found = None;
        let mut seen = Vec::new();
        let started = Instant::now();
        while found.is_none() {
            let frames = self.received(port);
            found = frames.iter().find(|frame| wanted(frame)).cloned();
            seen.extend(frames.iter().map(|frame| hex(frame)));
            assert!(started.elapsed() < DEADLINE, "no such frame at {port}: {seen:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        found.unwrap()
    }

    /// The frames that left at a sim port until now.
    #[track_caller]
    pub(crate) fn received(&self, port: &str) -> Vec<Vec<u8>> {
        let frames: Vec<String> = self.json(&format!("sim receive {port}"));
        frames.iter().map(|text| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()).collect()
    }

    /// A veth pair: one end in the daemon's namespace, the other in a new one; both up.
    #[track_caller]
    pub(crate) fn veth(&self, near: &str, far: &str) -> Netns {
        let netns = self.netns();
        self.home.run(&format!("ip link add {near} type veth peer name {far} netns {}", netns.name()));
        self.home.run(&format!("ip link set dev {near} up"));
        netns.run(&format!("ip link set dev {far} up"));
        netns
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.borrow_mut().take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of vswitchd\n{}---", self.log());
        }
    }
}

/// Removes namespaces of labs whose process is gone.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another test may be quicker.
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

/// Octets in hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// An Ethernet frame of 60 octets or more: addresses, tags as (TPID, VID) from the outermost on, and a payload of the
/// ethertype for local experiments (IEEE 802, 88b5).
pub(crate) fn frame(destination: &str, source: &str, tags: &[(u16, u16)], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    for mac in [destination, source] {
        frame.extend(mac.parse::<wire::MacAddr>().unwrap().0);
    }
    for (tpid, vid) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(vid.to_be_bytes());
    }
    frame.extend(0x88b5_u16.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}
