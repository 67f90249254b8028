//! Where two JSON values differ.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// One field in which two runs differ. A side that lacks the field has no value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// `tool`, `contract`, `envelope` or `slice`.
    pub part: String,
    /// JSON pointer into the part; empty for the part itself.
    pub pointer: String,
    /// The same for a person: `params.min_quality`, `inputs.reads[0].digest`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Value>,
}
