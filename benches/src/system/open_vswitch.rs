//! Open vSwitch with its userspace datapath (`datapath_type=netdev`), started by hand in the directory of the round.
//!
//! Nothing of an Open vSwitch that the machine may run is touched: database, control sockets, PID files and logs are ours, and
//! the daemons run in the switch's namespace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{NotAvailable, READY_MAX, Started, busy_core, idle_core};
use crate::cores::Cores;
use crate::interrupt;
use crate::lab::{self, Lab, Running};
use crate::topology::{Hosts, PortAt, Topology, veths};

/// Where Debian has the schema of the database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// Addresses that a bridge keeps at most, whatever is asked for (`ovs-vswitchd.conf.db(5)`, `mac-table-size`).
const ADDRESSES_MAX: u32 = 1_000_000;
/// Memory for DPDK, in MiB: two pools of 262,144 mbufs, which it makes as a port gets its final number of queues.
const DPDK_MIB: u64 = 2048;

/// What the ports are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datapath {
    /// AF_PACKET sockets on veth.
    Packet,
    /// AF_XDP sockets on veth.
    Xdp,
    /// DPDK's vhost-user.
    Dpdk,
}

/// The daemon, where Debian's packages have it or the path.
pub(super) fn daemon(datapath: Datapath) -> Option<PathBuf> {
    let own = match datapath {
        Datapath::Packet | Datapath::Xdp => "/usr/lib/openvswitch-switch/ovs-vswitchd",
        Datapath::Dpdk => "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk",
    };
    let own = Path::new(own);
    if own.is_file() {
        return Some(own.into());
    }
    let found = lab::program("ovs-vswitchd")?;
    // Which build that is, it only says itself; the first line is that of Open vSwitch.
    let is_dpdk = || {
        let output = std::process::Command::new(&found).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("DPDK"))
    };
    (datapath != Datapath::Dpdk || is_dpdk()).then_some(found)
}

/// What is not installed.
pub(super) fn missing(datapath: Datapath) -> Vec<String> {
    let package = if datapath == Datapath::Dpdk { "openvswitch-switch-dpdk" } else { "openvswitch-switch" };
    let programs = [("ovsdb-tool", "openvswitch-common"), ("ovsdb-server", "openvswitch-common"), ("ovs-vsctl", "openvswitch-switch")];
    let mut missing = lab::missing(&programs);
    if datapath == Datapath::Xdp {
        missing.extend(lab::missing(&[("ethtool", "ethtool")]));
    }
    if daemon(datapath).is_none() {
        missing.push(format!("ovs-vswitchd (apt-get install {package})"));
    }
    if datapath == Datapath::Dpdk && lacks_pool_driver(Path::new("/usr/lib")) {
        missing.push("librte_mempool_ring (apt-get install librte-mempool-ring23)".into());
    }
    missing
}

/// Whether DPDK is there without the driver of its memory pools: Debian has each library of it in a package of its own, and nothing
/// depends on this one. `libraries` has a directory for each architecture.
fn lacks_pool_driver(libraries: &Path) -> bool {
    let names = |directory: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    names(libraries.into()).into_iter().map(|architecture| names(libraries.join(architecture))).any(|found| {
        let has = |library: &str| found.iter().any(|name| name.starts_with(library));
        has("librte_mempool.so") && !has("librte_mempool_ring.so")
    })
}

/// How DPDK gets `mib` MiB of memory: from huge pages where so much is free, else from ordinary ones.
pub(super) fn dpdk_memory(mib: u64) -> String {
    let read = |name: &str| {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        value.unwrap_or(0)
    };
    if read("HugePages_Free:") * read("Hugepagesize:") / 1024 >= mib {
        format!("--in-memory -m {mib}")
    } else {
        // The second is what the first implies, and keeps ovs-vswitchd from adding an --in-memory that does not go with it.
        format!("--no-huge --legacy-mem -m {mib}")
    }
}

/// Waits until a socket is there.
pub(super) fn wait_for_socket(path: &Path, running: &mut Running) -> anyhow::Result<()> {
    interrupt::wait_for(&format!("there is a socket {}", path.display()), READY_MAX, || {
        running.check_alive()?;
        Ok(path.exists().then_some(()))
    })
}

/// The database, and the commands that were given to it.
struct Database<'l> {
    lab: &'l Lab,
    remote: String,
    commands: Vec<String>,
}

impl Database<'_> {
    fn vsctl(&mut self, arguments: &[String]) -> anyhow::Result<String> {
        let all: Vec<&str> = [&self.remote, "--timeout=100"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let output = self.lab.switch.run("ovs-vsctl", &all)?;
        self.commands.push(format!("ovs-vsctl {}", arguments.join(" ")));
        Ok(output)
    }
}

pub(super) fn start(lab: &Lab, topology: &Topology, cores: Cores, datapath: Datapath) -> anyhow::Result<Started> {
    let daemon = daemon(datapath).context("ovs-vswitchd is not installed")?;
    let directory = lab.directory().to_string_lossy().into_owned();
    let environment = ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "RUNTIME_DIRECTORY"].map(|name| (name, &directory));
    let at = |name: &str| format!("{directory}/{name}");

    lab.switch.run("ovsdb-tool", &["create", &at("conf.db"), SCHEMA])?;
    let remote = format!("unix:{}", at("db.sock"));
    let mut command = lab.switch.command("ovsdb-server", None);
    command.envs(environment).arg(at("conf.db")).arg(format!("--remote=p{remote}"));
    command.args([format!("--unixctl={}", at("db.ctl")), format!("--pidfile={}", at("db.pid"))]);
    let mut server = Running::start("ovsdb-server", command.args(["--no-chdir", "-vconsole:warn"]))?;
    wait_for_socket(&lab.path("db.sock"), &mut server)?;

    let mut database = Database { lab, remote: format!("--db={remote}"), commands: Vec::new() };
    database.vsctl(&["--no-wait", "init"].map(Into::into))?;
    let mut options = vec!["other_config:n-revalidator-threads=1".to_owned()];
    if datapath != Datapath::Packet {
        options.push(format!("other_config:pmd-cpu-mask={:#x}", 1u128 << busy_core(cores)));
    }
    // Without it an AF_PACKET port cannot take segments that the host left for the device to cut.
    if datapath == Datapath::Packet && topology.hosts == Hosts::Stack {
        options.push("other_config:userspace-tso-enable=true".into());
    }
    if datapath == Datapath::Dpdk {
        options.push("other_config:dpdk-init=true".into());
        options.push(format!("other_config:dpdk-lcore-mask={:#x}", 1u128 << idle_core(cores)));
        options.push(format!("other_config:dpdk-extra=\"--no-pci {}\"", dpdk_memory(DPDK_MIB)));
    }
    database.vsctl(&[["--no-wait", "set", "Open_vSwitch", "."].map(Into::into).as_slice(), &options].concat())?;

    // AF_PACKET ports are served by the main thread; PMD threads pin themselves.
    let core = if datapath == Datapath::Packet { cores.switch } else { None };
    let mut command = lab.switch.command(&daemon, core);
    command.envs(environment).arg(&remote).args([format!("--unixctl={}", at("vs.ctl")), format!("--pidfile={}", at("vs.pid"))]);
    command.arg(format!("--log-file={}", at("vs.log"))).arg("-vconsole:warn");
    let mut switch = Running::start("ovs-vswitchd", &mut command)?;
    wait_for_socket(&lab.path("vs.ctl"), &mut switch)?;

    if datapath != Datapath::Dpdk {
        veths(lab, topology)?;
    }
    let addresses = (topology.addresses + 64).min(ADDRESSES_MAX);
    let mut arguments: Vec<String> = "add-br br0 -- set Bridge br0 datapath_type=netdev".split(' ').map(Into::into).collect();
    arguments.extend(["mcast_snooping_enable=false".into(), format!("other_config:mac-table-size={addresses}")]);
    let name = |port: usize| if datapath == Datapath::Dpdk { format!("vhost{port}") } else { format!("p{port}") };
    for port in 0..topology.ports {
        let name = name(port);
        let kind = match datapath {
            Datapath::Packet => String::new(),
            Datapath::Xdp => format!(" -- set Interface {name} type=afxdp options:xdp-mode=generic"),
            Datapath::Dpdk => format!(" -- set Interface {name} type=dpdkvhostuser"),
        };
        arguments.extend(format!("-- add-port br0 {name}{kind}").split(' ').map(str::to_owned));
    }
    let log = || fs::read_to_string(lab.path("vs.log")).unwrap_or_default();
    let kinds = database.vsctl(&["get", "Open_vSwitch", ".", "iface_types"].map(Into::into))?;
    if datapath == Datapath::Xdp && !kinds.contains("afxdp") {
        return Err(NotAvailable("this ovs-vswitchd was built without AF_XDP".into()).into());
    }
    database.vsctl(&arguments).with_context(|| warnings(&log()))?;
    for port in 0..topology.ports {
        let error = database.vsctl(&["get", "Interface", &name(port), "error"].map(Into::into))?;
        if error.trim() != "[]" {
            bail!("ovs-vswitchd: port {}: {}: {}", name(port), error.trim(), warnings(&log()));
        }
    }
    switch.check_alive().with_context(|| warnings(&log()))?;
    // Questions are no configuration.
    database.commands.retain(|line| !line.starts_with("ovs-vsctl get"));
    let configuration = [vec![format!("{} {remote}", daemon.display())], database.commands].concat();

    let ports = match datapath {
        Datapath::Dpdk => (0..topology.ports).map(|port| PortAt::VhostUser(lab.path(&name(port)))).collect(),
        _ => (0..topology.ports).map(PortAt::Netdev).collect(),
    };
    let control = at("vs.ctl");
    let forget = move |lab: &Lab| lab.switch.run("ovs-appctl", &["-t", &control, "fdb/flush", "br0"]).map(drop);
    Ok(Started { running: vec![switch, server], ports, forget: None, configuration }.forgetting(forget))
}

/// The last lines of the log that are not for information.
fn warnings(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| ["|WARN|", "|ERR|", "|EMER|"].iter().any(|level| line.contains(level))).collect();
    let last = lines.len().saturating_sub(5);
    lines[last..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpdk_needs_the_driver_of_its_pools() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!lacks_pool_driver(directory.path()), "no DPDK at all, or one that is in other places");
        let libraries = directory.path().join("x86_64-linux-gnu");
        fs::create_dir(&libraries).unwrap();
        fs::write(libraries.join("librte_mempool.so.23"), "").unwrap();
        assert!(lacks_pool_driver(directory.path()));
        fs::write(libraries.join("librte_mempool_ring.so.23"), "").unwrap();
        assert!(!lacks_pool_driver(directory.path()));
    }
}
