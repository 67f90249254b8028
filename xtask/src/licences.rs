//! What `cargo deny` would say of licences, sources and bans, from `cargo metadata` and the same
//! `deny.toml`: for machines that cannot fetch the tool. Advisories need it, and its database.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::build;
use crate::say;

/// The workspaces, each with the platforms that it is built for.
const WORKSPACES: [(&str, &[&str]); 2] = [
    ("", &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]),
    ("example-toolpacks", &["wasm32-unknown-unknown"]),
];

/// Checks every dependency; gives how many there are.
///
/// # Errors
/// All that is wrong, one line each.
pub fn check() -> Result<usize> {
    let rules = Rules::read()?;
    let (mut checked, mut wrong) = (0, Vec::new());
    for (folder, platforms) in WORKSPACES {
        let mut command = build::cargo()?;
        command.current_dir(build::root()?.join(folder));
        command.args(["metadata", "--format-version", "1", "--locked"]);
        for platform in platforms {
            command.args(["--filter-platform", platform]);
        }
        let metadata: Value = serde_json::from_str(&say::quiet(&mut command)?)?;
        let packages = metadata["packages"].as_array().context("no packages in the metadata")?;
        let used = used_ids(&metadata)?;
        let used = packages.iter().filter(|package| used.contains(package["id"].as_str().unwrap_or("")));
        for package in used {
            checked += 1;
            wrong.extend(rules.objection(package));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(checked)
}

struct Rules {
    licences: BTreeSet<String>,
    /// (crate, licence) pairs that are allowed for this crate alone.
    exceptions: BTreeSet<(String, String)>,
    banned: BTreeSet<String>,
}

impl Rules {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(build::root()?.join("deny.toml")).context("cannot read deny.toml")?;
        let file: toml::Table = toml::from_str(&text).context("deny.toml")?;
        let licences = file["licenses"].as_table().context("deny.toml has no [licenses]")?;
        let mut exceptions = BTreeSet::new();
        for entry in list(licences.get("exceptions")) {
            let name =
                entry.get("crate").and_then(toml::Value::as_str).context("an exception of no crate")?;
            let allowed = texts(entry.get("allow"));
            exceptions.extend(allowed.into_iter().map(|licence| (name.to_owned(), licence)));
        }
        let bans = file.get("bans").and_then(|bans| bans.get("deny"));
        let banned = list(bans).iter().filter_map(|entry| entry.get("crate")?.as_str().map(str::to_owned));
        Ok(Self {
            licences: texts(licences.get("allow")).into_iter().collect(),
            exceptions,
            banned: banned.collect(),
        })
    }

    /// What is wrong with a package, if anything is.
    fn objection(&self, package: &Value) -> Option<String> {
        let name = package["name"].as_str().unwrap_or("");
        let title = format!("{name} {}", package["version"].as_str().unwrap_or(""));
        if self.banned.contains(name) {
            return Some(format!("{title}: banned by deny.toml"));
        }
        // Null for our own crates.
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            return Some(format!("{title}: comes from {}, not from the registry", source.unwrap_or("")));
        }
        let Some(licence) = package["license"].as_str() else {
            return Some(format!("{title}: states no licence"));
        };
        let allowed = |id: &str| {
            self.licences.contains(id) || self.exceptions.contains(&(name.to_owned(), id.to_owned()))
        };
        (!Expression::parse(licence).holds(&allowed))
            .then(|| format!("{title}: licence `{licence}` is not allowed"))
    }
}

/// An SPDX expression: `OR` of `AND`s of licences and expressions in brackets.
struct Expression {
    words: Vec<String>,
}

impl Expression {
    fn parse(text: &str) -> Self {
        // A slash is the older way to write OR.
        let text = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let mut words: Vec<String> = Vec::new();
        let mut incoming = text.split_whitespace().map(str::to_owned);
        while let Some(word) = incoming.next() {
            match (word.as_str(), words.pop()) {
                ("WITH", Some(licence)) => {
                    words.push(format!("{licence} WITH {}", incoming.next().unwrap_or_default()));
                }
                (_, before) => words.extend(before.into_iter().chain([word])),
            }
        }
        Self { words }
    }

    fn holds(&self, allowed: &dyn Fn(&str) -> bool) -> bool {
        let mut words = self.words.iter().map(String::as_str).peekable();
        either(&mut words, allowed) && words.peek().is_none()
    }
}

fn either<'a, W: Iterator<Item = &'a str>>(
    words: &mut std::iter::Peekable<W>,
    allowed: &dyn Fn(&str) -> bool,
) -> bool {
    let mut holds = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        holds |= both(words, allowed);
    }
    holds
}

fn both<'a, W: Iterator<Item = &'a str>>(
    words: &mut std::iter::Peekable<W>,
    allowed: &dyn Fn(&str) -> bool,
) -> bool {
    let mut holds = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        holds &= one(words, allowed);
    }
    holds
}

fn one<'a, W: Iterator<Item = &'a str>>(
    words: &mut std::iter::Peekable<W>,
    allowed: &dyn Fn(&str) -> bool,
) -> bool {
    match words.next() {
        Some("(") => {
            let holds = either(words, allowed);
            holds & (words.next() == Some(")"))
        }
        Some(licence) => allowed(licence),
        None => false,
    }
}

fn used_ids(metadata: &Value) -> Result<BTreeSet<&str>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("no resolution in the metadata")?;
    Ok(nodes.iter().filter_map(|node| node["id"].as_str()).collect())
}

fn list(value: Option<&toml::Value>) -> &[toml::Value] {
    value.and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: Option<&toml::Value>) -> Vec<String> {
    list(value).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::Expression;

    #[track_caller]
    fn check(licence: &str, expected: bool) {
        let allowed = |id: &str| ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        assert_eq!(Expression::parse(licence).holds(&allowed), expected, "{licence}");
    }

    #[test]
    fn licence_expressions_are_read_as_spdx_says() {
        check("MIT", true);
        check("GPL-3.0-only", false);
        check("GPL-3.0-only OR MIT", true);
        check("MIT/Apache-2.0", true);
        check("MIT AND GPL-3.0-only", false);
        check("(MIT OR GPL-3.0-only) AND Apache-2.0", true);
        check("(GPL-3.0-only OR ISC) AND Apache-2.0", false);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("GPL-3.0-only WITH LLVM-exception", false);
        check("", false);
        check("MIT )", false);
    }
}
