//! A flow on its way to the table.

use super::{Address, PortId};

/// How an expected flow is translated (`nf_nat_follow_master`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedNat {
    /// Source address it gets.
    pub source: Address,
    /// Destination address it gets.
    pub destination: Address,
    /// Destination port it gets.
    pub destination_port: u16,
}

/// A flow that is not in the table yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFlow {
    /// The port that answers for it.
    pub ingress: PortId,
    /// A number for whoever translates it, told to [`super::FlowEnd`] at its end; 0 for none.
    pub mapping: u32,
    /// How it is to be translated, as the flow that announced it said.
    pub nat: Option<ExpectedNat>,
}
