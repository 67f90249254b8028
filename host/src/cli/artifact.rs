//! `helixmcp artifact …`: what lies under import roots, and what was made of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::output::{self, Told, size_of, visible};
use super::run::{Calling, WAIT_SECONDS, cancel_on_interrupt};
use super::{Settings, attach, import_path};

/// Most rows that `--all` prints: past it a filter serves better.
const ROWS_MAX: usize = 10_000;

#[derive(Clone, Debug, Subcommand)]
pub enum ArtifactCommand {
    /// List a folder beneath an import root
    Browse(BrowseArgs),
    /// Make artifacts of files
    Import(ImportArgs),
    /// List artifacts, newest first
    List(ListArgs),
    /// Show what is known of one artifact
    Show(OneArgs),
    /// Show the first lines of an artifact, or the facts of an image
    Preview(PreviewArgs),
    /// Write an artifact as a file beneath an export root
    Export(ExportArgs),
}

/// Which project; shared by every command that has one.
#[derive(Args, Clone, Debug, Default)]
pub struct ProjectArg {
    /// Project name or id; not needed with one project
    #[arg(long)]
    pub project: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct BrowseArgs {
    /// Folder beneath the root
    path: Option<String>,
    /// Import root; not needed with one
    #[arg(long)]
    root: Option<String>,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What the bytes are, e.g. BAM; refused if they contradict
    #[arg(long = "type", value_name = "TYPE")]
    type_hint: Option<String>,
    /// Human name, of a single file
    #[arg(long)]
    label: Option<String>,
    /// What a single file must hash to
    #[arg(long, value_name = "sha256:HEX")]
    checksum: Option<String>,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Only this type, e.g. BAM
    #[arg(long = "type", value_name = "TYPE")]
    artifact_type: Option<String>,
    /// Not only the newest twenty
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct OneArgs {
    /// art_…
    artifact: String,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct PreviewArgs {
    /// art_…
    artifact: String,
    /// 1 to 262144
    #[arg(long)]
    bytes: Option<u32>,
    /// 1 to 5000
    #[arg(long)]
    lines: Option<u32>,
    #[command(flatten)]
    project: ProjectArg,
}

#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// art_…
    artifact: String,
    /// File name beneath the root; the artifact's label if left out
    name: Option<String>,
    /// Export root; not needed with one
    #[arg(long)]
    root: Option<String>,
    /// Replace a file of this name, where policy allows it
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    project: ProjectArg,
}

/// # Errors
/// What is wrong with the arguments, or with the host.
pub async fn run(
    command: ArtifactCommand,
    settings: &Settings,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    match command {
        ArtifactCommand::Browse(args) => browse(&args, settings, out).await?,
        ArtifactCommand::Import(args) => import(&args, settings, out).await?,
        ArtifactCommand::List(args) => list(&args, settings, out).await?,
        ArtifactCommand::Show(args) => show(&args, settings, out).await?,
        ArtifactCommand::Preview(args) => preview(&args, settings, out).await?,
        ArtifactCommand::Export(args) => export(&args, settings, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Arguments of a host tool; what was not said is left out.
pub fn arguments<const N: usize>(
    project: &ProjectArg,
    said: [(&str, Option<Value>); N],
) -> Map<String, Value> {
    let project = [("project_id", project.project.as_ref().map(|name| json!(name)))];
    let members = project.into_iter().chain(said);
    members.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A list tool's answer with the rows of every page, when `all`, under `rows`.
///
/// # Errors
/// As [`attach::call`].
pub async fn pages(
    settings: &Settings,
    tool: &str,
    rows: &str,
    mut arguments: Map<String, Value>,
    all: bool,
) -> anyhow::Result<Value> {
    let mut answer = attach::call(settings, tool, arguments.clone()).await?;
    while let Some(cursor) = answer.get("next_cursor").filter(|_| all).cloned() {
        arguments.insert("cursor".to_owned(), cursor);
        let mut next = attach::call(settings, tool, arguments.clone()).await?;
        let mut collected = take_rows(&mut answer, rows);
        collected.append(&mut take_rows(&mut next, rows));
        let enough = collected.len() >= ROWS_MAX;
        answer = next;
        answer[rows] = Value::Array(collected);
        if enough {
            break;
        }
    }
    Ok(answer)
}

fn take_rows(answer: &mut Value, rows: &str) -> Vec<Value> {
    match answer.get_mut(rows).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        Some(_) | None => Vec::new(),
    }
}

async fn browse(args: &BrowseArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let said = [
        ("root", args.root.as_ref().map(|root| json!(root))),
        ("path", args.path.as_ref().map(|path| json!(path))),
    ];
    let arguments = arguments(&args.project, said);
    let answer = pages(settings, "artifact_browse", "entries", arguments, true).await?;
    if settings.json {
        return Ok(output::json(out, &answer)?);
    }
    print_entries(&answer, out)
}

fn print_entries(answer: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let row = |entry: &Value| {
        let is_dir = entry.get("is_dir").and_then(Value::as_bool) == Some(true);
        let slash = if is_dir { "/" } else { "" };
        let size = entry.get("size_bytes").map_or_else(String::new, |_| size_of(&text(entry, "size_bytes")));
        let kind = if is_dir { "folder".to_owned() } else { text(entry, "guessed_type") };
        vec![format!("{}{slash}", text(entry, "path")), kind, size, text(entry, "refused")]
    };
    let rows: Vec<Vec<String>> = rows_of(answer, "entries").iter().map(row).collect();
    if rows.is_empty() {
        writeln!(out, "nothing here that can be imported")?;
    } else {
        output::table(out, &["path", "type", "size", ""], &rows)?;
    }
    more(answer, out)
}

async fn import(args: &ImportArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    if args.files.len() > 1 && (args.label.is_some() || args.checksum.is_some()) {
        return Err(Told::arguments("--label and --checksum are of a single file"));
    }
    // Every file is looked for before the first is copied.
    let project = args.project.project.as_deref();
    let located: Vec<_> = args
        .files
        .iter()
        .map(|file| import_path::locate(settings, project, file))
        .collect::<Result<_, _>>()?;
    let client = attach::client(settings).await?;
    let cancel = cancel_on_interrupt();
    let calling = Calling { client: &client, settings, project, cancel: &cancel };
    let mut artifacts = Vec::new();
    for file in located {
        let arguments = arguments(
            &args.project,
            [
                ("root", Some(json!(file.root))),
                ("path", Some(json!(file.path))),
                ("type_hint", args.type_hint.as_ref().map(|hint| json!(hint))),
                ("label", args.label.as_ref().map(|label| json!(label))),
                ("checksum_sha256", args.checksum.as_ref().map(|checksum| json!(checksum))),
                ("wait_seconds", Some(json!(WAIT_SECONDS))),
            ],
        );
        let imported = loop {
            // An import that takes longer than one wait is joined by the same call.
            let imported = output::value(calling.call("artifact_import", arguments.clone()).await?)?;
            if text(&imported, "status") != "importing" {
                break imported;
            }
        };
        artifacts.extend(rows_of(&imported, "artifacts").iter().cloned());
    }
    client.close().await;
    print_artifacts(&json!({ "artifacts": artifacts }), settings, out)
}

async fn list(args: &ListArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let arguments = arguments(&args.project, [("type", args.artifact_type.as_ref().map(|name| json!(name)))]);
    let answer = pages(settings, "artifact_list", "artifacts", arguments, args.all).await?;
    print_artifacts(&answer, settings, out)
}

fn print_artifacts(answer: &Value, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    if settings.json {
        return Ok(output::json(out, answer)?);
    }
    let row = |artifact: &Value| {
        let size = size_of(&text(artifact, "size_bytes"));
        let made_by = artifact.get("created_by_run_id").and_then(Value::as_str).unwrap_or("imported");
        let [id, name, kind, at] =
            ["artifact_id", "label", "type", "created_at"].map(|key| text(artifact, key));
        vec![id, name, kind, size, at, made_by.to_owned()]
    };
    let rows: Vec<Vec<String>> = rows_of(answer, "artifacts").iter().map(row).collect();
    if rows.is_empty() {
        writeln!(out, "no artifacts")?;
    } else {
        output::table(out, &["artifact", "name", "type", "size", "created", "made by"], &rows)?;
    }
    more(answer, out)
}

async fn show(args: &OneArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let artifact = get(&args.artifact, &args.project, settings).await?;
    if settings.json {
        return Ok(output::json(out, &artifact)?);
    }
    facts(&artifact, out)
}

async fn get(artifact: &str, project: &ProjectArg, settings: &Settings) -> anyhow::Result<Value> {
    let arguments = arguments(project, [("artifact_id", Some(json!(artifact)))]);
    let answer = attach::call(settings, "artifact_get", arguments).await?;
    Ok(answer.get("artifact").cloned().unwrap_or_default())
}

async fn preview(args: &PreviewArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let artifact = get(&args.artifact, &args.project, settings).await?;
    let id = ("artifact_id", Some(json!(args.artifact)));
    if text(&artifact, "type") == "PNG" {
        let arguments = arguments(&args.project, [id]);
        let answer = attach::call(settings, "artifact_preview_image", arguments).await?;
        return if settings.json { Ok(output::json(out, &answer)?) } else { facts(&answer, out) };
    }
    let caps = [("max_bytes", args.bytes.map(|n| json!(n))), ("max_lines", args.lines.map(|n| json!(n)))];
    let [bytes, lines] = caps;
    let answer =
        attach::call(settings, "artifact_preview_text", arguments(&args.project, [id, bytes, lines])).await?;
    if settings.json {
        return Ok(output::json(out, &answer)?);
    }
    print_preview(&answer, out)
}

fn print_preview(answer: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    // The host escaped it; a newer or another host is not taken at its word.
    let preview = answer.get("preview").and_then(Value::as_str).unwrap_or_default();
    writeln!(out, "{}", visible(preview.trim_end_matches('\n')))?;
    if answer.get("truncated").and_then(Value::as_bool) == Some(true) {
        writeln!(out, "[more follows; --bytes and --lines show more, `artifact export` all of it]")?;
    }
    Ok(())
}

async fn export(args: &ExportArgs, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let said = [
        ("artifact_id", Some(json!(args.artifact))),
        ("name", args.name.as_ref().map(|name| json!(name))),
        ("root", args.root.as_ref().map(|root| json!(root))),
        ("overwrite", args.overwrite.then(|| json!(true))),
    ];
    let answer = attach::call(settings, "artifact_export", arguments(&args.project, said)).await?;
    if settings.json {
        return Ok(output::json(out, &answer)?);
    }
    Ok(writeln!(out, "{}", visible(&text(&answer, "path")))?)
}

/// A record as lines of name and value.
///
/// # Errors
/// As the writer's.
pub fn facts(record: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let members = record.as_object().into_iter().flatten();
    for (name, value) in members.filter(|(_, value)| !value.is_null()) {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{name:<20} {}", visible(&shown))?;
    }
    Ok(())
}

/// The rows of an answer.
#[must_use]
pub fn rows_of<'a>(answer: &'a Value, rows: &str) -> &'a [Value] {
    answer.get(rows).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A member as text; empty if it is none.
#[must_use]
pub fn text(record: &Value, name: &str) -> String {
    record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Says that a list goes on.
///
/// # Errors
/// As the writer's.
pub fn more(answer: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    if answer.get("next_cursor").is_some() {
        writeln!(out, "[more follows; --all shows it]")?;
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
    fn what_was_not_said_is_left_out() {
        let project = ProjectArg { project: Some("p".to_owned()) };
        assert_eq!(
            Value::Object(arguments(&project, [("a", Some(json!(1))), ("b", None)])),
            json!({"project_id": "p", "a": 1})
        );
        assert!(arguments(&ProjectArg::default(), [("a", None)]).is_empty());
    }

    #[test]
    fn a_folder_is_a_table() {
        let answer = json!({"entries": [
            {"path": "run7", "is_dir": true},
            {"path": "r1.fq.gz", "is_dir": false, "size_bytes": "12345", "guessed_type": "FASTQ_GZ"},
        ]});
        let text = printed(|out| print_entries(&answer, out));
        assert_eq!(text, "PATH      TYPE      SIZE\nrun7/     folder\nr1.fq.gz  FASTQ_GZ  12.3 kB\n");
        assert_eq!(
            printed(|out| print_entries(&json!({"entries": []}), out)),
            "nothing here that can be imported\n"
        );
    }

    #[test]
    fn a_preview_cannot_drive_the_terminal() {
        let answer = json!({"preview": "@r1\u{1b}]52;c;x\u{7}\nACGT\n", "truncated": true});
        let text = printed(|out| print_preview(&answer, out));
        assert!(text.starts_with("@r1\\u{1b}]52;c;x\\u{7}\nACGT\n[more follows"), "{text}");
    }
}
