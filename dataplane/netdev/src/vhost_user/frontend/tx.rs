//! Transmits as the virtual machine does.

use dataplane::device::{Capabilities, TxQueue, TxReport};
use dataplane::drop_reason::DropReason;
use dataplane::frame::{Frame, Piece};
use wire::{Offload, virtio_net};

use super::ring::{Broken, DriverRing, INDIRECT, NEXT};

/// Octets of the buffer behind each descriptor of a transmitq. A frame that is longer takes several.
pub(super) const BUFFER: usize = 2048;
/// Descriptors of one frame at most: the largest frame and its header.
pub(super) const CHAIN_MAX: usize = (dataplane::burst::FRAME_MAX + Offload::LEN_V1).div_ceil(BUFFER);

/// Where the memory of a transmitq lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct TxMemory {
    /// A buffer of [`BUFFER`] octets for each descriptor.
    pub(super) buffers: usize,
    /// A table of [`CHAIN_MAX`] descriptors for each descriptor, where frames of several buffers are described indirectly.
    pub(super) tables: Option<usize>,
}

/// The driver of one transmitq.
pub(super) struct FrontendTx {
    ring: DriverRing,
    memory: TxMemory,
    /// Descriptors not in use.
    free: Vec<u16>,
    /// Of a chain that the device has: the next descriptor.
    next: Box<[u16]>,
    /// Of the head of a chain that the device has: descriptors in the chain; else 0.
    held: Box<[u8]>,
    capabilities: Capabilities,
    broken: bool,
}

impl FrontendTx {
    pub(super) fn new(ring: DriverRing, memory: TxMemory, capabilities: Capabilities) -> FrontendTx {
        let size = ring.size();
        ring.suppress_interrupts();
        FrontendTx {
            memory,
            free: (0..size).rev().collect(),
            next: vec![0; size.into()].into(),
            held: vec![0; size.into()].into(),
            ring,
            capabilities,
            broken: false,
        }
    }

    /// Takes back the descriptors of what the device is done with.
    fn reclaim(&mut self) -> Result<(), Broken> {
        let pending = self.ring.pending()?;
        for ahead in 0..pending {
            let (head, _) = self.ring.peek(ahead);
            let held = self.held.get_mut(head as usize).ok_or(Broken)?;
            let count = std::mem::take(held);
            if count == 0 {
                return Err(Broken);
            }
            let mut descriptor = head as u16;
            for _ in 0..count {
                self.free.push(descriptor);
                descriptor = self.next[usize::from(descriptor)];
            }
        }
        self.ring.advance(pending);
        self.ring.suppress_interrupts();
        Ok(())
    }

    /// Copies one frame into free buffers and pushes it; `false` when there are not enough.
    #[inline]
    fn send(&mut self, frame: &Frame<'_>) -> bool {
        let mut header = frame.wire_offload().to_bytes();
        // What else a receiver may say of a frame, a sender may not (virtio 1.2 clause 5.1.6.2.1).
        header[0] &= virtio_net::FLAG_NEEDS_CSUM;
        let len = header.len() + frame.wire_len();
        if len > BUFFER {
            return self.send_long(frame, &header, len);
        }
        let Some(descriptor) = self.free.pop() else { return false };
        let mut at = self.memory.buffers + BUFFER * usize::from(descriptor);
        self.ring.describe(descriptor, at, len as u32, 0, 0);
        self.ring.memory.write(at, &header);
        at += header.len();
        self.ring.memory.write(at, frame.head());
        at += frame.head().len();
        for piece in frame.body().pieces() {
            self.ring.memory.write_piece(at, piece);
            at += piece.len();
        }
        self.held[usize::from(descriptor)] = 1;
        self.ring.push(descriptor);
        true
    }

    /// As [`FrontendTx::send`], for a frame of several buffers.
    #[cold]
    fn send_long(&mut self, frame: &Frame<'_>, header: &[u8], len: usize) -> bool {
        let count = len.div_ceil(BUFFER);
        if self.free.len() < count {
            return false;
        }
        let chain = self.free.split_off(self.free.len() - count);
        let head = chain[0];
        let mut left = len;
        for (i, descriptor) in chain.iter().enumerate() {
            let part = left.min(BUFFER);
            left -= part;
            let at = self.memory.buffers + BUFFER * usize::from(*descriptor);
            let follower = chain.get(i + 1);
            let flags = if follower.is_some() { NEXT } else { 0 };
            self.next[usize::from(*descriptor)] = follower.copied().unwrap_or(0);
            match self.memory.tables {
                Some(tables) => {
                    let table = tables + 16 * CHAIN_MAX * usize::from(head);
                    self.ring.describe_at(table + 16 * i, at, part as u32, flags, i as u16 + 1);
                }
                None => self.ring.describe(*descriptor, at, part as u32, flags, follower.copied().unwrap_or(0)),
            }
        }
        if let Some(tables) = self.memory.tables {
            self.ring.describe(head, tables + 16 * CHAIN_MAX * usize::from(head), 16 * count as u32, INDIRECT, 0);
        }
        let mut done = 0;
        for mut piece in [header, frame.head()].map(Piece::Private).into_iter().chain(frame.body().pieces()) {
            while !piece.is_empty() {
                let (part, rest) = piece.split_at(piece.len().min(BUFFER - done % BUFFER));
                let at = self.memory.buffers + BUFFER * usize::from(chain[done / BUFFER]) + done % BUFFER;
                self.ring.memory.write_piece(at, part);
                done += part.len();
                piece = rest;
            }
        }
        self.held[usize::from(head)] = count as u8;
        self.ring.push(head);
        true
    }
}

impl TxQueue for FrontendTx {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        // In large batches: the entries of a cache line are read together.
        if self.free.len() < usize::from(self.ring.size()) / 2 && !self.broken {
            self.broken = self.reclaim().is_err();
        }
        let (mut packets, mut octets, mut full) = (0, 0, 0);
        for pick in picks {
            let frame = &frames[usize::from(*pick)];
            if !self.broken && self.send(frame) {
                packets += 1;
                octets += frame.wire_len() as u64;
            } else {
                full += 1;
            }
        }
        self.ring.publish();
        report.sent(packets, octets);
        if full > 0 {
            report.dropped(if self.broken { DropReason::TxLinkDown } else { DropReason::TxQueueFull }, full);
        }
    }
}
