//! Requests and replies of the Varlink interface `io.vswitch`.
//!
//! A method `M` takes the fields of `M` as parameters and answers with those of `MReply`. Field names are stable; new
//! ones may be added. Octets are those of Ethernet frames without FCS.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::MacAddr;

use crate::bond::MemberConfig;
use crate::bond_status::BondInfo;
use crate::config::{PollMode, PortConfig, PortKind, SwitchConfig};

/// The name of the interface.
pub const INTERFACE: &str = "io.vswitch";
/// Octets of one request at most: more than 100,000 rules or elements of a set in one restore.
pub const REQUEST_MAX: usize = 32 << 20;
/// The same for callers without write access, who have nothing long to say.
pub const REQUEST_READER_MAX: usize = 1 << 20;
/// The socket of the daemon unless told otherwise.
pub const SOCKET: &str = "/run/vswitch/vswitch.sock";

/// A switch, as `show switches --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwitchInfo {
    /// Name.
    pub name: String,
    /// Its settings.
    #[serde(flatten)]
    pub config: SwitchConfig,
    /// Its ports.
    pub ports: Vec<String>,
    /// Entries of its address table now.
    pub fdb_entries: u64,
    /// New addresses since the switch was made.
    pub fdb_learned: u64,
    /// Addresses that moved to another port.
    pub fdb_moved: u64,
    /// Addresses forgotten by age.
    pub fdb_expired: u64,
    /// Addresses pushed out because there was no room.
    pub fdb_evicted: u64,
    /// Addresses not learned because of `learn_limit`.
    pub fdb_limited: u64,
    /// Addresses not learned because only static entries could have made room.
    pub fdb_refused: u64,
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Carries frames.
    Up,
    /// The device has no carrier, or the netdev is down.
    Down,
    /// The device does not exist; it is taken up again when it comes back.
    Lost,
    /// Disabled by configuration.
    Disabled,
}

/// A port, as `show ports --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortInfo {
    /// Name.
    pub name: String,
    /// Its switch; none for a port that belongs to interfaces of a router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// What stands behind it.
    pub kind: PortKind,
    /// State of its link.
    pub link: Link,
    /// Why the link is lost, or down where that has a reason that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The other side of a `vhost-user` port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhost_user: Option<VhostUserInfo>,
    /// The netdev behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Network namespace of the netdev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// MAC address of the netdev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// MTU.
    pub mtu: u32,
    /// VLAN mode in words: "access 10", "trunk 10,20-30 native 1", "trunk all", "qinq 300".
    pub vlan: String,
    /// Addresses of the table at this port.
    pub fdb_entries: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_bytes: u64,
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Octets transmitted.
    pub tx_bytes: u64,
    /// Frames made by flooding or segmentation beyond those received.
    pub copies: u64,
    /// Receive calls that failed for an unexpected reason.
    pub rx_errors: u64,
    /// Frames dropped, by reason; reasons that never happened are left out.
    pub drops: BTreeMap<String, u64>,
    /// Its settings.
    pub config: PortConfig,
}

/// The other side of a `vhost-user` port: the VMM, and the driver in the virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostUserInfo {
    /// Whether a VMM is connected.
    pub connected: bool,
    /// Pairs of rings that run; the link is up when there is one.
    pub queue_pairs: u16,
    /// The virtio features that were negotiated, as `linux/virtio_net.h` names them, in lower case without prefix.
    pub features: Vec<String>,
}

/// An entry of an address table, as `show fdb --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FdbInfo {
    /// Switch.
    pub switch: String,
    /// VLAN; 0 for frames without one.
    pub vlan: u16,
    /// Address.
    pub mac: MacAddr,
    /// Port.
    pub port: String,
    /// Milliseconds since the last frame from the address (grain: 268 ms); 0 for static entries.
    pub age_ms: u64,
    /// Whether it never ages (static or local).
    #[serde(rename = "static")]
    pub is_static: bool,
    /// Whether it does not move to another port.
    pub sticky: bool,
    /// Whether it is an address of the switch itself.
    pub local: bool,
}

/// VLANs in use at a switch, as `show vlans --json` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VlanInfo {
    /// Switch.
    pub switch: String,
    /// VLAN; 0 for frames without one.
    pub vlan: u16,
    /// Ports where it leaves without tag.
    pub untagged: Vec<String>,
    /// Ports where it leaves with a tag. Trunks of all VLANs are listed under VLAN 0 and every VLAN another port names.
    pub tagged: Vec<String>,
}

/// Dropped frames, as `show drops --json` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropInfo {
    /// Port where they are counted.
    pub port: String,
    /// Switch of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// Name of the reason.
    pub reason: String,
    /// `ingress` or `egress`.
    pub side: String,
    /// Frames.
    pub count: u64,
    /// What the reason means and what to do.
    pub description: String,
}

/// A worker, as `show workers --json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Number from 0.
    pub worker: u16,
    /// Core it is pinned to.
    pub core: Option<u16>,
    /// Ports whose receive queues it polls.
    pub ports: Vec<String>,
    /// Turns of its loop.
    pub turns: u64,
    /// Bursts with at least one frame.
    pub bursts: u64,
    /// Frames in them.
    pub frames: u64,
    /// Packets that followed the path of an established flow through a router: rules and routes were not asked.
    pub on_path: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Milliseconds it did not sleep.
    pub awake_ms: u64,
}

/// The daemon, as `status --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusInfo {
    /// Version of the daemon.
    pub version: String,
    /// Process identifier.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Transactions that changed the configuration since it started.
    pub generation: u64,
    /// Directory of the stored configuration.
    pub state_dir: String,
    /// How workers wait.
    pub poll: PollMode,
    /// Number of workers.
    pub workers: u16,
    /// Number of switches.
    pub switches: u32,
    /// Number of routers.
    pub routers: u32,
    /// Number of ports.
    pub ports: u32,
    /// Ports whose link is not up.
    pub ports_down: u32,
    /// Resident memory, octets.
    pub memory_bytes: u64,
    /// Open descriptors, and the limit.
    pub open_fds: u64,
    /// Limit of open descriptors.
    pub max_fds: u64,
    /// Things that need attention, in words.
    pub problems: Vec<String>,
}

/// What happened, as `monitor --json` prints it, one object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A transaction changed the configuration.
    ConfigChanged {
        /// Its number.
        generation: u64,
        /// What it did, one line each.
        changes: Vec<String>,
    },
    /// The link of a port changed.
    Link {
        /// Port.
        port: String,
        /// New state.
        link: Link,
        /// Why it is lost, or down where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// An address was learned.
    FdbLearned {
        /// Switch.
        switch: String,
        /// VLAN.
        vlan: u16,
        /// Address.
        mac: MacAddr,
        /// Port.
        port: String,
    },
    /// An address moved.
    FdbMoved {
        /// Switch.
        switch: String,
        /// VLAN.
        vlan: u16,
        /// Address.
        mac: MacAddr,
        /// Port it is at now.
        port: String,
    },
    /// Something changed in a bond.
    Bond {
        /// Bond.
        bond: String,
        /// The member it is about, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
        /// What, in words.
        transition: String,
        /// Why.
        reason: String,
    },
    /// The client was too slow, or the daemon too busy: this many events were left out.
    Lost {
        /// How many.
        count: u64,
    },
}

/// Parameters that change a port; an absent field leaves the setting as it is, `null` in `set` resets it to its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPort {
    /// Port.
    pub name: String,
    /// Keys of [`PortConfig`] and their new values.
    pub set: serde_json::Map<String, serde_json::Value>,
}

/// Parameters that change a switch, as [`SetPort`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSwitch {
    /// Switch.
    pub name: String,
    /// Keys of [`SwitchConfig`] and their new values.
    pub set: serde_json::Map<String, serde_json::Value>,
}

/// Adds a switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddSwitch {
    /// Name.
    pub name: String,
    /// Settings.
    #[serde(default)]
    pub config: SwitchConfig,
    /// Adds a host port of the same name too.
    #[serde(default)]
    pub host_port: bool,
    /// No error when it exists.
    #[serde(default)]
    pub may_exist: bool,
}

/// Removes a switch with its ports and static entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelSwitch {
    /// Name.
    pub name: String,
    /// No error when it does not exist.
    #[serde(default)]
    pub if_exists: bool,
}

/// Adds a port. A patch port whose `peer` does not exist yet has its link down until that one is added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPort {
    /// Name.
    pub name: String,
    /// Settings.
    pub config: PortConfig,
    /// No error when it exists on the same switch with the same kind; other settings stay as they are.
    #[serde(default)]
    pub may_exist: bool,
}

/// Removes a port and its static entries; the peer of a patch port stays with its link down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelPort {
    /// Name.
    pub name: String,
    /// Refuse unless it belongs to this switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// No error when it does not exist.
    #[serde(default)]
    pub if_exists: bool,
}

/// Parameters that change options of a bond, as [`SetPort`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetBond {
    /// Bond.
    pub name: String,
    /// Keys of [`BondConfig`](crate::bond::BondConfig) and their new values.
    pub set: serde_json::Map<String, serde_json::Value>,
}

/// Adds a member to a bond while it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// Bond.
    pub bond: String,
    /// Name of the member.
    pub member: String,
    /// Its device.
    #[serde(default)]
    pub config: MemberConfig,
    /// No error when it is a member already; other settings stay as they are.
    #[serde(default)]
    pub may_exist: bool,
}

/// Removes a member from a bond while it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelMember {
    /// Bond.
    pub bond: String,
    /// Name of the member.
    pub member: String,
    /// No error when it is not a member.
    #[serde(default)]
    pub if_exists: bool,
}

/// Makes a member the active one for now (Linux `active_slave`). Not part of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetActive {
    /// Bond.
    pub bond: String,
    /// Name of the member; none lets the bond choose anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// Adds a static entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddFdb {
    /// Switch.
    pub switch: String,
    /// Address.
    pub mac: MacAddr,
    /// VLAN.
    #[serde(default)]
    pub vlan: u16,
    /// Port.
    pub port: String,
    /// Replace or keep an existing static entry without error.
    #[serde(default)]
    pub may_exist: bool,
}

/// Removes an entry, static or learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelFdb {
    /// Switch.
    pub switch: String,
    /// Address.
    pub mac: MacAddr,
    /// VLAN.
    #[serde(default)]
    pub vlan: u16,
    /// No error when it does not exist.
    #[serde(default)]
    pub if_exists: bool,
}

/// Forgets learned entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushFdb {
    /// Of this switch.
    pub switch: String,
    /// Of this port only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Of this VLAN only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

/// Answer to [`FlushFdb`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlushFdbReply {
    /// Entries forgotten.
    pub flushed: u64,
}

/// Replaces the whole configuration by that of a TOML text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The text.
    pub text: String,
    /// Its name in error messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Say what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to every request that changes the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Number of the transaction now in force.
    pub generation: u64,
    /// What changed, one line each; empty when everything was so already.
    pub changes: Vec<String>,
}

/// Answer to `Export`: the running configuration as TOML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportReply {
    /// The text.
    pub text: String,
}

/// Gives a frame to a `sim` port as if it had arrived there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimSend {
    /// Port.
    pub port: String,
    /// Octets from the destination address on, hexadecimal.
    pub frame: String,
}

/// Takes the frames a `sim` port transmitted; the oldest of more than 1024 are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimReceive {
    /// Port.
    pub port: String,
}

/// Answer to [`SimReceive`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimReceiveReply {
    /// Frames in order, hexadecimal.
    pub frames: Vec<String>,
}

/// Sets the carrier of a `sim` port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimCarrier {
    /// Port.
    pub port: String,
    /// Up or down.
    pub up: bool,
}

/// Filter of the list methods; an absent field matches all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// Of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Of this VLAN (FDB only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $type:ty })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            /// The items.
            pub $field: $type,
        })+
    };
}

replies! {
    /// Answer to `ListSwitches`.
    ListSwitchesReply { switches: Vec<SwitchInfo> }
    /// Answer to `ListPorts`.
    ListPortsReply { ports: Vec<PortInfo> }
    /// Answer to `ListFdb`; several in a row when called with `more`.
    ListFdbReply { entries: Vec<FdbInfo> }
    /// Answer to `ListVlans`.
    ListVlansReply { vlans: Vec<VlanInfo> }
    /// Answer to `ListBonds`.
    ListBondsReply { bonds: Vec<BondInfo> }
    /// Answer to `ListDrops`.
    ListDropsReply { drops: Vec<DropInfo> }
    /// Answer to `ListWorkers`.
    ListWorkersReply { workers: Vec<WorkerInfo> }
    /// Answer to `GetStatus`.
    GetStatusReply { status: StatusInfo }
    /// Answers to `Monitor`, which must be called with `more`.
    MonitorReply { events: Vec<Event> }
}

/// Names of the errors of the interface, without the interface name in front.
pub mod error {
    use serde::{Deserialize, Serialize};

    /// The request was refused; nothing changed.
    pub const REFUSED: &str = "Refused";
    /// The caller may only read.
    pub const PERMISSION_DENIED: &str = "PermissionDenied";
    /// Too many clients, or too much unread output.
    pub const BUSY: &str = "Busy";

    /// Parameters of every error.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Message {
        /// What is wrong and what to do, for people; may have several lines (a diagnostic with caret).
        pub message: String,
    }
}

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: everybody may read.
    Read,
    /// Write access.
    Write,
    /// What the command in its `args` asks: write access, unless it only lists or tests.
    ByCommand,
}

/// The methods: name, what it asks of the caller, and what it does.
pub const METHODS: &[(&str, Access, &str)] = &[
    ("GetStatus", Access::Read, "The daemon at a glance"),
    ("ListSwitches", Access::Read, "Switches and their tables"),
    ("ListPorts", Access::Read, "Ports with link state and counters; takes Filter"),
    ("ListBonds", Access::Read, "Bonds and their members; takes Filter"),
    ("ExplainBond", Access::Read, "Which member a flow takes"),
    ("ListFdb", Access::Read, "Entries of address tables; takes Filter, streams with `more`"),
    ("ListVlans", Access::Read, "VLANs in use; takes Filter"),
    ("ListDrops", Access::Read, "Dropped frames by port and reason; takes Filter"),
    ("ListRouters", Access::Read, "Routers; takes RouterFilter"),
    ("ListInterfaces", Access::Read, "Interfaces of routers with counters; takes RouterFilter"),
    ("ListRoutes", Access::Read, "Routes in force; takes RouterFilter"),
    ("ListForwards", Access::Read, "Forwarded ports with counters; takes RouterFilter"),
    ("ListNeighbors", Access::Read, "Neighbors of routers and their states; takes RouterFilter"),
    ("ListWorkers", Access::Read, "Worker threads"),
    ("GetConntrack", Access::Read, "The table of tracked connections at a glance"),
    ("ListFlows", Access::Read, "Tracked connections; takes a filter, streams with `more`"),
    ("ListExpectations", Access::Read, "Connections that others announced"),
    ("MonitorFlows", Access::Read, "Events of tracked connections as they happen; needs `more`"),
    ("Export", Access::Read, "The running configuration as TOML"),
    ("Monitor", Access::Read, "Events as they happen; needs `more`"),
    ("AddSwitch", Access::Write, "Adds a switch"),
    ("SetSwitch", Access::Write, "Changes settings of a switch"),
    ("DelSwitch", Access::Write, "Removes a switch with its ports"),
    ("AddPort", Access::Write, "Adds a port"),
    ("SetPort", Access::Write, "Changes settings of a port"),
    ("DelPort", Access::Write, "Removes a port"),
    ("SetBond", Access::Write, "Changes options of a bond"),
    ("AddMember", Access::Write, "Adds a member to a bond"),
    ("DelMember", Access::Write, "Removes a member from a bond"),
    ("SetActive", Access::Write, "Makes a member the active one"),
    ("AddRouter", Access::Write, "Adds a router"),
    ("SetRouter", Access::Write, "Changes settings of a router"),
    ("DelRouter", Access::Write, "Removes a router"),
    ("AddInterface", Access::Write, "Adds an interface to a router"),
    ("SetInterface", Access::Write, "Changes settings of an interface"),
    ("DelInterface", Access::Write, "Removes an interface from a router"),
    ("AddRoute", Access::Write, "Adds a route"),
    ("DelRoute", Access::Write, "Removes routes to a network"),
    ("AddNeighbor", Access::Write, "Adds a neighbor with a fixed MAC address"),
    ("DelNeighbor", Access::Write, "Removes a neighbor with a fixed MAC address"),
    ("AddForward", Access::Write, "Forwards a port"),
    ("DelForward", Access::Write, "No longer forwards a port"),
    ("AddFdb", Access::Write, "Adds a static entry"),
    ("DelFdb", Access::Write, "Removes an entry"),
    ("FlushFdb", Access::Write, "Forgets learned entries"),
    ("DelFlows", Access::Write, "Deletes tracked connections; takes a filter, needs `more`"),
    ("Apply", Access::Write, "Replaces the whole configuration"),
    ("Iptables", Access::ByCommand, "Runs iptables or ip6tables on the rules of a router"),
    ("IptablesRestore", Access::Write, "Runs iptables-restore or ip6tables-restore"),
    ("IptablesSave", Access::Read, "Runs iptables-save or ip6tables-save"),
    ("Ipset", Access::ByCommand, "Runs ipset on the sets of a router"),
    ("SimSend", Access::Write, "Gives a frame to a sim port"),
    ("SimReceive", Access::Write, "Takes the frames a sim port transmitted"),
    ("SimCarrier", Access::Write, "Sets the carrier of a sim port"),
];
