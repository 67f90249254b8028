//! Runners as the host sees them: what they do for an honest guest, how each attack ends, and
//! that none of them outlives its use.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use helix_ids::ArtifactType;
use helixmcp::contract::raw;
use helixmcp::sandbox::client::{
    Answering, GuestError, InputFile, LoadError, RunEvents, RunOutcome, SandboxSettings,
};
use helixmcp::sandbox::protocol::{Ask, CompileLimits, GuestLimits, Limit, Verdict};
use helixmcp::sandbox::{Compiled, Execution, Pace, Sandbox};

mod components;
mod files;
mod first_use;
mod guests;
mod processes;
pub mod steps;
mod warm;

const MIB: u64 = 1024 * 1024;

fn compile_limits() -> CompileLimits {
    CompileLimits {
        component_bytes: 8 * MIB,
        body_bytes: 128 * 1024,
        functions: 50_000,
        instances: 32,
        imports: 64,
        memory_bytes: 1536 * MIB,
        cpu: Duration::from_secs(60),
        guest_memory_bytes: 256 * MIB,
    }
}

fn guest_limits() -> GuestLimits {
    GuestLimits {
        memory_bytes: 256 * MIB,
        stack_bytes: 512 * 1024,
        fuel: 100_000_000,
        wall: Duration::from_secs(60),
        host_call_bytes: 8 * MIB,
        host_call_bytes_total: 1024 * MIB,
        host_calls: 100_000,
        handles: 64,
        log_bytes: MIB,
        decoded_bytes: 64 * MIB,
        outputs: 4,
        output_bytes: 64 * MIB,
        steps: 0,
    }
}

/// A sandbox with a folder of its own.
pub struct Bench {
    pub sandbox: Sandbox,
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let sandbox = Sandbox::new(settings(&folder.path().join("cache"), [7; 32])?);
        Ok(Self { sandbox, folder })
    }

    pub async fn load(&self, component: &[u8]) -> Result<Compiled> {
        Ok(self.sandbox.load(component, &compile_limits()).await?)
    }

    pub async fn run(&self, component: &Compiled, task: &Task) -> Result<(Ran, Outputs)> {
        let mut outputs = Outputs::default();
        let roles = ["out".to_owned()];
        let inputs = match &task.input {
            Some(bytes) => vec![InputFile { role: "data".to_owned(), index: 0, file: file(bytes)? }],
            None => Vec::new(),
        };
        let call = raw::Call {
            tool: "attack".to_owned(),
            params: task.params.to_owned(),
            inputs: inputs.iter().map(linked).collect(),
        };
        let limits = &task.limits;
        let execution =
            Execution { component, call: &call, roles: &roles, limits, warm: None, pace: Pace::Usual };
        let ran = self.sandbox.run(execution, inputs, &mut outputs).await;
        Ok((ran, outputs))
    }

    /// Runs one attack, and an honest guest after it: the host must still serve.
    async fn attack(&self, name: &str, task: &Task) -> Result<GuestError> {
        let attack = self.load(&crate::guests::hostile(name)?).await?;
        let (ended, _outputs) = self.run(&attack, task).await?;
        let honest = self.load(&crate::guests::honest("echo")?).await?;
        let (ran, _outputs) = self.run(&honest, &Task::default()).await?;
        ran.context("the honest guest after the attack")?;
        match ended {
            Ok(outcome) => bail!("{name} came to an end: {outcome:?}"),
            Err(error) => Ok(error),
        }
    }

    async fn refusal(&self, component: &[u8]) -> Result<(&'static str, String)> {
        refused(self.sandbox.load(component, &compile_limits()).await)
    }
}

pub type Ran = Result<RunOutcome, GuestError>;

fn refused<T: std::fmt::Debug>(loaded: Result<T, LoadError>) -> Result<(&'static str, String)> {
    match loaded {
        Err(LoadError::Refused { code, message }) => Ok((code, message)),
        other => bail!("not refused: {other:?}"),
    }
}

fn settings(cache_dir: &std::path::Path, key: [u8; 32]) -> Result<SandboxSettings> {
    Ok(SandboxSettings { cache_dir: cache_dir.to_owned(), key, runners_max: 4, runner_exe: binary()? })
}

/// The binary under test lies beside this test's own folder.
fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(std::path::Path::parent).context("no target folder")?;
    let binary = folder.join("helixmcp");
    ensure!(binary.is_file(), "{} is not there: build it first", binary.display());
    Ok(binary)
}

pub fn file(bytes: &[u8]) -> Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

fn linked(input: &InputFile) -> raw::LinkedInput {
    raw::LinkedInput {
        role: input.role.clone(),
        index: input.index,
        sample: None,
        artifact_type: "TEXT".to_owned(),
        digest: helix_ids::Digest::of(b"").to_string(),
        size_bytes: 0,
    }
}

/// What a guest is to do.
#[derive(Clone)]
pub struct Task {
    pub params: &'static str,
    pub input: Option<Vec<u8>>,
    pub limits: GuestLimits,
}

impl Default for Task {
    fn default() -> Self {
        Self { params: "{}", input: None, limits: guest_limits() }
    }
}

/// Keeps what a guest writes and says.
#[derive(Clone, Default)]
pub struct Outputs(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    files: Vec<(String, String, File)>,
    log: Vec<String>,
    progress: Vec<(u64, Option<u64>)>,
}

impl Outputs {
    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn bytes(&self, key: &str) -> Result<Vec<u8>> {
        let mut said = self.said();
        let (_, _, file) =
            said.files.iter_mut().find(|(_, made, _)| made == key).context("no such output")?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl RunEvents for Outputs {
    fn create_output(&mut self, role: &str, key: &str) -> std::io::Result<File> {
        let file = tempfile::tempfile()?;
        self.said().files.push((role.to_owned(), key.to_owned(), file.try_clone()?));
        Ok(file)
    }

    fn log(&mut self, level: &str, text: &str) {
        self.said().log.push(format!("{level}: {text}"));
    }

    fn progress(&mut self, done: u64, total: Option<u64>, _text: &str) {
        self.said().progress.push((done, total));
    }

    fn ask(&mut self, _ask: Ask) -> Answering<'_> {
        nobody_answers()
    }
}

fn nobody_answers() -> Answering<'static> {
    Box::pin(std::future::ready(Err(std::io::Error::other("there are no steps here"))))
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Text that does not compress to nothing.
fn reads(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut letter = |letters: &[u8]| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = usize::try_from(state >> 16).unwrap_or_default() % letters.len();
        letters[at]
    };
    let mut text = Vec::new();
    while text.len() < bytes {
        text.extend_from_slice(b"@read\n");
        text.extend((0..100).map(|_| letter(b"ACGT")));
        text.extend_from_slice(b"\n+\n");
        text.extend((0..100).map(|_| letter(b"IIIFFH#")));
        text.push(b'\n');
    }
    text
}
