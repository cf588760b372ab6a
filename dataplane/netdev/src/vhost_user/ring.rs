//! The split virtqueue (virtio 1.2 clause 2.7) from the side of the device, a burst at a time.
//!
//! A [`Ring`] reads available chains in batches ([`Ring::gather`]), and gives them back with one store of the used index per
//! batch ([`Ring::put_used`], [`Ring::publish`]). It belongs to whoever has its lock. Its parts were checked to lie in the
//! memory of the VM when it was made, and its [`MemTable`] keeps that memory.
//!
//! The VM may write every octet at any time. Each index, descriptor and table entry is therefore read once, into a private
//! copy, and that is checked. What can be wrong with one chain ([`Chain::bad`]) costs that chain; what leaves no way to go on
//! is a [`Fault`], after which the ring stops until the frontend sets it up anew.

use std::fs::File;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use dataplane::device::Capabilities;

use super::memory::{MemTable, Octets, Span, copy_from, prefetch};

/// Descriptors of a ring at most (clause 2.7).
pub(super) const SIZE_MAX: u16 = 1 << 15;
/// Descriptors of one table that a chain visits at most; the largest ring of QEMU (`VIRTQUEUE_MAX_SIZE`).
const CHAIN_MAX: usize = 1024;
/// Runs of octets that [`Chains`] holds.
const RUNS_MAX: usize = 2 * CHAIN_MAX;

/// `VIRTQ_DESC_F_*` (clause 2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT` (clause 2.7.7) and `VIRTQ_USED_F_NO_NOTIFY` (clause 2.7.10).
const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;

const DESCRIPTOR_LEN: usize = 16;
/// Where the elements begin in the available and the used ring, behind flags and index.
const ELEMENTS: usize = 4;

/// What makes a ring unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    /// The available index is ahead by more than the ring has descriptors.
    AvailableIndex = 1,
    /// The available ring names a descriptor that does not exist.
    Head = 2,
    /// The file behind the memory was truncated.
    MemoryLost = 3,
}

impl Fault {
    /// The fault with this number.
    pub(super) fn from_number(number: u8) -> Option<Fault> {
        [Fault::AvailableIndex, Fault::Head, Fault::MemoryLost].into_iter().find(|fault| *fault as u8 == number)
    }

    /// What happened, for people.
    pub(super) fn text(self) -> &'static str {
        match self {
            Fault::AvailableIndex => "the available index moved by more than the size of the ring",
            Fault::Head => "the available ring names a descriptor beyond the size of the ring",
            Fault::MemoryLost => "the file of the VM's memory was truncated",
        }
    }
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The VM transmits; its buffers are read.
    FromGuest,
    /// The VM receives; its buffers are written.
    ToGuest,
}

/// Where the frontend says a ring is, as addresses of its own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RingAddress {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

/// What was negotiated.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingFeatures {
    /// `VIRTIO_F_EVENT_IDX`.
    pub(super) event_idx: bool,
    /// `VIRTIO_F_INDIRECT_DESC`.
    pub(super) indirect: bool,
    /// `VIRTIO_NET_F_MRG_RXBUF`.
    pub(super) mergeable: bool,
    /// Octets of the header in front of each frame.
    pub(super) header_len: usize,
    /// What the VM's driver does with frames that are not finished.
    pub(super) capabilities: Capabilities,
}

/// A copy of a descriptor.
#[derive(Clone, Copy)]
struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    #[inline(always)]
    fn from_words(address: u64, rest: u64) -> Descriptor {
        Descriptor { address: u64::from_le(address), len: rest as u32, flags: (rest >> 32) as u16, next: (rest >> 48) as u16 }
    }
}

/// One chain of descriptors: a buffer of the VM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// Its octets where they lie in one run.
    whole: Octets<'static>,
    /// The first descriptor, by which it is given back.
    pub(super) id: u16,
    /// It cannot be used, and has no octets.
    pub(super) bad: bool,
    /// Where its runs are, if they are several.
    first: u16,
    end: u16,
    /// Octets.
    pub(super) len: u32,
}

impl Chain {
    const NONE: Chain = Chain { whole: &[], id: 0, bad: true, first: 0, end: 0, len: 0 };
}

/// Chains that were taken from a ring. To be cleared before the lock of the ring is given up, as their octets live only as
/// long as it is held.
pub(super) struct Chains {
    chains: Box<[Chain]>,
    len: usize,
    /// The octets of chains in several runs.
    runs: Vec<Octets<'static>>,
}

/// A chain is not valid.
struct BadChain;

impl Chains {
    pub(super) fn new() -> Chains {
        Chains { chains: vec![Chain::NONE; RUNS_MAX].into(), len: 0, runs: Vec::with_capacity(RUNS_MAX) }
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.runs.clear();
    }

    /// The chains in the order of the ring.
    #[inline]
    pub(super) fn all(&self) -> &[Chain] {
        &self.chains[..self.len]
    }

    /// The octets of one of [`Chains::all`]; empty if they are in several runs.
    #[inline(always)]
    pub(super) fn whole<'c>(&'c self, chain: &'c Chain) -> Octets<'c> {
        chain.whole
    }

    /// The octets of one of [`Chains::all`].
    #[inline]
    pub(super) fn runs<'c>(&'c self, chain: &'c Chain) -> &'c [Octets<'c>] {
        if chain.first == chain.end {
            std::slice::from_ref(&chain.whole)
        } else {
            &self.runs[usize::from(chain.first)..usize::from(chain.end)]
        }
    }

    fn push_run(&mut self, octets: Octets<'_>) -> Result<(), BadChain> {
        if self.runs.len() == RUNS_MAX {
            return Err(BadChain);
        }
        self.runs.push(outlive(octets));
        Ok(())
    }
}

/// The same octets for as long as the lock of their ring is held.
#[inline(always)]
fn outlive(octets: Octets<'_>) -> Octets<'static> {
    // SAFETY: the octets lie in the memory of a ring whose lock the caller has. They are kept in `Chains`, which are cleared
    // before the lock is given up, and which lend them only for as long as they are themselves borrowed.
    unsafe { &*std::ptr::from_ref(octets) }
}

/// A virtqueue that runs.
#[derive(Debug)]
pub(super) struct Ring {
    descriptors: NonNull<u8>,
    available: NonNull<u8>,
    used: NonNull<u8>,
    size: u16,
    direction: Direction,
    features: RingFeatures,
    next_available: u16,
    next_used: u16,
    /// The used index when the VM was last signalled, or decided not to be.
    signalled: Option<u16>,
    /// The VM was asked to signal (without `VIRTIO_F_EVENT_IDX`).
    notify: bool,
    /// Whether the VM's signals can wake a worker.
    pub(super) can_wake: bool,
    /// How the VM is signalled; non-blocking.
    pub(super) call: Option<Arc<File>>,
    memory: Arc<MemTable>,
}

// SAFETY: the parts lie in the memory table, which is kept and is `Send`; they are reached as atomics only.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring of `size` descriptors whose next available chain is `next_available`. The VM is asked to signal if frames
    /// come from it.
    ///
    /// # Errors
    ///
    /// What is wrong with size or address.
    pub(super) fn new(
        memory: Arc<MemTable>,
        direction: Direction,
        size: u16,
        address: RingAddress,
        features: RingFeatures,
        next_available: u16,
    ) -> Result<Ring, String> {
        if !size.is_power_of_two() || size > SIZE_MAX {
            return Err(format!("a ring of {size} descriptors (a power of 2 up to {SIZE_MAX} is possible)"));
        }
        let n = usize::from(size);
        let part = |name, at, len, align| {
            memory.ring_part(at, len, align).ok_or_else(|| format!("the {name} at {at:#x} is not aligned or outside of the VM's memory"))
        };
        // With the event index behind the elements.
        let descriptors = part("descriptor table", address.descriptors, DESCRIPTOR_LEN * n, 16)?;
        let available = part("available ring", address.available, ELEMENTS + 2 * n + 2, 2)?;
        let used = part("used ring", address.used, ELEMENTS + 8 * n + 2, 4)?;
        let mut ring = Ring {
            descriptors,
            available,
            used,
            size,
            direction,
            features,
            next_available,
            next_used: 0,
            signalled: None,
            notify: false,
            can_wake: false,
            call: None,
            memory,
        };
        ring.next_used = u16::from_le(ring.used_word(1).load(Ordering::Relaxed));
        match direction {
            Direction::FromGuest => ring.ask_for_signals(),
            Direction::ToGuest => ring.refuse_signals(),
        }
        Ok(ring)
    }

    pub(super) fn features(&self) -> &RingFeatures {
        &self.features
    }

    /// The next available chain, to go on from there.
    pub(super) fn next_available(&self) -> u16 {
        self.next_available
    }

    #[inline(always)]
    fn mask(&self) -> u16 {
        self.size - 1
    }

    /// A word of the available ring: flags, index, the elements, the event index.
    #[inline(always)]
    fn available_word(&self, index: usize) -> &AtomicU16 {
        debug_assert!(index < usize::from(self.size) + 3);
        // SAFETY: `new` found the ring to have `size` + 3 words, and callers have no other index.
        let at = unsafe { self.available.add(2 * index) };
        // SAFETY: the ring is aligned to 2 in memory that `self.memory` keeps; nobody here accesses it but as atomics.
        unsafe { AtomicU16::from_ptr(at.as_ptr().cast()) }
    }

    /// Flags, index or event index of the used ring.
    #[inline(always)]
    fn used_word(&self, index: usize) -> &AtomicU16 {
        debug_assert!(index < 2 || index == 2 + 4 * usize::from(self.size));
        // SAFETY: `new` found the ring to have 2 + 4 * `size` + 1 words, and callers have no other index.
        let at = unsafe { self.used.add(2 * index) };
        // SAFETY: the ring is aligned to 4 in memory that `self.memory` keeps; nobody here accesses it but as atomics.
        unsafe { AtomicU16::from_ptr(at.as_ptr().cast()) }
    }

    /// A field of a used element: 2 * element + 0 for the chain, + 1 for the length.
    #[inline(always)]
    fn used_field(&self, index: usize) -> &AtomicU32 {
        debug_assert!(index < 2 * usize::from(self.size));
        // SAFETY: `new` found the ring to have `size` elements of two fields behind the first four octets.
        let at = unsafe { self.used.add(ELEMENTS + 4 * index) };
        // SAFETY: as in `used_word`.
        unsafe { AtomicU32::from_ptr(at.as_ptr().cast()) }
    }

    /// Half a descriptor.
    #[inline(always)]
    fn descriptor_word(&self, index: usize) -> u64 {
        debug_assert!(index < 2 * usize::from(self.size));
        // SAFETY: `new` found the table to have `size` descriptors of two such words.
        let at = unsafe { self.descriptors.add(8 * index) };
        // SAFETY: the table is aligned to 16 in memory that `self.memory` keeps; nobody here accesses it but as atomics.
        let word = unsafe { AtomicU64::from_ptr(at.as_ptr().cast()) };
        word.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn descriptor(&self, index: u16) -> Descriptor {
        let index = usize::from(index & self.mask());
        Descriptor::from_words(self.descriptor_word(2 * index), u64::from_le(self.descriptor_word(2 * index + 1)))
    }

    /// Chains that wait.
    ///
    /// # Errors
    ///
    /// [`Fault::AvailableIndex`], or [`Fault::MemoryLost`].
    #[inline]
    pub(super) fn available(&self) -> Result<u16, Fault> {
        // Acquire: the chains up to the index were written before it.
        let index = u16::from_le(self.available_word(1).load(Ordering::Acquire));
        let waiting = index.wrapping_sub(self.next_available);
        if super::sigbus::any_lost() && self.memory.is_lost() {
            return Err(Fault::MemoryLost);
        }
        if waiting > self.size { Err(Fault::AvailableIndex) } else { Ok(waiting) }
    }

    /// Adds up to `count` chains to `chains`, from the one `skip` behind the next on; fewer when `chains` is full.
    ///
    /// # Errors
    ///
    /// [`Fault::Head`].
    #[inline]
    pub(super) fn gather(&self, skip: u16, count: u16, chains: &mut Chains) -> Result<(), Fault> {
        let start = self.next_available.wrapping_add(skip);
        let (first, end) = (chains.len, (chains.len + usize::from(count)).min(chains.chains.len()));
        // Buffers of a burst mostly lie in the same region.
        let mut span = self.memory.first_span();
        while chains.len < end {
            let n = start.wrapping_add((chains.len - first) as u16);
            chains.len += self.gather_plain(n, &span, &mut chains.chains[chains.len..end]);
            if chains.len == end {
                break;
            }
            let n = usize::from(start.wrapping_add((chains.len - first) as u16) & self.mask());
            let id = u16::from_le(self.available_word(2 + n).load(Ordering::Relaxed));
            if id >= self.size {
                return Err(Fault::Head);
            }
            let descriptor = self.descriptor(id);
            span = self.memory.span_of(descriptor.address).unwrap_or(span);
            let Some(chain) = self.gather_any(id, descriptor, &span, chains) else { break };
            chains.chains[chains.len] = chain;
            chains.len += 1;
        }
        Ok(())
    }

    /// Fills `chains` from the available chain `start` on, up to the first that is not a plain descriptor in the region `span`.
    /// Returns how many were filled.
    #[inline(always)]
    fn gather_plain(&self, start: u16, span: &Span, chains: &mut [Chain]) -> usize {
        const FLAGS: u64 = ((NEXT | INDIRECT | WRITE) as u64) << 32;
        let wanted = if self.direction == Direction::ToGuest { u64::from(WRITE) << 32 } else { 0 };
        let mask = usize::from(self.mask());
        let count = chains.len();
        for (n, chain) in chains.iter_mut().enumerate() {
            let id = u16::from_le(self.available_word(2 + ((usize::from(start) + n) & mask)).load(Ordering::Relaxed));
            if usize::from(id) > mask {
                return n;
            }
            let address = u64::from_le(self.descriptor_word(2 * usize::from(id)));
            let rest = u64::from_le(self.descriptor_word(2 * usize::from(id) + 1));
            let Some(octets) = self.memory.octets_in(span, address, rest as u32).filter(|_| rest & FLAGS == wanted) else { return n };
            prefetch(octets);
            *chain = Chain { whole: outlive(octets), id, bad: false, first: 0, end: 0, len: rest as u32 };
        }
        count
    }

    /// A chain of any kind. `None` if it does not fit behind the others.
    #[inline(never)]
    fn gather_any(&self, id: u16, descriptor: Descriptor, span: &Span, chains: &mut Chains) -> Option<Chain> {
        let wanted = if self.direction == Direction::ToGuest { WRITE } else { 0 };
        if descriptor.flags & (NEXT | INDIRECT | WRITE) == wanted
            && let Some(octets) = self.memory.octets_in(span, descriptor.address, descriptor.len)
        {
            return Some(Chain { whole: outlive(octets), id, bad: false, first: 0, end: 0, len: descriptor.len });
        }
        let first = chains.runs.len();
        match self.gather_chain(descriptor, chains) {
            // A chain without any octet.
            Ok(len) if chains.runs.len() == first => Some(Chain { id, bad: false, len, ..Chain::NONE }),
            Ok(len) => Some(Chain { whole: &[], id, bad: false, first: first as u16, end: chains.runs.len() as u16, len }),
            Err(BadChain) => {
                let full = chains.runs.len() == RUNS_MAX;
                chains.runs.truncate(first);
                (chains.len == 0 || !full).then_some(Chain { id, ..Chain::NONE })
            }
        }
    }

    /// Follows a chain from its first descriptor; returns its octets.
    #[inline(never)]
    fn gather_chain(&self, first: Descriptor, chains: &mut Chains) -> Result<u32, BadChain> {
        let writable = self.direction == Direction::ToGuest;
        let mut descriptor = first;
        // The indirect table that `next` is an index of, and the entries of the present table.
        let mut indirect = None;
        let mut entries = usize::from(self.size);
        let mut visited = 0;
        let mut len = 0u32;
        loop {
            // A chain that visits more descriptors than there are goes round in a circle.
            if visited == entries.min(CHAIN_MAX) {
                return Err(BadChain);
            }
            visited += 1;
            if descriptor.flags & INDIRECT != 0 {
                // Clauses 2.7.5.3.1 and 2.7.5.3.2: one table, as the last of the ring's own descriptors.
                let table_len = descriptor.len as usize;
                let allowed = self.features.indirect && indirect.is_none() && descriptor.flags & NEXT == 0;
                if !allowed || table_len == 0 || !table_len.is_multiple_of(DESCRIPTOR_LEN) {
                    return Err(BadChain);
                }
                let table = self.memory.octets(descriptor.address, descriptor.len).ok_or(BadChain)?;
                entries = table_len / DESCRIPTOR_LEN;
                visited = 0;
                indirect = Some(table);
                descriptor = table_entry(table, 0);
                continue;
            }
            if (descriptor.flags & WRITE != 0) != writable {
                return Err(BadChain);
            }
            len = len.checked_add(descriptor.len).ok_or(BadChain)?;
            self.push_all(&descriptor, chains)?;
            if descriptor.flags & NEXT == 0 {
                return Ok(len);
            }
            descriptor = match indirect {
                Some(table) if usize::from(descriptor.next) < entries => table_entry(table, descriptor.next.into()),
                None if descriptor.next < self.size => self.descriptor(descriptor.next),
                _ => return Err(BadChain),
            };
        }
    }

    /// Adds the octets of a descriptor, which may lie in several regions.
    fn push_all(&self, descriptor: &Descriptor, chains: &mut Chains) -> Result<(), BadChain> {
        let (mut address, mut left) = (descriptor.address, descriptor.len as usize);
        while left > 0 {
            let octets = self.memory.octets_to_end(address).ok_or(BadChain)?;
            let octets = &octets[..octets.len().min(left)];
            prefetch(octets);
            chains.push_run(octets)?;
            left -= octets.len();
            address = address.checked_add(octets.len() as u64).ok_or(BadChain)?;
        }
        Ok(())
    }

    /// Prepares to give back a chain of which `len` octets were written, as number `n` since [`Ring::publish`].
    #[inline(always)]
    pub(super) fn put_used(&self, n: u16, id: u16, len: u32) {
        let element = usize::from(self.next_used.wrapping_add(n) & self.mask());
        self.used_field(2 * element).store(u32::from(id).to_le(), Ordering::Relaxed);
        self.used_field(2 * element + 1).store(len.to_le(), Ordering::Relaxed);
    }

    /// Gives `count` chains back, which [`Ring::put_used`] prepared, and signals the VM if it wants that.
    #[inline]
    pub(super) fn publish(&mut self, count: u16) {
        if count == 0 {
            return;
        }
        self.next_available = self.next_available.wrapping_add(count);
        self.next_used = self.next_used.wrapping_add(count);
        // Release: what we wrote into the buffers and elements is seen by who sees the index.
        self.used_word(1).store(self.next_used.to_le(), Ordering::Release);
        if let Some(call) = &self.call {
            // The VM writes its wish and then looks at the index; we write the index and then look at its wish.
            fence(Ordering::SeqCst);
            if self.wants_signal() {
                signal(call);
            }
        }
        self.signalled = Some(self.next_used);
    }

    /// Whether the VM wants to be signalled of what was published since `signalled` (clauses 2.7.7 and 2.7.10).
    #[inline(always)]
    fn wants_signal(&self) -> bool {
        if !self.features.event_idx {
            return u16::from_le(self.available_word(0).load(Ordering::Relaxed)) & NO_INTERRUPT == 0;
        }
        let event = u16::from_le(self.available_word(2 + usize::from(self.size)).load(Ordering::Relaxed));
        self.signalled.is_none_or(|old| self.next_used.wrapping_sub(event).wrapping_sub(1) < self.next_used.wrapping_sub(old))
    }

    fn set_available_event(&self, event: u16) {
        self.used_word(2 + 4 * usize::from(self.size)).store(event.to_le(), Ordering::Relaxed);
    }

    /// Asks the VM to signal when it makes the next chain available. Frames may have come just before: look once more.
    pub(super) fn ask_for_signals(&mut self) {
        if self.features.event_idx {
            self.set_available_event(self.next_available);
        } else {
            self.used_word(0).store(0, Ordering::Relaxed);
        }
        self.notify = true;
        // We write our wish and then look at the index; the VM writes the index and then looks at our wish.
        fence(Ordering::SeqCst);
    }

    /// Asks the VM not to signal. With `VIRTIO_F_EVENT_IDX`, it does once in 65536 chains all the same.
    #[inline]
    pub(super) fn refuse_signals(&mut self) {
        if !self.features.event_idx {
            self.used_word(0).store(NO_NOTIFY.to_le(), Ordering::Relaxed);
        } else if self.direction == Direction::ToGuest {
            self.set_available_event(self.next_available.wrapping_sub(1));
        }
        self.notify = false;
    }

    /// Signals once more than needed, as what was signalled before went elsewhere.
    pub(super) fn forget_signalled(&mut self) {
        self.signalled = None;
    }

    /// Whether the VM was asked to signal.
    #[inline]
    pub(super) fn notify(&self) -> bool {
        self.notify
    }
}

/// A copy of an entry of an indirect table.
fn table_entry(table: Octets<'_>, index: usize) -> Descriptor {
    let mut words = [[0; 8]; 2];
    copy_from(&table[DESCRIPTOR_LEN * index..][..DESCRIPTOR_LEN], words.as_flattened_mut());
    Descriptor::from_words(u64::from_ne_bytes(words[0]), u64::from_le_bytes(words[1]))
}

/// Signals the VM.
#[cold]
#[inline(never)]
fn signal(call: &File) {
    // It fails only when the counter is full: then the VM has not looked for 2^64 signals and will.
    let _ = rustix::io::write(call, &1u64.to_ne_bytes());
}

#[cfg(test)]
mod tests;
