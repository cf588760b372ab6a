//! The steady path allocates nothing: not for known stations, not for flooding, tagging, dropping or learning.

mod lab;

use std::os::fd::BorrowedFd;

use dataplane::bond::{HashPolicy, Mode, PuntRules};
use dataplane::burst::{Burst, BurstMemory};
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport};
use dataplane::frame::Frame;
use dataplane::router::neighbour::{NextHop, Resolved};
use dataplane::router::packet::Packet;
use dataplane::router::reassembly::{Outcome, Reassembler, Settings};
use dataplane::router::waiting::{Limits, Waiting};
use dataplane::router::{Address, Family, InterfaceId, RouterId};
use dataplane::snapshot::PortId;
use lab::{Lab, access, frame, mac, tagged, trunk};
use wire::{MacAddr, Offload};

/// A receive queue that delivers the same frames again and again.
struct Endless(Vec<Vec<u8>>);

impl RxQueue for Endless {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        for octets in self.0.iter().cycle() {
            if burst.is_full() {
                break;
            }
            burst.push_borrowed(octets, Offload::NONE, None);
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A transmit queue that only counts.
struct Sink;

impl TxQueue for Sink {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        for pick in picks {
            report.sent(1, frames[usize::from(*pick)].wire_len() as u64);
        }
    }
}

fn slow_protocols() -> Vec<u8> {
    let mut octets = frame(MacAddr([1, 0x80, 0xc2, 0, 0, 2]), mac(1));
    octets[12..14].copy_from_slice(&[0x88, 0x09]);
    octets
}

#[test]
fn frames_cost_no_allocation() {
    let mut lab = Lab::new(7);
    lab.port(1).vlan = trunk("10,20", Some(1));
    lab.port(2).vlan = access(10);
    for port in 0..7 {
        lab.pipeline.attach(PortId(port), Box::new(Sink));
    }
    let mut queue = Endless(vec![
        frame(mac(2), mac(1)),                            // unknown, then known
        frame(MacAddr::BROADCAST, mac(1)),                // flooded
        tagged(MacAddr::BROADCAST, mac(3), 0x8100, 10),   // flooded, tagged and untagged
        tagged(mac(3), mac(4), 0x8100, 30),               // other VLAN
        frame(MacAddr([1, 0x80, 0xc2, 0, 0, 2]), mac(1)), // dropped
        vec![1; 7],                                       // runt
        frame(mac(1), MacAddr([0x52, 0x54, 1, 1, 1, 1])), // same port
    ]);
    // Port 4 is a bond of ports 5 and 6, whose frames control gets too.
    lab.bond(4, &[5, 6], Mode::Broadcast, HashPolicy::Layer34);
    lab.bond_mut(4).punt = PuntRules { slow_protocols: true, arp: true, nd: true, igmp: true };
    queue.0.push(slow_protocols());
    let run = |lab: &mut Lab, queue: &mut Endless, turns: u32| {
        for turn in 0..turns {
            let mut burst = lab.memory.burst();
            queue.receive(&mut burst).unwrap();
            lab.pipeline.run(&lab.snapshot, PortId([0, 1, 2, 3, 5, 6][turn as usize % 6]), &mut burst, turn);
        }
    };
    run(&mut lab, &mut queue, 8);
    let allocations = allocation_counter::measure(|| run(&mut lab, &mut queue, 2000));
    assert_eq!(allocations.count_total, 0);
    // The instrument itself works.
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8]))).count_total, 1);
    assert!(lab.counters(0).rx_packets.get() > 8000);
    lab.assert_conserved();
}

/// What routers keep for a while has its memory from the start: packets that wait for a neighbour, fragments that wait for others.
#[test]
fn what_waits_costs_no_allocation() {
    let hop = |address| NextHop { router: RouterId(0), interface: InterfaceId(0), family: Family::V4, address: Address(address) };
    let fragment = |identification: u16, source: u8| {
        let mut octets = [&[2; 12][..], &[8, 0, 0x45, 0, 5, 220]].concat();
        octets.extend(identification.to_be_bytes());
        octets.extend([0x20, 0, 64, 17, 0, 0, 10, 0, 0, source, 10, 1, 0, 1]);
        octets.resize(1514, 7);
        wire::Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        octets
    };
    let octets: Vec<Vec<u8>> = (0..8).map(|source| fragment(0, source)).collect();
    let (mut waiting, mut reassembler) = (Waiting::new(), Reassembler::new());
    let mut memories = [BurstMemory::new(), BurstMemory::new()];
    let mut kept = 0;
    let mut turn = |now: u64| {
        let [memory, other] = &mut memories;
        let mut burst = memory.burst();
        octets.iter().for_each(|octets| burst.push_borrowed(octets, Offload::NONE, None));
        for (i, frame) in burst.frames().iter().enumerate() {
            let mut packet = Packet::parse(frame, Family::V4).unwrap();
            waiting.hold(hop(u128::from(now) * 8 + i as u128), None, frame, Limits::default(), now);
            packet.fragment.as_mut().unwrap().identification = now as u32;
            let outcome = reassembler.push(&Settings::default(), RouterId(0), PortId(i as u16), frame, &packet, now, |_| {});
            kept += u32::from(matches!(outcome, Outcome::Held));
        }
        if now.is_multiple_of(64) {
            waiting.settle(now, |_| Resolved::Failed);
            loop {
                let (mut burst, mut ready) = (other.burst(), Default::default());
                waiting.take(&mut burst, &mut ready);
                if burst.is_empty() {
                    break;
                }
            }
        }
        if now.is_multiple_of(300) {
            reassembler.expire(now + 30_000_000_000, |_| {});
        }
    };
    (0..300).for_each(&mut turn);
    let allocations = allocation_counter::measure(|| (300..3000).for_each(&mut turn));
    assert_eq!(allocations.count_total, 0);
    assert_eq!(kept, 3000 * 8);
}
