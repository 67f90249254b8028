//! JSON Schemas as a host wants them: 2020-12, closed objects, no `$ref`, nothing to spare.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// The schema of what a caller may send.
pub(crate) fn of_params<T: JsonSchema>() -> String {
    schema::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of what the tool answers.
pub(crate) fn of_result<T: JsonSchema>() -> String {
    schema::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn schema<T: JsonSchema>(mut settings: SchemaSettings) -> String {
    // Clients differ in how well they follow references; there is nothing to follow here.
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema.remove("title");
    close(&mut schema, true);
    schema.to_value().to_string()
}

fn tidy(schema: &mut Schema) {
    // `uint32` and the like are no formats of JSON Schema; `minimum` says the same.
    let numeric = |format: &Value| {
        format.as_str().is_some_and(|name| {
            ["uint", "int", "float", "double"].iter().any(|prefix| name.starts_with(prefix))
        })
    };
    if schema.get("format").is_some_and(numeric) {
        schema.remove("format");
    }
    shorten_choice(schema);
    close(schema, false);
}

/// A choice of words is a list of words: what each means is said once, by whoever offers the
/// choice, and not in every schema that a model reads.
fn shorten_choice(schema: &mut Schema) {
    let word = |choice: &Value| choice.get("const").filter(|word| word.is_string()).cloned();
    let words: Option<Vec<Value>> =
        schema.get("oneOf").and_then(Value::as_array).and_then(|choices| choices.iter().map(word).collect());
    if let Some(words) = words {
        schema.remove("oneOf");
        schema.insert("type".to_owned(), Value::from("string"));
        schema.insert("enum".to_owned(), Value::from(words));
    }
}

/// Makes an object refuse what it does not know.
fn close(schema: &mut Schema, is_root: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    if is_root && object.get("type").and_then(Value::as_str) == Some("object") {
        object.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    if object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        mean: f64,
    }

    /// Words for a model.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Outer {
        /// How many.
        #[schemars(range(min = 1, max = 9))]
        count: u32,
        inner: Option<Inner>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Nothing {}

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        /// Before.
        Left,
        /// Behind.
        Right,
    }

    #[test]
    fn a_choice_is_a_list_of_words() {
        let schema: Value = serde_json::from_str(&of_params::<Choice>()).unwrap();
        assert_eq!(schema["enum"], json!(["left", "right"]));
        assert_eq!(schema["type"], json!("string"));
        assert_eq!(schema.get("oneOf"), None);
    }

    #[test]
    fn objects_are_closed_and_nothing_is_referred_to() {
        let schema: Value = serde_json::from_str(&of_params::<Outer>()).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(
            schema["properties"]["count"],
            json!({"description": "How many.", "type": "integer", "minimum": 1, "maximum": 9})
        );
        let text = schema.to_string();
        assert!(!text.contains("$ref") && !text.contains("uint32"), "{text}");
        assert_eq!(text.matches("\"additionalProperties\":false").count(), 2, "{text}");
    }

    #[test]
    fn no_params_are_an_empty_closed_object() {
        let schema: Value = serde_json::from_str(&of_params::<Nothing>()).unwrap();
        assert_eq!(schema["properties"], json!({}));
        assert_eq!(schema["additionalProperties"], false);
    }
}
