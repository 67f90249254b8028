//! What a guest says of itself, and what it is told of its call, in the host's own records.

use super::types;
use crate::raw;

/// A call, as the guest sees it.
pub fn call(call: raw::Call) -> types::Call {
    let input = |input: raw::LinkedInput| types::LinkedInput {
        role: input.role,
        index: input.index,
        sample: input.sample,
        type_: input.artifact_type,
        digest: input.digest,
        size_bytes: input.size_bytes,
    };
    types::Call { tool: call.tool, params: call.params, inputs: call.inputs.into_iter().map(input).collect() }
}

impl From<types::Manifest> for raw::Manifest {
    fn from(said: types::Manifest) -> Self {
        Self {
            name: said.name,
            version: said.version,
            description: said.description,
            licence: said.licence,
            homepage: said.homepage,
            tools: said.tools.into_iter().map(Into::into).collect(),
            extra: said.extra,
        }
    }
}

impl From<types::Tool> for raw::Tool {
    fn from(said: types::Tool) -> Self {
        Self {
            name: said.name,
            contract: said.contract,
            title: said.title,
            description: said.description,
            params_schema: said.params_schema,
            result_schema: said.result_schema,
            inputs: said.inputs.into_iter().map(Into::into).collect(),
            outputs: said.outputs.into_iter().map(Into::into).collect(),
            images: said.images.into_iter().map(Into::into).collect(),
            read_only: said.read_only,
            idempotent: said.idempotent,
            software: said.software.into_iter().map(Into::into).collect(),
            extra: said.extra,
        }
    }
}

impl From<types::DeclaredInput> for raw::Input {
    fn from(said: types::DeclaredInput) -> Self {
        Self { role: said.role, types: said.types, count: said.count.into(), description: said.description }
    }
}

impl From<types::DeclaredOutput> for raw::Output {
    fn from(said: types::DeclaredOutput) -> Self {
        Self {
            role: said.role,
            artifact_type: said.type_,
            label: said.label,
            count: said.count.into(),
            description: said.description,
            check: match said.check {
                types::CheckLevel::None => raw::CheckLevel::None,
                types::CheckLevel::Sniff => raw::CheckLevel::Sniff,
                types::CheckLevel::Whole => raw::CheckLevel::Whole,
            },
        }
    }
}

impl From<types::DeclaredImage> for raw::Image {
    fn from(said: types::DeclaredImage) -> Self {
        Self { name: said.name, reference: said.reference, platform: said.platform }
    }
}

impl From<types::Software> for raw::Software {
    fn from(said: types::Software) -> Self {
        Self { name: said.name, version: said.version, doi: said.doi, url: said.url, licence: said.licence }
    }
}

impl From<types::Count> for raw::Count {
    fn from(said: types::Count) -> Self {
        Self { min: said.min, max: said.max }
    }
}

impl From<types::Proposal> for raw::Proposal {
    fn from(said: types::Proposal) -> Self {
        let input = |said: types::PlannedInput| raw::PlannedInput { role: said.role, index: said.index };
        let output =
            |said: types::PlannedOutput| raw::PlannedOutput { role: said.role, count: said.count.into() };
        Self {
            inputs: said.inputs.into_iter().map(input).collect(),
            outputs: said.outputs.into_iter().map(output).collect(),
            steps: said.steps.into_iter().map(Into::into).collect(),
            extra: said.extra,
        }
    }
}

impl From<types::PlannedStep> for raw::PlannedStep {
    fn from(said: types::PlannedStep) -> Self {
        Self {
            name: said.name,
            image: said.image,
            environment: said.environment,
            instances_max: said.instances_max,
            cpus_max: said.cpus_max,
            memory_bytes_max: said.memory_bytes_max,
            seconds_max: said.seconds_max,
        }
    }
}

impl From<types::Report> for raw::Report {
    fn from(said: types::Report) -> Self {
        Self { result: said.result, summary: said.summary, extra: said.extra }
    }
}

impl From<types::ToolError> for raw::ToolError {
    fn from(said: types::ToolError) -> Self {
        match said {
            types::ToolError::InvalidParams(types::InvalidParams { pointer, reason }) => {
                Self::InvalidParams { pointer, reason }
            }
            types::ToolError::InvalidInput(types::InvalidInput { role, index, reason }) => {
                Self::InvalidInput { role, index, reason }
            }
            types::ToolError::Failed(reason) => Self::Failed { reason },
        }
    }
}
