//! Where an author's component lies, and the sandbox that looks into it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::cli::Settings;
use crate::cli::output::{EXIT_FAILED, EXIT_FAULT, Told};
use crate::contract::Manifest;
use crate::policy::Policy;
use crate::sandbox::client::SandboxSettings;
use crate::sandbox::{Compiled, GuestError, LoadError, Sandbox};

/// An author's sandbox: a cache of its own that goes with it, so that no home is needed.
pub(super) struct Shelf {
    pub sandbox: Sandbox,
    pub policy: Policy,
    _cache: TempDir,
}

impl Shelf {
    /// With the limits of the operator's policy if there is one, else the defaults.
    ///
    /// # Errors
    /// When the policy is bad, or there is no place for temporary files.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let policy = match policy(settings)? {
            Some(policy) => policy,
            None => Policy::from_toml("version = 1\nname = \"none\"\n").context("the policy of no policy")?,
        };
        let cache = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Told::error(EXIT_FAULT, error.to_string()))?;
        let sandbox = Sandbox::new(SandboxSettings {
            cache_dir: cache.path().to_path_buf(),
            key,
            runners_max: 2,
            runner_exe: PathBuf::from("/proc/self/exe"),
        });
        sandbox.confine(crate::call::host::confinement(&policy));
        Ok(Self { sandbox, policy, _cache: cache })
    }

    /// Every check that a host makes when it loads a component.
    ///
    /// # Errors
    /// [`Told`] with the reason code.
    pub async fn load(&self, bytes: &[u8]) -> anyhow::Result<(Compiled, Manifest)> {
        let limits = crate::catalog::load::limits(&self.policy);
        let compiled = self.sandbox.load(bytes, &limits).await.map_err(of_load)?;
        let raw = self.sandbox.describe(&compiled).await.map_err(|error| of_describe(&error))?;
        let manifest = Manifest::parse(raw).map_err(|error| refused(error.code, &error.message))?;
        Ok((compiled, manifest))
    }

    /// A component's bytes, at most one more than policy lets it have.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, component: &Path) -> anyhow::Result<Vec<u8>> {
        let file = component_file(component)?;
        let cap = self.policy.compile.component_bytes.saturating_add(1);
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(cap).read_to_end(&mut bytes));
        read.map_err(|error| Told::arguments(format!("cannot read {}: {error}", file.display())))?;
        Ok(bytes)
    }
}

/// The operator's policy, if there is one.
///
/// # Errors
/// When it is bad.
pub(super) fn policy(settings: &Settings) -> anyhow::Result<Option<Policy>> {
    let file = &settings.policy_file;
    match fs::read(file) {
        Ok(bytes) => {
            let policy = Policy::from_bytes(&bytes).with_context(|| format!("{} is bad", file.display()))?;
            Ok(Some(policy))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The file itself, or the one that `build` writes into a crate's folder.
///
/// # Errors
/// When there is none.
pub(super) fn component_file(component: &Path) -> anyhow::Result<PathBuf> {
    if !component.is_dir() {
        return Ok(component.to_path_buf());
    }
    let file = built_file(component)?;
    if !file.is_file() {
        let message = format!("{} is missing: run `helixmcp toolpack build` first", file.display());
        return Err(Told::arguments(message));
    }
    Ok(file)
}

/// Where `build` puts the component of the crate in this folder.
///
/// # Errors
/// When there is no crate.
pub(super) fn built_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|error| Told::arguments(format!("no crate here: {}: {error}", manifest.display())))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("{} is bad", manifest.display()))?;
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let name = name.ok_or_else(|| Told::arguments("this Cargo.toml has no package"))?;
    let file = format!("{name}.wasm");
    Ok(if folder == Path::new(".") { PathBuf::from(file) } else { folder.join(file) })
}

fn refused(code: &str, message: &str) -> anyhow::Error {
    Told::error(EXIT_FAILED, format!("refused ({code}): {message}"))
}

fn of_load(error: LoadError) -> anyhow::Error {
    match error {
        LoadError::Refused { code, message } => refused(code, &message),
        LoadError::Fault { message } => Told::error(EXIT_FAULT, message),
    }
}

fn of_describe(error: &GuestError) -> anyhow::Error {
    let message = format!("`describe` did not answer: {error}");
    match error {
        GuestError::Fault { .. } => Told::error(EXIT_FAULT, message),
        GuestError::Tool(..)
        | GuestError::Trap { .. }
        | GuestError::Input { .. }
        | GuestError::Limit { .. } => refused("describe_failed", &message),
    }
}
