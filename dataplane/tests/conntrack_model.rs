//! The table of connections against a `HashMap` that knows nothing of indexes, entries and locks: after any sequence of packets,
//! deletions, translations and waits they agree on every packet's state, and on the flows there are.
#![cfg(not(loom))]

mod flows;

use std::collections::HashMap;

use dataplane::burst::BurstMemory;
use dataplane::conntrack::{Conntrack, CtState, Direction, FlowInfo, Settings, Status, Tuple};
use flows::{at, datagram, pass, track};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const UNREPLIED: u64 = 30 * SECOND;
const STREAM: u64 = 120 * SECOND;
/// The table may keep a flow for two of its ticks too long, never too short.
const GRAIN: u64 = 2 << 20;

#[derive(Clone, Debug)]
enum Op {
    /// A packet of a client to the server.
    Ask {
        client: u8,
        port: u16,
    },
    /// The first packet of a client's flow is translated to this port.
    AskTranslated {
        client: u8,
        outside: u16,
    },
    /// A packet of the server to a client, or to a port outside.
    Answer {
        client: u8,
    },
    AnswerOutside {
        outside: u16,
    },
    /// A packet that is dropped on its way.
    AskInVain {
        client: u8,
    },
    Delete {
        client: u8,
    },
    Sweep,
    Flush,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (client, port, outside) = (0u8..12, 0u16..4, 1000u16..1006);
    prop_oneof![
        6 => (client.clone(), port).prop_map(|(client, port)| Op::Ask { client, port }),
        3 => (client.clone(), outside.clone()).prop_map(|(client, outside)| Op::AskTranslated { client, outside }),
        5 => client.clone().prop_map(|client| Op::Answer { client }),
        3 => outside.prop_map(|outside| Op::AnswerOutside { outside }),
        1 => client.clone().prop_map(|client| Op::AskInVain { client }),
        1 => client.prop_map(|client| Op::Delete { client }),
        1 => Just(Op::Sweep),
        1 => Just(Op::Flush),
        // Off the grain of the table's clock on purpose.
        4 => (1u64..50_000).prop_map(|millis| Op::Wait(millis * 1_000_003)),
    ]
}

const SERVER: (u32, u16) = (0xc000_0201, 53);
const GATEWAY: u32 = 0xc633_6401;

fn client(n: u8) -> (u32, u16) {
    (0x0a00_0000 + u32::from(n), 5000)
}

#[derive(Clone, Copy)]
struct Model {
    /// Where answers go.
    outside: (u32, u16),
    until: u64,
    /// From when on it counts as a stream.
    stream: u64,
    replied: bool,
    assured: bool,
}

#[derive(Default)]
struct World {
    flows: HashMap<(u32, u16), Model>,
    now: u64,
}

impl World {
    /// Near the moment a flow ends the table may differ by its grain.
    fn on_the_edge(&self) -> bool {
        self.flows.values().any(|flow| self.now >= flow.until && self.now < flow.until + GRAIN)
            || self.flows.values().any(|flow| self.now.abs_diff(flow.stream) < GRAIN)
    }

    fn forget(&mut self) {
        let now = self.now;
        self.flows.retain(|_, flow| flow.until > now);
    }

    fn refresh(&mut self, inside: (u32, u16)) {
        let now = self.now;
        let flow = self.flows.get_mut(&inside).expect("known");
        let stream = flow.replied && now > flow.stream;
        flow.until = now + if stream { STREAM } else { UNREPLIED };
        flow.assured |= stream;
    }
}

fn list(conntrack: &Conntrack, now: u64) -> Vec<FlowInfo> {
    let mut flows = Vec::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = conntrack.list(from, 5, now, |flow| flows.push(*flow));
    }
    flows
}

proptest! {
    #[test]
    fn it_agrees_with_a_map(ops in prop::collection::vec(op(), 1..120)) {
        let conntrack = Conntrack::new(64, 1);
        let settings = Settings::default();
        let mut memory = BurstMemory::new();
        let mut world = World { now: 5 * SECOND, ..World::default() };
        for op in ops {
            // What happens just when a flow ends is not compared: a little later it is.
            while world.on_the_edge() {
                world.now += GRAIN;
            }
            world.forget();
            let at = at(&settings, 0, 3, world.now);
            match op {
                Op::Ask { client: n, port } => {
                    // Other ports of the client are other flows.
                    let inside = (client(n).0, client(n).1 + port);
                    let tracking = pass(&conntrack, &at, &mut memory, &datagram(inside, SERVER)).unwrap();
                    let new = Model { outside: inside, until: 0, stream: world.now + 2 * SECOND, replied: false, assured: false };
                    let flow = *world.flows.entry(inside).or_insert(new);
                    prop_assert_eq!(tracking.state, if flow.replied { CtState::Established } else { CtState::New });
                    prop_assert_eq!(tracking.direction, Direction::Original);
                    world.refresh(inside);
                }
                Op::AskTranslated { client: n, outside } => {
                    let inside = client(n);
                    let mut tracking = track(&conntrack, &at, &mut memory, &datagram(inside, SERVER));
                    if let Some(flow) = world.flows.get(&inside) {
                        prop_assert!(tracking.new_flow().is_none());
                        prop_assert_eq!(tracking.reply.destination_port, flow.outside.1);
                    } else {
                        prop_assert!(tracking.new_flow().is_some());
                        let reply = Tuple { destination: dataplane::router::Address(GATEWAY.into()), destination_port: outside, ..tracking.reply };
                        let taken = world.flows.values().any(|flow| flow.outside == (GATEWAY, outside));
                        prop_assert_eq!(conntrack.is_taken(&at, &tracking, &reply), taken);
                        if taken {
                            continue;
                        }
                        tracking.reply = reply;
                        tracking.status.insert(Status(Status::SRC_NAT.0 | Status::SRC_NAT_DONE.0));
                        conntrack.confirm(&at, &mut tracking).unwrap();
                        let stream = world.now + 2 * SECOND;
                        world.flows.insert(inside, Model { outside: (GATEWAY, outside), until: 0, stream, replied: false, assured: false });
                    }
                    world.refresh(inside);
                }
                Op::Answer { client: n } => answer(&conntrack, &mut world, &at, &mut memory, client(n))?,
                Op::AnswerOutside { outside } => answer(&conntrack, &mut world, &at, &mut memory, (GATEWAY, outside))?,
                Op::AskInVain { client: n } => {
                    let known = world.flows.contains_key(&client(n));
                    let tracking = track(&conntrack, &at, &mut memory, &datagram(client(n), SERVER));
                    prop_assert_eq!(tracking.new_flow().is_none(), known);
                    if known {
                        world.refresh(client(n));
                    }
                }
                Op::Delete { client: n } => {
                    let tuple = |flow: &FlowInfo| (flow.original.source.0 as u32, flow.original.source_port);
                    let found = list(&conntrack, world.now).into_iter().find(|flow| tuple(flow) == client(n));
                    prop_assert_eq!(found.is_some(), world.flows.remove(&client(n)).is_some());
                    if let Some(flow) = found {
                        prop_assert!(conntrack.delete(flow.id, world.now));
                    }
                }
                Op::Sweep => {
                    conntrack.sweep(0, u32::MAX, world.now);
                    prop_assert_eq!(conntrack.count(), world.flows.len());
                }
                Op::Flush => {
                    prop_assert_eq!(conntrack.flush(None, world.now), world.flows.len());
                    world.flows.clear();
                }
                Op::Wait(nanos) => world.now += nanos,
            }
        }
        while world.on_the_edge() {
            world.now += GRAIN;
        }
        world.forget();
        let mut listed: Vec<_> = list(&conntrack, world.now)
            .iter()
            .map(|flow| {
                let inside = (flow.original.source.0 as u32, flow.original.source_port);
                (inside, (flow.reply.destination.0 as u32, flow.reply.destination_port), !flow.is_unreplied(), flow.is_assured())
            })
            .collect();
        let mut expected: Vec<_> = world.flows.iter().map(|(inside, flow)| (*inside, flow.outside, flow.replied, flow.assured)).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(listed, expected);
        conntrack.sweep(0, u32::MAX, world.now);
        prop_assert_eq!(conntrack.count(), world.flows.len());
        prop_assert_eq!(conntrack.quota(dataplane::PortId(3)).0 as usize, world.flows.len());
    }
}

/// The server sends to where answers go; what belongs to no flow is dropped unconfirmed.
fn answer(
    conntrack: &Conntrack,
    world: &mut World,
    at: &dataplane::conntrack::At<'_>,
    memory: &mut BurstMemory,
    to: (u32, u16),
) -> Result<(), TestCaseError> {
    let inside = world.flows.iter().find(|(_, flow)| flow.outside == to).map(|(inside, _)| *inside);
    let tracking = track(conntrack, at, memory, &datagram(SERVER, to));
    match inside {
        Some(inside) => {
            prop_assert_eq!((tracking.state, tracking.direction), (CtState::Established, Direction::Reply));
            prop_assert_eq!(tracking.original.source_port, inside.1);
            // The first answer comes before the flow counts as answered.
            world.refresh(inside);
            world.flows.get_mut(&inside).expect("known").replied = true;
        }
        None => prop_assert_eq!((tracking.state, tracking.direction), (CtState::New, Direction::Original)),
    }
    Ok(())
}
