//! TAP without offload, opened by the crate `tun-tap`: each frame is complete and no longer than the MTU.
//!
//! `tun-tap` asks for `IFF_TAP | IFF_NO_PI` and nothing else, and the kernel lets nobody change that afterwards; so it can
//! open neither queues with a `virtio_net_hdr` nor several of them. It is used where neither is wanted.

use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};

use tun_tap::{Iface, Mode};

use crate::error::Error;
use crate::sys;

/// Creates the TAP `name` in the namespace of the calling thread; it stays down.
///
/// # Errors
///
/// [`Error::System`].
pub(super) fn open(name: &str) -> Result<OwnedFd, Error> {
    let failed = |call| move |source: io::Error| Error::system(name, call, source);
    // The crate does not say which of its steps failed, so try the first one alone.
    drop(super::open_tun(name)?);
    let iface = Iface::without_packet_info(name, Mode::Tap).map_err(failed("create the TAP (TUNSETIFF)"))?;
    iface.set_non_blocking().map_err(failed("make the TAP non-blocking"))?;
    // SAFETY: `into_raw_fd` gives up the only owner of an open descriptor, which is adopted at once.
    let fd = unsafe { OwnedFd::from_raw_fd(iface.into_raw_fd()) };
    // Offloads belong to the netdev, not to the descriptor: say that this one takes none, whoever had it before.
    sys::tun_set_offload(fd.as_fd(), 0).map_err(failed("switch offloads off (TUNSETOFFLOAD)"))?;
    Ok(fd)
}
