//! The in-memory device: frames come from and go to bounded queues of this process, without privileges. It stands
//! behind `--sim` ports, and the tests use it.
//!
//! [`MemoryDevice`] is the outside, cheap to clone and safe to use from any thread; the queues are the switch's side.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use crossbeam::queue::ArrayQueue;
use wire::{Offload, Tag};

use crate::burst::{BURST_MAX, Burst};
use crate::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport, Wake};
use crate::drop_reason::DropReason;
use crate::frame::Frame;

/// A frame as the outside of a memory device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFrame {
    /// Octets, from the destination address on.
    pub octets: Vec<u8>,
    /// What is left to do.
    pub offload: Offload,
    /// Tag beside the octets, as AF_PACKET delivers it. Only towards the switch; frames from it have all tags in the octets.
    pub tag: Option<Tag>,
}

impl MemoryFrame {
    /// A complete frame.
    pub fn new(octets: impl Into<Vec<u8>>) -> MemoryFrame {
        MemoryFrame { octets: octets.into(), offload: Offload::NONE, tag: None }
    }
}

struct Shared {
    to_switch: ArrayQueue<MemoryFrame>,
    from_switch: ArrayQueue<MemoryFrame>,
    lossy: bool,
    capabilities: Capabilities,
    wake: Mutex<Option<Arc<dyn Wake>>>,
}

/// The outside of a memory device.
#[derive(Clone)]
pub struct MemoryDevice(Arc<Shared>);

impl MemoryDevice {
    /// A device in whose queues `queue` frames can wait in either direction. When the queue from the switch is full,
    /// the newest frame replaces the oldest if `lossy`, else the transmit queue is full.
    ///
    /// # Panics
    ///
    /// If `queue` is 0.
    pub fn new(queue: usize, lossy: bool, capabilities: Capabilities) -> MemoryDevice {
        MemoryDevice(Arc::new(Shared {
            to_switch: ArrayQueue::new(queue),
            from_switch: ArrayQueue::new(queue),
            lossy,
            capabilities,
            wake: Mutex::new(None),
        }))
    }

    /// A receive queue of the switch. All receive queues of a device share its frames.
    pub fn rx_queue(&self) -> Box<dyn RxQueue> {
        Box::new(MemoryRx { device: self.0.clone(), held: Vec::with_capacity(BURST_MAX) })
    }

    /// A transmit queue of the switch. All transmit queues of a device share its frames.
    pub fn tx_queue(&self) -> Box<dyn TxQueue> {
        Box::new(MemoryTx(self.0.clone()))
    }

    /// Who is woken by [`MemoryDevice::inject`].
    pub fn set_wake(&self, wake: Option<Arc<dyn Wake>>) {
        *self.0.wake.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = wake;
    }

    /// Gives the switch a frame; `false` when the queue is full.
    pub fn inject(&self, frame: MemoryFrame) -> bool {
        let taken = self.0.to_switch.push(frame).is_ok();
        if let Some(wake) = &*self.0.wake.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            wake.wake();
        }
        taken
    }

    /// Takes the oldest frame the switch transmitted.
    pub fn take(&self) -> Option<MemoryFrame> {
        self.0.from_switch.pop()
    }
}

struct MemoryRx {
    device: Arc<Shared>,
    held: Vec<MemoryFrame>,
}

impl RxQueue for MemoryRx {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        while self.held.len() < BURST_MAX
            && let Some(frame) = self.device.to_switch.pop()
        {
            self.held.push(frame);
        }
        for frame in &self.held {
            burst.push_borrowed(&frame.octets, frame.offload, frame.tag);
        }
        Ok(())
    }

    fn release(&mut self) {
        self.held.clear();
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}

struct MemoryTx(Arc<Shared>);

impl TxQueue for MemoryTx {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        for pick in picks {
            let frame = &frames[usize::from(*pick)];
            let mut octets = Vec::with_capacity(frame.wire_len());
            octets.extend_from_slice(frame.head());
            octets.extend(frame.body().octets());
            let length = octets.len() as u64;
            let out = MemoryFrame { octets, offload: frame.wire_offload(), tag: None };
            let sent = if self.0.lossy {
                self.0.from_switch.force_push(out);
                true
            } else {
                self.0.from_switch.push(out).is_ok()
            };
            if sent {
                report.sent(1, length);
            } else {
                report.dropped(DropReason::TxQueueFull, 1);
            }
        }
    }
}
