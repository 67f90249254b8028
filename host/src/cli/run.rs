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
    let mut line = format!("{status} {run}").trim_end().to_owned();
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
        line.push_str(&format!("\n{}: {}", text("/failure/code"), text("/failure/message")));
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

/// `name=value` or `name:=JSON`.
#[derive(Debug, PartialEq, Eq)]
struct Assignment<'a> {
    name: &'a str,
    value: &'a str,
    is_json: bool,
}

/// What a schema asks for, as far as a command line can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One artifact id or many.
    Role,
    Text,
    /// A number or a boolean: written as JSON has it.
    Plain,
    /// Only `:=` can say it.
    Other,
}

impl Kind {
    fn of(schema: &Value) -> Self {
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
    fn parse(text: &'a str) -> anyhow::Result<Self> {
        let Some((name, value)) = text.split_once('=') else {
            bail!(Told::arguments(format!("{text}: write NAME=VALUE, or NAME:=JSON")));
        };
        Ok(match name.strip_suffix(':') {
            Some(name) => Self { name, value, is_json: true },
            None => Self { name, value, is_json: false },
        })
    }

    fn value_for(&self, kind: Kind, schema: &Value) -> anyhow::Result<Value> {
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
fn put(
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
