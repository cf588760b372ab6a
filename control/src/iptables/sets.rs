//! The sets of a router: types, elements as texts, and what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataplane::clock::Nanos;
use dataplane::router::{Address, Family};
use dataplane::rules::{Element, IpSet, SetError, SetKind, SetOptions};
use proto::iptables::{SetConfig, SetFamily};
use wire::MacAddr;
use wire::ip_protocol::{ICMP, ICMPV6, SCTP, TCP, UDP, UDP_LITE};

use super::fault::{Fault, Place};
use super::matches::WITH_PORTS;
use super::names;
use super::rule::protocol_text;
use super::value::{address, port};

/// Sets of a router at most.
pub const SETS_MAX: usize = 1024;
/// Elements of a set at most.
pub const ELEMENTS_MAX: u32 = 1 << 20;
/// Octets of the name of a set at most (`IPSET_MAXNAMELEN`).
const NAME_MAX: usize = 31;
/// Seconds of a timeout at most (`IPSET_MAX_TIMEOUT`).
pub const TIMEOUT_MAX: u32 = 2_147_483;
/// Nanoseconds of a second.
const SECOND: Nanos = 1_000_000_000;

/// Types of sets and how many words an element has.
const KINDS: [(&str, SetKind); 6] = [
    ("hash:ip", SetKind::HashIp),
    ("hash:net", SetKind::HashNet),
    ("hash:ip,port", SetKind::HashIpPort),
    ("hash:net,port", SetKind::HashNetPort),
    ("hash:mac", SetKind::HashMac),
    ("bitmap:port", SetKind::BitmapPort),
];

/// A set of the running router.
#[derive(Clone, Debug)]
pub struct RunningSet {
    /// What rules ask.
    pub set: Arc<IpSet>,
    config: SetConfig,
    /// The elements of the configuration, in order.
    configured: Arc<[Element]>,
    /// Elements that come and go when it is activated.
    add: Vec<Element>,
    del: Vec<Element>,
}

impl RunningSet {
    /// The elements of its configuration.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        self.configured.iter().copied()
    }

    /// Whether an element is one of its configuration.
    pub fn is_configured(&self, element: &Element) -> bool {
        self.configured.binary_search(element).is_ok()
    }

    /// Brings the elements up to date with the configuration.
    ///
    /// # Errors
    ///
    /// When elements with a timeout, which are not part of the configuration, leave no room.
    pub fn activate(&self, now: Nanos) -> Result<(), SetError> {
        if !self.del.is_empty() {
            self.set.del(&self.del, now);
        }
        let lasting = self.set.options().timeout.map(|_| 0);
        let add: Vec<_> = self.add.iter().map(|element| (*element, lasting)).collect();
        if add.is_empty() { Ok(()) } else { self.set.add(&add, now) }
    }
}

/// Why a set was not changed, for people.
pub fn set_error(error: SetError) -> &'static str {
    match error {
        SetError::Full => "the set is full, cannot add more elements (raise maxelem)",
        SetError::NoTimeout => "timeout cannot be used: set was created without timeout support",
    }
}

/// The type of this name.
///
/// # Errors
///
/// When there is none.
pub fn kind(name: &str) -> Result<SetKind, String> {
    let known = KINDS.iter().find(|(known, _)| *known == name || name.split_once(':').is_none() && *known == format!("hash:{name}"));
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        format!("set type {name:?} is not supported (there are {})", names.join(" "))
    })
}

/// Whether two sets are made with the same options, whatever is in them.
pub fn is_made_alike(a: &SetConfig, b: &SetConfig) -> bool {
    (&a.kind, a.family, a.maxelem, a.timeout, &a.range) == (&b.kind, b.family, b.maxelem, b.timeout, &b.range)
}

/// The family of the addresses of a set.
pub fn family(config: &SetConfig) -> Family {
    match config.family {
        SetFamily::Inet => Family::V4,
        SetFamily::Inet6 => Family::V6,
    }
}

/// Whether a set may have this name.
///
/// # Errors
///
/// Why not.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("setname {name:?} must have 1 to {NAME_MAX} characters"));
    }
    match name.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '\'' | '!')) || name.starts_with('-') {
        true => Err(format!("invalid setname {name:?}")),
        false => Ok(()),
    }
}

/// Checks the settings of a set and says what it is made with.
///
/// # Errors
///
/// What is wrong.
pub fn options(config: &SetConfig) -> Result<SetOptions, String> {
    let kind = kind(&config.kind)?;
    if config.maxelem == 0 || config.maxelem > ELEMENTS_MAX {
        return Err(format!("maxelem {} is not a number from 1 to {ELEMENTS_MAX}", config.maxelem));
    }
    if config.timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX) {
        return Err(format!("timeout is longer than {TIMEOUT_MAX} seconds"));
    }
    match (kind, &config.range) {
        (SetKind::BitmapPort, None) => return Err("bitmap:port needs range PORT-PORT".to_owned()),
        (SetKind::BitmapPort, Some(range)) => drop(port_range(range)?),
        (_, Some(_)) => return Err(format!("range is not one of the options of {}", config.kind)),
        (_, None) => {}
    }
    let maxelem = if kind == SetKind::BitmapPort { 65_536 } else { config.maxelem as usize };
    Ok(SetOptions { kind, family: family(config), maxelem, timeout: config.timeout.map(|seconds| Nanos::from(seconds) * SECOND) })
}

/// `LOW-HIGH` or one port.
fn port_range(text: &str) -> Result<(u16, u16), String> {
    let (low, high) = match port(text) {
        Ok(one) => (one, one),
        Err(error) => {
            let (low, high) = text.split_once('-').ok_or(error)?;
            (port(low)?, port(high)?)
        }
    };
    if low > high { Err(format!("range {text:?} goes downwards")) } else { Ok((low, high)) }
}

/// The elements a text stands for: one, or those of a range.
///
/// # Errors
///
/// When it is none, or they are more than the set can hold.
pub fn elements(config: &SetConfig, text: &str) -> Result<Vec<Element>, String> {
    let kind = kind(&config.kind)?;
    let family = family(config);
    let (first, second) = text.split_once(',').map_or((text, None), |(first, second)| (first, Some(second)));
    let has_port = matches!(kind, SetKind::HashIpPort | SetKind::HashNetPort);
    match (second, has_port) {
        (None, true) => return Err(format!("second element is missing from {text:?} (ADDRESS,PROTOCOL:PORT)")),
        (Some(_), false) => return Err(format!("{text:?}: a set of type {} has elements of one part", config.kind)),
        _ => {}
    }
    let too_many = || format!("{text:?} stands for more elements than maxelem {}", config.maxelem);
    let plain: Vec<Element> = match kind {
        SetKind::HashMac => {
            let mac: MacAddr = first.parse().map_err(|_| format!("{first:?} is not a MAC address"))?;
            if mac.is_zero() {
                return Err("a MAC address of zeros cannot be stored".to_owned());
            }
            vec![Element { address: Address(mac.to_u64().into()), ..Element::default() }]
        }
        SetKind::BitmapPort => {
            let (low, high) = port_range(first)?;
            let range = port_range(config.range.as_deref().unwrap_or("0-65535"))?;
            if low < range.0 || high > range.1 {
                return Err(format!("{first:?} is out of the range of the set"));
            }
            return Ok((low..=high).map(|port| Element { port, ..Element::default() }).collect());
        }
        SetKind::HashIp | SetKind::HashIpPort => {
            let (low, high) = span(first, family)?;
            if high - low >= u128::from(config.maxelem) {
                return Err(too_many());
            }
            (low..=high).map(|bits| Element { address: Address(bits), ..Element::default() }).collect()
        }
        SetKind::HashNet | SetKind::HashNetPort => {
            let (low, high) = span(first, family)?;
            let list = prefixes(low, high, family);
            if list.len() > config.maxelem as usize {
                return Err(too_many());
            }
            list.into_iter().map(|(bits, prefix_len)| Element { address: Address(bits), prefix_len, ..Element::default() }).collect()
        }
    };
    if matches!(kind, SetKind::HashNet | SetKind::HashNetPort) && plain.iter().any(|element| element.prefix_len == 0) {
        return Err("a prefix of length 0 cannot be stored in a hash type of set".to_owned());
    }
    if matches!(kind, SetKind::HashIp | SetKind::HashIpPort) && plain.iter().any(|element| element.address.0 == 0) {
        return Err("null-valued element, cannot be stored in a hash type of set".to_owned());
    }
    let Some(second) = second else { return Ok(plain) };
    let (protocol, low, high) = protocol_ports(second, family)?;
    if plain.len() * (usize::from(high - low) + 1) > config.maxelem as usize {
        return Err(too_many());
    }
    Ok(plain.into_iter().flat_map(|element| (low..=high).map(move |port| Element { protocol, port, ..element })).collect())
}

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS-ADDRESS`.
fn span(text: &str, family: Family) -> Result<(u128, u128), String> {
    if let Some((low, high)) = text.split_once('-') {
        let (low, high) = (address(low, family)?.0, address(high, family)?.0);
        return if low > high { Err(format!("range {text:?} goes downwards")) } else { Ok((low, high)) };
    }
    let (host, len) = text.split_once('/').map_or((text, None), |(host, len)| (host, Some(len)));
    let len = len.map_or(Ok(family.bits()), |len| {
        len.parse().ok().filter(|len| *len <= family.bits()).ok_or_else(|| format!("invalid prefix length {len:?}"))
    })?;
    let mask = Address::host_mask(family, len);
    let low = address(host, family)?.0 & !mask;
    Ok((low, low | mask))
}

/// The fewest prefixes that make up a range.
fn prefixes(low: u128, high: u128, family: Family) -> Vec<(u128, u8)> {
    let mut list = Vec::new();
    let mut at = low;
    loop {
        let mut free = at.trailing_zeros().min(family.bits().into()) as u8;
        while free > 0 && (Address::host_mask(family, family.bits() - free) > high - at) {
            free -= 1;
        }
        list.push((at, family.bits() - free));
        let last = at | Address::host_mask(family, family.bits() - free);
        if last >= high {
            return list;
        }
        at = last + 1;
    }
}

/// `[PROTOCOL:]PORT[-PORT]`; TCP when no protocol is named. Of ICMP the port is `TYPE/CODE`.
fn protocol_ports(text: &str, family: Family) -> Result<(u8, u16, u16), String> {
    let (protocol, ports) = text.split_once(':').map_or((TCP, text), |(protocol, ports)| (names::protocol(protocol).unwrap_or(0), ports));
    match protocol {
        TCP | UDP | SCTP | UDP_LITE => {
            let (low, high) = port_range(ports)?;
            Ok((protocol, low, high))
        }
        ICMP | ICMPV6 => {
            let named = names::icmp_types(family).iter().find(|(name, ..)| *name == ports).map(|(_, kind, code, _)| (*kind, *code));
            let numbers = ports.split_once('/').and_then(|(kind, code)| Some((kind.parse().ok()?, code.parse().ok()?)));
            let (kind, code) = named.or(numbers).ok_or_else(|| format!("{ports:?} is not an ICMP type or TYPE/CODE"))?;
            let port = u16::from_be_bytes([kind, code]);
            Ok((protocol, port, port))
        }
        0 => Err(format!("unknown protocol in {text:?}")),
        other if ports == "0" && !WITH_PORTS.contains(&other) => Ok((other, 0, 0)),
        other => Err(format!("protocol {} has no ports here (write {}:0)", protocol_text(other), protocol_text(other))),
    }
}

/// An element as it is printed.
pub fn element_text(options: &SetOptions, element: &Element) -> String {
    let family = options.family;
    let net = || {
        let address = element.address.display(family);
        if element.prefix_len == family.bits() { address.to_string() } else { format!("{address}/{}", element.prefix_len) }
    };
    let with_port = |address: String| match (element.protocol, element.port.to_be_bytes()) {
        (protocol @ (ICMP | ICMPV6), [kind, code]) => format!("{address},{}:{kind}/{code}", protocol_text(protocol)),
        (protocol, _) => format!("{address},{}:{}", protocol_text(protocol), element.port),
    };
    match options.kind {
        SetKind::HashIp => element.address.display(family).to_string(),
        SetKind::HashNet => net(),
        SetKind::HashIpPort => with_port(element.address.display(family).to_string()),
        SetKind::HashNetPort => with_port(net()),
        // In capitals, unlike everywhere else: so ipset prints them.
        SetKind::HashMac => MacAddr::from_u64(element.address.0 as u64).to_string().to_ascii_uppercase(),
        SetKind::BitmapPort => element.port.to_string(),
    }
}

/// The elements of a configuration.
fn configured(name: &str, config: &SetConfig, faults: &mut Vec<Fault>) -> Vec<Element> {
    let mut list = Vec::with_capacity(config.entries.len());
    for (index, text) in config.entries.iter().enumerate() {
        match elements(config, text) {
            Ok(elements) => list.extend(elements),
            Err(message) => {
                faults.push(Fault { place: Place::Set { set: name.to_owned(), entry: Some(index + 1) }, message });
            }
        }
    }
    list.sort_unstable();
    list.dedup();
    list
}

/// Compiles the sets of a router, keeping those that run under the same options. A set whose configuration is exactly that
/// of another one before took its place (`ipset rename`, `ipset swap`).
pub fn compile(
    sets: &BTreeMap<String, SetConfig>,
    former: Option<&BTreeMap<String, RunningSet>>,
    now: Nanos,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, RunningSet> {
    let mut compiled = BTreeMap::new();
    if sets.len() > SETS_MAX {
        let message = format!("more than {SETS_MAX} sets");
        faults.push(Fault { place: Place::Set { set: "*".to_owned(), entry: None }, message });
        return compiled;
    }
    let unchanged = |name: &String, config: &SetConfig| sets.get(name) == Some(config);
    for (name, config) in sets {
        let options = match check_name(name).and_then(|()| options(config)) {
            Ok(options) => options,
            Err(message) => {
                faults.push(Fault { place: Place::Set { set: name.clone(), entry: None }, message });
                continue;
            }
        };
        let same_name = former.and_then(|former| former.get(name));
        if let Some(running) = same_name.filter(|running| running.config == *config) {
            compiled.insert(name.clone(), RunningSet { add: Vec::new(), del: Vec::new(), ..running.clone() });
            continue;
        }
        let moved = former.and_then(|former| former.iter().find(|(other, set)| set.config == *config && !unchanged(other, config)));
        if let Some((_, running)) = moved {
            compiled.insert(name.clone(), RunningSet { add: Vec::new(), del: Vec::new(), ..running.clone() });
            continue;
        }
        let new = configured(name, config, faults);
        let mut wrong = |message| faults.push(Fault { place: Place::Set { set: name.clone(), entry: None }, message });
        if new.len() > options.maxelem {
            wrong(format!("{} elements are more than maxelem {}", new.len(), options.maxelem));
            continue;
        }
        let parts = |set: Arc<IpSet>, add: Vec<Element>, del: Vec<Element>| RunningSet {
            set,
            config: config.clone(),
            configured: new.clone().into(),
            add,
            del,
        };
        let running = match same_name.filter(|running| *running.set.options() == options) {
            Some(running) => {
                let comes = new.iter().filter(|element| !running.is_configured(element)).copied().collect();
                let goes = running.elements().filter(|element| new.binary_search(element).is_err()).collect();
                parts(running.set.clone(), comes, goes)
            }
            None => {
                // Nobody sees it yet.
                let running = parts(Arc::new(IpSet::new(options)), new.clone(), Vec::new());
                if let Err(error) = running.activate(now) {
                    wrong(set_error(error).to_owned());
                }
                RunningSet { add: Vec::new(), ..running }
            }
        };
        compiled.insert(name.clone(), running);
    }
    compiled
}
