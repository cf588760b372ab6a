//! Values that several options share: numbers, ports, addresses, masks, words.

use std::fmt::Write;
use std::net::IpAddr;

use dataplane::router::{Address, Family};

use super::lex::quote;
use super::names::{self, did_you_mean};
use super::option::{Data, Value};

fn value(text: impl Into<String>, data: Data) -> Result<Value, String> {
    Ok(Value { text: text.into(), data })
}

/// A number within a range.
pub fn bounded(text: &str, least: u32, most: u32) -> Result<u32, String> {
    names::number(text)
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{text:?} is not a number from {least} to {most}"))
}

/// 0 to 255, decimal.
pub fn octet(words: &[&str], _: Family) -> Result<Value, String> {
    let number = bounded(words[0], 0, 255)?;
    value(number.to_string(), Data::Number(number))
}

/// Any 32-bit number, decimal.
pub fn decimal(words: &[&str], _: Family) -> Result<Value, String> {
    let number = bounded(words[0], 0, u32::MAX)?;
    value(number.to_string(), Data::Number(number))
}

/// A port by name or number.
pub fn port(text: &str) -> Result<u16, String> {
    names::port(text).ok_or_else(|| format!("invalid port/service {text:?}"))
}

/// `A` or `A:B`, either end open, in the range 0 to 65535, each read by `one`.
pub fn range(text: &str, one: fn(&str) -> Result<u16, String>) -> Result<(u16, u16), String> {
    let Some((low, high)) = text.split_once(':') else { return one(text).map(|port| (port, port)) };
    let low = if low.is_empty() { 0 } else { one(low)? };
    let high = if high.is_empty() { u16::MAX } else { one(high)? };
    if low > high { Err(format!("range {text:?} goes downwards")) } else { Ok((low, high)) }
}

/// A range as it is printed.
pub fn range_text((low, high): (u16, u16)) -> String {
    if low == high { low.to_string() } else { format!("{low}:{high}") }
}

/// One port or range of ports.
pub fn ports(words: &[&str], _: Family) -> Result<Value, String> {
    let range = range(words[0], port)?;
    value(range_text(range), Data::Ports(vec![range]))
}

/// Up to 15 ports, where a range counts as two.
pub fn port_list(words: &[&str], _: Family) -> Result<Value, String> {
    let list = words[0].split(',').map(|part| range(part, port)).collect::<Result<Vec<_>, _>>()?;
    if list.iter().map(|(low, high)| 1 + usize::from(low != high)).sum::<usize>() > 15 {
        return Err("more than 15 ports (a range counts as two)".to_owned());
    }
    value(list.iter().map(|range| range_text(*range)).collect::<Vec<_>>().join(","), Data::Ports(list))
}

/// An address of the family.
pub fn address(text: &str, family: Family) -> Result<Address, String> {
    match (text.parse::<IpAddr>(), family) {
        (Ok(IpAddr::V4(address)), Family::V4) => Ok(address.into()),
        (Ok(IpAddr::V6(address)), Family::V6) => Ok(address.into()),
        (Ok(_), Family::V4) => Err(format!("{text:?} is an IPv6 address (ip6tables has those)")),
        (Ok(_), Family::V6) => Err(format!("{text:?} is an IPv4 address (iptables has those)")),
        (Err(_), _) => Err(format!("host/network {text:?} not found (host names are not looked up)")),
    }
}

/// Every bit of an address of the family.
pub fn all_ones(family: Family) -> u128 {
    Address::host_mask(family, 0)
}

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`; the bits beyond the mask are cleared. IPv4 networks may leave out octets at
/// their end: `10/8`.
pub fn network(text: &str, family: Family) -> Result<(Address, u128), String> {
    let ones = all_ones(family);
    let (host, mask) = text.split_once('/').map_or((text, None), |(host, mask)| (host, Some(mask)));
    let mask = match mask {
        None => ones,
        Some(mask) => match mask.parse::<u8>() {
            Ok(len) if len <= family.bits() => ones & !Address::host_mask(family, len),
            Ok(_) => return Err(format!("invalid mask {mask:?}")),
            Err(_) => address(mask, family).map_err(|_| format!("invalid mask {mask:?}"))?.0,
        },
    };
    let octets = host.split('.').count();
    let padded;
    let host = if family == Family::V4 && text.contains('/') && octets < 4 && host.bytes().all(|c| c == b'.' || c.is_ascii_digit()) {
        padded = format!("{host}{}", ".0".repeat(4 - octets));
        &padded
    } else {
        host
    };
    Ok((Address(address(host, family)?.0 & mask), mask))
}

/// The length of the prefix that a mask stands for, if it is one.
pub fn prefix_len(mask: u128, family: Family) -> Option<u8> {
    (0..=family.bits()).find(|len| mask == all_ones(family) & !Address::host_mask(family, *len))
}

/// A network as it is printed, with the length always or only where it is not that of an address.
pub fn network_text(address: Address, mask: u128, family: Family, host_len: bool) -> String {
    match prefix_len(mask, family) {
        Some(len) if len == family.bits() && !host_len => address.display(family).to_string(),
        Some(len) => format!("{}/{len}", address.display(family)),
        None => format!("{}/{}", address.display(family), Address(mask).display(family)),
    }
}

/// An address or network.
pub fn ct_network(words: &[&str], family: Family) -> Result<Value, String> {
    let (address, mask) = network(words[0], family)?;
    value(network_text(address, mask, family, false), Data::Network(address, mask))
}

/// `FIRST-LAST` or one address.
pub fn address_range(words: &[&str], family: Family) -> Result<Value, String> {
    let (first, last) = words[0].split_once('-').unwrap_or((words[0], words[0]));
    let (first, last) = (address(first, family)?, address(last, family)?);
    if first > last {
        return Err(format!("range {:?} goes downwards", words[0]));
    }
    value(format!("{}-{}", first.display(family), last.display(family)), Data::Addresses(first, last))
}

fn masked(text: &str, most: u32, default_mask: u32) -> Result<(u32, u32), String> {
    let (number, mask) = text.split_once('/').map_or((text, None), |(number, mask)| (number, Some(mask)));
    Ok((bounded(number, 0, most)?, mask.map_or(Ok(default_mask), |mask| bounded(mask, 0, most))?))
}

/// `VALUE` or `VALUE/MASK` of a mark, to be compared.
pub fn mark(words: &[&str], _: Family) -> Result<Value, String> {
    let (number, mask) = masked(words[0], u32::MAX, u32::MAX)?;
    let text = if mask == u32::MAX { format!("{number:#x}") } else { format!("{number:#x}/{mask:#x}") };
    value(text, Data::Pair(number, mask))
}

fn set_mark_value(number: u32, mask: u32) -> Result<Value, String> {
    value(format!("{number:#x}/{mask:#x}"), Data::Pair(number, mask))
}

/// `--set-xmark VALUE[/MASK]`: clears the bits of the mask, then flips those of the value.
pub fn set_xmark(words: &[&str], _: Family) -> Result<Value, String> {
    let (number, mask) = masked(words[0], u32::MAX, u32::MAX)?;
    set_mark_value(number, mask)
}

/// `--set-mark VALUE[/MASK]`: clears the bits of the mask, then sets those of the value.
pub fn set_mark(words: &[&str], _: Family) -> Result<Value, String> {
    let (number, mask) = masked(words[0], u32::MAX, u32::MAX)?;
    set_mark_value(number, mask | number)
}

/// `--and-mark BITS`.
pub fn and_mark(words: &[&str], _: Family) -> Result<Value, String> {
    set_mark_value(0, !bounded(words[0], 0, u32::MAX)?)
}

/// `--or-mark BITS`.
pub fn or_mark(words: &[&str], _: Family) -> Result<Value, String> {
    let bits = bounded(words[0], 0, u32::MAX)?;
    set_mark_value(bits, bits)
}

/// `--xor-mark BITS`.
pub fn xor_mark(words: &[&str], _: Family) -> Result<Value, String> {
    set_mark_value(bounded(words[0], 0, u32::MAX)?, 0)
}

/// A mask of a mark.
pub fn mark_mask(words: &[&str], _: Family) -> Result<Value, String> {
    let mask = bounded(words[0], 0, u32::MAX)?;
    value(format!("{mask:#x}"), Data::Number(mask))
}

/// `VALUE[/MASK]` of the TOS field, or one of its names.
fn tos_pair(text: &str) -> Result<(u32, u32), String> {
    if let Some((_, tos)) = names::TOS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok((u32::from(*tos), 0x3f));
    }
    masked(text, 255, 255)
}

/// `-m tos --tos`.
pub fn tos(words: &[&str], _: Family) -> Result<Value, String> {
    let (number, mask) = tos_pair(words[0])?;
    value(format!("0x{number:02x}/0x{mask:02x}"), Data::Pair(number, mask))
}

fn tos_bits(words: &[&str]) -> Result<u32, String> {
    bounded(words[0], 0, 255)
}

fn set_tos_value(number: u32, mask: u32) -> Result<Value, String> {
    value(format!("0x{number:02x}/0x{mask:02x}"), Data::Pair(number, mask))
}

/// `-j TOS --set-tos`.
pub fn set_tos(words: &[&str], _: Family) -> Result<Value, String> {
    let (number, mask) = tos_pair(words[0])?;
    set_tos_value(number, mask)
}

/// `-j TOS --and-tos`.
pub fn and_tos(words: &[&str], _: Family) -> Result<Value, String> {
    set_tos_value(0, !tos_bits(words)? & 0xff)
}

/// `-j TOS --or-tos`.
pub fn or_tos(words: &[&str], _: Family) -> Result<Value, String> {
    let bits = tos_bits(words)?;
    set_tos_value(bits, bits)
}

/// `-j TOS --xor-tos`.
pub fn xor_tos(words: &[&str], _: Family) -> Result<Value, String> {
    set_tos_value(tos_bits(words)?, 0)
}

/// A DSCP value, 0 to 63.
pub fn dscp(words: &[&str], _: Family) -> Result<Value, String> {
    let number = bounded(words[0], 0, 63)?;
    value(format!("0x{number:02x}"), Data::Number(number))
}

/// A DSCP class by name.
pub fn dscp_class(words: &[&str], family: Family) -> Result<Value, String> {
    let class = names::DSCP_CLASSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(words[0]));
    let (_, number) = class.ok_or_else(|| {
        format!("unknown DSCP class {:?}{}", words[0], did_you_mean(words[0], names::DSCP_CLASSES.iter().map(|(name, _)| *name)))
    })?;
    dscp(&[&number.to_string()], family)
}

/// Names of a list that are in a set of bits, in the order of the list, separated by commas.
pub fn words_text(bits: u32, list: &[(&str, u32)]) -> String {
    let mut text = String::new();
    for (name, bit) in list {
        if bits & bit != 0 {
            let _ = write!(text, "{}{name}", if text.is_empty() { "" } else { "," });
        }
    }
    text
}

/// Words of a list, separated by commas, as bits.
pub fn words(text: &str, list: &[(&str, u32)]) -> Result<u32, String> {
    let mut bits = 0;
    for word in text.split(',') {
        let known = list.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let (_, bit) = known.ok_or_else(|| {
            format!("unknown word {word:?}{}", did_you_mean(&word.to_ascii_uppercase(), list.iter().map(|(name, _)| *name)))
        })?;
        bits |= bit;
    }
    Ok(bits)
}

/// A name: at most 31 octets without control characters.
pub fn name(words: &[&str], _: Family) -> Result<Value, String> {
    if words[0].is_empty() || words[0].len() > 31 {
        return Err(format!("{:?} is not a name of 1 to 31 octets", words[0]));
    }
    value(quote(words[0]), Data::Text(words[0].to_owned()))
}
