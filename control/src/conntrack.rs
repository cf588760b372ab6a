//! Tracked connections for people: which of them a request means, and how they are told.
//!
//! Pure functions between the table's types and those of the interface. `crate::controller::flows` walks the table.

use dataplane::conntrack::{ConnId, Counts, Direction, Event, EventKind, ExpectationInfo, FlowInfo, Stats, Status, Tuple};
use dataplane::router::{Family, RouterId};
use proto::conntrack as api;
use wire::ip_protocol;

mod matcher;

pub use matcher::Matcher;

/// The bits of a status by their names in Linux, without `IPS_`.
const STATUS: [(&str, Status); 11] = [
    ("EXPECTED", Status::EXPECTED),
    ("SEEN_REPLY", Status::SEEN_REPLY),
    ("ASSURED", Status::ASSURED),
    ("CONFIRMED", Status::CONFIRMED),
    ("SRC_NAT", Status::SRC_NAT),
    ("DST_NAT", Status::DST_NAT),
    ("SEQ_ADJUST", Status::SEQ_ADJUST),
    ("SRC_NAT_DONE", Status::SRC_NAT_DONE),
    ("DST_NAT_DONE", Status::DST_NAT_DONE),
    ("FIXED_TIMEOUT", Status::FIXED_TIMEOUT),
    ("HELPER", Status::HELPER),
];

/// The names that conntrack-tools has for protocols.
const PROTOCOLS: [(u8, &str); 8] = [
    (ip_protocol::TCP, "tcp"),
    (ip_protocol::UDP, "udp"),
    (ip_protocol::ICMP, "icmp"),
    (ip_protocol::ICMPV6, "icmpv6"),
    (ip_protocol::UDP_LITE, "udplite"),
    (ip_protocol::SCTP, "sctp"),
    (ip_protocol::DCCP, "dccp"),
    (ip_protocol::GRE, "gre"),
];

/// The name of a protocol in listings.
pub fn protocol_name(protocol: u8) -> &'static str {
    PROTOCOLS.iter().find(|(number, _)| *number == protocol).map_or("unknown", |(_, name)| name)
}

/// The protocol of a name or number.
///
/// # Errors
///
/// When there is none.
pub fn protocol(text: &str) -> Result<u8, String> {
    let named = PROTOCOLS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| *number);
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        let names: Vec<&str> = PROTOCOLS.iter().map(|(_, name)| *name).collect();
        format!("protocol {text:?} is none of {}, and no number up to 255", names.join(", "))
    })
}

/// A number that tells a flow from all others of this run.
fn number(id: ConnId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.index)
}

fn family(family: Family) -> api::IpFamily {
    match family {
        Family::V4 => api::IpFamily::Ipv4,
        Family::V6 => api::IpFamily::Ipv6,
    }
}

fn tuple(tuple: &Tuple, counts: Option<Counts>) -> api::FlowTuple {
    let has_ports =
        matches!(tuple.protocol, ip_protocol::TCP | ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::SCTP | ip_protocol::DCCP);
    let is_icmp = matches!(tuple.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6);
    let [icmp_type, icmp_code] = tuple.destination_port.to_be_bytes();
    api::FlowTuple {
        src: tuple.source.to_ip(tuple.family()),
        dst: tuple.destination.to_ip(tuple.family()),
        sport: has_ports.then_some(tuple.source_port),
        dport: has_ports.then_some(tuple.destination_port),
        icmp_type: is_icmp.then_some(icmp_type),
        icmp_code: is_icmp.then_some(icmp_code),
        icmp_id: is_icmp.then_some(tuple.source_port),
        packets: counts.map(|counts| counts.packets),
        bytes: counts.map(|counts| counts.bytes),
    }
}

/// Who has the numbers in flows.
pub trait Names {
    /// A router.
    fn router(&self, id: RouterId) -> Option<String>;
    /// A port.
    fn port(&self, port: dataplane::PortId) -> Option<String>;
}

/// A flow as it is told.
pub fn flow(info: &FlowInfo, names: &impl Names) -> api::FlowInfo {
    let counts = |direction: Direction| info.counts.map(|counts| counts[direction.index()]);
    api::FlowInfo {
        id: number(info.id),
        router: names.router(info.original.router()),
        zone: info.original.zone,
        family: family(info.original.family()),
        protocol: info.original.protocol,
        protocol_name: protocol_name(info.original.protocol).to_owned(),
        timeout: info.timeout.into(),
        state: info.state.name().map(str::to_owned),
        original: tuple(&info.original, counts(Direction::Original)),
        reply: tuple(&info.reply, counts(Direction::Reply)),
        status: STATUS.iter().filter(|(_, bit)| info.status.contains(*bit)).map(|(name, _)| (*name).to_owned()).collect(),
        mark: info.mark,
        helper: info.helper.map(|helper| helper.name().to_owned()),
        port: names.port(info.ingress),
    }
}

/// An event as it is told.
pub fn event(event: &Event, names: &impl Names) -> api::FlowEvent {
    let what = match event.kind {
        EventKind::New => api::FlowChange::New,
        EventKind::Update => api::FlowChange::Update,
        EventKind::Destroy => api::FlowChange::Destroy,
    };
    api::FlowEvent { event: what, flow: flow(&event.flow, names) }
}

/// An expectation as it is told.
pub fn expectation(info: &ExpectationInfo, names: &impl Names) -> api::ExpectationInfo {
    let expected = &info.expectation;
    api::ExpectationInfo {
        router: names.router(expected.tuple.router()),
        zone: expected.tuple.zone,
        protocol: expected.tuple.protocol,
        timeout: info.timeout / 1_000_000_000,
        tuple: tuple(&expected.tuple, None),
        any_source_port: expected.any_source_port,
        master: tuple(&info.master, None),
        helper: expected.helper.map(|helper| helper.name().to_owned()),
    }
}

/// What a worker counted, as it is told.
pub fn stats(worker: usize, stats: &Stats) -> api::ConntrackStats {
    api::ConntrackStats {
        worker,
        found: stats.found,
        invalid: stats.invalid,
        insert: stats.insert,
        insert_failed: stats.insert_failed,
        drop: stats.drop,
        early_drop: stats.early_drop,
        error: stats.error,
        search_restart: stats.search_restart,
        clash_resolve: stats.clash_resolve,
        chaintoolong: stats.chaintoolong,
    }
}
