//! A stand-in until the command is merged.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::cli::Settings;

#[derive(Args, Clone, Debug)]
pub struct FsckCommand {}

pub async fn run(
    _command: FsckCommand,
    _settings: &Settings,
    _out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not merged")
}
