//! `policy allow`: look at a toolpack in full, then add its digest to the policy.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use helix_ids::{Digest, ProjectName, ToolName};
use serde_json::json;

use super::look::{Looked, Looker};
use crate::cli::output::{self, EXIT_BUSY, EXIT_DENIED, EXIT_FAULT, Told};
use crate::cli::{Settings, attach};
use crate::policy::edit::{self, Allow};
use crate::policy::{self, Change, Names, Policy, Serve};

#[derive(Args, Clone, Debug)]
pub struct AllowArgs {
    /// The toolpack's component, a .wasm file
    #[arg(value_name = "FILE")]
    component: PathBuf,
    /// Allow without asking
    #[arg(long, short)]
    yes: bool,
    /// Allow this tool only; may be given again [default: all its tools]
    #[arg(long = "tool", value_name = "TOOL")]
    tools: Vec<ToolName>,
    /// Add it to this project's list; may be given again [default: the only project]
    #[arg(long = "project", value_name = "PROJECT")]
    projects: Vec<ProjectName>,
}

pub(super) async fn run(
    args: &AllowArgs,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    attach::obeys(settings).await?;
    let before = super::good(&settings.policy_file)?;
    let looker = Looker::new(settings, &before)?;
    let bytes = looker
        .read(&args.component)
        .map_err(|error| Told::arguments(format!("cannot read {}: {error}", args.component.display())))?;
    not_denied(&before, &Digest::of(&bytes))?;
    let found = looker.look(bytes).await?;
    let differences = differences(&looker, &before, &found).await?;
    let edited = edit::allow(before.text(), &entry(args, &before, &found)?)
        .map_err(|error| Told::arguments(error.to_string()))?;
    let after = Policy::from_toml(&edited).map_err(|error| Told::error(EXIT_FAULT, error.to_string()))?;
    let changes = policy::diff(&before, &after);
    if !settings.json {
        show(out, &found, &after, differences.as_deref(), &changes)?;
    }
    if !args.yes && !is_yes(out, settings)? {
        writeln!(out, "nothing was changed")?;
        return Ok(ExitCode::from(EXIT_DENIED));
    }
    unchanged(&settings.policy_file, &before)?;
    // The component first: a policy that names a file which is not there would offer nothing.
    keep(looker.toolpacks(), &found)?;
    replace(&settings.policy_file, edited.as_bytes())?;
    if let Some(problem) = attach::reload(settings).await? {
        return Err(Told::error(EXIT_FAULT, format!("the running host refuses the new policy: {problem}")));
    }
    if settings.json {
        let changes: Vec<_> =
            changes.iter().map(|change| json!({ "wider": change.wider, "what": change.what })).collect();
        let mut told = found.to_json(Some(&after));
        told["allowed"] = json!(true);
        told["policy"] = json!(settings.policy_file);
        told["differences"] = json!(differences);
        told["changes"] = json!(changes);
        output::json(out, &told)?;
    } else {
        writeln!(out, "allowed in {}", settings.policy_file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A denial would beat the entry, so to add it would be an empty promise.
fn not_denied(policy: &Policy, digest: &Digest) -> anyhow::Result<()> {
    match policy.admit_component(digest) {
        Err(denial) if denial.code == "component_denied" => {
            let line = denial.line.unwrap_or_default();
            Err(Told::error(EXIT_DENIED, format!("{denial} (line {line} of the policy)")))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A person reads for minutes. What was written meanwhile, perhaps a denial of this very
/// component, must not be undone by an edit of the older text.
fn unchanged(path: &Path, before: &Policy) -> anyhow::Result<()> {
    if super::good(path)?.text() == before.text() {
        return Ok(());
    }
    Err(Told::error(EXIT_BUSY, format!("{} was changed meanwhile: look again", path.display())))
}

fn entry(args: &AllowArgs, policy: &Policy, found: &Looked) -> anyhow::Result<Allow> {
    let missing = args.tools.iter().find(|name| !found.manifest.tools.iter().any(|tool| tool.name == **name));
    if let Some(name) = missing {
        return Err(Told::arguments(format!("{} has no tool {name}", found.manifest.name)));
    }
    let tools =
        if args.tools.is_empty() { Names::All } else { Names::These(args.tools.iter().cloned().collect()) };
    let projects = match (args.projects.as_slice(), policy.projects()) {
        ([], [only]) => vec![only.name.clone()],
        (named, _) => named.to_vec(),
    };
    let allowed = found.manifest.tools.iter().filter(|tool| tools.holds(&tool.name));
    let images = allowed.flat_map(|tool| &tool.images).map(|image| image.name.clone()).collect();
    Ok(Allow { digest: found.digest, name: found.manifest.name.clone(), tools, images, projects })
}

/// What differs from the version that is offered now; `None` where there is none to compare.
async fn differences(
    looker: &Looker,
    policy: &Policy,
    found: &Looked,
) -> anyhow::Result<Option<Vec<String>>> {
    let offered = policy.components().iter().find(|rule| {
        rule.name == found.manifest.name && rule.serve == Serve::Offered && rule.digest != found.digest
    });
    let Some(rule) = offered else { return Ok(None) };
    // One that cannot be looked at any more is no reason to refuse its successor.
    match looker.kept(&rule.digest).await {
        Ok(Some(old)) => Ok(Some(found.manifest.differences(&old.manifest))),
        Ok(None) => Ok(Some(vec![format!("{} cannot be compared: its file is gone", rule.digest)])),
        Err(error) => Ok(Some(vec![format!("{} cannot be compared: {error}", rule.digest)])),
    }
}

fn show(
    out: &mut dyn Write,
    found: &Looked,
    policy: &Policy,
    differences: Option<&[String]>,
    changes: &[Change],
) -> io::Result<()> {
    found.print(out, Some(policy))?;
    if let Some(differences) = differences {
        writeln!(out, "\nAgainst the version that is offered now, which becomes \"replay\":")?;
        for line in differences {
            writeln!(out, "  {}", output::visible(line))?;
        }
        if differences.is_empty() {
            writeln!(out, "  it says the same of itself; only its code differs")?;
        }
    }
    writeln!(out, "\nWhat this changes in the policy:")?;
    for change in changes {
        writeln!(out, "  {}", output::visible(&change.what))?;
    }
    if changes.is_empty() {
        writeln!(out, "  nothing")?;
    }
    found.print_missing(out, policy)
}

/// Asks a person. A script says `--yes`, since nobody can have read the above for it.
fn is_yes(out: &mut dyn Write, settings: &Settings) -> anyhow::Result<bool> {
    if settings.json || !io::stdin().is_terminal() {
        return Err(Told::arguments("say --yes: there is nobody to ask"));
    }
    write!(out, "\nAllow it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Puts the component's bytes under their digest.
fn keep(folder: &Path, found: &Looked) -> anyhow::Result<()> {
    replace(&folder.join(format!("{}.wasm", found.digest.to_hex())), &found.bytes)
}

/// Writes a file whole or not at all, for us alone.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let cannot = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.as_file().set_permissions(PermissionsExt::from_mode(0o600)).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).map_err(|error| error.error).with_context(cannot)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes the policies that it compares")]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let text = edit::starter(&"demo".parse().unwrap(), None, None);
        std::fs::write(&path, &text).unwrap();
        let before = crate::cli::policy::good(&path).unwrap();
        assert!(unchanged(&path, &before).is_ok());

        std::fs::write(&path, format!("{text}\n# looked at, and denied\n")).unwrap();
        let error = unchanged(&path, &before).unwrap_err();
        assert!(error.to_string().contains("changed meanwhile"), "{error}");
        assert_eq!(error.downcast_ref::<Told>().map(|told| told.code), Some(EXIT_BUSY));
    }
}
