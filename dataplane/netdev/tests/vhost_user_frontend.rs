//! The frontend against backends of others: DPDK's `net_vhost` in testpmd. Needs no privileges. Skipped, and said so, where
//! testpmd is missing.
#![allow(clippy::print_stderr)] // what testpmd said when a test fails

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dataplane::device::{RxQueue, TxQueue, TxReport};
use dataplane::{BurstMemory, PortCounters};
use netdev::vhost_user::frontend::{Frontend, FrontendOptions, Mode, OpenedFrontend, features};
use wire::Offload;

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether testpmd is there; says so if not, past the capture of the test harness.
fn has_testpmd(test: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|directory| directory.join("dpdk-testpmd").exists());
    if !found {
        let line = format!("SKIP: {test}: needs dpdk-testpmd (Debian: dpdk-dev)\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(path) = std::env::var_os("VSWITCH_SKIP_LOG") {
            let log = std::fs::File::options().append(true).create(true).open(path);
            log.and_then(|mut log| log.write_all(line.as_bytes())).expect("write the file VSWITCH_SKIP_LOG names");
        }
    }
    found
}

/// A testpmd that forwards between two vhost-user ports, `a.sock` and `b.sock`; it ends with the test.
struct Testpmd(Child);

impl Testpmd {
    fn start(directory: &Path, client: bool, queues: u16) -> Testpmd {
        let port = |i: u8, name: &str| {
            let path = directory.join(name);
            format!("--vdev=net_vhost{i},iface={},client={},queues={queues},tso=1", path.display(), u8::from(client))
        };
        // Ends with the test, also when that is killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "dpdk-testpmd"])
            .args(["--lcores=0@(0,1),1@(0,1)", "--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry"])
            .arg(format!("--file-prefix=vswitch-{}", std::process::id()))
            .args([port(0, "a.sock"), port(1, "b.sock")])
            .args(["--", "--forward-mode=io", "--auto-start", "--total-num-mbufs=4096", "--no-mlockall", "--stats-period=3600"])
            .args([format!("--rxq={queues}"), format!("--txq={queues}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Testpmd(command.spawn().expect("start dpdk-testpmd"))
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            let mut text = String::new();
            if let Some(mut out) = self.0.stdout.take() {
                let _ = out.read_to_string(&mut text);
            }
            if let Some(mut out) = self.0.stderr.take() {
                let _ = out.read_to_string(&mut text);
            }
            eprintln!("{text}");
        }
    }
}

fn octets(number: u32, len: usize) -> Vec<u8> {
    let mut octets = vec![number as u8; len];
    octets[..12].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1]);
    octets[12..14].copy_from_slice(&[0x88, 0xb5]);
    octets[14..18].copy_from_slice(&number.to_be_bytes());
    octets
}

/// Sends frames of these lengths until each came out at the other side, with its octets and in order.
fn pass(tx: &mut dyn TxQueue, rx: &mut dyn RxQueue, lengths: &[usize], offload: Offload) {
    let (mut sender, mut receiver, counters) = (BurstMemory::new(), BurstMemory::new(), PortCounters::default());
    let deadline = Instant::now() + PATIENCE;
    for (number, len) in lengths.iter().enumerate() {
        let octets = octets(number as u32, *len);
        // The backend does not take frames before its port is up, and says so to nobody: send again.
        'sent: loop {
            let mut burst = sender.burst();
            burst.push_borrowed(&octets, offload, None);
            tx.transmit(burst.frames(), &[0], &TxReport::new(&counters));
            let again = Instant::now() + Duration::from_millis(500);
            while Instant::now() < again {
                assert!(Instant::now() < deadline, "frame {number} of {len} octets did not arrive");
                let mut burst = receiver.burst();
                rx.receive(&mut burst).expect("receive");
                for frame in burst.frames() {
                    let got = [frame.head(), &frame.body().octets().collect::<Vec<_>>()].concat();
                    if got == octets {
                        break 'sent;
                    }
                    let earlier = u32::from_be_bytes(got[14..18].try_into().unwrap());
                    assert!(earlier < number as u32, "a frame was changed");
                }
                std::thread::yield_now();
            }
        }
    }
}

fn open(path: &Path, change: impl FnOnce(&mut FrontendOptions)) -> OpenedFrontend {
    let mut options = FrontendOptions::new(path);
    options.timeout = PATIENCE;
    change(&mut options);
    Frontend::open(options).unwrap()
}

#[test]
fn frames_pass_through_testpmd_with_each_set_of_features() {
    if !has_testpmd("frames_pass_through_testpmd_with_each_set_of_features") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let _testpmd = Testpmd::start(directory.path(), false, 1);
    let small: Vec<usize> = (60..200).chain([256, 257, 1514]).collect();
    for without in [0, features::EVENT_IDX, features::INDIRECT_DESC | features::EVENT_IDX, features::MRG_RXBUF, features::OFFLOADS] {
        let mut a = open(&directory.path().join("a.sock"), |options| options.features &= !without);
        let mut b = open(&directory.path().join("b.sock"), |options| options.features &= !without);
        assert_eq!(a.frontend.features() & without, 0);
        assert_ne!(a.frontend.features() & (features::MRG_RXBUF | features::CSUM) & !without, 0);
        pass(&mut *a.tx[0], &mut *b.rx[0], &small, Offload::NONE);
        pass(&mut *b.tx[0], &mut *a.rx[0], &small, Offload::NONE);
    }
}

#[test]
fn a_restart_of_testpmd_keeps_the_rings() {
    if !has_testpmd("a_restart_of_testpmd_keeps_the_rings") {
        return;
    }
    for mode in [Mode::Client, Mode::Server] {
        let directory = tempfile::tempdir().unwrap();
        let start = || Testpmd::start(directory.path(), mode == Mode::Server, 1);
        let opened = std::thread::scope(|scope| {
            // A server waits for its backend.
            let threads = ["a.sock", "b.sock"].map(|name| {
                let path = directory.path().join(name);
                scope.spawn(move || open(&path, |options| options.mode = mode))
            });
            let testpmd = start();
            (threads.map(|thread| thread.join().unwrap()), testpmd)
        });
        let ([mut a, mut b], testpmd) = opened;
        pass(&mut *a.tx[0], &mut *b.rx[0], &[60; 300], Offload::NONE);
        drop(testpmd);
        assert!(!a.frontend.is_connected() && !b.frontend.is_connected());
        if mode == Mode::Client {
            // Left over by one that was killed; testpmd does not replace them.
            ["a.sock", "b.sock"].iter().for_each(|name| std::fs::remove_file(directory.path().join(name)).unwrap());
        }
        let _testpmd = start();
        a.frontend.reconnect().unwrap();
        b.frontend.reconnect().unwrap();
        assert!(a.frontend.is_connected() && b.frontend.is_connected());
        pass(&mut *a.tx[0], &mut *b.rx[0], &[60; 300], Offload::NONE);
        pass(&mut *b.tx[0], &mut *a.rx[0], &[1514; 300], Offload::NONE);
    }
}

#[test]
fn each_queue_pair_works() {
    if !has_testpmd("each_queue_pair_works") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let _testpmd = Testpmd::start(directory.path(), false, 2);
    let mut a = open(&directory.path().join("a.sock"), |options| options.queues = 2);
    let mut b = open(&directory.path().join("b.sock"), |options| options.queues = 2);
    for queue in 0..2 {
        pass(&mut *a.tx[queue], &mut *b.rx[queue], &[60; 10], Offload::NONE);
        pass(&mut *b.tx[queue], &mut *a.rx[queue], &[60; 10], Offload::NONE);
    }
}

#[test]
fn a_backend_that_is_not_there_or_does_not_answer_is_an_error_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm.sock");
    let mut options = FrontendOptions::new(&path);
    options.timeout = Duration::from_millis(200);
    let text = |options: &FrontendOptions| Frontend::open(options.clone()).unwrap_err().to_string();
    assert_eq!(text(&options), format!("vhost-user socket \"{}\": connect: No such file or directory (os error 2)", path.display()));
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(text(&options), format!("vhost-user socket \"{}\": negotiate: the backend does not answer", path.display()));
    options.mode = Mode::Server;
    assert!(text(&options).contains("listen: "), "somebody else's socket is left alone");
    options.path = directory.path().join("other.sock");
    assert!(text(&options).contains("wait for the backend: "));
    assert!(!options.path.exists(), "the socket is removed");
    options.queues = 0;
    assert!(text(&options).contains("queues: 0 is not 1 to 128"));
}

#[test]
fn a_frame_of_many_buffers_passes_whole() {
    if !has_testpmd("a_frame_of_many_buffers_passes_whole") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let _testpmd = Testpmd::start(directory.path(), false, 1);
    let mut a = open(&directory.path().join("a.sock"), |_| ());
    let mut b = open(&directory.path().join("b.sock"), |_| ());
    assert_ne!(a.frontend.features() & features::HOST_TSO, 0);
    // testpmd asks nobody before it passes a frame of many buffers on.
    pass(&mut *a.tx[0], &mut *b.rx[0], &[9000, 20_000], Offload::NONE);
}
