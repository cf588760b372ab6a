//! What is on the wire: address types, header views over octets, checksums.
//!
//! Everything here is a pure function over bytes or a small `Copy` value; nothing allocates, reads a clock or talks to
//! the operating system. All types are `Send + Sync`.
//!
//! Lengths are octets without the frame check sequence, which neither TAP nor AF_PACKET deliver (see `docs/units.md`).

mod mac;
mod vlan;

pub mod ethernet;
pub mod virtio_net;

pub use mac::{MacAddr, ParseMacError};
pub use virtio_net::Offload;
pub use vlan::{ParseVlanError, Tag, Tpid, VlanId, VlanSet};
