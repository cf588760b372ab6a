//! The configuration: read from TOML, checked as a whole, compared, edited, written back.
//!
//! The types are those of [`proto::config`]. Everything here is pure: no files, no sockets, no state. The way of a text is
//! [`text::load`]: TOML to a tree with places ([`text`]), tree to types ([`read`]), then every rule that types cannot
//! express ([`validate()`]). All problems are reported at once, each with its line.

pub mod bond;
pub mod diff;
pub mod edit;
pub mod neigh;
pub mod patch_graph;
pub mod problem;
pub mod read;
pub mod router;
pub mod schema;
pub mod sysctl;
pub mod team;
pub mod text;
pub mod validate;
pub mod vlan;

pub use problem::{Problem, Subject};
pub use text::{load, to_toml};
pub use validate::validate;
