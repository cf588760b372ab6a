//! `conntrack` as conntrack-tools has it: options and their short forms.

use std::net::IpAddr;

use clap::{ArgAction, ArgGroup, Args};
use proto::conntrack::{FlowChange, FlowFilter, IpFamily};

/// What a table is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Table {
    /// Connections
    Conntrack,
    /// Connections that others announced
    Expect,
}

/// What is printed beyond the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// The version of IP in front
    Extended,
    /// The number of the flow behind
    Id,
    /// The time in front of an event
    Timestamp,
}

/// What happens to flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EventMask {
    #[value(name = "ALL")]
    All,
    #[value(name = "NEW")]
    New,
    #[value(name = "UPDATES")]
    Updates,
    #[value(name = "DESTROY")]
    Destroy,
}

impl EventMask {
    /// Whether it lets an event through.
    pub(crate) fn has(self, change: FlowChange) -> bool {
        match self {
            EventMask::All => true,
            EventMask::New => change == FlowChange::New,
            EventMask::Updates => change == FlowChange::Update,
            EventMask::Destroy => change == FlowChange::Destroy,
        }
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("command").required(true))]
pub(crate) struct Conntrack {
    /// Of this router only
    pub(crate) router: Option<String>,

    /// List the table
    #[arg(short = 'L', long, group = "command", value_name = "TABLE", num_args = 0..=1, default_missing_value = "conntrack")]
    pub(crate) dump: Option<Table>,
    /// Delete the flows that the filters mean
    #[arg(short = 'D', long, group = "command", value_name = "TABLE", num_args = 0..=1, default_missing_value = "conntrack")]
    pub(crate) delete: Option<Table>,
    /// Print events as they happen
    #[arg(short = 'E', long, group = "command", value_name = "TABLE", num_args = 0..=1, default_missing_value = "conntrack")]
    pub(crate) event: Option<Table>,
    /// Delete all flows
    #[arg(short = 'F', long, group = "command", value_name = "TABLE", num_args = 0..=1, default_missing_value = "conntrack")]
    pub(crate) flush: Option<Table>,
    /// Print how many entries there are
    #[arg(short = 'C', long, group = "command", value_name = "TABLE", num_args = 0..=1, default_missing_value = "conntrack")]
    pub(crate) count: Option<Table>,
    /// Print counters, a line a worker
    #[arg(short = 'S', long, group = "command")]
    pub(crate) stats: bool,

    /// With this source (address or network)
    #[arg(short = 's', long, visible_alias = "orig-src", value_name = "ADDR", help_heading = "Filters")]
    src: Option<String>,
    /// With this destination
    #[arg(short = 'd', long, visible_alias = "orig-dst", value_name = "ADDR", help_heading = "Filters")]
    dst: Option<String>,
    /// Whose answers have this source
    #[arg(short = 'r', long, value_name = "ADDR", help_heading = "Filters")]
    reply_src: Option<String>,
    /// Whose answers have this destination
    #[arg(short = 'q', long, value_name = "ADDR", help_heading = "Filters")]
    reply_dst: Option<String>,
    /// Protocol, name or number
    #[arg(short = 'p', long, value_parser = control::conntrack::protocol, help_heading = "Filters")]
    proto: Option<u8>,
    /// From this port
    #[arg(long, visible_alias = "orig-port-src", value_name = "PORT", help_heading = "Filters")]
    sport: Option<u16>,
    /// To this port
    #[arg(long, visible_alias = "orig-port-dst", value_name = "PORT", help_heading = "Filters")]
    dport: Option<u16>,
    /// Whose answers come from this port
    #[arg(long, value_name = "PORT", help_heading = "Filters")]
    reply_port_src: Option<u16>,
    /// Whose answers go to this port
    #[arg(long, value_name = "PORT", help_heading = "Filters")]
    reply_port_dst: Option<u16>,
    /// Begun by an ICMP query of this type
    #[arg(long, visible_alias = "icmpv6-type", value_name = "TYPE", help_heading = "Filters")]
    icmp_type: Option<u8>,
    /// Of this ICMP code
    #[arg(long, visible_alias = "icmpv6-code", value_name = "CODE", help_heading = "Filters")]
    icmp_code: Option<u8>,
    /// With this ICMP identifier
    #[arg(long, visible_alias = "icmpv6-id", value_name = "ID", help_heading = "Filters")]
    icmp_id: Option<u16>,
    /// State of TCP or SCTP, such as ESTABLISHED
    #[arg(long, help_heading = "Filters")]
    state: Option<String>,
    /// Status, such as ASSURED or SEEN_REPLY; several separated by commas
    #[arg(short = 'u', long, value_delimiter = ',', action = ArgAction::Append, help_heading = "Filters")]
    status: Vec<String>,
    /// With this mark
    #[arg(short = 'm', long, value_name = "MARK[/MASK]", value_parser = mark, help_heading = "Filters")]
    mark: Option<(u32, u32)>,
    /// In this zone
    #[arg(short = 'w', long, visible_aliases = ["orig-zone", "reply-zone"], help_heading = "Filters")]
    zone: Option<u16>,
    /// Whose source is translated, perhaps to this address
    #[arg(short = 'n', long, value_name = "ADDR", num_args = 0..=1, help_heading = "Filters")]
    src_nat: Option<Option<IpAddr>>,
    /// Whose destination is translated, perhaps to this address
    #[arg(short = 'g', long, value_name = "ADDR", num_args = 0..=1, help_heading = "Filters")]
    dst_nat: Option<Option<IpAddr>>,
    /// Of which either is translated
    #[arg(short = 'j', long, help_heading = "Filters")]
    any_nat: bool,
    /// ipv4 or ipv6; both unless given
    #[arg(short = 'f', long, value_parser = family, help_heading = "Filters")]
    family: Option<IpFamily>,

    /// More in each line; several separated by commas
    #[arg(short = 'o', long, value_delimiter = ',')]
    pub(crate) output: Vec<Output>,
    /// Which events (with -E)
    #[arg(short = 'e', long, value_delimiter = ',', ignore_case = true)]
    pub(crate) event_mask: Vec<EventMask>,
    /// Print JSON; the fields are documented in docs/json.md and stay
    #[arg(long)]
    pub(crate) json: bool,
}

impl Conntrack {
    /// The flows that are meant.
    ///
    /// # Errors
    ///
    /// When two options say different things.
    pub(crate) fn filter(&self) -> Result<FlowFilter, String> {
        if self.event.is_none() && !self.event_mask.is_empty() {
            return Err("--event-mask goes with --event".to_owned());
        }
        // An address that is shown in place of a source is where answers go; one that a destination becomes is where they come from.
        let given = |option: &Option<String>, nat: Option<Option<IpAddr>>, names: &str| match (option, nat.flatten()) {
            (Some(_), Some(_)) => Err(format!("{names} name the same address twice")),
            (option, nat) => Ok(option.clone().or(nat.map(|address| address.to_string()))),
        };
        Ok(FlowFilter {
            router: self.router.clone(),
            zone: self.zone,
            family: self.family,
            protocol: self.proto,
            src: self.src.clone(),
            dst: self.dst.clone(),
            reply_src: given(&self.reply_src, self.dst_nat, "--reply-src and --dst-nat")?,
            reply_dst: given(&self.reply_dst, self.src_nat, "--reply-dst and --src-nat")?,
            sport: self.sport,
            dport: self.dport,
            reply_sport: self.reply_port_src,
            reply_dport: self.reply_port_dst,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
            icmp_id: self.icmp_id,
            state: self.state.as_ref().map(|state| state.to_ascii_uppercase()),
            mark: self.mark.map(|(mark, _)| mark),
            mark_mask: self.mark.map(|(_, mask)| mask),
            status: self.status.iter().map(|status| status.to_ascii_uppercase()).collect(),
            src_nat: self.src_nat.is_some(),
            dst_nat: self.dst_nat.is_some(),
            any_nat: self.any_nat,
        })
    }
}

fn family(text: &str) -> Result<IpFamily, String> {
    match text {
        "ipv4" => Ok(IpFamily::Ipv4),
        "ipv6" => Ok(IpFamily::Ipv6),
        _ => Err("neither ipv4 nor ipv6".into()),
    }
}

fn mark(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    let both = number(mark).zip(mask.map_or(Some(u32::MAX), number));
    both.ok_or_else(|| "not a number of 32 bits, perhaps with a mask, such as 5 or 0x10/0xff".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parse(line: &str) -> Result<Box<Conntrack>, clap::Error> {
        let words = ["vswitchctl", "conntrack"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.verb {
            Verb::Conntrack(args) => args,
            other => panic!("{other:?}"),
        })
    }

    /// Lines from scripts and from the manual of conntrack-tools.
    #[test]
    fn lines_as_they_are_typed() {
        let filter = |line: &str| parse(line).unwrap().filter().unwrap();
        let none = FlowFilter::default();
        assert_eq!(filter("-L"), none);
        assert_eq!(filter("-L conntrack"), none);
        assert_eq!(filter("gw -L"), FlowFilter { router: Some("gw".into()), ..none.clone() });
        assert_eq!(filter("-D -s 1.2.3.4"), FlowFilter { src: Some("1.2.3.4".into()), ..none.clone() });
        assert_eq!(
            filter("-L -p tcp --dport 80 --state established -f ipv4 -o extended,id"),
            FlowFilter {
                protocol: Some(6),
                dport: Some(80),
                state: Some("ESTABLISHED".into()),
                family: Some(IpFamily::Ipv4),
                ..none.clone()
            }
        );
        assert_eq!(
            filter("-D --orig-src 10.0.0.0/8 --orig-port-src 5000 -m 0x10/0xf0 -w 3 -u ASSURED,SEEN_REPLY"),
            FlowFilter {
                src: Some("10.0.0.0/8".into()),
                sport: Some(5000),
                mark: Some(16),
                mark_mask: Some(0xf0),
                zone: Some(3),
                status: vec!["ASSURED".into(), "SEEN_REPLY".into()],
                ..none.clone()
            }
        );
        assert_eq!(filter("-L --src-nat"), FlowFilter { src_nat: true, ..none.clone() });
        assert_eq!(
            filter("-L -n 203.0.113.1 -p 50"),
            FlowFilter { src_nat: true, reply_dst: Some("203.0.113.1".into()), protocol: Some(50), ..none.clone() }
        );
        assert_eq!(filter("-L -g 10.0.0.5 -j"), FlowFilter { dst_nat: true, any_nat: true, reply_src: Some("10.0.0.5".into()), ..none });
        let watch = parse("-E -e NEW,destroy -o timestamp").unwrap();
        assert_eq!((&watch.event_mask[..], &watch.output[..]), (&[EventMask::New, EventMask::Destroy][..], &[Output::Timestamp][..]));
        assert_eq!(parse("-L expect").unwrap().dump, Some(Table::Expect));
    }

    /// What is not there is refused by its name.
    #[test]
    fn what_is_refused() {
        for (line, named) in [
            ("", "--dump"),
            ("-L -F", "--flush"),
            ("-L dying", "dying"),
            ("-L -z", "-z"),
            ("-I -s 1.2.3.4", "-I"),
            ("-U -m 1", "-U"),
            ("-L -o xml", "xml"),
            ("-L -f ipx", "ipx"),
            ("-L -p nonsense", "nonsense"),
            ("-L -m 0x", "0x"),
            ("-L -l label", "-l"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
        for line in ["-L -n 1.1.1.1 -q 2.2.2.2", "-L -g 1.1.1.1 -r 2.2.2.2", "-L -e NEW"] {
            assert!(parse(line).unwrap().filter().is_err(), "{line}");
        }
    }
}
