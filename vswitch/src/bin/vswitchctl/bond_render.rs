//! Bonds for people: `show bonds` and `bond-explain`.

use comfy_table::{Cell, Color};
use proto::bond_status::{BondInfo, ExplainBondReply, LacpEnd, MemberInfo};

use crate::render::Column::{Number, Text};
use crate::render::{Render, dash, lines, milliseconds, octets};

/// Octets of a line of options at most.
const WIDTH: usize = 118;

impl Render {
    /// `show bonds`.
    pub(crate) fn bonds(self, bonds: &[BondInfo]) -> String {
        if bonds.is_empty() {
            return "No bond; vswitchctl add-bond SWITCH BOND --member IFACE --member IFACE makes one.\n".to_owned();
        }
        bonds.iter().map(|bond| self.bond(bond)).collect::<Vec<_>>().join("\n")
    }

    fn bond(self, bond: &BondInfo) -> String {
        let mac = bond.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        let link = serde_json::to_value(bond.link).ok().and_then(|link| link.as_str().map(str::to_owned)).unwrap_or_default();
        let switch = bond.switch.as_deref().unwrap_or("-");
        let mut text = format!("bond {}  switch {switch}  link {link}  mac {mac}\n", bond.name);
        let mut line = String::from(" ");
        for (name, value) in bond.options.list() {
            let option = format!(" {name} {value}");
            if line.len() + option.len() > WIDTH {
                text += &format!("{line}\n");
                line = String::from(" ");
            }
            line += &option;
        }
        text += &format!("{line}\n");
        let active = bond.options.active_slave.as_deref().unwrap_or("none");
        text += &format!(
            "  active {active} for {}: {}; {} failovers\n",
            milliseconds(bond.active_since_ms),
            dash(bond.active_reason.clone()),
            bond.failovers
        );
        if let Some(lacp) = &bond.lacp {
            let number = |value: Option<u8>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            text += &format!(
                "  ad_aggregator {} ad_num_ports {} ad_actor_key {} ad_partner_key {} ad_partner_mac {}{}\n",
                number(lacp.ad_aggregator),
                lacp.ad_num_ports,
                lacp.ad_actor_key,
                lacp.ad_partner_key,
                lacp.ad_partner_mac,
                if lacp.fallback { " (no partner: active-backup)" } else { "" }
            );
        }
        text.push('\n');
        text += &self.members(&bond.members);
        let lacp = self.lacp(&bond.members);
        if !lacp.is_empty() {
            text.push('\n');
            text += &lacp;
        }
        for member in &bond.members {
            for target in &member.arp_targets {
                let answered = target.answered_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", milliseconds(ms)));
                text += &format!("  target {} answered at {} {answered}\n", target.target, member.name);
            }
        }
        for (member, problem) in bond.members.iter().filter_map(|member| Some((member, member.problem.as_ref()?))) {
            text += &format!("! member {:?}: {problem}\n", member.name);
        }
        text
    }

    fn members(self, members: &[MemberInfo]) -> String {
        if members.is_empty() {
            return "  no members\n".to_owned();
        }
        let mut table = self.table(&[
            Text("  MEMBER"),
            Text("STATE"),
            Text("MII_STATUS"),
            Text("SINCE"),
            Number("PRIO"),
            Number("SPEED"),
            Text("DUPLEX"),
            Number("FAILURES"),
            Text("PERM_HWADDR"),
            Text("MAC"),
            Number("RX"),
            Number("TX"),
            Text("REASON"),
        ]);
        for member in members {
            let colour = if member.state == "active" { Color::Green } else { Color::DarkGrey };
            let status = if member.mii_status == "up" { Color::Green } else { Color::Yellow };
            table.add_row([
                Cell::new(format!("  {}", member.name)),
                self.paint(&member.state, Some(colour)),
                self.paint(&member.mii_status, Some(status)),
                Cell::new(milliseconds(member.since_ms)),
                Cell::new(member.config.prio),
                Cell::new(member.speed.map_or_else(|| "-".to_owned(), |speed| speed.to_string())),
                Cell::new(&member.duplex),
                Cell::new(member.link_failure_count),
                Cell::new(member.perm_hwaddr),
                Cell::new(member.mac),
                Cell::new(octets(member.rx_bytes)),
                Cell::new(octets(member.tx_bytes)),
                Cell::new(dash(member.reason.clone())),
            ]);
        }
        lines(&table)
    }

    fn lacp(self, members: &[MemberInfo]) -> String {
        let mut table = self.table(&[
            Text("  LACP"),
            Text("AGGREGATOR"),
            Text("RECEIVE"),
            Text("MUX"),
            Text("END"),
            Text("SYSTEM"),
            Number("KEY"),
            Number("PORT"),
            Text("CHURN"),
            Number("PDUS"),
            Text("STATE"),
        ]);
        let mut any = false;
        for (member, lacp) in members.iter().filter_map(|member| Some((member, member.lacp.as_ref()?))) {
            any = true;
            let mut row = |first: [String; 4], end: &str, who: &LacpEnd, churn: &str, pdus: u64| {
                let mut cells: Vec<Cell> = first.iter().map(Cell::new).collect();
                cells.extend([
                    Cell::new(end),
                    Cell::new(format!("{},{}", who.system_priority, who.system)),
                    Cell::new(who.key),
                    Cell::new(format!("{},{}", who.port_priority, who.port)),
                    Cell::new(churn),
                    Cell::new(pdus),
                    Cell::new(dash(who.state.join(","))),
                ]);
                table.add_row(cells);
            };
            let aggregator = lacp.ad_aggregator_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let first = [format!("  {}", member.name), aggregator, lacp.receive.clone(), lacp.mux.clone()];
            row(first, "actor", &lacp.actor, &lacp.actor_churn, lacp.lacpdu_tx);
            row(["", "", "", ""].map(str::to_owned), "partner", &lacp.partner, &lacp.partner_churn, lacp.lacpdu_rx);
        }
        if any { lines(&table) } else { String::new() }
    }
}

/// `bond-explain`.
pub(crate) fn explanation(reply: &ExplainBondReply) -> String {
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let mut text = format!("{}\n  mode {}\n  usable members: {}\n", list(&reply.members), reply.mode, list(&reply.usable));
    if let (Some(hash), Some(policy)) = (reply.hash, reply.xmit_hash_policy) {
        text += &format!("  hash {hash:#010x} ({policy})\n");
    }
    if let Some(bucket) = reply.bucket {
        text += &format!("  bucket {bucket}\n");
    }
    text + &format!("  {}\n", reply.reason)
}
