//! The one door from what a guest asked to start to a [`StepOrder`].

use std::collections::BTreeSet;
use std::str::FromStr;

use helix_ids::{ArtifactType, EnvName, RelName, Role, StepName};
use serde_json::{Map, Value, json};

use super::gate::refuse;
use super::{GateError, Plan, PlannedStep};
use crate::contract::raw;
use crate::contract::text::shown;
use crate::policy::GrantedImage;

/// Most entries of a command, and most bytes of all of them: less than any kernel takes.
pub const ARGV_MAX: usize = 512;
pub const ARGV_BYTES_MAX: usize = 128 << 10;
/// Most variables, mounts and captures of one step, each.
pub const ENTRIES_MAX: usize = 64;
pub const VALUE_BYTES_MAX: usize = 4 << 10;

/// A container step that may start: what a guest asked for, within its plan.
///
/// Made by [`Plan::order`]. Variables, mounts and captures are in the order of their names, so
/// that equal steps are equal however a guest lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOrder {
    pub name: StepName,
    pub image: GrantedImage,
    pub argv: Vec<String>,
    pub environment: Vec<(EnvName, String)>,
    /// Relative to the step's `in/`.
    pub mounts: Vec<(RelName, MountSource)>,
    /// Relative to the step's `out/`.
    pub captures: Vec<(RelName, ArtifactType)>,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub seconds: u64,
}

/// What a step reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    Input {
        role: Role,
        index: u32,
    },
    /// What an earlier step of this attempt makes.
    Capture {
        step: u32,
        name: RelName,
    },
}

impl StepOrder {
    /// The ask as it is recorded: what is read stands there by its place in the run, so that the text
    /// is known before any step has ended.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let environment: Map<String, Value> =
            self.environment.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        let mounts =
            self.mounts.iter().map(|(name, source)| json!({ "name": name, "source": source.to_json() }));
        let captures = self.captures.iter().map(|(name, kind)| json!({ "name": name, "type": kind }));
        json!({
            "step": 1,
            "name": self.name,
            "image": {
                "name": self.image.name,
                "digest": self.image.image.digest(),
                "platform": self.image.platform,
            },
            "argv": self.argv,
            "environment": environment,
            "mounts": mounts.collect::<Vec<_>>(),
            "captures": captures.collect::<Vec<_>>(),
            "cpus": self.cpus,
            "memory_bytes": self.memory_bytes,
            "seconds": self.seconds,
        })
    }

    /// The type of what it makes under this name.
    #[must_use]
    pub fn capture(&self, name: &str) -> Option<ArtifactType> {
        self.captures.iter().find(|(own, _)| own.as_str() == name).map(|(_, artifact_type)| *artifact_type)
    }
}

impl MountSource {
    fn to_json(&self) -> Value {
        match self {
            Self::Input { role, index } => json!({ "input": { "role": role, "index": index } }),
            Self::Capture { step, name } => json!({ "file": { "step": step, "name": name } }),
        }
    }
}

impl Plan {
    /// Admits a step that the guest asks for after `earlier`, or says how it leaves the plan.
    ///
    /// # Errors
    /// `step_not_planned`, `step_instances`, `step_resources`, `step_argv`, `step_environment`,
    /// `step_mount`, `step_capture`.
    pub fn order(&self, asked: raw::Step, earlier: &[StepOrder]) -> Result<StepOrder, GateError> {
        let Some(planned) = self.steps().iter().find(|step| step.name.as_str() == asked.name) else {
            let name = shown(&asked.name, 100);
            return refuse("step_not_planned", format!("started the step `{name}`, which was not planned"));
        };
        let before = earlier.iter().filter(|step| step.name == planned.name).count();
        if u32::try_from(before).is_ok_and(|before| before >= planned.instances_max) {
            let (name, max) = (&planned.name, planned.instances_max);
            return refuse(
                "step_instances",
                format!("started more than the planned {max} of the step {name}"),
            );
        }
        counts(planned, &asked)?;
        resources(planned, &asked)?;
        Ok(StepOrder {
            name: planned.name.clone(),
            image: planned.image.clone(),
            environment: environment(planned, asked.environment)?,
            mounts: self.mounts(planned, &asked.mounts, earlier)?,
            captures: captures(planned, &asked.captures)?,
            argv: argv(planned, asked.argv)?,
            cpus: asked.cpus,
            memory_bytes: asked.memory_bytes,
            seconds: asked.seconds,
        })
    }

    fn mounts(
        &self,
        planned: &PlannedStep,
        asked: &[raw::Mount],
        earlier: &[StepOrder],
    ) -> Result<Vec<(RelName, MountSource)>, GateError> {
        let mut mounts = Vec::new();
        for mount in asked {
            let source = match &mount.source {
                raw::Source::Input { role, index } => self.input_source(role, *index),
                raw::Source::File { step, capture } => file_source(*step, capture, earlier),
            };
            let what = || format!("the step {} mounts `{}`", planned.name, shown(&mount.name, 100));
            let source =
                source.or_else(|reason| refuse("step_mount", format!("{} from {reason}", what())))?;
            let name: RelName = rel_name("step_mount", &mount.name, what)?;
            mounts.push((name, source));
        }
        mounts.sort_by(|(one, _), (other, _)| one.cmp(other));
        distinct("step_mount", planned, "mounts", mounts.iter().map(|(name, _)| name))?;
        Ok(mounts)
    }

    fn input_source(&self, role: &str, index: u32) -> Result<MountSource, String> {
        let found = self.inputs().iter().find(|(own, at)| own.as_str() == role && *at == index);
        let (role, index) =
            found.ok_or_else(|| format!("{}[{index}], which was not planned", shown(role, 100)))?;
        Ok(MountSource::Input { role: role.clone(), index: *index })
    }
}

/// Only a step that was started before can be read from, so no two wait for one another.
fn file_source(step: u32, capture: &str, earlier: &[StepOrder]) -> Result<MountSource, String> {
    let unknown = || format!("step {step} file `{}`, which no earlier step makes", shown(capture, 100));
    let order = usize::try_from(step).ok().and_then(|step| earlier.get(step)).ok_or_else(unknown)?;
    let made = order.captures.iter().find(|(name, _)| name.as_str() == capture);
    let (name, _) = made.ok_or_else(unknown)?;
    Ok(MountSource::Capture { step, name: name.clone() })
}

/// Before anything is looked up: a runner may have been taken over, and ask for any number.
fn counts(planned: &PlannedStep, asked: &raw::Step) -> Result<(), GateError> {
    for (code, what, number) in [
        ("step_environment", "variables", asked.environment.len()),
        ("step_mount", "mounts", asked.mounts.len()),
        ("step_capture", "captures", asked.captures.len()),
    ] {
        if number > ENTRIES_MAX {
            let message = format!("the step {} has {number} {what}, more than {ENTRIES_MAX}", planned.name);
            return refuse(code, message);
        }
    }
    Ok(())
}

fn resources(planned: &PlannedStep, asked: &raw::Step) -> Result<(), GateError> {
    for (what, asked, max) in [
        ("cpus", u64::from(asked.cpus), u64::from(planned.cpus_max)),
        ("bytes of memory", asked.memory_bytes, planned.memory_bytes_max),
        ("seconds", asked.seconds, planned.seconds_max),
    ] {
        if !(1..=max).contains(&asked) {
            let message =
                format!("the step {} asks for {asked} {what}, planned are 1 to {max}", planned.name);
            return refuse("step_resources", message);
        }
    }
    Ok(())
}

/// A list of words, each as it is: no shell reads them.
fn argv(planned: &PlannedStep, argv: Vec<String>) -> Result<Vec<String>, GateError> {
    let bytes: usize = argv.iter().map(String::len).sum();
    let reason = if !(1..=ARGV_MAX).contains(&argv.len()) {
        format!("of {} words; expected 1 to {ARGV_MAX}", argv.len())
    } else if bytes > ARGV_BYTES_MAX {
        format!("of {bytes} bytes; expected at most {ARGV_BYTES_MAX}")
    } else if argv.first().is_some_and(String::is_empty) {
        "that names no program".to_owned()
    } else if argv.iter().any(|word| word.contains('\0')) {
        "with a zero byte".to_owned()
    } else {
        return Ok(argv);
    };
    refuse("step_argv", format!("the step {} has a command {reason}", planned.name))
}

fn environment(
    planned: &PlannedStep,
    asked: Vec<raw::Variable>,
) -> Result<Vec<(EnvName, String)>, GateError> {
    let mut variables: Vec<(EnvName, String)> = Vec::new();
    for raw::Variable { name, value } in asked {
        let what = format!("the step {} sets `{}`", planned.name, shown(&name, 100));
        let Some(name) = planned.environment.iter().find(|planned| planned.as_str() == name) else {
            return refuse("step_environment", format!("{what}, which was not planned"));
        };
        if variables.iter().any(|(other, _)| other == name) {
            return refuse("step_environment", format!("{what} twice"));
        }
        if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            let message = format!("{what} to more than {VALUE_BYTES_MAX} bytes, or with a zero byte");
            return refuse("step_environment", message);
        }
        variables.push((name.clone(), value));
    }
    variables.sort();
    Ok(variables)
}

fn captures(
    planned: &PlannedStep,
    asked: &[raw::Capture],
) -> Result<Vec<(RelName, ArtifactType)>, GateError> {
    let mut captures = Vec::new();
    for capture in asked {
        let what = || format!("the step {} captures `{}`", planned.name, shown(&capture.name, 100));
        let name: RelName = rel_name("step_capture", &capture.name, what)?;
        let Ok(artifact_type) = ArtifactType::from_str(&capture.artifact_type) else {
            let unknown = shown(&capture.artifact_type, 100);
            return refuse("step_capture", format!("{} as `{unknown}`, which is no type", what()));
        };
        captures.push((name, artifact_type));
    }
    captures.sort_by(|(one, _), (other, _)| one.cmp(other));
    distinct("step_capture", planned, "captures", captures.iter().map(|(name, _)| name))?;
    Ok(captures)
}

fn rel_name(code: &'static str, text: &str, what: impl Fn() -> String) -> Result<RelName, GateError> {
    text.parse().or_else(|error| refuse(code, format!("{}: {error}", what())))
}

/// Each name once, and none a folder of another: a file holds none.
fn distinct<'a>(
    code: &'static str,
    planned: &PlannedStep,
    verb: &str,
    names: impl Iterator<Item = &'a RelName>,
) -> Result<(), GateError> {
    let mut files = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for name in names {
        let name = name.as_str();
        let above = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
        folders.extend(above);
        if !files.insert(name) {
            return refuse(code, format!("the step {} {verb} `{name}` twice", planned.name));
        }
    }
    match files.intersection(&folders).next() {
        Some(name) => refuse(code, format!("the step {} {verb} `{name}`, and a file below it", planned.name)),
        None => Ok(()),
    }
}
