//! A peer of the host's own socket that reads when it wants to, writes what it wants to, and leaves
//! when it wants to.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::World;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// One connection, byte by byte.
pub struct Raw {
    pub stream: UnixStream,
    read: BufReader<UnixStream>,
}

impl Raw {
    /// Connects and says nothing.
    pub fn connect(world: &World) -> Result<Self> {
        let stream = UnixStream::connect(world.home().join("host.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let read = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, read })
    }

    /// Connects and says hello.
    pub fn greeted(world: &World) -> Result<Self> {
        let mut raw = Self::connect(world)?;
        let client = json!({"name": "raw", "version": "1"});
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        raw.request(json!("hello"), "initialize", hello)?;
        ensure!(raw.hear()?["id"] == "hello", "no answer to initialize");
        Ok(raw)
    }

    pub fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the host does not read")
    }

    pub fn request(&mut self, id: Value, method: &str, params: Value) -> Result<()> {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.say(format!("{line}\n").as_bytes())
    }

    pub fn call(&mut self, id: Value, tool: &str, arguments: Value) -> Result<()> {
        self.request(id, "tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// The next message.
    pub fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.read.read_line(&mut line).context("no answer in time")?;
        ensure!(read > 0, "the host closed the connection");
        serde_json::from_str(&line).with_context(|| line.clone())
    }
}
