//! The one door from what a guest proposed to a [`Draft`].

use std::collections::BTreeSet;

use helix_ids::{EnvName, ImageName, Role, StepName};

use crate::contract::text::shown;
use crate::contract::{Count, Tool, raw};
use crate::policy::Denial;

/// A proposal that speaks only of what its tool declares. Nothing has admitted it yet.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) inputs: Vec<(Role, u32)>,
    pub(super) outputs: Vec<(Role, Count)>,
    pub(super) steps: Vec<DraftStep>,
}

/// A step that a run may start, of an image that its tool declares.
#[derive(Clone, Debug)]
pub(super) struct DraftStep {
    pub name: StepName,
    pub image: ImageName,
    pub environment: BTreeSet<EnvName>,
    pub instances_max: u32,
    pub cpus_max: u32,
    pub memory_bytes_max: u64,
    pub seconds_max: u64,
}

/// Why a proposal is none: the toolpack author's turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DraftError {
    /// Lower `snake_case`, listed in docs/errors.md.
    pub code: &'static str,
    pub message: String,
}

impl From<DraftError> for Denial {
    fn from(error: DraftError) -> Self {
        super::denial(error.code, error.message)
    }
}

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, DraftError> {
    Err(DraftError { code, message: message.into() })
}

impl Draft {
    /// Checks that a proposal names declared roles and images only, each output role exactly once,
    /// nothing twice, and uses nothing that this version lacks.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(proposal: raw::Proposal, tool: &Tool) -> Result<Self, DraftError> {
        if !proposal.extra.is_empty() {
            return refuse(
                "extra_not_supported",
                "the proposal's `extra` is for later versions and must be empty",
            );
        }
        let mut inputs = BTreeSet::new();
        for input in &proposal.inputs {
            let Some(declared) = tool.input(&input.role) else {
                return refuse(
                    "input_undeclared",
                    format!("plans the undeclared input `{}`", shown(&input.role, 100)),
                );
            };
            if !inputs.insert((declared.role.clone(), input.index)) {
                return refuse("input_duplicate", format!("plans {}[{}] twice", declared.role, input.index));
            }
        }
        let mut outputs: Vec<(Role, Count)> = Vec::new();
        for output in &proposal.outputs {
            let Some(declared) = tool.output(&output.role) else {
                let role = shown(&output.role, 100);
                return refuse("output_undeclared", format!("plans the undeclared output `{role}`"));
            };
            if outputs.iter().any(|(role, _)| *role == declared.role) {
                return refuse("output_duplicate", format!("plans the output {} twice", declared.role));
            }
            if output.count.min > output.count.max {
                return refuse(
                    "output_count",
                    format!("plans at least more than at most of {}", declared.role),
                );
            }
            outputs.push((declared.role.clone(), output.count));
        }
        let missing =
            tool.outputs.iter().find(|output| !outputs.iter().any(|(role, _)| *role == output.role));
        if let Some(output) = missing {
            return refuse(
                "output_not_planned",
                format!("says nothing of the declared output {}", output.role),
            );
        }
        let mut steps: Vec<DraftStep> = Vec::new();
        for step in &proposal.steps {
            let step = parse_step(step, tool)?;
            if steps.iter().any(|other| other.name == step.name) {
                return refuse("step_duplicate", format!("plans the step {} twice", step.name));
            }
            steps.push(step);
        }
        Ok(Self { inputs: inputs.into_iter().collect(), outputs, steps })
    }
}

fn parse_step(step: &raw::PlannedStep, tool: &Tool) -> Result<DraftStep, DraftError> {
    let Ok(name) = step.name.parse::<StepName>() else {
        let shown = shown(&step.name, 100);
        return refuse("step_name", format!("plans the step `{shown}`; expected [a-z][a-z0-9_-]{{0,39}}"));
    };
    let Some(image) = tool.image(&step.image) else {
        let image = shown(&step.image, 100);
        let message = format!("plans the step {name} of the image `{image}`, which it does not declare");
        return refuse("step_image_undeclared", message);
    };
    let mut environment = BTreeSet::new();
    for variable in &step.environment {
        let what = format!("for the step {name} the variable `{}`", shown(variable, 100));
        match variable.parse::<EnvName>() {
            Ok(variable) => {
                if !environment.insert(variable) {
                    return refuse("step_environment", format!("plans {what} twice"));
                }
            }
            Err(error) => return refuse("step_environment", format!("plans {what}: {error}")),
        }
    }
    if [step.instances_max, step.cpus_max].contains(&0)
        || [step.memory_bytes_max, step.seconds_max].contains(&0)
    {
        let message = format!("plans 0 instances, cpus, bytes or seconds at most for the step {name}");
        return refuse("step_resources", message);
    }
    Ok(DraftStep {
        name,
        image: image.name.clone(),
        environment,
        instances_max: step.instances_max,
        cpus_max: step.cpus_max,
        memory_bytes_max: step.memory_bytes_max,
        seconds_max: step.seconds_max,
    })
}
