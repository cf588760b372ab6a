//! Benchmarks: the end-to-end harness behind `vswitch-bench`, and the workloads of `vswitch-instructions`.
//!
//! The harness runs *scenarios* ([`scenario`]) against *systems* ([`system`]): every round of a scenario builds its topology
//! anew in network namespaces ([`lab`]), measures one system, and tears down, whatever happens. Systems take turns (A B C
//! A B C ...), so that what the machine does meanwhile hits all of them, and what counts are the ratios within a round
//! ([`stats`]). [`report`] holds and prints the results.
//!
//! A new system is a variant of [`system::System`] and a way to start it; a new scenario is a module under [`scenario`] and a
//! line in [`scenario::Scenario`]. Nothing else knows them by name.
//!
//! Figures are honest or absent: a scenario that fails in one round, or whose generator turns out to be the limit, is
//! reported as failed with the reason, and no figure of it is printed.

pub mod bare_loop;
pub mod comparison;
pub mod cores;
pub mod cpu_time;
pub mod generator;
pub mod instructions;
pub mod interrupt;
pub mod lab;
pub mod machine;
pub mod memory;
pub mod plot;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod stats;
pub mod system;
pub mod testbed;
pub mod topology;
pub mod workload;
