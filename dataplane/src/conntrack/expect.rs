//! Flows that others announce (`net/netfilter/nf_conntrack_expect.c`), such as the data connections of FTP.
//!
//! A flow announces at most one at a time (`max_expected`): the next takes the place of the last. They are few and live
//! for minutes, so they sit in a map behind one lock, which only new flows ask, and only while there are any.

use std::collections::HashMap;

use super::flow::{ExpectedNat, NewFlow};
use super::{At, ConnId, Conntrack, FlowRef, HelperKind, Status, Tracking, Tuple};
use crate::clock::Nanos;
use crate::router::address::Address;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Flows that are expected at the same time (Linux `nf_conntrack_expect_max`).
const MAX: usize = 1024;

/// A flow that another one announced (`struct nf_conntrack_expect`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The tuple of its first packet.
    pub tuple: Tuple,
    /// Its source address may be any.
    pub any_source: bool,
    /// Its source port may be any.
    pub any_source_port: bool,
    /// The helper that will look into it.
    pub helper: Option<HelperKind>,
    /// For how long it is expected.
    pub timeout: Nanos,
    /// How it is translated, if the flow that announces it is.
    pub nat: Option<ExpectedNat>,
}

/// Why a flow is not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectError {
    /// Too many flows are expected.
    Full,
    /// Another flow expects the same.
    Clash,
    /// The packet that announces it belongs to no flow.
    NoMaster,
}

/// An expected flow, as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectationInfo {
    /// What is expected.
    pub expectation: Expectation,
    /// The first packet of the flow that announced it.
    pub master: Tuple,
    /// Nanoseconds until it is no longer.
    pub timeout: Nanos,
}

#[derive(Clone, Copy)]
struct Expected {
    expectation: Expectation,
    master: Tuple,
    /// `None` for one that was not in the table then.
    id: Option<ConnId>,
    mark: u32,
    until: Nanos,
}

#[derive(Default)]
pub(super) struct Expectations {
    count: AtomicUsize,
    map: Mutex<HashMap<Tuple, Expected>>,
}

/// The tuple with what may be any left out.
fn key(tuple: &Tuple, any_source: bool, any_source_port: bool) -> Tuple {
    let mut key = *tuple;
    if any_source {
        key.source = Address(0);
    }
    if any_source_port {
        key.source_port = 0;
    }
    key
}

impl Conntrack {
    /// Announces a flow. One that the same flow announced before, and that has not come, is forgotten.
    ///
    /// # Errors
    ///
    /// [`ExpectError`].
    pub fn expect(&self, at: &At<'_>, master: &Tracking, expectation: &Expectation) -> Result<(), ExpectError> {
        let id = match master.flow {
            FlowRef::None => return Err(ExpectError::NoMaster),
            FlowRef::Known(id) => Some(id),
            FlowRef::New(_) => None,
        };
        let key = key(&expectation.tuple, expectation.any_source, expectation.any_source_port);
        let mut map = lock(&self.expectations.map);
        // Those of others that nobody can meet any more make room.
        if map.len() >= MAX {
            map.retain(|_, expected| expected.until > at.now);
        }
        if map.get(&key).is_some_and(|expected| expected.master != master.original && expected.until > at.now) {
            return Err(ExpectError::Clash);
        }
        map.retain(|_, expected| expected.master != master.original);
        let full = map.len() >= MAX;
        if !full {
            let until = at.now.saturating_add(expectation.timeout);
            map.insert(key, Expected { expectation: *expectation, master: master.original, id, mark: master.mark, until });
        }
        self.expectations.count.store(map.len(), Ordering::Relaxed);
        if full { Err(ExpectError::Full) } else { Ok(()) }
    }

    /// Forgets what a flow announced.
    pub fn unexpect(&self, master: &Tuple) {
        if self.expectations.count.load(Ordering::Relaxed) != 0 {
            let mut map = lock(&self.expectations.map);
            map.retain(|_, expected| expected.master != *master);
            self.expectations.count.store(map.len(), Ordering::Relaxed);
        }
    }

    /// The flows that are expected.
    pub fn expectations(&self, now: Nanos) -> Vec<ExpectationInfo> {
        let map = lock(&self.expectations.map);
        let live = map.values().filter(|expected| expected.until > now);
        live.map(|expected| ExpectationInfo { expectation: expected.expectation, master: expected.master, timeout: expected.until - now })
            .collect()
    }

    /// Makes a new flow the one that was expected, if it is.
    #[inline]
    pub(super) fn meet_expectation(&self, at: &At<'_>, tracking: &mut Tracking) {
        if self.expectations.count.load(Ordering::Relaxed) != 0 {
            self.look_for_expectation(at, tracking);
        }
    }

    #[cold]
    fn look_for_expectation(&self, at: &At<'_>, tracking: &mut Tracking) {
        let mut map = lock(&self.expectations.map);
        let wanted = [(false, false), (true, false), (false, true), (true, true)];
        let met = wanted.iter().find_map(|(address, port)| map.remove(&key(&tracking.original, *address, *port)));
        self.expectations.count.store(map.len(), Ordering::Relaxed);
        drop(map);
        let Some(expected) = met.filter(|expected| expected.until > at.now) else { return };
        let mut mark = expected.mark;
        if let Some(id) = expected.id {
            // What a flow announced ends with it.
            let Some(master) = self.table.lock(id.index).filter(|flow| flow.is_live() && flow.generation == id.generation) else {
                return;
            };
            mark = master.mark;
        }
        tracking.status.insert(Status::EXPECTED);
        tracking.mark = mark;
        tracking.helper = expected.expectation.helper;
        if let FlowRef::New(NewFlow { nat, .. }) = &mut tracking.flow {
            *nat = expected.expectation.nat;
        }
        self.counters(at).expect_new.add(1);
    }
}
