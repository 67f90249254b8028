//! An author's cases: what to call a tool with, and what is to come of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use helix_ids::{ArtifactType, Role, SampleName, ToolName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::output::Told;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

/// One call of one tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub tool: ToolName,
    #[serde(default)]
    pub params: Map<String, Value>,
    #[serde(default)]
    pub input: Vec<CaseInput>,
    #[serde(default)]
    pub expect: Expected,
    /// The folder of the case's file: paths are relative to it.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// One artifact to link: a file, or text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseInput {
    pub role: Role,
    #[serde(rename = "type")]
    pub artifact_type: ArtifactType,
    pub file: Option<PathBuf>,
    pub text: Option<String>,
    pub sample: Option<SampleName>,
}

/// What is to come of the call. Nothing said: that it succeeds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Is contained in the result: an object may have more fields, all else is equal.
    pub result: Option<Value>,
    /// Is contained in the summary.
    pub summary: Option<String>,
    #[serde(default)]
    pub output: Vec<ExpectedOutput>,
    /// The call is to fail, and this is contained in what it says.
    pub error: Option<String>,
}

/// One output's bytes: those of a file, or text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedOutput {
    pub role: Role,
    /// Not said: the role's only member.
    pub key: Option<String>,
    pub file: Option<PathBuf>,
    pub text: Option<String>,
}

/// All cases of `tests/*.toml`, in order of their files' names.
///
/// # Errors
/// A file that is bad, or no case at all.
pub fn read(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let tests = folder.join("tests");
    let entries = fs::read_dir(&tests)
        .map_err(|error| Told::arguments(format!("no cases: {}: {error}", tests.display())))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        cases.extend(read_file(&file, &tests).with_context(|| format!("{} is bad", file.display()))?);
    }
    if cases.is_empty() {
        return Err(Told::arguments(format!("{} has no case: nothing would be tested", tests.display())));
    }
    Ok(cases)
}

fn read_file(file: &Path, folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut parsed: CaseFile = toml::from_str(&fs::read_to_string(file)?)?;
    for case in &mut parsed.case {
        folder.clone_into(&mut case.folder);
    }
    Ok(parsed.case)
}

/// The bytes of a file or of a text; exactly one must be given.
///
/// # Errors
/// When both or neither are given, or the file cannot be read.
pub fn bytes(folder: &Path, file: Option<&Path>, text: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match (file, text) {
        (Some(file), None) => {
            let path = folder.join(file);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        }
        (None, Some(text)) => Ok(text.as_bytes().to_vec()),
        _ => anyhow::bail!("give either `file` or `text`"),
    }
}

/// Whether `part` is contained in `whole`: objects field by field, all else equal.
pub fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| contains(whole, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        // 1 in TOML is 1.0 in JSON when the tool counts in fractions.
        (Value::Number(whole), Value::Number(part)) => whole == part || whole.as_f64() == part.as_f64(),
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_is_contained_field_by_field() {
        let whole = json!({"a": 1, "b": {"c": [{"d": 2.0, "e": 3}]}, "f": "x"});
        for part in [json!({}), json!({"a": 1}), json!({"b": {"c": [{"d": 2}]}}), json!({"f": "x", "a": 1.0})]
        {
            assert!(contains(&whole, &part), "{part}");
        }
        for part in [json!({"a": 2}), json!({"g": 1}), json!({"b": {"c": []}}), json!([]), json!({"f": "xy"})]
        {
            assert!(!contains(&whole, &part), "{part}");
        }
    }
}
