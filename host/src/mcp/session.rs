//! One connection from its first byte to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::ServiceExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::admin::{Connected, Control};
use super::budget::Budget;
use super::server::Server;
use super::transport::Wire;
use crate::call::Host;

/// What the two halves of a connection, wire and server, know together.
#[derive(Debug)]
pub struct Session {
    /// Who connected, as the kernel says.
    pub uid: u32,
    /// The peer sends no more; what is open may still be answered.
    pub ended: CancellationToken,
    /// Nobody waits for an answer any more.
    pub gone: CancellationToken,
    connected: Connected,
    watched: AtomicBool,
}

impl Session {
    pub(super) fn new(uid: u32, connected: Connected, stop: &CancellationToken) -> Self {
        Self {
            uid,
            ended: CancellationToken::new(),
            gone: stop.child_token(),
            connected,
            watched: AtomicBool::new(false),
        }
    }

    /// What all connections together may hold in memory.
    pub(super) fn budget(&self) -> &Budget {
        self.connected.budget()
    }

    /// Admin requests are for those who opened the socket themselves.
    pub fn now_relayed(&self) {
        self.connected.relayed();
    }

    /// Whether this connection may ask admin requests.
    pub fn is_admin(&self) -> bool {
        !self.connected.is_relay()
    }

    /// The connection's number: no two at one host have the same.
    pub fn number(&self) -> u64 {
        self.connected.number
    }

    /// True the first time: one watcher of the catalogue a connection.
    pub fn watch_once(&self) -> bool {
        !self.watched.swap(true, Ordering::SeqCst)
    }
}

/// Serves one connection until its end. `stop` ends it from our side.
pub async fn serve(
    host: Arc<Host>,
    control: Arc<Control>,
    uid: u32,
    read: impl AsyncRead + Unpin + Send + 'static,
    write: impl AsyncWrite + Unpin + Send + 'static,
    stop: CancellationToken,
) {
    let connected = control.connected();
    let session = Arc::new(Session::new(uid, connected, &stop));
    let wire = Wire::new(read, write, Arc::clone(&session));
    let server = Server::new(host, control, Arc::clone(&session));
    match server.serve_with_ct(wire, session.gone.clone()).await {
        Ok(running) => {
            if let Err(error) = running.waiting().await {
                tracing::error!(%error, "a session ended badly");
            }
        }
        // A peer that leaves before it has asked anything is no error.
        Err(error) => tracing::debug!(%error, "a connection ended before its session began"),
    }
    session.gone.cancel();
}
