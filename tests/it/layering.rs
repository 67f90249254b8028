//! An architecture that is not a test is a wish: every `use crate::…` under host/src is an arrow,
//! and only the arrows of this table may be drawn.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Each module and what it may use, as ARCHITECTURE.md has it.
const ARROWS: [(&str, &[&str]); 14] = [
    (
        "cli",
        &[
            "mcp",
            "call",
            "query",
            "catalog",
            "run",
            "plan",
            "policy",
            "sandbox",
            "artifacts",
            "ledger",
            "contract",
            "faults",
        ],
    ),
    ("mcp", &["call", "query", "catalog", "policy", "contract"]),
    ("call", &["query", "catalog", "run", "plan", "policy", "sandbox", "artifacts", "ledger", "contract"]),
    // From `call` only what both answer with: see `CALL_FOR_QUERY`.
    ("query", &["call", "catalog", "run", "policy", "sandbox", "artifacts", "ledger", "contract"]),
    ("catalog", &["policy", "sandbox", "artifacts", "ledger", "contract"]),
    ("run", &["plan", "policy", "sandbox", "backend", "artifacts", "ledger", "contract"]),
    ("plan", &["policy", "contract"]),
    ("policy", &["contract"]),
    ("sandbox", &["contract"]),
    ("backend", &["artifacts"]),
    ("artifacts", &["ledger"]),
    ("ledger", &["faults"]),
    ("contract", &[]),
    ("faults", &[]),
];

/// What `query` may use of `call`: who asks of which host, and how an answer or refusal looks.
const CALL_FOR_QUERY: [&str; 9] =
    ["host", "error", "answer", "Host", "Context", "Caller", "CallError", "Answer", "Status"];

/// Crates with one door: (crate, the only folder or file that may name it).
const DOORS: [(&str, &[&str]); 7] = [
    ("helix_runner", &["sandbox", "contract", "main"]),
    ("wasmtime", &[]),
    ("wasmparser", &[]),
    ("sqlx", &["ledger"]),
    ("bollard", &["backend"]),
    ("rmcp", &["mcp", "cli"]),
    ("clap", &["cli"]),
];

/// One `use` or path: in which file, from which module, to which words.
struct Arrow {
    file: PathBuf,
    line: usize,
    from: String,
    to: Vec<String>,
}

#[test]
fn every_arrow_is_in_the_table() -> Result<()> {
    let arrows = arrows()?;
    assert!(arrows.len() > 50, "only {} arrows found: is host/src read at all?", arrows.len());
    let wrong: Vec<String> = arrows.iter().filter_map(objection).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn groups_are_taken_apart() {
    let flat = |path| targets(path).iter().map(|words| words.join("::")).collect::<Vec<_>>();
    assert_eq!(flat("{call::{Host, error::CallError}, query};"), ["call::Host", "call::error", "query"]);
    assert_eq!(flat("plan::Plan;"), ["plan::Plan"]);
    assert_eq!(flat("$module::x"), Vec::<String>::new());
}

#[test]
fn every_module_is_in_the_table() -> Result<()> {
    let found: BTreeSet<String> = modules()?.into_iter().collect();
    let known: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, known);
    Ok(())
}

#[test]
fn big_dependencies_have_one_door() -> Result<()> {
    let mut wrong = Vec::new();
    for (file, text) in sources()? {
        let module = module_of(&file);
        for (name, allowed) in DOORS {
            let named = code(&text).any(|(_, line)| {
                line.contains(&format!("{name}::")) || line.contains(&format!("use {name};"))
            });
            if named && !allowed.contains(&module.as_str()) {
                wrong.push(format!("{} names {name}, which only {allowed:?} may", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

/// I-10: `policy`, `plan` and `contract` do no IO and ask no clock.
#[test]
fn i10_policy_and_plan_do_no_io() -> Result<()> {
    let effects = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::io::Write",
        "SystemTime",
        "Instant",
        "tokio",
    ];
    let mut wrong = Vec::new();
    for (file, text) in sources()? {
        if !["policy", "plan", "contract"].contains(&module_of(&file).as_str()) {
            continue;
        }
        for (number, line) in code(&text) {
            wrong.extend(
                effects
                    .iter()
                    .filter(|effect| line.contains(**effect))
                    .map(|effect| format!("{}:{number}: {effect}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

fn objection(arrow: &Arrow) -> Option<String> {
    let to = arrow.to.first()?;
    if *to == arrow.from || arrow.from == "lib" || arrow.from == "main" {
        return None;
    }
    let allowed = ARROWS.iter().find(|(name, _)| *name == arrow.from).map(|(_, allowed)| *allowed)?;
    let place = format!("{}:{}", arrow.file.display(), arrow.line);
    if !allowed.contains(&to.as_str()) {
        return Some(format!("{place}: {} may not use {to}", arrow.from));
    }
    let of_call = arrow.to.get(1).map_or("", String::as_str);
    let narrow = arrow.from == "query" && to == "call";
    (narrow && !CALL_FOR_QUERY.contains(&of_call) && !of_call.starts_with("Answer"))
        .then(|| format!("{place}: query may not use call::{of_call}"))
}

/// Every `crate::…` path in the sources, with braces taken apart.
fn arrows() -> Result<Vec<Arrow>> {
    let mut arrows = Vec::new();
    for (file, text) in sources()? {
        let from = module_of(&file);
        for (line, code) in code(&text) {
            for (_, path) in
                code.match_indices("crate::").map(|(at, found)| (at, code.split_at(at + found.len()).1))
            {
                for to in targets(path) {
                    arrows.push(Arrow { file: file.clone(), line, from: from.clone(), to });
                }
            }
        }
    }
    Ok(arrows)
}

/// `call::{Host, error::CallError}` → `[call, Host]` and `[call, error]`; a group of modules is
/// taken apart, and a macro's variable leads nowhere.
fn targets(path: &str) -> Vec<Vec<String>> {
    if let Some(list) = path.strip_prefix('{') {
        return parts(list).into_iter().flat_map(targets).collect();
    }
    let word = first_word(path);
    if word.is_empty() {
        return Vec::new();
    }
    let Some(inside) = path.split_at(word.len()).1.strip_prefix("::") else { return vec![vec![word]] };
    match inside.strip_prefix('{') {
        Some(list) => parts(list).into_iter().map(|part| vec![word.clone(), first_word(part)]).collect(),
        None => vec![vec![word, first_word(inside)]],
    }
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The parts of a list in braces whose opening brace is gone, up to its closing one.
fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        if depth == 0 && (c == ',' || c == '}') {
            found.push(list.get(start..at).unwrap_or_default().trim());
            start = at + 1;
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|part| !part.is_empty());
    found
}

/// Lines of code with their numbers: no comments, and a `use` over many lines is one.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (number, first) = lines.next()?;
        let mut line = without_comment(first);
        let is_use = line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        while is_use && !line.contains(';') {
            let Some((_, more)) = lines.next() else { break };
            line.push_str(&without_comment(more));
        }
        Some((number + 1, line))
    })
}

fn without_comment(line: &str) -> String {
    line.split("//").next().unwrap_or("").to_owned()
}

fn sources() -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    collect(&host_src(), &mut files)?;
    // A module's tests may read files and start what they like.
    files.retain(|file| !file.iter().any(|part| part == "tests.rs" || part == "tests"));
    files.into_iter().map(|file| Ok((file.clone(), fs::read_to_string(&file)?))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The top-level module that a file belongs to.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(host_src()).unwrap_or(file);
    let first = inside.iter().next().unwrap_or_default().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that `lib.rs` names.
fn modules() -> Result<Vec<String>> {
    let text = fs::read_to_string(host_src().join("lib.rs"))?;
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.split(';').next());
    Ok(names.map(str::to_owned).collect())
}

fn host_src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("host").join("src")
}
