//! AF_PACKET on veth pairs, in namespaces of their own: `vs0` is attached, `peer` is its other end.

mod lab;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use dataplane::Poller;
use dataplane::device::{Capabilities, RxError};
use dataplane::drop_reason::DropReason;
use lab::*;
use netdev::{Error, MioPoller, Opened, PacketOptions, packet};
use wire::{Offload, Tag, Tpid, virtio_net};

fn options(interface: &str) -> PacketOptions {
    PacketOptions { interface: interface.into(), netns: None, queues: 1, offload: true, ring_size: 2 << 20, qdisc_bypass: false }
}

fn open(options: &PacketOptions) -> Opened {
    packet::open(options, 1).unwrap_or_else(|e| panic!("{e}"))
}

/// A veth pair, one end attached, and a raw socket on the other.
fn attached(options: &PacketOptions) -> (Opened, Raw) {
    veth("vs0", "peer");
    (open(options), Raw::open("peer"))
}

fn promiscuity(interface: &str) -> u32 {
    let output = std::process::Command::new("ip").args(["-d", "link", "show", "dev", interface]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let after = text.split("promiscuity ").nth(1).unwrap_or_else(|| panic!("{text}"));
    after.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn frames_of_every_length_are_received_and_offsets_fit() {
    lab(|| {
        let (mut opened, raw) = attached(&options("vs0"));
        let interface = opened.interface.as_ref().unwrap();
        assert_eq!((interface.name.as_str(), Some(interface.mac), interface.mtu), ("vs0", facts("vs0").mac, 1500));
        let lengths = [15, 60, 255, 256, 257, 1513, 1514];
        for (i, len) in lengths.iter().enumerate() {
            raw.send(&test_frame(i as u8, *len));
        }
        let got = Receiver::default().expect(&mut *opened.rx[0], lengths.len(), test_frames);
        for (i, len) in lengths.iter().enumerate() {
            assert_eq!(got[i].octets(), test_frame(i as u8, *len));
            assert_eq!((got[i].head.len(), got[i].tag), ((*len).min(256), None));
        }
    });
}

#[test]
fn long_frames_come_whole_and_in_order_with_short_ones() {
    lab(|| {
        veth("vs0", "peer");
        ip("link set vs0 mtu 65000");
        ip("link set peer mtu 65000");
        let (mut opened, raw) = (open(&options("vs0")), Raw::open("peer"));
        // 1972 octets fit a slot, 1973 do not.
        let lengths = [60, 1972, 1973, 60, 9014, 65_014, 1514, 30_000, 60];
        for (i, len) in lengths.iter().enumerate() {
            raw.send(&test_frame(i as u8, *len));
        }
        let got = Receiver::default().expect(&mut *opened.rx[0], lengths.len(), test_frames);
        for (i, len) in lengths.iter().enumerate() {
            assert!(got[i].octets() == test_frame(i as u8, *len), "frame {i} of {len} octets");
        }
    });
}

#[test]
fn the_tag_is_delivered_beside_the_octets() {
    lab(|| {
        veth("vs0", "peer");
        ip("link set vs0 mtu 9000");
        ip("link set peer mtu 9000");
        let (mut opened, raw) = (open(&options("vs0")), Raw::open("peer"));
        for (tpid, tci) in [(Tpid::Dot1Q, 0x6064), (Tpid::Dot1Ad, 0x0001), (Tpid::Dot1Q, 0)] {
            for len in [60, 5000] {
                let tag = Tag { tpid, tci };
                let mut octets = test_frame(1, len);
                octets.splice(12..12, tag.to_bytes());
                raw.send(&octets);
                let got = Receiver::default().expect(&mut *opened.rx[0], 1, test_frames).remove(0);
                assert_eq!((got.octets(), got.tag), (test_frame(1, len), Some(tag)));
            }
        }
    });
}

#[test]
fn transmitted_frames_arrive_with_their_tags() {
    lab(|| {
        for qdisc_bypass in [false, true] {
            for offload in [false, true] {
                let (mut opened, _raw) = attached(&PacketOptions { qdisc_bypass, offload, ..options("vs0") });
                let mut other = open(&options("peer"));
                let frames: Vec<_> = (0..32).map(|i| test_frame(i, 14 + 47 * (i as usize + 1))).filter(|f| f.len() <= 1514).collect();
                let given: Vec<_> = frames.iter().map(|f| (&f[..], Offload::NONE)).collect();
                let octets = frames.iter().map(|f| f.len() as u64).sum::<u64>();
                for tags in [&[][..], &[Tag { tpid: Tpid::Dot1Q, tci: 0x2005 }]] {
                    let counters = transmit(&mut *opened.tx[0], &given, tags);
                    let expected = (frames.len() as u64, octets + 4 * (tags.len() * frames.len()) as u64);
                    assert_eq!((counters.tx_packets.get(), counters.tx_bytes.get()), expected, "{:?}", drops(&counters));
                    let got = Receiver::default().expect(&mut *other.rx[0], frames.len(), test_frames);
                    assert!(got.iter().zip(&frames).all(|(g, f)| g.octets() == *f && g.tag == tags.first().copied()));
                }
                drop((opened, other));
                ip("link del vs0");
            }
        }
    });
}

#[test]
fn what_the_switch_sends_does_not_come_back() {
    lab(|| {
        for queues in [1, 2] {
            let (mut opened, raw) = attached(&PacketOptions { queues, ..options("vs0") });
            let frame = test_frame(1, 60);
            assert_eq!(transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]).tx_packets.get(), 1);
            assert_eq!(raw.recv(is_test), frame);
            // Also what the host itself sends through the interface is not received: it did not arrive there.
            Raw::open("vs0").send(&frame);
            raw.recv(is_test);
            raw.send(&test_frame(2, 60));
            let mut got = Vec::new();
            wait_for("the frame from the other end", || {
                for rx in &mut opened.rx {
                    let mut receiver = Receiver::default();
                    receiver.turn(&mut **rx).unwrap();
                    got.extend(receiver.frames.into_iter().filter(test_frames));
                }
                !got.is_empty()
            });
            assert_eq!(got.iter().map(|g| g.head[14]).collect::<Vec<_>>(), [2]);
            drop(opened);
            ip("link del vs0");
        }
    });
}

#[test]
fn frames_for_other_stations_are_received_in_promiscuous_mode_until_closed() {
    lab(|| {
        let (mut opened, raw) = attached(&options("vs0"));
        assert_eq!(promiscuity("vs0"), 1);
        let mut frame = test_frame(1, 60);
        frame[..6].copy_from_slice(&MAC_B);
        raw.send(&frame);
        assert_eq!(Receiver::default().expect(&mut *opened.rx[0], 1, test_frames)[0].octets(), frame);
        drop(opened);
        wait_for("the end of promiscuous mode", || promiscuity("vs0") == 0);
    });
}

#[test]
fn an_overrun_of_the_ring_is_counted_and_the_ring_works_on() {
    lab(|| {
        let (mut opened, raw) = attached(&PacketOptions { ring_size: 64 << 10, ..options("vs0") });
        for round in 1..=3u64 {
            // 32 slots; nobody reads.
            (0..100).for_each(|number| raw.send(&test_frame(number, 60)));
            let mut receiver = Receiver::default();
            let got = receiver.expect(&mut *opened.rx[0], 32, test_frames);
            assert!(got.iter().enumerate().all(|(i, g)| g.head[14] == i as u8), "the oldest are kept, in order");
            wait_for("the count of lost frames", || {
                let _ = receiver.turn(&mut *opened.rx[0]);
                receiver.lost_for(DropReason::RxRingFull) == 68
            });
            raw.send(&test_frame(round as u8, 60));
            assert_eq!(receiver.expect(&mut *opened.rx[0], 1, test_frames)[0].head[14], round as u8);
            assert_eq!(receiver.lost_for(DropReason::RxRingFull), 68, "counted once");
        }
    });
}

#[test]
fn a_link_that_goes_down_reports_it_and_works_again_by_itself() {
    lab(|| {
        let (mut opened, _) = attached(&options("vs0"));
        ip("link set vs0 down");
        assert_eq!(next_error(&mut *opened.rx[0]), RxError::LinkDown);
        let frame = test_frame(1, 60);
        let counters = transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE), (&frame, Offload::NONE)], &[]);
        assert_eq!(counters.drops(DropReason::TxLinkDown), 2);
        ip("link set vs0 up");
        wait_for("carrier", || facts("vs0").carrier && facts("peer").carrier);
        let raw = Raw::open("peer");
        raw.send(&frame);
        assert_eq!(Receiver::default().expect(&mut *opened.rx[0], 1, test_frames)[0].octets(), frame);
        assert_eq!(transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]).tx_packets.get(), 1);
        assert_eq!(raw.recv(is_test), frame);
        // Long frames are read from the socket, where the error waited.
        ip("link set vs0 mtu 9000");
        ip("link set peer mtu 9000");
        ip("link set vs0 down");
        ip("link set vs0 up");
        wait_for("carrier", || facts("vs0").carrier && facts("peer").carrier);
        let raw = Raw::open("peer");
        let (long, short) = (test_frame(2, 5000), test_frame(3, 60));
        raw.send(&long);
        raw.send(&short);
        let got = Receiver::default().expect(&mut *opened.rx[0], 2, test_frames);
        assert_eq!((got[0].octets(), got[1].octets()), (long, short));
    });
}

#[test]
fn an_interface_that_is_down_can_be_attached_and_works_when_it_comes_up() {
    lab(|| {
        ip("link add vs0 type veth peer name peer");
        let mut opened = open(&options("vs0"));
        let frame = test_frame(1, 60);
        assert_eq!(transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]).drops(DropReason::TxLinkDown), 1);
        ip("link set vs0 up");
        ip("link set peer up");
        wait_for("carrier", || facts("vs0").carrier && facts("peer").carrier);
        Raw::open("peer").send(&frame);
        assert_eq!(Receiver::default().expect(&mut *opened.rx[0], 1, test_frames)[0].octets(), frame);
    });
}

#[test]
fn a_removed_interface_is_gone_and_its_successor_can_be_attached() {
    lab(|| {
        for down_first in [false, true] {
            for queues in [1, 2] {
                let (mut opened, _) = attached(&PacketOptions { queues, ..options("vs0") });
                if down_first {
                    ip("link set vs0 down");
                    assert_eq!(next_error(&mut *opened.rx[0]), RxError::LinkDown);
                }
                ip("link del vs0");
                for rx in &mut opened.rx {
                    wait_for("the end of the queue", || Receiver::default().turn(&mut **rx) == Err(RxError::Gone));
                }
                let frame = test_frame(1, 60);
                let counters = transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]);
                assert_eq!(counters.drops(DropReason::TxLinkDown), 1);
                let (mut again, raw) = attached(&options("vs0"));
                raw.send(&frame);
                assert_eq!(Receiver::default().expect(&mut *again.rx[0], 1, test_frames)[0].octets(), frame);
                drop((opened, again));
                ip("link del vs0");
            }
        }
    });
}

#[test]
fn only_ethernet_interfaces_are_attached() {
    lab(|| {
        let error = packet::open(&options("lo"), 1).unwrap_err();
        assert!(matches!(&error, Error::NotEthernet { link_type: 772, .. }), "{error}");
        assert!(error.to_string().contains("loopback (772)"));
        ip("tuntap add dev tun0 mode tun");
        let error = packet::open(&options("tun0"), 1).unwrap_err();
        assert!(error.to_string().contains("none/tun (65534)"), "{error}");
        let error = packet::open(&options("nothere"), 1).unwrap_err();
        assert_eq!(error.to_string(), "interface \"nothere\": no such interface");
        let error = packet::open(&options("a-name-no-netdev-can-have"), 1).unwrap_err();
        assert!(matches!(error, Error::NoSuchInterface { .. }), "{error}");
    });
}

#[test]
fn the_tap_of_another_process_can_be_attached() {
    lab(|| {
        // As of a VMM: here a TAP of our own, of which this port knows nothing.
        let tap_options = netdev::TapOptions { name: "vm0".into(), netns: None, mac: None, mtu: None, queues: 1, offload: true };
        let mut vm = netdev::tap::open(&tap_options, 1).unwrap();
        let mut port = open(&options("vm0"));
        let frame = test_frame(1, 60);
        transmit(&mut *vm.tx[0], &[(&frame, Offload::NONE)], &[]);
        assert_eq!(Receiver::default().expect(&mut *port.rx[0], 1, test_frames)[0].octets(), frame);
        transmit(&mut *port.tx[0], &[(&frame, Offload::NONE)], &[]);
        assert_eq!(Receiver::default().expect(&mut *vm.rx[0], 1, test_frames)[0].octets(), frame);
    });
}

#[test]
fn a_driver_that_takes_no_more_is_a_full_queue() {
    lab(|| {
        // A TAP whose owner does not read holds as many frames as its queue is long.
        let tap_options = netdev::TapOptions { name: "vm0".into(), netns: None, mac: None, mtu: None, queues: 1, offload: true };
        let mut vm = netdev::tap::open(&tap_options, 1).unwrap();
        ip("link set vm0 txqueuelen 100");
        let mut port = open(&PacketOptions { qdisc_bypass: true, ..options("vm0") });
        let frame = test_frame(1, 60);
        let (mut sent, mut full) = (0, 0);
        for _ in 0..10 {
            let counters = transmit(&mut *port.tx[0], &[(&frame[..], Offload::NONE); 32], &[]);
            sent += counters.tx_packets.get();
            full += counters.drops(DropReason::TxQueueFull);
        }
        assert_eq!(sent + full, 320);
        assert!(full > 0, "{sent} frames were sent");
        let got = Receiver::default().expect(&mut *vm.rx[0], sent as usize, test_frames);
        assert_eq!(got.len() as u64, sent, "sent means that the driver has it");
    });
}

#[test]
fn flows_spread_over_the_queues_and_none_is_received_twice() {
    lab(|| {
        veth("vs0", "peer");
        let mut opened = packet::open(&PacketOptions { queues: 3, ..options("vs0") }, 2).unwrap();
        assert_eq!((opened.rx.len(), opened.tx.len()), (3, 2));
        // A second group on another interface must not mix with the first.
        veth("vs1", "peer1");
        let mut second = packet::open(&PacketOptions { queues: 2, ..options("vs1") }, 1).unwrap();
        ip("addr add 10.9.0.1/24 dev peer");
        ip("neigh add 10.9.0.2 lladdr 52:54:00:00:00:0b dev peer");
        for port in 0..64u16 {
            let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
            socket.send_to(b"x", ("10.9.0.2", 1000 + port)).unwrap();
        }
        let mut per_queue = [0; 3];
        wait_for("64 frames", || {
            for (count, rx) in per_queue.iter_mut().zip(&mut opened.rx) {
                let mut receiver = Receiver::default();
                receiver.turn(&mut **rx).unwrap();
                *count += receiver.frames.iter().filter(|f| f.head[..6] == MAC_B).count();
            }
            per_queue.iter().sum::<usize>() >= 64
        });
        assert_eq!(per_queue.iter().sum::<usize>(), 64);
        assert!(per_queue.iter().filter(|n| **n > 0).count() > 1, "{per_queue:?}");
        for rx in &mut second.rx {
            assert_eq!(Receiver::default().turn(&mut **rx), Ok(0));
        }
    });
}

/// Two hosts, each on a veth whose other end is attached with the given options.
fn tcp_between_two_veths(a_options: PacketOptions, b_options: PacketOptions) -> (usize, bool) {
    let (a, b) = (Space::new(), Space::new());
    for (space, port, address) in [(&a, "vs0", "10.9.0.1"), (&b, "vs1", "10.9.0.2")] {
        ip(&format!("link add {port} type veth peer name eth0 netns {}", space.path()));
        ip(&format!("link set {port} up"));
        space.ip(&format!("addr add {address}/24 dev eth0"));
        space.ip("link set eth0 up");
    }
    let (mut port_a, mut port_b) = (open(&a_options), open(&b_options));
    let mut seen = (0, false);
    tcp_transfer(&a, &b, 3_000_000, |done| seen = pump(&mut port_a, &mut port_b, done));
    seen
}

#[test]
fn tcp_crosses_in_large_segments() {
    lab(|| {
        let (longest, gso) = tcp_between_two_veths(options("vs0"), options("vs1"));
        assert!(gso && longest > 10_000, "longest frame {longest}");
    });
}

#[test]
fn unfinished_frames_say_what_is_left_even_without_offload() {
    lab(|| {
        // The kernel hands over what local senders left unfinished; without offload the port only sends finished frames.
        veth("vs0", "peer");
        let mut opened = open(&PacketOptions { offload: false, ..options("vs0") });
        assert_eq!(opened.tx[0].capabilities(), Capabilities::NONE);
        ip("addr add 10.9.0.1/24 dev peer");
        ip("neigh add 10.9.0.2 lladdr 52:54:00:00:00:0b dev peer");
        std::net::UdpSocket::bind("10.9.0.1:0").unwrap().send_to(b"x", "10.9.0.2:1000").unwrap();
        let got = Receiver::default().expect(&mut *opened.rx[0], 1, |f| f.head[..6] == MAC_B).remove(0);
        assert_eq!((got.offload.flags, got.offload.csum_start, got.offload.csum_offset), (virtio_net::FLAG_NEEDS_CSUM, 34, 6));
    });
}

#[test]
fn a_tagged_segment_is_cut_by_the_kernel_where_it_leaves() {
    lab(|| {
        let (mut opened, _raw) = attached(&options("vs0"));
        // Without segmentation offload at the other end the kernel must cut the frame, tag and all.
        let status = std::process::Command::new("ethtool").args(["-K", "vs0", "tso", "off", "gso", "off", "tx", "off"]).output();
        if !status.is_ok_and(|output| output.status.success()) {
            panic!("ethtool is needed to switch offloads off");
        }
        let mut other = open(&options("peer"));
        let payload = 4000;
        let mut frame = [&MAC_B[..], &MAC_A, &[0x08, 0x00]].concat();
        let ip_len = (20 + 20 + payload) as u16;
        frame.extend([0x45, 0]);
        frame.extend(ip_len.to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
        frame.extend([0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend((0..payload).map(|i| i as u8));
        let offload = Offload {
            flags: virtio_net::FLAG_NEEDS_CSUM,
            gso_type: virtio_net::GSO_TCPV4,
            hdr_len: 54,
            gso_size: 1400,
            csum_start: 34,
            csum_offset: 16,
        };
        let tag = Tag { tpid: Tpid::Dot1Q, tci: 0x0007 };
        let counters = transmit(&mut *opened.tx[0], &[(&frame, offload)], &[tag]);
        assert_eq!(counters.tx_packets.get(), 1, "{:?}", drops(&counters));
        let got = Receiver::default().expect(&mut *other.rx[0], 3, |f| f.head[..6] == MAC_B);
        assert_eq!(got.iter().map(|g| g.octets().len()).collect::<Vec<_>>(), [1454, 1454, 1254]);
        assert!(got.iter().all(|g| g.tag == Some(tag) && !g.offload.needs_checksum() && !g.offload.is_gso()));
        let data: Vec<u8> = got.iter().flat_map(|g| g.octets()[54..].to_vec()).collect();
        assert_eq!(data, (0..payload).map(|i| i as u8).collect::<Vec<_>>());
    });
}

#[test]
fn frames_the_kernel_refuses_are_counted_and_the_others_pass() {
    lab(|| {
        let (mut opened, raw) = attached(&options("vs0"));
        let (good, long) = (test_frame(1, 60), test_frame(2, 3000));
        let bad = Offload { flags: 1, csum_start: 5000, csum_offset: 16, ..Offload::NONE };
        let given = [(&good[..], Offload::NONE), (&long, Offload::NONE), (&good, bad), (&good, Offload::NONE)];
        let counters = transmit(&mut *opened.tx[0], &given, &[]);
        assert_eq!((counters.tx_packets.get(), counters.drops(DropReason::TxRejected)), (2, 2));
        assert_eq!((raw.recv(is_test), raw.recv(is_test)), (good.clone(), good));
        assert_eq!(raw.try_recv(), None);
    });
}

#[test]
fn the_poller_reports_short_and_long_frames_that_came_before_the_wait() {
    lab(|| {
        veth("vs0", "peer");
        ip("link set vs0 mtu 9000");
        ip("link set peer mtu 9000");
        let (mut opened, raw) = (open(&options("vs0")), Raw::open("peer"));
        let mut poller = MioPoller::new().unwrap();
        poller.add(opened.rx[0].fd().unwrap(), 9).unwrap();
        for number in 0..40 {
            while Receiver::default().turn(&mut *opened.rx[0]) != Ok(0) {}
            raw.send(&test_frame(number, if number % 2 == 0 { 60 } else { 5000 }));
            let mut tokens = Vec::new();
            poller.poll(Some(PATIENCE), &mut |token| tokens.push(token)).unwrap();
            assert_eq!(tokens, [9], "frame {number}");
            Receiver::default().expect(&mut *opened.rx[0], 1, test_frames);
        }
        while Receiver::default().turn(&mut *opened.rx[0]) != Ok(0) {}
        ip("link set vs0 down");
        let mut tokens = Vec::new();
        poller.poll(Some(PATIENCE), &mut |token| tokens.push(token)).unwrap();
        assert_eq!(tokens, [9], "a link that goes down wakes the worker");
    });
}

#[test]
fn no_frame_is_received_twice_while_queues_are_added() {
    lab(|| {
        veth("vs0", "peer");
        let raw = Raw::open("peer");
        for _ in 0..3 {
            let stop = AtomicBool::new(false);
            let mut opened = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for number in 0u32.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let mut frame = test_frame(0, 60);
                        frame[14..18].copy_from_slice(&number.to_be_bytes());
                        raw.send(&frame);
                    }
                });
                let opened = open(&PacketOptions { queues: 6, ring_size: 4 << 20, ..options("vs0") });
                stop.store(true, Ordering::Relaxed);
                opened
            });
            let mut seen = BTreeSet::new();
            for rx in &mut opened.rx {
                let mut receiver = Receiver::default();
                while receiver.turn(&mut **rx) != Ok(0) {}
                for got in receiver.frames.iter().filter(|got| test_frames(got)) {
                    assert!(seen.insert(got.head[14..18].to_vec()), "received twice: {:?}", &got.head[14..18]);
                }
            }
            while raw.try_recv().is_some() {}
        }
    });
}
