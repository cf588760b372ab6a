//! Single changes to a configuration: what the requests `AddPort`, `SetSwitch` and so on ask for.
//!
//! Each returns the edited copy or says why not; checking the result as a whole and carrying it out is the
//! transaction's.

pub mod router;

use proto::api::{AddFdb, AddMember, AddPort, AddSwitch, DelFdb, DelMember, DelPort, DelSwitch};
use proto::bond::BondConfig;
use proto::config::{Config, FdbConfig, PortConfig, PortKind, SwitchConfig};
use serde_json::{Map, Value};

use super::problem::{Problem, Subject, lines};
use super::validate::kind_name;
use super::{bond, read};

/// Why an edit is refused, for people.
pub type Refusal = String;

/// The switch of a port in words.
pub fn switch_of(port: &PortConfig) -> String {
    port.switch.as_ref().map_or_else(|| "no switch".to_owned(), |switch| format!("switch {switch:?}"))
}

/// Kind and switch of a port in words.
fn what(port: &PortConfig) -> String {
    format!("{} port of {}", kind_name(port.kind), switch_of(port))
}

/// Adds a switch, and its host port when asked.
///
/// # Errors
///
/// When it exists and `may_exist` is not given, or a port stands in the way of the host port.
pub fn add_switch(config: &Config, request: &AddSwitch) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let name = &request.name;
    if new.switch.contains_key(name) {
        if !request.may_exist {
            return Err(format!("switch {name:?} exists already (--may-exist accepts that)"));
        }
    } else {
        new.switch.insert(name.clone(), request.config.clone());
    }
    if request.host_port {
        match new.port.get(name) {
            Some(port) if port.kind == PortKind::Host && port.switch.as_ref() == Some(name) && request.may_exist => {}
            Some(port) => return Err(format!("port {name:?} exists already, as {}", what(port))),
            None => {
                new.port.insert(name.clone(), PortConfig { kind: PortKind::Host, ..PortConfig::new(name) });
            }
        }
    }
    Ok(new)
}

/// Removes a switch with its ports and static entries.
///
/// # Errors
///
/// When it does not exist and `if_exists` is not given.
pub fn del_switch(config: &Config, request: &DelSwitch) -> Result<Config, Refusal> {
    let mut new = config.clone();
    if new.switch.remove(&request.name).is_none() && !request.if_exists {
        return Err(format!("no switch {:?} (--if-exists accepts that)", request.name));
    }
    new.port.retain(|_, port| port.switch.as_ref() != Some(&request.name));
    new.fdb.retain(|entry| entry.switch != request.name);
    Ok(new)
}

/// Adds a port.
///
/// # Errors
///
/// When it exists, unless `may_exist` is given and it has the same switch and kind.
pub fn add_port(config: &Config, request: &AddPort) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let name = &request.name;
    if let Some(port) = config.port.get(name) {
        let is = format!("port {name:?} exists already, as {}", what(port));
        return match (request.may_exist, port.kind == request.config.kind && port.switch == request.config.switch) {
            (true, true) => Ok(new),
            (true, false) => Err(is),
            (false, _) => Err(format!("{is} (--may-exist accepts that)")),
        };
    }
    new.port.insert(name.clone(), request.config.clone());
    Ok(new)
}

/// Removes a port and its static entries.
///
/// # Errors
///
/// When it does not exist and `if_exists` is not given, or it belongs to another switch than the one named.
pub fn del_port(config: &Config, request: &DelPort) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let name = &request.name;
    match (config.port.get(name), &request.switch) {
        (None, _) if request.if_exists => return Ok(new),
        (None, _) => return Err(format!("no port {name:?} (--if-exists accepts that)")),
        (Some(port), Some(switch)) if port.switch.as_ref() != Some(switch) => {
            return Err(format!("port {name:?} belongs to {}, not to {switch:?}", switch_of(port)));
        }
        _ => {}
    }
    new.port.remove(name);
    new.fdb.retain(|entry| entry.port != *name);
    Ok(new)
}

/// Adds a static entry.
///
/// # Errors
///
/// When there is one for the address, unless `may_exist` is given: then it is replaced.
pub fn add_fdb(config: &Config, request: &AddFdb) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let entry = FdbConfig { switch: request.switch.clone(), mac: request.mac, vlan: request.vlan, port: request.port.clone() };
    let same = |other: &FdbConfig| other.switch == entry.switch && other.mac == entry.mac && other.vlan == entry.vlan;
    match new.fdb.iter_mut().find(|other| same(other)) {
        Some(other) if request.may_exist => *other = entry,
        Some(other) => {
            let (mac, vlan, port) = (other.mac, other.vlan, &other.port);
            return Err(format!("{mac} in VLAN {vlan} has a static entry already, at port {port:?} (--may-exist replaces it)"));
        }
        None => new.fdb.push(entry),
    }
    Ok(new)
}

/// Removes a static entry. The flag says whether there was one; learned entries are not part of the configuration.
pub fn del_fdb(config: &Config, request: &DelFdb) -> (Config, bool) {
    let mut new = config.clone();
    new.fdb.retain(|entry| !(entry.switch == request.switch && entry.mac == request.mac && entry.vlan == request.vlan));
    let removed = new.fdb.len() != config.fdb.len();
    (new, removed)
}

/// Keys of each VLAN mode. Setting the first of a row clears those of the other rows.
const VLAN_MODES: [&[&str]; 3] =
    [&["access", "accept_tagged"], &["trunk", "native", "native_tagged"], &["qinq", "cvlans", "qinq_ethertype"]];

/// Changes settings of a port: keys with their new values, `null` for the default. Setting `access`, `trunk` or `qinq`
/// clears the keys of the other modes unless they are in `set` too.
///
/// # Errors
///
/// When the port does not exist, or a key or value is wrong; all of those are named.
pub fn set_port(config: &Config, name: &str, set: &Map<String, Value>) -> Result<Config, Refusal> {
    let Some(port) = config.port.get(name) else { return Err(format!("no port {name:?}")) };
    let mut table = as_map(port)?;
    for mode in VLAN_MODES {
        if set.get(mode[0]).is_some_and(|value| !value.is_null()) {
            for key in VLAN_MODES.iter().filter(|other| **other != mode).flat_map(|other| other.iter()) {
                table.remove(*key);
            }
        } else if set.get(mode[0]).is_some_and(Value::is_null) {
            // Without its mode a detail has no meaning.
            for key in &mode[1..] {
                table.remove(*key);
            }
        }
    }
    let mut new = config.clone();
    new.port.insert(name.to_owned(), merged(Subject::Port(name.to_owned()), table, set, &read::keys().port, &[])?);
    Ok(new)
}

/// Changes settings of a switch, as [`set_port`].
///
/// # Errors
///
/// When the switch does not exist, or a key or value is wrong; all of those are named.
pub fn set_switch(config: &Config, name: &str, set: &Map<String, Value>) -> Result<Config, Refusal> {
    let Some(switch) = config.switch.get(name) else { return Err(format!("no switch {name:?}")) };
    let mut new = config.clone();
    let value: SwitchConfig = merged(Subject::Switch(name.to_owned()), as_map(switch)?, set, &read::keys().switch, &[])?;
    new.switch.insert(name.to_owned(), value);
    Ok(new)
}

/// The port with this name, which has to be a bond.
fn bond_port<'c>(config: &'c mut Config, name: &str) -> Result<&'c mut PortConfig, Refusal> {
    match config.port.get_mut(name) {
        Some(port) if port.kind == PortKind::Bond => Ok(port),
        Some(port) => Err(format!("port {name:?} is a {} port, not a bond", kind_name(port.kind))),
        None => Err(format!("no bond {name:?}")),
    }
}

/// Changes options of a bond, as [`set_port`].
///
/// # Errors
///
/// When there is no such bond, or a key or value is wrong; all of those are named.
pub fn set_bond(config: &Config, name: &str, set: &Map<String, Value>) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let port = bond_port(&mut new, name)?;
    let mut table = as_map(&bond::options(port))?;
    // Two names of one option: the one that is set now counts.
    for (key, other) in [("num_grat_arp", "num_unsol_na"), ("num_unsol_na", "num_grat_arp")] {
        if set.contains_key(key) && !set.contains_key(other) {
            table.remove(other);
        }
    }
    let options: BondConfig = merged(Subject::Bond(name.to_owned()), table, set, &read::keys().bond, &[])?;
    port.bond = Some(options);
    Ok(new)
}

/// Adds a member to a bond.
///
/// # Errors
///
/// When there is no such bond, or it has the member and `may_exist` is not given.
pub fn add_member(config: &Config, request: &AddMember) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let port = bond_port(&mut new, &request.bond)?;
    if port.member.contains_key(&request.member) {
        let exists = format!("bond {:?} has member {:?} already (--may-exist accepts that)", request.bond, request.member);
        return if request.may_exist { Ok(new) } else { Err(exists) };
    }
    port.member.insert(request.member.clone(), request.config.clone());
    Ok(new)
}

/// Removes a member from a bond. A primary that goes is no longer the primary.
///
/// # Errors
///
/// When there is no such bond, or it lacks the member and `if_exists` is not given.
pub fn del_member(config: &Config, request: &DelMember) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let port = bond_port(&mut new, &request.bond)?;
    if port.member.remove(&request.member).is_none() && !request.if_exists {
        return Err(format!("bond {:?} has no member {:?} (--if-exists accepts that)", request.bond, request.member));
    }
    if let Some(options) = port.bond.as_mut().filter(|options| options.primary.as_ref() == Some(&request.member)) {
        options.primary = None;
    }
    Ok(new)
}

fn as_map<T: serde::Serialize>(value: &T) -> Result<Map<String, Value>, Refusal> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err("settings have no JSON form".to_owned()),
    }
}

fn merged<T: serde::de::DeserializeOwned>(
    subject: Subject,
    mut table: Map<String, Value>,
    set: &Map<String, Value>,
    keys: &[String],
    required: &[(&str, Value)],
) -> Result<T, Refusal> {
    let mut problems = Vec::new();
    for (key, value) in set {
        if value.is_null() && keys.contains(key) {
            table.remove(key);
        } else {
            table.insert(key.clone(), value.clone());
        }
    }
    let value = read::table(subject.clone(), &table, keys, required, &mut problems);
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ if problems.is_empty() => Err(Problem::new(subject, "cannot be read").to_string()),
        _ => Err(lines(&problems)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base() -> Config {
        let mut config = Config::default();
        config.switch.insert("lan".into(), SwitchConfig::default());
        let port = PortConfig { trunk: Some("10".into()), native: Some(1), mtu: 9000, ..PortConfig::new("lan") };
        config.port.insert("a".into(), port);
        config
    }

    fn set(value: Value) -> Result<PortConfig, Refusal> {
        let Value::Object(map) = value else { panic!("not an object") };
        set_port(&base(), "a", &map).map(|config| config.port["a"].clone())
    }

    #[test]
    fn other_keys_stay_and_null_resets() {
        assert_eq!(set(json!({"isolated": true})).unwrap(), PortConfig { isolated: true, ..base().port["a"].clone() });
        assert_eq!(set(json!({"mtu": null})).unwrap().mtu, 1500);
    }

    #[test]
    fn a_new_vlan_mode_clears_the_others() {
        let port = set(json!({"access": 10})).unwrap();
        assert_eq!((port.access, port.trunk, port.native, port.mtu), (Some(10), None, None, 9000));
        let port = set(json!({"trunk": null})).unwrap();
        assert_eq!((port.trunk, port.native), (None, None));
        let port = set(json!({"trunk": "10-20"})).unwrap();
        assert_eq!((port.trunk.as_deref(), port.native), (Some("10-20"), Some(1)));
    }

    #[test]
    fn wrong_keys_and_values_are_refused() {
        assert_eq!(set(json!({"mut": 1})).unwrap_err(), "port \"a\": unknown key `mut` (did you mean `mtu`?)");
        assert!(set(json!({"mut": null})).is_err());
        assert!(set(json!({"mac": "x"})).unwrap_err().contains("not a MAC address"));
    }

    #[test]
    fn existing_and_missing_things() {
        let add = |may_exist| AddPort { name: "a".into(), config: PortConfig::new("lan"), may_exist };
        assert!(add_port(&base(), &add(false)).is_err());
        assert_eq!(add_port(&base(), &add(true)).unwrap(), base());
        let del = |name: &str, switch: Option<&str>, if_exists| DelPort { name: name.into(), switch: switch.map(Into::into), if_exists };
        assert!(del_port(&base(), &del("zz", None, false)).is_err());
        assert_eq!(del_port(&base(), &del("zz", None, true)).unwrap(), base());
        assert!(del_port(&base(), &del("a", Some("wan"), true)).unwrap_err().contains("belongs to switch \"lan\""));
        assert!(del_port(&base(), &del("a", Some("lan"), false)).unwrap().port.is_empty());
    }

    #[test]
    fn options_and_members_of_bonds() {
        let mut config = base();
        config.port.insert("up".into(), PortConfig { kind: PortKind::Bond, ..PortConfig::new("lan") });
        let set = |config: &Config, value: Value| {
            let Value::Object(map) = value else { panic!("not an object") };
            set_bond(config, "up", &map)
        };
        let add = AddMember { bond: "up".into(), member: "eth0".into(), config: Default::default(), may_exist: false };
        let config = add_member(&config, &add).unwrap();
        assert!(add_member(&config, &add).unwrap_err().contains("already"));
        assert_eq!(add_member(&config, &AddMember { may_exist: true, ..add }).unwrap(), config);
        let config = set(&config, json!({"mode": "active-backup", "primary": "eth0", "num_grat_arp": 3})).unwrap();
        let config = set(&config, json!({"num_unsol_na": 4, "miimon": 50})).unwrap();
        let options = bond::options(&config.port["up"]);
        assert_eq!((options.mode.name(), options.miimon, options.peer_notifications()), ("active-backup", Some(50), 4));
        assert_eq!(set(&config, json!({"mimon": 1})).unwrap_err(), "port \"up\": bond: unknown key `mimon` (did you mean `miimon`?)");
        assert!(set(&config, json!({"mode": "balance"})).unwrap_err().contains("balance-rr"));
        assert_eq!(set_bond(&config, "a", &Map::new()).unwrap_err(), "port \"a\" is a tap port, not a bond");

        let del = DelMember { bond: "up".into(), member: "eth0".into(), if_exists: false };
        let config = del_member(&config, &del).unwrap();
        assert_eq!(bond::options(&config.port["up"]).primary, None);
        assert!(del_member(&config, &del).is_err());
        assert_eq!(del_member(&config, &DelMember { if_exists: true, ..del }).unwrap(), config);
    }

    #[test]
    fn a_switch_goes_with_what_is_on_it() {
        let mut config = base();
        let mac = "02:00:00:00:00:01".parse().unwrap();
        let entry = AddFdb { switch: "lan".into(), mac, vlan: 0, port: "a".into(), may_exist: false };
        config = add_fdb(&config, &entry).unwrap();
        assert!(add_fdb(&config, &entry).is_err());
        let empty = del_switch(&config, &DelSwitch { name: "lan".into(), if_exists: false }).unwrap();
        assert_eq!(empty, Config::default());
    }
}
