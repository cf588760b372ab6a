//! The router's own addresses: duplicate address detection (RFC 4862 section 5.4), announcements (RFC 5227 section 2.3, RFC 4861
//! section 7.2.6) and their defence (RFC 5227 section 2.4).

use std::collections::BTreeMap;

use dataplane::clock::Nanos;
use dataplane::router::{Family, InterfaceId};
use wire::MacAddr;

use super::agent::{Action, Key, NeighbourAgent};
use super::frames::{self, ALL_NODES, Flags};
use super::settings::InterfaceSettings;

const SECOND: Nanos = 1_000_000_000;
/// Announcements of a new address, and the time between them (RFC 5227 section 1.1).
const ANNOUNCE_NUM: u8 = 2;
const ANNOUNCE_INTERVAL: Nanos = 2 * SECOND;
/// An address is defended once in this time (RFC 5227 section 1.1).
const DEFEND_INTERVAL: Nanos = 10 * SECOND;
/// Before the first solicitation of duplicate address detection at most (RFC 4861 section 10: `MAX_RTR_SOLICITATION_DELAY`).
const DAD_DELAY_MAX: u64 = SECOND;

/// An own address.
#[derive(Clone, Debug)]
pub(super) struct Own {
    state: State,
    /// Announcements to come.
    announcements: u8,
    /// When the next step is due.
    next: Option<Nanos>,
    defended: Option<Nanos>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// IPv6: nobody was asked yet whether somebody else has it.
    New,
    /// IPv6: the others were asked.
    Tentative,
    /// It is the router's.
    Ready,
    /// IPv6: somebody else has it.
    Duplicate,
}

impl Own {
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    pub(super) fn is_tentative(&self) -> bool {
        matches!(self.state, State::New | State::Tentative)
    }

    pub(super) fn is_duplicate(&self) -> bool {
        self.state == State::Duplicate
    }
}

impl NeighbourAgent {
    /// Follows the addresses of the configuration.
    pub(super) fn configure_own(&mut self, now: Nanos, before: &BTreeMap<InterfaceId, InterfaceSettings>) {
        let mut wanted = Vec::new();
        for (id, interface) in &self.interfaces {
            let moved = before.get(id).is_some_and(|before| before.mac != interface.mac);
            for own in &interface.addresses {
                wanted.push((Key { interface: *id, family: own.family, address: own.address }, moved));
            }
        }
        self.own.retain(|key, _| wanted.iter().any(|(wanted, _)| wanted == key));
        for (key, moved) in wanted {
            // What is the router's own is nobody else's.
            self.remove(&key);
            let known = self.own.get(&key).map(|own| own.state);
            let (state, next) = match (known, key.family) {
                (Some(State::Ready), _) if moved => (State::Ready, now),
                (Some(_), _) => continue,
                (None, Family::V4) => (State::Ready, now),
                (None, Family::V6) => (State::New, now + self.random_below(DAD_DELAY_MAX)),
            };
            self.own.insert(key, Own { state, announcements: ANNOUNCE_NUM, next: Some(next), defended: None });
            self.wake_at(next);
        }
    }

    /// Takes the steps that are due.
    pub(super) fn own_deadlines(&mut self, now: Nanos, out: &mut Vec<Action>) {
        let due: Vec<Key> = self.own.iter().filter(|(_, own)| own.next.is_some_and(|at| at <= now)).map(|(key, _)| *key).collect();
        for key in due {
            let retrans = self.neigh(&key).retrans_time;
            let Some(own) = self.own.get_mut(&key) else { continue };
            own.next = None;
            match own.state {
                State::New => {
                    (own.state, own.next) = (State::Tentative, Some(now + retrans));
                    if let Some(interface) = self.interfaces.get(&key.interface) {
                        let octets = frames::neighbour_solicitation(interface.mac, [0; 16].into(), key.address.to_v6(), None);
                        out.push(Action::Send { interface: key.interface, octets });
                    }
                }
                State::Tentative | State::Ready => {
                    own.state = State::Ready;
                    own.announcements = own.announcements.saturating_sub(1);
                    own.next = (own.announcements > 0).then_some(now + ANNOUNCE_INTERVAL);
                    self.announce(&key, out);
                }
                State::Duplicate => {}
            }
        }
        if let Some(at) = self.own.values().filter_map(|own| own.next).min() {
            self.wake_at(at);
        }
    }

    /// Tells all stations where an own address is.
    fn announce(&self, key: &Key, out: &mut Vec<Action>) {
        let Some(interface) = self.interfaces.get(&key.interface) else { return };
        let octets = match key.family {
            Family::V4 => frames::arp_request(interface.mac, key.address.to_v4(), key.address.to_v4(), None),
            Family::V6 => {
                let flags = Flags { router: self.settings.forwarding, solicited: false, replace: true };
                frames::advertisement(interface.mac, key.address.to_v6(), ALL_NODES, MacAddr::BROADCAST, flags)
            }
        };
        out.push(Action::Send { interface: key.interface, octets });
    }

    /// Another station claims an own address.
    pub(super) fn conflict(&mut self, now: Nanos, key: &Key, mac: MacAddr, out: &mut Vec<Action>) {
        let Some(own) = self.own.get_mut(key) else { return };
        let name = self.interfaces.get(&key.interface).map_or("", |interface| interface.name.as_str());
        let what = format!("interface {name:?}: {mac} uses {} as well", key.address.display(key.family));
        match own.state {
            State::New | State::Tentative => {
                (own.state, own.next) = (State::Duplicate, None);
                out.push(Action::Warn(format!("{what}; the router does not answer for it until one of the two is given another address")));
            }
            State::Ready if own.defended.is_none_or(|at| now.saturating_sub(at) >= DEFEND_INTERVAL) => {
                own.defended = Some(now);
                out.push(Action::Warn(format!("{what}; the router goes on using it")));
                self.announce(key, out);
            }
            State::Ready | State::Duplicate => {}
        }
    }
}
