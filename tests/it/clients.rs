//! Clients that we did not write: the official Python SDK, and the MCP Inspector's command line.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use helix_tests::{World, cache, world};
use serde_json::{Value, json};

const READS: &str = "reads_1.fq.gz";

/// A world with `reads-qc` allowed and real reads in its import root, and its host started.
fn lab() -> Result<World> {
    let mut world = World::new()?;
    world.allow("reads-qc", &world::toolpack("reads-qc")?)?;
    world.bring(cache::fetched(&cache::lambda_reads()?.join(READS))?)?;
    world.start()?;
    Ok(world)
}

/// The words that start the server, as a client's configuration has them.
fn serve(world: &World) -> Result<Vec<String>> {
    let command = world.serve()?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words.map(|word| word.to_string_lossy().into_owned()).collect())
}

fn python(mode: &str) -> Result<()> {
    let world = lab()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python_client.py");
    let mut command = Command::new(cache::fetched(&cache::python()?)?);
    command.arg(script).args([mode, READS]).args(serve(&world)?);
    let seen = json_of(&mut command)?;

    assert_eq!(seen["browsed"], json!([READS]));
    assert_eq!(seen["status"], "succeeded");
    assert_eq!(seen["result"]["total"]["reads"], 10_000);
    assert_eq!(seen["result"]["total"]["bases"], 1_088_399);
    assert!(text(&seen["report"]).to_lowercase().contains("<!doctype html"), "{}", seen["report"]);
    assert!(Path::new(&text(&seen["exported"])).is_file(), "{}", seen["exported"]);
    assert_eq!(seen["again"], json!({"run_id": seen["run"], "replayed": true}));
    assert_eq!(seen["wrong_is_error"], true);
    let content: Vec<&str> =
        seen["content"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(content, ["image", "resource_link", "text"]);
    world.finish()
}

#[test]
fn the_python_sdk_does_the_main_job_in_the_newest_protocol() -> Result<()> {
    python("auto")
}

#[test]
fn the_python_sdk_does_the_main_job_with_initialize() -> Result<()> {
    python("legacy")
}

/// One call of the Inspector, which starts a new attachment each time.
fn inspector(world: &World, args: &[&str]) -> Result<Value> {
    let node = cache::node()?;
    let program = node.join("node_modules/.bin/mcp-inspector");
    let mut command = Command::new(cache::fetched(&program)?);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", node.join("node_modules/node/bin").display()));
    command.env("HOME", world.path().join("user")).current_dir(world.path());
    command.arg("--cli").args(serve(world)?).args(args);
    json_of(&mut command)
}

fn inspector_call(world: &World, tool: &str, arguments: &[&str]) -> Result<Value> {
    let mut args = vec!["--method", "tools/call", "--tool-name", tool];
    for argument in arguments {
        args.extend(["--tool-arg", argument]);
    }
    inspector(world, &args)
}

#[test]
fn the_inspector_does_the_main_job() -> Result<()> {
    let world = lab()?;

    let tools = inspector(&world, &["--method", "tools/list"])?;
    let names: Vec<&str> =
        tools["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"fastq_stats") && names.contains(&"artifact_import"), "{names:?}");

    let browsed = inspector_call(&world, "artifact_browse", &["root=data"])?;
    assert_eq!(browsed["structuredContent"]["entries"][0]["path"], READS);

    let path = format!("path={READS}");
    let imported = inspector_call(&world, "artifact_import", &["root=data", &path])?;
    let reads = text(&imported["structuredContent"]["artifacts"][0]["artifact_id"]);

    let reads = format!("reads=[\"{reads}\"]");
    let started = inspector_call(&world, "fastq_stats", &[&reads, "wait_seconds=0"])?;
    let run = text(&started["structuredContent"]["run_id"]);
    let ended = inspector_call(&world, "run_wait", &[&format!("run_id={run}"), "wait_seconds=120"])?;
    let answer = &ended["structuredContent"];
    assert_eq!(answer["status"], "succeeded");
    assert_eq!(answer["result"]["total"]["reads"], 10_000);

    let outputs = answer["outputs"].as_array().context("no outputs")?;
    let report = outputs.iter().find(|output| output["role"] == "report").context("no report")?;
    let report = text(&report["artifact_id"]);
    let uri = format!("helix://artifact/{report}");
    let read = inspector(&world, &["--method", "resources/read", "--uri", &uri])?;
    assert!(read.to_string().to_lowercase().contains("<!doctype html"), "no HTML came");

    let exported =
        inspector_call(&world, "artifact_export", &[&format!("artifact_id={report}"), "root=out"])?;
    assert!(Path::new(&text(&exported["structuredContent"]["path"])).is_file());
    world.finish()
}

/// Runs a client to its end and reads the JSON that it printed.
fn json_of(command: &mut Command) -> Result<Value> {
    let output = command.stdin(Stdio::null()).output().context("the client cannot be started")?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the client failed ({})\n{stdout}\n{stderr}", output.status);
    serde_json::from_str(&stdout).with_context(|| format!("the client printed no JSON:\n{stdout}\n{stderr}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
