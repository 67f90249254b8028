//! Meta-tests: no attack without a test, no test without a row in SECURITY.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::guests;

/// Every attack is valid text and becomes a component that only its attack makes wrong.
#[test]
fn every_guest_encodes() -> Result<()> {
    for name in guests::hostile_names()? {
        let component = guests::hostile(&name)?;
        assert!(component.starts_with(b"\0asm"), "{name}");
    }
    for name in ["echo", "patient"] {
        assert!(guests::honest(name)?.starts_with(b"\0asm"), "{name}");
    }
    Ok(())
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
