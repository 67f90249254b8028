//! dockerd. One that answers on this machine's sockets is used; else ours, which shares nothing
//! with it: no network, no TCP, everything in our folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::daemon::{Daemon, programs};
use super::{Engine, ask, folder};
use crate::{machine, say};

/// The longest path of a Unix socket.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Below the folder of our dockerd, the longest path of a socket that it makes.
const LONGEST_SOCKET: &str = "exec/containerd/containerd.sock.ttrpc";

/// The one that we start.
pub fn daemon() -> Result<Daemon> {
    Ok(Daemon::new("dockerd", folder(Engine::Docker)?))
}

/// Uses a dockerd that answers, else starts one; gives its endpoint, and it if it was started.
///
/// # Errors
/// It cannot be installed or started; what to type, or the end of its log.
pub fn ensure() -> Result<(String, Option<Daemon>)> {
    let daemon = daemon()?;
    let own = daemon.folder().join("docker.sock");
    let mut sockets: Vec<PathBuf> = vec![own.clone()];
    let asked_for = std::env::var("DOCKER_HOST").unwrap_or_default();
    sockets.extend(asked_for.strip_prefix("unix://").map(PathBuf::from));
    sockets.push("/var/run/docker.sock".into());
    if let Some(found) = answering(&sockets) {
        return Ok((found, None));
    }
    if !machine::is_root() {
        let own_path = std::env::current_exe()?;
        bail!(
            "no dockerd answers, and only root can start one. Type:\n\n    sudo {} services docker\n\n\
             and start again",
            own_path.display()
        );
    }
    let why = "running containers";
    let [dockerd, _, _] = programs(why, &["docker.io"], ["dockerd", "containerd", "runc"])?;
    // Where an init system runs, the package starts its own.
    if let Some(found) = answering(&sockets) {
        return Ok((found, None));
    }
    let mut command = command(&dockerd, daemon.folder())?;
    daemon.start(&mut command, || is_docker(&own))?;
    Ok((endpoint(&own), Some(daemon)))
}

fn command(dockerd: &Path, folder: &Path) -> Result<Command> {
    let longest = folder.join(LONGEST_SOCKET);
    ensure!(
        longest.as_os_str().len() <= SOCKET_PATH_BYTES_MAX,
        "{} is too long for the path of a Unix socket: choose a shorter CARGO_TARGET_DIR",
        longest.display()
    );
    // Else dockerd reads the machine's own settings, which may name its socket and data.
    let settings = folder.join("daemon.json");
    fs::write(&settings, "{}").context("cannot write dockerd's settings")?;
    let mut command = Command::new(dockerd);
    command.arg("--config-file").arg(settings);
    command.arg("--data-root").arg(folder.join("data"));
    command.arg("--exec-root").arg(folder.join("exec"));
    command.arg("--pidfile").arg(folder.join("docker.pid"));
    command.arg("--host").arg(endpoint(&folder.join("docker.sock")));
    // No step has a network.
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
    // A containerd of the machine's is used if it runs: then in a corner of its own.
    command
        .args(["--containerd-namespace=helix-xtask", "--containerd-plugins-namespace=helix-xtask-plugins"]);
    command.args(["--shutdown-timeout=5", "--log-level=warn"]);
    // Whoever typed sudo may use it: root's group is the default.
    if let Ok(group) = std::env::var("SUDO_GID") {
        command.args(["--group", &group]);
    }
    Ok(command)
}

fn answering(sockets: &[PathBuf]) -> Option<String> {
    let socket = sockets.iter().find(|socket| is_docker(socket))?;
    say::line(&format!("  ok     dockerd answers at {}", socket.display()));
    Some(endpoint(socket))
}

/// Whether a socket speaks the Docker API for Linux containers.
pub fn is_docker(socket: &Path) -> bool {
    let answer = ask::unix(socket, "/version").unwrap_or_default();
    // `"Os": "linux"`, with or without the space.
    ask::is_ok(&answer) && answer.replace(' ', "").contains(r#""Os":"linux""#)
}

/// A socket as `DOCKER_HOST` wants it.
pub fn endpoint(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}
