//! The schema that clients see of a tool: roles as artifact ids, params and the host's own
//! arguments beside them.

use std::fmt;

use serde_json::{Map, Value, json};

use super::schema_rules::CompiledSchema;
use super::{DeclaredInput, Tool};

/// Arguments that the host understands itself, and names that it keeps for later.
const RESERVED: &[&str] = &[
    "project_id",
    "sample",
    "backend",
    "reference",
    "resources",
    "dry_run",
    "retry",
    "wait_seconds",
    "log",
    "stdout",
    "stderr",
];

pub const WAIT_SECONDS_DEFAULT: u32 = 45;
pub const WAIT_SECONDS_MAX: u32 = 3600;

/// A tool's schemas, each compiled once. Made where a manifest is parsed.
pub struct ToolSchemas {
    pub(super) params: CompiledSchema,
    pub(super) result: CompiledSchema,
}

impl ToolSchemas {
    pub(super) fn new(params: CompiledSchema, result: CompiledSchema) -> Self {
        Self { params, result }
    }
}

impl fmt::Debug for ToolSchemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolSchemas").finish_non_exhaustive()
    }
}

/// May neither a role nor a param have this name?
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with("helix_")
}

/// `[A-Za-z][A-Za-z0-9_-]{0,63}`: what can stand in `param=value` on a command line.
pub(super) fn is_param_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The schema of a tool's arguments, as the host publishes it.
#[must_use]
pub fn input_schema(tool: &Tool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for input in &tool.inputs {
        properties.insert(input.role.to_string(), role_schema(input));
        if input.count.min >= 1 {
            required.push(json!(input.role));
        }
    }
    let params = tool.params_schema.get("properties").and_then(Value::as_object);
    for (name, schema) in params.into_iter().flatten() {
        properties.insert(name.clone(), schema.clone());
    }
    // A param with a default may be left out, whatever the author's list says.
    let needed = tool.params_schema.get("required").and_then(Value::as_array);
    required.extend(needed.into_iter().flatten().filter(|name| !has_default(params, name)).cloned());
    host_arguments(&mut properties);

    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), Value::Array(required));
    schema.insert("additionalProperties".to_owned(), json!(false));
    if let Some(definitions) = tool.params_schema.get("$defs") {
        schema.insert("$defs".to_owned(), definitions.clone());
    }
    Value::Object(schema)
}

fn has_default(params: Option<&Map<String, Value>>, name: &Value) -> bool {
    let schema = name.as_str().and_then(|name| params?.get(name));
    schema.is_some_and(|schema| schema.get("default").is_some())
}

fn role_schema(input: &DeclaredInput) -> Value {
    let types: Vec<&str> = input.types.iter().map(|accepted| accepted.as_str()).collect();
    let types = types.join(" or ");
    let one = json!({ "type": "string", "pattern": "^art_[0-9A-HJKMNP-TV-Z]{26}$" });
    let mut schema = if input.count.max == 1 {
        one
    } else {
        json!({ "type": "array", "items": one, "minItems": input.count.min, "maxItems": input.count.max })
    };
    let kind = if input.count.max == 1 { "artifact id" } else { "artifact ids" };
    let description = format!("{} ({kind}, {types})", input.description);
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), json!(description.trim_start()));
    }
    schema
}

fn host_arguments(properties: &mut Map<String, Value>) {
    // Kept short: a model reads them with every tool. `arguments` checks what they leave out.
    let arguments = [
        (
            "project_id",
            json!({ "type": "string", "description": "Name or id; not needed with one project." }),
        ),
        (
            "sample",
            json!({
                "type": ["string", "array"], "items": { "type": "string" },
                "description": "Sample name, or one for each input.",
            }),
        ),
        (
            "dry_run",
            json!({ "type": "boolean", "description": "Only say what would run.", "default": false }),
        ),
        (
            "retry",
            json!({ "type": "boolean", "description": "Again, though a failure is stored.", "default": false }),
        ),
        (
            "wait_seconds",
            json!({
                "type": "integer", "minimum": 0, "maximum": WAIT_SECONDS_MAX, "default": WAIT_SECONDS_DEFAULT,
                "description": "Then it answers `running`.",
            }),
        ),
    ];
    for (name, schema) in arguments {
        properties.insert(name.to_owned(), schema);
    }
}
