//! Transmit hashes against values computed by hand from the kernel's formulas, and against a second way to compute them.

use dataplane::bond::{HashPolicy, Outgoing, hash};
use etherparse::PacketBuilder;
use proptest::prelude::*;
use wire::{Tag, Tpid};

const ALL: [HashPolicy; 6] =
    [HashPolicy::Layer2, HashPolicy::Layer23, HashPolicy::Layer34, HashPolicy::Encap23, HashPolicy::Encap34, HashPolicy::VlanSrcMac];

fn of(policy: HashPolicy, octets: &[u8]) -> u32 {
    tagged(policy, octets, &[])
}

fn tagged(policy: HashPolicy, octets: &[u8], tags: &[Tag]) -> u32 {
    hash::hash(policy, &Outgoing::new(octets, octets.len() as u32, tags).unwrap())
}

const A: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const B: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];
const C: [u8; 6] = [0x52, 0x54, 0, 0, 0, 3];
const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x1e, 0xf1, 0x21];

fn tcp(from: [u8; 6], to: [u8; 6], source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
    let mut octets = Vec::new();
    PacketBuilder::ethernet2(from, to).ipv4(source, destination, 64).tcp(ports.0, ports.1, 1, 100).write(&mut octets, b"x").unwrap();
    octets
}

#[test]
fn tcp_over_ipv4() {
    for (octets, layer2, layer23, layer34, fragment) in [
        (tcp(A, B, [10, 0, 0, 1], [10, 0, 0, 2], (40000, 80)), 0x803, 0x0303_0b08, 0x29a9_89c7, 0x0181_8181),
        (tcp(A, C, [192, 168, 45, 3], [8, 8, 8, 8], (40001, 443)), 0x802, 0x0b2e_864c, 0x584a_3a90, 0x0597_4723),
        (tcp(GUEST, B, [192, 168, 1, 2], [200, 200, 200, 1], (56303, 443)), 0x823, 0x03ca_a289, 0x5c38_7f96, 0x01e5_5551),
    ] {
        assert_eq!(of(HashPolicy::Layer2, &octets), layer2);
        for policy in [HashPolicy::Layer23, HashPolicy::Encap23] {
            assert_eq!(of(policy, &octets), layer23, "{policy:?}");
        }
        for policy in [HashPolicy::Layer34, HashPolicy::Encap34] {
            assert_eq!(of(policy, &octets), layer34, "{policy:?}");
            for (flags, offset) in [(0x20, 0), (0, 1), (0x20, 7)] {
                let mut octets = octets.clone();
                octets[20..22].copy_from_slice(&[flags, offset]);
                assert_eq!(of(policy, &octets), fragment, "{policy:?}");
            }
        }
    }
}

#[test]
fn what_is_no_ip_is_hashed_by_its_ethernet_header() {
    let mut arp = [[0xff; 6], A].concat();
    arp.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.resize(60, 0);
    for policy in [HashPolicy::Layer2, HashPolicy::Layer23, HashPolicy::Layer34] {
        assert_eq!(of(policy, &arp), 0x8f8);
    }
    // The flow dissector takes ARP for a packet without addresses.
    assert_eq!((of(HashPolicy::Encap23, &arp), of(HashPolicy::Encap34, &arp)), (0x8f0, 0));
    arp[12..14].copy_from_slice(&[0x88, 0xb5]);
    for policy in &ALL[..5] {
        assert_eq!(of(*policy, &arp), u32::from(0x88b5u16 ^ 0xfe), "{policy:?}");
    }
}

#[test]
fn icmp_has_its_identifier_for_ports() {
    let mut octets = Vec::new();
    let builder = PacketBuilder::ethernet2(A, B).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.icmpv4_echo_request(0x1234, 7).write(&mut octets, b"").unwrap();
    for policy in [HashPolicy::Layer34, HashPolicy::Encap34] {
        assert_eq!(of(policy, &octets), 0x0892_9296, "{policy:?}");
        let mut zero = octets.clone();
        zero[38..40].fill(0);
        let mut one = octets.clone();
        one[38..40].copy_from_slice(&[0, 1]);
        assert_eq!(of(policy, &zero), of(policy, &one), "an identifier of 0 counts as 1");
    }
}

/// An error has the hash of the packet that caused it.
#[test]
fn an_icmp_error_is_hashed_as_what_it_quotes() {
    let quoted = tcp(A, B, [10, 0, 0, 1], [10, 0, 0, 2], (40000, 80));
    for kind in [3, 4, 5, 11, 12] {
        let mut octets = Vec::new();
        let builder = PacketBuilder::ethernet2(A, B).ipv4([192, 168, 7, 7], [10, 0, 0, 1], 64);
        builder.icmpv4_raw(kind, 1, [0; 4]).write(&mut octets, &quoted[14..14 + 28]).unwrap();
        assert_eq!(of(HashPolicy::Layer34, &octets), 0x29a9_89c7, "type {kind}");
        assert_eq!(of(HashPolicy::Layer23, &octets), 0x0303_0b08, "type {kind}");
        // Cut inside the quoted header, the kernel falls back to layer 2.
        assert_eq!(of(HashPolicy::Layer34, &octets[..14 + 28 + 19]), 0x803);
        // Its dissector, unlike its driver, does not look into errors.
        assert_ne!(of(HashPolicy::Encap34, &octets), 0x29a9_89c7);
    }
}

#[test]
fn protocols_without_ports() {
    let base = tcp(A, B, [10, 0, 0, 1], [10, 0, 0, 2], (0xaabb, 0xccdd));
    let with = |protocol: u8| {
        let mut octets = base.clone();
        octets[23] = protocol;
        of(HashPolicy::Layer34, &octets)
    };
    let tcp = with(6);
    // UDP, DCCP, ESP (its index stands where ports would), SCTP and UDP-Lite.
    for protocol in [17, 33, 50, 132, 136] {
        assert_eq!(with(protocol), tcp, "protocol {protocol}");
    }
    assert_eq!(with(89), 0x0181_8181);
    // The index of AH comes four octets later: here, the sequence number of TCP.
    let spi = u32::from_le_bytes([0, 0, 0, 1]);
    let addresses = u32::from_le_bytes([0, 0, 0, 3]);
    assert_eq!(with(51), reference_mix(spi ^ addresses) >> 1);
}

#[test]
fn ipv6_extension_headers_hide_ports_but_not_from_the_dissector() {
    let (source, destination) = ([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let mut plain = Vec::new();
    PacketBuilder::ethernet2(A, B).ipv6(source, destination, 64).udp(1000, 2000).write(&mut plain, b"abc").unwrap();
    let mut extended = plain.clone();
    extended[20] = 60;
    extended.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(of(HashPolicy::Layer34, &plain), of(HashPolicy::Encap34, &plain));
    assert_eq!(of(HashPolicy::Encap34, &extended), of(HashPolicy::Encap34, &plain));
    let addresses = u32::from_le_bytes([0, 0, 0, 3]);
    assert_eq!(of(HashPolicy::Layer34, &extended), reference_mix(addresses) >> 1);
    let ports = u32::from_le_bytes([0x03, 0xe8, 0x07, 0xd0]);
    assert_eq!(of(HashPolicy::Layer34, &plain), reference_mix(addresses ^ ports) >> 1);
}

#[test]
fn encapsulation_policies_look_into_tunnels() {
    let inner = tcp(A, B, [10, 0, 0, 1], [10, 0, 0, 2], (40000, 80));
    let wrap = |protocol: u8, header: &[u8], packet: &[u8]| {
        let mut octets = Vec::new();
        let builder = PacketBuilder::ethernet2(A, B).ipv4([172, 16, 0, 1], [172, 16, 0, 9], 64);
        builder.write(&mut octets, etherparse::IpNumber(protocol), &[header, packet].concat()).unwrap();
        octets
    };
    let ip = &inner[14..];
    let vlan = [&inner[..12], &[0x81, 0, 0, 5][..], &inner[12..]].concat();
    for (name, octets) in [
        ("IP in IP", wrap(4, &[], ip)),
        ("GRE", wrap(47, &[0, 0, 8, 0], ip)),
        ("GRE with checksum, key and sequence", wrap(47, &[0xb0, 0, 8, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 1], ip)),
        ("GRE with Ethernet", wrap(47, &[0, 0, 0x65, 0x58], &inner)),
        ("GRE with tagged Ethernet", wrap(47, &[0, 0, 0x65, 0x58], &vlan)),
        ("PPTP", wrap(47, &[0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21], ip)),
        ("PPPoE", [&inner[..12], &[0x88, 0x64, 0x11, 0, 0, 1, 0, 60, 0, 0x21][..], ip].concat()),
        ("a second tag", vlan.clone()),
    ] {
        assert_eq!(of(HashPolicy::Encap34, &octets), 0x29a9_89c7, "{name}");
        assert_ne!(of(HashPolicy::Layer34, &octets), 0x29a9_89c7, "{name}");
    }
    let routed = wrap(47, &[0x40, 0, 8, 0], ip);
    let outer = u32::from_le_bytes([0, 0, 0, 8]);
    assert_eq!(of(HashPolicy::Encap34, &routed), reference_mix(outer) >> 1, "GRE with routing is not looked into");
}

#[test]
fn tags_count_as_in_the_kernel() {
    let octets = tcp(GUEST, B, [10, 0, 0, 1], [10, 0, 0, 2], (1, 2));
    let tag = |tci| Tag { tpid: Tpid::Dot1Q, tci };
    assert_eq!(tagged(HashPolicy::VlanSrcMac, &octets, &[tag(100)]), 0x004c_a545);
    assert_eq!(of(HashPolicy::VlanSrcMac, &octets), 0x004c_a545 ^ 100);
    for policy in &ALL[..5] {
        assert_eq!(tagged(*policy, &octets, &[tag(100)]), of(*policy, &octets), "{policy:?}: one tag is no part of the frame");
    }
    // With two, the inner one is what follows the addresses.
    let two = tagged(HashPolicy::Layer34, &octets, &[tag(7), Tag { tpid: Tpid::Dot1Ad, tci: 100 }]);
    assert_eq!(two, 0x8100 ^ 0x21 ^ 0x02);
    assert_eq!(tagged(HashPolicy::VlanSrcMac, &octets, &[tag(7), tag(100)]), 0x004c_a545);
}

fn reference_mix(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash ^= hash >> 8;
    hash
}

proptest! {
    /// TCP and UDP with any options, by a parser of another origin.
    #[test]
    fn any_flow(
        macs in any::<[u8; 12]>(), source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(),
        ports in any::<[u8; 4]>(), udp in any::<bool>(), options in 0usize..11, cut in 0usize..120,
    ) {
        let mut octets = macs.to_vec();
        octets.extend([8, 0, 0x45 + options as u8, 0, 0, 0, 0, 0, 0x40, 0, 64, if udp { 17 } else { 6 }, 0, 0]);
        octets.extend(source);
        octets.extend(destination);
        octets.resize(octets.len() + 4 * options, 1);
        let upper = octets.len();
        octets.extend(ports);
        octets.resize(octets.len() + 40, 9);
        let le = u32::from_le_bytes;
        let layer2 = u32::from(macs[5] ^ macs[11]) ^ 0x800;
        let addresses = le(source) ^ le(destination);
        prop_assert_eq!(of(HashPolicy::Layer34, &octets), reference_mix(le(ports) ^ addresses) >> 1);
        prop_assert_eq!(of(HashPolicy::Encap34, &octets), reference_mix(le(ports) ^ addresses) >> 1);
        prop_assert_eq!(of(HashPolicy::Layer23, &octets), reference_mix(layer2 ^ addresses));
        // Cut anywhere, the hash is one of a frame without ports or without addresses.
        let short = &octets[..octets.len().min(14 + cut)];
        let expected = match short.len() {
            len if len >= upper + 4 => reference_mix(le(ports) ^ addresses) >> 1,
            len if len >= 34 => reference_mix(addresses) >> 1,
            _ => layer2,
        };
        prop_assert_eq!(of(HashPolicy::Layer34, short), expected);
    }

    #[test]
    fn any_octets_have_a_hash(octets in proptest::collection::vec(any::<u8>(), 14..300)) {
        for policy in ALL {
            of(policy, &octets);
        }
    }
}
