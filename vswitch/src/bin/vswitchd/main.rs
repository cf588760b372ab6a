//! vswitchd: the switch as a daemon. In the foreground, logs to stderr, ends on SIGTERM or SIGINT.
//!
//! Wiring only: the control thread is this one, workers are threads of their own, and everything that knows the
//! operating system is handed in here. Exit codes: 0 told to stop, 1 failure, 2 usage.

mod args;
mod devices;
mod threads;

use std::io::IsTerminal as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use clap::Parser as _;
use control::controller::{Controller, starting_config};
use control::server::Server;
use control::server::listen::listen;
use control::store::{FileStore, Store};
use dataplane::clock::Clock;
use netdev::MonotonicClock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.print_schema {
        #[allow(clippy::print_stdout, reason = "the output that was asked for")]
        {
            print!("{}", control::config::schema::text());
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = start_log(&args.log) {
        #[allow(clippy::print_stderr, reason = "there is no log yet")]
        {
            eprintln!("vswitchd: --log {}: {error}", args.log);
        }
        return ExitCode::from(2);
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(filter: &str) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let log = log.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    // The journal has the time already.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init()
    } else {
        log.init()
    }
    Ok(())
}

fn run(args: &Args) -> anyhow::Result<()> {
    // Before anything of ours exists that a signal should remove.
    let stop = watch_signals().context("set up signals")?;
    raise_descriptor_limit();

    let mut store = FileStore::open(&args.state_dir).map_err(|error| anyhow!(error))?;
    let initial = args.config.as_deref().map(read_config).transpose()?;
    let config = starting_config(&mut store, initial).map_err(|error| anyhow!(error))?;
    let (listener, socket_file) = listen(&args.socket).map_err(|error| anyhow!(error))?;
    let mut server = Server::new(listener).context("start the server")?;
    server.stop_on(stop).context("watch for signals")?;

    let clock = MonotonicClock::new();
    let workers = threads::start(&config.daemon, clock, server.wake())?;
    let devices = devices::SystemDevices::new(&args.state_dir).context("watch interfaces")?;
    tracing::info!("socket {}, state in {}", args.socket.display(), store.place());
    let mut controller =
        Controller::start(Box::new(devices), Box::new(store), Box::new(workers), config, clock.now()).map_err(|error| anyhow!(error))?;
    notify(&[NotifyState::Ready]);

    let result = server.run(&mut controller, &clock);
    notify(&[NotifyState::Stopping]);
    drop(server);
    drop(socket_file);
    if let Err(error) = result {
        // A worker that is stuck would never be joined; the end of the process closes its devices all the same.
        std::mem::forget(controller);
        return Err(anyhow!(error));
    }
    drop(controller);
    tracing::info!("stopped");
    Ok(())
}

/// A descriptor that becomes readable on SIGTERM and SIGINT. SIGHUP is caught and does nothing; SIGXFSZ likewise, so that a
/// file size limit is an error of the store and not the end.
fn watch_signals() -> std::io::Result<OwnedFd> {
    let (stop, write) = UnixStream::pair()?;
    stop.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    for signal in [SIGHUP, SIGXFSZ] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(stop.into())
}

/// Raises the limit of open descriptors as far as it goes: each port needs one to a few.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!("raise the limit of open files: {error}");
    }
}

fn read_config(path: &Path) -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read the configuration {}", path.display()))?;
    Ok((path.display().to_string(), text))
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("notify the service manager: {error}");
    }
}
