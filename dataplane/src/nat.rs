//! Network address translation (`net/netfilter/nf_nat_core.c`): the first packet of a flow decides, by changing the tuple its
//! answers will have; the others are rewritten by comparing the tuples of the two directions.
//!
//! | file | |
//! |---|---|
//! | `bind.rs` | [`NatState`]: decides what the first packet of a flow becomes |
//! | `unique.rs` | the search for a tuple nobody has, as Linux does it |
//! | `mapping.rs` | endpoints inside and what they are outside, which is what RFC 4787 asks for beyond that |
//! | `translate.rs` | [`translate`]: edits the packets of flows that are decided, and the ICMP errors about them |
//! | `rewrite.rs` | single edits of headers with their checksums |
//! | `unsolicited.rs` | SYNs from outside that are answered later, if at all |
//! | `crc32c.rs` | the checksum of SCTP |
//!
//! Only the first packet of a flow takes the lock of [`NatState`]; [`translate`] works on what connection tracking copied out.

use core::fmt;

use wire::ip_protocol;

use crate::clock::Nanos;
use crate::conntrack::Tuple;
use crate::router::address::{Address, Family};

mod bind;
mod crc32c;
mod mapping;
pub mod rewrite;
#[cfg(test)]
mod tests;
mod translate;
mod unique;
pub mod unsolicited;

pub use bind::{Inbound, NatState};
pub use mapping::MappingInfo;
pub use translate::{NotTranslatable, translate};

/// Which end is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manip {
    /// The source: SNAT, MASQUERADE.
    Source,
    /// The destination: DNAT, REDIRECT.
    Destination,
}

impl Manip {
    /// The other end.
    #[inline]
    pub const fn other(self) -> Manip {
        match self {
            Manip::Source => Manip::Destination,
            Manip::Destination => Manip::Source,
        }
    }
}

/// What a rule of table `nat` asks for (`struct nf_nat_range2`), with MASQUERADE and REDIRECT resolved to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatRange {
    /// Lowest and highest address; `None` leaves the address.
    pub addresses: Option<(Address, Address)>,
    /// Lowest and highest port or identifier; `None` leaves the choice of the port.
    pub ports: Option<(u16, u16)>,
    /// DNAT to shifted ports (`--to-destination addr:a-b/base`): the port that goes to the lowest.
    pub base_port: Option<u16>,
    /// `--random` or `--random-fully`: do not try to keep the port.
    pub random: bool,
    /// `--persistent`: the same address for each source, whatever its destination.
    pub persistent: bool,
    /// NETMAP: length of the prefix of `addresses` that replaces that of the packet.
    pub netmap: Option<u8>,
}

impl NatRange {
    /// Leaves everything as it is, if that is free.
    pub const NULL: NatRange = NatRange { addresses: None, ports: None, base_port: None, random: false, persistent: false, netmap: None };

    /// One address; the port is kept if it is free.
    pub const fn address(address: Address) -> NatRange {
        NatRange { addresses: Some((address, address)), ..NatRange::NULL }
    }
}

/// To what the outside of a mapping is bound (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MappingBehaviour {
    /// An endpoint inside has one endpoint outside for all remotes, and has it alone (RFC 4787 REQ-1, REQ-3; RFC 5382 REQ-1,
    /// REQ-7; RFC 5508 REQ-1).
    #[default]
    EndpointIndependent,
    /// One for each remote endpoint, as Linux has it: endpoints inside may share one outside as long as their remotes differ.
    AddressAndPortDependent,
}

/// Who outside may send to a mapping unasked (RFC 4787 section 5). Only with [`MappingBehaviour::EndpointIndependent`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Addresses that the endpoint inside has sent to.
    AddressDependent,
    /// Endpoints that the endpoint inside has sent to: nobody else, as Linux has it.
    #[default]
    AddressAndPortDependent,
}

/// How a router translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a mapping depends on.
    pub mapping: MappingBehaviour,
    /// Who may send to it.
    pub filtering: Filtering,
    /// Even UDP ports stay even and odd ones odd where the rule names no ports (RFC 4787 REQ-4).
    pub port_parity: bool,
    /// Lowest and highest port or identifier that a source gets where the rule names none and is not NETMAP. When `None`, a port
    /// stays below 512, 1024 or 65536, as in Linux.
    pub ip_local_port_range: Option<(u16, u16)>,
    /// [`NatState::hairpin`] translates the source (RFC 4787 REQ-9, RFC 5382 REQ-8).
    pub hairpin: bool,
    /// How long a mapping of UDP lives after its last packet, in nanoseconds (RFC 4787 REQ-5). Also that of protocols not named
    /// below.
    pub udp_timeout: Nanos,
    /// How long a mapping of TCP lives after its last packet, in nanoseconds, unless a flow keeps it longer (RFC 5382 REQ-5).
    pub tcp_transitory_timeout: Nanos,
    /// How long a mapping of an ICMP identifier lives after its last packet, in nanoseconds (RFC 5508 REQ-2).
    pub icmp_timeout: Nanos,
    /// How long after a SYN from outside to a mapping, whose sender may not send to it, an ICMP error says so, in nanoseconds, unless
    /// the host inside began the same connection; 0 for never. RFC 5382 REQ-4 asks for 6 s at least, RFC 6146 gives the name.
    pub tcp_incoming_syn_timeout: Nanos,
    /// Mappings that hosts behind one port of the switch have at most; 0 for no limit.
    pub mappings_per_port: u32,
}

impl Settings {
    /// How long a mapping of this protocol lives after its last packet, in nanoseconds.
    pub(crate) fn timeout(&self, family: Family, protocol: u8) -> Nanos {
        match (family, protocol) {
            (_, ip_protocol::TCP) => self.tcp_transitory_timeout,
            (Family::V4, ip_protocol::ICMP) | (Family::V6, ip_protocol::ICMPV6) => self.icmp_timeout,
            _ => self.udp_timeout,
        }
    }
}

impl Settings {
    /// Half of the ports of an address: the hosts behind one port of a switch leave others the other half.
    pub const MAPPINGS_PER_PORT: u32 = 32_256;
}

impl Default for Settings {
    fn default() -> Settings {
        const SECOND: Nanos = 1_000_000_000;
        Settings {
            mapping: MappingBehaviour::default(),
            filtering: Filtering::default(),
            port_parity: true,
            ip_local_port_range: None,
            hairpin: true,
            udp_timeout: 300 * SECOND,
            tcp_transitory_timeout: 240 * SECOND,
            icmp_timeout: 60 * SECOND,
            tcp_incoming_syn_timeout: 6 * SECOND,
            mappings_per_port: Settings::MAPPINGS_PER_PORT,
        }
    }
}

/// What the search for a free tuple asks of connection tracking.
trait Flows {
    /// Whether packets with this tuple belong to a flow already, in either direction.
    fn is_taken(&self, tuple: &Tuple) -> bool;
}

/// Why a flow cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Every port or identifier that may be used is taken, as far as was looked.
    Exhausted,
    /// The table of mappings is full, or the hosts behind the port have as many as [`Settings::mappings_per_port`].
    TooMany,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BindError::Exhausted => "no port or identifier is left to translate to",
            BindError::TooMany => "too many mappings",
        })
    }
}

impl core::error::Error for BindError {}
