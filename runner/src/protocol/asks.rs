//! What a guest asks of the host: steps, their ends and their files.
//!
//! A step is named by its ordinal, from 0 in the order of start, on both sides. The caps here are those
//! of the interface: a runner holds its guest to them, and the host a runner that was taken over.

use serde::{Deserialize, Serialize};

use crate::raw;

/// Most bytes of a step's arguments, one more counted for each.
pub const STEP_ARGV_BYTES_MAX: usize = 128 * 1024;

/// Most bytes of all values of a step's environment.
pub const STEP_ENVIRONMENT_BYTES_MAX: usize = 512 * 1024;

/// Most mounts of a step, and most captures, and most variables.
pub const STEP_PARTS_MAX: usize = 64;

/// Longest name in an order: of the step, a variable, a mount, a capture, a role, a type.
pub const STEP_NAME_BYTES_MAX: usize = 255;

/// Most bytes of the end of each of a step's streams.
pub const STEP_TAIL_BYTES_MAX: usize = 64 * 1024;

/// Most asks of a run that may start so many steps: what an honest guest needs for each, and some.
#[must_use]
pub const fn asks_max(steps: u64) -> u64 {
    steps.saturating_mul(8).saturating_add(1024)
}

/// What only the host may do. The runner waits for a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Answered by [`Reply::Started`].
    Start { step: raw::Step },
    /// Until the first of these has ended, each named once. Answered by [`Reply::Ended`].
    Wait { steps: Vec<u32> },
    /// Until the step has ended. Answered by [`Reply::Opened`] and the file, or [`Reply::NotMade`].
    Open { step: u32, capture: String },
    /// Answered by [`Reply::Published`], whether the step has ended or not.
    Publish { role: String, key: String, step: u32, capture: String },
}

/// The host's answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Started,
    Ended {
        step: u32,
        end: raw::StepEnd,
    },
    /// One descriptor comes with it, of a file that nobody writes to any more.
    Opened,
    NotMade,
    Published,
}

/// A file of a step that is to become an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub role: String,
    pub key: String,
    pub step: u32,
    pub capture: String,
}

impl Ask {
    /// Whether this may be asked after `started` steps have been started, and if not, why. What the
    /// plan has to say of it is not looked at.
    ///
    /// # Errors
    /// In words for the toolpack's author.
    pub fn fits(&self, started: u32) -> Result<(), String> {
        let known = |step: &u32| {
            if *step < started { Ok(()) } else { Err(format!("step {step} was not started")) }
        };
        match self {
            Self::Start { step } => step.fits(),
            Self::Wait { steps } => {
                if steps.is_empty() {
                    return Err("a wait for no step".to_owned());
                }
                at_most(
                    "steps that are waited for",
                    steps.len(),
                    usize::try_from(started).unwrap_or(usize::MAX),
                )?;
                steps.iter().try_for_each(known)
            }
            Self::Open { step, capture } => {
                known(step)?;
                name("capture", capture)
            }
            Self::Publish { role, key, step, capture } => {
                known(step)?;
                [("role", role), ("key", key), ("capture", capture)]
                    .into_iter()
                    .try_for_each(|(what, text)| name(what, text))
            }
        }
    }
}

impl raw::Step {
    /// Bytes of all its texts together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let variables = self.environment.iter().map(|variable| variable.name.len() + variable.value.len());
        let mounts = self.mounts.iter().map(|mount| {
            mount.name.len()
                + match &mount.source {
                    raw::Source::Input { role, .. } => role.len(),
                    raw::Source::File { capture, .. } => capture.len(),
                }
        });
        let captures = self.captures.iter().map(|capture| capture.name.len() + capture.artifact_type.len());
        let lists = variables.chain(mounts).chain(captures).sum::<usize>();
        self.name.len() + lists + self.argv.iter().map(String::len).sum::<usize>()
    }

    /// Whether it is within the caps of the interface, and if not, why.
    ///
    /// # Errors
    /// In words for the toolpack's author.
    pub fn fits(&self) -> Result<(), String> {
        name("step", &self.name)?;
        let argv = self.argv.iter().map(|argument| argument.len() + 1).sum();
        at_most("bytes of arguments", argv, STEP_ARGV_BYTES_MAX)?;
        at_most("variables", self.environment.len(), STEP_PARTS_MAX)?;
        let values = self.environment.iter().map(|variable| variable.value.len()).sum();
        at_most("bytes of environment", values, STEP_ENVIRONMENT_BYTES_MAX)?;
        at_most("mounts", self.mounts.len(), STEP_PARTS_MAX)?;
        at_most("captures", self.captures.len(), STEP_PARTS_MAX)?;
        for variable in &self.environment {
            name("variable", &variable.name)?;
        }
        for mount in &self.mounts {
            name("mount", &mount.name)?;
            match &mount.source {
                raw::Source::Input { role, .. } => name("role", role)?,
                raw::Source::File { capture, .. } => name("capture", capture)?,
            }
        }
        for capture in &self.captures {
            name("capture", &capture.name)?;
            name("type", &capture.artifact_type)?;
        }
        Ok(())
    }
}

fn name(what: &str, text: &str) -> Result<(), String> {
    at_most(&format!("bytes in the name of a {what}"), text.len(), STEP_NAME_BYTES_MAX)
}

fn at_most(what: &str, number: usize, most: usize) -> Result<(), String> {
    if number > most { Err(format!("{number} {what}; at most {most} may be")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> raw::Step {
        raw::Step {
            name: "align".to_owned(),
            argv: vec!["bwa".to_owned()],
            environment: Vec::new(),
            mounts: Vec::new(),
            captures: Vec::new(),
            cpus: 1,
            memory_bytes: 1,
            seconds: 1,
        }
    }

    #[test]
    fn i9_an_order_has_an_end_in_every_direction() {
        let long = || "x".repeat(STEP_NAME_BYTES_MAX + 1);
        let file = |name: String| raw::Mount {
            source: raw::Source::File { step: 0, capture: name },
            name: "a".into(),
        };
        let capture = |name: &str| raw::Capture { name: name.to_owned(), artifact_type: "BAM".to_owned() };
        let variable = |value: String| raw::Variable { name: "A".to_owned(), value };
        assert_eq!(step().fits(), Ok(()));
        let whole = raw::Step { argv: vec!["x".repeat(STEP_ARGV_BYTES_MAX - 1)], ..step() };
        assert_eq!(whole.fits(), Ok(()));
        for (order, words) in [
            (raw::Step { name: long(), ..step() }, "name of a step"),
            (raw::Step { argv: vec!["x".repeat(STEP_ARGV_BYTES_MAX)], ..step() }, "bytes of arguments"),
            // Arguments of nothing have an end as well.
            (
                raw::Step { argv: vec![String::new(); STEP_ARGV_BYTES_MAX + 1], ..step() },
                "bytes of arguments",
            ),
            (raw::Step { environment: vec![variable(String::new()); 65], ..step() }, "65 variables"),
            (
                raw::Step {
                    environment: vec![variable("x".repeat(STEP_ENVIRONMENT_BYTES_MAX + 1))],
                    ..step()
                },
                "bytes of environment",
            ),
            (raw::Step { mounts: vec![file("b".into()); 65], ..step() }, "65 mounts"),
            (raw::Step { mounts: vec![file(long())], ..step() }, "name of a capture"),
            (raw::Step { captures: vec![capture("a"); 65], ..step() }, "65 captures"),
            (raw::Step { captures: vec![capture(&long())], ..step() }, "name of a capture"),
        ] {
            let refused = Ask::Start { step: order }.fits(0).unwrap_err();
            assert!(refused.contains(words), "`{words}` is not in: {refused}");
        }
    }

    #[test]
    fn only_what_was_started_is_asked_for() {
        assert!(Ask::Wait { steps: Vec::new() }.fits(3).is_err());
        assert!(Ask::Wait { steps: vec![2, 0] }.fits(3).is_ok());
        assert!(Ask::Wait { steps: vec![3] }.fits(3).is_err());
        assert!(Ask::Wait { steps: vec![0; 4] }.fits(3).is_err());
        assert!(Ask::Open { step: 0, capture: "a".to_owned() }.fits(0).is_err());
        let publish =
            |key: String| Ask::Publish { role: "out".to_owned(), key, step: 0, capture: "a".to_owned() };
        assert!(publish("a".to_owned()).fits(1).is_ok());
        assert!(publish("x".repeat(1 << 20)).fits(1).is_err());
    }
}
