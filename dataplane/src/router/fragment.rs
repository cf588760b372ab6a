//! Cutting a packet that is longer than the MTU into fragments (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! [`Fragments`] is used as [`crate::offload::Segments`] is: made from a frame of one burst, it fills another, batch by batch;
//! the headers are copied, the payload stays borrowed. Packets that are segmented at egress (GSO) are not fragmented.

use super::packet::Packet;
use crate::burst::Burst;
use crate::frame::Frame;

/// Why a packet cannot be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// The MTU has no room for the headers and 8 octets.
    MtuTooSmall,
    /// What is left to do on the frame (checksum, segments) does not allow it, or the headers are not all in the head.
    Offload,
}

/// How to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Octets of each fragment at most; for a packet put together here no more than its longest fragment had.
    pub mtu: u32,
    /// IPv4: fragments say "do not fragment", as those did that the packet came in.
    pub dont_fragment: bool,
    /// IPv6: what tells fragments of this packet from others. IPv4 packets bring theirs.
    pub identification: u32,
}

/// The fragments of a packet that are still to come.
pub struct Fragments<'a> {
    todo: &'a (),
}

impl<'a> Fragments<'a> {
    /// The fragments of `packet` in `frame`. The checksum is finished if that is left to do.
    ///
    /// # Errors
    ///
    /// [`FragmentError`], which see.
    pub fn new(frame: &mut Frame<'a>, packet: &Packet, cut: Cut) -> Result<Fragments<'a>, FragmentError> {
        unimplemented!()
    }

    /// Number of fragments still to come.
    pub fn count(&self) -> usize {
        unimplemented!()
    }

    /// Puts fragments into `burst` until it is full; `true` when more are to come.
    pub fn next_batch<'b>(&mut self, burst: &mut Burst<'b>) -> bool
    where
        'a: 'b,
    {
        unimplemented!()
    }
}
