//! TAP devices against the real kernel, in namespaces of their own.

mod lab;

use dataplane::device::{Capabilities, RxError, RxQueue};
use dataplane::drop_reason::DropReason;
use lab::*;
use netdev::{Error, Netns, Opened, TapOptions, tap};
use wire::{MacAddr, Offload, Tag, Tpid};

fn options(name: &str) -> TapOptions {
    TapOptions { name: name.into(), netns: None, mac: None, mtu: None, queues: 1, offload: true }
}

fn open(options: &TapOptions) -> Opened {
    tap::open(options, 1).unwrap_or_else(|e| panic!("{e}"))
}

/// Both kinds of TAP: with virtio_net_hdr, and through tun-tap.
fn both(test: impl Fn(TapOptions)) {
    test(options("vs0"));
    wait_until_absent("vs0");
    test(TapOptions { offload: false, ..options("vs0") });
    wait_until_absent("vs0");
}

/// Waits, as a process that another test is starting has our descriptors for a moment, until it runs its program.
fn wait_until_absent(interface: &str) {
    wait_for("the end of the netdev", || netdev::link::facts(&None, interface).unwrap().is_none());
}

#[test]
fn opening_sets_name_mac_mtu_and_state_and_closing_removes_the_netdev() {
    lab(|| {
        both(|options| {
            let mac = MacAddr([0x52, 0x54, 0, 1, 2, 3]);
            let opened = tap::open(&TapOptions { mac: Some(mac), mtu: Some(9000), ..options }, 3).unwrap();
            assert_eq!((opened.rx.len(), opened.tx.len()), (1, 3));
            let interface = opened.interface.as_ref().unwrap();
            assert_eq!((interface.name.as_str(), interface.mac, interface.mtu), ("vs0", mac, 9000));
            let now = facts("vs0");
            assert!(now.up && now.carrier);
            assert_eq!((now.mac, now.mtu, now.link_type), (Some(mac), 9000, 1));
            drop(opened);
            wait_until_absent("vs0");
        });
    });
}

#[test]
fn the_netdev_is_made_in_the_namespace_that_is_named() {
    lab(|| {
        let space = Space::new();
        both(|options| {
            let opened = open(&TapOptions { netns: space.netns.clone(), ..options });
            assert_eq!(netdev::link::facts(&None, "vs0").unwrap(), None);
            assert!(netdev::link::facts(&space.netns, "vs0").unwrap().unwrap().1.up);
            drop(opened);
            wait_for("the end of the netdev", || netdev::link::facts(&space.netns, "vs0").unwrap().is_none());
        });
        let missing = Some(Netns::named("vswitch-test-no-such-namespace").unwrap());
        let error = tap::open(&TapOptions { netns: missing, ..options("vs0") }, 1).unwrap_err();
        assert!(matches!(error, Error::Netns { .. }), "{error}");
    });
}

#[test]
fn a_name_that_is_taken_is_refused_and_stays_as_it_was() {
    lab(|| {
        ip("tuntap add dev vs0 mode tap");
        let before = facts("vs0");
        for offload in [true, false] {
            let error = tap::open(&TapOptions { offload, ..options("vs0") }, 1).unwrap_err();
            assert!(matches!(&error, Error::Exists { interface, .. } if interface == "vs0"), "{error}");
            assert!(error.to_string().contains("ip link del vs0"));
        }
        assert_eq!(facts("vs0"), before);
    });
}

#[test]
fn bad_options_are_refused_by_name_and_leave_nothing() {
    lab(|| {
        for (bad, word) in [
            (TapOptions { queues: 0, ..options("vs0") }, "queues"),
            (TapOptions { queues: 257, ..options("vs0") }, "queues"),
            (TapOptions { queues: 2, offload: false, ..options("vs0") }, "offload"),
            (TapOptions { mac: Some(MacAddr::BROADCAST), ..options("vs0") }, "mac"),
            (TapOptions { mtu: Some(67), ..options("vs0") }, "mtu"),
            (TapOptions { mtu: Some(70_000), ..options("vs0") }, "mtu"),
            (options("vs%d"), "name"),
            (options("sixteen-octets.."), "name"),
        ] {
            let error = tap::open(&bad, 1).unwrap_err();
            assert!(matches!(&error, Error::Refused { why, .. } if why.contains(word)), "{bad:?}: {error}");
            wait_until_absent("vs0");
        }
    });
}

#[test]
fn frames_are_received_split_into_head_and_body() {
    lab(|| {
        both(|options| {
            let mut opened = open(&options);
            let raw = Raw::open("vs0");
            let lengths = [15, 60, 255, 256, 257, 1514];
            for (i, len) in lengths.iter().enumerate() {
                raw.send(&test_frame(i as u8, *len));
            }
            let got = Receiver::default().expect(&mut *opened.rx[0], lengths.len(), test_frames);
            for (i, len) in lengths.iter().enumerate() {
                assert_eq!(got[i].octets(), test_frame(i as u8, *len));
                assert_eq!((got[i].head.len(), got[i].offload.is_gso()), ((*len).min(256), false));
            }
        });
    });
}

#[test]
fn more_frames_than_a_burst_holds_stay_in_order() {
    lab(|| {
        let mut opened = open(&options("vs0"));
        let raw = Raw::open("vs0");
        for number in 0..200 {
            raw.send(&test_frame(number, 100));
        }
        let mut receiver = Receiver::default();
        assert_eq!(receiver.turn(&mut *opened.rx[0]), Ok(dataplane::BURST_MAX));
        let rest = receiver.frames.drain(..).filter(test_frames).collect::<Vec<_>>();
        let got = [rest.clone(), receiver.expect(&mut *opened.rx[0], 200 - rest.len(), test_frames)].concat();
        assert!(got.iter().enumerate().all(|(i, g)| g.octets() == test_frame(i as u8, 100)));
    });
}

#[test]
fn transmitted_frames_reach_the_kernel_with_their_tags() {
    lab(|| {
        both(|options| {
            let mut opened = open(&options);
            let raw = Raw::open("vs0");
            let (small, large) = (test_frame(1, 60), test_frame(2, 1514));
            let counters = transmit(&mut *opened.tx[0], &[(&small, Offload::NONE), (&large, Offload::NONE)], &[]);
            assert_eq!((counters.tx_packets.get(), counters.tx_bytes.get()), (2, 1574));
            assert_eq!(raw.recv(is_test), small);
            assert_eq!(raw.recv(is_test), large);
            // The kernel takes the tag out of the octets; that it counted four octets more shows that it was there.
            let tag = Tag { tpid: Tpid::Dot1Q, tci: 0x6064 };
            let counters = transmit(&mut *opened.tx[0], &[(&small, Offload::NONE)], &[tag]);
            assert_eq!((counters.tx_packets.get(), counters.tx_bytes.get()), (1, 64));
            assert_eq!(raw.recv(|f| f.len() == 60 && is_test(f)), small);
        });
    });
}

#[test]
fn a_frame_with_a_contradicting_header_is_rejected_and_the_next_one_passes() {
    lab(|| {
        let mut opened = open(&options("vs0"));
        let raw = Raw::open("vs0");
        let frame = test_frame(1, 60);
        let bad = Offload { flags: 1, csum_start: 5000, csum_offset: 16, ..Offload::NONE };
        let counters = transmit(&mut *opened.tx[0], &[(&frame, bad), (&frame, Offload::NONE)], &[]);
        assert_eq!((counters.tx_packets.get(), counters.drops(DropReason::TxRejected)), (1, 1));
        assert_eq!(raw.recv(is_test), frame);
    });
}

#[test]
fn capabilities_are_those_of_the_mode() {
    lab(|| {
        let opened = open(&options("vs0"));
        let with = opened.tx[0].capabilities();
        assert!(with.checksum && with.tso4 && with.tso6);
        drop(opened);
        wait_until_absent("vs0");
        assert_eq!(open(&TapOptions { offload: false, ..options("vs0") }).tx[0].capabilities(), Capabilities::NONE);
    });
}

fn tcp_between_two_taps(offload: bool) -> (usize, bool) {
    let (a, b) = (Space::new(), Space::new());
    let tap = |space: &Space, name: &str, address: &str| {
        let opened = open(&TapOptions { netns: space.netns.clone(), offload, ..options(name) });
        space.ip(&format!("addr add {address}/24 dev {name}"));
        opened
    };
    let (mut tap_a, mut tap_b) = (tap(&a, "vs0", "10.9.0.1"), tap(&b, "vs0", "10.9.0.2"));
    let mut seen = (0, false);
    tcp_transfer(&a, &b, 3_000_000, |done| seen = pump(&mut tap_a, &mut tap_b, done));
    seen
}

#[test]
fn tcp_crosses_in_large_segments_with_offload() {
    lab(|| {
        let (longest, gso) = tcp_between_two_taps(true);
        assert!(gso && longest > 10_000, "longest frame {longest}");
    });
}

#[test]
fn tcp_crosses_in_whole_frames_without_offload() {
    lab(|| assert_eq!(tcp_between_two_taps(false), (1514, false)));
}

#[test]
fn a_netdev_that_is_down_drops_and_works_again_when_it_is_up() {
    lab(|| {
        both(|options| {
            let mut opened = open(&options);
            let frame = test_frame(1, 60);
            ip("link set vs0 down");
            let counters = transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]);
            assert_eq!(counters.drops(DropReason::TxLinkDown), 1);
            assert!(matches!(Receiver::default().turn(&mut *opened.rx[0]), Ok(_) | Err(RxError::LinkDown)));
            ip("link set vs0 up");
            let raw = Raw::open("vs0");
            let counters = transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]);
            assert_eq!(counters.tx_packets.get(), 1);
            assert_eq!(raw.recv(is_test), frame);
            raw.send(&frame);
            Receiver::default().expect(&mut *opened.rx[0], 1, test_frames);
        });
    });
}

#[test]
fn a_deleted_netdev_is_gone_and_wakes_the_poller() {
    lab(|| {
        both(|options| {
            let mut opened = open(&options);
            let mut poller = netdev::MioPoller::new().unwrap();
            dataplane::Poller::add(&mut poller, opened.rx[0].fd().unwrap(), 5).unwrap();
            wait_for("an empty queue", || matches!(Receiver::default().turn(&mut *opened.rx[0]), Ok(0)));
            let mut tokens = Vec::new();
            dataplane::Poller::poll(&mut poller, Some(std::time::Duration::ZERO), &mut |_| {}).unwrap();
            ip("link del vs0");
            dataplane::Poller::poll(&mut poller, Some(PATIENCE), &mut |token| tokens.push(token)).unwrap();
            assert_eq!(tokens, [5]);
            assert_eq!(Receiver::default().turn(&mut *opened.rx[0]), Err(RxError::Gone));
            let frame = test_frame(1, 60);
            let counters = transmit(&mut *opened.tx[0], &[(&frame, Offload::NONE)], &[]);
            assert_eq!(counters.drops(DropReason::TxLinkDown), 1);
        });
    });
}

#[test]
fn flows_spread_over_the_queues_and_each_worker_can_send() {
    lab(|| {
        let mut opened = tap::open(&TapOptions { queues: 4, ..options("vs0") }, 6).unwrap();
        assert_eq!((opened.rx.len(), opened.tx.len()), (4, 6));
        ip("addr add 10.9.0.1/24 dev vs0");
        ip("neigh add 10.9.0.2 lladdr 52:54:00:00:00:0b dev vs0");
        for port in 0..64u16 {
            let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
            socket.send_to(b"x", ("10.9.0.2", 1000 + port)).unwrap();
        }
        let mut per_queue = Vec::new();
        let mut receiver = Receiver::default();
        for rx in &mut opened.rx {
            while receiver.turn(&mut **rx) != Ok(0) {}
            per_queue.push(receiver.frames.drain(..).filter(|f| f.head[..6] == MAC_B).count());
        }
        assert_eq!(per_queue.iter().sum::<usize>(), 64);
        assert!(per_queue.iter().filter(|n| **n > 0).count() > 1, "{per_queue:?}");
        let raw = Raw::open("vs0");
        for (number, tx) in opened.tx.iter_mut().enumerate() {
            let frame = test_frame(number as u8, 60);
            assert_eq!(transmit(&mut **tx, &[(&frame, Offload::NONE)], &[]).tx_packets.get(), 1);
            assert_eq!(raw.recv(is_test), frame);
        }
    });
}

#[test]
fn the_poller_reports_a_frame_that_came_before_the_wait() {
    lab(|| {
        let mut opened = open(&options("vs0"));
        let raw = Raw::open("vs0");
        let mut poller = netdev::MioPoller::new().unwrap();
        dataplane::Poller::add(&mut poller, opened.rx[0].fd().unwrap(), 1).unwrap();
        for number in 0..20 {
            wait_for("an empty queue", || matches!(Receiver::default().turn(&mut *opened.rx[0]), Ok(0)));
            raw.send(&test_frame(number, 60));
            let mut tokens = Vec::new();
            dataplane::Poller::poll(&mut poller, Some(PATIENCE), &mut |token| tokens.push(token)).unwrap();
            assert_eq!(tokens, [1]);
            Receiver::default().expect(&mut *opened.rx[0], 1, test_frames);
        }
    });
}

/// Compiles only while the queues can be given to another thread.
#[test]
fn queues_can_move_to_another_thread() {
    fn check<T: Send>() {}
    check::<Box<dyn RxQueue>>();
    check::<Opened>();
}
