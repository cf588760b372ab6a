//! vhost-user ports end to end, without root and without a VM: the frontend of this package is the VM, and frames go from
//! one VM through two ports to another, as a worker moves them.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::burst::FRAME_MAX;
use dataplane::device::Poller;
use dataplane::{Capabilities, DropReason, PortCounters};
use netdev::MioPoller;
use netdev::vhost_user::frontend::{self, Frontend, FrontendOptions, OpenedFrontend, features};
use netdev::vhost_user::{LinkState, Mode, VhostUserOptions, open};
use wire::{Offload, virtio_net};

mod vhost_user_lab;

use vhost_user_lab::{Notified, Octets, PATIENCE, Port, forward, pattern, receive, send};

fn vm(path: &std::path::Path, features: u64, queues: u16) -> OpenedFrontend {
    let options = FrontendOptions { features, queues, timeout: PATIENCE, ..FrontendOptions::new(path) };
    Frontend::open(options).unwrap()
}

const GSO: Offload = Offload {
    flags: 1,
    gso_type: virtio_net::GSO_TCPV4 | virtio_net::GSO_ECN,
    hdr_len: 54,
    gso_size: 1460,
    csum_start: 34,
    csum_offset: 16,
};

const VARIANTS: [u64; 3] =
    [features::ALL, features::ALL & !features::INDIRECT_DESC & !features::EVENT_IDX, features::ALL & !features::MRG_RXBUF];

#[test]
fn frames_of_all_lengths_pass_from_one_vm_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (i, features) in VARIANTS.into_iter().enumerate() {
        let [a, b] = ["a", "b"].map(|name| path(&format!("{name}{i}")));
        let (mut left, mut right) = (Port::open(&a, Mode::Server, 1, 1), Port::open(&b, Mode::Server, 1, 1));
        assert_eq!(left.link.state(), LinkState::default());
        let (mut from, mut to) = (vm(&a, features, 1), vm(&b, features, 1));
        left.wait_up();
        right.wait_up();
        assert_eq!(left.link.state().queue_pairs, 1);
        assert_eq!(left.link.state().features, features & netdev::vhost_user::features::OFFERED & !features::MQ, "one queue");
        assert_eq!(left.tx[0].capabilities(), Capabilities::ALL);
        let sent = PortCounters::default();
        for round in 0..40 {
            let lengths = [14, 60, 256, 257, 1514, 2036, 2037, 9000, FRAME_MAX];
            let frames: Vec<Octets> = lengths.iter().map(|len| (pattern(*len), if *len > 60 { GSO } else { Offload::NONE })).collect();
            for frame in &frames {
                send(from.tx[0].as_mut(), std::slice::from_ref(frame), &sent);
                assert_eq!(forward(left.rx[0].as_mut(), right.tx[0].as_mut(), &left.counters, &right.counters), 1);
                let got = receive(to.rx[0].as_mut());
                assert!(got == std::slice::from_ref(frame), "{features:#x}, round {round}, {} octets", frame.0.len());
            }
            // Several in one burst, shorter than the ring in all.
            send(from.tx[0].as_mut(), &frames[..6], &sent);
            assert_eq!(forward(left.rx[0].as_mut(), right.tx[0].as_mut(), &left.counters, &right.counters), 6);
            assert!(receive(to.rx[0].as_mut()) == frames[..6], "{features:#x}, round {round}");
        }
        assert_eq!((left.drops(), right.drops()), (vec![], vec![]));
        assert_eq!(right.counters.tx_packets.get(), 40 * 15);
    }
}

#[test]
fn a_vm_that_takes_nothing_loses_its_own_frames_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut port = Port::open(&path, Mode::Server, 1, 1);
    let mut vm = vm(&path, features::ALL, 1);
    port.wait_up();
    let frames = vec![(pattern(60), Offload::NONE); 300];
    send(port.tx[0].as_mut(), &frames, &port.counters);
    assert_eq!((port.counters.tx_packets.get(), port.drops()), (256, vec![("tx-queue-full", 44)]));
    assert_eq!(receive(vm.rx[0].as_mut()).len(), 256);
    send(port.tx[0].as_mut(), &frames[..7], &port.counters);
    assert_eq!(receive(vm.rx[0].as_mut()).len(), 7);
    // A frame of more buffers than there are takes none of them.
    send(port.tx[0].as_mut(), &frames[..250], &port.counters);
    send(port.tx[0].as_mut(), &[(pattern(FRAME_MAX), Offload::NONE), (pattern(60), Offload::NONE)], &port.counters);
    assert_eq!(port.counters.drops(DropReason::TxQueueFull), 45);
    assert_eq!(receive(vm.rx[0].as_mut()).len(), 251);
}

#[test]
fn offloads_the_driver_did_not_accept_are_not_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut port = Port::open(&path, Mode::Server, 1, 1);
    let mut vm = vm(&path, features::VERSION_1 | features::PROTOCOL_FEATURES, 1);
    port.wait_up();
    assert_eq!(port.tx[0].capabilities(), Capabilities::NONE);
    let valid = Offload { flags: virtio_net::FLAG_DATA_VALID, ..Offload::NONE };
    send(port.tx[0].as_mut(), &[(pattern(1514), GSO), (pattern(60), valid)], &port.counters);
    assert_eq!(port.drops(), [("tx-link-down", 1)]);
    assert!(receive(vm.rx[0].as_mut()) == [(pattern(60), Offload::NONE)]);
    // Its buffers hold 1526 octets or a little more, and it does not merge them.
    send(port.tx[0].as_mut(), &[(pattern(9000), Offload::NONE), (pattern(61), Offload::NONE)], &port.counters);
    assert_eq!(port.drops(), [("tx-link-down", 1), ("tx-buffer-too-small", 1)]);
    assert!(receive(vm.rx[0].as_mut()) == [(pattern(61), Offload::NONE)]);
}

#[test]
fn the_vm_and_the_switch_restart_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let sent = PortCounters::default();
    let exchange = |port: &mut Port, guest: &mut OpenedFrontend| {
        port.wait_up();
        send(guest.tx[0].as_mut(), &[(pattern(100), Offload::NONE)], &sent);
        assert!(receive(port.rx[0].as_mut()).contains(&(pattern(100), Offload::NONE)));
        send(port.tx[0].as_mut(), &[(pattern(300), Offload::NONE)], &port.counters);
        assert!(receive(guest.rx[0].as_mut()).contains(&(pattern(300), Offload::NONE)));
    };
    // The switch makes the socket; the VM restarts.
    let mut port = Port::open(&path, Mode::Server, 1, 1);
    for _ in 0..3 {
        let mut guest = vm(&path, features::ALL, 1);
        exchange(&mut port, &mut guest);
        guest.frontend.stop().unwrap();
        let state = port.wait("rings run", |state| !state.carrier);
        assert!(state.connected && state.problem.is_none(), "{state:?}");
        assert_eq!(receive(port.rx[0].as_mut()), []);
        send(port.tx[0].as_mut(), &[(pattern(60), Offload::NONE)], &port.counters);
        drop(guest);
        assert_eq!(port.wait("connected", |state| !state.connected), LinkState::default());
    }
    assert_eq!(port.drops(), [("tx-link-down", 3)]);
    // The switch restarts, and the VM connects again with the rings it has.
    let mut guest = vm(&path, features::ALL, 1);
    exchange(&mut port, &mut guest);
    drop(port);
    assert!(!path.exists(), "the socket is removed");
    let mut port = Port::open(&path, Mode::Server, 1, 1);
    guest.frontend.reconnect().unwrap();
    exchange(&mut port, &mut guest);
    drop(guest);
    drop(port);
    // The VM makes the socket; the switch is there first.
    let mut port = Port::open(&path, Mode::Client, 1, 1);
    let state = port.wait("no problem", |state| state.problem.is_some());
    assert!(state.problem.as_ref().is_some_and(|problem| problem.contains("No such file")), "{state:?}");
    let options = FrontendOptions { mode: frontend::Mode::Server, timeout: PATIENCE, ..FrontendOptions::new(&path) };
    let mut guest = Frontend::open(options.clone()).unwrap();
    exchange(&mut port, &mut guest);
    // The VM restarts.
    drop(guest);
    port.wait("connected", |state| !state.connected);
    let mut guest = Frontend::open(options).unwrap();
    exchange(&mut port, &mut guest);
    // The switch restarts.
    drop(port);
    let mut port = Port::open(&path, Mode::Client, 1, 1);
    guest.frontend.reconnect().unwrap();
    exchange(&mut port, &mut guest);
}

#[test]
fn queues_are_shared_where_there_are_fewer_than_workers() {
    const FRAMES: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    // Three workers, four pairs, of which the VM uses two.
    let mut port = Port::open(&path, Mode::Server, 4, 3);
    let mut guest = vm(&path, features::ALL, 2);
    port.wait("two pairs", |state| state.queue_pairs == 2);
    let counters: [PortCounters; 3] = Default::default();
    let sent = || counters.iter().map(|c| c.tx_packets.get()).sum::<u64>();
    let mut received = [0u64; 2];
    std::thread::scope(|scope| {
        let workers: Vec<_> = port.tx.iter_mut().zip(&counters).enumerate().collect();
        let threads: Vec<_> = workers
            .into_iter()
            .map(|(worker, (tx, counters))| {
                scope.spawn(move || {
                    let frame = (vec![worker as u8; 60], Offload::NONE);
                    while counters.tx_packets.get() < FRAMES {
                        send(tx.as_mut(), &vec![frame.clone(); 32], counters);
                    }
                })
            })
            .collect();
        let mut by_worker = [0u64; 3];
        let deadline = Instant::now() + PATIENCE;
        while threads.iter().any(|thread| !thread.is_finished()) || received.iter().sum::<u64>() < sent() {
            assert!(Instant::now() < deadline, "{received:?} of {}", sent());
            for (rx, received) in guest.rx.iter_mut().zip(&mut received) {
                for (octets, _) in receive(rx.as_mut()) {
                    assert!(octets.len() == 60 && octets.iter().all(|octet| *octet == octets[0]), "frames of two workers are mixed");
                    by_worker[usize::from(octets[0])] += 1;
                    *received += 1;
                }
            }
        }
        assert_eq!(by_worker.to_vec(), counters.iter().map(|c| c.tx_packets.get()).collect::<Vec<_>>());
    });
    assert!(received.iter().all(|count| *count >= FRAMES), "{received:?}");
}

#[test]
fn a_worker_sleeps_until_the_vm_kicks() {
    let dir = tempfile::tempdir().unwrap();
    let sent = PortCounters::default();
    for (i, features) in VARIANTS.into_iter().enumerate() {
        let path = dir.path().join(i.to_string());
        let mut port = Port::open(&path, Mode::Server, 1, 1);
        let mut poller = MioPoller::new().unwrap();
        poller.add(port.rx[0].fd().unwrap(), 0).unwrap();
        let mut woken = |timeout| {
            let mut woken = false;
            poller.poll(Some(timeout), &mut |_| woken = true).unwrap();
            woken
        };
        assert!(port.rx[0].prepare_sleep(), "no VM, no frames");
        let mut guest = vm(&path, features, 1);
        port.wait_up();
        assert!(woken(PATIENCE), "a ring is there");
        for round in 0..3 {
            assert_eq!(receive(port.rx[0].as_mut()), []);
            assert!(port.rx[0].prepare_sleep());
            // The edges so far; none comes while nothing is sent.
            while woken(Duration::ZERO) {}
            send(guest.tx[0].as_mut(), &[(pattern(60), Offload::NONE)], &sent);
            assert!(woken(PATIENCE), "{features:#x}, round {round}");
            assert_eq!(receive(port.rx[0].as_mut()).len(), 1);
            // Awake: the VM does not kick.
            send(guest.tx[0].as_mut(), &[(pattern(60), Offload::NONE)], &sent);
            assert!(!woken(Duration::ZERO), "{features:#x}, round {round}");
            assert!(!port.rx[0].prepare_sleep(), "a frame waits");
            assert_eq!(receive(port.rx[0].as_mut()).len(), 1);
        }
    }
}

#[test]
fn the_vm_is_signalled_when_it_wants_to_be() {
    let dir = tempfile::tempdir().unwrap();
    for (i, features) in VARIANTS.into_iter().enumerate() {
        let path = dir.path().join(i.to_string());
        let mut port = Port::open(&path, Mode::Server, 1, 1);
        let options = FrontendOptions { features, busy_poll: false, timeout: PATIENCE, ..FrontendOptions::new(&path) };
        let mut guest = Frontend::open(options).unwrap();
        port.wait_up();
        let mut poller = MioPoller::new().unwrap();
        poller.add(guest.rx[0].fd().unwrap(), 0).unwrap();
        let mut woken = |timeout| {
            let mut woken = false;
            poller.poll(Some(timeout), &mut |_| woken = true).unwrap();
            woken
        };
        for round in 0..3 {
            while woken(Duration::ZERO) {}
            send(port.tx[0].as_mut(), &[(pattern(60), Offload::NONE)], &port.counters);
            assert!(woken(PATIENCE), "{features:#x}, round {round}");
            assert_eq!(receive(guest.rx[0].as_mut()).len(), 1);
        }
    }
}

#[test]
fn the_socket_is_made_only_where_that_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let try_open = |path: &PathBuf, queues| {
        let options = VhostUserOptions { path: path.clone(), mode: Mode::Server, queues };
        open(&options, 1, Arc::new(Notified::default())).map(drop).map_err(|error| error.to_string())
    };
    assert!(try_open(&path, 0).unwrap_err().contains("queues = 0"));
    assert!(try_open(&path, 129).unwrap_err().contains("queues = 129"));
    std::fs::write(&path, "data").unwrap();
    assert!(try_open(&path, 1).unwrap_err().contains("no socket is in the way"));
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    assert!(try_open(&path, 1).unwrap_err().contains("another process listens there"));
    drop(listener);
    assert!(path.exists(), "a stale socket");
    try_open(&path, 1).unwrap();
    assert!(!path.exists());
    let missing = dir.path().join("missing/a");
    assert_eq!(try_open(&missing, 1).unwrap_err(), format!("vhost-user socket \"{}\": bind: No such file or directory", missing.display()));
    // What came in the place of our socket is not ours to remove.
    let port = Port::open(&path, Mode::Server, 1, 1);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "data").unwrap();
    drop(port);
    assert!(path.exists());
}

#[test]
fn garbage_ends_the_connection_with_its_reason_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut port = Port::open(&path, Mode::Server, 1, 1);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&[0xff; 64]).unwrap();
    let state = port.wait("no problem", |state| state.problem.is_some() && !state.connected);
    assert!(state.problem.unwrap().contains("does not keep to the protocol"));
    // One that says nothing, or half a message, holds nobody up but itself; closing the port ends it.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&1u32.to_ne_bytes()).unwrap();
    port.wait("not connected", |state| state.connected);
    drop(stream);
    port.wait("connected", |state| !state.connected);
    let mut guest = vm(&path, features::ALL, 1);
    port.wait_up();
    send(port.tx[0].as_mut(), &[(pattern(60), Offload::NONE)], &port.counters);
    assert_eq!(receive(guest.rx[0].as_mut()).len(), 1);
    drop(guest);
    let _silent = UnixStream::connect(&path).unwrap();
    port.wait("not connected", |state| state.connected);
    let start = Instant::now();
    drop(port);
    assert!(start.elapsed() < PATIENCE);
}
