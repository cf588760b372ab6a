//! The matches, as `-m` names them. Formats are those of the extensions of iptables 1.8.

use dataplane::router::Family;
use wire::ip_protocol::{DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE};

use super::lex::quote;
use super::names::{self, did_you_mean};
use super::option::{Arg, Clause, Data, Listing, Module, Opt, Value, optional, some};
use super::value::{self, bounded, range, range_text, words, words_text};

/// The match of this name.
///
/// # Errors
///
/// When there is none, or not in this family.
pub fn find(name: &str, family: Family) -> Result<&'static Module, String> {
    // Of two with one name, one for each family.
    if let Some(module) = ALL.iter().find(|module| module.name == name && module.family.is_none_or(|only| only == family)) {
        return Ok(module);
    }
    if ALL.iter().any(|module| module.name == name) {
        return Err(format!("match {name:?} is not one of {}", family_tool(family)));
    }
    Err(format!("match {name:?} is not supported{}", did_you_mean(name, ALL.iter().map(|module| module.name))))
}

/// The name of the program of a family.
pub fn family_tool(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// The match that `-p` brings along when one of its options is used.
pub fn of_protocol(protocol: u8, family: Family) -> Option<&'static Module> {
    let name = match protocol {
        TCP => "tcp",
        UDP => "udp",
        UDP_LITE => "udplite",
        SCTP => "sctp",
        DCCP => "dccp",
        ICMP if family == Family::V4 => "icmp",
        ICMPV6 if family == Family::V6 => "icmp6",
        _ => return None,
    };
    find(name, family).ok()
}

/// Protocols with ports.
pub const WITH_PORTS: &[u8] = &[TCP, UDP, UDP_LITE, SCTP, DCCP];

const SPORT: Opt = Opt::new(&["sport", "source-port"], value::ports).not();
const DPORT: Opt = Opt::new(&["dport", "destination-port"], value::ports).not();

const fn module(name: &'static str, options: &'static [Opt], list: fn(&Clause, &Listing<'_>) -> String) -> Module {
    Module { name, family: None, protocols: &[], options, finish: some, list }
}

static ALL: &[Module] = &[
    Module {
        protocols: &[TCP],
        finish: finish_ports,
        ..module(
            "tcp",
            &[
                SPORT,
                DPORT,
                Opt::new(&["tcp-option"], tcp_option).not(),
                Opt::new(&["tcp-flags"], tcp_flags).two().not(),
                Opt { words: 0, ..Opt::new(&["syn"], syn) }.not().prints("tcp-flags"),
            ],
            list_tcp,
        )
    },
    Module { protocols: &[UDP], finish: finish_ports, ..module("udp", &[SPORT, DPORT], list_ports) },
    Module { protocols: &[UDP_LITE], finish: finish_ports, ..module("udplite", &[SPORT, DPORT], list_ports) },
    Module { protocols: &[SCTP], finish: finish_ports, ..module("sctp", &[SPORT, DPORT], list_ports) },
    Module { protocols: &[DCCP], finish: finish_ports, ..module("dccp", &[SPORT, DPORT], list_ports) },
    Module {
        protocols: WITH_PORTS,
        finish: one,
        ..module(
            "multiport",
            &[
                Opt::new(&["sports", "source-ports"], value::port_list).not(),
                Opt::new(&["dports", "destination-ports"], value::port_list).not(),
                Opt::new(&["ports"], value::port_list).not(),
            ],
            list_multiport,
        )
    },
    Module { family: Some(Family::V4), protocols: &[ICMP], ..module("icmp", &[Opt::new(&["icmp-type"], icmp_type).not()], list_icmp) },
    Module {
        family: Some(Family::V6),
        protocols: &[ICMPV6],
        ..module("icmp6", &[Opt::new(&["icmpv6-type", "icmp6-type"], icmp_type).not()], list_icmp)
    },
    module(
        "conntrack",
        &[
            Opt::new(&["ctstate"], ct_state).not(),
            Opt::new(&["ctproto"], ct_protocol).not(),
            Opt::new(&["ctorigsrc"], value::ct_network).not(),
            Opt::new(&["ctorigdst"], value::ct_network).not(),
            Opt::new(&["ctreplsrc"], value::ct_network).not(),
            Opt::new(&["ctrepldst"], value::ct_network).not(),
            Opt::new(&["ctorigsrcport"], value::ports).not(),
            Opt::new(&["ctorigdstport"], value::ports).not(),
            Opt::new(&["ctreplsrcport"], value::ports).not(),
            Opt::new(&["ctrepldstport"], value::ports).not(),
            Opt::new(&["ctstatus"], ct_status).not(),
            Opt::new(&["ctdir"], ct_direction),
        ],
        list_conntrack,
    ),
    module("state", &[Opt::new(&["state"], state).not()], list_conntrack),
    Module {
        finish: finish_limit,
        ..module("limit", &[Opt::new(&["limit"], rate), Opt::new(&["limit-burst"], burst)], |clause, _| {
            format!("limit: avg {} burst {}", clause.text("limit"), clause.number("limit-burst").unwrap_or(BURST))
        })
    },
    module("mark", &[Opt::new(&["mark"], value::mark).not()], |clause, _| {
        format!("mark match{} {}", inverted(clause.get("mark"), " !"), clause.text("mark"))
    }),
    module("connmark", &[Opt::new(&["mark"], value::mark).not()], |clause, _| {
        format!("connmark match {} {}", inverted(clause.get("mark"), "!"), clause.text("mark"))
    }),
    module("mac", &[Opt::new(&["mac-source"], mac).not()], |clause, _| {
        format!("MAC{} {}", inverted(clause.get("mac-source"), " !"), clause.text("mac-source"))
    }),
    module("length", &[Opt::new(&["length"], length).not()], |clause, _| {
        format!("length {}{}", inverted(clause.get("length"), "!"), clause.text("length"))
    }),
    Module {
        family: Some(Family::V4),
        finish: one,
        ..module(
            "ttl",
            &[Opt::new(&["ttl-eq", "ttl"], value::octet).not(), Opt::new(&["ttl-lt"], value::octet), Opt::new(&["ttl-gt"], value::octet)],
            |clause, _| list_ttl("TTL", clause),
        )
    },
    Module {
        family: Some(Family::V6),
        finish: one,
        ..module(
            "hl",
            &[Opt::new(&["hl-eq", "hl"], value::octet).not(), Opt::new(&["hl-lt"], value::octet), Opt::new(&["hl-gt"], value::octet)],
            |clause, _| list_ttl("HL", clause),
        )
    },
    module(
        "dscp",
        &[Opt::new(&["dscp"], value::dscp).not(), Opt::new(&["dscp-class"], value::dscp_class).not().prints("dscp")],
        |clause, _| format!("DSCP match {}{}", inverted(clause.get("dscp"), "!"), clause.text("dscp")),
    ),
    module("tos", &[Opt::new(&["tos"], value::tos).not()], list_tos),
    Module {
        finish: finish_address_type,
        ..module(
            "addrtype",
            &[
                Opt::new(&["src-type"], address_type).not(),
                Opt::new(&["dst-type"], address_type).not(),
                Opt::flag(&["limit-iface-in"]),
                Opt::flag(&["limit-iface-out"]),
            ],
            list_address_type,
        )
    },
    module("comment", &[Opt::new(&["comment"], comment)], |clause, _| match clause.get("comment").map(|arg| &arg.value.data) {
        Some(Data::Text(text)) => format!("/* {text} */"),
        _ => String::new(),
    }),
    module("set", &[Opt::new(&["match-set"], match_set).two().not()], |clause, _| {
        format!("{}match-set {}", inverted(clause.get("match-set"), "! "), clause.text("match-set"))
    }),
    module(
        "iprange",
        &[Opt::new(&["src-range"], value::address_range).not(), Opt::new(&["dst-range"], value::address_range).not()],
        |clause, _| {
            let part = |print: &str, words: &str| {
                clause.get(print).map(|arg| format!("{words} IP range {}{}", inverted(Some(arg), "! "), arg.value.text))
            };
            [part("src-range", "source"), part("dst-range", "destination")].into_iter().flatten().collect::<Vec<_>>().join(" ")
        },
    ),
    module("pkttype", &[Opt::new(&["pkt-type"], packet_type).not()], |clause, _| {
        format!("PKTTYPE {}= {}", inverted(clause.get("pkt-type"), "!"), clause.text("pkt-type"))
    }),
    Module {
        finish: optional,
        ..module("rpfilter", &[Opt::flag(&["loose"]), Opt::flag(&["accept-local"]), Opt::flag(&["invert"])], |clause, _| {
            clause.args.iter().fold("rpfilter".to_owned(), |text, arg| format!("{text} {}", arg.option.print))
        })
    },
    Module {
        finish: finish_statistic,
        ..module(
            "statistic",
            &[
                Opt::new(&["mode"], statistic_mode),
                Opt::new(&["probability"], probability).not(),
                Opt::new(&["every"], every).not(),
                Opt::new(&["packet"], value::decimal),
            ],
            |clause, _| {
                let words = clause.args.iter().map(|arg| format!(" {}{} {}", inverted(Some(arg), "! "), arg.option.print, arg.value.text));
                format!("statistic{}", words.collect::<String>())
            },
        )
    },
];

fn inverted(arg: Option<&Arg>, mark: &'static str) -> &'static str {
    if arg.is_some_and(|arg| arg.negated) { mark } else { "" }
}

/// Exactly one option.
fn one(clause: &mut Clause, family: Family) -> Result<(), String> {
    some(clause, family)?;
    match clause.args.as_slice() {
        [_] => Ok(()),
        args => Err(format!("--{} and --{} exclude each other", args[0].option.names[0], args[1].option.names[0])),
    }
}

/// All ports are no condition.
fn finish_ports(clause: &mut Clause, _: Family) -> Result<(), String> {
    clause.args.retain(|arg| arg.negated || arg.value.data != Data::Ports(vec![(0, u16::MAX)]));
    Ok(())
}

fn ok(text: impl Into<String>, data: Data) -> Result<Value, String> {
    Ok(Value { text: text.into(), data })
}

const TCP_FLAGS: [(&str, u32); 6] = [("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32)];

fn tcp_flag_words(text: &str) -> Result<u32, String> {
    text.split(',').try_fold(0, |bits, word| {
        Ok(bits
            | match word {
                "ALL" | "all" => 0x3f,
                "NONE" | "none" => 0,
                _ => words(word, &TCP_FLAGS).map_err(|_| format!("unknown TCP flag {word:?}"))?,
            })
    })
}

/// Flags as they are printed.
fn tcp_flags_text(flags: u32) -> String {
    if flags == 0 { "NONE".to_owned() } else { words_text(flags, &TCP_FLAGS) }
}

fn tcp_flags(texts: &[&str], _: Family) -> Result<Value, String> {
    let (mask, compare) = (tcp_flag_words(texts[0])?, tcp_flag_words(texts[1])?);
    ok(format!("{} {}", tcp_flags_text(mask), tcp_flags_text(compare)), Data::Pair(mask, compare))
}

fn syn(_: &[&str], family: Family) -> Result<Value, String> {
    tcp_flags(&["FIN,SYN,RST,ACK", "SYN"], family)
}

fn tcp_option(texts: &[&str], _: Family) -> Result<Value, String> {
    let number = bounded(texts[0], 1, 255)?;
    ok(number.to_string(), Data::Number(number))
}

fn list_port(clause: &Clause, print: &str, word: &str, listing: &Listing<'_>) -> String {
    let Some(Arg { negated, value: Value { data: Data::Ports(list), .. }, .. }) = clause.get(print) else { return String::new() };
    let name = |port: u16| match names::service(port, clause.module.name) {
        Some(name) if !listing.numeric => name.to_owned(),
        _ => port.to_string(),
    };
    let (low, high) = list[0];
    let not = if *negated { "!" } else { "" };
    if low == high { format!(" {word}:{not}{}", name(low)) } else { format!(" {word}s:{not}{}:{}", name(low), name(high)) }
}

fn list_ports(clause: &Clause, listing: &Listing<'_>) -> String {
    format!("{}{}{}", clause.module.name, list_port(clause, "sport", "spt", listing), list_port(clause, "dport", "dpt", listing))
}

fn list_tcp(clause: &Clause, listing: &Listing<'_>) -> String {
    let mut text = list_ports(clause, listing);
    if let Some(arg) = clause.get("tcp-option") {
        text += &format!(" option={}{}", inverted(Some(arg), "!"), arg.value.text);
    }
    if let Some(arg @ Arg { value: Value { data: Data::Pair(mask, compare), .. }, .. }) = clause.get("tcp-flags") {
        let not = inverted(Some(arg), "!");
        text += &match listing.numeric {
            true => format!(" flags:{not}0x{mask:02X}/0x{compare:02X}"),
            false => format!(" flags:{not}{}/{}", tcp_flags_text(*mask), tcp_flags_text(*compare)),
        };
    }
    text
}

fn list_multiport(clause: &Clause, listing: &Listing<'_>) -> String {
    let Some(arg @ Arg { value: Value { data: Data::Ports(list), .. }, .. }) = clause.args.first() else { return String::new() };
    let name = |port: u16| match names::service(port, listing.protocol) {
        Some(name) if !listing.numeric => name.to_owned(),
        _ => port.to_string(),
    };
    let one = |(low, high): &(u16, u16)| if low == high { name(*low) } else { format!("{}:{}", name(*low), name(*high)) };
    format!("multiport {} {}{}", arg.option.print, inverted(Some(arg), " !"), list.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Type in the first number, lowest code in the upper and highest in the lower octet of the second.
fn icmp_type(texts: &[&str], family: Family) -> Result<Value, String> {
    let text = texts[0];
    let known = names::icmp_types(family);
    let starts = |name: &str| name.len() >= text.len() && name.as_bytes()[..text.len()].eq_ignore_ascii_case(text.as_bytes());
    let exact = known.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text));
    let mut begin = known.iter().filter(|(name, ..)| !text.is_empty() && starts(name));
    let (kind, low, high) = match (exact.or_else(|| begin.next()), exact.is_none() && begin.next().is_some()) {
        (_, true) => return Err(format!("ICMP type {text:?} could be several")),
        (Some((_, kind, low, high)), _) => (*kind, *low, *high),
        (None, _) => {
            let (kind, code) = text.split_once('/').map_or((text, None), |(kind, code)| (kind, Some(code)));
            let unknown = || format!("unknown ICMP type {text:?}{}", did_you_mean(text, known.iter().map(|(name, ..)| *name)));
            let kind = bounded(kind, 0, 255).map_err(|_| unknown())?;
            let code = code.map(|code| bounded(code, 0, 255)).transpose().map_err(|_| unknown())?;
            (kind as u8, code.unwrap_or(0) as u8, code.unwrap_or(255) as u8)
        }
    };
    let printed = match (family, kind, low == 0 && high == 255) {
        (Family::V4, 255, _) => "any".to_owned(),
        (_, kind, true) => kind.to_string(),
        (_, kind, false) => format!("{kind}/{low}"),
    };
    ok(printed, Data::Pair(kind.into(), u32::from(low) << 8 | u32::from(high)))
}

fn list_icmp(clause: &Clause, listing: &Listing<'_>) -> String {
    let Some(Arg { negated, value: Value { data: Data::Pair(kind, codes), .. }, .. }) = clause.args.first() else { return String::new() };
    let word = if listing.family == Family::V4 { "icmp" } else { "ipv6-icmp" };
    let (low, high) = ((codes >> 8) as u8, *codes as u8);
    let not = if *negated { "!" } else { "" };
    let named = names::icmp_types(listing.family).iter().find(|(_, k, l, h)| (u32::from(*k), *l, *h) == (*kind, low, high));
    match named {
        Some((name, ..)) if !listing.numeric => format!("{word} {not}{name}"),
        _ => {
            let code = if low == 0 && high == 255 { String::new() } else { format!(" code {low}") };
            let glue = if *negated { " !type" } else { "type" };
            format!("{word}{glue} {kind}{code}")
        }
    }
}

/// The states of `--ctstate`; the first five are those of `--state`.
pub const CT_STATES: [(&str, u32); 7] =
    [("INVALID", 1), ("NEW", 2), ("RELATED", 4), ("ESTABLISHED", 8), ("UNTRACKED", 16), ("SNAT", 32), ("DNAT", 64)];
/// The bits of `--ctstatus`, those of [`dataplane::conntrack::Status`].
const CT_STATUSES: [(&str, u32); 4] = [("EXPECTED", 1), ("SEEN_REPLY", 2), ("ASSURED", 4), ("CONFIRMED", 8)];

fn ct_state(texts: &[&str], _: Family) -> Result<Value, String> {
    let bits = words(texts[0], &CT_STATES)?;
    ok(words_text(bits, &CT_STATES), Data::Number(bits))
}

fn state(texts: &[&str], _: Family) -> Result<Value, String> {
    let bits = words(texts[0], &CT_STATES[..5])?;
    ok(words_text(bits, &CT_STATES), Data::Number(bits))
}

fn ct_status(texts: &[&str], _: Family) -> Result<Value, String> {
    if texts[0].eq_ignore_ascii_case("NONE") {
        return ok("NONE", Data::Number(0));
    }
    let bits = words(texts[0], &CT_STATUSES)?;
    ok(words_text(bits, &CT_STATUSES), Data::Number(bits))
}

fn ct_protocol(texts: &[&str], _: Family) -> Result<Value, String> {
    let number = names::protocol(texts[0]).filter(|number| *number != 0).ok_or_else(|| format!("unknown protocol {:?}", texts[0]))?;
    ok(number.to_string(), Data::Number(number.into()))
}

fn ct_direction(texts: &[&str], _: Family) -> Result<Value, String> {
    match texts[0].to_ascii_uppercase().as_str() {
        "ORIGINAL" => ok("ORIGINAL", Data::Number(0)),
        "REPLY" => ok("REPLY", Data::Number(1)),
        _ => Err(format!("{:?} is neither ORIGINAL nor REPLY", texts[0])),
    }
}

fn list_conntrack(clause: &Clause, _: &Listing<'_>) -> String {
    let words = clause.args.iter().map(|arg| format!("{}{} {}", inverted(Some(arg), "! "), arg.option.print, arg.value.text));
    words.collect::<Vec<_>>().join(" ")
}

/// Units of time of a rate, in ten thousandths of a second.
const UNITS: [(&str, u64); 4] = [("day", 864_000_000), ("hour", 36_000_000), ("minute", 600_000), ("second", 10_000)];
const BURST: u32 = 5;

/// A rate, as the time for one packet in ten thousandths of a second (`XT_LIMIT_SCALE`).
fn rate(texts: &[&str], _: Family) -> Result<Value, String> {
    let wrong = || format!("{:?} is not a rate such as 5/minute", texts[0]);
    let (count, unit) = texts[0].split_once('/').unwrap_or((texts[0], "second"));
    let count = names::number(count).filter(|count| *count > 0).ok_or_else(wrong)?;
    let begins = |name: &str| name.len() >= unit.len() && name.as_bytes()[..unit.len()].eq_ignore_ascii_case(unit.as_bytes());
    let (_, scale) = UNITS.iter().find(|(name, _)| !unit.is_empty() && begins(name)).ok_or_else(wrong)?;
    let period = scale / u64::from(count);
    if period == 0 {
        return Err(format!("rate {:?} is too fast (at most 10000/second)", texts[0]));
    }
    let coarse = |(_, unit): &&(&str, u64)| period > *unit || unit / period < unit % period;
    let index = UNITS.iter().skip(1).position(|unit| coarse(&unit)).unwrap_or(3);
    let (name, unit) = UNITS[index];
    let name = if name.len() > 4 { &name[..3] } else { name };
    ok(format!("{}/{name}", unit / period), Data::Number(period as u32))
}

fn burst(texts: &[&str], _: Family) -> Result<Value, String> {
    let burst = bounded(texts[0], 1, 10_000)?;
    ok(burst.to_string(), Data::Number(burst))
}

fn finish_limit(clause: &mut Clause, family: Family) -> Result<(), String> {
    clause.default("limit", &["3/hour"], family)?;
    clause.args.retain(|arg| arg.option.print != "limit-burst" || arg.value.data != Data::Number(BURST));
    Ok(())
}

fn mac(texts: &[&str], _: Family) -> Result<Value, String> {
    let mac: wire::MacAddr = texts[0].parse().map_err(|_| format!("{:?} is not a MAC address", texts[0]))?;
    ok(mac.to_string(), Data::Mac(mac))
}

fn length(texts: &[&str], _: Family) -> Result<Value, String> {
    let (low, high) = range(texts[0], |text| bounded(text, 0, 65_535).map(|number| number as u16))?;
    ok(range_text((low, high)), Data::Pair(low.into(), high.into()))
}

fn list_ttl(word: &str, clause: &Clause) -> String {
    let Some(arg) = clause.args.first() else { return String::new() };
    let sign = match (&arg.option.print[arg.option.print.len() - 2..], arg.negated) {
        ("eq", false) => "==",
        ("eq", true) => "!=",
        ("lt", _) => "<",
        _ => ">",
    };
    format!("{word} match {word} {sign} {}", arg.value.text)
}

fn list_tos(clause: &Clause, listing: &Listing<'_>) -> String {
    let Some(arg @ Arg { value: Value { data: Data::Pair(tos, mask), text }, .. }) = clause.args.first() else { return String::new() };
    let named = names::TOS.iter().find(|(_, known)| u32::from(*known) == *tos && *mask == 0x3f);
    let not = inverted(Some(arg), "!");
    match named {
        Some((name, _)) if !listing.numeric => format!("tos match{not} {name}"),
        _ => format!("tos match{not}{text}"),
    }
}

/// The types of addresses, in the order of the kernel's numbers (`enum` `RTN_*`).
pub const ADDRESS_TYPES: [(&str, u32); 9] = [
    ("UNSPEC", 1),
    ("UNICAST", 1 << 1),
    ("LOCAL", 1 << 2),
    ("BROADCAST", 1 << 3),
    ("ANYCAST", 1 << 4),
    ("MULTICAST", 1 << 5),
    ("BLACKHOLE", 1 << 6),
    ("UNREACHABLE", 1 << 7),
    ("PROHIBIT", 1 << 8),
];

fn address_type(texts: &[&str], _: Family) -> Result<Value, String> {
    let bits = words(texts[0], &ADDRESS_TYPES)?;
    ok(words_text(bits, &ADDRESS_TYPES), Data::Number(bits))
}

fn finish_address_type(clause: &mut Clause, _: Family) -> Result<(), String> {
    if !clause.has("src-type") && !clause.has("dst-type") {
        return Err("--src-type or --dst-type is missing".to_owned());
    }
    match clause.has("limit-iface-in") && clause.has("limit-iface-out") {
        true => Err("--limit-iface-in and --limit-iface-out exclude each other".to_owned()),
        false => Ok(()),
    }
}

fn list_address_type(clause: &Clause, _: &Listing<'_>) -> String {
    clause.args.iter().fold("ADDRTYPE match".to_owned(), |text, arg| match arg.option.print {
        "limit-iface-in" => text + " limit-in",
        "limit-iface-out" => text + " limit-out",
        print => format!("{text} {print} {}{}", inverted(Some(arg), "!"), arg.value.text),
    })
}

fn comment(texts: &[&str], _: Family) -> Result<Value, String> {
    if texts[0].len() > 255 {
        return Err("the comment is longer than 255 octets".to_owned());
    }
    ok(quote(texts[0]), Data::Text(texts[0].to_owned()))
}

/// The name of the set; the text has the directions behind it.
fn match_set(texts: &[&str], family: Family) -> Result<Value, String> {
    let name = value::name(&texts[..1], family)?;
    let directions: Vec<&str> = texts[1].split(',').collect();
    if directions.len() > 2 || directions.iter().any(|direction| !matches!(*direction, "src" | "dst")) {
        return Err(format!("{:?} is not src, dst, or two of them with a comma", texts[1]));
    }
    ok(format!("{} {}", name.text, texts[1]), name.data)
}

fn packet_type(texts: &[&str], _: Family) -> Result<Value, String> {
    let (text, number) = match texts[0].to_ascii_lowercase().as_str() {
        "unicast" | "host" => ("unicast", 0),
        "broadcast" => ("broadcast", 1),
        "multicast" => ("multicast", 2),
        _ => return Err(format!("{:?} is not unicast, broadcast or multicast", texts[0])),
    };
    ok(text, Data::Number(number))
}

fn statistic_mode(texts: &[&str], _: Family) -> Result<Value, String> {
    match texts[0] {
        "random" => ok("random", Data::Number(0)),
        "nth" => ok("nth", Data::Number(1)),
        other => Err(format!("mode {other:?} is not random or nth")),
    }
}

/// A probability as a part of 2^31.
fn probability(texts: &[&str], _: Family) -> Result<Value, String> {
    let part = texts[0].parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
    let part = part.ok_or_else(|| format!("{:?} is not a number from 0 to 1", texts[0]))?;
    let part = (part * f64::from(0x8000_0000_u32)).round() as u32;
    ok(format!("{:.11}", f64::from(part) / f64::from(0x8000_0000_u32)), Data::Number(part))
}

fn every(texts: &[&str], _: Family) -> Result<Value, String> {
    let every = bounded(texts[0], 1, u32::MAX)?;
    ok(every.to_string(), Data::Number(every))
}

fn finish_statistic(clause: &mut Clause, family: Family) -> Result<(), String> {
    let mode = clause.number("mode").ok_or("--mode is missing")?;
    let wrong = if mode == 0 { ["every", "packet"] } else { ["probability", "probability"] };
    if let Some(print) = wrong.into_iter().find(|print| clause.has(print)) {
        return Err(format!("--{print} does not go with --mode {}", clause.text("mode")));
    }
    if mode == 0 {
        return if clause.has("probability") { Ok(()) } else { Err("--probability is missing".to_owned()) };
    }
    let every = clause.number("every").ok_or("--every is missing")?;
    clause.default("packet", &["0"], family)?;
    match clause.number("packet") {
        Some(packet) if packet >= every => Err(format!("--packet {packet} is not below --every {every}")),
        _ => Ok(()),
    }
}
