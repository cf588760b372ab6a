//! Frames that go round between a guest and the switch: DPDK's testpmd in io mode between two virtio-user ports, which are
//! the guest's side of two vhost-user ports.
//!
//! What the guest receives at one port it sends by the other, so the switch forwards both ways between stations it knows, and
//! nothing is made or looked into on the way: less work than any generator does, on one core. Where the switch is faster
//! than that, the guest is the limit, and the figure is less than what the switch could do.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{Sample, Settings};
use crate::cores::Load;
use crate::cpu_time;
use crate::interrupt;
use crate::lab::{Lab, Running};
use crate::system::{self, System};
use crate::topology::{Attachment, Hosts, PortAt, Topology};

/// Bursts of 32 frames that go round in each direction.
const BURSTS: u32 = 16;
const WARM_UP: Duration = Duration::from_millis(500);

/// One round with frames of `octets` octets, FCS included.
pub(super) fn round(system: System, octets: u16, settings: &Settings) -> anyhow::Result<Sample> {
    let cores = settings.cores(Load::OneWay);
    let lab = Lab::new()?;
    let mut switch = system::start(system, &settings.programs, &lab, &Topology::pair(Attachment::VhostUser, Hosts::Generator), cores)?;
    let [PortAt::VhostUser(left), PortAt::VhostUser(right)] = switch.ports() else { bail!("{system} has no two vhost-user ports") };
    let mut guest = guest(&lab, [left, right], cores.client.unwrap_or(0), octets - 4)?;
    guest.say(&format!("start tx_first {BURSTS}"))?;
    interrupt::sleep(WARM_UP)?;
    let cpu = |pid: Option<u32>| pid.map(cpu_time::of).transpose();
    let (cpu_before, (start, before)) = (cpu(switch.pid())?, received(&mut guest)?);
    interrupt::sleep(settings.span)?;
    let (cpu_after, (end, after)) = (cpu(switch.pid())?, received(&mut guest)?);
    switch.check_alive()?;
    let frames = after - before;
    if frames == 0 {
        bail!("no frame came back to the guest");
    }
    let mut sample = Sample::new(frames as f64 / end.duration_since(start).as_secs_f64() / 1e3).with("received_frames", frames as f64);
    if let (Some(before), Some(after)) = (cpu_before, cpu_after) {
        sample = sample.with("switch_cpu_ns_per_frame", (after - before).as_nanos() as f64 / frames as f64);
    }
    Ok(sample.by(&switch))
}

/// The guest with both of its ports up. It ends with its standard input.
fn guest(lab: &Lab, sockets: [&Path; 2], core: u16, octets: u16) -> anyhow::Result<Running> {
    // Without line buffering its answers would stay in the pipe.
    let mut command: Command = lab.client.command("stdbuf", None);
    command.args(["-oL", "dpdk-testpmd"]).env("RUNTIME_DIRECTORY", lab.directory());
    command.args([&format!("--lcores=0@{core},1@{core}"), "--no-pci", "--no-huge", "-m", "256", "--no-shconf", "--no-telemetry"]);
    for (number, socket) in sockets.into_iter().enumerate() {
        let address = format!("52:54:00:00:00:0{}", number + 1);
        command.arg("--vdev").arg(format!("net_virtio_user{number},mac={address},path={},queues=1,queue_size=1024", socket.display()));
    }
    command.args(["--", "-i", "--forward-mode=io", "--nb-cores=1", "--no-lsc-interrupt", "--total-num-mbufs=16384"]);
    command.args(["--eth-peer=0,52:54:00:00:00:02", "--eth-peer=1,52:54:00:00:00:01", "--txd=1024", "--rxd=1024", "--burst=32"]);
    command.arg(format!("--txpkts={octets}"));
    let mut guest = Running::start_with_input("the guest (dpdk-testpmd)", &mut command)?;
    // The last line before the prompt.
    guest.wait_for_line("Done")?;
    Ok(guest)
}

/// Frames that both ports of the guest have received, and when that was.
fn received(guest: &mut Running) -> anyhow::Result<(Instant, u64)> {
    guest.say("show port stats all")?;
    let mut frames = 0;
    for _ in 0..2 {
        let line = guest.wait_for_line("RX-packets:")?;
        let number = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        frames += number.with_context(|| format!("the guest says {line:?}"))?;
    }
    Ok((Instant::now(), frames))
}
