//! What a scenario asks of a system: ports, what hangs on them, and what they must carry.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::generator::Endpoint;
use crate::lab::{Lab, Netns};

/// The interface in the sender's namespace: port 0.
pub const CLIENT_IF: &str = "client0";
/// The first interface in the receivers' namespace: port 1. The others are `server1` and so on.
pub const SERVER_IF: &str = "server0";

/// What the hosts hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// A TAP of the switch in the host's namespace. The bridge, which has no use for one, has veth.
    Tap,
    /// A veth whose other end the switch attaches, through AF_PACKET where it is a process.
    Packet,
    /// A vhost-user socket of the switch; the generator is the guest.
    VhostUser,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Attachment::Tap => "tap",
            Attachment::Packet => "packet",
            Attachment::VhostUser => "vhost-user",
        })
    }
}

/// Who is at the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// The generator, which makes and wants complete frames.
    Generator,
    /// The kernel's IP stack, which leaves checksums and segmentation to the device where it can.
    Stack,
    /// The kernel's IP stack with checksum, segmentation and receive offload off.
    StackWithoutOffload,
}

/// What is to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// What the hosts hang on.
    pub attachment: Attachment,
    /// Who they are.
    pub hosts: Hosts,
    /// Ports: one for the client, the others for servers; at least 2.
    pub ports: usize,
    /// Addresses that the switch must have room for.
    pub addresses: u32,
    /// Whether tagged frames must pass.
    pub tagged: bool,
}

impl Topology {
    /// A client and a server.
    pub fn pair(attachment: Attachment, hosts: Hosts) -> Topology {
        Topology { attachment, hosts, ports: 2, addresses: 1024, tagged: false }
    }

    /// The interface of a port in the host's namespace.
    pub fn interface(port: usize) -> String {
        if port == 0 { CLIENT_IF.into() } else { format!("server{}", port - 1) }
    }

    /// The namespace of the host at a port.
    pub fn host(lab: &Lab, port: usize) -> &Netns {
        if port == 0 { &lab.client } else { &lab.server }
    }
}

/// The host's side of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAt {
    /// A netdev in the host's namespace, by number of the port.
    Netdev(usize),
    /// A vhost-user socket on which the switch listens.
    VhostUser(PathBuf),
}

impl PortAt {
    /// The port for the generator; a netdev is set up.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(&self, lab: &Lab) -> anyhow::Result<Endpoint> {
        match self {
            PortAt::Netdev(port) => {
                let (host, interface) = (Topology::host(lab, *port), Topology::interface(*port));
                host.run("ip", &["link", "set", &interface, "up"])?;
                Endpoint::packet(host.handle(), &interface)
            }
            PortAt::VhostUser(path) => Endpoint::vhost_user(path),
        }
    }
}

/// Gives the hosts' interfaces what they need once they are there: offload off where that is asked for. A port without a name
/// (`vhost-user`) needs nothing.
///
/// # Errors
///
/// What `ethtool` says.
pub fn prepare_hosts(lab: &Lab, topology: &Topology, tx_checksum: bool) -> anyhow::Result<()> {
    let features: &[&str] = match topology.hosts {
        _ if topology.attachment == Attachment::VhostUser => return Ok(()),
        Hosts::Generator => return Ok(()),
        Hosts::Stack if tx_checksum => return Ok(()),
        Hosts::Stack => &["tx", "off"],
        Hosts::StackWithoutOffload => &["tx", "off", "tso", "off", "gso", "off", "gro", "off", "rx", "off"],
    };
    for port in 0..topology.ports {
        let interface = Topology::interface(port);
        Topology::host(lab, port).run("ethtool", &[&["-K", &interface], features].concat())?;
    }
    Ok(())
}

/// Makes a veth for each port: `p0` and so on in the switch's namespace, up, and [`Topology::interface`] in the host's, up.
///
/// # Errors
///
/// What `ip` says.
pub fn veths(lab: &Lab, topology: &Topology) -> anyhow::Result<()> {
    if topology.ports < 2 {
        bail!("a topology has at least 2 ports, not {}", topology.ports);
    }
    // One process for all: with 64 ports their starts would take longer than the measurement.
    let batch = |netns: &Netns, name: &str, lines: String| -> anyhow::Result<()> {
        let path = lab.path(name);
        std::fs::write(&path, lines).with_context(|| format!("write {}", path.display()))?;
        netns.run("ip", &["-batch", &path.to_string_lossy()]).map(drop)
    };
    let make = |port| {
        let (host, interface) = (Topology::host(lab, port).name(), Topology::interface(port));
        format!("link add p{port} type veth peer name {interface} netns {host}\nlink set p{port} up\n")
    };
    batch(&lab.switch, "veth", (0..topology.ports).map(make).collect())?;
    batch(&lab.client, "client", format!("link set {CLIENT_IF} up\n"))?;
    batch(&lab.server, "servers", (1..topology.ports).map(|port| format!("link set {} up\n", Topology::interface(port))).collect())
}
