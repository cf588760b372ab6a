//! A router that translates and filters: whatever packets come from either side, it does not panic and loses none uncounted.

use bolero::TypeGenerator;
use dataplane::conntrack::{HelperKind, Template};
use dataplane::memory::MemoryFrame;
use dataplane::nat::NatRange;
use dataplane::rules::{Hook, Match, RejectWith, SynProxy, Table, Target, TcpMss, Test, TtlEdit};
use wire::{Offload, checksum, virtio_net};

use crate::pipeline::lab::router::{LAN, LAN_MAC, RouterLab, WAN, WAN_MAC, base, ethernet, ip, ipv4, ipv6, rule, seal, station};

/// A packet, mostly a sensible one, from a few stations to a few others, so that packets meet flows.
#[derive(Clone, Debug, TypeGenerator)]
struct Input {
    outside: bool,
    v6: bool,
    source: u8,
    destination: u8,
    protocol: u8,
    /// Octets behind the IP header; ports, identifiers and flags are made few below.
    payload: Vec<u8>,
    /// Where it is to be damaged, and how.
    damage: Option<(u8, u8)>,
    fragment: Option<u16>,
    ttl: u8,
    /// Segments of a GSO frame, in octets.
    gso: Option<u16>,
    /// The checksum is right.
    summed: bool,
    /// Milliseconds since the one before.
    later: u16,
}

impl Input {
    fn packet(&self) -> Vec<u8> {
        let protocol = [1, 6, 6, 6, 17, 17, 58, 132, 47, 250][usize::from(self.protocol % 10)];
        let mut payload = self.payload.clone();
        payload.resize(payload.len().clamp(8, 1400), 0);
        if protocol == 6 {
            payload.resize(payload.len().max(20), 0);
            payload[12] = 0x50 | payload[12] & 0x30;
            payload[4..8].iter_mut().for_each(|octet| *octet &= 3);
        }
        if protocol != 1 && protocol != 58 {
            for at in [0, 2] {
                let port = [21u16, 69, 80, 8080, 5000, 5001][usize::from(payload[at] % 6)];
                payload[at..at + 2].copy_from_slice(&port.to_be_bytes());
            }
        }
        let (lan4, wan4) =
            (["192.168.1.1", "192.168.1.2", "192.168.1.254"], ["203.0.113.2", "203.0.113.254", "198.51.100.1", "255.255.255.255"]);
        let (lan6, wan6) = (["fd00:1::1", "fd00:1::fe", "fe80::5"], ["fd00:2::2", "fd00:2::fe", "2001:db8::1", "ff02::1"]);
        let pick = |list: &[&'static str], n: u8| list[usize::from(n) % list.len()];
        let (inside, outside): (&[&str], &[&str]) = if self.v6 { (&lan6, &wan6) } else { (&lan4, &wan4) };
        let (from, to) = if self.outside { (outside, [outside, inside][usize::from(self.destination >> 7)]) } else { (inside, outside) };
        let (from, to) = (pick(from, self.source), pick(to, self.destination));
        if self.summed && payload.len() >= 20 {
            let field = match protocol {
                6 => Some(16),
                17 => Some(6),
                1 => Some(2),
                _ => None,
            };
            if let (Some(at), Ok(from), Ok(to)) = (field, from.parse(), to.parse()) {
                payload[at..at + 2].fill(0);
                let pseudo =
                    if protocol == 1 { checksum::Sum::ZERO } else { checksum::pseudo_ipv4(from, to, protocol, payload.len() as u16) };
                let sum = pseudo.add(&payload).checksum();
                payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            }
        }
        let mut packet = if self.v6 { ipv6(from, to, protocol, &payload) } else { ipv4(from, to, protocol, &payload) };
        packet[if self.v6 { 7 } else { 8 }] = self.ttl;
        if let (Some(field), false) = (self.fragment, self.v6) {
            packet[6..8].copy_from_slice(&(field & 0x603f).to_be_bytes());
        }
        if !self.v6 {
            seal(&mut packet);
        }
        if let Some((at, bits)) = self.damage {
            let at = usize::from(at) % packet.len();
            packet[at] ^= bits;
            if at < 20 && packet[0] >> 4 == 4 && packet[0] & 15 == 5 {
                seal(&mut packet);
            }
        }
        packet
    }
}

fn gateway() -> RouterLab {
    let mut lab = RouterLab::new();
    lab.interface(WAN).mtu = 600;
    let out = || Match { invert: false, test: Test::OutInterface([WAN].into_iter().collect()) };
    let tcp = || Match { invert: false, test: Test::Protocol(6) };
    let syn = || Match { invert: false, test: Test::TcpFlags { mask: 0x06, compare: 0x02 } };
    let port = |port| Match {
        invert: false,
        test: Test::Ports(dataplane::rules::Ports::Destination(dataplane::rules::PortRange { first: port, last: port })),
    };
    let ftp = Template { helper: Some(HelperKind::Ftp), ..Template::default() };
    lab.rules(&[
        base(Table::Raw, Hook::Prerouting, vec![rule(vec![tcp(), port(21)], Target::Ct(ftp))]),
        base(
            Table::Mangle,
            Hook::Forward,
            vec![rule(vec![tcp(), syn()], Target::TcpMss(TcpMss::ClampToPmtu)), rule(vec![], Target::Ttl(TtlEdit::Increase(1)))],
        ),
        base(
            Table::Nat,
            Hook::Prerouting,
            vec![rule(
                vec![tcp(), port(8080)],
                Target::Dnat { range: NatRange { ports: Some((80, 80)), ..NatRange::address(ip("192.168.1.2")) }, hairpin: true },
            )],
        ),
        base(Table::Nat, Hook::Postrouting, vec![rule(vec![out()], Target::Masquerade { ports: None, random: false })]),
        base(
            Table::Filter,
            Hook::Forward,
            vec![
                rule(vec![tcp(), port(80)], Target::SynProxy(SynProxy { timestamp: true, ..SynProxy::default() })),
                rule(vec![tcp(), port(5001)], Target::Reject(RejectWith::TcpReset)),
            ],
        ),
    ]);
    lab
}

#[test]
fn any_packets() {
    bolero::check!().with_type::<Vec<Input>>().for_each(|inputs| {
        let mut lab = gateway();
        let mut now = 0;
        for input in inputs {
            now += u64::from(input.later) * 1_000_000;
            lab.lab.pipeline.set_time(now);
            let packet = input.packet();
            let (port, to, from) = if input.outside { (2, WAN_MAC, station(WAN, 1)) } else { (0, LAN_MAC, station(LAN, 1)) };
            let mut frame = MemoryFrame::new(ethernet(to, from, &packet));
            if let (Some(size), false, 6) = (input.gso, input.v6, packet[9]) {
                frame.offload = Offload {
                    flags: virtio_net::FLAG_NEEDS_CSUM,
                    gso_type: virtio_net::GSO_TCPV4,
                    hdr_len: 54,
                    gso_size: size % 1400,
                    csum_start: 34,
                    csum_offset: 16,
                };
            }
            lab.lab.send_frame(port, frame);
            lab.lab.pipeline.send_waiting(&lab.lab.snapshot, 0);
            lab.lab.outs();
            while lab.lab.events.pop().is_some() {}
            while lab.lab.events.punted_by_routers.pop().is_some() {}
        }
        lab.lab.assert_conserved();
    });
}
