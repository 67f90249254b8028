//! `cargo xtask`: the commands of whoever works on HelixMCP, and of whoever wants to see it work.

mod bench;
mod build;
mod demo;
mod fetch;
mod images;
mod licences;
mod machine;
mod say;
mod services;
mod soak;
mod suites;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Shows, builds and tests HelixMCP; installs or fetches what is missing"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, fetch real reads, and show a toolpack at work as an assistant sees it.
    Demo,
    /// Run everything that there is to run, and say what passed.
    Test {
        /// Only what takes a few minutes: format, lints, unit and integration tests.
        #[arg(long)]
        quick: bool,
    },
    /// Build the example toolpacks to components under target/toolpacks.
    Toolpacks,
    /// Measure what it costs, each row against something that does the same with less.
    Bench(bench::Arguments),
    /// Stress for minutes or hours, and say what held.
    Soak(soak::Arguments),
    /// Start a container engine and a registry on loopback where none answers, or stop them.
    Services(services::Arguments),
    /// Make the container images of the tools that steps run, and push them to the registry on loopback.
    Images(images::Arguments),
    /// Fetch what demo and tests read, and clients that others wrote, into the user's cache.
    Fetch,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo => demo::run(),
        Command::Test { quick } => suites::run(quick),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fetch => fetch::oracle().and_then(|()| fetch::clients()),
        Command::Images(arguments) => images::run(&arguments),
        Command::Services(arguments) => services::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Toolpacks => build::host().and_then(|binary| build::toolpacks(&binary)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
