//! `vswitchd`, configured by a file of its own.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use proto::api::{FlushFdb, FlushFdbReply};
use proto::client::Client;
use proto::config::{Config, DaemonConfig, PollMode, PortConfig, PortKind, SwitchConfig};
use toml::Table;

use super::{NotAvailable, Programs, READY_MAX, Started, System};
use crate::cores::Cores;
use crate::interrupt;
use crate::lab::{Lab, Running};
use crate::topology::{Attachment, PortAt, Topology, veths};

/// The one switch.
const SWITCH: &str = "bench";

pub(super) fn start(system: System, programs: &Programs, lab: &Lab, topology: &Topology, cores: Cores) -> anyhow::Result<Started> {
    let poll = if system == System::VswitchBusy { PollMode::Busy } else { PollMode::Adaptive };
    if topology.attachment == Attachment::Packet {
        veths(lab, topology)?;
    }
    let ports: BTreeMap<String, Table> =
        (0..topology.ports).map(|i| Ok((format!("p{i}"), port_at(lab, topology, i)?))).collect::<anyhow::Result<_>>()?;
    // Room for each address to have a free slot beside it, but not less than by default.
    let fdb_size = (topology.addresses * 2).max(SwitchConfig::default().fdb_size);
    let mut config = Table::try_from(Config {
        daemon: DaemonConfig { workers: 1, cores: cores.switch.into_iter().collect(), poll, ..DaemonConfig::default() },
        switch: [(SWITCH.to_owned(), SwitchConfig { fdb_size, ..SwitchConfig::default() })].into(),
        ..Config::default()
    })?;
    config.insert("port".into(), Table::try_from(ports)?.into());
    let running = run(programs, lab, &config).map_err(|error| {
        let is_unknown = topology.attachment == Attachment::VhostUser && format!("{error:#}").contains("unknown value `vhost-user`");
        if is_unknown { NotAvailable("this vswitchd has no vhost-user ports".into()).into() } else { error }
    })?;
    let forget = |lab: &Lab| {
        let mut client = Client::connect(lab.path("socket"))?;
        let _: FlushFdbReply = client.call("FlushFdb", &FlushFdb { switch: SWITCH.into(), port: None, vlan: None })?;
        Ok(())
    };
    let configuration = vec![configuration(lab)?];
    let started = match topology.attachment {
        Attachment::Tap | Attachment::Packet => Started::with_netdevs(topology, vec![running], configuration),
        Attachment::VhostUser => {
            let ports = (0..topology.ports).map(|i| PortAt::VhostUser(socket(lab, i))).collect();
            Started { running: vec![running], ports, forget: None, configuration }
        }
    };
    Ok(started.forgetting(forget))
}

/// The configuration, in the directory of the round.
const FILE: &str = "vswitchd.toml";

fn tap(netns: &str, interface: &str) -> PortConfig {
    PortConfig { interface: Some(interface.into()), netns: Some(netns.into()), ..PortConfig::new(SWITCH) }
}

fn socket(lab: &Lab, port: usize) -> PathBuf {
    lab.path(&format!("vhost{port}.sock"))
}

/// A port of the topology.
pub(super) fn port_at(lab: &Lab, topology: &Topology, i: usize) -> anyhow::Result<Table> {
    match topology.attachment {
        Attachment::Tap => Ok(Table::try_from(tap(Topology::host(lab, i).name(), &Topology::interface(i)))?),
        Attachment::Packet => {
            Ok(Table::try_from(PortConfig { kind: PortKind::Nic, interface: Some(format!("p{i}")), ..PortConfig::new(SWITCH) })?)
        }
        // As text: the daemon that is measured may be of another build than this program.
        Attachment::VhostUser => {
            let keys =
                [("switch", SWITCH.into()), ("kind", "vhost-user".into()), ("socket_path", socket(lab, i).to_string_lossy().into_owned())];
            Ok(keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect())
        }
    }
}

/// The configuration that [`run`] wrote.
pub(super) fn configuration(lab: &Lab) -> anyhow::Result<String> {
    std::fs::read_to_string(lab.path(FILE)).context("read the configuration again")
}

/// Starts `vswitchd` in the switch's namespace with this configuration, and waits until it is ready.
pub(super) fn run(programs: &Programs, lab: &Lab, config: &Table) -> anyhow::Result<Running> {
    if !programs.vswitchd.is_file() {
        bail!("no vswitchd at {} (build it, or give --vswitchd PATH)", programs.vswitchd.display());
    }
    let file = lab.path(FILE);
    std::fs::write(&file, toml::to_string(config)?).with_context(|| format!("write {}", file.display()))?;
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
