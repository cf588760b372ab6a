//! Tracked connections: what is asked and answered about them. Words are those of conntrack-tools.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// The packets of one direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; absent for protocols without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// Type of an ICMP query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// Its identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// Packets, where they are counted (`acct`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Octets of IP, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A tracked connection, as `conntrack -L --json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowInfo {
    /// Tells it from all other flows of this run of the daemon.
    pub id: u64,
    /// Its router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Zone in its router: that of a rule (`-j CT --zone`), or 0.
    pub zone: u16,
    /// Version of IP.
    pub family: IpFamily,
    /// Number of the protocol.
    pub protocol: u8,
    /// Its name; `unknown` for most.
    pub protocol_name: String,
    /// Seconds until it is forgotten if no packet comes.
    pub timeout: u64,
    /// State of TCP and SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Packets as the first one.
    pub original: FlowTuple,
    /// Packets that answer.
    pub reply: FlowTuple,
    /// `SEEN_REPLY`, `ASSURED`, `SRC_NAT`, .. (the bits of `enum ip_conntrack_status`).
    pub status: Vec<String>,
    /// Mark.
    pub mark: u32,
    /// Its helper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
    /// The port that answers for it: where its first packet arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// Which flows are meant. What is absent is any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Of this router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// In this zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,
    /// Of this version of IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<IpFamily>,
    /// Of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// With this source, an address or a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// With this destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// Whose answers have this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_src: Option<String>,
    /// Whose answers have this destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_dst: Option<String>,
    /// From this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// To this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// Whose answers come from this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_sport: Option<u16>,
    /// Whose answers go to this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_dport: Option<u16>,
    /// Begun by an ICMP query of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Of this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// With this identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// In this state of TCP or SCTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// With this mark, in the bits of `mark_mask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Bits of the mark that count; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark_mask: Option<u32>,
    /// With all of these: `ASSURED`, `SEEN_REPLY`, `EXPECTED`, `FIXED_TIMEOUT`; `UNSET` is neither answered nor assured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Whose source is translated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub src_nat: bool,
    /// Whose destination is translated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dst_nat: bool,
    /// Of which either is translated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_nat: bool,
}

/// Asks for flows, or deletes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flows {
    /// Which.
    #[serde(default)]
    pub filter: FlowFilter,
    /// Only say how many there are.
    #[serde(default)]
    pub quiet: bool,
}

/// Answers to `ListFlows` and `DelFlows`; several in a row when called with `more`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsReply {
    /// The flows.
    pub flows: Vec<FlowInfo>,
    /// How many they are.
    pub count: u64,
}

/// A flow that another one announced, as `conntrack -L expect --json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationInfo {
    /// Its router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Zone in its router: that of a rule (`-j CT --zone`), or 0.
    pub zone: u16,
    /// Number of the protocol.
    pub protocol: u8,
    /// Seconds for which it is still expected.
    pub timeout: u64,
    /// Its first packet.
    pub tuple: FlowTuple,
    /// Its source port may be any.
    pub any_source_port: bool,
    /// The first packet of the flow that announced it.
    pub master: FlowTuple,
    /// The helper of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
}

/// Answer to `ListExpectations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListExpectationsReply {
    /// The expectations.
    pub expectations: Vec<ExpectationInfo>,
}

/// Asks for expectations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListExpectations {
    /// Of this router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
}

/// What one worker counted (`conntrack -S`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackStats {
    /// Number of the worker.
    pub worker: usize,
    /// Tuples wanted for translation that another flow had.
    pub found: u64,
    /// Packets that belong to no flow and begin none.
    pub invalid: u64,
    /// Flows that entered the table.
    pub insert: u64,
    /// Flows that did not.
    pub insert_failed: u64,
    /// Packets dropped because their flow did not.
    pub drop: u64,
    /// Flows dropped early to make room.
    pub early_drop: u64,
    /// ICMP packets that are damaged, or errors about unknown flows.
    pub error: u64,
    /// Lookups that had to begin again.
    pub search_restart: u64,
    /// Packets that took up the flow of another which was faster.
    pub clash_resolve: u64,
    /// Flows that found no place where their tuple belongs.
    pub chaintoolong: u64,
}

/// Answer to `GetConntrack`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetConntrackReply {
    /// Flows in the table.
    pub count: u64,
    /// Flows it can hold.
    pub max: u64,
    /// What the workers counted.
    pub workers: Vec<ConntrackStats>,
}

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowChange {
    /// It entered the table.
    New,
    /// Its state, status or mark changed.
    Update,
    /// It left the table.
    Destroy,
}

/// An event of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEvent {
    /// What happened.
    pub event: FlowChange,
    /// To which flow.
    pub flow: FlowInfo,
}

/// Answers to `MonitorFlows`, which must be called with `more`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorFlowsReply {
    /// What happened.
    pub events: Vec<FlowEvent>,
    /// Events that were left out behind these, because the client was too slow or the daemon too busy.
    pub lost: u64,
}
