//! Planned steps: what a run may start, held against what policy grants.

use std::collections::BTreeSet;

use helix_ids::{EnvName, StepName};
use serde_json::{Value, json};

use super::draft::DraftStep;
use super::{denial, milliseconds};
use crate::policy::{Denial, Grant, GrantedImage, RunLimits, StepLimits};

/// A kind of step that a run may start, with the most that one of its kind may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    pub name: StepName,
    pub image: GrantedImage,
    /// The variables that it may be given.
    pub environment: BTreeSet<EnvName>,
    pub instances_max: u32,
    pub cpus_max: u32,
    pub memory_bytes_max: u64,
    pub seconds_max: u64,
}

impl PlannedStep {
    pub(super) fn to_json(&self) -> Value {
        let GrantedImage { name, image, platform, user } = &self.image;
        json!({
            "name": self.name,
            "image": { "name": name, "ref": image, "platform": platform, "user": user },
            "environment": self.environment,
            "instances_max": self.instances_max,
            "cpus_max": self.cpus_max,
            "memory_bytes_max": self.memory_bytes_max,
            "seconds_max": self.seconds_max,
        })
    }
}

/// Admits drafted steps, or says why not.
pub(super) fn check(drafted: Vec<DraftStep>, grant: &Grant) -> Result<Vec<PlannedStep>, Denial> {
    if !drafted.is_empty() && grant.backend.is_none() {
        let message = "plans steps, and there is nothing to run them on".to_owned();
        return Err(denial("backend_not_allowed", message));
    }
    // As many as may be started, since nobody knows how many will be.
    let instances: u64 = drafted.iter().map(|step| u64::from(step.instances_max)).sum();
    let allowed = grant.run_limits.steps;
    if instances > allowed {
        let message = format!("needs up to {instances} steps, policy allows {allowed}");
        return Err(Denial { rule: "limits.run.steps".to_owned(), ..denial("steps_over_limit", message) });
    }
    drafted.into_iter().map(|step| check_step(step, grant)).collect()
}

fn check_step(step: DraftStep, grant: &Grant) -> Result<PlannedStep, Denial> {
    let Some(image) = grant.images.iter().find(|image| image.name == step.image) else {
        let message =
            format!("plans the step {} of the image {}, which it does not declare", step.name, step.image);
        return Err(denial("step_image_undeclared", message));
    };
    let limits = &grant.step_limits;
    for (key, unit, needed, allowed) in [
        ("cpus", "cpus", u64::from(step.cpus_max), limits.cpus),
        ("memory", "bytes of memory", step.memory_bytes_max, limits.memory_bytes),
        ("wall", "seconds", step.seconds_max, limits.wall.as_secs()),
    ] {
        if needed > allowed {
            let message =
                format!("needs {needed} {unit} for the step {}, policy allows {allowed}", step.name);
            let denial = denial("step_over_limit", message);
            return Err(Denial { rule: format!("limits.step.{key}"), ..denial });
        }
    }
    Ok(PlannedStep {
        name: step.name,
        image: image.clone(),
        environment: step.environment,
        instances_max: step.instances_max,
        cpus_max: step.cpus_max,
        memory_bytes_max: step.memory_bytes_max,
        seconds_max: step.seconds_max,
    })
}

pub(super) fn step_limits_json(limits: &StepLimits) -> Value {
    json!({
        "cpus": limits.cpus,
        "memory_bytes": limits.memory_bytes,
        "wall_ms": milliseconds(limits.wall),
        "pids": limits.pids,
        "scratch_bytes": limits.scratch_bytes,
        "stdout_bytes": limits.stdout_bytes,
    })
}

pub(super) fn run_limits_json(limits: &RunLimits) -> Value {
    json!({
        "steps": limits.steps,
        "concurrent_steps": limits.concurrent_steps,
        "passes": limits.passes,
        "wall_ms": milliseconds(limits.wall),
    })
}
