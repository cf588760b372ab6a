//! Which rules of a chain a packet can match at all, without asking each (tuple space search, Srinivasan, Suri and Varghese,
//! SIGCOMM 1999).
//!
//! Each rule says something of some fields: a prefix of the source, a port, a protocol. Rules that say it of the same bits
//! are in one hash table, under what they say. A packet is looked up once in each of these tables; what it finds there are
//! all rules that can match, in order. A chain with too many kinds of rules has them told apart by fewer bits.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

use arrayvec::ArrayVec;

use super::matches::{Match, PortRange, Ports, Test};
use crate::router::packet::{Packet, Upper};
use crate::router::{Family, InterfaceId};

/// Tables of a chain at most.
const TABLES_MAX: usize = 16;
/// Rules from which on a chain has tables.
const RULES_MIN: usize = 16;
/// Stands for no interface; no interface has this number.
const NO_INTERFACE: u8 = u8::MAX;

/// Values of the fields that rules are told apart by, or the bits of them that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    source: u128,
    destination: u128,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    in_interface: u8,
    out_interface: u8,
}

impl Key {
    /// That of a packet.
    pub(super) fn of(packet: &Packet, in_interface: Option<InterfaceId>, out_interface: Option<InterfaceId>) -> Key {
        let (source_port, destination_port) = match packet.upper {
            Upper::Ports { source, destination, .. } => (source, destination),
            Upper::Icmp { .. } | Upper::Other | Upper::Cut => (0, 0),
        };
        Key {
            source: packet.source.0,
            destination: packet.destination.0,
            source_port,
            destination_port,
            protocol: packet.protocol,
            in_interface: in_interface.map_or(NO_INTERFACE, |id| id.0),
            out_interface: out_interface.map_or(NO_INTERFACE, |id| id.0),
        }
    }

    fn and(&self, mask: &Key) -> Key {
        Key {
            source: self.source & mask.source,
            destination: self.destination & mask.destination,
            source_port: self.source_port & mask.source_port,
            destination_port: self.destination_port & mask.destination_port,
            protocol: self.protocol & mask.protocol,
            in_interface: self.in_interface & mask.in_interface,
            out_interface: self.out_interface & mask.out_interface,
        }
    }
}

/// What a rule says of the fields: the bits it counts, and the values one of which they must have.
#[derive(Clone, Debug)]
struct Signature {
    mask: Key,
    values: Vec<Key>,
}

impl Signature {
    fn of(matches: &[Match]) -> Signature {
        let (mut mask, mut value) = (Key::default(), Key::default());
        let mut ports: Option<(bool, &[PortRange])> = None;
        for test in matches.iter().filter(|m| !m.invert).map(|m| &m.test) {
            match test {
                Test::Protocol(protocol) => (mask.protocol, value.protocol) = (u8::MAX, *protocol),
                Test::Source(network) => (mask.source, value.source) = (network.mask, network.address.0),
                Test::Destination(network) => (mask.destination, value.destination) = (network.mask, network.address.0),
                Test::SourceRange(first, last) => {
                    mask.source = common_prefix(first.0, last.0);
                    value.source = first.0 & mask.source;
                }
                Test::DestinationRange(first, last) => {
                    mask.destination = common_prefix(first.0, last.0);
                    value.destination = first.0 & mask.destination;
                }
                Test::InInterface(set) => {
                    if let Some(id) = set.single() {
                        (mask.in_interface, value.in_interface) = (u8::MAX, id.0);
                    }
                }
                Test::OutInterface(set) => {
                    if let Some(id) = set.single() {
                        (mask.out_interface, value.out_interface) = (u8::MAX, id.0);
                    }
                }
                Test::Ports(Ports::Source(range)) => {
                    mask.source_port = common_prefix(range.first.into(), range.last.into()) as u16;
                    value.source_port = range.first & mask.source_port;
                }
                Test::Ports(Ports::Destination(range)) => {
                    mask.destination_port = common_prefix(range.first.into(), range.last.into()) as u16;
                    value.destination_port = range.first & mask.destination_port;
                }
                Test::Ports(Ports::MultiSource(ranges)) => ports = Some((true, ranges)),
                Test::Ports(Ports::MultiDestination(ranges)) => ports = Some((false, ranges)),
                _ => {}
            }
        }
        let mut values = vec![value];
        // A list of single ports puts the rule into the table once for each.
        if let Some((is_source, ranges)) = ports.filter(|(_, ranges)| ranges.iter().all(|range| range.first == range.last)) {
            let with = |range: &PortRange| match is_source {
                true => Key { source_port: range.first, ..value },
                false => Key { destination_port: range.first, ..value },
            };
            values = ranges.iter().map(with).collect();
            *(if is_source { &mut mask.source_port } else { &mut mask.destination_port }) = u16::MAX;
        }
        Signature { mask, values }
    }

    /// The mask with fewer different values the higher the level; the same at level 0, a single field at [`LEVEL_LAST`].
    fn coarse_mask(&self, family: Family, level: u32) -> Key {
        let prefix = |mask: u128, grain: u32| {
            let bits = u32::from(family.bits());
            let len = (mask << (128 - bits)).leading_ones() / grain * grain;
            if len == 0 { 0 } else { u128::MAX << (bits - len) & (u128::MAX >> (128 - bits)) }
        };
        let exact = |mask: u16| if mask == u16::MAX { mask } else { 0 };
        let grain = match family {
            Family::V4 => 8,
            Family::V6 => 32,
        };
        let mask = &self.mask;
        let mut coarse = Key {
            source: prefix(mask.source, grain),
            destination: prefix(mask.destination, grain),
            source_port: exact(mask.source_port),
            destination_port: exact(mask.destination_port),
            ..*mask
        };
        match level {
            0 => return *mask,
            1 => {}
            2 => {
                (coarse.in_interface, coarse.out_interface) = (0, 0);
                (coarse.source, coarse.destination) = (prefix(coarse.source, 2 * grain), prefix(coarse.destination, 2 * grain));
            }
            _ => {
                let only = Key::default();
                coarse = if coarse.destination.count_ones() > 16 || coarse.destination != 0 && coarse.source == 0 {
                    Key { destination: coarse.destination, ..only }
                } else if coarse.source != 0 {
                    Key { source: coarse.source, ..only }
                } else if coarse.destination_port != 0 {
                    Key { destination_port: coarse.destination_port, ..only }
                } else if coarse.source_port != 0 {
                    Key { source_port: coarse.source_port, ..only }
                } else {
                    Key { protocol: coarse.protocol, ..only }
                }
            }
        }
        coarse
    }
}

const LEVEL_LAST: u32 = 3;

/// The bits that all numbers from `first` to `last` share, from the highest on.
fn common_prefix(first: u128, last: u128) -> u128 {
    let differing = first ^ last;
    if differing == 0 { u128::MAX } else { !(u128::MAX >> differing.leading_zeros()) }
}

/// Where rules of a chain are found.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Rules at the beginning of the chain that say nothing of the fields: asked one by one, before any lookup.
    linear: u32,
    tables: Box<[Table]>,
}

#[derive(Debug)]
struct Table {
    mask: Key,
    rules: HashMap<Key, Box<[u32]>, BuildHasherDefault<Mix>>,
}

impl Index {
    /// An index of a chain whose rules have these matches; of each rule only those that hold for all packets of a flow or
    /// for none, and that may be asked in any order.
    pub(super) fn new(family: Family, rules: &[&[Match]]) -> Index {
        if rules.len() < RULES_MIN {
            return Index { linear: rules.len() as u32, tables: Box::default() };
        }
        let signatures: Vec<Signature> = rules.iter().map(|matches| Signature::of(matches)).collect();
        let linear = signatures.iter().take_while(|signature| signature.mask == Key::default()).count();
        let masks = |level| {
            let mut masks: Vec<Key> = Vec::new();
            for signature in &signatures[linear..] {
                let mask = signature.coarse_mask(family, level);
                if !masks.contains(&mask) {
                    masks.push(mask);
                }
                if masks.len() > TABLES_MAX {
                    return None;
                }
            }
            Some(masks)
        };
        let (level, masks) = (0..=LEVEL_LAST).find_map(|level| Some((level, masks(level)?))).expect("a field has few lengths");
        let mut tables: Vec<HashMap<Key, Vec<u32>, BuildHasherDefault<Mix>>> = vec![HashMap::default(); masks.len()];
        for (i, signature) in signatures.iter().enumerate().skip(linear) {
            let mask = signature.coarse_mask(family, level);
            let table = masks.iter().position(|m| *m == mask).expect("collected from the same rules");
            for value in &signature.values {
                let bucket = tables[table].entry(value.and(&mask)).or_default();
                if bucket.last() != Some(&(i as u32)) {
                    bucket.push(i as u32);
                }
            }
        }
        let freeze = |(mask, rules): (Key, HashMap<Key, Vec<u32>, _>)| Table {
            mask,
            rules: rules.into_iter().map(|(key, bucket)| (key, bucket.into())).collect(),
        };
        Index { linear: linear as u32, tables: masks.into_iter().zip(tables).map(freeze).collect() }
    }
}

/// The rules of a chain that a packet can match, in order. Numbers count from the first rule of the chain.
pub(super) struct Candidates<'s> {
    index: &'s Index,
    next: u32,
    found: Option<ArrayVec<&'s [u32], TABLES_MAX>>,
}

impl<'s> Candidates<'s> {
    /// From rule number `from` on.
    #[inline]
    pub(super) fn new(index: &'s Index, from: u32) -> Candidates<'s> {
        Candidates { index, next: from, found: None }
    }

    /// The next one, for a packet with this key.
    #[inline]
    pub(super) fn next(&mut self, key: &Key) -> Option<u32> {
        if self.next < self.index.linear {
            self.next += 1;
            return Some(self.next - 1);
        }
        if self.index.tables.is_empty() { None } else { self.next_found(key) }
    }

    fn next_found(&mut self, key: &Key) -> Option<u32> {
        let (index, next) = (self.index, self.next);
        let found = self.found.get_or_insert_with(|| {
            let buckets = index.tables.iter().filter_map(|table| table.rules.get(&key.and(&table.mask)));
            buckets.map(|bucket| &bucket[bucket.partition_point(|rule| *rule < next)..]).filter(|rest| !rest.is_empty()).collect()
        });
        let first = found.iter_mut().min_by_key(|rest| rest[0])?;
        let rule = first[0];
        *first = &first[1..];
        if first.is_empty() {
            found.retain(|rest| !rest.is_empty());
        }
        Some(rule)
    }
}

/// Multiplies and folds. What is in the tables is the administrator's, so a sender gains nothing from collisions: looking a key
/// up that is not there costs what is near its place.
#[derive(Debug, Default)]
struct Mix(u64);

impl Mix {
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.mix((*octet).into()));
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.mix(n.into());
    }

    fn write_u128(&mut self, n: u128) {
        self.mix(n as u64);
        self.mix((n >> 64) as u64);
    }
}
