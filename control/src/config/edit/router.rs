//! Single changes to routers.

use proto::config::{Config, PortConfig, PortKind};
use proto::router::{InterfaceConfig, RouterConfig};
use proto::router_api::{
    AddForward, AddInterface, AddNeighbor, AddRoute, AddRouter, DelForward, DelInterface, DelNeighbor, DelRoute, DelRouter,
};
use serde_json::{Map, Value};

use super::{Refusal, as_map};
use crate::config::diff::words;
use crate::config::problem::{Problem, Subject, lines};
use crate::config::read;

/// Adds a router.
///
/// # Errors
///
/// When it exists and `may_exist` is not given.
pub fn add_router(config: &Config, request: &AddRouter) -> Result<Config, Refusal> {
    let mut new = config.clone();
    if !new.router.contains_key(&request.name) {
        new.router.insert(request.name.clone(), request.config.clone());
    } else if !request.may_exist {
        return Err(format!("router {:?} exists already (--may-exist accepts that)", request.name));
    }
    Ok(new)
}

/// Removes a router, and the ports without switch that only it used.
///
/// # Errors
///
/// When it does not exist and `if_exists` is not given.
pub fn del_router(config: &Config, request: &DelRouter) -> Result<Config, Refusal> {
    let mut new = config.clone();
    match new.router.remove(&request.name) {
        Some(router) => router.interface.values().for_each(|interface| drop_port(&mut new, interface)),
        None if request.if_exists => {}
        None => return Err(format!("no router {:?} (--if-exists accepts that)", request.name)),
    }
    Ok(new)
}

/// Removes the port without switch that an interface was on, when no other is on it: it would be good for nothing.
fn drop_port(config: &mut Config, interface: &InterfaceConfig) {
    let Some(port) = &interface.port else { return };
    let used = config.router.values().flat_map(|router| router.interface.values()).any(|other| other.port.as_ref() == Some(port));
    if !used && config.port.get(port).is_some_and(|settings| settings.switch.is_none()) {
        config.port.remove(port);
    }
}

fn router<'c>(config: &'c mut Config, name: &str) -> Result<&'c mut RouterConfig, Refusal> {
    config.router.get_mut(name).ok_or_else(|| format!("no router {name:?}"))
}

/// Changes keys of a table below another one by one.
fn set_below(
    table: &mut Map<String, Value>,
    key: &str,
    set: &Map<String, Value>,
    subject: &Subject,
    known: &[String],
    problems: &mut Vec<Problem>,
) {
    let mut inner = table.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in set {
        if value.is_null() { drop(inner.remove(key)) } else { drop(inner.insert(key.clone(), value.clone())) }
    }
    // A key that is reset leaves no trace above, so that it exists is checked here.
    let unknown = set.keys().filter(|key| set[*key].is_null() && !known.contains(key));
    problems.extend(unknown.map(|key| Problem::new(subject.clone(), format!("unknown key `{key}`"))));
    table.insert(key.to_owned(), Value::Object(inner));
}

/// Changes settings of a router, as [`super::set_port`]; those of the tables below it one by one as well.
///
/// # Errors
///
/// When the router does not exist, or a key or value is wrong; all of those are named.
pub fn set_router(config: &Config, name: &str, set: &Map<String, Value>) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let target = router(&mut new, name)?;
    let mut table = as_map(target)?;
    let mut problems = Vec::new();
    for (key, value) in set {
        let keys = read::keys();
        // What the lists and rules of a router are has requests of its own, but whole ones may be replaced.
        match (key.as_str(), value) {
            ("conntrack", Value::Object(set)) => {
                set_below(&mut table, key, set, &Subject::Conntrack(name.to_owned()), &keys.conntrack, &mut problems);
            }
            ("nat", Value::Object(set)) => {
                set_below(&mut table, key, set, &Subject::Nat(name.to_owned()), &keys.nat, &mut problems);
            }
            (key, Value::Object(set)) if let Some(key) = read::neigh_key(key) => {
                set_below(&mut table, key, set, &Subject::Neigh(name.to_owned(), key), &keys.neigh, &mut problems);
            }
            (key, Value::Null) if keys.router.iter().any(|known| known == key) => drop(table.remove(key)),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
    match read::router(name, &table, &mut problems) {
        Some(value) if problems.is_empty() => *target = value,
        _ if problems.is_empty() => return Err(Problem::new(Subject::Router(name.to_owned()), "cannot be read").to_string()),
        _ => return Err(lines(&problems)),
    }
    Ok(new)
}

/// Adds an interface, and its port when that is new.
///
/// # Errors
///
/// When the router does not exist; when the interface exists, unless `may_exist` is given and it is at the same place; when there
/// is another port of the name.
pub fn add_interface(config: &Config, request: &AddInterface) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let AddInterface { name, config: settings, new_port, .. } = request;
    if let Some(port) = new_port {
        let Some(port_name) = &settings.port else { return Err(format!("interface {name:?}: the new port has no name")) };
        match new.port.get(port_name) {
            None => drop(new.port.insert(port_name.clone(), port.clone())),
            Some(other) if other == port || other.switch.is_none() && is_same_netdev(other, port) => {}
            Some(other) => {
                let what = super::what(other);
                return Err(format!("port {port_name:?} exists already, as {what}; use --port or --switch"));
            }
        }
    }
    let target = router(&mut new, &request.router)?;
    if let Some(former) = target.interface.get(name) {
        let exists = format!("router {:?} has interface {name:?} already", request.router);
        let same = (&former.switch, &former.port, former.vlan) == (&settings.switch, &settings.port, settings.vlan);
        return match (request.may_exist, same) {
            (true, true) => Ok(config.clone()),
            (true, false) => Err(format!("{exists}, at another place")),
            (false, _) => Err(format!("{exists} (--may-exist accepts that)")),
        };
    }
    target.interface.insert(name.clone(), settings.clone());
    Ok(new)
}

/// Whether both are the same netdev, whatever else differs.
fn is_same_netdev(a: &PortConfig, b: &PortConfig) -> bool {
    matches!(a.kind, PortKind::Nic | PortKind::Tap | PortKind::Sim) && (a.kind, &a.interface, &a.netns) == (b.kind, &b.interface, &b.netns)
}

/// Changes settings of an interface, as [`set_router`]. `switch` and `port` replace each other; a port that is left by its
/// last interface goes with it.
///
/// # Errors
///
/// When it does not exist, or a key or value is wrong; all of those are named.
pub fn set_interface(config: &Config, router_name: &str, name: &str, set: &Map<String, Value>) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let target = router(&mut new, router_name)?;
    let former = target.interface.get(name).ok_or_else(|| format!("router {router_name:?} has no interface {name:?}"))?.clone();
    let mut table = as_map(&former)?;
    for (key, other) in [("switch", "port"), ("port", "switch")] {
        if set.get(key).is_some_and(|value| !value.is_null()) && !set.contains_key(other) {
            table.remove(other);
        }
    }
    let (keys, mut problems) = (read::keys(), Vec::new());
    for (key, value) in set {
        match (read::neigh_key(key), value) {
            (Some(key), Value::Object(set)) => {
                let subject = Subject::InterfaceNeigh(router_name.to_owned(), name.to_owned(), key);
                set_below(&mut table, key, set, &subject, &keys.interface_neigh, &mut problems);
            }
            (_, Value::Null) if keys.interface.contains(key) => drop(table.remove(key)),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
    match read::interface(router_name, name, &table, &mut problems) {
        Some(settings) if problems.is_empty() => drop(target.interface.insert(name.to_owned(), settings)),
        _ if problems.is_empty() => {
            return Err(Problem::new(Subject::Interface(router_name.to_owned(), name.to_owned()), "cannot be read").to_string());
        }
        _ => return Err(lines(&problems)),
    }
    drop_port(&mut new, &former);
    Ok(new)
}

/// Removes an interface with the routes and neighbors that name it, and the port that was its own.
///
/// # Errors
///
/// When the router does not exist, or lacks the interface and `if_exists` is not given.
pub fn del_interface(config: &Config, request: &DelInterface) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let target = router(&mut new, &request.router)?;
    let Some(interface) = target.interface.remove(&request.name) else {
        let none = format!("router {:?} has no interface {:?} (--if-exists accepts that)", request.router, request.name);
        return if request.if_exists { Ok(new) } else { Err(none) };
    };
    let before = config.router.get(&request.router).unwrap_or(target).clone();
    target.route.retain(|route| crate::compile::out_interface(&before, route) != Some(&request.name));
    target.neighbor.retain(|neighbor| neighbor.dev != request.name);
    drop_port(&mut new, &interface);
    Ok(new)
}

/// Adds a route.
///
/// # Errors
///
/// When there is one to the network with the metric, unless `may_exist` is given: then it is replaced.
pub fn add_route(config: &Config, request: &AddRoute) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let (target, route) = (router(&mut new, &request.router)?, &request.route);
    let network = route.to.network(route.via);
    match target.route.iter_mut().find(|other| other.to.network(other.via) == network && other.metric == route.metric) {
        Some(other) if request.may_exist => *other = route.clone(),
        Some(other) => return Err(format!("there is a route {} already (--may-exist replaces it)", words::route(other))),
        None => target.route.push(route.clone()),
    }
    Ok(new)
}

/// Removes the routes to a network that match.
///
/// # Errors
///
/// When there is none and `if_exists` is not given.
pub fn del_route(config: &Config, request: &DelRoute) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let target = router(&mut new, &request.router)?;
    let (network, before) = (request.to.network(request.via), target.route.len());
    target.route.retain(|route| {
        route.to.network(route.via) != network
            || request.via.is_some() && request.via != route.via
            || request.metric.is_some_and(|metric| metric != route.metric)
    });
    if target.route.len() == before && !request.if_exists {
        return Err(format!("router {:?} has no such route to {network} (--if-exists accepts that)", request.router));
    }
    Ok(new)
}

/// Adds a neighbor with a fixed MAC address.
///
/// # Errors
///
/// When there is one with the address, unless `may_exist` is given: then it is replaced.
pub fn add_neighbor(config: &Config, request: &AddNeighbor) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let (target, neighbor) = (router(&mut new, &request.router)?, &request.neighbor);
    match target.neighbor.iter_mut().find(|other| other.address == neighbor.address && other.dev == neighbor.dev) {
        Some(other) if request.may_exist => *other = neighbor.clone(),
        Some(other) => return Err(format!("there is a neighbor {} already (--may-exist replaces it)", words::neighbor(other))),
        None => target.neighbor.push(neighbor.clone()),
    }
    Ok(new)
}

/// Removes a neighbor with a fixed MAC address.
///
/// # Errors
///
/// When there is none and `if_exists` is not given.
pub fn del_neighbor(config: &Config, request: &DelNeighbor) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let target = router(&mut new, &request.router)?;
    let before = target.neighbor.len();
    let hit = |dev: &String| request.dev.as_ref().is_none_or(|wanted| wanted == dev);
    target.neighbor.retain(|neighbor| neighbor.address != request.address || !hit(&neighbor.dev));
    if target.neighbor.len() == before && !request.if_exists {
        let (router, address) = (&request.router, request.address);
        return Err(format!("router {router:?} has no fixed neighbor {address} (--if-exists accepts that)"));
    }
    Ok(new)
}

/// Forwards a port.
///
/// # Errors
///
/// When it is forwarded already, unless `may_exist` is given: then it goes to the new place.
pub fn add_forward(config: &Config, request: &AddForward) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let (target, forward) = (router(&mut new, &request.router)?, &request.forward);
    let same = |other: &proto::router::ForwardConfig| {
        (other.protocol, other.port, other.address) == (forward.protocol, forward.port, forward.address)
            && other.to.address.is_ipv4() == forward.to.address.is_ipv4()
    };
    match target.forward.iter_mut().find(|other| same(other)) {
        Some(other) if request.may_exist => *other = forward.clone(),
        Some(other) => return Err(format!("there is a forward {} already (--may-exist replaces it)", words::forward(other))),
        None => target.forward.push(forward.clone()),
    }
    Ok(new)
}

/// No longer forwards a port.
///
/// # Errors
///
/// When it is not forwarded and `if_exists` is not given.
pub fn del_forward(config: &Config, request: &DelForward) -> Result<Config, Refusal> {
    let mut new = config.clone();
    let target = router(&mut new, &request.router)?;
    let before = target.forward.len();
    let hit = |address| request.address.is_none_or(|wanted| Some(wanted) == address);
    target.forward.retain(|forward| (forward.protocol, forward.port) != (request.protocol, request.port) || !hit(forward.address));
    if target.forward.len() == before && !request.if_exists {
        let (router, protocol, port) = (&request.router, request.protocol.name(), request.port);
        return Err(format!("router {router:?} does not forward {protocol} {port} (--if-exists accepts that)"));
    }
    Ok(new)
}
