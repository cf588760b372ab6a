//! Answers to questions about bonds. Nothing here changes anything.

use dataplane::bond::{Egress, Outgoing};
use dataplane::clock::Nanos;
use dataplane::counters::{Counter, PortCounters};
use proto::api::{Filter, Link};
use proto::bond::{BondConfig, BondMode};
use proto::bond_status::{ArpTarget, BondInfo, BondLacp, BondOptions, ExplainBondReply, LacpEnd, MemberInfo, MemberLacp};
use proto::config::{PortConfig, PortKind};
use wire::lacp::PortInfo;

use super::transaction::netdev_of_link;
use super::{Controller, DeviceState};
use crate::bond::MemberStatus;
use crate::compile::member_port;
use crate::config::bond as options;
use crate::flow;

/// Names of the LACP state bits, from bit 0 on (IEEE 802.1AX-2014 clause 6.4.2.3).
const STATE_BITS: [&str; 8] =
    ["activity", "timeout", "aggregation", "synchronization", "collecting", "distributing", "defaulted", "expired"];

fn milliseconds(now: Nanos, since: Nanos) -> u64 {
    now.saturating_sub(since) / 1_000_000
}

impl Controller {
    /// The bonds that match: of a switch, or the one of a name.
    pub fn bond_infos(&self, filter: &Filter, now: Nanos) -> Vec<BondInfo> {
        let matches = |name: &String, port: &PortConfig| {
            port.kind == PortKind::Bond
                && filter.port.as_ref().is_none_or(|wanted| wanted == name)
                && filter.switch.as_ref().is_none_or(|wanted| Some(wanted) == port.switch.as_ref())
        };
        let bonds = self.config.port.iter().filter(|(name, port)| matches(name, port));
        bonds.filter_map(|(name, port)| self.bond_info(name, port, now)).collect()
    }

    fn bond_info(&self, name: &str, port: &PortConfig, now: Nanos) -> Option<BondInfo> {
        let status = self.bonds.get(name)?.agent.status();
        let active = status.members.iter().find(|member| Some(member.slot) == status.active).map(|member| member.name.clone());
        Some(BondInfo {
            name: name.to_owned(),
            switch: port.switch.clone(),
            link: self.link(name),
            mac: status.mac,
            options: BondOptions::new(&options::options(port), active),
            active_since_ms: milliseconds(now, status.active_since),
            active_reason: status.active_reason,
            failovers: status.failovers,
            lacp: status.lacp.map(|lacp| BondLacp {
                ad_aggregator: lacp.active_aggregator,
                ad_num_ports: lacp.ports,
                ad_actor_key: lacp.actor_key,
                ad_partner_key: lacp.partner_key,
                ad_partner_mac: lacp.partner_mac,
                fallback: lacp.fallback,
            }),
            members: status.members.iter().filter_map(|member| self.member_info(name, port, member, now)).collect(),
        })
    }

    fn member_info(&self, bond: &str, port: &PortConfig, member: &MemberStatus, now: Nanos) -> Option<MemberInfo> {
        let key = member_port(bond, &member.name);
        let parts = self.compiled.ports.get(&key)?;
        let link = self.links.get(&key)?;
        let counters: &[PortCounters] = &parts.counters;
        let sum = |of: fn(&PortCounters) -> &Counter| counters.iter().map(|set| of(set).get()).fold(0, u64::wrapping_add);
        let link_state = self.link(&key);
        Some(MemberInfo {
            name: member.name.clone(),
            state: if member.transmits { "active" } else { "backup" }.to_owned(),
            mii_status: member.link.name().to_owned(),
            since_ms: milliseconds(now, member.link_since),
            reason: member.link_reason.clone(),
            carrier: member.carrier && link_state == Link::Up,
            link: link_state,
            problem: match &link.device {
                DeviceState::Lost { problem, .. } => Some(problem.clone()),
                _ => None,
            },
            receives: member.receives,
            speed: member.mbps,
            duplex: if member.full_duplex { "full" } else { "half" }.to_owned(),
            link_failure_count: member.link_failure_count,
            perm_hwaddr: member.permanent_mac,
            mac: member.mac,
            slot: member.slot,
            interface: netdev_of_link(link).map(|netdev| netdev.name.clone()).or_else(|| parts.config.interface.clone()),
            rx_packets: sum(|set| &set.rx_packets),
            rx_bytes: sum(|set| &set.rx_bytes),
            tx_packets: sum(|set| &set.tx_packets),
            tx_bytes: sum(|set| &set.tx_bytes),
            arp_targets: member
                .arp_last_rx
                .iter()
                .map(|(target, at)| ArpTarget { target: *target, answered_ms: at.map(|at| milliseconds(now, at)) })
                .collect(),
            lacp: member.lacp.as_ref().map(|lacp| MemberLacp {
                ad_aggregator_id: lacp.aggregator,
                receive: lacp.receive.name().to_owned(),
                mux: lacp.mux.name().to_owned(),
                actor: lacp_end(&lacp.actor),
                partner: lacp_end(&lacp.partner),
                actor_churn: lacp.actor_churn.name().to_owned(),
                partner_churn: lacp.partner_churn.name().to_owned(),
                actor_churned: lacp.actor_churned,
                partner_churned: lacp.partner_churned,
                lacpdu_tx: lacp.lacpdu_tx,
                lacpdu_rx: lacp.lacpdu_rx,
                marker_tx: lacp.marker_tx,
                marker_rx: lacp.marker_rx,
                lacpdu_unknown: lacp.lacpdu_unknown,
                marker_unknown: lacp.marker_unknown,
            }),
            config: port.member.get(&member.name)?.clone(),
        })
    }

    /// Says which member of a bond a flow takes: the answer of the function that workers use.
    ///
    /// # Errors
    ///
    /// When there is no such bond, or the flow cannot be read.
    pub fn explain_bond(&self, name: &str, flow: &str) -> Result<ExplainBondReply, String> {
        let none = || format!("no bond {name:?}");
        let port = self.config.port.get(name).ok_or_else(none)?;
        let parts = self.compiled.ports.get(name).ok_or_else(none)?;
        let bond = self.compiled.snapshot.port(parts.id).and_then(|port| port.bond.as_ref()).ok_or_else(none)?;
        let frame = flow::read(flow)?;
        let tags: Vec<wire::Tag> = frame.tag.into_iter().collect();
        let len = u32::try_from(frame.octets.len()).unwrap_or(u32::MAX);
        let outgoing = Outgoing::new(&frame.octets, len, &tags).ok_or("flow: shorter than an Ethernet header")?;
        let view = bond.state.view();
        let choice = bond.select(&view, &outgoing, || bond.state.peek_sequence(0));
        let names: Vec<(u8, &str)> = self
            .compiled
            .ports
            .values()
            .filter_map(|parts| parts.member_of.as_ref().filter(|place| place.bond == name))
            .map(|place| (place.slot, place.member.as_str()))
            .collect();
        let named =
            |slot: u8| names.iter().find(|(other, _)| *other == slot).map_or_else(|| slot.to_string(), |(_, name)| (*name).to_owned());
        let usable: Vec<String> = view.tx.iter().map(|slot| named(*slot)).collect();
        let members = match choice.egress {
            Egress::None => Vec::new(),
            Egress::One(slot) => vec![named(slot)],
            Egress::All => usable.clone(),
        };
        let options = options::options(port);
        let xmit_hash_policy = choice.hash.map(|_| options.xmit_hash_policy);
        let reason = explain(&options, &choice.hash, choice.bucket, usable.len(), members.is_empty());
        Ok(ExplainBondReply { mode: options.mode, hash: choice.hash, xmit_hash_policy, bucket: choice.bucket, usable, members, reason })
    }
}

fn explain(options: &BondConfig, hash: &Option<u32>, bucket: Option<u8>, usable: usize, none: bool) -> String {
    match (options.mode, hash, bucket) {
        _ if none => "no member can transmit now: the frame is dropped (bond-no-member)".to_owned(),
        (_, _, Some(bucket)) => format!("the flow is in bucket {bucket}, which this member has at present"),
        (_, Some(hash), _) if usable > 0 => format!("{hash:#x} modulo {usable} usable members is {}", *hash as usize % usable),
        (BondMode::ActiveBackup, ..) => "it is the active member".to_owned(),
        (BondMode::Broadcast, ..) => "every usable member gets a copy".to_owned(),
        (BondMode::BalanceRr, ..) if options.packets_per_slave == 0 => "by chance; the next frame may take another member".to_owned(),
        (BondMode::BalanceRr, ..) => "it is this member's turn at worker 0; the next frame may take another".to_owned(),
        (BondMode::Random, ..) => "by chance; the next frame may take another member".to_owned(),
        (BondMode::Ieee8023ad, ..) => "it is the active member while there is no partner".to_owned(),
        _ => "frames that are not balanced leave by the active member".to_owned(),
    }
}

fn lacp_end(end: &PortInfo) -> LacpEnd {
    LacpEnd {
        system_priority: end.system_priority,
        system: end.system,
        key: end.key,
        port_priority: end.port_priority,
        port: end.port,
        state: (0..8).filter(|bit| end.state >> bit & 1 != 0).map(|bit| STATE_BITS[bit].to_owned()).collect(),
    }
}
