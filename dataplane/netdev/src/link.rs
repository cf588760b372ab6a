//! Which interfaces a namespace has, and how they change.
//!
//! [`facts`], [`speed`] and [`addresses`] ask once; [`LinkWatch`] is told by the kernel (`RTNLGRP_LINK`, rtnetlink(7)) and keeps a copy, so that what
//! is lost when the kernel's queue overflows is found by comparison: no change is missed for good. Used by the control
//! thread.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkHeader, LinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use wire::MacAddr;

use crate::error::Error;
use crate::netlink::{Messages, Netlink};
use crate::netns::{Netns, name_of, run_in};
use crate::sys;

/// What an interface is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// The administrator has set it up (`IFF_UP`).
    pub up: bool,
    /// It is up and can send (`IFF_LOWER_UP`). A TAP has carrier while this process holds it and its netdev is up.
    pub carrier: bool,
    /// MTU in octets.
    pub mtu: u32,
    /// MAC address; `None` where the address has not six octets.
    pub mac: Option<MacAddr>,
    /// `ARPHRD_*` (`include/uapi/linux/if_arp.h`); 1 is Ethernet.
    pub link_type: u16,
}

/// A change of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Index of the interface.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What happened.
    pub change: LinkChange,
}

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// It came into being, or is another than before.
    Present(LinkFacts),
    /// It was deleted, renamed (under its new name it is [present](LinkChange::Present)), or moved to another namespace.
    Removed,
}

/// What `interface` of the namespace is now, with its index; `None` when there is none.
///
/// # Errors
///
/// [`Error::Netns`] when the namespace cannot be entered, [`Error::Links`] when the kernel does not answer.
pub fn facts(netns: &Option<Netns>, interface: &str) -> Result<Option<(u32, LinkFacts)>, Error> {
    run_in(netns, || facts_here(interface))?.map_err(|source| Error::Links { netns: name_of(netns), call: "ask for an interface", source })
}

/// Speed and duplex of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    /// Mbit/s; `None` while unknown.
    pub mbps: Option<u32>,
    /// Whether it is not half duplex.
    pub full_duplex: bool,
}

/// How fast `interface` is; `None` for one whose driver does not say.
///
/// # Errors
///
/// [`Error::Netns`] when the namespace cannot be entered, [`Error::Links`] when no socket can be opened.
pub fn speed(netns: &Option<Netns>, interface: &str) -> Result<Option<LinkSpeed>, Error> {
    /// `DUPLEX_HALF`.
    const HALF: u8 = 0;
    if !is_name(interface) {
        return Ok(None);
    }
    let socket = run_in(netns, || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None))?;
    let socket = socket.map_err(|source| Error::Links { netns: name_of(netns), call: "open a socket to ask for speed", source })?;
    Ok(sys::ethtool_speed(socket.as_fd(), interface).ok().map(|(mbps, duplex)| LinkSpeed {
        // SPEED_UNKNOWN is -1; 0 is what drivers without link say.
        mbps: Some(mbps).filter(|mbps| (1..=i32::MAX as u32).contains(mbps)),
        full_duplex: duplex != HALF,
    }))
}

/// The IP addresses of the interface with this index, with the length of their prefix in bits; those that are in doubt
/// (tentative, duplicate) are left out.
///
/// # Errors
///
/// [`Error::Netns`] when the namespace cannot be entered, [`Error::Links`] when the kernel does not answer.
pub fn addresses(netns: &Option<Netns>, index: u32) -> Result<Vec<(IpAddr, u8)>, Error> {
    run_in(netns, || Netlink::open()?.addresses(index))?.map_err(|source| Error::Links {
        netns: name_of(netns),
        call: "list addresses",
        source,
    })
}

/// Gives the interface with this index another MAC address; its state (up or down) stays.
///
/// # Errors
///
/// [`Error::NoSuchInterface`] when it is gone or another, [`Error::Netns`] and [`Error::System`] where the operating system
/// refuses, as it does for some drivers while the interface is up.
pub fn set_mac(netns: &Option<Netns>, interface: &str, index: u32, mac: MacAddr) -> Result<(), Error> {
    run_in(netns, || {
        let facts = facts_here(interface).map_err(|source| Error::system(interface, "ask for the interface", source))?;
        let gone = || Error::NoSuchInterface { interface: interface.into(), netns: name_of(netns) };
        let (_, facts) = facts.filter(|(found, _)| *found == index).ok_or_else(gone)?;
        let set = Netlink::open().and_then(|mut netlink| netlink.configure(index, Some(mac), None, facts.up));
        set.map_err(|source| Error::system(interface, "set the MAC address", source))
    })?
}

/// As [`facts`], in the namespace of the calling thread.
pub(crate) fn facts_here(interface: &str) -> io::Result<Option<(u32, LinkFacts)>> {
    if !is_name(interface) {
        return Ok(None); // the kernel would answer EINVAL
    }
    let mut ask = LinkMessage::default();
    ask.attributes.push(LinkAttribute::IfName(interface.into()));
    let mut found = None;
    let result = Netlink::open()?.request(RouteNetlinkMessage::GetLink(ask), NLM_F_ACK, |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            found = parse(payload).or(found.take());
        }
    });
    match result {
        // The kernel also finds alternative names (ip link property); the name proper counts here.
        Ok(_) => Ok(found.filter(|(_, name, _)| name == interface).map(|(index, _, facts)| (index, facts))),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a netdev can have this name (`dev_valid_name` in `net/core/dev.c`), without `%` that asks for a number.
pub(crate) fn is_name(name: &str) -> bool {
    (1..libc::IFNAMSIZ).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| matches!(b, b'/' | b':' | b'%' | b'\0') || b.is_ascii_whitespace() || b == 0x0b)
}

/// Index, name and facts from an `RTM_NEWLINK` or `RTM_DELLINK` message. `None` for messages of bridges about their ports,
/// which look alike but say nothing of the life of an interface (`AF_BRIDGE`).
fn parse(payload: &[u8]) -> Option<(u32, String, LinkFacts)> {
    let header = LinkHeader::parse(payload).ok()?;
    if u8::from(header.interface_family) != libc::AF_UNSPEC as u8 {
        return None;
    }
    let flags = header.flags.bits() as libc::c_int;
    let mut facts = LinkFacts {
        up: flags & libc::IFF_UP != 0,
        carrier: flags & libc::IFF_LOWER_UP != 0,
        mtu: 0,
        mac: None,
        link_type: header.link_layer_type.into(),
    };
    let mut name = None;
    for attribute in NlasIterator::new(payload.get(16..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => name = Some(String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default()).into_owned()),
            libc::IFLA_MTU => facts.mtu = u32::from_ne_bytes(*value.first_chunk()?),
            libc::IFLA_ADDRESS => facts.mac = <[u8; 6]>::try_from(value).ok().map(MacAddr),
            _ => {}
        }
    }
    Some((header.index, name?, facts))
}

/// Watches the interfaces of one namespace. The descriptor becomes readable when there may be changes.
pub struct LinkWatch {
    /// Where the kernel reports.
    events: Socket,
    /// Where all links are asked for.
    requests: Netlink,
    known: BTreeMap<u32, (String, LinkFacts)>,
    /// What is known may be incomplete: compare with what there is.
    stale: bool,
    netns: Option<String>,
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl LinkWatch {
    /// A watch of the namespace. The first [`LinkWatch::poll`] reports every interface there is.
    ///
    /// # Errors
    ///
    /// [`Error::Netns`] when the namespace cannot be entered, [`Error::Links`] when the sockets cannot be opened.
    pub fn open(netns: &Option<Netns>) -> Result<LinkWatch, Error> {
        LinkWatch::open_with(netns, 1 << 20)
    }

    fn open_with(netns: &Option<Netns>, queue: usize) -> Result<LinkWatch, Error> {
        let open = || {
            let mut events = Socket::new(NETLINK_ROUTE)?;
            events.bind_auto()?;
            events.set_rx_buf_sz(queue as libc::c_int)?;
            events.set_non_blocking(true)?;
            events.add_membership(libc::RTNLGRP_LINK)?;
            Ok((events, Netlink::open()?))
        };
        let (events, requests) =
            run_in(netns, open)?.map_err(|source| Error::Links { netns: name_of(netns), call: "open a netlink socket", source })?;
        Ok(LinkWatch { events, requests, known: BTreeMap::new(), stale: true, netns: name_of(netns) })
    }

    /// The namespace as it was given.
    pub fn netns(&self) -> Option<&str> {
        self.netns.as_deref()
    }

    /// Gives every change since the last call to `each`, oldest first. Changes that followed each other while the kernel's
    /// queue was full are reported as one. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Links`]; what was reported before is valid, and the next call compares everything anew.
    pub fn poll(&mut self, mut each: impl FnMut(LinkEvent)) -> Result<(), Error> {
        let netns = self.netns.clone();
        let failed = |call| move |source| Error::Links { netns, call, source };
        // Reports that wait are read to the end before anything is compared: they are older than the comparison, and those
        // that come during it are in the queue and are read next.
        if let Err(error) = self.read(&mut each) {
            self.stale = true;
            return Err(failed("read a report")(error));
        }
        if self.stale {
            self.compare(&mut each).map_err(failed("list the interfaces"))?;
            self.stale = false;
        }
        Ok(())
    }

    fn read(&mut self, each: &mut impl FnMut(LinkEvent)) -> io::Result<()> {
        loop {
            let datagram = match self.events.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(()),
                    Some(libc::EINTR) => continue,
                    Some(libc::ENOBUFS) => {
                        self.stale = true;
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            for message in Messages(&datagram) {
                let Some((index, name, facts)) = parse(message.payload()) else { continue };
                match message.message_type() {
                    libc::RTM_NEWLINK => self.present(index, name, facts, each),
                    libc::RTM_DELLINK => self.removed(index, each),
                    _ => {}
                }
            }
        }
    }

    fn compare(&mut self, each: &mut impl FnMut(LinkEvent)) -> io::Result<()> {
        // A listing is cut short by a change during it; each change is also reported, so a few attempts are enough.
        for _ in 0..16 {
            let mut listed = BTreeMap::new();
            let complete = self.requests.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP, |kind, payload| {
                if kind == libc::RTM_NEWLINK
                    && let Some((index, name, facts)) = parse(payload)
                {
                    listed.insert(index, (name, facts));
                }
            })?;
            if !complete {
                continue;
            }
            let gone: Vec<u32> = self.known.keys().filter(|index| !listed.contains_key(index)).copied().collect();
            gone.into_iter().for_each(|index| self.removed(index, each));
            listed.into_iter().for_each(|(index, (name, facts))| self.present(index, name, facts, each));
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EINTR))
    }

    fn present(&mut self, index: u32, name: String, facts: LinkFacts, each: &mut impl FnMut(LinkEvent)) {
        match self.known.get(&index) {
            Some((old, known)) if *old == name && *known == facts => return,
            Some((old, _)) if *old != name => each(LinkEvent { index, name: old.clone(), change: LinkChange::Removed }),
            _ => {}
        }
        self.known.insert(index, (name.clone(), facts.clone()));
        each(LinkEvent { index, name, change: LinkChange::Present(facts) });
    }

    fn removed(&mut self, index: u32, each: &mut impl FnMut(LinkEvent)) {
        if let Some((name, _)) = self.known.remove(&index) {
            each(LinkEvent { index, name, change: LinkChange::Removed });
        }
    }
}

impl std::fmt::Debug for LinkWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkWatch").field("netns", &self.netns).field("fd", &self.events.as_raw_fd()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_kernel_takes() {
        for name in ["eth0", "a", "veth-1.100", "fifteen-octets."] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "a:b", "a b", "tap%d", "sixteen-octets..", "a\nb", "a\u{b}b", "a\0"] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn messages_of_bridges_and_cut_messages_are_none() {
        let mut message = vec![0u8, 0, 1, 0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
        message.extend([7, 0, 3, 0, b'e', b'0', 0, 0]);
        message.extend([8, 0, 4, 0, 0xdc, 5, 0, 0]);
        let (index, name, facts) = parse(&message).unwrap();
        assert_eq!((index, name.as_str()), (9, "e0"));
        assert_eq!(facts, LinkFacts { up: true, carrier: true, mtu: 1500, mac: None, link_type: 1 });
        for cut in 0..message.len() {
            let _ = parse(&message[..cut]);
        }
        message[0] = libc::AF_BRIDGE as u8;
        assert_eq!(parse(&message), None);
    }
}
