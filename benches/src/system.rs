//! The systems that are measured: something that joins the hosts' namespaces.
//!
//! Each is set up as well as we know how: a fast peer makes our figure worth something. What was done to set one up is kept
//! ([`Started::configuration`]) and shown in the report. All of it happens in the switch's namespace and the directory of the
//! round, and ends with the [`Started`].

mod bare;
mod bridge;
mod open_vswitch;
pub(crate) mod router;
mod testpmd;
mod vde;
mod vswitchd;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::bare_loop::Fault;
use crate::cores::Cores;
use crate::lab::{self, Lab, Running};
use crate::topology::{self, Attachment, PortAt, Topology};

use open_vswitch::Datapath;

/// How long a daemon may take to be ready.
const READY_MAX: Duration = Duration::from_secs(20);

/// A system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// A loop of our own that reads frames and writes them, nothing between: the limit for TAP and AF_PACKET
    Bare,
    /// The Linux bridge, with veth ports
    Bridge,
    /// Open vSwitch, userspace datapath, AF_PACKET ports
    Ovs,
    /// Open vSwitch, userspace datapath, AF_XDP ports
    OvsAfxdp,
    /// Open vSwitch with DPDK, vhost-user ports
    OvsDpdk,
    /// DPDK's testpmd in io mode between two vhost-user ports, nothing between: the limit for vhost-user
    Testpmd,
    /// vde_switch, TAP ports
    Vde,
    /// vswitchd with adaptive polling, the default
    Vswitch,
    /// vswitchd with busy polling
    VswitchBusy,
    /// The kernel as a router that masquerades, with veth ports
    Netfilter,
    /// vswitchd as a router that masquerades, with adaptive polling
    VswitchRouter,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()).as_str())
    }
}

impl System {
    /// How it is set up, for the report.
    pub fn setting(self) -> &'static str {
        match self {
            System::Bare => {
                "one thread, epoll; TAP: read and write a frame at a time with virtio_net_hdr; AF_PACKET: receive ring and sendmmsg"
            }
            System::Bridge => {
                "veth ports with all offloads; STP, multicast snooping and bridge-nf-call off; works in the context of the sender"
            }
            System::Ovs => "netdev datapath, AF_PACKET ports on veth, userspace TSO for TCP with offload",
            System::OvsAfxdp => {
                "netdev datapath, AF_XDP ports on veth in generic mode, a PMD thread; hosts without transmit checksum offload"
            }
            System::OvsDpdk => "netdev datapath, vhost-user ports, a PMD thread",
            System::Testpmd => "io mode between two vhost-user ports, one forwarding core",
            System::Vde => "TAP ports",
            System::Vswitch => "1 worker, poll = \"adaptive\"",
            System::VswitchBusy => "1 worker, poll = \"busy\"",
            System::Netfilter => "a router with MASQUERADE (iptables), veth ports with all offloads; works in the context of the sender",
            System::VswitchRouter => "a router with MASQUERADE, 1 worker, poll = \"adaptive\"",
        }
    }

    /// What its programs say of their version; empty when they do not.
    pub fn version(self, programs: &Programs) -> String {
        let (program, arguments) = match self {
            System::Bare => return "this program".into(),
            System::Bridge | System::Netfilter => return "of the kernel".into(),
            System::Ovs | System::OvsAfxdp => (open_vswitch::daemon(Datapath::Packet), "--version"),
            System::OvsDpdk => (open_vswitch::daemon(Datapath::Dpdk), "--version"),
            System::Testpmd => (lab::program("dpdk-testpmd"), "-v"),
            System::Vde => (lab::program("vde_switch"), "--version"),
            System::Vswitch | System::VswitchBusy | System::VswitchRouter => (Some(programs.vswitchd.clone()), "--version"),
        };
        match (self, program) {
            // It only says so on its way to forwarding.
            (System::Testpmd, Some(_)) => lab::first_line_of("pkg-config", &["--modversion", "libdpdk"]),
            (_, Some(program)) => lab::first_line_of(&program.to_string_lossy(), &[arguments]),
            (_, None) => String::new(),
        }
    }

    /// What the machine lacks for it, with the Debian packages that have it.
    pub fn lacking(self) -> Option<String> {
        let missing = match self {
            System::Bare | System::Bridge | System::Vswitch | System::VswitchBusy | System::VswitchRouter => Vec::new(),
            System::Netfilter => lab::missing(&[("iptables", "iptables")]),
            System::Ovs => open_vswitch::missing(Datapath::Packet),
            System::OvsAfxdp => open_vswitch::missing(Datapath::Xdp),
            System::OvsDpdk => open_vswitch::missing(Datapath::Dpdk),
            System::Testpmd => lab::missing(&[("dpdk-testpmd", "dpdk-dev")]),
            System::Vde => lab::missing(&[("vde_switch", "vde2")]),
        };
        (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
    }

    /// Whether it has ports of this kind. The bridge's are veths whatever the others have.
    pub fn attaches(self, attachment: Attachment) -> bool {
        match self {
            System::Bare | System::Bridge | System::Netfilter | System::VswitchRouter => attachment != Attachment::VhostUser,
            System::Ovs | System::OvsAfxdp => attachment == Attachment::Packet,
            System::OvsDpdk | System::Testpmd => attachment == Attachment::VhostUser,
            System::Vde => attachment == Attachment::Tap,
            System::Vswitch | System::VswitchBusy => true,
        }
    }

    /// The ports it is used with where nothing else is asked for.
    pub fn native(self) -> Attachment {
        match self {
            System::Bridge | System::Ovs | System::OvsAfxdp | System::Netfilter => Attachment::Packet,
            System::OvsDpdk | System::Testpmd => Attachment::VhostUser,
            System::Bare | System::Vde | System::Vswitch | System::VswitchBusy | System::VswitchRouter => Attachment::Tap,
        }
    }

    /// Whether it works in the context of whoever sends, so that its generator is never ahead of it.
    pub fn is_part_of_the_sender(self) -> bool {
        matches!(self, System::Bridge | System::Netfilter)
    }

    /// Whether it joins two IP networks, and not two links.
    pub fn is_router(self) -> bool {
        matches!(self, System::Netfilter | System::VswitchRouter)
    }
}

/// What a system that is installed cannot do, as it was built: no failure, but no figure.
#[derive(Debug)]
pub struct NotAvailable(pub String);

impl fmt::Display for NotAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not available: {}", self.0)
    }
}

impl std::error::Error for NotAvailable {}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `vswitch-bench` itself, for the bare loop.
    pub bench: PathBuf,
    /// The daemon.
    pub vswitchd: PathBuf,
}

/// Makes a switch forget all addresses it learned.
type Forget = Box<dyn Fn(&Lab) -> anyhow::Result<()> + Send + Sync>;

/// A system at work.
pub struct Started {
    /// The process that forwards first, then those it needs, in the order in which they are to end.
    running: Vec<Running>,
    ports: Vec<PortAt>,
    forget: Option<Forget>,
    configuration: Vec<String>,
}

impl Started {
    /// A system with a netdev for each port.
    fn with_netdevs(topology: &Topology, running: Vec<Running>, configuration: Vec<String>) -> Started {
        Started { running, ports: (0..topology.ports).map(PortAt::Netdev).collect(), forget: None, configuration }
    }

    fn forgetting(self, forget: impl Fn(&Lab) -> anyhow::Result<()> + Send + Sync + 'static) -> Started {
        Started { forget: Some(Box::new(forget)), ..self }
    }

    /// The process that forwards; the bridge has none.
    pub fn pid(&self) -> Option<u32> {
        self.running.first().map(Running::pid)
    }

    /// The hosts' sides of its ports; the first is the client's.
    pub fn ports(&self) -> &[PortAt] {
        &self.ports
    }

    /// How it was set up: files, commands.
    pub fn configuration(&self) -> &[String] {
        &self.configuration
    }

    /// Makes it forget all addresses it learned.
    ///
    /// # Errors
    ///
    /// When it cannot, or fails to.
    pub fn forget(&self, lab: &Lab) -> anyhow::Result<()> {
        match &self.forget {
            Some(forget) => forget(lab),
            None => bail!("this system cannot be told to forget addresses"),
        }
    }

    /// Fails when a process of it has ended.
    ///
    /// # Errors
    ///
    /// How it ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        self.running.iter_mut().try_for_each(Running::check_alive)
    }
}

/// Joins the hosts' namespaces of `lab` by `system`. Then they have an interface for each port (see
/// [`Topology::interface`]), or there is a socket.
///
/// # Errors
///
/// When it does not start. `lab` and the [`Started`] take everything away on drop.
pub fn start(system: System, programs: &Programs, lab: &Lab, topology: &Topology, cores: Cores) -> anyhow::Result<Started> {
    if !system.attaches(topology.attachment) {
        bail!("{system} has no {} ports", topology.attachment);
    }
    let mut started = match system {
        System::Bare => bare::start(programs, lab, topology, cores, Fault::default()),
        System::Bridge => bridge::start(lab, topology),
        System::Ovs => open_vswitch::start(lab, topology, cores, Datapath::Packet),
        System::OvsAfxdp => open_vswitch::start(lab, topology, cores, Datapath::Xdp),
        System::OvsDpdk => open_vswitch::start(lab, topology, cores, Datapath::Dpdk),
        System::Testpmd => testpmd::start(lab, topology, cores),
        System::Vde => vde::start(lab, topology, cores),
        System::Vswitch | System::VswitchBusy => vswitchd::start(system, programs, lab, topology, cores),
        System::Netfilter => router::netfilter(lab, topology),
        System::VswitchRouter => router::vswitchd(programs, lab, topology, cores),
    }?;
    topology::prepare_hosts(lab, topology, system != System::OvsAfxdp)?;
    // As they can be typed again: what is of this round only has a name.
    let directory = lab.directory().to_string_lossy().into_owned();
    for line in &mut started.configuration {
        *line = line.replace(&directory, "$DIR").replace(lab.client.name(), "client").replace(lab.server.name(), "servers");
    }
    Ok(started)
}

/// As [`start`] with [`System::Bare`] over two TAPs, made worse on purpose.
///
/// # Errors
///
/// As [`start`].
pub fn start_faulty(programs: &Programs, lab: &Lab, cores: Cores, fault: Fault) -> anyhow::Result<Started> {
    bare::start(programs, lab, &Topology::pair(Attachment::Tap, topology::Hosts::Generator), cores, fault)
}

/// The core for a thread that never sleeps: the switch's, or the last one where that is left to the scheduler, which then
/// cannot move it.
fn busy_core(cores: Cores) -> u16 {
    cores.switch.or_else(|| crate::cores::allowed().last().copied()).unwrap_or(0)
}

/// The core for a thread that manages a switch: not the busy one if there is another.
fn idle_core(cores: Cores) -> u16 {
    let busy = busy_core(cores);
    crate::cores::allowed().into_iter().find(|core| *core != busy).unwrap_or(busy)
}
