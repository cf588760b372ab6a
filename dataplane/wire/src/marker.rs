//! Marker PDUs (IEEE 802.1AX-2014 clause 6.5.3): a partner sends one behind the last frame of a flow and moves the flow to
//! another link when the response has come back.

use crate::MacAddr;
use crate::slow_protocols::{PDU_LEN, PduError, SUBTYPE_MARKER, pdu};

const TLV_INFORMATION: u8 = 1;
const TLV_RESPONSE: u8 = 2;
const TLV_LEN: u8 = 16;

/// A marker or the response to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whether it is the response.
    pub response: bool,
    /// Number of the port that asked.
    pub requester_port: u16,
    /// System that asked.
    pub requester_system: MacAddr,
    /// What tells one request of that port from another.
    pub transaction: u32,
}

impl Marker {
    /// Reads a marker from the octets behind the EtherType.
    ///
    /// # Errors
    ///
    /// When it is cut, or not a marker.
    pub fn parse(octets: &[u8]) -> Result<Marker, PduError> {
        let pdu = pdu(octets, SUBTYPE_MARKER)?;
        if pdu[3] != TLV_LEN || !matches!(pdu[2], TLV_INFORMATION | TLV_RESPONSE) {
            return Err(PduError::Tlv);
        }
        Ok(Marker {
            response: pdu[2] == TLV_RESPONSE,
            requester_port: u16::from_be_bytes([pdu[4], pdu[5]]),
            requester_system: MacAddr::at(&pdu[6..]),
            transaction: u32::from_be_bytes([pdu[12], pdu[13], pdu[14], pdu[15]]),
        })
    }

    /// The octets behind the EtherType.
    pub fn emit(&self) -> [u8; PDU_LEN] {
        let mut pdu = [0; PDU_LEN];
        pdu[0] = SUBTYPE_MARKER;
        pdu[1] = 1;
        pdu[2] = if self.response { TLV_RESPONSE } else { TLV_INFORMATION };
        pdu[3] = TLV_LEN;
        pdu[4..6].copy_from_slice(&self.requester_port.to_be_bytes());
        pdu[6..12].copy_from_slice(&self.requester_system.0);
        pdu[12..16].copy_from_slice(&self.transaction.to_be_bytes());
        pdu
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKER: Marker =
        Marker { response: false, requester_port: 0x0102, requester_system: MacAddr([2, 0, 0, 0, 0, 9]), transaction: 0xdead_beef };

    #[test]
    fn octets_are_those_of_the_standard() {
        let octets = MARKER.emit();
        assert_eq!(octets[..18], [2, 1, 1, 16, 1, 2, 2, 0, 0, 0, 0, 9, 0xde, 0xad, 0xbe, 0xef, 0, 0]);
        assert_eq!(octets[2] + 1, Marker { response: true, ..MARKER }.emit()[2]);
        assert_eq!(Marker::parse(&octets), Ok(MARKER));
    }

    #[test]
    fn every_shorter_length_and_wrong_header_is_refused() {
        let octets = MARKER.emit();
        for len in 0..PDU_LEN {
            assert_eq!(Marker::parse(&octets[..len]), Err(PduError::Cut), "{len}");
        }
        for (at, value, error) in [(0, 1, PduError::Subtype), (1, 0, PduError::Version), (2, 3, PduError::Tlv), (3, 15, PduError::Tlv)] {
            let mut octets = MARKER.emit();
            octets[at] = value;
            assert_eq!(Marker::parse(&octets), Err(error), "octet {at}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_parse_or_fail(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(marker) = Marker::parse(&octets) {
                prop_assert_eq!(Marker::parse(&marker.emit()), Ok(marker));
            }
        }
    }
}
