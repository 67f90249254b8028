//! What a tool is, and how a call reaches it.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ToolError;
use crate::host::{Host, Log, Session};
use crate::io::ToolIo;
use crate::manifest::{
    Call, DeclaredImage, DeclaredTool, LinkedInput, Manifest, PlannedOutput, PlannedStep, Proposal, Software,
};
use crate::schema;

/// Most bytes of a report's result; the host refuses more.
const RESULT_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of a report's summary; the host refuses more.
const SUMMARY_BYTES_MAX: usize = 2 * 1024;

/// One tool of a toolpack.
///
/// A tool is a deterministic function of its params and its inputs: the host answers the same
/// call from what is stored, without running it again.
pub trait Tool {
    /// What a caller may set. Put `#[serde(default = …)]` on every field that has a default and
    /// `#[schemars(range(…))]` on every number: the host checks and fills in before the tool runs.
    type Params: DeserializeOwned + JsonSchema;
    /// The headline numbers, at most 16 KiB as JSON. What is bigger is an output.
    type Result: Serialize + JsonSchema;
    /// The roles, made by [`crate::tool_io!`].
    type Io: ToolIo;

    /// The name that clients call: `[a-z][a-z0-9_]{0,39}`.
    const NAME: &'static str;
    /// `v1`, `v2`, …: raised when the same params mean something else.
    const CONTRACT: &'static str = "v1";
    /// For people.
    const TITLE: &'static str;
    /// For a model that must choose a tool. At most 1 KiB.
    const DESCRIPTION: &'static str;

    /// What the tool stands on, for citation.
    #[must_use]
    fn software() -> Vec<Software> {
        Vec::new()
    }

    /// Container images that its steps run in.
    #[must_use]
    fn images() -> Vec<DeclaredImage> {
        Vec::new()
    }

    /// The steps that this call may start, and the most that each may have. What is needed may depend on
    /// the params and on how large the inputs are.
    #[must_use]
    fn steps(_params: &Self::Params, _inputs: &[LinkedInput]) -> Vec<PlannedStep> {
        Vec::new()
    }

    /// Refuses params that make no sense together or for these inputs, before anything runs.
    ///
    /// # Errors
    /// [`ToolError::InvalidParams`] or [`ToolError::InvalidInput`].
    fn check(_params: &Self::Params, _inputs: &[LinkedInput]) -> Result<(), ToolError> {
        Ok(())
    }

    /// What this call would do. As it stands: reads every linked input, writes within what is declared,
    /// and starts what [`Tool::steps`] says.
    ///
    /// # Errors
    /// As [`Tool::check`].
    fn plan(params: &Self::Params, inputs: &[LinkedInput]) -> Result<Proposal, ToolError> {
        let outputs = Self::Io::outputs()
            .into_iter()
            .map(|output| PlannedOutput { role: output.role, count: output.count });
        let steps = Self::steps(params, inputs);
        Ok(Proposal { outputs: outputs.collect(), steps, ..Proposal::reading(inputs) })
    }

    /// Does it.
    ///
    /// # Errors
    /// [`ToolError`]; no output of a failed run is kept.
    fn run(params: Self::Params, io: Self::Io, log: &Log) -> Result<Report<Self::Result>, ToolError>;
}

/// What a tool answers.
#[derive(Clone, Debug)]
pub struct Report<R> {
    /// For programs.
    pub result: R,
    /// For a model to read; what is past 2 KiB is cut off.
    pub summary: String,
}

impl<R> Report<R> {
    /// A result and the words that tell it.
    pub fn new(result: R, summary: impl Into<String>) -> Self {
        Self { result, summary: summary.into() }
    }
}

/// A set of tools. Made by [`crate::export_toolpack!`].
pub trait Toolpack {
    /// Which tools are here. A constant.
    fn manifest() -> Manifest;

    /// What a call would do.
    ///
    /// # Errors
    /// The tool's own.
    fn plan(call: &Call) -> Result<Proposal, ToolError>;

    /// Does it; the result is JSON.
    ///
    /// # Errors
    /// The tool's own.
    #[doc(hidden)]
    fn run(call: &Call, host: Rc<dyn Host>) -> Result<Report<String>, ToolError>;
}

/// A tool's part of the manifest.
#[must_use]
pub fn declare<T: Tool>() -> DeclaredTool {
    DeclaredTool {
        name: T::NAME.to_owned(),
        contract: T::CONTRACT.to_owned(),
        title: T::TITLE.to_owned(),
        description: T::DESCRIPTION.to_owned(),
        params_schema: schema::of_params::<T::Params>(),
        result_schema: schema::of_result::<T::Result>(),
        inputs: T::Io::inputs(),
        outputs: T::Io::outputs(),
        images: T::images(),
        // A guest reaches nothing but its outputs and is deterministic, so both always hold.
        read_only: true,
        idempotent: true,
        software: T::software(),
    }
}

/// Plans a call of one tool.
///
/// # Errors
/// The tool's own.
pub fn plan<T: Tool>(call: &Call) -> Result<Proposal, ToolError> {
    let params = parse::<T>(call)?;
    T::check(&params, &call.inputs)?;
    T::plan(&params, &call.inputs)
}

/// Runs a call of one tool.
///
/// # Errors
/// The tool's own.
pub fn run<T: Tool>(call: &Call, host: Rc<dyn Host>) -> Result<Report<String>, ToolError> {
    let params = parse::<T>(call)?;
    T::check(&params, &call.inputs)?;
    // What an order leaves open is as planned.
    let planned = if T::Io::STEPS { T::plan(&params, &call.inputs)?.steps } else { Vec::new() };
    let session =
        Session { host: Rc::clone(&host), inputs: call.inputs.clone().into(), planned: planned.into() };
    let report = T::run(params, T::Io::link(&session), &Log::new(host))?;

    let result = serde_json::to_string(&report.result)?;
    if result.len() > RESULT_BYTES_MAX {
        let size = result.len();
        return Err(ToolError::failed(format!("the result has {size} bytes of {RESULT_BYTES_MAX}")));
    }
    Ok(Report { result, summary: capped(report.summary) })
}

/// The answer to a call of a tool that is not here.
#[must_use]
pub fn unknown_tool(call: &Call) -> ToolError {
    ToolError::failed(format!("this toolpack has no tool {:?}", call.tool))
}

fn parse<T: Tool>(call: &Call) -> Result<T::Params, ToolError> {
    serde_json::from_str(&call.params).map_err(|error| ToolError::invalid_param("", error.to_string()))
}

fn capped(mut summary: String) -> String {
    if summary.len() > SUMMARY_BYTES_MAX {
        let end = (0..=SUMMARY_BYTES_MAX - "…".len()).rev().find(|&at| summary.is_char_boundary(at));
        summary.truncate(end.unwrap_or_default());
        summary.push('…');
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_summary_is_cut_between_characters() {
        let short = "ä".repeat(1024);
        assert_eq!(capped(short.clone()), short);
        let cut = capped("ä".repeat(1025));
        assert!(cut.len() <= SUMMARY_BYTES_MAX && cut.ends_with("ä…"), "{cut}");
    }
}
