//! The devices of the system for the control plane: TAP, AF_PACKET and vhost-user ports, and a watch on every namespace they
//! are in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control::config::validate::netdev_of;
use control::device::{DeviceChange, DeviceError, DeviceEvent, Devices, LinkSpeed, Netdev, OpenDevice, VhostUserLink, VhostUserState};
use control::group;
use dataplane::device::Wake;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use netdev::link::{self, LinkChange, LinkEvent, LinkWatch};
use netdev::vhost_user::{self, LinkState, VhostUserOptions};
use netdev::{InterfaceId, Netns, PacketOptions, TapOptions, packet, stable_mac, tap};
use proto::api::VhostUserInfo;
use proto::config::{PortConfig, PortKind, SocketMode, TxQueueMode};
use wire::MacAddr;

/// Opens devices and watches their interfaces.
pub(crate) struct SystemDevices {
    /// What tells this daemon from others on the machine: the directory of its state.
    instance: String,
    /// By namespace as a path; `None` is our own.
    watches: BTreeMap<Option<String>, Watch>,
    /// One descriptor that stands for those of all watches.
    poll: Poll,
    events: Events,
    next_token: usize,
    /// Makes `poll` readable when the link of a vhost-user port changed.
    links: Arc<LinkWake>,
    /// Read while a device was opened, to be reported by the next poll.
    pending: Vec<DeviceEvent>,
}

struct LinkWake(mio::Waker);

impl Wake for LinkWake {
    fn wake(&self) {
        if let Err(error) = self.0.wake() {
            // Control looks at the links once a second anyway.
            tracing::warn!("report a link: {error}");
        }
    }
}

/// The link of a vhost-user port in the terms of control.
struct Link(vhost_user::Link);

impl VhostUserLink for Link {
    fn state(&self) -> VhostUserState {
        let LinkState { connected, carrier, features, queue_pairs, problem } = self.0.state();
        let features = vhost_user::features::names(features).into_iter().map(str::to_owned).collect();
        VhostUserState { carrier, problem, info: VhostUserInfo { connected, queue_pairs, features } }
    }
}

struct Watch {
    link: LinkWatch,
    /// Device and inode of the namespace file when it was opened: another one is another namespace.
    identity: Option<(u64, u64)>,
    /// Interfaces reported and not removed since, by index.
    present: BTreeMap<u32, String>,
}

impl Watch {
    /// Appends what happened since the last call.
    fn read(&mut self, netns: &Option<String>, events: &mut Vec<DeviceEvent>) {
        let present = &mut self.present;
        let result = self.link.poll(|LinkEvent { index, name, change }| {
            let what = match change {
                LinkChange::Present(facts) => {
                    present.insert(index, name.clone());
                    DeviceChange::Present { carrier: facts.carrier, mac: facts.mac }
                }
                LinkChange::Removed => {
                    present.remove(&index);
                    DeviceChange::Removed
                }
            };
            events.push(DeviceEvent { netns: netns.clone(), name, index, what });
        });
        if let Err(error) = result {
            tracing::warn!("{error}");
        }
    }
}

impl SystemDevices {
    pub(crate) fn new(state_dir: &Path) -> io::Result<SystemDevices> {
        let poll = Poll::new()?;
        let links = Arc::new(LinkWake(mio::Waker::new(poll.registry(), Token(0))?));
        Ok(SystemDevices {
            instance: state_dir.display().to_string(),
            watches: BTreeMap::new(),
            poll,
            events: Events::with_capacity(64),
            next_token: 1,
            links,
            pending: Vec::new(),
        })
    }

    /// Begins to watch a namespace, if it is not watched yet.
    fn watch(&mut self, netns: &Option<String>) -> Result<(), DeviceError> {
        if self.watches.contains_key(netns) {
            return Ok(());
        }
        let link = LinkWatch::open(&named(netns)?).map_err(|error| DeviceError(error.to_string()))?;
        let registered =
            self.poll.registry().register(&mut SourceFd(&link.as_fd().as_raw_fd()), Token(self.next_token), Interest::READABLE);
        registered.map_err(|error| DeviceError(format!("watch interfaces: {error}")))?;
        self.next_token += 1;
        self.watches.insert(netns.clone(), Watch { link, identity: netns.as_deref().and_then(identity), present: BTreeMap::new() });
        Ok(())
    }

    fn open_vhost_user(&self, config: &PortConfig, workers: usize) -> Result<OpenDevice, DeviceError> {
        let path = PathBuf::from(config.socket_path.clone().ok_or_else(|| DeviceError("a vhost-user port without socket".to_owned()))?);
        let group = config.socket_group.as_deref().map(group::gid_of).transpose();
        let group = group.map_err(|error| DeviceError(format!("socket_group: {error}")))?;
        let mode = match config.socket_mode {
            SocketMode::Server => vhost_user::Mode::Server,
            SocketMode::Client => vhost_user::Mode::Client,
        };
        let options = VhostUserOptions { path: path.clone(), mode, queues: config.queues };
        let (opened, link) = vhost_user::open(&options, workers, self.links.clone()).map_err(|error| DeviceError(error.to_string()))?;
        if mode == vhost_user::Mode::Server {
            let failed = |error: io::Error| DeviceError(format!("{}: set group and permissions: {error}", path.display()));
            chown(&path, None, group).map_err(failed)?;
            let mode = if group.is_some() { 0o660 } else { 0o600 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
        }
        let carrier = link.state().carrier;
        Ok(OpenDevice { rx: opened.rx, tx: opened.tx, netdev: None, carrier, sim: None, vhost_user: Some(Box::new(Link(link))) })
    }

    fn tap_options(&self, port: &str, config: &PortConfig) -> Result<TapOptions, DeviceError> {
        let (netns, name) = netdev_of(port, config).ok_or_else(|| DeviceError("a port without interface".to_owned()))?;
        // The kernel would choose another address each time a TAP is made, and neighbours would send to the old one until
        // their ARP entries expire: also after a restart of the daemon.
        let switch = config.switch.as_deref().unwrap_or_default();
        let mac = config.mac.unwrap_or_else(|| match config.kind {
            PortKind::Host => stable_mac(switch),
            _ => stable_mac(&format!("{}\0{switch}\0{port}", self.instance)),
        });
        Ok(TapOptions {
            name,
            netns: named(&netns)?,
            mac: Some(mac),
            mtu: Some(config.mtu),
            queues: config.queues,
            offload: config.offload,
        })
    }
}

fn named(netns: &Option<String>) -> Result<Option<Netns>, DeviceError> {
    // The name rather than the path where there is one: it reads better in messages, and is looked up in both places.
    let name = netns.as_deref().map(|path| path.strip_prefix("/run/netns/").unwrap_or(path));
    name.map(Netns::named).transpose().map_err(|error| DeviceError(error.to_string()))
}

fn identity(path: &str) -> Option<(u64, u64)> {
    let of = |path: &str| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    of(path).or_else(|| of(&path.replacen("/run/", "/var/run/", 1)))
}

impl Devices for SystemDevices {
    fn open(&mut self, port: &str, config: &PortConfig, workers: usize) -> Result<OpenDevice, DeviceError> {
        if config.kind == PortKind::VhostUser {
            return self.open_vhost_user(config, workers);
        }
        let (netns, interface) = netdev_of(port, config).ok_or_else(|| DeviceError("a port without interface".to_owned()))?;
        self.watch(&netns)?;
        let opened = if config.kind == PortKind::Nic {
            let options = PacketOptions {
                interface,
                netns: named(&netns)?,
                queues: config.queues,
                offload: config.offload,
                ring_size: config.ring_size.0,
                qdisc_bypass: config.tx_queue == TxQueueMode::Bypass,
            };
            packet::open(&options, workers)
        } else {
            tap::open(&self.tap_options(port, config)?, workers)
        };
        let opened = opened.map_err(|error| DeviceError(error.to_string()))?;
        let carrier = match &opened.interface {
            Some(id) => {
                // How the interface came to be what it is now would look like a link that flaps.
                let mut events = Vec::new();
                if let Some(watch) = self.watches.get_mut(&netns) {
                    watch.read(&netns, &mut events);
                }
                let history = |event: &DeviceEvent| event.index == id.index && matches!(event.what, DeviceChange::Present { .. });
                self.pending.extend(events.into_iter().filter(|event| !history(event)));
                link::facts(&id.netns, &id.name).ok().flatten().is_some_and(|(index, facts)| index == id.index && facts.carrier)
            }
            None => true,
        };
        let netdev = opened.interface.map(|id| Netdev { netns, name: id.name, index: id.index, mac: Some(id.mac) });
        Ok(OpenDevice { rx: opened.rx, tx: opened.tx, netdev, carrier, sim: None, vhost_user: None })
    }

    fn configure(&mut self, port: &str, netdev: &Netdev, config: &PortConfig) -> Result<(), DeviceError> {
        let options = self.tap_options(port, config)?;
        let mac = options.mac.or(netdev.mac).unwrap_or_default();
        let id = InterfaceId { name: netdev.name.clone(), index: netdev.index, netns: options.netns, mac, mtu: config.mtu };
        tap::configure(&id, options.mac, options.mtu).map_err(|error| DeviceError(error.to_string()))
    }

    fn set_mac(&mut self, netdev: &Netdev, mac: MacAddr) -> Result<(), DeviceError> {
        link::set_mac(&named(&netdev.netns)?, &netdev.name, netdev.index, mac).map_err(|error| DeviceError(error.to_string()))
    }

    fn stable_mac(&self, router: &str, interface: &str) -> MacAddr {
        stable_mac(&format!("{}\0router\0{router}\0{interface}", self.instance))
    }

    fn speed(&mut self, netdev: &Netdev) -> Option<LinkSpeed> {
        let speed = link::speed(&named(&netdev.netns).ok()?, &netdev.name).ok().flatten()?;
        Some(LinkSpeed { mbps: speed.mbps, full_duplex: speed.full_duplex })
    }

    fn addresses(&mut self, netdev: &Netdev) -> Vec<(IpAddr, u8)> {
        let addresses =
            named(&netdev.netns).and_then(|netns| link::addresses(&netns, netdev.index).map_err(|error| DeviceError(error.to_string())));
        addresses.unwrap_or_else(|error| {
            tracing::warn!("addresses of {:?}: {error}", netdev.name);
            Vec::new()
        })
    }

    fn namespaces(&mut self, used: &BTreeSet<String>) {
        // A netlink socket keeps its namespace alive, so one that no port is in must not be watched on.
        self.watches.retain(|netns, _| netns.as_ref().is_none_or(|path| used.contains(path)));
    }

    fn event_fd(&self) -> Option<RawFd> {
        Some(self.poll.as_raw_fd())
    }

    fn poll(&mut self) -> Vec<DeviceEvent> {
        // Empties the ready list; which watch or link it was does not matter, as asking one that has nothing is cheap.
        if let Err(error) = self.poll.poll(&mut self.events, Some(Duration::ZERO))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::warn!("watch interfaces: {error}");
        }
        let mut events = std::mem::take(&mut self.pending);
        self.watches.retain(|netns, watch| {
            if netns.is_some() && watch.identity != netns.as_deref().and_then(identity) {
                // Deleted by name, perhaps made anew. Our sockets keep the former one alive, but nobody finds it any more.
                let gone = std::mem::take(&mut watch.present).into_iter();
                events.extend(gone.map(|(index, name)| DeviceEvent { netns: netns.clone(), name, index, what: DeviceChange::Removed }));
                return false;
            }
            watch.read(netns, &mut events);
            true
        });
        events
    }
}
