//! The driver against a device in the same process, which takes every step the slow way and checks it.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use dataplane::burst::{Burst, BurstMemory, FRAME_MAX};
use dataplane::counters::PortCounters;
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport};
use dataplane::drop_reason::DropReason;
use vmm_sys_util::eventfd::EventFd;
use wire::{Offload, virtio_net};

use super::memory::SharedMemory;
use super::ring::{DriverRing, INDIRECT, Layout, NEXT, WRITE};
use super::rx::{Buffers, FrontendRx};
use super::tx::{BUFFER, CHAIN_MAX, FrontendTx, TxMemory};
use super::{Plan, capabilities, features};

const SIZE: u16 = 64;

/// Address, length and flags.
type Buffer = (usize, usize, u16);

/// The device's end of one ring.
struct Device {
    memory: Arc<SharedMemory>,
    layout: Layout,
    seen: u16,
    used: u16,
}

impl Device {
    fn descriptor(&self, table: usize, index: u16) -> (usize, usize, u16, u16) {
        let at = table + 16 * usize::from(index);
        let rest = self.memory.u64(at + 8).load(Relaxed);
        (self.memory.u64(at).load(Relaxed) as usize, rest as u32 as usize, (rest >> 32) as u16, (rest >> 48) as u16)
    }

    /// The next chain the driver made available: its head, and address, length and flags of each buffer.
    fn next(&mut self) -> Option<(u16, Vec<Buffer>)> {
        if self.memory.u16(self.layout.avail + 2).load(Acquire) == self.seen {
            return None;
        }
        let head = self.memory.u16(self.layout.avail + 4 + 2 * usize::from(self.seen % SIZE)).load(Relaxed);
        self.seen = self.seen.wrapping_add(1);
        let (mut table, mut index, mut chain) = (self.layout.desc, head, Vec::new());
        loop {
            let (address, len, flags, next) = self.descriptor(table, index);
            if flags & INDIRECT != 0 {
                assert!(chain.is_empty() && len.is_multiple_of(16));
                (table, index) = (address, 0);
                continue;
            }
            chain.push((address, len, flags));
            if flags & NEXT == 0 {
                return Some((head, chain));
            }
            index = next;
        }
    }

    fn give_back(&mut self, head: u16, len: usize) {
        let at = self.layout.used + 4 + 8 * usize::from(self.used % SIZE);
        self.memory.u32(at).store(head.into(), Relaxed);
        self.memory.u32(at + 4).store(len as u32, Relaxed);
        self.used = self.used.wrapping_add(1);
        self.memory.u16(self.layout.used + 2).store(self.used, Release);
    }
}

struct Bench {
    rx: FrontendRx,
    tx: FrontendTx,
    to_guest: Device,
    from_guest: Device,
    kick: Arc<EventFd>,
    counters: PortCounters,
    burst: BurstMemory,
}

impl Bench {
    fn new(features: u64) -> Bench {
        let mut plan = Plan { end: 0 };
        let (rx, tx) = (plan.ring(SIZE), plan.ring(SIZE));
        let mergeable = features & features::MRG_RXBUF != 0;
        let len = if mergeable { BUFFER } else { 33 * BUFFER };
        let buffers = Buffers { start: plan.take(len * usize::from(SIZE)), len };
        let tables = (features & features::INDIRECT_DESC != 0).then(|| plan.take(16 * CHAIN_MAX * usize::from(SIZE)));
        let tx_memory = TxMemory { buffers: plan.take(BUFFER * usize::from(SIZE)), tables };
        let memory = Arc::new(SharedMemory::new(plan.end).unwrap());
        let fd = || Arc::new(EventFd::new(libc::EFD_NONBLOCK).unwrap());
        let (kick, event_idx) = (fd(), features & features::EVENT_IDX != 0);
        let device = |layout| Device { memory: memory.clone(), layout, seen: 0, used: 0 };
        Bench {
            rx: FrontendRx::new(DriverRing::new(memory.clone(), rx, event_idx, fd()), buffers, mergeable, false, fd()),
            tx: FrontendTx::new(DriverRing::new(memory.clone(), tx, event_idx, kick.clone()), tx_memory, capabilities(features)),
            to_guest: device(rx),
            from_guest: device(tx),
            kick,
            counters: PortCounters::default(),
            burst: BurstMemory::new(),
        }
    }

    fn send(&mut self, octets: &[u8], offload: Offload) {
        let mut burst = self.burst.burst();
        burst.push_borrowed(octets, offload, None);
        self.tx.transmit(burst.frames(), &[0], &TxReport::new(&self.counters));
    }

    /// What the device reads of the next frame, header included.
    fn device_takes(&mut self) -> Option<Vec<u8>> {
        let (head, chain) = self.from_guest.next()?;
        let mut octets = Vec::new();
        for (address, len, flags) in chain {
            assert_eq!(flags & WRITE, 0);
            let at = octets.len();
            octets.resize(at + len, 0);
            self.from_guest.memory.read(address, &mut octets[at..]);
        }
        self.from_guest.give_back(head, 0);
        Some(octets)
    }

    /// Lets the device write a frame, in as many buffers as it needs.
    fn device_sends(&mut self, octets: &[u8], offload: Offload) {
        let mut message = offload.to_bytes().to_vec();
        message.extend_from_slice(octets);
        let room = self.rx_room();
        let buffers = message.len().div_ceil(room) as u16;
        message[10..12].copy_from_slice(&buffers.to_le_bytes());
        for part in message.chunks(room) {
            let (head, chain) = self.to_guest.next().expect("a buffer");
            let [(address, len, WRITE)] = chain[..] else { panic!("{chain:?}") };
            assert_eq!(len, room);
            self.to_guest.memory.write(address, part);
            self.to_guest.give_back(head, part.len());
        }
    }

    fn rx_room(&self) -> usize {
        self.to_guest.descriptor(self.to_guest.layout.desc, 0).1
    }

    fn received(&mut self) -> Result<Vec<(Vec<u8>, Offload)>, RxError> {
        let mut burst: Burst<'_> = self.burst.burst();
        self.rx.receive(&mut burst)?;
        Ok(burst.frames().iter().map(|f| ([f.head(), &f.body().octets().collect::<Vec<_>>()].concat(), f.offload())).collect())
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

const VARIANTS: [u64; 3] =
    [features::ALL, features::ALL & !features::INDIRECT_DESC & !features::EVENT_IDX, features::ALL & !features::MRG_RXBUF];

#[test]
fn frames_of_all_lengths_pass_both_ways() {
    let gso = Offload { flags: 1, gso_type: virtio_net::GSO_TCPV4, hdr_len: 54, gso_size: 1460, csum_start: 34, csum_offset: 16 };
    for features in VARIANTS {
        let mut bench = Bench::new(features);
        // Each length often enough to go round the rings.
        for len in [14, 60, 256, 257, 1514, BUFFER - 12, BUFFER - 11, 9000, FRAME_MAX].repeat(40) {
            let octets = pattern(len);
            bench.send(&octets, gso);
            let taken = bench.device_takes().unwrap();
            assert_eq!(Offload::from_bytes(taken.first_chunk().unwrap()), gso);
            assert!(taken[12..] == octets, "{len}");
            bench.device_sends(&octets, gso);
            assert!(bench.received().unwrap() == [(octets, gso)], "{len}");
        }
        assert_eq!(bench.counters.tx_packets.get(), 360);
    }
}

#[test]
fn a_device_that_takes_nothing_fills_the_queue_and_then_it_goes_on() {
    for features in VARIANTS {
        let mut bench = Bench::new(features);
        for _ in 0..100 {
            bench.send(&pattern(60), Offload::NONE);
        }
        assert_eq!((bench.counters.tx_packets.get(), bench.counters.drops(DropReason::TxQueueFull)), (64, 36));
        while bench.device_takes().is_some() {}
        bench.send(&pattern(FRAME_MAX), Offload::NONE);
        assert_eq!(bench.device_takes().unwrap().len(), FRAME_MAX + 12);
    }
}

#[test]
fn the_device_is_kicked_only_when_it_asks_for_that() {
    for (features, event_idx) in [(VARIANTS[0], true), (VARIANTS[1], false)] {
        let mut bench = Bench::new(features);
        let ask = |bench: &Bench, want: bool| {
            let layout = bench.from_guest.layout;
            if event_idx {
                let event = if want { bench.from_guest.seen } else { bench.from_guest.seen.wrapping_add(0x8000) };
                bench.from_guest.memory.u16(layout.used + 4 + 8 * usize::from(SIZE)).store(event, Relaxed);
            } else {
                bench.from_guest.memory.u16(layout.used).store((!want).into(), Relaxed);
            }
        };
        for want in [true, false, false, true] {
            ask(&bench, want);
            bench.send(&pattern(60), Offload::NONE);
            assert_eq!(bench.kick.read().is_ok(), want, "{features:#x}");
            bench.device_takes();
        }
    }
}

#[test]
fn a_sender_does_not_claim_a_verified_checksum() {
    let mut bench = Bench::new(features::ALL);
    bench.send(&pattern(60), Offload { flags: virtio_net::FLAG_DATA_VALID, ..Offload::NONE });
    assert_eq!(bench.device_takes().unwrap()[0], 0);
}

#[test]
fn a_device_that_lies_ends_the_queue() {
    type Lie = fn(&mut Device);
    let lies: [Lie; 5] = [
        |d| d.give_back(SIZE, 60),
        |d| d.give_back(0, 100_000),
        |d| d.give_back(0, 11),
        // Nothing was given, more is given back.
        |d| d.memory.u16(d.layout.used + 2).store(SIZE + 1, Release),
        // A frame of more buffers than were given back.
        |d| {
            let (address, ..) = d.descriptor(d.layout.desc, 0);
            d.memory.write(address + 10, &[9, 0]);
            d.give_back(0, 60);
        },
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        let mut bench = Bench::new(features::ALL);
        lie(&mut bench.to_guest);
        assert_eq!(bench.received(), Err(RxError::Gone), "{i}");
    }
    // Descriptors that were not sent, or one of them twice.
    let lies: [Lie; 3] = [
        |d| d.give_back(SIZE, 0),
        // Of 40 frames, the last descriptor is not used.
        |d| d.give_back(SIZE - 1, 0),
        |d| {
            let (head, _) = d.next().unwrap();
            d.give_back(head, 0);
            d.give_back(head, 0);
        },
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        let mut bench = Bench::new(features::ALL);
        for _ in 0..40 {
            bench.send(&pattern(60), Offload::NONE);
        }
        let sent = bench.counters.tx_packets.get();
        lie(&mut bench.from_guest);
        bench.send(&pattern(60), Offload::NONE);
        assert_eq!((bench.counters.tx_packets.get(), bench.counters.drops(DropReason::TxLinkDown)), (sent, 1), "{i}");
    }
}

#[test]
fn capabilities_follow_the_features() {
    assert_eq!(capabilities(features::ALL), Capabilities::ALL);
    assert_eq!(capabilities(features::ALL & !features::CSUM), Capabilities::NONE);
    assert_eq!(capabilities(features::VERSION_1 | features::CSUM), Capabilities { checksum: true, ..Capabilities::NONE });
}
