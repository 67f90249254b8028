//! `helixmcp toolpack`: what an author needs, from an empty folder to a component that a host
//! admits. Only a runner ever looks into a component, as everywhere.

mod build;
mod cases;
pub mod encode;
mod list;
mod look;
mod new;
mod shelf;
mod test;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::Settings;

/// The WIT package that a toolpack implements, for authors who do without the SDK.
const WIT: &[&str] = &[
    include_str!("../../../../wit/v1/world.wit"),
    include_str!("../../../../wit/v1/types.wit"),
    include_str!("../../../../wit/v1/artifacts.wit"),
    include_str!("../../../../wit/v1/outputs.wit"),
    include_str!("../../../../wit/v1/steps.wit"),
    include_str!("../../../../wit/v1/log.wit"),
];

#[derive(Clone, Debug, Subcommand)]
pub enum ToolpackCommand {
    /// Write a crate that builds
    New(new::NewArgs),
    /// Compile a crate to a component
    Build(build::BuildArgs),
    /// Check a component as a host does when it loads it, and show what an operator will see
    Check(ComponentArgs),
    /// Run the cases in tests/*.toml without a host, each twice
    Test(test::TestArgs),
    /// Show what is in a component, allowed or not
    Inspect(ComponentArgs),
    /// List the home's toolpacks and what policy says of each
    List,
    /// Print the WIT package that a toolpack implements
    Wit,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ComponentArgs {
    /// A component, or the folder of a crate that was built
    #[arg(default_value = ".")]
    component: PathBuf,
}

/// # Errors
/// [`crate::cli::output::Told`] with the exit code of whose turn it is.
pub async fn run(
    command: ToolpackCommand,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        ToolpackCommand::New(args) => new::run(&args, settings, out),
        ToolpackCommand::Build(args) => build::run(&args, settings, out),
        ToolpackCommand::Check(args) => look::check(&args.component, settings, out).await,
        ToolpackCommand::Test(args) => test::run(&args, settings, out).await,
        ToolpackCommand::Inspect(args) => look::inspect(&args.component, settings, out).await,
        ToolpackCommand::List => list::run(settings, out),
        ToolpackCommand::Wit => {
            for part in WIT {
                writeln!(out, "{part}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests;
