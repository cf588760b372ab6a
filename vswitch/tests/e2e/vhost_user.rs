//! vhost-user ports, with guests in this process: a virtio-net driver on each socket. Neither side needs privileges for
//! that, but the daemon runs in a namespace all the same.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dataplane::device::TxReport;
use dataplane::{BurstMemory, PortCounters};
use netdev::vhost_user::frontend::{Frontend, FrontendOptions, Mode, OpenedFrontend};
use proto::api::Link;
use wire::Offload;

use crate::daemon::listening_monitor;
use crate::lab::{DEADLINE, Lab, Running, eventually, lab};

/// A virtual machine with a driver, as far as the switch can tell.
pub(crate) struct Guest {
    device: OpenedFrontend,
    address: u8,
    counters: PortCounters,
    sender: BurstMemory,
    receiver: BurstMemory,
}

impl Guest {
    /// Boots at the port on `socket`, with MAC address 52:54:00:00:00:`address`; returns when the link is up.
    #[track_caller]
    pub(crate) fn boot(lab: &Lab, port: &str, socket: &Path, address: u8, change: impl FnOnce(&mut FrontendOptions)) -> Guest {
        let mut options = FrontendOptions::new(socket);
        options.timeout = DEADLINE;
        change(&mut options);
        let device = Frontend::open(options).unwrap();
        wait_for_link(lab, port, Link::Up);
        Guest { device, address, counters: PortCounters::default(), sender: BurstMemory::new(), receiver: BurstMemory::new() }
    }

    fn frame(from: u8, to: u8, len: usize) -> Vec<u8> {
        let mut octets = vec![len as u8; len];
        octets[..14].copy_from_slice(&[0x52, 0x54, 0, 0, 0, to, 0x52, 0x54, 0, 0, 0, from, 0x88, 0xb5]);
        octets
    }

    pub(crate) fn send(&mut self, queue: usize, octets: &[u8]) {
        let mut burst = self.sender.burst();
        burst.push_borrowed(octets, Offload::NONE, None);
        self.device.tx[queue].transmit(burst.frames(), &[0], &TxReport::new(&self.counters));
    }

    /// Frames that arrived since the last look, at all queues.
    pub(crate) fn received(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for rx in &mut self.device.rx {
            let mut burst = self.receiver.burst();
            rx.receive(&mut burst).unwrap();
            for frame in burst.frames() {
                all.push(frame.head().iter().copied().chain(frame.body().octets()).collect());
            }
        }
        all
    }

    /// Sends frames of many lengths to another guest, each once, from each queue, and waits for all of them.
    #[track_caller]
    fn reaches(&mut self, other: &mut Guest) {
        for queue in 0..self.device.tx.len() {
            let frames: Vec<_> = [60, 64, 255, 256, 257, 1000, 1514].map(|len| Guest::frame(self.address, other.address, len)).into();
            frames.iter().for_each(|frame| self.send(queue, frame));
            let mut got = Vec::new();
            eventually("all frames arrive", || {
                got.append(&mut other.received());
                got.len() >= frames.len()
            });
            assert!(got == frames, "other frames than were sent, or in another order");
        }
    }
}

fn mac(address: u8) -> String {
    format!("52:54:00:00:00:{address:02x}")
}

#[track_caller]
fn wait_for_link(lab: &Lab, port: &str, link: Link) {
    eventually(&format!("link of {port} {link:?}"), || lab.port(port).link == link);
}

/// A lab with ports `a` and `b` on sockets of these names.
#[track_caller]
fn add_ports(lab: &Lab, settings: &str) -> [PathBuf; 2] {
    lab.ctl("add-switch lan");
    ["a", "b"].map(|name| {
        let socket = lab.path(name);
        lab.ctl(&format!("add-port lan {name} --vhost-user {} {settings}", socket.display()));
        socket
    })
}

#[test]
fn two_guests_exchange_frames_and_the_port_tells_what_was_negotiated() {
    let lab = lab!();
    let [a, b] = add_ports(&lab, "");
    let port = lab.port("a");
    assert_eq!((port.link, port.vhost_user.unwrap().connected), (Link::Down, false));
    let (mut first, mut second) = (Guest::boot(&lab, "a", &a, 1, |_| ()), Guest::boot(&lab, "b", &b, 2, |_| ()));
    first.reaches(&mut second);
    second.reaches(&mut first);
    let port = lab.port("a");
    let info = port.vhost_user.unwrap();
    assert_eq!((info.connected, info.queue_pairs, port.problem), (true, 1, None));
    for feature in ["version_1", "mrg_rxbuf", "csum", "guest_tso4", "event_idx", "indirect_desc"] {
        assert!(info.features.iter().any(|name| name == feature), "{feature} is not among {:?}", info.features);
    }
    assert_eq!((port.rx_packets, port.tx_packets), (7, 7));
    assert_eq!(lab.learned_at("lan", &mac(1)).as_deref(), Some("a"));
    assert!(lab.ctl("show ports").contains("connected=true"));
    assert!(lab.ctl("show").contains(a.to_str().unwrap()));
    let mut events = listening_monitor(&lab);
    drop(second);
    events.expect("the link of b, down", |line| line.contains("\"b\"") && line.contains("down"));
}

#[test]
fn a_guest_restarts() {
    let lab = lab!();
    let [a, b] = add_ports(&lab, "");
    let (mut first, mut second) = (Guest::boot(&lab, "a", &a, 1, |_| ()), Guest::boot(&lab, "b", &b, 2, |_| ()));
    first.reaches(&mut second);
    for orderly in [true, false] {
        if orderly {
            second.device.frontend.stop().unwrap();
            wait_for_link(&lab, "b", Link::Down);
            assert!(lab.port("b").vhost_user.unwrap().connected);
        }
        drop(second);
        eventually("the port is free", || !lab.port("b").vhost_user.unwrap().connected);
        wait_for_link(&lab, "b", Link::Down);
        assert_eq!(lab.learned_at("lan", &mac(2)), None);
        let packets = lab.port("a").rx_packets;
        first.send(0, &Guest::frame(1, 2, 60));
        eventually("the frame for nobody is taken", || lab.port("a").rx_packets == packets + 1);
        second = Guest::boot(&lab, "b", &b, 2, |_| ());
        first.reaches(&mut second);
        second.reaches(&mut first);
    }
}

#[test]
fn the_daemon_restarts_and_guests_connect_again() {
    let lab = lab!();
    let [a, b] = add_ports(&lab, "");
    let (mut first, mut second) = (Guest::boot(&lab, "a", &a, 1, |_| ()), Guest::boot(&lab, "b", &b, 2, |_| ()));
    for killed in [true, false] {
        first.reaches(&mut second);
        if killed {
            lab.kill_daemon();
            assert!(a.exists(), "the socket is left over");
        } else {
            assert_eq!(lab.stop_daemon(), Some(0));
            assert!(!a.exists(), "the socket was removed");
        }
        // Frames that the driver gives away meanwhile are worked on later.
        eventually("the guest sees it", || !first.device.frontend.is_connected());
        let early = Guest::frame(1, 2, 99);
        first.send(0, &early);
        lab.start_daemon();
        second.device.frontend.reconnect().unwrap();
        wait_for_link(&lab, "b", Link::Up);
        first.device.frontend.reconnect().unwrap();
        wait_for_link(&lab, "a", Link::Up);
        let mut got = Vec::new();
        eventually("the early frame arrives", || {
            got.append(&mut second.received());
            got.contains(&early)
        });
    }
    first.reaches(&mut second);
    second.reaches(&mut first);
}

#[test]
fn in_client_mode_the_daemon_connects_again_by_itself() {
    let lab = lab!();
    let [a, b] = add_ports(&lab, "--client");
    // The guest comes later than the port.
    eventually("the port says why", || lab.port("a").problem.is_some_and(|problem| problem.starts_with("connect: No such file")));
    let listens = |options: &mut FrontendOptions| options.mode = Mode::Server;
    let (mut first, mut second) = (Guest::boot(&lab, "a", &a, 1, listens), Guest::boot(&lab, "b", &b, 2, listens));
    first.reaches(&mut second);
    // The guest restarts.
    drop(second);
    wait_for_link(&lab, "b", Link::Down);
    let mut second = Guest::boot(&lab, "b", &b, 2, listens);
    first.reaches(&mut second);
    // The daemon restarts; the guests only wait.
    lab.kill_daemon();
    lab.start_daemon();
    for (guest, port) in [(&mut first, "a"), (&mut second, "b")] {
        guest.device.frontend.reconnect().unwrap();
        wait_for_link(&lab, port, Link::Up);
    }
    first.reaches(&mut second);
    second.reaches(&mut first);
    assert_eq!(lab.port("a").problem, None);
}

#[test]
fn queues_and_socket_change_while_the_port_stays() {
    let lab = lab!();
    let [a, b] = add_ports(&lab, "");
    let (mut first, mut second) = (Guest::boot(&lab, "a", &a, 1, |_| ()), Guest::boot(&lab, "b", &b, 2, |_| ()));
    first.reaches(&mut second);
    let packets = lab.port("a").rx_packets;
    lab.ctl("set-port a --queues 2");
    eventually("the connection ends", || !first.device.frontend.is_connected());
    let mut first = Guest::boot(&lab, "a", &a, 1, |options| options.queues = 2);
    eventually("both pairs run", || lab.port("a").vhost_user.unwrap().queue_pairs == 2);
    first.reaches(&mut second);
    second.reaches(&mut first);
    assert_eq!(lab.port("a").rx_packets, packets + 14, "the counters went on");
    let other = lab.path("c");
    lab.ctl(&format!("set-port a --socket-path {}", other.display()));
    assert!(!a.exists() && other.exists());
    drop(first);
    let mut first = Guest::boot(&lab, "a", &other, 1, |_| ());
    first.reaches(&mut second);
    lab.ctl("del-port a");
    assert!(!other.exists());
}

#[test]
fn the_socket_is_for_whom_it_is_meant() {
    let lab = lab!();
    let [a, _] = add_ports(&lab, "");
    let permissions = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(permissions(&a), 0o600);
    let group = fs::read_to_string("/etc/group").unwrap();
    let gid = fs::metadata(&a).unwrap().gid();
    let own = group.lines().find(|line| line.split(':').nth(2) == Some(&gid.to_string())).expect("our group has a name");
    lab.ctl(&format!("set-port a --socket-group {}", own.split(':').next().unwrap()));
    assert_eq!((permissions(&a), fs::metadata(&a).unwrap().gid()), (0o660, gid));
    assert!(lab.refused("set-port a --socket-group no-such-group").contains("socket_group: no group \"no-such-group\""));
    assert!(a.exists(), "a refused change leaves all as it was");

    let taken = lab.path("taken");
    let _listener = UnixListener::bind(&taken).unwrap();
    let message = lab.refused(&format!("add-port lan c --vhost-user {}", taken.display()));
    assert!(message.contains("another process listens there"), "{message}");
    assert!(taken.exists());
    let file = lab.path("file");
    fs::write(&file, "precious").unwrap();
    assert!(lab.refused(&format!("add-port lan c --vhost-user {}", file.display())).contains("no socket"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let stale = lab.path("stale");
    drop(UnixListener::bind(&stale).unwrap());
    lab.ctl(&format!("add-port lan c --vhost-user {}", stale.display()));
    let mut guest = Guest::boot(&lab, "c", &stale, 3, |_| ());
    guest.send(0, &Guest::frame(3, 0xff, 60));
    eventually("it is learned", || lab.learned_at("lan", &mac(3)).as_deref() == Some("c"));
    assert!(fs::metadata(&stale).unwrap().file_type().is_socket());
    assert!(lab.refused(&format!("add-port lan d --vhost-user {}", stale.display())).contains("belongs to port \"c\""));
    assert!(lab.refused("add-port lan d --vhost-user relative.sock").contains("absolute path"));
    let missing = lab.path("missing").join("vm.sock");
    assert!(lab.refused(&format!("add-port lan d --vhost-user {}", missing.display())).contains("No such file or directory"));
}

/// DPDK's testpmd as a guest with one NIC, which sends every frame back with the addresses exchanged. It ends with the test.
#[track_caller]
fn testpmd(lab: &Lab, socket: &Path, listens: bool) -> Running {
    let mut command = lab.home.command("dpdk-testpmd");
    command
        .args(["--lcores=0@(0,1),1@(0,1)", "--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry"])
        .arg(format!("--vdev=net_virtio_user0,path={},server={},mac=52:54:00:00:00:02", socket.display(), u8::from(listens)))
        .args(["--", "--forward-mode=macswap", "--port-topology=loop", "--auto-start", "--total-num-mbufs=4096", "--stats-period=3600"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Running::start(&mut command)
}

/// Sends frames until testpmd has sent one of each length back.
#[track_caller]
fn is_echoed(guest: &mut Guest, testpmd: u8) {
    for len in [60, 64, 300, 1514] {
        let (there, mut back) = (Guest::frame(guest.address, testpmd, len), Guest::frame(testpmd, guest.address, len));
        back[14..].copy_from_slice(&there[14..]);
        eventually("the frame comes back", || {
            guest.send(0, &there);
            std::thread::sleep(Duration::from_millis(5));
            guest.received().contains(&back)
        });
    }
}

#[test]
fn dpdk_is_a_guest_and_either_side_restarts() {
    let lab = lab!("dpdk-testpmd");
    let [a, b] = add_ports(&lab, "");
    let mut guest = Guest::boot(&lab, "a", &a, 1, |_| ());
    for _ in 0..2 {
        let testpmd = testpmd(&lab, &b, false);
        wait_for_link(&lab, "b", Link::Up);
        is_echoed(&mut guest, 2);
        drop(testpmd);
        wait_for_link(&lab, "b", Link::Down);
    }
    // As the server, testpmd waits for the switch to come back.
    let c = lab.path("c");
    lab.ctl(&format!("add-port lan c --vhost-user {} --client", c.display()));
    let _testpmd = testpmd(&lab, &c, true);
    wait_for_link(&lab, "c", Link::Up);
    is_echoed(&mut guest, 2);
    lab.kill_daemon();
    lab.start_daemon();
    wait_for_link(&lab, "c", Link::Up);
    guest.device.frontend.reconnect().unwrap();
    wait_for_link(&lab, "a", Link::Up);
    is_echoed(&mut guest, 2);
}
