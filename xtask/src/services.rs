//! `cargo xtask services`: what container steps are tried against, started when nothing usable is
//! there: a dockerd or podman's Docker API, and a registry on loopback that both pull from. All
//! that they keep lies under `services/` of the target folder, and they listen there or on
//! loopback alone.

mod ask;
mod daemon;
mod docker;
mod podman;
mod registry;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{build, say};
use daemon::Daemon;

pub use registry::ADDRESS as REGISTRY;

#[derive(clap::Args)]
pub struct Arguments {
    /// Which container engine, with the registry that it pulls from.
    engine: Engine,
    /// Start what is missing, or stop what was started here.
    #[arg(default_value = "start")]
    action: Action,
}

/// Which program runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// dockerd: one that answers already, else our own.
    Docker,
    /// The Docker API of podman: always our own.
    Podman,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    Start,
    Stop,
}

/// Services that are up. Dropped, it stops those that it had to start, and only those.
pub struct Held {
    endpoint: Option<String>,
    started: Vec<Daemon>,
}

/// The command.
///
/// # Errors
/// Something cannot be installed, started or stopped; what to type, or the end of its log.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.action == Action::Stop {
        return stop(arguments.engine);
    }
    let held = hold(arguments.engine)?;
    say::line(&format!("  endpoint  {}", held.endpoint()));
    say::line(&format!("  registry  {REGISTRY}"));
    if !held.started.is_empty() {
        let name = if arguments.engine == Engine::Docker { "docker" } else { "podman" };
        say::line(&format!("  to stop what was started: cargo xtask services {name} stop"));
    }
    held.leave_running();
    Ok(())
}

/// Finds or starts an engine and the registry.
///
/// # Errors
/// Something cannot be installed or started; what to type, or the end of its log.
pub fn hold(engine: Engine) -> Result<Held> {
    let _turn = turn()?;
    let mut held = Held { endpoint: None, started: Vec::new() };
    held.started.extend(registry::ensure()?);
    let (endpoint, started) = match engine {
        Engine::Docker => docker::ensure()?,
        Engine::Podman => podman::ensure()?,
    };
    held.started.extend(started);
    // Tests read it there: the engine that answers may be one that we did not start.
    let note = folder(engine)?.join("endpoint");
    if !fs::read_to_string(&note).is_ok_and(|noted| noted == endpoint) {
        fs::write(&note, &endpoint).with_context(|| format!("cannot write {}", note.display()))?;
    }
    held.endpoint = Some(endpoint);
    Ok(held)
}

/// Finds or starts the registry alone.
///
/// # Errors
/// It cannot be fetched or started.
pub fn hold_registry() -> Result<Held> {
    let _turn = turn()?;
    Ok(Held { endpoint: None, started: registry::ensure()?.into_iter().collect() })
}

/// Stops what was started here for an engine, and the registry once no engine of ours is left.
fn stop(engine: Engine) -> Result<()> {
    let _turn = turn()?;
    let (own, other) = match engine {
        Engine::Docker => (docker::daemon()?, podman::daemon()?),
        Engine::Podman => (podman::daemon()?, docker::daemon()?),
    };
    own.stop()?;
    if !other.is_running() {
        registry::daemon()?.stop()?;
    }
    Ok(())
}

impl Held {
    /// Where the engine's API is, as `DOCKER_HOST` wants it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or_default()
    }

    /// Lets everything go on without us.
    pub fn leave_running(mut self) {
        self.started.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for daemon in self.started.iter().rev() {
            if let Err(error) = daemon.stop() {
                say::line(&format!("  {error:#}"));
            }
        }
    }
}

/// Where a service keeps everything.
fn folder_named(name: &str) -> Result<PathBuf> {
    let folder = build::target_dir()?.join("services").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn folder(engine: Engine) -> Result<PathBuf> {
    folder_named(match engine {
        Engine::Docker => "docker",
        Engine::Podman => "podman",
    })
}

/// One at a time starts and stops services; the lock goes with the file.
fn turn() -> Result<File> {
    let path = folder_named("")?.join("lock");
    // Root may have made it, for a user who may only read it: that is enough to wait for.
    let file = File::open(&path).or_else(|_missing| File::create(&path));
    let file = file.with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().context("cannot wait for our turn with the services")?;
    Ok(file)
}

/// The end of a file that a service logs to.
fn log_tail(path: &Path) -> String {
    say::tail(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
}
