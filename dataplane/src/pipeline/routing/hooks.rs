//! What happens to a packet at the hooks: rules, connection tracking, translation.

use wire::ethernet;

use super::super::Pipeline;
use super::own::OwnKind;
use super::{Cx, Passage, Step};
use crate::conntrack::extension::ExtendError;
use crate::conntrack::{self, ConfirmError, FlowRef, Status};
use crate::drop_reason::DropReason;
use crate::nat::{self, Inbound, Manip};
use crate::router::{InterfaceId, Router};
use crate::rules::{self, Evaluation, Hook, Table, Verdict};
use crate::synproxy::{self, Established};

impl Pipeline {
    /// Asks the rules of a table. A packet they do not accept goes no further.
    #[inline]
    pub(super) fn ask(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, table: Table, hook: Hook) -> Result<(), Step> {
        match p.router.rules(p.packet.family) {
            Some(rules) if rules.has(table, hook) => self.ask_rules(cx, p, table, hook),
            _ => Ok(()),
        }
    }

    fn ask_rules(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, table: Table, hook: Hook) -> Result<(), Step> {
        match self.evaluate(p, table, hook) {
            // Table `nat` is asked by `translate`.
            Verdict::Accept | Verdict::Nat { .. } => Ok(()),
            Verdict::Drop => Err(Step::Drop(DropReason::RuleDrop)),
            Verdict::Reject(with) => {
                self.reject(cx, p, hook, with);
                Err(Step::Drop(DropReason::RuleReject))
            }
            Verdict::SynProxy(options) => self.syn_proxy(p, options),
        }
    }

    fn evaluate(&mut self, p: &mut Passage<'_, '_, '_>, table: Table, hook: Hook) -> Verdict {
        let Some(rules) = p.router.rules(p.packet.family) else { return Verdict::Accept };
        let path_mtu = p.mtu();
        rules.evaluate(
            table,
            hook,
            &mut Evaluation {
                frame: p.frame,
                packet: &mut p.packet,
                in_interface: p.in_interface,
                out_interface: p.out_interface,
                mark: &mut p.mark,
                tracking: (table != Table::Raw).then_some(&mut p.tracking),
                conntrack: &p.router.state.connections,
                template: &mut p.template,
                router: p.router,
                path_mtu,
                now: self.time,
                worker: self.worker,
                cache: &mut self.routing.cache,
                events: &self.events,
                trace: &mut p.trace,
            },
        )
    }

    fn conntrack_at<'s>(&self, cx: &Cx<'_>, p: &Passage<'_, '_, 's>) -> conntrack::At<'s> {
        self.conntrack_of(cx, p.router, p.in_interface.is_none())
    }

    /// For packets at a router; `own` are its own.
    #[inline]
    pub(super) fn conntrack_of<'s>(&self, cx: &Cx<'_>, router: &'s Router, own: bool) -> conntrack::At<'s> {
        let (worker, ingress, now) = (self.worker, cx.origin, self.time);
        conntrack::At { settings: &router.conntrack, router: router.id, worker, ingress, now, own }
    }

    /// Finds the flow of the packet.
    #[inline]
    pub(super) fn track(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) {
        p.tracking = p.router.state.connections.track(&self.conntrack_at(cx, p), &p.template, &p.packet, p.frame);
        if p.by_syn_proxy && matches!(p.tracking.flow, FlowRef::New(_)) {
            p.tracking.status.insert(Status::SYN_PROXY);
        }
    }

    /// Translates one end of the packet, as its flow says; the first packet of a flow decides (`nf_nat_inet_fn`,
    /// `net/netfilter/nf_nat_core.c`).
    #[inline]
    pub(super) fn translate(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, manip: Manip, hook: Hook) -> Result<(), Step> {
        // An error is translated as the flow it is about, and decides nothing.
        if matches!(p.tracking.flow, FlowRef::New(_)) && !p.packet.is_icmp_error() {
            self.bind(cx, p, manip, hook).inspect_err(|step| {
                if let Step::Drop(DropReason::NatExhausted) = step {
                    self.refuse_flow(cx, p);
                }
            })?;
        }
        if !p.tracking.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0)) {
            return Ok(());
        }
        nat::translate(p.frame, &mut p.packet, &p.tracking, manip).map_err(|_| Step::Drop(DropReason::NatUntranslatable))
    }

    /// Decides how the flow that this packet begins is translated.
    #[inline(never)]
    fn bind(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, manip: Manip, hook: Hook) -> Result<(), Step> {
        let done = match manip {
            Manip::Source => Status::SRC_NAT_DONE,
            Manip::Destination => Status::DST_NAT_DONE,
        };
        let (router, at) = (p.router, self.conntrack_at(cx, p));
        let state = &router.state.translations;
        let exhausted = |_| Step::Drop(DropReason::NatExhausted);
        if p.tracking.new_flow().is_some_and(|flow| flow.nat.is_some()) && !p.tracking.status.intersects(done) {
            // Another flow announced this one, and said how.
            state.follow(&router.state.connections, &at, &mut p.tracking, &router.nat).map_err(exhausted)?;
        }
        if p.tracking.status.contains(done) {
            return Ok(());
        }
        let order = match router.rules(p.packet.family) {
            Some(rules) if rules.has(Table::Nat, hook) => self.evaluate(p, Table::Nat, hook),
            _ => Verdict::Accept,
        };
        let range = match &order {
            Verdict::Nat { range, hairpin, .. } => {
                p.hairpin |= *hairpin;
                Some(range)
            }
            Verdict::Drop => return Err(Step::Drop(DropReason::RuleDrop)),
            _ => None,
        };
        if range.is_none() && hook == Hook::Prerouting {
            match state.inbound(&router.state.connections, &at, &mut p.tracking, &router.nat) {
                Inbound::Translated => {
                    p.hairpin = true;
                    return Ok(());
                }
                Inbound::Filtered => {
                    self.hold_syn(p);
                    return Err(Step::Drop(DropReason::NatFiltered));
                }
                Inbound::Unmapped => {}
            }
        }
        if range.is_none() && hook == Hook::Postrouting && p.hairpin && p.in_interface == p.out_interface {
            return state.hairpin(&router.state.connections, &at, &mut p.tracking, &router.nat).map_err(exhausted);
        }
        state.bind(&router.state.connections, &at, &mut p.tracking, manip, range, &router.nat).map_err(exhausted)
    }

    /// Enters the flow that this packet begins into the table.
    #[inline]
    pub(super) fn confirm(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<(), Step> {
        if !matches!(p.tracking.flow, FlowRef::New(_)) {
            return Ok(());
        }
        let at = self.conntrack_at(cx, p);
        p.router.state.connections.confirm(&at, &mut p.tracking).map_err(|error| {
            let is_full = matches!(error, ConfirmError::TableFull | ConfirmError::Quota);
            if is_full && p.tracking.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0)) {
                // Its source may be translated already; whoever sent it is told.
                p.packet.source = p.tracking.original.source;
                self.refuse_flow(cx, p);
            }
            Step::Drop(match error {
                ConfirmError::TableFull => DropReason::ConntrackFull,
                ConfirmError::Quota => DropReason::ConntrackLimit,
                ConfirmError::Clash | ConfirmError::ChainTooLong => DropReason::ConntrackClash,
            })
        })
    }

    /// What few flows need: helpers, adjusted sequence numbers, the SYN proxy.
    #[inline]
    pub(super) fn extend(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<(), Step> {
        let at = self.conntrack_at(cx, p);
        let router = p.router;
        match router.state.connections.extend(&router.state.syn_proxy, &at, p.frame, &mut p.packet, &mut p.tracking) {
            Ok(Established::Pass) => Ok(()),
            Ok(Established::Open(to_server)) => {
                self.send_as_client(p, p.in_interface, &to_server);
                Err(Step::Taken)
            }
            Ok(Established::Opened { to_server, to_client }) => {
                // The packet is the server's: the client is where it goes.
                self.send_as_client(p, p.out_interface, &to_server);
                self.send_segment(p, OwnKind::Untracked, &to_client);
                Err(Step::Taken)
            }
            Err(ExtendError::Helper(_)) => Err(Step::Drop(DropReason::HelperFailed)),
            Err(_) => Err(Step::Drop(DropReason::SynProxyRefused)),
        }
    }

    /// A rule gave the packet to the SYN proxy. What it does not want goes on.
    #[cold]
    fn syn_proxy(&mut self, p: &Passage<'_, '_, '_>, options: rules::SynProxy) -> Result<(), Step> {
        let rules::SynProxy { mss, wscale, sack_perm, timestamp, ecn } = options;
        let offer = synproxy::Options { mss, wscale, sack_perm, timestamp, ecn };
        match p.router.state.syn_proxy.target(&offer, p.frame, &p.packet, self.time) {
            Ok(synproxy::Verdict::Continue) => Ok(()),
            Ok(synproxy::Verdict::Answer(to_client)) => {
                self.send_segment(p, OwnKind::Untracked, &to_client);
                Err(Step::Taken)
            }
            Ok(synproxy::Verdict::Open(to_server)) => {
                self.send_as_client(p, p.in_interface, &to_server);
                Err(Step::Taken)
            }
            Err(_) => Err(Step::Drop(DropReason::SynProxyRefused)),
        }
    }

    fn send_as_client(&mut self, p: &Passage<'_, '_, '_>, client: Option<InterfaceId>, segment: &synproxy::Segment) {
        if let Some(interface) = client {
            self.send_segment(p, OwnKind::Client(interface), segment);
        }
    }

    fn send_segment(&mut self, p: &Passage<'_, '_, '_>, kind: OwnKind, segment: &synproxy::Segment) {
        self.routing.own.add(|own| {
            (own.router, own.family, own.scope, own.at) = (p.router.id, p.packet.family, p.in_interface, p.at);
            own.kind = kind;
            let octets = segment.octets();
            own.octets.get_mut(ethernet::HEADER_LEN..ethernet::HEADER_LEN + octets.len())?.copy_from_slice(octets);
            Some(octets.len())
        });
    }
}
