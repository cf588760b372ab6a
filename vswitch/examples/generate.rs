//! Writes the generated files: man pages, shell completions and the schema of the configuration.
//!
//! `generate DIRECTORY` writes into `DIRECTORY/docs` and `DIRECTORY/configs`; `./run generate` is the way to call it.

#[allow(dead_code, reason = "only the command definition of the program is used here")]
#[path = "../src/bin/vswitchctl/args.rs"]
mod args;
#[allow(dead_code, reason = "only the command definition of the program is used here")]
#[path = "../src/bin/vswitchctl/bond_args.rs"]
mod bond_args;
#[allow(dead_code, reason = "only the command definition of the program is used here")]
#[path = "../src/bin/vswitchctl/iptables_args.rs"]
mod iptables_args;
#[allow(dead_code, reason = "only the command definition of the program is used here")]
#[path = "../src/bin/vswitchctl/settings.rs"]
mod settings;
#[allow(dead_code, reason = "only the command definition of the program is used here")]
#[path = "../src/bin/vswitchd/args.rs"]
mod vswitchd;

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("usage: generate DIRECTORY"))?);
    let (man, completions, configs) = (root.join("docs/man"), root.join("docs/completions"), root.join("configs"));
    for directory in [&man, &completions, &configs] {
        fs::create_dir_all(directory)?;
    }
    let vswitchctl = args::Cli::definition();
    // One page for the command and one for each of its verbs.
    clap_mangen::generate_to(vswitchctl.clone(), &man)?;
    clap_mangen::Man::new(vswitchd::Args::command()).section("8").generate_to(&man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut vswitchctl.clone(), "vswitchctl", &completions)?;
        clap_complete::generate_to(shell, &mut vswitchd::Args::command(), "vswitchd", &completions)?;
    }
    fs::write(configs.join("vswitch.schema.json"), control::config::schema::text())?;
    Ok(())
}
