//! Starts runners: one ahead of need, and no more at work than policy allows.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::session::{Lost, Process, Session};

/// How long a runner may take to say hello.
const START_WALL: Duration = Duration::from_secs(30);

type Started = io::Result<(Process, UnixStream)>;

/// Runners, started ahead.
///
/// A thread of its own starts them: a runner is told to die with the thread that made it, and
/// this one lives as long as the pool. One start is always under way or done, so that the next
/// request finds a runner that is ready (a start costs some milliseconds).
pub struct Pool {
    orders: mpsc::Sender<()>,
    ready: Mutex<tokio::sync::mpsc::UnboundedReceiver<Started>>,
    /// A runner that has said hello and has no work yet.
    spare: Mutex<Option<Session>>,
    engine: OnceCell<String>,
    at_work: Arc<Semaphore>,
    reaper: Reaper,
}

impl Pool {
    pub fn new(runner_exe: PathBuf, runners_max: usize) -> Self {
        let (orders, ordered) = mpsc::channel::<()>();
        let (started, ready) = tokio::sync::mpsc::unbounded_channel();
        let reaper = Reaper::start();
        let thread_reaper = reaper.clone();
        let start = move || {
            for () in ordered {
                if started.send(start(&runner_exe, &thread_reaper)).is_err() {
                    return;
                }
            }
        };
        // Without its thread the pool gives an error to whoever takes from it.
        drop(std::thread::Builder::new().name("runners".into()).spawn(start));
        orders.send(()).ok();
        Self {
            orders,
            ready: Mutex::new(ready),
            spare: Mutex::new(None),
            engine: OnceCell::new(),
            at_work: Arc::new(Semaphore::new(runners_max.max(1))),
            reaper,
        }
    }

    /// Process ids of all runners that live or are not reaped yet.
    pub fn processes(&self) -> Vec<u32> {
        self.reaper.processes().iter().copied().collect()
    }

    /// A runner for one request, when there is room for one more.
    pub async fn take(&self) -> Result<Session, Lost> {
        let permit = Arc::clone(&self.at_work).acquire_owned().await;
        let permit = permit.map_err(|closed| Lost::Start(io::Error::other(closed)))?;
        let spare = self.spare.lock().await.take();
        let mut session = match spare.and_then(Session::if_alive) {
            Some(session) => session,
            None => self.next().await?,
        };
        session.hold(permit);
        Ok(session)
    }

    /// What runners compile for: the first one says so.
    pub async fn engine(&self) -> Result<String, Lost> {
        let ask = || async {
            let mut spare = self.spare.lock().await;
            let session = self.next().await?;
            let engine = session.engine.clone();
            *spare = Some(session);
            Ok(engine)
        };
        self.engine.get_or_try_init(ask).await.cloned()
    }

    /// The runner that was started ahead, and an order for the next.
    async fn next(&self) -> Result<Session, Lost> {
        loop {
            let started = self.ready.lock().await.recv().await;
            self.orders.send(()).ok();
            let started = started.ok_or_else(|| Lost::Start(io::Error::other("the thread is gone")))?;
            let (mut process, stream) = started.map_err(Lost::Start)?;
            // One that died while it waited says nothing about the request.
            if process.ended().is_none() {
                let begun = tokio::time::timeout(START_WALL, Session::begin(process, stream)).await;
                let late = |elapsed| Lost::Start(io::Error::new(io::ErrorKind::TimedOut, elapsed));
                return begun.map_err(late)?;
            }
        }
    }
}

/// Starts one runner: no environment, `/` as its folder, its socket as standard input, and
/// nothing to write to (invariant I-3).
#[expect(clippy::disallowed_methods, reason = "the door through which runners start")]
fn start(runner_exe: &Path, reaper: &Reaper) -> Started {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(runner_exe)
        .arg0("helixmcp")
        .arg("runner")
        .env_clear()
        // Keys pressed at the host's terminal are the host's to answer.
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    reaper.processes().insert(child.id());
    Ok((Process::new(child, reaper.clone()), ours))
}

/// Waits for killed runners on a thread of its own, so that none stays as a zombie and nobody
/// waits for the kernel to take back a guest's memory.
#[derive(Clone)]
pub struct Reaper {
    killed: mpsc::Sender<Child>,
    processes: Arc<std::sync::Mutex<BTreeSet<u32>>>,
}

impl Reaper {
    fn start() -> Self {
        let (sender, killed) = mpsc::channel::<Child>();
        let reaper = Self { killed: sender, processes: Arc::default() };
        let processes = Arc::clone(&reaper.processes);
        let reap = move || {
            for mut child in killed {
                drop(child.wait());
                processes.lock().unwrap_or_else(PoisonError::into_inner).remove(&child.id());
            }
        };
        drop(std::thread::Builder::new().name("reaper".into()).spawn(reap));
        reaper
    }

    fn processes(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn reap(&self, child: Child) {
        // Without its thread there is nothing better than to wait here.
        if let Err(mpsc::SendError(mut child)) = self.killed.send(child) {
            drop(child.wait());
            self.processes().remove(&child.id());
        }
    }
}
