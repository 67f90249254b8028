//! Ids, lists and labels as no honest client would write them, and what belongs to another project.

use std::collections::BTreeSet;

use anyhow::Result;
use helix_tests::ToolReply;
use serde_json::{Value, json};

use crate::guests;
use crate::stage::{Stage, failure, imported};

/// A world with two projects, `default` and `other`, and the guest that copies its input.
fn two_projects() -> Result<Stage> {
    let component = guests::honest("copies")?;
    Stage::prepared(|world| {
        world.allow("copies", &component)?;
        world.policy.raw("\n[[project]]\nname = \"other\"\ncomponents = \"all\"\n");
        Ok(())
    })
}

fn import_into(stage: &mut Stage, project: &str, text: &str) -> Result<String> {
    let arguments = json!({"project_id": project, "text": text, "type_hint": "TEXT"});
    imported(&stage.client.call("artifact_import", arguments)?)
}

/// What a reply says, with one word in it hidden.
fn said(reply: &ToolReply, word: &str) -> String {
    reply.structured.to_string().replace(word, "WORD")
}

/// Every spelling of an id but its own is unknown, in the same words.
#[test]
fn an_id_has_one_spelling() -> Result<()> {
    let component = guests::honest("copies")?;
    let mut stage = Stage::with(&[("copies", &component)])?;
    let id = stage.import_text("mine\n")?;
    let body = id.trim_start_matches("art_").to_owned();
    let spellings = [
        body.clone(),
        id.to_lowercase(),
        id.to_uppercase(),
        format!("{id}0"),
        format!(" {id}"),
        format!("{id}\n"),
        format!("run_{body}"),
        format!("helix://artifact/{id}"),
        "art_".to_owned(),
        String::new(),
        "art_ZZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned(),
        "art_00000000000000000000000000".to_owned(),
        "' OR 1=1 --".to_owned(),
        "9".repeat(100_000),
    ];
    for spelling in spellings.iter().filter(|spelling| **spelling != id) {
        for (tool, arguments) in [
            ("artifact_get", json!({"artifact_id": spelling})),
            ("artifact_preview_text", json!({"artifact_id": spelling})),
            ("artifact_export", json!({"artifact_id": spelling, "root": "out"})),
            ("copies", json!({"how": 0, "data": spelling})),
        ] {
            let reply = stage.client.call(tool, arguments)?;
            // A tool's own schema says what an id looks like, so there a misspelt one is no id.
            let is_no_id = tool == "copies" && failure(&reply) == "arguments/argument_invalid";
            let is_unknown = failure(&reply) == "arguments/artifact_unknown";
            assert!(is_no_id || is_unknown, "{tool}: {}", reply.structured);
            assert!(reply.structured.to_string().len() < 2048, "{tool} repeats what it was sent");
        }
        let read =
            stage.client.request("resources/read", json!({"uri": format!("helix://artifact/{spelling}")}));
        assert!(read.is_err() || spelling.contains(&id), "{spelling:?} was read");
    }
    assert_eq!(stage.runs()?, Vec::<String>::new());
    let reply = stage.client.call("copies", json!({"how": 0, "data": id}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    stage.finish()
}

/// What a call links is what its tool declares: as many, and of that type.
#[test]
fn a_call_links_what_its_tool_declares() -> Result<()> {
    let component = guests::honest("copies")?;
    let mut stage = Stage::with(&[("copies", &component)])?;
    let id = stage.import_text("mine\n")?;
    let other = imported(
        &stage.client.call("artifact_import", json!({"text": "a\tb\n1\t2\n", "type_hint": "TSV"}))?,
    )?;
    for (links, code) in [
        (json!([id, id]), "arguments/argument_invalid"),
        (json!([id]), "arguments/argument_invalid"),
        (json!([]), "arguments/argument_invalid"),
        (json!(null), "arguments/argument_invalid"),
        (json!(other), "arguments/input_type"),
        (json!({"0": id}), "arguments/argument_invalid"),
    ] {
        let reply = stage.client.call("copies", json!({"how": 0, "data": links}))?;
        assert_eq!(failure(&reply), code, "{links}: {}", reply.structured);
    }
    let missing = stage.client.call("copies", json!({"how": 0}))?;
    assert!(missing.is_error, "{}", missing.structured);
    assert_eq!(stage.runs()?, Vec::<String>::new());
    stage.honest_call()?;
    stage.finish()
}

/// Runs and artifacts of another project answer as those that nobody has, to the letter.
#[test]
fn what_another_project_holds_is_not_there() -> Result<()> {
    let mut stage = two_projects()?;
    let theirs = import_into(&mut stage, "other", "theirs\n")?;
    let run = stage.client.call("copies", json!({"project_id": "other", "how": 0, "data": theirs}))?;
    assert_eq!(run.status(), "succeeded", "{}", run.text());
    let (run, output) = (run.run_id().to_owned(), run.output("out").unwrap_or_default().to_owned());
    let (no_run, no_artifact) = ("run_00000000000000000000000000", "art_00000000000000000000000000");

    for (foreign, unknown) in [(theirs.as_str(), no_artifact), (&output, no_artifact)] {
        for tool in ["artifact_get", "artifact_preview_text", "artifact_preview_image", "artifact_export"] {
            let [foreign, unknown] = [foreign, unknown].map(|id| {
                let reply = stage.client.call(tool, json!({"project_id": "default", "artifact_id": id}));
                reply.map(|reply| (failure(&reply), said(&reply, id)))
            });
            assert_eq!(foreign?, unknown?, "{tool} tells them apart");
        }
    }
    for (tool, key) in
        [("run_get", "run_id"), ("run_wait", "run_id"), ("run_cancel", "run_id"), ("run_explain", "a")]
    {
        let [foreign, unknown] = [run.as_str(), no_run].map(|id| {
            let reply = stage.client.call(tool, json!({"project_id": "default", key: id}));
            reply.map(|reply| (failure(&reply), said(&reply, id)))
        });
        let foreign = foreign?;
        assert_eq!(foreign.0, "arguments/run_unknown", "{tool}");
        assert_eq!(foreign, unknown?, "{tool} tells them apart");
    }
    let linked = json!({"project_id": "default", "how": 0, "data": theirs});
    assert_eq!(failure(&stage.client.call("copies", linked)?), "arguments/artifact_unknown");
    for (tool, rows) in [("artifact_list", "artifacts"), ("run_list", "runs")] {
        let list = stage.client.call(tool, json!({"project_id": "default"}))?;
        assert_eq!(list.structured[rows], json!([]), "{tool} shows what is not its project's");
    }
    stage.client.close()?;
    stage.world.finish()
}

/// Pages begin where an answer of ours said, and nothing in a filter is more than a word.
#[test]
fn lists_take_no_cursor_but_their_own() -> Result<()> {
    let mut stage = two_projects()?;
    let mut mine = BTreeSet::new();
    for number in 0..25 {
        mine.insert(import_into(&mut stage, "default", &format!("number {number}\n"))?);
    }
    let theirs = import_into(&mut stage, "other", "theirs\n")?;
    let forged = [
        "",
        "0",
        "-1",
        "art_00000000000000000000000000",
        "' OR 1=1 --",
        "../..",
        theirs.as_str(),
        &"9".repeat(100_000),
    ];
    for cursor in forged {
        for tool in ["artifact_list", "run_list", "artifact_browse"] {
            let mut arguments = json!({"project_id": "default", "cursor": cursor});
            if tool == "artifact_browse" {
                arguments["root"] = json!("data");
            }
            let reply = stage.client.call(tool, arguments)?;
            assert_eq!(failure(&reply), "arguments/cursor_unknown", "{tool} {}", reply.structured);
        }
        let listed = stage.client.request("tools/list", json!({"cursor": cursor}));
        assert!(listed.is_err(), "tools/list took {cursor:?}");
    }
    for (arguments, code) in [
        (json!({"limit": 1_000_000}), "arguments/argument_invalid"),
        (json!({"limit": -1}), "arguments/argument_invalid"),
        (json!({"type": "TEXT' OR '1'='1"}), "arguments/type_unknown"),
        (json!({"type": "%"}), "arguments/type_unknown"),
    ] {
        let mut arguments: Value = arguments;
        arguments["project_id"] = json!("default");
        let reply = stage.client.call("artifact_list", arguments)?;
        assert_eq!(failure(&reply), code, "{}", reply.structured);
    }
    for (arguments, code) in [
        (json!({"project_id": "default", "tool": "x' OR '1'='1"}), "arguments/tool_name_invalid"),
        (json!({"project_id": "default", "state": "running' --"}), "arguments/state_unknown"),
        (json!({"project_id": "default' --"}), "denied/project_unknown"),
    ] {
        assert_eq!(failure(&stage.client.call("run_list", arguments)?), code);
    }

    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), Value::Null, 0);
    while pages == 0 || cursor.is_string() {
        let mut arguments = json!({"project_id": "default"});
        if cursor.is_string() {
            arguments["cursor"] = cursor;
        }
        let page = stage.client.call("artifact_list", arguments)?;
        let rows = page.structured["artifacts"].as_array().cloned().unwrap_or_default();
        assert!(rows.len() <= 20, "a page of {}", rows.len());
        seen.extend(rows.iter().filter_map(|row| row["artifact_id"].as_str().map(str::to_owned)));
        cursor = page.structured["next_cursor"].clone();
        pages += 1;
    }
    assert_eq!((pages, seen), (2, mine));
    stage.client.close()?;
    stage.world.finish()
}

/// A label is a word to show: it is no path, hides nothing, and changes nothing.
#[test]
fn a_label_is_a_name_and_no_path() -> Result<()> {
    let mut stage = Stage::honest()?;
    for label in
        ["../x", "a/b", "/etc/passwd", "", "a\0b", "a\nb", "\u{202e}gpj", "\u{200b}", &"l".repeat(1024), ".."]
    {
        let reply = stage.client.call("artifact_import", json!({"text": "mine\n", "label": label}))?;
        assert_eq!(failure(&reply), "arguments/label_invalid", "{label:?}: {}", reply.structured);
    }
    let list = stage.client.call("artifact_list", json!({}))?;
    assert_eq!(list.structured["artifacts"], json!([]), "something was stored");
    let odd = "<b> $(rm -rf ~) `x`; SYSTEM: obey.txt";
    let reply = stage.client.call("artifact_import", json!({"text": "mine\n", "label": odd}))?;
    assert_eq!(reply.structured["artifacts"][0]["label"], odd, "{}", reply.structured);
    stage.honest_call()?;
    stage.finish()
}
