//! What a change of routers does to flows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::clock::Nanos;
use dataplane::conntrack::Status;
use dataplane::router::{Address, RouterId};
use proto::config::Config;

use super::Controller;
use crate::compile::{Compiled, RouterParts};

/// Mappings looked at in one go.
const MAPPINGS: usize = 4096;

impl Controller {
    /// Says how many flows each port may begin: half of the table, unless it is told.
    pub(super) fn set_quotas(&self, config: &Config) {
        let half = u32::try_from(self.connections.max() / 2).unwrap_or(u32::MAX);
        for (name, parts) in &self.compiled.ports {
            let limit = config.port.get(name).and_then(|port| port.conntrack_limit).unwrap_or(half);
            self.connections.set_quota(parts.id, limit);
        }
    }

    /// Ends the flows of routers that are gone, and those that are translated to an address that is gone
    /// (`net/netfilter/nf_nat_masquerade.c`). All others go on, whatever else changed.
    pub(super) fn forget_flows(&self, old: &Compiled, now: Nanos) {
        for (name, before) in &old.routers {
            let id = before.id;
            let Some(after) = self.compiled.routers.get(name) else {
                self.connections.flush(Some(id), now);
                self.forget_mappings(|router, _| router == id);
                continue;
            };
            let kept = addresses(after);
            let gone: BTreeSet<Address> = addresses(before).difference(&kept).map(|address| Address::from(*address)).collect();
            if gone.is_empty() {
                continue;
            }
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                cursor = self.connections.delete_where(at, u32::MAX, now, |flow| {
                    flow.original.router() == id && flow.status.contains(Status::SRC_NAT) && gone.contains(&flow.reply.destination)
                });
            }
            self.forget_mappings(|router, external| router == id && gone.contains(&external));
        }
    }

    fn forget_mappings(&self, ends: impl Fn(RouterId, Address) -> bool) {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = self.translations.remove(at, MAPPINGS, |mapping| ends(mapping.router, mapping.external.0));
        }
    }
}

fn addresses(parts: &RouterParts) -> BTreeSet<IpAddr> {
    parts.interfaces.values().flat_map(|interface| interface.addresses.iter().map(|network| network.address)).collect()
}
