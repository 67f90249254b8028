//! The wire with a small server behind it: what the peer gets, line by line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::admin::Control;
use super::session::Session;
use super::transport::{OPEN_MAX, Wire};

/// Long enough for a loaded machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its one tool answers when a permit comes, or when the request is cancelled.
#[derive(Clone)]
struct Slow {
    permits: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    /// A cancelled call goes on until its permit comes.
    is_stubborn: bool,
}

impl ServerHandler for Slow {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::select! {
            permit = self.permits.acquire() => permit.unwrap().forget(),
            () = context.ct.cancelled() => {
                if self.is_stubborn {
                    self.permits.acquire().await.unwrap().forget();
                }
                self.cancelled.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(CallToolResult::structured(json!({})).into())
    }
}

/// A peer at the other end of the wire.
struct Peer {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: Option<WriteHalf<DuplexStream>>,
    slow: Slow,
    ended: tokio::task::JoinHandle<bool>,
}

impl Peer {
    fn connect() -> Self {
        Self::to(false)
    }

    fn to(is_stubborn: bool) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let zero = || Arc::new(AtomicUsize::new(0));
        let slow = Slow {
            permits: Arc::new(Semaphore::new(0)),
            running: zero(),
            most: zero(),
            cancelled: zero(),
            is_stubborn,
        };
        let control: Arc<Control> = Arc::default();
        let session = Arc::new(Session::new(0, control.connected(), &CancellationToken::new()));
        let (read, write) = tokio::io::split(theirs);
        let wire = Wire::new(read, write, Arc::clone(&session));
        let server = slow.clone();
        let ended = tokio::spawn(async move {
            match server.serve_with_ct(wire, session.gone.clone()).await {
                Ok(running) => running.waiting().await.is_ok(),
                Err(_no_session) => false,
            }
        });
        let (read, write) = tokio::io::split(ours);
        Self { read: BufReader::new(read), write: Some(write), slow, ended }
    }

    async fn say(&mut self, lines: &str) {
        self.write.as_mut().unwrap().write_all(lines.as_bytes()).await.unwrap();
    }

    async fn request(&mut self, id: &Value, method: &str, params: &Value) {
        let line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.say(&format!("{line}\n")).await;
    }

    async fn call(&mut self, id: &Value) {
        self.request(id, "tools/call", &json!({ "name": "slow" })).await;
    }

    /// The next line; `None` at the end.
    async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read =
            timeout(PATIENCE, self.read.read_line(&mut line)).await.expect("an answer in time").unwrap();
        (read > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    async fn begin(&mut self) {
        let client = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        self.request(&json!("begin"), "initialize", &client).await;
        assert_eq!(self.hear().await.unwrap()["id"], "begin");
    }
}

#[tokio::test]
async fn a_notification_before_the_handshake_ends_nothing() {
    let mut peer = Peer::connect();
    peer.say("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\ngarbage\n").await;
    assert_eq!(peer.hear().await.unwrap()["error"]["code"], -32700);
    peer.begin().await;
    peer.request(&json!(1), "ping", &json!({})).await;
    assert_eq!(peer.hear().await.unwrap(), json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
}

#[tokio::test]
async fn i9_a_connection_has_so_many_requests_open_and_no_more() {
    let mut peer = Peer::connect();
    peer.begin().await;
    let asked = OPEN_MAX + 40;
    for id in 0..asked {
        peer.call(&json!(id)).await;
    }
    peer.slow.permits.add_permits(asked);
    for _ in 0..asked {
        assert!(peer.hear().await.unwrap().get("result").is_some());
    }
    assert!(peer.slow.most.load(Ordering::SeqCst) <= OPEN_MAX);
}

#[tokio::test]
async fn an_open_id_is_not_answered_twice() {
    let mut peer = Peer::connect();
    peer.begin().await;
    peer.call(&json!("a")).await;
    peer.call(&json!("a")).await;
    let refusal = peer.hear().await.unwrap();
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&Value::Null, &json!(-32600)));
    peer.slow.permits.add_permits(1);
    assert_eq!(peer.hear().await.unwrap()["id"], "a");
}

#[tokio::test]
async fn a_cancelled_request_gets_no_answer_and_its_id_does_not_come_back() {
    let mut peer = Peer::connect();
    peer.begin().await;
    peer.call(&json!(7)).await;
    peer.say("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":7}}\n")
        .await;
    peer.call(&json!(7)).await;
    assert_eq!(peer.hear().await.unwrap()["error"]["code"], -32600);
    peer.request(&json!(8), "ping", &json!({})).await;
    assert_eq!(peer.hear().await.unwrap()["id"], 8);
    peer.write.take().unwrap().shutdown().await.unwrap();
    assert_eq!(peer.hear().await, None);
    assert_eq!(peer.slow.cancelled.load(Ordering::SeqCst), 1);
}

/// Whoever cancels what goes on all the same has no more at work than one who waits for it.
#[tokio::test]
async fn i9_a_cancelled_request_counts_until_its_work_has_ended() {
    let mut peer = Peer::to(true);
    peer.begin().await;
    for id in 0..3 * OPEN_MAX {
        peer.call(&json!(id)).await;
        let cancelled =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
        // The last of them wait for a place, and are no more when they are cancelled there.
        if id < OPEN_MAX {
            while peer.slow.running.load(Ordering::SeqCst) <= id {
                tokio::task::yield_now().await;
            }
        }
        peer.say(&format!("{cancelled}\n")).await;
    }
    peer.request(&json!("after"), "ping", &json!({})).await;
    assert_eq!(peer.slow.running.load(Ordering::SeqCst), OPEN_MAX);

    // Their work ends, and with it their places: the connection was read all the while.
    peer.slow.permits.add_permits(3 * OPEN_MAX);
    assert_eq!(peer.hear().await.unwrap()["id"], "after", "a cancelled request was answered");
    let (most, cancelled) = (&peer.slow.most, &peer.slow.cancelled);
    assert_eq!((most.load(Ordering::SeqCst), cancelled.load(Ordering::SeqCst) >= 1), (OPEN_MAX, true));
    peer.call(&json!("fresh")).await;
    assert_eq!(peer.hear().await.unwrap()["id"], "fresh");
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_still_answered() {
    let mut peer = Peer::connect();
    peer.begin().await;
    peer.call(&json!(1)).await;
    // No newline after the last request.
    peer.say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}").await;
    let mut write = peer.write.take().unwrap();
    write.shutdown().await.unwrap();
    assert_eq!(peer.hear().await.unwrap()["id"], 2);
    peer.slow.permits.add_permits(1);
    assert_eq!(peer.hear().await.unwrap()["id"], 1);
    assert_eq!(peer.hear().await, None);
    assert!(peer.ended.await.unwrap());
}

#[tokio::test]
async fn an_end_before_the_beginning_is_quiet() {
    let mut peer = Peer::connect();
    peer.write.take().unwrap().shutdown().await.unwrap();
    assert_eq!(peer.hear().await, None);
    assert!(!peer.ended.await.unwrap());
}
