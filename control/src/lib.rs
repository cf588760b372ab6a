//! Configuration, transactions and the control socket of the vswitch.

pub mod config;
