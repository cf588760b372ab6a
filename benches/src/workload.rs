//! The work that is measured inside the data plane: one list of [`Case`]s, whose time `cargo bench -p benches` takes and whose
//! instructions `vswitch-instructions` counts.
//!
//! A [`Workload`] fills bursts from frames in memory (a device without system calls), runs them through [`Pipeline`], and gives
//! them to transmit queues that only count. Nothing of it allocates once it is made, which `benches/tests/no_alloc.rs` checks
//! for every case. The work `receive` is the filling alone, to be taken off the others.
//!
//! A burst of the data plane has at most [`BURST_MAX`] frames; cases with more of them run as many bursts as it takes.

mod gateway;
mod vhost_user;

use std::fmt;
use std::hint::black_box;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use dataplane::bond::{Bond, BondState, BondView, HashPolicy, MEMBERS_MAX, Member, Mode, PuntRules};
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport, Wake};
use dataplane::events::EventQueue;
use dataplane::fdb::{EntryKind, Fdb, Learned, Learner};
use dataplane::pipeline::Pipeline;
use dataplane::snapshot::{Admit, PriorityTags};
use dataplane::{BURST_MAX, Burst, BurstMemory, DropReason, Frame, Port, PortId, Snapshot, Switch, SwitchId, VlanPolicy};
use vhost_user::VirtualMachines;
use wire::{MacAddr, Offload, Tpid, VlanId, checksum, ethernet, ip_protocol, ipv4, tcp, virtio_net};

/// Octets of a frame without FCS.
pub const FRAME_LEN: usize = 60;
/// Sender and receiver pairs when flows are many.
const FLOWS: u16 = 256;
/// Entries of the address table: the default of `fdb_size`.
const FDB_SIZE: usize = 65_536;
const AGEING: u32 = 1_000;
const FROM: PortId = PortId(0);
const VLAN: u16 = 10;
/// Makes the address of a known station that of an unknown one.
const UNKNOWN: u64 = 0xff00_0000;
/// Octets of the headers of a TCP segment.
const TCP_HEADERS: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN_MIN + tcp::HEADER_LEN_MIN;
/// Octets of payload of a segment that fills an MTU of 1500.
const MSS: usize = 1460;
/// Segments of a GSO frame of 64 KiB.
const SEGMENTS: usize = 44;

/// What is done with each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Work {
    /// Nothing: bursts are filled and thrown away
    Receive,
    /// Parsed and admitted, then dropped for its reserved destination
    Parse,
    /// No frame: one new address learned, in the table itself
    Learn,
    /// No frame: one address learned (known already) and one looked up, in the table itself
    FdbHit,
    /// No frame: one address looked up that is not there, in the table itself
    FdbMiss,
    /// Broadcast to four other ports
    Flood,
    /// From an access port to a trunk, known station
    VlanPush,
    /// From a trunk to an access port, known station
    VlanPop,
    /// 1514 octets whose TCP checksum is to be finished, to a port that does not do that
    Checksum,
    /// 64 KiB of TCP to be cut into 44 segments, to a port that does not do that
    Segment,
    /// Known station, from parse to transmit queue
    Pipeline,
    /// Known station behind a bond of two members, which the hash over layer 2 chooses from
    BondLayer2,
    /// The same with the hash over layers 3 and 4
    #[value(name = "bond-layer34")]
    BondLayer34,
    /// Known station, between the rings of two VMs, with all that the ports do
    VhostUser,
    /// An established UDP flow through a router that masquerades
    NatUdp,
    /// An established TCP connection through a router that masquerades
    NatTcp,
}

impl Work {
    /// What is counted beside it for comparison: the same without a bond.
    pub fn without_bond(self) -> Option<Work> {
        self.policy().map(|_| Work::Pipeline)
    }

    fn policy(self) -> Option<HashPolicy> {
        match self {
            Work::BondLayer2 => Some(HashPolicy::Layer2),
            Work::BondLayer34 => Some(HashPolicy::Layer34),
            _ => None,
        }
    }

    /// The protocol of flows through a router.
    fn routed(self) -> Option<u8> {
        match self {
            Work::NatUdp => Some(ip_protocol::UDP),
            Work::NatTcp => Some(ip_protocol::TCP),
            _ => None,
        }
    }
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
    /// Frames in a turn: one burst, or several where that is above [`BURST_MAX`].
    pub burst: usize,
    /// Their addresses.
    pub flows: Flows,
}

impl Case {
    /// The case the target of 250 instructions is about.
    pub const TARGET: Case = Case { work: Work::Pipeline, burst: 32, flows: Flows::Many };

    /// The cases the targets of choosing a member are about, with instructions more than without a bond at most.
    pub const SELECTIONS: [(Case, f64); 2] =
        [(Case { work: Work::BondLayer2, ..Case::TARGET }, 60.0), (Case { work: Work::BondLayer34, ..Case::TARGET }, 120.0)];

    /// The cases the target of 450 instructions on an established NAT flow is about.
    pub const ROUTED: [Case; 2] = [Case { work: Work::NatUdp, ..Case::TARGET }, Case { work: Work::NatTcp, ..Case::TARGET }];

    /// All cases.
    pub fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for work in Work::value_variants() {
            // A ring is filled long before it is read, so its bursts are full; the target of NAT is about full ones.
            let is_full = *work == Work::VhostUser || work.routed().is_some();
            let bursts = if is_full { &[BURST_MAX][..] } else { &[1, 8, 32, 64, 256] };
            for burst in bursts {
                // The work on long frames has nothing to do with their addresses, nor has a new address a flow.
                let flows = match work {
                    Work::Checksum | Work::Segment => &[Flows::One][..],
                    Work::Learn => &[Flows::Many],
                    _ => Flows::value_variants(),
                };
                cases.extend(flows.iter().map(|flows| Case { work: *work, burst: *burst, flows: *flows }));
            }
        }
        cases
    }

    /// The filling of the same bursts, which is to be taken off; `None` where nothing is filled, or other frames are.
    pub fn filling(self) -> Option<Case> {
        match self.work {
            Work::Parse
            | Work::Flood
            | Work::VlanPush
            | Work::Pipeline
            | Work::BondLayer2
            | Work::BondLayer34
            | Work::NatUdp
            | Work::NatTcp => Some(Case { work: Work::Receive, ..self }),
            _ => None,
        }
    }

    /// Turns that make `frames` frames, at least one.
    pub fn turns(self, frames: u64) -> u64 {
        let frames = if self.work == Work::Segment { frames / SEGMENTS as u64 } else { frames };
        (frames / self.burst as u64).max(1)
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
    /// Addresses that were learned as new.
    learned: u64,
    /// Lookups that found nothing.
    missed: u64,
    vhost_user: Option<(VirtualMachines, Box<dyn RxQueue>)>,
}

impl Workload {
    /// Makes the switch of the case and lets it learn the stations.
    ///
    /// # Errors
    ///
    /// What cannot be opened.
    pub fn new(case: Case) -> Result<Workload, String> {
        let ports = match case.work {
            Work::VlanPush => vec![access(), trunk()],
            Work::VlanPop => vec![trunk(), access()],
            Work::Flood => vec![VlanPolicy::all_vlans(); 5],
            _ => vec![VlanPolicy::all_vlans(); 2],
        };
        let mut pipeline = Pipeline::new(0, Arc::new(EventQueue::new(Arc::new(NoWake))));
        let mut snapshot = Snapshot::default();
        for (i, vlan) in ports.iter().enumerate() {
            pipeline.attach(PortId(i as u16), Box::new(Null));
            snapshot.ports.push(Some(Port { vlan: vlan.clone(), ..Port::new(SwitchId(0), 1) }));
        }
        if let Some(policy) = case.work.policy() {
            make_bond(&mut pipeline, &mut snapshot, policy);
        }
        let fdb = Arc::new(Fdb::new(FDB_SIZE));
        let flows = if case.flows == Flows::One { 1 } else { FLOWS };
        let stations: Vec<_> = (0..flows).map(|flow| (station(1, flow), station(0, flow))).collect();
        let vlan = VlanId::new(VLAN).filter(|_| matches!(case.work, Work::VlanPush | Work::VlanPop)).unwrap_or(VlanId::NONE);
        for (to, from) in &stations {
            fdb.learn(fdb.place(to.to_u64(), vlan), &learner(PortId(1), 1));
            fdb.learn(fdb.place(from.to_u64(), vlan), &learner(FROM, 1));
        }
        snapshot.switches.push(Some(Switch {
            fdb: fdb.clone(),
            ports: (0..ports.len() as u16).map(PortId).collect(),
            ageing: AGEING,
            hub: false,
            group_fwd_mask: 0,
        }));
        let frames = stations.iter().map(|(to, from)| match case.work {
            Work::Parse => (frame(MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x02]), *from), Offload::NONE),
            Work::Flood => (frame(MacAddr::BROADCAST, *from), Offload::NONE),
            Work::VlanPop => (tagged(*to, *from), Offload::NONE),
            Work::Checksum => tcp(*to, *from, MSS, virtio_net::GSO_NONE),
            Work::Segment => tcp(*to, *from, SEGMENTS * MSS, virtio_net::GSO_TCPV4),
            _ => (frame(*to, *from), Offload::NONE),
        });
        let mut frames: Vec<_> = frames.collect();
        if let Some(protocol) = case.work.routed() {
            let octets;
            (snapshot, octets) = gateway::gateway(&mut pipeline, protocol, flows)?;
            frames = octets.into_iter().map(|octets| (octets, Offload::NONE)).collect();
        }
        let mut vhost_user = None;
        if case.work == Work::VhostUser {
            let (machines, queues) = VirtualMachines::new(frames.iter().map(|(octets, _)| octets.clone()).collect())?;
            pipeline.attach(PortId(1), queues.tx);
            vhost_user = Some((machines, queues.rx));
        }
        let queue = Replay { frames, next: 0, burst: case.burst.min(BURST_MAX) };
        let addresses = stations.iter().map(|(to, from)| (to.to_u64(), from.to_u64())).collect();
        Ok(Workload {
            case,
            queue,
            memory: BurstMemory::new(),
            pipeline,
            snapshot,
            fdb,
            addresses,
            at: 0,
            learned: 0,
            missed: 0,
            vhost_user,
        })
    }

    /// Prepares the next `turns` turns, which is not counted. Those of [`Work::VhostUser`] must fit a ring: 1024 turns.
    pub fn prepare(&mut self, turns: u64) {
        if let Some((machines, _)) = &mut self.vhost_user {
            machines.refill(turns * self.case.burst as u64);
        }
    }

    /// The frames of one case: one burst, or as many as it takes.
    #[inline]
    pub fn turn(&mut self) {
        match self.case.work {
            Work::Learn => self.learn(),
            Work::FdbHit => self.fdb_hit(),
            Work::FdbMiss => self.fdb_miss(),
            _ => (0..self.case.burst.div_ceil(BURST_MAX)).for_each(|_| self.burst()),
        }
    }

    #[inline]
    fn burst(&mut self) {
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

    /// Each address is a new one. After some thousands all that were learned expire, so that there is room again.
    fn learn(&mut self) {
        let now = 1 + (self.learned / 16_384) as u32 * 2 * AGEING;
        let learner = learner(FROM, now);
        for _ in 0..self.case.burst {
            let mac = 0x0200_0000_0000 + self.learned;
            if black_box(self.fdb.learn(self.fdb.place(mac, VlanId::NONE), &learner)) == Learned::New {
                self.learned += 1;
            }
        }
    }

    fn fdb_hit(&mut self) {
        let learner = learner(FROM, 1);
        for _ in 0..self.case.burst {
            let (to, from) = self.next_addresses();
            black_box(self.fdb.learn(self.fdb.place(from, VlanId::NONE), &learner));
            black_box(self.fdb.lookup(self.fdb.place(to, VlanId::NONE), 1, AGEING));
        }
    }

    fn fdb_miss(&mut self) {
        for _ in 0..self.case.burst {
            let (to, _) = self.next_addresses();
            let place = self.fdb.place(to ^ UNKNOWN, VlanId::NONE);
            self.missed += u64::from(black_box(self.fdb.lookup(place, 1, AGEING)).is_none());
        }
    }

    #[inline]
    fn next_addresses(&mut self) -> (u64, u64) {
        let addresses = self.addresses[self.at];
        self.at = if self.at + 1 == self.addresses.len() { 0 } else { self.at + 1 };
        addresses
    }

    /// Whether the frames went the way the case is about, in `turns` turns since the workload was made.
    ///
    /// # Errors
    ///
    /// What is otherwise.
    pub fn check(&mut self, turns: u64) -> Result<(), String> {
        let frames = turns * self.case.burst as u64;
        let len = FRAME_LEN as u64;
        let segments = frames * SEGMENTS as u64;
        let mut counted = Counted { learned: self.learned, missed: self.missed, ..Counted::default() };
        for port in self.snapshot.ports.iter().flatten() {
            counted.sent += port.counters[0].tx_packets.get();
            counted.octets += port.counters[0].tx_bytes.get();
            counted.dropped += port.counters[0].drops(DropReason::ReservedGroup);
        }
        let sent = |sent, octets| Counted { sent, octets: sent * octets, ..Counted::default() };
        let expected = match self.case.work {
            Work::Receive | Work::FdbHit => Counted::default(),
            Work::Parse => Counted { dropped: frames, ..Counted::default() },
            Work::Learn => Counted { learned: frames, ..Counted::default() },
            Work::FdbMiss => Counted { missed: frames, ..Counted::default() },
            Work::Flood => sent(4 * frames, len),
            Work::VlanPush => sent(frames, len + 4),
            Work::VlanPop | Work::Pipeline | Work::BondLayer2 | Work::BondLayer34 | Work::VhostUser => sent(frames, len),
            // Once to the router, and once by it.
            Work::NatUdp | Work::NatTcp => sent(2 * frames, len),
            Work::Checksum => sent(frames, (TCP_HEADERS + MSS) as u64),
            Work::Segment => sent(segments, (TCP_HEADERS + MSS) as u64),
        };
        if counted != expected {
            return Err(format!("{}: {counted:?}, expected {expected:?}", self.case));
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
                self.fdb.lookup(place, 1, AGEING) == Some(port) && self.fdb.learn(place, &learner(port, 1)) == Learned::Known
            };
            if !self.addresses.iter().all(|(to, from)| is_known(*to, PortId(1)) && is_known(*from, FROM)) {
                return Err(format!("{}: a station is not known", self.case));
            }
        }
        Ok(())
    }
}

/// What became of the frames, or of the addresses where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    sent: u64,
    octets: u64,
    dropped: u64,
    learned: u64,
    missed: u64,
}

fn learner(port: PortId, now: u32) -> Learner {
    Learner { port, limit: u32::MAX, kind: EntryKind::Learned, now, ageing: AGEING }
}

fn station(port: u8, number: u16) -> MacAddr {
    let [high, low] = number.to_be_bytes();
    MacAddr([0x52, 0x54, 0, port, high, low])
}

fn frame(to: MacAddr, from: MacAddr) -> Vec<u8> {
    let mut octets = [to.0, from.0].concat();
    octets.extend(ethernet::ETHER_TYPE_IPV4.to_be_bytes());
    octets.resize(FRAME_LEN, 0xa5);
    // No options, no fragment, TCP.
    let header = &mut octets[ethernet::HEADER_LEN..];
    header[0] = 0x45;
    header[ipv4::FLAGS].copy_from_slice(&[0x40, 0x00]);
    header[ipv4::PROTOCOL] = ip_protocol::TCP;
    octets
}

/// The same behind a tag.
fn tagged(to: MacAddr, from: MacAddr) -> Vec<u8> {
    let mut octets = frame(to, from);
    octets.splice(12..12, [Tpid::Dot1Q.ether_type().to_be_bytes(), VLAN.to_be_bytes()].concat());
    octets
}

/// TCP over IPv4 with so many octets of payload and a checksum to finish, to be cut if `gso_type` says so.
fn tcp(to: MacAddr, from: MacAddr, payload: usize, gso_type: u8) -> (Vec<u8>, Offload) {
    let (source, destination) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let ip_len = (TCP_HEADERS - ethernet::HEADER_LEN + payload) as u16;
    let mut octets = vec![0xa5; TCP_HEADERS + payload];
    octets[..12].copy_from_slice(&[to.0, from.0].concat());
    octets[12..14].copy_from_slice(&ethernet::ETHER_TYPE_IPV4.to_be_bytes());
    let headers = &mut octets[ethernet::HEADER_LEN..TCP_HEADERS];
    headers.fill(0);
    headers[0] = 0x45;
    headers[ipv4::TOTAL_LEN].copy_from_slice(&ip_len.to_be_bytes());
    headers[ipv4::TTL] = 64;
    headers[ipv4::PROTOCOL] = ip_protocol::TCP;
    headers[ipv4::SOURCE].copy_from_slice(&source);
    headers[ipv4::DESTINATION].copy_from_slice(&destination);
    let tcp_len = ip_len - ipv4::HEADER_LEN_MIN as u16;
    let pseudo = checksum::pseudo_ipv4(source.into(), destination.into(), ip_protocol::TCP, tcp_len).fold();
    // Data offset: five words.
    headers[ipv4::HEADER_LEN_MIN + 12] = 0x50;
    headers[ipv4::HEADER_LEN_MIN..][tcp::CHECKSUM].copy_from_slice(&pseudo.to_be_bytes());
    let is_cut = gso_type != virtio_net::GSO_NONE;
    let offload = Offload {
        flags: virtio_net::FLAG_NEEDS_CSUM,
        gso_type,
        hdr_len: TCP_HEADERS as u16,
        gso_size: if is_cut { MSS as u16 } else { 0 },
        csum_start: (ethernet::HEADER_LEN + ipv4::HEADER_LEN_MIN) as u16,
        csum_offset: tcp::CHECKSUM.start as u16,
    };
    (octets, offload)
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

/// Makes port 1 a bond of two further ports.
fn make_bond(pipeline: &mut Pipeline, snapshot: &mut Snapshot, policy: HashPolicy) {
    let bond = PortId(1);
    let state = Arc::new(BondState::new(1));
    state.publish(&BondView { active: Some(0), tx: [0, 1].into_iter().collect(), rx: 3 });
    pipeline.detach(bond);
    let mut members = [None; MEMBERS_MAX];
    for index in 0..2 {
        let id = PortId(snapshot.ports.len() as u16);
        pipeline.attach(id, Box::new(Null));
        snapshot.ports.push(Some(Port { member_of: Some(Member { bond, index }), ..Port::new(SwitchId(0), 1) }));
        members[usize::from(index)] = Some(id);
    }
    if let Some(port) = &mut snapshot.ports[bond.index()] {
        port.bond = Some(Arc::new(Bond {
            mode: Mode::BalanceXor,
            policy,
            members,
            order: [0, 1].into_iter().collect(),
            all_slaves_active: false,
            punt: PuntRules::default(),
            state,
        }));
    }
    pipeline.prepare(snapshot);
}

/// Delivers the same frames again and again.
struct Replay {
    frames: Vec<(Vec<u8>, Offload)>,
    next: usize,
    burst: usize,
}

impl RxQueue for Replay {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        for _ in 0..self.burst {
            let (octets, offload) = &self.frames[self.next];
            burst.push_borrowed(octets, *offload, None);
            self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Takes every frame, and only counts it.
pub struct Null;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_does_what_its_name_says() {
        for case in Case::all() {
            let mut workload = Workload::new(case).unwrap();
            workload.prepare(4);
            (0..4).for_each(|_| workload.turn());
            assert_eq!(workload.check(4), Ok(()));
            assert_eq!(case.to_string().parse(), Ok(case));
            if !matches!(case.work, Work::Receive | Work::FdbHit) {
                assert!(workload.check(5).is_err(), "{case}: the check sees nothing");
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
}
