//! Changes to a policy file that keep its comments.

use std::collections::BTreeSet;
use std::path::Path;

use helix_ids::{Digest, ImageName, ProjectName, ToolName, ToolpackName};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use super::{Names, Policy, PolicyError};
use crate::contract::DeclaredImage;

/// A component to allow.
#[derive(Clone, Debug)]
pub struct Allow {
    pub digest: Digest,
    pub name: ToolpackName,
    pub tools: Names<ToolName>,
    /// Images that its tools may start, each also an `[[image]]` that an operator writes.
    pub images: BTreeSet<ImageName>,
    /// Projects that list their components and shall list this one too.
    pub projects: Vec<ProjectName>,
}

/// Why a file was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file is bad already, or would be.
    #[error("{0}")]
    Policy(PolicyError),
    /// The file is good, and written in a form that is not edited.
    #[error("{0}")]
    Form(String),
}

/// The file that `policy init` writes: one project, one import and one export root, and every
/// default as a comment beside what it means. A root that is not given stands as a comment.
#[must_use]
pub fn starter(project: &ProjectName, import_root: Option<&Path>, export_root: Option<&Path>) -> String {
    let (off, path) = written(import_root, "/data");
    let (export_off, export_path) = written(export_root, "/data/results");
    format!(
        r##"# What this host may run, read and write. Nothing is allowed that does not stand here.
# Check it with `helixmcp policy check`; docs/policy.md explains every key.
version = 1
name = "local"

# A project keeps its artifacts and runs apart from others'. "all" means every
# [[component]] of this file; or list names: components = ["reads-qc"].
[[project]]
name = "{project}"
components = "all"

# Folders from which files may be imported. Nothing else on this machine can be read.
{off}[[import_root]]
{off}name = "data"
{off}path = {path}
{off}projects = ["{project}"]
# max_file = "200GiB"

# Folders into which artifacts may be exported.
{export_off}[[export_root]]
{export_off}name = "results"
{export_off}path = {export_path}
{export_off}projects = ["{project}"]
# overwrite = false

# What one run of a tool may use. These are the defaults.
# [limits.guest]
# memory = "256MiB"
# wall = "5min"           # and 1 s for each 4 MiB of input
# output_bytes = "64GiB"

# What this machine gives.
# [limits.host]
# runners = 4
# free_space_floor = "5GiB"
# require = ["seccomp"]   # walls without which nothing runs; `helixmcp doctor` tries them

# Toolpacks are added by `helixmcp policy allow FILE`, which shows what it adds:
# [[component]]
# digest = "sha256:..."
# name = "reads-qc"
# serve = true            # or "replay": answers what was asked before, and is not offered
# tools = "all"           # or a list
# A toolpack that starts containers also needs [[image]] and [backend.docker]: docs/policy.md.

# A denial beats everything above:
# [[deny]]
# digest = "sha256:..."
# reason = "miscounts reads"
"##
    )
}

/// What stands before each line of a root, and its path: written by the TOML library, since a path
/// may hold quotes or backslashes.
fn written(root: Option<&Path>, example: &str) -> (&'static str, String) {
    let off = if root.is_some() { "" } else { "# " };
    let path = root.map_or(example.into(), Path::to_string_lossy).into_owned();
    (off, Value::from(path).to_string().trim().to_owned())
}

/// Allows a component and offers it. Another one of the same name that was offered becomes
/// `serve = "replay"`. Comments and the order of everything else stay.
///
/// # Errors
/// [`EditError`]; the text is then left as it was.
pub fn allow(text: &str, entry: &Allow) -> Result<String, EditError> {
    Policy::from_toml(text).map_err(EditError::Policy)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| EditError::Form(error.message().to_owned()))?;
    // Comments after the last table belong above what is added, not below it.
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    if !document.contains_key("component") {
        document.set_trailing("");
    }
    let item = document.entry("component").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let Item::ArrayOfTables(components) = item else {
        return Err(EditError::Form(
            "write components as [[component]] tables to have them edited".to_owned(),
        ));
    };
    let digest = entry.digest.to_string();
    let text_of = |table: &Table, key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
    for table in components.iter_mut() {
        let same_name = text_of(table, "name").as_deref() == Some(entry.name.as_str());
        if same_name && text_of(table, "digest").as_ref() != Some(&digest) {
            replace(table, "serve", Value::from("replay"));
        }
    }
    let known = components.iter().position(|table| text_of(table, "digest").as_ref() == Some(&digest));
    match known.and_then(|index| components.get_mut(index)) {
        Some(table) => fill(table, entry),
        None => {
            let mut table = Table::new();
            table.insert("digest", value(digest));
            fill(&mut table, entry);
            // A blank line keeps it apart from what stands above.
            let above = if components.is_empty() { trailing } else { String::new() };
            table.decor_mut().set_prefix(format!("{above}\n"));
            components.push(table);
        }
    }
    for project in &entry.projects {
        list_in_project(&mut document, project, &entry.name)?;
    }
    let edited = document.to_string();
    Policy::from_toml(&edited).map_err(EditError::Policy)?;
    Ok(edited)
}

fn fill(table: &mut Table, entry: &Allow) {
    replace(table, "name", Value::from(entry.name.as_str()));
    replace(table, "serve", Value::from(true));
    let tools = match &entry.tools {
        Names::All => Value::from("all"),
        Names::These(tools) => Value::Array(tools.iter().map(ToolName::as_str).collect::<Array>()),
    };
    replace(table, "tools", tools);
    let images: Array = entry.images.iter().map(ImageName::as_str).collect();
    if images.is_empty() {
        table.remove("images");
    } else {
        replace(table, "images", Value::Array(images));
    }
}

/// The lines with which an operator allows an image: as nobody, until they say otherwise.
#[must_use]
pub fn image_lines(image: &DeclaredImage) -> String {
    let DeclaredImage { name, reference, platform } = image;
    format!(
        "[[image]]\nname = \"{name}\"\nref = \"{reference}\"\nplatform = \"{platform}\"\n\
         user = \"65534:65534\"\negress = \"none\"\n"
    )
}

/// Sets a key and keeps the comment that stands after its old value.
fn replace(table: &mut Table, key: &str, mut new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

fn list_in_project(
    document: &mut DocumentMut,
    project: &ProjectName,
    name: &ToolpackName,
) -> Result<(), EditError> {
    let is_it = |found: Option<&str>| found == Some(project.as_str());
    let components = match document.get_mut("project") {
        Some(Item::ArrayOfTables(tables)) => tables
            .iter_mut()
            .find(|table| is_it(table.get("name").and_then(Item::as_str)))
            .and_then(|table| table.get_mut("components"))
            .and_then(Item::as_value_mut),
        Some(Item::Value(Value::Array(tables))) => tables
            .iter_mut()
            .filter_map(Value::as_inline_table_mut)
            .find(|table| is_it(table.get("name").and_then(Value::as_str)))
            .and_then(|table: &mut InlineTable| table.get_mut("components")),
        Some(_) | None => None,
    };
    match components {
        Some(Value::Array(list)) => {
            if !list.iter().any(|listed| listed.as_str() == Some(name.as_str())) {
                list.push(name.as_str());
            }
            Ok(())
        }
        // A project that may use every component needs no list.
        Some(_) => Ok(()),
        None => Err(EditError::Form(format!("there is no [[project]] `{project}`"))),
    }
}
