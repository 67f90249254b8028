//! What we are set against, and a lean client for both: one thread that writes a line and reads a
//! line, so that as little as can be of what is measured is the measuring.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{build, say};

/// Builds the peers: examples of the tests' package, which has their dependencies already.
///
/// # Errors
/// The build fails.
pub fn build() -> Result<()> {
    say::step("build the benchmarks' peers", || {
        say::loud(build::cargo()?.args([
            "build",
            "--release",
            "--locked",
            "--package",
            "helix-tests",
            "--examples",
        ]))
    })
}

/// The path of one.
///
/// # Errors
/// There is no target folder.
pub fn program(name: &str) -> Result<PathBuf> {
    Ok(build::release_dir()?.join("examples").join(name))
}

/// A program that answers a line with a line.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    answer: String,
    next_id: u64,
}

impl Peer {
    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, stdin, stdout, answer: String::new(), next_id: 1 })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says hello as an MCP client does.
    ///
    /// # Errors
    /// It does not answer.
    pub fn greet(&mut self) -> Result<()> {
        self.request(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "helix-bench", "version": "1"},
            }),
        )?;
        self.say("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}")
    }

    /// Asks and waits, and gives the answer's result.
    ///
    /// # Errors
    /// It does not answer, or with an error.
    pub fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        let line = self.line_of(method, params);
        self.ask(&line)?;
        let answer: Value = serde_json::from_str(&self.answer).context("no JSON")?;
        answer.get("result").cloned().with_context(|| format!("no result: {answer}"))
    }

    /// A request as a line, with an id of its own.
    pub fn line_of(&mut self, method: &str, params: &Value) -> String {
        let id = self.next_id;
        self.next_id += 1;
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
    }

    /// Writes a line, waits for a line, and says how long that took.
    ///
    /// # Errors
    /// It went away.
    pub fn ask(&mut self, line: &str) -> Result<Duration> {
        let start = Instant::now();
        self.say(line)?;
        self.answer.clear();
        let read = self.stdout.read_line(&mut self.answer)?;
        let took = start.elapsed();
        ensure!(read > 0, "the peer went away");
        Ok(took)
    }

    /// As [`Self::ask`], for an answer that must hold these words.
    ///
    /// # Errors
    /// It went away, or answered otherwise.
    pub fn expect(&mut self, line: &str, words: &str) -> Result<Duration> {
        let took = self.ask(line)?;
        ensure!(self.answer.contains(words), "no {words} in {}", self.answer);
        Ok(took)
    }

    /// The line that came last.
    pub fn last(&self) -> &str {
        &self.answer
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        let mut message = Vec::with_capacity(line.len() + 1);
        message.extend_from_slice(line.as_bytes());
        message.push(b'\n');
        stdin.write_all(&message).context("the peer went away")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Ours by its handle; it may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The bare MCP server, greeted.
///
/// # Errors
/// It does not start.
pub fn echo() -> Result<Peer> {
    let mut peer = Peer::start(Command::new(program("bare_echo")?))?;
    peer.greet()?;
    Ok(peer)
}
