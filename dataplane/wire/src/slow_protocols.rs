//! What the slow protocols (IEEE 802.3 annex 57A) have in common.

use crate::MacAddr;

/// Destination of every frame of a slow protocol, which no bridge forwards.
pub const DESTINATION: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x02]);

/// Subtype of LACP: the first octet behind the EtherType.
pub const SUBTYPE_LACP: u8 = 1;

/// Subtype of the marker protocol.
pub const SUBTYPE_MARKER: u8 = 2;

/// Octets of a LACPDU, a marker and a marker response, behind the EtherType.
pub const PDU_LEN: usize = 110;

/// Why octets are not the PDU they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PduError {
    /// Fewer octets than [`PDU_LEN`].
    Cut,
    /// Another subtype.
    Subtype,
    /// Version 0, which was never assigned. Later versions keep what earlier ones have (IEEE 802.1AX-2014 clause 6.4.2.3).
    Version,
    /// A TLV that must be there has another type or length.
    Tlv,
}

impl core::fmt::Display for PduError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            PduError::Cut => "the PDU is cut",
            PduError::Subtype => "the subtype is another one",
            PduError::Version => "the version is 0",
            PduError::Tlv => "a TLV has the wrong type or length",
        })
    }
}

impl core::error::Error for PduError {}

/// The octets of one PDU, checked for length, subtype and version.
pub(crate) fn pdu(octets: &[u8], subtype: u8) -> Result<&[u8; PDU_LEN], PduError> {
    let pdu = octets.first_chunk::<PDU_LEN>().ok_or(PduError::Cut)?;
    if pdu[0] != subtype {
        return Err(PduError::Subtype);
    }
    if pdu[1] == 0 {
        return Err(PduError::Version);
    }
    Ok(pdu)
}
