//! What can be typed behind `iptables`, `ipset` and their relatives.

use clap::Args;

/// What the verbs have in common.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Passed {
    /// Name of the router
    pub(crate) router: String,
    /// The words one types behind the name of the program, such as -A FORWARD -p tcp --dport 22 -j ACCEPT; --json among them
    /// prints lists as JSON
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<String>,
}
