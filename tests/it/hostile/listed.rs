//! Meta-tests: no attack without a test, no test without a row in SECURITY.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use helix_tests::vitals::{GROWTH_BYTES_MAX, IDLE_RUNNERS_MAX};
use serde_json::json;

use super::attack::staged_with;
use crate::guests;
use crate::neighbour::Neighbour;
use crate::stage::Stage;

/// Every attack is valid text and becomes a component that only its attack makes wrong.
#[test]
fn every_guest_encodes() -> Result<()> {
    for name in guests::hostile_names()? {
        for attack in guests::attacks(&name)? {
            assert!(attack.component.starts_with(b"\0asm"), "{name} {}", attack.variant);
        }
    }
    for name in ["echo", "patient", "steps", "leaves_a_step"] {
        assert!(guests::honest(name)?.starts_with(b"\0asm"), "{name}");
    }
    Ok(())
}

/// What [`crate::stage::Stage::finish`] looks for, it finds.
#[test]
fn what_stays_behind_is_noticed() -> Result<()> {
    let mut stage = Stage::honest()?;
    let vitals = stage.world.look()?.clone();
    vitals.back_to(IDLE_RUNNERS_MAX, GROWTH_BYTES_MAX)?;
    let clients = (0..4).map(|_| stage.world.client()).collect::<Result<Vec<_>>>()?;
    let excess = vitals.excess(IDLE_RUNNERS_MAX)?.context("four connections went unnoticed")?;
    assert!(excess.starts_with("descriptors"), "{excess}");
    let excess = vitals.excess(0)?.context("a runner went unnoticed")?;
    assert!(excess.starts_with("processes"), "{excess}");
    for client in clients {
        client.close()?;
    }
    stage.finish()
}

/// A neighbour that is not served is noticed: here the one runner that there is belongs to the attack.
#[test]
fn a_neighbour_that_waits_is_noticed() -> Result<()> {
    let limits =
        [("host.runners", "1"), ("guest.fuel", "9_000_000_000_000_000_000"), ("guest.wall", "\"2s\"")];
    let mut stage = staged_with("loops_forever", &limits)?;
    let neighbour = Neighbour::new(&stage.world)?;
    let undisturbed =
        neighbour.while_attacked("loops_forever", 10, || stage.client.call("attack", json!({})));
    let told = undisturbed.err().context("it was served all the same")?;
    assert!(told.to_string().starts_with("only "), "{told}");
    stage.finish()
}

#[test]
fn every_attack_has_a_test_and_a_row_in_security_md() -> Result<()> {
    let tests = tests_here()?;
    let security = fs::read_to_string(root().join("SECURITY.md"))?;
    let mut missing = Vec::new();
    for name in guests::hostile_names()? {
        if !tests.contains(&name) {
            missing.push(format!("{name} has no test of its name"));
        }
        if !security.contains(&format!("`{name}`")) {
            missing.push(format!("{name} has no row in SECURITY.md"));
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
    Ok(())
}

/// A promise that names a test which is not there is none.
#[test]
fn every_test_that_security_md_names_exists() -> Result<()> {
    let security = fs::read_to_string(root().join("SECURITY.md"))?;
    let tests = all_tests()?;
    let rows =
        security.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
    let named: Vec<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    let gone: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
    assert!(gone.is_empty(), "SECURITY.md names tests that do not exist: {gone:?}");
    Ok(())
}

/// Names of the test functions beside this file.
fn tests_here() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("it/hostile"), &mut names)?;
    Ok(names)
}

/// Names of all test functions of the workspace.
fn all_tests() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in ["tests", "host/src", "runner/src", "ids/src", "toolpack-sdk/src", "xtask/src"] {
        collect(&root().join(folder), &mut names)?;
    }
    Ok(names)
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let functions = text.lines().filter_map(|line| {
                let line = line.trim_start();
                line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?.split('(').next()
            });
            names.extend(functions.map(str::to_owned));
        }
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
