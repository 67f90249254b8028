//! `helixmcp serve`: what an MCP client starts. It relays bytes between the client and the host,
//! so that the host outlives it.

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::attach;
use super::output::EXIT_FAULT;
use super::settings::Settings;
use crate::mcp::wire::RELAY_METHOD;

/// What is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

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
    let host = attach::stream(settings).await?.into_std()?;
    // From here on nothing is awaited, and each way has a thread of its own that reads and writes: a
    // line then takes two threads' wake-ups to the host and back, and not eight.
    host.set_nonblocking(false)?;
    let hello = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{RELAY_METHOD}\"}}\n");
    (&host).write_all(hello.as_bytes())?;

    let said_everything = Arc::new(AtomicBool::new(false));
    let (up, ended) = (host.try_clone()?, Arc::clone(&said_everything));
    // Ends with the process where the client says no more and the host is gone.
    std::thread::Builder::new().name("upward".to_owned()).spawn(move || upward(&up, &ended))?;
    let relayed = copy(&mut &host, &mut io::stdout());
    // The client that has said everything waits for its answers, and the host closes after them.
    match relayed {
        Ok(()) if said_everything.load(Ordering::SeqCst) => Ok(ExitCode::SUCCESS),
        other => Ok(after_the_host(other)),
    }
}

/// From the client to the host. A host that is gone shows on the other way.
fn upward(mut host: &UnixStream, said_everything: &AtomicBool) {
    if copy(&mut io::stdin(), &mut host).is_ok() {
        // Before the host can know, so that its end is not taken for the first.
        said_everything.store(true, Ordering::SeqCst);
    }
    let _gone_already = host.shutdown(Shutdown::Write).is_err();
}

/// Every chunk is passed on at once.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(chunk.get(..read).unwrap_or_default())?;
        to.flush()?;
    }
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
