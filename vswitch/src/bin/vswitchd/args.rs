//! What can be typed: the clap definition, from which parsing, help and the man page come.

use std::path::PathBuf;

use clap::Parser;

/// A userspace virtual switch. Runs in the foreground; vswitchctl drives it.
///
/// The running configuration is kept in the state directory and comes back after a restart. SIGTERM and SIGINT end the
/// daemon and remove its interfaces and socket; SIGHUP does nothing (use `vswitchctl apply FILE`).
#[derive(Parser)]
#[command(name = "vswitchd", version)]
pub(crate) struct Args {
    /// Configuration to start with while nothing is stored in the state directory
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Socket for vswitchctl
    #[arg(long, value_name = "PATH", env = "VSWITCH_SOCKET", default_value = proto::api::SOCKET)]
    pub(crate) socket: PathBuf,
    /// Where the running configuration is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/vswitch")]
    pub(crate) state_dir: PathBuf,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,netdev=debug`
    #[arg(long, value_name = "LEVEL", env = "VSWITCH_LOG", default_value = "info")]
    pub(crate) log: String,
    /// Print the JSON schema of the configuration and end
    #[arg(long, hide = true)]
    pub(crate) print_schema: bool,
}
