//! Sets of addresses, networks and ports that rules ask (`ipset`).
//!
//! A set is two maps: a large one, and a small one of what changed since that was made. A change copies the small one and
//! replaces both at once, so one more element of thousands is cheap; when the small one has grown, they are merged. Workers
//! never wait, and never free a map: what was replaced is kept until nobody asks it.

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use wire::ip_protocol;

use super::matches::End;
use crate::clock::Nanos;
use crate::frame::Frame;
use crate::router::packet::{Packet, Upper};
use crate::router::{Address, Family};

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
    maps: ArcSwap<Maps>,
    /// Held by whoever changes the set: maps that workers may still ask.
    retired: Mutex<Vec<Arc<Maps>>>,
}

/// When an element is forgotten; 0: never.
type Deadline = Nanos;

#[derive(Default)]
struct Maps {
    /// Elements as of the last merge.
    base: Arc<HashMap<Element, Deadline>>,
    /// What changed since then; `None`: removed.
    changes: HashMap<Element, Option<Deadline>>,
    /// Lengths of the prefixes that may be there, longest first.
    prefix_lens: Vec<u8>,
    /// Elements, with those that are over.
    len: usize,
}

impl Maps {
    fn get(&self, element: &Element) -> Option<Deadline> {
        self.changes.get(element).copied().unwrap_or_else(|| self.base.get(element).copied())
    }

    fn has(&self, element: &Element, now: Nanos) -> bool {
        self.get(element).is_some_and(|deadline| is_alive(deadline, now))
    }

    fn iter(&self) -> impl Iterator<Item = (Element, Deadline)> {
        let base = self.base.iter().filter(|(element, _)| !self.changes.contains_key(element));
        let changed = self.changes.iter().filter_map(|(element, deadline)| Some((*element, (*deadline)?)));
        base.map(|(element, deadline)| (*element, *deadline)).chain(changed)
    }

    fn set(&mut self, element: Element, deadline: Option<Deadline>) {
        match (self.get(&element), deadline) {
            (None, Some(_)) => self.len += 1,
            (Some(_), None) => self.len -= 1,
            (Some(_), Some(_)) => {}
            (None, None) => return,
        }
        self.changes.insert(element, deadline);
        if let Err(at) = self.prefix_lens.binary_search_by(|len| element.prefix_len.cmp(len)) {
            self.prefix_lens.insert(at, element.prefix_len);
        }
    }

    /// The same elements but those that are over, all in the large map.
    fn merged(&self, now: Nanos) -> Maps {
        let base: HashMap<_, _> = self.iter().filter(|(_, deadline)| is_alive(*deadline, now)).collect();
        let mut prefix_lens: Vec<u8> = Vec::new();
        for element in base.keys() {
            if let Err(at) = prefix_lens.binary_search_by(|len| element.prefix_len.cmp(len)) {
                prefix_lens.insert(at, element.prefix_len);
            }
        }
        Maps { len: base.len(), base: Arc::new(base), changes: HashMap::new(), prefix_lens }
    }
}

fn is_alive(deadline: Deadline, now: Nanos) -> bool {
    deadline == 0 || now < deadline
}

impl fmt::Debug for IpSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpSet").field("options", &self.options).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A set is equal to itself only.
impl PartialEq for IpSet {
    fn eq(&self, other: &IpSet) -> bool {
        core::ptr::eq(self, other)
    }
}

impl IpSet {
    /// Changes from which on the maps are merged, if they are not more than one in sixteen elements.
    const CHANGES_MIN: usize = 256;

    /// An empty set.
    pub fn new(options: SetOptions) -> IpSet {
        IpSet { options, maps: ArcSwap::default(), retired: Mutex::default() }
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
        self.change(now, |maps| {
            for (element, timeout) in elements {
                let timeout = match (timeout, self.options.timeout) {
                    (Some(_), None) => return Err(SetError::NoTimeout),
                    (timeout, default) => timeout.or(default).unwrap_or(0),
                };
                let deadline = if timeout == 0 { 0 } else { now.saturating_add(timeout) };
                maps.set(self.normal(*element), Some(deadline));
            }
            if maps.len > self.options.maxelem {
                *maps = maps.merged(now);
            }
            if maps.len > self.options.maxelem { Err(SetError::Full) } else { Ok(()) }
        })
    }

    /// Removes elements; returns how many of them were there.
    pub fn del(&self, elements: &[Element], now: Nanos) -> usize {
        let removed = self.change::<core::convert::Infallible, _>(now, |maps| {
            let mut removed = 0;
            for element in elements {
                let element = self.normal(*element);
                removed += usize::from(maps.has(&element, now));
                maps.set(element, None);
            }
            Ok(removed)
        });
        match removed {
            Ok(removed) => removed,
        }
    }

    /// Removes all.
    pub fn flush(&self) {
        let Ok(()) = self.change::<core::convert::Infallible, _>(0, |maps| {
            *maps = Maps::default();
            Ok(())
        });
    }

    /// Exchanges what is in two sets of the same options (`ipset swap`): workers may see one changed and the other not yet.
    /// `false`, and nothing done, if the options differ.
    pub fn swap(&self, other: &IpSet) -> bool {
        if self.options.kind != other.options.kind || self.options.family != other.options.family {
            return false;
        }
        let ours = self.maps.load_full();
        let former = other.replace(ours);
        self.replace(former);
        true
    }

    /// Removes what is over; returns how many that were. Takes time in proportion to the set.
    pub fn sweep(&self, now: Nanos) -> usize {
        let before = self.len();
        if self.maps.load().iter().any(|(_, deadline)| !is_alive(deadline, now)) {
            let Ok(()) = self.change::<core::convert::Infallible, _>(now, |maps| {
                *maps = maps.merged(now);
                Ok(())
            });
        }
        before - self.len()
    }

    /// Whether the very element is there.
    pub fn has(&self, element: &Element, now: Nanos) -> bool {
        self.maps.load().has(&self.normal(*element), now)
    }

    /// All elements in ascending order, each with the nanoseconds left to it; `None` for those that stay.
    pub fn list(&self, now: Nanos) -> Vec<(Element, Option<Nanos>)> {
        let maps = self.maps.load();
        let alive = maps.iter().filter(|(_, deadline)| is_alive(*deadline, now));
        let mut list: Vec<_> = alive.map(|(element, deadline)| (element, deadline.checked_sub(now).filter(|_| deadline != 0))).collect();
        list.sort_unstable();
        list
    }

    /// Number of elements, with those that are over and not yet swept.
    pub fn len(&self) -> usize {
        self.maps.load().len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element as it is stored: the host part of a network is 0.
    fn normal(&self, element: Element) -> Element {
        match self.options.kind {
            SetKind::HashNet | SetKind::HashNetPort => network(self.options.family, element, element.prefix_len),
            SetKind::HashIp | SetKind::HashIpPort | SetKind::HashMac | SetKind::BitmapPort => Element { prefix_len: 0, ..element },
        }
    }

    fn change<E, R>(&self, now: Nanos, change: impl FnOnce(&mut Maps) -> Result<R, E>) -> Result<R, E> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.maps.load_full();
        let mut maps = Maps { base: old.base.clone(), changes: old.changes.clone(), prefix_lens: old.prefix_lens.clone(), len: old.len };
        let result = change(&mut maps)?;
        if maps.changes.len() > IpSet::CHANGES_MIN.max(maps.base.len() / 16) {
            maps = maps.merged(now);
        }
        self.maps.store(Arc::new(maps));
        retired.retain(|maps| Arc::strong_count(maps) > 1);
        retired.push(old);
        Ok(result)
    }

    fn replace(&self, maps: Arc<Maps>) -> Arc<Maps> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.maps.swap(maps);
        retired.retain(|maps| Arc::strong_count(maps) > 1);
        retired.push(old.clone());
        old
    }

    /// Whether the set has what a packet has at these ends.
    pub(super) fn matches(&self, packet: &Packet, frame: &Frame<'_>, first: End, second: Option<End>, now: Nanos) -> bool {
        let SetOptions { kind, family, .. } = self.options;
        let address = match first {
            End::Source => packet.source,
            End::Destination => packet.destination,
        };
        let family_fits = packet.family == family;
        let with_port = |end: Option<End>| Some(Element { address, ..port(packet, end?)? });
        let maps = self.maps.load();
        match kind {
            SetKind::HashIp => family_fits && maps.has(&Element { address, ..Element::default() }, now),
            SetKind::HashNet => family_fits && in_network(&maps, family, Element { address, ..Element::default() }, now),
            SetKind::HashIpPort => family_fits && with_port(second).is_some_and(|element| maps.has(&element, now)),
            SetKind::HashNetPort => family_fits && with_port(second).is_some_and(|element| in_network(&maps, family, element, now)),
            SetKind::HashMac => {
                let mac = match first {
                    End::Source => frame.source(),
                    End::Destination => frame.destination(),
                };
                maps.has(&Element { address: Address(mac.to_u64().into()), ..Element::default() }, now)
            }
            SetKind::BitmapPort => {
                let has_ports = matches!(packet.protocol, ip_protocol::TCP | ip_protocol::UDP);
                let element = port(packet, first).filter(|_| has_ports).map(|element| Element { protocol: 0, ..element });
                element.is_some_and(|element| maps.has(&element, now))
            }
        }
    }
}

/// The network of `prefix_len` bits an element's address lies in.
fn network(family: Family, element: Element, prefix_len: u8) -> Element {
    let prefix_len = prefix_len.min(family.bits());
    Element { address: Address(element.address.0 & !Address::host_mask(family, prefix_len)), prefix_len, ..element }
}

fn in_network(maps: &Maps, family: Family, element: Element, now: Nanos) -> bool {
    maps.prefix_lens.iter().any(|len| maps.has(&network(family, element, *len), now))
}

/// Protocol and port of an end of a packet: type and code of ICMP, 0 of protocols without (`ip_set_getport.c`). `None` of
/// fragments and of what is cut.
fn port(packet: &Packet, end: End) -> Option<Element> {
    let port = match (packet.upper, end) {
        (Upper::Ports { source, .. }, End::Source) => source,
        (Upper::Ports { destination, .. }, End::Destination) => destination,
        (Upper::Icmp { kind, code, .. }, _) => u16::from_be_bytes([kind, code]),
        (Upper::Other, _) if !packet.is_later_fragment() => 0,
        (Upper::Other | Upper::Cut, _) => return None,
    };
    Some(Element { protocol: packet.protocol, port, ..Element::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn options(kind: SetKind) -> SetOptions {
        SetOptions { kind, family: Family::V4, maxelem: 100_000, timeout: None }
    }

    fn ip(address: u32) -> Element {
        Element { address: Address(address.into()), ..Element::default() }
    }

    #[test]
    fn a_full_set_refuses_all_of_what_is_too_much() {
        let set = IpSet::new(SetOptions { maxelem: 3, ..options(SetKind::HashIp) });
        set.add(&[(ip(1), None), (ip(2), None)], 0).unwrap();
        assert_eq!(set.add(&[(ip(3), None), (ip(4), None)], 0), Err(SetError::Full));
        assert_eq!(set.len(), 2);
        set.add(&[(ip(3), None), (ip(1), None)], 0).unwrap();
        assert_eq!(set.add(&[(ip(3), Some(1))], 0), Err(SetError::NoTimeout));
        assert_eq!((set.del(&[ip(1), ip(9)], 0), set.len()), (1, 2));
    }

    #[test]
    fn elements_are_over_at_their_time_and_make_room() {
        let set = IpSet::new(SetOptions { maxelem: 2, timeout: Some(100), ..options(SetKind::HashIp) });
        set.add(&[(ip(1), None), (ip(2), Some(0))], 5).unwrap();
        assert_eq!(set.list(5), [(ip(1), Some(100)), (ip(2), None)]);
        assert!(set.has(&ip(1), 104) && !set.has(&ip(1), 105) && set.has(&ip(2), u64::MAX));
        assert_eq!(set.add(&[(ip(3), None)], 104), Err(SetError::Full));
        set.add(&[(ip(3), None)], 105).unwrap();
        assert_eq!((set.sweep(204), set.sweep(205), set.len()), (0, 1, 1));
    }

    #[test]
    fn thousands_of_single_changes_are_merged_now_and_then() {
        let set = IpSet::new(options(SetKind::HashIp));
        for i in 0..5000 {
            set.add(&[(ip(i), None)], 0).unwrap();
            assert!(set.maps.load().changes.len() <= IpSet::CHANGES_MIN.max(set.len() / 16));
        }
        assert_eq!((set.len(), set.list(0).len()), (5000, 5000));
        assert!(set.retired.lock().unwrap().len() <= 1, "nobody asks the former maps");
    }

    #[test]
    fn two_sets_change_places() {
        let (a, b) = (IpSet::new(options(SetKind::HashIp)), IpSet::new(options(SetKind::HashIp)));
        a.add(&[(ip(1), None)], 0).unwrap();
        assert!(a.swap(&b));
        assert!(!a.has(&ip(1), 0) && b.has(&ip(1), 0));
        assert!(!a.swap(&IpSet::new(options(SetKind::HashNet))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A set after any changes against a map.
        #[test]
        fn as_a_map(changes in prop::collection::vec((0u32..64, 0u8..=3, prop::option::of(0u64..50)), 0..400)) {
            let set = IpSet::new(SetOptions { timeout: Some(20), ..options(SetKind::HashNet) });
            let mut model: BTreeMap<Element, Nanos> = BTreeMap::new();
            for (now, (address, what, timeout)) in changes.into_iter().enumerate() {
                let now = now as Nanos / 4;
                let element = Element { prefix_len: 26 + what * 2, ..ip(address) };
                let normal = network(Family::V4, element, element.prefix_len);
                if what == 3 {
                    let was = model.remove(&normal).is_some_and(|deadline| is_alive(deadline, now));
                    prop_assert_eq!(set.del(&[element], now), usize::from(was));
                } else {
                    set.add(&[(element, timeout)], now).unwrap();
                    let timeout = timeout.unwrap_or(20);
                    model.insert(normal, if timeout == 0 { 0 } else { now + timeout });
                }
                let maps = set.maps.load();
                for probe in 0..64 {
                    let expected = model.iter().any(|(network, deadline)| {
                        is_alive(*deadline, now) && ip(probe).address.is_in(Family::V4, network.address, network.prefix_len)
                    });
                    prop_assert_eq!(in_network(&maps, Family::V4, ip(probe), now), expected);
                }
            }
        }
    }
}
