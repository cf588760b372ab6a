//! The devices of the switch, and what a worker sleeps on.
//!
//! A device is opened from its options ([`TapOptions`], [`PacketOptions`]) into an [`Opened`]: receive queues, one
//! transmit queue per worker, and what the interface is. Opening, watching links and entering namespaces happen on the
//! control thread and may block for a moment; queues never block. Dropping the queues gives everything back: a TAP netdev
//! disappears with its last queue, an AF_PACKET socket leaves promiscuous mode when it is closed.
//!
//! This is the only package with unsafe code, all of it in `sys` (system calls without a safe wrapper), `packet::ring` (memory
//! shared with the kernel), `vhost_user` (memory shared with VMs), the `iovec`s of such memory in `vectored`, and one adopted
//! descriptor in `tap::plain`.
//!
//! - [`tap`]: TAP devices that this process creates; the host or a container has the netdev.
//! - [`packet`]: AF_PACKET sockets on Ethernet interfaces that exist.
//! - [`vhost_user`]: the rings of a VM.
//! - [`link`]: what interfaces there are, and changes of them.
//! - [`netns`]: work in another network namespace.
//! - [`poller`], [`clock`]: what a worker needs from the operating system.
//! - [`mod@stable_mac`]: the MAC address of a netdev we make, the same after each restart.

pub mod clock;
pub mod error;
pub mod link;
mod netlink;
pub mod netns;
pub mod opened;
pub mod packet;
pub mod poller;
pub mod stable_mac;
mod sys;
pub mod tap;
mod vectored;
pub mod vhost_user;

pub use clock::MonotonicClock;
pub use error::Error;
pub use link::{LinkChange, LinkEvent, LinkFacts, LinkWatch};
pub use netns::{Netns, NetnsId};
pub use opened::{InterfaceId, Opened};
pub use packet::PacketOptions;
pub use poller::MioPoller;
pub use stable_mac::stable_mac;
pub use tap::TapOptions;
pub use vhost_user::VhostUserOptions;
