//! What `conntrack` does.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::client::Client;
use proto::conntrack::{FlowFilter, Flows, FlowsReply, GetConntrackReply, ListExpectations, ListExpectationsReply, MonitorFlowsReply};

use crate::Failure;
use crate::conntrack_args::{Conntrack, Table};
use crate::conntrack_render as render;
use crate::printer::{Printer, complain};

/// Does what was asked. Lines go to standard output, how many they are to standard error, as with conntrack-tools.
pub(crate) fn run(client: &mut Client, printer: &mut Printer, args: &Conntrack) -> Result<(), Failure> {
    let filter = args.filter().map_err(Failure::Usage)?;
    let is_filtered = filter != FlowFilter { router: filter.router.clone(), ..FlowFilter::default() };
    let refuse = |what: &str| Err(Failure::Usage(format!("{what} takes no filters")));
    if args.stats {
        if is_filtered || args.router.is_some() {
            return Err(Failure::Usage("--stats is of all routers, without filters".to_owned()));
        }
        return stats(client, printer, args.json);
    }
    let table = [args.dump, args.delete, args.event, args.flush, args.count].into_iter().flatten().next();
    let table = table.unwrap_or(Table::Conntrack);
    if table == Table::Expect {
        return match (args.dump, args.count) {
            _ if is_filtered => refuse("table expect"),
            (Some(_), _) => expectations(client, printer, args, false),
            (_, Some(_)) => expectations(client, printer, args, true),
            _ => Err(Failure::Usage("of table expect there are only --dump and --count".to_owned())),
        };
    }
    if args.dump.is_some() {
        let count = list(client, printer, args, "ListFlows", &Flows { filter, quiet: false })?;
        printer.flush()?;
        complain(&format!("vswitchctl: {count} flow entries have been shown."));
    } else if args.delete.is_some() {
        let count = list(client, printer, args, "DelFlows", &Flows { filter, quiet: false })?;
        printer.flush()?;
        if count == 0 {
            return Err(Failure::Local("0 flow entries have been deleted.".to_owned()));
        }
        complain(&format!("vswitchctl: {count} flow entries have been deleted."));
    } else if args.event.is_some() {
        return events(client, printer, args, filter);
    } else if args.flush.is_some() {
        if is_filtered {
            return refuse("--flush");
        }
        list(client, printer, args, "DelFlows", &Flows { filter, quiet: true })?;
        complain("vswitchctl: connection tracking table has been emptied.");
    } else {
        if is_filtered {
            return refuse("--count");
        }
        let count = match args.router {
            None => client.call::<_, GetConntrackReply>("GetConntrack", &serde_json::json!({}))?.count,
            Some(_) => list(client, printer, args, "ListFlows", &Flows { filter, quiet: true })?,
        };
        printer.line(&count.to_string())?;
    }
    Ok(())
}

/// Prints flows, unless the request is quiet, and returns how many they are.
fn list(client: &mut Client, printer: &mut Printer, args: &Conntrack, method: &str, request: &Flows) -> Result<u64, Failure> {
    let mut count = 0;
    let replies = client.call_more::<_, FlowsReply>(method, request, false)?;
    if args.json && !request.quiet {
        let mut list = printer.json_list();
        for reply in replies {
            let reply = reply?;
            count += reply.count;
            reply.flows.iter().try_for_each(|flow| list.item(flow))?;
        }
        list.end()?;
        return Ok(count);
    }
    for reply in replies {
        let reply = reply?;
        count += reply.count;
        reply.flows.iter().try_for_each(|flow| printer.line(&render::flow(flow, &args.output)))?;
    }
    Ok(count)
}

fn expectations(client: &mut Client, printer: &mut Printer, args: &Conntrack, is_count: bool) -> Result<(), Failure> {
    let reply: ListExpectationsReply = client.call("ListExpectations", &ListExpectations { router: args.router.clone() })?;
    let count = reply.expectations.len();
    if is_count {
        return Ok(printer.line(&count.to_string())?);
    }
    if args.json {
        let mut list = printer.json_list();
        reply.expectations.iter().try_for_each(|expectation| list.item(expectation))?;
        list.end()?;
    } else {
        reply.expectations.iter().try_for_each(|expectation| printer.line(&render::expectation(expectation)))?;
    }
    printer.flush()?;
    complain(&format!("vswitchctl: {count} expectations have been shown."));
    Ok(())
}

fn stats(client: &mut Client, printer: &mut Printer, json: bool) -> Result<(), Failure> {
    let reply: GetConntrackReply = client.call("GetConntrack", &serde_json::json!({}))?;
    if json {
        return Ok(printer.json_pretty(&reply)?);
    }
    Ok(reply.workers.iter().try_for_each(|worker| printer.line(&render::stats(worker)))?)
}

fn events(client: &mut Client, printer: &mut Printer, args: &Conntrack, filter: FlowFilter) -> Result<(), Failure> {
    let request = Flows { filter, quiet: false };
    for reply in client.call_more::<_, MonitorFlowsReply>("MonitorFlows", &request, true)? {
        let reply = reply?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for event in reply.events {
            if !args.event_mask.is_empty() && !args.event_mask.iter().any(|mask| mask.has(event.event)) {
                continue;
            }
            if args.json {
                printer.json(&event)?;
            } else {
                printer.line(&render::event(&event, &args.output, (now.as_secs(), now.subsec_micros())))?;
            }
        }
        printer.flush()?;
        if reply.lost > 0 {
            complain(&format!("vswitchctl: {} flow events were lost (this reader or the daemon is too slow)", reply.lost));
        }
    }
    Ok(())
}
