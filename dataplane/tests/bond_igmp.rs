//! Control gets copies of IGMP that leaves by a bond, as `resend_igmp` repeats what it has seen.

mod lab;

use dataplane::bond::{HashPolicy, Mode};
use lab::Lab;
use wire::{Tag, Tpid, VlanId};

/// An IGMPv2 report.
fn report(tag: Option<Tag>) -> Vec<u8> {
    let mut octets = vec![1, 0, 0x5e, 1, 1, 1, 2, 0, 0, 0, 0, 7];
    octets.extend(tag.iter().flat_map(|tag| tag.to_bytes()));
    octets.extend_from_slice(&[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 7, 239, 1, 1, 1, 0x16, 0, 0, 0, 239, 1, 1, 1]);
    octets.resize(60, 0);
    octets
}

#[test]
fn reports_are_copied_with_their_tag_when_asked_for() {
    let tag = Tag::new(Tpid::Dot1Q, VlanId::new(7).unwrap(), 0);
    for igmp in [false, true] {
        let mut lab = Lab::new(4);
        lab.bond(1, &[2, 3], Mode::ActiveBackup, HashPolicy::Layer2);
        lab.bond_mut(1).punt.igmp = igmp;
        lab.send(0, &report(None));
        lab.send(0, &report(Some(tag)));
        let mut other = report(None);
        other[23] = 17;
        lab.send(0, &other);
        let copies: Vec<_> = std::iter::from_fn(|| lab.events.punted.pop()).collect();
        if !igmp {
            assert!(copies.is_empty());
            continue;
        }
        let [plain, tagged] = &copies[..] else { panic!("two copies: {copies:?}") };
        assert_eq!((plain.port.index(), plain.outgoing, plain.tag, &plain.octets[..]), (1, true, None, &report(None)[..]));
        assert_eq!((tagged.outgoing, tagged.tag), (true, Some(tag)));
        assert_eq!(tagged.octets[12..14], [8, 0], "without the tag");
        lab.assert_conserved();
    }
}
