//! System calls that no safe wrapper covers: `TUNSET*` ioctls, `SOL_PACKET` options, binding to an interface.

use std::ffi::{c_int, c_uint};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{SockAddr, Socket};

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `TUNSETIFF`: makes `fd` a queue of the TUN/TAP netdev `name`, which comes into being if need be.
///
/// # Panics
///
/// If `name` does not fit `IFNAMSIZ`.
pub(crate) fn tun_set_iff(fd: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<()> {
    // SAFETY: `ifreq` is plain old data, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(name.len() < request.ifr_name.len());
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is and which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })
}

/// `TUNSETVNETHDRSZ`: octets of the `virtio_net_hdr` in front of each frame.
pub(crate) fn tun_set_vnet_hdr_size(fd: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    let size = size as c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one `int`, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) })
}

/// `TUNSETOFFLOAD`: what kinds of unfinished frames (`TUN_F_*`) the reader of `fd` takes.
pub(crate) fn tun_set_offload(fd: BorrowedFd<'_>, offload: c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offload)) })
}

/// Speed in Mbit/s and duplex (`DUPLEX_*`) of an interface as its driver says (`SIOCETHTOOL` with `ETHTOOL_GSET`); `socket` is any
/// socket in the namespace of the interface. Either may be unknown (`SPEED_UNKNOWN`, `DUPLEX_UNKNOWN`).
///
/// # Panics
///
/// If `name` does not fit `IFNAMSIZ`.
pub(crate) fn ethtool_speed(socket: BorrowedFd<'_>, name: &str) -> io::Result<(u32, u8)> {
    /// `struct ethtool_cmd` (`include/uapi/linux/ethtool.h`).
    #[derive(Default)]
    #[repr(C)]
    struct EthtoolCommand {
        command: u32,
        supported: u32,
        advertising: u32,
        speed: u16,
        duplex: u8,
        port: u8,
        phy_address: u8,
        transceiver: u8,
        autoneg: u8,
        mdio_support: u8,
        max_tx: u32,
        max_rx: u32,
        speed_high: u16,
        mdix: u8,
        mdix_control: u8,
        lp_advertising: u32,
        reserved: [u32; 2],
    }
    const ETHTOOL_GSET: u32 = 1;
    let mut command = EthtoolCommand { command: ETHTOOL_GSET, ..EthtoolCommand::default() };
    // SAFETY: `ifreq` is plain old data, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(name.len() < request.ifr_name.len());
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut command).cast();
    // SAFETY: SIOCETHTOOL reads one `ifreq`, and ETHTOOL_GSET reads and writes the `struct ethtool_cmd` it points to; both
    // outlive the call, and every pattern of bits is a value of the latter.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) })?;
    Ok((u32::from(command.speed_high) << 16 | u32::from(command.speed), command.duplex))
}

/// A type without padding or invalid values that socket options are made of.
///
/// # Safety
///
/// Implementors must be valid for every pattern of bits, and must have no padding.
pub(crate) unsafe trait OptionValue: Copy + Default {}
// SAFETY: integers are valid for every pattern of bits and have no padding.
unsafe impl OptionValue for c_int {}
// SAFETY: two `u32` with the layout of C: every pattern is valid, no padding.
unsafe impl OptionValue for PacketStatistics {}
// SAFETY: four `u32` with the layout of C: every pattern is valid, no padding.
unsafe impl OptionValue for RingRequest {}
// SAFETY: `i32`, two `u16` and eight octets with the layout of C: every pattern is valid, no padding.
unsafe impl OptionValue for Membership {}

/// `struct tpacket_stats` (`include/uapi/linux/if_packet.h`).
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct PacketStatistics {
    /// Frames that reached the socket, those dropped included.
    pub(crate) packets: u32,
    /// Frames for which the ring had no room.
    pub(crate) drops: u32,
}

/// `struct tpacket_req`: the geometry of a ring.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct RingRequest {
    /// Octets of a block.
    pub(crate) block_size: u32,
    /// Number of blocks.
    pub(crate) block_nr: u32,
    /// Octets of a slot.
    pub(crate) frame_size: u32,
    /// Number of slots.
    pub(crate) frame_nr: u32,
}

/// `struct packet_mreq`: what a socket asks of its interface while it exists.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Membership {
    /// Interface.
    pub(crate) index: c_int,
    /// `PACKET_MR_*`.
    pub(crate) kind: u16,
    /// Octets of `address` that count.
    pub(crate) address_len: u16,
    /// For multicast memberships.
    pub(crate) address: [u8; 8],
}

/// setsockopt(2).
pub(crate) fn set_option<T: OptionValue>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call and has no padding to leak.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<T>() as libc::socklen_t) })
}

/// getsockopt(2).
pub(crate) fn get_option<T: OptionValue>(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`, for which every pattern the kernel writes is valid.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

/// Binds an AF_PACKET socket to the interface `index`, to receive frames of `protocol` (`ETH_P_*`); 0 receives nothing.
pub(crate) fn bind_packet(socket: &Socket, protocol: u16, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let fill = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        // SAFETY: the storage has room and alignment for every kind of address, thus for a `sockaddr_ll`.
        unsafe { storage.cast::<libc::sockaddr_ll>().write(address) };
        // SAFETY: `len` is valid for writes while the closure runs (contract of `try_init`).
        unsafe { len.write(size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
        Ok(())
    };
    // SAFETY: the closure writes a whole address and its true length.
    let ((), address) = unsafe { SockAddr::try_init(fill) }?;
    socket.bind(&address)
}

/// The index of the interface an AF_PACKET socket is bound to; `None` when that interface was removed.
pub(crate) fn bound_interface(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let mut address = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut len) })?;
    // SAFETY: all zeros are a `sockaddr_ll`, and so is whatever the kernel wrote over them.
    let address = unsafe { address.assume_init() };
    Ok(u32::try_from(address.sll_ifindex).ok().filter(|index| *index != 0))
}

/// Enlarges a socket buffer beyond the limit of the system where that is permitted, else up to it.
pub(crate) fn enlarge_buffer(socket: &Socket, force: c_int, plain: c_int, octets: c_int) -> io::Result<()> {
    set_option(socket.as_fd(), libc::SOL_SOCKET, force, octets).or_else(|_| set_option(socket.as_fd(), libc::SOL_SOCKET, plain, octets))
}
