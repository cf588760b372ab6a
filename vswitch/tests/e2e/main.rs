//! End to end: `vswitchd` and `vswitchctl` as users run them, with real hosts in network namespaces.
//!
//! Every test makes a [`lab::Lab`] of its own, so they may run at the same time. Where the machine lacks privileges or a
//! program, a test says `SKIP` and why.

#![allow(clippy::print_stderr, reason = "tests say what they skip")]

mod bonds;
mod bonds_lacp;
mod commands;
mod daemon;
mod devices;
mod forwarding;
mod iptables;
mod lab;
mod qemu;
mod router_limits;
mod router_offload;
mod router_ports;
mod router_services;
mod routers;
mod vhost_user;
mod vlans;
