//! A stand-in until the command is merged.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::Settings;

#[derive(Clone, Debug, Subcommand)]
pub enum ToolpackCommand {
    #[command(hide = true)]
    None,
}

pub async fn run(
    command: ToolpackCommand,
    _settings: &Settings,
    _out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        ToolpackCommand::None => anyhow::bail!("not merged"),
    }
}
