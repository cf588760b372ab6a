//! Protocols that announce connections, and the SYN proxy, on the whole way of a packet: rules, tracking, translation.

mod lab;

use dataplane::DropReason;
use dataplane::conntrack::{CtState, HelperKind, Template};
use dataplane::nat::NatRange;
use dataplane::router::InterfaceId;
use dataplane::rules::{Chain, ChainKind, CtStates, Hook, Match, Network, Policy, PortRange, Ports, Rule, SynProxy, Table, Target, Test};
use lab::router::{LAN, LAN_PORT, RouterLab, WAN, WAN_PORT, base, checksums_are_right, ip, ipv4, rule, tcp, udp};

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 0x10;
const PSH: u8 = 8;
const GUEST: &str = "192.168.1.2";
const PUBLIC: &str = "203.0.113.254";
const OUTSIDE: &str = "198.51.100.1";

fn test(test: Test) -> Match {
    Match { invert: false, test }
}

fn out(interface: InterfaceId) -> Match {
    test(Test::OutInterface([interface].into_iter().collect()))
}

fn to_port(protocol: u8, port: u16) -> Vec<Match> {
    vec![test(Test::Protocol(protocol)), test(Test::Ports(Ports::Destination(PortRange { first: port, last: port })))]
}

fn with_helper(protocol: u8, port: u16, helper: HelperKind) -> Chain {
    let template = Template { helper: Some(helper), ..Template::default() };
    base(Table::Raw, Hook::Prerouting, vec![rule(to_port(protocol, port), Target::Ct(template))])
}

/// What began inside, what belongs to it, and what `also` says; nothing else.
fn strict(also: Vec<Rule>) -> Chain {
    let known = CtStates(CtStates::of(CtState::Established, Default::default()).0 | CtStates::of(CtState::Related, Default::default()).0);
    let inside = test(Test::InInterface([LAN].into_iter().collect()));
    let rules = [rule(vec![test(Test::CtState(known))], Target::Accept), rule(vec![inside], Target::Accept)];
    let mut chain = base(Table::Filter, Hook::Forward, rules.into_iter().chain(also).collect());
    if let ChainKind::Base { policy, .. } = &mut chain.kind {
        *policy = Policy::Drop;
    }
    chain
}

fn masquerade() -> Chain {
    base(Table::Nat, Hook::Postrouting, vec![rule(vec![out(WAN)], Target::Masquerade { ports: None, random: false })])
}

/// A TCP segment as it went by: ends, sequence and acknowledgment number, flags, payload.
#[derive(Debug, PartialEq)]
struct Seen {
    from: (String, u16),
    to: (String, u16),
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
    payload: String,
}

fn seen(packet: &[u8]) -> Seen {
    let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let packet = &packet[..len];
    assert!(checksums_are_right(packet));
    let address = |at: usize| std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()).to_string();
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    let data = 20 + usize::from(packet[32] >> 4) * 4;
    Seen {
        from: (address(12), word(20)),
        to: (address(16), word(22)),
        sequence: number(24),
        acknowledgment: number(28),
        flags: packet[33],
        payload: String::from_utf8(packet[data..].to_vec()).unwrap(),
    }
}

/// The one packet that stations of an interface got.
fn one(lab: &RouterLab, interface: InterfaceId) -> Seen {
    let got = lab.got(interface);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    seen(&got[0])
}

/// A connection between the ends, whoever they are for each other: segments go in at one side and come out at the other.
struct Talk {
    /// As the client names itself and the server, and as the server does.
    client: [(&'static str, u16); 2],
    server: [(&'static str, u16); 2],
    client_in: InterfaceId,
    /// Next sequence numbers, as each end counts them.
    next: [u32; 2],
    /// What each end has of the other, as it counts it.
    have: [u32; 2],
}

impl Talk {
    fn begin(lab: &mut RouterLab, client_in: InterfaceId, client: [(&'static str, u16); 2], server: [(&'static str, u16); 2]) -> Talk {
        let mut talk = Talk { client, server, client_in, next: [1000, 7000], have: [0, 0] };
        talk.say(lab, 0, SYN, "");
        talk.say(lab, 1, SYN | ACK, "");
        talk.say(lab, 0, ACK, "");
        talk
    }

    /// The client (0) or the server (1) says something, which arrives at the other end whole and in order.
    fn say(&mut self, lab: &mut RouterLab, who: usize, flags: u8, payload: &str) -> Seen {
        let (from, to) = if who == 0 { (self.client[0], self.server[0]) } else { (self.server[1], self.client[1]) };
        let packet = tcp(from, to, flags, self.next[who], self.have[who], payload.as_bytes());
        let from_lan = (self.client_in == LAN) == (who == 0);
        if from_lan {
            lab.from_lan(&packet)
        } else {
            lab.from_wan(&packet)
        };
        let seen = one(lab, if from_lan { WAN } else { LAN });
        let ends = if who == 0 { (self.client[1], self.server[1]) } else { (self.server[0], self.client[0]) };
        assert_eq!(((seen.from.0.as_str(), seen.from.1), (seen.to.0.as_str(), seen.to.1)), ends);
        let (other, syn) = (1 - who, u32::from(flags & SYN != 0));
        if syn == 0 {
            assert_eq!(seen.sequence, self.have[other], "nothing is missing and nothing comes twice");
        }
        if flags & ACK != 0 {
            assert_eq!(seen.acknowledgment, self.next[other], "all that was sent has arrived");
        }
        self.next[who] = self.next[who].wrapping_add(syn + payload.len() as u32);
        self.have[other] = seen.sequence.wrapping_add(syn + seen.payload.len() as u32);
        seen
    }
}

#[test]
fn active_ftp_behind_masquerading() {
    let mut lab = RouterLab::new();
    lab.rules(&[with_helper(6, 21, HelperKind::Ftp), masquerade(), strict(vec![])]);
    let (inside, outside) = ((GUEST, 40000), (PUBLIC, 40000));
    let mut control = Talk::begin(&mut lab, LAN, [inside, outside], [(OUTSIDE, 21); 2]);
    for (who, line) in [(1, "220 ready\r\n"), (0, "USER ftp\r\n"), (1, "230 welcome\r\n")] {
        assert_eq!(control.say(&mut lab, who, ACK | PSH, line).payload, line);
    }
    let told = control.say(&mut lab, 0, ACK | PSH, "PORT 192,168,1,2,156,65\r\n");
    assert_eq!(told.payload, "PORT 203,0,113,254,156,65\r\n");
    // Both directions go on, each with numbers of its own; a second command makes the stream longer once more.
    control.say(&mut lab, 1, ACK | PSH, "200 PORT command successful\r\n");
    let stranger = tcp(("198.51.100.2", 20), (PUBLIC, 40001), SYN, 5, 0, b"");
    lab.from_wan(&stranger);
    assert_eq!(lab.got(LAN).len(), 0, "only the server was told");
    lab.got(WAN);
    let mut data = Talk::begin(&mut lab, WAN, [(OUTSIDE, 20); 2], [(PUBLIC, 40001), (GUEST, 40001)]);
    data.say(&mut lab, 0, ACK | PSH, "content");
    lab.from_wan(&tcp((OUTSIDE, 21000), (PUBLIC, 40001), SYN, 5, 0, b""));
    assert_eq!(lab.got(LAN).len(), 0, "an announcement is good for one connection");
    lab.got(WAN);
    assert_eq!(control.say(&mut lab, 0, ACK | PSH, "EPRT |1|192.168.1.2|40002|\r\n").payload, "EPRT |1|203.0.113.254|40002|\r\n");
    control.say(&mut lab, 1, ACK | PSH, "200 EPRT command successful\r\n");
    control.say(&mut lab, 0, ACK | PSH, "NOOP\r\n");
    Talk::begin(&mut lab, WAN, [(OUTSIDE, 20); 2], [(PUBLIC, 40002), (GUEST, 40002)]);
    // A command that is cut cannot be rewritten, and does not leave half told.
    let cut = tcp(inside, (OUTSIDE, 21), ACK | PSH, control.next[0], control.have[0], b"PORT 192,168,");
    lab.from_lan(&cut);
    assert_eq!((lab.got(WAN).len(), lab.dropped(LAN_PORT, DropReason::HelperFailed)), (0, 1));
    lab.lab.assert_conserved();
}

#[test]
fn passive_ftp_to_a_server_behind_a_forwarded_port() {
    let mut lab = RouterLab::new();
    let server = ("192.168.1.5", 21);
    let to = vec![test(Test::Destination(Network::new(ip(PUBLIC), u32::MAX.into())))];
    let to: Vec<Match> = to.into_iter().chain(to_port(6, 21)).collect();
    let dnat = rule(to, Target::Dnat { range: NatRange::address(ip(server.0)), hairpin: false });
    let to_server = rule(to_port(6, 21), Target::Accept);
    lab.rules(&[with_helper(6, 21, HelperKind::Ftp), base(Table::Nat, Hook::Prerouting, vec![dnat]), strict(vec![to_server])]);
    let mut control = Talk::begin(&mut lab, WAN, [(OUTSIDE, 40000); 2], [(PUBLIC, 21), server]);
    for (who, line) in [(1, "220 ready\r\n"), (0, "PASV\r\n")] {
        control.say(&mut lab, who, ACK | PSH, line);
    }
    let told = control.say(&mut lab, 1, ACK | PSH, "227 Entering Passive Mode (192,168,1,5,156,65).\r\n");
    assert_eq!(told.payload, "227 Entering Passive Mode (203,0,113,254,156,65).\r\n");
    let mut data = Talk::begin(&mut lab, WAN, [(OUTSIDE, 41000); 2], [(PUBLIC, 40001), ("192.168.1.5", 40001)]);
    data.say(&mut lab, 1, ACK | PSH, "content");
    control.say(&mut lab, 0, ACK | PSH, "EPSV\r\n");
    let line = "229 Entering Extended Passive Mode (|||40003|)\r\n";
    assert_eq!(control.say(&mut lab, 1, ACK | PSH, line).payload, line);
    Talk::begin(&mut lab, WAN, [(OUTSIDE, 41001); 2], [(PUBLIC, 40003), ("192.168.1.5", 40003)]);
    control.say(&mut lab, 0, ACK | PSH, "QUIT\r\n");
    lab.lab.assert_conserved();
}

/// Without a rule that asks for it there is no helper.
#[test]
fn helpers_are_off() {
    let mut lab = RouterLab::new();
    lab.rules(&[masquerade(), strict(vec![])]);
    let mut control = Talk::begin(&mut lab, LAN, [(GUEST, 40000), (PUBLIC, 40000)], [(OUTSIDE, 21); 2]);
    control.say(&mut lab, 1, ACK | PSH, "220 ready\r\n");
    control.say(&mut lab, 0, ACK | PSH, "USER ftp\r\n");
    let line = "PORT 192,168,1,2,156,65\r\n";
    assert_eq!(control.say(&mut lab, 0, ACK | PSH, line).payload, line);
    lab.from_wan(&tcp((OUTSIDE, 20), (PUBLIC, 40001), SYN, 5, 0, b""));
    assert_eq!(lab.got(LAN).len(), 0);
}

#[test]
fn tftp_answers_from_a_port_of_its_own() {
    let mut lab = RouterLab::new();
    lab.rules(&[with_helper(17, 69, HelperKind::Tftp), masquerade(), strict(vec![])]);
    lab.from_lan(&ipv4(GUEST, OUTSIDE, 17, &udp(3000, 69, b"\0\x01file\0octet\0")));
    assert_eq!(lab.got(WAN).len(), 1, "{:?}", lab.drops());
    let answer = ipv4(OUTSIDE, PUBLIC, 17, &udp(50001, 3000, b"\0\x03\0\x01data"));
    lab.from_wan(&answer);
    let got = lab.got(LAN);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    assert_eq!((&got[0][16..20], &got[0][20..24]), (&[192, 168, 1, 2][..], &[0xc3, 0x51, 0x0b, 0xb8][..]));
    lab.from_lan(&ipv4(GUEST, OUTSIDE, 17, &udp(3000, 50001, b"\0\x04\0\x01")));
    assert_eq!(lab.got(WAN).len(), 1, "{:?}", lab.drops());
    lab.from_wan(&ipv4("198.51.100.2", PUBLIC, 17, &udp(50002, 3000, b"\0\x03\0\x01data")));
    assert_eq!(lab.got(LAN).len(), 0, "another host was not asked");
}

/// A port forwarded to 192.168.1.5:80 behind the SYN proxy. The client's ACK is the first packet that connection tracking sees of
/// it, which it takes for the middle of a connection (`tcp_loose`); only SYNs are translated, so it comes to the proxy.
fn proxied() -> RouterLab {
    let mut lab = RouterLab::new();
    let to = || {
        let to = vec![test(Test::Destination(Network::new(ip(PUBLIC), u32::MAX.into())))];
        to.into_iter().chain(to_port(6, 8080))
    };
    let syn = || test(Test::TcpFlags { mask: 0x17, compare: SYN });
    let notrack = Target::Ct(Template { notrack: true, ..Template::default() });
    let dnat = Target::Dnat { range: NatRange { ports: Some((80, 80)), ..NatRange::address(ip("192.168.1.5")) }, hairpin: true };
    let begins = CtStates(CtStates::INVALID.0 | CtStates::UNTRACKED.0 | CtStates::NEW.0);
    let offer = SynProxy { mss: Some(1460), wscale: None, sack_perm: false, timestamp: false, ecn: false };
    lab.rules(&[
        base(Table::Raw, Hook::Prerouting, vec![rule(to().chain([syn()]).collect(), notrack)]),
        base(Table::Nat, Hook::Prerouting, vec![rule(to().chain([syn()]).collect(), dnat)]),
        base(Table::Filter, Hook::Input, vec![rule(to().chain([test(Test::CtState(begins))]).collect(), Target::SynProxy(offer))]),
    ]);
    lab
}

const CLIENT: (&str, u16) = ("203.0.113.2", 1234);
const FORWARDED: (&str, u16) = (PUBLIC, 8080);
const SERVER: (&str, u16) = ("192.168.1.5", 80);

#[test]
fn a_connection_through_the_syn_proxy() {
    let mut lab = proxied();
    lab.from_wan(&tcp(CLIENT, FORWARDED, SYN, 100, 0, b""));
    assert_eq!(lab.got(LAN).len(), 0, "the server sees no SYN");
    let answer = one(&lab, WAN);
    assert_eq!((answer.flags, answer.acknowledgment), (SYN | ACK, 101), "{answer:?}");
    assert_eq!((answer.from, answer.to), ((PUBLIC.into(), 8080), (CLIENT.0.into(), CLIENT.1)));
    let cookie = answer.sequence;

    lab.from_wan(&tcp(CLIENT, FORWARDED, ACK, 101, cookie.wrapping_add(1), b""));
    assert_eq!(lab.got(WAN).len(), 0);
    let syn = one(&lab, LAN);
    assert_eq!((syn.flags, syn.sequence, syn.to), (SYN, 100, (SERVER.0.into(), SERVER.1)));
    assert_eq!(syn.from, (CLIENT.0.into(), CLIENT.1));

    lab.from_lan(&tcp(SERVER, CLIENT, SYN | ACK, 7000, 101, b""));
    let ack = one(&lab, LAN);
    assert_eq!((ack.flags, ack.sequence, ack.acknowledgment, ack.to), (ACK, 101, 7001, (SERVER.0.into(), SERVER.1)));
    let window = one(&lab, WAN);
    assert_eq!((window.flags, window.sequence, window.acknowledgment), (ACK, cookie.wrapping_add(1), 101));
    assert_eq!(window.from, (PUBLIC.into(), 8080));

    lab.from_wan(&tcp(CLIENT, FORWARDED, ACK | PSH, 101, cookie.wrapping_add(1), b"GET /\r\n"));
    let request = one(&lab, LAN);
    assert_eq!((request.sequence, request.acknowledgment, request.payload.as_str()), (101, 7001, "GET /\r\n"));
    lab.from_lan(&tcp(SERVER, CLIENT, ACK | PSH, 7001, 108, b"hello\r\n"));
    let reply = one(&lab, WAN);
    assert_eq!((reply.sequence, reply.acknowledgment, reply.payload.as_str()), (cookie.wrapping_add(1), 108, "hello\r\n"));
    lab.from_wan(&tcp(CLIENT, FORWARDED, ACK, 108, cookie.wrapping_add(8), b""));
    assert_eq!(one(&lab, LAN).acknowledgment, 7008);
    lab.lab.assert_conserved();
}

/// SYNs and forged ACKs leave nothing behind, at the server or in the table.
#[test]
fn floods_end_at_the_syn_proxy() {
    let mut lab = proxied();
    for port in 2000..2500 {
        lab.from_wan(&tcp((CLIENT.0, port), FORWARDED, SYN, 1, 0, b""));
        lab.from_wan(&tcp((CLIENT.0, port), FORWARDED, ACK, 2, 12345, b""));
    }
    assert_eq!(lab.got(LAN).len(), 0);
    assert_eq!(lab.router().state.connections.count(), 0);
    let stats = lab.router().state.syn_proxy.stats();
    assert_eq!((stats.syn_received, stats.cookie_invalid, stats.cookie_valid), (500, 500, 0));
    assert_eq!(lab.dropped(WAN_PORT, DropReason::SynProxyRefused), 500);
    lab.lab.assert_conserved();
}

/// The server refuses: the client, which believes the connection to be open, takes the RST.
#[test]
fn a_server_that_refuses() {
    let mut lab = proxied();
    lab.from_wan(&tcp(CLIENT, FORWARDED, SYN, 100, 0, b""));
    let cookie = one(&lab, WAN).sequence;
    lab.from_wan(&tcp(CLIENT, FORWARDED, ACK, 101, cookie.wrapping_add(1), b""));
    assert_eq!(one(&lab, LAN).flags, SYN);
    // Repeated by the client before the server has answered.
    lab.from_wan(&tcp(CLIENT, FORWARDED, ACK, 101, cookie.wrapping_add(1), b""));
    assert_eq!(one(&lab, LAN).flags, SYN);
    lab.from_lan(&tcp(SERVER, CLIENT, RST | ACK, 0, 101, b""));
    let reset = one(&lab, WAN);
    assert_eq!((reset.flags, reset.sequence, reset.from), (RST | ACK, cookie.wrapping_add(1), (PUBLIC.into(), 8080)));
}
