//! The host of a world: started, told, killed, gone.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::World;
use super::built::{binary, faulty_binary};
use crate::wait;

/// How long a host may take to answer on its socket, on a machine that is busy with other tests.
const HOST_READY_WITHIN: Duration = Duration::from_secs(60);

impl World {
    /// Writes the policy and starts the host, and waits until it listens.
    ///
    /// # Errors
    /// It ends or does not listen in time; its log.
    pub fn start(&mut self) -> Result<()> {
        self.write_policy()?;
        self.start_host()
    }

    /// Starts the host with the policy that lies there.
    ///
    /// # Errors
    /// It ends or does not listen in time; its log.
    pub fn start_host(&mut self) -> Result<()> {
        let mut host = self.spawn_host()?;
        let socket = self.home().join("host.sock");
        let ready = wait::until(HOST_READY_WITHIN, || {
            let ended = host.try_wait().is_ok_and(|status| status.is_some());
            (ended || UnixStream::connect(&socket).is_ok()).then_some(!ended)
        });
        self.host = Some(host);
        match ready {
            Some(true) => Ok(()),
            Some(false) => bail!("the host ended:\n{}", self.log()),
            None => bail!("the host does not listen:\n{}", self.log()),
        }
    }

    /// Asks the host to read its policy now, and not at its next look.
    ///
    /// # Errors
    /// No host is running.
    pub fn reload(&self) -> Result<()> {
        let pid = self.host_pid().context("no host is running")?.to_string();
        let told = Command::new("kill").args(["-HUP", &pid]).status()?;
        ensure!(told.success(), "the host could not be told");
        Ok(())
    }

    /// Starts the host and says whether it came to listen; else it has ended.
    ///
    /// # Errors
    /// It cannot be started, or does neither.
    pub fn try_start_host(&mut self) -> Result<bool> {
        match self.start_host() {
            Ok(()) => Ok(true),
            Err(_) if !self.host_alive() => {
                self.host = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Starts the host and kills it a moment later, wherever it has come to by then.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_and_kill_host(&mut self, after: Duration) -> Result<()> {
        self.host = Some(self.spawn_host()?);
        std::thread::sleep(after);
        self.kill_host()
    }

    fn spawn_host(&self) -> Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = match (&self.fault, self.descriptors_max) {
            (None, None) => self.command(&["host"])?,
            (Some(fault), _) => {
                let mut command = self.command_of(&faulty_binary()?, &["host", "--home"]);
                command.arg(self.home()).env("HELIXMCP_FAULTS", fault);
                command
            }
            (None, Some(most)) => {
                let mut command = self.command_of(Path::new("sh"), &[]);
                command.args(["-c", &format!("ulimit -n {most} && exec \"$0\" --home \"$1\" host")]);
                command.arg(binary()?).arg(self.home());
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.envs(self.log_level.iter().map(|filter| ("HELIXMCP_LOG", filter)));
        command.spawn().context("cannot start the host")
    }

    /// Kills the host at once, as a power cut would.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill_host(&mut self) -> Result<()> {
        let mut host = self.host.take().context("no host is running")?;
        host.kill()?;
        host.wait()?;
        // A child that it was starting at that very moment holds its socket until it runs a program of
        // its own; who connects meanwhile takes it for the next host's.
        let socket = self.home().join("host.sock");
        let refused = || UnixStream::connect(&socket).is_err().then_some(());
        wait::until(HOST_READY_WITHIN, refused).context("somebody listens for a host that was killed")
    }

    /// Sends the host a signal, e.g. `TERM`.
    ///
    /// # Errors
    /// It was not running.
    pub fn signal_host(&self, signal: &str) -> Result<()> {
        let pid = self.host_pid().context("no host is running")?.to_string();
        ensure!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status()?.success(),
            "no host to signal"
        );
        Ok(())
    }

    /// Waits until the host has left by itself.
    ///
    /// # Errors
    /// It was not running, or stays.
    pub fn host_left(&mut self, within: Duration) -> Result<ExitStatus> {
        let host = self.host.as_mut().context("no host is running")?;
        let status = wait::until(within, || host.try_wait().ok().flatten());
        let status = status.with_context(|| format!("the host stays:\n{}", self.log()))?;
        self.host = None;
        Ok(status)
    }

    /// Takes note that the host has ended by itself.
    pub fn forget_host(&mut self) {
        if let Some(mut host) = self.host.take() {
            drop(host.wait());
        }
    }

    pub fn host_pid(&self) -> Option<u32> {
        self.host.as_ref().map(Child::id)
    }

    /// Whether the host is alive.
    pub fn host_alive(&mut self) -> bool {
        self.host.as_mut().is_some_and(|host| host.try_wait().is_ok_and(|status| status.is_none()))
    }
}

/// Ends every process that was started for this home alone, such as a host in the background.
pub fn end_processes_of(home: &Path) {
    let home = home.as_os_str().as_encoded_bytes();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        if is_process && words.split(|byte| *byte == 0).any(|word| word == home) {
            // It may have ended meanwhile.
            drop(Command::new("kill").args(["-9", &name]).status());
        }
    }
}
