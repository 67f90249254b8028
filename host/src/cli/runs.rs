//! `helixmcp runs …`: what ran, how it came about, and what to do about it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};

use super::artifact::{ProjectArg, arguments, facts, more, pages, rows_of, text};
use super::output::{self, EXIT_FAULT, Told, size_of, visible};
use super::run::{Calling, WAIT_SECONDS, cancel_on_interrupt, goes_on};
use super::{Settings, attach};

#[derive(Clone, Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first
    List(ListArgs),
    /// Show everything that is recorded of a run
    Show(ShowArgs),
    /// Say how a run came by its id, or where two runs differ
    Explain(ExplainArgs),
    /// Wait for a run and print its answer
    Wait(WaitArgs),
    /// Make the same call again, and run it again
    Retry(OneArgs),
    /// Stop a run for everybody who waits for it
    Cancel(CancelArgs),
}

#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Only runs of this tool
    #[arg(long)]
    tool: Option<String>,
    /// Only runs in this state
    #[arg(long)]
    state: Option<String>,
    /// Not only the newest twenty
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// run_…
    run: String,
    /// With its chain of events
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// run_…
    a: String,
    /// The run to compare with
    b: Option<String>,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// run_…
    run: String,
    /// Wait so many seconds at most; without it, until the run's end
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u32>,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct OneArgs {
    /// run_…
    run: String,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct CancelArgs {
    /// run_…
    run: String,
    /// Why; kept with the run
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    project: ProjectArg,
}

/// # Errors
/// What is wrong with the arguments, or with the host.
pub async fn run(command: RunsCommand, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        RunsCommand::List(args) => list(&args, settings, out).await?,
        RunsCommand::Show(args) => show(&args, settings, out).await?,
        RunsCommand::Explain(args) => explain(&args, settings, out).await?,
        RunsCommand::Wait(args) => return wait(&args, settings, out).await,
        RunsCommand::Retry(args) => return retry(&args, settings, out).await,
        RunsCommand::Cancel(args) => cancel(&args, settings, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &ListArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let said = [
        ("tool", args.tool.as_ref().map(|tool| json!(tool))),
        ("state", args.state.as_ref().map(|state| json!(state))),
    ];
    let answer = pages(settings, "run_list", "runs", arguments(&args.project, said), args.all).await?;
    if settings.json {
        return Ok(output::json(out, &answer)?);
    }
    let row = |run: &Value| {
        let attempts = run.get("attempts").map(Value::to_string).unwrap_or_default();
        let [id, tool, state, at, ended] =
            ["run_id", "tool", "state", "created_at", "ended_at"].map(|key| text(run, key));
        vec![id, tool, state, attempts, at, ended]
    };
    let rows: Vec<Vec<String>> = rows_of(&answer, "runs").iter().map(row).collect();
    if rows.is_empty() {
        writeln!(out, "no runs")?;
    } else {
        output::table(out, &["run", "tool", "state", "attempts", "created", "ended"], &rows)?;
    }
    more(&answer, out)
}

async fn record(run: &str, events: bool, project: &ProjectArg, settings: &Settings) -> anyhow::Result<Value> {
    let said = [("run_id", Some(json!(run))), ("events", events.then(|| json!(true)))];
    attach::call(settings, "run_get", arguments(project, said)).await
}

async fn show(args: &ShowArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let record = record(&args.run, args.events, &args.project, settings).await?;
    if settings.json {
        return Ok(output::json(out, &record)?);
    }
    print_record(&record, out)
}

fn print_record(record: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    for name in ["run_id", "tool", "contract", "state", "created_at", "component_digest"] {
        writeln!(out, "{name:<20} {}", visible(&text(record, name)))?;
    }
    let identity = record.get("identity").cloned().unwrap_or_default();
    for name in ["run_digest", "params_hash", "policy_hash"] {
        writeln!(out, "{name:<20} {}", visible(&text(&identity, name)))?;
    }
    let params = identity.pointer("/envelope/params").cloned().unwrap_or_default();
    writeln!(out, "{:<20} {}", "params", visible(&params.to_string()))?;
    for input in rows_of(record, "inputs") {
        let index = input.get("index").and_then(Value::as_u64).unwrap_or_default();
        let name = format!("{}[{index}]", text(input, "role"));
        writeln!(out, "{name:<20} {} {}", text(input, "artifact_id"), visible(&text(input, "sample")))?;
    }
    if let Some(left_out) = record.get("attempts_left_out").and_then(Value::as_u64) {
        writeln!(out, "\n{left_out} older attempts are left out")?;
    }
    for attempt in rows_of(record, "attempts") {
        print_attempt(attempt, out)?;
    }
    for event in rows_of(record, "events") {
        let seq = event.get("seq").map(Value::to_string).unwrap_or_default();
        writeln!(out, "\nevent {seq} {} {}", text(event, "at"), text(event, "kind"))?;
        writeln!(out, "  {}", visible(&text(event, "text")))?;
    }
    Ok(())
}

fn print_attempt(attempt: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let ordinal = attempt.get("ordinal").map(Value::to_string).unwrap_or_default();
    writeln!(out, "\nattempt {ordinal}: {}", text(attempt, "state"))?;
    for name in ["caller", "created_at", "started_at", "ended_at", "engine", "host_version", "policy_file"] {
        let value = text(attempt, name);
        if !value.is_empty() {
            writeln!(out, "  {name:<18} {}", visible(&value))?;
        }
    }
    let usage = attempt.get("usage").cloned().unwrap_or_default();
    let memory = size_of(&text(&usage, "memory_bytes"));
    let wall = usage.get("wall_ms").map(Value::to_string).unwrap_or_default();
    writeln!(out, "  {:<18} {} fuel, {memory} memory, {wall} ms", "used", text(&usage, "fuel"))?;
    for output in rows_of(attempt, "outputs") {
        let [role, label, kind, id] =
            ["role", "label", "type", "artifact_id"].map(|key| visible(&text(output, key)));
        let size = size_of(&text(output, "size_bytes"));
        writeln!(out, "  {role:<18} {label} ({kind}, {size}) {id}")?;
    }
    if let Some(failure) = attempt.get("failure") {
        let [class, code, message, advice] =
            ["class", "code", "message", "advice"].map(|key| visible(&text(failure, key)));
        writeln!(out, "  failure            {code} ({class}): {message} {advice}")?;
    }
    let log = text(attempt, "log_tail");
    if !log.is_empty() {
        writeln!(out, "  log, its end:\n{}", visible(log.trim_end()))?;
    }
    Ok(())
}

async fn explain(args: &ExplainArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let said = [("a", Some(json!(args.a))), ("b", args.b.as_ref().map(|b| json!(b)))];
    let answer = attach::call(settings, "run_explain", arguments(&args.project, said)).await?;
    if settings.json {
        return Ok(output::json(out, &answer)?);
    }
    print_explanation(&answer, out)
}

fn print_explanation(answer: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    if answer.get("b").is_none() {
        writeln!(out, "{}\n", visible(&text(answer, "summary")))?;
        return facts(answer.get("a").unwrap_or(&Value::Null), out);
    }
    // The first line is the answer; who wants to know more reads on.
    match rows_of(answer, "differences") {
        [] => writeln!(out, "{}", visible(&text(answer, "summary")))?,
        [first, others @ ..] => {
            writeln!(out, "{}", difference(first))?;
            if !others.is_empty() {
                writeln!(out, "\nand:")?;
            }
            for other in others {
                writeln!(out, "  {}", difference(other))?;
            }
        }
    }
    Ok(())
}

/// `params.min_quality: 20 → 25`.
fn difference(difference: &Value) -> String {
    let side = |name: &str| difference.get(name).map_or_else(|| "absent".to_owned(), Value::to_string);
    visible(&format!("{}: {} → {}", text(difference, "name"), side("a"), side("b")))
}

async fn wait(args: &WaitArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let client = attach::client(settings).await?;
    let cancel = cancel_on_interrupt();
    let calling =
        Calling { client: &client, settings, project: args.project.project.as_deref(), cancel: &cancel };
    let result = until_end(&calling, &args.project, &args.run, args.seconds).await?;
    client.close().await;
    if result.structured_content.as_ref().is_none_or(|answer| answer.get("run_id").is_none()) {
        // No run was found to speak of: an error, and nothing to print.
        output::value(result.clone())?;
    }
    super::run::print(&result, settings, out)
}

/// Waits once, or again and again until the run has ended.
async fn until_end(
    calling: &Calling<'_>,
    project: &ProjectArg,
    run: &str,
    seconds: Option<u32>,
) -> anyhow::Result<CallToolResult> {
    loop {
        let said =
            [("run_id", Some(json!(run))), ("wait_seconds", Some(json!(seconds.unwrap_or(WAIT_SECONDS))))];
        let result = calling.call("run_wait", arguments(project, said)).await?;
        if seconds.is_some() || !goes_on(&result) {
            return Ok(result);
        }
    }
}

async fn retry(args: &OneArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let record = record(&args.run, false, &args.project, settings).await?;
    let client = attach::client(settings).await?;
    let tools = client.tools().await.map_err(Told::from)?;
    let name = text(&record, "tool");
    let tool = tools.iter().find(|tool| tool.name == name);
    let tool = tool.ok_or_else(|| {
        Told::arguments(format!("{name} is not offered any more; `helixmcp doctor` says why"))
    })?;
    let call = same_call(&record, &tool.input_schema, WAIT_SECONDS)?;

    let cancel = cancel_on_interrupt();
    let calling =
        Calling { client: &client, settings, project: args.project.project.as_deref(), cancel: &cancel };
    let mut result = calling.call(&name, call).await?;
    let run = result.structured_content.as_ref().map(|answer| text(answer, "run_id")).unwrap_or_default();
    if !run.is_empty() && run != args.run {
        attach::say(&format!(
            "toolpack or policy changed since: this is another run; `helixmcp runs explain {} {run}` says why",
            args.run
        ));
    }
    if goes_on(&result) {
        result = until_end(&calling, &args.project, &run, None).await?;
    }
    client.close().await;
    super::run::print(&result, settings, out)
}

/// The arguments that make this run again, rebuilt from its record: the envelope's params, which
/// have their defaults filled in, and the artifacts that were linked.
fn same_call(
    record: &Value,
    schema: &Map<String, Value>,
    wait_seconds: u32,
) -> anyhow::Result<Map<String, Value>> {
    let params = record.pointer("/identity/envelope/params").and_then(Value::as_object);
    let mut call = params.cloned().context("the record has no params")?;
    let mut roles: Vec<(String, Vec<&Value>)> = Vec::new();
    for input in rows_of(record, "inputs") {
        let role = text(input, "role");
        match roles.iter_mut().find(|(known, _)| *known == role) {
            Some((_, members)) => members.push(input),
            None => roles.push((role, vec![input])),
        }
    }
    for (role, members) in &mut roles {
        members.sort_by_key(|input| input.get("index").and_then(Value::as_u64));
        let ids: Vec<String> = members.iter().map(|input| text(input, "artifact_id")).collect();
        let property = schema.get("properties").and_then(|properties| properties.get(role.as_str()));
        let is_many = property.is_some_and(|property| property.get("items").is_some());
        let linked = match ids.as_slice() {
            [only] if !is_many => json!(only),
            many => json!(many),
        };
        call.insert(role.clone(), linked);
    }
    if let Some(sample) = samples(&roles) {
        call.insert("sample".to_owned(), sample);
    }
    let project = record
        .get("project_id")
        .cloned()
        .ok_or_else(|| Told::error(EXIT_FAULT, "the record has no project"))?;
    call.insert("project_id".to_owned(), project);
    call.insert("retry".to_owned(), json!(true));
    call.insert("wait_seconds".to_owned(), json!(wait_seconds));
    Ok(call)
}

/// One name where every member has the same, else one for each member of a role that has them.
fn samples(roles: &[(String, Vec<&Value>)]) -> Option<Value> {
    let names = |members: &[&Value]| members.iter().map(|input| text(input, "sample")).collect::<Vec<_>>();
    let all: Vec<String> = roles.iter().flat_map(|(_, members)| names(members)).collect();
    let first = all.iter().find(|name| !name.is_empty())?;
    if all.iter().all(|name| name == first) {
        return Some(json!(first));
    }
    let named = roles
        .iter()
        .map(|(_, members)| names(members))
        .find(|names| names.iter().all(|name| !name.is_empty()));
    named.map(|names| json!(names))
}

async fn cancel(args: &CancelArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let said =
        [("run_id", Some(json!(args.run))), ("reason", args.reason.as_ref().map(|reason| json!(reason)))];
    let answer = attach::call(settings, "run_cancel", arguments(&args.project, said)).await?;
    if settings.json {
        return Ok(output::json(out, &answer)?);
    }
    let state = text(&answer, "state");
    match text(&answer, "outcome").as_str() {
        "already_ended" => writeln!(out, "{} had ended already: {state}", args.run)?,
        _ => writeln!(out, "asked {} to stop; it was {state}", args.run)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(print: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_explanation_begins_with_the_answer() {
        let first = json!({"part": "envelope", "name": "params.min_quality", "a": 20, "b": 25});
        let other = json!({"part": "slice", "name": "policy.component", "b": "sha256:x\u{202e}"});
        let one = json!({"summary": "", "differences": [first], "a": {}, "b": {}});
        assert_eq!(printed(|out| print_explanation(&one, out)), "params.min_quality: 20 → 25\n");
        let two = json!({"summary": "", "differences": [first, other], "a": {}, "b": {}});
        let expected =
            "params.min_quality: 20 → 25\n\nand:\n  policy.component: absent → \"sha256:x\\u{202e}\"\n";
        assert_eq!(printed(|out| print_explanation(&two, out)), expected);
        let same = json!({"summary": "Nothing differs: it is the same run.", "a": {}, "b": {}});
        assert_eq!(printed(|out| print_explanation(&same, out)), "Nothing differs: it is the same run.\n");
        let alone = json!({"summary": "why", "a": {"preimage": "tool=t|"}});
        assert_eq!(printed(|out| print_explanation(&alone, out)), "why\n\npreimage             tool=t|\n");
    }

    #[test]
    fn a_retry_is_the_same_call() {
        let input = |role: &str, index: u64, id: &str, sample: Option<&str>| match sample {
            Some(sample) => json!({"role": role, "index": index, "artifact_id": id, "sample": sample}),
            None => json!({"role": role, "index": index, "artifact_id": id}),
        };
        let record = |inputs: Value| json!({"project_id": "proj_1", "identity": {"envelope": {"params": {"min_quality": 20}}}, "inputs": inputs});
        let schema =
            json!({"properties": {"reads": {"type": "array", "items": {}}, "reference": {"type": "string"}}});
        let schema = schema.as_object().unwrap();
        let check = |inputs: Value, expected: Value| {
            let mut call = Value::Object(same_call(&record(inputs), schema, 9).unwrap());
            for (name, value) in [
                ("min_quality", json!(20)),
                ("project_id", json!("proj_1")),
                ("retry", json!(true)),
                ("wait_seconds", json!(9)),
            ] {
                assert_eq!(call.as_object_mut().unwrap().remove(name), Some(value));
            }
            assert_eq!(call, expected);
        };
        check(json!([]), json!({}));
        check(
            json!([
                input("reads", 1, "art_b", None),
                input("reads", 0, "art_a", None),
                input("reference", 0, "art_r", None)
            ]),
            json!({"reads": ["art_a", "art_b"], "reference": "art_r"}),
        );
        check(json!([input("reads", 0, "art_a", Some("s"))]), json!({"reads": ["art_a"], "sample": "s"}));
        check(
            json!([
                input("reads", 0, "art_a", Some("s1")),
                input("reads", 1, "art_b", Some("s2")),
                input("reference", 0, "art_r", None)
            ]),
            json!({"reads": ["art_a", "art_b"], "reference": "art_r", "sample": ["s1", "s2"]}),
        );
        assert!(same_call(&json!({}), schema, 9).is_err());
    }

    #[test]
    fn a_record_shows_what_failed_and_never_raw() {
        let record = json!({
            "run_id": "run_1", "tool": "t", "contract": "v1", "state": "failed", "created_at": "then",
            "identity": {"envelope": {"params": {"q": 1}}},
            "inputs": [{"role": "reads", "index": 0, "artifact_id": "art_1"}],
            "attempts": [{
                "ordinal": 1, "state": "failed", "usage": {"fuel": "7", "memory_bytes": "2000", "wall_ms": 3},
                "failure": {"class": "trap", "code": "guest_trap", "message": "\u{1b}[2J", "advice": "mend it"},
                "log_tail": "first\nsecond\n"
            }],
        });
        let text = printed(|out| print_record(&record, out));
        for line in [
            "reads[0]             art_1",
            "attempt 1: failed",
            "7 fuel, 2.0 kB memory, 3 ms",
            "guest_trap (trap): \\u{1b}[2J mend it",
            "first\nsecond",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
