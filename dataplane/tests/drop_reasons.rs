//! For every drop reason, a frame that is dropped for it and for nothing else.

mod lab;

use dataplane::bond::{BondView, HashPolicy, Mode};
use dataplane::burst::{Burst, Received};
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport};
use dataplane::drop_reason::{DropReason, Side};
use dataplane::fdb::EntryKind;
use dataplane::frame::Frame;
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::snapshot::PortId;
use lab::{Lab, ROUTER_REASONS, access, frame, mac, tagged, trunk, tunnel};
use std::os::fd::BorrowedFd;
use wire::{MacAddr, Offload, VlanId, virtio_net};

/// A receive queue that says it lost frames.
struct Losing(DropReason);

impl RxQueue for Losing {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        burst.lost(self.0, 1);
        burst.read_with(|_, _| Ok::<_, RxError>(None::<Received>)).map(|_| ())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A transmit queue whose kernel refuses everything.
struct Refusing(DropReason);

impl TxQueue for Refusing {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn transmit(&mut self, _: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        report.dropped(self.0, picks.len() as u64);
    }
}

fn run_losing(lab: &mut Lab, reason: DropReason) {
    let mut queue = Losing(reason);
    let mut burst = lab.memory.burst();
    queue.receive(&mut burst).unwrap();
    lab.pipeline.run(&lab.snapshot, PortId(0), &mut burst, 0);
}

/// A GSO frame of TCP over IPv4 whose IPv4 header length field is too short to be true.
fn unsegmentable() -> MemoryFrame {
    let mut octets = frame(mac(2), mac(1));
    octets.resize(4000, 0);
    octets[12..14].copy_from_slice(&[0x08, 0x00]);
    octets[14] = 0x41;
    let offload = Offload {
        flags: virtio_net::FLAG_NEEDS_CSUM,
        gso_type: virtio_net::GSO_TCPV4,
        hdr_len: 54,
        gso_size: 1000,
        csum_start: 34,
        csum_offset: 16,
    };
    MemoryFrame { octets, offload, tag: None }
}

/// Provokes `reason` at a switch of three ports: the frame arrives at port 0 and should leave by port 1.
fn provoke(reason: DropReason, lab: &mut Lab) {
    let to_known = frame(mac(2), mac(1));
    // Station 2 is at port 1.
    lab.send(1, &frame(MacAddr::BROADCAST, mac(2)));
    match reason {
        DropReason::RxRingFull | DropReason::RxTruncated | DropReason::RxBadDescriptor => run_losing(lab, reason),
        DropReason::RxBadOffload => {
            let offload = Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: 300, csum_offset: 6, ..Offload::NONE };
            lab.send_frame(0, MemoryFrame { octets: to_known, offload, tag: None });
        }
        DropReason::Runt => lab.send(0, &to_known[..13]),
        DropReason::VlanTagCut => lab.send(0, &tagged(mac(2), mac(1), 0x8100, 10)[..17]),
        DropReason::VlanReserved => lab.send(0, &tagged(mac(2), mac(1), 0x8100, 4095)),
        DropReason::IngressDisabled => {
            lab.port(0).state.set_enabled(false);
            lab.send(0, &to_known);
        }
        DropReason::SrcMacInvalid => lab.send(0, &frame(mac(2), MacAddr::ZERO)),
        DropReason::MacControl => lab.send(0, &frame(MacAddr([1, 0x80, 0xc2, 0, 0, 1]), mac(1))),
        DropReason::ReservedGroup => lab.send(0, &frame(MacAddr([1, 0x80, 0xc2, 0, 0, 2]), mac(1))),
        DropReason::BondInactive => {
            let state = lab.bond(2, &[0], Mode::ActiveBackup, HashPolicy::Layer2);
            state.publish(&BondView::default());
            lab.send(0, &to_known);
        }
        DropReason::BondOwnFrame => {
            let state = lab.bond(2, &[0], Mode::BalanceTlb { dynamic: true }, HashPolicy::Layer2);
            state.set_member_mac(5, mac(1));
            lab.send(0, &to_known);
        }
        DropReason::PuntQueueFull => {
            lab.bond(2, &[0], Mode::Ieee8023ad, HashPolicy::Layer2);
            lab.bond_mut(2).punt.slow_protocols = true;
            let mut pdu = frame(MacAddr([1, 0x80, 0xc2, 0, 0, 2]), mac(1));
            pdu[12..14].copy_from_slice(&[0x88, 0x09]);
            while lab.drops(0, reason) == 0 {
                lab.send(0, &pdu);
            }
        }
        DropReason::NoPvid => {
            lab.port(0).vlan = trunk("10", None);
            lab.send(0, &to_known);
        }
        DropReason::AccessTagged => {
            lab.port(0).vlan = access(10);
            lab.send(0, &tagged(mac(2), mac(1), 0x8100, 10));
        }
        DropReason::VlanIngressFilter => {
            lab.port(0).vlan = trunk("10", None);
            lab.send(0, &tagged(mac(2), mac(1), 0x8100, 20));
        }
        DropReason::VlanStackFull => {
            // Port 0 tunnels into a patch whose other end tunnels too, over a trunk that keeps both tags.
            *lab = Lab::with_switches(&[2, 2]);
            lab.port(0).vlan = tunnel(100);
            lab.port(1).vlan = trunk("100", None);
            lab.port(2).vlan = tunnel(200);
            lab.patch(1, 2);
            lab.send(0, &tagged(mac(2), mac(1), 0x8100, 10));
        }
        DropReason::PatchHops => {
            // Two patches between the same two switches: control refuses that, the data plane survives it.
            *lab = Lab::with_switches(&[3, 2]);
            lab.patch(1, 3);
            lab.patch(2, 4);
            lab.send(0, &to_known);
        }
        DropReason::StaticMove => {
            lab.switch(0).fdb.insert(mac(1), VlanId::NONE, PortId(2), EntryKind::Static, 0);
            lab.send(0, &to_known);
        }
        DropReason::SamePort => {
            lab.send(0, &frame(MacAddr::BROADCAST, mac(3)));
            lab.send(0, &frame(mac(3), mac(1)));
        }
        DropReason::NoFloodTarget => {
            lab.port(1).flood = false;
            lab.port(2).flood = false;
            lab.send(0, &frame(mac(9), mac(1)));
        }
        DropReason::Isolated => {
            lab.port(0).isolated = true;
            lab.port(1).isolated = true;
            lab.send(0, &to_known);
        }
        DropReason::VlanEgressFilter => {
            lab.port(1).vlan = trunk("10", None);
            lab.send(0, &to_known);
        }
        DropReason::PortDown => {
            lab.port(1).state.set_carrier(false);
            lab.send(0, &to_known);
        }
        DropReason::BondNoMember => {
            let state = lab.bond(1, &[2], Mode::BalanceXor, HashPolicy::Layer2);
            state.publish(&BondView::default());
            lab.send(0, &to_known);
        }
        DropReason::MtuExceeded => {
            lab.port(1).mtu = 45;
            lab.send(0, &to_known);
        }
        DropReason::NotSegmentable => {
            lab.attach(PortId(1), MemoryDevice::new(8, false, Capabilities::NONE));
            lab.port(1).mtu = 9000;
            lab.send_frame(0, unsegmentable());
        }
        DropReason::TxQueueFull => {
            lab.attach(PortId(1), MemoryDevice::new(1, false, Capabilities::ALL));
            lab.send(0, &to_known);
            lab.send(0, &to_known);
        }
        DropReason::TxLinkDown | DropReason::TxRejected | DropReason::TxBadDescriptor | DropReason::TxBufferTooSmall => {
            lab.pipeline.attach(PortId(1), Box::new(Refusing(reason)));
            lab.send(0, &to_known);
        }
        other => panic!("no case for {other}"),
    }
}

#[test]
fn every_reason_can_be_provoked_and_is_counted_where_it_belongs() {
    for reason in DropReason::ALL.iter().filter(|reason| !ROUTER_REASONS.contains(reason)) {
        let mut lab = Lab::new(3);
        provoke(*reason, &mut lab);
        let drops = lab.all_drops();
        if *reason == DropReason::PatchHops {
            // The copies that go round in a circle end at both ends of both patches.
            assert!(drops.iter().any(|(_, name, _)| *name == reason.name()), "{reason}: {drops:?}");
        } else {
            let port = match (*reason, reason.side()) {
                (DropReason::VlanStackFull, _) => 2,
                (_, Side::Ingress) => 0,
                (_, Side::Egress) => 1,
            };
            assert_eq!(drops, [(port, reason.name(), 1)], "{reason}");
        }
        lab.assert_conserved();
    }
}
