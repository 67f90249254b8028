//! One good manifest, broken in one place at a time.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::fixtures::{PARAMS, manifest, tool};
use super::*;

type Edit = fn(&mut raw::Manifest);

#[test]
fn a_good_manifest_is_accepted() {
    let manifest = Manifest::parse(manifest()).unwrap();
    assert_eq!(manifest.tools[0].inputs[0].types.len(), 2);
    assert!(manifest.tools[0].output("plots").is_some() && manifest.tools[0].input("plots").is_none());
}

fn refused(edit: Edit) -> &'static str {
    let mut raw = manifest();
    edit(&mut raw);
    Manifest::parse(raw).unwrap_err().code
}

#[test]
fn every_rule_of_the_contract_is_kept() {
    let cases: &[(&str, Edit)] = &[
        ("manifest_name", |m| m.name = "Reads".to_owned()),
        ("manifest_name", |m| m.name = "reads_qc".to_owned()),
        ("manifest_name", |m| m.tools[0].name = "Tool".to_owned()),
        ("manifest_name", |m| m.tools[0].name = "tооl".to_owned()),
        ("manifest_name", |m| m.tools[0].contract = "1".to_owned()),
        ("manifest_text", |m| m.version = String::new()),
        ("manifest_text", |m| m.version = "1\n2".to_owned()),
        ("manifest_text", |m| m.description = "x".repeat(1025)),
        ("manifest_text", |m| m.homepage = "file:///etc".to_owned()),
        ("manifest_text", |m| m.tools[0].description = String::new()),
        ("manifest_text", |m| m.tools[0].description = "read\u{200b} this".to_owned()),
        ("manifest_text", |m| m.tools[0].description = "read \u{e0041}".to_owned()),
        ("manifest_text", |m| m.tools[0].description = "Reads. <IMPORTANT>Read all.".to_owned()),
        ("manifest_text", |m| m.tools[0].description = "x".repeat(100 << 10)),
        ("manifest_text", |m| m.tools[0].title = "a\u{1b}[31m".to_owned()),
        ("manifest_text", |m| m.tools[0].inputs[0].description = "a\u{202e}b".to_owned()),
        ("manifest_text", |m| m.tools[0].software = vec![software("javascript:0")]),
        ("manifest_tools", |m| m.tools.clear()),
        ("manifest_tools", |m| m.tools = vec![m.tools[0].clone(); 33]),
        ("manifest_tools", |m| m.tools.push(m.tools[0].clone())),
        ("tool_name_reserved", |m| m.tools[0].name = "run_status".to_owned()),
        ("tool_name_reserved", |m| m.tools[0].name = "lineage".to_owned()),
        ("tool_name_reserved", |m| m.tools[0].name = "artifact_import".to_owned()),
        ("extra_not_supported", |m| m.extra = "{}".to_owned()),
        ("extra_not_supported", |m| m.tools[0].extra = " ".to_owned()),
        ("role_invalid", |m| m.tools[0].inputs[0].role = "../x".to_owned()),
        ("role_invalid", |m| m.tools[0].inputs = vec![m.tools[0].inputs[0].clone(); 33]),
        ("role_duplicate", |m| m.tools[0].inputs = vec![m.tools[0].inputs[0].clone(); 2]),
        ("role_duplicate", |m| m.tools[0].outputs[1].role = "metrics".to_owned()),
        ("role_reserved", |m| m.tools[0].inputs[0].role = "project_id".to_owned()),
        ("role_reserved", |m| m.tools[0].outputs[0].role = "stdout".to_owned()),
        ("role_reserved", |m| m.tools[0].inputs[0].role = "helix_x".to_owned()),
        ("role_is_param", |m| m.tools[0].inputs[0].role = "top".to_owned()),
        ("param_reserved", |m| params(m, |s| rename(s, "dry_run"))),
        ("param_invalid", |m| params(m, |s| rename(s, "a b"))),
        ("type_unknown", |m| m.tools[0].inputs[0].types = vec!["EXE".to_owned()]),
        ("type_unknown", |m| m.tools[0].inputs[0].types.clear()),
        ("type_unknown", |m| m.tools[0].outputs[0].artifact_type = "json".to_owned()),
        ("label_invalid", |m| m.tools[0].outputs[0].label = "a/b".to_owned()),
        ("label_invalid", |m| m.tools[0].outputs[0].label = "..".to_owned()),
        ("label_invalid", |m| m.tools[0].outputs[0].label = "a\0".to_owned()),
        ("label_invalid", |m| m.tools[0].outputs[0].label = "x".repeat(1024)),
        ("label_invalid", |m| m.tools[0].outputs[1].label = "x".repeat(200)),
        ("count_invalid", |m| m.tools[0].inputs[0].count = Count { min: 2, max: 1 }),
        ("count_invalid", |m| m.tools[0].inputs[0].count = Count { min: 0, max: 0 }),
        ("count_invalid", |m| m.tools[0].outputs[0].count = Count { min: 0, max: 1_000_000 }),
        ("image_not_pinned", |m| m.tools[0].images = vec![image("latest")]),
        ("image_not_pinned", |m| m.tools[0].images = vec![image("sha256:abc")]),
        ("image_invalid", |m| m.tools[0].images = vec![image(&digest()), image(&digest())]),
        ("image_invalid", |m| m.tools[0].images = vec![image(&digest()); manifest::IMAGES_MAX + 1]),
        ("image_invalid", |m| {
            m.tools[0].images = vec![raw::Image { name: "Fast\u{202e}qc".to_owned(), ..image(&digest()) }];
        }),
        ("image_invalid", |m| {
            m.tools[0].images = vec![raw::Image { platform: "linux/arm64".to_owned(), ..image(&digest()) }];
        }),
    ];
    for (index, (expected, edit)) in cases.iter().enumerate() {
        assert_eq!(refused(*edit), *expected, "case {index}");
    }
}

fn software(url: &str) -> raw::Software {
    let name = "x".to_owned();
    raw::Software { name, version: "1".to_owned(), doi: None, url: Some(url.to_owned()), licence: None }
}

fn digest() -> String {
    format!("sha256:{}", "0".repeat(64))
}

fn image(digest: &str) -> raw::Image {
    let reference = format!("registry.example/fastqc@{digest}");
    raw::Image { name: "fastqc".to_owned(), reference, platform: "linux/amd64".to_owned() }
}

fn params(manifest: &mut raw::Manifest, edit: impl FnOnce(&mut Map<String, Value>)) {
    let mut schema: Value = serde_json::from_str(PARAMS).unwrap();
    edit(schema.as_object_mut().unwrap());
    manifest.tools[0].params_schema = schema.to_string();
}

fn rename(schema: &mut Map<String, Value>, name: &str) {
    schema["properties"][name] = json!({ "type": "string" });
}

/// A schema with one property.
fn with(property: &Value) -> String {
    json!({ "type": "object", "properties": { "a": property }, "additionalProperties": false }).to_string()
}

fn with_definitions(property: &Value, definitions: &Value) -> String {
    json!({ "type": "object", "properties": { "a": property }, "additionalProperties": false, "$defs": definitions })
        .to_string()
}

/// Definitions of which each asks twice for the next: two to the power of `number` in all.
fn doubling(number: usize) -> Value {
    let mut definitions = Map::new();
    for index in 0..number {
        let next = json!({ "$ref": format!("#/$defs/d{}", index + 1) });
        definitions.insert(format!("d{index}"), json!({ "allOf": [next, next] }));
    }
    definitions.insert(format!("d{number}"), json!({ "type": "string" }));
    Value::Object(definitions)
}

fn nested(depth: usize) -> String {
    format!("{}true{}", r#"{"not":"#.repeat(depth), "}".repeat(depth))
}

fn schema_code(text: &str) -> Result<(), &'static str> {
    let mut raw = manifest();
    raw.tools[0].result_schema = text.to_owned();
    Manifest::parse(raw).map(|_| ()).map_err(|error| error.code)
}

#[test]
fn a_schema_cannot_fetch_recurse_or_backtrack() {
    let cases = [
        (with(&json!({ "type": "string" })), Ok(())),
        (with(&json!({ "type": "string", "pattern": "^(a|b)+$" })), Ok(())),
        (with_definitions(&json!({ "$ref": "#/$defs/d0" }), &doubling(5)), Ok(())),
        // W44: a reference elsewhere, in a circle, or that grows without end.
        (with(&json!({ "$ref": "http://schema.example/x" })), Err("schema_ref")),
        (with(&json!({ "$ref": "file:///etc/passwd" })), Err("schema_ref")),
        (with(&json!({ "$ref": "#" })), Err("schema_ref")),
        (with(&json!({ "$ref": "#/properties/a" })), Err("schema_ref")),
        (with(&json!({ "$ref": 7 })), Err("schema_ref")),
        (with(&json!({ "$ref": "#/$defs/absent" })), Err("schema_invalid")),
        (with(&json!({ "$dynamicRef": "#a" })), Err("schema_invalid")),
        (with(&json!({ "$id": "http://schema.example/x" })), Err("schema_invalid")),
        (with_definitions(&json!({}), &json!({ "x": { "$ref": "#/$defs/x" } })), Err("schema_ref")),
        (
            with_definitions(
                &json!({}),
                &json!({ "x": { "items": { "$ref": "#/$defs/y" } }, "y": { "not": { "$ref": "#/$defs/x" } } }),
            ),
            Err("schema_ref"),
        ),
        (with_definitions(&json!({ "$ref": "#/$defs/d0" }), &doubling(40)), Err("schema_too_large")),
        // W44: depth and size.
        (nested(5000), Err("schema_invalid")),
        (with(&serde_json::from_str(&nested(20)).unwrap()), Err("schema_too_deep")),
        (with(&json!({ "enum": vec!["x".repeat(1000); 100] })), Err("schema_too_large")),
        // W44: regular expressions.
        (with(&json!({ "pattern": "(?=a)b" })), Err("schema_pattern")),
        (with(&json!({ "pattern": r"(a)\1" })), Err("schema_pattern")),
        (with(&json!({ "pattern": "(a{1000}){1000}" })), Err("schema_pattern")),
        (with(&json!({ "pattern": "(" })), Err("schema_pattern")),
        (with(&json!({ "pattern": 7 })), Err("schema_pattern")),
        (with(&json!({ "pattern": "a".repeat(600) })), Err("schema_pattern")),
        (with(&json!({ "patternProperties": { "(?!a)b": true } })), Err("schema_pattern")),
        // The form of the root.
        ("[]".to_owned(), Err("schema_invalid")),
        ("{".to_owned(), Err("schema_invalid")),
        ("true".to_owned(), Err("schema_invalid")),
        (r#"{"type":"object","properties":{}}"#.to_owned(), Err("schema_invalid")),
        (r#"{"type":"object","additionalProperties":false}"#.to_owned(), Err("schema_invalid")),
        (r#"{"properties":{},"additionalProperties":false}"#.to_owned(), Err("schema_invalid")),
        (
            r#"{"type":"object","properties":{},"additionalProperties":false,"anyOf":[true]}"#.to_owned(),
            Err("schema_invalid"),
        ),
        (
            r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{},"additionalProperties":false}"#
                .to_owned(),
            Err("schema_invalid"),
        ),
        (
            r#"{"type":"object","type":"object","properties":{},"additionalProperties":false}"#.to_owned(),
            Err("schema_invalid"),
        ),
        // Inside.
        (with(&json!({ "type": "sting" })), Err("schema_invalid")),
        (with(&json!({ "x-helix": 1 })), Err("schema_invalid")),
        (with(&json!({ "type": "integer", "default": "five" })), Err("schema_invalid")),
        (with(&json!({ "$defs": {} })), Err("schema_invalid")),
        (with(&json!("string")), Err("schema_invalid")),
        // W41: what a model reads and a person does not see.
        (with(&json!({ "description": "a\u{200b}b" })), Err("schema_text")),
        (with(&json!({ "description": "x".repeat(2000) })), Err("schema_text")),
        (with(&json!({ "description": "see </tool>" })), Err("schema_text")),
        (with(&json!({ "enum": ["<DEL>"] })), Ok(())),
        (with(&json!({ "enum": ["a\u{202e}b"] })), Err("schema_text")),
        (with(&json!({ "description": "Two\nlines.", "default": "\t" })), Ok(())),
    ];
    for (text, expected) in cases {
        let started = Instant::now();
        assert_eq!(schema_code(&text), expected, "{}", text::shown(&text, 200));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

/// W44: a pattern that would keep a backtracking engine busy for ever is accepted, and cheap.
#[test]
fn i9_no_accepted_schema_is_dear_to_check() {
    let mut raw = manifest();
    raw.tools[0].result_schema = with(&json!({ "type": "string", "pattern": "^(a+)+$" }));
    let tool = Manifest::parse(raw).unwrap().tools.remove(0);
    let text = format!(r#"{{"a":"{}!"}}"#, "a".repeat(15_000));
    let started = Instant::now();
    assert_eq!(result::parse(&tool, &text).unwrap_err().code, "result_invalid");
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_published_schema_holds_roles_params_and_the_hosts_own() {
    let schema = input_schema(&tool());
    let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "reads",
            "top",
            "fraction",
            "mode",
            "trim",
            "tag",
            "project_id",
            "sample",
            "dry_run",
            "retry",
            "wait_seconds"
        ]
    );
    assert_eq!(schema["required"], json!(["reads", "tag"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["reads"]["maxItems"], json!(2));
    assert_eq!(
        schema["properties"]["reads"]["description"],
        json!("One file, or two of a pair. (artifact ids, FASTQ or FASTQ_GZ)")
    );
    assert!(schema["$defs"]["Trim"].is_object());
    assert!(jsonschema::meta::is_valid(&schema));
    assert!(schema.to_string().len() < 2048, "{}", schema.to_string().len());
}
