//! What stands on a command line, as a tool's arguments: read by the tool's own schema.

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::output::Told;

/// `name=value` or `name:=JSON`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) is_json: bool,
}

/// What a schema asks for, as far as a command line can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One artifact id or many.
    Role,
    Text,
    /// A number or a boolean: written as JSON has it.
    Plain,
    /// Only `:=` can say it.
    Other,
}

impl Kind {
    pub(super) fn of(schema: &Value) -> Self {
        let item = schema.get("items").unwrap_or(schema);
        let pattern = item.get("pattern").and_then(Value::as_str).unwrap_or_default();
        match type_name(item) {
            Some("string") if pattern.starts_with("^art_") => Self::Role,
            Some("string") => Self::Text,
            Some("integer" | "number" | "boolean") => Self::Plain,
            Some(_) => Self::Other,
            None if is_choice_of_texts(item) => Self::Text,
            None => match choices(item) {
                // What may be left out: a schema or null.
                [only] => Self::of(only),
                _ => Self::Other,
            },
        }
    }
}

/// The one type of a schema, beside null.
fn type_name(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => {
            let mut names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.next().filter(|_name| names.next().is_none())
        }
        _ => None,
    }
}

/// The schemas that a value may satisfy, with null last if it is among them.
fn choices(schema: &Value) -> &[Value] {
    let choices = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array);
    match choices.map(Vec::as_slice) {
        Some([some @ .., null]) if null.get("type").is_some_and(|name| name == "null") => some,
        Some(all) => all,
        None => &[],
    }
}

fn is_choice_of_texts(schema: &Value) -> bool {
    let is_text = |choice: &Value| choice.get("const").is_some_and(Value::is_string);
    let choices = choices(schema);
    schema.get("enum").is_some_and(all_text) || (!choices.is_empty() && choices.iter().all(is_text))
}

fn all_text(choices: &Value) -> bool {
    choices.as_array().is_some_and(|choices| choices.iter().all(Value::is_string))
}

fn is_many(schema: &Value) -> bool {
    schema.get("items").is_some()
}

impl<'a> Assignment<'a> {
    pub(super) fn parse(text: &'a str) -> anyhow::Result<Self> {
        let Some((name, value)) = text.split_once('=') else {
            bail!(Told::arguments(format!("{text}: write NAME=VALUE, or NAME:=JSON")));
        };
        Ok(match name.strip_suffix(':') {
            Some(name) => Self { name, value, is_json: true },
            None => Self { name, value, is_json: false },
        })
    }

    pub(super) fn value_for(&self, kind: Kind, schema: &Value) -> anyhow::Result<Value> {
        let Self { name, value, is_json } = *self;
        let as_json = || serde_json::from_str::<Value>(value);
        match kind {
            _ if is_json => {
                as_json().map_err(|error| Told::arguments(format!("{name}:= is not JSON: {error}")))
            }
            Kind::Role | Kind::Text => Ok(json!(value)),
            Kind::Plain => {
                let parsed = as_json().ok().filter(|value| value.is_number() || value.is_boolean());
                let wanted = type_name(schema.get("items").unwrap_or(schema)).unwrap_or("number");
                parsed
                    .ok_or_else(|| Told::arguments(format!("{name} is of type {wanted}, and {value} is not")))
            }
            Kind::Other => bail!(Told::arguments(format!("{name} is not that simple: write {name}:=JSON"))),
        }
    }
}

/// Adds to a list what may be many, and refuses a second value for what may not.
pub(super) fn put(
    arguments: &mut Map<String, Value>,
    assignment: &Assignment<'_>,
    schema: &Value,
    value: Value,
) -> anyhow::Result<()> {
    let name = assignment.name;
    let whole_list = assignment.is_json && value.is_array();
    match (arguments.get_mut(name), is_many(schema) && !whole_list) {
        (Some(Value::Array(values)), true) => values.push(value),
        (None, true) => drop(arguments.insert(name.to_owned(), json!([value]))),
        (None, false) => drop(arguments.insert(name.to_owned(), value)),
        (Some(_), _) => bail!(Told::arguments(format!("{name} is given twice"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_by_the_schema() {
        let role = json!({ "type": "string", "pattern": "^art_[0-9A-Z]{26}$" });
        let roles = json!({ "type": "array", "items": role.clone() });
        let (int, text, list, object) = (
            json!({"type":"integer"}),
            json!({"type":"string"}),
            json!({"type":"array","items":{"type":"number"}}),
            json!({"type":"object"}),
        );
        let cases = [
            ("x=7", &int, Ok(json!(7))),
            ("x=seven", &int, Err("x is of type integer")),
            ("x=7", &text, Ok(json!("7"))),
            ("x=a=b", &text, Ok(json!("a=b"))),
            ("x:=\"7\"", &int, Ok(json!("7"))),
            ("x:={", &object, Err("not JSON")),
            ("x={}", &object, Err("write x:=JSON")),
            ("x=7", &json!({ "type": ["integer", "null"] }), Ok(json!(7))),
            ("x=7", &json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), Ok(json!("7"))),
            (
                "x=a",
                &json!({ "oneOf": [{ "const": "a", "type": "string" }, { "const": "b" }] }),
                Ok(json!("a")),
            ),
            ("x=a", &json!({ "enum": ["a", "b"] }), Ok(json!("a"))),
            ("x=a", &json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }), Err("write x:=JSON")),
            ("x=1.5", &list, Ok(json!([1.5]))),
            ("x:=[1,2]", &list, Ok(json!([1, 2]))),
            ("x:=[\"art_1\"]", &roles, Ok(json!(["art_1"]))),
        ];
        for (assignment, schema, expected) in cases {
            let mut arguments = Map::new();
            let parsed = Assignment::parse(assignment).unwrap();
            let done = parsed
                .value_for(Kind::of(schema), schema)
                .and_then(|value| put(&mut arguments, &parsed, schema, value));
            match (done, expected) {
                (Ok(()), Ok(value)) => assert_eq!(arguments.get("x"), Some(&value), "{assignment}"),
                (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{error}"),
                (done, expected) => panic!("{assignment}: {done:?}, not {expected:?}"),
            }
        }
        assert_eq!((Kind::of(&role), Kind::of(&roles)), (Kind::Role, Kind::Role));
        assert!(Assignment::parse("reads").is_err());
    }

    #[test]
    fn what_may_be_many_is_collected_and_what_may_not_is_refused() {
        let (one, many) =
            (json!({ "type": "string" }), json!({ "type": "array", "items": { "type": "string" } }));
        let first = Assignment::parse("x=a").unwrap();
        let mut arguments = Map::new();
        put(&mut arguments, &first, &many, json!("a")).unwrap();
        put(&mut arguments, &first, &many, json!("b")).unwrap();
        assert_eq!(arguments["x"], json!(["a", "b"]));
        let mut arguments = Map::new();
        put(&mut arguments, &first, &one, json!("a")).unwrap();
        assert!(put(&mut arguments, &first, &one, json!("b")).is_err());
    }
}
