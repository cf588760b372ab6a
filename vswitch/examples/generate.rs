//! Writes the generated files: man pages, shell completions and the schema of the configuration.
//!
//! `generate DIRECTORY` writes into `DIRECTORY/docs` and `DIRECTORY/configs`; `./run generate` is the way to call it.

#[allow(dead_code)]
#[path = "../src/bin/vswitchctl/args.rs"]
mod vswitchctl;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("usage: generate DIRECTORY"))?);
    let (man, completions, configs) = (root.join("docs/man"), root.join("docs/completions"), root.join("configs"));
    for directory in [&man, &completions, &configs] {
        fs::create_dir_all(directory)?;
    }
    let vswitchctl = vswitchctl::Cli::definition();
    pages(&vswitchctl, &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut vswitchctl.clone(), "vswitchctl", &completions)?;
    }
    fs::write(configs.join("vswitch.schema.json"), control::config::schema::text())?;
    Ok(())
}

/// One page for the command and one for each of its verbs.
fn pages(command: &Command, directory: &Path) -> anyhow::Result<()> {
    clap_mangen::generate_to(command.clone(), directory)?;
    Ok(())
}
