//! The systems that are measured: something that joins the sender's and the receiver's namespace.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use proto::config::{Config, DaemonConfig, PollMode, PortConfig, PortKind, SwitchConfig};
use serde::{Deserialize, Serialize};

use crate::bare_loop::Fault;
use crate::cores::Cores;
use crate::interrupt;
use crate::lab::{Lab, Running, veth};

/// The interface in the sender's namespace.
pub const CLIENT_IF: &str = "client0";
/// The interface in the receiver's namespace.
pub const SERVER_IF: &str = "server0";

/// How long a daemon may take to be ready.
const READY_MAX: Duration = Duration::from_secs(20);

/// A system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// A loop of our own that reads a frame and writes it, between two TAPs
    Bare,
    /// The Linux bridge, with veth ports
    Bridge,
    /// vswitchd with adaptive polling, the default
    Vswitch,
    /// vswitchd with busy polling
    VswitchBusy,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            System::Bare => "bare",
            System::Bridge => "bridge",
            System::Vswitch => "vswitch",
            System::VswitchBusy => "vswitch-busy",
        })
    }
}

impl System {
    /// How it is set up, for the report.
    pub fn setting(self) -> &'static str {
        match self {
            System::Bare => "one thread, read and write between two TAPs with virtio_net_hdr, epoll",
            System::Bridge => "veth ports with all offloads; STP, multicast snooping and bridge-nf-call off",
            System::Vswitch => "1 worker, poll = \"adaptive\"",
            System::VswitchBusy => "1 worker, poll = \"busy\"",
        }
    }
}

/// What the hosts hang on, where a system leaves the choice. The bridge takes veth always, the bare loop TAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A TAP of the switch in the host's namespace.
    Tap,
    /// A veth whose other end the switch attaches through AF_PACKET.
    Packet,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `vswitch-bench` itself, for the bare loop.
    pub bench: PathBuf,
    /// The daemon.
    pub vswitchd: PathBuf,
}

/// A system at work.
pub struct Started {
    running: Option<Running>,
}

impl Started {
    /// The process that forwards; the bridge has none.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Fails when the process has ended.
    ///
    /// # Errors
    ///
    /// How it ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        self.running.as_mut().map_or(Ok(()), Running::check_alive)
    }
}

/// Joins the client's and the server's namespace of `lab` by `system`. Then they have [`CLIENT_IF`] and [`SERVER_IF`], both up.
///
/// # Errors
///
/// When it does not start. `lab` takes everything away on drop.
pub fn start(system: System, programs: &Programs, lab: &Lab, attachment: Attachment, cores: Cores) -> anyhow::Result<Started> {
    let running = match system {
        System::Bare => Some(start_bare_loop(programs, lab, cores, Fault::default())?),
        System::Bridge => {
            start_bridge(lab)?;
            None
        }
        System::Vswitch => Some(start_vswitchd(programs, lab, &two_ports(lab, attachment)?, PollMode::Adaptive, cores)?),
        System::VswitchBusy => Some(start_vswitchd(programs, lab, &two_ports(lab, attachment)?, PollMode::Busy, cores)?),
    };
    Ok(Started { running })
}

/// As [`start`] with [`System::Bare`], made worse on purpose.
///
/// # Errors
///
/// As [`start`].
pub fn start_faulty(programs: &Programs, lab: &Lab, cores: Cores, fault: Fault) -> anyhow::Result<Started> {
    Ok(Started { running: Some(start_bare_loop(programs, lab, cores, fault)?) })
}

fn start_bare_loop(programs: &Programs, lab: &Lab, cores: Cores, fault: Fault) -> anyhow::Result<Running> {
    let mut command = lab.switch.command(&programs.bench, cores.switch);
    command.arg("bare-loop");
    command.arg(format!("{}:{CLIENT_IF}", lab.client.name())).arg(format!("{}:{SERVER_IF}", lab.server.name()));
    command.args(["--delay-nanos", &fault.delay.as_nanos().to_string(), "--drop-every", &fault.drop_every.to_string()]);
    let mut running = Running::start("the bare loop", &mut command)?;
    running.wait_for_line("ready")?;
    Ok(running)
}

fn start_bridge(lab: &Lab) -> anyhow::Result<()> {
    let switch = &lab.switch;
    let off = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0", "nf_call_iptables", "0", "nf_call_ip6tables", "0"];
    switch.run("ip", &[&["link", "add", "br0", "type", "bridge"], &off[..]].concat())?;
    // Exists where br_netfilter is loaded; then it is per namespace and on by default.
    switch.run("sh", &["-c", "for f in /proc/sys/net/bridge/bridge-nf-call-*; do if [ -e $f ]; then echo 0 >$f; fi; done"])?;
    switch.run("ip", &["link", "set", "br0", "up"])?;
    for (port, host, interface) in [("p0", &lab.client, CLIENT_IF), ("p1", &lab.server, SERVER_IF)] {
        veth(switch, port, host, interface)?;
        switch.run("ip", &["link", "set", port, "master", "br0"])?;
    }
    for port in ["p0", "p1"] {
        interrupt::wait_for(&format!("bridge port {port} forwards"), READY_MAX, || {
            let links = switch.run("ip", &["-d", "-o", "link", "show", port])?;
            Ok(links.contains("state forwarding").then_some(()))
        })?;
    }
    Ok(())
}

/// A switch with a port for the client and one for the server.
fn two_ports(lab: &Lab, attachment: Attachment) -> anyhow::Result<BTreeMap<String, PortConfig>> {
    let mut ports = BTreeMap::new();
    for (nic, host, interface) in [("p0", &lab.client, CLIENT_IF), ("p1", &lab.server, SERVER_IF)] {
        let port = match attachment {
            Attachment::Tap => tap(host.name(), interface),
            Attachment::Packet => {
                veth(&lab.switch, nic, host, interface)?;
                PortConfig { kind: PortKind::Nic, interface: Some(nic.into()), ..PortConfig::new("bench") }
            }
        };
        ports.insert(nic.into(), port);
    }
    Ok(ports)
}

/// A TAP port with this netdev in this namespace.
pub fn tap(netns: &str, interface: &str) -> PortConfig {
    PortConfig { interface: Some(interface.into()), netns: Some(netns.into()), ..PortConfig::new("bench") }
}

/// Starts `vswitchd` in the switch's namespace with these ports of one switch, `bench`, and waits until it is ready.
///
/// # Errors
///
/// When it does not start, with what it said.
pub fn start_vswitchd(
    programs: &Programs,
    lab: &Lab,
    ports: &BTreeMap<String, PortConfig>,
    poll: PollMode,
    cores: Cores,
) -> anyhow::Result<Running> {
    if !programs.vswitchd.is_file() {
        bail!("no vswitchd at {} (build it, or give --vswitchd PATH)", programs.vswitchd.display());
    }
    let config = Config {
        daemon: DaemonConfig { workers: 1, cores: cores.switch.into_iter().collect(), poll, ..DaemonConfig::default() },
        switch: [("bench".to_owned(), SwitchConfig::default())].into(),
        port: ports.clone(),
        fdb: Vec::new(),
    };
    let file = lab.path("vswitchd.toml");
    std::fs::write(&file, toml::to_string(&config)?).with_context(|| format!("write {}", file.display()))?;
    // sd_notify(3).
    let notify = lab.path("notify");
    let socket = UnixDatagram::bind(&notify).with_context(|| format!("bind {}", notify.display()))?;
    socket.set_nonblocking(true)?;

    let mut command = lab.switch.command(&programs.vswitchd, None);
    command.arg("--config").arg(&file).arg("--socket").arg(lab.path("socket")).arg("--state-dir").arg(lab.path("state"));
    command.env("NOTIFY_SOCKET", &notify).env("RUST_LOG", "warn");
    let mut running = Running::start("vswitchd", &mut command)?;
    interrupt::wait_for("vswitchd is ready", READY_MAX, || {
        let mut message = [0; 4096];
        while let Ok(len) = socket.recv(&mut message) {
            if message[..len].split(|octet| *octet == b'\n').any(|line| line == b"READY=1") {
                return Ok(Some(()));
            }
        }
        running.check_alive().map(|()| None)
    })
    .with_context(|| running.errors())?;
    Ok(running)
}
