//! Putting fragments together before connection tracking (`net/ipv4/ip_fragment.c`, `net/ipv4/inet_fragment.c`,
//! `net/ipv6/netfilter/nf_conntrack_reasm.c`).
//!
//! A worker owns one [`Reassembler`]. Its memory is there from the start, 4 MiB in [`CHUNKS`] of 2 KiB: octets of a fragment are
//! copied to their place in the packet at once, so a packet costs what it has octets, not what it has fragments. Fragments of
//! one packet must come to the same worker; they do, as long as one receive queue gets them all.

use std::collections::HashMap;

use arrayvec::ArrayVec;
use wire::{ethernet, ip_protocol, ipv4, ipv6};

use super::RouterId;
use super::address::{Address, Family};
use super::packet::{Fragment, Packet, Upper};
use crate::burst::FRAME_MAX;
use crate::clock::Nanos;
use crate::frame::{Frame, HEAD_MAX};
use crate::snapshot::{PORTS_MAX, PortId};

mod queue;
#[cfg(test)]
mod tests;

use queue::Queue;

/// Pieces of memory for the octets of packets.
pub const CHUNKS: usize = 2048;
const CHUNK_LEN: usize = 2048;
/// Packets that are put together at the same time at most.
pub const PACKETS_MAX: usize = 1024;
/// Octets of an IP packet at most, and of what is behind its header.
const PACKET_MAX: usize = 65_535;

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
    /// There is no memory, and none that the port could give up.
    NoMemory,
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
    /// The port the first of them came in by.
    pub port: PortId,
    /// Fragments that waited.
    pub fragments: u32,
    /// The time was up; else memory was short.
    pub timed_out: bool,
    /// The first fragment, from the Ethernet header on; empty if it did not come.
    pub first: &'r [u8],
}

/// What tells the fragments of one packet from others (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    router: RouterId,
    family: Family,
    source: Address,
    destination: Address,
    /// IPv4 only.
    protocol: u8,
    identification: u32,
    /// IPv6 link-local addresses mean another link at each interface; the port stands for it.
    port: Option<PortId>,
}

/// Packets that are being put together. Belongs to one worker.
pub struct Reassembler {
    queues: HashMap<Key, Queue>,
    memory: Box<[u8]>,
    free: Vec<u16>,
    /// Pieces of memory held by packets of each port.
    held: Box<[u16]>,
    /// The packet that became whole last, or the first fragment of one that is lost.
    whole: Box<[u8]>,
    /// No packet's time is over before.
    next: Nanos,
}

impl Reassembler {
    /// None yet.
    pub fn new() -> Reassembler {
        Reassembler {
            // Twice the entries: a table that is never more than half full makes room for others without growing.
            queues: HashMap::with_capacity(2 * PACKETS_MAX),
            memory: vec![0; CHUNKS * CHUNK_LEN].into(),
            free: (0..CHUNKS as u16).rev().collect(),
            held: vec![0; PORTS_MAX].into(),
            whole: vec![0; FRAME_MAX].into(),
            next: Nanos::MAX,
        }
    }

    /// Whether no fragment waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Takes a fragment that came in by `port`. When memory is short, the port that holds most of it loses its oldest packet,
    /// which `lost` is told of.
    ///
    /// # Panics
    ///
    /// If `port` is not below [`PORTS_MAX`].
    #[expect(clippy::too_many_arguments, reason = "the place and time of a fragment, each needed once")]
    pub fn push(
        &mut self,
        settings: &Settings,
        router: RouterId,
        port: PortId,
        frame: &Frame<'_>,
        packet: &Packet,
        now: Nanos,
        mut lost: impl FnMut(Lost<'_>),
    ) -> Outcome<'_> {
        let malformed = Outcome::Dropped { error: ReassemblyError::Malformed, others: 0 };
        let Some(place) = packet.fragment else { return malformed };
        if frame.offload().needs_checksum() || frame.offload().is_gso() {
            return malformed;
        }
        let scoped = packet.family == Family::V6 && packet.source.is_link_local(Family::V6);
        let key = Key {
            router,
            family: packet.family,
            source: packet.source,
            destination: packet.destination,
            protocol: if packet.family == Family::V4 { packet.protocol } else { 0 },
            identification: place.identification,
            port: scoped.then_some(port),
        };
        let atomic = place.offset == 0 && !place.more;
        if atomic {
            // RFC 6946: it is whole, whatever else has its identification.
            let mut queue = Queue::new(port, now);
            let taken = self.take(&mut queue, frame, packet, place, &mut lost);
            return self.finish(queue, taken, packet.family);
        }
        let mut queue = match self.queues.remove(&key) {
            Some(queue) => queue,
            None => {
                if self.queues.len() == PACKETS_MAX && !self.evict(&mut lost) {
                    return Outcome::Dropped { error: ReassemblyError::NoMemory, others: 0 };
                }
                let time = if packet.family == Family::V4 { settings.ipfrag_time } else { settings.nf_conntrack_frag6_timeout };
                Queue::new(port, now + time)
            }
        };
        let taken = self.take(&mut queue, frame, packet, place, &mut lost);
        match taken {
            Ok(()) if !queue.is_complete() => {
                self.next = self.next.min(queue.deadline);
                self.queues.insert(key, queue);
                Outcome::Held
            }
            Err(error @ (ReassemblyError::Duplicate | ReassemblyError::NoMemory)) if queue.fragments > 0 => {
                self.queues.insert(key, queue);
                Outcome::Dropped { error, others: 0 }
            }
            taken => self.finish(queue, taken, packet.family),
        }
    }

    /// Enters a fragment into its queue, which is not in the table now.
    fn take(
        &mut self,
        queue: &mut Queue,
        frame: &Frame<'_>,
        packet: &Packet,
        place: Fragment,
        lost: &mut impl FnMut(Lost<'_>),
    ) -> Result<(), ReassemblyError> {
        let octets = frame.head();
        let l3 = usize::from(packet.l3);
        // Of an IPv6 packet the part that is cut begins behind the fragment header, perhaps with more headers.
        let l4 = match packet.family {
            Family::V4 => packet.l4.into(),
            Family::V6 => fragment_header(octets).ok_or(ReassemblyError::Malformed)?.header + FRAGMENT_HEADER_LEN,
        };
        let size = packet.len as usize;
        let mut len = size.saturating_sub(l4 - l3);
        let start = usize::from(place.offset);
        let ecn = packet.traffic_class & 3;
        match packet.family {
            // The kernel cuts such a fragment where the next must begin.
            Family::V4 if place.more => len &= !7,
            Family::V6 if place.more && len % 8 != 0 => return Err(ReassemblyError::Malformed),
            Family::V6 if start == 0 && packet.upper == Upper::Cut => return Err(ReassemblyError::HeaderCut),
            _ => {}
        }
        let end = start + len;
        if len == 0 {
            return Err(ReassemblyError::Malformed);
        }
        if end > PACKET_MAX {
            return Err(ReassemblyError::TooLong);
        }
        if l4 > octets.len() || l4 + len > octets.len() + frame.body().len() {
            return Err(ReassemblyError::Malformed);
        }
        queue.check(start as u16, end as u16, place.more)?;
        for index in start / CHUNK_LEN..end.div_ceil(CHUNK_LEN) {
            if queue.chunks[index] == Queue::NO_CHUNK {
                if self.free.is_empty() && !self.evict(lost) {
                    return Err(ReassemblyError::NoMemory);
                }
                queue.chunks[index] = self.free.pop().ok_or(ReassemblyError::NoMemory)?;
                self.held[queue.port.index()] += 1;
            }
        }
        queue.enter(start as u16, end as u16, place.more)?;
        let in_head = (octets.len() - l4).min(len);
        self.write(queue, start, in_head, |at, into| into.copy_from_slice(&octets[l4 + at..l4 + at + into.len()]));
        let body = frame.body();
        self.write(queue, start + in_head, len - in_head, |at, into| body.part(at, into.len()).copy_to(into));
        if start == 0 {
            queue.first_len = len as u16;
            queue.header.clear();
            // A parsed packet's headers lie in the head, which is no longer than this.
            let _ = queue.header.try_extend_from_slice(&octets[..l4]);
        }
        queue.fragments += 1;
        queue.ecn |= 1 << ecn;
        queue.max_size = queue.max_size.max(size as u32);
        if packet.dont_fragment {
            queue.max_df_size = queue.max_df_size.max(size as u32);
        }
        Ok(())
    }

    /// Lets `copy` fill the chunks of a queue from `start` on; it is told how many octets were filled before.
    fn write(&mut self, queue: &Queue, start: usize, len: usize, copy: impl Fn(usize, &mut [u8])) {
        let mut done = 0;
        while done < len {
            let (chunk, within) = (queue.chunks[(start + done) / CHUNK_LEN], (start + done) % CHUNK_LEN);
            let now = (CHUNK_LEN - within).min(len - done);
            let at = usize::from(chunk) * CHUNK_LEN + within;
            copy(done, &mut self.memory[at..at + now]);
            done += now;
        }
    }

    /// Copies the first `len` octets of a queue behind its headers.
    fn assemble(&mut self, queue: &Queue, len: usize) -> usize {
        let header_len = queue.header.len();
        self.whole[..header_len].copy_from_slice(&queue.header);
        for (index, into) in self.whole[header_len..header_len + len].chunks_mut(CHUNK_LEN).enumerate() {
            let at = usize::from(queue.chunks[index]) * CHUNK_LEN;
            into.copy_from_slice(&self.memory[at..at + into.len()]);
        }
        header_len + len
    }

    fn give_back(&mut self, queue: &Queue) {
        let before = self.free.len();
        self.free.extend(queue.chunks.iter().filter(|chunk| **chunk != Queue::NO_CHUNK));
        self.held[queue.port.index()] -= (self.free.len() - before) as u16;
    }

    /// Makes a packet of a complete queue, or says why it is dropped; its memory is free afterwards.
    fn finish(&mut self, queue: Queue, taken: Result<(), ReassemblyError>, family: Family) -> Outcome<'_> {
        let made = taken.and_then(|()| self.make_whole(&queue, family));
        self.give_back(&queue);
        match made {
            Ok(len) => Outcome::Whole(Whole {
                octets: &self.whole[..len],
                fragments: queue.fragments,
                max_fragment_size: queue.max_size,
                dont_fragment: family == Family::V4 && queue.max_df_size == queue.max_size,
            }),
            Err(error) => {
                // The last one was entered unless it is what is wrong.
                let others = queue.fragments - u32::from(taken.is_ok());
                Outcome::Dropped { error, others }
            }
        }
    }

    fn make_whole(&mut self, queue: &Queue, family: Family) -> Result<usize, ReassemblyError> {
        let ecn = queue.ecn_of_all().ok_or(ReassemblyError::Ecn)?;
        let l3 = ethernet::HEADER_LEN;
        let (payload, header_len) = (usize::from(queue.end), queue.header.len());
        match family {
            Family::V4 => {
                let total = header_len - l3 + payload;
                if total > PACKET_MAX {
                    return Err(ReassemblyError::TooLong);
                }
                let len = self.assemble(queue, payload);
                let header = &mut self.whole[l3..header_len];
                header[ipv4::TOTAL_LEN].copy_from_slice(&(total as u16).to_be_bytes());
                header[ipv4::TRAFFIC_CLASS] |= ecn;
                let dont_fragment = queue.max_df_size == queue.max_size;
                header[ipv4::FLAGS].copy_from_slice(&[u8::from(dont_fragment) << 6, 0]);
                header[ipv4::CHECKSUM].fill(0);
                let sum = wire::checksum::Sum::of(header).checksum();
                header[ipv4::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
                Ok(len)
            }
            Family::V6 => {
                let at = fragment_header(&queue.header).ok_or(ReassemblyError::Malformed)?;
                let total = header_len - l3 - ipv6::HEADER_LEN - FRAGMENT_HEADER_LEN + payload;
                // Longer than any frame could be, though RFC 8200 allows 40 octets more.
                if ipv6::HEADER_LEN + total > PACKET_MAX {
                    return Err(ReassemblyError::TooLong);
                }
                let len = self.assemble(queue, payload);
                let next_header = self.whole[at.header];
                self.whole[at.named_by] = next_header;
                self.whole.copy_within(at.header + FRAGMENT_HEADER_LEN..len, at.header);
                self.whole[l3..][ipv6::PAYLOAD_LEN].copy_from_slice(&(total as u16).to_be_bytes());
                self.whole[l3 + 1] |= ecn << 4;
                Ok(len - FRAGMENT_HEADER_LEN)
            }
        }
    }

    /// Gives up the oldest packet of the port that holds most memory. `false` when there is no packet at all.
    #[cold]
    fn evict(&mut self, lost: &mut impl FnMut(Lost<'_>)) -> bool {
        // Of the fullest port the packet whose time is over first.
        let rank = |queue: &Queue| (self.held[queue.port.index()], queue.port, core::cmp::Reverse(queue.deadline));
        let Some(key) = self.queues.iter().max_by_key(|(_, queue)| rank(queue)).map(|(key, _)| *key) else { return false };
        self.lose(&key, false, lost);
        true
    }

    fn lose(&mut self, key: &Key, timed_out: bool, lost: &mut impl FnMut(Lost<'_>)) {
        let Some(queue) = self.queues.remove(key) else { return };
        let mut first = 0;
        if queue.first_len > 0 {
            first = self.assemble(&queue, queue.first_len.into());
        }
        self.give_back(&queue);
        lost(Lost { router: key.router, port: queue.port, fragments: queue.fragments, timed_out, first: &self.whole[..first] });
    }

    /// Gives up packets whose time is over. Cheap when there are none.
    pub fn expire(&mut self, now: Nanos, mut lost: impl FnMut(Lost<'_>)) {
        if now < self.next {
            return;
        }
        // A few at a time, in the order of the table, until none is left: no list of them is needed.
        let mut over: ArrayVec<Key, 64> = ArrayVec::new();
        loop {
            over.extend(self.queues.iter().filter(|(_, queue)| queue.deadline <= now).map(|(key, _)| *key).take(over.capacity()));
            if over.is_empty() {
                break;
            }
            over.drain(..).for_each(|key| self.lose(&key, true, &mut lost));
        }
        self.next = self.queues.values().map(|queue| queue.deadline).min().unwrap_or(Nanos::MAX);
    }
}

impl Default for Reassembler {
    fn default() -> Reassembler {
        Reassembler::new()
    }
}

const FRAGMENT_HEADER_LEN: usize = 8;

/// Where the fragment header is in the headers of a frame, and the octet that names it.
struct FragmentHeader {
    header: usize,
    named_by: usize,
}

fn fragment_header(headers: &[u8]) -> Option<FragmentHeader> {
    let l3 = ethernet::HEADER_LEN;
    let (mut header, mut named_by) = (l3 + ipv6::HEADER_LEN, l3 + ipv6::NEXT_HEADER);
    while *headers.get(named_by)? != ip_protocol::FRAGMENT {
        named_by = header;
        header += (usize::from(*headers.get(header + 1)?) + 1) * 8;
    }
    Some(FragmentHeader { header, named_by })
}

const _: () = assert!(CHUNKS < Queue::NO_CHUNK as usize && HEAD_MAX < FRAME_MAX);
