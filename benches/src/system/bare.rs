//! The bare loop between two ports: see [`crate::bare_loop`].

use std::time::Duration;

use anyhow::bail;

use super::{Programs, Started};
use crate::bare_loop::Fault;
use crate::cores::Cores;
use crate::lab::{Lab, Running};
use crate::topology::{Attachment, Hosts, Topology, veths};

/// How long it spins where hosts wait for each other's answers: as long as `vswitchd` does by default. A loop that sleeps after each
/// frame is no limit there. Where the generator saturates it, spinning would only blur its CPU time.
const SPIN: Duration = Duration::from_micros(50);

pub(super) fn start(programs: &Programs, lab: &Lab, topology: &Topology, cores: Cores, fault: Fault) -> anyhow::Result<Started> {
    if topology.ports != 2 {
        bail!("the bare loop joins two ports, not {}", topology.ports);
    }
    let mut command = lab.switch.command(&programs.bench, cores.switch);
    command.arg("bare-loop");
    let mut configuration = "vswitch-bench bare-loop".to_owned();
    for port in 0..2 {
        let at = match topology.attachment {
            Attachment::Packet => format!("packet:p{port}"),
            _ => format!("tap:{}:{}", Topology::host(lab, port).name(), Topology::interface(port)),
        };
        configuration += &format!(" {at}");
        command.arg(at);
    }
    if topology.attachment == Attachment::Packet {
        veths(lab, topology)?;
    }
    let spin = if topology.hosts == Hosts::Generator { Duration::ZERO } else { SPIN };
    configuration += &format!(" --spin-nanos {}", spin.as_nanos());
    command.args(["--spin-nanos", &spin.as_nanos().to_string()]);
    command.args(["--delay-nanos", &fault.delay.as_nanos().to_string(), "--drop-every", &fault.drop_every.to_string()]);
    let mut running = Running::start("the bare loop", &mut command)?;
    running.wait_for_line("ready")?;
    Ok(Started::with_netdevs(topology, vec![running], vec![configuration]))
}
