//! One member of a bond, as its agent sees it.

use dataplane::clock::Nanos;
use wire::MacAddr;

use super::lacp::Port;
use super::settings::{BondSettings, MemberSettings, TARGETS_MAX};
use super::status::LinkState;

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) slot: u8,
    pub(super) settings: MemberSettings,
    /// The address its device was given.
    pub(super) mac: MacAddr,
    /// `None` before the first carrier event.
    pub(super) carrier: Option<bool>,
    pub(super) mbps: Option<u32>,
    pub(super) full_duplex: bool,
    pub(super) link: LinkState,
    pub(super) link_since: Nanos,
    pub(super) link_reason: String,
    /// End of `updelay` or `downdelay`.
    pub(super) link_deadline: Option<Nanos>,
    pub(super) link_failure_count: u32,
    /// When the link was last found up or the member was made active or asked by the ARP monitor.
    pub(super) last_link_up: Nanos,
    /// When a frame that counts was last received.
    pub(super) last_rx: Option<Nanos>,
    pub(super) last_tx: Option<Nanos>,
    /// When the ARP monitor last asked by it.
    pub(super) last_probe: Option<Nanos>,
    /// When each target, IPv4 before IPv6, last gave a valid sign of life here.
    pub(super) target_rx: [Option<Nanos>; 2 * TARGETS_MAX],
    pub(super) lacp: Port,
}

impl Member {
    pub(super) fn new(now: Nanos, slot: u8, settings: MemberSettings, bond: &BondSettings) -> Member {
        Member {
            slot,
            mac: settings.mac,
            settings,
            carrier: None,
            mbps: None,
            full_duplex: true,
            link: LinkState::Down,
            link_since: now,
            link_reason: "just added".into(),
            link_deadline: None,
            link_failure_count: 0,
            last_link_up: now,
            last_rx: None,
            last_tx: None,
            last_probe: None,
            target_rx: [None; 2 * TARGETS_MAX],
            lacp: Port::new(slot, bond),
        }
    }

    /// Whether its device has a carrier.
    pub(super) fn has_carrier(&self) -> bool {
        self.carrier == Some(true)
    }

    /// Whether its link counts as up; a carrier that is gone still does during `downdelay`.
    pub(super) fn usable(&self) -> bool {
        matches!(self.link, LinkState::Up | LinkState::Fail)
    }

    /// Whether a frame given to it now can leave (`bond_slave_can_tx`).
    pub(super) fn can_tx(&self) -> bool {
        self.link == LinkState::Up
    }
}
