//! Configuration, transactions and the control socket of the vswitch.
//!
//! [`config`] reads and checks configurations, [`compile()`] turns one into what workers run on, [`controller`] owns the
//! running switch and changes it in transactions, [`server`] answers clients on a Unix socket. Devices, workers and the
//! store are traits ([`device`], [`workers`], [`store`]), so everything runs under test without privileges, and time is
//! an argument. All of it lives on one thread, the control thread; nothing here is on the way of a frame.

pub mod bond;
pub mod compile;
pub mod config;
pub mod conntrack;
pub mod controller;
pub mod device;
pub mod flow;
pub mod group;
pub mod iptables;
pub mod neighbour;
pub mod rule_log;
pub mod server;
pub mod store;
pub mod workers;

pub use compile::compile;
pub use controller::Controller;
