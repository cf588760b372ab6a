//! Tracked connections as conntrack-tools prints them, so that scripts that read those lines read ours.

use std::fmt::Write as _;
use std::net::IpAddr;

use proto::conntrack::{ConntrackStats, ExpectationInfo, FlowChange, FlowEvent, FlowInfo, FlowTuple, IpFamily};

use crate::conntrack_args::Output;

fn tuple(line: &mut String, tuple: &FlowTuple, protocol: u8) {
    let _ = write!(line, "src={} dst={} ", tuple.src, tuple.dst);
    if let (Some(sport), Some(dport)) = (tuple.sport, tuple.dport) {
        let _ = write!(line, "sport={sport} dport={dport} ");
    } else if let (Some(kind), Some(code), Some(id)) = (tuple.icmp_type, tuple.icmp_code, tuple.icmp_id) {
        let _ = write!(line, "type={kind} code={code} id={id} ");
    } else if protocol == GRE {
        // Keys are not tracked: all GRE between two hosts is one flow.
        line.push_str("srckey=0x0 dstkey=0x0 ");
    }
    if let (Some(packets), Some(bytes)) = (tuple.packets, tuple.bytes) {
        let _ = write!(line, "packets={packets} bytes={bytes} ");
    }
}

const GRE: u8 = 47;

/// One flow. `event`: it is the flow of an event, of which fewer things are told.
fn line(flow: &FlowInfo, output: &[Output], event: bool) -> String {
    let mut line = String::new();
    if output.contains(&Output::Extended) {
        // The numbers are those of the address families (AF_INET, AF_INET6).
        line.push_str(match flow.family {
            IpFamily::Ipv4 => "ipv4     2 ",
            IpFamily::Ipv6 => "ipv6     10 ",
        });
    }
    let _ = write!(line, "{:<8} {} {} ", flow.protocol_name, flow.protocol, flow.timeout);
    if let Some(state) = &flow.state {
        let _ = write!(line, "{state} ");
    }
    let has = |name: &str| flow.status.iter().any(|status| status == name);
    tuple(&mut line, &flow.original, flow.protocol);
    if !has("SEEN_REPLY") {
        line.push_str("[UNREPLIED] ");
    }
    tuple(&mut line, &flow.reply, flow.protocol);
    if has("ASSURED") {
        line.push_str("[ASSURED] ");
    }
    if !event || flow.mark != 0 {
        let _ = write!(line, "mark={} ", flow.mark);
    }
    if flow.zone != 0 {
        let _ = write!(line, "zone={} ", flow.zone);
    }
    if let Some(helper) = &flow.helper {
        let _ = write!(line, "helper={helper} ");
    }
    if !event {
        line.push_str("use=1 ");
    }
    if output.contains(&Output::Id) {
        let _ = write!(line, "id={} ", flow.id);
    }
    line.truncate(line.trim_end().len());
    line
}

/// One flow of a list.
pub(crate) fn flow(flow: &FlowInfo, output: &[Output]) -> String {
    line(flow, output, false)
}

/// One event; `time` is seconds and microseconds since 1970.
pub(crate) fn event(event: &FlowEvent, output: &[Output], time: (u64, u32)) -> String {
    let stamp = if output.contains(&Output::Timestamp) { format!("[{}.{:06}]\t", time.0, time.1) } else { String::new() };
    let what = match event.event {
        FlowChange::New => "[NEW]",
        FlowChange::Update => "[UPDATE]",
        FlowChange::Destroy => "[DESTROY]",
    };
    format!("{stamp}{what:>9} {}", line(&event.flow, output, true))
}

/// One expectation.
pub(crate) fn expectation(info: &ExpectationInfo) -> String {
    let whole = match info.tuple.src {
        IpAddr::V4(_) => "255.255.255.255",
        IpAddr::V6(_) => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    };
    let (mut expected, mut master) = (String::new(), String::new());
    tuple(&mut expected, &info.tuple, info.protocol);
    tuple(&mut master, &info.master, info.protocol);
    let sport = if info.any_source_port { 0 } else { u16::MAX };
    let mut line =
        format!("{} proto={} {expected}mask-src={whole} mask-dst={whole} sport={sport} dport=65535 ", info.timeout, info.protocol);
    line += &master.replacen("src=", "master-src=", 1).replacen(" dst=", " master-dst=", 1);
    if info.zone != 0 {
        let _ = write!(line, "zone={} ", info.zone);
    }
    line.push_str("class=0 ");
    if let Some(helper) = &info.helper {
        let _ = write!(line, "helper={helper} ");
    }
    line.truncate(line.trim_end().len());
    line
}

/// Counters of one worker. `cpu` is what scripts look for.
pub(crate) fn stats(stats: &ConntrackStats) -> String {
    let ConntrackStats {
        worker,
        found,
        invalid,
        insert,
        insert_failed,
        drop,
        early_drop,
        error,
        search_restart,
        clash_resolve,
        chaintoolong,
    } = stats;
    format!(
        "cpu={worker:<4}\tfound={found} invalid={invalid} insert={insert} insert_failed={insert_failed} drop={drop} \
         early_drop={early_drop} error={error} search_restart={search_restart} clash_resolve={clash_resolve} chaintoolong={chaintoolong} "
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow_of(protocol: (u8, &str), state: Option<&str>, status: &[&str], tuples: [FlowTuple; 2]) -> FlowInfo {
        let [original, reply] = tuples;
        FlowInfo {
            id: 1_449_438_562,
            router: Some("gw".into()),
            zone: 0,
            family: if original.src.is_ipv4() { IpFamily::Ipv4 } else { IpFamily::Ipv6 },
            protocol: protocol.0,
            protocol_name: protocol.1.into(),
            timeout: 431_998,
            state: state.map(str::to_owned),
            original,
            reply,
            status: status.iter().map(|status| (*status).to_owned()).collect(),
            mark: 5,
            helper: None,
            port: None,
        }
    }

    fn ports(src: &str, dst: &str, sport: u16, dport: u16) -> FlowTuple {
        FlowTuple { sport: Some(sport), dport: Some(dport), ..bare(src, dst) }
    }

    fn bare(src: &str, dst: &str) -> FlowTuple {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        FlowTuple { src, dst, sport: None, dport: None, icmp_type: None, icmp_code: None, icmp_id: None, packets: None, bytes: None }
    }

    fn tcp() -> FlowInfo {
        let original = FlowTuple { packets: Some(2), bytes: Some(112), ..ports("10.9.0.1", "10.9.0.2", 51882, 21) };
        let reply = FlowTuple { packets: Some(1), bytes: Some(60), ..ports("10.9.0.2", "10.9.0.1", 21, 51882) };
        FlowInfo { helper: Some("ftp".into()), ..flow_of((6, "tcp"), Some("ESTABLISHED"), &["SEEN_REPLY", "ASSURED"], [original, reply]) }
    }

    /// Lines that conntrack 1.4.7 printed for flows of a kernel.
    #[test]
    fn lines_are_those_of_conntrack_tools() {
        assert_eq!(
            flow(&tcp(), &[]),
            "tcp      6 431998 ESTABLISHED src=10.9.0.1 dst=10.9.0.2 sport=51882 dport=21 packets=2 bytes=112 \
             src=10.9.0.2 dst=10.9.0.1 sport=21 dport=51882 packets=1 bytes=60 [ASSURED] mark=5 helper=ftp use=1"
        );
        let udp = flow_of((17, "udp"), None, &[], [ports("10.9.0.1", "10.9.0.2", 55492, 5000), ports("10.9.0.2", "10.9.0.1", 5000, 55492)]);
        assert_eq!(
            flow(&FlowInfo { zone: 7, timeout: 28, ..udp }, &[Output::Id]),
            "udp      17 28 src=10.9.0.1 dst=10.9.0.2 sport=55492 dport=5000 [UNREPLIED] src=10.9.0.2 dst=10.9.0.1 sport=5000 \
             dport=55492 mark=5 zone=7 use=1 id=1449438562"
        );
        let icmp = |src, dst, kind| FlowTuple { icmp_type: Some(kind), icmp_code: Some(0), icmp_id: Some(14268), ..bare(src, dst) };
        let icmp = [icmp("fd99::1", "fd99::2", 128), icmp("fd99::2", "fd99::1", 129)];
        assert_eq!(
            flow(&FlowInfo { mark: 0, timeout: 29, ..flow_of((58, "icmpv6"), None, &["SEEN_REPLY"], icmp) }, &[Output::Extended]),
            "ipv6     10 icmpv6   58 29 src=fd99::1 dst=fd99::2 type=128 code=0 id=14268 src=fd99::2 dst=fd99::1 type=129 code=0 \
             id=14268 mark=0 use=1"
        );
        let other = flow_of((50, "unknown"), None, &["SEEN_REPLY"], [bare("10.9.0.1", "10.9.0.2"), bare("10.9.0.2", "10.9.0.1")]);
        assert_eq!(flow(&other, &[]), "unknown  50 431998 src=10.9.0.1 dst=10.9.0.2 src=10.9.0.2 dst=10.9.0.1 mark=5 use=1");
    }

    #[test]
    fn events_are_those_of_conntrack_tools() {
        let [original, reply] = [ports("10.9.0.1", "10.9.0.2", 54668, 8000), ports("10.9.0.2", "10.9.0.1", 8000, 54668)];
        let mut changed = flow_of((6, "tcp"), Some("SYN_SENT"), &[], [original, reply]);
        changed.timeout = 120;
        let mut told = FlowEvent { event: FlowChange::New, flow: changed };
        assert_eq!(
            event(&told, &[], (0, 0)),
            "    [NEW] tcp      6 120 SYN_SENT src=10.9.0.1 dst=10.9.0.2 sport=54668 dport=8000 [UNREPLIED] src=10.9.0.2 \
             dst=10.9.0.1 sport=8000 dport=54668 mark=5"
        );
        told.event = FlowChange::Update;
        told.flow.status = vec!["SEEN_REPLY".into()];
        (told.flow.timeout, told.flow.state) = (60, Some("SYN_RECV".into()));
        told.flow.mark = 0;
        let output = [Output::Timestamp, Output::Extended, Output::Id];
        assert_eq!(
            event(&told, &output, (1_795_387_707, 61_735)),
            "[1795387707.061735]\t [UPDATE] ipv4     2 tcp      6 60 SYN_RECV src=10.9.0.1 dst=10.9.0.2 sport=54668 dport=8000 \
             src=10.9.0.2 dst=10.9.0.1 sport=8000 dport=54668 id=1449438562"
        );
        told.event = FlowChange::Destroy;
        assert!(event(&told, &[], (0, 0)).starts_with("[DESTROY] tcp      6 60 SYN_RECV src="));
    }

    #[test]
    fn statistics_and_expectations() {
        let counters = ConntrackStats { worker: 0, error: 1, ..ConntrackStats::default() };
        assert_eq!(
            stats(&counters),
            "cpu=0   \tfound=0 invalid=0 insert=0 insert_failed=0 drop=0 early_drop=0 error=1 search_restart=0 clash_resolve=0 chaintoolong=0 "
        );
        let expected = ExpectationInfo {
            router: None,
            zone: 0,
            protocol: 6,
            timeout: 299,
            tuple: ports("10.9.0.2", "10.9.0.1", 0, 40001),
            any_source_port: true,
            master: ports("10.9.0.1", "10.9.0.2", 51882, 21),
            helper: None,
        };
        assert_eq!(
            expectation(&expected),
            "299 proto=6 src=10.9.0.2 dst=10.9.0.1 sport=0 dport=40001 mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0 \
             dport=65535 master-src=10.9.0.1 master-dst=10.9.0.2 sport=51882 dport=21 class=0"
        );
    }
}
