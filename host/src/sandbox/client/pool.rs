//! Starts runners: one ahead of need, and no more at work than policy allows.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, MutexGuard, PoisonError, RwLock, mpsc};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell, Semaphore, oneshot};

use super::cgroup::{self, Cgroup, Room};
use super::session::{Lost, Process, Session};
use crate::sandbox::protocol::{Standing, Wall, Walls};

/// How long a runner may take to say hello.
const START_WALL: Duration = Duration::from_secs(30);

/// How long a runner is at work before the next one is started although it is not done.
const AHEAD_AFTER: Duration = Duration::from_millis(20);

/// Runners that may end before they are asked for anything, one after the other: a binary that
/// does not start any more is told, and not started for ever.
const STARTS_MAX: usize = 5;

type Started = io::Result<(Process, UnixStream)>;

/// What must stand around a runner before it hears of a guest, and from what the host builds its
/// part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    pub required: BTreeSet<Wall>,
    /// Folders that the host may divide into cgroups.
    pub cgroups: Vec<PathBuf>,
}

impl Default for Confinement {
    /// What every Linux has.
    fn default() -> Self {
        Self { required: BTreeSet::from([Wall::Seccomp]), cgroups: Vec::new() }
    }
}

impl Confinement {
    /// One that policy gives folders for and cannot be had is no smaller fault than one that it
    /// requires.
    fn wants_cgroup(&self) -> bool {
        !self.cgroups.is_empty() || self.required.contains(&Wall::Cgroup)
    }
}

/// A confinement in force.
#[derive(Default)]
struct Border {
    /// Of this one, among those that were in force one after the other.
    number: u64,
    confinement: Confinement,
    /// Why no runner can be put into a cgroup that policy wants. Tried once: what it wants changes
    /// with the policy only.
    no_cgroup: Option<String>,
}

impl Border {
    fn new(number: u64, confinement: Confinement) -> Self {
        cgroup::sweep(&confinement.cgroups);
        let tried = if confinement.wants_cgroup() { cgroup::trial(&confinement.cgroups) } else { Ok(()) };
        Self { number, confinement, no_cgroup: tried.err().map(|error| error.to_string()) }
    }

    /// Whether a runner's own walls suffice, and the host can build its part.
    fn admit(&self, walls: &Walls) -> Result<(), Lost> {
        for (wall, standing) in [(Wall::Landlock, &walls.landlock), (Wall::Seccomp, &walls.seccomp)] {
            if let Standing::Missing(why) = standing
                && self.confinement.required.contains(&wall)
            {
                return Err(Lost::Unwalled { wall, why: why.clone() });
            }
        }
        match &self.no_cgroup {
            Some(why) => Err(Lost::Unwalled { wall: Wall::Cgroup, why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Puts a runner into its cgroup, where there may be one.
    fn enclose(&self, session: Session, room: Room) -> Result<Session, Lost> {
        if !self.confinement.wants_cgroup() {
            return Ok(session);
        }
        let lost = |error: io::Error| Lost::Unwalled { wall: Wall::Cgroup, why: error.to_string() };
        session.enclosed(&self.confinement.cgroups, room).map_err(lost)
    }
}

/// When the next runner is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// One was taken: one more, once that one has done its work or has had its time.
    Soon,
    /// Whatever was ordered.
    Now,
}

/// Whoever starts runners, told when this is dropped that one is not at work any more.
#[derive(Debug)]
pub struct Ended(mpsc::Sender<Order>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Without its thread nothing is started anyway.
        self.0.send(Order::Now).ok();
    }
}

/// Runners, started ahead.
///
/// A thread of its own starts them: a runner is told to die with the thread that made it, and
/// this one lives as long as the pool. One start is always ordered, under way or done, so that the
/// next request finds a runner that is ready (a start costs some milliseconds).
pub struct Pool {
    orders: mpsc::Sender<Order>,
    ready: Mutex<tokio::sync::mpsc::UnboundedReceiver<Started>>,
    /// A runner that has said hello and has no work yet.
    spare: Mutex<Option<Session>>,
    hello: OnceCell<(String, Walls)>,
    border: RwLock<Arc<Border>>,
    at_work: Arc<Semaphore>,
    reaper: Reaper,
}

impl Pool {
    pub fn new(runner_exe: PathBuf, runners_max: usize) -> Self {
        let (orders, ordered) = mpsc::channel::<Order>();
        let (started, ready) = tokio::sync::mpsc::unbounded_channel();
        let reaper = Reaper::start();
        let thread_reaper = reaper.clone();
        let start = move || {
            while let Some(count) = due(&ordered) {
                for _runner in 0..count {
                    if started.send(start(&runner_exe, &["runner"], &thread_reaper)).is_err() {
                        return;
                    }
                }
            }
        };
        // Without its thread the pool gives an error to whoever takes from it.
        drop(std::thread::Builder::new().name("runners".into()).spawn(start));
        for order in [Order::Soon, Order::Now] {
            orders.send(order).ok();
        }
        Self {
            orders,
            ready: Mutex::new(ready),
            spare: Mutex::new(None),
            hello: OnceCell::new(),
            border: RwLock::default(),
            at_work: Arc::new(Semaphore::new(runners_max.max(1))),
            reaper,
        }
    }

    /// Process ids of all runners that live or are not reaped yet.
    pub fn processes(&self) -> Vec<u32> {
        self.reaper.processes().iter().copied().collect()
    }

    /// From now on, for every runner that is taken.
    pub fn confine(&self, confinement: Confinement) {
        let border = Arc::new(Border::new(self.border().number + 1, confinement));
        *self.border.write().unwrap_or_else(PoisonError::into_inner) = border;
    }

    /// Whether the border that let this runner in is in force still.
    pub fn is_admitted(&self, session: &Session) -> bool {
        self.border().number == session.border()
    }

    fn border(&self) -> Arc<Border> {
        Arc::clone(&self.border.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A runner for one request behind the walls that policy requires, when there is room for one
    /// more.
    pub async fn take(&self, room: Room) -> Result<Session, Lost> {
        let permit = Arc::clone(&self.at_work).acquire_owned().await;
        let permit = permit.map_err(|closed| Lost::Start(io::Error::other(closed)))?;
        let spare = self.spare.lock().await.take();
        let mut session = match spare.and_then(Session::if_alive) {
            Some(session) => session,
            None => self.next().await?,
        };
        let border = self.border();
        session.hold(permit, border.number, Ended(self.orders.clone()));
        border.admit(session.walls())?;
        border.enclose(session, room)
    }

    /// What runners compile for: the first one says so. Policy's walls are asked for here as well:
    /// a component whose compiled form lies in the cache needs no runner to be offered.
    pub async fn engine(&self) -> Result<String, Lost> {
        let ask = || async {
            let mut spare = self.spare.lock().await;
            let session = self.next().await?;
            let hello = (session.engine.clone(), session.walls().clone());
            *spare = Some(session);
            Ok(hello)
        };
        let (engine, walls) = self.hello.get_or_try_init(ask).await?;
        self.border().admit(walls)?;
        Ok(engine.clone())
    }

    /// The runner that was started ahead, and an order for the next.
    async fn next(&self) -> Result<Session, Lost> {
        let mut failed = None;
        for _ in 0..STARTS_MAX {
            let started = {
                let mut ready = self.ready.lock().await;
                let started = match ready.try_recv() {
                    Ok(started) => Some(started),
                    Err(_none_yet) => {
                        self.orders.send(Order::Now).ok();
                        ready.recv().await
                    }
                };
                // Before somebody else asks: there is always one ordered for whoever is next.
                self.orders.send(Order::Soon).ok();
                started
            };
            let started = started.ok_or_else(|| Lost::Start(io::Error::other("the thread is gone")))?;
            let (mut process, stream) = match started {
                Ok(started) => started,
                // Started ahead, maybe when the host was short of something that it has again.
                Err(error) if failed.is_none() => {
                    failed = Some(error);
                    continue;
                }
                Err(error) => return Err(Lost::Start(error)),
            };
            // One that died while it waited says nothing about the request.
            if process.ended().is_none() {
                let begun = tokio::time::timeout(START_WALL, Session::begin(process, stream)).await;
                let late = |elapsed| Lost::Start(io::Error::new(io::ErrorKind::TimedOut, elapsed));
                return begun.map_err(late)?;
            }
        }
        Err(Lost::Start(io::Error::other(format!("{STARTS_MAX} in a row ended at once"))))
    }
}

/// Waits until runners are to be started, and says how many. `None` when nobody orders any more.
///
/// A start costs as much processor time as a short run. Begun with the run, it would slow that down;
/// begun at its end, it falls into the time in which outputs go to the disk.
fn due(ordered: &mpsc::Receiver<Order>) -> Option<usize> {
    let mut count = 0;
    loop {
        let order = if count == 0 {
            ordered.recv().map_err(|_closed| RecvTimeoutError::Disconnected)
        } else {
            ordered.recv_timeout(AHEAD_AFTER)
        };
        match order {
            Ok(Order::Soon) => count += 1,
            Ok(Order::Now) if count == 0 => {}
            Ok(Order::Now) | Err(RecvTimeoutError::Timeout) => return Some(count),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Starts one runner: no environment, `/` as its folder, its socket as standard input, and
/// nothing to write to (invariant I-3).
#[expect(clippy::disallowed_methods, reason = "the door through which runners start")]
pub fn start(runner_exe: &Path, words: &[&str], reaper: &Reaper) -> Started {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(runner_exe)
        .arg0("helixmcp")
        .args(words)
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

/// A runner that was killed, what is to be taken away after it, and who waits for that.
#[derive(Debug)]
struct Killed {
    child: Child,
    cgroup: Option<Cgroup>,
    gone: Option<oneshot::Sender<()>>,
}

impl Killed {
    /// Waits until the process is no more: from then on it writes to no file.
    fn reap(mut self, processes: &std::sync::Mutex<BTreeSet<u32>>) {
        drop(self.child.wait());
        if let Some(cgroup) = self.cgroup {
            cgroup.remove();
        }
        processes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.child.id());
        // Most of the time nobody waits.
        self.gone.map(|gone| gone.send(()));
    }
}

/// Waits for killed runners on a thread of its own, so that none stays as a zombie and only who
/// must waits for the kernel to take back a guest's memory.
#[derive(Clone, Debug)]
pub struct Reaper {
    killed: mpsc::Sender<Killed>,
    processes: Arc<std::sync::Mutex<BTreeSet<u32>>>,
}

impl Reaper {
    pub fn start() -> Self {
        let (sender, killed) = mpsc::channel::<Killed>();
        let reaper = Self { killed: sender, processes: Arc::default() };
        let processes = Arc::clone(&reaper.processes);
        let reap = move || {
            for killed in killed {
                killed.reap(&processes);
            }
        };
        drop(std::thread::Builder::new().name("reaper".into()).spawn(reap));
        reaper
    }

    fn processes(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a child that was killed; tells `gone` when it is no more.
    pub fn reap(&self, child: Child, cgroup: Option<Cgroup>, gone: Option<oneshot::Sender<()>>) {
        // Without its thread there is nothing better than to wait here.
        if let Err(mpsc::SendError(killed)) = self.killed.send(Killed { child, cgroup, gone }) {
            killed.reap(&self.processes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walls(landlock: bool, seccomp: bool) -> Walls {
        let standing = |holds| {
            if holds { Standing::Holds(String::new()) } else { Standing::Missing("too old".to_owned()) }
        };
        Walls { landlock: standing(landlock), seccomp: standing(seccomp) }
    }

    fn requiring(walls: &[Wall]) -> Border {
        Border::new(1, Confinement { required: walls.iter().copied().collect(), cgroups: Vec::new() })
    }

    #[test]
    fn a_wall_that_is_required_and_missing_refuses_the_runner() {
        let refused = |required: &[Wall], walls: &Walls| match requiring(required).admit(walls) {
            Ok(()) => None,
            Err(Lost::Unwalled { wall, why }) => Some((wall, why)),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(refused(&[Wall::Landlock, Wall::Seccomp], &walls(true, true)), None);
        assert!(matches!(refused(&Wall::ALL, &walls(true, true)), Some((Wall::Cgroup, _))));
        assert_eq!(refused(&[], &walls(false, false)), None);
        assert_eq!(refused(&[Wall::Seccomp], &walls(false, true)), None);
        let landlock = Some((Wall::Landlock, "too old".to_owned()));
        assert_eq!(refused(&[Wall::Landlock], &walls(false, true)), landlock);
        let seccomp = Some((Wall::Seccomp, "too old".to_owned()));
        assert_eq!(refused(&[Wall::Landlock, Wall::Seccomp], &walls(true, false)), seccomp);
    }

    #[test]
    fn without_a_policy_seccomp_is_required() {
        assert!(Border::default().admit(&walls(false, true)).is_ok());
        assert!(Border::default().admit(&walls(true, false)).is_err());
    }
}
