//! Plays a script at a system: what came out after each step.

use std::time::Instant;

use crate::describe::{Names, describe, headers, icmp_error};
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
        let (side, octets, id) = make(step, flow, &arrived[step.flow()], script.family, slot);
        let sent = headers(&octets);
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
        fates.push(out.iter().map(|(side, octets)| format!("{}: {}", side.interface(), describe(octets, id, &mut names))).collect());
    }
    Played { fates, names, ended: Instant::now() }
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
            let upper = if family == Family::V4 { usize::from(quotation[0] & 15) * 4 } else { 40 };
            let mut damaged_sum = false;
            match quote {
                Quote::Last => {}
                Quote::UnknownFlow => {
                    if let Some(port) = quotation.get_mut(upper + 1) {
                        *port ^= 0x40;
                    }
                }
                Quote::Short(len) => quotation.truncate(upper + usize::from(*len)),
                Quote::BadHeader => quotation[if family == Family::V4 { 10 } else { 0 }] ^= 0x11,
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
