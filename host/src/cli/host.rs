//! `helixmcp host`: the one process that owns a home and serves everybody who connects.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::home::{Home, Locked};
use super::output::{EXIT_BUSY, Told};
use super::settings::Settings;
use crate::call::{Host, HostSettings};
use crate::mcp::{self, Control};

/// What a background host says on its stdout once it listens; [`super::attach`] waits for it.
pub const READY: &str = "ready";

/// Connections at once; a client that leaks them harms itself first.
const CONNECTIONS_MAX: usize = 256;

/// How often the policy file is looked at, and whether anybody is still here.
const TICK: Duration = Duration::from_secs(1);

/// How long runs that are under way may go on after SIGTERM. What is left is carried on by the
/// next host; service managers kill after ten seconds.
const GRACE: Duration = Duration::from_secs(7);

/// How long sessions may take to say their last word.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub struct HostArgs {
    /// Started by an attachment: detach, say when ready, leave when idle
    #[arg(long, hide = true)]
    background: bool,
    /// Leave after so many idle seconds; only with --background
    #[arg(long, hide = true, default_value_t = 600)]
    idle_seconds: u64,
}

impl HostArgs {
    /// Whether an attachment started it.
    #[must_use]
    pub fn is_background(&self) -> bool {
        self.background
    }
}

/// Owns the home until it is told to leave.
///
/// # Errors
/// When the home cannot be owned or opened.
pub async fn run(args: &HostArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    if args.background {
        // A terminal that closes must not take the host with it. Fails only for a process that
        // leads its group already, which then has what it wants.
        let _leads_already = rustix::process::setsid().is_err();
    }
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let home = Home::open_or_make(&settings.home)?;
    let lock = match home.lock()? {
        Locked::Ours(lock) => lock,
        Locked::Theirs => {
            let home = home.path().display();
            bail!(Told::error(
                EXIT_BUSY,
                format!("another host owns {home}; `helixmcp doctor` shows its pid")
            ))
        }
    };
    // Registered first, so that a signal while the home opens is not lost.
    let mut signals = Signals::new()?;
    let host = open(&home, settings).await?;
    let listener = home.listen(&lock)?;
    tracing::info!(home = %home.path().display(), version = env!("CARGO_PKG_VERSION"), "the host listens");
    if args.background {
        let mut stdout = std::io::stdout();
        // Whoever started us may be gone; those who come later do not wait for the word.
        let _nobody_waits = writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).is_err();
    }
    let idle = args.background.then(|| Duration::from_secs(args.idle_seconds));
    let mut serving = Serving::new(host, idle);
    serving.until_told_to_leave(&listener, &mut signals).await;
    home.remove_socket(&lock)?;
    drop(listener);
    serving.farewell(&mut signals).await;
    tracing::info!("the host left");
    Ok(ExitCode::SUCCESS)
}

async fn open(home: &Home, settings: &Settings) -> anyhow::Result<Arc<Host>> {
    home.folder("toolpacks")?;
    home.folder("cache")?;
    let settings = HostSettings {
        home: home.path().to_owned(),
        policy_file: settings.policy_file.clone(),
        runner_exe: std::env::current_exe().context("cannot find this program's own file")?,
        cache_key: home.cache_key()?,
    };
    let host = Host::open(settings).await?;
    if !host.policy_file().exists() {
        tracing::warn!("there is no policy, so no toolpack is offered: run `helixmcp init`");
    }
    Ok(host)
}

/// The signals that a host understands.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.terminate.recv() => Signalled::Leave,
            _ = self.interrupt.recv() => Signalled::Leave,
            _ = self.hangup.recv() => Signalled::Reload,
        }
    }

    /// SIGTERM or Ctrl-C.
    async fn leave(&mut self) {
        while !matches!(self.next().await, Signalled::Leave) {}
    }
}

/// What a signal asks for.
enum Signalled {
    Leave,
    Reload,
}

/// A host and its connections.
struct Serving {
    host: Arc<Host>,
    control: Arc<Control>,
    sessions: JoinSet<()>,
    /// Ends every session.
    stop: CancellationToken,
    idle_max: Option<Duration>,
    idle_since: Option<Instant>,
    reloading: JoinSet<()>,
    /// Somebody was turned away, and nobody was taken in since.
    is_full: bool,
}

impl Serving {
    fn new(host: Arc<Host>, idle_max: Option<Duration>) -> Self {
        Self {
            host,
            control: Arc::default(),
            sessions: JoinSet::new(),
            stop: CancellationToken::new(),
            idle_max,
            idle_since: None,
            reloading: JoinSet::new(),
            is_full: false,
        }
    }

    async fn until_told_to_leave(&mut self, listener: &UnixListener, signals: &mut Signals) {
        let leaving = self.control.leaving();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _address)) => self.admit(stream),
                    Err(error) => {
                        // E.g. out of descriptors: the next tick finds room, a hot loop does not.
                        tracing::error!(%error, "a connection could not be accepted");
                        tick.tick().await;
                    }
                },
                _ = tick.tick() => {
                    self.reload();
                    if self.is_idle_for_long() {
                        tracing::info!("nobody was here for long");
                        return;
                    }
                }
                signalled = signals.next() => match signalled {
                    Signalled::Reload => self.reload(),
                    Signalled::Leave => {
                        tracing::info!("told to leave");
                        return;
                    }
                },
                () = leaving.cancelled() => return,
                Some(_ended) = self.sessions.join_next(), if !self.sessions.is_empty() => {}
                Some(_ended) = self.reloading.join_next(), if !self.reloading.is_empty() => {}
            }
        }
    }

    /// Serves a connection of our own user.
    fn admit(&mut self, stream: UnixStream) {
        let me = rustix::process::geteuid().as_raw();
        let uid = match stream.peer_cred() {
            Ok(peer) if peer.uid() == me => peer.uid(),
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "a connection of another user was refused");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection without credentials was refused");
                return;
            }
        };
        if self.sessions.len() >= CONNECTIONS_MAX {
            // Once: whoever knocks in a loop writes no log.
            if !std::mem::replace(&mut self.is_full, true) {
                tracing::warn!(CONNECTIONS_MAX, "too many connections");
            }
            return;
        }
        self.is_full = false;
        let (read, write) = stream.into_split();
        let (host, control) = (Arc::clone(&self.host), Arc::clone(&self.control));
        self.sessions.spawn(mcp::serve(host, control, uid, read, write, self.stop.clone()));
    }

    /// Reads the policy again if it changed. Apart, because new toolpacks are compiled then; one
    /// at a time, because the next tick comes anyway.
    fn reload(&mut self) {
        if !self.reloading.is_empty() {
            return;
        }
        let host = Arc::clone(&self.host);
        let told = host.policy_file().problem();
        self.reloading.spawn(async move {
            match host.reload_policy().await {
                Ok(true) => tracing::info!("the policy was read again"),
                // A file that stays bad is not news a second later.
                Ok(false) => {}
                Err(_) if told.is_some() && told == host.policy_file().problem() => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the policy that was read before stays in force"
                    );
                }
            }
        });
    }

    fn is_idle_for_long(&mut self) -> bool {
        let Some(idle_max) = self.idle_max else { return false };
        if self.control.connections() > 0 || self.host.is_busy() {
            self.idle_since = None;
            return false;
        }
        self.idle_since.get_or_insert_with(Instant::now).elapsed() >= idle_max
    }

    /// Lets runs and sessions end, but not for long; a second signal ends the patience.
    async fn farewell(&mut self, signals: &mut Signals) {
        self.control.leave();
        tokio::select! {
            ended = timeout(GRACE, no_runs(&self.host)) => {
                if ended.is_err() {
                    tracing::warn!(runs = self.host.runs.open(), "runs are left to the next host");
                }
            }
            () = signals.leave() => {}
        }
        self.stop.cancel();
        let ended = async { while self.sessions.join_next().await.is_some() {} };
        let _all_ended = timeout(FAREWELL, ended).await.is_ok();
    }
}

/// Until no run is under way. Looked at now and then: a host that leaves has nothing else to do.
async fn no_runs(host: &Host) {
    let mut tick = interval(Duration::from_millis(50));
    while host.is_busy() {
        tick.tick().await;
    }
}
