//! The queues of a TAP: one system call per frame.
//!
//! With `VNET`, a `virtio_net_hdr` stands in front of each frame. All queues of all workers may use the same descriptor at
//! the same time; the kernel takes and gives whole frames.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use dataplane::burst::Burst;
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport};
use dataplane::drop_reason::DropReason;
use dataplane::frame::{Frame, HEAD_MAX, HEADROOM};
use rustix::io::Errno;
use wire::Offload;

use crate::vectored::{ReadError, parts, read_frame};

/// Receives from one queue.
pub(super) struct TapRx<const VNET: bool> {
    fd: Arc<OwnedFd>,
}

impl<const VNET: bool> TapRx<VNET> {
    pub(super) fn new(fd: Arc<OwnedFd>) -> TapRx<VNET> {
        TapRx { fd }
    }
}

impl<const VNET: bool> RxQueue for TapRx<VNET> {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        let fd = self.fd.as_fd();
        while !burst.is_full() {
            match burst.read_with(|head, body| read_frame::<VNET>(fd, head, body)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(ReadError::Cut) => burst.lost(DropReason::RxTruncated, 1),
                // The netdev was deleted (tun_get in drivers/net/tun.c).
                Err(ReadError::Errno(Errno::BADFD | Errno::NODEV)) => return Err(RxError::Gone),
                Err(ReadError::Errno(Errno::IO | Errno::NETDOWN)) => return Err(RxError::LinkDown),
                Err(ReadError::Errno(errno)) => return Err(RxError::Other(errno.raw_os_error())),
            }
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Transmits into one queue.
pub(super) struct TapTx<const VNET: bool> {
    fd: Arc<OwnedFd>,
    capabilities: Capabilities,
}

/// Octets of a frame without body, in one piece: header, tags and head.
const SMALL: usize = Offload::LEN + HEADROOM + HEAD_MAX;

impl<const VNET: bool> TapTx<VNET> {
    pub(super) fn new(fd: Arc<OwnedFd>, capabilities: Capabilities) -> TapTx<VNET> {
        TapTx { fd, capabilities }
    }

    #[inline]
    fn write(&self, frame: &Frame<'_>) -> Result<(), Errno> {
        let header = frame.wire_offload().to_bytes();
        let header = if VNET { &header[..Offload::LEN] } else { &[] };
        if frame.body().is_empty() {
            return self.write_small(header, frame.head());
        }
        let Some(parts) = parts(header, frame) else { return Err(Errno::MSGSIZE) };
        self.write_parts(&parts)
    }

    /// One buffer costs the kernel less than two, by more than copying a head costs.
    #[inline]
    fn write_small(&self, header: &[u8], head: &[u8]) -> Result<(), Errno> {
        let mut octets = [0; SMALL];
        let len = header.len() + head.len();
        octets[..header.len()].copy_from_slice(header);
        octets[header.len()..len].copy_from_slice(head);
        loop {
            match rustix::io::write(&self.fd, &octets[..len]) {
                Err(Errno::INTR) => {}
                result => return result.map(drop),
            }
        }
    }

    #[inline]
    fn write_parts(&self, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
        loop {
            match rustix::io::writev(&self.fd, parts) {
                Err(Errno::INTR) => {}
                result => return result.map(drop),
            }
        }
    }
}

/// Why the kernel did not take a frame (`tun_get_user` in `drivers/net/tun.c`).
#[inline]
fn reason(errno: Errno) -> DropReason {
    match errno {
        Errno::AGAIN | Errno::NOBUFS => DropReason::TxQueueFull,
        // The netdev is down, or was deleted.
        Errno::IO | Errno::NETDOWN | Errno::BADFD => DropReason::TxLinkDown,
        _ => DropReason::TxRejected,
    }
}

impl<const VNET: bool> TxQueue for TapTx<VNET> {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        let (mut packets, mut octets) = (0, 0);
        for pick in picks {
            let frame = &frames[usize::from(*pick)];
            match self.write(frame) {
                Ok(()) => {
                    packets += 1;
                    octets += frame.wire_len() as u64;
                }
                Err(errno) => report.dropped(reason(errno), 1),
            }
        }
        report.sent(packets, octets);
    }
}
