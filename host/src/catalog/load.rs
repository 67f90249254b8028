//! From a policy entry to a toolpack: read once, hash, look up, and only then look inside. Of a file
//! that is what it was when all this was done before, nothing is read until a guest of it starts.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use helix_ids::{Digest, ToolName, ToolpackName};

use super::{ListedTool, Refused, Toolpack};
use crate::artifacts::seal_of;
use crate::contract::{Manifest, schema};
use crate::ledger::{Ledger, Millis, Seal};
use crate::policy::{ComponentRule, Names, Policy};
use crate::sandbox::client::Seen;
use crate::sandbox::protocol::CompileLimits;
use crate::sandbox::{Compiled, GuestError, LoadError, Sandbox};

/// How long ago a file must have been changed last for its seal to be kept.
const SETTLED_MS: i128 = 2_500;

/// Loads the component of one policy entry.
pub(super) async fn load(
    folder: &Path,
    policy: &Policy,
    rule: &ComponentRule,
    sandbox: &Sandbox,
    ledger: &Ledger,
) -> Result<Toolpack, Refused> {
    let refused = |(code, message): (&'static str, String)| Refused {
        digest: rule.digest,
        name: rule.name.clone(),
        code,
        message,
    };
    let Found { compiled, manifest: known, seal } =
        found(folder, policy, rule, sandbox).await.map_err(refused)?;
    let text = manifest(&compiled, sandbox, ledger).await.map_err(refused)?;
    let raw = serde_json::from_str(&text).map_err(|error| refused(("host_fault", error.to_string())))?;
    let digest = Digest::of(text.as_bytes());
    let is_known = known == Some(digest);
    let parsed = if is_known { Manifest::parse_known(raw) } else { Manifest::parse(raw) };
    let manifest = parsed.map_err(|error| refused((error.code, error.message)))?;
    if let (Some(seal), false) = (seal, is_known) {
        let seen = Seen { inspection: compiled.inspection.clone(), manifest: digest };
        sandbox.keep_seen(&rule.digest, &seal, &limits(policy), &seen).await;
    }
    if manifest.name != rule.name {
        let message = format!("policy calls it {}, it calls itself {}", rule.name, manifest.name);
        return Err(refused(("toolpack_name_differs", message)));
    }
    if let Some(missing) = missing_tool(rule, &manifest) {
        let message = format!("policy lists tool {missing}, which this toolpack does not have");
        return Err(refused(("tool_missing", message)));
    }
    Ok(assemble(rule, manifest, compiled))
}

/// A tool that policy lists by name and the toolpack does not have.
fn missing_tool<'a>(rule: &'a ComponentRule, manifest: &Manifest) -> Option<&'a ToolName> {
    match &rule.tools {
        Names::All => None,
        Names::These(names) => {
            names.iter().find(|name| manifest.tools.iter().all(|tool| tool.name != **name))
        }
    }
}

fn assemble(rule: &ComponentRule, manifest: Manifest, compiled: Compiled) -> Toolpack {
    let listed = manifest.tools.iter().filter(|tool| rule.tools.holds(&tool.name));
    let tools = listed
        .map(|tool| ListedTool {
            tool: Arc::new(tool.clone()),
            input_schema: Arc::new(schema::input_schema(tool)),
        })
        .collect();
    Toolpack { digest: rule.digest, manifest, compiled, serve: rule.serve, tools }
}

/// A component, and what is known of its file.
struct Found {
    compiled: Compiled,
    /// Of the manifest that kept every rule when the file was read last.
    manifest: Option<Digest>,
    /// Under which it may be known again.
    seal: Option<String>,
}

/// Compiles what the file holds, or promises to, if it holds what it held when that was done last.
async fn found(
    folder: &Path,
    policy: &Policy,
    rule: &ComponentRule,
    sandbox: &Sandbox,
) -> Result<Found, (&'static str, String)> {
    let limits = limits(policy);
    let source = Source {
        path: folder.join(format!("{}.wasm", rule.digest.to_hex())),
        digest: rule.digest,
        name: rule.name.clone(),
        bytes_max: limits.component_bytes,
    };
    let began_ms = Ledger::now_ms();
    let file = source.open()?;
    policy.admit_component(&rule.digest).map_err(|denial| (denial.code, denial.message))?;
    let before = seal_of(&file).ok().filter(|seal| is_settled(seal, began_ms));
    let seal = before.as_ref().map(written);
    if let Some(seal) = seal.clone()
        && let Some(seen) = sandbox.seen(&rule.digest, &seal, &limits).await.map_err(of_load)?
    {
        let read = Box::new(move || {
            let bytes = source.open().and_then(|file| source.read(&file));
            bytes.map_err(|(_code, message)| message)
        });
        let compiled = sandbox.later(rule.digest, seal.clone(), seen.inspection, &limits, read);
        return Ok(Found { compiled, manifest: Some(seen.manifest), seal: Some(seal) });
    }
    let bytes = source.read(&file)?;
    let has_stayed = seal_of(&file).ok() == before;
    // The same buffer is hashed and compiled: nothing can be swapped in between.
    let compiled = sandbox.load(&bytes, &limits).await.map_err(of_load)?;
    Ok(Found { compiled, manifest: None, seal: seal.filter(|_| has_stayed) })
}

/// Whether a file last changed so long before it was read that every later change shows in its
/// seal: file systems keep times in steps, some of them of two seconds.
fn is_settled(seal: &Seal, read_ms: Millis) -> bool {
    let changed_ms = seal.ctime_ns.div_euclid(1_000_000);
    i128::from(read_ms).saturating_sub(changed_ms) > SETTLED_MS
}

/// A seal as text. A file that is another, or was written to, has another one.
fn written(seal: &Seal) -> String {
    let Seal { device, inode, size_bytes, mtime_ns, ctime_ns } = seal;
    format!("{device} {inode} {size_bytes} {mtime_ns} {ctime_ns}")
}

/// Where a component lies, and what its bytes have to be.
struct Source {
    path: PathBuf,
    digest: Digest,
    name: ToolpackName,
    bytes_max: u64,
}

impl Source {
    fn open(&self) -> Result<File, (&'static str, String)> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let opened = File::options().read(true).custom_flags(flags).open(&self.path);
        opened.map_err(|error| missing(&self.name, &error))
    }

    /// Reads at most the size cap; hashing is all that is done with the bytes here.
    fn read(&self, file: &File) -> Result<Vec<u8>, (&'static str, String)> {
        let cap = self.bytes_max;
        let mut bytes = Vec::new();
        let read = file.take(cap.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| missing(&self.name, &error))?;
        if bytes.len() as u64 > cap {
            return Err(("component_too_large", format!("the component is larger than {cap} bytes")));
        }
        let actual = Digest::of(&bytes);
        if actual != self.digest {
            let message = format!("the file of {} holds other bytes: {actual}", self.digest);
            return Err(("component_not_allowed", message));
        }
        Ok(bytes)
    }
}

fn missing(name: &ToolpackName, error: &io::Error) -> (&'static str, String) {
    let message = format!(
        "the component's file cannot be read ({error}); `helixmcp policy allow FILE` puts {name} there"
    );
    ("component_missing", message)
}

/// What a component says of itself, as JSON: asked once, then kept by digest, since a deterministic
/// guest has one answer.
async fn manifest(
    compiled: &Compiled,
    sandbox: &Sandbox,
    ledger: &Ledger,
) -> Result<String, (&'static str, String)> {
    let fault = |message: String| ("host_fault", message);
    let kept = ledger.manifest(compiled.digest).await.map_err(|error| fault(error.to_string()))?;
    if let Some(text) = kept {
        return Ok(text);
    }
    let manifest = sandbox.describe(compiled).await.map_err(of_describe)?;
    let text = serde_json::to_string(&manifest).map_err(|error| fault(error.to_string()))?;
    if let Err(error) = ledger.remember_manifest(compiled.digest, &text).await {
        // Kept to spare a question: it is asked again at the next start.
        tracing::warn!(error = &error as &dyn std::error::Error, "a manifest could not be kept");
    }
    Ok(text)
}

fn of_load(error: LoadError) -> (&'static str, String) {
    match error {
        LoadError::Refused { code, message } => (code, message),
        LoadError::Fault { message } => ("host_fault", message),
    }
}

fn of_describe(error: GuestError) -> (&'static str, String) {
    let code = match &error {
        GuestError::Fault { .. } => "host_fault",
        GuestError::Tool(..)
        | GuestError::Trap { .. }
        | GuestError::Input { .. }
        | GuestError::Limit { .. } => "describe_failed",
    };
    (code, format!("`describe` did not answer: {error}"))
}

/// The caps under which this policy lets a component be compiled.
#[must_use]
pub fn limits(policy: &Policy) -> CompileLimits {
    let limits = &policy.compile;
    CompileLimits {
        component_bytes: limits.component_bytes,
        body_bytes: limits.body_bytes,
        functions: limits.functions,
        instances: limits.instances,
        imports: limits.imports,
        memory_bytes: limits.memory_bytes,
        cpu: limits.cpu,
        guest_memory_bytes: policy.guest_memory_bytes(),
    }
}
