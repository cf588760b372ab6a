//! vhost-user ports: the rings of a VM in shared memory, without the kernel in the way.
//!
//! A port exists before a VM connects and after it has gone; its link is up while a driver is ready. [`open`] makes the socket
//! (or looks for that of the VMM) and starts the thread of the port, which speaks the vhost-user protocol by the crate `vhost`.
//! Frames are moved by the workers alone, which poll the rings themselves:
//!
//! - `service`: the thread; connections come and go.
//! - `backend`, `early_enable`: what a frontend says, and the rings that follow from it.
//! - `memory`, `sigbus`: the memory of the VM, also when it shrinks.
//! - `ring`: the split virtqueue.
//! - `slot`, `lock`: how a ring comes to a worker and away from it.
//! - `rx`, `tx`, `wakeup`: the queues.
//! - [`frontend`]: the other side, for traffic generators and tests.
//!
//! [`frontend`] is the other side, a driver in this process, for traffic generators and tests.
//!
//! The VM and its VMM are not trusted. A frame that is not valid is dropped with its reason; a ring that is not valid, and
//! a frontend that does not keep to the protocol, take the link of this port down with a text that says why
//! ([`LinkState::problem`]). The frontend resets the device or connects anew to begin again.

mod backend;
mod device;
mod early_enable;
pub mod features;
pub mod frontend;
mod lock;
mod memory;
mod ring;
mod rx;
mod service;
mod sigbus;
mod slot;
mod tx;
mod wakeup;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use dataplane::device::{RxQueue, TxQueue, Wake};

use crate::error::Error;
use crate::opened::Opened;
use device::Device;
use rx::VhostRx;
use service::Service;
use tx::VhostTx;

/// Pairs of rings at most, as in QEMU (`MAX_QUEUE_NUM` is larger, but a message names a ring with 8 bits).
pub const QUEUES_MAX: u16 = 128;

/// Who makes the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The switch; VMMs connect.
    Server,
    /// The VMM; the switch connects, and tries again each second while it cannot.
    Client,
}

/// How to open a vhost-user port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostUserOptions {
    /// The socket.
    pub path: PathBuf,
    /// Who makes it.
    pub mode: Mode,
    /// Pairs of rings, 1 to [`QUEUES_MAX`]; a VM may use fewer.
    pub queues: u16,
}

/// What the link of a port is like now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// A frontend is connected.
    pub connected: bool,
    /// The driver is ready: at least one pair of rings runs.
    pub carrier: bool,
    /// The virtio features negotiated by this connection (see [`features`]); 0 while none are.
    pub features: u64,
    /// Pairs of rings that run.
    pub queue_pairs: u16,
    /// Why there is no carrier, where that has a reason; complete in itself.
    pub problem: Option<String>,
}

/// Tells how the link of a port is. Cheap to clone, may be used by any thread, keeps nothing open.
#[derive(Clone)]
pub struct Link(Arc<Device>);

impl Link {
    /// How the link is now. What is reported to `notify` of [`open`] is that this changed.
    pub fn state(&self) -> LinkState {
        self.0.state()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.state()).finish()
    }
}

/// Opens a port, with a transmit queue for each of `workers` workers. `notify` is woken after each change of the link, by
/// the thread of the port or by a worker. The port is closed (the connection ended, the socket that was made removed) when
/// the last of its queues is dropped.
///
/// # Errors
///
/// [`Error::Refused`] for a number of queues out of range, [`Error::Socket`] when the socket cannot be made.
pub fn open(options: &VhostUserOptions, workers: usize, notify: Arc<dyn Wake>) -> Result<(Opened, Link), Error> {
    let name = || options.path.display().to_string();
    let queues = options.queues;
    if queues == 0 || queues > QUEUES_MAX {
        return Err(Error::Refused { interface: name(), why: format!("queues = {queues}: a vhost-user port has 1 to {QUEUES_MAX}") });
    }
    if cfg!(target_endian = "big") {
        return Err(Error::Refused { interface: name(), why: "vhost-user needs a little-endian processor".into() });
    }
    let failed = |(call, source)| Error::Socket { path: name(), call, source };
    let device = Device::new(queues, workers, notify).map_err(|source| failed(("make an epoll instance", source)))?;
    let device = Arc::new(device);
    let service = Arc::new(Service::start(device.clone(), &options.path, options.mode).map_err(failed)?);
    let rx = |pair: u16| Box::new(VhostRx::new(device.clone(), service.clone(), pair.into())) as Box<dyn RxQueue>;
    let tx = |worker| Box::new(VhostTx::new(device.clone(), service.clone(), worker)) as Box<dyn TxQueue>;
    let opened = Opened { rx: (0..queues).map(rx).collect(), tx: (0..workers).map(tx).collect(), interface: None };
    Ok((opened, Link(device)))
}
