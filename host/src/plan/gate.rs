//! What a guest did, held against what was planned, before anything of it is kept (I-4).

use std::collections::BTreeSet;

use helix_ids::{ArtifactType, OutputKey};

use super::Plan;
use crate::contract::text::shown;

/// An output that a guest began to write.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    pub role: &'a str,
    pub key: &'a str,
    pub finished: bool,
}

/// A step's file that a guest made an output.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    pub role: &'a str,
    pub key: &'a str,
    /// Of the capture.
    pub artifact_type: ArtifactType,
}

/// What a guest did beside its plan: the toolpack author's turn. No output is committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GateError {
    /// Lower `snake_case`, listed in docs/errors.md.
    pub code: &'static str,
    pub message: String,
}

pub(super) fn refuse<T>(code: &'static str, message: String) -> Result<T, GateError> {
    Err(GateError { code, message })
}

impl Plan {
    /// Were the planned inputs the ones that were opened or mounted, and is what was written and
    /// published within the plan, finished, and named once? All or nothing.
    ///
    /// # Errors
    /// `input_not_planned`, `input_not_opened`, `output_undeclared`, `output_key`,
    /// `output_unfinished`, `output_type`, `output_count`.
    pub fn gate(
        &self,
        opened: &[(String, u32)],
        written: &[Written<'_>],
        published: &[Published<'_>],
    ) -> Result<(), GateError> {
        self.gate_inputs(opened)?;
        let mut keys = BTreeSet::new();
        for output in written {
            let (role, key) = (shown(output.role, 100), shown(output.key, 100));
            if self.output(output.role).is_none() {
                return refuse("output_undeclared", format!("wrote the undeclared output `{role}`"));
            }
            if output.key.parse::<OutputKey>().is_err() || !keys.insert((output.role, output.key)) {
                return refuse("output_key", format!("wrote {role} `{key}`: a bad key, or one twice"));
            }
            if !output.finished {
                return refuse("output_unfinished", format!("did not finish {role} `{key}`"));
            }
        }
        for output in published {
            self.gate_published(output)?;
            if !keys.insert((output.role, output.key)) {
                let (role, key) = (shown(output.role, 100), shown(output.key, 100));
                return refuse("output_key", format!("published {role} `{key}`, which is there already"));
            }
        }
        for planned in &self.outputs {
            let number = keys.iter().filter(|(role, _)| *role == planned.role.as_str()).count();
            if !planned.count.holds(number) {
                let (role, min, max) = (&planned.role, planned.count.min, planned.count.max);
                return refuse(
                    "output_count",
                    format!("made {number} of {role}, and planned {min} to {max}"),
                );
            }
        }
        Ok(())
    }

    /// May this file become this output? Asked when a guest publishes it, and at the end.
    ///
    /// # Errors
    /// `output_undeclared`, `output_key`, `output_type`.
    pub fn gate_published(&self, output: &Published<'_>) -> Result<(), GateError> {
        let (role, key) = (shown(output.role, 100), shown(output.key, 100));
        let Some(planned) = self.output(output.role) else {
            return refuse("output_undeclared", format!("published the undeclared output `{role}`"));
        };
        if output.key.parse::<OutputKey>().is_err() {
            return refuse("output_key", format!("published {role} `{key}`: a bad key"));
        }
        if output.artifact_type != planned.artifact_type {
            let (is, meant) = (output.artifact_type, planned.artifact_type);
            return refuse("output_type", format!("published a {is} as {role}, which is {meant}"));
        }
        Ok(())
    }

    fn gate_inputs(&self, opened: &[(String, u32)]) -> Result<(), GateError> {
        let is = |(role, index): &(helix_ids::Role, u32), other: &(String, u32)| {
            role.as_str() == other.0 && *index == other.1
        };
        if let Some((role, index)) = opened.iter().find(|input| !self.inputs.iter().any(|own| is(own, input)))
        {
            return refuse(
                "input_not_planned",
                format!("opened {}[{index}], which was not planned", shown(role, 100)),
            );
        }
        if let Some((role, index)) = self.inputs.iter().find(|own| !opened.iter().any(|input| is(own, input)))
        {
            return refuse("input_not_opened", format!("did not open {role}[{index}], which was planned"));
        }
        Ok(())
    }
}
