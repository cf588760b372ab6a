//! What a daemon with 16 ports takes while there is no traffic.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cores::Cores;
use crate::lab::Lab;
use crate::scenario::{Sample, Settings};
use crate::system::{self, Started, System};
use crate::topology::{Hosts, PortAt, Topology};
use crate::{cpu_time, interrupt, memory};

const PORTS: usize = 16;
/// Until what the start set off is over.
const SETTLE: Duration = Duration::from_secs(1);
/// An idle daemon does little, so look for long.
const SPAN_MIN: Duration = Duration::from_secs(5);

/// One round: CPU time in per cent of a core.
pub(super) fn cpu(system: System, settings: &Settings) -> anyhow::Result<Sample> {
    let (lab, mut switch, pid) = start(system, settings)?;
    let start = Instant::now();
    let before = cpu_time::of(pid)?;
    interrupt::sleep(settings.span.max(SPAN_MIN))?;
    let used = cpu_time::of(pid)? - before;
    switch.check_alive()?;
    let sample = Sample::new(used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0).by(&switch);
    drop((switch, lab));
    Ok(sample)
}

/// One round: memory in MiB.
pub(super) fn memory(system: System, settings: &Settings) -> anyhow::Result<Sample> {
    let (lab, mut switch, pid) = start(system, settings)?;
    let octets = memory::resident(pid)?;
    switch.check_alive()?;
    let sample = Sample::new(octets as f64 / f64::from(1 << 20)).by(&switch);
    drop((switch, lab));
    Ok(sample)
}

fn start(system: System, settings: &Settings) -> anyhow::Result<(Lab, Started, u32)> {
    let lab = Lab::new()?;
    let topology = Topology { ports: PORTS, ..Topology::pair(system.native(), Hosts::Generator) };
    let switch = system::start(system, &settings.programs, &lab, &topology, Cores::default())?;
    for port in switch.ports() {
        if let PortAt::Netdev(port) = port {
            Topology::host(&lab, *port).run("ip", &["link", "set", &Topology::interface(*port), "up"])?;
        }
    }
    interrupt::sleep(SETTLE)?;
    let pid = switch.pid().context("the system is a process")?;
    Ok((lab, switch, pid))
}
