//! Sets of addresses, networks and ports that rules ask (`ipset`).

use crate::clock::Nanos;
use crate::router::{Address, Family};
use core::fmt;

/// The type of a set, as `ipset create` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// `hash:ip`.
    HashIp,
    /// `hash:net`.
    HashNet,
    /// `hash:ip,port`.
    HashIpPort,
    /// `hash:net,port`.
    HashNetPort,
    /// `hash:mac`.
    HashMac,
    /// `bitmap:port`.
    BitmapPort,
}

/// Options of `ipset create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetOptions {
    /// Its type.
    pub kind: SetKind,
    /// `family`: of the addresses in it; no matter for sets without.
    pub family: Family,
    /// `maxelem`: elements at most.
    pub maxelem: usize,
    /// `timeout`: nanoseconds after which an element is forgotten; 0: never, unless the element says. `None`: elements
    /// cannot have a timeout.
    pub timeout: Option<Nanos>,
}

/// An element of a set. Parts the kind of the set does not have are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// Address, or MAC address as a number.
    pub address: Address,
    /// Length of the prefix of a network.
    pub prefix_len: u8,
    /// Protocol of the port.
    pub protocol: u8,
    /// Port, or type and code of an ICMP message.
    pub port: u16,
}

/// Why a set was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetError {
    /// There are `maxelem` elements already.
    Full,
    /// The set was made without `timeout`.
    NoTimeout,
}

/// A set. Workers ask it without a lock; control changes it at any time without a new rule set.
pub struct IpSet {
    options: SetOptions,
}

impl fmt::Debug for IpSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpSet").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A set is equal to itself only.
impl PartialEq for IpSet {
    fn eq(&self, other: &IpSet) -> bool {
        core::ptr::eq(self, other)
    }
}

impl IpSet {
    /// An empty set.
    pub fn new(options: SetOptions) -> IpSet {
        IpSet { options }
    }

    /// What it was made with.
    pub fn options(&self) -> &SetOptions {
        &self.options
    }

    /// Adds elements, each with the nanoseconds after which it is forgotten (`None`: as the set says; 0: never). Elements
    /// that are there get the new timeout. All are added, or none.
    ///
    /// # Errors
    ///
    /// [`SetError`].
    pub fn add(&self, elements: &[(Element, Option<Nanos>)], now: Nanos) -> Result<(), SetError> {
        let _ = (elements, now);
        Ok(())
    }

    /// Removes elements; returns how many of them were there.
    pub fn del(&self, elements: &[Element], now: Nanos) -> usize {
        let _ = (elements, now);
        0
    }

    /// Removes all.
    pub fn flush(&self) {}

    /// Whether the very element is there.
    pub fn has(&self, element: &Element, now: Nanos) -> bool {
        let _ = (element, now);
        false
    }

    /// All elements in ascending order, each with the nanoseconds left to it; `None` for those that stay.
    pub fn list(&self, now: Nanos) -> Vec<(Element, Option<Nanos>)> {
        let _ = now;
        Vec::new()
    }

    /// Number of elements, with those that are over and not yet swept.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
