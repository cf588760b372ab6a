//! Bonds: link monitoring, choice of the active member, LACP, load balancing, notifications after a failover.
//!
//! [`BondAgent`] is the state of one bond. It is pure: time and everything it learns come in as arguments
//! ([`BondEvent`]), everything it wants done goes out as [`BondAction`], so tests run it under a virtual clock. The
//! control thread owns it for as long as the bond exists and calls [`BondAgent::handle`] with each event and whenever
//! [`BondAgent::next_deadline`] has passed; it is `Send` and needs no lock.
//!
//! Behaviour follows the Linux bonding driver (`drivers/net/bonding` of the kernel), under the names of its options;
//! differences are in `docs/deviations.md`.

mod action;
mod active;
mod agent;
mod arp_monitor;
mod event;
pub(crate) mod frames;
mod lacp;
mod link;
mod member;
mod named;
mod notify;
mod receive_balance;
mod settings;
mod status;
mod transmit_balance;

pub use action::{BondAction, Reading, Transition};
pub use agent::BondAgent;
pub use dataplane::bond::{BondView, MEMBERS_MAX};
pub use event::{BondEvent, HostAddress, LearnedAddress, MemberActivity};
pub use settings::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, BondSettings, FailOverMac, LacpRate, MemberSettings, PrimaryReselect, SettingsProblem,
    TARGETS_MAX, XmitHashPolicy,
};
pub use status::{BondStatus, Churn, LacpStatus, LinkState, MemberLacp, MemberStatus, MuxState, ReceiveState};
