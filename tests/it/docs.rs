//! What the documents say is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Literals of the sources that look like a reason code and are none.
const NO_CODES: [&str; 0] = [];

/// Words before a literal that make it a reason code.
const MAKERS: [&str; 13] = [
    "code: ",
    "found(",
    "code = ",
    "bad(",
    "Denial::new(",
    "Refusal::new(",
    "refused(",
    "refuse(",
    "Stop::trap(",
    "error(",
    "failed(",
    "denied(",
    "problem(",
];

/// Every reason code in the source stands in docs/errors.md, so that whoever meets one can look
/// up what it means and whose turn it is.
#[test]
fn every_reason_code_is_documented() -> Result<()> {
    let documented = fs::read_to_string(root()?.join("docs/errors.md"))?;
    let mut codes = BTreeSet::new();
    collect(&root()?.join("host/src"), &mut codes)?;
    collect(&root()?.join("runner/src"), &mut codes)?;
    assert!(codes.len() > 30, "only {} codes were found", codes.len());
    let missing: Vec<_> = codes.iter().filter(|code| !documented.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
    Ok(())
}

#[test]
fn every_documented_code_exists() -> Result<()> {
    let documented = fs::read_to_string(root()?.join("docs/errors.md"))?;
    let mut source = String::new();
    read_all(&root()?.join("host/src"), &mut source)?;
    read_all(&root()?.join("runner/src"), &mut source)?;
    let rows = documented.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let gone: Vec<&str> = rows.filter(|code| !source.contains(&format!("\"{code}\""))).collect();
    assert!(gone.is_empty(), "docs/errors.md explains what is not in the source: {gone:?}");
    Ok(())
}

/// Every file that a document of ours links to exists.
#[test]
fn every_link_between_documents_leads_somewhere() -> Result<()> {
    let mut wrong = Vec::new();
    for document in documents()? {
        let text = fs::read_to_string(&document)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or("");
            let elsewhere = path.contains("://") || path.is_empty();
            if !elsewhere && !document.with_file_name("").join(path).exists() {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

/// A README that nobody finishes tells nothing.
#[test]
fn the_readme_keeps_to_its_length() -> Result<()> {
    let lines = fs::read_to_string(root()?.join("README.md"))?.lines().count();
    assert!(lines <= 120, "README.md has {lines} lines");
    Ok(())
}

fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [root()?, root()?.join("docs")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Reason codes: lower snake_case literals where one is made.
fn collect(folder: &Path, codes: &mut BTreeSet<String>) -> Result<()> {
    let mut source = String::new();
    read_all(folder, &mut source)?;
    // Tests make codes up.
    for file in source.split("\n// file\n") {
        let code = file.split("#[cfg(test)]").next().unwrap_or("");
        for maker in MAKERS {
            for rest in code.split(maker).skip(1) {
                let rest = rest.trim_start();
                let literal = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
                let literal = literal.filter(|literal| is_code(literal) && !NO_CODES.contains(literal));
                codes.extend(literal.map(str::to_owned));
            }
        }
    }
    Ok(())
}

fn is_code(literal: &str) -> bool {
    literal.contains('_')
        && literal.starts_with(|first: char| first.is_ascii_lowercase())
        && literal.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn read_all(folder: &Path, into: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_test {
            continue;
        }
        if path.is_dir() {
            read_all(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str("\n// file\n");
            into.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no root")?.to_owned())
}
