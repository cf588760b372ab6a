//! Which MAC addresses the neighbours of a router have, and the router's answers to those who ask for its own: ARP (RFC 826),
//! neighbour discovery (RFC 4861), duplicate address detection (RFC 4862), proxies and announcements.
//!
//! [`NeighbourAgent`] is a pure state machine, one per router: it is told of frames, of neighbours that packets wait for and of
//! time, and gives frames to send. States and timers of a neighbour are those of Linux (`net/core/neighbour.c`, NUD_*), who
//! may enter one is decided as in `net/ipv4/arp.c` and `net/ipv6/ndisc.c`. Router advertisements and redirects are ignored: the
//! routes of a router come from its configuration.

mod agent;
mod arp;
mod entry;
mod frames;
mod nd;
mod own;
mod settings;
#[cfg(test)]
mod tests;

pub use agent::{Action, Event, Key, NeighbourAgent, NeighbourStatus, Routes};
pub use entry::Nud;
pub use settings::{InterfaceSettings, NeighbourSettings, RouterSettings, TableSettings};
