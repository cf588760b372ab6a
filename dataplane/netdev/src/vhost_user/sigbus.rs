//! Surviving a VM that truncates the file its memory is made of.
//!
//! Whoever reads a page of a mapping beyond the end of its file gets SIGBUS, which ends the process. A frontend could so end
//! the whole switch at any time: checking the size of the file once does not help, and seals against shrinking are not used
//! by all frontends (DPDK does not set them). So the handler looks whether the address lies in the memory of a VM; if it
//! does, anonymous pages take the place of that mapping, the mapping is marked lost, and the thread goes on reading zeros.
//! The queues look at the mark and stop. Any other SIGBUS is handled as before.
//!
//! The handler only reads and writes atomics in static memory and calls `mmap` and `sigaction`, which is allowed in a
//! signal handler.

use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Mappings at most, of all VMs together.
const MAPPINGS_MAX: usize = 4096;

/// One mapping; free while `start` is 0.
struct Entry {
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

static ENTRIES: [Entry; MAPPINGS_MAX] =
    [const { Entry { start: AtomicUsize::new(0), len: AtomicUsize::new(0), lost: AtomicBool::new(false) } }; MAPPINGS_MAX];
/// Mappings that were lost so far.
static LOST: AtomicU32 = AtomicU32::new(0);
/// What handled SIGBUS before.
static FORMER: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping whose loss the process survives.
#[derive(Debug)]
pub(super) struct Guard(usize);

/// Whether any mapping was ever lost: one load, to be looked at before [`Guard::is_lost`].
#[inline]
pub(super) fn any_lost() -> bool {
    LOST.load(Ordering::Relaxed) != 0
}

impl Guard {
    /// Watches a mapping until the guard is dropped, which must be before it is unmapped.
    ///
    /// # Errors
    ///
    /// When too many are watched, or the handler cannot be installed.
    pub(super) fn new(start: NonNull<u8>, len: usize) -> io::Result<Guard> {
        install()?;
        for (index, entry) in ENTRIES.iter().enumerate() {
            // 1 is no address of a mapping and so is in none.
            if entry.start.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                entry.len.store(len, Ordering::Relaxed);
                entry.lost.store(false, Ordering::Relaxed);
                entry.start.store(start.as_ptr() as usize, Ordering::Release);
                return Ok(Guard(index));
            }
        }
        Err(io::Error::other("too many memory regions of VMs"))
    }

    /// Whether the file was truncated, and the memory replaced by zeros.
    pub(super) fn is_lost(&self) -> bool {
        ENTRIES[self.0].lost.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        ENTRIES[self.0].start.store(0, Ordering::Release);
    }
}

/// Installs the handler, once.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let result = INSTALLED.get_or_init(|| {
        let mut former = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: it reads the present action into memory of that type.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), former.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
        }
        // SAFETY: the call filled it in.
        let former = *FORMER.get_or_init(|| unsafe { former.assume_init() });
        let mut action = former;
        action.sa_sigaction = handle as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the signature SA_SIGINFO asks for and does only what a handler may.
        match unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        }
    });
    result.map_err(io::Error::from_raw_os_error)
}

extern "C" fn handle(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo_t with SA_SIGINFO.
    let info = unsafe { &*info };
    // SAFETY: SIGBUS from a fault has an address; otherwise the field is some number, which is compared only.
    let address = unsafe { info.si_addr() } as usize;
    let of_fault = info.si_code > 0;
    for entry in ENTRIES.iter().filter(|_| of_fault) {
        let start = entry.start.load(Ordering::Acquire);
        let len = entry.len.load(Ordering::Relaxed);
        if start > 1 && address.wrapping_sub(start) < len && replace(start, len) {
            entry.lost.store(true, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    // Not ours: the former handler decides when the instruction is tried again.
    if let Some(former) = FORMER.get() {
        // SAFETY: it restores the action that was read before.
        unsafe { libc::sigaction(libc::SIGBUS, former, std::ptr::null_mut()) };
    }
}

/// Puts anonymous pages in the place of a mapping. `false` when the kernel refuses.
fn replace(start: usize, len: usize) -> bool {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: reading the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for this thread.
    let saved = unsafe { *errno };
    let address = std::ptr::without_provenance_mut(start);
    // SAFETY: the range is a mapping of a VM's memory, which its guard says still exists (the thread that unmaps it drops
    // the guard first, and waits for the readers before that). Its octets may change at any time already.
    let mapped = unsafe { libc::mmap(address, len, protection, flags, -1, 0) };
    // SAFETY: as above; the interrupted code must not see another errno.
    unsafe { *errno = saved };
    mapped != libc::MAP_FAILED
}
