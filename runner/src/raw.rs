//! The records of the WIT world as plain data: what a guest says, unchecked.
//!
//! They mirror `wit/v1/types.wit` and `wit/v1/steps.wit` field by field and travel between runner and
//! host as JSON. In the host nothing past `contract::Manifest::parse`, `plan::Draft::parse` and
//! `plan::Plan::order` uses them.

use serde::{Deserialize, Serialize};

/// How many, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub min: u32,
    pub max: u32,
}

impl Count {
    /// Does `number` lie within?
    #[must_use]
    pub fn holds(self, number: usize) -> bool {
        u32::try_from(number).is_ok_and(|number| (self.min..=self.max).contains(&number))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    pub role: String,
    pub types: Vec<String>,
    pub count: Count,
    pub description: String,
}

/// How thoroughly the host looks at an output's bytes before it keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    None,
    Sniff,
    Whole,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    pub role: String,
    pub artifact_type: String,
    pub label: String,
    pub count: Count,
    pub description: String,
    pub check: CheckLevel,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    pub name: String,
    pub reference: String,
    pub platform: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    pub name: String,
    pub version: String,
    pub doi: Option<String>,
    pub url: Option<String>,
    pub licence: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    pub contract: String,
    pub title: String,
    pub description: String,
    pub params_schema: String,
    pub result_schema: String,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    pub images: Vec<Image>,
    pub read_only: bool,
    pub idempotent: bool,
    pub software: Vec<Software>,
    pub extra: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub description: String,
    pub licence: String,
    pub homepage: String,
    pub tools: Vec<Tool>,
    pub extra: String,
}

/// An artifact as a guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedInput {
    pub role: String,
    pub index: u32,
    pub sample: Option<String>,
    pub artifact_type: String,
    pub digest: String,
    pub size_bytes: u64,
}

/// A call as a guest sees it: `params` are the canonical bytes that stand in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub tool: String,
    pub params: String,
    pub inputs: Vec<LinkedInput>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInput {
    pub role: String,
    pub index: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedOutput {
    pub role: String,
    pub count: Count,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedStep {
    pub name: String,
    pub image: String,
    pub environment: Vec<String>,
    pub instances_max: u32,
    pub cpus_max: u32,
    pub memory_bytes_max: u64,
    pub seconds_max: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposal {
    pub inputs: Vec<PlannedInput>,
    pub outputs: Vec<PlannedOutput>,
    pub steps: Vec<PlannedStep>,
    pub extra: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub result: String,
    pub summary: String,
    pub extra: String,
}

/// A tool's own refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolError {
    InvalidParams { pointer: String, reason: String },
    InvalidInput { role: String, index: u32, reason: String },
    Failed { reason: String },
}

/// A step as a guest orders it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub argv: Vec<String>,
    pub environment: Vec<Variable>,
    pub mounts: Vec<Mount>,
    pub captures: Vec<Capture>,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: Source,
    pub name: String,
}

/// Where a mount's bytes come from: never a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Input {
        role: String,
        index: u32,
    },
    /// A capture of an earlier step, by that step's ordinal.
    File {
        step: u32,
        capture: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    pub name: String,
    pub artifact_type: String,
}

/// How a step ended, as a guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    Exited { code: i32, stdout_tail: String, stderr_tail: String },
    Skipped,
}
