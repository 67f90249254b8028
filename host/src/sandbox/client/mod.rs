//! The host's half: starts runners, hands them descriptors, and kills them.

mod answer;
mod cache;
mod cgroup;
mod clock;
mod code;
mod pool;
pub mod probe;
mod session;
mod talk;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use helix_ids::{ArtifactType, Digest};

use self::cache::{Cache, Key};
use self::cgroup::Room;
use self::clock::Clock;
use self::code::Code;
use self::pool::Pool;
use self::session::{Lost, Session};
use self::talk::{MostSaid, Nothing, begin, ended, listen, talk};
use super::protocol::{
    Ask, CompileLimits, Done, Go, GuestLimits, HEAD_BYTES_MAX, InputSlot, Inspection, Reply, Request, Verdict,
};
use crate::contract::raw;

/// Least time for a compilation, which else has some times its processor time.
const COMPILE_WALL: Duration = Duration::from_secs(30);

/// Least time for looking at a file; a second for each 4 MiB comes to it.
const CHECK_WALL: Duration = Duration::from_secs(60);
const CHECK_BYTES_A_SECOND: u64 = 4 * 1024 * 1024;

/// What describing or planning may use: both are glances at metadata.
const METADATA_LIMITS: GuestLimits = GuestLimits {
    memory_bytes: 64 * 1024 * 1024,
    stack_bytes: 512 * 1024,
    fuel: 1_000_000_000,
    // Fuel speaks first (10^9 is less than a second) even on a machine where thirty others want the
    // processor: a limit that depends on the load would make a refusal come and go.
    wall: Duration::from_secs(60),
    host_call_bytes: 2 * 1024 * 1024,
    host_call_bytes_total: 8 * 1024 * 1024,
    host_calls: 10_000,
    handles: 16,
    log_bytes: 64 * 1024,
    decoded_bytes: 0,
    outputs: 0,
    output_bytes: 0,
    steps: 0,
};

/// Starts and holds runners. One for each host.
pub struct Sandbox {
    pool: Pool,
    cache: Arc<Cache>,
}

/// A component that was inspected and compiled. Holds the sealed, authenticated native code, or
/// knows how to have it.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub digest: Digest,
    pub inspection: Inspection,
    code: Arc<Code>,
}

/// An input to hand to a guest, opened and proved by the caller.
#[derive(Debug)]
pub struct InputFile {
    pub role: String,
    pub index: u32,
    pub file: File,
}

/// What a guest does while it runs. Called on the task that awaits [`Sandbox::run`].
pub trait RunEvents: Send {
    /// A new empty file for an output; the runner writes into it.
    ///
    /// # Errors
    /// Ends the attempt as a fault.
    fn create_output(&mut self, role: &str, key: &str) -> std::io::Result<File>;
    fn log(&mut self, level: &str, text: &str);
    fn progress(&mut self, done: u64, total: Option<u64>, text: &str);
    /// The guest asks for what only the host may do. Time spent here is not the guest's, and a future
    /// that is dropped was for a runner that is gone.
    ///
    /// # Errors
    /// Ends the attempt as a fault.
    fn ask(&mut self, ask: Ask) -> Answering<'_>;
}

/// The host's answer to an [`Ask`], and the file that comes with [`Reply::Opened`].
pub type Answering<'a> = Pin<Box<dyn Future<Output = std::io::Result<(Reply, Option<File>)>> + Send + 'a>>;

/// A runner that has planned a call and stays to run it. Dropped, it is killed.
#[derive(Debug)]
pub struct Warm {
    session: Session,
    component: Digest,
    call: raw::Call,
    limits: GuestLimits,
}

impl Warm {
    /// Only the call that was planned runs in it, under the limits that were named then.
    fn is_for(&self, execution: &Execution<'_>) -> bool {
        (self.component, &self.call, &self.limits)
            == (execution.component.digest, execution.call, execution.limits)
    }
}

/// What is run.
pub struct Execution<'a> {
    pub component: &'a Compiled,
    pub call: &'a raw::Call,
    /// Of the outputs that it may make.
    pub roles: &'a [String],
    pub limits: &'a GuestLimits,
    /// The runner that planned the call, if it stayed.
    pub warm: Option<Warm>,
    pub pace: Pace,
}

/// How a guest competes for processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    #[default]
    Usual,
    /// Others come first, as long as they want something.
    Yields,
}

pub use self::answer::{GuestError, LoadError, RunOutcome};
pub use self::cache::Seen;
pub use self::code::ReadProved;
pub use self::pool::Confinement;
pub use super::protocol::Written as WrittenOutput;

/// Where the sandbox keeps compiled code, and how many runners may live at once.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// 0700; entries are authenticated with `key`.
    pub cache_dir: PathBuf,
    pub key: [u8; 32],
    pub runners_max: usize,
    /// The binary to start as a runner; normally `/proc/self/exe`.
    pub runner_exe: PathBuf,
}

impl Sandbox {
    /// Starts the first spare runner at once, so that the first call finds it ready.
    pub fn new(settings: SandboxSettings) -> Self {
        let SandboxSettings { cache_dir, key, runners_max, runner_exe } = settings;
        Self { pool: Pool::new(runner_exe, runners_max), cache: Arc::new(Cache::new(cache_dir, key)) }
    }

    /// What must stand around every runner from now on. Until then it is what every Linux has.
    pub fn confine(&self, confinement: Confinement) {
        self.pool.confine(confinement);
    }

    /// Process ids of the runners that live or are not reaped yet.
    pub fn runners(&self) -> Vec<u32> {
        self.pool.processes()
    }

    /// Looks at a component without compiling it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn inspect(&self, component: &[u8], limits: &CompileLimits) -> Result<Inspection, LoadError> {
        let file = cache::sealed(component).map_err(LoadError::fault)?;
        let request = Request::Inspect { limits: limits.clone() };
        match self.compilation(&request, &[file.as_fd()], limits).await? {
            Done::Inspected(inspection) => Ok(inspection),
            other => Err(LoadError::refused(other)),
        }
    }

    /// Inspects and compiles, or takes the compiled form from the cache.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(&self, component: &[u8], limits: &CompileLimits) -> Result<Compiled, LoadError> {
        let digest = Digest::of(component);
        let engine = self.pool.engine().await.map_err(LoadError::lost)?;
        let key = Key::new(&digest, &engine, limits);
        let (cache, wanted) = (Arc::clone(&self.cache), key.clone());
        let found =
            tokio::task::spawn_blocking(move || cache.get(&wanted)).await.map_err(LoadError::fault)?;
        if let Some((inspection, code)) = found {
            return Ok(Compiled { digest, inspection, code: Code::loaded(code) });
        }
        let file = cache::sealed(component).map_err(LoadError::fault)?;
        let target = cache::empty().map_err(LoadError::fault)?;
        let request = Request::Compile { limits: limits.clone() };
        let done = self.compilation(&request, &[file.as_fd(), target.as_fd()], limits).await?;
        let Done::Compiled(inspection) = done else { return Err(LoadError::refused(done)) };
        let (cache, kept) = (Arc::clone(&self.cache), inspection.clone());
        let put = tokio::task::spawn_blocking(move || cache.put(&key, &kept, target));
        let code = put.await.map_err(LoadError::fault)?.map_err(LoadError::fault)?;
        Ok(Compiled { digest, inspection, code: Code::loaded(code) })
    }

    async fn compilation(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        limits: &CompileLimits,
    ) -> Result<Done, LoadError> {
        // Processor time is what is limited; waiting for a busy machine is not the component's fault.
        let wall = limits.cpu.saturating_mul(4) + COMPILE_WALL;
        match self.exchange(request, files, wall, Pace::Usual, &mut Nothing).await {
            Ok((done, _session)) => Ok(done),
            Err(Lost::Wall) => Err(LoadError::limit(limits, "it took too long")),
            // Out of memory or of processor time, or a crash of the compiler: in each case this
            // component is what did it, and it would do it again.
            Err(Lost::Died { signal: Some(signal), .. }) => {
                Err(LoadError::limit(limits, &format!("the runner died of signal {signal}")))
            }
            Err(other) => Err(LoadError::lost(other)),
        }
    }

    /// Asks a component what it is.
    ///
    /// # Errors
    /// [`GuestError`].
    pub async fn describe(&self, component: &Compiled) -> Result<raw::Manifest, GuestError> {
        let request = Request::Describe { limits: METADATA_LIMITS };
        let code = self.code(component).await?;
        let done =
            self.guest(&request, &[code.as_fd()], METADATA_LIMITS.wall, Pace::Usual, &mut Nothing).await?;
        match done {
            Done::Described(manifest) => Ok(manifest),
            other => Err(GuestError::from(other)),
        }
    }

    /// Asks what a call would do, under small limits of its own. With `then`, the limits under which
    /// the call is to run, the runner stays for that: the call has no other's process, and saves the
    /// start of one.
    ///
    /// # Errors
    /// [`GuestError`].
    pub async fn plan(
        &self,
        component: &Compiled,
        call: &raw::Call,
        then: Option<&GuestLimits>,
        pace: Pace,
    ) -> Result<(raw::Proposal, Option<Warm>), GuestError> {
        // Another stack takes another engine, and so another runner.
        let then = then.filter(|then| then.stack_bytes == METADATA_LIMITS.stack_bytes).cloned();
        let request = Request::Plan { limits: METADATA_LIMITS, call: call.clone(), then: then.clone() };
        let code = self.code(component).await?;
        let wall = METADATA_LIMITS.wall;
        let answered = self.exchange(&request, &[code.as_fd()], wall, pace, &mut Nothing).await;
        match answered.map_err(|lost| GuestError::lost(lost, wall))? {
            (Done::Planned(proposal), session) => {
                let (component, call) = (component.digest, call.clone());
                Ok((proposal, then.map(|limits| Warm { session, component, call, limits })))
            }
            (other, _session) => Err(GuestError::from(other)),
        }
    }

    /// Runs a guest, in the runner that planned it if that stayed, else in a fresh one. Dropping the
    /// future kills the runner.
    ///
    /// # Errors
    /// [`GuestError`].
    pub async fn run(
        &self,
        mut execution: Execution<'_>,
        inputs: Vec<InputFile>,
        events: &mut dyn RunEvents,
    ) -> Result<RunOutcome, GuestError> {
        let slot = |input: &InputFile| InputSlot { role: input.role.clone(), index: input.index };
        let slots: Vec<_> = inputs.iter().map(slot).collect();
        let files: Vec<_> = inputs.iter().map(|input| input.file.as_fd()).collect();
        let warm = execution.warm.take().filter(|warm| warm.is_for(&execution));
        // Boxed: a run that waits for its turn should not hold room for either talk.
        let went = match warm {
            Some(warm) => {
                let go = Go { roles: execution.roles.to_vec(), inputs: slots.clone() };
                Box::pin(self.go(warm, go, execution.pace, &files, events)).await?
            }
            None => None,
        };
        let done = match went {
            Some(done) => done,
            None => Box::pin(self.run_fresh(&execution, slots, &files, events)).await?,
        };
        match done {
            Done::Ran(ran) => Ok(RunOutcome::from(ran)),
            other => Err(GuestError::from(other)),
        }
    }

    /// Runs a guest in a fresh runner.
    async fn run_fresh(
        &self,
        execution: &Execution<'_>,
        inputs: Vec<InputSlot>,
        files: &[BorrowedFd<'_>],
        events: &mut dyn RunEvents,
    ) -> Result<Done, GuestError> {
        let Execution { component, call, roles, limits, warm: _, pace } = execution;
        let request =
            Request::Run { limits: (*limits).clone(), call: (*call).clone(), roles: roles.to_vec(), inputs };
        let code = self.code(component).await?;
        let files: Vec<_> = std::iter::once(code.as_fd()).chain(files.iter().copied()).collect();
        self.guest(&request, &files, limits.wall, *pace, events).await
    }

    /// Runs what a runner has planned. `None` if it was gone before it heard of that, or policy has
    /// changed what must stand around it: then the guest has not begun, and may in another one.
    async fn go(
        &self,
        warm: Warm,
        go: Go,
        pace: Pace,
        files: &[BorrowedFd<'_>],
        events: &mut dyn RunEvents,
    ) -> Result<Option<Done>, GuestError> {
        let Warm { session, limits, .. } = warm;
        let Some(mut session) = session.if_alive().filter(|session| self.pool.is_admitted(session)) else {
            return Ok(None);
        };
        session.keep_pace(pace);
        let mut clock = Clock::new(limits.wall);
        let first = match clock.within(begin(&mut session, &go, files)).await {
            Ok(first) => first,
            Err(Lost::Died { heard: false, .. }) => return Ok(None),
            Err(lost) => return Err(GuestError::lost(lost, limits.wall)),
        };
        let most = MostSaid::of_run(&limits, &go.roles);
        let ended = match listen(&mut session, first, most, &mut clock, events).await {
            Ok(done) => ended(done, session).await,
            Err(lost) => Err(lost),
        };
        ended.map(Some).map_err(|lost| GuestError::lost(lost, limits.wall))
    }

    /// Reads a whole file in a runner and says whether it is complete and well formed.
    ///
    /// # Errors
    /// [`GuestError::Fault`] or [`GuestError::Limit`].
    pub async fn check(&self, file: File, artifact_type: ArtifactType) -> Result<Verdict, GuestError> {
        let wall = wall_for(&file)?;
        let request = Request::Check { artifact_type };
        match self.guest(&request, &[file.as_fd()], wall, Pace::Usual, &mut Nothing).await? {
            Done::Checked(verdict) => Ok(verdict),
            other => Err(GuestError::from(other)),
        }
    }

    /// The first `max_bytes` of a file after undoing gzip or BGZF, decoded in a runner. At most
    /// [`HEAD_BYTES_MAX`]; damage within them ends them early.
    ///
    /// # Errors
    /// [`GuestError::Fault`] or [`GuestError::Limit`].
    pub async fn head(&self, file: File, max_bytes: u64) -> Result<Vec<u8>, GuestError> {
        let request = Request::Head { max_bytes: max_bytes.min(HEAD_BYTES_MAX) };
        match self.guest(&request, &[file.as_fd()], CHECK_WALL, Pace::Usual, &mut Nothing).await? {
            Done::Head(text) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                bytes.map_err(|error| GuestError::Fault {
                    message: format!("a runner sent no base64: {error}"),
                })
            }
            other => Err(GuestError::from(other)),
        }
    }

    async fn guest(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        wall: Duration,
        pace: Pace,
        events: &mut dyn RunEvents,
    ) -> Result<Done, GuestError> {
        let done = match self.exchange(request, files, wall, pace, events).await {
            Ok((done, session)) => ended(done, session).await,
            Err(lost) => Err(lost),
        };
        done.map_err(|lost| GuestError::lost(lost, wall))
    }

    /// One request to one runner, and the runner. Whatever ends this future ends it: the session kills
    /// it when it is dropped. The wall clock starts when a runner has been found.
    async fn exchange(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        wall: Duration,
        pace: Pace,
        events: &mut dyn RunEvents,
    ) -> Result<(Done, Session), Lost> {
        let mut session = self.pool.take(Room::of(request)).await?;
        session.keep_pace(pace);
        let done = talk(&mut session, request, files, &mut Clock::new(wall), events).await?;
        Ok((done, session))
    }
}

fn wall_for(file: &File) -> Result<Duration, GuestError> {
    let metadata = file.metadata();
    let metadata = metadata
        .map_err(|error| GuestError::Fault { message: format!("the file cannot be read: {error}") })?;
    Ok(CHECK_WALL + Duration::from_secs(metadata.len() / CHECK_BYTES_A_SECOND))
}
