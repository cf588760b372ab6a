//! A laboratory: network namespaces with unique names, and programs that run in them.
//!
//! Life cycle: [`Lab::new`] makes the namespaces; dropping it, in whatever way a round ends, removes them with everything in
//! them. Names carry the number of our process, so that a later run can tell and remove what a killed one left
//! ([`remove_leftovers`]). Programs die with the thread that starts them, even when that is killed. Nothing outside our own
//! namespaces is touched.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::interrupt;

/// How the names of all namespaces and directories of all labs begin.
const PREFIX: &str = "vsbench-";
/// How long a set-up step may take.
const STEP_MAX: Duration = Duration::from_secs(20);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Names, and the Debian packages that have them, of programs every lab needs.
const PROGRAMS: [(&str, &str); 4] = [("ip", "iproute2"), ("nsenter", "util-linux"), ("setpriv", "util-linux"), ("taskset", "util-linux")];

/// What the machine lacks for a lab with the `more` programs (name, Debian package), if anything.
pub fn lacking(more: &[(&str, &str)]) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok()).unwrap_or(0);
    // Bit 12 is CAP_NET_ADMIN, bit 13 CAP_NET_RAW, bit 21 CAP_SYS_ADMIN (include/uapi/linux/capability.h).
    if [12, 13, 21].iter().any(|bit| capabilities >> bit & 1 == 0) {
        return Some("needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN to make network namespaces: run as root".into());
    }
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/net/tun") {
        return Some(format!("needs /dev/net/tun: {error} (modprobe tun)"));
    }
    let missing = missing(PROGRAMS.iter().chain(more));
    (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
}

/// Of these programs (name, Debian package) those that are not there, each with how to install it.
pub fn missing<'p>(programs: impl IntoIterator<Item = &'p (&'p str, &'p str)>) -> Vec<String> {
    let programs = programs.into_iter().filter(|(name, _)| program(name).is_none());
    programs.map(|(name, package)| format!("{name} (apt-get install {package})")).collect()
}

/// Where a program is: at `name`, when that is a path, or in the search path or the directories of the administrator.
pub fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Removes namespaces and directories that runs left whose process is no more.
///
/// # Errors
///
/// When the namespaces or the directories cannot be listed.
pub fn remove_leftovers() -> anyhow::Result<()> {
    for name in leftovers(Path::new("/run/netns"))? {
        // Another run may do the same at the same time.
        let _ = run("ip", &["netns", "del", &name]);
    }
    let temporary = std::env::temp_dir();
    for name in leftovers(&temporary)? {
        let path = temporary.join(name);
        // Anybody may make such a name there; what is not ours stays.
        if fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_dir() && entry.uid() == rustix::process::geteuid().as_raw()) {
            let _ = fs::remove_dir_all(path);
        }
    }
    Ok(())
}

/// Names in `directory` that a run gave whose process is no more.
fn leftovers(directory: &Path) -> anyhow::Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Namespaces for one round, and a directory for files.
pub struct Lab {
    /// Where the sender is.
    pub client: Netns,
    /// Where the receiver is.
    pub server: Netns,
    /// Where the switch is.
    pub switch: Netns,
    directory: tempfile::TempDir,
}

impl Lab {
    /// Makes the namespaces.
    ///
    /// # Errors
    ///
    /// When `ip netns` fails; nothing is left behind.
    pub fn new() -> anyhow::Result<Lab> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let make = |role: &str| Netns::new(format!("{PREFIX}{}-{number}{role}", std::process::id()));
        Ok(Lab {
            client: make("c")?,
            server: make("s")?,
            switch: make("x")?,
            directory: tempfile::Builder::new()
                .prefix(&format!("{PREFIX}{}-", std::process::id()))
                .tempdir()
                .context("make a directory for temporary files")?,
        })
    }

    /// The directory for files and sockets of this round.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path for a file or socket of this round.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A network namespace; gone with its interfaces on drop.
pub struct Netns {
    name: String,
}

impl Netns {
    fn new(name: String) -> anyhow::Result<Netns> {
        run("ip", &["netns", "add", &name])?;
        let netns = Netns { name };
        // Neighbour discovery would add frames nobody asked for.
        netns.run("sh", &["-c", "for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done 2>/dev/null || true"])?;
        netns.run("ip", &["link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Its name under /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As `netdev` wants it.
    pub fn handle(&self) -> Option<netdev::Netns> {
        netdev::Netns::named(&self.name).ok()
    }

    /// A program in the namespace, on `core` if given. It dies with the thread that starts it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, core: Option<u16>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).args(["setpriv", "--pdeathsig", "KILL"]);
        if let Some(core) = core {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command.arg(program);
        command
    }

    /// Runs a program to its end, which has to be success; gives its output.
    ///
    /// # Errors
    ///
    /// What the program said when it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        finished(program, arguments, self.command(program, None).args(arguments).output())
    }

    /// Runs `work` on a thread in the namespace.
    ///
    /// # Errors
    ///
    /// Those of `work`, and when the namespace cannot be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        netdev::netns::run_in(&self.handle(), work)?
    }

    /// Gives an interface an address and sets it up.
    ///
    /// # Errors
    ///
    /// When there is no such interface.
    pub fn address(&self, interface: &str, address: &str) -> anyhow::Result<()> {
        self.run("ip", &["addr", "add", address, "dev", interface])?;
        self.run("ip", &["link", "set", interface, "up"])?;
        Ok(())
    }

    /// Frames that the interfaces whose names `counts` received, by their own statistics, with the moment of the look.
    ///
    /// # Errors
    ///
    /// When there is none such.
    pub fn rx_packets(&self, counts: impl Fn(&str) -> bool + Send) -> anyhow::Result<(u64, Instant)> {
        self.inside(|| {
            // Through the thread: this is the only view of a namespace in /proc that needs no mount.
            let text = fs::read_to_string("/proc/thread-self/net/dev").context("read /proc/thread-self/net/dev")?;
            let now = Instant::now();
            let packets = received(&text, counts).with_context(|| format!("no such interface in namespace {}", self.name))?;
            Ok((packets, now))
        })
    }
}

/// The sum of the second column of interfaces in `/proc/net/dev`; `None` without any.
fn received(text: &str, counts: impl Fn(&str) -> bool) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| counts(name.trim()));
    let packets = lines.map(|(_, columns)| columns.split_whitespace().nth(1)?.parse::<u64>().ok());
    packets.reduce(|sum, packets| Some(sum? + packets?)).flatten()
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = run("ip", &["netns", "del", &self.name]) {
            // Nobody above could do more about it.
            crate::report::warn(&format!("{error:#}"));
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    finished(program, arguments, Command::new(program).args(arguments).output())
}

fn finished(program: &str, arguments: &[&str], output: std::io::Result<Output>) -> anyhow::Result<String> {
    let line = || format!("{program} {}", arguments.join(" "));
    let output = output.with_context(line)?;
    if !output.status.success() {
        bail!("{}: {} {}", line(), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program that is running. Dropping it asks it to end, and kills it if it does not.
pub struct Running {
    child: Child,
    what: String,
    lines: mpsc::Receiver<String>,
    errors: Arc<Mutex<String>>,
}

impl Running {
    /// Starts a program; `what` names it in messages.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(what: &str, command: &mut Command) -> anyhow::Result<Running> {
        Running::spawn(what, command.stdin(Stdio::null()))
    }

    fn spawn(what: &str, command: &mut Command) -> anyhow::Result<Running> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {what}"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        }
        let errors = Arc::new(Mutex::new(String::new()));
        if let Some(err) = child.stderr.take() {
            let errors = errors.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(err).lines().map_while(Result::ok) {
                    let mut text = errors.lock().unwrap_or_else(|e| e.into_inner());
                    // What goes wrong shows in the first lines; the rest only must not block the program.
                    if text.len() < 4096 {
                        *text += &line;
                        text.push('\n');
                    }
                }
            });
        }
        Ok(Running { child, what: what.into(), lines, errors })
    }

    /// As [`Running::start`], with standard input open as long as it runs: for programs that end with it.
    ///
    /// # Errors
    ///
    /// As [`Running::start`].
    pub fn start_with_input(what: &str, command: &mut Command) -> anyhow::Result<Running> {
        Running::spawn(what, command.stdin(Stdio::piped()))
    }

    /// Its process number. `nsenter`, `setpriv` and `taskset` replace themselves by the program, so it is the program's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far, the first 4 KiB of it.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(|e| e.into_inner()).trim().to_owned()
    }

    /// Fails when the program has ended.
    ///
    /// # Errors
    ///
    /// How it ended, with what it said.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            // Let the reader of standard error finish.
            std::thread::sleep(Duration::from_millis(50));
            bail!("{} ended: {status} {}", self.what, self.errors());
        }
        Ok(())
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    ///
    /// When it does not read, or was not [started with input](Running::start_with_input).
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().with_context(|| format!("{} has no standard input", self.what))?;
        writeln!(input, "{line}").with_context(|| format!("say \"{line}\" to {}", self.what))
    }

    /// Waits for a line on standard output that contains `text`, and gives it.
    ///
    /// # Errors
    ///
    /// When the program ends before, or says nothing like it for 20 s.
    pub fn wait_for_line(&mut self, text: &str) -> anyhow::Result<String> {
        let what = format!("{} says \"{text}\"", self.what);
        interrupt::wait_for(&what, STEP_MAX, || {
            while let Ok(line) = self.lines.try_recv() {
                if line.contains(text) {
                    return Ok(Some(line));
                }
            }
            self.check_alive().map(|()| None)
        })
    }

    /// Waits up to `span` for the end of the program, which has to be success; gives its output.
    ///
    /// # Errors
    ///
    /// When it fails or does not end.
    pub fn output(mut self, span: Duration) -> anyhow::Result<String> {
        let mut text = String::new();
        let what = format!("{} ends", self.what);
        let status = interrupt::wait_for(&what, span, || {
            self.lines.try_iter().for_each(|line| text += &(line + "\n"));
            Ok(self.child.try_wait()?)
        })?;
        // The reader ends with the pipe, and closes the channel.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
            text += &(line + "\n");
        }
        if !status.success() {
            // iperf3 -J reports errors on standard output.
            bail!("{}: {status} {} {}", self.what, self.errors(), text.trim());
        }
        Ok(text)
    }

    fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let end = Instant::now() + Duration::from_secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            crate::report::warn(&format!("{} did not end within 5 s of SIGTERM; killed", self.what));
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Output of a program for the description of the machine; empty when it fails.
pub fn first_line_of(program: &str, arguments: &[&str]) -> String {
    let mut text = String::new();
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped()).spawn();
    if let Ok(mut child) = child {
        if let Some(mut out) = child.stdout.take() {
            let _ = out.read_to_string(&mut text);
        }
        if !child.wait().is_ok_and(|status| status.success()) {
            return String::new();
        }
    }
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_statistics_are_read() {
        let text = "Inter-|   Receive\n face |bytes    packets errs\n    lo:       0       3    0\n  tap0: 123456    2057    0    0\n  tap01: 1 9 0\n";
        let of = |name| received(text, |interface| interface == name);
        assert_eq!(of("tap0"), Some(2057));
        assert_eq!(of("lo"), Some(3));
        assert_eq!(of("tap01"), Some(9));
        assert_eq!(of("tap"), None);
        assert_eq!(received(text, |interface| interface.starts_with("tap")), Some(2066));
    }
}
