//! The host's half: starts runners, hands them descriptors, and kills them.

mod cache;
mod cgroup;
mod code;
mod pool;
pub mod probe;
mod session;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use helix_ids::{ArtifactType, Digest, OutputKey};

use self::cache::{Cache, Key};
use self::cgroup::Room;
use self::code::Code;
use self::pool::Pool;
use self::session::{Lost, Session};
use super::protocol::{
    CompileLimits, Done, Event, Failure, Go, GuestLimits, HEAD_BYTES_MAX, InputSlot, Inspection,
    LINE_BYTES_MAX, LOG_LEVELS, LOG_LINE_BYTES, Limit, Ran, Request, Usage, Verdict,
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

/// Why a component is refused, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component breaks a rule; `code` is lower `snake_case`, `message` names every offender.
    #[error("{message}")]
    Refused { code: &'static str, message: String },
    /// Ours: the runner was lost, or the cache could not be written.
    #[error("{message}")]
    Fault { message: String },
}

/// How an execution of a guest ended, if not well.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The tool says no, in its own words (not yet escaped or capped for anyone).
    #[error("the tool refused: {0:?}")]
    Tool(raw::ToolError, Usage),
    /// A trap of the guest's own code, or a misuse of an import; follows from the identity.
    #[error("{message}")]
    Trap { code: &'static str, message: String, usage: Usage },
    /// An input is damaged; follows from the identity.
    #[error("input {role}[{index}] is damaged at byte {offset}: {reason}")]
    Input { role: String, index: u32, offset: u64, reason: String, usage: Usage },
    /// A cap was hit: recorded, never an answer.
    #[error("{limit:?}: {message}")]
    Limit { limit: Limit, message: String, usage: Usage },
    /// The runner was lost, or spoke out of turn: ours.
    #[error("{message}")]
    Fault { message: String },
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
}

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
}

/// An execution that returned a report.
#[derive(Debug)]
pub struct RunOutcome {
    pub report: raw::Report,
    /// (role, key, finished, bytes written), in the order of creation.
    pub outputs: Vec<WrittenOutput>,
    /// (role, index) of every input that was opened.
    pub opened: Vec<(String, u32)>,
    pub usage: Usage,
}

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
        match self.exchange(request, files, wall, &mut Nothing).await {
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
        let done = self.guest(&request, &[code.as_fd()], METADATA_LIMITS.wall, &mut Nothing).await?;
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
    ) -> Result<(raw::Proposal, Option<Warm>), GuestError> {
        // Another stack takes another engine, and so another runner.
        let then = then.filter(|then| then.stack_bytes == METADATA_LIMITS.stack_bytes).cloned();
        let request = Request::Plan { limits: METADATA_LIMITS, call: call.clone(), then: then.clone() };
        let code = self.code(component).await?;
        let (began, wall) = (Instant::now(), METADATA_LIMITS.wall);
        let answered = self.exchange(&request, &[code.as_fd()], wall, &mut Nothing).await;
        match answered.map_err(|lost| GuestError::lost(lost, wall, began))? {
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
                Box::pin(self.go(warm, go, &files, events)).await?
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
        let Execution { component, call, roles, limits, .. } = execution;
        let request =
            Request::Run { limits: (*limits).clone(), call: (*call).clone(), roles: roles.to_vec(), inputs };
        let code = self.code(component).await?;
        let files: Vec<_> = std::iter::once(code.as_fd()).chain(files.iter().copied()).collect();
        self.guest(&request, &files, limits.wall, events).await
    }

    /// Runs what a runner has planned. `None` if it was gone before it heard of that, or policy has
    /// changed what must stand around it: then the guest has not begun, and may in another one.
    async fn go(
        &self,
        warm: Warm,
        go: Go,
        files: &[BorrowedFd<'_>],
        events: &mut dyn RunEvents,
    ) -> Result<Option<Done>, GuestError> {
        let Warm { session, limits, .. } = warm;
        let Some(mut session) = session.if_alive().filter(|session| self.pool.is_admitted(session)) else {
            return Ok(None);
        };
        let began = Instant::now();
        let talk = async {
            session.send(&go, files).await?;
            let first = session.next().await?;
            Ok(first)
        };
        let first = match tokio::time::timeout(limits.wall, talk).await {
            Ok(Ok(first)) => first,
            Ok(Err(Lost::Died { heard: false, .. })) => return Ok(None),
            Ok(Err(lost)) => return Err(GuestError::lost(lost, limits.wall, began)),
            Err(_elapsed) => return Err(GuestError::lost(Lost::Wall, limits.wall, began)),
        };
        let most = MostSaid { log_bytes: limits.log_bytes, outputs: limits.outputs, roles: &go.roles };
        let left = limits.wall.saturating_sub(began.elapsed());
        let ended = match tokio::time::timeout(left, listen(&mut session, first, most, events)).await {
            Ok(Ok(done)) => ended(done, session).await,
            Ok(Err(lost)) => Err(lost),
            Err(_elapsed) => Err(Lost::Wall),
        };
        ended.map(Some).map_err(|lost| GuestError::lost(lost, limits.wall, began))
    }

    /// Reads a whole file in a runner and says whether it is complete and well formed.
    ///
    /// # Errors
    /// [`GuestError::Fault`] or [`GuestError::Limit`].
    pub async fn check(&self, file: File, artifact_type: ArtifactType) -> Result<Verdict, GuestError> {
        let wall = wall_for(&file)?;
        match self.guest(&Request::Check { artifact_type }, &[file.as_fd()], wall, &mut Nothing).await? {
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
        match self.guest(&request, &[file.as_fd()], CHECK_WALL, &mut Nothing).await? {
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
        events: &mut dyn RunEvents,
    ) -> Result<Done, GuestError> {
        let began = Instant::now();
        let done = match self.exchange(request, files, wall, events).await {
            Ok((done, session)) => ended(done, session).await,
            Err(lost) => Err(lost),
        };
        done.map_err(|lost| GuestError::lost(lost, wall, began))
    }

    /// One request to one runner, and the runner. Whatever ends this future ends it: the session kills
    /// it when it is dropped. The wall clock starts when a runner has been found.
    async fn exchange(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        wall: Duration,
        events: &mut dyn RunEvents,
    ) -> Result<(Done, Session), Lost> {
        let mut session = self.pool.take(Room::of(request)).await?;
        let talk = talk(&mut session, request, files, events);
        let done = tokio::time::timeout(wall, talk).await.map_err(|_elapsed| Lost::Wall)??;
        Ok((done, session))
    }
}

/// What was answered, once nobody writes to the outputs of a run any more.
async fn ended(done: Done, session: Session) -> Result<Done, Lost> {
    if matches!(done, Done::Ran(_)) {
        session.end().await?;
    }
    Ok(done)
}

async fn talk(
    session: &mut Session,
    request: &Request,
    files: &[BorrowedFd<'_>],
    events: &mut dyn RunEvents,
) -> Result<Done, Lost> {
    session.send(request, files).await?;
    let first = session.next().await?;
    listen(session, first, MostSaid::of(request), events).await
}

async fn listen(
    session: &mut Session,
    first: Event,
    mut most: MostSaid<'_>,
    events: &mut dyn RunEvents,
) -> Result<Done, Lost> {
    let mut event = first;
    loop {
        match event {
            Event::Log { level, text } => {
                let level = most.log(&level, &text)?;
                events.log(level, &text);
            }
            Event::Progress { done, total, text } => {
                most.progress(&text)?;
                events.progress(done, total, &text);
            }
            Event::Create { role, key } => {
                most.output(&role, &key)?;
                let file = events.create_output(&role, &key).map_err(Lost::Output)?;
                session.send(&super::protocol::Created {}, &[file.as_fd()]).await?;
            }
            Event::Done(done) => return Ok(*done),
            Event::Hello { .. } => return Err(Lost::OutOfTurn),
        }
        event = session.next().await?;
    }
}

/// What a runner may still bring. It counts for itself; this holds for one that its guest has
/// taken over (invariant I-9).
struct MostSaid<'a> {
    log_bytes: u64,
    outputs: u64,
    roles: &'a [String],
}

impl<'a> MostSaid<'a> {
    fn of(request: &'a Request) -> Self {
        match request {
            Request::Run { limits, roles, .. } => {
                Self { log_bytes: limits.log_bytes, outputs: limits.outputs, roles }
            }
            Request::Describe { limits } | Request::Plan { limits, .. } => {
                Self { log_bytes: limits.log_bytes, outputs: 0, roles: &[] }
            }
            Request::Inspect { .. }
            | Request::Compile { .. }
            | Request::Check { .. }
            | Request::Head { .. }
            | Request::Probe { .. } => Self { log_bytes: 0, outputs: 0, roles: &[] },
        }
    }

    /// Counts a line as the runner counts it, and gives the level in our own words.
    fn log(&mut self, level: &str, text: &str) -> Result<&'static str, Lost> {
        let cost = LOG_LINE_BYTES.saturating_add(text.len() as u64);
        self.log_bytes = self.log_bytes.checked_sub(cost).ok_or(Lost::OutOfTurn)?;
        known(&LOG_LEVELS, level).ok_or(Lost::OutOfTurn)
    }

    /// A runner has cut it already.
    fn progress(&self, text: &str) -> Result<(), Lost> {
        if text.len() > LINE_BYTES_MAX { Err(Lost::OutOfTurn) } else { Ok(()) }
    }

    /// A name is kept until the run's end, so it is one of those that may be.
    fn output(&mut self, role: &str, key: &str) -> Result<(), Lost> {
        self.outputs = self.outputs.checked_sub(1).ok_or(Lost::OutOfTurn)?;
        let known = self.roles.iter().any(|known| known == role) && key.parse::<OutputKey>().is_ok();
        if known { Ok(()) } else { Err(Lost::OutOfTurn) }
    }
}

fn wall_for(file: &File) -> Result<Duration, GuestError> {
    let metadata = file.metadata();
    let metadata = metadata
        .map_err(|error| GuestError::Fault { message: format!("the file cannot be read: {error}") })?;
    Ok(CHECK_WALL + Duration::from_secs(metadata.len() / CHECK_BYTES_A_SECOND))
}

/// For requests whose guest may say nothing but its answer.
struct Nothing;

impl RunEvents for Nothing {
    fn create_output(&mut self, _role: &str, _key: &str) -> std::io::Result<File> {
        Err(std::io::Error::other("no outputs are made here"))
    }

    fn log(&mut self, _level: &str, _text: &str) {}

    fn progress(&mut self, _done: u64, _total: Option<u64>, _text: &str) {}
}

impl LoadError {
    fn fault(error: impl std::fmt::Display) -> Self {
        Self::Fault { message: error.to_string() }
    }

    fn lost(lost: Lost) -> Self {
        match lost {
            Lost::Unwalled { .. } => Self::Refused { code: "wall_missing", message: lost.to_string() },
            other => Self::fault(other),
        }
    }

    fn limit(limits: &CompileLimits, why: &str) -> Self {
        let message = format!(
            "looking at it or compiling it needs more than {} bytes or {} s of processor time ({why})",
            limits.memory_bytes,
            limits.cpu.as_secs()
        );
        Self::Refused { code: "compile_limit", message }
    }

    fn refused(done: Done) -> Self {
        match done {
            Done::Refused { code, message } => match known(&LOAD_CODES, &code) {
                Some(code) => Self::Refused { code, message },
                None => {
                    Self::Fault { message: format!("a runner gave a reason that does not exist: {code}") }
                }
            },
            Done::Fault { message } => Self::Fault { message },
            _ => Self::fault(Lost::OutOfTurn),
        }
    }
}

impl GuestError {
    fn lost(lost: Lost, wall: Duration, began: Instant) -> Self {
        match lost {
            Lost::Wall => Self::Limit {
                limit: Limit::Wall,
                message: format!("the runner was stopped after {} ms", wall.as_millis()),
                usage: Usage { wall: began.elapsed(), ..Usage::default() },
            },
            other => Self::Fault { message: other.to_string() },
        }
    }
}

impl From<Done> for GuestError {
    fn from(done: Done) -> Self {
        let (failure, usage) = match done {
            Done::Failed { failure, usage } => (failure, usage),
            Done::Fault { message } => return Self::Fault { message },
            _ => return Self::Fault { message: Lost::OutOfTurn.to_string() },
        };
        match failure {
            Failure::Tool(error) => Self::Tool(error, usage),
            Failure::Trap { code, message } => match known(&TRAP_CODES, &code) {
                Some(code) => Self::Trap { code, message, usage },
                None => {
                    Self::Fault { message: format!("a runner gave a reason that does not exist: {code}") }
                }
            },
            Failure::Input { role, index, offset, reason } => {
                Self::Input { role, index, offset, reason, usage }
            }
            Failure::Limit { limit, message } => Self::Limit { limit, message, usage },
        }
    }
}

impl From<Ran> for RunOutcome {
    fn from(ran: Ran) -> Self {
        Self {
            report: ran.report,
            outputs: ran.outputs,
            opened: ran.opened.into_iter().map(|slot| (slot.role, slot.index)).collect(),
            usage: ran.usage,
        }
    }
}

/// Reasons to refuse a component: a runner may have been taken over, so its words are looked up.
const LOAD_CODES: [&str; 11] = [
    "compile_failed",
    "component_too_complex",
    "component_too_large",
    "export_missing",
    "feature_not_allowed",
    "import_not_allowed",
    "interface_mismatch",
    "malformed_component",
    "memory_min_exceeds",
    "not_a_component",
    "table_min_exceeds",
];

/// Reasons why an execution trapped.
const TRAP_CODES: [&str; 5] =
    ["answer_too_large", "guest_abi", "guest_trap", "import_during_plan", "import_misuse"];

fn known(codes: &[&'static str], code: &str) -> Option<&'static str> {
    codes.iter().copied().find(|known| *known == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_a_runner_that_was_taken_over_cannot_fill_the_log() {
        let roles = ["table".to_owned()];
        let mut most = MostSaid { log_bytes: 3 * LOG_LINE_BYTES + 4, outputs: 3, roles: &roles };
        assert_eq!(most.log("info", "four").unwrap(), "info");
        // Lines without text have an end as well, and a level is no place for text.
        assert!(most.log("info", "").is_ok());
        assert!(most.log("\u{1b}[2J", "").is_err());
        assert!(most.log("info", "").is_err());
        assert!(most.progress("half").is_ok());
        assert!(most.progress(&"x".repeat(LINE_BYTES_MAX + 1)).is_err());
        assert!(most.output("other", "a").is_err());
        assert!(most.output("table", &"x".repeat(1 << 20)).is_err());
        assert!(most.output("table", "a").is_ok());
        assert!(most.output("table", "b").is_err());
    }
}
