//! The switch: frames, tables, the pipeline and the worker loop.
//!
//! Nothing here asks the operating system for anything: devices, clocks and sleeping are traits that `netdev` and
//! `vswitch` fill in, so the whole switch runs under test in memory and under a virtual clock.
//!
//! Start with [`pipeline`]: it shows the way of a frame from top to bottom.

pub mod bond;
pub mod burst;
pub mod clock;
pub mod conntrack;
pub mod counters;
pub mod device;
pub mod drop_reason;
pub mod events;
pub mod fdb;
pub mod frame;
mod hash;
pub mod memory;
pub mod nat;
pub mod offload;
pub mod pipeline;
pub mod punt;
pub mod router;
pub mod rules;
pub mod snapshot;
mod sync;
pub mod synproxy;
pub mod vlan;
pub mod worker;

pub use burst::{BURST_MAX, Burst, BurstMemory};
pub use counters::{Counter, PortCounters};
pub use device::{Capabilities, Poller, RxError, RxQueue, TxQueue, TxReport, Wake};
pub use drop_reason::DropReason;
pub use frame::{Body, Frame, HEAD_MAX, HEADROOM, Piece, Tags};
pub use snapshot::{Port, PortId, PortState, Snapshot, Switch, SwitchId, VlanPolicy};
