//! Answers and errors as `tools/call` results: structured for programs, text for a model, links
//! to every output. What a guest wrote is data: capped and escaped.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use helix_ids::text::{escaped, escaped_line};
use rmcp::model::{CallToolResult, ContentBlock, ErrorData, Resource};
use serde_json::{Map, Value, json};

use super::admin::chain;
use super::host_tools::{self, HostResult};
use super::resources;
use crate::call::{Answer, AnswerOutput, CallError, Context, Host, Status};
use crate::query::{self, ReadContent};

/// Largest image that an answer carries: it goes into a model's window.
const IMAGE_BYTES_MAX: u64 = 200 * 1024;

/// Most images in one answer.
const IMAGES_MAX: usize = 4;

/// Most links in one answer; the structured part lists every output.
const LINKS_MAX: usize = 32;

/// A summary is at most 2 KiB where toolpacks keep the contract.
const SUMMARY_BYTES_MAX: usize = 4 * 1024;

const MESSAGE_BYTES_MAX: usize = 1024;

/// Where an answer came from, as far as reading its outputs goes.
pub struct Surroundings<'a> {
    pub host: &'a Arc<Host>,
    pub context: &'a Context,
    pub project: Option<&'a str>,
}

/// The answer of a toolpack's tool, or of `run_wait`.
pub async fn of_answer(surroundings: &Surroundings<'_>, answer: &Answer) -> CallToolResult {
    let mut content = vec![ContentBlock::text(text_of(answer))];
    content.extend(images(surroundings, &answer.outputs).await);
    content.extend(answer.outputs.iter().take(LINKS_MAX).map(link));
    let is_error = answer.failure.is_some()
        || matches!(answer.status, Status::Failed | Status::Blocked | Status::Cancelled);
    let structured = serde_json::to_value(answer).unwrap_or_else(|_error| json!({ "status": answer.status }));
    result(content, structured, is_error)
}

/// The answer of a host tool.
pub async fn of_host(surroundings: &Surroundings<'_>, tool: &str, answered: HostResult) -> CallToolResult {
    match answered {
        HostResult::Answer(answer) => of_answer(surroundings, &answer).await,
        HostResult::Value(value) => {
            let mut content = vec![ContentBlock::text(value.to_string())];
            if tool == "artifact_preview_image"
                && let Some(id) = value.get("artifact_id").and_then(Value::as_str)
            {
                content.extend(image(surroundings, id).await);
            }
            result(content, value, false)
        }
    }
}

/// What a caller sees of an error: a result where a model can act on it, else JSON-RPC's own.
///
/// # Errors
/// The JSON-RPC error of an unknown tool or a fault.
pub fn of_error(tool: &str, error: CallError) -> Result<CallToolResult, ErrorData> {
    let failure = match error {
        CallError::UnknownTool { name } => return Err(unknown_tool(&name)),
        CallError::Fault { run, source } => {
            tracing::error!(
                tool,
                run = run.map(|id| id.to_string()),
                error = chain(source.as_ref()),
                "a call ended in a fault"
            );
            let data = run.map(|id| json!({ "run_id": id.to_string() }));
            return Err(ErrorData::internal_error("internal fault; the host's log says more", data));
        }
        CallError::BadArguments { code, field, reason } => {
            let place = if field.is_empty() { "the arguments" } else { &field };
            let message = format!("{place}: {reason}");
            let mut failure = Failure::new("arguments", code, &message, "correct the call and make it again");
            failure.more.insert("field".to_owned(), json!(escaped_line(&field, MESSAGE_BYTES_MAX)));
            failure
        }
        CallError::Denied { denial, id } => {
            let mut failure = Failure::new("denied", denial.code, &denial.message, &denial.advice);
            failure.more.insert("denial_id".to_owned(), json!(id.to_string()));
            failure.status = Status::Blocked;
            failure
        }
        CallError::Failed { run, class, code, message, advice } => {
            let mut failure = Failure::new(&class, &code, &message, &advice);
            failure.run = run.map(|id| id.to_string());
            if class == "cancelled" {
                failure.status = Status::Cancelled;
            }
            failure
        }
        CallError::Busy { code, message, retry_after_ms } => {
            let mut failure = Failure::new("busy", code, &message, "make the same call again later");
            failure.more.insert("retry_after_ms".to_owned(), json!(retry_after_ms));
            failure
        }
    };
    // A host tool's own `status`, where it has one, knows no such words.
    let has_status = host_tools::find(tool).is_none_or(|tool| tool.answers);
    Ok(failure.result(has_status))
}

/// The error of `tools/call` for a tool that is not offered, whyever.
pub fn unknown_tool(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("Unknown tool: {}", escaped_line(name, 64)), None)
}

/// An error as a result; of the same schema as an answer.
struct Failure {
    status: Status,
    run: Option<String>,
    class: String,
    code: String,
    message: String,
    advice: String,
    more: Map<String, Value>,
}

impl Failure {
    fn new(class: &str, code: &str, message: &str, advice: &str) -> Self {
        Self {
            status: Status::Failed,
            run: None,
            class: class.to_owned(),
            code: code.to_owned(),
            message: escaped(message, MESSAGE_BYTES_MAX),
            advice: escaped(advice, MESSAGE_BYTES_MAX),
            more: Map::new(),
        }
    }

    fn result(self, has_status: bool) -> CallToolResult {
        let Self { status, run, class, code, message, advice, more } = self;
        let mut text = format!("{} ({code}): {message}", turn(&class));
        if !advice.is_empty() {
            let _never_fails = write!(text, "\n{advice}");
        }
        if let Some(run) = &run {
            let _never_fails = write!(text, "\nrun_id {run}");
        }
        let mut failure = json!({ "class": class, "code": code, "message": message, "advice": advice });
        if let Value::Object(members) = &mut failure {
            members.extend(more);
        }
        let mut structured = json!({ "failure": failure });
        if let (true, Value::Object(members)) = (has_status, &mut structured) {
            members.insert("status".to_owned(), json!(status));
        }
        if let (Some(run), Value::Object(members)) = (run, &mut structured) {
            members.insert("run_id".to_owned(), json!(run));
        }
        result(vec![ContentBlock::text(text)], structured, true)
    }
}

/// A failure's class, in words that say whose turn it is.
fn turn(class: &str) -> &'static str {
    match class {
        "arguments" => "The call's arguments are wrong",
        "denied" => "Policy does not allow this",
        "busy" => "Too much at once",
        "cancelled" => "Cancelled",
        "input" => "An input cannot be used",
        "limit" => "A limit was reached",
        "fault" => "The host failed",
        _ => "The tool failed",
    }
}

fn result(content: Vec<ContentBlock>, structured: Value, is_error: bool) -> CallToolResult {
    let mut result = if is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = Some(structured);
    result
}

/// Summary, where to look, and the next step.
fn text_of(answer: &Answer) -> String {
    let mut text = String::new();
    if let Some(summary) = &answer.summary {
        text.push_str(&escaped(summary, SUMMARY_BYTES_MAX));
        text.push('\n');
    }
    if let Some(failure) = &answer.failure {
        let (message, advice) =
            (escaped(&failure.message, MESSAGE_BYTES_MAX), escaped(&failure.advice, MESSAGE_BYTES_MAX));
        let _never_fails = writeln!(text, "{} ({}): {message}", turn(&failure.class), failure.code);
        if !advice.is_empty() {
            text.push_str(&advice);
            text.push('\n');
        }
    }
    let _never_fails = writeln!(text, "{}", standing(answer));
    if !answer.outputs.is_empty() {
        text.push_str("Outputs:\n");
    }
    for output in &answer.outputs {
        let AnswerOutput { role, artifact_id, artifact_type, label, size_bytes, .. } = output;
        let _never_fails = writeln!(
            text,
            "- {role}: {} ({artifact_type}, {size_bytes} bytes) {artifact_id}",
            escaped_line(label, 256)
        );
    }
    if let Some(report) = answer.outputs.iter().find(|output| output.artifact_type == "HTML") {
        let _never_fails = writeln!(
            text,
            "For a person to open the report: artifact_export with artifact_id {}.",
            report.artifact_id
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// Where the call stands, and what to do about it.
fn standing(answer: &Answer) -> String {
    let run = answer.run_id.as_deref().unwrap_or("(none)");
    match answer.status {
        Status::Planned => {
            let what = answer
                .plan
                .as_ref()
                .and_then(|plan| plan.get("would"))
                .and_then(Value::as_str)
                .unwrap_or("would_run");
            format!("planned: {what}, run_id {run}. Nothing ran; call again without dry_run to run it.")
        }
        Status::Queued | Status::Running | Status::Waiting => {
            let progress = answer.progress.as_ref().map(|progress| {
                let total = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
                format!(" {}{total} {}", progress.done, escaped_line(&progress.text, 200))
            });
            let word = if answer.status == Status::Running { "running" } else { "queued" };
            format!(
                "{word}{}: it goes on without you. Call run_wait with run_id {run}.",
                progress.unwrap_or_default()
            )
        }
        Status::Succeeded if answer.replayed => {
            format!("succeeded, from the record (nothing ran): run_id {run}.")
        }
        Status::Succeeded => format!("succeeded: run_id {run}."),
        Status::Failed => format!("failed: run_id {run}. run_get shows the attempt and the end of its log."),
        Status::Cancelled => format!("cancelled: run_id {run}. The same call starts it again."),
        Status::Blocked => format!("blocked by policy: run_id {run}."),
    }
}

fn link(output: &AnswerOutput) -> ContentBlock {
    let mime = resources::mime(&output.artifact_type);
    let mut resource = Resource::new(resources::uri(&output.artifact_id), escaped_line(&output.label, 256))
        .with_description(format!("{}: {}", output.role, output.artifact_type))
        .with_mime_type(mime);
    if let Ok(size) = output.size_bytes.parse() {
        resource = resource.with_size(size);
    }
    ContentBlock::resource_link(resource)
}

/// The small PNGs among the outputs. An image that cannot be read is left out: the link is there.
async fn images(surroundings: &Surroundings<'_>, outputs: &[AnswerOutput]) -> Vec<ContentBlock> {
    let small = |output: &&AnswerOutput| {
        output.artifact_type == "PNG"
            && output.size_bytes.parse().is_ok_and(|size: u64| size <= IMAGE_BYTES_MAX)
    };
    let mut images = Vec::new();
    for output in outputs.iter().filter(small).take(IMAGES_MAX) {
        images.extend(image(surroundings, &output.artifact_id).await);
    }
    images
}

async fn image(surroundings: &Surroundings<'_>, id: &str) -> Option<ContentBlock> {
    let Surroundings { host, context, project } = surroundings;
    match query::read_artifact(host, context, *project, id, None).await {
        Ok(read) if read.mime == "image/png" && read.size_bytes <= IMAGE_BYTES_MAX => match read.content {
            ReadContent::Bytes(bytes) => Some(ContentBlock::image(STANDARD.encode(bytes), "image/png")),
            ReadContent::Text(_) => None,
        },
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(id, %error, "an image was left out of an answer");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use helix_ids::DenialId;

    use super::*;
    use crate::mcp::schemas;
    use crate::policy::Denial;

    fn denial() -> CallError {
        let denial = Denial {
            code: "import_root_unknown",
            message: "no import root `x`".to_owned(),
            advice: "roots: data".to_owned(),
            rule: "secret rule".to_owned(),
            line: Some(7),
        };
        CallError::Denied { denial, id: DenialId::from_digest(&helix_ids::Digest::of(b"d")) }
    }

    #[test]
    fn errors_that_a_caller_can_act_on_are_results_of_the_one_schema() {
        let schema = Value::Object((*schemas::of_answer()).clone());
        let text = |word: &str| word.to_owned();
        let cases = [
            (
                CallError::BadArguments {
                    code: "unknown_field",
                    field: text("/x"),
                    reason: text("no such field"),
                },
                "failed",
            ),
            (denial(), "blocked"),
            (
                CallError::Failed {
                    run: None,
                    class: text("trap"),
                    code: text("guest_trap"),
                    message: text("m\u{202e}"),
                    advice: text(""),
                },
                "failed",
            ),
            (CallError::Busy { code: "too_many_runs", message: text("m"), retry_after_ms: 5 }, "failed"),
        ];
        for (error, status) in cases {
            let result = of_error("t", error).unwrap();
            let structured = result.structured_content.clone().unwrap();
            assert_eq!(result.is_error, Some(true));
            assert_eq!(structured["status"], status);
            assert!(jsonschema::is_valid(&schema, &structured), "{structured}");
            let shown = serde_json::to_string(&result).unwrap();
            assert!(!shown.contains('\u{202e}') && !shown.contains("secret rule"), "{shown}");
        }
    }

    #[test]
    fn a_host_tools_error_satisfies_its_own_schema() {
        for tool in host_tools::all() {
            let schema = Value::Object((*tool.output_schema).clone());
            let structured = of_error(tool.name, denial()).unwrap().structured_content.unwrap();
            assert!(jsonschema::is_valid(&schema, &structured), "{}: {structured}", tool.name);
        }
    }

    #[test]
    fn errors_that_nobody_can_act_on_are_json_rpc_errors() {
        let unknown = of_error("t", CallError::UnknownTool { name: "x\u{1b}".to_owned() }).unwrap_err();
        assert_eq!((unknown.code.0, unknown.message.as_ref()), (-32602, "Unknown tool: x\\u{1b}"));
        let fault = of_error("t", CallError::fault(std::io::Error::other("/secret/path"))).unwrap_err();
        assert_eq!(fault.code.0, -32603);
        assert!(!fault.message.contains("secret"));
    }

    #[test]
    fn a_running_answer_names_the_next_step() {
        let running: Answer = serde_json::from_value(json!({
            "status": "running", "run_id": "run_1", "progress": { "done": 1, "total": 2, "text": "reads" }
        }))
        .unwrap();
        assert_eq!(
            text_of(&running),
            "running 1 of 2 reads: it goes on without you. Call run_wait with run_id run_1."
        );
    }
}
