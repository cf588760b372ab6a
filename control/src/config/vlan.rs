//! From the VLAN keys of a port to the policy of the data plane, and to words.

use dataplane::snapshot::{Admit, PriorityTags, VlanPolicy};
use proto::config::{self, AcceptTagged, PortConfig, QinqEthertype};
use wire::{Tpid, VlanId, VlanSet};

/// The policy of a valid port configuration.
///
/// | keys | PVID | members | leaves untagged | admits |
/// |---|---|---|---|---|
/// | none | 0 | all, with 0 | 0 | members |
/// | `access = V` | V | V | V | untagged only; with `accept_tagged = "own"` V tagged too |
/// | `trunk = L`, `native = N` | N | L and N | N unless `native_tagged` | members |
/// | `trunk = L` | none | L | none | members |
/// | `qinq = S` | S | S | S | everything, or untagged and `cvlans` |
///
/// `None` when a VLAN is out of range or a list cannot be read; [`super::validate()`] reports those.
pub fn policy(port: &PortConfig) -> Option<VlanPolicy> {
    let priority = match port.priority_tags {
        Some(config::PriorityTags::Never) => PriorityTags::Never,
        Some(config::PriorityTags::IfNonzero) => PriorityTags::IfNonzero,
        Some(config::PriorityTags::Always) => PriorityTags::Always,
        None if is_trunk_of_all(port) => PriorityTags::IfNonzero,
        None => PriorityTags::Never,
    };
    let only = |vlan: VlanId| VlanPolicy {
        pvid: Some(vlan),
        members: [vlan].into_iter().collect(),
        untagged: Some(vlan),
        admit: Admit::Members,
        priority_tags: priority,
    };
    if let Some(vlan) = port.access {
        let admit = match port.accept_tagged {
            AcceptTagged::None => Admit::UntaggedOnly,
            AcceptTagged::Own => Admit::Members,
        };
        return Some(VlanPolicy { admit, ..only(vid(vlan)?) });
    }
    if let Some(vlan) = port.qinq {
        let customer_vlans = match &port.cvlans {
            Some(list) => Some(Box::new(list.parse::<VlanSet>().ok()?)),
            None => None,
        };
        let tpid = match port.qinq_ethertype {
            QinqEthertype::Dot1Ad => Tpid::Dot1Ad,
            QinqEthertype::Dot1Q => Tpid::Dot1Q,
        };
        return Some(VlanPolicy { admit: Admit::Tunnel { tpid, customer_vlans }, ..only(vid(vlan)?) });
    }
    let Some(list) = &port.trunk else {
        return Some(VlanPolicy { members: VlanSet::all(), ..only(VlanId::NONE) });
    };
    let mut members: VlanSet = list.parse().ok()?;
    let native = match port.native {
        Some(native) => Some(vid(native)?),
        None => None,
    };
    if let Some(native) = native {
        members.insert(native);
    }
    let untagged = native.filter(|_| !port.native_tagged);
    Some(VlanPolicy { pvid: native, members, untagged, admit: Admit::Members, priority_tags: priority })
}

/// Whether the port has no VLAN mode: a trunk of all VLANs.
pub fn is_trunk_of_all(port: &PortConfig) -> bool {
    port.access.is_none() && port.trunk.is_none() && port.qinq.is_none()
}

/// A VLAN a user may name, 1 to 4094.
pub fn vid(number: u16) -> Option<VlanId> {
    VlanId::new(number).filter(|vlan| *vlan != VlanId::NONE)
}

/// The VLAN mode in words: `access 10`, `trunk 10,20-30 native 1`, `trunk all`, `qinq 300`.
pub fn words(port: &PortConfig) -> String {
    if let Some(vlan) = port.access {
        return match port.accept_tagged {
            AcceptTagged::None => format!("access {vlan}"),
            AcceptTagged::Own => format!("access {vlan} (own tag accepted)"),
        };
    }
    if let Some(vlan) = port.qinq {
        let cvlans = port.cvlans.as_ref().map(|list| format!(" cvlans {list}")).unwrap_or_default();
        return format!("qinq {vlan}{cvlans}");
    }
    let Some(list) = &port.trunk else { return "trunk all".to_owned() };
    let native = port.native.map(|vlan| format!(" native {vlan}{}", if port.native_tagged { " tagged" } else { "" })).unwrap_or_default();
    format!("trunk {list}{native}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(number: u16) -> VlanId {
        VlanId::new(number).unwrap()
    }

    #[test]
    fn no_key_is_a_trunk_of_all_with_untagged_in_vlan_0() {
        let policy = policy(&PortConfig::new("s")).unwrap();
        assert_eq!((policy.pvid, policy.untagged), (Some(VlanId::NONE), Some(VlanId::NONE)));
        assert_eq!(policy.members.iter().count(), 4095);
        assert_eq!((policy.admit, policy.priority_tags), (Admit::Members, PriorityTags::IfNonzero));
    }

    #[test]
    fn access_is_strict_unless_told_otherwise() {
        let mut port = PortConfig { access: Some(10), ..PortConfig::new("s") };
        let strict = policy(&port).unwrap();
        assert_eq!((strict.pvid, strict.untagged, strict.members.to_string()), (Some(vlan(10)), Some(vlan(10)), "10".to_owned()));
        assert_eq!((strict.admit, strict.priority_tags), (Admit::UntaggedOnly, PriorityTags::Never));
        port.accept_tagged = AcceptTagged::Own;
        assert_eq!(policy(&port).unwrap().admit, Admit::Members);
    }

    #[test]
    fn trunk_with_and_without_native() {
        let mut port = PortConfig { trunk: Some("10,20-22".into()), ..PortConfig::new("s") };
        let plain = policy(&port).unwrap();
        assert_eq!((plain.pvid, plain.untagged, plain.members.to_string()), (None, None, "10,20-22".to_owned()));
        port.native = Some(1);
        let native = policy(&port).unwrap();
        assert_eq!((native.pvid, native.untagged, native.members.to_string()), (Some(vlan(1)), Some(vlan(1)), "1,10,20-22".to_owned()));
        port.native_tagged = true;
        assert_eq!(policy(&port).unwrap().untagged, None);
    }

    #[test]
    fn qinq_pushes_the_service_tag() {
        let port = PortConfig { qinq: Some(300), cvlans: Some("5".into()), ..PortConfig::new("s") };
        let policy = policy(&port).unwrap();
        let set: VlanSet = "5".parse().unwrap();
        assert_eq!(policy.admit, Admit::Tunnel { tpid: Tpid::Dot1Ad, customer_vlans: Some(Box::new(set)) });
        assert_eq!((policy.pvid, policy.untagged), (Some(vlan(300)), Some(vlan(300))));
    }

    #[test]
    fn words_say_the_mode() {
        let base = PortConfig::new("s");
        assert_eq!(words(&base), "trunk all");
        assert_eq!(words(&PortConfig { trunk: Some("10,20-30".into()), native: Some(1), ..base.clone() }), "trunk 10,20-30 native 1");
        assert_eq!(words(&PortConfig { qinq: Some(300), ..base }), "qinq 300");
    }
}
