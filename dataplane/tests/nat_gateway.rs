//! A router that translates: the figure of the notes the project was started from, ports forwarded, hairpin, ICMP errors.

mod lab;

use dataplane::nat::NatRange;
use dataplane::rules::{Hook, Match, Network, Table, Target, Test};
use lab::router::{LAN, RouterLab, WAN, base, checksums_are_right, echo, ip, ipv4, rule, seal, tcp, udp};

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

fn out(interface: dataplane::router::InterfaceId) -> Match {
    Match { invert: false, test: Test::OutInterface([interface].into_iter().collect()) }
}

/// `-t nat -A POSTROUTING -o wan -j MASQUERADE`.
fn gateway() -> RouterLab {
    let mut lab = RouterLab::new();
    lab.rules(&[base(Table::Nat, Hook::Postrouting, vec![rule(vec![out(WAN)], Target::Masquerade { ports: None, random: false })])]);
    lab
}

fn addresses(packet: &[u8]) -> (String, String) {
    let address = |at: usize| std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()).to_string();
    (address(12), address(16))
}

fn ports(packet: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([packet[20], packet[21]]), u16::from_be_bytes([packet[22], packet[23]]))
}

#[test]
fn a_connection_goes_out_with_the_address_of_the_router_and_its_answers_come_back() {
    let mut lab = gateway();
    let (guest, server, public) = (("192.168.1.2", 56303), ("198.51.100.1", 443), ("203.0.113.254", 56303));
    lab.from_lan(&tcp(guest, server, SYN, 1000, 0, b""));
    let got = lab.got(WAN);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    assert_eq!((addresses(&got[0]), ports(&got[0])), ((public.0.into(), server.0.into()), (56303, 443)));
    assert!(checksums_are_right(&got[0]));
    lab.from_wan(&tcp(server, public, SYN_ACK, 7000, 1001, b""));
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), ((server.0.into(), guest.0.into()), (443, 56303)));
    assert!(checksums_are_right(&got[0]));
    lab.from_lan(&tcp(guest, server, ACK, 1001, 7001, b"hello"));
    assert_eq!(lab.got(WAN).len(), 1);
    assert_eq!(lab.drops(), []);
    lab.lab.assert_conserved();
}

#[test]
fn two_guests_with_the_same_echo_identifier_get_their_own_answers() {
    let mut lab = gateway();
    let mut identifiers = Vec::new();
    for guest in ["192.168.1.1", "192.168.1.2"] {
        lab.from_lan(&ipv4(guest, "198.51.100.1", 1, &echo(77)));
        let got = lab.got(WAN);
        assert!(checksums_are_right(&got[0]));
        identifiers.push(u16::from_be_bytes([got[0][24], got[0][25]]));
    }
    assert_ne!(identifiers[0], identifiers[1]);
    for (guest, identifier) in ["192.168.1.1", "192.168.1.2"].into_iter().zip(identifiers) {
        let mut reply = echo(identifier);
        reply[0] = 0;
        reply[2..4].fill(0);
        let sum = wire::checksum::Sum::of(&reply).checksum();
        reply[2..4].copy_from_slice(&sum.to_be_bytes());
        lab.from_wan(&ipv4("198.51.100.1", "203.0.113.254", 1, &reply));
        let got = lab.got(LAN);
        assert_eq!((addresses(&got[0]).1, &got[0][24..26]), (guest.to_owned(), &77u16.to_be_bytes()[..]));
        assert!(checksums_are_right(&got[0]));
    }
    lab.lab.assert_conserved();
}

#[test]
fn traceroute_through_the_gateway_sees_every_hop() {
    let mut lab = gateway();
    let probe = ipv4("192.168.1.1", "198.51.100.7", 17, &udp(40000, 33434, b"probe"));
    lab.from_lan(&probe);
    let outside = lab.got(WAN).remove(0);
    // A router behind the gateway says that the time to live ran out.
    let quoted = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &outside[..28]].concat();
    let mut error = quoted;
    let sum = wire::checksum::Sum::of(&error).checksum();
    error[2..4].copy_from_slice(&sum.to_be_bytes());
    lab.from_wan(&ipv4("203.0.113.1", "203.0.113.254", 1, &error));
    let got = lab.got(LAN);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    assert_eq!(addresses(&got[0]), ("203.0.113.1".into(), "192.168.1.1".into()));
    assert_eq!(addresses(&got[0][28..]), ("192.168.1.1".into(), "198.51.100.7".into()), "what is quoted is what was sent");
    assert!(checksums_are_right(&got[0]));
    // And the gateway itself, one hop earlier.
    let mut short = probe;
    short[8] = 1;
    seal(&mut short);
    lab.from_lan(&short);
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]).0, got[0][20]), ("192.168.1.254".into(), 11));
}

#[test]
fn a_forwarded_port_leads_to_the_server_from_outside_and_from_inside() {
    let mut lab = gateway();
    let server = NatRange { ports: Some((80, 80)), ..NatRange::address(ip("192.168.1.5")) };
    let to = vec![Match { invert: false, test: Test::Destination(Network::new(ip("203.0.113.254"), u32::MAX.into())) }];
    let to = to.into_iter().chain([Match { invert: false, test: Test::Protocol(6) }]).collect();
    lab.rules(&[base(Table::Nat, Hook::Prerouting, vec![rule(to, Target::Dnat { range: server, hairpin: true })])]);
    let public = ("203.0.113.254", 8080);
    lab.from_wan(&tcp(("198.51.100.9", 1234), public, SYN, 1, 0, b""));
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), (("198.51.100.9".into(), "192.168.1.5".into()), (1234, 80)));
    lab.from_lan(&tcp(("192.168.1.5", 80), ("198.51.100.9", 1234), SYN_ACK, 9, 2, b""));
    let got = lab.got(WAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), (("203.0.113.254".into(), "198.51.100.9".into()), (8080, 1234)));
    // A host beside the server: the server sees the external address, so that its answer comes back through the router.
    lab.from_lan(&tcp(("192.168.1.1", 1234), public, SYN, 1, 0, b""));
    let got = lab.got(LAN);
    assert_eq!(addresses(&got[0]), ("203.0.113.254".into(), "192.168.1.5".into()), "{:?}", lab.drops());
    let seen = ports(&got[0]).0;
    lab.from_lan(&tcp(("192.168.1.5", 80), ("203.0.113.254", seen), SYN_ACK, 9, 2, b""));
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), (("203.0.113.254".into(), "192.168.1.1".into()), (8080, 1234)));
    assert!(checksums_are_right(&got[0]));
    lab.lab.assert_conserved();
}
