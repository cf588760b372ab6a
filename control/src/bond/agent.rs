//! The agent of one bond: takes events, gives actions.

use dataplane::clock::Nanos;
use wire::MacAddr;

use super::{BondAction, BondEvent, BondSettings, BondStatus, BondView, MemberSettings};

/// The state of one bond.
#[derive(Debug)]
pub struct BondAgent {
    settings: BondSettings,
    mac: Option<MacAddr>,
}

impl BondAgent {
    /// A bond without members. Its MAC address is `mac`, or else that of its first member.
    pub fn new(settings: BondSettings, mac: Option<MacAddr>, _now: Nanos) -> BondAgent {
        BondAgent { settings, mac }
    }

    /// Adds a member at a free slot. Its carrier is taken to be down until an event tells otherwise.
    pub fn add_member(&mut self, _now: Nanos, _slot: u8, _member: MemberSettings, _out: &mut Vec<BondAction>) {}

    /// Removes a member; what its device's MAC address was before is in the last [`BondAction::SetMac`].
    pub fn remove_member(&mut self, _now: Nanos, _slot: u8, _out: &mut Vec<BondAction>) {}

    /// Takes over other settings of the bond, without losing what need not be lost.
    pub fn reconfigure(&mut self, _now: Nanos, settings: BondSettings, _out: &mut Vec<BondAction>) {
        self.settings = settings;
    }

    /// Takes over other settings of a member.
    pub fn reconfigure_member(&mut self, _now: Nanos, _slot: u8, _member: MemberSettings, _out: &mut Vec<BondAction>) {}

    /// Takes an event, adds what is to be done to `out`.
    pub fn handle(&mut self, _now: Nanos, _event: BondEvent<'_>, _out: &mut Vec<BondAction>) {}

    /// When [`BondEvent::Deadline`] is wanted next.
    pub fn next_deadline(&self) -> Option<Nanos> {
        None
    }

    /// What workers were told last.
    pub fn view(&self) -> BondView {
        BondView::default()
    }

    /// What the bond was told.
    pub fn settings(&self) -> &BondSettings {
        &self.settings
    }

    /// Everything that `show bonds` prints.
    pub fn status(&self) -> BondStatus {
        BondStatus {
            settings: self.settings.clone(),
            mac: self.mac,
            carrier: false,
            active: None,
            active_since: 0,
            active_reason: String::new(),
            failovers: 0,
            view: BondView::default(),
            lacp: None,
            members: Vec::new(),
        }
    }
}
