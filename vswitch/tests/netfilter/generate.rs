//! Sequences by chance: a few stories - connections, datagrams, pings, errors, fragments, nonsense - told at the same time.

use crate::packet::{ACK, Damage, FIN, GRE, Ip, PSH, Piece, RST, SYN, URG, Upper};
use crate::place::{Family, Host, Side};
use crate::random::Random;
use crate::script::{Flow, Quote, Script, Step, Way};
use crate::tcp_ends::TcpEnds;

/// Steps of a sequence at most.
const STEPS_MAX: usize = 40;

/// The sequence of a seed.
pub(crate) fn script(family: Family, seed: u64) -> Script {
    let mut teller = Teller { random: Random::new(seed), family, flows: Vec::new() };
    let stories = 1 + teller.random.below(3);
    let mut told: Vec<Vec<Step>> = (0..stories).map(|_| teller.story()).collect();
    let mut steps = Vec::new();
    while !told.is_empty() && steps.len() < STEPS_MAX {
        let i = teller.random.below(told.len() as u32) as usize;
        if told[i].is_empty() {
            told.remove(i);
        } else {
            steps.push(told[i].remove(0));
        }
    }
    spare_dead_routes(&teller.flows, &mut steps);
    Script { family, flows: teller.flows, steps }
}

/// Leaves out packets beyond the fourth that hosts send to where no route leads: the kernel complains about five in five seconds
/// (`ip_error` in `net/ipv4/route.c`), whatever `icmp_ratelimit` says. Hosts that all sequences share send none.
fn spare_dead_routes(flows: &[Flow], steps: &mut Vec<Step>) {
    let mut sent = 0;
    steps.retain(|step| {
        let flow = &flows[step.flow()];
        let is_dead = |host| matches!(host, Host::Unreachable | Host::Prohibited | Host::NoRoute | Host::Martian(_));
        let by_target = match step {
            Step::Packet { way, .. } => *way == Way::Reply,
            Step::Error { about, by, .. } => *about == Way::Original && by.is_none(),
        };
        let by_shared = by_target && !matches!(flow.to, Host::Lan(_) | Host::Wan(_));
        let leads_nowhere = is_dead(flow.from) || is_dead(flow.to);
        sent += u8::from(leads_nowhere);
        !leads_nowhere || sent <= 4 && !(by_shared && is_dead(flow.from))
    });
}

struct Teller {
    random: Random,
    family: Family,
    flows: Vec<Flow>,
}

impl Teller {
    fn story(&mut self) -> Vec<Step> {
        let mut steps = match self.random.below(20) {
            0..8 => self.tcp(),
            8..12 => self.datagrams(),
            12..14 => self.pings(),
            14..17 => self.fragments(),
            17 => self.other_protocol(),
            18 => self.sctp(),
            _ => self.nonsense(),
        };
        if self.random.one_in(2) {
            self.complain(&mut steps);
        }
        self.meddle(&mut steps);
        steps
    }

    fn flow(&mut self, ports: &[u16]) -> usize {
        let n = self.random.below(4) as u8;
        let m = self.random.below(4) as u8;
        let (from, to) = match self.random.below(24) {
            0..9 => (Host::Lan(n), Host::Wan(m)),
            9..12 => (Host::Wan(n), Host::Router(Side::Wan)),
            12 => (Host::Wan(n), Host::Server),
            13 => (Host::Wan(n), Host::Lan(m)),
            14 => (Host::Lan(n), Host::Lan((n + 1 + m % 3) % 4)),
            15 => (Host::Lan(n), Host::Router(Side::Wan)),
            16 => (Host::Lan(n), Host::Router(Side::Lan)),
            17 => (Host::Lan(n), Host::Pool(20)),
            18 => (Host::Wan(n), Host::Pool(20 + m)),
            19 => (Host::Lan(n), *self.random.pick(&[Host::Unreachable, Host::Prohibited, Host::Blackhole, Host::NoRoute])),
            20 => (Host::Wan(n), Host::Wan((n + 1 + m % 3) % 4)),
            21 => (Host::Server, Host::Wan(m)),
            22 if m == 0 => (Host::Lan(n), Host::Martian(4)),
            _ => (Host::Lan(n), Host::Server),
        };
        let from_port = match self.random.below(8) {
            0 => 1 + self.random.below(510) as u16,
            1 => 600 + self.random.below(400) as u16,
            _ => 1024 + self.random.below(9000) as u16,
        };
        let to_port = *self.random.pick(ports);
        let enters = from.side();
        self.flows.push(Flow { from, from_port, to, to_port, enters });
        let mut flow = self.flows.len() - 1;
        if self.random.one_in(24) {
            // From where nobody should.
            // Not from the router itself: what it answers to itself passes its rules twice in the kernel.
            let odd = Host::Martian(*self.random.pick(if self.family == Family::V4 { &[0, 1, 4] } else { &[0, 1, 0] }));
            self.flows[flow].from = odd;
        }
        // Another host with the same port to the same target: what a masquerading router has to tell apart.
        if self.random.one_in(3) && flow > 0 {
            let twin = self.random.below(flow as u32) as usize;
            if let (Host::Lan(a), Host::Wan(_)) = (self.flows[twin].from, self.flows[twin].to) {
                self.flows[flow] = Flow { from: Host::Lan((a + 1) % 4), ..self.flows[twin].clone() };
                flow = self.flows.len() - 1;
            }
        }
        flow
    }

    fn ip(&mut self) -> Ip {
        let mut ip = Ip { id: self.random.next() as u16 | 1, ..Ip::default() };
        if self.random.one_in(3) {
            ip.df = true;
        }
        match self.random.below(30) {
            0 => ip.ttl = 1,
            1 => ip.ttl = 2,
            2 => ip.ttl = 0,
            3 => ip.tos = 0x28,
            4 => ip.tos = (self.random.next() as u8) & !3,
            5 => ip.options = self.ip_options(),
            6 => ip.ttl = 255,
            _ => {}
        }
        ip
    }

    fn ip_options(&mut self) -> Vec<u8> {
        if self.family == Family::V6 {
            return vec![*self.random.pick(&[0, 60])];
        }
        // Router alert (RFC 2113). The kernel works on others - records the route, refuses to be told one, complains about what is
        // malformed - and the switch passes them on as they are (docs/deviations.md).
        vec![0x94, 4, 0, 0]
    }

    fn packet(&mut self, flow: usize, way: Way, upper: Upper) -> Step {
        let ip = self.ip();
        Step::Packet { flow, way, ip, upper, piece: None, damage: None }
    }

    /// A TCP connection: some opening, some data, some end, told by two hosts that know the sequence numbers.
    fn tcp(&mut self) -> Vec<Step> {
        let flow = self.flow(&[22, 80, 80, 80, 443, 443, 8080, 8080, 2222, 8001]);
        let mut c = TcpEnds::new(&mut self.random);
        let mut steps = Vec::new();
        let (o, r) = (Way::Original, Way::Reply);
        match self.random.below(16) {
            // Simultaneous open (RFC 9293 section 3.5).
            0 => steps.extend([c.segment(o, SYN, 0), c.segment(r, SYN, 0), c.segment(o, SYN | ACK, 0), c.segment(r, SYN | ACK, 0)]),
            // Picked up in the middle.
            1 => c.skip_opening(),
            // SYN again, SYN/ACK again.
            2 => {
                let (syn, answer) = (c.segment(o, SYN, 0), c.segment(r, SYN | ACK, 0));
                steps.extend([syn.clone(), syn, answer.clone(), answer, c.segment(o, ACK, 0)]);
            }
            // Refused.
            3 => steps.extend([c.segment(o, SYN, 0), c.segment(r, RST | ACK, 0)]),
            // Unanswered.
            4 => steps.push(c.segment(o, SYN, 0)),
            // The answer first.
            5 => {
                c.skip_opening();
                steps.push(c.segment(r, *self.random.pick(&[SYN | ACK, ACK, RST, FIN | ACK]), 0));
            }
            _ => steps.extend([c.segment(o, SYN, 0), c.segment(r, SYN | ACK, 0), c.segment(o, ACK, 0)]),
        }
        for _ in 0..self.random.below(7) {
            let way = *self.random.pick(&[o, o, r]);
            let len = *self.random.pick(&[1, 10, 100, 536, 1000, 1360, 1400]);
            match self.random.below(12) {
                0 => steps.push(c.keep_alive(way)),
                1 => steps.push(c.stray(way, &mut self.random)),
                2 => steps.push(c.with_flags(way, self.random.next() as u8 & 0x3f)),
                _ => steps.push(c.segment(way, if self.random.one_in(3) { ACK | PSH } else { ACK }, len)),
            }
            if !self.random.one_in(3) {
                steps.push(c.segment(if way == o { r } else { o }, ACK, 0));
            }
        }
        let (first, second) = if self.random.one_in(3) { (r, o) } else { (o, r) };
        match self.random.below(9) {
            0 => steps.push(c.segment(first, RST, 0)),
            1 => steps.push(c.segment(first, RST | ACK, 0)),
            2 => steps.extend([c.segment(first, FIN | ACK, 0), c.segment(second, FIN | ACK, 0), c.segment(first, ACK, 0)]),
            // Both at once: neither has seen the other's.
            3 => {
                let both = [c.segment(first, FIN | ACK, 0), c.unaware(second)];
                steps.extend(both);
                steps.extend([c.segment(first, ACK, 0), c.segment(second, ACK, 0)]);
            }
            4 => steps.extend([c.segment(first, FIN | ACK, 0), c.segment(second, ACK, 0), c.segment(second, ACK, 200)]),
            5 | 6 => {
                steps.extend([
                    c.segment(first, FIN | ACK, 0),
                    c.segment(second, ACK, 0),
                    c.segment(second, FIN | ACK, 0),
                    c.segment(first, ACK, 0),
                ]);
                // Again, with later or with earlier numbers.
                match self.random.below(5) {
                    0 => steps.extend(c.again(0x0010_0000)),
                    1 => steps.extend(c.again(0xfff0_0000)),
                    2 => steps.push(c.segment(o, ACK, 50)),
                    3 => steps.push(c.segment(r, RST, 0)),
                    _ => {}
                }
            }
            _ => {}
        }
        steps
            .into_iter()
            .map(|(way, upper)| {
                let mut step = self.packet(flow, way, upper);
                if let Step::Packet { ip, .. } = &mut step {
                    ip.df |= self.random.one_in(2);
                }
                step
            })
            .collect()
    }

    fn datagrams(&mut self) -> Vec<Step> {
        let flow = self.flow(&[53, 53, 5353, 5353, 7777, 7777, 1001, 2000]);
        let one_way = self.random.one_in(4);
        (0..1 + self.random.below(6))
            .map(|i| {
                let way = if i > 0 && !one_way && self.random.one_in(2) { Way::Reply } else { Way::Original };
                let len = *self.random.pick(&[0, 1, 20, 100, 400, 1000, 1372, 1373, 1472]);
                let checksum = !self.random.one_in(6);
                self.packet(flow, way, Upper::Udp { len, checksum })
            })
            .collect()
    }

    fn pings(&mut self) -> Vec<Step> {
        let first = self.flow(&[0]);
        let mut flows = vec![first];
        // Another host with the same identifier.
        if let (Host::Lan(n), true) = (self.flows[first].from, self.random.one_in(2)) {
            self.flows.push(Flow { from: Host::Lan((n + 1) % 4), ..self.flows[first].clone() });
            flows.push(self.flows.len() - 1);
        }
        for &flow in &flows {
            self.flows[flow].to_port = self.flows[flow].from_port;
        }
        let len = *self.random.pick(&[0, 8, 56, 56, 56, 1372, 1400]);
        let unasked = self.random.one_in(8);
        let odd = self.random.one_in(10).then(|| *self.random.pick(&[15, 17, 40, 9, 10]));
        (0..1 + self.random.below(6))
            .map(|i| {
                let flow = *self.random.pick(&flows);
                let answer = unasked || i > 0 && self.random.one_in(2);
                let kind = if answer { 0 } else { odd.filter(|_| self.family == Family::V4).unwrap_or(8) };
                let way = if answer && !unasked { Way::Reply } else { Way::Original };
                self.packet(flow, way, Upper::Query { kind, sequence: i as u16, len })
            })
            .collect()
    }

    fn other_protocol(&mut self) -> Vec<Step> {
        let flow = self.flow(&[0]);
        (self.flows[flow].from_port, self.flows[flow].to_port) = (0, 0);
        let protocol = *self.random.pick(&[GRE, 99, 50, 4, 89]);
        (0..1 + self.random.below(4))
            .map(|i| {
                let way = if i > 0 && self.random.one_in(2) { Way::Reply } else { Way::Original };
                // The kernel wants eight octets of GRE to translate it.
                let len = *self.random.pick(&[if protocol == GRE { 8 } else { 0 }, 4, 64, 900]);
                self.packet(flow, way, Upper::Plain { protocol, len })
            })
            .collect()
    }

    /// An association (RFC 9260): INIT, INIT ACK, COOKIE ECHO, COOKIE ACK, data, an end; or some chunk.
    fn sctp(&mut self) -> Vec<Step> {
        let flow = self.flow(&[80, 7777, 2000]);
        let (o, r) = (Way::Original, Way::Reply);
        // The tags the two INITs ask for, as `Upper::octets` writes them.
        let (to_o, to_r) = (0x1100_0000, 0x1200_0000);
        let mut chunks = vec![(o, 1, 0, 16), (r, 2, to_o, 16), (o, 10, to_r, 8), (r, 11, to_o, 0), (o, 0, to_r, 32), (r, 3, to_o, 12)];
        match self.random.below(4) {
            0 => chunks.extend([(o, 7, to_r, 4), (r, 8, to_o, 0), (o, 14, to_r, 0)]),
            1 => chunks.push((o, 6, to_r, 0)),
            2 => chunks.extend([(o, 4, to_r, 8), (r, 5, to_o, 8)]),
            _ => chunks.truncate(1 + self.random.below(5) as usize),
        }
        if self.random.one_in(3) {
            let at = self.random.below(chunks.len() as u32) as usize;
            chunks[at].2 ^= 1;
        }
        chunks.into_iter().map(|(way, chunk, tag, len)| self.packet(flow, way, Upper::Sctp { chunk, flags: 0, tag, len })).collect()
    }

    /// A datagram, echo request or segment in pieces, in some order, with something wrong perhaps.
    fn fragments(&mut self) -> Vec<Step> {
        let flow = self.flow(&[53, 5353, 7777, 2000]);
        let upper = match self.random.below(4) {
            0 => {
                self.flows[flow].to_port = self.flows[flow].from_port;
                Upper::Query { kind: 8, sequence: 1, len: 600 }
            }
            1 => Upper::Tcp { seq: 1, ack: 0, flags: SYN, window: 1000, options: Vec::new(), len: 300 },
            _ => Upper::Udp { len: *self.random.pick(&[200, 700, 1600, 2900]), checksum: true },
        };
        let whole = match &upper {
            Upper::Tcp { len, .. } => 20 + len,
            Upper::Udp { len, .. } | Upper::Query { len, .. } => 8 + len,
            _ => unreachable!(),
        };
        let size = *self.random.pick(&[104, 504, 1200, 1352]);
        let mut pieces: Vec<Piece> = (0..whole.div_ceil(size))
            .map(|i| Piece { offset: i * size, len: size.min(whole - i * size), more: (i + 1) * size < whole })
            .collect();
        match self.random.below(12) {
            0 => pieces.reverse(),
            1 => {
                let at = self.random.below(pieces.len() as u32) as usize;
                pieces.remove(at);
            }
            2 => {
                let at = self.random.below(pieces.len() as u32) as usize;
                pieces.insert(at, pieces[at]);
            }
            // Overlapping.
            3 => {
                let at = self.random.below(pieces.len() as u32) as usize;
                pieces[at].offset = pieces[at].offset.saturating_sub(8);
            }
            4 => {
                let at = self.random.below(pieces.len() as u32) as usize;
                pieces[at].len += 16;
            }
            // Not a multiple of eight; another end (of more than one: RFC 6946 has the others).
            5 => pieces[0].len = pieces[0].len.saturating_sub(3).max(1),
            6 => pieces.last_mut().unwrap().more = true,
            7 if self.family == Family::V4 || pieces.len() > 1 => {
                pieces.insert(0, Piece { offset: whole.next_multiple_of(8) + 64, len: 8, more: false })
            }
            8 => {
                for i in (1..pieces.len()).rev() {
                    pieces.swap(i, self.random.below(i as u32 + 1) as usize);
                }
            }
            _ => {}
        }
        if self.family == Family::V6 {
            // docs/deviations.md has IPv6 fragments that are no multiple of eight.
            for piece in pieces.iter_mut().filter(|piece| piece.more && piece.offset < whole) {
                piece.len = piece.len.min(whole - piece.offset) & !7;
            }
            pieces.retain(|piece| piece.len > 0);
        }
        let (ip, way) = (self.ip(), Way::Original);
        let ip = Ip { df: ip.df && self.random.one_in(2), ttl: ip.ttl.max(2), ..ip };
        let mut steps: Vec<Step> = pieces
            .into_iter()
            .map(|piece| Step::Packet { flow, way, ip: ip.clone(), upper: upper.clone(), piece: Some(piece), damage: None })
            .collect();
        if self.random.one_in(2) && matches!(upper, Upper::Udp { .. }) {
            steps.push(self.packet(flow, Way::Reply, Upper::Udp { len: 30, checksum: true }));
        }
        steps
    }

    /// A packet that no host sends.
    fn nonsense(&mut self) -> Vec<Step> {
        let flow = self.flow(&[22, 53, 80, 7777]);
        let upper = match self.random.below(4) {
            0 => Upper::Udp { len: 40, checksum: true },
            1 => Upper::Query { kind: 8, sequence: 1, len: 56 },
            2 => Upper::Plain { protocol: 0xff, len: 20 },
            _ => Upper::Tcp {
                seq: self.random.next() as u32,
                ack: self.random.next() as u32,
                flags: self.random.next() as u8 & (URG * 2 - 1),
                window: 100,
                options: self.random.pick(&[vec![], vec![2, 0, 0, 0], vec![3, 40, 0, 0], vec![1, 1, 1, 1], vec![5, 2, 1, 1]]).clone(),
                len: 3,
            },
        };
        let mut step = self.packet(flow, Way::Original, upper);
        let damage = self.damage(&step);
        if let (Step::Packet { damage: place, .. }, true) = (&mut step, self.random.one_in(2)) {
            *place = Some(damage);
        }
        vec![step]
    }

    fn damage(&mut self, step: &Step) -> Damage {
        // The checksum of SCTP is the receiver's here (docs/deviations.md).
        let is_sctp = matches!(step, Step::Packet { upper: Upper::Sctp { .. }, .. });
        match self.random.below(10) {
            0 => Damage::IpChecksum,
            1 => Damage::Version,
            2 => Damage::HeaderLength,
            3 => Damage::TooLong,
            4 if !is_sctp || self.family == Family::V4 => Damage::TooShort,
            6 | 7 if !is_sctp => Damage::UpperChecksum,
            8 => Damage::UpperLength,
            // A header that is cut is no match's in the kernel, which drops the packet there (docs/deviations.md).
            9 if !is_sctp => Damage::Cut((step.header_len() + self.random.below(12) as usize) as u8),
            _ => Damage::Trailing,
        }
    }

    /// Adds ICMP errors about packets of a story.
    fn complain(&mut self, steps: &mut Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let at = 1 + self.random.below(steps.len() as u32) as usize;
        let (flow, about, is_query) = match &steps[at - 1] {
            Step::Packet { flow, way, upper, .. } => (*flow, *way, matches!(upper, Upper::Query { .. })),
            Step::Error { .. } => return,
        };
        let (mut kind, mut code, mut rest) = match self.family {
            Family::V4 => *self.random.pick(&[
                (3, 3, 0),
                (3, 1, 0),
                (3, 4, 1300),
                (3, 13, 0),
                (11, 0, 0),
                (12, 0, 0x0100_0000),
                (4, 0, 0),
                (5, 1, 0x0a00_0001),
            ]),
            Family::V6 => *self.random.pick(&[(1, 4, 0), (1, 0, 0), (2, 0, 1300), (3, 0, 0), (4, 1, 6), (100, 0, 0)]),
        };
        let by = self.random.one_in(2).then_some(if about == Way::Original { Host::Wan(3) } else { Host::Lan(3) });
        let quote = match self.random.below(14) {
            0 => Quote::UnknownFlow,
            1 => Quote::Short(*self.random.pick(&[0, 4, 7, 8, 16])),
            3 => Quote::BadChecksum,
            4 => Quote::OfError,
            _ => Quote::Last,
        };
        // Where no flow takes it the router itself may be told of the path's MTU, and the kernel then heeds it for what it forwards
        // (docs/deviations.md), to a host that other sequences use, too.
        if (self.family, kind) == (Family::V6, 2) && (quote == Quote::OfError || is_query && quote == Quote::UnknownFlow) {
            (kind, code, rest) = (1, 4, 0);
        }
        steps.insert(at, Step::Error { flow, about, by, kind, code, rest, quote });
    }

    /// Lets packets of a story get lost in front of the router, come twice, late, or damaged.
    fn meddle(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.random.below(3) {
            if steps.is_empty() {
                return;
            }
            let at = self.random.below(steps.len() as u32) as usize;
            match self.random.below(8) {
                0 | 1 => {
                    steps.remove(at);
                }
                2 | 3 => steps.insert(at, steps[at].clone()),
                4 => {
                    let step = steps.remove(at);
                    let later = at + self.random.below((steps.len() - at) as u32 + 1) as usize;
                    steps.insert(later, step);
                }
                5 => {
                    let damage = self.damage(&steps[at]);
                    let mut broken = steps[at].clone();
                    if let Step::Packet { damage: place, piece: None, .. } = &mut broken {
                        *place = Some(damage);
                        steps.insert(at, broken);
                    }
                }
                _ => {}
            }
        }
    }
}
