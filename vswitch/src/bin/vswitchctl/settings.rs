//! From typed settings to configuration keys.
//!
//! Adding and changing share one way: settings become a map of configuration keys, so that a setting cannot mean two things.

use proto::config::{PortConfig, PortKind, SocketMode, SwitchConfig};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::{AddPort, Kind, PortSettings, SetPort, SetSwitch, SwitchSettings};

pub(crate) fn put<T: Serialize>(map: &mut Map<String, Value>, key: &str, value: Option<&T>) {
    if let Some(value) = value {
        // Numbers, texts and truth values: serializing them cannot fail.
        map.insert(key.to_owned(), serde_json::to_value(value).unwrap_or_default());
    }
}

/// `null` for every key to reset. A key that is both set and reset is a usage error.
pub(crate) fn reset(map: &mut Map<String, Value>, keys: &[String]) -> Result<(), String> {
    for key in keys {
        if map.insert(key.clone(), Value::Null).is_some_and(|old| !old.is_null()) {
            return Err(format!("the setting {key} is both given and reset to its default"));
        }
    }
    if map.is_empty() {
        return Err("no setting given; --help lists them".into());
    }
    Ok(())
}

impl SwitchSettings {
    fn map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "ageing_time", self.ageing_time.as_ref());
        put(&mut map, "hub", self.hub.as_ref());
        put(&mut map, "fdb_size", self.fdb_size.as_ref());
        put(&mut map, "group_fwd_mask", self.group_fwd_mask.as_ref());
        map
    }

    /// The configuration of a new switch.
    pub(crate) fn config(&self) -> Result<SwitchConfig, String> {
        serde_json::from_value(Value::Object(self.map())).map_err(|e| e.to_string())
    }
}

impl SetSwitch {
    /// The keys to change.
    pub(crate) fn changes(&self) -> Result<Map<String, Value>, String> {
        let mut map = self.settings.map();
        reset(&mut map, &self.default)?;
        Ok(map)
    }
}

impl PortSettings {
    /// The keys that were given.
    pub(crate) fn map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "access", self.access.as_ref());
        put(&mut map, "trunk", self.trunk.as_ref());
        put(&mut map, "native", self.native.as_ref());
        put(&mut map, "native_tagged", self.native_tagged.as_ref());
        put(&mut map, "qinq", self.qinq.as_ref());
        put(&mut map, "cvlans", self.cvlans.as_ref());
        put(&mut map, "qinq_ethertype", self.qinq_ethertype.as_ref());
        put(&mut map, "accept_tagged", self.accept_tagged.as_ref());
        put(&mut map, "priority_tags", self.priority_tags.as_ref());
        put(&mut map, "netns", self.netns.as_ref());
        put(&mut map, "interface", self.interface.as_ref());
        put(&mut map, "socket_path", self.socket_path.as_ref());
        put(&mut map, "socket_mode", self.socket_mode.as_ref());
        put(&mut map, "socket_group", self.socket_group.as_ref());
        put(&mut map, "mtu", self.mtu.as_ref());
        put(&mut map, "mac", self.mac.as_ref());
        put(&mut map, "queues", self.queues.as_ref());
        put(&mut map, "offload", self.offload.as_ref());
        put(&mut map, "ring_size", self.ring_size.as_ref());
        put(&mut map, "tx_queue", self.tx_queue.as_ref());
        put(&mut map, "learning", self.learning.as_ref());
        put(&mut map, "learn_limit", self.learn_limit.as_ref());
        put(&mut map, "sticky", self.sticky.as_ref());
        put(&mut map, "flood", self.flood.as_ref());
        put(&mut map, "mcast_flood", self.mcast_flood.as_ref());
        put(&mut map, "bcast_flood", self.bcast_flood.as_ref());
        put(&mut map, "hairpin", self.hairpin.as_ref());
        put(&mut map, "isolated", self.isolated.as_ref());
        put(&mut map, "conntrack_limit", self.conntrack_limit.as_ref());
        put(&mut map, "enabled", self.disabled.then_some(&false));
        map
    }
}

impl Kind {
    fn put(&self, map: &mut Map<String, Value>) {
        let kind = match self {
            Kind { nic: Some(interface), .. } => {
                put(map, "interface", Some(interface));
                PortKind::Nic
            }
            Kind { vhost_user: Some(path), .. } => {
                put(map, "socket_path", Some(path));
                PortKind::VhostUser
            }
            Kind { patch: Some(peer), .. } => {
                put(map, "peer", Some(peer));
                PortKind::Patch
            }
            Kind { host: true, .. } => PortKind::Host,
            Kind { sim: true, .. } => PortKind::Sim,
            _ => PortKind::Tap,
        };
        put(map, "kind", Some(&kind));
    }
}

impl AddPort {
    /// The configuration of the new port.
    pub(crate) fn config(&self) -> Result<PortConfig, String> {
        if self.kind.nic.is_some() && self.settings.interface.is_some() {
            return Err("--nic names the interface already; leave --interface out".into());
        }
        if self.kind.vhost_user.is_some() && self.settings.socket_path.is_some() {
            return Err("--vhost-user names the socket already; leave --socket-path out".into());
        }
        if self.kind.vhost_user.is_none() && (self.server || self.client) {
            return Err("--server and --client are for --vhost-user".into());
        }
        let mut map = self.settings.map();
        put(&mut map, "socket_mode", self.client.then_some(&SocketMode::Client));
        put(&mut map, "switch", Some(&self.switch));
        self.kind.put(&mut map);
        serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())
    }
}

impl SetPort {
    /// The keys to change. The daemon resets the keys of the other VLAN modes when a new one is among them.
    pub(crate) fn changes(&self) -> Result<Map<String, Value>, String> {
        let mut map = self.settings.map();
        put(&mut map, "enabled", self.enabled.as_ref());
        reset(&mut map, &self.default)?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parse(line: &str) -> Result<Verb, clap::Error> {
        Cli::try_parse_from(["vswitchctl"].into_iter().chain(line.split_whitespace())).map(|cli| cli.verb)
    }

    fn add_port(line: &str) -> Result<PortConfig, String> {
        match parse(&format!("add-port {line}")).map_err(|e| e.to_string())? {
            Verb::AddPort(add) => add.config(),
            other => panic!("{other:?}"),
        }
    }

    fn set_port(line: &str) -> Result<Value, String> {
        match parse(&format!("set-port {line}")).map_err(|e| e.to_string())? {
            Verb::SetPort(set) => set.changes().map(Value::Object),
            other => panic!("{other:?}"),
        }
    }

    /// The keys of a configuration type, from its schema.
    fn keys<T: schemars::JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T);
        schema.get("properties").and_then(Value::as_object).unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_key_of_a_port_can_be_set_and_reset() {
        let mut known: Vec<_> = PortSettings::KEYS.iter().map(|k| (*k).to_owned()).collect();
        // What a port is cannot change; bonds have verbs of their own.
        known.extend(["switch", "kind", "peer", "bond", "member"].map(str::to_owned));
        known.sort();
        assert_eq!(known, {
            let mut k = keys::<PortConfig>();
            k.sort();
            k
        });
        let values = "--native 5 --native-tagged --priority-tags always --netns n --interface i --socket-path /s --socket-mode client --socket-group g --mtu 9000 --mac 02:00:00:00:00:01 \
            --queues 2 --offload off --ring-size 4MiB --tx-queue qdisc --learning off --learn-limit 7 --sticky on --flood off \
            --mcast-flood off --bcast-flood off --hairpin on --isolated on --conntrack-limit 1000 --enabled off";
        let mut set: Vec<String> = Vec::new();
        for mode in ["--access 10 --accept-tagged own", "--trunk 10,20", "--qinq 30 --cvlans 1-9 --qinq-ethertype 802.1q"] {
            set.extend(
                set_port(&format!("p {mode}")).unwrap().as_object().unwrap().iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k.clone()),
            );
        }
        set.extend(set_port(&format!("p {values}")).unwrap().as_object().unwrap().keys().cloned());
        set.sort();
        let mut keys: Vec<_> = PortSettings::KEYS.iter().map(|k| (*k).to_owned()).collect();
        keys.sort();
        assert_eq!(set, keys);
    }

    #[test]
    fn every_key_of_a_switch_can_be_set() {
        let Verb::SetSwitch(set) = parse("set-switch s --ageing-time 5m --hub --fdb-size 4096 --group-fwd-mask 0x4000").unwrap() else {
            panic!()
        };
        let changes = set.changes().unwrap();
        assert_eq!(Value::Object(changes.clone()), json!({"ageing_time": "300s", "hub": true, "fdb_size": 4096, "group_fwd_mask": 0x4000}));
        let mut keys = keys::<SwitchConfig>();
        keys.sort();
        assert_eq!(changes.keys().cloned().collect::<Vec<_>>(), keys);
        let Verb::SetSwitch(set) = parse("set-switch s --default hub --hub=off").unwrap() else { panic!() };
        assert!(set.changes().unwrap_err().contains("hub"));
    }

    #[test]
    fn a_new_port_has_the_defaults_and_what_was_given() {
        assert_eq!(add_port("lan p --tap").unwrap(), PortConfig::new("lan"));
        let port = add_port("lan p --nic eth1 --trunk 10,20-30 --native 1 --ring-size 1MiB --disabled").unwrap();
        assert_eq!((port.kind, port.interface.as_deref()), (PortKind::Nic, Some("eth1")));
        assert_eq!((port.trunk.as_deref(), port.native, port.ring_size.0, port.enabled), (Some("10,20-30"), Some(1), 1 << 20, false));
        let port = add_port("lan p --patch q").unwrap();
        assert_eq!((port.kind, port.peer.as_deref()), (PortKind::Patch, Some("q")));
        assert_eq!(add_port("lan p --host").unwrap().kind, PortKind::Host);
        for (words, mode) in [("", SocketMode::Server), (" --server", SocketMode::Server), (" --client", SocketMode::Client)] {
            let port = add_port(&format!("lan p --vhost-user /run/p.sock --queues 2{words}")).unwrap();
            assert_eq!(
                (port.kind, port.socket_path.as_deref(), port.socket_mode, port.queues),
                (PortKind::VhostUser, Some("/run/p.sock"), mode, 2)
            );
        }
        assert_eq!(add_port("lan p --sim --qinq 300 --cvlans 1-9").unwrap().cvlans.as_deref(), Some("1-9"));
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for line in [
            "lan p",
            "lan p --tap --sim",
            "lan p --tap --client",
            "lan p --vhost-user /run/p.sock --server --client",
            "lan p --vhost-user /run/p.sock --client --socket-mode server",
            "lan p --vhost-user /run/p.sock --socket-path /run/q.sock",
            "lan p --tap --access 10 --trunk 20",
            "lan p --tap --access 10 --native 20",
            "lan p --tap --qinq 10 --accept-tagged own",
            "lan p --tap --access 4095",
            "lan p --tap --mac 02:00",
            "lan p --tap --learning maybe",
            "lan p --nic eth1 --interface eth2",
            "lan p --tap --ring-size 2MB",
        ] {
            assert!(add_port(line).is_err(), "{line}");
        }
        assert!(set_port("p").is_err());
        assert!(set_port("p --mtu 9000 --default mtu").is_err());
        assert!(set_port("p --enabled on --disabled").is_err());
        assert!(set_port("p --default nonsense").is_err());
        assert_eq!(set_port("p --default access --mtu 9000").unwrap(), json!({"access": null, "mtu": 9000}));
    }
}
