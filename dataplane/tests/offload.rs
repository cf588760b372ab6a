//! Properties of software checksums and segmentation over random frames, with etherparse as the judge of every frame.

use dataplane::offload::{Segments, check, finish_checksum, fits_mtu};
use dataplane::{BURST_MAX, Body, BurstMemory, Frame, Piece};
use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use proptest::sample::Index;
use wire::{Offload, virtio_net};

/// A good GSO frame, and what the test knows of it.
#[derive(Clone, Debug)]
struct Gso {
    octets: Vec<u8>,
    offload: Offload,
    /// Where the IP header, the transport header and the payload start.
    network: usize,
    transport: usize,
    payload: usize,
    is_ipv6: bool,
    is_tcp: bool,
}

prop_compose! {
    fn ext_headers()(hop_by_hop in prop::option::of(0u8..4), others in prop::collection::vec((prop::sample::select(vec![43u8, 60]), 0u8..4), 0..3)) -> Vec<(u8, u8)> {
        hop_by_hop.map(|units| (0, units)).into_iter().chain(others).collect()
    }
}

prop_compose! {
    /// Tags, IPv4 with options or IPv6 with extension headers, TCP with options or UDP, and a partial checksum.
    fn gso_frame(tags: core::ops::RangeInclusive<usize>)(
        (is_ipv6, is_tcp, ip_len_open) in any::<(bool, bool, bool)>(),
        tags in tags,
        ip_option_words in prop_oneof![Just(0usize), 0usize..=10],
        ext_headers in ext_headers(),
        tcp_option_words in 0usize..=10,
        random in prop::collection::vec(any::<u8>(), 256),
        payload in prop::collection::vec(any::<u8>(), 0..4000),
        segment_count in 1usize..80,
        flags: u8,
        ecn: bool,
    ) -> Gso {
        let mut random = random.into_iter().cycle();
        let mut more = |n: usize| random.by_ref().take(n).collect::<Vec<u8>>();
        let mut octets = more(12);
        for _ in 0..tags {
            octets.extend([0x81, 0]);
            octets.extend(more(2));
        }
        octets.extend(if is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        let network = octets.len();
        let protocol = if is_tcp { 6 } else { 17 };
        octets.extend(more(if is_ipv6 { 40 } else { 20 + 4 * ip_option_words }));
        if is_ipv6 {
            octets[network] = 0x60;
            let mut next = network + 6;
            for (kind, units) in &ext_headers {
                octets[next] = *kind;
                next = octets.len();
                octets.extend(more(8 + 8 * usize::from(*units)));
                octets[next + 1] = *units;
            }
            octets[next] = protocol;
        } else {
            octets[network] = 0x45 + ip_option_words as u8;
            octets[network + 6..network + 8].copy_from_slice(&[0x40, 0]);
            octets[network + 9] = protocol;
        }
        let transport = octets.len();
        let transport_len = if is_tcp { 20 + 4 * tcp_option_words } else { 8 };
        octets.extend(more(transport_len));
        let payload_at = octets.len();
        let transport_len = (transport_len + payload.len()) as u16;
        let csum_offset = if is_tcp {
            octets[transport + 12] = (5 + tcp_option_words as u8) << 4;
            octets[transport + 13] = flags;
            16
        } else {
            octets[transport + 4..transport + 6].copy_from_slice(&transport_len.to_be_bytes());
            6
        };
        let addresses = if is_ipv6 { network + 8..network + 40 } else { network + 12..network + 20 };
        let pseudo = Sum16BitWords::new().add_slice(&octets[addresses]).add_2bytes([0, protocol]).add_2bytes(transport_len.to_be_bytes());
        let partial = !u16::from_be(pseudo.ones_complement());
        octets[transport + csum_offset..transport + csum_offset + 2].copy_from_slice(&partial.to_be_bytes());
        octets.extend(&payload);
        let ip_len = (octets.len() - network) as u16;
        let (field, ip_len) = if is_ipv6 { (network + 4, ip_len - 40) } else { (network + 2, ip_len) };
        octets[field..field + 2].copy_from_slice(&if ip_len_open { 0 } else { ip_len }.to_be_bytes());
        let kind = match (is_tcp, is_ipv6) {
            (false, _) => virtio_net::GSO_UDP_L4,
            (true, false) => virtio_net::GSO_TCPV4,
            (true, true) => virtio_net::GSO_TCPV6,
        };
        let offload = Offload {
            flags: virtio_net::FLAG_NEEDS_CSUM,
            gso_type: if is_tcp && ecn { kind | virtio_net::GSO_ECN } else { kind },
            hdr_len: payload_at as u16,
            gso_size: payload.len().div_ceil(segment_count).max(1) as u16,
            csum_start: transport as u16,
            csum_offset: csum_offset as u16,
        };
        Gso { octets, offload, network, transport, payload: payload_at, is_ipv6, is_tcp }
    }
}

fn whole(frame: &Frame<'_>) -> Vec<u8> {
    frame.head().iter().copied().chain(frame.body().octets()).collect()
}

/// All segments of a frame, taken in batches as a worker does.
fn segments_of(frame: &Frame<'_>) -> Option<Vec<Vec<u8>>> {
    let mut memory = BurstMemory::new();
    let mut segments = Segments::new(frame).ok()?;
    let count = segments.count();
    let mut all = Vec::new();
    loop {
        let mut batch = memory.burst();
        let more = segments.next_batch(&mut batch);
        assert!(batch.frames().iter().all(|f| f.offload() == Offload::NONE && f.tags().is_empty()));
        assert!(batch.len() == BURST_MAX || !more, "batches are filled");
        all.extend(batch.frames().iter().map(whole));
        assert_eq!(segments.count(), count - all.len());
        if !more {
            return Some(all);
        }
    }
}

/// Whether lengths and checksums of a frame are right, in the eyes of etherparse. Returns its payload.
fn verified(octets: &[u8]) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(octets).unwrap();
    let (v4, v6) = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
            (Some((ip.header().source(), ip.header().destination())), None)
        }
        NetSlice::Ipv6(ip) => (None, Some((ip.header().source(), ip.header().destination()))),
        net => panic!("{net:?}"),
    };
    let (checksum, expected, payload) = match packet.transport.unwrap() {
        TransportSlice::Tcp(tcp) => {
            let expected = match (v4, v6) {
                (Some((a, b)), _) => tcp.calc_checksum_ipv4(a, b).unwrap(),
                (_, Some((a, b))) => tcp.calc_checksum_ipv6(a, b).unwrap(),
                _ => unreachable!(),
            };
            (tcp.checksum(), expected, tcp.payload().to_vec())
        }
        TransportSlice::Udp(udp) => {
            let (header, payload) = (udp.to_header(), udp.payload());
            assert_eq!(usize::from(udp.length()), 8 + payload.len());
            let expected = match (v4, v6) {
                (Some((a, b)), _) => header.calc_checksum_ipv4_raw(a, b, payload).unwrap(),
                (_, Some((a, b))) => header.calc_checksum_ipv6_raw(a, b, payload).unwrap(),
                _ => unreachable!(),
            };
            (udp.checksum(), expected, payload.to_vec())
        }
        transport => panic!("{transport:?}"),
    };
    assert_eq!(checksum, expected);
    payload
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn long(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(octets[at..at + 4].try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Segments are good frames, carry the payload in order, and differ from the source where they must and only there.
    #[test]
    fn segments_carry_the_source(gso in gso_frame(0..=2)) {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(&gso.octets, gso.offload, None);
        let frame = &burst.frames()[0];
        prop_assert_eq!(check(frame), Ok(false));
        let segments = segments_of(frame).unwrap();
        let gso_size = usize::from(gso.offload.gso_size);
        let source_payload = &gso.octets[gso.payload..];
        prop_assert_eq!(segments.len(), source_payload.len().div_ceil(gso_size).max(1));

        let mut payload = Vec::new();
        for (i, segment) in segments.iter().enumerate() {
            let (first, last) = (i == 0, i == segments.len() - 1);
            let part = verified(segment);
            prop_assert!(part.len() == gso_size || last && part.len() <= gso_size);
            prop_assert_eq!(&segment[gso.payload..], &part[..]);

            // What must differ, by field; then everything else is compared.
            let mut expected = gso.octets[..gso.payload].to_vec();
            let mut differs = |at: usize, len: usize| expected[at..at + len].copy_from_slice(&segment[at..at + len]);
            if gso.is_ipv6 {
                prop_assert_eq!(usize::from(word(segment, gso.network + 4)), segment.len() - gso.network - 40);
                differs(gso.network + 4, 2);
            } else {
                prop_assert_eq!(usize::from(word(segment, gso.network + 2)), segment.len() - gso.network);
                prop_assert_eq!(word(segment, gso.network + 4), word(&gso.octets, gso.network + 4).wrapping_add(i as u16));
                differs(gso.network + 2, 4);
                differs(gso.network + 10, 2);
            }
            if gso.is_tcp {
                prop_assert_eq!(long(segment, gso.transport + 4), long(&gso.octets, gso.transport + 4).wrapping_add(payload.len() as u32));
                let (flags, source) = (segment[gso.transport + 13], gso.octets[gso.transport + 13]);
                prop_assert_eq!(flags, source & if last { 0xff } else { 0xf6 } & if first { 0xff } else { 0x7f });
                differs(gso.transport + 4, 4);
                differs(gso.transport + 13, 1);
                differs(gso.transport + 16, 2);
            } else {
                differs(gso.transport + 4, 4);
            }
            prop_assert_eq!(&segment[..gso.payload], &expected[..]);
            payload.extend(part);
        }
        prop_assert_eq!(&payload[..], source_payload);
    }

    /// The MTU that GSO frames are judged by is exactly what their largest segment needs.
    #[test]
    fn mtu_agrees_with_the_segments(gso in gso_frame(0..=2)) {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(&gso.octets, gso.offload, None);
        let frame = &burst.frames()[0];
        let segments = segments_of(frame).unwrap();
        let needed = segments.iter().map(Vec::len).max().unwrap() - gso.network;
        prop_assert!(fits_mtu(frame, needed as u32));
        if segments.len() > 1 {
            prop_assert!(!fits_mtu(frame, needed as u32 - 1));
        }
    }

    /// A frame that is not to be cut has its checksum finished wherever its octets lie.
    #[test]
    fn checksums_are_finished(mut gso in gso_frame(0..=2)) {
        // Lengths and the header checksum are the sender's work here.
        let ip_len = gso.octets.len() - gso.network;
        if gso.is_ipv6 {
            gso.octets[gso.network + 4..gso.network + 6].copy_from_slice(&((ip_len - 40) as u16).to_be_bytes());
        } else {
            gso.octets[gso.network + 2..gso.network + 4].copy_from_slice(&(ip_len as u16).to_be_bytes());
            wire::Ipv4Header::new_checked(&mut gso.octets[gso.network..]).unwrap().fill_checksum();
        }
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        let offload = Offload { gso_type: virtio_net::GSO_NONE, gso_size: 0, hdr_len: 0, ..gso.offload };
        burst.push_borrowed(&gso.octets, offload, None);
        let frame = &mut burst.frames_mut()[0];
        prop_assert_eq!(check(frame), Ok(false));
        finish_checksum(frame);
        prop_assert_eq!(frame.offload(), Offload::NONE);
        prop_assert_eq!(&verified(&whole(frame))[..], &gso.octets[gso.payload..]);
    }

    /// Popping the outer tag first gives the same segments without that tag.
    #[test]
    fn a_popped_tag_changes_nothing_else(gso in gso_frame(1..=2)) {
        let (mut memory, mut other_memory) = (BurstMemory::new(), BurstMemory::new());
        let (mut burst, mut other) = (memory.burst(), other_memory.burst());
        burst.push_borrowed(&gso.octets, gso.offload, None);
        other.push_borrowed(&gso.octets, gso.offload, None);
        let popped = &mut burst.frames_mut()[0];
        prop_assert_eq!(popped.pop_tag(), Ok(true));
        prop_assert_eq!(check(popped), Ok(false));
        let tags = *popped.tags();
        popped.set_wire_tags(&tags);
        let mut expected = segments_of(&other.frames()[0]).unwrap();
        for segment in &mut expected {
            segment.drain(12..16);
        }
        prop_assert_eq!(segments_of(popped).unwrap(), expected);
    }
}

/// Everything the pipeline may do with a frame of which nothing is known. Panics are what this looks for; beyond that, a
/// segment is never longer than the source and all of them carry as much payload.
fn survive(octets: &[u8], offload: Offload, pop: bool, mtu: u32) {
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    burst.push_borrowed(octets, offload, None);
    let frame = &mut burst.frames_mut()[0];
    if octets.len() < 14 || pop && frame.pop_tag().is_err() {
        return; // dropped before anything here
    }
    let good = check(frame).is_ok();
    fits_mtu(frame, mtu);
    if let Some(segments) = segments_of(frame) {
        assert!(segments.iter().all(|s| s.len() <= frame.len()));
    }
    if good {
        finish_checksum(frame);
        assert!(!frame.offload().needs_checksum());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Frames that end anywhere in their headers or shortly behind, with the virtio_net_hdr of the whole.
    #[test]
    fn no_cut_panics(gso in gso_frame(0..=2)) {
        for len in 0..gso.octets.len().min(gso.payload + 40) {
            survive(&gso.octets[..len], gso.offload, len % 2 == 0, 40);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_octet_panics(mut gso in gso_frame(0..=2), edits in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4), pop: bool, mtu in 0u32..9000) {
        let headers = gso.payload;
        for (at, value) in edits {
            gso.octets[at.index(headers)] = value;
        }
        survive(&gso.octets, gso.offload, pop, mtu);
    }

    #[test]
    fn no_offload_panics(gso in gso_frame(0..=2), header: [u8; Offload::LEN], edited in 0usize..Offload::LEN, pop: bool) {
        survive(&gso.octets, Offload::from_bytes(&header), pop, 1500);
        let mut octets = [0; Offload::LEN];
        octets.copy_from_slice(&gso.offload.to_bytes()[..Offload::LEN]);
        octets[edited] = header[edited];
        survive(&gso.octets, Offload::from_bytes(&octets), pop, 1500);
    }

    #[test]
    fn nothing_random_panics(octets in prop::collection::vec(any::<u8>(), 0..600), header: [u8; Offload::LEN], pop: bool) {
        survive(&octets, Offload::from_bytes(&header), pop, 100);
    }
}

/// The payload of segments lies where the source device has it: nothing behind the head is copied.
#[test]
fn bodies_are_borrowed() {
    let mut octets = vec![0u8; 14 + 20 + 8 + 3000];
    octets[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
    octets[16..18].copy_from_slice(&3028u16.to_be_bytes());
    octets[23] = 17;
    octets[38..40].copy_from_slice(&3008u16.to_be_bytes());
    let offload = Offload { flags: 1, gso_type: virtio_net::GSO_UDP_L4, hdr_len: 42, gso_size: 1000, csum_start: 34, csum_offset: 6 };
    let (mut memory, mut segment_memory) = (BurstMemory::new(), BurstMemory::new());
    let mut burst = memory.burst();
    burst.push_borrowed(&octets, offload, None);
    let mut segments = Segments::new(&burst.frames()[0]).unwrap();
    let mut batch = segment_memory.burst();
    assert!(!segments.next_batch(&mut batch));
    let bodies: Vec<Body<'_>> = batch.frames().iter().map(|f| f.body()).collect();
    assert_eq!(bodies.iter().map(Body::len).collect::<Vec<_>>(), [1000 - 214, 1000, 1000]);
    let source = octets.as_ptr_range();
    for piece in bodies.iter().flat_map(Body::pieces) {
        assert!(matches!(piece, Piece::Private(octets) if source.contains(&octets.as_ptr())));
    }
}
