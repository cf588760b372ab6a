//! What the switch asks of a device: queues to receive from, queues to transmit to, something to sleep on.
//!
//! A device opens into receive queues (each polled by one worker) and one transmit queue per worker. Queues are called
//! once per burst, never per frame. Nothing here blocks.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use wire::{Offload, virtio_net};

use crate::burst::Burst;
use crate::counters::PortCounters;
use crate::drop_reason::DropReason;
use crate::frame::Frame;

/// Where frames come from.
pub trait RxQueue: Send {
    /// Adds frames that wait now, until there is none left or the burst is full. Frames the device lost are reported with
    /// [`Burst::lost`].
    ///
    /// # Errors
    ///
    /// [`RxError`]; frames added before the error are valid and are forwarded.
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError>;

    /// Gives the memory of the last burst back to the device. Called when its frames are no longer needed.
    fn release(&mut self) {}

    /// The worker is about to sleep until [`RxQueue::fd`] becomes readable. A queue that keeps its device from signalling
    /// while the worker is awake asks for signals here; `false` when frames wait already, or cannot be signalled: the
    /// worker does not sleep then. Called for queues that are [cheap to poll](RxQueue::is_cheap_to_poll).
    fn prepare_sleep(&mut self) -> bool {
        true
    }

    /// What becomes readable when frames arrive. `None` for a queue that wakes its worker itself.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether asking for frames is so cheap (no system call) that it may be done on every turn.
    fn is_cheap_to_poll(&self) -> bool {
        false
    }
}

/// Why nothing can be received now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxError {
    /// The link is down; the queue works again when it comes back.
    LinkDown,
    /// The device is gone; only a new queue will work again.
    Gone,
    /// Something else, by `errno`.
    Other(i32),
}

/// Where frames go to.
pub trait TxQueue: Send {
    /// What the device does itself now; it may change from burst to burst.
    fn capabilities(&self) -> Capabilities;

    /// Sends `frames[i]` for each `i` of `picks`, in that order, as [`Frame::head`] and [`Frame::body`] stand now, with
    /// [`Frame::wire_offload`]. Each of them is counted in `report`, as sent or as dropped for one reason; a full queue
    /// drops. The frames need nothing the device lacks.
    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>);
}

/// What a device does with frames that are not finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Finishes checksums.
    pub checksum: bool,
    /// Cuts TCP over IPv4.
    pub tso4: bool,
    /// Cuts TCP over IPv6.
    pub tso6: bool,
    /// Cuts TCP that carries congestion window reduced (RFC 3168).
    pub ecn: bool,
    /// Cuts UDP into datagrams.
    pub uso: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Capabilities = Capabilities { checksum: true, tso4: true, tso6: true, ecn: true, uso: true };
    /// Nothing: each frame must be complete.
    pub const NONE: Capabilities = Capabilities { checksum: false, tso4: false, tso6: false, ecn: false, uso: false };

    /// Whether the device can take a frame with this work left to do.
    #[inline]
    pub fn cover(&self, offload: &Offload) -> bool {
        (self.checksum || !offload.needs_checksum())
            && (self.ecn || offload.gso_type & virtio_net::GSO_ECN == 0)
            && match offload.gso_kind() {
                virtio_net::GSO_NONE => true,
                virtio_net::GSO_TCPV4 => self.tso4,
                virtio_net::GSO_TCPV6 => self.tso6,
                virtio_net::GSO_UDP_L4 => self.uso,
                _ => false,
            }
    }
}

/// Counts what became of frames given to [`TxQueue::transmit`].
pub struct TxReport<'c> {
    counters: &'c PortCounters,
}

impl<'c> TxReport<'c> {
    /// A report into the counters of the port the queue belongs to.
    #[inline]
    pub fn new(counters: &'c PortCounters) -> TxReport<'c> {
        TxReport { counters }
    }

    /// `packets` frames of together `octets` (see [`Frame::wire_len`]) were sent.
    #[inline]
    pub fn sent(&self, packets: u64, octets: u64) {
        self.counters.tx_packets.add(packets);
        self.counters.tx_bytes.add(octets);
    }

    /// `count` frames were not sent.
    #[inline]
    pub fn dropped(&self, reason: DropReason, count: u64) {
        self.counters.drop_many(reason, count);
    }
}

/// What a worker sleeps on.
pub trait Poller: Send {
    /// Watches a descriptor; `token` is reported when it becomes readable.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()>;

    /// Stops watching a descriptor.
    ///
    /// # Errors
    ///
    /// What the operating system says, as for a descriptor that is not watched.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Reports tokens whose descriptor became readable since the last report (edge-triggered), after waiting up to
    /// `timeout` (`None`: until something happens) for one of them or for a [`Wake`].
    ///
    /// # Errors
    ///
    /// What the operating system says; an interrupted wait is no error.
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut dyn FnMut(usize)) -> io::Result<()>;
}

/// Ends the sleep of one worker.
pub trait Wake: Send + Sync {
    /// Makes the current or next [`Poller::poll`] of that worker return.
    fn wake(&self);
}
