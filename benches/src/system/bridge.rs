//! The Linux bridge, in the switch's namespace.

use super::{NotAvailable, READY_MAX, Started};
use crate::interrupt;
use crate::lab::Lab;
use crate::topology::{Topology, veths};

/// Everything that costs and is not needed is off.
const OPTIONS: &str = "stp_state 0 forward_delay 0 mcast_snooping 0 nf_call_iptables 0 nf_call_ip6tables 0";
/// Exists where br_netfilter is loaded; then it is per namespace and on by default.
const NO_NETFILTER: &str = "for f in /proc/sys/net/bridge/bridge-nf-call-*; do if [ -e $f ]; then echo 0 >$f; fi; done";

pub(super) fn start(lab: &Lab, topology: &Topology) -> anyhow::Result<Started> {
    let switch = &lab.switch;
    // Without VLAN filtering a bridge passes tagged frames as they are, and has one address table for all VLANs.
    let filtering = if topology.tagged { " vlan_filtering 1" } else { "" };
    let add = format!("link add br0 type bridge {OPTIONS}{filtering}");
    switch.run("ip", &add.split(' ').collect::<Vec<_>>()).map_err(|error| {
        // EOPNOTSUPP of a kernel without CONFIG_BRIDGE_VLAN_FILTERING.
        let is_unknown = topology.tagged && error.to_string().contains("Operation not supported");
        if is_unknown { NotAvailable("the bridge of this kernel has no VLAN filtering".into()).into() } else { error }
    })?;
    switch.run("sh", &["-c", NO_NETFILTER])?;
    switch.run("ip", &["link", "set", "br0", "up"])?;
    veths(lab, topology)?;
    for port in 0..topology.ports {
        switch.run("ip", &["link", "set", &format!("p{port}"), "master", "br0"])?;
    }
    if topology.tagged {
        for port in 0..topology.ports {
            switch.run("bridge", &["vlan", "add", "dev", &format!("p{port}"), "vid", "2-4094"])?;
            // VLAN 1 is there, untagged.
            switch.run("bridge", &["vlan", "add", "dev", &format!("p{port}"), "vid", "1"])?;
        }
    }
    let count = topology.ports;
    interrupt::wait_for("all bridge ports forward", READY_MAX, || {
        let links = switch.run("ip", &["-d", "-o", "link", "show", "master", "br0"])?;
        Ok((links.matches("state forwarding").count() == count).then_some(()))
    })?;
    let mut configuration = vec![format!("ip {add}"), NO_NETFILTER.to_owned(), "for each port: ip link set pN master br0".to_owned()];
    if topology.tagged {
        configuration.push("for each port: bridge vlan add dev pN vid 2-4094; bridge vlan add dev pN vid 1".to_owned());
    }
    let forget = move |lab: &Lab| {
        (0..count).try_for_each(|port| {
            let name = format!("p{port}");
            lab.switch.run("ip", &["link", "set", &name, "type", "bridge_slave", "fdb_flush"]).map(drop)
        })
    };
    Ok(Started::with_netdevs(topology, Vec::new(), configuration).forgetting(forget))
}
