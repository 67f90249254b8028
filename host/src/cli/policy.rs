//! `helixmcp policy`: write, check, widen, explain and compare what is allowed.

mod allow;
mod explain;
mod images;
pub(in crate::cli) mod look;

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use helix_ids::ProjectName;
use serde_json::json;

use super::Settings;
use super::output::{self, EXIT_BAD, Told};
use crate::call::roots;
use crate::policy::{self, FILE_BYTES_MAX, Policy, PolicyError, edit};

#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a commented policy with one project, which allows nothing to run yet
    Init(InitArgs),
    /// Say what is wrong with a policy, with line and column, and what is odd
    Check {
        /// [default: the policy in force]
        file: Option<PathBuf>,
    },
    /// Show all that a toolpack brings, and allow it after a yes
    Allow(allow::AllowArgs),
    /// Say whether a tool may run, by which rules, and where each limit comes from
    Explain(explain::ExplainArgs),
    /// Compare two policies by what they decide; exits 1 when anything got wider
    Diff { old: PathBuf, new: PathBuf },
}

#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// Name of the one project
    #[arg(long, default_value = "default", value_name = "NAME")]
    project: ProjectName,
    /// A folder from which files may be imported
    #[arg(long, value_name = "DIR")]
    import_root: Option<PathBuf>,
    /// A folder into which artifacts may be exported
    #[arg(long, value_name = "DIR")]
    export_root: Option<PathBuf>,
}

/// # Errors
/// [`Told`] where it is the caller's or the operator's turn.
pub async fn run(
    command: PolicyCommand,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Init(args) => init(&args, settings, out),
        PolicyCommand::Check { file } => {
            check(&file.unwrap_or_else(|| settings.policy_file.clone()), settings, out)
        }
        PolicyCommand::Allow(args) => Box::pin(allow::run(&args, settings, out)).await,
        PolicyCommand::Explain(args) => Box::pin(explain::run(&args, settings, out)).await,
        PolicyCommand::Diff { old, new } => diff(&old, &new, settings, out),
    }
}

fn init(args: &InitArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let import_root = args.import_root.as_deref().map(folder).transpose()?;
    let export_root = args.export_root.as_deref().map(folder).transpose()?;
    let text = edit::starter(&args.project, import_root.as_deref(), export_root.as_deref());
    let path = &settings.policy_file;
    Policy::from_toml(&text)
        .and_then(|policy| with_good_roots(policy, settings))
        .map_err(|error| Told::arguments(error.to_string()))?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .with_context(|| format!("cannot make {}", parent.display()))?;
    // Whole or not at all, and never over a policy that is there.
    let mut file = tempfile::NamedTempFile::new_in(parent)
        .with_context(|| format!("cannot write into {}", parent.display()))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    if let Err(error) = file.persist_noclobber(path) {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            return Err(Told::arguments(format!("{} is there already, and stays", path.display())));
        }
        return Err(error.error).with_context(|| format!("cannot write {}", path.display()));
    }
    if settings.json {
        output::json(
            out,
            &json!({ "policy": path, "project": args.project, "import_root": import_root, "export_root": export_root }),
        )?;
    } else {
        writeln!(out, "wrote {}", path.display())?;
        writeln!(out, "Next: helixmcp policy allow TOOLPACK.wasm")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A folder that is there, under its true name: a policy's roots hold no links.
pub(super) fn folder(path: &Path) -> anyhow::Result<PathBuf> {
    match path.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(path) => Err(Told::arguments(format!("{} is no folder", path.display()))),
        Err(error) => Err(Told::arguments(format!("cannot use {}: {error}", path.display()))),
    }
}

fn check(path: &Path, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let parsed = Policy::from_bytes(&read(path)?).and_then(|policy| with_good_roots(policy, settings));
    let mut refusals = unsafe_file(path)?;
    let (problems, odd) = match &parsed {
        Ok(policy) => {
            let mut odd = policy::odd(policy);
            odd.extend(odd_folders(policy));
            (Vec::new(), odd)
        }
        Err(PolicyError(problems)) => (problems.clone(), Vec::new()),
    };
    let is_good = problems.is_empty() && refusals.is_empty();
    if settings.json {
        let problems: Vec<_> = problems
            .iter()
            .map(|found| json!({ "line": found.line, "column": found.column, "message": found.message }))
            .chain(refusals.iter().map(|reason| json!({ "message": reason })))
            .collect();
        output::json(out, &json!({ "file": path, "good": is_good, "problems": problems, "odd": odd }))?;
    } else {
        let file = path.display();
        for found in &problems {
            writeln!(out, "{file}:{}:{}: {}", found.line, found.column, output::visible(&found.message))?;
        }
        for reason in refusals.drain(..) {
            writeln!(out, "{file}: {reason}")?;
        }
        for line in &odd {
            writeln!(out, "{file}: odd: {}", output::visible(line))?;
        }
        if is_good {
            writeln!(out, "{file}: good")?;
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) })
}

/// The policy, if no root of it leads to what the host keeps for itself. A draft is held to where
/// the policy in force lies.
fn with_good_roots(policy: Policy, settings: &Settings) -> Result<Policy, PolicyError> {
    match roots::private(&policy, &settings.home, &settings.policy_file, None) {
        problems if problems.is_empty() => Ok(policy),
        problems => Err(PolicyError(problems)),
    }
}

fn diff(old: &Path, new: &Path, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let changes = policy::diff(&good(old)?, &good(new)?);
    let is_wider = changes.iter().any(|change| change.wider);
    if settings.json {
        let changes: Vec<_> =
            changes.iter().map(|change| json!({ "wider": change.wider, "what": change.what })).collect();
        output::json(out, &json!({ "wider": is_wider, "changes": changes }))?;
    } else if changes.is_empty() {
        writeln!(out, "nothing is decided otherwise")?;
    } else {
        for change in &changes {
            let sign = if change.wider { "wider   " } else { "narrower" };
            writeln!(out, "{sign}  {}", output::visible(&change.what))?;
        }
    }
    Ok(if is_wider { ExitCode::from(EXIT_BAD) } else { ExitCode::SUCCESS })
}

/// A policy that must be good for what was asked.
pub(super) fn good(path: &Path) -> anyhow::Result<Policy> {
    Policy::from_bytes(&read(path)?).map_err(|error| {
        let lines: Vec<String> = error.0.iter().map(|found| format!("{}: {found}", path.display())).collect();
        Told::error(EXIT_BAD, lines.join("\n"))
    })
}

/// The file's bytes, one more than a policy may have at most, so that the parser refuses it.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cap = u64::try_from(FILE_BYTES_MAX)?.saturating_add(1);
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(cap).read_to_end(&mut bytes));
    match outcome {
        Ok(_length) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Told::arguments(format!(
            "there is no policy {}; `helixmcp policy init` writes one",
            path.display()
        ))),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// What a host would refuse of the file itself, whatever it says.
fn unsafe_file(path: &Path) -> anyhow::Result<Vec<&'static str>> {
    let metadata = path.symlink_metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    let mut reasons = Vec::new();
    if metadata.is_symlink() {
        reasons.push("is a symlink; a policy must be a regular file");
    } else if metadata.mode() & 0o022 != 0 {
        reasons.push("can be written by others; `chmod go-w` it");
    }
    Ok(reasons)
}

/// Roots that are not there, or that anybody can fill.
fn odd_folders(policy: &Policy) -> Vec<String> {
    let mut odd = Vec::new();
    let mut look = |line: u32, kind: &str, name: &str, path: &Path| match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            odd.push(format!("line {line}: [[{kind}_root]] {name}: {} is a symlink", path.display()));
        }
        Ok(metadata) if !metadata.is_dir() => {
            odd.push(format!("line {line}: [[{kind}_root]] {name}: {} is no folder", path.display()));
        }
        Ok(metadata) if metadata.mode() & 0o002 != 0 => {
            odd.push(format!(
                "line {line}: [[{kind}_root]] {name}: anybody may write into {}",
                path.display()
            ));
        }
        Ok(_folder) => {}
        Err(error) => {
            odd.push(format!("line {line}: [[{kind}_root]] {name}: {}: {error}", path.display()));
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    for project in policy.projects() {
        for root in policy.import_roots(project).into_iter().filter(|root| seen.insert(root.line)) {
            look(root.line, "import", root.name.as_str(), &root.path);
        }
        for root in policy.export_roots(project).into_iter().filter(|root| seen.insert(root.line)) {
            look(root.line, "export", root.name.as_str(), &root.path);
        }
    }
    odd
}

#[cfg(test)]
mod tests;
