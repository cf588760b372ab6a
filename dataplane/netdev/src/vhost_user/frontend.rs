//! The virtual machine's side of a vhost-user port: a virtio-net driver in this process.
//!
//! Traffic generators and tests drive a switch through it as a guest would, without a virtual machine: [`Frontend::open`]
//! connects to the socket of a backend (or makes the socket and waits for one), negotiates, and gives a receive and a
//! transmit queue for each queue pair. Works with any backend: vswitchd, DPDK's `net_vhost`, Open vSwitch with DPDK.
//!
//! The rings live as long as the queues do, and outlive a connection: when the backend restarts, [`Frontend::reconnect`]
//! hands the same rings to the new one, as QEMU does, and the queues go on. A restart of the guest is a new frontend.
//!
//! The frontend belongs to one thread; each queue may be moved to another. Memory is shared with the backend, which is not
//! trusted: whatever it writes costs frames, or ends in [`RxError::Gone`](dataplane::device::RxError::Gone).

mod memory;
mod ring;
mod rx;
#[cfg(test)]
mod tests;
mod tx;

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::burst::FRAME_MAX;
use dataplane::device::{Capabilities, RxQueue, TxQueue};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, recv};
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend as Protocol, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;
use wire::Offload;

use self::memory::SharedMemory;
use self::ring::{DriverRing, Layout};
use self::rx::{Buffers, FrontendRx};
use self::tx::{BUFFER, CHAIN_MAX, FrontendTx, TxMemory};

/// The features that the driver knows; see [`features`](super::features).
pub mod features {
    pub use crate::vhost_user::features::{
        CSUM, EVENT_IDX, GUEST_CSUM, GUEST_ECN, GUEST_TSO4, GUEST_TSO6, GUEST_USO4, GUEST_USO6, HOST_ECN, HOST_TSO4, HOST_TSO6, HOST_USO,
        INDIRECT_DESC, MQ, MRG_RXBUF, PROTOCOL_FEATURES, VERSION_1,
    };

    /// The device takes large TCP segments of each kind.
    pub const HOST_TSO: u64 = HOST_TSO4 | HOST_TSO6 | HOST_ECN;
    /// The driver takes large TCP segments of each kind.
    pub const GUEST_TSO: u64 = GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN;
    /// The driver takes several UDP datagrams in one.
    pub const GUEST_USO: u64 = GUEST_USO4 | GUEST_USO6;
    /// All offloads.
    pub const OFFLOADS: u64 = CSUM | GUEST_CSUM | HOST_TSO | HOST_USO | GUEST_TSO | GUEST_USO;
    /// Everything.
    pub const ALL: u64 = VERSION_1 | MRG_RXBUF | MQ | OFFLOADS | EVENT_IDX | INDIRECT_DESC | PROTOCOL_FEATURES;
}

/// Who makes the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The backend does; the frontend connects to it.
    Client,
    /// The frontend does, and waits for the backend. A socket left over is replaced; the new one is removed at the end.
    Server,
}

/// How to open a frontend.
#[derive(Clone, Debug)]
pub struct FrontendOptions {
    /// The socket.
    pub path: PathBuf,
    /// Who makes it.
    pub mode: Mode,
    /// Queue pairs, 1 to 128.
    pub queues: u16,
    /// Descriptors of each ring, a power of two from 64 to 32768.
    pub queue_size: u16,
    /// What may be negotiated ([`features`]).
    pub features: u64,
    /// Whether the queues are asked all the time, and want no interrupts; else `RxQueue::fd` tells when to ask.
    pub busy_poll: bool,
    /// How long the backend may take to appear, and to answer all of the set-up.
    pub timeout: Duration,
}

impl FrontendOptions {
    /// One queue pair of 256 descriptors as QEMU has, with all features, polled; 10 s for the backend.
    pub fn new(path: impl Into<PathBuf>) -> FrontendOptions {
        FrontendOptions {
            path: path.into(),
            mode: Mode::Client,
            queues: 1,
            queue_size: 256,
            features: features::ALL,
            busy_poll: true,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a frontend cannot be opened: `vhost-user socket "/run/vm.sock": connect: Connection refused`.
#[derive(Debug, thiserror::Error)]
#[error("vhost-user socket \"{}\": {step}: {why}", path.display())]
pub struct FrontendError {
    path: PathBuf,
    step: &'static str,
    why: String,
}

/// A connection to a backend and the rings it uses.
pub struct Frontend {
    options: FrontendOptions,
    listener: Option<Listener>,
    memory: Arc<SharedMemory>,
    rings: Vec<Ring>,
    features: u64,
    protocol: Protocol,
    stream: UnixStream,
}

struct Ring {
    layout: Layout,
    kick: Arc<EventFd>,
    call: Arc<EventFd>,
}

/// A frontend and the queues of its driver, one of each for each queue pair.
pub struct OpenedFrontend {
    /// The connection.
    pub frontend: Frontend,
    /// What the guest receives from.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// What the guest transmits to.
    pub tx: Vec<Box<dyn TxQueue>>,
}

impl fmt::Debug for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frontend").field("options", &self.options).field("features", &format_args!("{:#x}", self.features)).finish()
    }
}

impl fmt::Debug for OpenedFrontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.frontend, f)
    }
}

impl Frontend {
    /// Connects, negotiates and starts the rings. Blocks, up to the given time.
    ///
    /// # Errors
    ///
    /// [`FrontendError`], also when the backend has not all of `VERSION_1` and the queue pairs asked for.
    pub fn open(options: FrontendOptions) -> Result<OpenedFrontend, FrontendError> {
        let fail = |step, why: String| FrontendError { path: options.path.clone(), step, why };
        if !(1..=128).contains(&options.queues) {
            return Err(fail("queues", format!("{} is not 1 to 128", options.queues)));
        }
        if !options.queue_size.is_power_of_two() || options.queue_size < 64 {
            return Err(fail("queue_size", format!("{} is no power of two from 64 to 32768", options.queue_size)));
        }
        if cfg!(target_endian = "big") {
            return Err(fail("open", "the driver is written for little-endian machines".into()));
        }
        let deadline = Instant::now() + options.timeout;
        let listener = match options.mode {
            Mode::Client => None,
            Mode::Server => Some(listen(&options.path).map_err(|error| fail("listen", error.to_string()))?),
        };
        let (protocol, stream) = connect(&options, listener.as_ref(), deadline)?;
        let features = within(&stream, deadline, || negotiate(&protocol, &options)).map_err(|why| fail("negotiate", why))?;

        let mergeable = features & features::MRG_RXBUF != 0;
        // Room for the largest frame the device may send: of 1526 octets without offloads (virtio 1.2 clause 5.1.6.3.1).
        let large = features & (features::GUEST_TSO | features::GUEST_USO) != 0;
        let rx_buffer = if mergeable || !large { BUFFER } else { (FRAME_MAX + Offload::LEN_V1).next_multiple_of(BUFFER) };
        let mut plan = Plan { end: 0 };
        let mut parts = Vec::new();
        for _ in 0..options.queues {
            let size = usize::from(options.queue_size);
            let rx = plan.ring(options.queue_size);
            let buffers = Buffers { start: plan.take(size * rx_buffer), len: rx_buffer };
            let tx = plan.ring(options.queue_size);
            let tables = features & features::INDIRECT_DESC != 0;
            let memory = TxMemory { buffers: plan.take(size * BUFFER), tables: tables.then(|| plan.take(size * 16 * CHAIN_MAX)) };
            parts.push((rx, buffers, tx, memory));
        }
        let memory = SharedMemory::new(plan.end).map_err(|error| fail("make the guest's memory", error.to_string()))?;
        let memory = Arc::new(memory);

        let event_idx = features & features::EVENT_IDX != 0;
        let capabilities = capabilities(features);
        let (mut rings, mut rx, mut tx) = (Vec::new(), Vec::<Box<dyn RxQueue>>::new(), Vec::<Box<dyn TxQueue>>::new());
        for (rx_layout, buffers, tx_layout, tx_memory) in parts {
            let mut ring = |layout| {
                let fd = || EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map(Arc::new);
                let (kick, call) = fd().and_then(|kick| Ok((kick, fd()?))).map_err(|error| fail("eventfd", error.to_string()))?;
                rings.push(Ring { layout, kick: kick.clone(), call: call.clone() });
                Ok((DriverRing::new(memory.clone(), layout, event_idx, kick), call))
            };
            let (rx_ring, call) = ring(rx_layout)?;
            let (tx_ring, _) = ring(tx_layout)?;
            rx.push(Box::new(FrontendRx::new(rx_ring, buffers, mergeable, options.busy_poll, call)));
            tx.push(Box::new(FrontendTx::new(tx_ring, tx_memory, capabilities)));
        }
        let frontend = Frontend { options, listener, memory, rings, features, protocol, stream };
        frontend.start(deadline)?;
        Ok(OpenedFrontend { frontend, rx, tx })
    }

    /// What was negotiated, as bits of [`features`].
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Whether the backend has not closed the connection.
    pub fn is_connected(&self) -> bool {
        let mut octet = [0; 1];
        match recv(&self.stream, &mut octet, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((read, _)) => read > 0,
            Err(errno) => errno == rustix::io::Errno::AGAIN,
        }
    }

    /// Gives the rings, as they are, to a backend that was started again. Frames the former one had not finished are
    /// worked on a second time or lost. Blocks up to [`FrontendOptions::timeout`].
    ///
    /// # Errors
    ///
    /// [`FrontendError`], also when the new backend lacks a feature the former one had; the queues stay without backend.
    pub fn reconnect(&mut self) -> Result<(), FrontendError> {
        let deadline = Instant::now() + self.options.timeout;
        let fail = |why| FrontendError { path: self.options.path.clone(), step: "negotiate", why };
        let (protocol, stream) = connect(&self.options, self.listener.as_ref(), deadline)?;
        let features = within(&stream, deadline, || negotiate(&protocol, &self.options)).map_err(fail)?;
        if features != self.features {
            return Err(fail(format!("features {features:#x}, the former backend had {:#x}", self.features)));
        }
        (self.protocol, self.stream) = (protocol, stream);
        self.start(deadline)
    }

    /// Stops all rings, as a guest does that shuts down or resets its device. The backend has given everything back when
    /// this returns.
    ///
    /// # Errors
    ///
    /// [`FrontendError`]
    pub fn stop(&mut self) -> Result<(), FrontendError> {
        let deadline = Instant::now() + self.options.timeout;
        let stopped = within(&self.stream, deadline, || {
            (0..self.rings.len()).try_for_each(|index| self.protocol.get_vring_base(index).map(drop))?;
            Ok(())
        });
        stopped.map_err(|why| FrontendError { path: self.options.path.clone(), step: "stop", why })
    }

    /// Tells the backend where memory and rings are and that they run.
    fn start(&self, deadline: Instant) -> Result<(), FrontendError> {
        let started = within(&self.stream, deadline, || {
            let mut protocol = self.protocol.clone();
            protocol.set_features(self.features)?;
            protocol.set_mem_table(&[VhostUserMemoryRegionInfo {
                guest_phys_addr: 0,
                memory_size: self.memory.len() as u64,
                userspace_addr: self.memory.address(),
                mmap_offset: 0,
                mmap_handle: self.memory.fd(),
            }])?;
            for (index, Ring { layout, kick, call }) in self.rings.iter().enumerate() {
                protocol.set_vring_num(index, layout.size)?;
                // Where the backend left off: all before this index was given back.
                protocol.set_vring_base(index, self.memory.u16(layout.used + 2).load(Relaxed))?;
                let address = |offset: usize| self.memory.address() + offset as u64;
                let ring = VringConfigData {
                    queue_max_size: layout.size,
                    queue_size: layout.size,
                    flags: 0,
                    desc_table_addr: address(layout.desc),
                    used_ring_addr: address(layout.used),
                    avail_ring_addr: address(layout.avail),
                    log_addr: None,
                };
                protocol.set_vring_addr(index, &ring)?;
                protocol.set_vring_kick(index, kick)?;
                protocol.set_vring_call(index, call)?;
            }
            if self.features & features::PROTOCOL_FEATURES != 0 {
                (0..self.rings.len()).try_for_each(|index| protocol.set_vring_enable(index, true))?;
            }
            Ok(())
        });
        started.map_err(|why| FrontendError { path: self.options.path.clone(), step: "start the rings", why })?;
        // What waits in a ring was perhaps announced to the former backend.
        self.rings.iter().for_each(|ring| drop(ring.kick.write(1)));
        Ok(())
    }
}

/// A socket that is removed in the end.
struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone already is as good.
        let _: io::Result<()> = fs::remove_file(&self.path);
    }
}

/// Hands out memory from the start on.
struct Plan {
    end: usize,
}

impl Plan {
    /// `octets` from the next page on.
    fn take(&mut self, octets: usize) -> usize {
        let start = self.end;
        self.end = (start + octets).next_multiple_of(4096);
        start
    }

    fn ring(&mut self, size: u16) -> Layout {
        let layout = Layout::at(self.end, size);
        self.take(layout.end() - self.end);
        layout
    }
}

/// What a device with these features finishes for us.
fn capabilities(features: u64) -> Capabilities {
    let checksum = features & features::CSUM != 0;
    let has = |feature| checksum && features & feature != 0;
    Capabilities {
        checksum,
        tso4: has(features::HOST_TSO4),
        tso6: has(features::HOST_TSO6),
        ecn: has(features::HOST_ECN),
        uso: has(features::HOST_USO),
    }
}

/// Makes the socket, in place of one nobody listens on.
fn listen(path: &Path) -> io::Result<Listener> {
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = Listener { socket: UnixListener::bind(path)?, path: path.into() };
    listener.socket.set_nonblocking(true)?;
    Ok(listener)
}

/// A new connection to a backend.
fn connect(options: &FrontendOptions, listener: Option<&Listener>, deadline: Instant) -> Result<(Protocol, UnixStream), FrontendError> {
    let fail = |step| move |error: io::Error| FrontendError { path: options.path.clone(), step, why: error.to_string() };
    let stream = match listener {
        Some(listener) => accept(&listener.socket, deadline).map_err(fail("wait for the backend"))?,
        None => loop {
            match UnixStream::connect(&options.path) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= deadline => return Err(fail("connect")(error)),
                // No backend, or none yet.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        },
    };
    let ours = stream.try_clone().map_err(fail("connect"))?;
    Ok((Protocol::from_stream(stream, 2 * u64::from(options.queues)), ours))
}

fn accept(listener: &UnixListener, deadline: Instant) -> io::Result<UnixStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = left.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    if poll(&mut [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)], Some(&left))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let (stream, _) = listener.accept()?;
    // The protocol crate spins on sockets that do not block.
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// What came of a part of the conversation.
type Talk<T> = Result<T, Box<dyn std::error::Error>>;

/// Takes possession of the device and agrees on features.
fn negotiate(protocol: &Protocol, options: &FrontendOptions) -> Talk<u64> {
    use VhostUserProtocolFeatures as Feature;
    let mut protocol = protocol.clone();
    protocol.set_owner()?;
    let offered = protocol.get_features()?;
    let mut wanted = options.features | features::VERSION_1 | features::PROTOCOL_FEATURES;
    if options.queues == 1 {
        wanted &= !features::MQ;
    }
    if wanted & features::CSUM == 0 {
        wanted &= !(features::HOST_TSO | features::HOST_USO);
    }
    if wanted & features::GUEST_CSUM == 0 {
        wanted &= !(features::GUEST_TSO | features::GUEST_USO);
    }
    let agreed = offered & wanted;
    if agreed & features::VERSION_1 == 0 {
        return Err("the backend has no VIRTIO_F_VERSION_1".into());
    }
    let mut extensions = Feature::empty();
    if agreed & features::PROTOCOL_FEATURES != 0 {
        extensions = protocol.get_protocol_features()? & (Feature::MQ | Feature::REPLY_ACK);
        protocol.set_protocol_features(extensions)?;
    }
    if options.queues > 1 && (agreed & features::MQ == 0 || !extensions.contains(Feature::MQ)) {
        return Err("the backend has no multiple queues (VIRTIO_NET_F_MQ)".into());
    }
    if extensions.contains(Feature::REPLY_ACK) {
        // What the backend refuses is an error at once.
        protocol.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    }
    Ok(agreed)
}

/// Runs a conversation on `stream`, which is closed when it takes too long.
fn within<T>(stream: &UnixStream, deadline: Instant, talk: impl FnOnce() -> Talk<T>) -> Result<T, String> {
    let (done, waiting) = channel::<()>();
    thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let late = waiting.recv_timeout(deadline.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout);
            if late {
                // Closed already is as good.
                let _: io::Result<()> = stream.shutdown(std::net::Shutdown::Both);
            }
            late
        });
        let result = talk();
        drop(done);
        let late = watchdog.join().unwrap_or(false);
        result.map_err(|error| if late { "the backend does not answer".to_owned() } else { error.to_string() })
    })
}
