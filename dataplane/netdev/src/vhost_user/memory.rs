//! The memory of a VM: regions mapped from the files its frontend sent, and the translation of addresses.
//!
//! # Soundness
//!
//! A [`MemTable`] keeps its mappings, and whoever translates an address borrows the table or keeps it in an `Arc`. The octets
//! belong to the VM, which writes them whenever it likes: they are only ever reached as atomics ([`Octets`]), or copied by
//! [`copy_from`] and [`copy_to`] with the assumption that they may change meanwhile. The language has no word for memory
//! shared with another process; such copies are what `vm-memory` and every other VMM does. Two of our own threads can meet
//! in the same octets only if the VM offers them twice; the copies then mix, and no code depends on what they hold.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use rustix::fs::{fstat, fstatfs};

use super::sigbus::Guard;

/// A run of octets in a VM's memory. The lifetime is a lie inside this module's users: the octets live as long as the
/// [`MemTable`] they were translated by.
pub(super) type Octets<'m> = &'m [AtomicU8];

/// Regions at most in one table.
pub(super) const REGIONS_MAX: usize = 64;

/// File systems whose pages are memory. Others may take for ever to give us a page, as when a FUSE server does not answer.
const FILE_SYSTEMS: [i64; 2] = [libc::TMPFS_MAGIC, libc::HUGETLBFS_MAGIC];

/// Where a region is, as its frontend says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegionAddress {
    /// Address in the VM.
    pub(super) guest: u64,
    /// Octets.
    pub(super) len: u64,
    /// Address in the frontend's process, by which it says where rings are.
    pub(super) user: u64,
}

impl RegionAddress {
    /// Whether it has octets and neither address overflows.
    fn is_valid(&self) -> bool {
        self.len > 0 && self.guest.checked_add(self.len).is_some() && self.user.checked_add(self.len).is_some()
    }

    fn overlaps(&self, other: &RegionAddress) -> bool {
        let overlap = |a: u64, b: u64| a < b + other.len && b < a + self.len;
        overlap(self.guest, other.guest) || overlap(self.user, other.user)
    }
}

/// A region of a VM's memory in our address space. Unmapped when dropped.
#[derive(Debug)]
pub(super) struct Region {
    address: RegionAddress,
    /// First octet of the region.
    host: NonNull<u8>,
    /// Dropped before unmapping.
    guard: Option<Guard>,
    /// `None` for the memory of a test.
    _mapping: Option<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it when the `Region` that has it is dropped.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: a mapping is not bound to a thread, and its octets are accessed as the module says.
unsafe impl Send for Region {}
// SAFETY: as above; `Region` itself does not change.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `address.len` octets that begin at `offset` in `file`.
    ///
    /// # Errors
    ///
    /// When the region is none, the file is not memory or too short, or the operating system refuses.
    pub(super) fn map(address: RegionAddress, file: &File, offset: u64) -> io::Result<Region> {
        let refused = |why: String| Err(io::Error::other(why));
        if !address.is_valid() {
            return refused(format!("a memory region of {:#x} octets at {:#x} is none", address.len, address.guest));
        }
        let file_system = fstatfs(file)?.f_type;
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        if !FILE_SYSTEMS.contains(&(file_system as i64)) {
            return refused("the memory of the VM must be a memfd, or a file on tmpfs or hugetlbfs".into());
        }
        let stat = fstat(file)?;
        let file_len = u64::try_from(stat.st_size).unwrap_or(0);
        if offset.checked_add(address.len).is_none_or(|end| end > file_len) {
            return refused(format!("the file of the VM's memory has {file_len:#x} octets, fewer than its region needs"));
        }
        // Huge pages want offset and length in multiples of their size.
        let page = u64::try_from(stat.st_blksize).ok().filter(|page| page.is_power_of_two()).unwrap_or(1).max(4096);
        let before = offset & (page - 1);
        let too_large = || io::Error::other("the memory region is too large");
        let len = before.checked_add(address.len).and_then(|len| len.checked_next_multiple_of(page)).ok_or_else(too_large)?;
        let len = usize::try_from(len).map_err(|_| too_large())?;
        let offset = libc::off_t::try_from(offset - before).map_err(|_| too_large())?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address the kernel chooses touches no memory in use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, file.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        let mapping = Mapping { start, len };
        // SAFETY: `before` is less than the length of the mapping, to which it was added.
        let host = unsafe { start.add(before as usize) };
        // A core dump shall not have the memory of VMs in it.
        // SAFETY: advice on our own new mapping changes none of its octets.
        unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTDUMP) };
        let guard = Guard::new(start, len)?;
        Ok(Region { address, host, guard: Some(guard), _mapping: Some(mapping) })
    }

    /// A region of plain memory, which must outlive it.
    #[cfg(test)]
    pub(super) fn of_test(address: RegionAddress, host: NonNull<u8>) -> Region {
        Region { address, host, guard: None, _mapping: None }
    }

    /// Where it is.
    pub(super) fn address(&self) -> RegionAddress {
        self.address
    }

    fn is_lost(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_lost)
    }
}

/// Where a region is in the VM and here, for the translation of addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    guest: u64,
    len: u64,
    host: NonNull<u8>,
}

/// The whole memory of a VM. Immutable; a change makes a new one.
#[derive(Debug)]
pub(super) struct MemTable {
    spans: Box<[Span]>,
    regions: Vec<Arc<Region>>,
}

// SAFETY: the spans point into the regions, which are `Send` and kept.
unsafe impl Send for MemTable {}
// SAFETY: as above; the table does not change.
unsafe impl Sync for MemTable {}

impl MemTable {
    /// A table of regions.
    ///
    /// # Errors
    ///
    /// When there are too many, or two overlap.
    pub(super) fn new(regions: Vec<Arc<Region>>) -> io::Result<MemTable> {
        if regions.len() > REGIONS_MAX {
            return Err(io::Error::other(format!("more than {REGIONS_MAX} memory regions")));
        }
        for (i, region) in regions.iter().enumerate() {
            if let Some(other) = regions[..i].iter().find(|other| other.address.overlaps(&region.address)) {
                return Err(io::Error::other(format!("memory regions {:x?} and {:x?} overlap", other.address, region.address)));
            }
        }
        let span = |region: &Arc<Region>| Span { guest: region.address.guest, len: region.address.len, host: region.host };
        Ok(MemTable { spans: regions.iter().map(span).collect(), regions })
    }

    /// Its regions.
    pub(super) fn regions(&self) -> &[Arc<Region>] {
        &self.regions
    }

    /// Whether a file behind it was truncated.
    #[cold]
    pub(super) fn is_lost(&self) -> bool {
        self.regions.iter().any(|region| region.is_lost())
    }

    /// The `len` octets at an address of the VM, where they lie in one region.
    #[inline]
    pub(super) fn octets(&self, guest: u64, len: u32) -> Option<Octets<'_>> {
        let octets = self.octets_to_end(guest)?;
        octets.get(..len as usize)
    }

    /// The first region, or an empty one.
    #[inline(always)]
    pub(super) fn first_span(&self) -> Span {
        self.spans.first().copied().unwrap_or(Span { guest: 0, len: 0, host: NonNull::dangling() })
    }

    /// The region in which an address of the VM is.
    pub(super) fn span_of(&self, guest: u64) -> Option<Span> {
        self.spans.iter().copied().find(|span| guest.wrapping_sub(span.guest) < span.len)
    }

    /// As [`MemTable::octets`] for a region of this table.
    #[inline(always)]
    pub(super) fn octets_in(&self, span: &Span, guest: u64, len: u32) -> Option<Octets<'_>> {
        let offset = guest.wrapping_sub(span.guest);
        // The second comparison implies the first unless the difference is negative.
        if offset >= span.len || u64::from(len) > span.len - offset {
            return None;
        }
        // SAFETY: the offset is less than the length of the region, which begins at `host`.
        let start = unsafe { span.host.add(offset as usize) };
        // SAFETY: as in `octets_to_end`, and the length was compared with what remains of the region.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), len as usize) })
    }

    /// The octets from an address of the VM to the end of its region.
    #[inline]
    pub(super) fn octets_to_end(&self, guest: u64) -> Option<Octets<'_>> {
        for span in &self.spans {
            let offset = guest.wrapping_sub(span.guest);
            if offset < span.len {
                // SAFETY: the offset is less than the length of the region, which begins at `host`.
                let start = unsafe { span.host.add(offset as usize) };
                // SAFETY: what remains of the region is mapped as long as the table lives; octets have no alignment, and
                // as atomics they may be written by anyone at any time.
                return Some(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), (span.len - offset) as usize) });
            }
        }
        None
    }

    /// Where `len` octets at an address of the frontend's process are, for rings: aligned to `align`.
    pub(super) fn ring_part(&self, user: u64, len: usize, align: usize) -> Option<NonNull<u8>> {
        self.regions.iter().find_map(|region| {
            let offset = user.wrapping_sub(region.address.user);
            let inside = offset < region.address.len && region.address.len - offset >= len as u64;
            // SAFETY: the offset is less than the length of the region, which begins at `host`.
            let start = inside.then(|| unsafe { region.host.add(offset as usize) })?;
            (start.as_ptr() as usize).is_multiple_of(align).then_some(start)
        })
    }
}

/// Copies octets that do not overlap. Heads of frames are mostly short: copying those here saves the call, and what the
/// caller must keep in memory across it.
///
/// # Safety
///
/// `from` may be read and `to` be written for `len` octets.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    /// Two runs of `N` octets, which overlap in the middle where there are fewer than `2 * N`.
    ///
    /// # Safety
    ///
    /// As for `copy`, and `len` is `N` to `2 * N`.
    #[inline(always)]
    unsafe fn ends<const N: usize>(from: *const u8, to: *mut u8, len: usize) {
        let last = len - N;
        // SAFETY: there are `N` octets at the beginning.
        let first = unsafe { from.cast::<[u8; N]>().read_unaligned() };
        // SAFETY: `last` is less than `len`.
        let end = unsafe { from.add(last) };
        // SAFETY: `N` octets from `last` on end at `len`.
        let end = unsafe { end.cast::<[u8; N]>().read_unaligned() };
        // SAFETY: as for reading.
        unsafe { to.cast::<[u8; N]>().write_unaligned(first) };
        // SAFETY: `last` is less than `len`.
        let to_end = unsafe { to.add(last) };
        // SAFETY: as for reading.
        unsafe { to_end.cast::<[u8; N]>().write_unaligned(end) };
    }
    if len.wrapping_sub(33) < 32 {
        // SAFETY: as the caller says; the length was compared.
        unsafe { ends::<32>(from, to, len) }
    } else if len.wrapping_sub(65) < 64 {
        // SAFETY: as above.
        unsafe { ends::<64>(from, to, len) }
    } else {
        // SAFETY: as the caller says.
        unsafe { std::ptr::copy_nonoverlapping(from, to, len) }
    }
}

/// Copies from a VM's memory.
///
/// # Panics
///
/// If the lengths differ.
#[inline(always)]
pub(super) fn copy_from(from: Octets<'_>, into: &mut [u8]) {
    assert_eq!(from.len(), into.len());
    // SAFETY: both are valid for the length. `into` is ours alone, so they do not overlap. See the module on writers.
    unsafe { copy(from.as_ptr().cast::<u8>(), into.as_mut_ptr(), into.len()) };
}

/// Copies into a VM's memory.
///
/// # Panics
///
/// If the lengths differ.
#[inline(always)]
pub(super) fn copy_to(from: &[u8], into: Octets<'_>) {
    assert_eq!(from.len(), into.len());
    // SAFETY: both are valid for the length; atomics may be written through a shared reference. `from` is private memory,
    // which no VM's memory overlaps.
    unsafe { copy(from.as_ptr(), into.as_ptr().cast_mut().cast::<u8>(), from.len()) };
}

/// Copies from one VM's memory into another's, or the same one's.
///
/// # Panics
///
/// If the lengths differ.
#[inline(always)]
pub(super) fn copy_between(from: Octets<'_>, into: Octets<'_>) {
    assert_eq!(from.len(), into.len());
    // SAFETY: both are valid for the length; atomics may be written through a shared reference; they may overlap where a VM
    // gives the same octets twice.
    unsafe { std::ptr::copy(from.as_ptr().cast::<u8>(), into.as_ptr().cast_mut().cast::<u8>(), from.len()) };
}

/// Starts loading the cache lines at the beginning of some octets.
#[inline(always)]
pub(super) fn prefetch(octets: Octets<'_>) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on the cache, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(octets.as_ptr().cast()) };
        // Behind the virtio_net_hdr the shortest frame reaches into the second line.
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(octets.as_ptr().wrapping_add(64).cast()) };
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    let _ = octets;
}
