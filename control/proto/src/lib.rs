//! What daemon and command line say to each other.
//!
//! [`config`] is the configuration (its parts about bonds in [`bond`], about routers in [`router`], [`neigh`] and [`iptables`]), the same
//! in files, requests and the stored state. [`api`] has the requests and replies of the Varlink interface `io.vswitch`. Plain
//! data, no I/O but in [`client`].

pub mod api;
pub mod bond;
pub mod bond_status;
pub mod client;
pub mod config;
pub mod conntrack;
pub mod iptables;
pub mod neigh;
pub mod router;
pub mod router_api;
