//! Requests about learned addresses, which are not part of the configuration.

use dataplane::clock::Nanos;
use dataplane::fdb::{EntryKind, FlushFilter};
use proto::api::{Changed, DelFdb, FlushFdb};
use wire::VlanId;

use super::Controller;
use super::transaction::Strictness;
use crate::config::edit::{self, switch_of};

impl Controller {
    /// Forgets learned addresses; returns how many.
    ///
    /// # Errors
    ///
    /// When switch, port or VLAN do not exist.
    pub fn flush_fdb(&mut self, request: &FlushFdb) -> Result<u64, String> {
        let Some(switch) = self.compiled.switches.get(&request.switch) else { return Err(format!("no switch {:?}", request.switch)) };
        let port = match &request.port {
            None => None,
            Some(name) => match (self.config.port.get(name), self.compiled.ports.get(name)) {
                (Some(port), Some(parts)) if port.switch.as_ref() == Some(&request.switch) => Some(parts.id),
                (Some(port), _) => return Err(format!("port {name:?} belongs to {}, not to {:?}", switch_of(port), request.switch)),
                (None, _) => return Err(format!("no port {name:?}")),
            },
        };
        let vlan = match request.vlan {
            None => None,
            Some(vlan) => Some(VlanId::new(vlan).ok_or_else(|| format!("{vlan} is not a VLAN (0 to 4094)"))?),
        };
        Ok(switch.fdb.flush(FlushFilter { port, vlan, all_kinds: false }) as u64)
    }

    /// Removes one address, static (a transaction) or learned.
    ///
    /// # Errors
    ///
    /// When there is none and `if_exists` is not given, or it is an address of the switch itself.
    pub fn del_fdb(&mut self, request: &DelFdb, now: Nanos) -> Result<Changed, String> {
        let (mac, vlan) = (request.mac, request.vlan);
        let Some(id) = VlanId::new(vlan) else { return Err(format!("{vlan} is not a VLAN (0 to 4094)")) };
        if !self.config.switch.contains_key(&request.switch) {
            return Err(format!("no switch {:?}", request.switch));
        }
        let (config, was_static) = edit::del_fdb(&self.config, request);
        if was_static {
            return self.transact(config, Strictness::Strict, now);
        }
        let none = format!("no address {mac} in VLAN {vlan} of switch {:?} (--if-exists accepts that)", request.switch);
        let Some(switch) = self.compiled.switches.get(&request.switch) else { return Err(none) };
        match switch.fdb.get(mac, id) {
            Some(entry) if entry.kind == EntryKind::Local => {
                let port = self.port_name(entry.port).cloned().unwrap_or_default();
                let whose =
                    if port.contains('/') { "a router's own address at interface" } else { "the switch's own address at host port" };
                Err(format!("{mac} in VLAN {vlan} is {whose} {port:?}"))
            }
            Some(_) => {
                switch.fdb.remove(mac, id);
                Ok(Changed {
                    generation: self.generation,
                    changes: vec![format!("forget {mac} in VLAN {vlan} of switch {:?}", request.switch)],
                })
            }
            None if request.if_exists => Ok(Changed { generation: self.generation, changes: Vec::new() }),
            None => Err(none),
        }
    }
}
