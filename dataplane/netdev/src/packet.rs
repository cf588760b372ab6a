//! AF_PACKET sockets on Ethernet interfaces that exist: a NIC, one end of a veth, a VM's own tap.
//!
//! Life cycle: [`open`] binds the sockets to the interface, which goes into promiscuous mode until they are closed. When the
//! link goes down they stay and work again when it comes back; when the interface is removed they are dead
//! ([`RxError::Gone`](dataplane::RxError::Gone)) and the port must be opened anew.
//!
//! # Receiving
//!
//! A TPACKET_V2 ring (packet(7), `Documentation/networking/packet_mmap.rst`) with small slots, from which frames are taken
//! without a system call and borrowed until the burst ends. A frame longer than a slot, as GSO makes them, is queued whole
//! on the socket beside its slot (`PACKET_COPY_THRESH`) and read from there in its turn. TPACKET_V3 is not used: it holds
//! back a lone frame for a millisecond.
//!
//! A `virtio_net_hdr` is always asked for, as the kernel hands over frames of local senders with unfinished checksums and
//! unsegmented, whether a port wants that or not. `offload = false` means that this port sends only finished frames.
//!
//! The host receives every frame as well. An attached interface should therefore have no addresses of its own.
//!
//! # Transmitting
//!
//! `sendmmsg` on a socket that receives nothing, one for each worker, so that workers share no lock.

mod ring;
mod rx;
mod tx;

use std::os::fd::{AsFd, OwnedFd};

use dataplane::device::{Capabilities, RxQueue, TxQueue};
use socket2::{Domain, SockFilter, Socket, Type};

use crate::error::Error;
use crate::link::{self, LinkFacts};
use crate::netns::{Netns, name_of, run_in};
use crate::opened::{InterfaceId, Opened};
use crate::sys::{self, Membership, RingRequest};
use ring::{BLOCK_SIZE, Ring, SLOT_SIZE};
use rx::PacketRx;
use tx::PacketTx;

/// Queues of an AF_PACKET port at most: as many workers as a daemon may have make sense.
pub const QUEUES_MAX: u16 = 64;
/// Octets of a receive ring at least and at most.
pub const RING_SIZE: std::ops::RangeInclusive<u64> = BLOCK_SIZE as u64..=1 << 30;

/// Octets of frames longer than a slot that may wait on a socket, as the kernel counts them (a 64 KiB frame counts for
/// up to 130 KiB).
const RECEIVE_BUFFER: i32 = 16 << 20;
/// Octets of frames that may wait for the interface to send them, as the kernel counts them. The default (208 KiB) holds two
/// GSO frames.
const SEND_BUFFER: i32 = 1 << 20;

/// How to attach an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOptions {
    /// Name of the interface.
    pub interface: String,
    /// Its namespace; `None` is our own.
    pub netns: Option<Netns>,
    /// Receive queues, 1 to [`QUEUES_MAX`]; flows are spread over them by hash (`PACKET_FANOUT_HASH`).
    pub queues: u16,
    /// Whether frames may be sent with unfinished checksums and unsegmented.
    pub offload: bool,
    /// Octets of the receive ring of each queue, within [`RING_SIZE`]; rounded up to 64 KiB.
    pub ring_size: u64,
    /// Send past the queueing discipline of the interface (`PACKET_QDISC_BYPASS`): faster, but what the driver cannot take
    /// at once is dropped.
    pub qdisc_bypass: bool,
}

/// Attaches the interface, with a transmit queue for each of `workers` workers.
///
/// # Errors
///
/// [`Error::Refused`] for options out of range, [`Error::NoSuchInterface`], [`Error::NotEthernet`], [`Error::Netns`], and
/// [`Error::System`] where the operating system refuses. Nothing is left behind then.
pub fn open(options: &PacketOptions, workers: usize) -> Result<Opened, Error> {
    let refused = |why: String| Err(Error::Refused { interface: options.interface.clone(), why });
    if options.queues == 0 || options.queues > QUEUES_MAX {
        return refused(format!("queues = {}: 1 to {QUEUES_MAX}", options.queues));
    }
    if !RING_SIZE.contains(&options.ring_size) {
        return refused(format!("ring_size = {}: 64KiB to 1GiB", options.ring_size));
    }
    run_in(&options.netns, || open_here(options, workers))?
}

fn open_here(options: &PacketOptions, workers: usize) -> Result<Opened, Error> {
    let name = options.interface.as_str();
    let no_such = || Error::NoSuchInterface { interface: name.into(), netns: name_of(&options.netns) };
    let facts = link::facts_here(name).map_err(|source| Error::system(name, "ask for the interface", source))?;
    let (index, LinkFacts { mtu, mac, link_type, .. }) = facts.ok_or_else(no_such)?;
    if link_type != libc::ARPHRD_ETHER {
        return Err(Error::NotEthernet { interface: name.into(), link_type });
    }
    let failed = |call| {
        move |source: std::io::Error| match source.raw_os_error() {
            // Removed since we looked.
            Some(libc::ENODEV | libc::ENXIO) => Error::NoSuchInterface { interface: name.into(), netns: name_of(&options.netns) },
            _ => Error::system(name, call, source),
        }
    };
    let mut receivers = Vec::with_capacity(options.queues.into());
    let mut group = None;
    for _ in 0..options.queues {
        let (socket, ring) = open_rx(options, index).map_err(|(call, source)| failed(call)(source))?;
        if receivers.is_empty() {
            let promiscuous = Membership { index: index as i32, kind: libc::PACKET_MR_PROMISC as u16, address_len: 0, address: [0; 8] };
            sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, promiscuous)
                .map_err(failed("enter promiscuous mode of AF_PACKET socket"))?;
        }
        if options.queues > 1 {
            group = Some(join_fanout(&socket, group).map_err(failed("share frames between AF_PACKET sockets (PACKET_FANOUT)"))?);
        }
        receivers.push((socket, ring));
    }
    let capabilities = match options.offload {
        true => Capabilities { uso: kernel_is_at_least(6, 2), ..Capabilities::ALL },
        false => Capabilities::NONE,
    };
    let mut tx: Vec<Box<dyn TxQueue>> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = open_tx(options, index).map_err(|(call, source)| failed(call)(source))?;
        tx.push(Box::new(PacketTx::new(OwnedFd::from(socket), options.offload, capabilities)));
    }
    // Everything is ready: let frames in.
    for (socket, _) in &receivers {
        socket.detach_filter().map_err(failed("detach the filter of AF_PACKET socket"))?;
    }
    let rx = receivers.into_iter().map(|(socket, ring)| Box::new(PacketRx::new(OwnedFd::from(socket), ring)) as Box<dyn RxQueue>);
    let interface = InterfaceId { name: name.into(), index, netns: options.netns.clone(), mac: mac.unwrap_or_default(), mtu };
    Ok(Opened { rx: rx.collect(), tx, interface: Some(interface) })
}

type Failed = (&'static str, std::io::Error);

fn new_socket() -> Result<Socket, Failed> {
    // Protocol 0: a socket of all protocols would receive from every interface until it is bound.
    Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).map_err(|e| ("open AF_PACKET socket", e))
}

fn open_rx(options: &PacketOptions, index: u32) -> Result<(Socket, Ring), Failed> {
    let socket = new_socket()?;
    let set = |name, value: i32, call| sys::set_option(socket.as_fd(), libc::SOL_PACKET, name, value).map_err(|e| (call, e));
    set(libc::PACKET_IGNORE_OUTGOING, 1, "set PACKET_IGNORE_OUTGOING on AF_PACKET socket (Linux 4.20 or newer)")?;
    set(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as i32, "set PACKET_VERSION on AF_PACKET socket")?;
    // Before the ring: afterwards the kernel refuses it.
    set(libc::PACKET_VNET_HDR, 1, "set PACKET_VNET_HDR on AF_PACKET socket")?;
    set(libc::PACKET_COPY_THRESH, 1, "set PACKET_COPY_THRESH on AF_PACKET socket")?;
    sys::enlarge_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)
        .map_err(|e| ("enlarge the receive buffer of AF_PACKET socket", e))?;
    let blocks = options.ring_size.div_ceil(BLOCK_SIZE as u64) as u32;
    let slots = blocks as usize * (BLOCK_SIZE / SLOT_SIZE);
    let request = RingRequest { block_size: BLOCK_SIZE as u32, block_nr: blocks, frame_size: SLOT_SIZE as u32, frame_nr: slots as u32 };
    sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, request)
        .map_err(|e| ("make the receive ring of AF_PACKET socket (ring_size)", e))?;
    let ring = Ring::map(socket.as_fd(), slots).map_err(|e| ("map the receive ring of AF_PACKET socket", e))?;
    // Between being bound and joining its group a socket receives every frame, also those its siblings receive. So none
    // receives anything before all are ready: a filter that keeps 0 octets of each frame.
    let nothing = [SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)];
    socket.attach_filter(&nothing).map_err(|e| ("attach a filter to AF_PACKET socket", e))?;
    sys::bind_packet(&socket, libc::ETH_P_ALL as u16, index).map_err(|e| ("bind AF_PACKET socket", e))?;
    // Binding to an interface that is down reports ENETDOWN once, though the socket receives when the link comes up.
    let _ = socket.take_error();
    Ok((socket, ring))
}

fn join_fanout(socket: &Socket, group: Option<u16>) -> std::io::Result<u16> {
    // The first socket lets the kernel choose a number that is free in the namespace.
    let unique = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
    // The sockets of a group share one hook into the interface, which needs to be told again to ignore what we send.
    let mode = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING | unique;
    let request = u32::from(group.unwrap_or(0)) | mode << 16;
    sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, request as i32)?;
    sys::get_option::<i32>(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT).map(|answer| answer as u16)
}

fn open_tx(options: &PacketOptions, index: u32) -> Result<Socket, Failed> {
    let socket = new_socket()?;
    let set = |name, value: i32, call| sys::set_option(socket.as_fd(), libc::SOL_PACKET, name, value).map_err(|e| (call, e));
    if options.offload {
        set(libc::PACKET_VNET_HDR, 1, "set PACKET_VNET_HDR on AF_PACKET socket")?;
    }
    if options.qdisc_bypass {
        set(libc::PACKET_QDISC_BYPASS, 1, "set PACKET_QDISC_BYPASS on AF_PACKET socket")?;
    }
    sys::enlarge_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER)
        .map_err(|e| ("enlarge the send buffer of AF_PACKET socket", e))?;
    sys::bind_packet(&socket, 0, index).map_err(|e| ("bind AF_PACKET socket", e))?;
    Ok(socket)
}

/// Whether the running kernel is this one or newer; `false` when it does not say.
fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version_of(&release).is_some_and(|version| version >= (major, minor))
}

fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(version_of("6.18.44-generic\n"), Some((6, 18)));
        assert_eq!(version_of("5.4.0"), Some((5, 4)));
        assert_eq!(version_of("7.0-rc1"), Some((7, 0)));
        assert_eq!(version_of(""), None);
        assert_eq!(version_of("x"), None);
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let good =
            PacketOptions { interface: "none".into(), netns: None, queues: 1, offload: true, ring_size: 1 << 20, qdisc_bypass: false };
        for (bad, word) in [
            (PacketOptions { queues: 0, ..good.clone() }, "queues"),
            (PacketOptions { queues: 65, ..good.clone() }, "queues"),
            (PacketOptions { ring_size: 0, ..good.clone() }, "ring_size"),
            (PacketOptions { ring_size: u64::MAX, ..good.clone() }, "ring_size"),
        ] {
            assert!(matches!(open(&bad, 1), Err(Error::Refused { why, .. }) if why.contains(word)), "{bad:?}");
        }
    }
}
