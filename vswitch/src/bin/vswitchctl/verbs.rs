//! What each verb does.

use std::io::Read as _;
use std::path::Path;

use clap_complete::Shell;
use proto::api::{self, Changed, Filter};
use proto::bond_status::{ExplainBond, ExplainBondReply};
use proto::client::{Client, Error};
use proto::iptables::IptablesFamily::{Ipv4, Ipv6};
use proto::router_api::{
    AddRouter, DelForward, DelInterface, DelNeighbor, DelRoute, DelRouter, ListForwardsReply, ListInterfacesReply, ListRoutersReply,
    ListRoutesReply, RouterFilter, SetInterface, SetRouter,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::args::{Cli, List, Reading, Sim, Verb};
use crate::bond_render::explanation;
use crate::iptables_verbs;
use crate::printer::Printer;
use crate::render::Render;

/// Does what was asked.
pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    let mut printer = Printer::new();
    let mut session = Session { cli, client: None };
    let outcome = session.run(&mut printer);
    // What was printed before a failure is worth having, and the failure worth more than that of the last flush.
    let flushed = printer.flush();
    outcome?;
    Ok(flushed?)
}

/// One run: what was typed, and the connection once there is one.
pub(crate) struct Session<'a> {
    cli: &'a Cli,
    client: Option<Client>,
}

impl Session<'_> {
    fn client(&mut self) -> Result<&mut Client, Error> {
        match &mut self.client {
            Some(client) => Ok(client),
            empty => Ok(empty.insert(Client::connect(&self.cli.socket)?)),
        }
    }

    pub(crate) fn call<R: DeserializeOwned>(&mut self, method: &str, parameters: &impl Serialize) -> Result<R, Error> {
        self.client()?.call(method, parameters)
    }

    /// A request that changes the configuration; prints what changed.
    fn change(&mut self, printer: &mut Printer, method: &str, parameters: &impl Serialize) -> Result<(), Failure> {
        let changed: Changed = self.call(method, parameters)?;
        print_changes(printer, &changed)
    }

    fn run(&mut self, printer: &mut Printer) -> Result<(), Failure> {
        let cli = self.cli;
        match &cli.verb {
            Verb::AddSwitch(a) => {
                let request = api::AddSwitch {
                    name: a.switch.clone(),
                    config: a.settings.config().map_err(Failure::Usage)?,
                    host_port: a.host_port,
                    may_exist: a.may_exist,
                };
                self.change(printer, "AddSwitch", &request)
            }
            Verb::SetSwitch(a) => {
                let request = api::SetSwitch { name: a.switch.clone(), set: a.changes().map_err(Failure::Usage)? };
                self.change(printer, "SetSwitch", &request)
            }
            Verb::DelSwitch(a) => self.change(printer, "DelSwitch", &api::DelSwitch { name: a.switch.clone(), if_exists: a.if_exists }),
            Verb::AddPort(a) => {
                let config = a.config().map_err(Failure::Usage)?;
                self.change(printer, "AddPort", &api::AddPort { name: a.port.clone(), config, may_exist: a.may_exist })
            }
            Verb::SetPort(a) => {
                let request = api::SetPort { name: a.port.clone(), set: a.changes().map_err(Failure::Usage)? };
                self.change(printer, "SetPort", &request)
            }
            Verb::DelPort(a) => {
                let (switch, name) = match a.names.as_slice() {
                    [switch, port] => (Some(switch.clone()), port.clone()),
                    names => (None, names.concat()),
                };
                self.change(printer, "DelPort", &api::DelPort { name, switch, if_exists: a.if_exists })
            }
            Verb::AddBond(a) => {
                let team = a.team_config.as_deref().map(read).transpose()?;
                let config = a.config(team.as_deref()).map_err(Failure::Usage)?;
                self.change(printer, "AddPort", &api::AddPort { name: a.bond.clone(), config, may_exist: a.may_exist })
            }
            Verb::SetBond(a) => {
                let request = api::SetBond { name: a.bond.clone(), set: a.changes().map_err(Failure::Usage)? };
                self.change(printer, "SetBond", &request)
            }
            Verb::AddMember(a) => {
                let config = a.config().map_err(Failure::Usage)?;
                let request = api::AddMember { bond: a.bond.clone(), member: a.member.1.clone(), config, may_exist: a.may_exist };
                self.change(printer, "AddMember", &request)
            }
            Verb::DelMember(a) => {
                let request = api::DelMember { bond: a.bond.clone(), member: a.member.clone(), if_exists: a.if_exists };
                self.change(printer, "DelMember", &request)
            }
            Verb::SetActive(a) => {
                let member = (a.member != "none").then(|| a.member.clone());
                self.change(printer, "SetActive", &api::SetActive { bond: a.bond.clone(), member })
            }
            Verb::BondExplain(a) => {
                let request = ExplainBond { bond: a.bond.clone(), flow: a.flow.join(",") };
                let reply: ExplainBondReply = self.call("ExplainBond", &request)?;
                if a.json { Ok(printer.json_pretty(&reply)?) } else { Ok(printer.line(&explanation(&reply))?) }
            }
            Verb::AddRouter(a) => {
                let config = serde_json::from_value(a.settings.map().into()).map_err(|e| Failure::Usage(e.to_string()));
                let request = AddRouter { name: a.router.clone(), config: config?, may_exist: a.may_exist };
                self.change(printer, "AddRouter", &request)
            }
            Verb::SetRouter(a) => {
                let request = SetRouter { name: a.router.clone(), set: a.changes().map_err(Failure::Usage)? };
                self.change(printer, "SetRouter", &request)
            }
            Verb::DelRouter(a) => self.change(printer, "DelRouter", &DelRouter { name: a.router.clone(), if_exists: a.if_exists }),
            Verb::AddInterface(a) => self.change(printer, "AddInterface", &a.request().map_err(Failure::Usage)?),
            Verb::SetInterface(a) => {
                let (router, name) = (a.router.clone(), a.interface.clone());
                self.change(printer, "SetInterface", &SetInterface { router, name, set: a.changes().map_err(Failure::Usage)? })
            }
            Verb::DelInterface(a) => {
                let request = DelInterface { router: a.router.clone(), name: a.interface.clone(), if_exists: a.if_exists };
                self.change(printer, "DelInterface", &request)
            }
            Verb::AddRoute(a) => self.change(printer, "AddRoute", &a.request().map_err(Failure::Usage)?),
            Verb::DelRoute(a) => {
                let (router, if_exists) = (a.router.clone(), a.if_exists);
                self.change(printer, "DelRoute", &DelRoute { router, to: a.to, via: a.via, metric: a.metric, if_exists })
            }
            Verb::AddNeighbor(a) => self.change(printer, "AddNeighbor", &a.request()),
            Verb::DelNeighbor(a) => {
                let request = DelNeighbor { router: a.router.clone(), address: a.address, dev: a.dev.clone(), if_exists: a.if_exists };
                self.change(printer, "DelNeighbor", &request)
            }
            Verb::AddForward(a) => self.change(printer, "AddForward", &a.request()),
            Verb::DelForward(a) => {
                let (router, protocol, port) = (a.router.clone(), a.protocol, a.port);
                let request = DelForward { router, protocol, port, address: a.address, if_exists: a.if_exists };
                self.change(printer, "DelForward", &request)
            }
            Verb::AddFdb(a) => {
                let (switch, port) = (a.switch.clone(), a.port.clone());
                self.change(printer, "AddFdb", &api::AddFdb { switch, mac: a.mac, vlan: a.vlan, port, may_exist: a.may_exist })
            }
            Verb::DelFdb(a) => {
                let request = api::DelFdb { switch: a.switch.clone(), mac: a.mac, vlan: a.vlan, if_exists: a.if_exists };
                self.change(printer, "DelFdb", &request)
            }
            Verb::FlushFdb(a) => {
                let request = api::FlushFdb { switch: a.switch.clone(), port: a.port.clone(), vlan: a.vlan };
                let reply: api::FlushFdbReply = self.call("FlushFdb", &request)?;
                Ok(printer.line(&format!("{} addresses forgotten", reply.flushed))?)
            }
            Verb::Show(a) => repeat(printer, &a.reading, |printer| self.show(printer, a.list.as_ref(), a.reading.json)),
            Verb::Status(a) => repeat(printer, &a.reading, |printer| {
                let reply: api::GetStatusReply = self.call("GetStatus", &serde_json::json!({}))?;
                if a.reading.json {
                    return Ok(printer.json_pretty(&reply.status)?);
                }
                let text = render(printer).status(&reply.status);
                Ok(printer.line(&text)?)
            }),
            Verb::Monitor(a) => self.monitor(printer, a.json),
            Verb::Conntrack(a) => crate::conntrack::run(self.client()?, printer, a),
            Verb::Check(a) => check(printer, &a.file),
            Verb::Apply(a) => {
                let request = api::Apply { text: read(&a.file)?, file: Some(name_of(&a.file)), dry_run: a.dry_run };
                self.change(printer, "Apply", &request)
            }
            Verb::Export(a) => {
                let reply: api::ExportReply = self.call("Export", &serde_json::json!({}))?;
                if a.json {
                    let config = control::config::load(&reply.text, "export").map_err(Failure::Local)?;
                    return Ok(printer.json_pretty(&config)?);
                }
                Ok(printer.line(&reply.text)?)
            }
            Verb::Iptables(a) => iptables_verbs::iptables(self, printer, a, Ipv4),
            Verb::Ip6tables(a) => iptables_verbs::iptables(self, printer, a, Ipv6),
            Verb::IptablesSave(a) => iptables_verbs::save(self, printer, a, Ipv4),
            Verb::Ip6tablesSave(a) => iptables_verbs::save(self, printer, a, Ipv6),
            Verb::IptablesRestore(a) => iptables_verbs::restore(self, printer, a, Ipv4),
            Verb::Ip6tablesRestore(a) => iptables_verbs::restore(self, printer, a, Ipv6),
            Verb::Ipset(a) => iptables_verbs::ipset(self, printer, a),
            Verb::Sim(sim) => self.sim(printer, sim),
            Verb::Completions(a) => completions(printer, a.shell),
        }
    }

    fn show(&mut self, printer: &mut Printer, list: Option<&List>, json: bool) -> Result<(), Failure> {
        let render = render(printer);
        let none = Filter::default();
        let text = match list {
            None => {
                let switches: api::ListSwitchesReply = self.call("ListSwitches", &serde_json::json!({}))?;
                let ports: api::ListPortsReply = self.call("ListPorts", &none)?;
                let status: api::GetStatusReply = self.call("GetStatus", &serde_json::json!({}))?;
                if json {
                    let (switches, ports, status) = (switches.switches, ports.ports, status.status);
                    return Ok(printer.json_pretty(&serde_json::json!({"switches": switches, "ports": ports, "status": status}))?);
                }
                render.overview(&switches.switches, &ports.ports, &status.status)
            }
            Some(List::Switches(of)) => {
                let mut reply: api::ListSwitchesReply = self.call("ListSwitches", &serde_json::json!({}))?;
                reply.switches.retain(|switch| of.switch.as_ref().is_none_or(|name| *name == switch.name));
                if json {
                    return print_list(printer, &reply.switches);
                }
                render.switches(&reply.switches)
            }
            Some(List::Ports(of)) => {
                let filter = Filter { switch: of.switch.clone(), port: of.port.clone(), vlan: None };
                let reply: api::ListPortsReply = self.call("ListPorts", &filter)?;
                if json {
                    return print_list(printer, &reply.ports);
                }
                render.ports(&reply.ports)
            }
            Some(List::Fdb(of)) => {
                let filter = Filter { switch: of.switch.clone(), port: of.port.clone(), vlan: of.vlan };
                return self.fdb(printer, &filter, json);
            }
            Some(List::Vlans(of)) => {
                let filter = Filter { switch: of.switch.clone(), ..none };
                let mut reply: api::ListVlansReply = self.call("ListVlans", &filter)?;
                let has = |vlan: &api::VlanInfo, port: &String| vlan.untagged.contains(port) || vlan.tagged.contains(port);
                reply
                    .vlans
                    .retain(|vlan| of.vlan.is_none_or(|vid| vid == vlan.vlan) && of.port.as_ref().is_none_or(|port| has(vlan, port)));
                if json {
                    return print_list(printer, &reply.vlans);
                }
                render.vlans(&reply.vlans)
            }
            Some(List::Bonds(of)) => {
                let filter = Filter { switch: of.switch.clone(), port: of.port.clone(), vlan: None };
                let reply: api::ListBondsReply = self.call("ListBonds", &filter)?;
                if json {
                    return print_list(printer, &reply.bonds);
                }
                render.bonds(&reply.bonds)
            }
            Some(List::Drops(of)) => {
                let filter = Filter { switch: of.switch.clone(), port: of.port.clone(), vlan: None };
                let reply: api::ListDropsReply = self.call("ListDrops", &filter)?;
                if json {
                    return print_list(printer, &reply.drops);
                }
                render.drops(&reply.drops)
            }
            Some(List::Routers(of)) => {
                let reply: ListRoutersReply = self.call("ListRouters", &RouterFilter { router: of.router.clone() })?;
                if json {
                    return print_list(printer, &reply.routers);
                }
                render.routers(&reply.routers)
            }
            Some(List::Interfaces(of)) => {
                let reply: ListInterfacesReply = self.call("ListInterfaces", &RouterFilter { router: of.router.clone() })?;
                if json {
                    return print_list(printer, &reply.interfaces);
                }
                render.interfaces(&reply.interfaces)
            }
            Some(List::Routes(of)) => {
                let reply: ListRoutesReply = self.call("ListRoutes", &RouterFilter { router: of.router.clone() })?;
                if json {
                    return print_list(printer, &reply.routes);
                }
                render.routes(&reply.routes)
            }
            Some(List::Forwards(of)) => {
                let reply: ListForwardsReply = self.call("ListForwards", &RouterFilter { router: of.router.clone() })?;
                if json {
                    return print_list(printer, &reply.forwards);
                }
                render.forwards(&reply.forwards)
            }
            Some(List::Workers) => {
                let reply: api::ListWorkersReply = self.call("ListWorkers", &serde_json::json!({}))?;
                if json {
                    return print_list(printer, &reply.workers);
                }
                render.workers(&reply.workers)
            }
        };
        Ok(printer.line(&text)?)
    }

    /// The address table, which comes in parts. JSON is passed on as it comes; a table needs all for its column widths.
    fn fdb(&mut self, printer: &mut Printer, filter: &Filter, json: bool) -> Result<(), Failure> {
        let replies = self.client()?.call_more::<_, api::ListFdbReply>("ListFdb", filter, false)?;
        if json {
            let mut list = printer.json_list();
            for reply in replies {
                for entry in reply?.entries {
                    list.item(&entry)?;
                }
            }
            return Ok(list.end()?);
        }
        let mut entries = Vec::new();
        for reply in replies {
            entries.extend(reply?.entries);
        }
        // They come in the order of the table's slots, which is no order for people.
        entries.sort_unstable_by(|a, b| (&a.switch, a.vlan, a.mac).cmp(&(&b.switch, b.vlan, b.mac)));
        let text = render(printer).fdb(&entries);
        Ok(printer.line(&text)?)
    }

    fn monitor(&mut self, printer: &mut Printer, json: bool) -> Result<(), Failure> {
        let render = render(printer);
        for reply in self.client()?.call_more::<_, api::MonitorReply>("Monitor", &serde_json::json!({}), true)? {
            for event in reply?.events {
                if json { printer.json(&event)? } else { printer.line(&render.event(&event))? }
            }
            printer.flush()?;
        }
        Ok(())
    }

    fn sim(&mut self, printer: &mut Printer, sim: &Sim) -> Result<(), Failure> {
        match sim {
            Sim::Send { port, frame } => {
                let request = api::SimSend { port: port.clone(), frame: frame.clone() };
                self.call::<serde_json::Value>("SimSend", &request)?;
            }
            Sim::Receive { port, json } => {
                let reply: api::SimReceiveReply = self.call("SimReceive", &api::SimReceive { port: port.clone() })?;
                if *json {
                    return Ok(printer.json(&reply.frames)?);
                }
                for frame in &reply.frames {
                    printer.line(frame)?;
                }
            }
            Sim::Carrier { port, state } => {
                let request = api::SimCarrier { port: port.clone(), up: state == "up" };
                self.call::<serde_json::Value>("SimCarrier", &request)?;
            }
        }
        Ok(())
    }
}

/// Once, or every so often for ever.
fn repeat(printer: &mut Printer, reading: &Reading, mut read: impl FnMut(&mut Printer) -> Result<(), Failure>) -> Result<(), Failure> {
    let Some(every) = reading.watch else { return read(printer) };
    let mut first = true;
    loop {
        printer.clear(first, reading.json)?;
        first = false;
        read(printer)?;
        printer.flush()?;
        std::thread::sleep(every);
    }
}

fn render(printer: &Printer) -> Render {
    Render { colour: printer.colour() }
}

fn print_list<T: Serialize>(printer: &mut Printer, items: &[T]) -> Result<(), Failure> {
    let mut list = printer.json_list();
    for item in items {
        list.item(item)?;
    }
    Ok(list.end()?)
}

fn print_changes(printer: &mut Printer, changed: &Changed) -> Result<(), Failure> {
    if changed.changes.is_empty() {
        printer.line("nothing to change")?;
    }
    for change in &changed.changes {
        printer.line(change)?;
    }
    Ok(())
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn name_of(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

/// A configuration text; no more of it than the daemon would take.
pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let limit = api::REQUEST_MAX as u64;
    let outcome = if is_stdin(file) {
        std::io::stdin().lock().take(limit + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit + 1).read_to_string(&mut text))
    };
    let name = name_of(file);
    match outcome {
        Err(e) => Err(Failure::Local(format!("{name}: {e}"))),
        Ok(octets) if octets as u64 > limit => {
            Err(Failure::Local(format!("{name}: longer than the {limit} octets a configuration may have")))
        }
        Ok(_) => Ok(text),
    }
}

fn check(printer: &mut Printer, file: &Path) -> Result<(), Failure> {
    let (text, name) = (read(file)?, name_of(file));
    let config = control::config::load(&text, &name).map_err(Failure::Local)?;
    Ok(printer.line(&format!(
        "{name}: good ({} switches, {} ports, {} routers)",
        config.switch.len(),
        config.port.len(),
        config.router.len()
    ))?)
}

fn completions(printer: &mut Printer, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::definition(), "vswitchctl", &mut script);
    Ok(printer.raw(&script)?)
}
