//! `toolpack list`: what lies in the home, and what policy says of it. Nothing is parsed (I-2).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use helix_ids::Digest;
use serde::Serialize;

use super::shelf;
use crate::cli::Settings;
use crate::cli::output;
use crate::policy::{ComponentRule, Policy, Serve};

/// One toolpack, by the name of its file.
#[derive(Debug, Serialize)]
struct Listed {
    name: Option<String>,
    digest: Digest,
    /// `offered`, `replay`, `denied`, `not_allowed` or `missing` (allowed, but its file is not there).
    state: &'static str,
    size_bytes: Option<String>,
}

/// # Errors
/// When the policy is bad, or the home cannot be read.
pub fn run(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let policy = shelf::policy(settings)?;
    let listed = all(&settings.home.join("toolpacks"), policy.as_ref())?;
    if settings.json {
        output::json(out, &listed)?;
    } else if listed.is_empty() {
        writeln!(out, "no toolpacks; `helixmcp policy allow FILE` adds one")?;
    } else {
        let row = |one: &Listed| {
            let size = one.size_bytes.as_deref().map_or(String::new(), output::size_of);
            vec![one.name.clone().unwrap_or_default(), one.state.to_owned(), size, one.digest.to_string()]
        };
        let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
        output::table(out, &["toolpack", "policy", "size", "digest"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn all(folder: &Path, policy: Option<&Policy>) -> anyhow::Result<Vec<Listed>> {
    let mut sizes = sizes(folder)?;
    let rules = policy.map(Policy::components).unwrap_or_default();
    let mut listed: Vec<Listed> = Vec::new();
    for rule in rules {
        let size = sizes.remove(&rule.digest);
        let state = state(rule, policy, size.is_some());
        listed.push(of(rule.digest, Some(rule.name.to_string()), state, size));
    }
    listed.extend(sizes.into_iter().map(|(digest, size)| of(digest, None, "not_allowed", Some(size))));
    listed.sort_by(|one, other| (&one.name, one.digest).cmp(&(&other.name, other.digest)));
    Ok(listed)
}

fn of(digest: Digest, name: Option<String>, state: &'static str, size: Option<u64>) -> Listed {
    Listed { name, digest, state, size_bytes: size.map(|size| size.to_string()) }
}

fn state(rule: &ComponentRule, policy: Option<&Policy>, is_there: bool) -> &'static str {
    let denied = policy.is_some_and(|policy| policy.admit_component(&rule.digest).is_err());
    match rule.serve {
        _ if denied => "denied",
        _ if !is_there => "missing",
        Serve::Offered => "offered",
        Serve::Replay => "replay",
    }
}

/// Digests and sizes of the files whose names are those of components.
fn sizes(folder: &Path) -> anyhow::Result<BTreeMap<Digest, u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut sizes = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let hex = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
        if let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
            sizes.insert(digest, entry.metadata()?.len());
        }
    }
    Ok(sizes)
}
