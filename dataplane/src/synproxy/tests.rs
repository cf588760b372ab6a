//! Handshakes through the proxy, and attempts to get past it.

use super::*;
use crate::conntrack::helper::tests::Segment as Captured;
use crate::router::address::Family;
use etherparse::PacketBuilder;
use etherparse::TcpOptionElement::{self, MaximumSegmentSize, SelectiveAcknowledgementPermitted, Timestamp, WindowScale};
use proptest::prelude::*;
use wire::{Ipv4Header, Offload, virtio_net};

const SECOND: Nanos = 1_000_000_000;
const NOW: Nanos = 1000 * SECOND;
const ALL: Options = Options { mss: Some(1452), wscale: Some(9), sack_perm: true, timestamp: true, ecn: true };
/// The checksum need not be right.
const VALID: Offload = Offload { flags: virtio_net::FLAG_DATA_VALID, ..Offload::NONE };
const SYN: u16 = tcp::SYN;
const ACK: u16 = tcp::ACK;

/// The ends, by version of IP.
fn ends(family: Family) -> [std::net::SocketAddr; 2] {
    let ends = match family {
        Family::V4 => ["192.0.2.7:40000", "203.0.113.200:80"],
        Family::V6 => ["[2001:db8::7]:40000", "[2001:db8:1::200]:80"],
    };
    ends.map(|end| end.parse().unwrap())
}

/// A segment of the client, or of the server.
fn segment(
    family: Family,
    from_client: bool,
    (sequence, acknowledgment): (u32, u32),
    flags: u16,
    window: u16,
    options: &[TcpOptionElement],
) -> Captured {
    let mut ends = ends(family);
    if !from_client {
        ends.reverse();
    }
    let builder = PacketBuilder::ethernet2([2; 6], [2; 6]);
    let builder = match (ends[0].ip(), ends[1].ip()) {
        (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
        (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
        _ => unreachable!(),
    };
    let mut header = etherparse::TcpHeader::new(ends[0].port(), ends[1].port(), sequence, window);
    header.acknowledgment_number = acknowledgment;
    let has = |flag| flags & flag != 0;
    (header.syn, header.ack, header.rst, header.fin) = (has(SYN), has(ACK), has(tcp::RST), has(tcp::FIN));
    (header.ece, header.cwr) = (has(tcp::ECE), has(tcp::CWR));
    header.set_options(options).unwrap();
    let mut octets = Vec::new();
    builder.tcp_header(header).write(&mut octets, &[]).unwrap();
    Captured { octets }
}

/// What a built segment says, after its checksums have been checked by another hand.
fn read(segment: &Segment) -> Seen {
    let ether_type = segment.family.ether_type().to_be_bytes();
    let mut captured = Captured { octets: [&[2; 12], &ether_type[..], segment.octets()].concat() };
    captured.checked_payload();
    captured.with_frame(Offload::NONE, |frame, packet| {
        if packet.family == Family::V4 {
            assert!(packet.dont_fragment && Ipv4Header::new_checked(&frame.head()[14..]).unwrap().verify_checksum());
        }
        let ends = ends(packet.family).map(|end| end.ip().into());
        assert!([packet.source, packet.destination] == ends || [packet.destination, packet.source] == ends);
        assert_eq!(packet.ttl, 64);
        Seen::of(frame, packet).unwrap()
    })
}

/// The proxy with a flow, as the pipeline drives it.
#[derive(Default)]
struct Proxied {
    proxy: SynProxy,
    state: State,
    adjust: SequenceAdjustment,
}

impl Proxied {
    fn target(&self, offer: &Options, mut segment: Captured, now: Nanos) -> Result<Verdict, Refused> {
        segment.with_frame(Offload::NONE, |frame, packet| self.proxy.target(offer, frame, packet, now))
    }

    fn established(&mut self, direction: Direction, segment: &mut Captured, now: Nanos) -> Result<Established, Refused> {
        let Proxied { proxy, state, adjust } = self;
        segment.with_frame(Offload::NONE, |frame, packet| proxy.established(state, adjust, frame, packet, direction, now))
    }

    /// A SYN is answered; returns the answer.
    fn syn(&self, offer: &Options, segment: Captured, now: Nanos) -> Seen {
        match self.target(offer, segment, now) {
            Ok(Verdict::Answer(answer)) => read(&answer),
            other => panic!("{other:?}"),
        }
    }

    /// An ACK is taken; returns the SYN for the server.
    fn ack(&self, offer: &Options, segment: Captured, now: Nanos) -> Result<Seen, Refused> {
        match self.target(offer, segment, now)? {
            Verdict::Open(syn) => Ok(read(&syn)),
            other => panic!("{other:?}"),
        }
    }

    /// The SYN for the server passes, as the first packet of a flow.
    fn pass_syn(&mut self, family: Family, syn: &Seen, now: Nanos) {
        let options: Vec<_> = syn.options.timestamps.map(|(value, echoed)| Timestamp(value, echoed)).into_iter().collect();
        let numbers = (syn.fields.sequence, syn.fields.acknowledgment);
        let mut syn = segment(family, true, numbers, SYN, syn.fields.window, &options);
        assert_eq!(self.established(Direction::Original, &mut syn, now), Ok(Established::Pass));
    }
}

/// A whole handshake with every option, and the first data of both ends.
#[test]
fn handshake() {
    for family in [Family::V4, Family::V6] {
        let mut proxied = Proxied::default();
        let offered = [MaximumSegmentSize(1440), SelectiveAcknowledgementPermitted, Timestamp(5555, 0), WindowScale(7)];
        let syn = segment(family, true, (100, 0), SYN | tcp::ECE | tcp::CWR, 64000, &offered);
        let answer = proxied.syn(&ALL, syn, NOW);
        let cookie = answer.fields.sequence;
        assert_eq!((answer.fields.source_port, answer.fields.destination_port), (80, 40000));
        assert_eq!((answer.fields.acknowledgment, answer.fields.window), (101, 0), "no data before the server answers");
        assert_eq!(answer.fields.flags, SYN | ACK | tcp::ECE);
        let (shown, echoed) = answer.options.timestamps.unwrap();
        assert_eq!(echoed, 5555);
        assert_eq!(shown, 1_000_000 & !0x3f | 0x3f & (7 | 1 << 4 | 1 << 5));
        let ours = TcpOptions { mss: Some(1452), wscale: Some(9), sack_permitted: true, timestamps: Some((shown, 5555)) };
        assert_eq!(answer.options, ours, "the server's options");

        let ack = segment(family, true, (101, cookie.wrapping_add(1)), ACK, 500, &[Timestamp(5560, shown)]);
        let syn = proxied.ack(&ALL, ack, NOW + SECOND).unwrap();
        assert_eq!((syn.fields.source_port, syn.fields.destination_port), (40000, 80));
        assert_eq!((syn.fields.sequence, syn.fields.flags, syn.fields.window), (100, SYN | tcp::ECE | tcp::CWR, 500));
        let theirs = TcpOptions { mss: Some(1440), wscale: Some(7), sack_permitted: true, timestamps: Some((5560, shown)) };
        assert_eq!(syn.options, theirs, "the client's options");
        proxied.pass_syn(family, &syn, NOW + SECOND);

        let options = [MaximumSegmentSize(1452), SelectiveAcknowledgementPermitted, Timestamp(99_000, 5560), WindowScale(9)];
        let mut syn_ack = segment(family, false, (700_000, 101), SYN | ACK, 65_024, &options);
        let opened = proxied.established(Direction::Reply, &mut syn_ack, NOW + SECOND);
        let Ok(Established::Opened { to_server, to_client }) = opened else { panic!("{opened:?}") };
        let to_server = read(&to_server);
        assert_eq!((to_server.fields.source_port, to_server.fields.destination_port), (40000, 80));
        assert_eq!((to_server.fields.sequence, to_server.fields.acknowledgment), (101, cookie.wrapping_add(1)), "as the client counts");
        assert_eq!((to_server.fields.flags, to_server.fields.window), (ACK, 500));
        assert_eq!(to_server.options, TcpOptions { timestamps: Some((5560, shown)), ..TcpOptions::default() });
        let to_client = read(&to_client);
        assert_eq!((to_client.fields.source_port, to_client.fields.destination_port), (80, 40000));
        assert_eq!((to_client.fields.sequence, to_client.fields.acknowledgment), (cookie.wrapping_add(1), 101));
        assert_eq!((to_client.fields.flags, to_client.fields.window), (ACK, 127), "the window, scaled");
        assert_eq!(to_client.options, TcpOptions { timestamps: Some((shown, 5560)), ..TcpOptions::default() });

        // The server's numbers become those the client knows.
        assert_eq!(700_001u32.wrapping_add(proxied.adjust.offset(700_001) as u32), cookie.wrapping_add(1));
        assert_eq!(proxied.adjust.original(cookie.wrapping_add(1)), 700_001);
        let mut data = segment(family, false, (700_001, 101), ACK, 200, &[Timestamp(99_010, 5560)]);
        assert_eq!(proxied.established(Direction::Reply, &mut data, NOW), Ok(Established::Pass));
        let told = data.with_frame(Offload::NONE, |frame, packet| Seen::of(frame, packet).unwrap().options.timestamps);
        assert_eq!(told, Some((shown.wrapping_add(10), 5560)));
        data.checked_payload();
        let mut data = segment(family, true, (101, cookie.wrapping_add(1)), ACK, 200, &[Timestamp(5570, shown.wrapping_add(10))]);
        assert_eq!(proxied.established(Direction::Original, &mut data, NOW), Ok(Established::Pass));
        let told = data.with_frame(Offload::NONE, |frame, packet| Seen::of(frame, packet).unwrap().options.timestamps);
        assert_eq!(told, Some((5570, 99_010)));
        data.checked_payload();
        assert_eq!(proxied.proxy.stats(), Stats { syn_received: 1, cookie_valid: 1, ..Stats::default() });
    }
}

/// Of what the client and the rule can do, only what both can is offered; without timestamps the MSS alone is remembered.
#[test]
fn options_of_both() {
    let proxied = Proxied::default();
    let all = [MaximumSegmentSize(9000), SelectiveAcknowledgementPermitted, Timestamp(1, 0), WindowScale(14)];
    let cases = [
        (Options::default(), &all[..], TcpOptions::default()),
        (ALL, &[], TcpOptions::default()),
        (ALL, &all[1..2], TcpOptions::default()),
        (ALL, &all[..1], TcpOptions { mss: Some(1452), ..TcpOptions::default() }),
        (Options { timestamp: false, ..ALL }, &all, TcpOptions { mss: Some(1452), ..TcpOptions::default() }),
    ];
    for (offer, offered, expected) in cases {
        let answer = proxied.syn(&offer, segment(Family::V4, true, (7, 0), SYN | tcp::ECE | tcp::CWR, 1, offered), NOW);
        assert_eq!((answer.options, answer.fields.flags), (expected, SYN | ACK), "{offer:?} {offered:?}");
        let ack = segment(Family::V4, true, (8, answer.fields.sequence.wrapping_add(1)), ACK, 1, &[]);
        let syn = proxied.ack(&offer, ack, NOW).unwrap();
        let mss = if offered.contains(&all[0]) { 1460 } else { 536 };
        assert_eq!(syn.options, TcpOptions { mss: Some(mss), ..TcpOptions::default() });
    }
}

/// A cookie is good for the minute it was made in and the next one, for its own ends and its own SYN.
#[test]
fn cookies_that_are_refused() {
    let proxied = Proxied::default();
    let cookie = proxied.syn(&ALL, segment(Family::V4, true, (100, 0), SYN, 1, &[]), NOW).fields.sequence;
    let ack = |sequence, cookie: u32| segment(Family::V4, true, (sequence, cookie.wrapping_add(1)), ACK, 1, &[]);
    let minute = 60 * SECOND;
    let next = NOW.next_multiple_of(minute);
    assert!(proxied.ack(&ALL, ack(101, cookie), next + minute - 1).is_ok());
    assert_eq!(proxied.ack(&ALL, ack(101, cookie), next + minute).err(), Some(Refused::Cookie), "too old");
    assert_eq!(proxied.ack(&ALL, ack(101, cookie), NOW - minute).err(), Some(Refused::Cookie), "from the future");
    assert_eq!(
        proxied.ack(&ALL, ack(101, cookie), next + 256 * minute - minute).err(),
        Some(Refused::Cookie),
        "after a turn of the counter"
    );
    assert_eq!(proxied.ack(&ALL, ack(102, cookie), NOW).err(), Some(Refused::Cookie), "another SYN");
    for at in [29, 33, 35, 37] {
        let mut other = ack(101, cookie);
        other.octets[at] ^= 1;
        Ipv4Header::new_checked(&mut other.octets[14..]).unwrap().fill_checksum();
        let result = other.with_frame(VALID, |frame, packet| proxied.proxy.target(&ALL, frame, packet, NOW));
        assert_eq!(result, Err(Refused::Cookie), "another end: octet {at}");
    }
    let stranger = Proxied::default();
    assert_eq!(stranger.ack(&ALL, ack(101, cookie), NOW).err(), Some(Refused::Cookie), "another key");
    assert_eq!(proxied.proxy.stats().cookie_invalid, 8);
}

/// 100,000 guesses hit nothing: the chance for one is 8 in 2^32.
#[test]
fn forged_acknowledgments() {
    let proxied = Proxied::default();
    let mut ack = segment(Family::V4, true, (1, 0), ACK, 1, &[]);
    let hits = ack.with_frame(VALID, |frame, packet| {
        let guesses = (0..100_000u32).map(|i| i.wrapping_mul(2_654_435_761));
        guesses
            .filter(|guess| {
                edit_tcp_header(frame, packet, |header| set_number(header, 8, *guess)).unwrap();
                proxied.proxy.target(&ALL, frame, packet, NOW).is_ok()
            })
            .count()
    });
    assert!(hits <= 2, "{hits}");
    assert_eq!(proxied.proxy.stats().cookie_invalid, 100_000 - hits as u64);
}

#[test]
fn what_is_not_for_the_proxy() {
    let proxied = Proxied::default();
    for flags in [SYN | ACK, tcp::RST, tcp::RST | ACK, tcp::FIN | ACK, SYN | tcp::FIN, 0] {
        assert_eq!(proxied.target(&ALL, segment(Family::V4, true, (1, 1), flags, 1, &[]), NOW), Ok(Verdict::Continue), "{flags:#x}");
    }
    let mut damaged = segment(Family::V4, true, (1, 0), SYN, 1, &[]);
    damaged.octets[48] ^= 1;
    assert_eq!(proxied.target(&ALL, damaged, NOW), Err(Refused::Checksum));
    let mut cut = segment(Family::V4, true, (1, 0), SYN, 1, &[]);
    cut.octets[46] = 0xf0;
    assert_eq!(proxied.target(&ALL, cut, NOW), Err(Refused::Cut));
    assert_eq!(proxied.proxy.stats(), Stats::default());
}

/// Until the server answers, the client's repeated ACK, its data and its probes of the closed window send the SYN again.
#[test]
fn repeated_acknowledgments() {
    let mut proxied = Proxied::default();
    let cookie = proxied.syn(&ALL, segment(Family::V4, true, (100, 0), SYN, 1, &[]), NOW).fields.sequence;
    let numbers = (101, cookie.wrapping_add(1));
    let syn = proxied.ack(&ALL, segment(Family::V4, true, numbers, ACK, 9, &[]), NOW).unwrap();
    proxied.pass_syn(Family::V4, &syn, NOW);
    for sequence in [101, 100] {
        let mut again = segment(Family::V4, true, (sequence, cookie.wrapping_add(1)), ACK, 9, &[]);
        let Ok(Established::Open(again)) = proxied.established(Direction::Original, &mut again, NOW) else { panic!("{sequence}") };
        assert_eq!(read(&again).fields, syn.fields);
    }
    let mut forged = segment(Family::V4, true, (101, 5), ACK, 9, &[]);
    assert_eq!(proxied.established(Direction::Original, &mut forged, NOW), Err(Refused::Cookie));
    assert_eq!(proxied.proxy.stats(), Stats { syn_received: 1, cookie_valid: 3, cookie_retrans: 2, cookie_invalid: 1 });
}

/// A closed port at the server: the client takes the RST, as it has the number it expects.
#[test]
fn a_refusal() {
    let mut proxied = Proxied::default();
    let cookie = proxied.syn(&ALL, segment(Family::V4, true, (100, 0), SYN, 1, &[]), NOW).fields.sequence;
    let syn = proxied.ack(&ALL, segment(Family::V4, true, (101, cookie.wrapping_add(1)), ACK, 9, &[]), NOW).unwrap();
    proxied.pass_syn(Family::V4, &syn, NOW);
    let mut reset = segment(Family::V4, false, (0, 101), tcp::RST | ACK, 0, &[]);
    assert_eq!(proxied.established(Direction::Reply, &mut reset, NOW), Ok(Established::Pass));
    assert_eq!(proxied.adjust.offset(0) as u32, cookie.wrapping_add(1));
}

proptest! {
    /// Whatever the segment, the proxy does not panic, and what it sends is well-formed.
    #[test]
    fn hostile_segments(header in prop::collection::vec(any::<u8>(), 20..60), reply in any::<bool>(), now in any::<u64>()) {
        let mut octets = segment(Family::V4, true, (1, 0), SYN, 1, &[]).octets;
        octets.truncate(34);
        octets.extend(&header);
        Ipv4Header::new_checked(&mut octets[14..]).unwrap().set_total_len(20 + header.len() as u16);
        Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        let mut proxied = Proxied::default();
        let mut segment = Captured { octets };
        let verdict = segment.with_frame(VALID, |frame, packet| proxied.proxy.target(&ALL, frame, packet, now));
        if let Ok(Verdict::Answer(segment) | Verdict::Open(segment)) = &verdict {
            read(segment);
        }
        let direction = if reply { Direction::Reply } else { Direction::Original };
        for _ in 0..2 {
            if let Ok(Established::Opened { to_server, to_client }) = proxied.established(direction, &mut segment, now) {
                read(&to_server);
                read(&to_client);
            }
        }
    }
}
