//! From an untyped tree to [`Config`], key by key, so that every wrong key is reported and not only the first.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proto::bond::{BondConfig, MemberConfig};
use proto::config::{Config, DaemonConfig, FdbConfig, PortConfig, SwitchConfig};
use proto::neigh::{InterfaceNeighConfig, NeighConfig};
use proto::router::{ConntrackConfig, ForwardConfig, InterfaceConfig, NatConfig, NeighborConfig, RouteConfig, RouterConfig};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::{Problem, Subject};
use super::sysctl;

/// The keys of a table of the configuration.
pub struct Keys {
    /// Of the root.
    pub root: Vec<String>,
    /// Of `[daemon]`.
    pub daemon: Vec<String>,
    /// Of `[switch.NAME]`.
    pub switch: Vec<String>,
    /// Of `[port.NAME]`.
    pub port: Vec<String>,
    /// Of `[port.NAME.bond]`.
    pub bond: Vec<String>,
    /// Of `[port.NAME.member.IFNAME]`.
    pub member: Vec<String>,
    /// Of `[[fdb]]`.
    pub fdb: Vec<String>,
    /// Of `[router.NAME]`.
    pub router: Vec<String>,
    /// Of `[router.NAME.interface.NAME]`.
    pub interface: Vec<String>,
    /// Of `[[router.NAME.route]]`.
    pub route: Vec<String>,
    /// Of `[[router.NAME.neighbor]]`.
    pub neighbor: Vec<String>,
    /// Of `[[router.NAME.forward]]`.
    pub forward: Vec<String>,
    /// Of `[router.NAME.conntrack]`.
    pub conntrack: Vec<String>,
    /// Of `[router.NAME.nat]`.
    pub nat: Vec<String>,
    /// Of `[router.NAME.ipv4_neigh]` and `ipv6_neigh`.
    pub neigh: Vec<String>,
    /// Of those below an interface.
    pub interface_neigh: Vec<String>,
}

/// The keys of every table, taken from the types themselves.
pub fn keys() -> &'static Keys {
    fn of<T: schemars::JsonSchema>() -> Vec<String> {
        let schema = schemars::schema_for!(T);
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        root: of::<Config>(),
        daemon: of::<DaemonConfig>(),
        switch: of::<SwitchConfig>(),
        port: of::<PortConfig>(),
        bond: of::<BondConfig>(),
        member: of::<MemberConfig>(),
        fdb: of::<FdbConfig>(),
        router: of::<RouterConfig>(),
        interface: of::<InterfaceConfig>(),
        route: of::<RouteConfig>(),
        neighbor: of::<NeighborConfig>(),
        forward: of::<ForwardConfig>(),
        conntrack: of::<ConntrackConfig>(),
        nat: of::<NatConfig>(),
        neigh: of::<NeighConfig>(),
        interface_neigh: of::<InterfaceNeighConfig>(),
    })
}

/// Reads a configuration from a tree. What can be read is in the result even when there are problems.
pub fn config(tree: &Map<String, Value>) -> (Config, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut config = Config::default();
    let keys = keys();
    for (key, value) in tree {
        match (key.as_str(), value) {
            ("daemon", Value::Object(map)) => {
                config.daemon = table(Subject::Daemon, map, &keys.daemon, &[], &mut problems).unwrap_or_default();
            }
            ("switch", Value::Object(tables)) => {
                config.switch = named(tables, Subject::Switch, &keys.switch, &mut problems);
            }
            ("port", Value::Object(tables)) => {
                for (name, map) in inner_tables(tables, Subject::Port, &mut problems) {
                    config.port.extend(port(name, map, &mut problems).map(|port| (name.clone(), port)));
                }
            }
            ("router", Value::Object(tables)) => {
                for (name, map) in inner_tables(tables, Subject::Router, &mut problems) {
                    config.router.extend(router(name, map, &mut problems).map(|router| (name.clone(), router)));
                }
            }
            ("fdb", Value::Array(entries)) => {
                let required = [("switch", Value::from("x")), ("mac", Value::from("02:00:00:00:00:00")), ("port", Value::from("x"))];
                config.fdb = numbered(entries, Subject::Fdb, &keys.fdb, &required, &mut problems);
            }
            ("daemon" | "switch" | "port" | "router", other) => {
                let message = format!("`{key}` must be a table, found {}", kind(other));
                problems.push(Problem::new(Subject::Whole, message).at(key));
            }
            ("fdb", other) => {
                let message = format!("`fdb` must be an array of tables, found {}", kind(other));
                problems.push(Problem::new(Subject::Whole, message).at(key).help("write [[fdb]] above each entry"));
            }
            _ => problems.push(unknown(Subject::Whole, key, &keys.root)),
        }
    }
    (config, problems)
}

/// Reads a port with the tables below it. `None` when a required key is missing or wrong.
pub fn port(name: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) -> Option<PortConfig> {
    let keys = keys();
    let mut map = map.clone();
    let subject = Subject::Port(name.to_owned());
    let mut below = |key: &str| match map.get(key) {
        Some(Value::Object(_)) => match map.remove(key) {
            Some(Value::Object(below)) => Some(below),
            _ => None,
        },
        _ => None,
    };
    let (bond, member) = (below("bond"), below("member"));
    let port: Option<PortConfig> = table(subject, &map, &keys.port, &[], problems);
    let bond = bond.map(|bond| table(Subject::Bond(name.to_owned()), &bond, &keys.bond, &[], problems));
    let at = |member| Subject::Member(name.to_owned(), member);
    let member = member.map(|member| named(&member, at, &keys.member, problems));
    let mut port = port?;
    port.bond = port.bond.or(bond.flatten());
    port.member.extend(member.unwrap_or_default());
    Some(port)
}

/// The tables about neighbors.
pub const NEIGH_KEYS: [&str; 2] = ["ipv4_neigh", "ipv6_neigh"];

/// That of [`NEIGH_KEYS`] that this is.
pub fn neigh_key(key: &str) -> Option<&'static str> {
    NEIGH_KEYS.into_iter().find(|known| *known == key)
}

/// Reads an interface with the tables below it.
pub fn interface(router: &str, name: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) -> Option<InterfaceConfig> {
    let keys = keys();
    // As of a router: what is not of the right shape stays.
    let (mut own, mut below) = (Map::new(), InterfaceConfig::default());
    for (key, value) in map {
        match (neigh_key(key), value) {
            (Some(key), Value::Object(map)) => {
                let subject = Subject::InterfaceNeigh(router.to_owned(), name.to_owned(), key);
                let place = if key == "ipv4_neigh" { &mut below.ipv4_neigh } else { &mut below.ipv6_neigh };
                *place = table(subject, map, &keys.interface_neigh, &[], problems).unwrap_or_default();
            }
            _ => drop(own.insert(key.clone(), value.clone())),
        }
    }
    let subject = Subject::Interface(router.to_owned(), name.to_owned());
    let interface: InterfaceConfig = table(subject, &own, &keys.interface, &[], problems)?;
    let InterfaceConfig { ipv4_neigh, ipv6_neigh, .. } = below;
    Some(InterfaceConfig { ipv4_neigh, ipv6_neigh, ..interface })
}

/// Reads a router with the tables below it, but not its rules and sets, which are read with it.
pub fn router(name: &str, map: &Map<String, Value>, problems: &mut Vec<Problem>) -> Option<RouterConfig> {
    let keys = keys();
    // What is not of the right shape stays, and is reported with the router's own keys.
    let (mut own, mut below) = (Map::new(), RouterConfig::default());
    for (key, value) in map {
        match (key.as_str(), value) {
            ("interface", Value::Object(tables)) => {
                for (interface, map) in inner_tables(tables, |interface| Subject::Interface(name.to_owned(), interface), problems) {
                    let read = self::interface(name, interface, map, problems);
                    below.interface.extend(read.map(|settings| (interface.clone(), settings)));
                }
            }
            ("conntrack", Value::Object(map)) => {
                below.conntrack = table(Subject::Conntrack(name.to_owned()), map, &keys.conntrack, &[], problems).unwrap_or_default();
            }
            ("nat", Value::Object(map)) => {
                below.nat = table(Subject::Nat(name.to_owned()), map, &keys.nat, &[], problems).unwrap_or_default();
            }
            (key, Value::Object(map)) if let Some(key) = neigh_key(key) => {
                let place = if key == "ipv4_neigh" { &mut below.ipv4_neigh } else { &mut below.ipv6_neigh };
                *place = table(Subject::Neigh(name.to_owned(), key), map, &keys.neigh, &[], problems).unwrap_or_default();
            }
            ("route", Value::Array(entries)) => {
                let required = [("to", Value::from("default"))];
                below.route = numbered(entries, |index| Subject::Route(name.to_owned(), index), &keys.route, &required, problems);
            }
            ("neighbor", Value::Array(entries)) => {
                let required =
                    [("address", Value::from("10.0.0.1")), ("dev", Value::from("x")), ("lladdr", Value::from("02:00:00:00:00:00"))];
                below.neighbor = numbered(entries, |index| Subject::Neighbor(name.to_owned(), index), &keys.neighbor, &required, problems);
            }
            ("forward", Value::Array(entries)) => {
                let required = [("protocol", Value::from("tcp")), ("port", Value::from(1)), ("to", Value::from("10.0.0.1"))];
                below.forward = numbered(entries, |index| Subject::Forward(name.to_owned(), index), &keys.forward, &required, problems);
            }
            _ => drop(own.insert(key.clone(), value.clone())),
        }
    }
    let router: RouterConfig = table(Subject::Router(name.to_owned()), &own, &keys.router, &[], problems)?;
    let RouterConfig { interface, route, neighbor, forward, conntrack, nat, ipv4_neigh, ipv6_neigh, .. } = below;
    Some(RouterConfig { interface, route, neighbor, forward, conntrack, nat, ipv4_neigh, ipv6_neigh, ..router })
}

/// The tables in a table of tables.
fn inner_tables<'t>(
    tables: &'t Map<String, Value>,
    subject: impl Fn(String) -> Subject,
    problems: &mut Vec<Problem>,
) -> Vec<(&'t String, &'t Map<String, Value>)> {
    let mut all = Vec::with_capacity(tables.len());
    for (name, value) in tables {
        match value {
            Value::Object(map) => all.push((name, map)),
            other => problems.push(Problem::new(subject(name.clone()), format!("expected a table, found {}", kind(other)))),
        }
    }
    all
}

/// Reads a table of tables by name.
fn named<T: DeserializeOwned>(
    tables: &Map<String, Value>,
    subject: impl Fn(String) -> Subject,
    keys: &[String],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, T> {
    let mut all = BTreeMap::new();
    for (name, map) in inner_tables(tables, &subject, problems) {
        all.extend(table(subject(name.clone()), map, keys, &[], problems).map(|value| (name.clone(), value)));
    }
    all
}

/// Reads an array of tables. An entry that cannot be read is left out, so the numbers of later ones are not theirs in the text;
/// the text is refused then anyway.
fn numbered<T: DeserializeOwned>(
    entries: &[Value],
    subject: impl Fn(usize) -> Subject,
    keys: &[String],
    required: &[(&str, Value)],
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    let mut all = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match entry {
            Value::Object(map) => all.extend(table::<T>(subject(index), map, keys, required, problems)),
            other => problems.push(Problem::new(subject(index), format!("expected a table, found {}", kind(other)))),
        }
    }
    all
}

/// Reads one table. Wrong keys are reported and left out; `None` when a required key is missing or wrong.
///
/// `required` has a valid value for each key without default, so that every key can be tried alone.
pub fn table<T: DeserializeOwned>(
    subject: Subject,
    map: &Map<String, Value>,
    keys: &[String],
    required: &[(&str, Value)],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut good = Map::new();
    for (key, value) in map {
        if !keys.contains(key) {
            problems.push(unknown(subject.clone(), key, keys));
            continue;
        }
        let mut alone: Map<String, Value> = required.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        alone.insert(key.clone(), value.clone());
        match serde_json::from_value::<T>(Value::Object(alone)) {
            Ok(_) => {
                good.insert(key.clone(), value.clone());
            }
            Err(error) => {
                problems.push(Problem::new(subject.clone(), format!("`{key}`: {}", plain(&error.to_string()))).at(key));
            }
        }
    }
    for (key, _) in required {
        if !map.contains_key(*key) {
            problems.push(Problem::new(subject.clone(), format!("`{key}` is missing")));
        }
    }
    serde_json::from_value(Value::Object(good)).ok()
}

fn unknown(subject: Subject, key: &str, keys: &[String]) -> Problem {
    if let Some(reason) = sysctl::refusal(&subject, key) {
        return Problem { on_key: true, ..Problem::new(subject, format!("`{key}` is not a setting of a router")).at(key).help(reason) };
    }
    let letters = |word: &str| {
        let mut letters: Vec<char> = word.chars().take(40).collect();
        letters.sort_unstable();
        letters
    };
    // Swapped letters are the most likely slip, so an anagram goes before another word at the same distance.
    let rank = |known: &String| (distance(key, known), letters(key) != letters(known));
    let near = keys.iter().map(|known| (rank(known), known)).min().filter(|((distance, _), _)| *distance <= 2);
    let help = match near {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("known keys: {}", keys.join(", ")),
    };
    // A key may be as long as a request; what it says beyond its beginning helps nobody.
    let shown: String = key.chars().take(40).collect();
    Problem { on_key: true, ..Problem::new(subject, format!("unknown key `{shown}`")).at(key).help(help) }
}

/// Edits (insert, remove, replace) from `a` to `b`; 100 when the lengths alone say that it is a different word.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 || a.is_empty() {
        return 100;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The words of serde in those of an administrator.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 15] = [
        ("type: sequence", "type: array"),
        ("type: map", "type: table"),
        ("expected struct BondConfig", "expected a table"),
        ("expected struct InterfaceNeighConfig", "expected a table"),
        ("expected struct NeighConfig", "expected a table"),
        ("expected a map", "expected a table"),
        ("expected u8", "expected a number from 0 to 255"),
        ("expected i32", "expected a number from -2147483648 to 2147483647"),
        ("expected u16", "expected a number from 0 to 65535"),
        ("expected u32", "expected a number from 0 to 4294967295"),
        ("expected a boolean", "expected true or false"),
        ("expected a string", "expected a text in quotes"),
        ("expected a sequence", "expected an array"),
        ("invalid type: ", "wrong type: "),
        ("unknown variant ", "unknown value "),
    ];
    WORDS.iter().fold(message.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (Config, Vec<String>) {
        let Value::Object(map) = value else { panic!("not an object") };
        let (config, problems) = config(&map);
        (config, problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn keys_come_from_the_types() {
        assert!(keys().port.contains(&"access".to_owned()) && keys().port.contains(&"qinq_ethertype".to_owned()));
        assert_eq!(keys().root, ["daemon", "fdb", "port", "router", "switch"]);
        assert_eq!(keys().fdb.len(), 4);
    }

    #[test]
    fn every_wrong_key_of_a_table_is_reported() {
        let (_, problems) = read(json!({"port": {"a": {"switch": "s", "acces": 1, "mtu": "big", "queues": 70000, "enabled": 1}}}));
        assert_eq!(
            problems,
            [
                "port \"a\": unknown key `acces` (did you mean `access`?)",
                "port \"a\": `enabled`: wrong type: integer `1`, expected true or false",
                "port \"a\": `mtu`: wrong type: string \"big\", expected a number from 0 to 4294967295",
                "port \"a\": `queues`: invalid value: integer `70000`, expected a number from 0 to 65535",
            ]
        );
    }

    #[test]
    fn missing_required_keys_are_named() {
        let (config, problems) = read(json!({"router": {"gw": {"route": [{}]}}, "fdb": [{"mac": "02:00:00:00:00:01"}]}));
        assert!(config.router["gw"].route.is_empty());
        let expected = ["fdb entry 1: `switch` is missing", "fdb entry 1: `port` is missing", "router \"gw\": route 1: `to` is missing"];
        assert_eq!(problems, expected);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let (_, problems) = read(json!({"port": 1, "fdb": {}, "switch": {"a": []}, "zzz": 1}));
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains("`fdb` must be an array of tables, found a table"));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("access", "access"), 0);
        assert_eq!(distance("acces", "access"), 1);
        assert_eq!(distance("mtu", "learning"), 100);
    }
}
