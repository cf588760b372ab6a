//! The whole pipeline: whatever frames arrive at whatever ports, it does not panic and loses no frame uncounted.

#[path = "../lab/mod.rs"]
pub mod lab;

use dataplane::bond::{BondView, HashPolicy, Mode, PuntRules};
use dataplane::device::Capabilities;
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::snapshot::PortId;
use lab::{Lab, access, trunk, tunnel};
use wire::{Tag, Tpid};

use crate::frames::Input;

/// A switch with each kind of port, among them one without offloads, and a second switch behind a patch.
fn lab() -> Lab {
    let mut lab = Lab::with_switches(&[5, 2]);
    lab.port(1).vlan = access(10);
    lab.port(2).vlan = trunk("10,101", Some(1));
    lab.port(3).vlan = tunnel(101);
    lab.patch(4, 5);
    for port in [1, 3] {
        lab.attach(PortId(port), MemoryDevice::new(2048, true, Capabilities::NONE));
    }
    lab
}

#[test]
fn any_traffic() {
    bolero::check!().with_type::<Vec<(u8, Option<u16>, Input)>>().for_each(|traffic| {
        let mut lab = lab();
        for (port, tci, input) in traffic {
            let port = [0, 1, 2, 3, 6][usize::from(port % 5)];
            let (octets, offload) = input.frame();
            let tag = tci.map(|tci| Tag { tpid: Tpid::Dot1Q, tci });
            lab.send_frame(port, MemoryFrame { octets, offload, tag });
            // A device with a bounded queue must not fill up and hide what follows.
            lab.outs();
        }
        lab.assert_conserved();
    });
}

/// The same with a bond of any mode between the ports.
#[test]
fn any_traffic_over_a_bond() {
    bolero::check!().with_type::<(u8, [u8; 3], Vec<(u8, Option<u16>, Input)>)>().for_each(|(kind, [active, tx, rx], traffic)| {
        let mut lab = Lab::new(5);
        lab.port(1).vlan = trunk("10,101", Some(1));
        lab.attach(PortId(4), MemoryDevice::new(2048, true, Capabilities::NONE));
        let modes = [
            Mode::BalanceRr { packets_per_slave: 1 },
            Mode::ActiveBackup,
            Mode::BalanceXor,
            Mode::Broadcast,
            Mode::BalanceTlb { dynamic: true },
            Mode::BalanceAlb { dynamic: false },
            Mode::LoadBalance,
        ];
        let policies = [HashPolicy::Layer23, HashPolicy::Layer34, HashPolicy::Encap23, HashPolicy::Encap34, HashPolicy::VlanSrcMac];
        let state = lab.bond(1, &[2, 3, 4], modes[usize::from(kind % 7)], policies[usize::from(kind / 7 % 5)]);
        lab.bond_mut(1).punt = PuntRules { slow_protocols: true, arp: true, nd: true, igmp: true };
        let tx = (0..4).filter(|member| tx >> member & 1 != 0).collect();
        state.publish(&BondView { active: Some(*active), tx, rx: u32::from(*rx) });
        (0..3).for_each(|member| state.set_member_mac(member, lab::mac(member)));
        state.set_mac(lab::mac(1));
        for (port, tci, input) in traffic {
            let (octets, offload) = input.frame();
            let tag = tci.map(|tci| Tag { tpid: Tpid::Dot1Q, tci });
            lab.send_frame([0, 2, 3, 4][usize::from(port % 4)], MemoryFrame { octets, offload, tag });
            lab.outs();
        }
        lab.assert_conserved();
    });
}

/// Every truncation of every header, with and without the tag beside the octets.
#[test]
fn every_truncation() {
    for (octets, offload) in crate::frames::good() {
        let mut lab = lab();
        for len in 0..octets.len() {
            for tag in [None, Some(Tag { tpid: Tpid::Dot1Ad, tci: 101 })] {
                lab.send_frame(0, MemoryFrame { octets: octets[..len].to_vec(), offload, tag });
                lab.send_frame(2, MemoryFrame { octets: octets[..len].to_vec(), offload, tag });
                lab.outs();
            }
        }
        lab.assert_conserved();
    }
}
