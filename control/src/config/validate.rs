//! The rules of a configuration that its types cannot express: names, references, combinations, limits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dataplane::snapshot::{PORTS_MAX, SWITCHES_MAX};
use proto::config::{AcceptTagged, Config, DaemonConfig, PortConfig, PortKind, QinqEthertype, SocketMode, SwitchConfig, TxQueueMode};
use wire::{MacAddr, VlanSet};

use super::edit::switch_of;
use super::problem::{Problem, Subject};
use super::{bond, patch_graph, router, vlan};

/// Octets of a switch, port or netdev name at most: those of a Linux netdev (IFNAMSIZ without the final zero).
pub const NAME_MAX: usize = 15;
/// Longest ageing time (Linux bridge: 1,000,000 s).
pub const AGEING_MAX: Duration = Duration::from_secs(1_000_000);
/// Fewest and most addresses of a table.
pub const FDB_SIZE: std::ops::RangeInclusive<u32> = 64..=1 << 24;
/// Smallest and largest MTU (RFC 791: 68; Linux Ethernet devices: 65535).
pub const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;
/// Largest MTU of a TAP netdev (Linux drivers/net/tun.c: 65535 less an Ethernet header).
pub const TAP_MTU_MAX: u32 = 65_521;
/// Fewest and most queues of a port.
pub const QUEUES: std::ops::RangeInclusive<u16> = 1..=64;
/// Smallest and largest receive ring, octets.
pub const RING_SIZE: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;
/// Octets of the path of a socket at most (`sun_path` in unix(7), without the final zero).
pub const SOCKET_PATH_MAX: usize = 107;
/// Static entries at most, a guard of memory and time.
pub const FDB_ENTRIES_MAX: usize = 65_536;
/// Fewest and most flows that are tracked.
pub const CONNTRACK_MAX: std::ops::RangeInclusive<u32> = 1024..=1 << 24;
/// Most workers.
pub const WORKERS_MAX: u16 = 64;

/// Checks a configuration as a whole. An empty result means that the compiler will accept it.
pub fn validate(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    daemon(&config.daemon, &mut problems);
    if config.switch.len() > SWITCHES_MAX {
        let message = format!("{} switches; a daemon has at most {SWITCHES_MAX}", config.switch.len());
        problems.push(Problem::new(Subject::Whole, message).at("switch"));
    }
    let ports = config.port.len() + config.port.values().map(|port| port.member.len()).sum::<usize>();
    if ports > PORTS_MAX {
        let message = format!("{ports} ports and members; a daemon has at most {PORTS_MAX}");
        problems.push(Problem::new(Subject::Whole, message).at("port"));
    }
    for (name, switch_config) in &config.switch {
        switch(name, switch_config, &mut problems);
    }
    for (name, port_config) in &config.port {
        if !is_name(name) {
            problems.push(Problem::new(Subject::Port(name.clone()), "not a valid name").help(NAME_HELP));
        }
        let mut port = Port { subject: Subject::Port(name.clone()), port: port_config, problems: &mut problems };
        port.device();
        port.limits();
        port.vlans();
        port.router();
        bond::check(name, port_config, &mut problems);
        references(name, port_config, config, &mut problems);
    }
    host_ports(config, &mut problems);
    interfaces(config, &mut problems);
    sockets(config, &mut problems);
    patch_graph::check(config, &mut problems);
    fdb(config, &mut problems);
    router::check(config, &mut problems);
    problems
}

/// Whether a name may be that of a switch, a port or a netdev that the daemon makes.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet))
        && name != "."
        && name != ".."
}

/// Whether a name may be that of an existing netdev (Linux `dev_valid_name`; `%` would be replaced by a number).
fn is_netdev_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name
            .bytes()
            .any(|octet| octet == b'/' || octet == b':' || octet == b'%' || octet == 0 || octet.is_ascii_whitespace() || octet == 0x0b)
        && name != "."
        && name != ".."
}

fn is_group_name(group: &str) -> bool {
    (1..=64).contains(&group.len()) && !group.contains([':', '\n', '\0'])
}

pub(super) const NAME_HELP: &str = "1 to 15 characters of A-Z a-z 0-9 . _ -, and not \".\" or \"..\"";

fn daemon(daemon: &DaemonConfig, problems: &mut Vec<Problem>) {
    let mut wrong = |key: &str, message: String, help: &str| problems.push(Problem::new(Subject::Daemon, message).at(key).help(help));
    if daemon.workers > WORKERS_MAX {
        wrong("workers", format!("{} workers", daemon.workers), &format!("at most {WORKERS_MAX}; 0 takes half of the cores"));
    }
    if !daemon.cores.is_empty() && usize::from(daemon.workers) > daemon.cores.len() {
        let message = format!("{} cores for {} workers", daemon.cores.len(), daemon.workers);
        wrong("cores", message, "name a core for each worker, or none at all");
    }
    let unique: BTreeSet<u16> = daemon.cores.iter().copied().collect();
    if unique.len() != daemon.cores.len() {
        wrong("cores", "the same core twice".to_owned(), "each worker needs a core of its own");
    }
    if daemon.cores.len() > usize::from(WORKERS_MAX) {
        wrong("cores", format!("{} cores", daemon.cores.len()), &format!("at most {WORKERS_MAX}"));
    }
    if daemon.spin.0 > Duration::from_secs(1) {
        wrong("spin", format!("a spin of {}", daemon.spin), "at most 1s; `poll = \"busy\"` never sleeps");
    }
    if !CONNTRACK_MAX.contains(&daemon.conntrack_max) {
        let (least, most) = (CONNTRACK_MAX.start(), CONNTRACK_MAX.end());
        wrong("conntrack_max", format!("a table of {} flows", daemon.conntrack_max), &format!("{least} to {most}"));
    }
    if daemon.control_group.as_deref().is_some_and(|group| !is_group_name(group)) {
        wrong("control_group", "not a group name".to_owned(), "the name of a group in /etc/group");
    }
}

fn switch(name: &str, switch: &SwitchConfig, problems: &mut Vec<Problem>) {
    let subject = Subject::Switch(name.to_owned());
    if !is_name(name) {
        problems.push(Problem::new(subject.clone(), "not a valid name").help(NAME_HELP));
    }
    let mut wrong = |key: &str, message: String, help: &str| problems.push(Problem::new(subject.clone(), message).at(key).help(help));
    if switch.ageing_time.0 > AGEING_MAX {
        wrong("ageing_time", format!("an ageing time of {}", switch.ageing_time), "at most 1000000s");
    }
    if !FDB_SIZE.contains(&switch.fdb_size) {
        wrong("fdb_size", format!("a table for {} addresses", switch.fdb_size), "64 to 16777216");
    }
    if switch.group_fwd_mask & 0b111 != 0 {
        let help = "STP, PAUSE and LACP addresses (bits 0 to 2) never pass a bridge; use bits 3 to 15";
        wrong("group_fwd_mask", format!("mask {:#06x} has a bit of 0x0007", switch.group_fwd_mask), help);
    }
}

/// Checks the device behind a port or a member of a bond.
pub(super) fn device(subject: Subject, port: &PortConfig, problems: &mut Vec<Problem>) {
    Port { subject, port, problems }.device();
}

struct Port<'c, 'p> {
    subject: Subject,
    port: &'c PortConfig,
    problems: &'p mut Vec<Problem>,
}

impl Port<'_, '_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>, help: &str) {
        self.problems.push(Problem::new(self.subject.clone(), message).at(key).help(help));
    }

    fn device(&mut self) {
        let port = self.port;
        let kind = kind_name(port.kind);
        let makes_netdev = matches!(port.kind, PortKind::Tap | PortKind::Host);
        let has_netdev = makes_netdev || port.kind == PortKind::Nic;
        match &port.interface {
            None if port.kind == PortKind::Nic => {
                self.problems.push(
                    Problem::new(self.subject.clone(), "a nic port needs `interface`")
                        .help("name the Ethernet interface to attach, such as interface = \"eth0\""),
                );
            }
            Some(_) if !has_netdev => self.wrong("interface", format!("a {kind} port has no interface"), "remove `interface`"),
            Some(name) if makes_netdev && !is_name(name) => self.wrong("interface", format!("{name:?} is not a netdev name"), NAME_HELP),
            Some(name) if !is_netdev_name(name) => {
                self.wrong("interface", format!("{name:?} is not a netdev name"), "1 to 15 octets without '/', ':' and white space");
            }
            _ => {}
        }
        self.socket();
        match &port.peer {
            None if port.kind == PortKind::Patch => {
                self.problems.push(
                    Problem::new(self.subject.clone(), "a patch port needs `peer`")
                        .help("name the patch port at the other end, on another switch"),
                );
            }
            Some(_) if port.kind != PortKind::Patch => {
                self.wrong("peer", format!("a {kind} port has no peer"), "remove `peer`, or use kind = \"patch\"");
            }
            Some(peer) if !is_name(peer) => self.wrong("peer", format!("{peer:?} is not a port name"), NAME_HELP),
            _ => {}
        }
        if let Some(netns) = &port.netns {
            let is_path = netns.starts_with('/') && netns.len() < 4096;
            let is_name = !netns.is_empty() && netns.len() <= 255 && !netns.contains('/') && netns != "." && netns != "..";
            if !has_netdev {
                self.wrong("netns", format!("a {kind} port has no network namespace"), "remove `netns`");
            } else if netns.contains('\0') || !(is_path || is_name) {
                self.wrong("netns", "not a network namespace", "a name under /run/netns, or a path that starts with '/'");
            }
        }
        if let Some(mac) = port.mac {
            if !makes_netdev && port.kind != PortKind::Bond {
                self.wrong("mac", format!("the address of a {kind} port cannot be set"), "only tap and host ports make their netdev");
            } else if mac.is_multicast() || mac == MacAddr::ZERO {
                self.wrong("mac", format!("{mac} is not a unicast address"), "first octet even, and not all zeros");
            }
        }
        if !has_netdev && !port.offload {
            self.wrong("offload", format!("a {kind} port has no offload to turn off"), "remove `offload`");
        }
        if !has_netdev && port.kind != PortKind::VhostUser && port.queues != 1 {
            self.wrong("queues", format!("a {kind} port has one queue"), "remove `queues`");
        } else if !QUEUES.contains(&port.queues) {
            self.wrong("queues", format!("{} queues", port.queues), "1 to 64");
        } else if has_netdev && !port.offload && port.queues > 1 {
            self.wrong("queues", format!("{} queues without offload", port.queues), "plain devices have one queue; set offload = true");
        }
        if port.kind != PortKind::Nic && port.tx_queue != TxQueueMode::default() {
            self.wrong("tx_queue", format!("a {kind} port has no `tx_queue`"), "only nic ports have");
        }
        if port.kind != PortKind::Nic && port.ring_size != PortConfig::new("").ring_size {
            self.wrong("ring_size", format!("a {kind} port has no receive ring"), "only nic ports have");
        } else if !RING_SIZE.contains(&port.ring_size.0) {
            self.wrong("ring_size", format!("a receive ring of {}", port.ring_size), "64KiB to 1GiB");
        }
    }

    fn socket(&mut self) {
        let port = self.port;
        let kind = kind_name(port.kind);
        if port.kind != PortKind::VhostUser {
            let set = [
                ("socket_path", port.socket_path.is_some()),
                ("socket_mode", port.socket_mode != SocketMode::default()),
                ("socket_group", port.socket_group.is_some()),
            ];
            for (key, _) in set.into_iter().filter(|(_, set)| *set) {
                self.wrong(key, format!("a {kind} port has no socket"), "only vhost-user ports have");
            }
            return;
        }
        match &port.socket_path {
            None => self.problems.push(
                Problem::new(self.subject.clone(), "a vhost-user port needs `socket_path`")
                    .help("the path of a Unix socket, such as socket_path = \"/run/vswitch/vm1.sock\""),
            ),
            Some(path) if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') || path.len() > SOCKET_PATH_MAX => {
                let help = format!("an absolute path of at most {SOCKET_PATH_MAX} octets");
                self.wrong("socket_path", format!("{path:?} is not the path of a socket"), &help);
            }
            Some(_) => {}
        }
        if let Some(group) = &port.socket_group {
            if !is_group_name(group) {
                self.wrong("socket_group", "not a group name", "the name of a group in /etc/group");
            } else if port.socket_mode == SocketMode::Client {
                self.wrong("socket_group", "the socket is the VMM's", "remove `socket_group`, or use socket_mode = \"server\"");
            }
        }
    }

    fn limits(&mut self) {
        let makes_netdev = matches!(self.port.kind, PortKind::Tap | PortKind::Host);
        if !MTU.contains(&self.port.mtu) {
            self.wrong("mtu", format!("an MTU of {}", self.port.mtu), "68 to 65535");
        } else if makes_netdev && self.port.mtu > TAP_MTU_MAX {
            self.wrong("mtu", format!("an MTU of {}", self.port.mtu), "a TAP takes 68 to 65521");
        }
        if self.port.learn_limit == Some(0) {
            self.wrong("learn_limit", "a limit of 0 addresses", "at least 1; learning = false learns none");
        }
    }

    /// What concerns routers: a port without switch, and its share of the flows.
    fn router(&mut self) {
        let kind = self.port.kind;
        if self.port.switch.is_none() && matches!(kind, PortKind::Host | PortKind::Patch) {
            let message = format!("a {} port needs `switch`", kind_name(kind));
            self.problems.push(Problem::new(self.subject.clone(), message).help("a router reaches the host by an interface on its switch"));
        }
        if self.port.conntrack_limit == Some(0) {
            self.wrong("conntrack_limit", "a limit of 0 flows", "at least 1");
        }
    }

    fn vlans(&mut self) {
        let port = self.port;
        let range = "1 to 4094";
        for (key, vlan) in [("access", port.access), ("native", port.native), ("qinq", port.qinq)] {
            if let Some(number) = vlan.filter(|number| vlan::vid(*number).is_none()) {
                self.wrong(key, format!("{number} is not a VLAN"), range);
            }
        }
        for (key, list) in [("trunk", &port.trunk), ("cvlans", &port.cvlans)] {
            if let Some(Err(error)) = list.as_ref().map(|list| list.parse::<VlanSet>()) {
                self.wrong(key, error.to_string(), "a list such as \"10,20-30\"");
            }
        }
        let modes: Vec<&str> = [("access", port.access.is_some()), ("trunk", port.trunk.is_some()), ("qinq", port.qinq.is_some())]
            .into_iter()
            .filter_map(|(key, set)| set.then_some(key))
            .collect();
        if let [first, second, ..] = modes[..] {
            let help = "a port is access, trunk or qinq; for a trunk with an untagged VLAN use trunk and native";
            self.wrong(second, format!("`{first}` and `{second}` exclude each other"), help);
        }
        let needs = [
            ("native", port.native.is_some(), "trunk", port.trunk.is_some()),
            ("native_tagged", port.native_tagged, "native", port.native.is_some()),
            ("cvlans", port.cvlans.is_some(), "qinq", port.qinq.is_some()),
            ("qinq_ethertype", port.qinq_ethertype != QinqEthertype::default(), "qinq", port.qinq.is_some()),
            ("accept_tagged", port.accept_tagged != AcceptTagged::default(), "access", port.access.is_some()),
        ];
        for (key, set, needed, there) in needs {
            if set && !there {
                self.wrong(key, format!("`{key}` has a meaning only with `{needed}`"), &format!("add `{needed}`, or remove `{key}`"));
            }
        }
    }
}

/// The name of a kind in the configuration.
pub fn kind_name(kind: PortKind) -> &'static str {
    match kind {
        PortKind::Tap => "tap",
        PortKind::Host => "host",
        PortKind::Nic => "nic",
        PortKind::VhostUser => "vhost-user",
        PortKind::Patch => "patch",
        PortKind::Sim => "sim",
        PortKind::Bond => "bond",
    }
}

/// The problem that a switch does not exist.
pub(super) fn no_switch(subject: &Subject, switch: &str, config: &Config) -> Option<Problem> {
    if config.switch.contains_key(switch) {
        return None;
    }
    let help = match config.switch.len() {
        0 => format!("add [switch.{}]", if is_name(switch) { switch } else { "NAME" }),
        1..=8 => format!("switches: {}", config.switch.keys().cloned().collect::<Vec<_>>().join(", ")),
        many => format!("there are {many} switches; see `vswitchctl show switches`"),
    };
    let problem = Problem::new(subject.clone(), format!("no switch {switch:?}")).at("switch").help(help);
    Some(problem.related(Subject::Switch(switch.to_owned())))
}

fn references(name: &str, port: &PortConfig, config: &Config, problems: &mut Vec<Problem>) {
    let subject = Subject::Port(name.to_owned());
    if let Some(switch) = &port.switch {
        problems.extend(no_switch(&subject, switch, config));
    }
    let Some((peer_name, peer)) =
        port.peer.as_ref().filter(|_| port.kind == PortKind::Patch).and_then(|peer| config.port.get_key_value(peer))
    else {
        return; // A peer that does not exist (yet) leaves the link down.
    };
    let message = if peer_name == name {
        "the port is its own peer".to_owned()
    } else if peer.kind != PortKind::Patch {
        format!("peer {peer_name:?} is a {} port", kind_name(peer.kind))
    } else if peer.peer.as_deref() != Some(name) {
        format!("peer {peer_name:?} names {:?} as its peer", peer.peer.as_deref().unwrap_or_default())
    } else if peer.switch == port.switch {
        format!("peer {peer_name:?} is on the same switch {:?}", port.switch.as_deref().unwrap_or_default())
    } else {
        return;
    };
    let help = "a patch link has two patch ports on different switches that name each other";
    problems.push(Problem::new(subject, message).at("peer").help(help).related(Subject::Port(peer_name.clone())));
}

fn host_ports(config: &Config, problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, port) in config.port.iter().filter(|(_, port)| port.kind == PortKind::Host) {
        if let Some(switch) = &port.switch
            && let Some(other) = first.insert(switch, name)
        {
            let message = format!("switch {switch:?} has host port {other:?} already");
            problems.push(Problem::new(Subject::Port(name.clone()), message).at("kind").help("one host port a switch; use kind = \"tap\""));
        }
    }
}

/// The netdev a port makes or attaches: namespace (as a path) and name. `None` for kinds without one.
pub fn netdev_of(name: &str, port: &PortConfig) -> Option<(Option<String>, String)> {
    let netns = port.netns.as_ref().map(|netns| if netns.starts_with('/') { netns.clone() } else { format!("/run/netns/{netns}") });
    match port.kind {
        PortKind::Tap | PortKind::Host => Some((netns, port.interface.clone().unwrap_or_else(|| name.to_owned()))),
        PortKind::Nic => port.interface.clone().map(|interface| (netns, interface)),
        PortKind::VhostUser | PortKind::Patch | PortKind::Sim | PortKind::Bond => None,
    }
}

/// The path of the socket of a `vhost-user` port.
pub fn socket_of(port: &PortConfig) -> Option<&str> {
    port.socket_path.as_deref().filter(|_| port.kind == PortKind::VhostUser)
}

fn sockets(config: &Config, problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, port) in &config.port {
        if let Some(socket) = socket_of(port)
            && let Some(other) = first.insert(socket, name)
        {
            let message = format!("socket {socket:?} belongs to port {other:?} already");
            let related = Subject::Port(other.to_owned());
            problems.push(
                Problem::new(Subject::Port(name.clone()), message).at("socket_path").help("each VM's NIC has a socket").related(related),
            );
        }
    }
}

fn interfaces(config: &Config, problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<(Option<String>, String), Subject> = BTreeMap::new();
    let mut check = |subject: Subject, name: &str, port: &PortConfig, named: bool| {
        let Some(netdev) = netdev_of(name, port) else { return };
        let shown = match &port.netns {
            Some(netns) => format!("interface {:?} in network namespace {netns:?}", netdev.1),
            None => format!("interface {:?}", netdev.1),
        };
        if let Some(other) = first.insert(netdev, subject.clone()) {
            let mut problem = Problem::new(subject, format!("{shown} belongs to {other} already"))
                .help("each interface is behind one port")
                .related(other);
            if named {
                problem = problem.at("interface");
            }
            problems.push(problem);
        }
    };
    for (name, port) in &config.port {
        check(Subject::Port(name.clone()), name, port, port.interface.is_some());
        for (member, settings) in &port.member {
            check(Subject::Member(name.clone(), member.clone()), member, &settings.device(member, port), settings.interface.is_some());
        }
    }
}

fn fdb(config: &Config, problems: &mut Vec<Problem>) {
    if config.fdb.len() > FDB_ENTRIES_MAX {
        let message = format!("{} static entries; at most {FDB_ENTRIES_MAX}", config.fdb.len());
        problems.push(Problem::new(Subject::Whole, message).at("fdb"));
    }
    let mut first: BTreeMap<(&str, MacAddr, u16), usize> = BTreeMap::new();
    for (index, entry) in config.fdb.iter().enumerate() {
        let subject = Subject::Fdb(index);
        let mut wrong = |key: &str, message: String, help: &str, related: Subject| {
            problems.push(Problem::new(subject.clone(), message).at(key).help(help).related(related));
        };
        let (switch, port) = (Subject::Switch(entry.switch.clone()), Subject::Port(entry.port.clone()));
        if !config.switch.contains_key(&entry.switch) {
            wrong("switch", format!("no switch {:?}", entry.switch), "add the switch, or remove the entry", switch.clone());
        }
        match config.port.get(&entry.port) {
            None => wrong("port", format!("no port {:?}", entry.port), "add the port, or remove the entry", port),
            Some(other) if other.switch.as_ref() != Some(&entry.switch) => {
                let message = format!("port {:?} is on {}, not on {:?}", entry.port, switch_of(other), entry.switch);
                wrong("port", message, "name a port of the same switch", port);
            }
            Some(_) => {}
        }
        if entry.mac.is_multicast() || entry.mac == MacAddr::ZERO {
            wrong("mac", format!("{} is not a unicast address", entry.mac), "first octet even, and not all zeros", subject.clone());
        }
        if entry.vlan > 4094 {
            wrong("vlan", format!("{} is not a VLAN", entry.vlan), "1 to 4094, or 0 for frames without one", subject.clone());
        }
        if let Some(other) = first.insert((&entry.switch, entry.mac, entry.vlan), index) {
            let message = format!("{} in VLAN {} has entry {} already", entry.mac, entry.vlan, other + 1);
            wrong("mac", message, "remove one of them", Subject::Fdb(other));
        }
    }
}
