//! Everything that one home has, put together once, and who is asking.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use helix_ids::text::escaped_line;
use helix_ids::{Digest, ProjectId};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::error::RETRY_FULL_STORE_MS;
use super::export::Exports;
use super::identify::{IdentifiedCall, Overtaken};
use super::import::Imports;
use super::rate::RateLimit;
use super::{CallError, recover};
use crate::artifacts::{ArtifactError, Door, Private, Store};
use crate::catalog::Catalog;
use crate::ledger::{Ledger, LedgerError, NewAttempt, NewDenial, Owner};
use crate::plan::Plan;
use crate::policy::{CallerLimits, Denial, Policy, Project};
use crate::run::turns::Turn;
use crate::run::{Backends, Effects, Entry, Job, NotEntered, Runs, Still, Turns, failure};
use crate::sandbox::Sandbox;
use crate::sandbox::client::{Confinement, SandboxSettings};
use crate::sandbox::profile::engine_description;

pub use super::policy_file::{PolicyFile, PolicyFileError};
pub use crate::run::Progress;

/// Runners beyond those that hold a long run, so that planning, previews and checks never wait
/// behind one.
const SHORT_RUNNERS: usize = 4;

/// Reads of whole artifacts at once, over all connections: also those of connections that are gone.
const READS_AT_ONCE: usize = 8;

/// When a caller whose queue is full may come again.
const RETRY_FULL_QUEUE_MS: u64 = 5_000;

/// When a caller whose steps have nobody to run them may come again.
const RETRY_BACKEND_MS: u64 = 30_000;

/// Denials of one caller that are recorded within a minute. Each costs some hundred bytes that are
/// kept for good, and nobody who works needs so many.
const DENIALS_PER_MINUTE: u64 = 60;

/// What the edge found out from flags, environment and files.
#[derive(Clone, Debug)]
pub struct HostSettings {
    pub home: PathBuf,
    pub policy_file: PathBuf,
    /// The binary to start runners from.
    pub runner_exe: PathBuf,
    /// Authenticates the compiled forms in the cache.
    pub cache_key: [u8; 32],
}

/// One home, owned by this process.
pub struct Host {
    pub settings: HostSettings,
    pub ledger: Ledger,
    pub store: Arc<Store>,
    pub sandbox: Arc<Sandbox>,
    pub backends: Arc<Backends>,
    pub catalog: Arc<Catalog>,
    pub runs: Runs,
    /// Who may ask a runner for something short: a plan, the head of a file.
    pub short: Turns,
    /// Who may read a whole artifact: each such read holds some megabytes.
    pub reading: Turns,
    pub imports: Imports,
    pub exports: Exports,
    /// What was made of policy when the host started, once and for all.
    start: Start,
    policy: PolicyFile,
    /// One load at a time, so that no older policy is loaded last.
    loading: Mutex<()>,
    confining: std::sync::Mutex<()>,
    rate: RateLimit,
    denials: RateLimit,
}

/// What a host takes from its policy only when it starts.
#[derive(Debug)]
struct Start {
    runners: u64,
    store_root: Option<PathBuf>,
}

/// Who asks: the local user, by uid and by what the client calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    /// Name and version from MCP, or `shell`. Escaped and capped.
    pub client: String,
    /// The connection's number, 0 when there is none. Turns are divided by it, quotas are not.
    pub connection: u64,
}

/// Longest name of a client that is recorded.
const CLIENT_BYTES_MAX: usize = 100;

impl Caller {
    /// The local user through a client that says this of itself.
    pub fn local(uid: u32, client: &str) -> Self {
        Self { uid, client: escaped_line(client, CLIENT_BYTES_MAX), connection: 0 }
    }

    /// Who it is, as quotas count it and the ledger records it. What a client calls itself is
    /// no proof of anything, so it does not divide one user's quota.
    pub fn name(&self) -> String {
        format!("uid:{}", self.uid)
    }

    /// For the record: who, and through which client.
    pub fn described(&self) -> String {
        format!("uid:{} {}", self.uid, self.client)
    }
}

/// One request's surroundings.
#[derive(Clone, Debug)]
pub struct Context {
    pub caller: Caller,
    /// Where progress goes, if the client asked for it. Sends never wait.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// Cancelled when the caller stops waiting: its request was cancelled or it went away.
    pub gone: CancellationToken,
}

/// Why a home cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the ledger cannot be opened")]
    Ledger(#[source] LedgerError),
    #[error("the store cannot be opened")]
    Store(#[source] ArtifactError),
    #[error("the policy cannot be used")]
    Policy(#[source] PolicyFileError),
}

impl Host {
    /// Opens a home that this process owns, loads its toolpacks and takes over what a host
    /// before this one left unfinished.
    ///
    /// # Errors
    /// [`OpenError`]. A missing policy is none: such a host offers nothing.
    pub async fn open(settings: HostSettings) -> Result<Arc<Self>, OpenError> {
        let policy = PolicyFile::open(&settings.policy_file, &settings.home).map_err(OpenError::Policy)?;
        let limits = policy.current().host.clone();
        let at_once = usize::try_from(limits.runners).unwrap_or(usize::MAX);
        // First: it starts a runner, which gets ready while the rest opens.
        let sandbox = Sandbox::new(SandboxSettings {
            cache_dir: settings.home.join("cache"),
            key: settings.cache_key,
            runners_max: at_once.saturating_add(SHORT_RUNNERS),
            runner_exe: settings.runner_exe.clone(),
        });
        let owner = Owner(format!("{}@{}", std::process::id(), Ledger::now_ms()));
        let ledger =
            Ledger::open(&settings.home.join("ledger.sqlite"), owner).await.map_err(OpenError::Ledger)?;
        let start =
            Start { runners: limits.runners, store_root: policy.current().store_root().map(PathBuf::from) };
        let store_root = start.store_root.as_ref().unwrap_or(&settings.home);
        let store = Store::open(store_root, limits.free_space_floor_bytes).map_err(OpenError::Store)?;
        let host = Arc::new(Self {
            ledger,
            store: Arc::new(store),
            sandbox: Arc::new(sandbox),
            backends: Arc::new(Backends::new(home_label(&settings.cache_key), store_root.clone())),
            catalog: Arc::new(Catalog::new(settings.home.join("toolpacks"))),
            runs: Runs::new(at_once),
            short: Turns::new(short_at_once()),
            reading: Turns::new(READS_AT_ONCE),
            imports: Imports::default(),
            exports: Exports::default(),
            start,
            policy,
            loading: Mutex::default(),
            confining: std::sync::Mutex::default(),
            rate: RateLimit::default(),
            denials: RateLimit::default(),
            settings,
        });
        host.load_policy().await.map_err(OpenError::Ledger)?;
        recover::recover(&host).await;
        Ok(host)
    }

    /// The policy in force now. A host without a policy file has one that allows nothing.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.current()
    }

    /// Whether there is a policy file, and what is wrong with the one that was refused last.
    pub fn policy_file(&self) -> &PolicyFile {
        &self.policy
    }

    /// The door to an operator's root, which leads to nothing of ours.
    pub fn door(&self, root: &Path) -> Door {
        let HostSettings { home, policy_file, .. } = &self.settings;
        let policy = self.policy();
        let stores = [Some(self.store.root()), policy.store_root().map(Path::to_owned)];
        Door::new(root, Private::new(home, policy_file, stores.iter().flatten().map(PathBuf::as_path)))
    }

    /// Reads the policy again if its file changed. A bad file leaves the old one in force.
    ///
    /// # Errors
    /// What is wrong with the new file.
    pub async fn reload_policy(&self) -> Result<bool, PolicyFileError> {
        self.policy.settle().await;
        let changed = self.policy.reload()?;
        if changed && let Err(error) = self.load_policy().await {
            tracing::error!(error = &error as &dyn std::error::Error, "a project could not be written");
        }
        Ok(changed)
    }

    /// Makes the rest of the host what the policy in force says.
    ///
    /// # Errors
    /// A project that could not be written: nothing can be kept in it.
    async fn load_policy(&self) -> Result<(), LedgerError> {
        // At once: a load before this one may take as long as a compiler does. First: nothing below
        // looks at a component in a runner that policy does not want.
        let policy = self.confined();
        self.store.keep_free(policy.host.free_space_floor_bytes);
        for key in self.waits_for_restart() {
            tracing::warn!(key, "the policy changed what takes a restart of the host");
        }
        let is_allowed = |component: &Digest| policy.admit_component(component).is_ok();
        self.runs.cancel_queued(is_allowed, "the policy, which no longer allows the component");
        let is_killed = |component: &Digest| policy.kills_running(component);
        self.runs.cancel_running(is_killed, "the policy, which denies the component and ends its runs");

        // Asked for under the lock: whoever waited loads what is in force by then.
        let _one_at_a_time = self.loading.lock().await;
        let policy = self.policy();
        let mut written = Ok(());
        for project in policy.projects() {
            written = written.and(self.ledger.ensure_project(project.id, &project.name).await);
        }
        self.catalog.load(&policy, &self.sandbox, &self.ledger).await;
        written
    }

    /// The policy in force, behind whose walls every runner works from now on. One at a time, so that
    /// an older policy's walls are never put in place of a newer's.
    fn confined(&self) -> Arc<Policy> {
        let _one_at_a_time = self.confining.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = self.policy();
        self.sandbox.confine(confinement(&policy));
        policy
    }

    /// Keys of the policy in force that say something else than this host does, until it is started
    /// again.
    #[must_use]
    pub fn waits_for_restart(&self) -> Vec<&'static str> {
        let policy = self.policy();
        let mut keys = Vec::new();
        if policy.host.runners != self.start.runners {
            keys.push("limits.host.runners");
        }
        if policy.store_root() != self.start.store_root.as_deref() {
            keys.push("store.root");
        }
        keys
    }

    /// Whether a run or an import is under way.
    pub fn is_busy(&self) -> bool {
        self.runs.open() > 0 || !self.imports.is_idle()
    }

    /// The project that a caller means.
    ///
    /// # Errors
    /// [`CallError::Denied`].
    pub async fn project(&self, context: &Context, asked: Option<&str>) -> Result<Project, CallError> {
        match self.policy().project(asked) {
            Ok(project) => Ok(project.clone()),
            Err(denial) => Err(self.deny(context, None, None, denial).await),
        }
    }

    /// Takes one request out of what the caller may make in a minute.
    ///
    /// # Errors
    /// [`CallError::Busy`].
    pub fn admit_request(&self, context: &Context) -> Result<(), CallError> {
        self.rate.admit(&context.caller.name(), self.policy().caller.requests_per_minute, "requests")
    }

    /// Records a denial and makes the error that its caller sees (invariant I-10). A caller who is
    /// denied more often than may be recorded is told to slow down instead, and no more than that.
    pub async fn deny(
        &self,
        context: &Context,
        project: Option<&Project>,
        tool: Option<&str>,
        denial: Denial,
    ) -> CallError {
        if let Err(too_often) = self.denials.admit(&context.caller.name(), DENIALS_PER_MINUTE, "denials") {
            return too_often;
        }
        let row = NewDenial {
            project: project.map(|project| project.id),
            caller: context.caller.described(),
            tool: tool.map(str::to_owned),
            rule: denial.rule.clone(),
            line: denial.line,
            code: denial.code.to_owned(),
            message: denial.message.clone(),
        };
        match self.ledger.deny(row).await {
            Ok(id) => CallError::Denied { denial, id },
            Err(error) => CallError::fault(error),
        }
    }

    /// Step 11: admits a job and starts it, or joins the run that somebody started meanwhile.
    /// Policy is asked once more, at the moment of the start.
    ///
    /// # Errors
    /// [`CallError::Busy`] when a quota is full, or when policy changed what was planned;
    /// [`CallError::Denied`] when it allows the call no more.
    pub async fn start(
        &self,
        context: &Context,
        call: &IdentifiedCall,
        job: Job,
    ) -> Result<Entry, CallError> {
        self.admit_bytes(job.run.project, &self.policy().caller).await?;
        self.admit_steps(&job.plan).await?;
        match self.enter(&context.caller, call, job) {
            Ok(entry) => Ok(entry),
            Err(NotEntered::TooMany(error)) => Err(CallError::Busy {
                code: "too_many_runs",
                message: error.to_string(),
                retry_after_ms: RETRY_FULL_QUEUE_MS,
            }),
            Err(NotEntered::Refused(overtaken)) => Err(self.overtaken(context, call, overtaken).await),
        }
    }

    /// Whether there is a backend that could run what is planned.
    async fn admit_steps(&self, plan: &Plan) -> Result<(), CallError> {
        let Some(rule) = plan.backend().filter(|_| !plan.steps().is_empty()) else { return Ok(()) };
        let answered = async { self.backends.of(rule).await?.probe().await };
        answered.await.map(drop).map_err(|error| CallError::Busy {
            code: "backend_unavailable",
            message: error.to_string(),
            retry_after_ms: RETRY_BACKEND_MS,
        })
    }

    /// Whether policy of this moment says of a call what it said when the call was identified.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn still_allowed(&self, context: &Context, call: &IdentifiedCall) -> Result<(), CallError> {
        match call.ask_again(&self.policy()) {
            Ok(()) => Ok(()),
            Err(overtaken) => Err(self.overtaken(context, call, overtaken).await),
        }
    }

    async fn overtaken(&self, context: &Context, call: &IdentifiedCall, overtaken: Overtaken) -> CallError {
        match overtaken {
            Overtaken::Changed => CallError::Busy {
                code: "policy_changed",
                message: Overtaken::Changed.to_string(),
                retry_after_ms: 0,
            },
            Overtaken::Denied(denial) => {
                let tool = Some(call.tool().name.as_str());
                self.deny(context, Some(call.project()), tool, denial).await
            }
        }
    }

    /// Enters a job among the runs, if policy as it is at this moment still says of its call what
    /// it said when it was planned.
    ///
    /// # Errors
    /// [`NotEntered`].
    pub fn enter(
        &self,
        caller: &Caller,
        call: &IdentifiedCall,
        job: Job,
    ) -> Result<Entry, NotEntered<Overtaken>> {
        self.runs.enter(self.effects(), &caller.name(), caller.connection, job, || {
            let policy = self.policy();
            call.ask_again(&policy).map(|()| policy.caller.clone())
        })
    }

    /// Whether a project may store more, and the disk has room.
    ///
    /// # Errors
    /// [`CallError::Busy`] with `store_full` or `store_quota`.
    pub async fn admit_bytes(&self, project: ProjectId, limits: &CallerLimits) -> Result<(), CallError> {
        let full = |code, message| CallError::Busy { code, message, retry_after_ms: RETRY_FULL_STORE_MS };
        self.store.admit().map_err(|error| full("store_full", error.to_string()))?;
        let stored = self.ledger.store_bytes(project).await.map_err(CallError::fault)?;
        if stored >= limits.store_bytes {
            let message = format!("the project stores {stored} bytes; policy allows {}", limits.store_bytes);
            return Err(full("store_quota", message));
        }
        Ok(())
    }

    /// Waits for its turn to ask a runner for something short, other connections' in between.
    pub async fn short_turn(&self, context: &Context) -> Turn {
        let Caller { connection, .. } = context.caller;
        self.short.take(&context.caller.name(), connection, u64::MAX).await
    }

    /// Waits for its turn to read a whole artifact, other connections' in between.
    pub async fn reading_turn(&self, context: &Context) -> Turn {
        let Caller { connection, .. } = context.caller;
        self.reading.take(&context.caller.name(), connection, u64::MAX).await
    }

    /// Whether policy of that moment still says of a call what it said when it was planned: asked
    /// before each effect of a run that may take days.
    pub fn still(self: &Arc<Self>, call: &IdentifiedCall) -> Still {
        let (host, call) = (Arc::downgrade(self), call.clone());
        Arc::new(move || {
            // Without its host nothing begins.
            let refused = |message: String| failure::of_policy(&message);
            let host = host.upgrade().ok_or_else(|| refused("the host leaves".to_owned()))?;
            call.ask_again(&host.policy()).map_err(|overtaken| match overtaken {
                Overtaken::Denied(denial) => refused(denial.message),
                Overtaken::Changed => refused(Overtaken::Changed.to_string()),
            })
        })
    }

    /// What a run may touch.
    pub fn effects(&self) -> Effects {
        Effects {
            ledger: self.ledger.clone(),
            store: Arc::clone(&self.store),
            sandbox: Arc::clone(&self.sandbox),
            backends: Arc::clone(&self.backends),
            store_bytes_max: self.policy().caller.store_bytes,
        }
    }

    /// An attempt of this caller, under the policy in force.
    pub fn new_attempt(&self, context: &Context, plan: &Plan) -> NewAttempt {
        NewAttempt { plan: plan.to_json().to_string(), ..self.new_attempt_without_plan(context) }
    }

    /// An attempt that ended before there was a plan.
    pub fn new_attempt_without_plan(&self, context: &Context) -> NewAttempt {
        let policy = self.policy();
        NewAttempt {
            caller: context.caller.described(),
            policy_file: policy.file_digest(),
            policy_text: policy.text().to_owned(),
            engine: engine_description(),
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            plan: "null".to_owned(),
            created_ms: Ledger::now_ms(),
        }
    }
}

/// What stands in a label of all that this home starts elsewhere. Follows from a key that never leaves
/// the home, and says nothing of it.
fn home_label(key: &[u8; 32]) -> String {
    let digest = Digest::of(&[b"helixmcp home label".as_slice(), key].concat());
    digest.to_hex().chars().take(32).collect()
}

/// More at once than there are processors would only slow each other down.
fn short_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(SHORT_RUNNERS)
}

/// What policy wants to stand around every runner.
#[must_use]
pub fn confinement(policy: &Policy) -> Confinement {
    Confinement { required: policy.host.require.clone(), cgroups: policy.host.cgroups.clone() }
}
