//! Plays a script at a system: what came out after each step.

use std::time::Instant;

use crate::describe::{Id, Names, describe, headers, icmp_error};
use crate::explained::{is_explained, is_spoofed};
use crate::packet::{self, Ends};
use crate::place::{Family, Side};
use crate::rule_sets::RuleSet;
use crate::script::{Flow, Quote, Script, Step, Way};
use crate::system::System;

/// What a system did with a script.
pub(crate) struct Played {
    /// The packets that came out, per step, in words.
    pub(crate) fates: Vec<Vec<String>>,
    pub(crate) names: Names,
    /// When the last step was done.
    pub(crate) ended: Instant,
}

/// A packet as it arrived.
#[derive(Clone)]
struct Arrival {
    side: Side,
    ends: Ends,
    octets: Vec<u8>,
}

/// Plays a script with the hosts of a slot.
pub(crate) fn play(system: &mut dyn System, script: &Script, rules: &RuleSet, slot: u16) -> Played {
    let mut names = Names::new(slot, script.ports(), rules.ranges.clone());
    // What arrived last at the other end, for both ways of each flow.
    let mut arrived: Vec<[Option<Arrival>; 2]> = vec![[None, None]; script.flows.len()];
    let mut fates = Vec::new();
    for step in &script.steps {
        let flow = &script.flows[step.flow()];
        if is_spoofed(step, flow, arrived[step.flow()][Way::Original as usize].is_some(), script.family) {
            fates.push(Vec::new());
            continue;
        }
        let (side, octets, id) = make(step, flow, &arrived[step.flow()], script.family, slot);
        let sent = headers(&octets);
        if sent.as_ref().is_some_and(|sent| is_explained(step, sent, rules)) {
            fates.push(Vec::new());
            continue;
        }
        let answer = sent.as_ref().map(|sent| (sent.ends.destination, sent.ends.source));
        let out = system.exchange(side, &octets);
        if let (Step::Packet { flow, way, .. }, Some(sent)) = (step, sent) {
            let arrival = out.iter().find_map(|(side, octets)| {
                let now = headers(octets)?;
                // An answer of the router goes back; what goes on is the packet.
                let is_answer = now.ends == sent.ends.reversed() || icmp_error(octets, &now).is_some();
                (now.protocol == sent.protocol && !is_answer && !now.is_later_fragment).then(|| Arrival {
                    side: *side,
                    ends: now.ends,
                    octets: octets.clone(),
                })
            });
            if arrival.is_some() {
                arrived[*flow][*way as usize] = arrival;
            }
        }
        let describe = |(side, octets): &(Side, Vec<u8>)| {
            // An error that the router sends back may have a source that its rules translated to.
            let is_answer = headers(octets).zip(answer).is_some_and(|(now, (destination, source))| {
                now.ends.destination == source && (now.ends.source == destination || icmp_error(octets, &now).is_some())
            });
            let id = if is_answer { Id::Any } else { Id::Of(id) };
            format!("{}: {}", side.interface(), describe(octets, id, &mut names))
        };
        fates.push(joined(out).iter().map(describe).collect());
    }
    Played { fates, names, ended: Instant::now() }
}

/// With runs of IPv6 fragments put together. Where a router cuts a packet is its choice: ours cannot put the fragment header into the
/// memory of a frame's head when that is full, and makes the first fragment a short one.
fn joined(out: Vec<(Side, Vec<u8>)>) -> Vec<(Side, Vec<u8>)> {
    let mut joined: Vec<(Side, Vec<u8>)> = Vec::new();
    let mut following: Option<(Side, Vec<u8>, usize)> = None;
    for (side, octets) in out {
        let Some((at, place)) = fragment_header(&octets) else {
            following = None;
            joined.push((side, octets));
            continue;
        };
        let (offset, more) = (usize::from(place & !7), place & 1 != 0);
        let len = octets.len() - at - 8;
        let key = octets[at + 4..at + 8].to_vec();
        match (&following, joined.last_mut()) {
            (Some((last, of, end)), Some((_, whole))) if (*last, of, *end) == (side, &key, offset) && offset > 0 => {
                whole.extend(&octets[at + 8..]);
                let payload = (whole.len() - 40) as u16;
                whole[4..6].copy_from_slice(&payload.to_be_bytes());
                if !more {
                    whole[at + 3] &= !1;
                }
            }
            _ => joined.push((side, octets)),
        }
        following = more.then_some((side, key, offset + len));
    }
    joined
}

/// Where the fragment header of an IPv6 packet is, and what it says of the place.
fn fragment_header(octets: &[u8]) -> Option<(usize, u16)> {
    if octets.len() < 40 || octets[0] >> 4 != 6 {
        return None;
    }
    let (mut next, mut at) = (octets[6], 40);
    while matches!(next, 0 | 43 | 60) {
        (next, at) = (*octets.get(at)?, at + (usize::from(*octets.get(at + 1)?) + 1) * 8);
    }
    (next == 44 && octets.len() >= at + 8).then(|| (at, u16::from_be_bytes([octets[at + 2], octets[at + 3]])))
}

/// The packet of a step, where it comes in, and its IP identification.
fn make(step: &Step, flow: &Flow, arrived: &[Option<Arrival>; 2], family: Family, slot: u16) -> (Side, Vec<u8>, u16) {
    let original = Ends {
        source: flow.from.address(family, slot),
        source_port: flow.from_port,
        destination: flow.to.address(family, slot),
        destination_port: flow.to_port,
    };
    match step {
        Step::Packet { way, ip, upper, piece, damage, .. } => {
            let (side, ends) = match (way, &arrived[Way::Original as usize]) {
                (Way::Original, _) => (flow.enters, original),
                (Way::Reply, Some(arrival)) => (arrival.side, arrival.ends.reversed()),
                (Way::Reply, None) => (flow.to.side(), original.reversed()),
            };
            let protocol = upper.protocol(family == Family::V6);
            let mut octets = packet::ip(ends, protocol, ip, *piece, &upper.octets(ends));
            if let Some(damage) = damage {
                packet::damage(&mut octets, protocol, *damage);
            }
            (side, octets, ip.id)
        }
        Step::Error { about, by, kind, code, rest, quote, .. } => {
            let arrival = arrived[*about as usize].clone().unwrap_or_else(|| {
                // Nothing arrived: quote what might have.
                let (ends, side) =
                    if *about == Way::Original { (original, flow.to.side()) } else { (original.reversed(), flow.from.side()) };
                let upper = packet::Upper::Udp { len: 20, checksum: true };
                let octets = packet::ip(ends, packet::UDP, &packet::Ip::default(), None, &upper.octets(ends));
                Arrival { side, ends, octets }
            });
            let mut quotation = arrival.octets;
            quotation.truncate(if family == Family::V4 { 548 } else { 1232 });
            let upper = packet::upper_at(&quotation).min(quotation.len());
            let mut damaged_sum = false;
            match quote {
                Quote::Last => {}
                Quote::UnknownFlow => {
                    // Added, so that the checksum is off by the same whatever port a NAT chose.
                    if let Some([high, low]) = quotation.get_mut(upper..upper + 2) {
                        [*high, *low] = u16::from_be_bytes([*high, *low]).wrapping_add(0x40).to_be_bytes();
                    }
                }
                Quote::Short(len) => quotation.truncate(upper + usize::from(*len)),
                Quote::BadChecksum => damaged_sum = true,
                Quote::OfError => {
                    let inner = packet::icmp_error(arrival.ends, *kind, *code, *rest, &quotation);
                    let protocol = if family == Family::V4 { packet::ICMP } else { packet::ICMPV6 };
                    quotation = packet::ip(arrival.ends, protocol, &packet::Ip::default(), None, &inner);
                    quotation.truncate(if family == Family::V4 { 548 } else { 1232 });
                }
            }
            let source = by.map_or(arrival.ends.destination, |host| host.address(family, slot));
            let ends = Ends { source, destination: arrival.ends.source, source_port: 0, destination_port: 0 };
            let mut error = packet::icmp_error(ends, *kind, *code, *rest, &quotation);
            if damaged_sum {
                packet::shift_checksum(&mut error[2..]);
            }
            let header = packet::Ip::default();
            let protocol = if family == Family::V4 { packet::ICMP } else { packet::ICMPV6 };
            (arrival.side, packet::ip(ends, protocol, &header, None, &error), header.id)
        }
    }
}
