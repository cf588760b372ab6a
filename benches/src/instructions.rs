//! Workloads whose instructions are counted under callgrind, and the comparison with counts kept in the repository.
//!
//! Instructions do not depend on what else the machine does, so a change of a few per cent is a fact. They say nothing of
//! cache misses; time is measured elsewhere.
//!
//! A [`Case`] fills bursts from frames in memory (a device without system calls), runs them through [`Pipeline`], and gives
//! them to transmit queues that only count. Only [`measured`] is counted, twice with different numbers of turns; the
//! difference leaves out what happens once. The case `receive` is the filling alone, to be taken off the others.

mod vhost_user;

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport, Wake};
use dataplane::events::EventQueue;
use dataplane::fdb::{EntryKind, Fdb, Learned, Learner};
use dataplane::pipeline::Pipeline;
use dataplane::snapshot::{Admit, PortState, PriorityTags};
use dataplane::{BURST_MAX, Burst, BurstMemory, DropReason, Frame, Port, PortCounters, PortId, Snapshot, Switch, SwitchId, VlanPolicy};
use serde::{Deserialize, Serialize};
use vhost_user::VirtualMachines;
use wire::{MacAddr, Offload, VlanId, VlanSet};

/// Octets of a frame without FCS.
pub const FRAME_LEN: usize = 60;
/// Sender and receiver pairs when flows are many.
const FLOWS: u16 = 256;
/// Entries of the address table: the default of `fdb_size`.
const FDB_SIZE: usize = 65_536;
const AGEING: u32 = 1_000;
const FROM: PortId = PortId(0);
const VLAN: u16 = 10;

/// What is done with each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Work {
    /// Nothing: bursts are filled and thrown away
    Receive,
    /// Parsed and admitted, then dropped for its reserved destination
    Parse,
    /// No frame: one address learned (known already) and one looked up, in the table itself
    FdbHit,
    /// Broadcast to four other ports
    Flood,
    /// From an access port to a trunk, known station
    Vlan,
    /// Known station, from parse to transmit queue
    Pipeline,
    /// The same between the rings of two VMs, with all that the ports do
    VhostUser,
}

/// Whether frames of a burst have addresses in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Flows {
    /// All the same addresses
    One,
    /// Each frame other addresses than those before
    Many,
}

/// One thing to count: `WORK/BURST/FLOWS`, such as `pipeline/32/many`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What is done.
    pub work: Work,
    /// Frames in a burst.
    pub burst: usize,
    /// Their addresses.
    pub flows: Flows,
}

impl Case {
    /// The case the target of 250 instructions is about.
    pub const TARGET: Case = Case { work: Work::Pipeline, burst: 32, flows: Flows::Many };

    /// All cases.
    pub fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for work in Work::value_variants() {
            for burst in [1, 8, 32] {
                // A ring is filled long before it is read, so its bursts are full.
                if *work == Work::VhostUser && burst != BURST_MAX {
                    continue;
                }
                for flows in Flows::value_variants() {
                    cases.push(Case { work: *work, burst, flows: *flows });
                }
            }
        }
        cases
    }

    /// The filling of the same bursts, which is to be taken off; `None` where nothing is filled.
    pub fn filling(self) -> Option<Case> {
        (!matches!(self.work, Work::Receive | Work::FdbHit | Work::VhostUser)).then_some(Case { work: Work::Receive, ..self })
    }
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", name(&self.work), self.burst, name(&self.flows)))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let wrong = || format!("\"{text}\" is not a case such as \"{}\"", Case::TARGET);
        Case::all().into_iter().find(|case| case.to_string() == text).ok_or_else(wrong)
    }
}

/// A case with everything it needs, addresses learned. [`Workload::prepare`] comes before the turns.
pub struct Workload {
    case: Case,
    queue: Replay,
    memory: BurstMemory,
    pipeline: Pipeline,
    snapshot: Snapshot,
    fdb: Arc<Fdb>,
    addresses: Vec<(u64, u64)>,
    at: usize,
    vhost_user: Option<(VirtualMachines, Box<dyn RxQueue>)>,
}

impl Workload {
    /// Turns at most between two calls of [`Workload::prepare`].
    pub const TURNS_MAX: u64 = vhost_user::RING as u64 / BURST_MAX as u64;

    /// Makes the switch of the case and lets it learn the stations.
    ///
    /// # Errors
    ///
    /// What cannot be opened.
    pub fn new(case: Case) -> Result<Workload, String> {
        let ports: &[fn() -> VlanPolicy] = match case.work {
            Work::Vlan => &[access, trunk],
            Work::Flood => &[open, open, open, open, open],
            _ => &[open, open],
        };
        let mut pipeline = Pipeline::new(0, Arc::new(EventQueue::new(Arc::new(NoWake))));
        let mut snapshot = Snapshot::default();
        for (i, vlan) in ports.iter().enumerate() {
            pipeline.attach(PortId(i as u16), Box::new(Null));
            snapshot.ports.push(Some(port(vlan())));
        }
        let fdb = Arc::new(Fdb::new(FDB_SIZE));
        let flows = if case.flows == Flows::One { 1 } else { FLOWS };
        let stations: Vec<_> = (0..flows).map(|flow| (station(1, flow), station(0, flow))).collect();
        let vlan = VlanId::new(VLAN).filter(|_| case.work == Work::Vlan).unwrap_or(VlanId::NONE);
        for (to, from) in &stations {
            fdb.learn(fdb.place(to.to_u64(), vlan), &learner(PortId(1)));
            fdb.learn(fdb.place(from.to_u64(), vlan), &learner(FROM));
        }
        snapshot.switches.push(Some(Switch {
            fdb: fdb.clone(),
            ports: (0..ports.len() as u16).map(PortId).collect(),
            ageing: AGEING,
            hub: false,
            group_fwd_mask: 0,
        }));
        let frames = stations.iter().map(|(to, from)| match case.work {
            Work::Parse => frame(MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x02]), *from),
            Work::Flood => frame(MacAddr::BROADCAST, *from),
            _ => frame(*to, *from),
        });
        let frames: Vec<_> = frames.collect();
        let mut vhost_user = None;
        if case.work == Work::VhostUser {
            let (machines, queues) = VirtualMachines::new(frames.clone())?;
            pipeline.attach(PortId(1), queues.tx);
            vhost_user = Some((machines, queues.rx));
        }
        let queue = Replay { frames, next: 0, burst: case.burst };
        let addresses = stations.iter().map(|(to, from)| (to.to_u64(), from.to_u64())).collect();
        Ok(Workload { case, queue, memory: BurstMemory::new(), pipeline, snapshot, fdb, addresses, at: 0, vhost_user })
    }

    /// One burst.
    #[inline]
    pub fn turn(&mut self) {
        if self.case.work == Work::FdbHit {
            return self.fdb_turn();
        }
        let mut burst = self.memory.burst();
        if let Some((_, rx)) = &mut self.vhost_user {
            // It fails for a link that is down, which the check finds.
            let _ = rx.receive(&mut burst);
            self.pipeline.run(&self.snapshot, FROM, &mut burst, 1);
            drop(burst);
            return rx.release();
        }
        // It cannot fail.
        let _ = self.queue.receive(&mut burst);
        if self.case.work == Work::Receive {
            black_box(burst.frames());
        } else {
            self.pipeline.run(&self.snapshot, FROM, &mut burst, 1);
        }
    }

    /// Prepares the next `turns` turns, which is not counted. At most [`Workload::TURNS_MAX`].
    pub fn prepare(&mut self, turns: u64) {
        if let Some((machines, _)) = &mut self.vhost_user {
            machines.refill(turns * self.case.burst as u64);
        }
    }

    fn fdb_turn(&mut self) {
        let learner = learner(FROM);
        for _ in 0..self.case.burst {
            let (to, from) = self.addresses[self.at];
            self.at = if self.at + 1 == self.addresses.len() { 0 } else { self.at + 1 };
            black_box(self.fdb.learn(self.fdb.place(from, VlanId::NONE), &learner));
            black_box(self.fdb.lookup(self.fdb.place(to, VlanId::NONE), 1, AGEING));
        }
    }

    /// Whether the frames went the way the case is about, in `turns` turns since the workload was made.
    ///
    /// # Errors
    ///
    /// What is otherwise.
    pub fn check(&mut self, turns: u64) -> Result<(), String> {
        let frames = turns * self.case.burst as u64;
        let len = FRAME_LEN as u64;
        let (mut sent, mut octets, mut dropped) = (0, 0, 0);
        for port in self.snapshot.ports.iter().flatten() {
            sent += port.counters[0].tx_packets.get();
            octets += port.counters[0].tx_bytes.get();
            dropped += port.counters[0].drops(DropReason::ReservedGroup);
        }
        let expected = match self.case.work {
            Work::Receive | Work::FdbHit => (0, 0, 0),
            Work::Parse => (0, 0, frames),
            Work::Flood => (4 * frames, 4 * frames * len, 0),
            Work::Vlan => (frames, frames * (len + 4), 0),
            Work::Pipeline | Work::VhostUser => (frames, frames * len, 0),
        };
        if (sent, octets, dropped) != expected {
            return Err(format!("{}: sent, octets, dropped: {:?}, expected {expected:?}", self.case, (sent, octets, dropped)));
        }
        if let Some((machines, _)) = &mut self.vhost_user {
            machines.refill(0);
            if machines.received != frames {
                return Err(format!("{}: the VM received {} frames, expected {frames}", self.case, machines.received));
            }
        }
        if self.case.work == Work::FdbHit {
            let is_known = |mac, port| {
                let place = self.fdb.place(mac, VlanId::NONE);
                self.fdb.lookup(place, 1, AGEING) == Some(port) && self.fdb.learn(place, &learner(port)) == Learned::Known
            };
            if !self.addresses.iter().all(|(to, from)| is_known(*to, PortId(1)) && is_known(*from, FROM)) {
                return Err(format!("{}: a station is not known", self.case));
            }
        }
        Ok(())
    }
}

/// What callgrind counts: `turns` turns. It is found by its name.
#[inline(never)]
pub fn measured(workload: &mut Workload, turns: u64) {
    for _ in 0..turns {
        workload.turn();
    }
}

fn learner(port: PortId) -> Learner {
    Learner { port, limit: u32::MAX, kind: EntryKind::Learned, now: 1, ageing: AGEING }
}

fn station(port: u8, number: u16) -> MacAddr {
    let [high, low] = number.to_be_bytes();
    MacAddr([0x52, 0x54, 0, port, high, low])
}

fn frame(to: MacAddr, from: MacAddr) -> [u8; FRAME_LEN] {
    let mut octets = [0xa5; FRAME_LEN];
    octets[0..6].copy_from_slice(&to.0);
    octets[6..12].copy_from_slice(&from.0);
    // IPv4.
    octets[12..14].copy_from_slice(&[0x08, 0x00]);
    octets
}

/// The default: a trunk of all VLANs.
fn open() -> VlanPolicy {
    VlanPolicy {
        pvid: Some(VlanId::NONE),
        members: VlanSet::all(),
        untagged: Some(VlanId::NONE),
        admit: Admit::Members,
        priority_tags: PriorityTags::IfNonzero,
    }
}

fn access() -> VlanPolicy {
    let vlan = VlanId::new(VLAN);
    let members = vlan.into_iter().collect();
    VlanPolicy { pvid: vlan, members, untagged: vlan, admit: Admit::UntaggedOnly, priority_tags: PriorityTags::Never }
}

fn trunk() -> VlanPolicy {
    let members = VlanId::new(VLAN).into_iter().collect();
    VlanPolicy { pvid: None, members, untagged: None, admit: Admit::Members, priority_tags: PriorityTags::Never }
}

fn port(vlan: VlanPolicy) -> Port {
    Port {
        switch: SwitchId(0),
        vlan,
        mtu: 1500,
        learning: true,
        sticky: false,
        learn_limit: u32::MAX,
        flood: true,
        mcast_flood: true,
        bcast_flood: true,
        hairpin: false,
        isolated: false,
        patch_peer: None,
        state: Arc::new(PortState::new(true, true)),
        counters: [PortCounters::default()].into(),
    }
}

/// Delivers the same frames again and again.
struct Replay {
    frames: Vec<[u8; FRAME_LEN]>,
    next: usize,
    burst: usize,
}

impl RxQueue for Replay {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        for _ in 0..self.burst.min(BURST_MAX) {
            burst.push_borrowed(&self.frames[self.next], Offload::NONE, None);
            self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Only counts.
struct Null;

impl TxQueue for Null {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        let octets: usize = picks.iter().map(|pick| frames[usize::from(*pick)].wire_len()).sum();
        report.sent(picks.len() as u64, octets as u64);
    }
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// Counts kept in the repository, and the compiler that made the code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What `rustc --version` said.
    pub rustc: String,
    /// Instructions per frame by name of the case, with the filling.
    pub instructions_per_frame: BTreeMap<String, f64>,
}

/// How a count compares with the one kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Too many more, by this many per cent.
    Worse(f64),
    /// About the same: this many per cent more.
    Same(f64),
    /// So much fewer, in per cent, that the kept count should be renewed.
    Better(f64),
    /// None is kept.
    Unknown,
}

impl Baseline {
    /// Per cent by which a count may differ.
    pub const TOLERANCE: f64 = 3.0;

    /// Compares.
    pub fn compare(&self, case: Case, count: f64) -> Change {
        match self.instructions_per_frame.get(&case.to_string()) {
            Some(kept) if *kept > 0.0 => match (count / kept - 1.0) * 100.0 {
                more if more > Baseline::TOLERANCE => Change::Worse(more),
                more if more < -Baseline::TOLERANCE => Change::Better(-more),
                more => Change::Same(more),
            },
            _ => Change::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_does_what_its_name_says() {
        for case in Case::all() {
            let mut workload = Workload::new(case).unwrap();
            workload.prepare(40);
            measured(&mut workload, 40);
            assert_eq!(workload.check(40), Ok(()));
            assert_eq!(case.to_string().parse(), Ok(case));
            if !matches!(case.work, Work::Receive | Work::FdbHit) {
                assert!(workload.check(41).is_err(), "{case}: the check sees nothing");
            }
        }
    }

    #[test]
    fn the_addresses_of_a_burst_differ_when_flows_are_many() {
        let mut workload = Workload::new(Case::TARGET).unwrap();
        let mut burst = workload.memory.burst();
        workload.queue.receive(&mut burst).unwrap();
        let mut addresses: Vec<_> = burst.frames().iter().map(|frame| (frame.destination().0, frame.source().0)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 32);
    }

    #[test]
    fn more_than_three_per_cent_more_is_worse() {
        let kept = Baseline { rustc: String::new(), instructions_per_frame: [(Case::TARGET.to_string(), 100.0)].into() };
        assert!(matches!(kept.compare(Case::TARGET, 102.9), Change::Same(_)));
        assert!(matches!(kept.compare(Case::TARGET, 103.1), Change::Worse(_)));
        assert!(matches!(kept.compare(Case::TARGET, 96.0), Change::Better(_)));
        assert_eq!(kept.compare(Case { burst: 1, ..Case::TARGET }, 1.0), Change::Unknown);
    }

    #[test]
    fn the_kept_counts_are_of_all_cases() {
        let kept: Baseline = toml::from_str(include_str!("../instructions.toml")).unwrap();
        let kept: Vec<_> = kept.instructions_per_frame.into_keys().collect();
        let mut all: Vec<_> = Case::all().iter().map(ToString::to_string).collect();
        all.sort();
        assert_eq!(kept, all);
    }
}
