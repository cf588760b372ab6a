//! The address table against a `HashMap` that has all the room in the world: as long as nothing had to be pushed out, they
//! agree after any sequence of operations, and the counts per port are those of the entries.

use std::collections::HashMap;

use dataplane::fdb::{Entry, EntryKind, Fdb, FlushFilter, Learned, Learner};
use dataplane::snapshot::PortId;
use proptest::prelude::*;
use wire::{MacAddr, VlanId};

const AGEING: u32 = 50;

#[derive(Clone, Debug)]
enum Op {
    Learn { mac: u8, vlan: u16, port: u16, sticky: bool },
    Insert { mac: u8, vlan: u16, port: u16 },
    Remove { mac: u8, vlan: u16 },
    FlushPort(u16),
    FlushVlan(u16),
    Sweep,
    Wait(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let (mac, vlan, port) = (0u8..40, 0u16..3, 0u16..4);
    prop_oneof![
        8 => (mac.clone(), vlan.clone(), port.clone(), proptest::bool::weighted(0.1))
            .prop_map(|(mac, vlan, port, sticky)| Op::Learn { mac, vlan, port, sticky }),
        1 => (mac.clone(), vlan.clone(), port.clone()).prop_map(|(mac, vlan, port)| Op::Insert { mac, vlan, port }),
        1 => (mac, vlan.clone()).prop_map(|(mac, vlan)| Op::Remove { mac, vlan }),
        1 => port.prop_map(Op::FlushPort),
        1 => vlan.prop_map(Op::FlushVlan),
        1 => Just(Op::Sweep),
        2 => (1u32..60).prop_map(Op::Wait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    port: u16,
    kind: EntryKind,
    seen: u32,
}

impl Model {
    fn alive(&self, now: u32) -> bool {
        !self.kind.ages() || now - self.seen <= AGEING
    }
}

fn mac(n: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, n])
}

fn vid(n: u16) -> VlanId {
    VlanId::new(n).unwrap()
}

fn list(fdb: &Fdb) -> Vec<Entry> {
    let mut listed = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        let max = listed.len() + 100;
        cursor = fdb.list(at, max, &mut listed);
    }
    listed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_behaves_as_a_map(ops in proptest::collection::vec(op(), 1..300)) {
        // 120 addresses among 1024 slots: nothing is pushed out.
        let fdb = Fdb::new(1024);
        let mut model: HashMap<(u8, u16), Model> = HashMap::new();
        let mut now = 10;
        for op in ops {
            match op {
                Op::Learn { mac: m, vlan, port, sticky } => {
                    let kind = if sticky { EntryKind::Sticky } else { EntryKind::Learned };
                    let learner = Learner { port: PortId(port), limit: u32::MAX, kind, now, ageing: AGEING };
                    let got = fdb.learn(fdb.place(mac(m).to_u64(), vid(vlan)), &learner);
                    let known = model.get(&(m, vlan)).copied().filter(|entry| entry.alive(now));
                    let expected = match known {
                        None => Learned::New,
                        Some(entry) if entry.port == port => Learned::Known,
                        Some(entry) if entry.kind == EntryKind::Learned => Learned::Moved(PortId(entry.port)),
                        Some(_) => Learned::Conflict,
                    };
                    prop_assert_eq!(got, expected);
                    match expected {
                        Learned::New | Learned::Moved(_) => {
                            model.insert((m, vlan), Model { port, kind, seen: now });
                        }
                        Learned::Known => {
                            let entry = model.get_mut(&(m, vlan)).unwrap();
                            if entry.kind.ages() {
                                entry.seen = now;
                            }
                        }
                        _ => {}
                    }
                }
                Op::Insert { mac: m, vlan, port } => {
                    prop_assert!(fdb.insert(mac(m), vid(vlan), PortId(port), EntryKind::Static, now));
                    model.insert((m, vlan), Model { port, kind: EntryKind::Static, seen: now });
                }
                Op::Remove { mac: m, vlan } => {
                    let removed = fdb.remove(mac(m), vid(vlan)).map(|entry| entry.port.0);
                    let expected = model.remove(&(m, vlan));
                    // The slot of an expired entry may have been used for another address already.
                    if removed.is_some() || expected.is_some_and(|entry| entry.alive(now)) {
                        prop_assert_eq!(removed, expected.map(|entry| entry.port));
                    }
                }
                Op::FlushPort(port) => {
                    fdb.flush(FlushFilter { port: Some(PortId(port)), ..FlushFilter::default() });
                    model.retain(|_, entry| entry.port != port || !entry.kind.ages());
                }
                Op::FlushVlan(vlan) => {
                    fdb.flush(FlushFilter { vlan: Some(vid(vlan)), all_kinds: true, ..FlushFilter::default() });
                    model.retain(|(_, v), _| *v != vlan);
                }
                Op::Sweep => {
                    let mut cursor = Some(0);
                    while let Some(at) = cursor {
                        cursor = fdb.sweep(at, 100, now, AGEING);
                    }
                    model.retain(|_, entry| entry.alive(now));
                }
                Op::Wait(ticks) => now += ticks,
            }
            let listed = list(&fdb);
            for port in 0..4 {
                prop_assert_eq!(fdb.port_len(PortId(port)), listed.iter().filter(|entry| entry.port.0 == port).count());
            }
            prop_assert_eq!(fdb.len(), listed.len());
        }
        for m in 0..40 {
            for vlan in 0..3 {
                let expected = model.get(&(m, vlan)).filter(|entry| entry.alive(now)).map(|entry| PortId(entry.port));
                prop_assert_eq!(fdb.lookup(fdb.place(mac(m).to_u64(), vid(vlan)), now, AGEING), expected);
            }
        }
        let listed = list(&fdb);
        let alive = model.values().filter(|entry| entry.alive(now)).count();
        prop_assert!((alive..=model.len()).contains(&listed.len()));
        for entry in listed {
            let expected = model[&(entry.mac.0[5], entry.vlan.get())];
            prop_assert_eq!((entry.port.0, entry.kind, entry.seen), (expected.port, expected.kind, expected.seen));
        }
    }
}
