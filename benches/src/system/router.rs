//! A router that masquerades between the client's and the servers' network: `vswitchd` as one, and the kernel with netfilter.
//!
//! The hosts' networks are `10.77.0.0/24` and `10.77.1.0/24`, the router has the last address of each. The generator's addresses (RFC
//! 2544 section C.2.2) are behind the first. For the generator the router has, on each side, the MAC address of the host on the
//! other, so its frames keep their MAC addresses, as they do in a switch, and are known at the sink.

use anyhow::Context as _;
use proto::config::{DaemonConfig, PollMode};
use toml::Table;

use super::vswitchd::{self, port_at};
use super::{Programs, Started};
use crate::cores::Cores;
use crate::generator::Macs;
use crate::lab::Lab;
use crate::topology::{Attachment, Hosts, Topology, veths};
use wire::MacAddr;

/// Addresses of the hosts and of the router on both sides, without the length of the prefix.
pub(crate) const CLIENT: &str = "10.77.0.1";
pub(crate) const SERVER: &str = "10.77.1.1";
pub(crate) const ROUTER: [&str; 2] = ["10.77.0.254", "10.77.1.254"];

/// By side: the host, the generator's network behind it, and the MAC address of the generator there.
fn sides() -> [(&'static str, &'static str, MacAddr); 2] {
    let mac = |macs: Macs| MacAddr(macs.of_flow(0).to_be_bytes()[2..].try_into().unwrap_or_default());
    [(CLIENT, "198.18.0.0/16", mac(Macs::clients(1))), (SERVER, "198.19.0.0/16", mac(Macs::servers(1)))]
}

/// `vswitchd`, each port an interface of its one router.
pub(super) fn vswitchd(programs: &Programs, lab: &Lab, topology: &Topology, cores: Cores) -> anyhow::Result<Started> {
    if topology.attachment == Attachment::Packet {
        veths(lab, topology)?;
    }
    // As text: the daemon that is measured may be of another build than this program.
    let mut text = String::new();
    for (i, (host, network, mac)) in sides().iter().enumerate() {
        let other = sides()[1 - i].2;
        let is_generator = topology.hosts == Hosts::Generator;
        let own_mac = if is_generator { format!("mac = \"{other}\"\n") } else { String::new() };
        text += &format!("[router.gw.interface.p{i}]\nport = \"p{i}\"\naddress = [\"{}/24\"]\n{own_mac}", ROUTER[i]);
        if is_generator {
            text += &format!("[[router.gw.route]]\nto = \"{network}\"\nvia = \"{host}\"\n");
            text += &format!("[[router.gw.neighbor]]\naddress = \"{host}\"\ndev = \"p{i}\"\nlladdr = \"{mac}\"\n");
        }
    }
    text += "[router.gw.iptables.nat.POSTROUTING]\nrules = [\"-o p1 -j MASQUERADE\"]\n";
    let mut config: Table = toml::from_str(&text).context("the router")?;
    let daemon =
        DaemonConfig { workers: 1, cores: cores.switch.into_iter().collect(), poll: PollMode::Adaptive, ..DaemonConfig::default() };
    config.insert("daemon".into(), Table::try_from(daemon)?.into());
    let mut ports = Table::new();
    for i in 0..topology.ports {
        let mut port = port_at(lab, topology, i)?;
        port.remove("switch");
        ports.insert(format!("p{i}"), port.into());
    }
    config.insert("port".into(), ports.into());
    let running = vswitchd::run(programs, lab, &config)?;
    Ok(Started::with_netdevs(topology, vec![running], vec![vswitchd::configuration(lab)?]))
}

/// The kernel, in the switch's namespace, with veth to the hosts.
pub(super) fn netfilter(lab: &Lab, topology: &Topology) -> anyhow::Result<Started> {
    let switch = &lab.switch;
    veths(lab, topology)?;
    let mut commands = vec!["sysctl -q -w net.ipv4.ip_forward=1".to_owned()];
    for (i, (host, network, mac)) in sides().iter().enumerate() {
        if topology.hosts == Hosts::Generator {
            commands.push(format!("ip link set p{i} address {}", sides()[1 - i].2));
        }
        commands.push(format!("ip addr add {}/24 dev p{i}", ROUTER[i]));
        if topology.hosts == Hosts::Generator {
            commands.push(format!("ip neigh add {host} lladdr {mac} dev p{i} nud permanent"));
            commands.push(format!("ip route add {network} via {host}"));
        }
    }
    commands.push("iptables -t nat -A POSTROUTING -o p1 -j MASQUERADE".to_owned());
    for command in &commands {
        let mut words = command.split(' ');
        switch.run(words.next().unwrap_or_default(), &words.collect::<Vec<_>>())?;
    }
    Ok(Started::with_netdevs(topology, Vec::new(), commands))
}
