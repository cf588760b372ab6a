//! Over random traffic and random ports: received and copied frames are all transmitted or dropped, transmitted frames
//! are where the counters say, and no octets make the switch panic.

mod lab;

use dataplane::bond::{BondView, HashPolicy, Mode, PuntRules};
use dataplane::device::Capabilities;
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::snapshot::{PortId, PriorityTags, VlanPolicy};
use lab::{Lab, access, frame, mac, tagged, trunk, tunnel};
use proptest::prelude::*;
use wire::{MacAddr, Offload, Tag, Tpid};

fn policy() -> impl Strategy<Value = VlanPolicy> {
    prop_oneof![
        Just(VlanPolicy::all_vlans()),
        (1u16..4).prop_map(access),
        Just(trunk("1-3", None)),
        Just(trunk("2,3", Some(1))),
        (1u16..4).prop_map(tunnel),
        (1u16..4).prop_map(|vlan| VlanPolicy { priority_tags: PriorityTags::Always, ..access(vlan) }),
    ]
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![
        (1u8..6).prop_map(mac),
        Just(MacAddr::BROADCAST),
        Just(MacAddr::ZERO),
        (0u8..16).prop_map(|n| MacAddr([1, 0x80, 0xc2, 0, 0, n])),
        any::<[u8; 6]>().prop_map(MacAddr),
    ];
    let built = (address.clone(), address, prop_oneof![Just(0x8100u16), Just(0x88a8)], any::<bool>(), 0u16..6, 14usize..1600).prop_map(
        |(to, from, tpid, is_tagged, vlan, len)| {
            let mut octets = if is_tagged { tagged(to, from, tpid, vlan) } else { frame(to, from) };
            octets.resize(len, 0);
            octets
        },
    );
    prop_oneof![4 => built, 1 => proptest::collection::vec(any::<u8>(), 0..400)]
}

fn offload() -> impl Strategy<Value = Offload> {
    let wild = (0u8..4, prop_oneof![Just(0u8), Just(1), Just(4), Just(5), any::<u8>()], any::<[u16; 4]>()).prop_map(
        |(flags, gso_type, [hdr_len, gso_size, csum_start, csum_offset])| Offload {
            flags,
            gso_type,
            hdr_len: hdr_len % 300,
            gso_size: gso_size % 2000,
            csum_start: csum_start % 300,
            csum_offset: csum_offset % 20,
        },
    );
    prop_oneof![3 => Just(Offload::NONE), 1 => wild]
}

fn memory_frame() -> impl Strategy<Value = MemoryFrame> {
    let tag = proptest::option::weighted(0.2, (any::<bool>(), any::<u16>()));
    (octets(), offload(), tag).prop_map(|(octets, offload, tag)| MemoryFrame {
        octets,
        offload,
        tag: tag.map(|(service, tci)| Tag { tpid: if service { Tpid::Dot1Ad } else { Tpid::Dot1Q }, tci }),
    })
}

#[derive(Debug, Clone)]
struct PortSetup {
    vlan: VlanPolicy,
    hairpin: bool,
    isolated: bool,
    up: bool,
    capable: bool,
    queue: usize,
    mtu: u32,
}

fn port() -> impl Strategy<Value = PortSetup> {
    (policy(), any::<[bool; 4]>(), 1usize..200, prop_oneof![Just(1500u32), 60u32..1500]).prop_map(
        |(vlan, [hairpin, isolated, up, capable], queue, mtu)| PortSetup {
            vlan,
            hairpin: hairpin && isolated,
            isolated,
            up: up || capable,
            capable,
            queue,
            mtu,
        },
    )
}

fn bond_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        (0u16..3).prop_map(|packets_per_slave| Mode::BalanceRr { packets_per_slave }),
        Just(Mode::ActiveBackup),
        Just(Mode::BalanceXor),
        Just(Mode::Broadcast),
        any::<bool>().prop_map(|dynamic| Mode::BalanceTlb { dynamic }),
        any::<bool>().prop_map(|dynamic| Mode::BalanceAlb { dynamic }),
        Just(Mode::LoadBalance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_disappears(
        ports in proptest::collection::vec(port(), 8),
        traffic in proptest::collection::vec((0usize..7, memory_frame()), 1..120),
        patched in any::<bool>(),
        bond in proptest::option::of((bond_mode(), any::<[u8; 4]>(), any::<bool>())),
    ) {
        let mut lab = Lab::with_switches(&[4, 4]);
        for (i, setup) in ports.iter().enumerate() {
            let capabilities = if setup.capable { Capabilities::ALL } else { Capabilities::NONE };
            lab.attach(PortId(i as u16), MemoryDevice::new(setup.queue, false, capabilities));
            let port = lab.port(i);
            port.vlan = setup.vlan.clone();
            port.hairpin = setup.hairpin;
            port.isolated = setup.isolated;
            port.mtu = setup.mtu;
            port.state.set_carrier(setup.up);
        }
        if patched {
            lab.patch(3, 4);
        }
        if let Some((mode, [active, tx, rx, policy], punts)) = bond {
            // Port 1 is a bond of ports 0 and 2.
            let policies = [HashPolicy::Layer2, HashPolicy::Layer23, HashPolicy::Layer34, HashPolicy::Encap34, HashPolicy::VlanSrcMac];
            let state = lab.bond(1, &[0, 2], mode, policies[usize::from(policy % 5)]);
            lab.bond_mut(1).punt = PuntRules { slow_protocols: punts, arp: punts, nd: punts };
            let tx = (0..3).filter(|member| tx >> member & 1 != 0).collect();
            state.publish(&BondView { active: Some(active % 3), tx, rx: u32::from(rx) });
            state.set_member_mac(0, mac(1));
            state.set_member_mac(1, mac(2));
            state.set_mac(mac(3));
        }
        for (to, frame) in traffic {
            let to = if patched && to >= 3 { if to == 3 { 0 } else { to + 1 } } else { to };
            lab.devices[to].inject(frame);
            if to % 2 == 0 {
                lab.run();
                lab.now += 100;
            }
        }
        lab.run();
        lab.assert_conserved();
        for port in 0..8 {
            if !patched || (port != 3 && port != 4) {
                let out = lab.out(port);
                prop_assert_eq!(out.len() as u64, lab.counters(port).tx_packets.get());
                prop_assert_eq!(out.iter().map(Vec::len).sum::<usize>() as u64, lab.counters(port).tx_bytes.get());
            }
        }
    }
}
