//! The MAC address of a netdev we make: the same after each restart, another on each machine and for each port.

use std::fs;

use wire::MacAddr;

/// The address for what has the name `owner` (the switch of a host port, or a text that names one TAP port) on this machine, from `/etc/machine-id` (machine-id(5)), or from the host
/// name where there is none.
pub fn stable_mac(owner: &str) -> MacAddr {
    let read = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let machine = read("/etc/machine-id").or_else(|| read("/proc/sys/kernel/hostname")).unwrap_or_default();
    derive(&machine, owner)
}

/// A locally administered unicast address (IEEE 802-2014 clause 8.2.2) that depends on nothing but the two texts.
pub fn derive(machine: &str, owner: &str) -> MacAddr {
    // FNV-1a over both texts with a separator neither contains, then the finalizer of MurmurHash3, as the upper bits of
    // FNV change little with the last octets. Not the hasher of the standard library, which may change between releases.
    let octets = machine.bytes().chain([0]).chain(owner.bytes());
    let mut hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let mut mac = MacAddr::from_u64(hash);
    mac.0[0] = (mac.0[0] & 0xfc) | 0x02;
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_address_is_local_unicast_and_never_changes() {
        // A fixed value: a release that changed it would change the addresses of running systems.
        assert_eq!(derive("0123456789abcdef0123456789abcdef", "lan").to_string(), "72:32:3b:f9:ac:68");
        assert_eq!(stable_mac("lan"), stable_mac("lan"));
        for i in 0..200 {
            let mac = derive("m", &i.to_string());
            assert_eq!(mac.0[0] & 3, 2, "{mac}");
        }
    }

    #[test]
    fn machines_and_switches_differ() {
        let all: BTreeSet<MacAddr> =
            (0..100).flat_map(|m| (0..100).map(move |s| derive(&format!("machine{m}"), &format!("s{s}")))).collect();
        assert_eq!(all.len(), 10_000);
        assert_ne!(derive("ab", "c"), derive("a", "bc"));
    }
}
