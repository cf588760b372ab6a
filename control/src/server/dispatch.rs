//! From a request to its answer.

use dataplane::clock::Nanos;
use proto::api::{self, Access, Changed, Filter, INTERFACE, METHODS, error};
use proto::bond_status::ExplainBond;
use proto::conntrack;
use proto::iptables::{Ipset, Iptables};
use proto::router_api::{self, RouterFilter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use varlink::Request;

use super::list::List;
use crate::config::edit::router;
use crate::config::{self, edit};
use crate::conntrack::Matcher;
use crate::controller::Controller;
use crate::controller::iptables::iptables_changes;
use crate::controller::transaction::Strictness;
use crate::iptables::ipset;

/// The description of `io.vswitch`, as `GetInterfaceDescription` returns it.
pub const DESCRIPTION: &str = include_str!("../io.vswitch.varlink");

/// The description of the interface every Varlink service has.
const SERVICE_DESCRIPTION: &str = "\
# Provided by every varlink service: what it is and which interfaces it has.
interface org.varlink.service

# Who made it, and the interfaces it provides.
method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)

# The description of one of its interfaces.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
";

/// What a request is answered with.
pub enum Answer {
    /// One reply.
    Reply(Value),
    /// A long list, as the client takes it.
    List(List),
    /// Events, as they happen.
    Monitor,
    /// Events of tracked connections, as they happen.
    MonitorFlows(Matcher),
    /// An error: full name and parameters.
    Error(String, Value),
}

/// What a method asks of its caller; `None` when there is none of that name.
pub fn access(method: &str) -> Option<Access> {
    METHODS.iter().find(|(name, ..)| *name == method).map(|(_, access, _)| *access)
}

/// Whether the command of an [`Access::ByCommand`] method changes something. One that cannot be read does not: it is refused for that.
fn command_changes(method: &str, parameters: &Value) -> bool {
    match method {
        "Iptables" => Iptables::deserialize(parameters).is_ok_and(|request| iptables_changes(&request)),
        "Ipset" => Ipset::deserialize(parameters).is_ok_and(|request| ipset::changes(&request.args)),
        _ => true,
    }
}

/// Answers with an error of the interface.
pub fn fail(name: &str, message: impl Into<String>) -> Answer {
    let message = error::Message { message: message.into() };
    Answer::Error(format!("{INTERFACE}.{name}"), json!(message))
}

/// Answers that the request was refused.
pub fn refused(message: impl Into<String>) -> Answer {
    fail(error::REFUSED, message)
}

/// Answers a request. `may_write` is asked only when the method needs it.
pub fn dispatch(controller: &mut Controller, request: Request<'_>, may_write: impl FnOnce(&Controller) -> bool, now: Nanos) -> Answer {
    let full = &*request.method;
    let Some((interface, method)) = full.rsplit_once('.') else {
        return service_error("InvalidParameter", "parameter", "method");
    };
    if request.upgrade == Some(true) {
        return service_error("MethodNotImplemented", "method", full);
    }
    match interface {
        INTERFACE => {}
        "org.varlink.service" => return service(method, &request),
        _ => return service_error("InterfaceNotFound", "interface", interface),
    }
    let Some(access) = access(method) else { return service_error("MethodNotFound", "method", full) };
    let parameters = match request.parameters {
        None | Some(Value::Null) => json!({}),
        Some(parameters) => parameters,
    };
    if access != Access::Read && !may_write(controller) && (access == Access::Write || command_changes(method, &parameters)) {
        let message = match &controller.config().daemon.control_group {
            Some(group) => format!("{method} needs write access: be root or a member of group {group:?}"),
            None => format!("{method} needs write access: be root (or set daemon.control_group)"),
        };
        return fail(error::PERMISSION_DENIED, message);
    }
    match call(controller, method, parameters, request.more == Some(true), now) {
        Ok(answer) => answer,
        Err(Failure::Refused(message)) => refused(message),
        Err(Failure::Parameters(what)) => service_error("InvalidParameter", "parameter", &what),
        Err(Failure::ExpectedMore) => Answer::Error("org.varlink.service.ExpectedMore".to_owned(), json!({})),
        Err(Failure::NoSuchMethod) => service_error("MethodNotImplemented", "method", full),
    }
}

enum Failure {
    Refused(String),
    Parameters(String),
    ExpectedMore,
    NoSuchMethod,
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Refused(message)
    }
}

fn read<T: DeserializeOwned>(parameters: Value) -> Result<T, Failure> {
    serde_json::from_value(parameters).map_err(|error| Failure::Parameters(error.to_string()))
}

fn reply(value: impl Serialize) -> Result<Answer, Failure> {
    serde_json::to_value(value).map(Answer::Reply).map_err(|error| Failure::Refused(format!("answer: {error}")))
}

fn call(controller: &mut Controller, method: &str, parameters: Value, more: bool, now: Nanos) -> Result<Answer, Failure> {
    let filter = |parameters| -> Result<Filter, Failure> { read(parameters) };
    let checked = |controller: &Controller, parameters| -> Result<Filter, Failure> {
        let filter = filter(parameters)?;
        controller.check_filter(&filter)?;
        Ok(filter)
    };
    let of_router = |controller: &Controller, parameters| -> Result<RouterFilter, Failure> {
        let filter = read(parameters)?;
        controller.check_router_filter(&filter)?;
        Ok(filter)
    };
    match method {
        "GetStatus" => reply(api::GetStatusReply { status: controller.status(now) }),
        "ListSwitches" => reply(api::ListSwitchesReply { switches: controller.switches() }),
        "ListPorts" => reply(api::ListPortsReply { ports: controller.ports(&checked(controller, parameters)?) }),
        "ListFdb" => Ok(Answer::List(List::Fdb(controller.list_fdb(filter(parameters)?)?))),
        "ListVlans" => reply(api::ListVlansReply { vlans: controller.vlans(&checked(controller, parameters)?) }),
        "ListBonds" => reply(api::ListBondsReply { bonds: controller.bond_infos(&checked(controller, parameters)?, now) }),
        "ExplainBond" => {
            let request: ExplainBond = read(parameters)?;
            reply(controller.explain_bond(&request.bond, &request.flow)?)
        }
        "ListDrops" => reply(api::ListDropsReply { drops: controller.drops(&checked(controller, parameters)?) }),
        "ListRouters" => reply(router_api::ListRoutersReply { routers: controller.router_infos(&of_router(controller, parameters)?) }),
        "ListInterfaces" => {
            reply(router_api::ListInterfacesReply { interfaces: controller.interface_infos(&of_router(controller, parameters)?) })
        }
        "ListRoutes" => reply(router_api::ListRoutesReply { routes: controller.route_infos(&of_router(controller, parameters)?) }),
        "ListNeighbors" => {
            reply(router_api::ListNeighborsReply { neighbors: controller.neighbor_infos(&of_router(controller, parameters)?, now) })
        }
        "ListForwards" => reply(router_api::ListForwardsReply { forwards: controller.forward_infos(&of_router(controller, parameters)?) }),
        "ListWorkers" => reply(api::ListWorkersReply { workers: controller.worker_infos() }),
        "GetConntrack" => reply(controller.conntrack_info()),
        "ListFlows" => Ok(Answer::List(List::Flows(Box::new(controller.flows(&read(parameters)?, false)?)))),
        "ListExpectations" => reply(conntrack::ListExpectationsReply { expectations: controller.expectations(&read(parameters)?, now)? }),
        "MonitorFlows" if more => {
            let request: conntrack::Flows = read(parameters)?;
            Ok(Answer::MonitorFlows(controller.matcher(&request.filter)?))
        }
        "MonitorFlows" => Err(Failure::ExpectedMore),
        // Without `more` it could not say what it deleted.
        "DelFlows" if !more => Err(Failure::ExpectedMore),
        "DelFlows" => Ok(Answer::List(List::Flows(Box::new(controller.flows(&read(parameters)?, true)?)))),
        "Export" => reply(api::ExportReply { text: config::to_toml(controller.config()) }),
        "Monitor" if more => Ok(Answer::Monitor),
        "Monitor" => Err(Failure::ExpectedMore),
        "AddSwitch" => edited(controller, now, |config| edit::add_switch(config, &read(parameters)?).map_err(Failure::from)),
        "SetSwitch" => edited(controller, now, |config| {
            let request: api::SetSwitch = read(parameters)?;
            edit::set_switch(config, &request.name, &request.set).map_err(Failure::from)
        }),
        "DelSwitch" => edited(controller, now, |config| edit::del_switch(config, &read(parameters)?).map_err(Failure::from)),
        "AddPort" => edited(controller, now, |config| edit::add_port(config, &read(parameters)?).map_err(Failure::from)),
        "SetPort" => edited(controller, now, |config| {
            let request: api::SetPort = read(parameters)?;
            edit::set_port(config, &request.name, &request.set).map_err(Failure::from)
        }),
        "DelPort" => edited(controller, now, |config| edit::del_port(config, &read(parameters)?).map_err(Failure::from)),
        "SetBond" => edited(controller, now, |config| {
            let request: api::SetBond = read(parameters)?;
            edit::set_bond(config, &request.name, &request.set).map_err(Failure::from)
        }),
        "AddMember" => edited(controller, now, |config| edit::add_member(config, &read(parameters)?).map_err(Failure::from)),
        "DelMember" => edited(controller, now, |config| edit::del_member(config, &read(parameters)?).map_err(Failure::from)),
        "SetActive" => reply(controller.set_active(&read(parameters)?, now)?),
        "AddRouter" => edited(controller, now, |config| Ok(router::add_router(config, &read(parameters)?)?)),
        "SetRouter" => edited(controller, now, |config| {
            let request: router_api::SetRouter = read(parameters)?;
            Ok(router::set_router(config, &request.name, &request.set)?)
        }),
        "DelRouter" => edited(controller, now, |config| Ok(router::del_router(config, &read(parameters)?)?)),
        "AddInterface" => edited(controller, now, |config| Ok(router::add_interface(config, &read(parameters)?)?)),
        "SetInterface" => edited(controller, now, |config| {
            let request: router_api::SetInterface = read(parameters)?;
            Ok(router::set_interface(config, &request.router, &request.name, &request.set)?)
        }),
        "DelInterface" => edited(controller, now, |config| Ok(router::del_interface(config, &read(parameters)?)?)),
        "AddRoute" => edited(controller, now, |config| Ok(router::add_route(config, &read(parameters)?)?)),
        "DelRoute" => edited(controller, now, |config| Ok(router::del_route(config, &read(parameters)?)?)),
        "AddNeighbor" => edited(controller, now, |config| Ok(router::add_neighbor(config, &read(parameters)?)?)),
        "DelNeighbor" => edited(controller, now, |config| Ok(router::del_neighbor(config, &read(parameters)?)?)),
        "AddForward" => edited(controller, now, |config| Ok(router::add_forward(config, &read(parameters)?)?)),
        "DelForward" => edited(controller, now, |config| Ok(router::del_forward(config, &read(parameters)?)?)),
        "AddFdb" => edited(controller, now, |config| edit::add_fdb(config, &read(parameters)?).map_err(Failure::from)),
        "DelFdb" => reply(controller.del_fdb(&read(parameters)?, now)?),
        "FlushFdb" => reply(api::FlushFdbReply { flushed: controller.flush_fdb(&read(parameters)?)? }),
        "Apply" => {
            let request: api::Apply = read(parameters)?;
            let config = config::load(&request.text, request.file.as_deref().unwrap_or("configuration"))?;
            let changed: Changed =
                if request.dry_run { controller.dry_run(&config)? } else { controller.transact(config, Strictness::Strict, now)? };
            reply(changed)
        }
        "Iptables" => reply(controller.iptables(&read(parameters)?, now)?),
        "IptablesRestore" => reply(controller.iptables_restore(&read(parameters)?, now)?),
        "IptablesSave" => reply(controller.iptables_save(&read(parameters)?)?),
        "Ipset" => reply(controller.ipset(&read(parameters)?, now)?),
        "SimSend" => {
            let request: api::SimSend = read(parameters)?;
            controller.sim_send(&request.port, &request.frame)?;
            reply(json!({}))
        }
        "SimReceive" => {
            let request: api::SimReceive = read(parameters)?;
            reply(api::SimReceiveReply { frames: controller.sim_receive(&request.port)? })
        }
        "SimCarrier" => {
            let request: api::SimCarrier = read(parameters)?;
            controller.sim_carrier(&request.port, request.up, now)?;
            reply(json!({}))
        }
        _ => Err(Failure::NoSuchMethod),
    }
}

fn edited(
    controller: &mut Controller,
    now: Nanos,
    edit: impl FnOnce(&proto::config::Config) -> Result<proto::config::Config, Failure>,
) -> Result<Answer, Failure> {
    let config = edit(controller.config())?;
    reply(controller.transact(config, Strictness::Strict, now)?)
}

fn service(method: &str, request: &Request<'_>) -> Answer {
    match method {
        "GetInfo" => Answer::Reply(json!({
            "vendor": "vswitch",
            "product": "vswitchd",
            "version": env!("CARGO_PKG_VERSION"),
            "url": "",
            "interfaces": ["org.varlink.service", INTERFACE],
        })),
        "GetInterfaceDescription" => {
            let name = request.parameters.as_ref().and_then(|parameters| parameters.get("interface")).and_then(Value::as_str);
            match name {
                Some(INTERFACE) => Answer::Reply(json!({ "description": DESCRIPTION })),
                Some("org.varlink.service") => Answer::Reply(json!({ "description": SERVICE_DESCRIPTION })),
                Some(other) => service_error("InterfaceNotFound", "interface", other),
                None => service_error("InvalidParameter", "parameter", "interface"),
            }
        }
        _ => service_error("MethodNotFound", "method", &format!("org.varlink.service.{method}")),
    }
}

fn service_error(name: &str, key: &str, value: &str) -> Answer {
    let value: String = value.chars().take(200).collect();
    Answer::Error(format!("org.varlink.service.{name}"), json!({ key: value }))
}
