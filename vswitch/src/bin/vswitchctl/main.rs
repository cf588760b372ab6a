//! `vswitchctl`: drives vswitchd over its control socket.
//!
//! [`args`] says what can be typed, [`settings`] turns typed settings into configuration keys, [`verbs`] does what was
//! asked, [`render`] and [`printer`] show the outcome. One connection, one thread, nothing kept between runs.

mod args;
mod bond_args;
mod bond_render;
mod conntrack;
mod conntrack_args;
mod conntrack_render;
mod iptables_args;
mod iptables_verbs;
mod printer;
mod render;
mod router_args;
mod router_render;
mod settings;
mod verbs;

use std::io;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use proto::client;

use crate::args::Cli;

/// Why a verb failed.
#[derive(Debug)]
enum Failure {
    /// What was typed makes no sense, in a way clap could not see.
    Usage(String),
    /// The daemon refused, or cannot be reached.
    Client(client::Error),
    /// Something on this side: an unreadable file, a broken configuration.
    Local(String),
    /// Writing the outcome failed.
    Output(io::Error),
}

impl From<client::Error> for Failure {
    fn from(e: client::Error) -> Failure {
        Failure::Client(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Output(e)
    }
}

fn main() -> ExitCode {
    let matches = Cli::definition().get_matches();
    let outcome = match Cli::from_arg_matches(&matches) {
        Ok(cli) => verbs::run(&cli),
        Err(e) => e.exit(),
    };
    let message = match &outcome {
        Ok(()) => return ExitCode::SUCCESS,
        // Whoever read the output has seen enough, such as `| head`.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => Cli::definition().error(ErrorKind::ValueValidation, message).exit(),
        Err(Failure::Local(message)) => message.clone(),
        Err(Failure::Output(e)) => format!("standard output: {e}"),
        Err(Failure::Client(e)) => e.to_string(),
    };
    // A diagnostic with its own heading needs no second one.
    let prefix = if message.starts_with("error") { "" } else { "vswitchctl: " };
    printer::complain(&format!("{prefix}{message}"));
    match outcome {
        Err(Failure::Client(client::Error::NoDaemon { .. } | client::Error::Closed)) => ExitCode::from(3),
        _ => ExitCode::from(1),
    }
}
