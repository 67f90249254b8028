//! Carries one step from its ask to an outcome that stands in the ledger. Each effect follows a
//! commit that says that it may have happened (I-8), so that whoever comes after a crash looks for it.

use std::sync::Arc;
use std::time::Duration;

use helix_ids::{Digest, ProjectId, RelName};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::super::{Effects, Still, failure, open_proved};
use super::{captures, key};
use crate::artifacts::Stored;
use crate::backend::{self, Backend, BackendError, Finished, StepEnded};
use crate::contract::raw::StepEnd;
use crate::ledger::{
    Failure, LedgerError, NewStepLog, Reservation, StepFile, StepId, StepOutcome, StepRow, StepState,
    StepUsage,
};
use crate::plan::StepOrder;
use crate::policy::{BackendRule, StepLimits};

/// How long to wait before a backend that does not answer is asked again; doubled each time.
const ASK_AGAIN: Duration = Duration::from_millis(200);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(30);

/// How long a backend may not answer before a step that it was never given is lost.
const UNAVAILABLE_MAX: Duration = Duration::from_secs(10 * 60);

/// Most bytes of a step's stdout and stderr that its guest is told: the end.
const TAIL_BYTES_MAX: usize = 64 * 1024;

/// A step's outcome, as it stands in the ledger.
#[derive(Debug)]
pub(super) struct Known {
    seq: u32,
    state: StepState,
    exit_code: Option<i32>,
    stdout_tail: String,
    stderr_tail: String,
    /// A limit or a fault: it ends the attempt, and the guest never sees it.
    pub failure: Option<Failure>,
    files: Vec<StepFile>,
}

impl Known {
    fn of(row: &StepRow) -> Option<Self> {
        let (end, seq) = (row.outcome.as_ref()?, row.outcome_seq?);
        Some(Self {
            seq,
            state: row.state,
            exit_code: end.exit_code,
            stdout_tail: end.stdout_tail.clone(),
            stderr_tail: end.stderr_tail.clone(),
            failure: end.failure.clone(),
            files: row.files.clone(),
        })
    }

    /// What the guest is told.
    pub fn end(&self) -> StepEnd {
        match self.exit_code {
            Some(code) => StepEnd::Exited {
                code,
                stdout_tail: self.stdout_tail.clone(),
                stderr_tail: self.stderr_tail.clone(),
            },
            None => StepEnd::Skipped,
        }
    }

    /// A capture, of a step that ended well.
    pub fn file(&self, name: &str) -> Option<&StepFile> {
        (self.state == StepState::Done).then(|| self.files.iter().find(|file| file.name == name)).flatten()
    }
}

/// Why a step has no outcome that its attempt could go on with.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Failed(Failure),
    Blocked(Failure),
}

impl Trouble {
    fn ledger(error: &LedgerError) -> Self {
        Self::Failed(failure::of_ledger(error))
    }
}

type Told = Option<Result<Arc<Known>, Trouble>>;

/// What each step of an attempt came to, in the order in which that became known: who reads it never
/// sees a later outcome without an earlier one.
#[derive(Clone, Debug)]
pub(super) struct Board {
    told: watch::Sender<Vec<Told>>,
    /// Held while an outcome is written and told.
    telling: Arc<Mutex<()>>,
}

impl Default for Board {
    fn default() -> Self {
        Self { told: watch::Sender::new(Vec::new()), telling: Arc::default() }
    }
}

impl Board {
    /// A place for one more step.
    pub fn add(&self) {
        self.told.send_modify(|told| told.push(None));
    }

    fn tell(&self, ordinal: u32, what: Result<Arc<Known>, Trouble>) {
        self.told.send_modify(|told| {
            if let Some(place) = usize::try_from(ordinal).ok().and_then(|place| told.get_mut(place)) {
                *place = Some(what);
            }
        });
    }

    /// The first of these steps to have ended.
    pub async fn first_of(&self, steps: &[u32]) -> Result<(u32, Arc<Known>), Trouble> {
        let mut news = self.told.subscribe();
        let of = |told: &[Told], step: u32| usize::try_from(step).ok().and_then(|at| told.get(at)?.clone());
        // The sender is ours, so this ends with an outcome.
        let told = news.wait_for(|told| steps.iter().any(|step| of(told, *step).is_some())).await;
        let told = told.map(|told| told.clone()).unwrap_or_default();
        let mut first: Option<(u32, Arc<Known>)> = None;
        for step in steps {
            match of(&told, *step) {
                Some(Ok(known)) if first.as_ref().is_none_or(|(_, other)| known.seq < other.seq) => {
                    first = Some((*step, known));
                }
                Some(Err(trouble)) => return Err(trouble),
                Some(Ok(_)) | None => {}
            }
        }
        first.ok_or_else(|| Trouble::Failed(failure::of_step("fault", "host_fault", "a step has no outcome")))
    }

    /// A capture of a step that ended well.
    pub fn file(&self, step: u32, name: &RelName) -> Option<StepFile> {
        let told = self.told.borrow();
        match told.get(usize::try_from(step).ok()?)? {
            Some(Ok(known)) => known.file(name.as_str()).cloned(),
            Some(Err(_)) | None => None,
        }
    }
}

/// Where the bytes of a mount come from.
#[derive(Clone, Debug)]
pub(super) enum MountFrom {
    Object { digest: Digest, size_bytes: u64 },
    Capture { step: u32, name: RelName },
}

/// A mount whose bytes are known.
type Mounted = (RelName, Digest, u64);

/// One step, and all that it takes to carry it out.
pub(super) struct Errand {
    pub effects: Effects,
    pub id: StepId,
    pub project: ProjectId,
    pub order: StepOrder,
    /// What the ledger holds of it, from a pass before this one.
    pub row: Option<StepRow>,
    pub mounts: Vec<(RelName, MountFrom)>,
    pub rule: BackendRule,
    pub limits: StepLimits,
    pub still: Still,
    pub room: Arc<Semaphore>,
    /// Whether the outcome of an equal step may be taken.
    pub reuse: bool,
    pub capture_bytes_max: u64,
    pub submitting: Option<Submitting>,
}

type Submitting = tokio::task::JoinHandle<Result<String, BackendError>>;

/// What is to be written of a step.
enum Ended {
    /// With its captures' room until they are counted.
    Itself(Box<StepOutcome>, Option<Reservation>),
    /// It takes the outcome of this one.
    Reused(StepId),
}

impl Ended {
    fn as_it_is(outcome: StepOutcome) -> Self {
        Self::Itself(Box::new(outcome), None)
    }
}

/// A step that left nothing.
fn outcome(state: StepState) -> StepOutcome {
    StepOutcome {
        state,
        exit_code: None,
        stdout_tail: String::new(),
        stderr_tail: String::new(),
        failure: None,
        usage: StepUsage::default(),
        files: Vec::new(),
        stdout: None,
        stderr: None,
    }
}

impl Errand {
    /// Carries the step to its outcome, writes it and tells it.
    pub async fn carry(mut self, board: Board, stop: CancellationToken) {
        let ordinal = self.id.ordinal;
        if let Some(known) = self.row.as_ref().and_then(Known::of) {
            board.tell(ordinal, Ok(Arc::new(known)));
            return;
        }
        let worked = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            worked = self.work(&board) => Some(worked),
        };
        let (ended, trouble) = match worked {
            Some(Ok(ended)) => (ended, None),
            // It ends with its attempt, which this trouble ends.
            Some(Err(trouble)) => (self.stopped().await, Some(trouble)),
            None => (self.stopped().await, None),
        };
        {
            let _one_at_a_time = board.telling.lock().await;
            let known = self.write(ended).await;
            board.tell(ordinal, trouble.map_or(known, Err));
        }
        crash_point!("step_ended");
        self.clear().await;
    }

    /// Writes how it ended, and reads it back: what is told is what stands there.
    async fn write(&self, ended: Ended) -> Result<Arc<Known>, Trouble> {
        let ledger = &self.effects.ledger;
        let written = match &ended {
            Ended::Itself(outcome, _room) => ledger.step_ended(self.id, outcome).await,
            Ended::Reused(from) => ledger.step_reused(self.id, *from).await,
        };
        written.map_err(|error| Trouble::ledger(&error))?;
        let row = ledger.step(self.id).await.map_err(|error| Trouble::ledger(&error))?;
        let known = row.as_ref().and_then(Known::of);
        known.map(Arc::new).ok_or_else(|| fault("host_fault", "a step's outcome is not in the ledger"))
    }

    async fn work(&mut self, board: &Board) -> Result<Ended, Trouble> {
        let Some(mounts) = self.sources(board).await? else {
            return Ok(Ended::as_it_is(outcome(StepState::Skipped)));
        };
        let key = key::of(&self.order, &mounts);
        let key = key.map_err(|error| fault("host_fault", &error.to_string()))?;
        let ledger = &self.effects.ledger;
        ledger.step_keyed(self.id, key).await.map_err(|error| Trouble::ledger(&error))?;
        let is_new = self.row.as_ref().is_none_or(|row| row.state == StepState::Intended);
        if is_new && let Some(reused) = self.reusable(key).await? {
            return Ok(Ended::Reused(reused));
        }
        // Closed by nobody.
        let _room = Arc::clone(&self.room).acquire_owned().await.ok();
        let finished = self.execute(&mounts, is_new).await?;
        crash_point!("step_finished");
        self.judged(finished).await
    }

    /// The bytes that it mounts; `None` if a step that makes some of them did not end well.
    async fn sources(&self, board: &Board) -> Result<Option<Vec<Mounted>>, Trouble> {
        let mut mounts = Vec::with_capacity(self.mounts.len());
        for (name, from) in &self.mounts {
            match from {
                MountFrom::Object { digest, size_bytes } => mounts.push((name.clone(), *digest, *size_bytes)),
                MountFrom::Capture { step, name: capture } => {
                    let (_step, known) = board.first_of(&[*step]).await?;
                    let Some(file) = known.file(capture.as_str()) else { return Ok(None) };
                    mounts.push((name.clone(), file.digest, file.size_bytes));
                }
            }
        }
        Ok(Some(mounts))
    }

    /// The outcome of a step with this key, if its captures are there.
    async fn reusable(&self, key: Digest) -> Result<Option<StepId>, Trouble> {
        if !self.reuse {
            return Ok(None);
        }
        let found = self.effects.ledger.step_with_key(self.project, key).await;
        let found = found.map_err(|error| Trouble::ledger(&error))?;
        let is_whole = |row: &StepRow| {
            row.files.iter().all(|file| self.effects.store.has(&file.digest, file.size_bytes))
        };
        Ok(found.filter(is_whole).map(|row| row.id))
    }

    async fn execute(&mut self, mounts: &[Mounted], is_new: bool) -> Result<Finished, Trouble> {
        let backend = self.backend().await?;
        let mut paths = Vec::with_capacity(mounts.len());
        for (name, digest, _size) in mounts {
            // Proved now (I-5): from here on the backend reads it by its path.
            let proved = open_proved(&self.effects.ledger, &self.effects.store, *digest).await;
            proved.map_err(|error| Trouble::Failed(failure::of_input(&error)))?;
            paths.push((name.clone(), self.effects.store.object_path(digest)));
        }
        let order = self.backend_order(paths);
        if is_new {
            (self.still)().map_err(Trouble::Blocked)?;
            let submitted = self.effects.ledger.step_submitted(self.id, order.labels.try_).await;
            submitted.map_err(|error| Trouble::ledger(&error))?;
            self.row = None;
        }
        crash_point!("step_submitted");
        let container = self.submitted(&backend, order.clone()).await?;
        crash_point!("step_started");
        let running = self.effects.ledger.step_running(self.id, &container).await;
        running.map_err(|error| Trouble::ledger(&error))?;
        until_it_answers(|| backend.wait(&order, &container)).await.map_err(of_backend)
    }

    /// In a task of its own: whoever stops this step has to know whether a container came of it.
    async fn submitted(&mut self, backend: &Arc<Backend>, order: backend::Order) -> Result<String, Trouble> {
        let backend = Arc::clone(backend);
        let submit = async move { until_it_answers(|| backend.submit(&order)).await };
        let submitting = self.submitting.insert(tokio::spawn(submit));
        let submitted = submitting.await;
        self.submitting = None;
        submitted.map_err(|error| fault("host_fault", &error.to_string()))?.map_err(of_backend)
    }

    async fn backend(&self) -> Result<Arc<Backend>, Trouble> {
        until_it_answers(|| self.effects.backends.of(&self.rule)).await.map_err(of_backend)
    }

    fn labels(&self) -> backend::Labels {
        backend::Labels {
            home: self.effects.backends.home().to_owned(),
            run: self.id.attempt.run,
            attempt: self.id.attempt.ordinal,
            step: self.id.ordinal,
            try_: 1,
        }
    }

    fn backend_order(&self, mounts: Vec<(RelName, std::path::PathBuf)>) -> backend::Order {
        let StepOrder { name, image, argv, environment, captures, cpus, memory_bytes, seconds, .. } =
            &self.order;
        backend::Order {
            labels: self.labels(),
            name: name.clone(),
            image: image.image.clone(),
            platform: image.platform.clone(),
            user: image.user,
            argv: argv.clone(),
            environment: environment.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            mounts,
            captures: captures.iter().map(|(name, _)| name.clone()).collect(),
            cpus: *cpus,
            memory_bytes: *memory_bytes,
            wall: Duration::from_secs(*seconds),
            pids: self.limits.pids,
            scratch_bytes: self.limits.scratch_bytes,
            stdout_bytes: self.limits.stdout_bytes,
            out_bytes: self.capture_bytes_max,
        }
    }

    /// What a container that ended came to.
    async fn judged(&self, finished: Finished) -> Result<Ended, Trouble> {
        let mut outcome = StepOutcome {
            stdout_tail: tail(&finished.stdout),
            stderr_tail: tail(&finished.stderr),
            usage: self.usage(&finished),
            stdout: self.log(finished.stdout).await?,
            stderr: self.log(finished.stderr).await?,
            ..outcome(StepState::Failed)
        };
        match self.failure(finished.ended) {
            // Whatever code it is: it is the step's own answer.
            Ok(code) => (outcome.state, outcome.exit_code) = (StepState::Done, Some(code)),
            Err(failure) => outcome.failure = Some(failure),
        }
        if outcome.exit_code != Some(0) {
            return Ok(Ended::as_it_is(outcome));
        }
        // Exit code 0 alone is no evidence of success.
        match captures::kept(self, &finished.out).await {
            Ok((files, room)) => {
                let outcome = StepOutcome { state: StepState::Done, files, ..outcome };
                Ok(Ended::Itself(Box::new(outcome), Some(room)))
            }
            Err(failure) => {
                let failure = Failure { message: self.words(&failure.message), ..failure };
                let (state, exit_code) = (StepState::Failed, None);
                let outcome = StepOutcome { state, exit_code, failure: Some(failure), ..outcome };
                Ok(Ended::as_it_is(outcome))
            }
        }
    }

    /// The exit code, or the limit or fault by which the step ended.
    fn failure(&self, ended: StepEnded) -> Result<i32, Failure> {
        let (class, code, what) = match ended {
            StepEnded::Exited { code } => return Ok(code),
            StepEnded::OutOfMemory => {
                ("limit", "step_out_of_memory", "used more memory than it asked for".to_owned())
            }
            StepEnded::TimedOut => ("limit", "step_deadline", "ran longer than it asked for".to_owned()),
            StepEnded::OutTooLarge => {
                ("limit", "step_out_too_large", "wrote more than policy allows".to_owned())
            }
            StepEnded::Signalled { signal } => {
                ("limit", "step_signalled", format!("died of signal {signal}"))
            }
            StepEnded::Killed => ("fault", "step_killed", "was killed by somebody else".to_owned()),
        };
        Err(failure::of_step(class, code, &self.words(&what)))
    }

    fn usage(&self, finished: &Finished) -> StepUsage {
        let backend::StepUsage { wall_ms, cpu_ms, peak_memory_bytes } = finished.usage;
        StepUsage { wall_ms, cpu_ms, peak_memory_bytes, queue_ms: 0 }
    }

    /// Keeps the whole of what a step printed.
    async fn log(&self, said: Vec<u8>) -> Result<Option<NewStepLog>, Trouble> {
        if said.is_empty() {
            return Ok(None);
        }
        let store = Arc::clone(&self.effects.store);
        let put = move || store.put(&mut said.as_slice(), u64::MAX, &mut |_bytes| ());
        let stored = tokio::task::spawn_blocking(put).await;
        let stored = stored.map_err(|error| fault("host_fault", &error.to_string()))?;
        let stored = stored.map_err(|error| Trouble::Failed(failure::of_store(&error)))?;
        let Stored { digest, size_bytes, seal } = stored;
        Ok(Some(NewStepLog { digest, size_bytes, seal }))
    }

    fn words(&self, what: &str) -> String {
        format!("step {} `{}` {what}", self.id.ordinal, self.order.name)
    }

    /// Ends what the backend may have of it. Nobody says that it has ended before it has.
    async fn stopped(&mut self) -> Ended {
        if let Some(submitting) = self.submitting.take() {
            // Whatever came of it is ended now.
            drop(submitting.await);
        }
        let mut again = ASK_AGAIN;
        while let Err(error) = self.killed().await {
            tracing::warn!(run = %self.id.attempt.run, step = self.id.ordinal, %error, "a step cannot be ended yet");
            tokio::time::sleep(again).await;
            again = (again * 2).min(ASK_AGAIN_MAX);
        }
        Ended::as_it_is(outcome(StepState::Cancelled))
    }

    async fn killed(&self) -> Result<(), BackendError> {
        self.effects.backends.of(&self.rule).await?.kill(&self.labels()).await
    }

    /// Its container and folder are of no more use. What stays is swept at the next start.
    async fn clear(&self) {
        let cleared = async { self.effects.backends.of(&self.rule).await?.clear(&self.labels()).await };
        if let Err(error) = cleared.await {
            tracing::warn!(run = %self.id.attempt.run, step = self.id.ordinal, %error, "a step's remains stay");
        }
    }
}

fn fault(code: &str, message: &str) -> Trouble {
    Trouble::Failed(failure::of_step("fault", code, message))
}

fn of_backend(error: BackendError) -> Trouble {
    let code = match &error {
        BackendError::Unavailable { .. } => "backend_unavailable",
        BackendError::Refused { code, .. } => code,
        BackendError::Ambiguous { .. } => "step_ambiguous",
        BackendError::Lost { .. } => "step_lost",
        BackendError::Io { .. } => "backend_fault",
    };
    fault(code, &error.to_string())
}

/// Asks until it is answered: a daemon that restarts is no reason to lose a day of work. Any other
/// word of the backend's is final.
async fn until_it_answers<T, F>(ask: impl Fn() -> F) -> Result<T, BackendError>
where
    F: Future<Output = Result<T, BackendError>>,
{
    let (mut again, mut waited) = (ASK_AGAIN, Duration::ZERO);
    loop {
        match ask().await {
            Err(error @ BackendError::Unavailable { .. }) if waited < UNAVAILABLE_MAX => {
                tracing::warn!(%error, "a backend does not answer");
                tokio::time::sleep(again).await;
                waited += again;
                again = (again * 2).min(ASK_AGAIN_MAX);
            }
            answered => return answered,
        }
    }
}

/// The end of what a step said.
fn tail(said: &[u8]) -> String {
    let from = said.len().saturating_sub(TAIL_BYTES_MAX);
    let text = String::from_utf8_lossy(said.get(from..).unwrap_or_default()).into_owned();
    let over = text.len().saturating_sub(TAIL_BYTES_MAX);
    text.get(text.ceil_char_boundary(over)..).unwrap_or_default().to_owned()
}
