//! Fragments made by [`super::super::fragment`] and by hand, under a virtual clock.

use super::*;
use crate::burst::{Burst, BurstMemory};
use crate::router::fragment::{Cut, FragmentError, Fragments};
use etherparse::{LaxSlicedPacket, PacketBuilder};
use proptest::prelude::*;
use wire::checksum::Sum;
use wire::{Ipv4Header, Ipv6Header, Offload, virtio_net};

const SECOND: Nanos = 1_000_000_000;
const A6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const B6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

fn udp(family: Family, payload: &[u8], identification: u16) -> Vec<u8> {
    let start = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut octets = Vec::new();
    match family {
        Family::V4 => {
            let builder = start.ipv4([10, 0, 0, 1], [192, 0, 2, 9], 9).udp(1000, 53);
            builder.write(&mut octets, payload).unwrap();
            octets[18..20].copy_from_slice(&identification.to_be_bytes());
            octets[20] = 0;
            Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        }
        Family::V6 => start.ipv6(A6, B6, 9).udp(1000, 53).write(&mut octets, payload).unwrap(),
    }
    octets
}

fn with<R>(octets: &[u8], offload: Offload, then: impl FnOnce(&mut Frame<'_>, &Packet) -> R) -> R {
    let mut memory = BurstMemory::new();
    let mut burst: Burst<'_> = memory.burst();
    burst.push_borrowed(octets, offload, None);
    let frame = &mut burst.frames_mut()[0];
    let family = if octets[14] >> 4 == 4 { Family::V4 } else { Family::V6 };
    let packet = Packet::parse(frame, family).expect("a good packet");
    then(frame, &packet)
}

fn cut_with(octets: &[u8], offload: Offload, cut: Cut) -> Result<Vec<Vec<u8>>, FragmentError> {
    with(octets, offload, |frame, packet| {
        let mut payload = Vec::new();
        let mut fragments = Fragments::new(frame, packet, cut, &mut payload)?;
        let (expected, mut all) = (fragments.count(), Vec::new());
        let mut memory = BurstMemory::new();
        loop {
            let mut batch = memory.burst();
            let more = fragments.next_batch(&mut batch);
            for fragment in batch.frames() {
                assert_eq!(fragment.offload(), Offload::NONE);
                all.push(fragment.head().iter().copied().chain(fragment.body().octets()).collect::<Vec<u8>>());
            }
            if !more {
                break;
            }
        }
        assert_eq!(all.len(), expected);
        Ok(all)
    })
}

fn cut(octets: &[u8], mtu: u32) -> Vec<Vec<u8>> {
    cut_with(octets, Offload::NONE, Cut { mtu, dont_fragment: false, identification: 7 }).unwrap()
}

#[derive(Debug, PartialEq)]
enum Pushed {
    Held,
    Whole { octets: Vec<u8>, fragments: u32, max_fragment_size: u32, dont_fragment: bool },
    Dropped(ReassemblyError, u32),
}

fn push_at(table: &mut Reassembler, port: u16, octets: &[u8], now: Nanos) -> (Pushed, u32) {
    let mut pushed_out = 0;
    let result = with(octets, Offload::NONE, |frame, packet| {
        let outcome = table.push(&Settings::default(), RouterId(0), PortId(port), frame, packet, now, |lost| {
            assert!(!lost.timed_out);
            pushed_out += lost.fragments;
        });
        match outcome {
            Outcome::Held => Pushed::Held,
            Outcome::Whole(whole) => Pushed::Whole {
                octets: whole.octets.to_vec(),
                fragments: whole.fragments,
                max_fragment_size: whole.max_fragment_size,
                dont_fragment: whole.dont_fragment,
            },
            Outcome::Dropped { error, others } => Pushed::Dropped(error, others),
        }
    });
    (result, pushed_out)
}

fn push(table: &mut Reassembler, octets: &[u8]) -> Pushed {
    push_at(table, 1, octets, 0).0
}

fn is_empty(table: &Reassembler) -> bool {
    table.is_empty() && table.free.len() == CHUNKS && table.held.iter().all(|held| *held == 0)
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 256) as u8).collect()
}

/// An IPv4 fragment by hand.
fn fragment(offset: u16, more: bool, octets: &[u8]) -> Vec<u8> {
    let mut frame = [&[2; 12][..], &[8, 0]].concat();
    let [a, b] = (20 + octets.len() as u16).to_be_bytes();
    let [c, d] = ((offset / 8) | (u16::from(more) << 13)).to_be_bytes();
    frame.extend([0x45, 0, a, b, 0, 9, c, d, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(octets);
    Ipv4Header::new_checked(&mut frame[14..]).unwrap().fill_checksum();
    frame
}

#[test]
fn fragments_are_those_of_the_rfc() {
    let whole = udp(Family::V4, &payload(4000), 0x1234);
    let fragments = cut(&whole, 1500);
    assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), [1514, 1514, 1082]);
    for (i, octets) in fragments.iter().enumerate() {
        let sliced = LaxSlicedPacket::from_ethernet(octets).unwrap();
        let Some(etherparse::LaxNetSlice::Ipv4(ip)) = sliced.net else { panic!() };
        let header = ip.header().to_header();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
        assert_eq!((header.identification, header.fragment_offset.value()), (0x1234, i as u16 * 185));
        assert_eq!((header.more_fragments, header.dont_fragment, header.time_to_live), (i < 2, false, 9));
    }
    let fragments = cut(&udp(Family::V6, &payload(4000), 0), 1280);
    // A fragment header of 8 octets does not fit the first head beside all that the source's head has: the payload is moved.
    assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), [62 + 1232, 62 + 1232, 62 + 1232, 62 + 312]);
    let mut offset = 0;
    for (i, octets) in fragments.iter().enumerate() {
        let header = Ipv6Header::new_checked(&octets[14..]).unwrap();
        assert_eq!((usize::from(header.payload_len()), header.next_header()), (octets.len() - 54, ip_protocol::FRAGMENT));
        let found = header.upper_layer().unwrap();
        let place = found.fragment.unwrap();
        assert_eq!((found.protocol, place.offset, place.more, place.identification), (17, offset, i < 3, 7));
        offset += (octets.len() - 62) as u16;
    }
}

#[test]
fn what_cannot_be_cut() {
    let cut = |octets: &[u8], offload, mtu| cut_with(octets, offload, Cut { mtu, dont_fragment: false, identification: 1 });
    let v4 = udp(Family::V4, &payload(100), 1);
    assert_eq!(cut(&v4, Offload::NONE, 27), Err(FragmentError::MtuTooSmall));
    assert_eq!(cut(&v4, Offload::NONE, 28).unwrap().len(), 14);
    let gso = Offload { gso_type: virtio_net::GSO_UDP_L4, gso_size: 50, ..Offload::NONE };
    assert_eq!(cut(&v4, gso, 68), Err(FragmentError::NotPossible));
    let v6 = super::tests::cut(&udp(Family::V6, &payload(3000), 1), 1280);
    assert_eq!(cut(&v6[1], Offload::NONE, 600), Err(FragmentError::NotPossible));
}

#[test]
fn a_fragment_can_be_cut_again() {
    let whole = udp(Family::V4, &payload(4000), 3);
    let fragments: Vec<Vec<u8>> = cut(&whole, 1500).iter().flat_map(|fragment| cut(fragment, 600)).collect();
    let mut table = Reassembler::new();
    let mut last = Pushed::Held;
    for fragment in &fragments {
        assert_eq!(last, Pushed::Held);
        last = push(&mut table, fragment);
    }
    assert_eq!(last, Pushed::Whole { octets: whole, fragments: fragments.len() as u32, max_fragment_size: 596, dont_fragment: false });
}

#[test]
fn only_copied_options_are_in_later_fragments() {
    let mut octets = [&[2; 12][..], &[8, 0]].concat();
    // Record route (not copied), loose source route (copied), no operation, end.
    let options = [7, 7, 4, 0, 0, 0, 0, 0x83, 7, 4, 10, 0, 0, 9, 1, 0];
    let [a, b] = (36u16 + 64).to_be_bytes();
    octets.extend([0x49, 0, a, b, 0, 9, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    octets.extend(options);
    octets.extend([5; 64]);
    Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
    let fragments = cut(&octets, 36 + 32);
    assert_eq!(fragments.len(), 2);
    assert_eq!(fragments[0][34..50], options);
    assert_eq!(fragments[1][34..50], [1, 1, 1, 1, 1, 1, 1, 0x83, 7, 4, 10, 0, 0, 9, 1, 0]);
    assert!(fragments.iter().all(|octets| Ipv4Header::new_checked(&octets[14..]).unwrap().verify_checksum()));
}

#[test]
fn an_unfinished_checksum_is_finished_first() {
    let mut octets = udp(Family::V4, &payload(2000), 3);
    let right = octets.clone();
    let partial = wire::checksum::pseudo_ipv4([10, 0, 0, 1].into(), [192, 0, 2, 9].into(), 17, 2008).fold();
    octets[40..42].copy_from_slice(&partial.to_be_bytes());
    let offload = Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: 34, csum_offset: 6, ..Offload::NONE };
    let fragments = cut_with(&octets, offload, Cut { mtu: 1500, dont_fragment: false, identification: 0 }).unwrap();
    let mut table = Reassembler::new();
    push(&mut table, &fragments[0]);
    assert!(matches!(push(&mut table, &fragments[1]), Pushed::Whole { octets, .. } if octets == right));
    let frame = with(&fragments[0], offload, |frame, packet| {
        let outcome = table.push(&Settings::default(), RouterId(0), PortId(1), frame, packet, 0, |_| {});
        matches!(outcome, Outcome::Dropped { error: ReassemblyError::Malformed, others: 0 })
    });
    assert!(frame, "a fragment cannot have one");
}

#[test]
fn duplicates_are_dropped_and_overlaps_end_the_packet() {
    let mut table = Reassembler::new();
    assert_eq!(push(&mut table, &fragment(0, true, &[1; 64])), Pushed::Held);
    assert_eq!(push(&mut table, &fragment(64, true, &[2; 64])), Pushed::Held);
    // Within one run of what is there, as in Linux.
    assert_eq!(push(&mut table, &fragment(0, true, &[9; 64])), Pushed::Dropped(ReassemblyError::Duplicate, 0));
    assert_eq!(push(&mut table, &fragment(32, true, &[9; 64])), Pushed::Dropped(ReassemblyError::Duplicate, 0));
    let Pushed::Whole { octets, .. } = push(&mut table, &fragment(128, false, &[3; 5])) else { panic!() };
    assert_eq!(octets[34..], [[1; 64].as_slice(), &[2; 64], &[3; 5]].concat(), "the first to come counts");
    assert!(is_empty(&table));

    // One that only says where the end is.
    assert_eq!(push(&mut table, &fragment(64, true, &[2; 64])), Pushed::Held);
    assert_eq!(push(&mut table, &fragment(120, false, &[9; 8])), Pushed::Dropped(ReassemblyError::Duplicate, 0));
    let Pushed::Whole { octets, .. } = push(&mut table, &fragment(0, true, &[1; 64])) else { panic!() };
    assert_eq!(octets[34..], [[1; 64], [2; 64]].concat());
    assert!(is_empty(&table));

    for (name, first, second) in [
        ("teardrop: ends inside", fragment(0, true, &[1; 40]), fragment(24, false, &[2; 20])),
        ("begins inside", fragment(64, true, &[1; 64]), fragment(32, true, &[2; 64])),
        ("around", fragment(64, true, &[1; 64]), fragment(0, true, &[2; 192])),
        ("behind the end", fragment(64, false, &[1; 64]), fragment(128, true, &[2; 64])),
        ("another end", fragment(64, false, &[1; 64]), fragment(256, false, &[2; 64])),
        ("an end in front of others", fragment(128, true, &[1; 64]), fragment(64, false, &[2; 64])),
    ] {
        assert_eq!(push(&mut table, &first), Pushed::Held);
        assert_eq!(push(&mut table, &second), Pushed::Dropped(ReassemblyError::Overlap, 1), "{name}");
        assert!(is_empty(&table));
    }
}

#[test]
fn what_is_malformed() {
    let mut table = Reassembler::new();
    assert_eq!(push(&mut table, &fragment(8, false, &[])), Pushed::Dropped(ReassemblyError::Malformed, 0));
    assert_eq!(push(&mut table, &fragment(0, true, &[1; 7])), Pushed::Dropped(ReassemblyError::Malformed, 0));
    assert_eq!(push(&mut table, &fragment(0, true, &[1; 15])), Pushed::Held, "cut to 8, as in Linux");
    assert_eq!(push(&mut table, &fragment(0xfff8, false, &[1; 8])), Pushed::Dropped(ReassemblyError::TooLong, 1));
    assert!(is_empty(&table));
    let fragments = cut(&udp(Family::V6, &payload(3000), 1), 1280);
    let mut odd = fragments[1].clone();
    odd.pop();
    let odd_len = odd.len() as u16 - 54;
    odd[18..20].copy_from_slice(&odd_len.to_be_bytes());
    assert_eq!(push(&mut table, &odd), Pushed::Dropped(ReassemblyError::Malformed, 0));
    let mut tiny = fragments[0][..62 + 8].to_vec();
    tiny[18..20].copy_from_slice(&16u16.to_be_bytes());
    assert_eq!(push(&mut table, &tiny), Pushed::Held, "a whole UDP header");
    tiny[54] = ip_protocol::TCP;
    assert_eq!(push(&mut table, &tiny), Pushed::Dropped(ReassemblyError::HeaderCut, 1), "RFC 7112");
    assert!(is_empty(&table));
    // The longest packet, in two parts.
    assert_eq!(push(&mut table, &fragment(0, true, &[1; 65_000])), Pushed::Held);
    assert!(matches!(push(&mut table, &fragment(65_000, false, &[1; 515])), Pushed::Whole { octets, .. } if octets.len() == 14 + 65_535));
    push(&mut table, &fragment(0, true, &[1; 65_000]));
    assert_eq!(push(&mut table, &fragment(65_000, false, &[1; 516])), Pushed::Dropped(ReassemblyError::TooLong, 1));
    assert!(is_empty(&table));
}

#[test]
fn gaps_are_bounded() {
    let mut table = Reassembler::new();
    for i in 0..64u16 {
        assert_eq!(push(&mut table, &fragment(16 + i * 16, true, &[0; 8])), Pushed::Held);
    }
    assert_eq!(push(&mut table, &fragment(16 + 64 * 16, true, &[0; 8])), Pushed::Dropped(ReassemblyError::TooManyGaps, 64));
    assert!(is_empty(&table));
}

#[test]
fn congestion_marks() {
    let marked = |first: u8, second: u8| {
        let mut table = Reassembler::new();
        let mark = |mut octets: Vec<u8>, ecn: u8| {
            octets[15] = 0xb8 | ecn;
            Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
            octets
        };
        push(&mut table, &mark(fragment(0, true, &[1; 8]), first));
        match push(&mut table, &mark(fragment(8, false, &[1; 8]), second)) {
            Pushed::Whole { octets, .. } => Some(octets[15] & 3),
            Pushed::Dropped(ReassemblyError::Ecn, 1) => None,
            other => panic!("{other:?}"),
        }
    };
    for (first, second, expected) in [
        (0, 0, Some(0)),
        (1, 1, Some(1)),
        (2, 2, Some(2)),
        (3, 3, Some(3)),
        (2, 3, Some(3)),
        (3, 1, Some(3)),
        (2, 1, Some(2)),
        (0, 3, None),
        (0, 2, None),
    ] {
        assert_eq!(marked(first, second), expected, "{first} {second}");
    }
}

#[test]
fn the_longest_fragment_and_its_flag_are_remembered() {
    let dont = |mut octets: Vec<u8>| {
        octets[20] |= 0x40;
        Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        octets
    };
    for (first, second, expected) in [(true, true, true), (true, false, true), (false, true, false)] {
        let mut table = Reassembler::new();
        let set = |octets, flag| if flag { dont(octets) } else { octets };
        push(&mut table, &set(fragment(0, true, &[1; 1400]), first));
        let Pushed::Whole { octets, max_fragment_size, dont_fragment, .. } =
            push(&mut table, &set(fragment(1400, false, &[1; 100]), second))
        else {
            panic!()
        };
        assert_eq!((max_fragment_size, dont_fragment, octets[20] & 0x40 != 0), (1420, expected, expected));
        let cut = Cut { mtu: max_fragment_size, dont_fragment, identification: 0 };
        let again = cut_with(&octets, Offload::NONE, cut).unwrap();
        assert!(again.len() == 2 && again.iter().all(|octets| (octets[20] & 0x40 != 0) == expected));
    }
}

#[test]
fn time_runs_out_for_the_rest() {
    let mut table = Reassembler::new();
    let v6 = cut(&udp(Family::V6, &payload(3000), 1), 1280);
    let first = fragment(0, true, &payload(1480));
    let mut other = fragment(0, true, &[2; 8]);
    other[19] ^= 1;
    Ipv4Header::new_checked(&mut other[14..]).unwrap().fill_checksum();
    push_at(&mut table, 3, &first, 0);
    push_at(&mut table, 3, &fragment(3000, true, &[1; 8]), 29 * SECOND);
    push_at(&mut table, 4, &other, 5 * SECOND);
    push_at(&mut table, 5, &v6[1], 0);
    let mut lost = |now| {
        let mut list = Vec::new();
        table.expire(now, |lost| {
            assert!(lost.timed_out);
            list.push((lost.port.0, lost.fragments, lost.first.to_vec()));
        });
        list
    };
    assert!(lost(30 * SECOND - 1).is_empty());
    assert_eq!(lost(30 * SECOND), [(3, 2, first.clone())]);
    assert_eq!(lost(59 * SECOND), [(4, 1, other.clone())]);
    assert_eq!(lost(60 * SECOND), [(5, 1, Vec::new())], "the first fragment did not come");
    assert!(is_empty(&table));
    assert_eq!(table.next, Nanos::MAX);
    with(&first, Offload::NONE, |_, packet| assert_eq!(packet.fragment.map(|place| place.offset), Some(0)));
}

#[test]
fn an_atomic_fragment_is_whole_by_itself() {
    let mut table = Reassembler::new();
    let fragments = cut(&udp(Family::V6, &payload(3000), 1), 1280);
    assert_eq!(push(&mut table, &fragments[1]), Pushed::Held);
    let packet = udp(Family::V6, &payload(20), 1);
    let mut atomic = packet[..54].to_vec();
    atomic.extend([17, 0, 0, 0, 0, 0, 0, 7]);
    atomic.extend(&packet[54..]);
    atomic[20] = ip_protocol::FRAGMENT;
    atomic[18..20].copy_from_slice(&(28u16 + 8).to_be_bytes());
    let expected = Pushed::Whole { octets: packet, fragments: 1, max_fragment_size: 76, dont_fragment: false };
    assert_eq!(push(&mut table, &atomic), expected);
    assert!(!table.is_empty(), "the other packet waits on");
}

#[test]
fn a_flood_takes_memory_from_its_own_port_first() {
    let mut table = Reassembler::new();
    // A packet of another port, oldest of all.
    push_at(&mut table, 2, &fragment(0, true, &[7; 1480]), 0);
    let mut pushed_out = 0;
    for i in 0..4000u32 {
        let mut octets = fragment(8 * (i % 1000 * 2) as u16 + 8, true, &[0; 8]);
        octets[14 + 12..14 + 16].copy_from_slice(&(0x0b00_0000 + i).to_be_bytes());
        Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        let (result, out) = push_at(&mut table, 1, &octets, 1 + Nanos::from(i));
        assert_eq!(result, Pushed::Held);
        pushed_out += out;
    }
    assert_eq!((table.queues.len(), pushed_out as usize), (PACKETS_MAX, 4001 - PACKETS_MAX));
    let (last, _) = push_at(&mut table, 2, &fragment(1480, false, &[8; 100]), 5 * SECOND);
    assert!(matches!(last, Pushed::Whole { .. }));
    // Long packets: memory runs out before the table is full.
    for i in 0..200u32 {
        let mut octets = fragment(0, true, &[0; 60_000]);
        octets[14 + 12..14 + 16].copy_from_slice(&(0x0c00_0000 + i).to_be_bytes());
        Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        assert_eq!(push_at(&mut table, 3, &octets, 6 * SECOND).0, Pushed::Held);
    }
    let used = CHUNKS - table.free.len();
    assert_eq!(table.held.iter().map(|held| usize::from(*held)).sum::<usize>(), used);
    table.expire(100 * SECOND, |_| {});
    assert!(is_empty(&table));
}

proptest! {
    /// Cut and put together again is the same, whatever the order, with some of them twice.
    #[test]
    fn fragments_make_the_packet(
        is_v6 in any::<bool>(),
        // Octets of the packet beyond the MTU.
        beyond in 1usize..7000,
        // IPv6 with both options has 64 octets in front of what is cut.
        mtu in 72u32..3000,
        options in 0usize..3,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        twice in any::<prop::sample::Index>(),
    ) {
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let headers = 8 + if is_v6 { 40 + 8 * options } else { 20 };
        let mut whole = udp(family, &payload(mtu as usize - headers + beyond), 77);
        if is_v6 && options > 0 {
            // Hop-by-hop and destination options, which stay in front of every fragment (`ip6_find_1stfragopt`).
            let kinds = [0u8, 60];
            let mut headers = Vec::new();
            for (i, _) in kinds.iter().take(options).enumerate() {
                let next = if i + 1 < options { kinds[i + 1] } else { 17 };
                headers.extend([next, 0, 1, 4, 0, 0, 0, 0]);
            }
            whole[20] = kinds[0];
            whole.splice(54..54, headers);
            let payload_len = (whole.len() - 54) as u16;
            whole[18..20].copy_from_slice(&payload_len.to_be_bytes());
        }
        prop_assert_eq!(whole.len() - 14, mtu as usize + beyond);
        let mut fragments = cut(&whole, mtu);
        prop_assert!(fragments.iter().all(|fragment| fragment.len() <= mtu as usize + 14));
        let longest = fragments.iter().map(|fragment| fragment.len() - 14).max().unwrap();
        for (i, other) in order.iter().enumerate() {
            let count = fragments.len();
            fragments.swap(i % count, other.index(count));
        }
        let mut table = Reassembler::new();
        let mut gaps_hurt = false;
        for (i, fragment) in fragments.iter().enumerate() {
            match push(&mut table, fragment) {
                Pushed::Held => prop_assert!(i + 1 < fragments.len()),
                // More than 64 gaps take a packet of more than 128 fragments in a bad order.
                Pushed::Dropped(ReassemblyError::TooManyGaps, _) => {
                    prop_assert!(fragments.len() > 64);
                    gaps_hurt = true;
                    break;
                }
                Pushed::Dropped(ReassemblyError::HeaderCut, _) => {
                    prop_assert!(is_v6, "options filled the first fragment");
                    gaps_hurt = true;
                    break;
                }
                Pushed::Whole { octets, fragments: count, max_fragment_size, .. } => {
                    prop_assert_eq!(i + 1, fragments.len());
                    prop_assert_eq!(&octets, &whole);
                    prop_assert_eq!((count as usize, max_fragment_size as usize), (fragments.len(), longest));
                }
                other => prop_assert!(false, "{:?}", other),
            }
            if i == twice.index(fragments.len()) && i + 1 < fragments.len() {
                prop_assert_eq!(push(&mut table, fragment), Pushed::Dropped(ReassemblyError::Duplicate, 0));
            }
        }
        prop_assert!(gaps_hurt || is_empty(&table));
    }

    /// Whatever comes, nothing is lost sight of and memory comes back.
    #[test]
    fn hostile_fragments(list in prop::collection::vec((0u16..0x1fff, any::<bool>(), 0usize..3000, 0u8..4, 0u16..4, 0u8..4), 1..120)) {
        let mut table = Reassembler::new();
        let mut waiting = 0i64;
        for (place, more, len, identification, port, ecn) in list {
            let mut octets = fragment(place / 16 * 8, more, &vec![0; len]);
            (octets[19], octets[15]) = (identification, ecn);
            Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
            if place / 16 == 0 && !more {
                continue;
            }
            let (result, pushed_out) = push_at(&mut table, port, &octets, 0);
            waiting -= i64::from(pushed_out);
            match result {
                Pushed::Held => waiting += 1,
                Pushed::Whole { octets, fragments, .. } => {
                    waiting -= i64::from(fragments) - 1;
                    prop_assert_eq!(Sum::of(&octets[14..34]).fold(), 0xffff);
                }
                Pushed::Dropped(_, others) => waiting -= i64::from(others),
            }
            prop_assert_eq!(table.queues.values().map(|queue| i64::from(queue.fragments)).sum::<i64>(), waiting);
        }
        table.expire(30 * SECOND, |lost| waiting -= i64::from(lost.fragments));
        prop_assert_eq!(waiting, 0);
        prop_assert!(is_empty(&table));
    }
}
