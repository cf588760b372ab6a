//! The in-memory device (stub): frames come from and go to queues of this process. For `--sim` ports and tests.
use crate::device::{Capabilities, RxQueue, TxQueue, Wake};
use std::sync::Arc;
use wire::{Offload, Tag};

/// A frame as the outside of a memory device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFrame {
    /// Octets.
    pub octets: Vec<u8>,
    /// What is left to do.
    pub offload: Offload,
    /// Tag beside the octets (towards the switch only).
    pub tag: Option<Tag>,
}

/// The outside of a memory device; cheap to clone.
#[derive(Clone)]
pub struct MemoryDevice {}

#[allow(unused_variables)]
impl MemoryDevice {
    /// A device; `queue` is the number of frames that wait in either direction at most. The oldest transmitted frame makes room for
    /// the newest when `lossy`, else a full queue is a full transmit queue.
    pub fn new(queue: usize, lossy: bool, capabilities: Capabilities) -> MemoryDevice {
        MemoryDevice {}
    }
    /// A receive queue of the switch (all queues share the frames).
    pub fn rx_queue(&self) -> Box<dyn RxQueue> {
        unimplemented!()
    }
    /// A transmit queue of the switch (all queues share the frames).
    pub fn tx_queue(&self) -> Box<dyn TxQueue> {
        unimplemented!()
    }
    /// Who is woken by `inject`.
    pub fn set_wake(&self, wake: Option<Arc<dyn Wake>>) {}
    /// Gives the switch a frame; false when the queue is full.
    pub fn inject(&self, frame: MemoryFrame) -> bool {
        false
    }
    /// The oldest frame the switch transmitted.
    pub fn take(&self) -> Option<MemoryFrame> {
        None
    }
}
