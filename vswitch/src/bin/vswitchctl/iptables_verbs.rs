//! The verbs `iptables`, `ip6tables`, `ipset` and their relatives. Everything behind the router goes to the daemon as it is:
//! the languages are spoken there.

use std::path::Path;

use proto::iptables::{Ipset, Iptables, IptablesFamily, IptablesReply, IptablesRestore, IptablesSave};

use crate::Failure;
use crate::iptables_args::Passed;
use crate::printer::Printer;
use crate::verbs::{Session, read};

impl Passed {
    /// The arguments without `--json`, and whether it was among them.
    fn split(&self) -> (Vec<String>, bool) {
        let args: Vec<String> = self.args.iter().filter(|arg| *arg != "--json").cloned().collect();
        let json = args.len() < self.args.len();
        (args, json)
    }
}

const STDIN: &str = "-";

/// `iptables` and `ip6tables`.
pub(crate) fn iptables(session: &mut Session<'_>, printer: &mut Printer, passed: &Passed, family: IptablesFamily) -> Result<(), Failure> {
    let (args, json) = passed.split();
    let reply = session.call("Iptables", &Iptables { router: passed.router.clone(), family, args, json })?;
    print(printer, reply)
}

/// `iptables-restore` and `ip6tables-restore`.
pub(crate) fn restore(session: &mut Session<'_>, printer: &mut Printer, passed: &Passed, family: IptablesFamily) -> Result<(), Failure> {
    let input = read(Path::new(STDIN))?;
    let request = IptablesRestore { router: passed.router.clone(), family, args: passed.args.clone(), input };
    print(printer, session.call("IptablesRestore", &request)?)
}

/// `iptables-save` and `ip6tables-save`.
pub(crate) fn save(session: &mut Session<'_>, printer: &mut Printer, passed: &Passed, family: IptablesFamily) -> Result<(), Failure> {
    let request = IptablesSave { router: passed.router.clone(), family, args: passed.args.clone() };
    print(printer, session.call("IptablesSave", &request)?)
}

/// `ipset`.
pub(crate) fn ipset(session: &mut Session<'_>, printer: &mut Printer, passed: &Passed) -> Result<(), Failure> {
    let (args, json) = passed.split();
    let command = args.iter().find(|arg| !arg.starts_with('-')).map(String::as_str);
    let restores = command == Some("restore") || command.is_none() && args.iter().any(|arg| arg == "-R" || arg == "--restore");
    let input = restores.then(|| read(Path::new(STDIN))).transpose()?;
    print(printer, session.call("Ipset", &Ipset { router: passed.router.clone(), args, input, json })?)
}

fn print(printer: &mut Printer, reply: IptablesReply) -> Result<(), Failure> {
    match reply.json {
        Some(json) => printer.json_pretty(&json)?,
        None => printer.raw(reply.text.as_bytes())?,
    }
    Ok(())
}
