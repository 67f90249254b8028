//! How results look: tables, JSON, sizes, and whose turn it is when something went wrong.

use std::io::{self, Write};

use helix_ids::text::{escaped, escaped_line};
use rmcp::model::CallToolResult;
use serde::Serialize;
use serde_json::Value;

use crate::mcp::client::ClientError;

/// Checked, and found bad.
pub const EXIT_BAD: u8 = 1;
/// The caller's turn.
pub const EXIT_ARGUMENTS: u8 = 2;
/// The operator's turn.
pub const EXIT_DENIED: u8 = 3;
/// The toolpack author's turn.
pub const EXIT_FAILED: u8 = 4;
/// Ours.
pub const EXIT_FAULT: u8 = 70;
/// The caller's turn, later.
pub const EXIT_BUSY: u8 = 75;
pub const EXIT_CANCELLED: u8 = 130;

/// Widest cell of a table, in characters.
const CELL_MAX: usize = 72;

/// Most bytes of text from elsewhere that is printed at once.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// An error with the exit code that says whose turn it is.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Told {
    pub code: u8,
    pub message: String,
}

impl Told {
    /// An error with this exit code.
    pub fn error(code: u8, message: impl Into<String>) -> anyhow::Error {
        Self { code, message: message.into() }.into()
    }

    /// The caller's turn.
    pub fn arguments(message: impl Into<String>) -> anyhow::Error {
        Self::error(EXIT_ARGUMENTS, message)
    }
}

impl From<ClientError> for Told {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Refused { code: -32602, .. } => EXIT_ARGUMENTS,
            ClientError::Cancelled => EXIT_CANCELLED,
            ClientError::Handshake(_)
            | ClientError::Refused { .. }
            | ClientError::Lost(_)
            | ClientError::Unexpected => EXIT_FAULT,
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { code, message: format!("{error}{cause}") }
    }
}

/// Text from a guest, a file or a peer, made safe for a terminal.
#[must_use]
pub fn visible(text: &str) -> String {
    escaped(text, TEXT_BYTES_MAX)
}

/// A value as JSON, indented, with a newline after it.
///
/// # Errors
/// As the writer's.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    writeln!(out, "{text}")
}

/// Rows under headings, each column as wide as its widest cell.
///
/// # Errors
/// As the writer's.
pub fn table(out: &mut dyn Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let cell = |text: &str| escaped_line(text, TEXT_BYTES_MAX).chars().take(CELL_MAX).collect::<String>();
    let mut lines: Vec<Vec<String>> = vec![headings.iter().map(|heading| heading.to_uppercase()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', padding));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// A size for people: `999 B`, `12.3 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = UNITS.iter();
    let mut name = unit.next().copied().unwrap_or("kB");
    while tenths >= 10_000 {
        let Some(next) = unit.next() else { break };
        tenths /= 1000;
        name = next;
    }
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// [`size`] of decimal digits, as answers carry sizes.
#[must_use]
pub fn size_of(digits: &str) -> String {
    digits.parse().map_or_else(|_not_a_number| digits.to_owned(), size)
}

/// The structured part of a host tool's result, or its failure as an error with its exit code.
///
/// # Errors
/// [`Told`].
pub fn value(result: CallToolResult) -> anyhow::Result<Value> {
    let structured = result.structured_content.clone().unwrap_or_default();
    if result.is_error != Some(true) {
        return Ok(structured);
    }
    let text = result.content.first().and_then(|block| block.as_text()).map(|text| text.text.clone());
    Err(Told::error(exit_of(&structured), text.unwrap_or_else(|| "the call failed".to_owned())))
}

/// The exit code of an answer, as its structured part tells it.
#[must_use]
pub fn exit_of(answer: &Value) -> u8 {
    let class = answer.pointer("/failure/class").and_then(Value::as_str);
    let status = answer.get("status").and_then(Value::as_str);
    match (status, class) {
        (Some("cancelled"), _) | (_, Some("cancelled")) => EXIT_CANCELLED,
        (_, Some("arguments")) => EXIT_ARGUMENTS,
        (Some("blocked"), _) | (_, Some("denied")) => EXIT_DENIED,
        (_, Some("busy")) => EXIT_BUSY,
        (_, Some("fault")) => EXIT_FAULT,
        (Some("failed"), _) | (_, Some(_)) => EXIT_FAILED,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_line_up_and_show_what_cannot_be_seen() {
        let mut out = Vec::new();
        let rows = [vec!["größer".to_owned(), "1".to_owned()], vec!["\u{1b}[2J".to_owned(), "22".to_owned()]];
        table(&mut out, &["name", "n"], &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME       N\ngrößer     1\n\\u{1b}[2J  22\n");
    }

    #[test]
    fn sizes_are_for_people() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (999_999, "999.9 kB"),
            (1_500_000, "1.5 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(size_of("x"), "x");
    }

    #[test]
    fn exit_codes_say_whose_turn_it_is() {
        let cases = [
            (json!({ "status": "succeeded" }), 0),
            (json!({ "status": "running" }), 0),
            (json!({ "status": "planned" }), 0),
            (json!({ "status": "failed", "failure": { "class": "arguments" } }), 2),
            (json!({ "status": "blocked", "failure": { "class": "denied" } }), 3),
            (json!({ "status": "blocked" }), 3),
            (json!({ "status": "failed", "failure": { "class": "trap" } }), 4),
            (json!({ "status": "failed" }), 4),
            (json!({ "status": "failed", "failure": { "class": "fault" } }), 70),
            (json!({ "status": "failed", "failure": { "class": "busy" } }), 75),
            (json!({ "status": "cancelled" }), 130),
        ];
        for (answer, expected) in cases {
            assert_eq!(exit_of(&answer), expected, "{answer}");
        }
    }
}
