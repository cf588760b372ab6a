//! The configuration: the same types in TOML files, in requests and in the stored state.
//!
//! Keys have defaults; [`Default`] is the one list of them. Validation beyond types (names,
//! references, combinations) is the `control` package's.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::MacAddr;

use crate::bond::{BondConfig, MemberConfig};
use crate::router::RouterConfig;

/// The whole configuration of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Settings of the daemon itself.
    #[serde(skip_serializing_if = "is_default")]
    pub daemon: DaemonConfig,
    /// Switches by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub switch: BTreeMap<String, SwitchConfig>,
    /// Ports by name. The name of a port is unique in the daemon.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port: BTreeMap<String, PortConfig>,
    /// Static entries of address tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fdb: Vec<FdbConfig>,
    /// Routers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub router: BTreeMap<String, RouterConfig>,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Settings of the daemon itself. `workers`, `cores` and `conntrack_max` take effect at the next start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// Number of worker threads; 0 takes half of the cores the daemon may use, at least 1, at most 8.
    pub workers: u16,
    /// Cores the workers are pinned to, in order; empty leaves the choice to the scheduler.
    pub cores: Vec<u16>,
    /// Whether idle workers sleep (`adaptive`) or never do (`busy`).
    pub poll: PollMode,
    /// How long an adaptive worker spins after its last frame before it sleeps.
    pub spin: Span,
    /// Group whose members may change the configuration, beside root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
    /// Flows that are tracked at most, of all routers together (Linux `nf_conntrack_max`).
    #[serde(skip_serializing_if = "defaults::is_conntrack_max")]
    pub conntrack_max: u32,
}

impl Default for DaemonConfig {
    fn default() -> DaemonConfig {
        DaemonConfig {
            workers: 0,
            cores: Vec::new(),
            poll: PollMode::Adaptive,
            spin: Span(Duration::from_micros(50)),
            control_group: None,
            conntrack_max: defaults::CONNTRACK_MAX,
        }
    }
}

/// How workers wait for frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PollMode {
    /// Spin while there is work, then sleep until a frame arrives.
    #[default]
    Adaptive,
    /// Never sleep: lowest latency, one full core per worker.
    Busy,
}

/// One switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwitchConfig {
    /// Idle time after which a learned address is forgotten; "0s" forgets at once.
    pub ageing_time: Span,
    /// Flood every frame and learn no address.
    pub hub: bool,
    /// Addresses the table holds at most; rounded up to a power of two.
    pub fdb_size: u32,
    /// Bit n lets frames to the reserved group address 01:80:c2:00:00:0n pass (n from 3 to 15).
    pub group_fwd_mask: u16,
}

impl Default for SwitchConfig {
    fn default() -> SwitchConfig {
        SwitchConfig { ageing_time: Span(Duration::from_secs(300)), hub: false, fdb_size: 65_536, group_fwd_mask: 0 }
    }
}

/// One port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// The switch it belongs to. A port without one is for interfaces of a router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// What stands behind it.
    #[serde(default)]
    pub kind: PortKind,
    /// `nic`: the interface to attach (required). `tap` and `host`: name of the netdev; the port's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `vhost-user`: absolute path of the socket (required).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// `vhost-user`: whether the daemon makes the socket, or connects to that of the VM's VMM.
    #[serde(default, skip_serializing_if = "is_default")]
    pub socket_mode: SocketMode,
    /// `vhost-user`: group that may connect to the socket the daemon makes; only root and the daemon's user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_group: Option<String>,
    /// `patch`: the port at the other end, on another switch, which names this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Network namespace of the interface: a name under /run/netns, or a path. The daemon's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// `tap` and `host`: MAC address of the netdev. A stable one is derived when absent, the same after each restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mac: Option<MacAddr>,
    /// Octets of payload behind the Ethernet header and VLAN tags at most. For `tap` and `host` also the MTU of the netdev.
    #[serde(default = "defaults::mtu", skip_serializing_if = "defaults::is_mtu")]
    pub mtu: u32,
    /// Carry frames when true; drop them all when false.
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub enabled: bool,
    /// `tap`, `host`, `nic`: checksum and segmentation offload (virtio_net_hdr).
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub offload: bool,
    /// `tap`, `host`, `nic`: number of queues, each polled by a worker of its own as far as there are workers. `vhost-user`:
    /// pairs of rings the VM may have.
    #[serde(default = "defaults::one", skip_serializing_if = "defaults::is_one")]
    pub queues: u16,
    /// `nic`: octets of the receive ring.
    #[serde(default = "defaults::ring_size", skip_serializing_if = "defaults::is_ring_size")]
    pub ring_size: Size,
    /// `nic`: whether frames leave past the interface's queueing discipline.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tx_queue: TxQueueMode,

    /// Access port: untagged frames belong to this VLAN, and it leaves untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<u16>,
    /// Trunk port: VLANs that pass with their tag, such as "10,20-30". Without any VLAN key a port is a trunk of all VLANs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// Trunk port: VLAN of untagged frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<u16>,
    /// Trunk port: the native VLAN leaves with a tag.
    #[serde(default, skip_serializing_if = "is_default")]
    pub native_tagged: bool,
    /// 802.1ad tunnel port: every frame, tagged or not, travels in this service VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qinq: Option<u16>,
    /// Tunnel port: customer VLANs that may enter, such as "10,20-30"; all and untagged frames when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvlans: Option<String>,
    /// Tunnel port: kind of the tag that is pushed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub qinq_ethertype: QinqEthertype,
    /// Access port: which tagged frames may enter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub accept_tagged: AcceptTagged,
    /// Whether frames without VLAN identifier leave with a priority tag. Default: `if-nonzero` for trunks of all VLANs, else `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_tags: Option<PriorityTags>,

    /// Learn source addresses.
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub learning: bool,
    /// Addresses learned here do not move to other ports.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sticky: bool,
    /// Addresses learned here at most; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learn_limit: Option<u32>,
    /// Flood unicast frames with unknown destination to here.
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub flood: bool,
    /// Flood multicast frames to here.
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub mcast_flood: bool,
    /// Flood broadcast frames to here.
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub bcast_flood: bool,
    /// Let frames leave where they came from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hairpin: bool,
    /// No frames between this and other isolated ports.
    #[serde(default, skip_serializing_if = "is_default")]
    pub isolated: bool,

    /// Flows that frames from here may have begun at most, of those that are tracked; half of the table when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack_limit: Option<u32>,

    /// `bond`: its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<BondConfig>,
    /// `bond`: its members by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub member: BTreeMap<String, MemberConfig>,
}

impl PortConfig {
    /// A TAP port of no switch with every default.
    pub fn routed() -> PortConfig {
        PortConfig { switch: None, ..PortConfig::new("") }
    }

    /// A TAP port of `switch` with every default.
    pub fn new(switch: impl Into<String>) -> PortConfig {
        PortConfig {
            switch: Some(switch.into()),
            kind: PortKind::Tap,
            interface: None,
            socket_path: None,
            socket_mode: SocketMode::Server,
            socket_group: None,
            peer: None,
            netns: None,
            mac: None,
            mtu: defaults::mtu(),
            enabled: true,
            offload: true,
            queues: 1,
            ring_size: defaults::ring_size(),
            tx_queue: TxQueueMode::Bypass,
            access: None,
            trunk: None,
            native: None,
            native_tagged: false,
            qinq: None,
            cvlans: None,
            qinq_ethertype: QinqEthertype::Dot1Ad,
            accept_tagged: AcceptTagged::None,
            priority_tags: None,
            learning: true,
            sticky: false,
            learn_limit: None,
            flood: true,
            mcast_flood: true,
            bcast_flood: true,
            hairpin: false,
            isolated: false,
            conntrack_limit: None,
            bond: None,
            member: BTreeMap::new(),
        }
    }
}

pub(crate) mod defaults {
    use super::Size;

    /// That of Linux on a machine with more than 4 GiB of memory.
    pub(crate) const CONNTRACK_MAX: u32 = 262_144;

    pub(crate) fn is_conntrack_max(value: &u32) -> bool {
        *value == CONNTRACK_MAX
    }
    pub(crate) fn mtu() -> u32 {
        1500
    }
    pub(crate) fn is_mtu(value: &u32) -> bool {
        *value == mtu()
    }
    pub(crate) fn yes() -> bool {
        true
    }
    pub(crate) fn is_yes(value: &bool) -> bool {
        *value
    }
    pub(crate) fn one() -> u16 {
        1
    }
    pub(crate) fn is_one(value: &u16) -> bool {
        *value == 1
    }
    pub(crate) fn ring_size() -> Size {
        Size(2 << 20)
    }
    pub(crate) fn is_ring_size(value: &Size) -> bool {
        *value == ring_size()
    }
}

/// What stands behind a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortKind {
    /// A TAP netdev that the daemon makes.
    #[default]
    Tap,
    /// The TAP netdev through which the host itself takes part; one per switch, with a stable MAC address.
    Host,
    /// An existing Ethernet interface (physical NIC, veth end, a VMM's tap), through AF_PACKET.
    Nic,
    /// The rings of a virtual machine, without the kernel in the way.
    VhostUser,
    /// One end of a link to another switch of the same daemon.
    Patch,
    /// A port in memory, for trying things out and for tests.
    Sim,
    /// Several devices used as one.
    Bond,
}

/// Who makes the socket of a `vhost-user` port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SocketMode {
    /// The daemon makes it and the VMM connects. A VMM that is to survive a restart of the daemon must connect again itself.
    #[default]
    Server,
    /// The VMM makes it and the daemon connects, again and again while it cannot.
    Client,
}

/// Whether frames leave past the interface's queueing discipline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TxQueueMode {
    /// Straight to the driver (PACKET_QDISC_BYPASS): fastest.
    #[default]
    Bypass,
    /// Through the queueing discipline, so that `tc` applies.
    Qdisc,
}

/// Kind of the service tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QinqEthertype {
    /// 0x88a8.
    #[default]
    #[serde(rename = "802.1ad")]
    Dot1Ad,
    /// 0x8100.
    #[serde(rename = "802.1q")]
    Dot1Q,
}

/// Which tagged frames may enter an access port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptTagged {
    /// None (as Open vSwitch).
    #[default]
    None,
    /// Those of the port's own VLAN (as the Linux bridge).
    Own,
}

/// Whether frames without VLAN identifier leave with a priority tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PriorityTags {
    /// Never.
    Never,
    /// When the priority is not 0.
    IfNonzero,
    /// Always.
    Always,
}

/// A static entry of an address table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbConfig {
    /// Switch.
    pub switch: String,
    /// Address.
    #[schemars(with = "String")]
    pub mac: MacAddr,
    /// VLAN; 0 for the VLAN of untagged frames on ports without VLAN settings.
    #[serde(default)]
    pub vlan: u16,
    /// Port of that switch.
    pub port: String,
}

/// A span of time, written as a number with a unit: `"300s"`, `"20us"`, `"5m"`, `"1h"`, `"100ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Span(pub Duration);

const SPAN_UNITS: [(&str, u64); 6] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1)];

impl Span {
    /// Nanoseconds; [`u64::MAX`], which are centuries, for a longer span.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos();
        // Seconds rather than minutes or hours: that is how users of bridges know ageing times.
        let (unit, size) = SPAN_UNITS[2..].iter().find(|(_, size)| nanos.is_multiple_of(*size)).unwrap_or(&("ns", 1));
        write!(f, "{}{unit}", nanos / size)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let wrong = || format!("\"{text}\" is not a duration (a number with unit h, m, s, ms, us or ns, such as \"300s\")");
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, size) = SPAN_UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        number.checked_mul(*size).map(|nanos| Span(Duration::from_nanos(nanos))).ok_or_else(|| format!("\"{text}\" is too long a duration"))
    }
}

/// A number of octets, written with an optional binary unit: `"64KiB"`, `"2MiB"`, `"4096"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = SIZE_UNITS.iter().find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size)).unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let wrong = || format!("\"{text}\" is not a size (a number of octets, or with unit KiB, MiB or GiB, such as \"64KiB\")");
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, size) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        number.checked_mul(*size).map(Size).ok_or_else(|| format!("\"{text}\" is too large a size"))
    }
}

macro_rules! as_text {
    ($type:ty, $example:literal) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a text such as \"", $example, "\""))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

pub(crate) use as_text;

as_text!(Span, "300s");
as_text!(Size, "64KiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write() {
        for (text, nanos) in [("300s", 300_000_000_000), ("20us", 20_000), ("0s", 0), ("1500ms", 1_500_000_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0.as_nanos(), nanos);
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("5m".parse::<Span>().unwrap().to_string(), "300s");
        for text in ["", "300", "s", "-1s", "1.5s", "99999999999999999999s", "9999999999999h", "1 week"] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_read_and_write() {
        for (text, octets) in [("64KiB", 65_536), ("2MiB", 2 << 20), ("4097", 4097), ("0", 0)] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, octets);
            assert_eq!(size.to_string(), text);
        }
        for text in ["", "KiB", "64kb", "-1", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn serde_defaults_equal_new() {
        let port: PortConfig = serde_json::from_str(r#"{"switch":"lan"}"#).unwrap();
        assert_eq!(port, PortConfig::new("lan"));
        assert_eq!(serde_json::from_str::<PortConfig>("{}").unwrap(), PortConfig::routed());
    }
}
