//! Link Aggregation Control PDUs (IEEE 802.1AX-2014 clause 6.4.2).
//!
//! A [`Lacpdu`] is what [`Lacpdu::parse`] reads from and [`Lacpdu::emit`] writes to the octets behind the EtherType.

use core::ops::Range;

use crate::MacAddr;
use crate::slow_protocols::{PDU_LEN, PduError, SUBTYPE_LACP, pdu};

/// State bit: sends without being asked.
pub const ACTIVITY: u8 = 0x01;
/// State bit: wants a LACPDU every second, gives up after three.
pub const TIMEOUT: u8 = 0x02;
/// State bit: may be aggregated with other links.
pub const AGGREGATION: u8 = 0x04;
/// State bit: attached to the right aggregator.
pub const SYNCHRONIZATION: u8 = 0x08;
/// State bit: accepts frames.
pub const COLLECTING: u8 = 0x10;
/// State bit: sends frames.
pub const DISTRIBUTING: u8 = 0x20;
/// State bit: uses defaults for its partner.
pub const DEFAULTED: u8 = 0x40;
/// State bit: its partner went silent.
pub const EXPIRED: u8 = 0x80;

mod field {
    use super::Range;

    pub(super) const ACTOR: Range<usize> = 2..22;
    pub(super) const PARTNER: Range<usize> = 22..42;
    pub(super) const COLLECTOR: Range<usize> = 42..58;
}

const TLV_ACTOR: u8 = 1;
const TLV_PARTNER: u8 = 2;
const TLV_COLLECTOR: u8 = 3;
const INFO_LEN: usize = 20;
const COLLECTOR_LEN: u8 = 16;

/// What one end of a link says about itself or about the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortInfo {
    /// Priority of the system; lower goes first.
    pub system_priority: u16,
    /// The system.
    pub system: MacAddr,
    /// Operational key: ports of one system with one key may form an aggregate.
    pub key: u16,
    /// Priority of the port.
    pub port_priority: u16,
    /// Number of the port.
    pub port: u16,
    /// State bits.
    pub state: u8,
}

impl PortInfo {
    /// Whether all of `bits` are set in the state.
    #[inline]
    pub const fn has(&self, bits: u8) -> bool {
        self.state & bits == bits
    }

    /// Sets or clears `bits` of the state.
    #[inline]
    pub const fn set(&mut self, bits: u8, on: bool) {
        if on {
            self.state |= bits;
        } else {
            self.state &= !bits;
        }
    }

    fn read(tlv: &[u8], kind: u8) -> Result<PortInfo, PduError> {
        if tlv[0] != kind || usize::from(tlv[1]) != INFO_LEN {
            return Err(PduError::Tlv);
        }
        let number = |at: usize| u16::from_be_bytes([tlv[at], tlv[at + 1]]);
        Ok(PortInfo {
            system_priority: number(2),
            system: MacAddr::at(&tlv[4..]),
            key: number(10),
            port_priority: number(12),
            port: number(14),
            state: tlv[16],
        })
    }

    fn write(&self, tlv: &mut [u8], kind: u8) {
        tlv[0] = kind;
        tlv[1] = INFO_LEN as u8;
        tlv[2..4].copy_from_slice(&self.system_priority.to_be_bytes());
        tlv[4..10].copy_from_slice(&self.system.0);
        tlv[10..12].copy_from_slice(&self.key.to_be_bytes());
        tlv[12..14].copy_from_slice(&self.port_priority.to_be_bytes());
        tlv[14..16].copy_from_slice(&self.port.to_be_bytes());
        tlv[16] = self.state;
    }
}

/// A LACPDU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacpdu {
    /// The sender about itself.
    pub actor: PortInfo,
    /// The sender about the receiver.
    pub partner: PortInfo,
    /// The longest a frame waits at the sender's collector, in units of 10 microseconds.
    pub collector_max_delay: u16,
}

impl Lacpdu {
    /// Reads a LACPDU from the octets behind the EtherType; octets that follow it are padding or of a later version.
    ///
    /// # Errors
    ///
    /// When it is cut, or not a LACPDU with actor and partner information.
    pub fn parse(octets: &[u8]) -> Result<Lacpdu, PduError> {
        let pdu = pdu(octets, SUBTYPE_LACP)?;
        let collector = &pdu[field::COLLECTOR];
        if collector[0] != TLV_COLLECTOR || collector[1] != COLLECTOR_LEN {
            return Err(PduError::Tlv);
        }
        Ok(Lacpdu {
            actor: PortInfo::read(&pdu[field::ACTOR], TLV_ACTOR)?,
            partner: PortInfo::read(&pdu[field::PARTNER], TLV_PARTNER)?,
            collector_max_delay: u16::from_be_bytes([collector[2], collector[3]]),
        })
    }

    /// The octets behind the EtherType.
    pub fn emit(&self) -> [u8; PDU_LEN] {
        let mut pdu = [0; PDU_LEN];
        pdu[0] = SUBTYPE_LACP;
        pdu[1] = 1;
        self.actor.write(&mut pdu[field::ACTOR], TLV_ACTOR);
        self.partner.write(&mut pdu[field::PARTNER], TLV_PARTNER);
        let collector = &mut pdu[field::COLLECTOR];
        collector[0] = TLV_COLLECTOR;
        collector[1] = COLLECTOR_LEN;
        collector[2..4].copy_from_slice(&self.collector_max_delay.to_be_bytes());
        pdu
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A LACPDU as a Linux bond sends it (fields as features of the wire, written out by hand from clause 6.4.2.3).
    const OCTETS: [u8; 58] = [
        1, 1, // subtype, version
        1, 20, 0xff, 0xff, 0x52, 0x54, 0x00, 0x1e, 0xf1, 0x21, 0x00, 0x0f, 0x00, 0xff, 0x00, 0x01, 0x3d, 0, 0, 0, // actor
        2, 20, 0x80, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x07, 0x00, 0x80, 0x00, 0x09, 0x3f, 0, 0, 0, // partner
        3, 16, 0x00, 0x32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // collector
    ];

    fn sample() -> Lacpdu {
        Lacpdu {
            actor: PortInfo {
                system_priority: 65535,
                system: MacAddr([0x52, 0x54, 0, 0x1e, 0xf1, 0x21]),
                key: 15,
                port_priority: 255,
                port: 1,
                state: ACTIVITY | AGGREGATION | SYNCHRONIZATION | COLLECTING | DISTRIBUTING,
            },
            partner: PortInfo {
                system_priority: 32768,
                system: MacAddr([2, 0, 0, 0, 0, 1]),
                key: 7,
                port_priority: 128,
                port: 9,
                state: 0x3f,
            },
            collector_max_delay: 50,
        }
    }

    #[test]
    fn emits_and_parses_the_octets_of_the_standard() {
        let octets = sample().emit();
        assert_eq!(octets[..58], OCTETS);
        assert!(octets[58..].iter().all(|octet| *octet == 0), "terminator and reserved octets");
        assert_eq!(Lacpdu::parse(&octets), Ok(sample()));
    }

    #[test]
    fn every_shorter_length_is_refused() {
        let octets = sample().emit();
        for len in 0..PDU_LEN {
            assert_eq!(Lacpdu::parse(&octets[..len]), Err(PduError::Cut), "{len}");
        }
        let mut longer = octets.to_vec();
        longer.extend_from_slice(&[0xa5; 40]);
        assert_eq!(Lacpdu::parse(&longer), Ok(sample()));
    }

    #[test]
    fn wrong_headers_are_refused() {
        for (at, value, error) in [
            (0, 2, PduError::Subtype),
            (1, 0, PduError::Version),
            (2, 2, PduError::Tlv),
            (3, 19, PduError::Tlv),
            (22, 1, PduError::Tlv),
            (23, 0, PduError::Tlv),
            (42, 0, PduError::Tlv),
            (43, 15, PduError::Tlv),
        ] {
            let mut octets = sample().emit();
            octets[at] = value;
            assert_eq!(Lacpdu::parse(&octets), Err(error), "octet {at}");
        }
        let mut later = sample().emit();
        later[1] = 2;
        assert_eq!(Lacpdu::parse(&later), Ok(sample()), "version 2 has the same first TLVs");
    }

    proptest! {
        #[test]
        fn any_octets_parse_or_fail(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(pdu) = Lacpdu::parse(&octets) {
                prop_assert_eq!(Lacpdu::parse(&pdu.emit()), Ok(pdu));
            }
        }

        #[test]
        fn fields_survive(priority: u16, system: [u8; 6], key: u16, port: u16, state: u8, delay: u16) {
            let actor = PortInfo { system_priority: priority, system: MacAddr(system), key, port_priority: !port, port, state };
            let partner = PortInfo { state: !state, key: !key, ..actor };
            let pdu = Lacpdu { actor, partner, collector_max_delay: delay };
            prop_assert_eq!(Lacpdu::parse(&pdu.emit()), Ok(pdu));
        }
    }
}
