//! Packets that `LOG` rules log, as lines: in the kernel's words (`net/netfilter/nf_log_syslog.c`), so that what reads its log
//! reads ours.
//!
//! The octets are from outside and may end anywhere; what is missing is left out or called `INCOMPLETE`.

use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

use dataplane::router::Family;
use dataplane::rules::LogRecord;
use wire::{Ipv4Header, Ipv6Header, MacAddr, TcpHeader, ip_protocol, tcp};

/// The line of a record, with the names of the interfaces (empty where there is none).
pub fn line(record: &LogRecord, in_interface: &str, out_interface: &str) -> String {
    let mut line = format!("{}IN={in_interface} OUT={out_interface} ", record.prefix());
    if record.in_interface.is_some() {
        mac(&mut line, record);
    }
    match record.family {
        Family::V4 => ipv4(&mut line, record, record.octets(), false),
        Family::V6 => ipv6(&mut line, record, record.octets(), false),
    }
    if record.mark != 0 {
        put(&mut line, format_args!("MARK=0x{:x} ", record.mark));
    }
    line.truncate(line.trim_end().len());
    line
}

fn put(line: &mut String, words: core::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = line.write_fmt(words);
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn long(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

fn mac(line: &mut String, record: &LogRecord) {
    let (destination, source) = (MacAddr::at(&record.ethernet[..6]), MacAddr::at(&record.ethernet[6..12]));
    if record.mac_decode {
        put(line, format_args!("MACSRC={source} MACDST={destination} MACPROTO={:04x} ", word(&record.ethernet, 12)));
    } else {
        put(line, format_args!("MAC={destination}:{source}:{:02x}:{:02x} ", record.ethernet[12], record.ethernet[13]));
    }
}

fn options(line: &mut String, octets: &[u8]) {
    line.push_str("OPT (");
    octets.iter().for_each(|octet| put(line, format_args!("{octet:02X}")));
    line.push_str(") ");
}

/// A packet, or the one that an ICMP error quotes.
fn ipv4(line: &mut String, record: &LogRecord, octets: &[u8], quoted: bool) {
    let Ok(header) = Ipv4Header::new_checked(octets) else { return line.push_str("TRUNCATED ") };
    put(line, format_args!("SRC={} DST={} ", header.source(), header.destination()));
    let class = header.traffic_class();
    put(line, format_args!("LEN={} TOS=0x{:02X} PREC=0x{:02X} ", header.total_len(), class & 0x1e, class & 0xe0));
    put(line, format_args!("TTL={} ID={} ", header.ttl(), header.identification()));
    let fragment = word(octets, 6);
    for (bit, name) in [(0x8000, "CE "), (0x4000, "DF "), (0x2000, "MF ")] {
        if fragment & bit != 0 {
            line.push_str(name);
        }
    }
    let later = header.fragment_offset() != 0;
    if later {
        put(line, format_args!("FRAG:{} ", header.fragment_offset() / 8));
    }
    if record.ip_options && !header.options().is_empty() {
        options(line, header.options());
    }
    let protocol = header.protocol();
    let upper = &octets[header.header_len()..];
    if protocol != ip_protocol::ICMP {
        return upper_layer(line, record, protocol, upper, later);
    }
    line.push_str("PROTO=ICMP ");
    let Some(upper) = whole(line, upper, 8, later) else { return };
    put(line, format_args!("TYPE={} CODE={} ", upper[0], upper[1]));
    match upper[0] {
        0 | 8 => put(line, format_args!("ID={} SEQ={} ", word(upper, 4), word(upper, 6))),
        12 => put(line, format_args!("PARAMETER={} ", upper[4])),
        5 => put(line, format_args!("GATEWAY={} ", Ipv4Addr::from_bits(long(upper, 4)))),
        _ => {}
    }
    if matches!(upper[0], 3 | 4 | 5 | 11) && !quoted {
        line.push('[');
        ipv4(line, record, &upper[8..], true);
        line.push_str("] ");
    }
    if upper[..2] == [3, 4] && !quoted {
        put(line, format_args!("MTU={} ", word(upper, 6)));
    }
}

/// As the kernel writes it: no zeros left out.
fn whole_address(address: Ipv6Addr) -> String {
    address.segments().map(|segment| format!("{segment:04x}")).join(":")
}

fn ipv6(line: &mut String, record: &LogRecord, octets: &[u8], quoted: bool) {
    let Ok(header) = Ipv6Header::new_checked(octets) else { return line.push_str("TRUNCATED ") };
    put(line, format_args!("SRC={} DST={} ", whole_address(header.source()), whole_address(header.destination())));
    let (len, class) = (wire::ipv6::HEADER_LEN + usize::from(header.payload_len()), header.traffic_class());
    put(line, format_args!("LEN={len} TC={class} HOPLIMIT={} FLOWLBL={} ", header.hop_limit(), long(octets, 0) & 0x000f_ffff));
    let Ok(upper) = header.upper_layer() else { return line.push_str("TRUNCATED ") };
    let later = upper.fragment.as_ref().is_some_and(|fragment| fragment.offset != 0);
    if let Some(fragment) = &upper.fragment {
        let more = if fragment.more { "INCOMPLETE " } else { "" };
        put(line, format_args!("FRAG:{} {more}ID:{:08x} ", fragment.offset, fragment.identification));
    }
    let protocol = upper.protocol;
    let upper = octets.get(upper.offset..).unwrap_or_default();
    if protocol != ip_protocol::ICMPV6 {
        return upper_layer(line, record, protocol, upper, later);
    }
    line.push_str("PROTO=ICMPv6 ");
    let Some(upper) = whole(line, upper, 8, later) else { return };
    put(line, format_args!("TYPE={} CODE={} ", upper[0], upper[1]));
    match upper[0] {
        128 | 129 => put(line, format_args!("ID={} SEQ={} ", word(upper, 4), word(upper, 6))),
        4 => put(line, format_args!("POINTER={:08x} ", long(upper, 4))),
        _ => {}
    }
    if matches!(upper[0], 1..=4) && !quoted {
        line.push('[');
        ipv6(line, record, &upper[8..], true);
        line.push_str("] ");
    }
    if upper[0] == 2 && !quoted {
        put(line, format_args!("MTU={} ", long(upper, 4)));
    }
}

/// The octets, if there are as many as the header has; a later fragment has no header.
fn whole<'a>(line: &mut String, octets: &'a [u8], len: usize, later: bool) -> Option<&'a [u8]> {
    if later {
        return None;
    }
    if octets.len() < len {
        put(line, format_args!("INCOMPLETE [{} bytes] ", octets.len()));
        return None;
    }
    Some(octets)
}

fn upper_layer(line: &mut String, record: &LogRecord, protocol: u8, octets: &[u8], later: bool) {
    let name = match protocol {
        ip_protocol::TCP => "TCP",
        ip_protocol::UDP => "UDP",
        ip_protocol::UDP_LITE => "UDPLITE",
        ip_protocol::AH => "AH",
        ip_protocol::ESP => "ESP",
        other => return put(line, format_args!("PROTO={other} ")),
    };
    put(line, format_args!("PROTO={name} "));
    match protocol {
        ip_protocol::TCP => {
            if let Some(octets) = whole(line, octets, tcp::HEADER_LEN_MIN, later) {
                tcp_header(line, record, octets);
            }
        }
        ip_protocol::UDP | ip_protocol::UDP_LITE => {
            if let Some(octets) = whole(line, octets, 8, later) {
                put(line, format_args!("SPT={} DPT={} LEN={} ", word(octets, 0), word(octets, 2), word(octets, 4)));
            }
        }
        _ => {
            let at = if protocol == ip_protocol::AH { 4 } else { 0 };
            if let Some(octets) = whole(line, octets, at + 4, later) {
                put(line, format_args!("SPI=0x{:x} ", long(octets, at)));
            }
        }
    }
}

fn tcp_header(line: &mut String, record: &LogRecord, octets: &[u8]) {
    put(line, format_args!("SPT={} DPT={} ", word(octets, 0), word(octets, 2)));
    if record.tcp_sequence {
        put(line, format_args!("SEQ={} ACK={} ", long(octets, 4), long(octets, 8)));
    }
    put(line, format_args!("WINDOW={} RES=0x{:02x} ", word(octets, 14), (octets[12] & 0x0f) << 2));
    let flags = [
        (tcp::CWR, "CWR "),
        (tcp::ECE, "ECE "),
        (tcp::URG, "URG "),
        (tcp::ACK, "ACK "),
        (tcp::PSH, "PSH "),
        (tcp::RST, "RST "),
        (tcp::SYN, "SYN "),
        (tcp::FIN, "FIN "),
    ];
    for (_, name) in flags.into_iter().filter(|(flag, _)| u16::from(octets[13]) & flag != 0) {
        line.push_str(name);
    }
    put(line, format_args!("URGP={} ", word(octets, 18)));
    if let Ok(header) = TcpHeader::new_checked(octets)
        && record.tcp_options
        && !header.options().is_empty()
    {
        options(line, header.options());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::router::{InterfaceId, RouterId};
    use dataplane::rules::Log;

    fn record(family: Family, log: &Log, octets: &[u8]) -> LogRecord {
        let ethernet = [0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 5, 8, 0];
        let mut record = LogRecord::new(RouterId(0), family, log, &ethernet, octets);
        record.in_interface = Some(InterfaceId(1));
        record
    }

    fn log(tcp_options: bool, ip_options: bool, mac_decode: bool) -> Log {
        Log { prefix: "in: ".into(), level: 4, tcp_sequence: tcp_options, tcp_options, ip_options, mac_decode }
    }

    fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![0x45, 0xb8, 0, (20 + payload.len()) as u8, 0, 7, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 5, 192, 0, 2, 1];
        octets[6..8].copy_from_slice(&fragment.to_be_bytes());
        [&octets, payload].concat()
    }

    const SYN: [u8; 24] = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0xc2, 0x72, 0x10, 0, 0, 0, 0, 2, 4, 5, 0xb4];

    #[test]
    fn a_syn() {
        let plain = record(Family::V4, &log(false, false, false), &ipv4(6, 0x4000, &SYN));
        let start =
            "in: IN=lan OUT=wan MAC=52:54:00:00:00:01:52:54:00:00:00:05:08:00 SRC=10.0.0.5 DST=192.0.2.1 LEN=44 TOS=0x18 PREC=0xA0 ";
        let expected = format!("{start}TTL=64 ID=7 DF PROTO=TCP SPT=40000 DPT=80 WINDOW=29200 RES=0x00 CWR ECE SYN URGP=0");
        assert_eq!(line(&plain, "lan", "wan"), expected);
        let mut all = record(Family::V4, &log(true, true, true), &ipv4(6, 0x4000, &SYN));
        all.mark = 0x1f;
        let text = line(&all, "lan", "");
        assert!(text.starts_with("in: IN=lan OUT= MACSRC=52:54:00:00:00:05 MACDST=52:54:00:00:00:01 MACPROTO=0800 SRC="), "{text}");
        assert!(text.ends_with("DPT=80 SEQ=1 ACK=0 WINDOW=29200 RES=0x00 CWR ECE SYN URGP=0 OPT (020405B4) MARK=0x1f"), "{text}");
    }

    #[test]
    fn datagrams_fragments_and_others() {
        let text = |octets: &[u8]| {
            let text = line(&record(Family::V4, &log(false, false, false), octets), "lan", "");
            text.split_once("TTL=64 ").unwrap().1.to_owned()
        };
        assert_eq!(text(&ipv4(17, 0, &[0, 53, 4, 0, 0, 8, 0, 0])), "ID=7 PROTO=UDP SPT=53 DPT=1024 LEN=8");
        assert_eq!(text(&ipv4(17, 0x2003, &[0; 8])), "ID=7 MF FRAG:3 PROTO=UDP");
        assert_eq!(text(&ipv4(17, 0, &[0; 3])), "ID=7 PROTO=UDP INCOMPLETE [3 bytes]");
        assert_eq!(text(&ipv4(50, 0, &[0, 0, 1, 0, 0])), "ID=7 PROTO=ESP SPI=0x100");
        assert_eq!(text(&ipv4(47, 0, &[])), "ID=7 PROTO=47");
        assert_eq!(text(&ipv4(1, 0, &[8, 0, 0, 0, 1, 2, 0, 3])), "ID=7 PROTO=ICMP TYPE=8 CODE=0 ID=258 SEQ=3");
    }

    #[test]
    fn an_error_has_the_packet_it_is_about() {
        let error = [&[3, 4, 0, 0, 0, 0, 5, 0x78][..], &ipv4(17, 0, &[0, 1, 0, 2, 0, 8, 0, 0])].concat();
        let text = line(&record(Family::V4, &log(false, false, false), &ipv4(1, 0, &error)), "lan", "");
        let inner = "[SRC=10.0.0.5 DST=192.0.2.1 LEN=28 TOS=0x18 PREC=0xA0 TTL=64 ID=7 PROTO=UDP SPT=1 DPT=2 LEN=8 ]";
        assert!(text.ends_with(&format!("PROTO=ICMP TYPE=3 CODE=4 {inner} MTU=1400")), "{text}");
    }

    #[test]
    fn ipv6_addresses_are_whole() {
        let mut octets = vec![0x6b, 0x81, 0x23, 0x45, 0, 8, 58, 9];
        octets.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        octets.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        octets.extend([128, 0, 0, 0, 0, 9, 0, 2]);
        let text = line(&record(Family::V6, &log(false, false, false), &octets), "lan", "");
        let addresses = "SRC=2001:0db8:0000:0000:0000:0000:0000:0005 DST=ff02:0000:0000:0000:0000:0000:0000:0001 ";
        assert!(
            text.ends_with(&format!("{addresses}LEN=48 TC=184 HOPLIMIT=9 FLOWLBL=74565 PROTO=ICMPv6 TYPE=128 CODE=0 ID=9 SEQ=2")),
            "{text}"
        );
    }

    /// A record may end anywhere.
    #[test]
    fn every_cut_makes_a_line() {
        let quoted = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &ipv4(6, 0, &SYN)].concat();
        for octets in [ipv4(6, 0, &SYN), ipv4(1, 0, &quoted)] {
            for len in 0..octets.len() {
                let text = line(&record(Family::V4, &log(true, true, false), &octets[..len]), "lan", "");
                assert!(text.starts_with("in: IN=lan OUT= MAC="), "{text}");
                let text = line(&record(Family::V6, &log(true, true, false), &octets[..len]), "lan", "");
                assert!(text.contains("TRUNCATED"), "{text}");
            }
        }
    }
}
