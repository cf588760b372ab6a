//! Network address translation (`net/netfilter/nf_nat_core.c`): the first packet of a flow decides, by changing the tuple its
//! answers will have; the others are rewritten by comparing the tuples of the two directions.

use crate::router::address::Address;

/// Which end is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manip {
    /// The source: SNAT, MASQUERADE.
    Source,
    /// The destination: DNAT, REDIRECT.
    Destination,
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
