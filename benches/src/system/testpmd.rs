//! DPDK's testpmd in io mode between two vhost-user ports.

use anyhow::bail;

use super::open_vswitch::{dpdk_memory, wait_for_socket};
use super::{Started, busy_core, idle_core};
use crate::cores::Cores;
use crate::lab::{Lab, Running};
use crate::topology::{PortAt, Topology};

/// Memory for DPDK, in MiB.
const DPDK_MIB: u64 = 512;

pub(super) fn start(lab: &Lab, topology: &Topology, cores: Cores) -> anyhow::Result<Started> {
    if topology.ports != 2 {
        bail!("testpmd joins two ports in io mode, not {}", topology.ports);
    }
    let sockets = [lab.path("vhost0.sock"), lab.path("vhost1.sock")];
    let mut arguments = vec![format!("--lcores=0@{},1@{}", idle_core(cores), busy_core(cores)), "--no-pci".into()];
    arguments.extend(dpdk_memory(DPDK_MIB).split(' ').map(Into::into));
    for (number, socket) in sockets.iter().enumerate() {
        arguments.extend(["--vdev".into(), format!("net_vhost{number},iface={},queues=1", socket.display())]);
    }
    // The defaults of mbufs are for many cores.
    let forwarding = ["--", "--forward-mode=io", "--auto-start", "--nb-cores=1", "--no-lsc-interrupt", "--total-num-mbufs=32768"];
    arguments.extend(forwarding.map(Into::into));
    let mut command = lab.switch.command("dpdk-testpmd", None);
    // Where it keeps its sockets and locks.
    command.env("RUNTIME_DIRECTORY", lab.directory()).args(&arguments);
    // It ends with its standard input.
    let mut running = Running::start_with_input("testpmd", &mut command)?;
    for socket in &sockets {
        wait_for_socket(socket, &mut running)?;
    }
    let configuration = vec![format!("dpdk-testpmd {}", arguments.join(" "))];
    Ok(Started { running: vec![running], ports: sockets.map(PortAt::VhostUser).into(), forget: None, configuration })
}
