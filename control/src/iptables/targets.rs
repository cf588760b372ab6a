//! The targets, as `-j` names them. Formats are those of the extensions of iptables 1.8.

use dataplane::router::{Address, Family};
use dataplane::rules::Log;
use wire::ip_protocol::TCP;

use super::lex::quote;
use super::matches::family_tool;
use super::names::{self, did_you_mean};
use super::option::{Clause, Data, Listing, Module, Opt, Value, optional};
use super::value::{self, address, bounded, network, network_text, port, prefix_len};

/// The target of this name.
///
/// # Errors
///
/// When there is none, or not in this family.
pub fn find(name: &str, family: Family) -> Result<&'static Module, String> {
    if let Some(module) = ALL.iter().find(|module| module.name == name && module.family.is_none_or(|only| only == family)) {
        return Ok(module);
    }
    if is_name(name) {
        return Err(format!("target {name:?} is not one of {}", family_tool(family)));
    }
    Err(format!("target {name:?} is not supported{}", did_you_mean(name, ALL.iter().map(|module| module.name))))
}

/// Whether this is the name of a target of either family: chains cannot have it.
pub fn is_name(name: &str) -> bool {
    ALL.iter().any(|module| module.name == name)
}

const fn module(
    name: &'static str,
    options: &'static [Opt],
    finish: fn(&mut Clause, Family) -> Result<(), String>,
    list: fn(&Clause, &Listing<'_>) -> String,
) -> Module {
    Module { name, family: None, protocols: &[], options, finish, list }
}

const fn plain(name: &'static str) -> Module {
    module(name, &[], optional, |_, _| String::new())
}

const RANDOM: Opt = Opt::flag(&["random"]);
const RANDOM_FULLY: Opt = Opt::flag(&["random-fully"]);
const PERSISTENT: Opt = Opt::flag(&["persistent"]);

static ALL: &[Module] = &[
    plain("ACCEPT"),
    plain("DROP"),
    plain("RETURN"),
    module("REJECT", &[Opt::new(&["reject-with"], reject_with)], finish_reject, |clause, _| {
        format!("reject-with {}", clause.text("reject-with"))
    }),
    module(
        "LOG",
        &[
            Opt::new(&["log-prefix"], log_prefix),
            Opt::new(&["log-level"], log_level),
            Opt::flag(&["log-tcp-sequence"]),
            Opt::flag(&["log-tcp-options"]),
            Opt::flag(&["log-ip-options"]),
            Opt::flag(&["log-macdecode"]),
        ],
        |clause, _| {
            clause.args.retain(|arg| arg.value.data != Data::Number(LOG_LEVEL));
            Ok(())
        },
        list_log,
    ),
    module(
        "MARK",
        &[
            Opt::new(&["set-xmark"], value::set_xmark),
            Opt::new(&["set-mark"], value::set_mark).prints("set-xmark"),
            Opt::new(&["and-mark"], value::and_mark).prints("set-xmark"),
            Opt::new(&["or-mark"], value::or_mark).prints("set-xmark"),
            Opt::new(&["xor-mark"], value::xor_mark).prints("set-xmark"),
        ],
        needs_option,
        |clause, _| format!("MARK {}", list_set_mark(clause)),
    ),
    module(
        "CONNMARK",
        &[
            Opt::new(&["set-xmark"], value::set_xmark),
            Opt::new(&["set-mark"], value::set_mark).prints("set-xmark"),
            Opt::new(&["and-mark"], value::and_mark).prints("set-xmark"),
            Opt::new(&["or-mark"], value::or_mark).prints("set-xmark"),
            Opt::new(&["xor-mark"], value::xor_mark).prints("set-xmark"),
            Opt::flag(&["save-mark"]),
            Opt::flag(&["restore-mark"]),
            Opt::new(&["mask"], value::mark_mask),
            Opt::new(&["nfmask"], value::mark_mask),
            Opt::new(&["ctmask"], value::mark_mask),
        ],
        finish_connmark,
        list_connmark,
    ),
    module(
        "DSCP",
        &[Opt::new(&["set-dscp"], value::dscp), Opt::new(&["set-dscp-class"], value::dscp_class).prints("set-dscp")],
        needs_option,
        |clause, _| format!("DSCP set {}", clause.text("set-dscp")),
    ),
    module(
        "TOS",
        &[
            Opt::new(&["set-tos"], value::set_tos),
            Opt::new(&["and-tos"], value::and_tos).prints("set-tos"),
            Opt::new(&["or-tos"], value::or_tos).prints("set-tos"),
            Opt::new(&["xor-tos"], value::xor_tos).prints("set-tos"),
        ],
        needs_option,
        list_tos,
    ),
    Module {
        family: Some(Family::V4),
        ..module(
            "TTL",
            &[Opt::new(&["ttl-set"], value::octet), Opt::new(&["ttl-inc"], step), Opt::new(&["ttl-dec"], step)],
            one_option,
            |clause, _| list_ttl("TTL", clause),
        )
    },
    Module {
        family: Some(Family::V6),
        ..module(
            "HL",
            &[Opt::new(&["hl-set"], value::octet), Opt::new(&["hl-inc"], step), Opt::new(&["hl-dec"], step)],
            one_option,
            |clause, _| list_ttl("HL", clause),
        )
    },
    Module {
        protocols: &[TCP],
        ..module("TCPMSS", &[Opt::new(&["set-mss"], mss), Opt::flag(&["clamp-mss-to-pmtu"])], one_option, |clause, _| {
            if clause.has("set-mss") { format!("TCPMSS set {}", clause.text("set-mss")) } else { "TCPMSS clamp to PMTU".to_owned() }
        })
    },
    module(
        "CT",
        &[Opt::flag(&["notrack"]), Opt::new(&["helper"], helper), Opt::new(&["zone"], zone)],
        |clause, _| match clause.has("notrack") && clause.args.len() > 1 {
            true => Err("--notrack does not go with other options".to_owned()),
            false => Ok(()),
        },
        |clause, _| {
            clause.args.iter().fold("CT".to_owned(), |text, arg| [&text, arg.option.print, &arg.value.text].join(" ").trim_end().to_owned())
        },
    ),
    module("NOTRACK", &[], optional, |_, _| "NOTRACK".to_owned()),
    module(
        "SNAT",
        &[Opt::new(&["to-source"], to_source), RANDOM, RANDOM_FULLY, PERSISTENT],
        |clause, _| if clause.has("to-source") { Ok(()) } else { Err("--to-source is missing".to_owned()) },
        |clause, _| format!("to:{}{}", clause.text("to-source"), list_flags(clause)),
    ),
    module(
        "DNAT",
        &[Opt::new(&["to-destination"], to_destination), RANDOM, PERSISTENT],
        |clause, _| if clause.has("to-destination") { Ok(()) } else { Err("--to-destination is missing".to_owned()) },
        |clause, _| format!("to:{}{}", clause.text("to-destination"), list_flags(clause)),
    ),
    module("MASQUERADE", &[Opt::new(&["to-ports"], to_ports), RANDOM, RANDOM_FULLY], optional, |clause, _| {
        let ports = if clause.has("to-ports") { format!("masq ports: {}", clause.text("to-ports")) } else { String::new() };
        (ports + &list_flags(clause)).trim_start().to_owned()
    }),
    module("REDIRECT", &[Opt::new(&["to-ports"], to_ports), RANDOM], optional, |clause, _| {
        let ports = if clause.has("to-ports") { format!("redir ports {}", clause.text("to-ports")) } else { String::new() };
        (ports + &list_flags(clause)).trim_start().to_owned()
    }),
    module("NETMAP", &[Opt::new(&["to"], netmap)], needs_option, |clause, _| format!("to:{}", clause.text("to"))),
    Module {
        protocols: &[TCP],
        ..module(
            "SYNPROXY",
            &[
                Opt::flag(&["sack-perm"]),
                Opt::flag(&["timestamp"]),
                Opt::new(&["wscale"], |words, _| {
                    let scale = bounded(words[0], 0, 14)?;
                    ok(scale.to_string(), Data::Number(scale))
                }),
                Opt::new(&["mss"], mss),
                Opt::flag(&["ecn"]),
            ],
            optional,
            |clause, _| {
                clause.args.iter().fold("SYNPROXY ".to_owned(), |text, arg| {
                    let glue = if arg.value.text.is_empty() { "" } else { " " };
                    format!("{text}{}{glue}{} ", arg.option.print, arg.value.text)
                })
            },
        )
    },
];

fn ok(text: impl Into<String>, data: Data) -> Result<Value, String> {
    Ok(Value { text: text.into(), data })
}

fn needs_option(clause: &mut Clause, family: Family) -> Result<(), String> {
    super::option::some(clause, family)
}

fn one_option(clause: &mut Clause, family: Family) -> Result<(), String> {
    needs_option(clause, family)?;
    match clause.args.as_slice() {
        [_] => Ok(()),
        args => Err(format!("--{} and --{} exclude each other", args[0].option.names[0], args[1].option.names[0])),
    }
}

fn list_flags(clause: &Clause) -> String {
    clause.args.iter().filter(|arg| arg.option.words == 0).map(|arg| format!(" {}", arg.option.print)).collect()
}

/// `--reject-with`: name, another name, code of ICMP or ICMPv6. The reset of TCP has no code.
const REJECTS_V4: [(&str, &str, u32); 8] = [
    ("icmp-net-unreachable", "net-unreach", 0),
    ("icmp-host-unreachable", "host-unreach", 1),
    ("icmp-proto-unreachable", "proto-unreach", 2),
    ("icmp-port-unreachable", "port-unreach", 3),
    ("icmp-net-prohibited", "net-prohib", 9),
    ("icmp-host-prohibited", "host-prohib", 10),
    ("tcp-reset", "tcp-rst", TCP_RESET),
    ("icmp-admin-prohibited", "admin-prohib", 13),
];
const REJECTS_V6: [(&str, &str, u32); 7] = [
    ("icmp6-no-route", "no-route", 0),
    ("icmp6-adm-prohibited", "adm-prohibited", 1),
    ("icmp6-addr-unreachable", "addr-unreach", 3),
    ("icmp6-port-unreachable", "port-unreach", 4),
    ("tcp-reset", "tcp-reset", TCP_RESET),
    ("icmp6-policy-fail", "policy-fail", 5),
    ("icmp6-reject-route", "reject-route", 6),
];
/// Stands for `tcp-reset` among the codes.
pub const TCP_RESET: u32 = 256;

fn reject_with(words: &[&str], family: Family) -> Result<Value, String> {
    let known: &[(&str, &str, u32)] = if family == Family::V4 { &REJECTS_V4 } else { &REJECTS_V6 };
    match known.iter().find(|(name, other, _)| *name == words[0] || *other == words[0]) {
        Some((name, _, code)) => ok(*name, Data::Number(*code)),
        None => Err(format!("unknown reject type {:?}{}", words[0], did_you_mean(words[0], known.iter().map(|(name, ..)| *name)))),
    }
}

fn finish_reject(clause: &mut Clause, family: Family) -> Result<(), String> {
    clause.default("reject-with", &["port-unreach"], family)
}

const LOG_LEVEL: u32 = 4;

fn log_prefix(words: &[&str], _: Family) -> Result<Value, String> {
    if words[0].len() > Log::PREFIX_MAX {
        return Err(format!("the prefix is longer than {} octets", Log::PREFIX_MAX));
    }
    ok(quote(words[0]), Data::Text(words[0].to_owned()))
}

fn log_level(words: &[&str], _: Family) -> Result<Value, String> {
    let named = names::LOG_LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(words[0])).map(|(_, level)| u32::from(*level));
    let level = named.map_or_else(|| bounded(words[0], 0, 7), Ok).map_err(|_| format!("unknown log level {:?}", words[0]))?;
    ok(level.to_string(), Data::Number(level))
}

fn list_log(clause: &Clause, listing: &Listing<'_>) -> String {
    let level = clause.number("log-level").unwrap_or(LOG_LEVEL);
    let has = |print| clause.has(print);
    const FLAGS: [(&str, &str, u32); 4] = [
        ("log-tcp-sequence", "tcp-sequence", 1),
        ("log-tcp-options", "tcp-options", 2),
        ("log-ip-options", "ip-options", 4),
        ("log-macdecode", "macdecode", 32),
    ];
    let mut text = if listing.numeric {
        let bits: u32 = FLAGS.iter().filter(|(print, ..)| has(print)).map(|(_, _, bit)| bit).sum();
        format!("LOG flags {bits} level {level}")
    } else {
        let name = names::LOG_LEVELS.iter().rev().find(|(_, known)| u32::from(*known) == level).map_or("", |(name, _)| name);
        let words: String = FLAGS.iter().filter(|(print, ..)| has(print)).map(|(_, word, _)| format!(" {word}")).collect();
        format!("LOG level {name}{words}")
    };
    if let Some(Data::Text(prefix)) = clause.get("log-prefix").map(|arg| &arg.value.data) {
        text += &format!(" prefix \"{prefix}\"");
    }
    text
}

fn list_set_mark(clause: &Clause) -> String {
    match clause.get("set-xmark").map(|arg| &arg.value.data) {
        Some(Data::Pair(0, mask)) => format!("and {:#x}", !mask),
        Some(Data::Pair(value, mask)) if value == mask => format!("or {value:#x}"),
        Some(Data::Pair(value, 0)) => format!("xor {value:#x}"),
        Some(Data::Pair(value, u32::MAX)) => format!("set {value:#x}"),
        Some(Data::Pair(value, mask)) => format!("xset {value:#x}/{mask:#x}"),
        _ => String::new(),
    }
}

fn finish_connmark(clause: &mut Clause, family: Family) -> Result<(), String> {
    let what = ["set-xmark", "save-mark", "restore-mark"].into_iter().filter(|print| clause.has(print)).collect::<Vec<_>>();
    let masks = ["mask", "nfmask", "ctmask"].into_iter().filter(|print| clause.has(print)).collect::<Vec<_>>();
    match what.as_slice() {
        [] => return Err("one of --set-mark, --and-mark, --or-mark, --xor-mark, --save-mark, --restore-mark is missing".to_owned()),
        ["set-xmark"] if masks.is_empty() => return Ok(()),
        ["set-xmark"] => return Err(format!("--{} goes with --save-mark and --restore-mark only", masks[0])),
        [_] => {}
        [one, other, ..] => return Err(format!("--{one} and --{other} exclude each other")),
    }
    let both = clause.get("mask").map(|arg| arg.value.text.clone());
    if let Some(both) = &both {
        if masks.len() > 1 {
            return Err(format!("--mask and --{} exclude each other", masks[1]));
        }
        clause.args.retain(|arg| arg.option.print != "mask");
        clause.default("nfmask", &[both], family)?;
        clause.default("ctmask", &[both], family)?;
    }
    clause.default("nfmask", &["0xffffffff"], family)?;
    clause.default("ctmask", &["0xffffffff"], family)
}

fn list_connmark(clause: &Clause, _: &Listing<'_>) -> String {
    let (Some(nfmask), Some(ctmask)) = (clause.number("nfmask"), clause.number("ctmask")) else {
        return format!("CONNMARK {}", list_set_mark(clause));
    };
    let save = clause.has("save-mark");
    let word = if save { "save" } else { "restore" };
    match (nfmask, ctmask) {
        (u32::MAX, u32::MAX) => format!("CONNMARK {word}"),
        (nfmask, ctmask) if nfmask == ctmask => format!("CONNMARK {word} mask {nfmask:#x}"),
        (nfmask, ctmask) if save => format!("CONNMARK save nfmask {nfmask:#x} ctmask ~{ctmask:#x}"),
        (nfmask, ctmask) => format!("CONNMARK restore ctmask {ctmask:#x} nfmask ~{nfmask:#x}"),
    }
}

fn list_tos(clause: &Clause, listing: &Listing<'_>) -> String {
    let Some(Data::Pair(tos, mask)) = clause.get("set-tos").map(|arg| &arg.value.data) else { return String::new() };
    let named = names::TOS.iter().find(|(_, known)| u32::from(*known) == *tos && *mask == 0x3f);
    match (named, tos, mask) {
        _ if listing.numeric => format!("TOS set {}", clause.text("set-tos")),
        // The blanks are those of iptables.
        (Some((name, _)), ..) => format!(" TOS set{name}"),
        (None, 0, mask) => format!("TOS and 0x{:02x}", !mask & 0xff),
        (None, tos, mask) if tos == mask => format!("TOS or 0x{tos:02x}"),
        (None, tos, 0) => format!("TOS xor 0x{tos:02x}"),
        _ => format!("TOS set {}", clause.text("set-tos")),
    }
}

fn step(words: &[&str], _: Family) -> Result<Value, String> {
    let step = bounded(words[0], 1, 255)?;
    ok(step.to_string(), Data::Number(step))
}

fn list_ttl(word: &str, clause: &Clause) -> String {
    let Some(arg) = clause.args.first() else { return String::new() };
    match &arg.option.print[arg.option.print.len() - 3..] {
        "set" => format!("{word} set to {}", arg.value.text),
        "inc" => format!("{word} increment by {}", arg.value.text),
        _ => format!("{word} decrement by {}", arg.value.text),
    }
}

fn mss(words: &[&str], _: Family) -> Result<Value, String> {
    let mss = bounded(words[0], 0, 65_495)?;
    ok(mss.to_string(), Data::Number(mss))
}

/// The helpers of connection tracking.
pub const HELPERS: [&str; 2] = ["ftp", "tftp"];

fn helper(words: &[&str], _: Family) -> Result<Value, String> {
    match HELPERS.iter().position(|name| *name == words[0]) {
        Some(index) => ok(words[0], Data::Number(index as u32)),
        None => Err(format!("helper {:?} is not supported (there are {})", words[0], HELPERS.join(", "))),
    }
}

fn zone(words: &[&str], _: Family) -> Result<Value, String> {
    let zone = bounded(words[0], 0, 65_535)?;
    ok(zone.to_string(), Data::Number(zone))
}

/// `PORT` or `LOW-HIGH`.
fn dashed_ports(text: &str) -> Result<(u16, u16), String> {
    let (low, high) = match port(text) {
        Ok(one) => (one, one),
        Err(error) => {
            let (low, high) = text.split_once('-').ok_or(error)?;
            (port(low)?, port(high)?)
        }
    };
    if low > high {
        return Err(format!("range {text:?} goes downwards"));
    }
    if low == 0 {
        return Err("port 0 is no port to translate to".to_owned());
    }
    Ok((low, high))
}

fn dashed_text((low, high): (u16, u16)) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

fn to_ports(words: &[&str], _: Family) -> Result<Value, String> {
    let ports = dashed_ports(words[0])?;
    ok(dashed_text(ports), Data::Nat(None, Some(ports), None))
}

fn to_source(words: &[&str], family: Family) -> Result<Value, String> {
    nat_range(words[0], family, false)
}

fn to_destination(words: &[&str], family: Family) -> Result<Value, String> {
    nat_range(words[0], family, true)
}

/// `[ADDRESS[-ADDRESS]][:PORT[-PORT[/BASE]]]`, IPv6 addresses in brackets when there are ports.
fn nat_range(text: &str, family: Family, base: bool) -> Result<Value, String> {
    let (addresses, ports) = match (family, text.strip_prefix('[')) {
        (Family::V6, Some(rest)) => {
            let (addresses, rest) = rest.split_once(']').ok_or_else(|| format!("{text:?} lacks a closing bracket"))?;
            match rest.strip_prefix(':') {
                Some(ports) => (addresses, Some(ports)),
                None if rest.is_empty() => (addresses, None),
                None => return Err(format!("{rest:?} behind the bracket is not :PORT")),
            }
        }
        (Family::V6, None) => match text.strip_prefix(':').filter(|ports| !ports.contains(':')) {
            Some(ports) => ("", Some(ports)),
            None => (text, None),
        },
        (Family::V4, _) => text.split_once(':').map_or((text, None), |(addresses, ports)| (addresses, Some(ports))),
    };
    let range: Option<(Address, Address)> = match addresses {
        "" if ports.is_none() => return Err("an address or port is missing".to_owned()),
        "" => None,
        text => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (address(first, family)?, address(last, family)?);
            if first > last {
                return Err(format!("range {text:?} goes downwards"));
            }
            Some((first, last))
        }
    };
    let (ports, base) = match ports {
        None => (None, None),
        Some(text) => match text.split_once('/') {
            Some((ports, start)) if base => (Some(dashed_ports(ports)?), Some(port(start)?)),
            Some(_) => return Err(format!("{text:?} is not a port or range of ports")),
            None => (Some(dashed_ports(text)?), None),
        },
    };
    let mut printed = match range {
        None => String::new(),
        Some((first, last)) if first == last => first.display(family).to_string(),
        Some((first, last)) => format!("{}-{}", first.display(family), last.display(family)),
    };
    if let Some(ports) = ports {
        if family == Family::V6 && range.is_some() {
            printed = format!("[{printed}]");
        }
        printed += &format!(":{}", dashed_text(ports));
    }
    if let Some(base) = base {
        printed += &format!("/{base}");
    }
    ok(printed, Data::Nat(range, ports, base))
}

fn netmap(words: &[&str], family: Family) -> Result<Value, String> {
    let (address, mask) = network(words[0], family)?;
    if prefix_len(mask, family).is_none() {
        return Err(format!("the mask of {:?} has gaps", words[0]));
    }
    ok(network_text(address, mask, family, true), Data::Network(address, mask))
}
