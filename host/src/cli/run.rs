//! `helixmcp run`: calls a tool from a shell.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rmcp::model::{CallToolResult, Tool};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::assignment::{Assignment, Kind, put};
use super::output::{self, EXIT_CANCELLED, Told};
use super::settings::Settings;
use super::{attach, import_path};
use crate::call::Progress;
use crate::mcp::client::Client;

/// How long one wait is; without `--wait` the next one follows.
pub(super) const WAIT_SECONDS: u32 = 600;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  helixmcp run fastq_stats reads=r1.fastq.gz reads=r2.fastq.gz
  helixmcp run fastq_filter reads=art_4JM8CZP8W8Z52Q94G9GZ9DKGEG min_mean_quality=20
  helixmcp run fastq_filter reads=r1.fastq.gz sample_number:=1000 seed:=7 --dry-run")]
pub struct RunArgs {
    /// The tool, as `helixmcp toolpack list` names it
    tool: String,
    /// role=FILE or role=art_… (again for more of them), param=value, param:=JSON
    #[arg(value_name = "NAME=VALUE")]
    assignments: Vec<String>,
    /// Project name or id; not needed with one project
    #[arg(long)]
    project: Option<String>,
    /// Sample name, or one for each input
    #[arg(long)]
    sample: Vec<String>,
    /// Wait so many seconds at most; without it, until the run's end
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
    /// Say what would happen, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Run again what was answered from the record
    #[arg(long)]
    retry: bool,
}

/// Imports files, calls the tool, waits and prints.
///
/// # Errors
/// What is wrong with the arguments, or with the host.
pub async fn run(args: &RunArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let client = attach::client(settings).await?;
    let tools = client.tools().await.map_err(Told::from)?;
    let Some(tool) = tools.iter().find(|tool| tool.name == args.tool) else {
        bail!(unknown_tool(&args.tool, &tools));
    };
    let cancel = cancel_on_interrupt();
    let caller = Calling { client: &client, settings, project: args.project.as_deref(), cancel: &cancel };
    let mut arguments = caller.arguments(tool, &args.assignments).await?;
    if let Some(project) = &args.project {
        arguments.insert("project_id".to_owned(), json!(project));
    }
    match args.sample.as_slice() {
        [] => {}
        [one] => drop(arguments.insert("sample".to_owned(), json!(one))),
        many => drop(arguments.insert("sample".to_owned(), json!(many))),
    }
    for (name, set) in [("dry_run", args.dry_run), ("retry", args.retry)] {
        if set {
            arguments.insert(name.to_owned(), json!(true));
        }
    }
    arguments.insert("wait_seconds".to_owned(), json!(args.wait.unwrap_or(WAIT_SECONDS)));

    let mut result = caller.call(&args.tool, arguments).await?;
    while args.wait.is_none() && goes_on(&result) {
        let run = result.structured_content.as_ref().and_then(|answer| answer.get("run_id")).cloned();
        let mut arguments = Map::new();
        arguments.insert("run_id".to_owned(), run.context("a run without an id goes on")?);
        arguments.insert("wait_seconds".to_owned(), json!(WAIT_SECONDS));
        if let Some(project) = &args.project {
            arguments.insert("project_id".to_owned(), json!(project));
        }
        result = caller.call("run_wait", arguments).await?;
    }
    client.close().await;
    print(&result, settings, out)
}

/// A result as people read it, or its structured part as JSON.
///
/// # Errors
/// As the writer's.
pub fn print(result: &CallToolResult, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let answer = result.structured_content.clone().unwrap_or_default();
    let code = output::exit_of(&answer);
    if settings.json {
        output::json(out, &answer)?;
        return Ok(ExitCode::from(code));
    }
    if let Some(summary) = answer.get("summary").and_then(Value::as_str) {
        writeln!(out, "{}\n", output::visible(summary).trim_end())?;
    }
    let outputs = answer.get("outputs").and_then(Value::as_array);
    if let Some(outputs) = outputs.filter(|outputs| !outputs.is_empty()) {
        let text = |output: &Value, key: &str| {
            output.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let row = |output: &Value| {
            let size = output::size_of(&text(output, "size_bytes"));
            vec![
                text(output, "role"),
                text(output, "label"),
                text(output, "type"),
                size,
                text(output, "artifact_id"),
            ]
        };
        let rows: Vec<Vec<String>> = outputs.iter().map(row).collect();
        output::table(out, &["role", "name", "type", "size", "artifact"], &rows)?;
        writeln!(out)?;
    }
    writeln!(out, "{}", standing(&answer))?;
    Ok(ExitCode::from(code))
}

/// Where the run stands, in one or two lines.
fn standing(answer: &Value) -> String {
    let text =
        |pointer: &str| output::visible(answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let (status, run) = (text("/status"), text("/run_id"));
    // Where no run came to be, nothing failed: the failure below says it all.
    let is_run = !run.is_empty() || answer.get("failure").is_none();
    let mut line = if is_run { format!("{status} {run}").trim_end().to_owned() } else { String::new() };
    line.push_str(match text("/plan/would").as_str() {
        "would_replay" => ": the record has the answer, and nothing would run",
        "would_join" => ": it is under way, and the call would wait for it",
        "would_run" => ": it is new and would run",
        _ => "",
    });
    if answer.get("replayed").and_then(Value::as_bool) == Some(true) {
        line.push_str(" (from the record; nothing ran)");
    }
    if answer.get("failure").is_some() {
        let separator = if line.is_empty() { "" } else { "\n" };
        line.push_str(&format!("{separator}{}: {}", text("/failure/code"), text("/failure/message")));
        let advice = text("/failure/advice");
        if !advice.is_empty() {
            line.push_str(&format!("\n{advice}"));
        }
    }
    if matches!(status.as_str(), "running" | "queued" | "waiting") {
        line.push_str(&format!("\nIt goes on. helixmcp runs wait {run} waits for it."));
    }
    line
}

/// Whether there is something to wait for.
pub(super) fn goes_on(result: &CallToolResult) -> bool {
    let status =
        result.structured_content.as_ref().and_then(|answer| answer.get("status")).and_then(Value::as_str);
    matches!(status, Some("queued" | "running" | "waiting"))
}

fn unknown_tool(asked: &str, tools: &[Tool]) -> anyhow::Error {
    let host_tools = ["artifact_", "run_", "host_"];
    let is_host = |tool: &&Tool| host_tools.iter().any(|prefix| tool.name.starts_with(prefix));
    let names: Vec<&str> =
        tools.iter().filter(|tool| !is_host(tool)).map(|tool| tool.name.as_ref()).collect();
    let offered = if names.is_empty() {
        "no toolpack is offered; `helixmcp doctor` says why".to_owned()
    } else {
        format!("the tools are {}", names.join(" "))
    };
    Told::arguments(format!("no tool {asked}: {offered}"))
}

/// Fires on the first Ctrl-C: we stop waiting, the run may go on.
pub(super) fn cancel_on_interrupt() -> CancellationToken {
    let cancel = CancellationToken::new();
    let fired = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            fired.cancel();
        }
    });
    cancel
}

/// What every call of one command shares.
pub(super) struct Calling<'a> {
    pub(super) client: &'a Client,
    pub(super) settings: &'a Settings,
    pub(super) project: Option<&'a str>,
    pub(super) cancel: &'a CancellationToken,
}

impl Calling<'_> {
    /// Calls with a progress bar, on a terminal.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
    ) -> anyhow::Result<CallToolResult> {
        let bar = std::io::stderr().is_terminal().then(|| bar(tool));
        let listener = bar.clone().map(|bar| {
            Box::new(move |progress: Progress| show(&bar, progress)) as Box<dyn FnMut(Progress) + Send>
        });
        let called = self.client.call(tool, arguments, listener, self.cancel).await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        called.map_err(|error| match Told::from(error) {
            Told { code: EXIT_CANCELLED, .. } => Told::error(
                EXIT_CANCELLED,
                "you stopped waiting; a run younger than a minute whose id nobody was given is stopped too, \
                 any other goes on: `helixmcp runs list` shows which",
            ),
            told => told.into(),
        })
    }

    /// Makes arguments of what stands on the command line, by the tool's own schema.
    async fn arguments(&self, tool: &Tool, assignments: &[String]) -> anyhow::Result<Map<String, Value>> {
        let none = Map::new();
        let properties = tool.input_schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let mut arguments = Map::new();
        for text in assignments {
            let assignment = Assignment::parse(text)?;
            let Some(schema) = properties.get(assignment.name) else {
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                bail!(Told::arguments(format!(
                    "{} takes no {}; it takes {}",
                    tool.name,
                    assignment.name,
                    names.join(" ")
                )));
            };
            let value = match Kind::of(schema) {
                Kind::Role if !assignment.is_json => json!(self.artifact(assignment.value).await?),
                kind => assignment.value_for(kind, schema)?,
            };
            put(&mut arguments, &assignment, schema, value)?;
        }
        Ok(arguments)
    }

    /// An artifact id as it stands, or that of a file, which is imported.
    async fn artifact(&self, text: &str) -> anyhow::Result<String> {
        if text.starts_with("art_") && !Path::new(text).exists() {
            return Ok(text.to_owned());
        }
        let found = import_path::locate(self.settings, self.project, Path::new(text))?;
        let mut arguments = Map::new();
        arguments.insert("root".to_owned(), json!(found.root));
        arguments.insert("path".to_owned(), json!(found.path));
        arguments.insert("wait_seconds".to_owned(), json!(WAIT_SECONDS));
        if let Some(project) = self.project {
            arguments.insert("project_id".to_owned(), json!(project));
        }
        loop {
            let result = self.call("artifact_import", arguments.clone()).await?;
            let imported = output::value(result)?;
            if imported.get("status").and_then(Value::as_str) == Some("importing") {
                continue;
            }
            let id = imported.pointer("/artifacts/0/artifact_id").and_then(Value::as_str);
            return id
                .map(str::to_owned)
                .with_context(|| format!("{text} was imported, and no artifact came of it"));
        }
    }
}

fn bar(tool: &str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_prefix(tool.to_owned());
    bar.set_style(spinner());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}")
        .unwrap_or_else(|_template| ProgressStyle::default_spinner())
}

fn show(bar: &ProgressBar, progress: Progress) {
    if let Some(total) = progress.total {
        let style =
            ProgressStyle::with_template("{spinner} {prefix} {wide_bar} {percent:>3}% {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_template| ProgressStyle::default_bar()));
        bar.set_length(total);
    }
    bar.set_position(progress.done);
    bar.set_message(output::visible(&progress.text));
}
