//! From a rule as its author sees it to what workers evaluate.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataplane::conntrack::{Direction, HelperKind, Status, Template};
use dataplane::nat::NatRange;
use dataplane::router::{Family, InterfaceId};
use dataplane::rules::{
    AddressTypes, ChainId, ConnMark, CtStates, End, IcmpType, InterfaceSet, IpSet, Log, Match, Network, PacketType, PortRange, Ports,
    RejectWith, Statistic, SynProxy, Target, TcpMss, Test, Ttl, TtlEdit,
};

use super::names::did_you_mean;
use super::option::{Arg, Clause, Data};
use super::rule::{Interface, Jump, Rule};
use super::targets::TCP_RESET;
use super::value::{all_ones, prefix_len};

/// What names in rules stand for.
pub(super) struct Names<'n> {
    /// Interfaces of the router.
    pub(super) interfaces: &'n BTreeMap<String, InterfaceId>,
    /// Sets of the router.
    pub(super) sets: &'n BTreeMap<String, Arc<IpSet>>,
    /// User chains of the table.
    pub(super) chains: &'n BTreeMap<&'n str, ChainId>,
    /// Name of the table, for errors.
    pub(super) table: &'n str,
}

/// Nanoseconds of a ten thousandth of a second, the unit of rates.
const RATE_UNIT: u64 = 100_000;

/// Resolves the names of a rule.
///
/// # Errors
///
/// When an interface, set or chain is not there, or does not fit.
pub(super) fn lower(rule: &Rule, names: &Names<'_>) -> Result<(Vec<Match>, Target), String> {
    let mut list = Vec::new();
    let mut add = |invert: bool, test: Test| list.push(Match { invert, test });
    if let Some(host) = &rule.source {
        add(host.negated, Test::Source(Network::new(host.address, host.mask)));
    }
    if let Some(host) = &rule.destination {
        add(host.negated, Test::Destination(Network::new(host.address, host.mask)));
    }
    if let Some(interface) = &rule.in_interface {
        add(interface.negated, Test::InInterface(resolve(interface, names)?));
    }
    if let Some(interface) = &rule.out_interface {
        add(interface.negated, Test::OutInterface(resolve(interface, names)?));
    }
    if let Some((negated, protocol)) = rule.protocol {
        add(negated, Test::Protocol(protocol));
    }
    if let Some(negated) = rule.fragment {
        add(negated, Test::Fragment);
    }
    for clause in &rule.matches {
        for arg in &clause.args {
            if let Some((invert, test)) = test(clause, arg, rule.family, names)? {
                add(invert, test);
            }
        }
        if clause.module.name == "rpfilter" {
            let (loose, accept_local) = (clause.has("loose"), clause.has("accept-local"));
            add(clause.has("invert"), Test::RpFilter { loose, accept_local });
        }
    }
    Ok((list, target(rule, names)?))
}

fn resolve(interface: &Interface, names: &Names<'_>) -> Result<InterfaceSet, String> {
    let known = names.interfaces;
    if let Some(begin) = interface.name.strip_suffix('+') {
        return Ok(known.iter().filter(|(name, _)| name.starts_with(begin)).map(|(_, id)| *id).collect());
    }
    match known.get(&interface.name) {
        Some(id) => Ok([*id].into_iter().collect()),
        // A router has no loopback interface: nothing comes in there. Rules of hosts commonly name it.
        None if interface.name == "lo" => Ok(InterfaceSet::default()),
        None => Err(format!(
            "the router has no interface {:?}{}",
            interface.name,
            did_you_mean(&interface.name, known.keys().map(String::as_str))
        )),
    }
}

fn number(arg: &Arg) -> u32 {
    match arg.value.data {
        Data::Number(number) => number,
        _ => 0,
    }
}

fn pair(arg: &Arg) -> (u32, u32) {
    match arg.value.data {
        Data::Pair(a, b) => (a, b),
        _ => (0, 0),
    }
}

fn network(arg: &Arg) -> Network {
    match arg.value.data {
        Data::Network(address, mask) => Network::new(address, mask),
        _ => Network::new(Default::default(), 0),
    }
}

fn ranges(arg: &Arg) -> Box<[PortRange]> {
    match &arg.value.data {
        Data::Ports(list) => list.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect(),
        _ => Box::default(),
    }
}

/// The condition an option stands for, if it stands for one by itself, and whether it is inverted.
fn test(clause: &Clause, arg: &Arg, family: Family, names: &Names<'_>) -> Result<Option<(bool, Test)>, String> {
    let module = clause.module.name;
    let one = |arg: &Arg| ranges(arg).first().copied().unwrap_or(PortRange { first: 0, last: u16::MAX });
    let test = match (module, arg.option.print) {
        ("tcp" | "udp" | "udplite" | "sctp" | "dccp", "sport") => Test::Ports(Ports::Source(one(arg))),
        ("tcp" | "udp" | "udplite" | "sctp" | "dccp", "dport") => Test::Ports(Ports::Destination(one(arg))),
        ("tcp", "tcp-option") => Test::TcpOption(number(arg) as u8),
        ("tcp", "tcp-flags") => {
            let (mask, compare) = pair(arg);
            Test::TcpFlags { mask: mask as u8, compare: compare as u8 }
        }
        ("multiport", "sports") => Test::Ports(Ports::MultiSource(ranges(arg))),
        ("multiport", "dports") => Test::Ports(Ports::MultiDestination(ranges(arg))),
        ("multiport", _) => Test::Ports(Ports::MultiEither(ranges(arg))),
        ("icmp" | "icmp6", _) => {
            let (kind, codes) = pair(arg);
            let any = family == Family::V4 && kind == 255;
            Test::Icmp(IcmpType { kind: (!any).then_some(kind as u8), codes: ((codes >> 8) as u8, codes as u8) })
        }
        ("conntrack", "ctstate") | ("state", _) => Test::CtState(ct_states(number(arg))),
        ("conntrack", "ctproto") => Test::CtProtocol(number(arg) as u8),
        ("conntrack", "ctorigsrc") => Test::CtAddress(Direction::Original, End::Source, network(arg)),
        ("conntrack", "ctorigdst") => Test::CtAddress(Direction::Original, End::Destination, network(arg)),
        ("conntrack", "ctreplsrc") => Test::CtAddress(Direction::Reply, End::Source, network(arg)),
        ("conntrack", "ctrepldst") => Test::CtAddress(Direction::Reply, End::Destination, network(arg)),
        ("conntrack", "ctorigsrcport") => Test::CtPort(Direction::Original, End::Source, one(arg)),
        ("conntrack", "ctorigdstport") => Test::CtPort(Direction::Original, End::Destination, one(arg)),
        ("conntrack", "ctreplsrcport") => Test::CtPort(Direction::Reply, End::Source, one(arg)),
        ("conntrack", "ctrepldstport") => Test::CtPort(Direction::Reply, End::Destination, one(arg)),
        ("conntrack", "ctstatus") => Test::CtStatus(Status(number(arg))),
        ("conntrack", _) => Test::CtDirection(if number(arg) == 0 { Direction::Original } else { Direction::Reply }),
        ("limit", "limit") => {
            Test::Limit { interval: u64::from(number(arg)) * RATE_UNIT, burst: clause.number("limit-burst").unwrap_or(5) }
        }
        ("mark", _) => {
            let (value, mask) = pair(arg);
            Test::Mark { value, mask }
        }
        ("connmark", _) => {
            let (value, mask) = pair(arg);
            Test::ConnMark { value, mask }
        }
        ("mac", _) => match arg.value.data {
            Data::Mac(mac) => Test::MacSource(mac),
            _ => return Ok(None),
        },
        ("length", _) => {
            let (low, high) = pair(arg);
            Test::Length(low as u16, high as u16)
        }
        ("ttl" | "hl", "ttl-eq" | "hl-eq") => Test::Ttl(Ttl::Equal(number(arg) as u8)),
        ("ttl" | "hl", "ttl-lt" | "hl-lt") => Test::Ttl(Ttl::Less(number(arg) as u8)),
        ("ttl" | "hl", _) => Test::Ttl(Ttl::Greater(number(arg) as u8)),
        ("dscp", _) => Test::Dscp(number(arg) as u8),
        ("tos", _) => {
            let (value, mask) = pair(arg);
            Test::Tos { value: value as u8, mask: mask as u8 }
        }
        ("addrtype", print @ ("src-type" | "dst-type")) => {
            let end = if print == "src-type" { End::Source } else { End::Destination };
            let limit = (clause.has("limit-iface-in"), clause.has("limit-iface-out"));
            let limit_interface = match limit {
                (true, _) => Some(End::Source),
                (_, true) => Some(End::Destination),
                _ => None,
            };
            Test::AddressType { end, types: AddressTypes(number(arg) as u16), limit_interface }
        }
        ("set", _) => set(arg, names)?,
        ("iprange", print) => match arg.value.data {
            Data::Addresses(first, last) if print == "src-range" => Test::SourceRange(first, last),
            Data::Addresses(first, last) => Test::DestinationRange(first, last),
            _ => return Ok(None),
        },
        ("pkttype", _) => Test::PacketType(match number(arg) {
            0 => PacketType::Unicast,
            1 => PacketType::Broadcast,
            _ => PacketType::Multicast,
        }),
        ("statistic", "probability") => Test::Statistic(Statistic::Random(number(arg))),
        ("statistic", "every") => Test::Statistic(Statistic::Nth { every: number(arg), packet: clause.number("packet").unwrap_or(0) }),
        // Details of other options, and words for people.
        _ => return Ok(None),
    };
    Ok(Some((arg.negated, test)))
}

/// The bits of [`super::matches::CT_STATES`] as the engine has them.
fn ct_states(bits: u32) -> CtStates {
    let states =
        [CtStates::INVALID, CtStates::NEW, CtStates::RELATED, CtStates::ESTABLISHED, CtStates::UNTRACKED, CtStates::SNAT, CtStates::DNAT];
    states.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 != 0).fold(CtStates::default(), |all, (_, state)| all.union(*state))
}

fn set(arg: &Arg, names: &Names<'_>) -> Result<Test, String> {
    let Data::Text(name) = &arg.value.data else { return Err("match \"set\": a name is missing".to_owned()) };
    let Some(set) = names.sets.get(name) else {
        return Err(format!("the router has no set {name:?}{}", did_you_mean(name, names.sets.keys().map(String::as_str))));
    };
    let mut ends = arg.value.text.rsplit(' ').next().unwrap_or_default().split(',').map(|word| match word {
        "src" => End::Source,
        _ => End::Destination,
    });
    let first = ends.next().unwrap_or(End::Source);
    let second = ends.next();
    Ok(Test::Set { set: set.clone(), first, second })
}

fn target(rule: &Rule, names: &Names<'_>) -> Result<Target, String> {
    let clause = match &rule.jump {
        Jump::None => return Ok(Target::None),
        Jump::Chain { name, goto } => {
            let chain = names.chains.get(name.as_str()).copied();
            let chain = chain.ok_or_else(|| {
                let near = did_you_mean(name, names.chains.keys().copied());
                format!("there is no chain {name:?} in table {}, and no target of that name is supported{near}", names.table)
            })?;
            return Ok(if *goto { Target::Goto(chain) } else { Target::Jump(chain) });
        }
        Jump::Target(clause) => clause,
    };
    let number = |print: &str| clause.number(print).unwrap_or(0);
    let pair = |print: &str| clause.get(print).map_or((0, 0), pair);
    let random = clause.has("random") || clause.has("random-fully");
    let range = || match clause.args.first().map(|arg| &arg.value.data) {
        Some(Data::Nat(addresses, ports, base_port)) => NatRange {
            addresses: *addresses,
            ports: *ports,
            base_port: *base_port,
            random,
            persistent: clause.has("persistent"),
            netmap: None,
        },
        _ => NatRange { addresses: None, ports: None, base_port: None, random, persistent: false, netmap: None },
    };
    Ok(match clause.module.name {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "RETURN" => Target::Return,
        "REJECT" => Target::Reject(match number("reject-with") {
            TCP_RESET => RejectWith::TcpReset,
            code => RejectWith::Unreachable(code as u8),
        }),
        "LOG" => Target::Log(Box::new(Log {
            prefix: match clause.get("log-prefix").map(|arg| &arg.value.data) {
                Some(Data::Text(text)) => text.as_str().into(),
                _ => "".into(),
            },
            level: clause.number("log-level").unwrap_or(4) as u8,
            tcp_sequence: clause.has("log-tcp-sequence"),
            tcp_options: clause.has("log-tcp-options"),
            ip_options: clause.has("log-ip-options"),
            mac_decode: clause.has("log-macdecode"),
        })),
        "MARK" => {
            let (value, mask) = pair("set-xmark");
            Target::Mark { value, mask }
        }
        "CONNMARK" => Target::ConnMark(match (clause.has("save-mark"), clause.has("restore-mark")) {
            (true, _) => ConnMark::Save { nf_mask: number("nfmask"), ct_mask: number("ctmask") },
            (_, true) => ConnMark::Restore { nf_mask: number("nfmask"), ct_mask: number("ctmask") },
            _ => {
                let (value, mask) = pair("set-xmark");
                ConnMark::Set { value, mask }
            }
        }),
        "DSCP" => Target::Dscp(number("set-dscp") as u8),
        "TOS" => {
            let (value, mask) = pair("set-tos");
            Target::Tos { value: value as u8, mask: mask as u8 }
        }
        "TTL" | "HL" => match clause.args.first() {
            Some(arg) if arg.option.print.ends_with("inc") => Target::Ttl(TtlEdit::Increase(number(arg.option.print) as u8)),
            Some(arg) if arg.option.print.ends_with("dec") => Target::Ttl(TtlEdit::Decrease(number(arg.option.print) as u8)),
            Some(arg) => Target::Ttl(TtlEdit::Set(number(arg.option.print) as u8)),
            None => Target::None,
        },
        "TCPMSS" => Target::TcpMss(clause.number("set-mss").map_or(TcpMss::ClampToPmtu, |mss| TcpMss::Set(mss as u16))),
        "CT" => Target::Ct(Template {
            notrack: clause.has("notrack"),
            zone: clause.number("zone").map(|zone| zone as u16),
            helper: clause.number("helper").map(|helper| if helper == 0 { HelperKind::Ftp } else { HelperKind::Tftp }),
        }),
        "NOTRACK" => Target::Ct(Template { notrack: true, zone: None, helper: None }),
        "SNAT" => Target::Snat(range()),
        "DNAT" => Target::Dnat { range: range(), hairpin: false },
        "MASQUERADE" => Target::Masquerade { ports: range().ports, random },
        "REDIRECT" => Target::Redirect { ports: range().ports, random },
        "NETMAP" => match clause.args.first().map(|arg| &arg.value.data) {
            Some(Data::Network(prefix, mask)) => Target::Netmap {
                prefix: *prefix,
                len: prefix_len(*mask & all_ones(rule.family), rule.family).unwrap_or(rule.family.bits()),
            },
            _ => Target::None,
        },
        "SYNPROXY" => Target::SynProxy(SynProxy {
            mss: clause.number("mss").map(|mss| mss as u16),
            wscale: clause.number("wscale").map(|scale| scale as u8),
            sack_perm: clause.has("sack-perm"),
            timestamp: clause.has("timestamp"),
            ecn: clause.has("ecn"),
        }),
        other => return Err(format!("target {other:?} is not supported")),
    })
}
