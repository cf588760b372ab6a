//! VLAN identifiers, tags and sets of VLANs (IEEE 802.1Q-2018 clause 9).

use core::fmt;
use core::str::FromStr;

/// A VLAN identifier, 0 to 4094.
///
/// 0 is the VLAN of frames that carry no VLAN identifier on ports that are not told another one; it appears on the
/// wire only in priority tags. 4095 is reserved (IEEE 802.1Q-2018 table 9-2) and cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN of untagged frames where no other is configured.
    pub const NONE: VlanId = VlanId(0);
    /// The highest identifier, 4094.
    pub const MAX: VlanId = VlanId(4094);

    /// The identifier `vid`, or `None` above 4094.
    #[inline]
    pub const fn new(vid: u16) -> Option<VlanId> {
        if vid <= 4094 { Some(VlanId(vid)) } else { None }
    }

    /// The number, 0 to 4094.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The tag protocol identifier: which of the two kinds of tag (IEEE 802.1Q-2018 table 9-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tpid {
    /// Customer tag, 0x8100 (802.1Q).
    Dot1Q,
    /// Service tag, 0x88a8 (802.1ad).
    Dot1Ad,
}

impl Tpid {
    /// The tag kind with this EtherType, if it is one.
    #[inline]
    pub const fn from_ether_type(ether_type: u16) -> Option<Tpid> {
        match ether_type {
            0x8100 => Some(Tpid::Dot1Q),
            0x88a8 => Some(Tpid::Dot1Ad),
            _ => None,
        }
    }

    /// The EtherType of the tag.
    #[inline]
    pub const fn ether_type(self) -> u16 {
        match self {
            Tpid::Dot1Q => 0x8100,
            Tpid::Dot1Ad => 0x88a8,
        }
    }
}

/// A VLAN tag: protocol identifier and tag control information (PCP 3 bits, DEI 1, VID 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Which kind of tag.
    pub tpid: Tpid,
    /// Tag control information as a host-order number.
    pub tci: u16,
}

impl Tag {
    /// A tag on the wire is four octets: TPID and TCI.
    pub const LEN: usize = 4;

    /// A tag with the given VLAN and the priority bits (PCP and DEI) of `priority_of`.
    #[inline]
    pub const fn new(tpid: Tpid, vlan: VlanId, priority_of: u16) -> Tag {
        Tag { tpid, tci: (priority_of & 0xf000) | vlan.get() }
    }

    /// The raw 12-bit VID, 0 to 4095.
    #[inline]
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// Priority code point, 0 to 7.
    #[inline]
    pub const fn pcp(self) -> u8 {
        (self.tci >> 13) as u8
    }

    /// The four octets of the wire.
    #[inline]
    pub const fn to_bytes(self) -> [u8; 4] {
        let [a, b] = self.tpid.ether_type().to_be_bytes();
        let [c, d] = self.tci.to_be_bytes();
        [a, b, c, d]
    }
}

/// A set of VLANs, 0 to 4094.
#[derive(Clone, PartialEq, Eq)]
pub struct VlanSet([u64; 64]);

impl VlanSet {
    /// The set without members.
    pub const EMPTY: VlanSet = VlanSet([0; 64]);

    /// Every VLAN including 0.
    pub fn all() -> VlanSet {
        let mut set = VlanSet([u64::MAX; 64]);
        set.0[63] &= !(1 << 63); // 4095 is no VLAN
        set
    }

    /// Adds one VLAN.
    pub fn insert(&mut self, vlan: VlanId) {
        self.0[usize::from(vlan.0 >> 6)] |= 1 << (vlan.0 & 63);
    }

    /// Removes one VLAN.
    pub fn remove(&mut self, vlan: VlanId) {
        self.0[usize::from(vlan.0 >> 6)] &= !(1 << (vlan.0 & 63));
    }

    /// Whether `vlan` is a member.
    #[inline]
    pub fn contains(&self, vlan: VlanId) -> bool {
        self.0[usize::from(vlan.0 >> 6) & 63] & (1 << (vlan.0 & 63)) != 0
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        (0..4095).map(VlanId).filter(|vlan| self.contains(*vlan))
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> VlanSet {
        let mut set = VlanSet::EMPTY;
        for vlan in vlans {
            set.insert(vlan);
        }
        set
    }
}

impl fmt::Display for VlanSet {
    /// Ranges as users write them: `10,20-30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut members = self.iter().map(VlanId::get).peekable();
        let mut first = true;
        while let Some(start) = members.next() {
            let mut end = start;
            while members.next_if_eq(&(end + 1)).is_some() {
                end += 1;
            }
            let comma = if first { "" } else { "," };
            first = false;
            if start == end {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}-{end}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// Why a text is not a VLAN or a list of VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseVlanError(String);

impl fmt::Display for ParseVlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ParseVlanError {}

impl FromStr for VlanId {
    type Err = ParseVlanError;

    /// Reads a VLAN that a user may name: 1 to 4094.
    fn from_str(text: &str) -> Result<VlanId, ParseVlanError> {
        match text.parse::<u16>() {
            Ok(vid @ 1..=4094) => Ok(VlanId(vid)),
            _ => Err(ParseVlanError(format!("\"{text}\" is not a VLAN identifier (1 to 4094)"))),
        }
    }
}

impl FromStr for VlanSet {
    type Err = ParseVlanError;

    /// Reads a list such as `10,20-30`. Each VLAN is 1 to 4094; the list must not be empty.
    fn from_str(text: &str) -> Result<VlanSet, ParseVlanError> {
        let mut set = VlanSet::EMPTY;
        for part in text.split(',') {
            let part = part.trim();
            match part.split_once('-') {
                None => set.insert(part.parse()?),
                Some((start, end)) => {
                    let (start, end): (VlanId, VlanId) = (start.trim().parse()?, end.trim().parse()?);
                    if start > end {
                        return Err(ParseVlanError(format!("VLAN range \"{part}\" runs backwards")));
                    }
                    (start.0..=end.0).for_each(|vid| set.insert(VlanId(vid)));
                }
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_identifier_cannot_be_built() {
        assert_eq!(VlanId::new(4095), None);
        assert_eq!(VlanId::new(4094), Some(VlanId::MAX));
        assert!("0".parse::<VlanId>().is_err() && "4095".parse::<VlanId>().is_err());
    }

    #[test]
    fn lists_round_trip() {
        for text in ["10", "10,20-30", "1-4094"] {
            assert_eq!(text.parse::<VlanSet>().unwrap().to_string(), text);
        }
        for text in ["", "10,", "30-20", "0-3", "1-4095", "a"] {
            assert!(text.parse::<VlanSet>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn all_holds_zero_but_not_the_reserved_one() {
        let all = VlanSet::all();
        assert!(all.contains(VlanId::NONE) && all.contains(VlanId::MAX));
        assert_eq!(all.iter().count(), 4095);
    }

    #[test]
    fn tag_octets() {
        let tag = Tag { tpid: Tpid::Dot1Q, tci: 0x6064 };
        assert_eq!((tag.vid(), tag.pcp()), (100, 3));
        assert_eq!(tag.to_bytes(), [0x81, 0x00, 0x60, 0x64]);
    }
}
