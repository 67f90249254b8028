//! The Docker API of podman, on a socket in our folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::daemon::{Daemon, program, programs};
use super::docker::{endpoint, is_docker};
use super::{Engine, REGISTRY, folder};
use crate::say;

/// The one that we start.
pub fn daemon() -> Result<Daemon> {
    Ok(Daemon::new("podman", folder(Engine::Podman)?))
}

/// Starts it unless it answers; gives its endpoint, and it if it was started.
///
/// # Errors
/// It cannot be installed or started; what to type, or the end of its log.
pub fn ensure() -> Result<(String, Option<Daemon>)> {
    let daemon = daemon()?;
    let socket = daemon.folder().join("podman.sock");
    if is_docker(&socket) {
        say::line(&format!("  ok     podman answers at {}", socket.display()));
        return Ok((endpoint(&socket), None));
    }
    // runc: crun refuses cgroups that are half v1 and half v2, as some machines still have them.
    // tini: what the API's `Init` starts.
    let packages = ["podman", "runc", "tini"];
    let [podman, _, _, init] =
        programs("running containers with podman", &packages, ["podman", "runc", "conmon", "tini-static"])?;
    settings(daemon.folder(), &init)?;
    let mut command = Command::new(podman);
    command.env("CONTAINERS_CONF", daemon.folder().join("containers.conf"));
    command.env("CONTAINERS_REGISTRIES_CONF", daemon.folder().join("registries.conf"));
    command.arg("--root").arg(daemon.folder().join("data"));
    command.arg("--runroot").arg(daemon.folder().join("exec"));
    command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--log-level", "warn"]);
    command.args(["system", "service", "--time", "0"]).arg(endpoint(&socket));
    if socket.exists() {
        fs::remove_file(&socket).context("cannot remove a socket that nobody listens on")?;
    }
    daemon.start(&mut command, || is_docker(&socket))?;
    Ok((endpoint(&socket), Some(daemon)))
}

fn settings(folder: &Path, init: &Path) -> Result<()> {
    let runc = program("runc").context("no runc")?;
    // Its own default limits lie above what this process may raise them to.
    let containers = format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\ninit_path = {init:?}\n\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"runc\"\nevents_logger = \"file\"\n\n\
         [engine.runtimes]\nrunc = [{runc:?}]\n"
    );
    fs::write(folder.join("containers.conf"), containers).context("cannot write podman's settings")?;
    let registries = format!(
        "unqualified-search-registries = []\n\n[[registry]]\nlocation = \"{REGISTRY}\"\ninsecure = true\n"
    );
    fs::write(folder.join("registries.conf"), registries).context("cannot write podman's settings")
}
