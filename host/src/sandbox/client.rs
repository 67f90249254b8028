//! The host's half: starts runners, hands them descriptors, and kills them.

use std::fs::File;
use std::path::PathBuf;

use helix_ids::{ArtifactType, Digest};

use super::protocol::{CompileLimits, GuestLimits, Inspection, Limit, Usage, Verdict};
use crate::contract::raw;

/// Starts and holds runners. One for each host.
pub struct Sandbox {
    _private: (),
}

/// A component that was inspected and compiled. Holds the sealed, authenticated native code.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub digest: Digest,
    pub inspection: Inspection,
}

/// Why a component is refused, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component breaks a rule; `code` is lower snake_case, `message` names every offender.
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

#[derive(Clone, Debug)]
pub struct WrittenOutput {
    pub role: String,
    pub key: String,
    pub finished: bool,
    pub size_bytes: u64,
}

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
    pub fn new(_settings: SandboxSettings) -> Self {
        unimplemented!()
    }

    /// Looks at a component without compiling it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn inspect(&self, _component: &[u8], _limits: &CompileLimits) -> Result<Inspection, LoadError> {
        unimplemented!()
    }

    /// Inspects and compiles, or takes the compiled form from the cache.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(&self, _component: &[u8], _limits: &CompileLimits) -> Result<Compiled, LoadError> {
        unimplemented!()
    }

    /// Asks a component what it is.
    ///
    /// # Errors
    /// [`GuestError`].
    pub async fn describe(&self, _component: &Compiled) -> Result<raw::Manifest, GuestError> {
        unimplemented!()
    }

    /// Asks what a call would do. Under small limits of its own.
    ///
    /// # Errors
    /// [`GuestError`].
    pub async fn plan(&self, _component: &Compiled, _call: &raw::Call) -> Result<raw::Proposal, GuestError> {
        unimplemented!()
    }

    /// Runs a guest in a fresh runner. Dropping the future kills the runner.
    ///
    /// # Errors
    /// [`GuestError`].
    pub async fn run(
        &self,
        _component: &Compiled,
        _call: &raw::Call,
        _roles: &[String],
        _inputs: Vec<InputFile>,
        _limits: &GuestLimits,
        _events: &mut dyn RunEvents,
    ) -> Result<RunOutcome, GuestError> {
        unimplemented!()
    }

    /// Reads a whole file in a runner and says whether it is complete and well formed.
    ///
    /// # Errors
    /// [`GuestError::Fault`] or [`GuestError::Limit`].
    pub async fn check(&self, _file: File, _artifact_type: ArtifactType) -> Result<Verdict, GuestError> {
        unimplemented!()
    }

    /// The first `max_bytes` of a file after undoing gzip or BGZF, decoded in a runner.
    ///
    /// # Errors
    /// [`GuestError::Fault`] or [`GuestError::Limit`].
    pub async fn head(&self, _file: File, _max_bytes: u64) -> Result<Vec<u8>, GuestError> {
        unimplemented!()
    }
}
