//! The short way: packets of TCP and UDP that have a [`Path`]. They meet what the packet that left it behind met: the same rules count
//! them, and their flow takes them up, translates them and lives on as on the long way.
//!
//! Whatever is not plain takes the long way, which begins as if nothing had been done: options, fragments, the first and the last
//! segments of a connection, damaged packets, those that are too big or at the end of their life. `tests/established.rs` compares
//! the two. Words are in memory order here, so that no octets are swapped: sums come out the same (RFC 1071 section 2 (B)).

use arrayvec::ArrayVec;
use wire::checksum::{Sum, fold};
use wire::{ethernet, ip_protocol, ipv4, ipv6, tcp, udp};

use super::path::{Asked, Becomes, Changes, Ends, Key, Path, Paths, Way};
use super::{Arrival, Cx, Passage};
use crate::burst::BURST_MAX;
use crate::conntrack::established::{DECISIVE_FLAGS, Known, Taken};
use crate::conntrack::{self, Conntrack, Domain, Segment, Status, Template, Tracking, Tuple};
use crate::frame::Frame;
use crate::offload;
use crate::pipeline::Pipeline;
use crate::router::packet::Upper;
use crate::router::{Address, Family, Interface, InterfaceId, Router, checksum};
use crate::snapshot::PortId;

const L3: usize = ethernet::HEADER_LEN;

/// What became of a packet that may have a path.
#[expect(clippy::large_enum_variant, reason = "the large one is rare, and a box would be an allocation")]
pub(super) enum Short {
    /// It is to enter the switch at this port.
    Goes(PortId),
    /// Its flow has taken it up, and it has to go the long way.
    Long(Tracking),
    /// It has no path; nothing was done.
    None,
}

/// What is the same for the packets of a burst that come to an interface.
#[derive(Clone, Copy)]
pub(super) struct AtInterface<'s> {
    pub(super) router: &'s Router,
    port: PortId,
    /// Its MAC address as the first octets of a frame.
    mac: u64,
    at: conntrack::At<'s>,
    asked: Asked,
}

/// The headers of one version of IP, as far as plain packets have them.
trait Headers: Ends {
    /// Offset of the upper layer.
    const L4: usize;
    /// Addresses and protocol, and the octets from the IP header on, of a packet that is plain in these.
    fn read(head: &[u8]) -> Option<(Self, u8, usize)>;
    /// The pseudo header.
    fn pseudo(&self, protocol: u8, len: u32) -> Sum;
    /// The addresses.
    fn addresses(&self) -> [Address; 2];
    /// Writes the addresses of the path, and takes one off the time to live.
    fn write(head: &mut [u8], path: &Path<Self>);
    /// The addresses of a tuple.
    fn of(tuple: &Tuple) -> Self;
}

#[inline(always)]
fn octets<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    let mut copy = [0; N];
    copy.copy_from_slice(&octets[at..at + N]);
    copy
}

#[inline(always)]
fn word(head: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(octets(head, at))
}

/// The two halves of 32 bits.
#[inline(always)]
const fn halves(words: u64) -> u64 {
    (words & 0xffff_ffff) + (words >> 32)
}

/// IPv4.
impl Headers for u64 {
    const L4: usize = L3 + ipv4::HEADER_LEN_MIN;

    #[inline(always)]
    fn read(head: &[u8]) -> Option<(u64, u8, usize)> {
        let header: &[u8; L3 + ipv4::HEADER_LEN_MIN] = head.first_chunk()?;
        let [a, b, c, _] = octets(header, 12);
        let ends = u64::from_ne_bytes(octets(header, L3 + ipv4::SOURCE.start));
        let first = u64::from(u32::from_ne_bytes(octets(header, L3)));
        let middle = u64::from_ne_bytes(octets(header, L3 + 4));
        // Neither an offset nor others that follow.
        let whole = word(header, L3 + ipv4::FLAGS.start) & 0x3fffu16.to_be() == 0;
        let plain = [a, b, c] == [0x08, 0x00, 0x45] && whole && header[L3 + ipv4::TTL] > 1;
        if !plain || fold(halves(ends) + first + halves(middle)) != 0xffff {
            return None;
        }
        let len = u16::from_be_bytes(octets(header, L3 + ipv4::TOTAL_LEN.start));
        Some((ends, header[L3 + ipv4::PROTOCOL], len.into()))
    }

    #[inline(always)]
    fn pseudo(&self, protocol: u8, len: u32) -> Sum {
        let [source, destination] = [(*self as u32).to_ne_bytes(), ((*self >> 32) as u32).to_ne_bytes()];
        let [source, destination] = if cfg!(target_endian = "little") { [source, destination] } else { [destination, source] };
        wire::checksum::pseudo_ipv4(source.into(), destination.into(), protocol, len as u16)
    }

    #[inline(always)]
    fn write(head: &mut [u8], path: &Path<u64>) {
        let header: &mut [u8; L3 + ipv4::HEADER_LEN_MIN] = head.first_chunk_mut().expect("it was read");
        header[L3 + ipv4::TTL] -= 1;
        header[L3 + ipv4::SOURCE.start..L3 + ipv4::DESTINATION.end].copy_from_slice(&path.becomes.ends.to_ne_bytes());
        let sum = u64::from(path.becomes.changes.header) + u64::from(!word(header, L3 + ipv4::CHECKSUM.start));
        header[L3 + ipv4::CHECKSUM.start..L3 + ipv4::CHECKSUM.end].copy_from_slice(&(!fold(sum)).to_ne_bytes());
    }

    fn addresses(&self) -> [Address; 2] {
        let [a, b, c, d, e, f, g, h] = self.to_ne_bytes();
        [[a, b, c, d], [e, f, g, h]].map(|octets| Address(u32::from_be_bytes(octets).into()))
    }

    fn of(tuple: &Tuple) -> u64 {
        let mut ends = [0; 8];
        ends[..4].copy_from_slice(&tuple.source.to_v4().octets());
        ends[4..].copy_from_slice(&tuple.destination.to_v4().octets());
        u64::from_ne_bytes(ends)
    }
}

/// IPv6.
impl Headers for [u64; 4] {
    const L4: usize = L3 + ipv6::HEADER_LEN;

    #[inline(always)]
    fn read(head: &[u8]) -> Option<([u64; 4], u8, usize)> {
        let header: &[u8; L3 + ipv6::HEADER_LEN] = head.first_chunk()?;
        if header[12..14] != [0x86, 0xdd] || header[L3] >> 4 != 6 || header[L3 + ipv6::HOP_LIMIT] <= 1 {
            return None;
        }
        let ends = core::array::from_fn(|i| u64::from_ne_bytes(octets(header, L3 + ipv6::SOURCE.start + 8 * i)));
        let len = usize::from(u16::from_be_bytes(octets(header, L3 + ipv6::PAYLOAD_LEN.start)));
        Some((ends, header[L3 + ipv6::NEXT_HEADER], ipv6::HEADER_LEN + len))
    }

    #[inline(always)]
    fn pseudo(&self, protocol: u8, len: u32) -> Sum {
        let [source, destination] = [[self[0], self[1]], [self[2], self[3]]].map(|[a, b]| {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&a.to_ne_bytes());
            address[8..].copy_from_slice(&b.to_ne_bytes());
            address
        });
        wire::checksum::pseudo_ipv6(source.into(), destination.into(), protocol, len)
    }

    #[inline(always)]
    fn write(head: &mut [u8], path: &Path<[u64; 4]>) {
        let header: &mut [u8; L3 + ipv6::HEADER_LEN] = head.first_chunk_mut().expect("it was read");
        header[L3 + ipv6::HOP_LIMIT] -= 1;
        for (i, words) in path.becomes.ends.iter().enumerate() {
            let at = L3 + ipv6::SOURCE.start + 8 * i;
            header[at..at + 8].copy_from_slice(&words.to_ne_bytes());
        }
    }

    fn addresses(&self) -> [Address; 2] {
        let address = |a: u64, b: u64| Address(u128::from(u64::from_be(a)) << 64 | u128::from(u64::from_be(b)));
        [address(self[0], self[1]), address(self[2], self[3])]
    }

    fn of(tuple: &Tuple) -> [u64; 4] {
        let [source, destination] = [tuple.source, tuple.destination].map(|address| address.to_v6().octets());
        [(source, 0), (source, 8), (destination, 0), (destination, 8)].map(|(address, at)| u64::from_ne_bytes(octets(&address, at)))
    }
}

impl<'s> AtInterface<'s> {
    /// For packets that came to `interface`, which `port` stands for.
    #[inline]
    pub(super) fn new(pipeline: &Pipeline, cx: &Cx<'_>, router: &'s Router, port: PortId, interface: &Interface) -> AtInterface<'s> {
        let [a, b, c, d, e, f] = interface.mac.0;
        let at = pipeline.conntrack_of(cx, router, false);
        AtInterface { router, port, mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]), at, asked: Asked::now(router, cx.tick) }
    }
}

impl Pipeline {
    /// Sends a packet the short way, if it has one.
    #[inline(always)]
    pub(super) fn go_short(&mut self, here: &AtInterface<'_>, frame: &mut Frame<'_>) -> Short {
        match frame.head().get(12) {
            Some(0x08) => go(&mut self.routing.paths_v4, here, frame),
            Some(0x86) => go(&mut self.routing.paths_v6, here, frame),
            _ => Short::None,
        }
    }

    /// Begins to bring what connection tracking needs for packets into the cache, so that their misses overlap.
    #[inline(never)]
    pub(super) fn touch_flows(&mut self, here: &AtInterface<'_>, arrivals: &[Arrival], frames: &[Frame<'_>]) {
        let mut tuples = Tuples::new_const();
        for arrival in arrivals.iter().take(BURST_MAX) {
            let head = frames[usize::from(arrival.frame)].head();
            match head.get(12) {
                Some(0x08) => touch(&mut self.routing.paths_v4, here, head, &mut tuples),
                Some(0x86) => touch(&mut self.routing.paths_v6, here, head, &mut tuples),
                _ => {}
            }
        }
        here.router.state.connections.touch(&tuples);
    }

    /// Leaves a path for packets like this one, which leaves by the interface `out` for a neighbour that is known.
    #[inline]
    pub(super) fn make_path(&mut self, p: &Passage<'_, '_, '_>, out: InterfaceId, next_hop: Address) {
        if p.in_interface.is_some()
            && let Some(known) = p.tracking.known().filter(|_| p.is_plain())
            && let Some(counted) = p.trace.counted()
        {
            let way = Way { out, next_hop, counted: counted.clone() };
            match p.packet.family {
                Family::V4 => make(&mut self.routing.paths_v4, p, known, way),
                Family::V6 => make(&mut self.routing.paths_v6, p, known, way),
            }
        }
    }
}

/// Tuples of packets without a path.
type Tuples = ArrayVec<Tuple, BURST_MAX>;

#[inline(always)]
fn touch<E: Headers>(paths: &mut Paths<E>, here: &AtInterface<'_>, head: &[u8], tuples: &mut Tuples) {
    let Some((ends, protocol, _)) = E::read(head) else { return };
    let Some(ports) = head.get(E::L4..).and_then(|upper| upper.first_chunk::<4>()) else { return };
    if let Some(path) = paths.find(&Key::new(ends, u32::from_ne_bytes(*ports), protocol, here.port)) {
        return here.router.state.connections.touch_flow(path.known.id);
    }
    let ([source, destination], [a, b, c, d]) = (ends.addresses(), *ports);
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    tuples.push(Tuple {
        source,
        destination,
        source_port,
        destination_port,
        zone: 0,
        domain: Domain::new(here.router.id, E::FAMILY),
        protocol,
    });
}

#[inline(never)]
fn go<E: Headers>(paths: &mut Paths<E>, here: &AtInterface<'_>, frame: &mut Frame<'_>) -> Short {
    let head = frame.head();
    let Some((ends, protocol, len)) = E::read(head) else { return Short::None };
    let is_udp = protocol == ip_protocol::UDP;
    let header_len = if is_udp { udp::HEADER_LEN } else { tcp::HEADER_LEN_MIN };
    let (end, to) = (L3 + len, u64::from_le_bytes(octets(head, 0)) & 0xffff_ffff_ffff);
    if head.len() < E::L4 + header_len || end < E::L4 + header_len || end > frame.len() || to != here.mac {
        return Short::None;
    }
    let upper = &head[E::L4..];
    let key = Key::new(ends, u32::from_ne_bytes(octets(upper, 0)), protocol, here.port);
    let Some(path) = paths.find(&key) else { return Short::None };
    let fits = len <= path.mtu as usize || offload::fits_mtu(frame, path.mtu);
    if !fits || !path.find_neighbour(here.router, here.asked) || !is_right::<E>(frame, &ends, is_udp, end - E::L4, here) {
        return Short::None;
    }
    let connections = &here.router.state.connections;
    let taken = if is_udp {
        take_udp(connections, here, &path.known, len as u32)
    } else {
        take_tcp(connections, here, &path.known, len as u32, upper, (end - E::L4) as u32)
    };
    match taken {
        Taken::Same => {}
        Taken::Otherwise(tracking) => return Short::Long(tracking),
        Taken::No => return Short::None,
    }
    if !path.way.counted.is_empty()
        && let Some(rules) = here.router.rules(E::FAMILY)
    {
        rules.count(&path.way.counted, here.at.worker, len as u32);
    }
    frame.truncate(end);
    pass_on(frame, path, is_udp);
    Short::Goes(path.to)
}

/// Whether lengths and checksum of the upper layer are right, as far as connection tracking asks.
#[inline(always)]
fn is_right<E: Headers>(frame: &Frame<'_>, ends: &E, is_udp: bool, there: usize, here: &AtInterface<'_>) -> bool {
    let upper = &frame.head()[E::L4..];
    let mut with_checksum = here.at.with_checksum();
    if is_udp {
        let len = usize::from(u16::from_be_bytes(octets(upper, udp::LENGTH.start)));
        if len < udp::HEADER_LEN || len > there {
            return false;
        }
        with_checksum &= word(upper, udp::CHECKSUM.start) != 0;
    }
    if !with_checksum || frame.offload().vouches_for_checksum() {
        return true;
    }
    let protocol = if is_udp { ip_protocol::UDP } else { ip_protocol::TCP };
    checksum::is_right_with(ends.pseudo(protocol, there as u32), E::L4, frame, there as u32)
}

#[inline(never)]
fn take_udp(connections: &Conntrack, here: &AtInterface<'_>, known: &Known, octets: u32) -> Taken {
    connections.take_known(&here.at, known, octets, || None)
}

#[inline(never)]
fn take_tcp(connections: &Conntrack, here: &AtInterface<'_>, known: &Known, octets: u32, upper: &[u8], len: u32) -> Taken {
    connections.take_known(&here.at, known, octets, || Segment::parse(upper, len))
}

/// Writes what the path says into the headers.
#[inline(always)]
fn pass_on<E: Headers>(frame: &mut Frame<'_>, path: &Path<E>, is_udp: bool) {
    let field = if is_udp { udp::CHECKSUM.start } else { tcp::CHECKSUM.start };
    let offload = frame.offload();
    let head = frame.head_mut();
    head[..12].copy_from_slice(&path.addresses);
    E::write(head, path);
    if !path.becomes.translated {
        return;
    }
    let upper = &mut head[E::L4..];
    upper[..4].copy_from_slice(&path.becomes.ports.to_ne_bytes());
    let old = word(upper, field);
    let unfinished = offload.needs_checksum() && usize::from(offload.csum_start) == E::L4 && usize::from(offload.csum_offset) == field;
    let new = if unfinished {
        fold(u64::from(path.becomes.changes.pseudo) + u64::from(old))
    } else if old == 0 && is_udp {
        // There is none (RFC 768).
        0
    } else {
        match !fold(u64::from(path.becomes.changes.upper) + u64::from(!old)) {
            0 if is_udp => 0xffff,
            new => new,
        }
    };
    upper[field..field + 2].copy_from_slice(&new.to_ne_bytes());
}

#[inline(never)]
fn make<E: Headers>(paths: &mut Paths<E>, p: &Passage<'_, '_, '_>, known: Known, way: Way) {
    let came = p.tracking.tuple(known.direction);
    // The inverse of the tuple of the other direction is what the packet has become.
    let Some(left) = p.tracking.tuple(known.direction.other()).inverse() else { return };
    let ports = |tuple: &Tuple| {
        let ([a, b], [c, d]) = (tuple.source_port.to_be_bytes(), tuple.destination_port.to_be_bytes());
        u32::from_ne_bytes([a, b, c, d])
    };
    let translated = known.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0));
    let sum = |tuple: &Tuple| {
        let [a, b] = [tuple.source, tuple.destination].map(|address| address.0.to_be_bytes());
        Sum::of(&a).add(&b).memory()
    };
    let pseudo = u32::from(!sum(came)) + u32::from(sum(&left));
    let upper = pseudo + u32::from(!fold(ports(came).into())) + u32::from(fold(ports(&left).into()));
    let ttl = u32::from(u16::from_ne_bytes((!0x0100u16).to_be_bytes()));
    let key = Key::new(E::of(came), ports(came), came.protocol, p.at);
    let becomes = Becomes { ends: E::of(&left), ports: ports(&left), translated, changes: Changes { header: pseudo + ttl, pseudo, upper } };
    paths.make(p.router, key, known, becomes, way);
}

impl Passage<'_, '_, '_> {
    /// Whether it is such a packet as takes the short way.
    fn is_plain(&self) -> bool {
        let packet = &self.packet;
        let Upper::Ports { tcp_flags, .. } = packet.upper else { return false };
        let header_len = usize::from(packet.l4 - packet.l3);
        self.fragments.is_none()
            && !self.by_syn_proxy
            && self.template == Template::default()
            && (packet.protocol != ip_protocol::TCP || tcp_flags & DECISIVE_FLAGS == tcp::ACK as u8)
            && header_len == if packet.family == Family::V4 { ipv4::HEADER_LEN_MIN } else { ipv6::HEADER_LEN }
    }
}
