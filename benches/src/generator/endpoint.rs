//! Where frames go in and out.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use dataplane::{RxQueue, TxQueue};
use netdev::vhost_user::frontend::{Frontend, FrontendOptions};
use netdev::{Netns, Opened, PacketOptions, TapOptions};

/// Octets of the ring of an AF_PACKET endpoint: 16,384 frames, so that a sink whose core is taken away for some milliseconds
/// does not lose any.
const RING_SIZE: u64 = 32 << 20;

/// How long a sender holds back after a refusal: short against the time in which a switch empties the 1000 frames of a TAP
/// queue, long enough that it does not take the cache lines of the queue away from the switch all the time.
const HOLD_BACK: Duration = Duration::from_micros(50);
/// The same for a vhost-user ring, which has room for fewer frames and is emptied faster.
const VHOST_USER_HOLD_BACK: Duration = Duration::from_micros(2);

/// Which endpoint to open: `packet:[NETNS/]INTERFACE`, `tap:[NETNS/]INTERFACE` or `vhost-user:SOCKET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointAt {
    /// See [`Endpoint::packet`].
    Packet(Option<Netns>, String),
    /// See [`Endpoint::tap`].
    Tap(Option<Netns>, String),
    /// See [`Endpoint::vhost_user`].
    VhostUser(PathBuf),
}

impl FromStr for EndpointAt {
    type Err = String;

    fn from_str(text: &str) -> Result<EndpointAt, String> {
        let wrong = || format!("\"{text}\" is not packet:[NETNS/]INTERFACE, tap:[NETNS/]INTERFACE or vhost-user:SOCKET");
        let (kind, place) = text.split_once(':').filter(|(_, place)| !place.is_empty()).ok_or_else(wrong)?;
        if kind == "vhost-user" {
            return Ok(EndpointAt::VhostUser(place.into()));
        }
        let (netns, interface) = match place.rsplit_once('/') {
            Some((netns, interface)) => (Some(Netns::named(netns).map_err(|error| error.to_string())?), interface),
            None => (None, place),
        };
        match kind {
            _ if interface.is_empty() => Err(wrong()),
            "packet" => Ok(EndpointAt::Packet(netns, interface.into())),
            "tap" => Ok(EndpointAt::Tap(netns, interface.into())),
            _ => Err(wrong()),
        }
    }
}

impl EndpointAt {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::packet`], [`Endpoint::tap`] and [`Endpoint::vhost_user`].
    pub fn open(&self) -> anyhow::Result<Endpoint> {
        match self {
            EndpointAt::Packet(netns, interface) => Endpoint::packet(netns.clone(), interface),
            EndpointAt::Tap(netns, interface) => Endpoint::tap(netns.clone(), interface),
            EndpointAt::VhostUser(socket) => Endpoint::vhost_user(socket),
        }
    }
}

/// Queues to send to and to receive from, and the name that messages have for them.
pub struct Endpoint {
    pub(super) name: String,
    pub(super) rx: Vec<Box<dyn RxQueue>>,
    /// All frames leave by this one: with several, frames of a flow could overtake each other.
    pub(super) tx: Box<dyn TxQueue>,
    pub(super) hold_back: Duration,
    /// What the queues need while they are used.
    _connection: Option<Frontend>,
}

impl Endpoint {
    /// Any queues. `hold_back` is how long to wait after `tx` refused frames at [`Rate::Max`](super::Rate::Max).
    pub fn new(name: impl Into<String>, rx: Vec<Box<dyn RxQueue>>, tx: Box<dyn TxQueue>, hold_back: Duration) -> Endpoint {
        Endpoint { name: name.into(), rx, tx, hold_back, _connection: None }
    }

    fn opened(name: String, mut opened: Opened) -> anyhow::Result<Endpoint> {
        let tx = opened.tx.pop().with_context(|| format!("{name}: no transmit queue"))?;
        Ok(Endpoint::new(name, opened.rx, tx, HOLD_BACK))
    }

    /// An AF_PACKET socket on an interface that exists and is up. Frames go past its queueing discipline; when the interface is
    /// a TAP whose other end the switch holds, they wait in its queue, and a full queue refuses them.
    ///
    /// # Errors
    ///
    /// When the socket cannot be opened.
    pub fn packet(netns: Option<Netns>, interface: &str) -> anyhow::Result<Endpoint> {
        let options =
            PacketOptions { interface: interface.into(), netns, queues: 1, offload: false, ring_size: RING_SIZE, qdisc_bypass: true };
        Endpoint::opened(name_of(&options.netns, interface), netdev::packet::open(&options, 1)?)
    }

    /// A TAP that the generator makes and holds: what it sends is received by the kernel on that interface. It goes with the
    /// endpoint.
    ///
    /// # Errors
    ///
    /// When the TAP cannot be made.
    pub fn tap(netns: Option<Netns>, interface: &str) -> anyhow::Result<Endpoint> {
        let options = TapOptions { name: interface.into(), netns, mac: None, mtu: None, queues: 1, offload: true };
        Endpoint::opened(name_of(&options.netns, interface), netdev::tap::open(&options, 1)?)
    }

    /// The virtual machine's side of a vhost-user port whose socket the switch makes: one queue pair, polled all the time.
    ///
    /// # Errors
    ///
    /// When the switch does not answer.
    pub fn vhost_user(socket: &Path) -> anyhow::Result<Endpoint> {
        let mut opened = Frontend::open(FrontendOptions::new(socket))?;
        let name = socket.display().to_string();
        let tx = opened.tx.pop().with_context(|| format!("{name}: no transmit queue"))?;
        Ok(Endpoint { _connection: Some(opened.frontend), ..Endpoint::new(name, opened.rx, tx, VHOST_USER_HOLD_BACK) })
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn name_of(netns: &Option<Netns>, interface: &str) -> String {
    netns.as_ref().map_or_else(|| interface.to_owned(), |netns| format!("{}/{interface}", netns.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_named() {
        let at = |text: &str| text.parse::<EndpointAt>();
        assert_eq!(at("tap:t0"), Ok(EndpointAt::Tap(None, "t0".into())));
        let blue = Netns::named("/run/netns/blue").unwrap();
        assert_eq!(at("packet:/run/netns/blue/eth0"), Ok(EndpointAt::Packet(Some(blue), "eth0".into())));
        assert_eq!(at("vhost-user:/run/a/b.sock"), Ok(EndpointAt::VhostUser("/run/a/b.sock".into())));
        for wrong in ["", "eth0", "veth:eth0", "packet:", "packet:blue/", "vhost-user:", "tap:../x"] {
            assert!(at(wrong).is_err(), "{wrong:?}");
        }
    }
}
