//! What targets do with a packet.

use super::build::ChainId;
use super::target::{ConnMark, Target, TcpMss, TtlEdit};
use super::{Evaluation, Hook, Verdict, log};
use crate::conntrack::{FlowRef, Template};
use crate::nat::{Manip, NatRange, rewrite};
use crate::router::packet::Upper;
use crate::router::{Address, Family};

/// What follows a rule that matched.
pub(super) enum Next {
    /// The rule behind it.
    Rule,
    /// A chain, and then the rule behind it.
    Jump(ChainId),
    /// A chain, and then what follows the chain of the rule.
    Goto(ChainId),
    /// What follows the chain of the rule.
    Return,
    /// Nothing.
    Done(Verdict),
}

/// Does what a target says.
#[inline(always)]
pub(super) fn perform(target: &Target, hook: Hook, evaluation: &mut Evaluation<'_, '_>) -> Next {
    match target {
        Target::None => Next::Rule,
        Target::Accept => Next::Done(Verdict::Accept),
        Target::Drop => Next::Done(Verdict::Drop),
        Target::Return => Next::Return,
        Target::Jump(chain) => Next::Jump(*chain),
        Target::Goto(chain) => Next::Goto(*chain),
        target => perform_other(target, hook, evaluation),
    }
}

fn perform_other(target: &Target, hook: Hook, evaluation: &mut Evaluation<'_, '_>) -> Next {
    evaluation.trace.differs();
    match target {
        // Done by `perform`.
        Target::None | Target::Accept | Target::Drop | Target::Return | Target::Jump(_) | Target::Goto(_) => {}
        Target::Reject(with) => return Next::Done(Verdict::Reject(*with)),
        Target::SynProxy(options) => return Next::Done(Verdict::SynProxy(*options)),
        Target::Log(options) => log::log(options, evaluation),
        Target::Mark { value, mask } => *evaluation.mark = *evaluation.mark & !mask ^ value,
        Target::ConnMark(what) => conn_mark(what, evaluation),
        Target::Dscp(dscp) => {
            if evaluation.packet.traffic_class >> 2 != *dscp {
                rewrite::set_dscp(evaluation.frame, evaluation.packet, *dscp);
            }
        }
        Target::Tos { value, mask } => {
            let class = evaluation.packet.traffic_class & !mask ^ value;
            if class != evaluation.packet.traffic_class {
                rewrite::set_traffic_class(evaluation.frame, evaluation.packet, class);
            }
        }
        Target::Ttl(edit) => {
            let ttl = match edit {
                TtlEdit::Set(ttl) => *ttl,
                TtlEdit::Increase(by) => evaluation.packet.ttl.saturating_add(*by),
                TtlEdit::Decrease(by) => evaluation.packet.ttl.saturating_sub(*by),
            };
            if ttl != evaluation.packet.ttl {
                rewrite::set_ttl(evaluation.frame, evaluation.packet, ttl);
            }
        }
        Target::TcpMss(mss) => return tcp_mss(*mss, evaluation),
        Target::Ct(template) => {
            // As in the kernel, a packet that has a template or a flow keeps it.
            if *evaluation.template == Template::default() && evaluation.tracking.is_none() {
                *evaluation.template = *template;
            }
        }
        Target::Snat(range) => return nat(Manip::Source, *range, false),
        Target::Dnat { range, hairpin } => return nat(Manip::Destination, *range, *hairpin),
        Target::Masquerade { ports, random } => return masquerade(*ports, *random, evaluation),
        Target::Redirect { ports, random } => return redirect(*ports, *random, hook, evaluation),
        Target::Netmap { prefix, len } => {
            let last = Address(prefix.0 | Address::host_mask(evaluation.packet.family, *len));
            let manip = match hook {
                Hook::Prerouting | Hook::Output => Manip::Destination,
                Hook::Input | Hook::Forward | Hook::Postrouting => Manip::Source,
            };
            return nat(manip, NatRange { netmap: Some(*len), ..to(Some((*prefix, last)), None, false) }, false);
        }
    }
    Next::Rule
}

fn nat(manip: Manip, range: NatRange, hairpin: bool) -> Next {
    Next::Done(Verdict::Nat { manip, range, hairpin })
}

fn to(addresses: Option<(Address, Address)>, ports: Option<(u16, u16)>, random: bool) -> NatRange {
    NatRange { addresses, ports, base_port: None, random, persistent: false, netmap: None }
}

/// `nf_nat_masquerade.c`: without an address to take there is nothing right to send.
#[cold]
fn masquerade(ports: Option<(u16, u16)>, random: bool, evaluation: &Evaluation<'_, '_>) -> Next {
    let packet = &*evaluation.packet;
    if packet.family == Family::V4 && packet.source == Address::UNSPECIFIED {
        return Next::Done(Verdict::Accept);
    }
    let address = evaluation.out_interface.and_then(|out| evaluation.router.source_address(packet.family, out, packet.destination));
    match address {
        Some(address) => nat(Manip::Source, to(Some((address, address)), ports, random), false),
        None => Next::Done(Verdict::Drop),
    }
}

/// `nf_nat_redirect.c`.
#[cold]
fn redirect(ports: Option<(u16, u16)>, random: bool, hook: Hook, evaluation: &Evaluation<'_, '_>) -> Next {
    let packet = &*evaluation.packet;
    let address = match (hook, packet.family) {
        (Hook::Output, Family::V4) => Some(Address(0x7f00_0001)),
        (Hook::Output, Family::V6) => Some(Address(1)),
        (_, Family::V4) => evaluation.in_interface.and_then(|id| evaluation.router.source_address(Family::V4, id, packet.source)),
        // One that can stand for the destination: within a link, or a site, only an address of that scope.
        (_, Family::V6) => evaluation
            .in_interface
            .and_then(|id| evaluation.router.source_address(Family::V6, id, packet.destination))
            .filter(|address| !packet.destination.is_scoped() || address.0 >> 118 == packet.destination.0 >> 118),
    };
    match address {
        Some(address) => nat(Manip::Destination, to(Some((address, address)), ports, random), false),
        None => Next::Done(Verdict::Drop),
    }
}

fn conn_mark(what: &ConnMark, evaluation: &mut Evaluation<'_, '_>) {
    let Some(tracking) = evaluation.tracking.as_deref_mut() else { return };
    if tracking.flow == FlowRef::None {
        return;
    }
    let mark = match what {
        ConnMark::Set { value, mask } => tracking.mark & !mask ^ value,
        ConnMark::Save { nf_mask, ct_mask } => tracking.mark & !ct_mask ^ (*evaluation.mark & nf_mask),
        ConnMark::Restore { nf_mask, ct_mask } => {
            *evaluation.mark = *evaluation.mark & !nf_mask ^ (tracking.mark & ct_mask);
            return;
        }
    };
    if mark != tracking.mark {
        evaluation.conntrack.set_mark(tracking, mark);
    }
}

/// `xt_TCPMSS.c`: a TCP header that is none, or no room for any segment, drops the packet.
fn tcp_mss(mss: TcpMss, evaluation: &mut Evaluation<'_, '_>) -> Next {
    if evaluation.packet.is_later_fragment() {
        return Next::Rule;
    }
    let headers = match evaluation.packet.family {
        Family::V4 => 40,
        Family::V6 => 60,
    };
    let mss = match mss {
        TcpMss::Set(mss) => mss,
        TcpMss::ClampToPmtu => {
            let back = evaluation.router.mtu_towards(evaluation.packet.family, evaluation.packet.source);
            let mtu = back.map_or(evaluation.path_mtu, |back| back.min(evaluation.path_mtu));
            if mtu <= headers {
                return Next::Done(Verdict::Drop);
            }
            (mtu - headers).min(u16::MAX.into()) as u16
        }
    };
    match rewrite::clamp_mss(evaluation.frame, evaluation.packet, mss) {
        Ok(_) if evaluation.packet.upper != Upper::Cut => Next::Rule,
        _ => Next::Done(Verdict::Drop),
    }
}
