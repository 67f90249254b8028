//! Flags, environment and files become [`Settings`] once; one file a command.

pub mod artifact;
mod assignment;
pub mod attach;
pub mod client_config;
pub mod doctor;
pub mod fsck;
pub mod home;
pub mod host;
pub mod import_path;
pub mod init;
pub mod output;
pub mod policy;
pub mod run;
pub mod runs;
pub mod serve;
pub mod settings;
pub mod toolpack;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use settings::{Environment, Globals, Settings};

use output::Told;

const AFTER_HELP: &str = "\
Start here:
  helixmcp init --import-root ~/data      make a home and a policy
  helixmcp client config claude-desktop   connect an assistant
  helixmcp doctor                         what works here, and what would make the rest work

Exit codes: 0 done; 1 checked and found bad; 2 your arguments; 3 denied by policy; 4 the tool failed;
70 our fault; 75 too much at once, try again; 130 cancelled.";

/// Runs sandboxed, deterministic, provable bioinformatics tools for MCP clients.
#[derive(Debug, Parser)]
#[command(name = "helixmcp", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a home, its keys and a commented policy, and print what a client needs
    Init(init::InitArgs),
    /// Speak MCP on stdin and stdout; this is what an MCP client starts
    Serve,
    /// Own the home and serve its clients, in the foreground
    Host(host::HostArgs),
    /// Call a tool: files are imported, progress is shown, the result is printed
    Run(run::RunArgs),
    /// Write, build, check, test and inspect toolpacks
    #[command(subcommand)]
    Toolpack(toolpack::ToolpackCommand),
    /// See and change what is allowed
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Browse, import, list, show, preview and export artifacts
    #[command(subcommand)]
    Artifact(artifact::ArtifactCommand),
    /// List, show, explain, wait for, retry and cancel runs
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Check the records, and that every stored object is there; --deep hashes each of them
    Fsck(fsck::FsckCommand),
    /// Say what works here, what does not, and which command would fix it
    Doctor,
    /// Print what an MCP client needs to start this server
    #[command(subcommand)]
    Client(client_config::ClientCommand),
}

/// Everything but the runner, which `main` starts before any of this.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _nobody_reads = error.print().is_err();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match start(cli) {
        Ok(code) => code,
        Err(error) => told(&error),
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Host(args) = &cli.command
        && args.is_background()
    {
        // It outlives whoever started it, and so would what that one left open.
        crate::sandbox::close_descriptors()?;
    }
    let environment = Environment::read();
    let settings = Settings::resolve(&cli.globals, &environment)?;
    let is_host = matches!(cli.command, Command::Host(_));
    log_to_stderr(&settings, is_host);
    #[cfg(feature = "faults")]
    if let Some(fault) = environment.faults.as_deref().filter(|_| is_host) {
        anyhow::ensure!(crate::faults::armed::arm(fault), "HELIXMCP_FAULTS: cannot read {fault:?}");
    }
    let runtime = runtime(is_host)?;
    let mut out = io::stdout();
    let done = runtime.block_on(run(cli.command, &settings, &mut out));
    // A relay's thread may sit in a read of stdin that nobody will ever answer.
    runtime.shutdown_background();
    let code = done?;
    out.flush()?;
    Ok(code)
}

fn runtime(is_host: bool) -> io::Result<Runtime> {
    let mut builder = if is_host { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build()
}

async fn run(command: Command, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(&args, settings, out),
        Command::Serve => serve::run(settings).await,
        Command::Host(args) => Box::pin(host::run(&args, settings)).await,
        Command::Run(args) => Box::pin(run::run(&args, settings, out)).await,
        Command::Toolpack(command) => Box::pin(toolpack::run(command, settings, out)).await,
        Command::Policy(command) => Box::pin(policy::run(command, settings, out)).await,
        Command::Artifact(command) => Box::pin(artifact::run(command, settings, out)).await,
        Command::Runs(command) => Box::pin(runs::run(command, settings, out)).await,
        Command::Fsck(command) => Box::pin(fsck::run(command, settings, out)).await,
        Command::Doctor => Box::pin(doctor::run(settings, out)).await,
        Command::Client(command) => client_config::run(&command, settings, out),
    }
}

/// stdout carries protocol or results, so the log goes to stderr (invariant I-10).
fn log_to_stderr(settings: &Settings, is_host: bool) {
    let usual = if is_host { "info" } else { "warn" };
    let filter = settings.log.as_deref().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(usual));
    // Below its errors rmcp writes down what callers sent and were answered, and that may hold what
    // is no matter of a log: a key that was pasted, a patient's name.
    let tells_no_messages =
        filter_fn(|about| *about.level() <= Level::ERROR || !about.target().starts_with("rmcp"));
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let log = log.with_filter(filter.and(tells_no_messages));
    // Twice only in tests, where the first one stays.
    let _was_set = tracing_subscriber::registry().with(log).try_init().is_ok();
}

/// Says on stderr what went wrong, link by link, and picks the exit code.
fn told(error: &anyhow::Error) -> ExitCode {
    let is_closed_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    let text = output::visible(&format!("{error:#}"));
    let _nobody_reads = writeln!(io::stderr(), "helixmcp: {text}").is_err();
    let code = error.downcast_ref::<Told>().map_or(output::EXIT_FAULT, |told| told.code);
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_before_and_after_the_command() {
        for line in [["helixmcp", "--home", "/h", "doctor"], ["helixmcp", "doctor", "--home", "/h"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.globals.home.as_deref(), Some(std::path::Path::new("/h")));
        }
    }
}
