//! What can be compared: a router that rules are loaded into, packets pass through, and whose connections can be listed.

use crate::connections::Connection;
use crate::place::Side;
use crate::rule_sets::RuleSet;

pub(crate) trait System {
    /// What it is called in reports.
    fn name(&self) -> &str;

    /// Replaces all rules and sets, and forgets all connections.
    ///
    /// # Panics
    ///
    /// If it refuses the rules.
    fn load(&mut self, rules: &RuleSet);

    /// Gives it an IP packet from the neighbour at a side, and takes what comes out until all that it does about it is done: IP
    /// packets, those at the LAN first.
    fn exchange(&mut self, side: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)>;

    /// All connections it tracks.
    fn connections(&self) -> Vec<Connection>;

    /// What `iptables-save -c` and `ip6tables-save -c` print.
    fn counters(&self) -> String;
}
