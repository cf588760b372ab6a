//! What control asks of the world of devices: open, adjust, report changes. `vswitchd` fills it in with `netdev`, tests
//! with a fake.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::RawFd;

use dataplane::device::{RxQueue, TxQueue};
use dataplane::memory::MemoryDevice;
use proto::api::VhostUserInfo;
use proto::config::PortConfig;
use wire::MacAddr;

/// Opens devices and tells what happens to them. Used by the control thread only; may block for some milliseconds.
pub trait Devices {
    /// Opens the device of a `tap`, `host`, `nic` or `vhost-user` port, with one transmit queue for each of `workers` workers.
    ///
    /// # Errors
    ///
    /// What failed and what to do, without the name of the port. Then nothing was left behind.
    fn open(&mut self, port: &str, config: &PortConfig, workers: usize) -> Result<OpenDevice, DeviceError>;

    /// Sets MTU and MAC address of the netdev of an open `tap` or `host` port to those of `config`.
    ///
    /// # Errors
    ///
    /// What failed, without the name of the port. Then the netdev is as before.
    fn configure(&mut self, port: &str, netdev: &Netdev, config: &PortConfig) -> Result<(), DeviceError>;

    /// Gives the netdev of an open port another MAC address.
    ///
    /// # Errors
    ///
    /// What failed, without the name of the port. Then the netdev is as before.
    fn set_mac(&mut self, netdev: &Netdev, mac: MacAddr) -> Result<(), DeviceError>;

    /// The MAC address of an interface of a router that is given none: the same after each restart, another on each machine and
    /// for each interface.
    fn stable_mac(&self, router: &str, interface: &str) -> MacAddr;

    /// Speed and duplex of a netdev; `None` for one that has none or does not say.
    fn speed(&mut self, netdev: &Netdev) -> Option<LinkSpeed>;

    /// IP addresses of a netdev, with the length of their prefix in bits.
    fn addresses(&mut self, netdev: &Netdev) -> Vec<(IpAddr, u8)>;

    /// Says which network namespaces (as paths) ports are in, after each change. The others need not be watched any more.
    fn namespaces(&mut self, used: &BTreeSet<String>);

    /// What becomes readable when [`Devices::poll`] has something to report.
    fn event_fd(&self) -> Option<RawFd>;

    /// Takes what happened since the last call. Called when [`Devices::event_fd`] is readable and about once a second.
    fn poll(&mut self) -> Vec<DeviceEvent>;
}

/// A device that was opened.
pub struct OpenDevice {
    /// Receive queues; each goes to one worker.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Transmit queues, one per worker.
    pub tx: Vec<Box<dyn TxQueue>>,
    /// The netdev behind it.
    pub netdev: Option<Netdev>,
    /// Whether it has a carrier and is up.
    pub carrier: bool,
    /// The other side of a `sim` port.
    pub sim: Option<MemoryDevice>,
    /// The link of a `vhost-user` port.
    pub vhost_user: Option<Box<dyn VhostUserLink>>,
}

/// The link of a `vhost-user` port, for as long as the port is open. When it changes, [`Devices::event_fd`] becomes readable.
pub trait VhostUserLink {
    /// How it is now.
    fn state(&self) -> VhostUserState;
}

/// How the link of a `vhost-user` port is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostUserState {
    /// Whether the driver is ready.
    pub carrier: bool,
    /// Why not, where that is known.
    pub problem: Option<String>,
    /// The other side.
    pub info: VhostUserInfo,
}

/// A netdev as it was when its port was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netdev {
    /// Network namespace as a path; the daemon's own when absent.
    pub netns: Option<String>,
    /// Name.
    pub name: String,
    /// Interface index in its namespace; tells a recreated netdev from the former one.
    pub index: u32,
    /// MAC address.
    pub mac: Option<MacAddr>,
}

/// How fast a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    /// Mbit/s, when known.
    pub mbps: Option<u32>,
    /// Whether it is not half duplex.
    pub full_duplex: bool,
}

/// Something happened to a netdev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEvent {
    /// Network namespace as a path; the daemon's own when absent.
    pub netns: Option<String>,
    /// Name.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// What.
    pub what: DeviceChange,
}

/// What happened to a netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    /// It is there, in this state.
    Present {
        /// Whether it is up and has a carrier.
        carrier: bool,
        /// MAC address.
        mac: Option<MacAddr>,
    },
    /// It is gone.
    Removed,
}

/// Why a device cannot be opened or adjusted, for people, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(pub String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceError {}
