//! `iptables` and `ipset` on the rules and sets of a router.

use dataplane::clock::Nanos;
use dataplane::router::Family;
use proto::config::Config;
use proto::iptables::{Ipset, Iptables, IptablesFamily, IptablesReply, IptablesRestore, IptablesSave, Tables};
use proto::router::RouterConfig;

use super::Controller;
use super::transaction::Strictness;
use crate::config::router::rules_of;
use crate::iptables::command::{self, SetCounters};
use crate::iptables::compile::{self, RouterRules, Source};
use crate::iptables::{ipset, restore};

fn family(family: IptablesFamily) -> Family {
    match family {
        IptablesFamily::Ipv4 => Family::V4,
        IptablesFamily::Ipv6 => Family::V6,
    }
}

/// Whether a command needs write access.
pub fn iptables_changes(request: &Iptables) -> bool {
    command::changes(&request.args, family(request.family))
}

impl Controller {
    fn router_config(&self, name: &str) -> Result<&RouterConfig, String> {
        self.config().router.get(name).ok_or_else(|| format!("no router {name:?}"))
    }

    fn router_rules(&self, name: &str) -> Option<&RouterRules> {
        self.compiled.routers.get(name).map(|parts| &*parts.rules)
    }

    /// Runs `iptables` or `ip6tables`.
    ///
    /// # Errors
    ///
    /// Why the command is refused; then nothing changed.
    pub fn iptables(&mut self, request: &Iptables, now: Nanos) -> Result<IptablesReply, String> {
        let family = family(request.family);
        let tables = rules_of(self.router_config(&request.router)?).tables(family);
        let outcome = command::run(&request.args, family, tables, self.router_rules(&request.router), request.json)?;
        self.commit(&request.router, family, outcome, now)
    }

    /// Runs `iptables-restore` or `ip6tables-restore`.
    ///
    /// # Errors
    ///
    /// As [`Controller::iptables`].
    pub fn iptables_restore(&mut self, request: &IptablesRestore, now: Nanos) -> Result<IptablesReply, String> {
        let family = family(request.family);
        let router = self.router_config(&request.router)?;
        let source = rules_of(router);
        let check = |tables: &Tables| {
            let source = match family {
                Family::V4 => Source { iptables: tables, ..source },
                Family::V6 => Source { ip6tables: tables, ..source },
            };
            compile::check(&source, router.interface.keys().map(String::as_str))
        };
        let outcome = restore::restore(&request.args, &request.input, family, source.tables(family), check)?;
        self.commit(&request.router, family, outcome, now)
    }

    /// Runs `iptables-save` or `ip6tables-save`.
    ///
    /// # Errors
    ///
    /// When there is no such router, or an option is wrong.
    pub fn iptables_save(&self, request: &IptablesSave) -> Result<IptablesReply, String> {
        let family = family(request.family);
        let tables = rules_of(self.router_config(&request.router)?).tables(family);
        let text = restore::save(&request.args, family, tables, self.router_rules(&request.router))?;
        Ok(IptablesReply { text, ..IptablesReply::default() })
    }

    fn commit(&mut self, router: &str, family: Family, outcome: command::Outcome, now: Nanos) -> Result<IptablesReply, String> {
        let command::Outcome { text, json, tables, counters } = outcome;
        let generation = match tables {
            Some(tables) => Some(self.change_router(router, now, |config| match family {
                Family::V4 => config.iptables = tables,
                Family::V6 => config.ip6tables = tables,
            })?),
            None => None,
        };
        self.count(router, family, &counters);
        Ok(IptablesReply { text, json, generation })
    }

    fn count(&self, router: &str, family: Family, counters: &[SetCounters]) {
        if let Some(rules) = self.router_rules(router) {
            command::set_counters(rules, family, counters);
        }
    }

    fn change_router(&mut self, router: &str, now: Nanos, edit: impl FnOnce(&mut RouterConfig)) -> Result<u64, String> {
        let mut config: Config = self.config().clone();
        if let Some(router) = config.router.get_mut(router) {
            edit(router);
        }
        Ok(self.transact(config, Strictness::Strict, now)?.generation)
    }

    /// Runs `ipset`.
    ///
    /// # Errors
    ///
    /// As [`Controller::iptables`].
    pub fn ipset(&mut self, request: &Ipset, now: Nanos) -> Result<IptablesReply, String> {
        let router = self.router_config(&request.router)?;
        let scope = ipset::Scope {
            sets: &router.ipset,
            tables: [&router.iptables, &router.ip6tables],
            rules: self.router_rules(&request.router),
            now,
        };
        let ipset::Outcome { text, json, sets, live } = ipset::run(&request.args, request.input.as_deref(), &scope, request.json)?;
        let generation = match sets {
            Some(sets) => Some(self.change_router(&request.router, now, |config| config.ipset = sets)?),
            None => None,
        };
        if let Some(rules) = self.router_rules(&request.router) {
            ipset::apply_live(rules, &live, now)?;
        }
        Ok(IptablesReply { text, json, generation })
    }
}
