//! Putting fragments together before connection tracking (`net/ipv4/ip_fragment.c`, `net/ipv4/inet_fragment.c`,
//! `net/ipv6/netfilter/nf_conntrack_reasm.c`).
//!
//! A worker owns one [`Reassembler`]; all its memory is there from the start. Fragments of one packet must come to the same
//! worker.

use super::RouterId;
use super::packet::Packet;
use crate::clock::Nanos;
use crate::frame::Frame;
use crate::snapshot::PortId;

/// Limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// IPv4: how long fragments wait for the others (Linux `ipfrag_time`).
    pub ipfrag_time: Nanos,
    /// IPv6 (Linux `nf_conntrack_frag6_timeout`).
    pub nf_conntrack_frag6_timeout: Nanos,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { ipfrag_time: 30_000_000_000, nf_conntrack_frag6_timeout: 60_000_000_000 }
    }
}

/// Why fragments were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReassemblyError {
    /// Its octets are all there already.
    Duplicate,
    /// It overlaps others, or contradicts them about the end of the packet: all are dropped (RFC 5722).
    Overlap,
    /// It has no payload, ends inside its header, or not at a multiple of 8 octets, or comes with an unfinished checksum.
    Malformed,
    /// IPv6: the first fragment lacks a part of the upper layer's header (RFC 7112).
    HeaderCut,
    /// The packet would be longer than 65535 octets.
    TooLong,
    /// Too many gaps between the fragments.
    TooManyGaps,
    /// The congestion marks of the fragments contradict each other (RFC 3168 section 5.3).
    Ecn,
}

/// What became of a fragment.
#[derive(Debug)]
pub enum Outcome<'r> {
    /// It waits for the others.
    Held,
    /// It completed the packet.
    Whole(Whole<'r>),
    /// It is dropped, and `others` that waited for it.
    Dropped {
        /// Why.
        error: ReassemblyError,
        /// Fragments that waited and are dropped as well.
        others: u32,
    },
}

/// A packet that was put together.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'r> {
    /// Ethernet header of the first fragment and the packet. Nothing is left to do on it.
    pub octets: &'r [u8],
    /// Fragments it came in.
    pub fragments: u32,
    /// Octets of the longest of them, from the IP header on: what [`super::fragment::Cut::mtu`] must not exceed.
    pub max_fragment_size: u32,
    /// IPv4: the longest of them said "do not fragment"; the fragments that leave say so too.
    pub dont_fragment: bool,
}

/// A packet that will never be whole.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'r> {
    /// Whose.
    pub router: RouterId,
    /// The port they came in by.
    pub port: PortId,
    /// Fragments that waited.
    pub fragments: u32,
    /// The time was up; else memory was short.
    pub timed_out: bool,
    /// The first fragment, from the Ethernet header on, as much as an ICMP error quotes; empty if it did not come.
    pub first: &'r [u8],
}

/// Packets that are being put together. Belongs to one worker.
pub struct Reassembler {
    todo: (),
}

impl Reassembler {
    /// None yet.
    pub fn new() -> Reassembler {
        Reassembler { todo: () }
    }

    /// Takes a fragment that came in by `port`. When memory is short, the port that holds most of it loses its oldest packet,
    /// which `lost` is told of.
    pub fn push(
        &mut self,
        settings: &Settings,
        router: RouterId,
        port: PortId,
        frame: &Frame<'_>,
        packet: &Packet,
        now: Nanos,
        lost: impl FnMut(Lost<'_>),
    ) -> Outcome<'_> {
        unimplemented!()
    }

    /// Gives up packets whose time is over. Cheap when there are none.
    pub fn expire(&mut self, now: Nanos, lost: impl FnMut(Lost<'_>)) {
        
    }
}
