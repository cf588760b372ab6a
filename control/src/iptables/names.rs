//! Names for numbers: protocols, services, ICMP types, DSCP classes, TOS values, log levels. They are built in, so that a rule
//! means the same wherever the daemon runs.

use dataplane::router::Family;

/// Protocols, as `/etc/protocols` names them; the first name of a number is the one that is printed.
const PROTOCOLS: [(&str, u8); 36] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("ipip", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("xtp", 36),
    ("ddp", 37),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("skip", 57),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ipv6-nonxt", 59),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", 132),
    ("udplite", 136),
    ("ipcomp", 108),
];

/// The number of a protocol by name or number; 0 for `all`.
pub fn protocol(name: &str) -> Option<u8> {
    if name.eq_ignore_ascii_case("all") {
        return Some(0);
    }
    let named = PROTOCOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    named.or_else(|| number(name).and_then(|number| u8::try_from(number).ok()))
}

/// The name of a protocol, where it has one.
pub fn protocol_name(protocol: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, number)| *number == protocol).map(|(name, _)| *name)
}

/// A number as `strtoul` with base 0 reads it: decimal, `0x` hexadecimal, `0` octal.
pub fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // Rust's own reading would take a sign.
    if digits.starts_with(['+', '-']) { None } else { u32::from_str_radix(digits, radix).ok() }
}

const T: u8 = 1;
const U: u8 = 2;
const B: u8 = 3;

/// Services: name, port, whether over TCP (1), UDP (2) or both.
const SERVICES: [(&str, u16, u8); 111] = [
    ("tcpmux", 1, T),
    ("echo", 7, B),
    ("discard", 9, B),
    ("systat", 11, T),
    ("daytime", 13, B),
    ("netstat", 15, T),
    ("qotd", 17, T),
    ("chargen", 19, B),
    ("ftp-data", 20, T),
    ("ftp", 21, T),
    ("ssh", 22, T),
    ("telnet", 23, T),
    ("smtp", 25, T),
    ("time", 37, B),
    ("whois", 43, T),
    ("tacacs", 49, B),
    ("domain", 53, B),
    ("bootps", 67, U),
    ("bootpc", 68, U),
    ("tftp", 69, U),
    ("gopher", 70, T),
    ("finger", 79, T),
    ("http", 80, T),
    ("kerberos", 88, B),
    ("iso-tsap", 102, T),
    ("acr-nema", 104, T),
    ("pop3", 110, T),
    ("sunrpc", 111, B),
    ("auth", 113, T),
    ("nntp", 119, T),
    ("ntp", 123, U),
    ("epmap", 135, T),
    ("netbios-ns", 137, U),
    ("netbios-dgm", 138, U),
    ("netbios-ssn", 139, T),
    ("imap2", 143, T),
    ("snmp", 161, B),
    ("snmp-trap", 162, B),
    ("xdmcp", 177, U),
    ("bgp", 179, T),
    ("irc", 194, B),
    ("smux", 199, T),
    ("ldap", 389, B),
    ("https", 443, B),
    ("microsoft-ds", 445, B),
    ("kpasswd", 464, B),
    ("submissions", 465, T),
    ("isakmp", 500, U),
    ("rtsp", 554, B),
    ("exec", 512, T),
    ("login", 513, T),
    ("shell", 514, T),
    ("syslog", 514, U),
    ("printer", 515, T),
    ("route", 520, U),
    ("uucp", 540, T),
    ("dhcpv6-client", 546, U),
    ("dhcpv6-server", 547, U),
    ("nntps", 563, T),
    ("submission", 587, T),
    ("ipp", 631, T),
    ("ldaps", 636, B),
    ("ldp", 646, B),
    ("domain-s", 853, B),
    ("rsync", 873, T),
    ("ftps-data", 989, T),
    ("ftps", 990, T),
    ("telnets", 992, T),
    ("imaps", 993, T),
    ("pop3s", 995, T),
    ("socks", 1080, T),
    ("openvpn", 1194, B),
    ("ms-sql-s", 1433, T),
    ("ms-sql-m", 1434, U),
    ("l2f", 1701, U),
    ("radius", 1812, B),
    ("radius-acct", 1813, B),
    ("cisco-sccp", 2000, T),
    ("nfs", 2049, B),
    ("gnunet", 2086, B),
    ("iscsi-target", 3260, T),
    ("mysql", 3306, T),
    ("ms-wbt-server", 3389, T),
    ("nut", 3493, B),
    ("stun", 3478, B),
    ("svn", 3690, T),
    ("ipsec-nat-t", 4500, U),
    ("iax", 4569, U),
    ("sip", 5060, B),
    ("sip-tls", 5061, B),
    ("xmpp-client", 5222, T),
    ("xmpp-server", 5269, T),
    ("mdns", 5353, U),
    ("postgresql", 5432, T),
    ("amqps", 5671, T),
    ("amqp", 5672, B),
    ("x11", 6000, T),
    ("redis", 6379, T),
    ("ircd", 6667, T),
    ("babel", 6696, U),
    ("ircs-u", 6697, T),
    ("http-alt", 8080, B),
    ("puppet", 8140, T),
    ("bacula-dir", 9101, T),
    ("git", 9418, T),
    ("sane-port", 6566, T),
    ("zabbix-agent", 10050, T),
    ("zabbix-trapper", 10051, T),
    ("webmin", 10000, T),
    ("memcache", 11211, B),
    ("vxlan", 4789, U),
];

/// The port of a service by name or number.
pub fn port(text: &str) -> Option<u16> {
    let named = SERVICES.iter().find(|(name, ..)| *name == text).map(|(_, port, _)| *port);
    named.or_else(|| number(text).and_then(|number| u16::try_from(number).ok()))
}

/// The name of the service at a port of a protocol.
pub fn service(port: u16, protocol: &str) -> Option<&'static str> {
    let over = match protocol {
        "tcp" => T,
        "udp" => U,
        _ => return None,
    };
    SERVICES.iter().find(|(_, known, protocols)| *known == port && protocols & over != 0).map(|(name, ..)| *name)
}

/// An ICMP type and the lowest and highest code (`struct xt_icmp_names`).
pub type IcmpType = (&'static str, u8, u8, u8);

const ICMP: [IcmpType; 40] = [
    ("any", 0xff, 0, 0xff),
    ("echo-reply", 0, 0, 0xff),
    ("pong", 0, 0, 0xff),
    ("destination-unreachable", 3, 0, 0xff),
    ("network-unreachable", 3, 0, 0),
    ("host-unreachable", 3, 1, 1),
    ("protocol-unreachable", 3, 2, 2),
    ("port-unreachable", 3, 3, 3),
    ("fragmentation-needed", 3, 4, 4),
    ("source-route-failed", 3, 5, 5),
    ("network-unknown", 3, 6, 6),
    ("host-unknown", 3, 7, 7),
    ("network-prohibited", 3, 9, 9),
    ("host-prohibited", 3, 10, 10),
    ("TOS-network-unreachable", 3, 11, 11),
    ("TOS-host-unreachable", 3, 12, 12),
    ("communication-prohibited", 3, 13, 13),
    ("host-precedence-violation", 3, 14, 14),
    ("precedence-cutoff", 3, 15, 15),
    ("source-quench", 4, 0, 0xff),
    ("redirect", 5, 0, 0xff),
    ("network-redirect", 5, 0, 0),
    ("host-redirect", 5, 1, 1),
    ("TOS-network-redirect", 5, 2, 2),
    ("TOS-host-redirect", 5, 3, 3),
    ("echo-request", 8, 0, 0xff),
    ("ping", 8, 0, 0xff),
    ("router-advertisement", 9, 0, 0xff),
    ("router-solicitation", 10, 0, 0xff),
    ("time-exceeded", 11, 0, 0xff),
    ("ttl-exceeded", 11, 0, 0xff),
    ("ttl-zero-during-transit", 11, 0, 0),
    ("ttl-zero-during-reassembly", 11, 1, 1),
    ("parameter-problem", 12, 0, 0xff),
    ("ip-header-bad", 12, 0, 0),
    ("required-option-missing", 12, 1, 1),
    ("timestamp-request", 13, 0, 0xff),
    ("timestamp-reply", 14, 0, 0xff),
    ("address-mask-request", 17, 0, 0xff),
    ("address-mask-reply", 18, 0, 0xff),
];

const ICMPV6: [IcmpType; 26] = [
    ("destination-unreachable", 1, 0, 0xff),
    ("no-route", 1, 0, 0),
    ("communication-prohibited", 1, 1, 1),
    ("beyond-scope", 1, 2, 2),
    ("address-unreachable", 1, 3, 3),
    ("port-unreachable", 1, 4, 4),
    ("failed-policy", 1, 5, 5),
    ("reject-route", 1, 6, 6),
    ("packet-too-big", 2, 0, 0xff),
    ("time-exceeded", 3, 0, 0xff),
    ("ttl-exceeded", 3, 0, 0xff),
    ("ttl-zero-during-transit", 3, 0, 0),
    ("ttl-zero-during-reassembly", 3, 1, 1),
    ("parameter-problem", 4, 0, 0xff),
    ("bad-header", 4, 0, 0),
    ("unknown-header-type", 4, 1, 1),
    ("unknown-option", 4, 2, 2),
    ("echo-request", 128, 0, 0xff),
    ("ping", 128, 0, 0xff),
    ("echo-reply", 129, 0, 0xff),
    ("pong", 129, 0, 0xff),
    ("router-solicitation", 133, 0, 0xff),
    ("router-advertisement", 134, 0, 0xff),
    ("neighbour-solicitation", 135, 0, 0xff),
    ("neighbour-advertisement", 136, 0, 0xff),
    ("redirect", 137, 0, 0xff),
];

/// The ICMP types of a family that have names.
pub fn icmp_types(family: Family) -> &'static [IcmpType] {
    match family {
        Family::V4 => &ICMP,
        Family::V6 => &ICMPV6,
    }
}

/// DSCP classes (RFC 2474, 2597, 3246).
pub const DSCP_CLASSES: [(&str, u8); 22] = [
    ("CS0", 0x00),
    ("CS1", 0x08),
    ("CS2", 0x10),
    ("CS3", 0x18),
    ("CS4", 0x20),
    ("CS5", 0x28),
    ("CS6", 0x30),
    ("CS7", 0x38),
    ("BE", 0x00),
    ("AF11", 0x0a),
    ("AF12", 0x0c),
    ("AF13", 0x0e),
    ("AF21", 0x12),
    ("AF22", 0x14),
    ("AF23", 0x16),
    ("AF31", 0x1a),
    ("AF32", 0x1c),
    ("AF33", 0x1e),
    ("AF41", 0x22),
    ("AF42", 0x24),
    ("AF43", 0x26),
    ("EF", 0x2e),
];

/// Values of the TOS field (RFC 1349).
pub const TOS: [(&str, u8); 5] = [
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0),
];

/// Levels of the system log; the last name of a number is the one that is listed.
pub const LOG_LEVELS: [(&str, u8); 11] = [
    ("emerg", 0),
    ("panic", 0),
    ("alert", 1),
    ("crit", 2),
    ("error", 3),
    ("err", 3),
    ("warning", 4),
    ("warn", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

/// The entry of a list that is nearest to a mistyped name, as a remedy.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.map(|known| (crate::config::read::distance(name, known), known)).min().filter(|(distance, _)| *distance <= 2);
    near.map(|(_, known)| format!(" (did you mean {known:?}?)")).unwrap_or_default()
}
