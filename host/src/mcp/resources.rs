//! Artifacts as MCP resources: `helix://artifact/<id>`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use helix_ids::text::escaped_line;
use helix_ids::{ArtifactId, ArtifactType};
use rmcp::model::{
    CacheScope, ErrorData, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use serde_json::json;

use super::admin::chain;
use crate::call::{CallError, Context, Host};
use crate::query::{self, ArtifactListArgs, ArtifactSummary, ReadContent};

const SCHEME: &str = "helix://artifact/";

/// Resources in the list: the newest artifacts. `artifact_list` pages through all of them.
const LIST_ROWS: usize = 20;

/// An artifact never changes, so what was read of it stays fresh for as long as anybody cares.
const READ_TTL_MS: u64 = 60 * 60 * 1000;

/// The address of an artifact.
pub fn uri(artifact_id: &str) -> String {
    format!("{SCHEME}{artifact_id}")
}

/// The media type of an artifact type's name.
pub fn mime(artifact_type: &str) -> &'static str {
    artifact_type.parse().map_or("application/octet-stream", ArtifactType::mime)
}

/// The newest artifacts of the caller's projects.
///
/// # Errors
/// A fault, as JSON-RPC has it.
pub async fn list(host: &Arc<Host>, context: &Context) -> Result<ListResourcesResult, ErrorData> {
    let mut newest: Vec<ArtifactSummary> = Vec::new();
    for project in host.policy().projects() {
        let args =
            ArtifactListArgs { project_id: Some(project.name.to_string()), ..ArtifactListArgs::default() };
        let page = query::artifact_list(host, context, args).await.map_err(of_error)?;
        newest.extend(page.artifacts);
    }
    newest.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.artifact_id.cmp(&b.artifact_id)));
    newest.truncate(LIST_ROWS);
    let resources = newest.iter().map(resource).collect();
    Ok(ListResourcesResult::with_all_items(resources).with_ttl_ms(0).with_cache_scope(CacheScope::Private))
}

/// The one template.
pub fn templates() -> ListResourceTemplatesResult {
    let template = ResourceTemplate::new(format!("{SCHEME}{{artifact_id}}"), "artifact")
        .with_title("Artifact")
        .with_description("The bytes of an artifact: text where it is text, else base64.");
    ListResourceTemplatesResult::with_all_items(vec![template])
        .with_ttl_ms(READ_TTL_MS)
        .with_cache_scope(CacheScope::Private)
}

/// The bytes at an address.
///
/// # Errors
/// `resource not found` for what is no artifact's address, unknown or foreign alike.
pub async fn read(host: &Arc<Host>, context: &Context, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let id: Option<ArtifactId> = uri.strip_prefix(SCHEME).and_then(|id| id.parse().ok());
    let Some(id) = id else { return Err(not_found(uri)) };
    let read = match query::read_artifact(host, context, None, &id.to_string(), None).await {
        Ok(read) => read,
        Err(CallError::BadArguments { code: "artifact_unknown", .. }) => return Err(not_found(uri)),
        Err(error) => return Err(of_error(error)),
    };
    let contents = match read.content {
        ReadContent::Text(text) => ResourceContents::text(text, uri),
        ReadContent::Bytes(bytes) => ResourceContents::blob(STANDARD.encode(bytes), uri),
    };
    let contents = vec![contents.with_mime_type(read.mime)];
    Ok(ReadResourceResult::new(contents).with_ttl_ms(READ_TTL_MS).with_cache_scope(CacheScope::Private))
}

fn not_found(uri: &str) -> ErrorData {
    ErrorData::resource_not_found(format!("no resource {}", escaped_line(uri, 100)), None)
}

/// What a reader of resources sees of an error; there is no result to put it into.
pub fn of_error(error: CallError) -> ErrorData {
    let said = |code: &str, message: &str| {
        ErrorData::invalid_params(escaped_line(message, 1024), Some(json!({ "code": code })))
    };
    match error {
        CallError::UnknownTool { name } => said("unknown_tool", &name),
        CallError::BadArguments { code, reason, .. } => said(code, &reason),
        CallError::Denied { denial, .. } => said(denial.code, &denial.message),
        CallError::Failed { code, message, .. } => said(&code, &message),
        CallError::Busy { code, message, retry_after_ms } => {
            let data = json!({ "code": code, "retry_after_ms": retry_after_ms });
            ErrorData::invalid_request(message, Some(data))
        }
        CallError::Fault { source, .. } => {
            tracing::error!(error = chain(source.as_ref()), "a read ended in a fault");
            ErrorData::internal_error("internal fault; the host's log says more", None)
        }
    }
}

fn resource(artifact: &ArtifactSummary) -> Resource {
    let label = artifact.label.as_deref().unwrap_or(&artifact.artifact_id);
    let mut resource = Resource::new(uri(&artifact.artifact_id), escaped_line(label, 256))
        .with_description(artifact.artifact_type.clone())
        .with_mime_type(artifact.mime_type.clone());
    if let Ok(size) = artifact.size_bytes.parse() {
        resource = resource.with_size(size);
    }
    resource
}
