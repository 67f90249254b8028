//! What changed between two versions of a toolpack, for the operator who must allow the new one.

use serde_json::Value;

use super::text::shown;
use super::{Manifest, Tool};

impl Manifest {
    /// What differs from `old`, one line each: tools, contracts, descriptions, schemas, roles
    /// and images. Descriptions are told in full, since a model will read them.
    #[must_use]
    pub fn differences(&self, old: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        changed(&mut lines, "version", &old.version, &self.version);
        changed(&mut lines, "description", &old.description, &self.description);
        changed(&mut lines, "licence", &old.licence, &self.licence);
        changed(&mut lines, "homepage", &old.homepage, &self.homepage);
        for gone in old.tools.iter().filter(|tool| !self.tools.iter().any(|new| new.name == tool.name)) {
            lines.push(format!("tool {}: gone", gone.name));
        }
        for new in &self.tools {
            match old.tools.iter().find(|tool| tool.name == new.name) {
                None => lines.push(format!("tool {}: new", new.name)),
                Some(before) => tool_differences(&mut lines, before, new),
            }
        }
        lines
    }
}

fn tool_differences(lines: &mut Vec<String>, old: &Tool, new: &Tool) {
    let name = &new.name;
    changed(lines, &format!("tool {name}: contract"), old.contract.as_str(), new.contract.as_str());
    changed(lines, &format!("tool {name}: title"), &old.title, &new.title);
    changed(lines, &format!("tool {name}: description"), &old.description, &new.description);
    changed(lines, &format!("tool {name}: hints"), &hints(old), &hints(new));
    for (what, before, after) in [
        ("params schema", &old.params_schema, &new.params_schema),
        ("result schema", &old.result_schema, &new.result_schema),
    ] {
        schema_differences(lines, &format!("tool {name}: {what}"), before, after);
    }
    // The debug form holds every field of a declaration, so no field can be forgotten here.
    let declared = |tool: &Tool| {
        let inputs = tool.inputs.iter().map(|input| (format!("input {}", input.role), format!("{input:?}")));
        let outputs =
            tool.outputs.iter().map(|output| (format!("output {}", output.role), format!("{output:?}")));
        let images = tool.images.iter().map(|image| (format!("image {}", image.name), format!("{image:?}")));
        inputs.chain(outputs).chain(images).collect::<Vec<_>>()
    };
    let (before, after) = (declared(old), declared(new));
    for (what, _) in before.iter().filter(|(what, _)| !after.iter().any(|(other, _)| other == what)) {
        lines.push(format!("tool {name}: {what}: gone"));
    }
    for (what, text) in &after {
        match before.iter().find(|(other, _)| other == what) {
            None => lines.push(format!("tool {name}: {what}: new")),
            Some((_, old)) => changed(lines, &format!("tool {name}: {what}"), old, text),
        }
    }
}

fn hints(tool: &Tool) -> String {
    format!("read_only {}, idempotent {}", tool.read_only, tool.idempotent)
}

/// By property where both have them, so that a large schema is not printed for one changed word.
fn schema_differences(lines: &mut Vec<String>, what: &str, old: &Value, new: &Value) {
    let keys = |schema: &Value, keyword: &str| -> Vec<String> {
        let members = schema.get(keyword).and_then(Value::as_object);
        members.into_iter().flat_map(serde_json::Map::keys).cloned().collect()
    };
    for keyword in ["properties", "$defs"] {
        let (before, after) = (keys(old, keyword), keys(new, keyword));
        for name in before.iter().filter(|name| !after.contains(name)) {
            lines.push(format!("{what}: {name}: gone"));
        }
        for name in &after {
            let part = |schema: &Value| {
                schema.get(keyword).and_then(|members| members.get(name)).map(Value::to_string)
            };
            match (part(old), part(new)) {
                (None, Some(text)) => lines.push(format!("{what}: {name}: new: {}", shown(&text, 1000))),
                (Some(before), Some(after)) => changed(lines, &format!("{what}: {name}"), &before, &after),
                (_, None) => {}
            }
        }
    }
    let rest = |schema: &Value| {
        let members = schema.as_object().into_iter().flatten();
        let rest = members.filter(|(name, _)| !["properties", "$defs"].contains(&name.as_str()));
        rest.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    changed(lines, what, &rest(old), &rest(new));
}

fn changed(lines: &mut Vec<String>, what: &str, old: &str, new: &str) {
    if old != new {
        lines.push(format!("{what}: `{}` became `{}`", shown(old, 2000), shown(new, 2000)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fixtures, raw};
    use super::*;

    #[test]
    fn every_field_that_a_client_sees_is_compared() {
        type Edit = fn(&mut raw::Manifest);
        let edits: [(Edit, &str); 7] = [
            (|m| m.version = "2.0.0".to_owned(), "version: `1.0.0` became `2.0.0`"),
            (|m| m.tools[0].description = "Other.".to_owned(), "tool fastq_stats: description: "),
            (|m| m.tools[0].read_only = false, "tool fastq_stats: hints: "),
            (|m| m.tools[0].inputs[0].count.max = 9, "tool fastq_stats: input reads: "),
            (|m| m.tools[0].outputs.clear(), "tool fastq_stats: output metrics: gone"),
            (|m| m.tools[0].name = "other".to_owned(), "tool fastq_stats: gone"),
            (
                |m| {
                    m.tools[0].params_schema =
                        m.tools[0].params_schema.replace("\"default\":5", "\"default\":6");
                },
                "tool fastq_stats: params schema: top: ",
            ),
        ];
        let old = Manifest::parse(fixtures::manifest()).unwrap();
        assert_eq!(old.differences(&old), Vec::<String>::new());
        for (edit, expected) in edits {
            let mut raw = fixtures::manifest();
            edit(&mut raw);
            let lines = Manifest::parse(raw).unwrap().differences(&old);
            assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}: {lines:?}");
        }
    }
}
