//! From a policy entry to a toolpack: read once, hash, look up, and only then look inside.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use helix_ids::{Digest, ToolName};

use super::{ListedTool, Refused, Toolpack};
use crate::contract::{Manifest, raw, schema};
use crate::ledger::Ledger;
use crate::policy::{ComponentRule, Names, Policy};
use crate::sandbox::protocol::CompileLimits;
use crate::sandbox::{Compiled, GuestError, LoadError, Sandbox};

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
    let (bytes, digest) = read(folder, policy, rule).map_err(refused)?;
    // The same buffer is hashed, admitted and compiled: nothing can be swapped in between.
    policy.admit_component(&digest).map_err(|denial| refused((denial.code, denial.message)))?;
    let compiled = sandbox.load(&bytes, &limits(policy)).await.map_err(|error| refused(of_load(error)))?;
    let manifest = manifest(&compiled, sandbox, ledger).await.map_err(refused)?;
    let manifest = Manifest::parse(manifest).map_err(|error| refused((error.code, error.message)))?;
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

/// Reads at most the size cap; hashing and looking up is all that is done with the bytes here.
fn read(
    folder: &Path,
    policy: &Policy,
    rule: &ComponentRule,
) -> Result<(Vec<u8>, Digest), (&'static str, String)> {
    let cap = policy.compile.component_bytes;
    let path = folder.join(format!("{}.wasm", rule.digest.to_hex()));
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let mut bytes = Vec::new();
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(&path)
        .and_then(|file| file.take(cap.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| missing(rule, &error))?;
    if bytes.len() as u64 > cap {
        return Err(("component_too_large", format!("the component is larger than {cap} bytes")));
    }
    let actual = Digest::of(&bytes);
    if actual != rule.digest {
        let message = format!("the file of {} holds other bytes: {actual}", rule.digest);
        return Err(("component_not_allowed", message));
    }
    Ok((bytes, actual))
}

fn missing(rule: &ComponentRule, error: &io::Error) -> (&'static str, String) {
    let message = format!(
        "the component's file cannot be read ({error}); `helixmcp policy allow FILE` puts {} there",
        rule.name
    );
    ("component_missing", message)
}

/// What a component says of itself: asked once, then kept by digest, since a deterministic
/// guest has one answer.
async fn manifest(
    compiled: &Compiled,
    sandbox: &Sandbox,
    ledger: &Ledger,
) -> Result<raw::Manifest, (&'static str, String)> {
    let fault = |message: String| ("host_fault", message);
    let kept = ledger.manifest(compiled.digest).await.map_err(|error| fault(error.to_string()))?;
    if let Some(text) = kept {
        return serde_json::from_str(&text).map_err(|error| fault(error.to_string()));
    }
    let manifest = sandbox.describe(compiled).await.map_err(of_describe)?;
    let text = serde_json::to_string(&manifest).map_err(|error| fault(error.to_string()))?;
    if let Err(error) = ledger.remember_manifest(compiled.digest, &text).await {
        // Kept to spare a question: it is asked again at the next start.
        tracing::warn!(error = &error as &dyn std::error::Error, "a manifest could not be kept");
    }
    Ok(manifest)
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
