use serde_json::{Value, json};

use super::super::fixtures::{manifest, tool};
use super::super::{Count, Manifest};
use super::*;

const READS: &str = "art_00000000000000000000000000";
const MORE: &str = "art_7ZZZZZZZZZZZZZZZZZZZZZZZZZ";

fn arguments(value: &Value) -> Result<Arguments, ArgumentError> {
    parse(&tool(), value.as_object().unwrap())
}

fn params(extra: Value) -> String {
    let mut value = json!({ "reads": [READS], "tag": "a" });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    arguments(&value).unwrap().params.to_string()
}

#[test]
fn i6_params_are_canonical_with_defaults_filled_in() {
    let defaults = r#"{"fraction":0.5,"mode":"fast","tag":"a","top":5,"trim":null}"#;
    assert_eq!(params(json!({})), defaults);
    // What only the host reads is not in them.
    let host = json!({
        "sample": "S1", "project_id": "p", "wait_seconds": 0, "retry": true, "dry_run": true,
    });
    assert_eq!(params(host), defaults);
    // A default that is written out is the default.
    assert_eq!(params(json!({ "top": 5.0, "mode": "fast", "fraction": 0.5, "trim": null })), defaults);
    assert_eq!(
        params(json!({ "trim": { "right": 3.0 }, "fraction": 1.0, "top": 7 })),
        r#"{"fraction":1,"mode":"fast","tag":"a","top":7,"trim":{"left":0,"right":3}}"#,
    );
}

#[test]
fn an_error_points_at_the_field() {
    let good = json!({ "reads": [READS], "tag": "a" });
    let cases = [
        (json!({ "tag": "a" }), "missing_field", "/reads"),
        (json!({ "reads": [READS] }), "missing_field", "/tag"),
        (json!({ "reads": READS }), "argument_invalid", "/reads"),
        (json!({ "reads": [] }), "role_count", "/reads"),
        (json!({ "reads": [READS, MORE, READS] }), "role_count", "/reads"),
        (json!({ "reads": [READS, "../x"] }), "argument_invalid", "/reads/1"),
        (json!({ "reads": [MORE.to_lowercase()] }), "argument_invalid", "/reads/0"),
        (json!({ "reads": [7] }), "argument_invalid", "/reads/0"),
        (json!({ "reads": null }), "argument_invalid", "/reads"),
        (json!({ "top": 1.5 }), "argument_invalid", "/top"),
        (json!({ "top": 0 }), "argument_invalid", "/top"),
        (json!({ "top": "5" }), "argument_invalid", "/top"),
        (json!({ "top": 9_007_199_254_740_992i64 }), "number_out_of_range", "/top"),
        (json!({ "top": u64::MAX }), "number_out_of_range", "/top"),
        (json!({ "top": 1e300 }), "number_out_of_range", "/top"),
        (json!({ "mode": "medium" }), "argument_invalid", "/mode"),
        (json!({ "tag": "A" }), "argument_invalid", "/tag"),
        (json!({ "trim": { "left": "x" } }), "argument_invalid", "/trim/left"),
        (json!({ "tpo": 5 }), "unknown_field", "/tpo"),
        (json!({ "a/b~": 5 }), "unknown_field", "/a~1b~0"),
        (json!({ "backend": "docker" }), "unknown_field", "/backend"),
        (json!({ "wait_seconds": 3601 }), "argument_invalid", "/wait_seconds"),
        (json!({ "wait_seconds": -1 }), "argument_invalid", "/wait_seconds"),
        (json!({ "wait_seconds": "45" }), "argument_invalid", "/wait_seconds"),
        (json!({ "dry_run": 1 }), "argument_invalid", "/dry_run"),
        (json!({ "retry": "true" }), "argument_invalid", "/retry"),
        (json!({ "project_id": 7 }), "argument_invalid", "/project_id"),
        (json!({ "sample": "a b" }), "argument_invalid", "/sample"),
        (json!({ "sample": ["S1", "a/b"] }), "argument_invalid", "/sample/1"),
        (json!({ "sample": ["S1", "S2", "S3"] }), "sample_count", "/sample"),
    ];
    for (change, code, pointer) in cases {
        let missing = code == "missing_field";
        let mut value = if missing { change.clone() } else { good.clone() };
        value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = arguments(&value).expect_err(&change.to_string());
        assert_eq!((error.code, error.pointer.as_str()), (code, pointer), "{change}: {error}");
    }
}

#[test]
fn i9_an_error_repeats_little_of_a_value() {
    let long = "x\u{202e}".repeat(5000);
    let fields =
        [("mode", json!(long)), ("top", json!([long])), ("reads", json!([long])), (long.as_str(), json!(1))];
    for (field, value) in fields {
        let mut arguments_value = json!({ "reads": [READS], "tag": "a" });
        arguments_value[field] = value;
        let error = arguments(&arguments_value).unwrap_err();
        assert!(error.to_string().len() < 2500, "{}", error.to_string().len());
        assert!(!error.to_string().contains('\u{202e}'));
    }
    let mut raw = manifest();
    raw.tools[0].params_schema =
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false })
            .to_string();
    let tool = Manifest::parse(raw).unwrap().tools.remove(0);
    let large = json!({ "reads": [READS], "a": "x".repeat(PARAMS_BYTES_MAX) });
    assert_eq!(parse(&tool, large.as_object().unwrap()).unwrap_err().code, "params_too_large");
}

#[test]
fn what_only_the_host_reads_is_kept_apart() {
    let plain = arguments(&json!({ "reads": [READS], "tag": "a" })).unwrap();
    assert_eq!(
        (plain.project.as_deref(), plain.dry_run, plain.retry, plain.wait_seconds),
        (None, false, false, 45)
    );
    let full = json!({
        "reads": [READS, MORE], "tag": "a", "project_id": "lab", "sample": ["S1", "S2"], "dry_run": true,
        "retry": true, "wait_seconds": 3600.0,
    });
    let full = arguments(&full).unwrap();
    assert_eq!(
        (full.project.as_deref(), full.dry_run, full.retry, full.wait_seconds),
        (Some("lab"), true, true, 3600)
    );
    assert_eq!(full.links, [("reads".parse().unwrap(), vec![READS.to_owned(), MORE.to_owned()])]);
    assert_eq!(full.samples.of(2, 1).map(SampleName::as_str), Some("S2"));
    assert_eq!(full.samples.of(3, 1), None);
    let one = arguments(&json!({ "reads": [READS], "tag": "a", "sample": "S1" })).unwrap();
    assert_eq!(one.samples.of(7, 6).map(SampleName::as_str), Some("S1"));
}

#[test]
fn a_role_with_at_most_one_member_takes_a_string() {
    let mut raw = manifest();
    raw.tools[0].inputs[0].count = Count { min: 0, max: 1 };
    let tool = Manifest::parse(raw).unwrap().tools.remove(0);
    let links = |value: Value| parse(&tool, value.as_object().unwrap()).map(|found| found.links[0].1.len());
    assert_eq!(links(json!({ "tag": "a" })), Ok(0));
    assert_eq!(links(json!({ "tag": "a", "reads": READS })), Ok(1));
    assert_eq!(links(json!({ "tag": "a", "reads": [READS] })).unwrap_err().pointer, "/reads");
}

/// A caller chooses how many items there are, an author how much each of them is given.
#[test]
fn i9_what_defaults_fill_in_is_no_more_than_params_may_be() {
    let schema = json!({
        "type": "object",
        "properties": { "p": { "type": "array", "items": { "properties": { "x": { "default": "x".repeat(100) } } } } },
    });
    let filled = |items: usize| {
        let mut params = json!({ "p": vec![json!({}); items] });
        fill_defaults(&mut params, &schema, &schema, &mut Most::default()).map(|()| params)
    };
    assert_eq!(filled(2).unwrap()["p"][1]["x"].as_str().map(str::len), Some(100));
    assert_eq!(filled(1000), Err(TooMuch));
}
