//! `cargo xtask soak`: what takes too long for every test run.

mod load;
mod runs;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Soak {
    /// Many clients at one host for minutes; then one that floods it while another works.
    Load(load::Arguments),
    /// A ledger of very many runs: how long lists, a start and `fsck` take.
    Runs(runs::Arguments),
}

/// Does one of them.
///
/// # Errors
/// What did not hold.
pub fn run(soak: &Soak) -> Result<()> {
    match soak {
        Soak::Load(arguments) => load::run(arguments),
        Soak::Runs(arguments) => runs::run(arguments),
    }
}
