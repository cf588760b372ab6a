//! The scenarios.

use std::sync::LazyLock;

use super::Better::{Higher, Lower};
use super::{Description, Dimension, Subject, Target, Work, fdb_scale};
use crate::cores::Load;
use crate::system::System;
use crate::topology::Attachment::{self, Packet, Tap, VhostUser};

const BARE: Subject = Subject::System(System::Bare);
const BRIDGE: Subject = Subject::System(System::Bridge);
const OVS: Subject = Subject::System(System::Ovs);
const OVS_AFXDP: Subject = Subject::System(System::OvsAfxdp);
const OVS_DPDK: Subject = Subject::System(System::OvsDpdk);
const TESTPMD: Subject = Subject::System(System::Testpmd);
const VDE: Subject = Subject::System(System::Vde);
const VSWITCH: Subject = Subject::System(System::Vswitch);
const BUSY: Subject = Subject::System(System::VswitchBusy);
const NETFILTER: Subject = Subject::System(System::Netfilter);
const ROUTER: Subject = Subject::System(System::VswitchRouter);
const SMALL: Subject = Subject::Entries(1_000);
const LARGE: Subject = Subject::Entries(1_000_000);

/// Who can be measured in frames, by what the hosts hang on; the first is the limit there.
const fn in_frames(attachment: Attachment) -> &'static [Subject] {
    match attachment {
        Tap => &[BARE, VDE, VSWITCH, BUSY],
        Packet => &[BARE, BRIDGE, OVS, OVS_AFXDP, VSWITCH, BUSY],
        VhostUser => &[TESTPMD, OVS_DPDK, VSWITCH, BUSY],
    }
}

const fn target(what: &'static str, subject: Subject, baseline: Option<Subject>, bound: f64) -> Target {
    Target { what, subject, baseline, detail: None, bound }
}

const TAP_TCP: &[Target] = &[
    target("TCP, one stream, TAP to TAP, against a bare loop", VSWITCH, Some(BARE), 0.95),
    target("TCP, one stream, TAP to TAP, against a Linux bridge with veth ports", VSWITCH, Some(BRIDGE), 0.85),
];
const PACKET_TCP: &[Target] = &[target("TCP, one stream, AF_PACKET on veth, against a Linux bridge", VSWITCH, Some(BRIDGE), 0.8)];
const TAP_64: &[Target] = &[target("64-octet frames per second, TAP to TAP, against a bare loop", VSWITCH, Some(BARE), 0.95)];
const RTT: &[Target] = &[
    target("round trip p50, ends on different cores, adaptive, against a Linux bridge", VSWITCH, Some(BRIDGE), 1.5),
    target("round trip p50, ends on different cores, busy, against a Linux bridge", BUSY, Some(BRIDGE), 1.0),
];
const RTT_ONE_CORE: &[Target] = &[
    target("round trip p50, both ends on one core, adaptive, against a Linux bridge", VSWITCH, Some(BRIDGE), 1.5),
    target("round trip p50, both ends on one core, busy, against a Linux bridge", BUSY, Some(BRIDGE), 1.0),
];
const IDLE_CPU: &[Target] = &[target("CPU of an idle daemon with 16 ports, adaptive, % of a core", VSWITCH, None, 1.0)];
const FDB_SCALE: &[Target] = &[
    target("FDB lookup with 1,000,000 entries against 1,000", LARGE, Some(SMALL), 2.0),
    Target {
        what: "FDB with 1,000,000 entries, octets an entry",
        subject: LARGE,
        baseline: None,
        detail: Some(fdb_scale::OCTETS),
        bound: 16.0,
    },
];

const GUEST_LOOP_64: &[Target] = &[
    target("64-octet frames between two vhost-user ports, both ways, against Open vSwitch with DPDK", BUSY, Some(OVS_DPDK), 1.5),
    target("64-octet frames between two vhost-user ports, both ways, against testpmd's io loop", BUSY, Some(TESTPMD), 0.4),
];
const GUEST_LOOP_1518: &[Target] =
    &[target("1518-octet frames between two vhost-user ports, both ways, against Open vSwitch with DPDK", BUSY, Some(OVS_DPDK), 1.3)];

const NAT_TAP_TCP: &[Target] =
    &[target("TCP, one stream, through masquerade, TAP to TAP, against the kernel's between veth", ROUTER, Some(NETFILTER), 0.85)];
const NAT_PACKET_TCP: &[Target] =
    &[target("TCP, one stream, through masquerade, AF_PACKET on veth, against the kernel's between veth", ROUTER, Some(NETFILTER), 0.85)];
const NAT_64: &[Target] =
    &[target("64-octet frames per second of a flow through masquerade, against switching", ROUTER, Some(VSWITCH), 0.8)];

/// How the hosts' attachment is called in names of scenarios, and for people.
const fn words(attachment: Attachment) -> (&'static str, &'static str) {
    match attachment {
        Tap => ("tap", "TAP to TAP"),
        Packet => ("packet", "AF_PACKET on veth"),
        VhostUser => ("vhost", "vhost-user to vhost-user"),
    }
}

/// Every scenario, in the order in which they are run.
pub(super) static TABLE: LazyLock<Vec<Description>> =
    LazyLock::new(|| [tcp(), frames(), switching(), routing(), round_trips(), rest()].into_iter().flatten().collect());

fn row(name: impl Into<String>, about: impl Into<String>, subjects: &'static [Subject], work: Work) -> Description {
    let (unit, better) = ("kframes/s", Higher);
    Description {
        name: name.into(),
        about: about.into(),
        unit,
        better,
        subjects,
        targets: &[],
        load: Some(Load::OneWay),
        work,
        is_quick: false,
    }
}

fn tcp() -> Vec<Description> {
    let mut rows = Vec::new();
    for (attachment, subjects, targets) in
        [(Tap, &[BARE, BRIDGE, VDE, VSWITCH] as &[Subject], TAP_TCP), (Packet, &[BRIDGE, BARE, OVS, OVS_AFXDP, VSWITCH], PACKET_TCP)]
    {
        let (name, people) = words(attachment);
        for offload in [true, false] {
            for streams in [1, 4] {
                let suffix = format!("{}{}", if streams == 1 { "" } else { "-4" }, if offload { "" } else { "-no-offload" });
                let (many, with) = (if streams == 1 { "one stream" } else { "four streams" }, if offload { "with" } else { "without" });
                let is_first = streams == 1 && offload;
                let work = Work::Tcp { attachment, streams, offload };
                rows.push(Description {
                    unit: "Gbit/s",
                    load: Some(Load::Stream),
                    targets: if is_first { targets } else { &[] },
                    is_quick: is_first,
                    ..row(format!("{name}-tcp{suffix}"), format!("TCP, {many}, {people}, {with} offload in the hosts"), subjects, work)
                });
            }
        }
    }
    rows
}

fn frames() -> Vec<Description> {
    let mut rows = Vec::new();
    for attachment in [Tap, Packet, VhostUser] {
        let (name, people) = words(attachment);
        let subjects = in_frames(attachment);
        for sizes in ["64", "512", "1518", "imix"] {
            for both_ways in [false, true] {
                let (suffix, ways) = if both_ways { ("-both", "both ways") } else { ("", "one way") };
                let what = if sizes == "imix" { "IMIX".into() } else { format!("{sizes}-octet") };
                let is_first = sizes == "64" && !both_ways;
                rows.push(Description {
                    targets: if is_first && attachment == Tap { TAP_64 } else { &[] },
                    is_quick: is_first,
                    ..row(
                        format!("{name}-{sizes}{suffix}"),
                        format!("{what} frames per second at saturation, {ways}, {people}"),
                        subjects,
                        Work::FrameRate { attachment, sizes, both_ways },
                    )
                });
            }
        }
        if attachment == VhostUser {
            for (octets, targets) in [(64, GUEST_LOOP_64), (1518, GUEST_LOOP_1518)] {
                let about = format!("{octets}-octet frames per second that a guest sends round, both ways, {people}");
                let work = Work::GuestLoop { octets };
                rows.push(Description { targets, is_quick: octets == 64, ..row(format!("{name}-loop-{octets}"), about, subjects, work) });
            }
        }
        let about = format!("highest rate without loss (RFC 2544), {people}: 64 octets, and by size");
        rows.push(row(format!("{name}-rfc2544"), about, subjects, Work::Throughput { attachment }));
        for half_load in [false, true] {
            let (suffix, load) =
                if half_load { ("half-load", "half of what the system forwards") } else { ("idle", "1000 frames per second") };
            rows.push(Description {
                unit: "us p50",
                better: Lower,
                ..row(
                    format!("{name}-latency-{suffix}"),
                    format!("time of a 64-octet frame through the switch at {load}, {people}"),
                    subjects,
                    Work::Latency { attachment, half_load },
                )
            });
        }
    }
    rows
}

fn switching() -> Vec<Description> {
    // Those whose addresses can be flushed, which a trial needs.
    let switches: &[Subject] = &[BRIDGE, OVS, OVS_AFXDP, VSWITCH];
    vec![
        Description {
            unit: "addresses",
            ..row(
                "address-capacity",
                "addresses that the table keeps, of 100,000 asked for (RFC 2889), AF_PACKET on veth",
                switches,
                Work::AddressCapacity,
            )
        },
        Description {
            unit: "kaddresses/s",
            ..row("learning-rate", "addresses a second that are all learned (RFC 2889), AF_PACKET on veth", switches, Work::LearningRate)
        },
        Description {
            unit: "kcopies/s",
            ..row(
                "flood-broadcast",
                "broadcasts, in copies a second, by number of receivers: 2, 8, 32",
                MANY_PORTS,
                Work::Flood { broadcast: true },
            )
        },
        Description {
            unit: "kcopies/s",
            ..row(
                "flood-unknown",
                "unknown unicast, in copies a second, by number of receivers: 2, 8, 32",
                MANY_PORTS,
                Work::Flood { broadcast: false },
            )
        },
        row(
            "ports",
            "64-octet frames per second from one port to all others in turn, by number of ports: 2 to 64",
            MANY_PORTS,
            Work::Scaling { of: Dimension::Ports },
        ),
        row(
            "macs",
            "64-octet frames per second to known addresses in turn, by their number: 10 to 1,000,000",
            MANY_PORTS,
            Work::Scaling { of: Dimension::Macs },
        ),
        row(
            "vlans",
            "tagged 64-octet frames per second in VLANs in turn, by their number: 1 to 4000",
            MANY_VLANS,
            Work::Scaling { of: Dimension::Vlans },
        ),
    ]
}

/// Each with its own kind of ports.
const MANY_PORTS: &[Subject] = &[BRIDGE, OVS, OVS_AFXDP, VDE, VSWITCH];
/// `vde_switch` wants each VLAN made and each port added to it by hand.
const MANY_VLANS: &[Subject] = &[BRIDGE, OVS, OVS_AFXDP, VSWITCH];

fn routing() -> Vec<Description> {
    let mut rows = Vec::new();
    for (attachment, targets) in [(Tap, NAT_TAP_TCP), (Packet, NAT_PACKET_TCP)] {
        let (name, people) = words(attachment);
        rows.push(Description {
            unit: "Gbit/s",
            load: Some(Load::Stream),
            targets,
            is_quick: attachment == Tap,
            ..row(
                format!("nat-{name}-tcp"),
                format!("TCP, one stream, through a router that masquerades, {people}"),
                &[NETFILTER, ROUTER],
                Work::Tcp { attachment, streams: 1, offload: true },
            )
        });
    }
    rows.push(Description {
        targets: NAT_64,
        is_quick: true,
        ..row(
            "nat-tap-64",
            "64-octet frames per second of one flow at saturation, TAP to TAP, switched and through a router that masquerades",
            &[VSWITCH, ROUTER],
            Work::FrameRate { attachment: Tap, sizes: "64", both_ways: false },
        )
    });
    rows
}

fn round_trips() -> Vec<Description> {
    let subjects: &[Subject] = &[BRIDGE, BARE, VDE, VSWITCH, BUSY];
    let about = "UDP round trip with one datagram in flight, TAP to TAP";
    [("rtt", "the ends on different cores", Load::Stream, RTT), ("rtt-one-core", "both ends on one core", Load::OneCore, RTT_ONE_CORE)]
        .into_iter()
        .map(|(name, ends, load, targets)| Description {
            unit: "us p50",
            better: Lower,
            load: Some(load),
            targets,
            is_quick: load == Load::Stream,
            ..row(name, format!("{about}, {ends}"), subjects, Work::RoundTrip)
        })
        .collect()
}

fn rest() -> Vec<Description> {
    const IDLE: &[Subject] = &[VSWITCH, VDE, OVS, OVS_AFXDP, OVS_DPDK];
    let quiet = |name: &str, about: &str, unit, subjects, targets, work| Description {
        unit,
        better: Lower,
        load: None,
        targets,
        ..row(name, about, subjects, work)
    };
    vec![
        quiet("idle-cpu", "CPU time of a daemon with 16 ports and no traffic", "% of a core", IDLE, IDLE_CPU, Work::IdleCpu),
        quiet("idle-memory", "memory of a daemon with 16 ports and no traffic", "MiB", IDLE, &[], Work::IdleMemory),
        quiet(
            "fdb-scale",
            "lookups in address tables of 1,000 and 1,000,000 entries",
            "ns/lookup",
            &[SMALL, LARGE],
            FDB_SCALE,
            Work::FdbScale,
        ),
    ]
}
