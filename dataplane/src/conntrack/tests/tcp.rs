//! TCP against the tables and rules of `nf_conntrack_proto_tcp.c`.

use super::super::tcp::{Outcome, Segment, Tcp};
use super::super::*;
use super::lab::{CLIENT, Lab, SERVER, ipv4, ports, with_checksum};
use Direction::{Original, Reply};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// A segment as it is built up.
#[derive(Clone)]
struct Seg {
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: Vec<u8>,
    data: usize,
}

fn seg(flags: u8, seq: u32, ack: u32) -> Seg {
    Seg { flags, seq, ack, window: 8192, options: Vec::new(), data: 0 }
}

impl Seg {
    fn window(mut self, window: u16) -> Seg {
        self.window = window;
        self
    }

    fn data(mut self, octets: usize) -> Seg {
        self.data = octets;
        self
    }

    fn options(mut self, options: &[u8]) -> Seg {
        assert_eq!(options.len() % 4, 0);
        self.options = options.to_vec();
        self
    }

    fn octets(&self, direction: Direction) -> Vec<u8> {
        let ports = if direction == Original { ports(40_000, 80) } else { ports(80, 40_000) };
        let offset = ((20 + self.options.len()) as u8 / 4) << 4;
        let [w0, w1] = self.window.to_be_bytes();
        let head = [&ports[..], &self.seq.to_be_bytes(), &self.ack.to_be_bytes(), &[offset, self.flags, w0, w1, 0, 0, 0, 0]].concat();
        let segment = [&head[..], &self.options, &vec![0x55; self.data]].concat();
        let (source, destination) = if direction == Original { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        with_checksum(ipv4(6, source, destination, &segment), 16)
    }
}

impl Lab {
    fn tcp(&mut self, direction: Direction, segment: Seg) -> CtState {
        self.state(&segment.octets(direction))
    }

    fn tcp_state(&self) -> TcpState {
        match self.flow().state {
            FlowState::Tcp(state) => state,
            other => panic!("{other:?}"),
        }
    }

    /// Client at 1000, server at 5000, both 8192 wide.
    fn handshake(&mut self) {
        assert_eq!(self.tcp(Original, seg(SYN, 999, 0)), CtState::New);
        assert_eq!(self.tcp(Reply, seg(SYN | ACK, 4999, 1000)), CtState::Established);
        assert_eq!(self.tcp(Original, seg(ACK, 1000, 5000)), CtState::Established);
        assert_eq!(self.tcp_state(), TcpState::Established);
        assert!(self.flow().is_assured());
    }
}

/// The state table in full, as `features.md` 2.8 and the kernel have it: what an in-window segment of each kind does in each state.
#[test]
fn every_transition() {
    use TcpState::*;
    #[rustfmt::skip]
    const TABLE: [(Direction, u8, [&str; 10]); 12] = [
        //                        NO    SS    SR    ES    FW    CW    LA    TW    CL    S2
        (Original, SYN,        ["SS", "SS", "IG", "IG", "IG", "IG", "IG", "SS", "SS", "S2"]),
        (Original, SYN | ACK,  ["IV", "IV", "SR", "IV", "IV", "IV", "IV", "IV", "IV", "SR"]),
        (Original, FIN | ACK,  ["IV", "IV", "FW", "FW", "LA", "LA", "LA", "TW", "CL", "IV"]),
        (Original, ACK,        ["ES", "IV", "ES", "ES", "CW", "CW", "TW", "TW", "CL", "IV"]),
        (Original, RST,        ["IV", "CL", "CL", "CL", "CL", "CL", "CL", "CL", "CL", "CL"]),
        (Original, 0,          ["IV"; 10]),
        (Reply,    SYN,        ["IV", "S2", "IV", "IV", "IV", "IV", "IV", "SS", "IV", "S2"]),
        (Reply,    SYN | ACK,  ["IV", "SR", "IG", "IG", "IG", "IG", "IG", "IG", "IG", "SR"]),
        (Reply,    FIN | ACK,  ["IV", "IV", "FW", "FW", "LA", "LA", "LA", "TW", "CL", "IV"]),
        (Reply,    ACK,        ["IV", "IG", "SR", "ES", "CW", "CW", "TW", "TW", "CL", "IG"]),
        (Reply,    RST,        ["IV", "CL", "CL", "CL", "CL", "CL", "CL", "CL", "CL", "CL"]),
        (Reply,    0,          ["IV"; 10]),
    ];
    let by_name = |name: &str| match name {
        "SS" => SynSent,
        "SR" => SynRecv,
        "ES" => Established,
        "FW" => FinWait,
        "CW" => CloseWait,
        "LA" => LastAck,
        "TW" => TimeWait,
        "CL" => Close,
        "S2" => SynSent2,
        other => panic!("{other}"),
    };
    let settings = Settings::default();
    for (direction, flags, row) in TABLE {
        for (state, expected) in TcpState::ALL.into_iter().zip(row) {
            let name = format!("{direction:?} {flags:#x} in {state:?}");
            let octets = seg(flags, 100, 200).octets(direction);
            let Some(segment) = Segment::parse(&octets[20..], 20) else {
                assert_eq!((flags, expected), (0, "IV"), "{name}");
                continue;
            };
            if state == TcpState::None {
                let begun = Tcp::begin(&segment, &settings).filter(|_| direction == Original);
                assert_eq!(begun.is_some(), expected != "IV", "{name}");
                if let Some(mut tcp) = begun {
                    tcp.packet(&segment, direction, &mut Status::default(), Option::None, &settings);
                    assert_eq!(tcp.state, by_name(expected), "{name}");
                }
                continue;
            }
            let mut tcp = Tcp { state, ..Tcp::default() };
            for seen in &mut tcp.seen {
                (seen.end, seen.maxend, seen.maxwin) = (200, 5000, 5000);
            }
            let mut status = Status::SEEN_REPLY;
            let outcome = tcp.packet(&segment, direction, &mut status, Option::None, &settings);
            match expected {
                "IV" => assert_eq!(outcome, Outcome::Invalid { shorten: false }, "{name}"),
                "IG" => assert_eq!((outcome, tcp.state), (Outcome::Accept(Option::None), state), "{name}"),
                // A SYN to a connection that was not closed in order only leaves a note.
                "SS" if state >= TimeWait => assert_eq!((outcome, tcp.state), (Outcome::Accept(Option::None), state), "{name}"),
                expected => {
                    assert!(matches!(outcome, Outcome::Accept(Some(_))), "{name}: {outcome:?}");
                    assert_eq!(tcp.state, by_name(expected), "{name}");
                }
            }
        }
    }
}

/// Combinations of FIN, SYN, RST, ACK and URG: nine are valid, whatever PSH, ECE and CWR say.
#[test]
fn flags_that_go_together() {
    let valid = [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    for flags in 0..=255u8 {
        let octets = seg(flags, 1, 1).octets(Original);
        let masked = flags & (FIN | SYN | RST | ACK | URG);
        assert_eq!(Segment::parse(&octets[20..], 20).is_some(), valid.contains(&masked), "{flags:#x}");
    }
}

#[test]
fn a_connection_from_beginning_to_end() {
    let mut lab = Lab::new(8);
    assert_eq!(lab.tcp(Original, seg(SYN, 999, 0)), CtState::New);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::SynSent, 120));
    assert!(lab.flow().is_unreplied());
    // SYN sent again does not keep the flow.
    lab.wait(20);
    assert_eq!(lab.tcp(Original, seg(SYN, 999, 0)), CtState::New);
    assert_eq!(lab.flow().timeout, 100);
    assert_eq!(lab.tcp(Reply, seg(SYN | ACK, 4999, 1000)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout, lab.flow().is_assured()), (TcpState::SynRecv, 60, false));
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5000)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout, lab.flow().is_assured()), (TcpState::Established, 432_000, true));
    // Data that is not acknowledged does not live for days.
    assert_eq!(lab.tcp(Original, seg(PSH | ACK, 1000, 5000).data(100)), CtState::Established);
    assert_eq!(lab.flow().timeout, 300);
    assert_eq!(lab.tcp(Reply, seg(ACK, 5000, 1100)), CtState::Established);
    assert_eq!(lab.flow().timeout, 432_000);
    assert_eq!(lab.tcp(Original, seg(FIN | ACK, 1100, 5000)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::FinWait, 120));
    assert_eq!(lab.tcp(Reply, seg(ACK, 5000, 1101)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::CloseWait, 60));
    assert_eq!(lab.tcp(Reply, seg(FIN | ACK, 5000, 1101)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::LastAck, 30));
    assert_eq!(lab.tcp(Original, seg(ACK, 1101, 5001)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::TimeWait, 120));
    let first = lab.flow().id;
    // RFC 1122 section 4.2.2.13: a SYN opens it again, which is another flow.
    assert_eq!(lab.tcp(Original, seg(SYN, 90_000, 0)), CtState::New);
    assert_eq!(lab.tcp_state(), TcpState::SynSent);
    assert_ne!(lab.flow().id, first);
    assert_eq!(lab.stats().insert, 2);
}

#[test]
fn what_begins_no_flow() {
    let mut lab = Lab::new(8);
    for flags in [SYN | ACK, FIN | ACK, RST, RST | ACK, SYN | FIN, 0] {
        assert_eq!(lab.tcp(Original, seg(flags, 1, 1)), CtState::Invalid, "{flags:#x}");
    }
    assert!(lab.flows().is_empty());
    assert_eq!(lab.stats().invalid, 6);
    // What is not confirmed leaves no entry.
    let tracking = lab.track(&seg(SYN, 1, 0).octets(Original));
    assert!(tracking.state == CtState::New && tracking.new_flow().is_some() && lab.flows().is_empty());
}

#[test]
fn a_connection_picked_up_in_the_middle() {
    let mut lab = Lab::new(8);
    assert_eq!(lab.tcp(Original, seg(ACK, 7000, 9000).data(10)), CtState::New);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::Established, 300));
    // Windows may be scaled, so nothing is out of them.
    assert_eq!(lab.tcp(Reply, seg(ACK, 9000, 7010).data(60_000 / 2)), CtState::Established);
    assert_eq!(lab.tcp(Original, seg(ACK, 900_000, 9000)), CtState::Established);
    assert!(lab.flow().is_assured());
    let mut strict = Lab::new(8);
    strict.settings.tcp_loose = false;
    assert_eq!(strict.tcp(Original, seg(ACK, 7000, 9000)), CtState::Invalid);
    assert_eq!(strict.tcp(Original, seg(SYN, 7000, 0)), CtState::New);
}

/// The four bounds of the window, an octet inside and outside of each.
#[test]
fn the_bounds_of_the_window() {
    let established = || {
        let mut lab = Lab::new(8);
        lab.handshake();
        lab
    };
    // I: seq <= maxend = 1000 + 8192. One more, and wider than the window it is invalid.
    assert_eq!(established().tcp(Original, seg(ACK, 9192, 5000)), CtState::Established);
    assert_eq!(established().tcp(Original, seg(ACK, 9193, 5000)), CtState::Established, "a little more is ignored, not invalid");
    assert_eq!(established().tcp(Original, seg(ACK, 9193, 5000).data(8192)), CtState::Invalid);
    assert_eq!(established().tcp(Original, seg(ACK, 17_384, 5000)), CtState::Invalid);
    // II: end >= end - maxwin. What lies below passes, and changes nothing.
    let mut lab = established();
    lab.tcp(Original, seg(ACK, 1000, 5000).data(1000));
    lab.tcp(Reply, seg(ACK, 5000, 2000).data(10));
    lab.wait(100);
    let before = lab.flow();
    assert_eq!(lab.tcp(Original, seg(ACK, 2000u32.wrapping_sub(8193), 5010)), CtState::Established);
    assert_eq!(lab.flow(), before);
    assert_eq!(lab.tcp(Original, seg(ACK, 2000u32.wrapping_sub(8192), 5010)), CtState::Established);
    assert!(lab.flow().timeout > before.timeout);
    // III: ack <= end of the other.
    assert_eq!(established().tcp(Original, seg(ACK, 1000, 5001)), CtState::Invalid);
    // IV: ack >= end of the other - 66000.
    let mut lab = established();
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5000u32.wrapping_sub(66_000))), CtState::Established);
    lab.wait(1);
    let before = lab.flow();
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5000u32.wrapping_sub(66_001))), CtState::Established);
    assert_eq!(lab.flow(), before, "passes, but changes nothing");
    // Liberal: all of them pass.
    let mut lab = established();
    lab.settings.tcp_be_liberal = true;
    assert_eq!(lab.tcp(Original, seg(ACK, 500_000, 5001)), CtState::Established);
}

#[test]
fn windows_are_scaled_only_if_both_ends_say_so() {
    const SCALE_7: [u8; 4] = [1, 3, 3, 7];
    for both in [true, false] {
        let mut lab = Lab::new(8);
        lab.tcp(Original, seg(SYN, 999, 0).options(&SCALE_7));
        let answer = seg(SYN | ACK, 4999, 1000).window(1000);
        lab.tcp(Reply, if both { answer.options(&SCALE_7) } else { answer });
        lab.tcp(Original, seg(ACK, 1000, 5000).window(1000));
        // The server opens a window of 1000 << 7 or 1000.
        lab.tcp(Reply, seg(ACK, 5000, 1000).window(1000));
        let expected = if both { CtState::Established } else { CtState::Invalid };
        assert_eq!(lab.tcp(Original, seg(ACK, 1000 + 100_000, 5000)), expected);
    }
}

#[test]
fn selective_acknowledgments_count() {
    const PERMITTED: [u8; 4] = [1, 1, 4, 2];
    let sack = |right: u32| [&[1, 1, 5, 10][..], &1u32.to_be_bytes(), &right.to_be_bytes()].concat();
    let mut lab = Lab::new(8);
    lab.tcp(Original, seg(SYN, 999, 0).options(&PERMITTED));
    lab.tcp(Reply, seg(SYN | ACK, 4999, 1000).options(&PERMITTED));
    lab.tcp(Original, seg(ACK, 1000, 5000));
    lab.tcp(Reply, seg(ACK, 5000, 1000).data(500));
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5000).options(&sack(5500))), CtState::Established);
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5000).options(&sack(5501))), CtState::Invalid, "acknowledges what was not sent");
}

#[test]
fn resets() {
    let mut lab = Lab::new(8);
    lab.handshake();
    lab.tcp(Reply, seg(ACK, 5000, 1000).data(10));
    lab.tcp(Original, seg(ACK, 1000, 5010));
    // The server must send with exactly 5010, as that was acknowledged.
    assert_eq!(lab.tcp(Reply, seg(RST, 5009, 0)), CtState::Invalid);
    assert_eq!(lab.tcp_state(), TcpState::Established);
    assert_eq!(lab.tcp(Reply, seg(RST, 5011, 0)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::Established, 10), "stays, for a challenge ACK");
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5010)), CtState::Established);
    assert_eq!(lab.flow().timeout, 300, "the RST counts as sent, and is not acknowledged");
    assert_eq!(lab.tcp(Reply, seg(RST, 5010, 0)), CtState::Established);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::Close, 10));
    // Ignored if told so: it does not end the connection, but passes.
    let mut lab = Lab::new(8);
    lab.settings.tcp_ignore_invalid_rst = true;
    lab.handshake();
    assert_eq!(lab.tcp(Reply, seg(RST, 4998, 0)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::Established);
}

#[test]
fn a_reset_as_first_answer_ends_the_flow() {
    let mut lab = Lab::new(8);
    lab.tcp(Original, seg(SYN, 999, 0));
    let tracking = lab.track(&seg(RST | ACK, 0, 1000).octets(Reply));
    assert_eq!((tracking.state, tracking.direction), (CtState::Established, Reply));
    assert_eq!(tracking.original.source_port, 40_000);
    assert!(lab.flows().is_empty());
    assert_eq!(lab.conntrack.count(), 0);
    // One that acknowledges something else does not.
    let mut lab = Lab::new(8);
    lab.tcp(Original, seg(SYN, 999, 0));
    assert_eq!(lab.tcp(Reply, seg(RST | ACK, 0, 1002)), CtState::Invalid);
    assert_eq!(lab.tcp_state(), TcpState::SynSent);
}

#[test]
fn both_ends_open() {
    let mut lab = Lab::new(8);
    lab.tcp(Original, seg(SYN, 999, 0));
    assert_eq!(lab.tcp(Reply, seg(SYN, 4999, 0)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::SynSent2);
    assert_eq!(lab.tcp(Original, seg(SYN | ACK, 999, 5000)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::SynRecv);
    assert_eq!(lab.tcp(Reply, seg(ACK, 5000, 1000)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::Established);
    assert_eq!(lab.tcp(Original, seg(ACK, 1000, 5000)), CtState::Established);
    assert!(lab.flow().is_assured());
}

/// The client lost its state and begins anew: its SYN passes, and the answer tells which of the two was right.
#[test]
fn a_syn_into_an_established_connection() {
    let mut lab = Lab::new(8);
    lab.handshake();
    assert_eq!(lab.tcp(Original, seg(SYN, 70_000, 0)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::Established);
    assert_eq!(lab.tcp(Reply, seg(SYN | ACK, 90_000, 70_001)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::SynRecv, "in step again");
    assert_eq!(lab.tcp(Original, seg(ACK, 70_001, 90_001)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::Established);
    // The server knows of nothing: its RST ends the flow wherever the window is.
    let mut lab = Lab::new(8);
    lab.handshake();
    lab.tcp(Original, seg(SYN, 70_000, 0));
    assert_eq!(lab.tcp(Reply, seg(RST | ACK, 0, 70_001)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::Close);
}

/// RFC 5961 section 4: the challenge ACK that answers a SYN in LAST_ACK is not the last ACK.
#[test]
fn a_challenge_ack_is_not_the_last() {
    let mut lab = Lab::new(8);
    lab.handshake();
    lab.tcp(Original, seg(FIN | ACK, 1000, 5000));
    lab.tcp(Reply, seg(FIN | ACK, 5000, 1001));
    assert_eq!(lab.tcp_state(), TcpState::LastAck);
    assert_eq!(lab.tcp(Original, seg(SYN, 70_000, 0)), CtState::Established);
    assert_eq!(lab.tcp(Reply, seg(ACK, 5001, 1001)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::LastAck);
    assert_eq!(lab.tcp(Original, seg(ACK, 1001, 5001)), CtState::Established);
    assert_eq!(lab.tcp_state(), TcpState::TimeWait);
}

#[test]
fn retransmissions_shorten_the_wait() {
    let mut lab = Lab::new(8);
    lab.handshake();
    lab.tcp(Reply, seg(ACK, 5000, 1000));
    for again in 0..5 {
        lab.tcp(Reply, seg(ACK, 5000, 1000));
        let expected = if again < 2 { 432_000 } else { 300 };
        assert_eq!(lab.flow().timeout, expected, "sent {} times more", again + 1);
    }
    lab.tcp(Reply, seg(ACK, 5000, 1000).window(0));
    assert_eq!(lab.flow().timeout, 300, "a window of 0 waits no longer");
}

/// FIN from both ends, neither in the window: the connection is most likely gone.
#[test]
fn ends_out_of_the_window_shorten_the_wait() {
    let mut lab = Lab::new(8);
    lab.handshake();
    assert_eq!(lab.tcp(Original, seg(FIN | ACK, 800_000, 5000)), CtState::Invalid);
    assert_eq!(lab.flow().timeout, 432_000);
    assert_eq!(lab.tcp(Reply, seg(FIN | ACK, 900_000, 1000)), CtState::Invalid);
    assert_eq!((lab.tcp_state(), lab.flow().timeout), (TcpState::Established, 300));
}

#[test]
fn damaged_segments_are_invalid() {
    let mut lab = Lab::new(8);
    let mut damaged = seg(SYN, 1, 0).data(40).octets(Original);
    damaged[50] ^= 1;
    assert_eq!(lab.state(&damaged), CtState::Invalid);
    // The sender left the checksum to be finished, or whoever delivered it has checked it.
    for flags in [wire::virtio_net::FLAG_NEEDS_CSUM, wire::virtio_net::FLAG_DATA_VALID] {
        lab.offload = wire::Offload { flags, csum_start: 34, csum_offset: 16, ..wire::Offload::NONE };
        assert_eq!(lab.track(&damaged).state, CtState::New);
    }
    lab.offload = wire::Offload::NONE;
    lab.settings.checksum = false;
    assert_eq!(lab.track(&damaged).state, CtState::New);
    lab.settings.checksum = true;
    let mut short = seg(SYN, 1, 0).octets(Original);
    short[32] = 0x40;
    assert_eq!(lab.state(&with_checksum(short.clone(), 16)), CtState::Invalid, "header of 16 octets");
    short[32] = 0x60;
    assert_eq!(lab.state(&with_checksum(short, 16)), CtState::Invalid, "header behind the end");
    // A checksum over octets behind the head.
    let mut long = seg(SYN, 1, 0).data(1000).octets(Original);
    assert_eq!(lab.track(&long).state, CtState::New);
    long[1000] ^= 0x80;
    assert_eq!(lab.track(&long).state, CtState::Invalid);
}

#[test]
fn sequence_numbers_are_adjusted() {
    let mut lab = Lab::new(8);
    lab.handshake();
    let mut tracking = lab.pass(&seg(ACK, 1000, 5000).data(10).octets(Original));
    // A helper made the client's ten octets fourteen on their way to the server.
    let adjusted = lab.conntrack.adjust_sequence(&mut tracking, |both| {
        both[0] = SequenceAdjustment { correction_pos: 1000, offset_before: 0, offset_after: 4 };
    });
    assert!(adjusted && tracking.status.contains(Status::SEQ_ADJUST));
    assert_eq!(lab.conntrack.sequence_adjustments(&tracking).unwrap()[0].offset_after, 4);
    assert_eq!(lab.tcp(Reply, seg(ACK, 5000, 1014)), CtState::Established);
    assert_eq!(lab.flow().timeout, 432_000, "1014 of the server is 1010 of the client: all acknowledged");
    assert_eq!(lab.tcp(Reply, seg(ACK, 5000, 1015)), CtState::Invalid);
}
