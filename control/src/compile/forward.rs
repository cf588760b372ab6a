//! Forwarded ports as rules. They stand in front of those of the tables, and are shown as what they are and not as rules.
//!
//! A port is forwarded by DNAT in `nat PREROUTING`, with hairpin. With the SYN proxy (iptables-extensions(8), SYNPROXY), SYNs are not
//! tracked (`raw PREROUTING`); they and what belongs to no flow are answered in place of the host (`filter INPUT`, or `FORWARD`
//! when the external address is not the router's), and the connection the router then opens to the host is translated in
//! `nat OUTPUT`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::conntrack::Template;
use dataplane::nat::NatRange;
use dataplane::router::{Address, Family};
use dataplane::rules::{
    AddressTypes, CtStates, End, Hook, Match, Network, PortRange, Ports, Rule, RuleState, SynProxy, Table, Target, Test,
};
use proto::router::{ForwardConfig, ForwardProtocol};

use crate::config::diff::words;
use crate::iptables::compile::Front;

/// Protocol numbers (IANA).
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// TCP flags SYN, RST, ACK and FIN, and SYN: `--syn`.
const SYN_MASK: u8 = 0x17;
const SYN: u8 = 0x02;

/// What a SYN proxy announces in place of the host: what is safe with Ethernet on both sides and any host of today.
const ANNOUNCED: SynProxy = SynProxy { mss: Some(1460), wscale: Some(7), sack_perm: true, timestamp: true, ecn: false };

/// The counters of forwarded ports, by what [`words::forward`] says of them. They live as long as it says the same.
pub type ForwardStates = BTreeMap<String, Arc<RuleState>>;

/// The counters of all forwarded ports: those they had, or new ones.
pub fn states(forwards: &[ForwardConfig], former: Option<&ForwardStates>, workers: usize) -> ForwardStates {
    let state = |forward: &ForwardConfig| {
        let key = words::forward(forward);
        let state = former.and_then(|former| former.get(&key).cloned());
        (key, state.unwrap_or_else(|| Arc::new(RuleState::new(workers))))
    };
    forwards.iter().map(state).collect()
}

/// The rules of a family. Those for one external address go before those for all.
pub fn front(family: Family, forwards: &[ForwardConfig], states: &ForwardStates, workers: usize) -> Front {
    let mut front = Front::default();
    let of_family = || forwards.iter().filter(|forward| Family::from(forward.to.address) == family);
    for forward in of_family().filter(|f| f.address.is_some()).chain(of_family().filter(|f| f.address.is_none())) {
        let uncounted = || Arc::new(RuleState::new(workers));
        let state = states.get(&words::forward(forward)).cloned().unwrap_or_else(uncounted);
        let matches = matches(family, forward);
        let dnat = Target::Dnat { range: range(forward), hairpin: true };
        let rule = Rule { matches: matches.clone(), target: dnat, state };
        if forward.syn_proxy {
            let with = |test: Test| matches.iter().cloned().chain([Match { invert: false, test }]).collect::<Vec<Match>>();
            let syn = with(Test::TcpFlags { mask: SYN_MASK, compare: SYN });
            let notrack = Target::Ct(Template { notrack: true, ..Template::default() });
            front.push(Table::Raw, Hook::Prerouting, Rule { matches: syn, target: notrack, state: uncounted() });
            let unknown = with(Test::CtState(CtStates(CtStates::INVALID.0 | CtStates::UNTRACKED.0)));
            for hook in [Hook::Input, Hook::Forward] {
                let target = Target::SynProxy(ANNOUNCED);
                front.push(Table::Filter, hook, Rule { matches: unknown.clone(), target, state: uncounted() });
            }
            front.push(Table::Nat, Hook::Output, rule.clone());
        }
        front.push(Table::Nat, Hook::Prerouting, rule);
    }
    front
}

fn matches(family: Family, forward: &ForwardConfig) -> Vec<Match> {
    let protocol = match forward.protocol {
        ForwardProtocol::Tcp => TCP,
        ForwardProtocol::Udp => UDP,
        ForwardProtocol::Sctp => SCTP,
    };
    let destination = match forward.address {
        Some(address) => Test::Destination(Network::new(address.into(), Address::host_mask(family, 0))),
        None => Test::AddressType { end: End::Destination, types: AddressTypes::LOCAL, limit_interface: None },
    };
    let ports = Ports::Destination(PortRange { first: forward.port.first, last: forward.port.last });
    let mut tests = vec![Test::Protocol(protocol), Test::Ports(ports)];
    // Conditions of the IP header come first.
    tests.insert(if forward.address.is_some() { 0 } else { 2 }, destination);
    tests.into_iter().map(|test| Match { invert: false, test }).collect()
}

/// Address and port of the host. Of a range each port goes to the one that is as far from the first.
fn range(forward: &ForwardConfig) -> NatRange {
    let address: IpAddr = forward.to.address;
    let span = forward.port.last - forward.port.first;
    let ports = forward.to.port.map(|port| (port, port.saturating_add(span)));
    NatRange { ports, base_port: ports.filter(|_| span > 0).map(|_| forward.port.first), ..NatRange::address(address.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> ForwardConfig {
        serde_json::from_str(text).unwrap()
    }

    fn rules(forwards: &[ForwardConfig], family: Family, table: Table, hook: Hook) -> Vec<Rule> {
        front(family, forwards, &states(forwards, None, 1), 1).at(table, hook).to_vec()
    }

    #[test]
    fn a_port_goes_to_the_host_with_hairpin() {
        let forwards = [forward(r#"{"protocol": "tcp", "port": 8080, "to": "10.0.0.5:80"}"#)];
        let rules = rules(&forwards, Family::V4, Table::Nat, Hook::Prerouting);
        let host = Address(0x0a00_0005);
        let range = NatRange { ports: Some((80, 80)), ..NatRange::address(host) };
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].target, Target::Dnat { range, hairpin: true });
        let test = |test| Match { invert: false, test };
        let expected = [
            test(Test::Protocol(TCP)),
            test(Test::Ports(Ports::Destination(PortRange { first: 8080, last: 8080 }))),
            test(Test::AddressType { end: End::Destination, types: AddressTypes::LOCAL, limit_interface: None }),
        ];
        assert_eq!(rules[0].matches, expected);
        assert!(front(Family::V6, &forwards, &states(&forwards, None, 1), 1).is_empty());
    }

    #[test]
    fn a_range_is_shifted_and_an_address_goes_first() {
        let forwards = [
            forward(r#"{"protocol": "udp", "port": "5000-5009", "to": "[fd00::5]:6000"}"#),
            forward(r#"{"protocol": "udp", "port": 5000, "to": "fd00::6", "address": "2001:db8::1"}"#),
        ];
        let rules = rules(&forwards, Family::V6, Table::Nat, Hook::Prerouting);
        let Target::Dnat { range: first, .. } = &rules[0].target else { panic!() };
        let Target::Dnat { range: second, .. } = &rules[1].target else { panic!() };
        assert_eq!((first.ports, first.base_port), (None, None));
        assert_eq!((second.ports, second.base_port), (Some((6000, 6009)), Some(5000)));
        assert!(matches!(rules[0].matches[0].test, Test::Destination(_)));
    }

    #[test]
    fn the_syn_proxy_takes_four_more_rules() {
        let forwards = [forward(r#"{"protocol": "tcp", "port": 80, "to": "10.0.0.5", "syn_proxy": true}"#)];
        let count = |table, hook| rules(&forwards, Family::V4, table, hook).len();
        assert_eq!([count(Table::Raw, Hook::Prerouting), count(Table::Filter, Hook::Input), count(Table::Filter, Hook::Forward)], [1; 3]);
        assert_eq!([count(Table::Nat, Hook::Output), count(Table::Nat, Hook::Prerouting)], [1; 2]);
    }

    #[test]
    fn counters_live_as_long_as_the_forward_says_the_same() {
        let forwards = [forward(r#"{"protocol": "tcp", "port": 80, "to": "10.0.0.5"}"#)];
        let first = states(&forwards, None, 1);
        let second = states(&forwards, Some(&first), 1);
        assert!(Arc::ptr_eq(first.values().next().unwrap(), second.values().next().unwrap()));
        let other = states(&[forward(r#"{"protocol": "tcp", "port": 80, "to": "10.0.0.6"}"#)], Some(&first), 1);
        assert!(!Arc::ptr_eq(first.values().next().unwrap(), other.values().next().unwrap()));
    }
}
