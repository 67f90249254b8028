//! Where two JSON values differ.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Most differences that are listed. Two calls with other inputs differ in all of them.
pub const DIFFERENCES_MAX: usize = 100;

/// A longer value is not repeated in a difference: its length stands in its place.
const VALUE_BYTES_MAX: usize = 2_048;

/// In which order a reader wants to hear it: what was asked for before what it ran on. Members
/// that are not named here come after, in their own order.
const ENVELOPE_ORDER: [&str; 5] = ["project", "component", "params", "inputs", "images"];

/// One field in which two runs differ. A side that lacks the field has no value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// `tool`, `contract`, `envelope` or `slice`.
    pub part: String,
    /// JSON pointer into the part; empty for the part itself.
    pub pointer: String,
    /// The same for a person: `params.min_quality`, `inputs.reads[0].digest`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Value>,
}

/// Where the reader stands in both values: the same place under two names.
#[derive(Clone, Debug, Default)]
struct Place {
    pointer: String,
    name: String,
}

impl Place {
    fn member(&self, key: &str) -> Self {
        let dot = if self.name.is_empty() { "" } else { "." };
        Self { pointer: self.pointer_to(key), name: format!("{}{dot}{key}", self.name) }
    }

    fn item(&self, at: usize, key: &ItemKey) -> Self {
        let name = match key {
            ItemKey::Role(role, index) => format!("{}.{role}[{index}]", self.name),
            ItemKey::Name(name) => format!("{}.{name}", self.name),
            ItemKey::Position(position) => format!("{}[{position}]", self.name),
        };
        Self { pointer: self.pointer_to(&at.to_string()), name }
    }

    fn pointer_to(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1"))
    }
}

/// By what the items of two arrays are matched: a second file in one role must not make all
/// files of the next role look changed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ItemKey {
    Role(String, u64),
    Name(String),
    Position(usize),
}

/// Every leaf in which `a` and `b` differ, in the order in which a reader wants to hear them.
#[must_use]
pub fn differences(part: &str, prefix: &str, a: &Value, b: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    let place = Place { pointer: String::new(), name: prefix.to_owned() };
    walk(part, &place, Some(a), Some(b), &mut found);
    found
}

fn walk(part: &str, place: &Place, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<Difference>) {
    if a == b || found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in keys(a, b) {
                walk(part, &place.member(key), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => walk_items(part, place, a, b, found),
        (a, b) => found.push(Difference {
            part: part.to_owned(),
            pointer: place.pointer.clone(),
            name: place.name.clone(),
            a: a.map(shortened),
            b: b.map(shortened),
        }),
    }
}

fn walk_items(part: &str, place: &Place, a: &[Value], b: &[Value], found: &mut Vec<Difference>) {
    let (a_keys, b_keys) = (item_keys(a), item_keys(b));
    for (at, (key, item)) in a_keys.iter().zip(a).enumerate() {
        let other = b_keys.iter().position(|other| other == key).and_then(|at| b.get(at));
        walk(part, &place.item(at, key), Some(item), other, found);
    }
    for (at, (key, item)) in b_keys.iter().zip(b).enumerate() {
        if !a_keys.contains(key) {
            walk(part, &place.item(at, key), None, Some(item), found);
        }
    }
}

/// The keys of both, the known ones first and each once.
fn keys<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = a.keys().chain(b.keys()).map(String::as_str).collect();
    let rank =
        |key: &str| ENVELOPE_ORDER.iter().position(|&known| key.starts_with(known)).unwrap_or(usize::MAX);
    keys.sort_by(|x, y| rank(x).cmp(&rank(y)).then_with(|| x.cmp(y)));
    keys.dedup();
    keys
}

fn item_keys(items: &[Value]) -> Vec<ItemKey> {
    let named: Option<Vec<ItemKey>> = items.iter().map(item_key).collect();
    let by_position = || (0..items.len()).map(ItemKey::Position).collect();
    match named {
        // Equal keys would match the wrong items.
        Some(keys) if keys.iter().enumerate().all(|(at, key)| !keys.iter().take(at).any(|k| k == key)) => {
            keys
        }
        Some(_) | None => by_position(),
    }
}

fn item_key(item: &Value) -> Option<ItemKey> {
    let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    match (text("role"), item.get("index").and_then(Value::as_u64), text("name")) {
        (Some(role), Some(index), _) => Some(ItemKey::Role(role, index)),
        (_, _, Some(name)) => Some(ItemKey::Name(name)),
        (_, _, None) => None,
    }
}

fn shortened(value: &Value) -> Value {
    let bytes = value.to_string().len();
    if bytes <= VALUE_BYTES_MAX { value.clone() } else { Value::from(format!("({bytes} bytes of JSON)")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(a: &Value, b: &Value, expected: &[(&str, &str, Option<Value>, Option<Value>)]) {
        let found = differences("envelope", "", a, b);
        let found: Vec<_> =
            found.iter().map(|d| (d.pointer.as_str(), d.name.as_str(), d.a.clone(), d.b.clone())).collect();
        assert_eq!(found, expected, "{a} {b}");
        // The other way round says the same with the sides changed.
        let back = differences("envelope", "", b, a).len();
        assert_eq!(back, expected.len());
    }

    #[test]
    fn every_difference_has_a_place_and_two_sides() {
        let input =
            |role: &str, index: u64, digest: &str| json!({"role": role, "index": index, "digest": digest});
        check(&json!({"a": 1}), &json!({"a": 1}), &[]);
        check(&json!({"a": 1}), &json!({"a": 2}), &[("/a", "a", Some(json!(1)), Some(json!(2)))]);
        check(&json!({"a": null}), &json!({}), &[("/a", "a", Some(json!(null)), None)]);
        check(&json!({"a": 1}), &json!({"a": "1"}), &[("/a", "a", Some(json!(1)), Some(json!("1")))]);
        check(&json!({"a": {}}), &json!({"a": []}), &[("/a", "a", Some(json!({})), Some(json!([])))]);
        check(&json!({"a/b~c": 1}), &json!({}), &[("/a~1b~0c", "a/b~c", Some(json!(1)), None)]);
        check(
            &json!({"engine": 1, "params": {"q": 20, "n": 1}}),
            &json!({"engine": 2, "params": {"q": 25, "n": 1}}),
            &[
                ("/params/q", "params.q", Some(json!(20)), Some(json!(25))),
                ("/engine", "engine", Some(json!(1)), Some(json!(2))),
            ],
        );
        check(
            &json!({"list": [1, 2]}),
            &json!({"list": [1, 3, 4]}),
            &[
                ("/list/1", "list[1]", Some(json!(2)), Some(json!(3))),
                ("/list/2", "list[2]", None, Some(json!(4))),
            ],
        );
        // A second member of the first role leaves the second role where it was.
        check(
            &json!({"inputs": [input("reads", 0, "x"), input("reference", 0, "r")]}),
            &json!({"inputs": [input("reads", 0, "x"), input("reads", 1, "y"), input("reference", 0, "s")]}),
            &[
                ("/inputs/1/digest", "inputs.reference[0].digest", Some(json!("r")), Some(json!("s"))),
                ("/inputs/1", "inputs.reads[1]", None, Some(input("reads", 1, "y"))),
            ],
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let a: Vec<u32> = (0..1_000).collect();
        let b: Vec<u32> = (1..1_001).collect();
        assert_eq!(differences("envelope", "", &json!(a), &json!(b)).len(), DIFFERENCES_MAX);
        let long = differences("envelope", "", &json!("x".repeat(5_000)), &json!(1));
        assert_eq!(long.first().and_then(|d| d.a.clone()), Some(json!("(5002 bytes of JSON)")));
    }
}
