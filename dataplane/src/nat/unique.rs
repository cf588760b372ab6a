//! The search for a tuple that no flow has yet, as Linux does it (`get_unique_tuple`, `nf_nat_l4proto_unique_tuple`).
//!
//! A tuple here is that of packets of the original direction as they leave; it is taken when the answers to it are.

use wire::ip_protocol;

use super::{Flows, Manip, NatRange};
use crate::conntrack::Tuple;
use crate::router::address::{Address, Family};

/// Ports that are tried one after the other from one random start (`NF_NAT_MAX_ATTEMPTS`).
const ATTEMPTS: u32 = 128;
/// With fewer attempts no further start is tried.
const ATTEMPTS_LEAST: u32 = 16;

/// What a port or identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A port of each end.
    Port,
    /// An identifier that both directions carry.
    Identifier,
    /// There is none.
    None,
}

impl Key {
    /// What packets with this tuple have.
    pub(super) const fn of(tuple: &Tuple) -> Key {
        match (tuple.family(), tuple.protocol) {
            (Family::V4, ip_protocol::ICMP) | (Family::V6, ip_protocol::ICMPV6) => Key::Identifier,
            (_, ip_protocol::TCP | ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::SCTP | ip_protocol::DCCP) => Key::Port,
            _ => Key::None,
        }
    }
}

/// The address of an end.
pub(super) const fn address(tuple: &Tuple, end: Manip) -> Address {
    match end {
        Manip::Source => tuple.source,
        Manip::Destination => tuple.destination,
    }
}

/// Sets the address of an end.
pub(super) fn set_address(tuple: &mut Tuple, end: Manip, address: Address) {
    match end {
        Manip::Source => tuple.source = address,
        Manip::Destination => tuple.destination = address,
    }
}

/// The port of an end, or the identifier.
pub(super) fn port(tuple: &Tuple, end: Manip) -> u16 {
    if end == Manip::Source || Key::of(tuple) == Key::Identifier { tuple.source_port } else { tuple.destination_port }
}

/// Sets the port of an end, or the identifier.
pub(super) fn set_port(tuple: &mut Tuple, end: Manip, port: u16) {
    if end == Manip::Source || Key::of(tuple) == Key::Identifier { tuple.source_port = port } else { tuple.destination_port = port }
}

/// Whether a flow has the answers to `tuple`. A tuple without answers is of no flow.
pub(super) fn is_used(flows: &impl Flows, tuple: &Tuple) -> bool {
    tuple.inverse().is_some_and(|reply| flows.is_taken(&reply))
}

/// What a rule asks of one packet: NETMAP is resolved, and what is open is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Lowest and highest address.
    pub(super) addresses: Option<(Address, Address)>,
    /// Lowest and highest port.
    pub(super) ports: Option<(u16, u16)>,
    /// The rule itself named the ports.
    pub(super) names_ports: bool,
    base_port: Option<u16>,
    pub(super) random: bool,
    persistent: bool,
}

impl Wanted {
    /// What `range` asks of a packet whose address to translate is `address`.
    pub(super) fn of(range: &NatRange, family: Family, address: Address) -> Wanted {
        let addresses = match (range.addresses, range.netmap) {
            (Some((network, _)), Some(len)) => {
                let host = Address::host_mask(family, len.min(family.bits()));
                let mapped = Address(network.0 & !host | address.0 & host);
                Some((mapped, mapped))
            }
            (addresses, _) => addresses.map(|(a, b)| (a.min(b), a.max(b))),
        };
        let ports = range.ports.map(|(a, b)| (a.min(b), a.max(b)));
        let NatRange { base_port, random, persistent, .. } = *range;
        Wanted { addresses, ports, names_ports: ports.is_some(), base_port, random, persistent }
    }

    /// Ports for a rule that names none.
    pub(super) fn default_ports(&mut self, ports: Option<(u16, u16)>) {
        self.ports = self.ports.or(ports);
    }

    /// Whether the rule may choose this address.
    pub(super) fn has_address(&self, address: Address) -> bool {
        self.addresses.is_none_or(|(low, high)| (low..=high).contains(&address))
    }

    /// Whether the rule may choose this port (`l4proto_in_range`).
    pub(super) fn has_port(&self, key: Key, port: u16) -> bool {
        key == Key::None || self.ports.is_none_or(|(low, high)| (low..=high).contains(&port))
    }

    /// The address for packets from `source` to `destination` (`find_best_ips_proto`): the same for the same two ends, and with
    /// `persistent` for the same source. `kept` is what it is without a rule.
    pub(super) fn pick_address(&self, tuple: &Tuple, persistent: bool, kept: Address) -> Address {
        let Some((low, high)) = self.addresses else { return kept };
        if low == high {
            return low;
        }
        let persistent = persistent || self.persistent;
        let words = |address: Address| match tuple.family() {
            Family::V4 => [address.0 as u32, 0, 0, 0],
            Family::V6 => [96, 64, 32, 0].map(|shift| (address.0 >> shift) as u32),
        };
        let (source, destination) = (words(tuple.source), words(tuple.destination));
        let (low, high) = (words(low), words(high));
        let last = if tuple.family() == Family::V4 { 0 } else { 3 };
        // The kernel hashes words in memory order, that of little-endian machines here.
        let seed = if persistent { 0 } else { destination[last].swap_bytes() ^ u32::from(tuple.zone) };
        let mut hash = jhash2(source.map(u32::swap_bytes), seed);
        let mut picked = [0; 4];
        let mut is_free = false;
        for at in 0..=last {
            let (least, span) = if is_free { (0, u32::MAX) } else { (low[at], (high[at].wrapping_sub(low[at])).wrapping_add(1)) };
            picked[at] = least.wrapping_add(((u64::from(hash) * u64::from(span)) >> 32) as u32);
            is_free |= picked[at] != high[at];
            if !persistent {
                hash ^= destination[at].swap_bytes();
            }
        }
        match tuple.family() {
            Family::V4 => Address(picked[0].into()),
            Family::V6 => Address(picked.into_iter().fold(0, |address, word| address << 32 | u128::from(word))),
        }
    }

    /// Ports that stand in for `port` where the rule names none (RFC 4787 REQ-3a): what is privileged stays so.
    pub(super) const fn class(key: Key, port: u16) -> (u16, u16) {
        match (key, port) {
            (Key::Identifier | Key::None, _) => (0, u16::MAX),
            (Key::Port, 0..512) => (1, 511),
            (Key::Port, 512..1024) => (600, 1023),
            (Key::Port, 1024..) => (1024, u16::MAX),
        }
    }

    /// The tuple that `current` becomes (`get_unique_tuple`). `former` is what another flow of the same source became. The
    /// destination may stay taken, as the source is moved then (see [`NatRange::NULL`]).
    pub(super) fn unique(
        &self,
        flows: &impl Flows,
        current: Tuple,
        manip: Manip,
        former: Option<(Address, u16)>,
        mut random: impl FnMut() -> u16,
    ) -> Option<Tuple> {
        let key = Key::of(&current);
        let mut tuple = current;
        if manip == Manip::Source && !self.random {
            if self.has_address(current.source) && self.has_port(key, current.source_port) {
                if !is_used(flows, &current) {
                    return Some(current);
                }
            } else if let Some((address, port)) = former {
                (tuple.source, tuple.source_port) = (address, port);
                if !is_used(flows, &tuple) {
                    return Some(tuple);
                }
                tuple = current;
            }
        }
        set_address(&mut tuple, manip, self.pick_address(&current, false, address(&current, manip)));
        if !self.random {
            match self.ports {
                Some((low, high)) => {
                    let fits = self.base_port.is_none() && self.has_port(key, port(&tuple, manip));
                    if fits && (low == high && manip == Manip::Destination || !is_used(flows, &tuple)) {
                        return Some(tuple);
                    }
                }
                None if !is_used(flows, &tuple) => return Some(tuple),
                None => {}
            }
        }
        self.unique_port(flows, tuple, manip, key, &mut random)
    }

    /// The last resort: another port (`nf_nat_l4proto_unique_tuple`).
    fn unique_port(&self, flows: &impl Flows, mut tuple: Tuple, manip: Manip, key: Key, random: &mut impl FnMut() -> u16) -> Option<Tuple> {
        let is_destination = manip == Manip::Destination;
        if key == Key::None || is_destination && key == Key::Port && self.ports.is_none() {
            return (is_destination || !is_used(flows, &tuple)).then_some(tuple);
        }
        let port = port(&tuple, manip);
        let (low, high) = self.ports.unwrap_or(Wanted::class(key, port));
        let start = match self.base_port {
            Some(base) => u32::from(port.wrapping_sub(base)),
            None if self.random || !is_destination => random().into(),
            None => 0,
        };
        let found = search((low, high), 1, start, random, |port| {
            set_port(&mut tuple, manip, port);
            !is_used(flows, &tuple)
        });
        (found.is_some() || is_destination).then_some(tuple)
    }
}

/// The first of the ports `low..=high`, from `start` on and `step` apart, that `is_free`. The whole of a large range is not
/// searched: [`ATTEMPTS`] ports, then half as many from a random start, and so on.
pub(super) fn search(
    (low, high): (u16, u16),
    step: u32,
    start: u32,
    random: &mut impl FnMut() -> u16,
    mut is_free: impl FnMut(u16) -> bool,
) -> Option<u16> {
    let size = (u32::from(high) - u32::from(low)) / step + 1;
    let (mut attempts, mut offset) = (size.min(ATTEMPTS), start);
    loop {
        for _ in 0..attempts {
            let port = low + (offset % size * step) as u16;
            if is_free(port) {
                return Some(port);
            }
            offset = offset.wrapping_add(1);
        }
        if attempts >= size || attempts < ATTEMPTS_LEAST {
            return None;
        }
        attempts /= 2;
        offset = random().into();
    }
}

/// Jenkins' hash of four words (`jhash2` in `include/linux/jhash.h`; public domain, Bob Jenkins, lookup3).
fn jhash2(words: [u32; 4], seed: u32) -> u32 {
    let mut a = 0xdead_beef_u32.wrapping_add(4 << 2).wrapping_add(seed);
    let (mut b, mut c) = (a, a);
    a = a.wrapping_add(words[0]);
    b = b.wrapping_add(words[1]);
    c = c.wrapping_add(words[2]);
    for (i, rotation) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
        // Each round mixes the three in turn: a with c, b with a, c with b.
        let (to, from, into) = match i % 3 {
            0 => (&mut a, &mut c, &mut b),
            1 => (&mut b, &mut a, &mut c),
            _ => (&mut c, &mut b, &mut a),
        };
        *to = to.wrapping_sub(*from) ^ from.rotate_left(rotation);
        *from = from.wrapping_add(*into);
    }
    a = a.wrapping_add(words[3]);
    for (i, rotation) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
        let (to, from) = match i % 3 {
            0 => (&mut c, b),
            1 => (&mut a, c),
            _ => (&mut b, a),
        };
        *to = (*to ^ from).wrapping_sub(from.rotate_left(rotation));
    }
    c
}
