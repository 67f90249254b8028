//! `helixmcp fsck`: whether the ledger agrees with itself and with the store. It looks without
//! owning the home, so it works beside a host.

use std::collections::HashSet;
use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use helix_ids::Digest;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde_json::json;

use crate::artifacts::{ArtifactError, Store, preview};
use crate::call::host::PolicyFile;
use crate::cli::{Settings, output};
use crate::ledger::{Checked, Finding, Ledger};

/// Most bytes of one finding that are printed: it may quote a row that somebody edited.
const WHAT_BYTES_MAX: usize = 512;

#[derive(Args, Clone, Copy, Debug)]
pub struct FsckCommand {
    /// Hash every stored byte as well
    #[arg(long)]
    deep: bool,
}

/// Exit code 0 when all is well, 1 when something was found.
///
/// # Errors
/// When there is nothing to check or it cannot be read.
pub async fn run(command: FsckCommand, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let policy = PolicyFile::look(&settings.policy_file)?;
    let store_root = policy.store_root().unwrap_or(&settings.home).to_owned();
    let is_well = fsck(&settings.home, &store_root, command.deep, settings.json, out).await?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(output::EXIT_BAD) })
}

/// Checks the home, prints what is wrong and whether anything was: `false` means that it was.
/// `deep` hashes every object.
///
/// # Errors
/// When there is nothing to check or it cannot be read.
pub async fn fsck(
    home: &Path,
    store_root: &Path,
    deep: bool,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let ledger = Ledger::look(&home.join("ledger.sqlite")).await?;
    let bar = std::io::stderr().is_terminal().then(bar);
    let mut findings = ledger.fsck_telling(&mut |checked| show(bar.as_ref(), checked)).await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let objects = ledger.objects().await?;
    let checked = objects.len();
    let named: HashSet<Digest> = objects.iter().map(|(digest, _)| *digest).collect();
    let store = Arc::new(Store::look(store_root)?);
    let of_bytes = {
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || check_objects(&store, &objects, deep)).await?
    };
    findings.extend(of_bytes);
    if !is_host_running(home)? {
        let left = store.leftovers()?;
        findings.extend(left.into_iter().map(|name| Finding {
            code: "temporary_left",
            what: format!("incoming/{name} was never finished; the next start of the host removes it"),
        }));
    }
    // None is wrong: a call that was killed leaves some, and so does an older backup of the ledger.
    let unnamed =
        if deep { store.stored()?.iter().filter(|digest| !named.contains(*digest)).count() } else { 0 };
    print(&findings, Counted { checked, unnamed, deep }, json, out)?;
    Ok(findings.is_empty())
}

/// On a terminal only: a large ledger takes minutes.
fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} rows, {msg} ({eta} left)")
    {
        bar.set_style(style);
    }
    bar
}

fn show(bar: Option<&ProgressBar>, checked: Checked) {
    if let Some(bar) = bar {
        bar.set_length(checked.of);
        bar.set_position(checked.done);
        bar.set_message(checked.what);
    }
}

fn check_objects(store: &Store, objects: &[(Digest, u64)], deep: bool) -> Vec<Finding> {
    objects.iter().filter_map(|(digest, size_bytes)| check_object(store, digest, *size_bytes, deep)).collect()
}

fn check_object(store: &Store, digest: &Digest, size_bytes: u64, deep: bool) -> Option<Finding> {
    if !store.has(digest, size_bytes) {
        let what = format!("{digest}: the store has no file of {size_bytes} bytes for it");
        return Some(Finding { code: "bytes_missing", what });
    }
    if !deep {
        return None;
    }
    match store.open_object(digest, None) {
        Ok(_) => None,
        Err(error @ ArtifactError::Damaged { .. }) => {
            Some(Finding { code: "bytes_damaged", what: error.to_string() })
        }
        Err(other) => Some(Finding { code: "bytes_unreadable", what: format!("{digest}: {other}") }),
    }
}

/// A host holds its lock for as long as it lives.
fn is_host_running(home: &Path) -> anyhow::Result<bool> {
    let path = home.join("host.lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot open `{}`", path.display())),
    };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot ask for the lock `{}`", path.display())),
    }
}

/// How many objects were looked at, and how.
#[derive(Clone, Copy)]
struct Counted {
    checked: usize,
    /// Objects that no artifact and no step names; counted only when all are read anyway.
    unnamed: usize,
    deep: bool,
}

fn print(findings: &[Finding], counted: Counted, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let Counted { checked, unnamed, deep } = counted;
    if json {
        let report = json!({
            "ok": findings.is_empty(), "deep": deep, "objects": checked, "unnamed_objects": unnamed,
            "findings": findings,
        });
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(());
    }
    let width = findings.iter().map(|finding| finding.code.len()).max().unwrap_or_default();
    for finding in findings {
        let (what, _truncated) = preview::text(finding.what.as_bytes(), WHAT_BYTES_MAX, 1);
        writeln!(out, "{:width$}  {}", finding.code, what.trim_end())?;
    }
    let how = if deep { "hashed" } else { "looked for" };
    match findings.len() {
        0 => writeln!(out, "clean: the ledger holds, {checked} objects {how}")?,
        found => writeln!(out, "{found} findings; {checked} objects {how}")?,
    }
    match unnamed {
        0 => {}
        1 => writeln!(out, "besides, 1 object that no artifact or step names: harmless, it only takes room")?,
        _ => {
            writeln!(
                out,
                "besides, {unnamed} objects that no artifact or step names: harmless, they only take room"
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use helix_ids::{ArtifactType, identity};

    use super::*;
    use crate::ledger::{NewArtifact, NewEvent, Owner};

    struct Home {
        folder: tempfile::TempDir,
        object: PathBuf,
    }

    impl Home {
        fn path(&self) -> &Path {
            self.folder.path()
        }

        async fn fsck(&self, deep: bool) -> (bool, String) {
            let mut out = Vec::new();
            let clean = fsck(self.path(), self.path(), deep, false, &mut out).await.unwrap();
            (clean, String::from_utf8(out).unwrap())
        }
    }

    /// A home with one artifact.
    async fn home() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger.sqlite"), Owner("x".into())).await.unwrap();
        let store = Store::open(folder.path(), 0).unwrap();
        let stored = store.put(&mut b"hello\n".as_slice(), 100, &mut |_| ()).unwrap();
        let name = "lab".parse().unwrap();
        let project = identity::project_id(&name);
        ledger.ensure_project(project, &name).await.unwrap();
        let new = NewArtifact {
            id: identity::artifact_id(project, stored.digest, ArtifactType::Text),
            project,
            digest: stored.digest,
            artifact_type: ArtifactType::Text,
            size_bytes: stored.size_bytes,
            label: None,
            seal: stored.seal,
        };
        let event = NewEvent { project, kind: "artifact_imported", caller: "x".into(), body: json!({}) };
        ledger.add_artifact(new, event).await.unwrap();
        let hex = stored.digest.to_hex();
        let (first, second) = (hex.get(..2).unwrap(), hex.get(2..4).unwrap());
        let object = folder.path().join("objects").join(first).join(second).join(&hex);
        Home { folder, object }
    }

    #[tokio::test]
    async fn a_whole_home_is_clean() {
        let home = home().await;
        for deep in [false, true] {
            let (clean, said) = home.fsck(deep).await;
            assert!(clean, "{said}");
            assert!(said.starts_with("clean: "), "{said}");
        }
        let mut out = Vec::new();
        assert!(fsck(home.path(), home.path(), true, true, &mut out).await.unwrap());
        let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            report,
            json!({"ok": true, "deep": true, "objects": 1, "unnamed_objects": 0, "findings": []})
        );
    }

    #[tokio::test]
    async fn changed_bytes_show_when_they_are_hashed_and_lost_ones_always() {
        let home = home().await;
        std::fs::set_permissions(&home.object, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&home.object, "HELLO\n").unwrap();
        assert!(home.fsck(false).await.0);
        let (clean, said) = home.fsck(true).await;
        assert!(!clean && said.contains("bytes_damaged"), "{said}");

        std::fs::remove_file(&home.object).unwrap();
        let (clean, said) = home.fsck(false).await;
        assert!(!clean && said.contains("bytes_missing"), "{said}");
    }

    #[tokio::test]
    async fn a_leftover_shows_only_when_no_host_runs() {
        let home = home().await;
        std::fs::write(home.path().join("incoming/.x.part"), "half").unwrap();
        let (clean, said) = home.fsck(false).await;
        assert!(!clean && said.contains("temporary_left"), "{said}");

        let lock = File::create(home.path().join("host.lock")).unwrap();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(home.fsck(false).await.0);
    }
}
