//! Proposal → draft → plan. Pure. Declared, linked and planned are compared here (I-1, I-4).

mod draft;
mod gate;
mod order;
mod steps;

use std::time::Duration;

use helix_ids::{ArtifactType, Label, Role, ToolName};
use serde_json::{Value, json};

use crate::contract::{CheckLevel, Count, Tool};
use crate::policy::{BackendRule, Denial, Grant, GuestLimits, RunLimits, StepLimits};

pub use draft::{Draft, DraftError};
pub use gate::{GateError, Published, Written};
pub use order::{MountSource, StepOrder};
pub use steps::PlannedStep;

/// What a run may do, with nothing left to choose.
///
/// Invariant I-1: the only constructor is [`check`], so whoever holds a `Plan` may run it.
#[derive(Clone, Debug)]
pub struct Plan {
    tool: ToolName,
    inputs: Vec<(Role, u32)>,
    outputs: Vec<PlannedOutput>,
    steps: Vec<PlannedStep>,
    limits: GuestLimits,
    step_limits: StepLimits,
    run_limits: RunLimits,
    backend: Option<BackendRule>,
}

/// An output role within the plan: how many members, and what each must be.
#[derive(Clone, Debug)]
pub struct PlannedOutput {
    role: Role,
    count: Count,
    artifact_type: ArtifactType,
    label: Label,
    check: CheckLevel,
}

impl PlannedOutput {
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The planned count, which lies within the declared one.
    #[must_use]
    pub fn count(&self) -> Count {
        self.count
    }

    #[must_use]
    pub fn artifact_type(&self) -> ArtifactType {
        self.artifact_type
    }

    #[must_use]
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// How thoroughly the bytes are looked at before they are kept.
    #[must_use]
    pub fn check(&self) -> CheckLevel {
        self.check
    }
}

/// Admits a draft, or says why not: planned inputs are exactly the linked ones, planned counts
/// lie within the declared ones and the policy's limits (I-4), steps start granted images within the
/// limits of steps.
///
/// # Errors
/// `inputs_not_linked`, `input_not_planned`, `output_count`, `outputs_over_limit`,
/// `step_image_undeclared`, `step_over_limit`, `steps_over_limit`, `backend_not_allowed`.
pub fn check(draft: Draft, linked: &[(Role, u32)], tool: &Tool, grant: &Grant) -> Result<Plan, Denial> {
    let Draft { inputs: drafted_inputs, outputs: drafted_outputs, steps: drafted_steps } = draft;
    if let Some((role, index)) = drafted_inputs.iter().find(|input| !linked.contains(input)) {
        return Err(denial(
            "inputs_not_linked",
            format!("plans to read {role}[{index}], which this call does not link"),
        ));
    }
    if let Some((role, index)) = linked.iter().find(|input| !drafted_inputs.contains(input)) {
        return Err(denial(
            "input_not_planned",
            format!("does not plan to read {role}[{index}], which this call links"),
        ));
    }
    Ok(Plan {
        tool: tool.name.clone(),
        inputs: linked.to_vec(),
        outputs: check_outputs(&drafted_outputs, tool, grant)?,
        steps: steps::check(drafted_steps, grant)?,
        limits: grant.limits.clone(),
        step_limits: grant.step_limits.clone(),
        run_limits: grant.run_limits.clone(),
        backend: grant.backend.clone(),
    })
}

fn check_outputs(
    drafted: &[(Role, Count)],
    tool: &Tool,
    grant: &Grant,
) -> Result<Vec<PlannedOutput>, Denial> {
    let mut outputs = Vec::new();
    for declared in &tool.outputs {
        let (role, allowed) = (&declared.role, declared.count);
        // The draft has one entry for each declared role; one that lacks it makes nothing there.
        let count = drafted.iter().find(|(drafted, _)| drafted == role);
        let count = count.map_or(Count { min: 0, max: 0 }, |(_, count)| *count);
        if count.min < allowed.min || count.max > allowed.max {
            let (min, max) = (count.min, count.max);
            let message =
                format!("plans {min} to {max} of {role}, and declares {} to {}", allowed.min, allowed.max);
            return Err(denial("output_count", message));
        }
        outputs.push(PlannedOutput {
            role: role.clone(),
            count,
            artifact_type: declared.artifact_type,
            label: declared.label.clone(),
            check: declared.check,
        });
    }
    let needed: u64 = outputs.iter().map(|output| u64::from(output.count.min)).sum();
    if needed > grant.limits.outputs {
        let message = format!("needs {needed} outputs, policy allows {}", grant.limits.outputs);
        return Err(Denial {
            rule: "limits.guest.outputs".to_owned(),
            ..denial("outputs_over_limit", message)
        });
    }
    Ok(outputs)
}

fn denial(code: &'static str, message: String) -> Denial {
    Denial {
        code,
        message: format!("the tool {message}"),
        advice: String::new(),
        rule: "plan".to_owned(),
        line: None,
    }
}

impl Plan {
    #[must_use]
    pub fn tool(&self) -> &ToolName {
        &self.tool
    }

    /// Role and index of every input, in the order in which they are linked.
    #[must_use]
    pub fn inputs(&self) -> &[(Role, u32)] {
        &self.inputs
    }

    /// Every declared output role, in order of declaration.
    #[must_use]
    pub fn outputs(&self) -> &[PlannedOutput] {
        &self.outputs
    }

    /// The output of this role.
    #[must_use]
    pub fn output(&self, role: &str) -> Option<&PlannedOutput> {
        self.outputs.iter().find(|output| output.role.as_str() == role)
    }

    /// Every step that the run may start.
    #[must_use]
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// What holds for every step beside what it asks for itself.
    #[must_use]
    pub fn step_limits(&self) -> &StepLimits {
        &self.step_limits
    }

    /// What the run may set going in containers.
    #[must_use]
    pub fn run_limits(&self) -> &RunLimits {
        &self.run_limits
    }

    /// Where steps run; `None` where the tool declares no image.
    #[must_use]
    pub fn backend(&self) -> Option<&BackendRule> {
        self.backend.as_ref()
    }

    /// How much the guest may use.
    #[must_use]
    pub fn limits(&self) -> &GuestLimits {
        &self.limits
    }

    /// For `dry_run` and the ledger.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let inputs: Vec<Value> =
            self.inputs.iter().map(|(role, index)| json!({ "role": role, "index": index })).collect();
        let outputs: Vec<Value> = self.outputs.iter().map(output_json).collect();
        let mut plan = json!({
            "plan": 1,
            "tool": self.tool,
            "inputs": inputs,
            "outputs": outputs,
            "steps": self.steps.iter().map(PlannedStep::to_json).collect::<Vec<_>>(),
            "limits": limits_json(&self.limits),
        });
        if let (Some(backend), false) = (&self.backend, self.steps.is_empty()) {
            plan["backend"] = json!({ "kind": backend.kind().as_str(), "runtime": backend.runtime() });
            plan["step_limits"] = steps::step_limits_json(&self.step_limits);
            plan["run_limits"] = steps::run_limits_json(&self.run_limits);
        }
        plan
    }
}

fn output_json(output: &PlannedOutput) -> Value {
    json!({
        "role": output.role,
        "min": output.count.min,
        "max": output.count.max,
        "type": output.artifact_type,
        "label": output.label,
        "check": output.check,
    })
}

fn limits_json(limits: &GuestLimits) -> Value {
    json!({
        "memory_bytes": limits.memory_bytes,
        "stack_bytes": limits.stack_bytes,
        "fuel": limits.fuel,
        "fuel_per_byte": limits.fuel_per_byte,
        "wall_ms": milliseconds(limits.wall),
        "host_call_bytes": limits.host_call_bytes,
        "host_calls": limits.host_calls,
        "handles": limits.handles,
        "log_bytes": limits.log_bytes,
        "decoded_bytes": limits.decoded_bytes,
        "outputs": limits.outputs,
        "output_bytes": limits.output_bytes,
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
