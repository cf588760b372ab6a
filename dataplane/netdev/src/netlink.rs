//! Requests to the kernel's routing netlink, synchronous: answered before the call returns.
//!
//! Only the attributes that are needed are decoded, so that a newer kernel with attributes of another shape cannot make an
//! interface unreadable.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use wire::MacAddr;

/// `NLM_F_DUMP_INTR`: links changed while they were listed (`include/uapi/linux/netlink.h`).
const DUMP_INTERRUPTED: u16 = 0x10;

/// A connection to the routing netlink of one namespace.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// A connection in the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends `message` and gives every answer (type and payload) to `each` until the kernel says it is done. `Ok(false)`: a
    /// listing that was interrupted by a change and is not complete.
    pub(crate) fn request(&mut self, message: RouteNetlinkMessage, flags: u16, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        let mut complete = true;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in Messages(&datagram) {
                if message.sequence_number() != self.sequence {
                    continue; // the rest of an answer that an earlier request gave up
                }
                complete &= message.flags() & DUMP_INTERRUPTED == 0;
                match i32::from(message.message_type()) {
                    libc::NLMSG_ERROR => match error_code(message.payload()) {
                        0 => return Ok(complete),
                        code => return Err(io::Error::from_raw_os_error(-code)),
                    },
                    libc::NLMSG_DONE => return Ok(complete),
                    _ => each(message.message_type(), message.payload()),
                }
            }
        }
    }

    /// The IP addresses of an interface with the length of their prefix, those that are in doubt (tentative, failed duplicate
    /// detection) left out.
    pub(crate) fn addresses(&mut self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        let mut addresses = Vec::new();
        self.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP, |kind, payload| {
            if kind == libc::RTM_NEWADDR {
                addresses.extend(address(index, payload));
            }
        })?;
        Ok(addresses)
    }

    /// Gives the interface a MAC address and an MTU where they are given, and sets it up or down.
    pub(crate) fn configure(&mut self, index: u32, mac: Option<MacAddr>, mtu: Option<u32>, up: bool) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.change_mask = LinkFlags::Up;
        link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        link.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.into())));
        link.attributes.extend(mtu.map(LinkAttribute::Mtu));
        self.request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK, |_, _| {}).map(drop)
    }
}

/// What a message says, if it is about this interface (`struct ifaddrmsg` and attributes).
fn address(index: u32, payload: &[u8]) -> Option<(IpAddr, u8)> {
    let header = payload.first_chunk::<8>()?;
    let doubtful = (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) as u8;
    if u32::from_ne_bytes([header[4], header[5], header[6], header[7]]) != index || header[2] & doubtful != 0 {
        return None;
    }
    // On a point-to-point interface IFA_ADDRESS is the other end; IFA_LOCAL, where there is one, is always ours.
    let mut found = (None, None);
    for attribute in NlasIterator::new(&payload[8..]) {
        let attribute = attribute.ok()?;
        let ip = || match *attribute.value() {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
            ref octets => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        };
        match attribute.kind() {
            libc::IFA_LOCAL => found.0 = ip(),
            libc::IFA_ADDRESS => found.1 = ip(),
            _ => {}
        }
    }
    Some((found.0.or(found.1)?, header[1]))
}

fn error_code(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code))
}

/// The messages of one datagram; ends at the first that is cut.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<NetlinkBuffer<&'a [u8]>> {
        let octets = self.0;
        let whole = NetlinkBuffer::new_checked(octets).ok()?;
        let len = (whole.length() as usize).max(16);
        let message = NetlinkBuffer::new_checked(octets.get(..len)?).ok()?;
        self.0 = octets.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_and_a_cut_one_ends_the_list() {
        let message = |len: u32| [&len.to_ne_bytes()[..], &[0; 12], &[7; 5]].concat();
        let mut two = message(21);
        two.extend([0; 3]); // alignment
        two.extend(message(21));
        assert_eq!(Messages(&two).map(|m| m.payload().to_vec()).collect::<Vec<_>>(), [[7; 5], [7; 5]]);
        for cut in 0..two.len() {
            assert_eq!(Messages(&two[..cut]).count(), usize::from(cut >= 21), "{cut}");
        }
        for len in [0, 1, 15, 22, u32::MAX] {
            assert_eq!(Messages(&message(len)).count(), 0, "{len}");
        }
    }
}
