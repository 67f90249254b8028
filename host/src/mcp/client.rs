//! A thin MCP client over the host's socket, for our own command line.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ClientRequest,
    CustomRequest, Implementation, ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResult, ServerResult, Tool,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RunningService, ServiceError};
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::admin;
use crate::call::Progress;

/// Why the host gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the host did not answer the handshake")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// JSON-RPC's own error: -32602 is the caller's turn, anything else is ours.
    #[error("{message}")]
    Refused { code: i32, message: String, data: Option<Value> },
    #[error("the connection to the host was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the host answered with something else than was asked")]
    Unexpected,
    /// We stopped waiting.
    #[error("cancelled")]
    Cancelled,
}

/// Who is told of progress.
type Listener = Box<dyn FnMut(Progress) + Send>;

#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Option<Listener>>>);

impl Listening {
    fn set(&self, listener: Option<Listener>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = listener;
    }
}

impl ClientHandler for Listening {
    fn get_info(&self) -> ClientConfig {
        let implementation = Implementation::new("helixmcp-cli", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), implementation)
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    async fn on_progress(&self, param: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        let (done, total) = (whole(param.progress), param.total.map(whole));
        let text = param.message.unwrap_or_default();
        let mut listener = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_mut() {
            listener(Progress { done, total, text });
        }
    }
}

/// A whole number that came as a double.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what a u64 holds exactly"
)]
fn whole(number: f64) -> u64 {
    number.clamp(0.0, 9_007_199_254_740_992.0) as u64
}

/// A connection to the host.
pub struct Client {
    running: RunningService<RoleClient, Listening>,
    listening: Listening,
}

impl Client {
    /// Shakes hands over a connected socket.
    ///
    /// # Errors
    /// [`ClientError::Handshake`].
    pub async fn over(stream: UnixStream) -> Result<Self, ClientError> {
        let listening = Listening::default();
        let running = listening
            .clone()
            .serve(stream.into_split())
            .await
            .map_err(|error| ClientError::Handshake(Box::new(error)))?;
        Ok(Self { running, listening })
    }

    /// Every tool that the host offers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tools(&self) -> Result<Vec<Tool>, ClientError> {
        self.running.list_all_tools().await.map_err(failed)
    }

    /// Calls a tool and waits for its answer, however long that takes. When `cancel` fires the
    /// host is told that nobody waits any more.
    ///
    /// # Errors
    /// [`ClientError`]; what a caller can act on is a result with `is_error`.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        progress: Option<Listener>,
        cancel: &CancellationToken,
    ) -> Result<CallToolResult, ClientError> {
        self.listening.set(progress);
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let handle = self
            .running
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await
            .map_err(failed)?;
        let (peer, id) = (handle.peer.clone(), handle.id.clone());
        let answered = tokio::select! {
            answered = handle.await_response() => answered.map_err(failed),
            () = cancel.cancelled() => {
                let told = rmcp::model::CancelledNotificationParam::new(Some(id), Some("interrupted".to_owned()));
                peer.notify_cancelled(told).await.map_err(failed)?;
                Err(ClientError::Cancelled)
            }
        };
        self.listening.set(None);
        match answered? {
            ServerResult::CallToolResult(result) => Ok(result),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn read(&self, uri: &str) -> Result<ReadResourceResult, ClientError> {
        self.running.read_resource(ReadResourceRequestParams::new(uri)).await.map_err(failed)
    }

    /// How the host is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<admin::Status, ClientError> {
        self.admin(admin::STATUS).await
    }

    /// Asks the host to leave.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain(&self) -> Result<admin::Drained, ClientError> {
        self.admin(admin::DRAIN).await
    }

    /// Asks the host to read its policy again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reload(&self) -> Result<admin::Reloaded, ClientError> {
        self.admin(admin::RELOAD).await
    }

    async fn admin<T: DeserializeOwned>(&self, method: &str) -> Result<T, ClientError> {
        let request = ClientRequest::CustomRequest(CustomRequest::new(method, None));
        match self.running.send_request(request).await.map_err(failed)? {
            ServerResult::CustomResult(result) => {
                result.result_as().map_err(|_other_shape| ClientError::Unexpected)
            }
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        if let Err(error) = self.running.cancel().await {
            tracing::debug!(%error, "the connection ended badly");
        }
    }
}

fn failed(error: ServiceError) -> ClientError {
    match error {
        ServiceError::McpError(error) => {
            ClientError::Refused { code: error.code.0, message: error.message.into_owned(), data: error.data }
        }
        ServiceError::UnexpectedResponse => ClientError::Unexpected,
        other => ClientError::Lost(Box::new(other)),
    }
}
