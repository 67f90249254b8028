//! The invariants of ARCHITECTURE.md that show at the border, each by its number. The others have
//! their tests beside the code that upholds them; `every_invariant_has_a_test` counts all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::stage::{Stage, text};
use crate::{crash, guests};

/// I-1. A call whose plan is refused leaves no attempt.
#[test]
fn i1_nothing_starts_without_a_plan() -> Result<()> {
    let component = guests::hostile("plan_more_than_declared")?;
    let mut stage = Stage::with(&[("plan-more-than-declared", &component)])?;
    let reply = stage.client.call("attack", json!({}))?;

    assert!(reply.is_error, "{}", reply.structured);
    let started =
        stage.runs()?.into_iter().any(|run| run.starts_with("attack") && run.ends_with("succeeded"));
    assert!(!started, "an attempt succeeded without a plan");
    assert_eq!(stage.artifacts_made()?, 0);
    stage.finish()
}

/// I-2. A digest that leaves the policy leaves the tool list, and its tool cannot be called.
#[test]
fn i2_what_policy_no_longer_names_is_no_longer_offered() -> Result<()> {
    let mut stage = Stage::honest()?;
    stage.honest_call()?;
    let without = helix_tests::PolicyText::default();
    fs::write(stage.world.home().join("policy.toml"), without.render())?;

    let offered = helix_tests::wait::until(std::time::Duration::from_secs(30), || {
        let names = stage.tool_names().ok()?;
        (!names.contains(&"echo".to_owned())).then_some(())
    });
    assert!(offered.is_some(), "it is still offered");
    let refused = stage.client.call("echo", json!({"text": "still here"}));
    assert!(refused.is_err() || refused.is_ok_and(|reply| reply.is_error), "it still answers");
    stage.close()
}

/// I-3. The process that holds a guest has no environment, and no descriptor of the home's.
#[test]
fn i3_a_runner_holds_nothing_ambient() -> Result<()> {
    let mut stage = crash::patient()?;
    let run = crash::begun(&mut stage, 500_000)?;
    let process = Path::new("/proc").join(crash::busiest_runner(&stage)?);

    assert_eq!(fs::read_to_string(process.join("environ"))?, "");
    let home = stage.world.home();
    for entry in fs::read_dir(process.join("fd"))? {
        let open = fs::read_link(entry?.path())?;
        let name = open.to_string_lossy().into_owned();
        for forbidden in ["ledger", "policy", "host.sock", "host.lock", "keys", "objects"] {
            assert!(!(open.starts_with(&home) && name.contains(forbidden)), "a runner holds {name}");
        }
    }
    stage.client.call("run_cancel", json!({"run_id": run}))?;
    stage.finish()
}

/// I-5. Bytes that were changed behind our back are not handed out, and `fsck --deep` finds them.
#[test]
fn i5_changed_bytes_are_not_handed_out() -> Result<()> {
    let mut stage = Stage::honest()?;
    let id = stage.import_text("as it was\n")?;
    let object = objects(&stage.world.home().join("objects"))?.pop().context("no object")?;
    fs::remove_file(&object)?;
    fs::write(&object, "as it is!\n")?;

    let read = stage.client.request("resources/read", json!({"uri": format!("helix://artifact/{id}")}));
    assert!(!format!("{read:?}").contains("as it is"), "{read:?}");
    assert!(read.is_err(), "{read:?}");
    assert_eq!(stage.world.cli(&["fsck", "--deep"])?.code, Some(1));
    Ok(())
}

/// I-5. No path of the host crosses the border, but for an export's own.
#[test]
fn i5_no_path_crosses_the_border() -> Result<()> {
    let mut stage = Stage::honest()?;
    let id = stage.import_text("text\n")?;
    let home = stage.world.home().to_string_lossy().into_owned();
    let run = stage.client.call("echo", json!({"text": "a"}))?;
    for (tool, arguments) in [
        ("host_info", json!({})),
        ("artifact_list", json!({})),
        ("artifact_get", json!({"artifact_id": id})),
        ("artifact_browse", json!({"root": "data"})),
        ("run_list", json!({})),
        ("run_get", json!({"run_id": run.run_id(), "events": true})),
        ("run_explain", json!({"a": run.run_id()})),
        ("artifact_import", json!({"root": "data", "path": "nothing.txt"})),
    ] {
        let reply = stage.client.call(tool, arguments)?;
        let said = format!("{} {}", reply.structured, reply.text());
        assert!(!said.contains(&home), "{tool} tells where the home lies: {said}");
    }
    stage.finish()
}

/// I-7. What has ended stays as it ended.
#[test]
fn i7_an_ended_run_cannot_be_cancelled() -> Result<()> {
    let mut stage = Stage::honest()?;
    let run = stage.client.call("echo", json!({"text": "a"}))?;
    stage.client.call("run_cancel", json!({"run_id": run.run_id()}))?;

    let after = stage.client.call("run_wait", json!({"run_id": run.run_id()}))?;
    assert_eq!(after.status(), "succeeded", "{}", after.structured);
    assert_eq!(after.structured["outputs"], run.structured["outputs"]);
    stage.finish()
}

/// I-10. stdout carries protocol only, also when the attachment has something to complain about.
#[test]
fn i10_stdout_carries_protocol_only() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut command = stage.world.serve()?;
    let output = command.env("HELIXMCP_LOG", "trace").stdin(Stdio::null()).output()?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
    }
    stage.honest_call()?;
    stage.finish()
}

/// I-10. A denial has an id, by which an operator finds it.
#[test]
fn i10_every_denial_is_recorded() -> Result<()> {
    let mut stage = Stage::honest()?;
    let reply =
        stage.client.call("artifact_import", json!({"root": "data", "path": "../outside/secret.txt"}))?;

    let id = text(&reply.structured["failure"]["denial_id"]);
    assert!(id.starts_with("den_"), "{}", reply.structured);
    stage.finish()
}

/// Every invariant that ARCHITECTURE.md numbers is upheld by a test of its number.
#[test]
fn every_invariant_has_a_test() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no root")?;
    let mut sources = String::new();
    for folder in ["host/src", "runner/src", "ids/src", "tests/it"] {
        read_all(&root.join(folder), &mut sources)?;
    }
    // I-8 comes with container steps: until then nothing is submitted.
    let missing: Vec<u32> =
        (1..=11).filter(|number| *number != 8 && !sources.contains(&format!("fn i{number}_"))).collect();
    assert!(missing.is_empty(), "no test is named after I-{missing:?}");
    Ok(())
}

fn read_all(folder: &Path, into: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Every stored object's file.
fn objects(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(objects(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
