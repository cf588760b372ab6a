//! What is on the wire: address types, header views over octets, checksums.
//!
//! Everything here is a pure function over bytes or a small `Copy` value; nothing allocates, reads a clock or talks to
//! the operating system. All types are `Send + Sync`.
//!
//! Lengths are octets without the frame check sequence, which neither TAP nor AF_PACKET deliver (see `docs/units.md`).

mod header_error;
mod mac;
mod vlan;

pub mod checksum;
pub mod ethernet;
pub mod ip_protocol;
pub mod ipv4;
pub mod ipv6;
pub mod lacp;
pub mod marker;
pub mod slow_protocols;
pub mod tcp;
pub mod tcp_options;
pub mod udp;
pub mod virtio_net;

pub use header_error::HeaderError;
pub use ipv4::Ipv4Header;
pub use ipv6::Ipv6Header;
pub use lacp::Lacpdu;
pub use mac::{MacAddr, ParseMacError};
pub use marker::Marker;
pub use tcp::TcpHeader;
pub use udp::UdpHeader;
pub use virtio_net::Offload;
pub use vlan::{ParseVlanError, Tag, Tpid, VlanId, VlanSet};
