//! A process of ours in the background, known by its pid and its start time: a pid alone may be
//! another's by the time we signal it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use helix_tests::wait;
use rustix::process::{Pid, Signal, kill_process};

use super::log_tail;
use crate::{machine, say};

/// How long a service may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to end after it was asked to; dockerd ends its containers first.
const END_WITHIN: Duration = Duration::from_secs(30);

/// A service that we start and stop.
pub struct Daemon {
    name: &'static str,
    folder: PathBuf,
}

/// A process, as of when we looked.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    started: u64,
}

impl Daemon {
    /// The service of this name, whose files lie in this folder.
    pub fn new(name: &'static str, folder: PathBuf) -> Self {
        Self { name, folder }
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the process that we started is alive.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Starts it and waits until `ready`.
    ///
    /// # Errors
    /// It ends or does not answer in time; the end of its log.
    pub fn start(&self, command: &mut Command, ready: impl Fn() -> bool) -> Result<()> {
        say::step(&format!("start {}", self.name), || {
            let log = self.log();
            let out = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
            let err = out.try_clone()?;
            // A group of its own: Ctrl-C at the terminal is for us, not for it.
            command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
            let name = say::shown(command);
            let mut child = command.spawn().with_context(|| format!("cannot run `{name}`"))?;
            let process = i32::try_from(child.id()).ok().and_then(Process::of);
            let process = process.with_context(|| format!("`{name}` ended\n{}", log_tail(&log)))?;
            fs::write(self.pid_file(), format!("{} {}\n", process.pid, process.started))?;
            let state = wait::until(READY_WITHIN, || {
                let ended = child.try_wait().is_ok_and(|status| status.is_some());
                (ended || ready()).then_some(!ended)
            });
            if state == Some(true) {
                return Ok(());
            }
            let told = log_tail(&log);
            self.stop()?;
            bail!("`{name}` {}:\n{told}", if state.is_none() { "does not answer" } else { "ended" });
        })
    }

    /// Asks it to end, waits for that, and ends what it left behind.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn stop(&self) -> Result<()> {
        if let Some(process) = self.process() {
            say::step(&format!("stop {} (pid {})", self.name, process.pid), || {
                process.signal(Signal::TERM)?;
                if wait::until(END_WITHIN, || process.has_ended().then_some(())).is_none() {
                    process.signal(Signal::KILL)?;
                    wait::until(END_WITHIN, || process.has_ended().then_some(()))
                        .with_context(|| format!("{} survives a SIGKILL", self.name))?;
                }
                Ok(())
            })?;
        }
        self.sweep();
        if self.pid_file().exists() {
            fs::remove_file(self.pid_file()).context("cannot remove a pid file")?;
        }
        Ok(())
    }

    /// Ends processes that name our folder: what serves containers for a dockerd outlives its kill.
    fn sweep(&self) {
        let folder = format!("{}/", self.folder.display());
        for process in processes().filter(|process| process.is_of(&folder)) {
            say::line(&format!("  {} left pid {}: killed", self.name, process.pid));
            // It may have ended meanwhile.
            drop(process.signal(Signal::KILL));
        }
    }

    fn process(&self) -> Option<Process> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let process = Process { pid: pid.parse().ok()?, started: started.parse().ok()? };
        (!process.has_ended()).then_some(process)
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("started.pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Process {
    /// A process that is alive.
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; state is the first field after it, start the 20th.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_alive = !matches!(fields.next()?, "Z" | "X");
        let started = fields.nth(18)?.parse().ok()?;
        is_alive.then_some(Self { pid, started })
    }

    fn has_ended(self) -> bool {
        Self::of(self.pid) != Some(self)
    }

    fn signal(self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid).context("no pid")?;
        if self.has_ended() {
            return Ok(());
        }
        kill_process(pid, signal).with_context(|| format!("cannot signal pid {}", self.pid))
    }

    /// Whether a file below this folder is among its arguments.
    fn is_of(self, folder: &str) -> bool {
        let words = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let program = words.next().unwrap_or_default();
        let is_server = SERVERS.contains(&program.rsplit('/').next().unwrap_or_default());
        is_server && words.any(|word| word.contains(folder))
    }
}

/// What dockerd and podman start and may leave: an editor that has our log open is none of these.
const SERVERS: [&str; 5] =
    ["containerd", "containerd-shim-runc-v2", "containerd-shim", "conmon", "docker-proxy"];

fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?))
}

/// A program on the PATH or where administrators' programs lie.
pub fn program(name: &str) -> Option<PathBuf> {
    let elsewhere = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    machine::program(name).or_else(|| elsewhere.into_iter().find(|file| file.is_file()))
}

/// Programs of Debian packages, which are installed if one is missing.
///
/// # Errors
/// They cannot be installed; the line to type.
pub fn programs<const N: usize>(why: &str, packages: &[&str], names: [&str; N]) -> Result<[PathBuf; N]> {
    if names.iter().any(|name| program(name).is_none()) {
        machine::apt_install_now(why, packages)?;
    }
    let mut found = Vec::new();
    for name in names {
        let program = program(name);
        found.push(program.with_context(|| format!("no {name} although {packages:?} is installed"))?);
    }
    found.try_into().map_err(|_count| anyhow::anyhow!("not as many programs as names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeping(folder: &Path) -> Daemon {
        let daemon = Daemon::new("sleep", folder.to_owned());
        daemon.start(Command::new("sleep").arg("60"), || true).unwrap();
        daemon
    }

    #[test]
    fn what_was_started_is_stopped_by_its_pid() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = sleeping(folder.path());
        let process = daemon.process().unwrap();
        daemon.stop().unwrap();
        assert!(process.has_ended());
        assert!(!daemon.is_running());
    }

    #[test]
    fn a_pid_that_another_process_has_now_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = sleeping(folder.path());
        let process = daemon.process().unwrap();
        fs::write(daemon.pid_file(), format!("{} {}\n", process.pid, process.started + 1)).unwrap();
        daemon.stop().unwrap();
        assert!(!process.has_ended());
        process.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn a_service_that_ends_at_once_is_an_error_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::new("sh", folder.path().to_owned());
        let error =
            daemon.start(Command::new("sh").args(["-c", "echo no luck; exit 3"]), || false).unwrap_err();
        assert!(format!("{error:#}").contains("no luck"), "{error:#}");
    }
}
