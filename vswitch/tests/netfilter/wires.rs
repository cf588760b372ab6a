//! The two links of a router under test: TAP interfaces in its namespace, whose other ends the test holds.
//!
//! What a packet led to is complete when the markers sent behind it have come out on both sides: one that is forwarded, and one
//! that is sent back where it came from. Every queue on the way keeps the order, so nothing has to wait for time to pass. A router
//! that takes packets in bursts, and sends what it makes itself behind what it forwards of a burst, gets the markers in a burst of
//! their own ([`Wires::in_bursts`]): they are sent when an earlier marker has come out.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tun_tap::{Iface, Mode};

use crate::lab::{DEADLINE, Netns};
use crate::packet::{self, Ends, Ip, Upper};
use crate::place::{Family, Side, address};

/// The UDP port of markers; rules let what is sent to it pass, see `rule_sets`.
pub(crate) const MARKER_PORT: u16 = 9;

pub(crate) struct Wires {
    taps: [Iface; 2],
    poll: Poll,
    /// The router's addresses.
    macs: [[u8; 6]; 2],
    marker: u32,
    bursts: bool,
}

impl Wires {
    /// Makes the interfaces `lan` and `wan` in a namespace, both up.
    pub(crate) fn new(netns: &Netns) -> Wires {
        let taps = Side::BOTH.map(|side| {
            let tap = netns.inside(|| Iface::without_packet_info(side.interface(), Mode::Tap)).unwrap();
            tap.set_non_blocking().unwrap();
            netns.run(&format!("ip link set dev {} up mtu {}", side.interface(), side.mtu()));
            tap
        });
        let poll = Poll::new().unwrap();
        for (i, tap) in taps.iter().enumerate() {
            poll.registry().register(&mut SourceFd(&tap.as_raw_fd()), Token(i), Interest::READABLE).unwrap();
        }
        Wires { taps, poll, macs: [[0; 6]; 2], marker: 0, bursts: false }
    }

    /// For a router that takes packets in bursts.
    pub(crate) fn in_bursts(self) -> Wires {
        Wires { bursts: true, ..self }
    }

    /// Says which MAC address the router has on a side.
    pub(crate) fn set_mac(&mut self, side: Side, mac: &str) {
        self.macs[side as usize] = mac.parse::<wire::MacAddr>().unwrap().0;
    }

    fn send(&self, side: Side, packet: &[u8]) {
        let ether_type: [u8; 2] = if packet[0] >> 4 == 6 || packet[0] >> 4 == 0xf { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&self.macs[side as usize][..], &side.neighbour_mac(), &ether_type, packet].concat();
        self.taps[side as usize].send(&frame).unwrap();
    }

    /// The number in a packet, if it is a marker.
    fn marker_in(packet: &[u8]) -> Option<u32> {
        let is_marker = packet.len() >= 32 && packet[0] == 0x45 && packet[9] == packet::UDP && packet[12] == 198 && packet[13] & !1 == 18;
        (is_marker && packet[22..24] == MARKER_PORT.to_be_bytes()).then(|| u32::from_be_bytes(packet[28..32].try_into().unwrap()))
    }

    fn marker(&self, from: Side, to: Side) -> Vec<u8> {
        let net = |side: Side| 18 + side as u8;
        let ends = Ends {
            source: address(&format!("198.{}.0.1", net(from))),
            source_port: MARKER_PORT,
            destination: address(&format!("198.{}.0.2", net(to))),
            destination_port: MARKER_PORT,
        };
        let mut upper = Upper::Udp { len: 4, checksum: false }.octets(ends);
        upper[8..12].copy_from_slice(&self.marker.to_be_bytes());
        packet::ip(ends, packet::UDP, &Ip::default(), None, &upper)
    }

    /// Gives an IP packet to the router, and takes what comes out until all that it does about it is done. What comes out is sorted
    /// by side; on a side, it is in order.
    ///
    /// # Panics
    ///
    /// If the markers do not come out within [`DEADLINE`].
    pub(crate) fn exchange(&mut self, side: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)> {
        self.send(side, packet);
        let mut out = [Vec::new(), Vec::new()];
        if self.bursts {
            self.pass_markers(side, &[side], &mut out);
        }
        self.pass_markers(side, &Side::BOTH, &mut out);
        let [lan, wan] = out;
        [lan, wan].concat()
    }

    /// Sends markers from a side to others, and waits for them; adds what comes out meanwhile.
    fn pass_markers(&mut self, from: Side, to: &[Side], out: &mut [Vec<(Side, Vec<u8>)>; 2]) {
        self.marker += 1;
        let mut missing = Side::BOTH.map(|side| to.contains(&side));
        for &to in to {
            self.send(from, &self.marker(from, to));
        }
        let started = Instant::now();
        let mut events = Events::with_capacity(4);
        loop {
            for at in Side::BOTH {
                while let Some(frame) = self.receive(at) {
                    let Some(packet) = self.admit(at, &frame) else { continue };
                    match Wires::marker_in(&packet) {
                        Some(number) => missing[at as usize] &= number != self.marker,
                        None => out[at as usize].push((at, packet)),
                    }
                }
            }
            if missing == [false; 2] {
                return;
            }
            let left = DEADLINE.saturating_sub(started.elapsed());
            assert!(!left.is_zero(), "no marker came out at {missing:?} (lan, wan) for what came in at {from:?}");
            match self.poll.poll(&mut events, Some(left.max(Duration::from_millis(1)))) {
                Err(e) if e.kind() != ErrorKind::Interrupted => panic!("poll: {e}"),
                _ => {}
            }
        }
    }

    fn receive(&self, side: Side) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        match self.taps[side as usize].recv(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                Some(buffer)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(e) => panic!("{}: {e}", side.interface()),
        }
    }

    /// The IP packet in a frame; `None` for what routers say on their own account: ARP, what goes to all nodes or routers of a
    /// link (neighbour discovery, multicast listeners), and that a packet was not complete in time.
    ///
    /// # Panics
    ///
    /// If the frame has wrong addresses: every packet has to go to the neighbour.
    fn admit(&self, side: Side, frame: &[u8]) -> Option<Vec<u8>> {
        let (ethernet, packet) = frame.split_at_checked(14)?;
        if !matches!(ethernet[12..], [8, 0] | [0x86, 0xdd]) || ethernet[0] & 1 != 0 {
            return None;
        }
        assert_eq!(ethernet[..6], side.neighbour_mac(), "destination of {frame:02x?}");
        assert_eq!(ethernet[6..12], self.macs[side as usize], "source of {frame:02x?}");
        let says_incomplete = match packet.first()? >> 4 {
            4 => packet[9] == packet::ICMP && packet.get(usize::from(packet[0] & 15) * 4..)?.starts_with(&[11, 1]),
            _ => packet[6] == packet::ICMPV6 && packet.get(40..)?.starts_with(&[3, 1]),
        };
        let is_own = Side::BOTH.iter().flat_map(|side| [side.router(Family::V4), side.router(Family::V6)]).any(|(own, _)| {
            let source = if packet[0] >> 4 == 4 { packet.get(12..16) } else { packet.get(8..24) };
            source.is_some_and(|source| own.iter().any(|own| octets_of(address(own)) == source))
        });
        (!says_incomplete || !is_own).then(|| packet.to_vec())
    }
}

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
