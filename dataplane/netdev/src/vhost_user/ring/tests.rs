//! The ring beside the one of the crate `virtio-queue`, over the same memory; and over memory of random octets.

use std::collections::BTreeMap;
use std::ptr::NonNull;

use bolero::TypeGenerator;
use dataplane::burst::Burst;
use dataplane::device::TxReport;
use dataplane::{BURST_MAX, BurstMemory, PortCounters};
use proptest::prelude::*;
use virtio_queue::desc::{RawDescriptor, split::Descriptor as SplitDescriptor};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use wire::Offload;

use super::super::memory::{Region, RegionAddress};
use super::super::{rx, tx};
use super::*;

/// Descriptors in the rings of the comparison.
const SIZE: u16 = 16;
/// Two regions that meet, a gap, a third.
const REGIONS: [(u64, usize); 3] = [(0, 0x1_0000), (0x1_0000, 0x8000), (0x4_0000, 0x8000)];
/// Where indirect tables are.
const TABLES: u64 = 0x8000;

const ALL: RingFeatures =
    RingFeatures { event_idx: false, indirect: true, mergeable: true, header_len: 12, capabilities: Capabilities::ALL };

fn memory() -> GuestMemoryMmap<()> {
    GuestMemoryMmap::from_ranges(&REGIONS.map(|(start, len)| (GuestAddress(start), len))).unwrap()
}

/// The same memory as our table; addresses of the frontend are those of the VM.
fn table(memory: &GuestMemoryMmap<()>) -> Arc<MemTable> {
    let region = |region: &vm_memory::GuestRegionMmap<()>| {
        let guest = region.start_addr().raw_value();
        let host = memory.get_host_address(region.start_addr()).unwrap();
        Arc::new(Region::of_test(RegionAddress { guest, len: region.len(), user: guest }, NonNull::new(host).unwrap()))
    };
    Arc::new(MemTable::new(memory.iter().map(region).collect()).unwrap())
}

/// Where the parts of the ring are, in the VM and for the frontend. (The mock of `virtio-queue` has its used ring inside of
/// its available ring.)
const ADDRESS: RingAddress = RingAddress { descriptors: 0, available: 0x100, used: 0x200 };

fn ring(memory: &GuestMemoryMmap<()>, direction: Direction, features: RingFeatures) -> Ring {
    Ring::new(table(memory), direction, SIZE, ADDRESS, features, 0).unwrap()
}

/// The ring of the reference in the same place.
fn reference() -> Queue {
    let mut queue = Queue::new(SIZE).unwrap();
    queue.set_desc_table_address(Some(ADDRESS.descriptors as u32), Some(0));
    queue.set_avail_ring_address(Some(ADDRESS.available as u32), Some(0));
    queue.set_used_ring_address(Some(ADDRESS.used as u32), Some(0));
    queue.set_ready(true);
    queue
}

fn write_u16(memory: &GuestMemoryMmap<()>, at: u64, value: u16) {
    memory.write_obj(value, GuestAddress(at)).unwrap();
}

fn read_u16(memory: &GuestMemoryMmap<()>, at: u64) -> u16 {
    memory.read_obj(GuestAddress(at)).unwrap()
}

/// Writes descriptors from an address on.
fn describe<'d>(memory: &GuestMemoryMmap<()>, at: u64, descriptors: impl IntoIterator<Item = &'d Given>) {
    for (i, given) in (0..).zip(descriptors) {
        memory.write_obj(given.raw(), GuestAddress(at + 16 * i)).unwrap();
    }
}

/// Makes chains available.
fn offer(memory: &GuestMemoryMmap<()>, heads: &[u16]) {
    for (i, head) in (0..).zip(heads) {
        write_u16(memory, ADDRESS.available + 4 + 2 * i, *head);
    }
    write_u16(memory, ADDRESS.available + 2, heads.len() as u16);
}

#[derive(Clone, Debug)]
struct Given {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Given {
    fn raw(&self) -> RawDescriptor {
        SplitDescriptor::new(self.address, self.len, self.flags, self.next).into()
    }
}

/// A descriptor, mostly one that is valid.
fn given(writable: bool) -> impl Strategy<Value = Given> {
    let write = if writable { WRITE } else { 0 };
    let address = prop_oneof![6 => 0x2000u64..0x7000, 2 => 0xff00u64..0x1_0100, 1 => 0x1_7f00u64..0x1_8100, 1 => 0x3_ff00u64..0x4_8100, 1 => any::<u64>()];
    let len = prop_oneof![6 => 0u32..300, 2 => 300u32..1200, 1 => any::<u32>()];
    let flags = prop_oneof![6 => Just(write), 6 => Just(write | NEXT), 1 => Just(write ^ WRITE)];
    let plain = (address, len, flags, 0..SIZE + 2).prop_map(|(address, len, flags, next)| Given { address, len, flags, next });
    // Flags of indirect descriptors beside INDIRECT: WRITE has no meaning, NEXT is forbidden and has a test of its own.
    let indirect = (0u64..4, prop_oneof![4 => 1u32..20, 1 => Just(0)], 0u32..20).prop_map(|(table, entries, odd)| Given {
        address: TABLES + 0x100 * table,
        len: entries * 16 + u32::from(odd == 0),
        flags: INDIRECT,
        next: 0,
    });
    prop_oneof![5 => plain, 1 => indirect]
}

/// Address and length of the descriptors of a chain.
type Buffers = Vec<(u64, u32)>;

/// What `virtio-queue` makes of the next chain: address and length of its descriptors, unless it is invalid.
fn oracle(memory: &GuestMemoryMmap<()>, queue: &mut Queue, writable: bool) -> Option<(u16, Option<Buffers>)> {
    let chain = queue.pop_descriptor_chain(memory)?;
    let head = chain.head_index();
    let descriptors: Vec<SplitDescriptor> = chain.collect();
    // It ends without a word where a chain is invalid: then the last one has a follower.
    let complete = descriptors.last().is_some_and(|last| !last.has_next());
    let inside = |d: &SplitDescriptor| d.len() == 0 || GuestMemoryBackend::check_range(memory, d.addr(), d.len() as usize);
    let valid = complete && descriptors.iter().all(|d| d.is_write_only() == writable && inside(d));
    Some((head, valid.then(|| descriptors.iter().map(|d| (d.addr().raw_value(), d.len())).collect())))
}

fn check(writable: bool, descriptors: &[Given], tables: &[Given], heads: &[u16]) -> Result<(), TestCaseError> {
    let memory = memory();
    describe(&memory, ADDRESS.descriptors, descriptors);
    describe(&memory, TABLES, tables);
    offer(&memory, heads);
    let mut queue = reference();
    let ring = ring(&memory, if writable { Direction::ToGuest } else { Direction::FromGuest }, ALL);
    prop_assert_eq!(ring.available(), Ok(heads.len() as u16));
    let mut chains = Chains::new();
    let result = ring.gather(0, heads.len() as u16, &mut chains);
    prop_assert_eq!(result, if heads.iter().all(|head| *head < SIZE) { Ok(()) } else { Err(Fault::Head) });
    for chain in chains.all() {
        let (head, expected) = oracle(&memory, &mut queue, writable).expect("as many chains");
        prop_assert_eq!(chain.id, head);
        prop_assert_eq!(chain.bad, expected.is_none());
        let Some(expected) = expected else { continue };
        prop_assert_eq!(u64::from(chain.len), expected.iter().map(|(_, len)| u64::from(*len)).sum::<u64>());
        // Octet for octet, as regions may cut a descriptor in two.
        let ours = chains.runs(chain).iter().flat_map(|run| run.iter().map(|octet| octet.as_ptr() as usize));
        let address = |at| memory.get_host_address(GuestAddress(at)).unwrap() as usize;
        let theirs = expected.iter().flat_map(|(at, len)| (0..u64::from(*len)).map(move |i| at + i)).map(address);
        prop_assert!(ours.eq(theirs));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chains_are_those_of_the_reference(
        (writable, descriptors, tables, heads) in any::<bool>().prop_flat_map(|writable| (
            Just(writable),
            prop::collection::vec(given(writable), SIZE as usize),
            prop::collection::vec(given(writable), 64),
            prop::collection::vec(prop_oneof![30 => 0..SIZE, 1 => any::<u16>()], 0..=SIZE as usize),
        ))
    ) {
        check(writable, &descriptors, &tables, &heads)?;
    }

    /// Batches of any size round and round the ring: the same elements in the used ring, and a signal when the reference
    /// gives one.
    #[test]
    fn the_used_ring_is_that_of_the_reference(
        event_idx: bool,
        batches in prop::collection::vec((prop::collection::vec((0..SIZE, any::<u32>()), 1..=SIZE as usize), any::<i8>()), 1..40),
    ) {
        let (ours, theirs) = (memory(), memory());
        let mut queue = reference();
        queue.set_event_idx(event_idx);
        let mut ring = ring(&ours, Direction::FromGuest, RingFeatures { event_idx, ..ALL });
        let used_len = 4 + 8 * usize::from(SIZE);
        let mut first = true;
        for (batch, event) in batches {
            // The driver's wish lies somewhere about the present index.
            let wish = ring.next_used.wrapping_add_signed(event.into());
            for memory in [&ours, &theirs] {
                write_u16(memory, ADDRESS.available + 4 + 2 * u64::from(SIZE), wish);
            }
            for (n, (id, len)) in batch.iter().enumerate() {
                ring.put_used(n as u16, *id, *len);
                queue.add_used(&theirs, *id, *len).unwrap();
            }
            ring.publish(batch.len() as u16);
            // `publish` decides before it remembers; ask as it did.
            let old = ring.next_used.wrapping_sub(batch.len() as u16);
            ring.signalled = (!first).then_some(old);
            let signals = ring.wants_signal();
            ring.signalled = Some(ring.next_used);
            let expected = queue.needs_notification(&theirs).unwrap();
            // The first time a VM is signalled whatever it wishes: what it wrote before may be of a former driver.
            prop_assert_eq!(signals, expected || first);
            first = false;
            let mut used = [vec![0u8; used_len], vec![0u8; used_len]];
            ours.read_slice(&mut used[0], GuestAddress(ADDRESS.used)).unwrap();
            theirs.read_slice(&mut used[1], GuestAddress(ADDRESS.used)).unwrap();
            // Our flags say whether we want signals; the reference has none.
            prop_assert_eq!(&used[0][2..], &used[1][2..]);
        }
    }
}

#[test]
fn an_indirect_descriptor_has_no_follower_and_may_have_leaders() {
    let plain = |len, flags, next| Given { address: 0x2000, len, flags, next };
    let indirect = |flags| Given { address: TABLES, len: 32, flags, next: 2 };
    let tables = [plain(5, NEXT, 1), plain(7, 0, 0)];
    let cases = [
        (vec![plain(10, NEXT, 1), indirect(INDIRECT), plain(1, 0, 0)], Some(22)),
        (vec![indirect(INDIRECT | WRITE)], Some(12)),
        (vec![plain(10, NEXT, 1), indirect(INDIRECT | NEXT), plain(1, 0, 0)], None),
    ];
    for (descriptors, expected) in cases {
        for (features, expected) in [(ALL, expected), (RingFeatures { indirect: false, ..ALL }, None)] {
            let memory = memory();
            describe(&memory, ADDRESS.descriptors, &descriptors);
            describe(&memory, TABLES, &tables);
            offer(&memory, &[0]);
            let mut chains = Chains::new();
            ring(&memory, Direction::FromGuest, features).gather(0, 1, &mut chains).unwrap();
            assert_eq!(chains.all()[0].bad, expected.is_none());
            assert_eq!(chains.all()[0].len, expected.unwrap_or(0));
        }
    }
}

#[test]
fn signals_are_refused_and_asked_for() {
    for event_idx in [false, true] {
        let memory = memory();
        let features = RingFeatures { event_idx, ..ALL };
        let flags = || read_u16(&memory, ADDRESS.used);
        let event = || read_u16(&memory, ADDRESS.used + 4 + 8 * u64::from(SIZE));
        let mut to_vm = ring(&memory, Direction::ToGuest, features);
        assert_eq!((flags(), event()), if event_idx { (0, 0xffff) } else { (NO_NOTIFY, 0) });
        to_vm.next_available = 7;
        to_vm.ask_for_signals();
        assert_eq!((flags(), event()), if event_idx { (0, 7) } else { (0, 0) });
        let mut from_vm = ring(&memory, Direction::FromGuest, features);
        assert!(from_vm.notify());
        from_vm.refuse_signals();
        assert_eq!(flags(), u16::from(!event_idx));
    }
}

/// Memory of a VM, all of it as the input says, rings and buffers alike, and what the VM does between bursts.
#[derive(Debug, TypeGenerator)]
struct Input {
    octets: Vec<u8>,
    /// Offset and value of words that are written between the bursts.
    writes: Vec<(u16, u16)>,
    direction: bool,
    features: [bool; 3],
    base: u16,
    /// Lengths of frames to the VM.
    frames: [u16; 4],
}

/// Whatever a VM has in its memory, nothing panics, no frame is counted twice or not at all, and the rings of no one else are
/// touched. The memory is not zeroed between its parts, so that random octets are near to descriptors that are valid.
#[test]
fn fuzz_rings_in_random_memory() {
    const LEN: usize = 0x4000;
    bolero::check!().with_type::<Input>().for_each(|input| {
        let mut memory = vec![0u64; LEN / 8 + 1];
        let start = NonNull::new(memory.as_mut_ptr().cast::<u8>()).unwrap();
        let regions = [(0, 0x1800), (0x1800, 0x800), (0x3000, 0x1000)].map(|(guest, len)| {
            // SAFETY: inside of the memory.
            let host = unsafe { start.add(guest) };
            Arc::new(Region::of_test(RegionAddress { guest: guest as u64, len, user: guest as u64 }, host))
        });
        let table = Arc::new(MemTable::new(regions.into()).unwrap());
        let write = |at: usize, octets: &[u8]| {
            let len = octets.len().min(LEN.saturating_sub(at));
            // SAFETY: inside of the memory.
            let to = unsafe { start.add(at.min(LEN)) };
            // SAFETY: as long as the rest of the memory at most; nobody has a reference into it.
            unsafe { to.copy_from_nonoverlapping(NonNull::from(octets).cast(), len) };
        };
        write(0, &input.octets);
        // Descriptors 0 to 15, the available ring and the used ring share pages with the buffers.
        let [event_idx, indirect, mergeable] = input.features;
        let features = RingFeatures { event_idx, indirect, mergeable, ..ALL };
        let direction = if input.direction { Direction::ToGuest } else { Direction::FromGuest };
        let mut ring = Ring::new(table, direction, SIZE, ADDRESS, features, input.base).unwrap();
        let mut chains = Chains::new();
        let mut burst_memory = BurstMemory::new();
        let frames = vec![0x5a; usize::from(u16::MAX)];
        for (at, value) in input.writes.iter().take(16).chain(&[(0x102, input.base.wrapping_add(3))]) {
            write(usize::from(*at), &value.to_le_bytes());
            let mut burst = burst_memory.burst();
            match direction {
                Direction::FromGuest => {
                    let Ok(()) = rx::take(&mut ring, &mut chains, &mut burst) else { return };
                    let octets: usize = burst.frames().iter().map(|frame| frame.head().len() + frame.body().octets().count()).sum();
                    assert_eq!(octets, burst.frames().iter().map(|frame| frame.len()).sum::<usize>());
                    assert!(burst.len() <= BURST_MAX);
                    drop(burst);
                    rx::give_back(&mut ring, &mut chains);
                }
                Direction::ToGuest => {
                    let counters = PortCounters::default();
                    fill(&mut burst, &frames, &input.frames);
                    let result = tx::deliver(&mut ring, &mut chains, burst.frames(), &[0, 1, 2, 3], &TxReport::new(&counters));
                    let drops: BTreeMap<_, _> = dataplane::DropReason::ALL.iter().map(|reason| (reason, counters.drops(*reason))).collect();
                    assert_eq!(drops.values().sum::<u64>() + counters.tx_packets.get(), 4, "{drops:?}");
                    if result.is_err() {
                        return;
                    }
                }
            }
            assert!(chains.all().is_empty());
        }
    });
}

fn fill<'a>(burst: &mut Burst<'a>, octets: &'a [u8], lengths: &[u16]) {
    lengths.iter().for_each(|len| burst.push_borrowed(&octets[..usize::from(*len)], Offload::NONE, None));
}
