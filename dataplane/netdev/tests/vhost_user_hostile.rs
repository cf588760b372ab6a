//! VMs and frontends that mean harm, one test for each way. The frontend here writes its memory as a file, octet by octet, so
//! it can put anything anywhere at any time. After each attack a second port and its VM must still exchange frames, and a
//! well-behaved frontend must find the attacked port working.

mod vhost_user_lab;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dataplane::burst::FRAME_MAX;
use dataplane::{BurstMemory, DropReason, PortCounters};
use netdev::vhost_user::features::OFFERED;
use netdev::vhost_user::frontend::{Frontend as Driver, FrontendOptions, OpenedFrontend};
use netdev::vhost_user::{LinkState, Mode};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vhost_user_lab::{PATIENCE, Port, forward, pattern, receive, send};
use vmm_sys_util::eventfd::EventFd;
use wire::Offload;

/// Octets of the VM's memory.
const MEMORY: u64 = 1 << 20;
/// Where the memory is in the VM, and in the frontend as it says.
const GUEST: u64 = 0x1_0000_0000;
const USER: u64 = 0x7f00_0000_0000;
/// Descriptors of each ring.
const SIZE: u16 = 16;
/// `VIRTQ_DESC_F_*`.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Buffers start here.
const BUFFERS: u64 = 0x8000;

/// The ring the VM receives by, and the one it transmits by.
const RX: usize = 0;
const TX: usize = 1;

struct Hostile {
    protocol: Frontend,
    memory: File,
    kick: [EventFd; 2],
    call: [EventFd; 2],
}

impl Hostile {
    /// Connects and negotiates; memory and rings are still to come.
    fn connect(path: &Path) -> Hostile {
        let mut protocol = Frontend::connect(path, 2).unwrap();
        protocol.set_owner().unwrap();
        assert_eq!(protocol.get_features().unwrap(), OFFERED);
        protocol.get_protocol_features().unwrap();
        protocol.set_protocol_features(VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK).unwrap();
        protocol.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
        protocol.set_features(OFFERED).unwrap();
        let memory = File::from(memfd_create("hostile", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        let event = || EventFd::new(libc::EFD_NONBLOCK).unwrap();
        Hostile { protocol, memory, kick: [event(), event()], call: [event(), event()] }
    }

    /// One that is ready, with all descriptors of the ring to receive by available.
    fn ready(path: &Path) -> Hostile {
        let mut hostile = Hostile::connect(path);
        hostile.set_memory(&[hostile.region(0, MEMORY)]).unwrap();
        for ring in [RX, TX] {
            hostile.set_up(ring, 0).unwrap();
        }
        for i in 0..SIZE {
            hostile.describe(RX, i, GUEST + BUFFERS + 4096 * u64::from(i), 4096, WRITE, 0);
            hostile.offer(RX, i, i);
        }
        hostile.set_available(RX, SIZE);
        hostile
    }

    fn region(&self, offset: u64, len: u64) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST + offset,
            memory_size: len,
            userspace_addr: USER + offset,
            mmap_offset: offset,
            mmap_handle: self.memory.as_raw_fd(),
        }
    }

    fn set_memory(&mut self, regions: &[VhostUserMemoryRegionInfo]) -> vhost::Result<()> {
        self.protocol.set_mem_table(regions).map(drop)
    }

    fn addresses(ring: usize) -> VringConfigData {
        let at = USER + 0x4000 * ring as u64;
        VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: at,
            avail_ring_addr: at + 0x1000,
            used_ring_addr: at + 0x2000,
            log_addr: None,
        }
    }

    fn set_up(&mut self, ring: usize, base: u16) -> vhost::Result<()> {
        self.protocol.set_vring_num(ring, SIZE)?;
        self.protocol.set_vring_base(ring, base)?;
        self.protocol.set_vring_addr(ring, &Hostile::addresses(ring))?;
        self.protocol.set_vring_call(ring, &self.call[ring])?;
        self.protocol.set_vring_kick(ring, &self.kick[ring])?;
        self.protocol.set_vring_enable(ring, true)
    }

    fn write(&self, offset: u64, octets: &[u8]) {
        self.memory.write_all_at(octets, offset).unwrap();
    }

    fn write_u16(&self, offset: u64, value: u16) {
        self.write(offset, &value.to_le_bytes());
    }

    fn read_u16(&self, offset: u64) -> u16 {
        let mut word = [0; 2];
        self.memory.read_exact_at(&mut word, offset).unwrap();
        u16::from_le_bytes(word)
    }

    fn entry(address: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&address.to_le_bytes());
        entry[8..12].copy_from_slice(&len.to_le_bytes());
        entry[12..14].copy_from_slice(&flags.to_le_bytes());
        entry[14..].copy_from_slice(&next.to_le_bytes());
        entry
    }

    fn describe(&self, ring: usize, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        self.write(0x4000 * ring as u64 + 16 * u64::from(index), &Hostile::entry(address, len, flags, next));
    }

    /// Puts a descriptor into an entry of the available ring.
    fn offer(&self, ring: usize, at: u16, descriptor: u16) {
        self.write_u16(0x4000 * ring as u64 + 0x1004 + 2 * u64::from(at % SIZE), descriptor);
    }

    fn set_available(&self, ring: usize, index: u16) {
        self.write_u16(0x4000 * ring as u64 + 0x1002, index);
    }

    fn used(&self, ring: usize) -> u16 {
        self.read_u16(0x4000 * ring as u64 + 0x2002)
    }

    /// Makes a good frame of 60 octets available in descriptor 0, as the first of the ring.
    fn good_frame(&self) {
        let mut message = vec![0; 12];
        message.extend(pattern(60));
        self.write(BUFFERS, &message);
        self.describe(TX, 0, GUEST + BUFFERS, 72, 0, 0);
        self.offer(TX, 0, 0);
    }
}

/// The port that is attacked, and another whose VM means no harm.
struct Lab {
    victim: Port,
    path: PathBuf,
    other: Port,
    good: OpenedFrontend,
    _directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        let directory = tempfile::tempdir().unwrap();
        let [path, other_path] = ["victim", "other"].map(|name| directory.path().join(name));
        let (victim, other) = (Port::open(&path, Mode::Server, 1, 1), Port::open(&other_path, Mode::Server, 1, 1));
        let good = driver(&other_path);
        other.wait_up();
        Lab { victim, path, other, good, _directory: directory }
    }

    fn with_vm() -> (Lab, Hostile) {
        let lab = Lab::new();
        let hostile = Hostile::ready(&lab.path);
        lab.victim.wait_up();
        (lab, hostile)
    }

    /// What the attacked port lost and delivered when a worker moved what there is to the other port.
    fn forward(&mut self) -> usize {
        (0..4).map(|_| forward(self.victim.rx[0].as_mut(), self.other.tx[0].as_mut(), &self.victim.counters, &self.other.counters)).sum()
    }

    /// Sends a frame to the attacked port.
    fn send(&mut self, len: usize) {
        send(self.victim.tx[0].as_mut(), &[(pattern(len), Offload::NONE)], &self.victim.counters);
    }

    fn wait_problem(&self, text: &str) -> LinkState {
        self.victim.wait(text, |state| !state.carrier && state.problem.as_ref().is_some_and(|problem| problem.contains(text)))
    }

    /// Nobody else noticed, and the port works again for a VM that does no harm.
    fn assert_others_work(mut self, hostile: Hostile) {
        receive(self.good.rx[0].as_mut());
        send(self.other.tx[0].as_mut(), &[(pattern(60), Offload::NONE)], &self.other.counters);
        assert!(receive(self.good.rx[0].as_mut()) == [(pattern(60), Offload::NONE)]);
        let sent = PortCounters::default();
        send(self.good.tx[0].as_mut(), &[(pattern(61), Offload::NONE)], &sent);
        assert!(receive(self.other.rx[0].as_mut()) == [(pattern(61), Offload::NONE)]);
        assert!(self.other.link.state().carrier && self.other.link.state().problem.is_none());
        drop(hostile);
        self.victim.wait("connected", |state| !state.connected);
        let mut guest = driver(&self.path);
        self.victim.wait_up();
        assert_eq!(self.victim.link.state().problem, None);
        self.send(62);
        assert!(receive(guest.rx[0].as_mut()) == [(pattern(62), Offload::NONE)]);
    }
}

fn driver(path: &Path) -> OpenedFrontend {
    Driver::open(FrontendOptions { timeout: PATIENCE, ..FrontendOptions::new(path) }).unwrap()
}

#[test]
fn frames_whose_chain_is_invalid_are_dropped_with_their_reason_and_given_back() {
    type Attack = fn(&Hostile);
    let attacks: [(&str, Attack); 16] = [
        ("outside of the memory", |h| h.describe(TX, 0, GUEST + MEMORY, 72, 0, 0)),
        ("in front of the memory", |h| h.describe(TX, 0, GUEST - 1, 72, 0, 0)),
        ("across its end", |h| h.describe(TX, 0, GUEST + MEMORY - 71, 72, 0, 0)),
        ("across the end of all addresses", |h| h.describe(TX, 0, u64::MAX - 10, 72, 0, 0)),
        ("4 GiB long", |h| h.describe(TX, 0, GUEST, u32::MAX, 0, 0)),
        ("a loop of one", |h| h.describe(TX, 0, GUEST + BUFFERS, 72, NEXT, 0)),
        ("a loop of two", |h| {
            h.describe(TX, 0, GUEST + BUFFERS, 10, NEXT, 1);
            h.describe(TX, 1, GUEST + BUFFERS, 10, NEXT, 0);
        }),
        ("beyond the ring", |h| h.describe(TX, 0, GUEST + BUFFERS, 72, NEXT, SIZE)),
        ("writable", |h| h.describe(TX, 0, GUEST + BUFFERS, 72, WRITE, 0)),
        ("shorter than its header", |h| h.describe(TX, 0, GUEST + BUFFERS, 11, 0, 0)),
        ("empty", |h| h.describe(TX, 0, GUEST + BUFFERS, 0, 0, 0)),
        ("an indirect table that is no multiple of 16", |h| h.describe(TX, 0, GUEST + BUFFERS, 17, INDIRECT, 0)),
        ("an indirect table outside", |h| h.describe(TX, 0, GUEST + MEMORY - 15, 16, INDIRECT, 0)),
        ("an indirect table with a follower", |h| h.describe(TX, 0, GUEST + BUFFERS, 16, INDIRECT | NEXT, 0)),
        ("an indirect table in an indirect table", |h| {
            h.write(BUFFERS, &Hostile::entry(GUEST + BUFFERS, 16, INDIRECT, 0));
            h.describe(TX, 0, GUEST + BUFFERS, 16, INDIRECT, 0);
        }),
        ("a loop in an indirect table", |h| {
            h.write(BUFFERS, &Hostile::entry(GUEST + BUFFERS, 16, NEXT, 0));
            h.describe(TX, 0, GUEST + BUFFERS, 16, INDIRECT, 0);
        }),
    ];
    for (what, attack) in attacks {
        let (mut lab, hostile) = Lab::with_vm();
        hostile.good_frame();
        attack(&hostile);
        // A good frame behind it.
        hostile.describe(TX, 5, GUEST + BUFFERS + 4096, 72, 0, 0);
        hostile.offer(TX, 1, 5);
        hostile.set_available(TX, 2);
        assert_eq!(lab.forward(), 1, "{what}");
        assert_eq!(lab.victim.drops(), [("rx-bad-descriptor", 1)], "{what}");
        assert_eq!(hostile.used(TX), 2, "{what}");
        assert!(lab.victim.link.state().carrier, "{what}");
        lab.assert_others_work(hostile);
    }
}

/// No harm meant: drivers cut a frame where they like.
#[test]
fn a_frame_may_be_cut_anywhere() {
    let (mut lab, hostile) = Lab::with_vm();
    let octets: Vec<u8> = [0; 12].into_iter().chain(pattern(600)).collect();
    let cuts: [&[usize]; 6] = [&[12], &[5], &[5, 12, 26], &[12, 100, 268, 269], &[300], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 611]];
    for (n, cuts) in (0..).zip(cuts) {
        let ends: Vec<usize> = cuts.iter().copied().chain([octets.len()]).collect();
        let mut start = 0;
        for (i, end) in ends.iter().enumerate() {
            // Each piece in a page of its own.
            let at = BUFFERS + 0x1_0000 + 4096 * i as u64;
            hostile.write(at, &octets[start..*end]);
            let flags = if *end < octets.len() { NEXT } else { 0 };
            hostile.describe(TX, i as u16, GUEST + at, (end - start) as u32, flags, i as u16 + 1);
            start = *end;
        }
        hostile.offer(TX, n, 0);
        hostile.set_available(TX, n + 1);
        assert_eq!(lab.forward(), 1);
        assert!(receive(lab.good.rx[0].as_mut()) == [(pattern(600), Offload::NONE)], "{cuts:?}");
    }
    assert_eq!(lab.victim.drops(), []);
    lab.assert_others_work(hostile);
}

#[test]
fn frames_too_long_or_too_short_are_dropped_with_their_reason() {
    let (mut lab, hostile) = Lab::with_vm();
    hostile.describe(TX, 0, GUEST, 12 + FRAME_MAX as u32 + 1, 0, 0);
    hostile.describe(TX, 1, GUEST, 12 + FRAME_MAX as u32, 0, 0);
    hostile.describe(TX, 2, GUEST, 12, 0, 0);
    (0..3).for_each(|i| hostile.offer(TX, i, i));
    hostile.set_available(TX, 3);
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    lab.victim.rx[0].receive(&mut burst).unwrap();
    assert_eq!(burst.losses(), [(DropReason::RxTruncated, 1)]);
    // The pipeline drops the one without octets as a runt.
    assert_eq!(burst.frames().iter().map(|frame| frame.len()).collect::<Vec<_>>(), [FRAME_MAX, 0]);
    drop(burst);
    lab.victim.rx[0].release();
    assert_eq!(hostile.used(TX), 3);
    lab.assert_others_work(hostile);
}

#[test]
fn buffers_that_are_invalid_cost_the_frame_for_them() {
    type Attack = fn(&Hostile);
    let attacks: [(&str, Attack); 5] = [
        ("outside", |h| h.describe(RX, 0, GUEST + MEMORY, 4096, WRITE, 0)),
        ("not writable", |h| h.describe(RX, 0, GUEST + BUFFERS, 4096, 0, 0)),
        ("a loop", |h| h.describe(RX, 0, GUEST + BUFFERS, 4, WRITE | NEXT, 0)),
        ("empty", |h| h.describe(RX, 0, GUEST + BUFFERS, 0, WRITE, 0)),
        ("followed by a bad one", |h| {
            h.describe(RX, 0, GUEST + BUFFERS, 20, WRITE, 0);
            h.describe(RX, 1, GUEST, 4096, 0, 0);
        }),
    ];
    for (what, attack) in attacks {
        let (mut lab, hostile) = Lab::with_vm();
        attack(&hostile);
        lab.send(60);
        assert_eq!(lab.victim.drops(), [("tx-bad-descriptor", 1)], "{what}");
        lab.send(60);
        assert_eq!(lab.victim.counters.tx_packets.get(), 1, "{what}");
        lab.assert_others_work(hostile);
    }
}

#[test]
fn buffers_that_overlap_each_other_or_the_ring_harm_only_their_owner() {
    let (mut lab, hostile) = Lab::with_vm();
    // A buffer over both rings, and one over the first buffer.
    hostile.describe(RX, 0, GUEST, 0x8000, WRITE, 0);
    hostile.describe(RX, 1, GUEST + 4, 4096, WRITE, 0);
    for _ in 0..20 {
        lab.send(1514);
    }
    lab.forward();
    lab.assert_others_work(hostile);
}

#[test]
fn a_frame_may_lie_where_it_is_to_go() {
    // The same memory in both rings: what is transmitted is received into the octets it is read from, shifted.
    let (mut lab, hostile) = Lab::with_vm();
    hostile.describe(TX, 0, GUEST + BUFFERS + 100, 4000, 0, 0);
    hostile.offer(TX, 0, 0);
    hostile.set_available(TX, 1);
    let (rx, tx) = (&mut lab.victim.rx[0], &mut lab.victim.tx[0]);
    assert_eq!(forward(rx.as_mut(), tx.as_mut(), &PortCounters::default(), &lab.victim.counters), 1);
    assert_eq!(lab.victim.counters.tx_packets.get(), 1);
    lab.assert_others_work(hostile);
}

#[test]
fn indices_that_cannot_be_stop_the_ring() {
    type Attack = fn(&Hostile);
    let attacks: [(&str, usize, Attack); 4] = [
        ("available index moved", TX, |h| h.set_available(TX, SIZE + 1)),
        ("available index moved", RX, |h| h.set_available(RX, 0xffff)),
        ("beyond the size of the ring", TX, |h| {
            h.offer(TX, 0, SIZE);
            h.set_available(TX, 1);
        }),
        ("beyond the size of the ring", RX, |h| h.offer(RX, 0, 0xffff)),
    ];
    for (text, ring, attack) in attacks {
        let (mut lab, hostile) = Lab::with_vm();
        attack(&hostile);
        assert_eq!(lab.forward(), 0);
        lab.send(60);
        let state = lab.wait_problem(text);
        assert!(state.problem.unwrap().starts_with(&format!("ring {ring} is stopped")));
        assert_eq!(lab.victim.drops().iter().map(|(_, count)| count).sum::<u64>() + lab.victim.counters.tx_packets.get(), 1);
        // It stays so, whatever the ring holds now.
        hostile.set_available(ring, 0);
        assert_eq!(lab.forward(), 0);
        lab.assert_others_work(hostile);
    }
}

#[test]
fn a_ring_that_was_stopped_works_after_a_reset() {
    let (mut lab, mut hostile) = Lab::with_vm();
    hostile.set_available(TX, 999);
    lab.forward();
    lab.wait_problem("available index moved");
    assert_eq!(hostile.protocol.get_vring_base(TX).unwrap(), 0);
    hostile.set_available(TX, 0);
    hostile.set_up(TX, 0).unwrap();
    lab.victim.wait_up();
    hostile.good_frame();
    hostile.set_available(TX, 1);
    assert_eq!(lab.forward(), 1);
    lab.assert_others_work(hostile);
}

#[test]
fn memory_tables_that_cannot_be_are_refused() {
    let attacks: [(&str, Attack); 7] = [
        ("overlap", |h| h.set_memory(&[h.region(0, 0x10000), h.region(0x8000, 0x10000)])),
        ("fewer than its region needs", |h| h.set_memory(&[h.region(0, MEMORY + 1)])),
        ("fewer than its region needs", |h| h.set_memory(&[h.region(MEMORY, 4096)])),
        ("fewer than its region needs", |h| {
            let mut region = h.region(0, 4096);
            region.mmap_offset = u64::MAX - 4096;
            h.set_memory(&[region])
        }),
        ("must be a memfd", |h| {
            let file = File::open("/proc/self/exe").unwrap();
            let region = VhostUserMemoryRegionInfo { mmap_handle: file.as_raw_fd(), ..h.region(0, 4096) };
            h.set_memory(&[region])
        }),
        // The rings were in the part that goes.
        ("outside of the VM's memory", |h| h.set_memory(&[h.region(0x8000, 0x1000)])),
        ("does not keep to the protocol", |h| {
            let region = VhostUserMemoryRegionInfo { guest_phys_addr: u64::MAX, ..h.region(0, 4096) };
            h.set_memory(&[region])
        }),
    ];
    each_is_refused(&attacks);
}

/// A message of a frontend, with which the connection ends.
type Attack = fn(&mut Hostile) -> vhost::Result<()>;

/// Each attack is answered with an error, ends the connection for a reason that has the text, and nobody else notices.
#[track_caller]
fn each_is_refused(attacks: &[(&str, Attack)]) {
    for (text, attack) in attacks {
        let (lab, mut hostile) = Lab::with_vm();
        assert!(attack(&mut hostile).is_err(), "{text}");
        lab.wait_problem(text);
        lab.assert_others_work(hostile);
    }
}

#[test]
fn rings_that_cannot_be_are_refused() {
    let attacks: [(&str, Attack); 7] = [
        ("power of 2", |h| h.protocol.set_vring_num(TX, 15)),
        ("power of 2", |h| h.protocol.set_vring_num(TX, 0)),
        ("outside of the VM's memory", |h| {
            h.protocol.set_vring_addr(TX, &VringConfigData { desc_table_addr: USER + MEMORY - 16, ..Hostile::addresses(TX) })
        }),
        ("outside of the VM's memory", |h| {
            h.protocol.set_vring_addr(TX, &VringConfigData { used_ring_addr: 0x1000, ..Hostile::addresses(TX) })
        }),
        ("does not keep to the protocol", |h| {
            h.protocol.set_vring_addr(TX, &VringConfigData { avail_ring_addr: USER + 0x5001, ..Hostile::addresses(TX) })
        }),
        // A ring of another size in the same place does not fit any more.
        ("outside of the VM's memory", |h| {
            h.protocol.set_vring_addr(TX, &VringConfigData { desc_table_addr: USER + MEMORY - 256, ..Hostile::addresses(TX) })?;
            h.protocol.set_vring_num(TX, 32)
        }),
        ("is no eventfd", |h| {
            // A pipe that nobody reads would block who writes to it.
            let (_reader, writer) = std::io::pipe().unwrap();
            // SAFETY: the only owner gives the descriptor up, and it is adopted at once.
            let pipe = unsafe { EventFd::from_raw_fd(writer.into_raw_fd()) };
            h.protocol.set_vring_call(TX, &pipe)
        }),
    ];
    each_is_refused(&attacks);
}

#[test]
fn a_ring_may_move_while_it_runs() {
    let (mut lab, mut hostile) = Lab::with_vm();
    hostile.good_frame();
    hostile.set_available(TX, 1);
    assert_eq!(lab.forward(), 1);
    // All its parts 128 KiB further on, with one frame more.
    let mut rings = vec![0; 0x4000];
    hostile.memory.read_exact_at(&mut rings, 0x4000).unwrap();
    hostile.write(0x24000, &rings);
    hostile.write_u16(0x25002, 2);
    hostile.write_u16(0x25006, 0);
    let moved = |at: u64| at + 0x20000;
    let VringConfigData { desc_table_addr, avail_ring_addr, used_ring_addr, .. } = Hostile::addresses(TX);
    let addresses = VringConfigData {
        desc_table_addr: moved(desc_table_addr),
        avail_ring_addr: moved(avail_ring_addr),
        used_ring_addr: moved(used_ring_addr),
        ..Hostile::addresses(TX)
    };
    hostile.protocol.set_vring_addr(TX, &addresses).unwrap();
    assert_eq!(lab.forward(), 1);
    assert_eq!((hostile.used(TX), hostile.read_u16(0x26002)), (1, 2));
    // And the memory with it, in two halves, while a burst is in the hands of a worker.
    hostile.write_u16(0x25002, 3);
    hostile.write_u16(0x25008, 0);
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    lab.victim.rx[0].receive(&mut burst).unwrap();
    assert_eq!(burst.len(), 1);
    let thread = std::thread::spawn(move || {
        let (low, high) = (hostile.region(0, MEMORY / 2), hostile.region(MEMORY / 2, MEMORY / 2));
        hostile.set_memory(&[low, high]).unwrap();
        hostile
    });
    // The answer waits for the worker: never before, however long it takes.
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!thread.is_finished());
    assert_eq!(burst.frames()[0].head(), pattern(60));
    drop(burst);
    lab.victim.rx[0].release();
    let hostile = thread.join().unwrap();
    assert_eq!(hostile.read_u16(0x26002), 3);
    // Buffers may lie across regions.
    let message: Vec<u8> = [0; 12].into_iter().chain(pattern(2000)).collect();
    hostile.write(MEMORY / 2 - 1000, &message);
    hostile.write(0x24000, &Hostile::entry(GUEST + MEMORY / 2 - 1000, 2012, 0, 0));
    hostile.write_u16(0x2500a, 0);
    hostile.write_u16(0x25002, 4);
    receive(lab.good.rx[0].as_mut());
    assert_eq!(lab.forward(), 1);
    assert!(receive(lab.good.rx[0].as_mut()) == [(pattern(2000), Offload::NONE)]);
    lab.assert_others_work(hostile);
}

#[test]
fn a_file_that_is_truncated_takes_down_its_port_and_no_more() {
    let (mut lab, hostile) = Lab::with_vm();
    hostile.good_frame();
    hostile.set_available(TX, 1);
    ftruncate(&hostile.memory, 0).unwrap();
    // Whoever reads the pages that are gone gets SIGBUS.
    lab.forward();
    lab.forward();
    lab.send(60);
    lab.wait_problem("was truncated");
    assert_eq!(lab.victim.counters.tx_packets.get(), 0);
    lab.assert_others_work(hostile);
    // Between receiving and transmitting, with payload in the pages.
    let (mut lab, hostile) = Lab::with_vm();
    hostile.describe(TX, 0, GUEST + BUFFERS, 20_000, 0, 0);
    hostile.offer(TX, 0, 0);
    hostile.set_available(TX, 1);
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    lab.victim.rx[0].receive(&mut burst).unwrap();
    ftruncate(&hostile.memory, 0x4000).unwrap();
    lab.other.tx[0].transmit(burst.frames(), &[0], &dataplane::TxReport::new(&lab.other.counters));
    drop(burst);
    lab.victim.rx[0].release();
    lab.forward();
    lab.wait_problem("was truncated");
    lab.assert_others_work(hostile);
}

#[test]
fn kicks_without_end_cost_the_sender_only() {
    let (mut lab, hostile) = Lab::with_vm();
    for _ in 0..100_000 {
        hostile.kick[TX].write(1).unwrap();
    }
    assert_eq!(lab.forward(), 0);
    assert!(lab.victim.rx[0].prepare_sleep(), "kicks alone are no work");
    lab.assert_others_work(hostile);
}

#[test]
fn a_frontend_that_does_not_read_answers_holds_nobody_up() {
    let lab = Lab::new();
    let mut stream = UnixStream::connect(&lab.path).unwrap();
    lab.victim.wait("not connected", |state| state.connected);
    stream.set_nonblocking(true).unwrap();
    // GET_FEATURES, version 1, without body: as many as fit.
    let message: Vec<u8> = [1u32, 1, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    let start = Instant::now();
    while stream.write_all(&message).is_ok() && start.elapsed() < PATIENCE {}
    drop(lab.victim);
    assert!(start.elapsed() < PATIENCE, "the port cannot be closed");
}
