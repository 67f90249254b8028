//! A small MCP client over a child's stdio: plain JSON-RPC lines, each answer waited for with a
//! limit.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// How long an answer may take unless a test says otherwise.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A server as a child process, spoken to as an assistant would.
pub struct StdioClient {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
    /// Messages that were read while something else was waited for.
    waiting: VecDeque<Value>,
    /// The server's answer to `initialize`.
    pub server: Value,
}

/// A JSON-RPC error answer.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Value,
}

impl fmt::Display for RpcError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (JSON-RPC {})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

/// The result of `tools/call`.
#[derive(Clone, Debug)]
pub struct ToolReply {
    pub is_error: bool,
    pub structured: Value,
    pub content: Vec<Value>,
}

impl ToolReply {
    /// The text blocks, one after the other.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| block["type"] == "text");
        texts.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The id of the artifact that fills this output role.
    pub fn output(&self, role: &str) -> Option<&str> {
        let outputs = self.structured["outputs"].as_array()?;
        outputs.iter().find(|output| output["role"] == role)?["artifact_id"].as_str()
    }

    pub fn status(&self) -> &str {
        self.structured["status"].as_str().unwrap_or("")
    }

    pub fn run_id(&self) -> &str {
        self.structured["run_id"].as_str().unwrap_or("")
    }

    pub fn replayed(&self) -> bool {
        self.structured["replayed"] == true
    }
}

impl StdioClient {
    /// Starts the server and says hello as a client of the 2025-11-25 era.
    ///
    /// # Errors
    /// The server does not start or does not answer `initialize`.
    pub fn start(command: Command) -> Result<Self> {
        let mut client = Self::start_silent(command)?;
        client.server = client.request(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "helix-tests", "version": "1"},
            }),
        )?;
        client.notify("notifications/initialized", json!({}))?;
        Ok(client)
    }

    /// Starts the server and says nothing.
    ///
    /// # Errors
    /// The server does not start.
    pub fn start_silent(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = child.stdout.take().context("the child has no stdout")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines, next_id: 1, waiting: VecDeque::new(), server: Value::Null })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// An [`RpcError`] if the server answers with one; else it went away or took too long.
    pub fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.send_request(method, params)?;
        self.answer(id, ANSWER_WITHIN)
    }

    /// Asks without waiting; [`Self::answer`] waits.
    ///
    /// # Errors
    /// The server went away.
    pub fn send_request(&mut self, method: &str, params: Value) -> Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// Waits for the answer to one request; other messages are kept.
    ///
    /// # Errors
    /// An [`RpcError`] if the server answers with one; else it went away or took too long.
    pub fn answer(&mut self, id: u64, within: Duration) -> Result<Value> {
        let answer = self.take(within, |message| message["id"] == id && message.get("method").is_none())?;
        if let Some(error) = answer.get("error") {
            bail!(RpcError {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                data: error["data"].clone(),
            });
        }
        answer.get("result").cloned().ok_or_else(|| anyhow!("neither result nor error: {answer}"))
    }

    /// Calls a tool and waits.
    ///
    /// # Errors
    /// As [`Self::request`]; a tool's own error is a reply with `is_error`.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Result<ToolReply> {
        let result = self.request("tools/call", json!({"name": tool, "arguments": arguments}))?;
        Ok(reply(&result))
    }

    /// Calls a tool without waiting.
    ///
    /// # Errors
    /// The server went away.
    pub fn send_call(&mut self, tool: &str, arguments: Value) -> Result<u64> {
        self.send_request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Waits for the reply to a call that was sent before.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn reply(&mut self, id: u64, within: Duration) -> Result<ToolReply> {
        Ok(reply(&self.answer(id, within)?))
    }

    /// # Errors
    /// The server went away.
    pub fn notify(&mut self, method: &str, params: Value) -> Result<()> {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
    }

    /// Names of the tools that are offered, all pages.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn tools(&mut self) -> Result<Vec<Value>> {
        let mut tools = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
            let page = self.request("tools/list", params)?;
            tools.extend(page["tools"].as_array().context("no tools in the list")?.iter().cloned());
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                return Ok(tools);
            }
        }
    }

    /// Writes one line as it is, for what no honest client would send.
    ///
    /// # Errors
    /// The server went away.
    pub fn send_line(&mut self, line: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        stdin.write_all(line)?;
        stdin.write_all(b"\n")?;
        stdin.flush().context("the server went away")
    }

    /// The next message that fits, others are kept for later.
    ///
    /// # Errors
    /// None came in time, or the server went away, or a line was no JSON.
    pub fn take(&mut self, within: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at).context("a message that was just there");
        }
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("no answer within {within:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("the server closed its output"),
            };
            let message: Value = serde_json::from_str(&line)
                .with_context(|| format!("the server wrote what is not JSON: {line}"))?;
            if fits(&message) {
                return Ok(message);
            }
            self.waiting.push_back(message);
        }
    }

    /// Messages that came without being asked for, so far.
    pub fn unasked(&self) -> impl Iterator<Item = &Value> {
        self.waiting.iter()
    }

    /// Closes the connection as a client does that is closed, and waits for the attachment's end.
    ///
    /// # Errors
    /// The child cannot be waited for.
    pub fn close(mut self) -> Result<()> {
        drop(self.stdin.take());
        self.child.wait().context("cannot wait for the attachment")?;
        Ok(())
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        self.send_line(message.to_string().as_bytes())
    }
}

impl Drop for StdioClient {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Ours by its handle; it may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn reply(result: &Value) -> ToolReply {
    ToolReply {
        is_error: result["isError"] == true,
        structured: result["structuredContent"].clone(),
        content: result["content"].as_array().cloned().unwrap_or_default(),
    }
}
