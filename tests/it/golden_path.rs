//! The main job, from an empty home to an exported report, as an assistant does it.

use std::fs;

use anyhow::{Context, Result};
use helix_tests::{World, cache, world};
use serde_json::json;

use crate::stage::{imported, text};

#[test]
fn real_reads_become_a_report() -> Result<()> {
    let mut world = World::new()?;
    world.allow("reads-qc", &world::toolpack("reads-qc")?)?;
    let reads = world.bring(cache::fetched(&cache::lambda_reads()?.join("reads_1.fq.gz"))?)?;
    world.start()?;
    let mut client = world.client()?;

    let instructions = text(&client.server["instructions"]);
    assert!(instructions.contains("fastq_stats"), "the instructions name no tool: {instructions}");
    assert!(instructions.len() <= 2000, "{} characters of instructions", instructions.len());

    let browsed = client.call("artifact_browse", json!({"root": "data"}))?;
    assert_eq!(browsed.structured["entries"][0]["path"], reads);
    assert_eq!(browsed.structured["entries"][0]["guessed_type"], "FASTQ_GZ");

    let import = client.call("artifact_import", json!({"root": "data", "path": reads}))?;
    assert_eq!(import.structured["artifacts"][0]["type"], "FASTQ_GZ");
    let id = imported(&import)?;

    let planned = client.call("fastq_stats", json!({"reads": [id], "dry_run": true}))?;
    assert_eq!(planned.status(), "planned", "{}", planned.text());

    let reply = client.call("fastq_stats", json!({"reads": [id]}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    assert_eq!(reply.run_id(), planned.run_id());
    let total = &reply.structured["result"]["total"];
    assert_eq!((&total["reads"], &total["bases"]), (&json!(10_000), &json!(1_088_399)));
    let images = reply.content.iter().filter(|block| block["type"] == "image").count();
    assert_eq!(images, 1, "the overview did not come as an image");

    let report = reply.output("report").context("no report")?;
    let read = client.request("resources/read", json!({"uri": format!("helix://artifact/{report}")}))?;
    let html = text(&read["contents"][0]["text"]);
    assert!(html.to_lowercase().starts_with("<!doctype html"), "not HTML");
    for outside in ["<script src", "<link", "src=\"http", "url(http"] {
        assert!(!html.contains(outside), "the report is not self-contained: {outside}");
    }

    let exported = client.call("artifact_export", json!({"artifact_id": report, "root": "out"}))?;
    let path = text(&exported.structured["path"]);
    assert_eq!(fs::read_to_string(path)?, html);
    client.close()?;
    world.finish()
}

/// Budgets of decisions that a model's window pays for.
#[test]
fn the_tool_list_fits_its_budget() -> Result<()> {
    let mut world = World::new()?;
    world.allow("reads-qc", &world::toolpack("reads-qc")?)?;
    world.start()?;
    let mut client = world.client()?;
    let tools = client.tools()?;

    let sizes: Vec<(String, usize)> =
        tools.iter().map(|tool| (text(&tool["name"]), without_output(tool).to_string().len())).collect();
    for (name, size) in &sizes {
        assert!(*size <= 2048, "{name} takes {size} bytes");
    }
    let all: usize = tools.iter().map(|tool| tool.to_string().len()).sum();
    assert!(all <= 40 * 1024, "the list takes {all} bytes");
    client.close()?;
    world.finish()
}

/// What a model is shown of a tool; the schema of answers is for programs.
fn without_output(tool: &serde_json::Value) -> serde_json::Value {
    let mut tool = tool.clone();
    if let Some(fields) = tool.as_object_mut() {
        fields.remove("outputSchema");
    }
    tool
}
