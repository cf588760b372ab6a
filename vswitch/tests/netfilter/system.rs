//! What can be compared: a router that rules are loaded into, packets pass through, and whose connections can be listed.

use crate::connections::Connection;
use crate::rule_sets::RuleSet;
use crate::wires::Wires;

pub(crate) trait System {
    /// What it is called in reports.
    fn name(&self) -> &str;

    /// Replaces all rules and sets, and forgets all connections.
    ///
    /// # Panics
    ///
    /// If it refuses the rules.
    fn load(&mut self, rules: &RuleSet);

    fn wires(&mut self) -> &mut Wires;

    /// All connections it tracks.
    fn connections(&self) -> Vec<Connection>;

    /// What `iptables-save -c` and `ip6tables-save -c` print.
    fn counters(&self) -> String;
}
