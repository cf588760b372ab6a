//! `vde_switch` with TAP ports.

use super::{READY_MAX, Started};
use crate::cores::Cores;
use crate::interrupt;
use crate::lab::{Lab, Running};
use crate::topology::Topology;

pub(super) fn start(lab: &Lab, topology: &Topology, cores: Cores) -> anyhow::Result<Started> {
    let mut arguments: Vec<String> = ["-n", &(topology.ports + 1).to_string(), "-s"].map(Into::into).into();
    arguments.push(lab.path("vde").to_string_lossy().into_owned());
    // The default table has 128 buckets, each a list.
    let buckets = topology.addresses.next_power_of_two().max(1024);
    arguments.extend(["--hashsize".into(), buckets.to_string()]);
    for port in 0..topology.ports {
        arguments.extend(["-t".into(), Topology::interface(port)]);
    }
    let mut command = lab.switch.command("vde_switch", cores.switch);
    // It ends with its standard input.
    let mut running = Running::start_with_input("vde_switch", command.args(&arguments))?;
    let last = Topology::interface(topology.ports - 1);
    interrupt::wait_for("vde_switch makes its TAPs", READY_MAX, || {
        running.check_alive()?;
        Ok(lab.switch.run("ip", &["link", "show", &last]).ok())
    })?;
    // It can make TAPs in its own namespace only.
    for port in 0..topology.ports {
        lab.switch.run("ip", &["link", "set", &Topology::interface(port), "netns", Topology::host(lab, port).name()])?;
    }
    for port in 0..topology.ports {
        Topology::host(lab, port).run("ip", &["link", "set", &Topology::interface(port), "up"])?;
    }
    let configuration = vec![format!("vde_switch {}", arguments.join(" "))];
    Ok(Started::with_netdevs(topology, vec![running], configuration))
}
