//! What opening a device yields.

use dataplane::device::{RxQueue, TxQueue};
use wire::MacAddr;

use crate::netns::Netns;

/// The queues of a device, ready for workers. Dropping them closes the device.
pub struct Opened {
    /// Receive queues; each is to be polled by one worker.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Transmit queues, one per worker.
    pub tx: Vec<Box<dyn TxQueue>>,
    /// The interface behind the device, if there is one.
    pub interface: Option<InterfaceId>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Opened { rx, tx, interface } = self;
        f.debug_struct("Opened").field("rx", &rx.len()).field("tx", &tx.len()).field("interface", interface).finish()
    }
}

/// Which interface a device is, and what it was when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceId {
    /// Name of the netdev.
    pub name: String,
    /// Index, unique in its namespace until the system restarts.
    pub index: u32,
    /// Its namespace; `None` is our own.
    pub netns: Option<Netns>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its MTU in octets.
    pub mtu: u32,
}
