//! Transmits through one socket, many frames with one system call.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use arrayvec::ArrayVec;
use dataplane::burst::BURST_MAX;
use dataplane::device::{Capabilities, TxQueue, TxReport};
use dataplane::drop_reason::DropReason;
use dataplane::frame::Frame;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use wire::Offload;

use crate::vectored::io_slice;

/// Frames of one call.
const BATCH: usize = BURST_MAX;
/// Pieces of memory of one call: header, head and body of each frame, and more of some.
const PIECES: usize = 4 * BATCH;

/// A transmit queue.
pub(super) struct PacketTx {
    socket: OwnedFd,
    /// A `virtio_net_hdr` stands in front of each frame.
    vnet: bool,
    capabilities: Capabilities,
}

/// Why the kernel did not take a frame (`packet_snd` in `net/packet/af_packet.c`).
fn reason(errno: Errno) -> DropReason {
    match errno {
        // The socket buffer is full; the queueing discipline or the driver is.
        Errno::AGAIN | Errno::NOBUFS => DropReason::TxQueueFull,
        Errno::NETDOWN | Errno::NXIO | Errno::NODEV => DropReason::TxLinkDown,
        _ => DropReason::TxRejected,
    }
}

impl PacketTx {
    pub(super) fn new(socket: OwnedFd, vnet: bool, capabilities: Capabilities) -> PacketTx {
        PacketTx { socket, vnet, capabilities }
    }

    /// Sends as many of `picks` as fit one call, at least one; returns how many are dealt with.
    fn send_batch(&self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) -> usize {
        let header_len = if self.vnet { Offload::LEN } else { 0 };
        let batch = &picks[..picks.len().min(BATCH)];
        let headers: ArrayVec<[u8; Offload::LEN_V1], BATCH> =
            batch.iter().map(|pick| frames[usize::from(*pick)].wire_offload().to_bytes()).collect();

        // All pieces first, then the messages that point at them. `ends` are where the pieces of each frame end.
        let mut pieces: ArrayVec<IoSlice<'_>, PIECES> = ArrayVec::new_const();
        let mut ends: ArrayVec<usize, BATCH> = ArrayVec::new_const();
        for (pick, header) in batch.iter().zip(&headers) {
            let frame = &frames[usize::from(*pick)];
            let start = pieces.len();
            let own = [&header[..header_len], frame.head()];
            let fits = own
                .into_iter()
                .map(IoSlice::new)
                .chain(frame.body().pieces().map(io_slice))
                .filter(|piece| !piece.is_empty())
                .all(|piece| pieces.try_push(piece).is_ok());
            if !fits {
                pieces.truncate(start);
                break;
            }
            ends.push(pieces.len());
        }
        if ends.is_empty() {
            // One frame of more pieces than a call takes. Only a VM could make such a body; no driver does.
            report.dropped(DropReason::TxRejected, 1);
            return 1;
        }

        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH] = std::array::from_fn(|_| SendAncillaryBuffer::default());
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let mut messages: ArrayVec<MMsgHdr<'_>, BATCH> =
            starts.zip(&ends).zip(&mut controls).map(|((start, end), control)| MMsgHdr::new(&pieces[start..*end], control)).collect();

        let (mut packets, mut octets, mut done) = (0, 0, 0);
        while done < messages.len() {
            match sendmmsg(&self.socket, &mut messages[done..], SendFlags::empty()) {
                // At least one: the kernel reports an error only for the first.
                Ok(sent @ 1..) => {
                    packets += sent as u64;
                    octets += batch[done..done + sent].iter().map(|pick| frames[usize::from(*pick)].wire_len() as u64).sum::<u64>();
                    done += sent;
                }
                Err(Errno::INTR) => {}
                Ok(0) | Err(Errno::AGAIN) => {
                    // The socket buffer is full: it would be for the others, of whatever size.
                    report.dropped(DropReason::TxQueueFull, (messages.len() - done) as u64);
                    break;
                }
                Err(errno) => {
                    report.dropped(reason(errno), 1);
                    done += 1;
                }
            }
        }
        report.sent(packets, octets);
        ends.len()
    }
}

impl TxQueue for PacketTx {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        let mut rest = picks;
        while !rest.is_empty() {
            rest = &rest[self.send_batch(frames, rest, report)..];
        }
    }
}
