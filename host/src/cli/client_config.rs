//! `helixmcp client config`: what an MCP client needs to start this server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::attach::say;
use super::output;
use super::settings::Settings;

#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Print the entry for one client; where it goes is said on stderr
    Config {
        #[arg(value_enum)]
        client: ClientName,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientName {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    Vscode,
    Inspector,
}

/// Prints the entry.
///
/// # Errors
/// When our own file cannot be found, or nobody reads.
pub fn run(command: &ClientCommand, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let ClientCommand::Config { client } = command;
    let start = Start::of(settings)?;
    let (entry, hint) = entry(*client, &start);
    match entry {
        Entry::Json(value) => output::json(out, &value)?,
        Entry::Line(line) if settings.json => output::json(out, &json!({ "command": line }))?,
        Entry::Line(line) => writeln!(out, "{line}")?,
    }
    say(hint);
    Ok(ExitCode::SUCCESS)
}

/// The entry as Claude Desktop and most other clients take it.
///
/// # Errors
/// When our own file cannot be found.
pub fn common_entry(settings: &Settings) -> anyhow::Result<Value> {
    match entry(ClientName::ClaudeDesktop, &Start::of(settings)?) {
        (Entry::Json(value), _) => Ok(value),
        (Entry::Line(line), _) => Ok(json!(line)),
    }
}

enum Entry {
    Json(Value),
    /// A command to run in a shell.
    Line(String),
}

/// How this server is started.
struct Start {
    command: String,
    args: Vec<String>,
}

impl Start {
    fn of(settings: &Settings) -> anyhow::Result<Self> {
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        let text = |path: &PathBuf| {
            path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
        };
        let mut args = vec!["--home".to_owned(), text(&settings.home)?];
        if !settings.has_usual_policy() {
            args.extend(["--policy".to_owned(), text(&settings.policy_file)?]);
        }
        args.push("serve".to_owned());
        Ok(Self { command: text(&exe)?, args })
    }

    /// As words of a shell line.
    fn line(&self) -> String {
        let words = std::iter::once(&self.command).chain(&self.args);
        words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

fn entry(client: ClientName, start: &Start) -> (Entry, &'static str) {
    let Start { command, args } = start;
    let server = json!({ "command": command, "args": args });
    let typed = json!({ "type": "stdio", "command": command, "args": args });
    match client {
        ClientName::ClaudeDesktop => (
            Entry::Json(json!({ "mcpServers": { "helixmcp": server } })),
            "goes into claude_desktop_config.json (Settings, Developer, Edit Config); then restart the app",
        ),
        ClientName::ClaudeCode => (
            Entry::Line(format!("claude mcp add helixmcp -- {}", start.line())),
            "run this in the project's folder, or add --scope user to have it everywhere",
        ),
        ClientName::Cursor => (
            Entry::Json(json!({ "mcpServers": { "helixmcp": typed } })),
            "goes into ~/.cursor/mcp.json, or .cursor/mcp.json of a project",
        ),
        ClientName::Vscode => (
            Entry::Json(json!({ "servers": { "helixmcp": typed } })),
            "goes into .vscode/mcp.json of a workspace",
        ),
        ClientName::Inspector => (
            Entry::Line(format!(
                "npx @modelcontextprotocol/inspector --cli {} --method tools/list",
                start.line()
            )),
            "needs Node 22; leave out --cli and --method for the Inspector's window",
        ),
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_an_entry_that_starts_this_server() {
        let start = Start {
            command: "/opt/helix mcp".to_owned(),
            args: vec!["--home".to_owned(), "/h".to_owned(), "serve".to_owned()],
        };
        for client in ClientName::value_variants() {
            let text = match entry(*client, &start).0 {
                Entry::Json(value) => value.to_string(),
                Entry::Line(line) => line,
            };
            assert!(text.contains("/opt/helix mcp") && text.contains("serve"), "{text}");
        }
    }

    #[test]
    fn shell_words_survive_a_shell() {
        let cases =
            [("a/b.c-1", "a/b.c-1"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$x", "'$x'")];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }
}
