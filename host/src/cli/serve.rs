//! `helixmcp serve`: what an MCP client starts. It relays bytes between the client and the host,
//! so that the host outlives it.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tokio::io::{AsyncWriteExt, copy, stdin, stdout};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::attach;
use super::output::EXIT_FAULT;
use super::settings::Settings;
use crate::mcp::wire::RELAY_METHOD;

/// Relays until the client is content or the host is gone.
///
/// # Errors
/// When no host can be reached.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    if io::stdin().is_terminal() {
        attach::say(
            "this speaks MCP on stdin and stdout; an MCP client starts it. `helixmcp client config` says how.",
        );
    }
    let (read, mut write) = attach::stream(settings).await?.into_split();
    let hello = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{RELAY_METHOD}\"}}\n");
    write.write_all(hello.as_bytes()).await?;

    let (mut up, mut down) = (tokio::spawn(upward(write)), tokio::spawn(downward(read)));
    tokio::select! {
        // The client has said everything; it may still wait for answers.
        ended = &mut up => ended??,
        ended = &mut down => return Ok(after_the_host(ended?)),
    }
    match down.await? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

async fn upward(mut host: OwnedWriteHalf) -> io::Result<()> {
    match copy(&mut stdin(), &mut host).await {
        // A host that is gone shows on the other way.
        Ok(_) | Err(_) => host.shutdown().await.or_else(|error| match error.kind() {
            io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        }),
    }
}

async fn downward(mut host: OwnedReadHalf) -> io::Result<()> {
    let mut stdout = stdout();
    copy(&mut host, &mut stdout).await?;
    stdout.flush().await
}

/// The host closed first, or the client reads no longer.
fn after_the_host(ended: io::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => {
            attach::say(
                "the host ended; start the server again to reconnect. host.log in the home says why.",
            );
            ExitCode::from(EXIT_FAULT)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            attach::say(&format!("the connection to the host broke: {error}"));
            ExitCode::from(EXIT_FAULT)
        }
    }
}
