//! One HTTP question to a service: how we know that it is there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take: all of it is on this machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The status line, headers and body that a Unix socket answers with.
pub fn unix(socket: &Path, path: &str) -> Option<String> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    ask(stream, path)
}

/// The same of a TCP port.
pub fn tcp(address: SocketAddr, path: &str) -> Option<String> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    ask(stream, path)
}

/// Whether an answer says that all is well.
pub fn is_ok(answer: &str) -> bool {
    answer.split_whitespace().nth(1) == Some("200")
}

fn ask(mut stream: impl Read + Write, path: &str) -> Option<String> {
    // 1.0: the answer ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // What came before a timeout is an answer too.
    let _whole = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).is_ok();
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}
