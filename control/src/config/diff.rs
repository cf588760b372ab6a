//! What changes from one configuration to another, in lines for people.

use std::collections::{BTreeMap, HashSet};

use proto::config::{Config, FdbConfig, PortConfig};
use proto::iptables::Tables;
use proto::neigh::{InterfaceNeighConfig, NeighConfig};
use proto::router::{ConntrackConfig, InterfaceConfig, NatConfig, RouterConfig};
use serde::Serialize;
use serde_json::Value;

use super::bond;
use super::edit::switch_of;
use super::validate::kind_name;

/// The changes that turn `old` into `new`, one line each; empty when they are equal. Removals come first, as they are
/// carried out.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let key = |entry: &'_ FdbConfig| (entry.mac, entry.vlan, entry.switch.clone(), entry.port.clone());
    let before: HashSet<_> = old.fdb.iter().map(key).collect();
    let after: HashSet<_> = new.fdb.iter().map(key).collect();
    for entry in old.fdb.iter().filter(|entry| !after.contains(&key(entry))) {
        lines.push(format!("remove fdb entry {} vlan {} port {:?} of switch {:?}", entry.mac, entry.vlan, entry.port, entry.switch));
    }
    for (name, port) in old.port.iter().filter(|(name, _)| !new.port.contains_key(*name)) {
        lines.push(format!("remove port {name:?} ({}) from {}", kind_name(port.kind), switch_of(port)));
    }
    for name in old.switch.keys().filter(|name| !new.switch.contains_key(*name)) {
        lines.push(format!("remove switch {name:?}"));
    }
    for name in old.router.keys().filter(|name| !new.router.contains_key(*name)) {
        lines.push(format!("remove router {name:?}"));
    }
    keys("daemon", &old.daemon, &new.daemon, &mut lines);
    for (name, switch) in &new.switch {
        match old.switch.get(name) {
            None => lines.push(format!("add switch {name:?}")),
            Some(former) => keys(&format!("switch {name:?}"), former, switch, &mut lines),
        }
    }
    for (name, port) in &new.port {
        match old.port.get(name) {
            None => lines.push(format!("add port {name:?} ({}) to {}", kind_name(port.kind), switch_of(port))),
            Some(former) => ports(name, former, port, &mut lines),
        }
    }
    for entry in new.fdb.iter().filter(|entry| !before.contains(&key(entry))) {
        lines.push(format!("add fdb entry {} vlan {} port {:?} to switch {:?}", entry.mac, entry.vlan, entry.port, entry.switch));
    }
    for (name, router) in &new.router {
        if !old.router.contains_key(name) {
            lines.push(format!("add router {name:?}"));
        }
        routers(name, old.router.get(name).unwrap_or(&RouterConfig::default()), router, &mut lines);
    }
    lines
}

/// What differs between two settings of a router.
fn routers(name: &str, old: &RouterConfig, new: &RouterConfig, lines: &mut Vec<String>) {
    for interface in old.interface.keys().filter(|interface| !new.interface.contains_key(*interface)) {
        lines.push(format!("remove interface {interface:?} from router {name:?}"));
    }
    let (router, bare) = (format!("router {name:?}"), |router: &RouterConfig| RouterConfig {
        interface: BTreeMap::new(),
        route: Vec::new(),
        neighbor: Vec::new(),
        forward: Vec::new(),
        conntrack: ConntrackConfig::default(),
        nat: NatConfig::default(),
        ipv4_neigh: NeighConfig::default(),
        ipv6_neigh: NeighConfig::default(),
        iptables: Tables::default(),
        ip6tables: Tables::default(),
        ipset: BTreeMap::new(),
        ..*router
    });
    keys(&router, &bare(old), &bare(new), lines);
    keys(&format!("{router}: conntrack"), &old.conntrack, &new.conntrack, lines);
    keys(&format!("{router}: nat"), &old.nat, &new.nat, lines);
    keys(&format!("{router}: ipv4_neigh"), &old.ipv4_neigh, &new.ipv4_neigh, lines);
    keys(&format!("{router}: ipv6_neigh"), &old.ipv6_neigh, &new.ipv6_neigh, lines);
    for (interface, settings) in &new.interface {
        match old.interface.get(interface) {
            None => lines.push(format!("add interface {interface:?} ({}) to {router}", place(settings))),
            Some(former) => {
                let at = format!("{router}: interface {interface:?}");
                let neigh = InterfaceNeighConfig::default;
                let bare = |of: &InterfaceConfig| InterfaceConfig { ipv4_neigh: neigh(), ipv6_neigh: neigh(), ..of.clone() };
                keys(&at, &bare(former), &bare(settings), lines);
                keys(&format!("{at}: ipv4_neigh"), &former.ipv4_neigh, &settings.ipv4_neigh, lines);
                keys(&format!("{at}: ipv6_neigh"), &former.ipv6_neigh, &settings.ipv6_neigh, lines);
            }
        }
    }
    entries(&router, "route", &old.route, &new.route, words::route, lines);
    entries(&router, "neighbor", &old.neighbor, &new.neighbor, words::neighbor, lines);
    entries(&router, "forward", &old.forward, &new.forward, words::forward, lines);
    for (family, old, new) in [("iptables", &old.iptables, &new.iptables), ("ip6tables", &old.ip6tables, &new.ip6tables)] {
        for table in Tables::NAMES.iter().filter(|table| old.get(table) != new.get(table)) {
            let rules = |tables: &Tables| {
                tables.get(table).into_iter().flat_map(|table| table.values()).map(|chain| chain.rules.len()).sum::<usize>()
            };
            lines.push(format!("{router}: {family} table {table}: {} rules -> {}", rules(old), rules(new)));
        }
    }
    for set in old.ipset.keys().filter(|set| !new.ipset.contains_key(*set)) {
        lines.push(format!("{router}: remove ipset {set:?}"));
    }
    for (set, settings) in &new.ipset {
        match old.ipset.get(set) {
            None => lines.push(format!("{router}: add ipset {set:?} ({}, {} entries)", settings.kind, settings.entries.len())),
            Some(former) if former == settings => {}
            Some(former) => {
                lines.push(format!("{router}: ipset {set:?}: {} entries -> {}", former.entries.len(), settings.entries.len()));
            }
        }
    }
}

/// Where an interface is.
fn place(interface: &InterfaceConfig) -> String {
    let place = match (&interface.switch, &interface.port) {
        (Some(switch), _) => format!("switch {switch:?}"),
        (None, Some(port)) => format!("port {port:?}"),
        (None, None) => "nowhere".to_owned(),
    };
    interface.vlan.map_or_else(|| place.clone(), |vlan| format!("{place} vlan {vlan}"))
}

/// Entries of a list that come and go. That their order changed alone is not seen, and makes no difference.
fn entries<T: PartialEq>(router: &str, what: &str, old: &[T], new: &[T], words: impl Fn(&T) -> String, lines: &mut Vec<String>) {
    let all = |list: &[T]| list.iter().map(&words).collect::<Vec<String>>();
    let (old, new) = (all(old), all(new));
    let (before, after): (HashSet<&String>, HashSet<&String>) = (old.iter().collect(), new.iter().collect());
    lines.extend(old.iter().filter(|entry| !after.contains(entry)).map(|entry| format!("{router}: remove {what} {entry}")));
    lines.extend(new.iter().filter(|entry| !before.contains(entry)).map(|entry| format!("{router}: add {what} {entry}")));
}

/// Entries of the lists of a router as one types them.
pub mod words {
    use proto::router::{ForwardConfig, NeighborConfig, RouteConfig, RouteKind};

    /// `10.0.0.0/8 via 192.0.2.1 dev wan metric 10`.
    pub fn route(route: &RouteConfig) -> String {
        let mut text = if route.kind == RouteKind::Unicast { String::new() } else { format!("{} ", route.kind.name()) };
        text += &route.to.to_string();
        if let Some(via) = route.via {
            text += &format!(" via {via}");
        }
        if let Some(dev) = &route.dev {
            text += &format!(" dev {dev}");
        }
        if route.metric != 0 {
            text += &format!(" metric {}", route.metric);
        }
        text
    }

    /// `192.0.2.9 dev lan lladdr 02:00:00:00:00:09`.
    pub fn neighbor(neighbor: &NeighborConfig) -> String {
        format!("{} dev {} lladdr {}", neighbor.address, neighbor.dev, neighbor.lladdr)
    }

    /// `tcp 8080 to 10.0.0.5:80 address 192.0.2.7`.
    pub fn forward(forward: &ForwardConfig) -> String {
        let mut text = format!("{} {} to {}", forward.protocol.name(), forward.port, forward.to);
        if let Some(address) = forward.address {
            text += &format!(" address {address}");
        }
        if forward.syn_proxy {
            text += " syn_proxy";
        }
        text
    }
}

/// What differs between two settings of a port, its bond options and members.
fn ports(name: &str, old: &PortConfig, new: &PortConfig, lines: &mut Vec<String>) {
    for member in old.member.keys().filter(|member| !new.member.contains_key(*member)) {
        lines.push(format!("remove member {member:?} from bond {name:?}"));
    }
    let bare = |port: &PortConfig| PortConfig { bond: None, member: Default::default(), ..port.clone() };
    keys(&format!("port {name:?}"), &bare(old), &bare(new), lines);
    keys(&format!("bond {name:?}"), &bond::options(old), &bond::options(new), lines);
    for (member, settings) in &new.member {
        match old.member.get(member) {
            None => lines.push(format!("add member {member:?} to bond {name:?}")),
            Some(former) => keys(&format!("bond {name:?}: member {member:?}"), former, settings, lines),
        }
    }
}

/// The keys of one table that differ. Keys that are not written because they have their default are shown as such.
fn keys<T: Serialize>(subject: &str, old: &T, new: &T, lines: &mut Vec<String>) {
    let fields = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        if before != after {
            let note = if subject == "daemon" && ["workers", "cores", "conntrack_max"].contains(&name.as_str()) {
                " (at the next start)"
            } else {
                ""
            };
            lines.push(format!("{subject}: {name} {} -> {}{note}", shown(before), shown(after)));
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "default".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proto::config::SwitchConfig;

    use super::*;

    #[test]
    fn says_what_is_added_changed_and_removed() {
        let mut old = Config::default();
        old.switch.insert("lan".into(), SwitchConfig::default());
        old.port.insert("a".into(), PortConfig::new("lan"));
        old.port.insert("b".into(), PortConfig { mtu: 9000, ..PortConfig::new("lan") });
        let mut new = old.clone();
        new.port.remove("a");
        new.port.insert("c".into(), PortConfig::new("lan"));
        new.port.insert("b".into(), PortConfig { access: Some(10), ..PortConfig::new("lan") });
        new.daemon.workers = 2;
        let mac = "02:00:00:00:00:01".parse().unwrap();
        new.fdb.push(FdbConfig { switch: "lan".into(), mac, vlan: 10, port: "b".into() });
        assert_eq!(
            changes(&old, &new),
            [
                "remove port \"a\" (tap) from switch \"lan\"",
                "daemon: workers 0 -> 2 (at the next start)",
                "port \"b\": access default -> 10",
                "port \"b\": mtu 9000 -> default",
                "add port \"c\" (tap) to switch \"lan\"",
                "add fdb entry 02:00:00:00:00:01 vlan 10 port \"b\" to switch \"lan\"",
            ]
        );
        assert!(changes(&new, &new).is_empty());
    }
}
