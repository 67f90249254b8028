//! What a person at the terminal is told, and commands that are run for them.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// How much of a failed command's output is shown.
const TAIL_LINES: usize = 60;

/// One line.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever closed our stdout does not want to read of it.
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// A heading.
pub fn heading(text: &str) {
    line(&format!("\n== {text}"));
}

/// Does one thing, and says what and how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let done = work();
    let mark = if done.is_ok() { "ok" } else { "FAILED" };
    line(&format!("  {mark:<6} {what} ({})", seconds(start)));
    done
}

/// Seconds since `start`, for a person.
pub fn seconds(start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64();
    if seconds < 90.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

/// Runs a command quietly and gives its stdout; what it printed is shown only if it fails.
pub fn quiet(command: &mut Command) -> Result<String> {
    let name = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{name}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({})\n{}", output.status, tail(&format!("{stdout}\n{stderr}")));
    }
    Ok(stdout)
}

/// Runs a command whose own output is worth seeing while it works.
pub fn loud(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// The end of a long output.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
