//! Tries every wall of a runner: each attempt in a runner of its own, with one wall alone, so that
//! no wall takes the credit of another.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache;
use super::cgroup::Room;
use super::pool::{Reaper, start};
use super::session::{Lost, Session};
use crate::sandbox::protocol::{Attempt, Done, Event, Request, Standing, Wall, Walls};

/// How long one attempt may take.
const WALL: Duration = Duration::from_secs(30);

/// What the probe of output bytes may write.
const OUTPUT_BYTES: u64 = 4096;

/// Room of the probes of a cgroup, and how far they go beyond it.
const ROOM: Room = Room { memory_bytes: 64 * 1024 * 1024, threads: 16 };
const BEYOND_BYTES: u64 = 512 * 1024 * 1024;
const BEYOND_THREADS: u64 = 64;

/// Signals by which a wall ends a runner.
const SIGKILL: i32 = 9;
const SIGXFSZ: i32 = 25;
const SIGSYS: i32 = 31;

/// What was tried of one wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// As policy calls it where it is a choice; else `limits`, `privileges` or `environment`.
    pub wall: &'static str,
    /// What a runner says of it.
    pub standing: Standing,
    /// Each attempt: its name, whether the wall held, and what was seen.
    pub attempts: Vec<(&'static str, bool, String)>,
}

impl Tried {
    /// It stands, and nothing got past it.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.standing, Standing::Holds(_)) && self.attempts.iter().all(|(_, held, _)| *held)
    }
}

/// Tries all walls, with runners of this binary.
///
/// # Errors
/// A runner cannot be started, or the place to listen at cannot be had.
pub async fn probe(runner_exe: &Path, cgroups: &[PathBuf]) -> io::Result<Vec<Tried>> {
    let probe = Probe { runner_exe, cgroups, reaper: Reaper::start() };
    let name = format!("helixmcp-doctor-{}", std::process::id());
    // Somebody must listen, or the kernel says so before it asks a wall.
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let walls = probe.walls().await?;
    let landlock = landlock(&walls.landlock, name);
    let always = |how: &str| Standing::Holds(how.to_owned());
    Ok(vec![
        probe.wall("landlock", Some(Wall::Landlock), walls.landlock, landlock).await?,
        probe.wall("seccomp", Some(Wall::Seccomp), walls.seccomp, seccomp()).await?,
        probe.cgroup().await?,
        probe.wall("limits", None, always("of output bytes and memory"), limits()).await?,
        probe.wall("privileges", None, always("none"), vec![("change_root", Attempt::ChangeRoot)]).await?,
        probe.wall("environment", None, always("empty"), vec![("read", Attempt::ReadEnvironment)]).await?,
    ])
}

type Attempts = Vec<(&'static str, Attempt)>;

/// What this kernel's Landlock is to refuse, by what it says that it reaches.
fn landlock(standing: &Standing, name: String) -> Attempts {
    let mut attempts = vec![
        ("open_file", Attempt::OpenFile),
        ("write_file", Attempt::WriteFile),
        ("list_folder", Attempt::ListFolder),
        ("execute", Attempt::Execute),
        ("trace_parent", Attempt::TraceParent),
    ];
    let reach = match standing {
        Standing::Holds(reach) => reach.split("; not ").next().unwrap_or_default(),
        Standing::Missing(_) => "",
    };
    if reach.contains("TCP") {
        attempts.extend([("bind_tcp", Attempt::BindTcp), ("connect_tcp", Attempt::ConnectTcp)]);
    }
    if reach.contains("abstract") {
        attempts.extend([
            ("connect_abstract", Attempt::ConnectAbstract { name }),
            ("signal_parent", Attempt::SignalParent),
        ]);
    }
    attempts
}

fn seccomp() -> Attempts {
    vec![
        ("open_file", Attempt::OpenFile),
        ("list_folder", Attempt::ListFolder),
        ("unix_socket", Attempt::UnixSocket),
        ("internet_socket", Attempt::InternetSocket),
        ("bind_tcp", Attempt::BindTcp),
        ("execute", Attempt::Execute),
        ("fork", Attempt::Fork),
        ("signal_parent", Attempt::SignalParent),
        ("trace_parent", Attempt::TraceParent),
        ("io_uring", Attempt::IoUring),
        ("share_memory", Attempt::ShareMemory),
        ("grow_memory_down", Attempt::GrowMemoryDown),
        ("new_code", Attempt::NewCode),
        ("change_root", Attempt::ChangeRoot),
    ]
}

fn limits() -> Attempts {
    vec![
        ("write_beyond", Attempt::WriteBeyond { limit_bytes: OUTPUT_BYTES }),
        ("allocate_beyond", Attempt::AllocateBeyond),
    ]
}

struct Probe<'a> {
    runner_exe: &'a Path,
    cgroups: &'a [PathBuf],
    reaper: Reaper,
}

impl Probe<'_> {
    /// What a runner for guests says of its walls.
    async fn walls(&self) -> io::Result<Walls> {
        Ok(self.start(&["runner"]).await.map_err(io::Error::other)?.walls().clone())
    }

    async fn wall(
        &self,
        name: &'static str,
        alone: Option<Wall>,
        standing: Standing,
        wanted: Attempts,
    ) -> io::Result<Tried> {
        let mut attempts = Vec::new();
        if matches!(standing, Standing::Holds(_)) {
            for (what, attempt) in wanted {
                let (held, seen) = self.attempt(alone, attempt, false).await?;
                attempts.push((what, held, seen));
            }
        }
        Ok(Tried { wall: name, standing, attempts })
    }

    /// The cgroup is built here, so here it is seen whether that can be done.
    async fn cgroup(&self) -> io::Result<Tried> {
        let tried = |standing, attempts| Tried { wall: "cgroup", standing, attempts };
        let session = self.start(&["runner", "probe"]).await.map_err(io::Error::other)?;
        match session.enclosed(self.cgroups, ROOM) {
            Ok(_session) => {}
            Err(error) => return Ok(tried(Standing::Missing(error.to_string()), Vec::new())),
        }
        let memory = self.attempt(None, Attempt::UseMemory { bytes: BEYOND_BYTES }, true).await?;
        let threads = self.attempt(None, Attempt::StartThreads { count: BEYOND_THREADS }, true).await?;
        let attempts = vec![("use_memory", memory.0, memory.1), ("start_threads", threads.0, threads.1)];
        Ok(tried(Standing::Holds("memory and threads".to_owned()), attempts))
    }

    async fn start(&self, words: &[&str]) -> Result<Session, Lost> {
        let (process, stream) = start(self.runner_exe, words, &self.reaper).map_err(Lost::Start)?;
        Session::begin(process, stream).await
    }

    /// Whether an attempt was refused, and what was seen.
    async fn attempt(
        &self,
        alone: Option<Wall>,
        attempt: Attempt,
        enclosed: bool,
    ) -> io::Result<(bool, String)> {
        let mut words = vec!["runner", "probe"];
        words.extend(alone.map(Wall::name));
        let mut session = self.start(&words).await.map_err(io::Error::other)?;
        if enclosed {
            session = session.enclosed(self.cgroups, ROOM)?;
        }
        match tokio::time::timeout(WALL, ask(&mut session, attempt)).await {
            Ok(Ok((refused, how))) => Ok((refused, how)),
            Ok(Err(Lost::Died { signal: Some(signal), .. })) => Ok(ended_by(signal)),
            // Another program took its place, and knows nothing of probes.
            Ok(Err(other)) => Ok((false, other.to_string())),
            Err(_elapsed) => Ok((false, "it gave no answer in time".to_owned())),
        }
    }
}

async fn ask(session: &mut Session, attempt: Attempt) -> Result<(bool, String), Lost> {
    let file = cache::empty().map_err(Lost::Output)?;
    let mut files = Vec::new();
    if matches!(attempt, Attempt::WriteBeyond { .. }) {
        files.push(file.as_fd());
    }
    session.send(&Request::Probe { attempt }, &files).await?;
    match session.next().await? {
        Event::Done(done) => match *done {
            Done::Probed { refused, how } => Ok((refused, how)),
            Done::Fault { message } => Ok((false, message)),
            _ => Err(Lost::OutOfTurn),
        },
        _ => Err(Lost::OutOfTurn),
    }
}

/// Walls that end a process do it by one of three signals.
fn ended_by(signal: i32) -> (bool, String) {
    let names = BTreeMap::from([(SIGKILL, "SIGKILL"), (SIGXFSZ, "SIGXFSZ"), (SIGSYS, "SIGSYS")]);
    match names.get(&signal) {
        Some(name) => (true, format!("the runner was ended by {name}")),
        None => (false, format!("the runner died of signal {signal}")),
    }
}
