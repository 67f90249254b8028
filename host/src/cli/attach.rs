//! Finds the home's host, or starts one in the background, and connects to it.

#![expect(
    clippy::disallowed_methods,
    reason = "a door: the host in the background is started here, and its log"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::home::Home;
use super::host::READY;
use super::output::{self, EXIT_BUSY, Told};
use super::settings::Settings;
use crate::artifacts::real;
use crate::mcp::admin::Status;
use crate::mcp::client::Client;

/// How long a host may take until it listens: it checks and compiles its toolpacks first, and
/// takes over what an earlier host left.
const START_MAX: Duration = Duration::from_secs(120);

/// How often we look whether a host that somebody else is starting listens yet, or one that
/// leaves is gone. There is nothing to wait on: it is not our child.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

const LOG: &str = "host.log";

/// A log that is longer is put aside before the next host starts.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How much of the log is shown when a host dies at its start.
const LOG_TAIL_BYTES: u64 = 2 * 1024;

/// A client of the home's host, which is started if there is none.
///
/// # Errors
/// When no host can be reached.
pub async fn client(settings: &Settings) -> anyhow::Result<Client> {
    let home = Home::open_or_make(&settings.home)?;
    let until = Instant::now() + START_MAX;
    let mut may_replace = true;
    loop {
        let client = match running(&home).await? {
            Some(client) => client,
            None => {
                start(&home, settings, until).await?;
                continue;
            }
        };
        let Ok(status) = client.status().await else {
            // It left between our connecting and our asking.
            give_up_after(until)?;
            sleep(LOOK_AGAIN).await;
            continue;
        };
        if settings.names_policy {
            same_policy(&status, settings)?;
        }
        if status.version == env!("CARGO_PKG_VERSION") || !may_replace {
            return Ok(client);
        }
        may_replace = false;
        let drained = client.drain().await;
        if !drained.is_ok_and(|drained| drained.leaving) {
            let note = format!(
                "the host in the background is version {} and busy; this is {}. Stop it with `kill {}` to replace it now.",
                status.version,
                env!("CARGO_PKG_VERSION"),
                status.pid
            );
            say(&note);
            return Ok(client);
        }
        client.close().await;
        gone(&home, until).await?;
    }
}

/// A client of the host that runs now, if one does.
///
/// # Errors
/// When something listens and is no host.
pub async fn running(home: &Home) -> anyhow::Result<Option<Client>> {
    match home.connect().await? {
        Some(stream) => match Client::over(stream).await {
            Ok(client) => Ok(Some(client)),
            // A host that just leaves accepts no more.
            Err(error) => {
                tracing::debug!(%error, "no handshake");
                Ok(None)
            }
        },
        None => Ok(None),
    }
}

/// Has the host that runs now, if one does, read its policy again before this returns; what the
/// host has against the new one is the answer.
///
/// # Errors
/// When the host cannot be asked.
pub async fn reload(settings: &Settings) -> anyhow::Result<Option<String>> {
    let Some(home) = Home::open(&settings.home)? else { return Ok(None) };
    let Some(client) = running(&home).await? else { return Ok(None) };
    same_policy(&client.status().await?, settings)?;
    let reloaded = client.reload().await?;
    client.close().await;
    Ok(reloaded.problem)
}

/// Whether the host that runs now, if one does, obeys the policy file that a command is about to
/// change.
///
/// # Errors
/// When it obeys another, or cannot be asked.
pub async fn obeys(settings: &Settings) -> anyhow::Result<()> {
    let Some(home) = Home::open(&settings.home)? else { return Ok(()) };
    let Some(client) = running(&home).await? else { return Ok(()) };
    let status = client.status().await?;
    client.close().await;
    same_policy(&status, settings)
}

/// A host obeys one policy for all, so a command that goes by another file is told so.
fn same_policy(status: &Status, settings: &Settings) -> anyhow::Result<()> {
    if is_same_policy(status, settings) {
        return Ok(());
    }
    Err(Told::arguments(format!(
        "the host that runs for {} obeys {}, and this command goes by {}: name that file with --policy, \
         or stop the host with `kill {}` first",
        settings.home.display(),
        status.policy_file,
        settings.policy_file.display(),
        status.pid,
    )))
}

/// Whether the host obeys the file that a command goes by.
#[must_use]
pub fn is_same_policy(status: &Status, settings: &Settings) -> bool {
    let (theirs, ours) = (&status.policy_file, &settings.policy_file);
    // What is no UTF-8 reads the same on both sides, and leads nowhere.
    *theirs == ours.display().to_string() || real(Path::new(theirs)) == real(ours)
}

/// A bare connection to the home's host, for a relay.
///
/// # Errors
/// As [`client`].
pub async fn stream(settings: &Settings) -> anyhow::Result<UnixStream> {
    // Finds or starts the right host; the relay then has a connection of its own.
    let client = client(settings).await?;
    let home = Home::open_or_make(&settings.home)?;
    let stream = home.connect().await?.context("the host left at this very moment; try again")?;
    client.close().await;
    Ok(stream)
}

/// Calls a host tool and gives the structured part of its answer.
///
/// # Errors
/// A failure of the tool, with the exit code that says whose turn it is.
pub async fn call(settings: &Settings, tool: &str, arguments: Map<String, Value>) -> anyhow::Result<Value> {
    let client = client(settings).await?;
    let result = client.call(tool, arguments, None, &CancellationToken::new()).await.map_err(Told::from)?;
    client.close().await;
    output::value(result)
}

/// Starts a host in the background and waits until somebody listens.
async fn start(home: &Home, settings: &Settings, until: Instant) -> anyhow::Result<()> {
    let log = open_log(home.path())?;
    let from = log.metadata()?.len();
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let mut child = Command::new(exe)
        .arg("--home")
        .arg(home.path())
        .arg("--policy")
        .arg(&settings.policy_file)
        .args(["host", "--background"])
        // Everything it needs is in its arguments: what else its starter has in its environment,
        // keys of other services among it, is not to be kept for as long as a host lives.
        .env_clear()
        .envs(settings.log.iter().map(|filter| ("HELIXMCP_LOG", filter)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start a host")?;
    let stdout = child.stdout.take().context("a host without stdout")?;
    let mut said = String::new();
    let spoke = timeout_at(until, BufReader::new(stdout).read_line(&mut said)).await;
    match spoke {
        Ok(_) if said.trim_end() == READY => return Ok(()),
        Ok(_) => {}
        Err(_elapsed) => bail!(
            "the host did not listen within {} s; see {}",
            START_MAX.as_secs(),
            home.path().join(LOG).display()
        ),
    }
    let ended = child.wait().await.context("the host ended, and nobody knows how")?;
    if ended.code() == Some(i32::from(EXIT_BUSY)) {
        // Somebody else starts one, or one is just leaving.
        give_up_after(until)?;
        sleep(LOOK_AGAIN).await;
        return Ok(());
    }
    let tail = tail(&home.path().join(LOG), from);
    bail!("the host could not start ({ended}):\n{}", output::visible(&tail))
}

/// Until a host that said it would leave holds the home no longer.
async fn gone(home: &Home, until: Instant) -> anyhow::Result<()> {
    while let super::home::Locked::Theirs = home.lock()? {
        give_up_after(until)?;
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

fn give_up_after(until: Instant) -> anyhow::Result<()> {
    if Instant::now() >= until {
        bail!("no host answered within {} s", START_MAX.as_secs());
    }
    Ok(())
}

fn open_log(home: &Path) -> anyhow::Result<File> {
    let path = home.join(LOG);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(&path, home.join("host.log.1"))?;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    log.with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines that were written after `from`.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut log = File::open(path)?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        log.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_default()
}

/// A note for people, on stderr.
pub fn say(note: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "helixmcp: {}", output::visible(note)).is_err();
}
