//! TAP devices: this process creates the netdev and holds its other end.
//!
//! Life cycle: [`open`] creates the netdev in its namespace, gives it a MAC address and an MTU, and sets it up; it exists as
//! long as one of the queues does. With offload (the default) the queues carry a `virtio_net_hdr` in front of each frame, so
//! that large segments and unfinished checksums cross the switch whole; without, the crate `tun-tap` opens the device (see
//! [`plain`]).

pub mod plain;
mod queue;

use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use dataplane::device::{Capabilities, RxQueue, TxQueue};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use wire::{MacAddr, Offload};

use crate::error::Error;
use crate::link;
use crate::netlink::Netlink;
use crate::netns::{Netns, name_of, run_in};
use crate::opened::{InterfaceId, Opened};
use crate::sys;
use queue::{TapRx, TapTx};

/// Queues of a TAP at most (`MAX_TAP_QUEUES` in `drivers/net/tun.c`).
pub const QUEUES_MAX: u16 = 256;

/// How to open a TAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// Name of the netdev, which must not exist.
    pub name: String,
    /// Namespace of the netdev; `None` is our own.
    pub netns: Option<Netns>,
    /// MAC address of the netdev; the kernel chooses one when absent.
    pub mac: Option<MacAddr>,
    /// MTU of the netdev in octets; 1500 when absent.
    pub mtu: Option<u32>,
    /// Receive queues, 1 to [`QUEUES_MAX`]; the kernel spreads flows over them.
    pub queues: u16,
    /// Checksum and segmentation offload.
    pub offload: bool,
}

/// Creates the TAP and opens its queues, with a transmit queue for each of `workers` workers.
///
/// # Errors
///
/// [`Error::Refused`] for options that do not go together, [`Error::Exists`] when there is an interface of that name,
/// [`Error::Netns`] and [`Error::System`] where the operating system refuses. Nothing is left behind then.
pub fn open(options: &TapOptions, workers: usize) -> Result<Opened, Error> {
    let refused = |why: String| Err(Error::Refused { interface: options.name.clone(), why });
    if !link::is_name(&options.name) {
        return refused("not a name of a netdev (1 to 15 octets without space, \"/\", \":\" and \"%\")".into());
    }
    if options.queues == 0 || options.queues > QUEUES_MAX {
        return refused(format!("queues = {}: a TAP has 1 to {QUEUES_MAX} queues", options.queues));
    }
    if !options.offload && options.queues > 1 {
        return refused(format!("queues = {}: needs offload = true (a TAP without offload has one queue)", options.queues));
    }
    if options.mac.is_some_and(|mac| mac.is_multicast() || mac.is_zero()) {
        return refused("mac: not a unicast address".into());
    }
    let (fds, capabilities, interface) = run_in(&options.netns, || create(options))??;
    let fds: Vec<Arc<OwnedFd>> = fds.into_iter().map(Arc::new).collect();
    let vnet = options.offload;
    Ok(Opened {
        rx: fds.iter().map(|fd| rx(fd.clone(), vnet)).collect(),
        tx: (0..workers).map(|worker| tx(fds[worker % fds.len()].clone(), vnet, capabilities)).collect(),
        interface: Some(interface),
    })
}

fn rx(fd: Arc<OwnedFd>, vnet: bool) -> Box<dyn RxQueue> {
    if vnet { Box::new(TapRx::<true>::new(fd)) } else { Box::new(TapRx::<false>::new(fd)) }
}

fn tx(fd: Arc<OwnedFd>, vnet: bool, capabilities: Capabilities) -> Box<dyn TxQueue> {
    if vnet { Box::new(TapTx::<true>::new(fd, capabilities)) } else { Box::new(TapTx::<false>::new(fd, capabilities)) }
}

/// Gives the netdev of an open TAP another MAC address and MTU where they are given; its state (up or down) stays.
///
/// # Errors
///
/// [`Error::Refused`] for an MTU out of range, [`Error::NoSuchInterface`] when the netdev is gone, [`Error::Netns`] and
/// [`Error::System`] where the operating system refuses.
pub fn configure(interface: &InterfaceId, mac: Option<MacAddr>, mtu: Option<u32>) -> Result<(), Error> {
    let name = interface.name.as_str();
    let gone = || Error::NoSuchInterface { interface: name.into(), netns: name_of(&interface.netns) };
    run_in(&interface.netns, || {
        let facts = link::facts_here(name).map_err(|source| Error::system(name, "ask for the interface", source))?;
        let (index, facts) = facts.filter(|(index, _)| *index == interface.index).ok_or_else(gone)?;
        Netlink::open().and_then(|mut netlink| netlink.configure(index, mac, mtu, facts.up)).map_err(|source| set_failed(name, mtu, source))
    })?
}

fn set_failed(name: &str, mtu: Option<u32>, source: std::io::Error) -> Error {
    match (source.raw_os_error(), mtu) {
        (Some(libc::EINVAL | libc::ERANGE), Some(mtu)) => {
            Error::Refused { interface: name.into(), why: format!("mtu = {mtu}: a TAP takes 68 to 65521") }
        }
        _ => Error::system(name, "set MAC address, MTU and state", source),
    }
}

/// Creates the netdev in the namespace of the calling thread.
fn create(options: &TapOptions) -> Result<(Vec<OwnedFd>, Capabilities, InterfaceId), Error> {
    let name = options.name.as_str();
    let failed = |call| move |source: std::io::Error| Error::system(name, call, source);
    let exists = || Error::Exists { interface: name.into(), netns: name_of(&options.netns) };
    let facts = || link::facts_here(name).map_err(failed("ask for the interface"));
    if facts()?.is_some() {
        return Err(exists());
    }
    let (fds, capabilities) = if options.offload { open_queues(options)? } else { (vec![plain::open(name)?], Capabilities::NONE) };
    let gone = || Error::NoSuchInterface { interface: name.into(), netns: name_of(&options.netns) };
    let (index, _) = facts()?.ok_or_else(gone)?;
    Netlink::open()
        .and_then(|mut netlink| netlink.configure(index, options.mac, options.mtu, true))
        .map_err(|source| set_failed(name, options.mtu, source))?;
    let (index, facts) = facts()?.ok_or_else(gone)?;
    let mac = facts.mac.unwrap_or_default();
    let interface = InterfaceId { name: name.into(), index, netns: options.netns.clone(), mac, mtu: facts.mtu };
    Ok((fds, capabilities, interface))
}

fn open_queues(options: &TapOptions) -> Result<(Vec<OwnedFd>, Capabilities), Error> {
    let name = options.name.as_str();
    let multi = if options.queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | multi;
    let mut fds: Vec<OwnedFd> = Vec::with_capacity(options.queues.into());
    for queue in 0..options.queues {
        let fd = open_tun(name)?;
        // Exclusive: the first queue must create the netdev, not join one that someone made since we looked.
        let exclusive: c_int = if queue == 0 { libc::IFF_TUN_EXCL } else { 0 };
        sys::tun_set_iff(fd.as_fd(), name, flags | exclusive).map_err(|source| match source.raw_os_error() {
            Some(libc::EBUSY) => Error::Exists { interface: name.into(), netns: name_of(&options.netns) },
            _ => Error::system(name, "create the TAP (TUNSETIFF)", source),
        })?;
        fds.push(fd);
    }
    let fd = fds[0].as_fd();
    sys::tun_set_vnet_hdr_size(fd, Offload::LEN).map_err(|source| Error::system(name, "set the header size (TUNSETVNETHDRSZ)", source))?;
    // What the kernel may hand us unfinished. What it takes from us does not depend on this, but on its age: UDP segmentation
    // came to both directions at the same time (Linux 6.2).
    let tcp: c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp: c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    for (offload, capabilities) in [
        (tcp | udp, Capabilities::ALL),
        (tcp, Capabilities { uso: false, ..Capabilities::ALL }),
        (libc::TUN_F_CSUM, Capabilities { uso: false, ..Capabilities::ALL }),
    ] {
        if sys::tun_set_offload(fd, offload).is_ok() {
            return Ok((fds, capabilities));
        }
    }
    sys::tun_set_offload(fd, 0).map_err(|source| Error::system(name, "set offloads (TUNSETOFFLOAD)", source))?;
    Ok((fds, Capabilities { uso: false, ..Capabilities::ALL }))
}

fn open_tun(name: &str) -> Result<OwnedFd, Error> {
    rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| no_tun(name, errno))
}

fn no_tun(interface: &str, errno: Errno) -> Error {
    let remedy = match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => "load the module: modprobe tun; a container needs the device /dev/net/tun",
        Errno::ACCESS | Errno::PERM => "no access to the device, which the administrator grants",
        Errno::MFILE => "the limit of open files is reached: raise LimitNOFILE or ulimit -n",
        _ => "",
    };
    Error::System { interface: interface.into(), call: "open /dev/net/tun", source: errno.into(), remedy: remedy.into() }
}

/// Whether TAP devices can be opened at all: `/dev/net/tun` exists and may be opened.
pub fn is_available() -> bool {
    File::open("/dev/net/tun").is_ok()
}
