//! Which matches and targets make sense where: what the kernel refuses when a rule is added (`checkentry`), and iptables before
//! that.

use wire::{ip_protocol, tcp};

use super::matches::{End, Match, Test};
use super::target::{RejectWith, Target, TcpMss};
use super::{Hook, Table};
use crate::conntrack::HelperKind;
use crate::router::Family;

/// Hooks from which a chain is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSet(u8);

impl HookSet {
    /// Adds a hook.
    pub fn insert(&mut self, hook: Hook) {
        self.0 |= 1 << hook as u8;
    }

    /// Adds those of `other`.
    pub fn extend(&mut self, other: HookSet) {
        self.0 |= other.0;
    }

    /// Whether a hook is there.
    pub fn contains(self, hook: Hook) -> bool {
        self.0 & 1 << hook as u8 != 0
    }

    /// The first hook that is not among `hooks`.
    fn outside(self, hooks: &[Hook]) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| self.contains(*hook) && !hooks.contains(hook))
    }
}

impl FromIterator<Hook> for HookSet {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> HookSet {
        let mut set = HookSet::default();
        hooks.into_iter().for_each(|hook| set.insert(hook));
        set
    }
}

/// Checks a rule of a chain in `table` that is reached from `hooks` (none, if no rule leads to the chain yet).
///
/// # Errors
///
/// What is wrong, as in `target MASQUERADE is valid in chain POSTROUTING only, and is reached from OUTPUT`.
pub fn check(matches: &[Match], target: &Target, family: Family, table: Table, hooks: HookSet) -> Result<(), String> {
    matches.iter().try_for_each(|m| check_match(m, family, hooks))?;
    check_target(matches, target, family, table, hooks)
}

fn only_at(what: &str, hooks: HookSet, allowed: &[Hook]) -> Result<(), String> {
    match hooks.outside(allowed) {
        Some(hook) => {
            let names: Vec<&str> = allowed.iter().map(|hook| hook.name()).collect();
            Err(format!("{what} is valid in {} only, and is reached from {}", names.join(", "), hook.name()))
        }
        None => Ok(()),
    }
}

fn only_in(what: &str, table: Table, allowed: &[Table]) -> Result<(), String> {
    if allowed.contains(&table) {
        return Ok(());
    }
    let names: Vec<&str> = allowed.iter().map(|table| table.name()).collect();
    Err(format!("{what} is valid in table {} only", names.join(" and ")))
}

fn check_match(m: &Match, family: Family, hooks: HookSet) -> Result<(), String> {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    match &m.test {
        // Those of interfaces the packet does not yet, or no longer, have hold for none. Chains that several hooks share
        // commonly ask for them; only base chains refuse them, which is the language's business.
        Test::MacSource(_) => only_at("match mac", hooks, &[Prerouting, Input, Forward]),
        Test::RpFilter { .. } => only_at("match rpfilter", hooks, &[Prerouting]),
        Test::AddressType { limit_interface: Some(End::Source), .. } => {
            only_at("match addrtype --limit-iface-in", hooks, &[Prerouting, Input, Forward])
        }
        Test::AddressType { limit_interface: Some(End::Destination), .. } => {
            only_at("match addrtype --limit-iface-out", hooks, &[Forward, Output, Postrouting])
        }
        Test::Fragment if family == Family::V6 => Err("-f is valid for IPv4 only".into()),
        _ => Ok(()),
    }
}

fn check_target(matches: &[Match], target: &Target, family: Family, table: Table, hooks: HookSet) -> Result<(), String> {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    let name = target.name().map(|name| format!("target {name}")).unwrap_or_default();
    let at = |allowed: &[Hook]| only_at(&name, hooks, allowed);
    let of_tables = |allowed: &[Table]| only_in(&name, table, allowed);
    let needs_tcp = || {
        let is_tcp = matches.iter().any(|m| !m.invert && m.test == Test::Protocol(ip_protocol::TCP));
        if is_tcp { Ok(()) } else { Err(format!("{name} needs -p tcp")) }
    };
    match target {
        Target::Drop if table == Table::Nat => Err("target DROP is not for table nat, which does not filter: use table filter".into()),
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Log(_)
        | Target::Mark { .. }
        | Target::ConnMark(_) => Ok(()),
        Target::Reject(with) => {
            of_tables(&[Table::Filter])?;
            at(&[Input, Forward, Output])?;
            match (with, family) {
                (RejectWith::TcpReset, _) => needs_tcp(),
                (RejectWith::Unreachable(0..=3 | 9 | 10 | 13), Family::V4) => Ok(()),
                (RejectWith::Unreachable(0..=6), Family::V6) => Ok(()),
                (RejectWith::Unreachable(code), _) => Err(format!("{name}: there is no code {code}")),
            }
        }
        Target::Dscp(_) | Target::Tos { .. } | Target::Ttl(_) => of_tables(&[Table::Mangle]),
        Target::TcpMss(mss) => {
            needs_tcp()?;
            if *mss == TcpMss::ClampToPmtu {
                only_at("target TCPMSS --clamp-mss-to-pmtu", hooks, &[Forward, Output, Postrouting])?;
            }
            let is_syn = |m: &Match| matches!(m.test, Test::TcpFlags { compare, .. } if u16::from(compare) & tcp::SYN != 0);
            if matches.iter().any(|m| !m.invert && is_syn(m)) { Ok(()) } else { Err(format!("{name} needs --tcp-flags with SYN")) }
        }
        Target::Ct(template) => {
            of_tables(&[Table::Raw])?;
            at(&[Prerouting, Output])?;
            let Some(helper) = template.helper else { return Ok(()) };
            let (protocol, option) = match helper {
                HelperKind::Ftp => (ip_protocol::TCP, "-p tcp"),
                HelperKind::Tftp => (ip_protocol::UDP, "-p udp"),
            };
            let fits = matches.iter().any(|m| !m.invert && m.test == Test::Protocol(protocol));
            if fits { Ok(()) } else { Err(format!("{name} --helper {} needs {option}", helper.name())) }
        }
        Target::Snat(_) => of_tables(&[Table::Nat]).and_then(|()| at(&[Input, Postrouting])),
        Target::Dnat { .. } | Target::Redirect { .. } => of_tables(&[Table::Nat]).and_then(|()| at(&[Prerouting, Output])),
        Target::Masquerade { .. } => of_tables(&[Table::Nat]).and_then(|()| at(&[Postrouting])),
        Target::Netmap { .. } => of_tables(&[Table::Nat]),
        Target::SynProxy(_) => {
            at(&[Input, Forward])?;
            needs_tcp()
        }
    }
}
