//! VLAN classification on the way in and tagging on the way out (IEEE 802.1Q-2018 clauses 6.9 and 8.6).

use wire::{Tag, Tpid, VlanId};

use crate::drop_reason::DropReason;
use crate::frame::{TAGS_MAX, Tags};
use crate::snapshot::{Admit, PriorityTags, VlanPolicy};

/// The VLAN of a frame inside the switch, with what its tags said. Eight octets, as each frame carries it from ingress to
/// egress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    vlan: VlanId,
    /// The customer's TCI below `DOT1AD_INNER`, then flags, then the priority bits of the outermost TCI.
    marks: u32,
}

impl Classified {
    const DOT1AD_INNER: u32 = 1 << 16;
    const INNER: u32 = 1 << 17;
    const DOT1AD: u32 = 1 << 18;
    const PRIORITY: u32 = 0xf000 << Classified::PRIORITY_SHIFT;
    const PRIORITY_SHIFT: u32 = 16;

    /// A frame in `vlan`, whose outermost tag is of this kind and has the priority bits (PCP and DEI) of `priority_of`, with the
    /// customer's tag below where a tunnel port took the frame in.
    #[inline]
    pub fn new(vlan: VlanId, tpid: Tpid, priority_of: u16, inner: Option<Tag>) -> Classified {
        let flag = |tpid: Tpid, flag: u32| if tpid == Tpid::Dot1Ad { flag } else { 0 };
        let inner = inner.map_or(0, |inner| Classified::INNER | flag(inner.tpid, Classified::DOT1AD_INNER) | u32::from(inner.tci));
        let priority = u32::from(priority_of) << Classified::PRIORITY_SHIFT & Classified::PRIORITY;
        Classified { vlan, marks: priority | flag(tpid, Classified::DOT1AD) | inner }
    }

    /// The VLAN.
    #[inline]
    pub fn vlan(self) -> VlanId {
        self.vlan
    }

    /// The tag with which the frame leaves where it leaves tagged: its VLAN, and the kind and priority it came with.
    #[inline]
    pub fn tag(self) -> Tag {
        Tag::new(self.tpid(Classified::DOT1AD), self.vlan, (self.marks >> Classified::PRIORITY_SHIFT) as u16)
    }

    /// The customer's tag below, where a tunnel port took the frame in.
    #[inline]
    pub fn inner(self) -> Option<Tag> {
        let tag = Tag { tpid: self.tpid(Classified::DOT1AD_INNER), tci: self.marks as u16 };
        (self.marks & Classified::INNER != 0).then_some(tag)
    }

    fn tpid(self, flag: u32) -> Tpid {
        if self.marks & flag == 0 { Tpid::Dot1Q } else { Tpid::Dot1Ad }
    }

    /// Whether the frame has neither a customer's tag nor a priority that a tag would carry.
    #[inline]
    pub fn is_unmarked(self) -> bool {
        self.marks & (Classified::INNER | Classified::PRIORITY) == 0
    }
}

impl VlanPolicy {
    /// Classifies a frame that arrives with these tags outside its octets (at most one, from a device; two, over a
    /// patch port).
    ///
    /// # Errors
    ///
    /// Why the port does not admit it.
    #[inline]
    pub fn classify(&self, tags: &[Tag]) -> Result<Classified, DropReason> {
        if tags.is_empty() && !matches!(self.admit, Admit::Tunnel { .. }) {
            let vlan = self.pvid.ok_or(DropReason::NoPvid)?;
            return Ok(Classified::new(vlan, Tpid::Dot1Q, 0, None));
        }
        self.classify_tagged(tags)
    }

    #[inline(never)]
    fn classify_tagged(&self, tags: &[Tag]) -> Result<Classified, DropReason> {
        if let Admit::Tunnel { tpid, customer_vlans } = &self.admit {
            return self.classify_tunnel(*tpid, customer_vlans.as_deref(), tags);
        }
        let (outer, inner) = match tags {
            [] => (Tag { tpid: Tpid::Dot1Q, tci: 0 }, None),
            [outer] => (*outer, None),
            [inner, outer, ..] => (*outer, Some(*inner)),
        };
        if outer.vid() == 0 {
            // Untagged, or a priority tag: the port's VLAN, with the priority kept.
            let vlan = self.pvid.ok_or(DropReason::NoPvid)?;
            return Ok(Classified::new(vlan, outer.tpid, outer.tci, inner));
        }
        let vlan = VlanId::new(outer.vid()).ok_or(DropReason::VlanReserved)?;
        if self.admit == Admit::UntaggedOnly {
            return Err(DropReason::AccessTagged);
        }
        if !self.members.contains(vlan) {
            return Err(DropReason::VlanIngressFilter);
        }
        Ok(Classified::new(vlan, outer.tpid, outer.tci, inner))
    }

    fn classify_tunnel(&self, tpid: Tpid, customer_vlans: Option<&wire::VlanSet>, tags: &[Tag]) -> Result<Classified, DropReason> {
        let vlan = self.pvid.ok_or(DropReason::NoPvid)?;
        let inner = match tags {
            [] => None,
            [inner] => Some(*inner),
            _ => return Err(DropReason::VlanStackFull),
        };
        if let Some(allowed) = customer_vlans {
            match inner.and_then(|tag| VlanId::new(tag.vid())) {
                Some(customer) if customer != VlanId::NONE && allowed.contains(customer) => {}
                Some(customer) if customer != VlanId::NONE => return Err(DropReason::VlanIngressFilter),
                _ => return Err(DropReason::NoPvid),
            }
        }
        // The customer's priority is the service's priority too (IEEE 802.1Q-2018 clause 6.9.4, default mapping).
        Ok(Classified::new(vlan, tpid, inner.map_or(0, |tag| tag.tci), inner))
    }

    /// The VLAN whose [unmarked](Classified::is_unmarked) frames leave this port without any tag, which is what
    /// [`VlanPolicy::egress_tags`] answers for nearly all frames.
    #[inline]
    pub fn bare_vlan(&self) -> Option<VlanId> {
        self.untagged.filter(|_| self.priority_tags != PriorityTags::Always)
    }

    /// The tags, innermost first, with which a frame leaves this port.
    pub fn egress_tags(&self, frame: &Classified) -> Tags {
        let mut tags = Tags::NONE;
        const _: () = assert!(TAGS_MAX == 2);
        let (tag, inner) = (frame.tag(), frame.inner());
        if let Some(inner) = inner {
            tags.push(inner);
        }
        if self.untagged != Some(frame.vlan()) {
            tags.push(tag);
        } else if inner.is_none() {
            let priority = tag.tci & 0xf000;
            let wanted = match self.priority_tags {
                PriorityTags::Never => false,
                PriorityTags::IfNonzero => priority != 0,
                PriorityTags::Always => true,
            };
            if wanted {
                tags.push(Tag { tpid: Tpid::Dot1Q, tci: priority });
            }
        }
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::VlanSet;

    fn vid(n: u16) -> VlanId {
        VlanId::new(n).unwrap()
    }

    fn tag(n: u16) -> Tag {
        Tag { tpid: Tpid::Dot1Q, tci: n }
    }

    fn policy(pvid: Option<u16>, members: &str, untagged: Option<u16>, admit: Admit) -> VlanPolicy {
        VlanPolicy {
            pvid: pvid.map(vid),
            members: members.parse().unwrap(),
            untagged: untagged.map(vid),
            admit,
            priority_tags: PriorityTags::Never,
        }
    }

    fn vlan_of(policy: &VlanPolicy, tags: &[Tag]) -> Result<u16, DropReason> {
        policy.classify(tags).map(|c| c.vlan().get())
    }

    /// The truth table of the specification, row by row: untagged, own tag, other allowed tag, tag not allowed.
    #[test]
    fn truth_table() {
        let strict = policy(Some(10), "10", Some(10), Admit::UntaggedOnly);
        let lenient = policy(Some(10), "10", Some(10), Admit::Members);
        let trunk = policy(None, "10,20", None, Admit::Members);
        let native = policy(Some(10), "10,20", Some(10), Admit::Members);
        let native_tagged = policy(Some(10), "10,20", None, Admit::Members);
        for (policy, expected) in [
            (&strict, [Ok(10), Err(DropReason::AccessTagged), Err(DropReason::AccessTagged), Err(DropReason::AccessTagged)]),
            (&lenient, [Ok(10), Ok(10), Err(DropReason::VlanIngressFilter), Err(DropReason::VlanIngressFilter)]),
            (&trunk, [Err(DropReason::NoPvid), Ok(10), Ok(20), Err(DropReason::VlanIngressFilter)]),
            (&native, [Ok(10), Ok(10), Ok(20), Err(DropReason::VlanIngressFilter)]),
            (&native_tagged, [Ok(10), Ok(10), Ok(20), Err(DropReason::VlanIngressFilter)]),
        ] {
            let got = [vlan_of(policy, &[]), vlan_of(policy, &[tag(10)]), vlan_of(policy, &[tag(20)]), vlan_of(policy, &[tag(30)])];
            assert_eq!(got, expected, "{policy:?}");
        }
        let in_10 = native.classify(&[]).unwrap();
        assert!(native.egress_tags(&in_10).is_empty() && strict.egress_tags(&in_10).is_empty());
        assert_eq!(native_tagged.egress_tags(&in_10)[..], [tag(10)]);
        assert_eq!(trunk.egress_tags(&in_10)[..], [tag(10)]);
    }

    #[test]
    fn a_priority_tag_gives_the_native_vlan_and_keeps_the_priority() {
        let access = policy(Some(10), "10", Some(10), Admit::UntaggedOnly);
        let trunk = policy(None, "10", None, Admit::Members);
        let frame = access.classify(&[tag(0x6000)]).unwrap();
        assert_eq!(trunk.egress_tags(&frame)[..], [tag(0x600a)]);
        assert!(access.egress_tags(&frame).is_empty());
        let keeps = VlanPolicy { priority_tags: PriorityTags::IfNonzero, ..access.clone() };
        assert_eq!(keeps.egress_tags(&frame)[..], [tag(0x6000)]);
        assert!(keeps.egress_tags(&access.classify(&[]).unwrap()).is_empty());
        let always = VlanPolicy { priority_tags: PriorityTags::Always, ..access.clone() };
        assert_eq!(always.egress_tags(&access.classify(&[]).unwrap())[..], [tag(0)]);
    }

    #[test]
    fn a_tunnel_pushes_the_service_tag_and_pops_it() {
        let tunnel = policy(Some(100), "100", Some(100), Admit::Tunnel { tpid: Tpid::Dot1Ad, customer_vlans: None });
        let trunk = policy(None, "100", None, Admit::Members);
        let frame = tunnel.classify(&[tag(0x6000 | 7)]).unwrap();
        let service = Tag { tpid: Tpid::Dot1Ad, tci: 0x6000 | 100 };
        assert_eq!(trunk.egress_tags(&frame)[..], [tag(0x6000 | 7), service]);
        assert_eq!(tunnel.egress_tags(&frame)[..], [tag(0x6000 | 7)], "the other end gets the customer's frame back");
        // The frame comes back from the trunk with only the service tag outside its octets.
        let back = trunk.classify(&[service]).unwrap();
        assert!(tunnel.egress_tags(&back).is_empty());
        assert_eq!(tunnel.classify(&[tag(7), service]), Err(DropReason::VlanStackFull));
        assert_eq!(vlan_of(&tunnel, &[]), Ok(100));
    }

    #[test]
    fn a_tunnel_filters_customer_vlans() {
        let customer_vlans = Some(Box::new("7-9".parse::<VlanSet>().unwrap()));
        let tunnel = policy(Some(100), "100", Some(100), Admit::Tunnel { tpid: Tpid::Dot1Ad, customer_vlans });
        assert_eq!(vlan_of(&tunnel, &[tag(8)]), Ok(100));
        assert_eq!(vlan_of(&tunnel, &[tag(10)]), Err(DropReason::VlanIngressFilter));
        assert_eq!(vlan_of(&tunnel, &[]), Err(DropReason::NoPvid));
    }

    #[test]
    fn the_reserved_identifier_is_refused() {
        let all = VlanPolicy {
            pvid: Some(VlanId::NONE),
            members: VlanSet::all(),
            untagged: Some(VlanId::NONE),
            admit: Admit::Members,
            priority_tags: PriorityTags::Never,
        };
        assert_eq!(vlan_of(&all, &[tag(4095)]), Err(DropReason::VlanReserved));
        assert_eq!(vlan_of(&all, &[tag(4094)]), Ok(4094));
        assert_eq!(vlan_of(&all, &[]), Ok(0));
    }
}
