//! `run_explain`: why two runs are two, or how one came by its id.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Difference;
use crate::call::{CallError, Context, Host};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunExplainArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// A run id.
    pub a: String,
    /// The run to compare with; left out, `a`'s own id is explained.
    #[serde(default)]
    pub b: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunExplainResult {
    /// In one sentence.
    pub summary: String,
    /// Where `a` and `b` differ first; absent when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Difference>,
    /// All of them, `first` included; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    pub a: RunOrigin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<RunOrigin>,
}

/// How a run's id follows: SHA-256 of `preimage`, of which the id is the first 128 bits.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunOrigin {
    pub run_id: String,
    pub run_digest: String,
    pub preimage: String,
    pub params_hash: String,
    pub policy_hash: String,
    /// What `params_hash` covers. With `b`, left out: the differences say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Value>,
    /// What `policy_hash` covers. With `b`, left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<Value>,
}

/// The first field in which two runs differ and all others, or how one run's id came about.
///
/// # Errors
/// `run_unknown`, the same for foreign and unknown ids.
pub async fn run_explain(
    host: &Arc<Host>,
    context: &Context,
    args: RunExplainArgs,
) -> Result<RunExplainResult, CallError> {
    unimplemented!()
}
