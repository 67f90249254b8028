//! What the host answers: one [`Server`] a connection, for every version that rmcp speaks.

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod,
    CompleteRequestParams, CompleteResult, CustomRequest, CustomResult, ErrorCode, ErrorData, Implementation,
    ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use helix_ids::text::escaped_line;

use super::admin::{self, Control};
use super::answer::{self, Surroundings};
use super::host_tools::{self, HostResult};
use super::session::Session;
use super::transport::Place;
use super::{instructions, progress, resources, tools};
use crate::call::{self, Answer, CallError, Caller, Context, Host, Progress};

/// The list changes only with the catalogue, and that is announced.
const LIST_TTL_MS: u64 = 60 * 1000;

/// What one connection's requests are answered by.
pub struct Server {
    host: Arc<Host>,
    control: Arc<Control>,
    session: Arc<Session>,
}

/// What a tool answered, before it is put into MCP's words.
enum Called {
    Tool(Box<Answer>),
    Host(HostResult),
}

impl Server {
    pub fn new(host: Arc<Host>, control: Arc<Control>, session: Arc<Session>) -> Self {
        Self { host, control, session }
    }

    fn context(
        &self,
        request: &RequestContext<RoleServer>,
        progress: Option<mpsc::Sender<Progress>>,
    ) -> Context {
        let client = request.client_info().map(|info| format!("{} {}", info.name, info.version));
        let caller = Caller::local(self.session.uid, client.as_deref().unwrap_or("unnamed"));
        Context {
            caller: Caller { connection: self.session.number(), ..caller },
            progress,
            // A child of the session's own token already.
            gone: request.ct.child_token(),
        }
    }

    /// Calls the tool in a task of its own, so that a panic is one failed call. The task holds the
    /// request's place until it has ended, whoever still waits for it.
    async fn called(
        &self,
        name: String,
        arguments: Map<String, Value>,
        context: Context,
        place: Option<Arc<Place>>,
    ) -> Result<Called, CallError> {
        self.host.admit_request(&context)?;
        let host = Arc::clone(&self.host);
        let task = tokio::spawn(async move {
            let _place = place;
            match host_tools::find(&name) {
                Some(tool) => tool.call(host, context, arguments).await.map(Called::Host),
                None => call::call(&host, &context, &name, arguments)
                    .await
                    .map(|answer| Called::Tool(Box::new(answer))),
            }
        });
        task.await.unwrap_or_else(|panic| Err(CallError::fault(panic)))
    }

    async fn answered(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        request: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let (sender, forwarded) = match request.meta.get_progress_token() {
            Some(token) => {
                let (sender, news) = mpsc::channel(progress::NEWS_MAX);
                (Some(sender), Some(tokio::spawn(progress::forward(request.peer.clone(), token, news))))
            }
            None => (None, None),
        };
        let project = arguments.get("project_id").and_then(Value::as_str).map(str::to_owned);
        let context = self.context(&request, sender);
        let quiet = Context { progress: None, ..context.clone() };
        let place = request.extensions.get::<Arc<Place>>().cloned();
        let called = self.called(name.to_owned(), arguments, context, place).await;
        if let Some(forwarded) = forwarded {
            // The sender is gone, so this ends; nothing may follow the answer.
            let _ended_or_panicked = forwarded.await.is_ok();
        }
        let surroundings = Surroundings { host: &self.host, context: &quiet, project: project.as_deref() };
        match called {
            Ok(Called::Tool(answer)) => Ok(answer::of_answer(&surroundings, &answer).await),
            Ok(Called::Host(result)) => Ok(answer::of_host(&surroundings, name, result).await),
            Err(error) => answer::of_error(name, error),
        }
    }

    fn capabilities() -> ServerCapabilities {
        ServerCapabilities::builder().enable_tools().enable_tool_list_changed().enable_resources().build()
    }
}

/// Lists have one page, so every cursor is one that we never gave out.
fn no_cursor(request: Option<&PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor.as_ref()) {
        Some(_) => Err(ErrorData::invalid_params("unknown cursor", None)),
        None => Ok(()),
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let implementation = Implementation::new("helixmcp", env!("CARGO_PKG_VERSION"))
            .with_title("HelixMCP")
            .with_description("Sandboxed, deterministic, provable bioinformatics tools");
        ServerConfig::new(Self::capabilities())
            .with_server_info(implementation)
            .with_instructions(instructions::of(&self.host))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        no_cursor(request.as_ref())?;
        let tools = ListToolsResult::with_all_items(tools::list(&self.host));
        Ok(tools.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(&self.host, name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.into_owned();
        let arguments = request.arguments.unwrap_or_default();
        self.answered(&name, arguments, context).await.map(Into::into)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        no_cursor(request.as_ref())?;
        let context = self.context(&context, None);
        self.host.admit_request(&context).map_err(resources::of_error)?;
        resources::list(&self.host, &context).await
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        no_cursor(request.as_ref())?;
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        // rmcp carries a handler to its end also when its request is cancelled, and the request's
        // own context with its place goes along.
        let reading = self.context(&context, None);
        self.host.admit_request(&reading).map_err(resources::of_error)?;
        let turn = tokio::select! {
            turn = self.host.reading_turn(&reading) => turn,
            () = reading.gone.cancelled() => return Err(ErrorData::internal_error("nobody waits", None)),
        };
        let read = resources::read(&self.host, &reading, &request.uri).await.map(Into::into);
        drop((turn, context));
        read
    }

    // rmcp answers these two with an empty success even where they are not declared.
    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    /// Clients with a handshake are told of a changed list for as long as they are connected.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        if !self.session.watch_once() {
            return;
        }
        let (mut changes, session) = (self.host.catalog.changes(), Arc::clone(&self.session));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => {
                        if changed.is_err() || context.peer.notify_tool_list_changed().await.is_err() {
                            return;
                        }
                    }
                    () = session.ended.cancelled() => return,
                    () = session.gone.cancelled() => return,
                }
            }
        });
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let wanted = requested.tools_list_changed.unwrap_or_default();
        Some(if wanted {
            SubscriptionFilter::builder().tools_list_changed().build()
        } else {
            SubscriptionFilter::new()
        })
    }

    /// Clients without a handshake ask to be told.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.host.catalog.changes();
        let wanted = context.accepted().tools_list_changed.unwrap_or_default();
        loop {
            tokio::select! {
                changed = changes.changed(), if wanted => {
                    if changed.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
                () = context.cancelled() => return Ok(()),
                () = self.session.ended.cancelled() => return Ok(()),
                () = self.session.gone.cancelled() => return Ok(()),
            }
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if self.session.is_admin()
            && let Some(answer) = admin::answer(&self.host, &self.control, &request.method).await
        {
            return answer.map(CustomResult::new);
        }
        let method = escaped_line(&request.method, 100);
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("no such method: {method}"), None))
    }
}
