//! What changes from one configuration to another, in lines for people.

use std::collections::HashSet;

use proto::config::{Config, FdbConfig, PortConfig};
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
    lines
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
            let note = if subject == "daemon" && (name == "workers" || name == "cores") { " (at the next start)" } else { "" };
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
