//! `cargo xtask soak`: what takes too long for every test run.

mod kills;
mod load;
mod runs;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::build;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    soak: Soak,
    /// Take the binary and toolpacks that are there, and build nothing
    #[arg(long, global = true)]
    no_build: bool,
}

#[derive(Subcommand)]
enum Soak {
    /// Kill −9 the host and its runners at random moments, and look after each kill.
    Kills(kills::Arguments),
    /// Many clients at one host for minutes; then one that floods it while another works.
    Load(load::Arguments),
    /// A ledger of very many runs: how long lists, a start and `fsck` take.
    Runs(runs::Arguments),
}

/// Does one of them.
///
/// # Errors
/// What did not hold.
pub fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.no_build {
        let binary = build::host()?;
        build::toolpacks(&binary)?;
    }
    match &arguments.soak {
        Soak::Kills(arguments) => kills::run(arguments),
        Soak::Load(arguments) => load::run(arguments),
        Soak::Runs(arguments) => runs::run(arguments),
    }
}
