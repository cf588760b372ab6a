//! Where frames go in and out.

use std::time::Duration;

use anyhow::Context as _;
use dataplane::{RxQueue, TxQueue};
use netdev::{Netns, Opened, PacketOptions, TapOptions};

/// Octets of the ring of an AF_PACKET endpoint: 16,384 frames, so that a sink whose core is taken away for some milliseconds
/// does not lose any.
const RING_SIZE: u64 = 32 << 20;

/// How long a sender holds back after a refusal: short against the time in which a switch empties the 1000 frames of a TAP
/// queue, long enough that it does not take the cache lines of the queue away from the switch all the time.
const HOLD_BACK: Duration = Duration::from_micros(50);

/// Queues to send to and to receive from, and the name that messages have for them.
pub struct Endpoint {
    pub(super) name: String,
    pub(super) rx: Vec<Box<dyn RxQueue>>,
    /// All frames leave by this one: with several, frames of a flow could overtake each other.
    pub(super) tx: Box<dyn TxQueue>,
    pub(super) hold_back: Duration,
}

impl Endpoint {
    /// Any queues. `hold_back` is how long to wait after `tx` refused frames at [`Rate::Max`](super::Rate::Max).
    pub fn new(name: impl Into<String>, rx: Vec<Box<dyn RxQueue>>, tx: Box<dyn TxQueue>, hold_back: Duration) -> Endpoint {
        Endpoint { name: name.into(), rx, tx, hold_back }
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
        Endpoint::opened(interface.into(), netdev::packet::open(&options, 1)?)
    }

    /// A TAP that the generator makes and holds: what it sends is received by the kernel on that interface. It goes with the
    /// endpoint.
    ///
    /// # Errors
    ///
    /// When the TAP cannot be made.
    pub fn tap(netns: Option<Netns>, interface: &str) -> anyhow::Result<Endpoint> {
        let options = TapOptions { name: interface.into(), netns, mac: None, mtu: None, queues: 1, offload: true };
        Endpoint::opened(interface.into(), netdev::tap::open(&options, 1)?)
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }
}
