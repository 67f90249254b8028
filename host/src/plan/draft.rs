//! The one door from what a guest proposed to a [`Draft`].

use std::collections::BTreeSet;

use helix_ids::Role;

use crate::contract::text::shown;
use crate::contract::{Count, Tool, raw};
use crate::policy::Denial;

/// A proposal that speaks only of what its tool declares. Nothing has admitted it yet.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) inputs: Vec<(Role, u32)>,
    pub(super) outputs: Vec<(Role, Count)>,
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
    /// Checks that a proposal names declared roles only, each output role exactly once, nothing
    /// twice, and uses nothing that this version lacks.
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
        if !proposal.steps.is_empty() {
            return refuse("steps_not_supported", "the proposal has steps, and this version runs none");
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
        Ok(Self { inputs: inputs.into_iter().collect(), outputs })
    }
}
