//! A registry on loopback, for images that are in no other. Its port is part of an image's
//! reference, and so of what a run is known by: it is always the same one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, bail};
use helix_tests::cache;
use serde_json::json;

use super::daemon::Daemon;
use super::{ask, folder_named};
use crate::{fetch, machine, say};

/// Where it listens: the first part of every reference.
pub const ADDRESS: &str = "127.0.0.1:5555";
const SOCKET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5555);

/// What is on the port.
#[derive(Debug, PartialEq, Eq)]
enum Listener {
    Nobody,
    Registry,
    Other,
}

/// The one that we start.
pub fn daemon() -> Result<Daemon> {
    Ok(Daemon::new("docker-registry", folder_named("registry")?))
}

/// Uses the registry that is there, else starts one and gives it.
///
/// # Errors
/// The port is another program's, or the registry cannot be fetched or started.
pub fn ensure() -> Result<Option<Daemon>> {
    match listener(SOCKET) {
        Listener::Registry => {
            say::line(&format!("  ok     a registry answers at {ADDRESS}"));
            return Ok(None);
        }
        Listener::Other => bail!(
            "port {} is taken by something that is no registry. Images are known by a reference that \
             starts with {ADDRESS}, so another port will not do: stop whatever listens there \
             (`ss -ltnp 'sport = :{}'`)",
            SOCKET.port(),
            SOCKET.port()
        ),
        Listener::Nobody => {}
    }
    let program = match machine::program("docker-registry") {
        Some(program) => program,
        None => {
            // Unpacked and not installed: the package would start one for the whole network.
            fetch::debian("docker-registry")?;
            cache::debian("docker-registry")?.join("usr/bin/docker-registry")
        }
    };
    let daemon = daemon()?;
    let settings = daemon.folder().join("config.yml");
    // JSON is YAML.
    let text = json!({
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {
            "filesystem": {"rootdirectory": daemon.folder().join("data")},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": ADDRESS},
    });
    fs::write(&settings, text.to_string()).context("cannot write the registry's settings")?;
    let mut command = Command::new(program);
    command.arg("serve").arg(settings).env("OTEL_TRACES_EXPORTER", "none");
    daemon.start(&mut command, || listener(SOCKET) == Listener::Registry)?;
    Ok(Some(daemon))
}

fn listener(address: SocketAddr) -> Listener {
    if std::net::TcpStream::connect(address).is_err() {
        return Listener::Nobody;
    }
    // Every registry names its API's version in a header.
    let answer = ask::tcp(address, "/v2/").unwrap_or_default().to_ascii_lowercase();
    let is_registry = ask::is_ok(&answer) && answer.contains("docker-distribution-api-version: registry/2");
    if is_registry { Listener::Registry } else { Listener::Other }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[track_caller]
    fn check(answer: &'static str, expected: &Listener) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let serving = thread::spawn(move || {
            for _connection in 0..2 {
                let (mut stream, _peer) = server.accept().unwrap();
                // The first only looks whether somebody listens, and hangs up.
                if stream.read(&mut [0; 512]).unwrap() > 0 {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        assert_eq!(&listener(address), expected, "{answer}");
        serving.join().unwrap();
        assert_eq!(listener(address), Listener::Nobody);
    }

    #[test]
    fn another_program_on_the_port_is_not_taken_for_a_registry() {
        check("HTTP/1.1 200 OK\r\n\r\nhello", &Listener::Other);
        check("SSH-2.0-OpenSSH_9.2\r\n", &Listener::Other);
        let registry = "HTTP/1.0 200 OK\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n{}";
        check(registry, &Listener::Registry);
        check("HTTP/1.0 401 No\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n{}", &Listener::Other);
    }
}
