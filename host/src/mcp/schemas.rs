//! JSON Schemas as clients see them: small, flat, and without what some clients stumble over.

use std::sync::{Arc, LazyLock};

use helix_ids::canonical::INTEGER_MAX;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of a host tool's arguments.
pub fn of_arguments<T: JsonSchema>() -> Arc<Map<String, Value>> {
    let mut schema = of::<T>(Nulls::LeftOut);
    schema.entry("properties").or_insert_with(|| json!({}));
    Arc::new(schema)
}

/// The schema of a host tool's result. Nothing is required in it: an error is a result too, and
/// some clients check it against the same schema.
pub fn of_result<T: JsonSchema>() -> Arc<Map<String, Value>> {
    let mut schema = Value::Object(of::<T>(Nulls::Written));
    strip(&mut schema, &["required", "description", "format", "minimum", "additionalProperties"]);
    let Value::Object(mut schema) = schema else { return Arc::default() };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("failure".to_owned(), failure());
    }
    Arc::new(schema)
}

/// The schema of every toolpack tool's answer, written by hand because it stands once a tool.
pub fn of_answer() -> Arc<Map<String, Value>> {
    static ANSWER: LazyLock<Arc<Map<String, Value>>> = LazyLock::new(|| {
        let text = || json!({ "type": "string" });
        let schema = json!({
            "type": "object",
            "properties": {
                "status": {
                    "enum": ["planned", "queued", "running", "waiting", "succeeded", "failed", "cancelled", "blocked"]
                },
                "run_id": text(),
                "replayed": { "type": "boolean" },
                "restored": { "type": "boolean" },
                "outputs": { "type": "array", "items": { "type": "object", "properties": {
                    "role": text(), "key": text(), "artifact_id": text(), "type": text(),
                    "label": text(), "size_bytes": text(), "checksum_sha256": text(),
                } } },
                "result": {},
                "summary": text(),
                "plan": {},
                "progress": { "type": "object" },
                "failure": failure(),
            },
            "required": ["status"],
        });
        match schema {
            Value::Object(schema) => Arc::new(schema),
            _ => Arc::default(),
        }
    });
    Arc::clone(&ANSWER)
}

/// A toolpack tool's argument schema, without what says nothing. What callers send is checked
/// against the whole of it.
pub fn of_inputs(schema: &Value) -> Map<String, Value> {
    let mut schema = schema.clone();
    simplify(&mut schema, Nulls::LeftOut);
    without_boundless(&mut schema);
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The same with the host's own arguments, which every tool has, by name and type alone.
pub fn lean(mut schema: Map<String, Value>) -> Map<String, Value> {
    let arguments = [
        ("project_id", json!({ "type": "string" })),
        ("sample", json!({})),
        ("dry_run", json!({ "type": "boolean" })),
        ("retry", json!({ "type": "boolean" })),
        ("wait_seconds", json!({ "type": "integer" })),
    ];
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, short) in arguments {
            if let Some(argument) = properties.get_mut(name) {
                *argument = short;
            }
        }
    }
    schema
}

/// Takes out bounds that every integer keeps anyway.
fn without_boundless(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (bound, value) in [("maximum", INTEGER_MAX), ("minimum", -INTEGER_MAX)] {
                if members.get(bound).and_then(Value::as_i64) == Some(value) {
                    members.shift_remove(bound);
                }
            }
            members.values_mut().for_each(without_boundless);
        }
        Value::Array(items) => items.iter_mut().for_each(without_boundless),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is left of an output schema where the whole of it does not fit.
pub fn of_anything() -> Arc<Map<String, Value>> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    Arc::new(schema)
}

fn failure() -> Value {
    let text = json!({ "type": "string" });
    json!({ "type": "object", "properties": { "class": text, "code": text, "message": text, "advice": text } })
}

/// What a field that may be missing looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// Callers leave it out; strict clients and some models' tool formats know no `null`.
    LeftOut,
    /// We may write it, and clients check what we write.
    Written,
}

fn of<T: JsonSchema>(nulls: Nulls) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema, nulls);
    match schema {
        // What everything satisfies is written `true`; tools need an object.
        Value::Object(mut schema) => {
            schema.shift_remove("description");
            schema.insert("type".to_owned(), json!("object"));
            schema
        }
        _ => Map::new(),
    }
}

/// Takes out titles, and the `null` that only says that a field may be left out.
fn simplify(schema: &mut Value, nulls: Nulls) {
    match schema {
        Value::Object(members) => {
            members.retain(|key, value| !(key == "title" && value.is_string()));
            if members.get("default").is_some_and(Value::is_null) {
                members.shift_remove("default");
            }
            if nulls == Nulls::LeftOut {
                without_null(members);
            }
            members.values_mut().for_each(|member| simplify(member, nulls));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| simplify(item, nulls)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_null(members: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
        if let Some(Value::Array(words)) = members.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
    }
    let Some(Value::Array(choices)) = members.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if choices.len() == 1
        && let Some(Value::Object(only)) = choices.pop()
    {
        members.shift_remove("anyOf");
        for (key, value) in only {
            members.entry(key).or_insert(value);
        }
    }
}

fn strip(schema: &mut Value, keys: &[&str]) {
    match schema {
        Value::Object(members) => {
            members.retain(|key, value| {
                // A property may have the name of a keyword; then its value is a schema.
                let is_property = key == "description" && value.is_object();
                is_property || !keys.contains(&key.as_str())
            });
            members.values_mut().for_each(|member| strip(member, keys));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::call::{Answer, AnswerFailure, AnswerOutput, AnswerProgress, Status};

    #[derive(Deserialize, Serialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Args {
        /// Which.
        id: String,
        #[serde(default)]
        limit: Option<u32>,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        word: Option<Word>,
    }

    #[derive(Deserialize, Serialize, JsonSchema)]
    enum Word {
        One,
        Two,
    }

    #[derive(Deserialize, Serialize, JsonSchema)]
    struct Inner {
        description: String,
    }

    #[test]
    fn schemas_are_small_and_flat() {
        let expected = json!({
            "type": "object",
            "properties": {
                "id": { "description": "Which.", "type": "string" },
                "limit": { "type": "integer", "format": "uint32", "minimum": 0 },
                "inner": { "type": "object", "properties": { "description": { "type": "string" } }, "required": ["description"] },
                "word": { "type": "string", "enum": ["One", "Two"] },
            },
            "additionalProperties": false,
            "required": ["id"],
        });
        assert_eq!(Value::Object((*of_arguments::<Args>()).clone()), expected);
    }

    #[test]
    fn inputs_lose_only_what_says_nothing() {
        let schema = json!({ "type": "object", "properties": {
            "n": { "type": ["integer", "null"], "minimum": 1, "maximum": INTEGER_MAX, "default": null },
            "wait_seconds": { "type": "integer", "maximum": 3600, "description": "long" },
        } });
        let inputs = of_inputs(&schema);
        assert_eq!(inputs["properties"]["n"], json!({ "type": "integer", "minimum": 1 }));
        assert_eq!(inputs["properties"]["wait_seconds"]["maximum"], 3600);
        assert_eq!(lean(inputs)["properties"]["wait_seconds"], json!({ "type": "integer" }));
    }

    #[test]
    fn errors_satisfy_every_result_schema() {
        let schema = Value::Object((*of_result::<Args>()).clone());
        let error = json!({ "failure": { "class": "arguments", "code": "c", "message": "m", "advice": "" } });
        assert!(jsonschema::is_valid(&schema, &error), "{schema}");
        let full = json!({ "id": "x", "limit": 3, "inner": { "description": "y" } });
        let bare = json!({ "id": "x", "limit": null, "inner": null });
        assert!(jsonschema::is_valid(&schema, &full) && jsonschema::is_valid(&schema, &bare), "{schema}");
    }

    #[test]
    fn every_answer_satisfies_the_one_schema() {
        let schema = Value::Object((*of_answer()).clone());
        let text = || "x".to_owned();
        let output = AnswerOutput {
            role: text(),
            key: text(),
            artifact_id: text(),
            artifact_type: text(),
            label: text(),
            size_bytes: text(),
            checksum_sha256: text(),
        };
        let full = Answer {
            status: Status::Succeeded,
            run_id: Some(text()),
            replayed: true,
            restored: true,
            outputs: vec![output],
            result: Some(json!([1])),
            summary: Some(text()),
            plan: Some(json!({})),
            progress: Some(AnswerProgress { done: 1, total: Some(2), text: text() }),
            failure: Some(AnswerFailure { class: text(), code: text(), message: text(), advice: text() }),
        };
        let value = serde_json::to_value(&full).unwrap();
        assert!(jsonschema::is_valid(&schema, &value), "{value}");
        let known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(known, value.as_object().unwrap().keys().collect::<Vec<_>>());
    }
}
