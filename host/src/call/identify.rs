//! Step 8, first half: which run a linked call is (invariant I-6).

use std::sync::Arc;

use helix_ids::{Digest, Role, RunId, RunIdentity};
use serde_json::{Value, json};

use super::link::LinkedInput;
use super::{CallError, Context, Host, LinkedCall};
use crate::catalog::Toolpack;
use crate::contract::{Tool, raw};
use crate::ledger::{NewRun, RunInput};
use crate::policy::{Denial, Grant, GrantedImage, Policy, Project, Question};
use crate::run::{Guest, JobInput};
use crate::sandbox::profile::engine_profile;

/// A linked call that policy allows, and the run that it is.
///
/// Invariant: `record` holds exactly the bytes that stand in `envelope`.
#[derive(Clone, Debug)]
pub struct IdentifiedCall {
    linked: LinkedCall,
    grant: Grant,
    identity: RunIdentity,
    envelope: String,
    record: raw::Call,
}

/// While a call was planned, policy became another.
#[derive(Debug, thiserror::Error)]
pub enum Overtaken {
    #[error("policy no longer allows it")]
    Denied(#[source] Denial),
    /// Allowed, but not as it was planned: under other limits, or no longer for new calls.
    #[error("the policy changed while this call was planned: make it again")]
    Changed,
}

/// Asks policy, as it is now, and derives the run's identity.
///
/// # Errors
/// [`CallError::Denied`].
pub async fn identify(
    host: &Arc<Host>,
    context: &Context,
    linked: LinkedCall,
) -> Result<IdentifiedCall, CallError> {
    let offered = &linked.offered;
    let grant = match decided(&host.policy(), &linked) {
        Ok(grant) => grant,
        Err(denial) => {
            let tool = Some(offered.tool.name.as_str());
            return Err(host.deny(context, Some(&linked.project), tool, denial).await);
        }
    };
    let envelope = envelope(&linked, &grant);
    let canonical = helix_ids::CanonicalJson::of(&envelope).map_err(CallError::fault)?;
    let identity =
        RunIdentity::new(offered.tool.name.clone(), offered.tool.contract.clone(), &grant.slice, &canonical);
    let record = record(&linked);
    Ok(IdentifiedCall { grant, identity, envelope: canonical.to_string(), record, linked })
}

/// What policy says of a linked call.
fn decided(policy: &Policy, linked: &LinkedCall) -> Result<Grant, Denial> {
    let offered = &linked.offered;
    let question = Question {
        project: &linked.project,
        component: offered.toolpack.digest,
        toolpack: &offered.toolpack.manifest.name,
        tool: &offered.tool.name,
        images: &offered.tool.images,
    };
    policy.decide(&question).verdict
}

/// Every field that a guest or a container can observe, and nothing else.
fn envelope(linked: &LinkedCall, grant: &Grant) -> Value {
    let (backend, images) = envelope_containers(grant);
    json!({
        "envelope": 1,
        "project": linked.project.id,
        "component": linked.offered.toolpack.digest,
        "engine": engine_profile(),
        "params": linked.params.to_value(),
        "inputs": linked.inputs.iter().map(envelope_input).collect::<Vec<_>>(),
        "backend": backend,
        "images": images,
    })
}

/// The kind of backend, null without images; and the images that the tool declares, in its order.
fn envelope_containers(grant: &Grant) -> (Value, Value) {
    let image = |image: &GrantedImage| json!({ "name": image.name, "digest": image.image.digest(), "platform": image.platform });
    let backend = grant.backend.as_ref().map(|backend| backend.kind().as_str());
    (json!(backend), grant.images.iter().map(image).collect())
}

fn envelope_input(input: &LinkedInput) -> Value {
    let mut entry = json!({
        "role": input.role,
        "index": input.index,
        "type": input.artifact.artifact_type,
        "digest": input.artifact.digest,
        "size": input.artifact.size_bytes,
    });
    if let (Some(sample), Some(entry)) = (&input.sample, entry.as_object_mut()) {
        entry.insert("sample".to_owned(), json!(sample));
    }
    entry
}

/// The call as the guest sees it: from the same values as the envelope.
fn record(linked: &LinkedCall) -> raw::Call {
    let inputs = linked.inputs.iter().map(|input| raw::LinkedInput {
        role: input.role.to_string(),
        index: input.index,
        sample: input.sample.as_ref().map(ToString::to_string),
        artifact_type: input.artifact.artifact_type.to_string(),
        digest: input.artifact.digest.to_string(),
        size_bytes: input.artifact.size_bytes,
    });
    raw::Call {
        tool: linked.offered.tool.name.to_string(),
        params: linked.params.to_string(),
        inputs: inputs.collect(),
    }
}

impl IdentifiedCall {
    /// Whether this policy still says of the call what was said when it was identified.
    ///
    /// # Errors
    /// [`Overtaken`].
    pub fn ask_again(&self, policy: &Policy) -> Result<(), Overtaken> {
        let now = decided(policy, &self.linked).map_err(Overtaken::Denied)?;
        let is_same = |then: &Grant| {
            (&then.slice, &then.limits, then.serve) == (&now.slice, &now.limits, now.serve)
                // Where no step can start, what holds for steps is of no account.
                && (then.images.is_empty()
                    || (&then.step_limits, &then.run_limits, &then.images, &then.backend)
                        == (&now.step_limits, &now.run_limits, &now.images, &now.backend))
        };
        if is_same(&self.grant) { Ok(()) } else { Err(Overtaken::Changed) }
    }

    pub fn run_id(&self) -> RunId {
        self.identity.run_id()
    }

    pub fn digest(&self) -> Digest {
        self.identity.digest()
    }

    pub fn project(&self) -> &Project {
        &self.linked.project
    }

    pub fn toolpack(&self) -> &Toolpack {
        &self.linked.offered.toolpack
    }

    pub fn tool(&self) -> &Tool {
        &self.linked.offered.tool
    }

    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What the guest is told.
    pub fn record(&self) -> &raw::Call {
        &self.record
    }

    /// (role, index) of each linked input, in order.
    pub fn linked_inputs(&self) -> Vec<(Role, u32)> {
        self.linked.inputs.iter().map(|input| (input.role.clone(), input.index)).collect()
    }

    /// The row of this run.
    pub fn new_run(&self) -> NewRun {
        let RunIdentity { tool, contract, policy_hash, params_hash } = self.identity.clone();
        let inputs = self.linked.inputs.iter().map(|input| RunInput {
            role: input.role.clone(),
            index: input.index,
            sample: input.sample.clone(),
            artifact: input.artifact.id,
        });
        NewRun {
            id: self.run_id(),
            digest: self.digest(),
            project: self.linked.project.id,
            tool,
            contract,
            component: self.linked.offered.toolpack.digest,
            params_hash,
            policy_hash,
            envelope: self.envelope.clone(),
            slice: self.grant.slice.to_string(),
            inputs: inputs.collect(),
        }
    }

    /// What a runner needs to execute this call.
    pub fn guest(&self) -> Guest {
        let inputs = self.linked.inputs.iter().map(|input| JobInput {
            role: input.role.to_string(),
            index: input.index,
            artifact: input.artifact.id,
            digest: input.artifact.digest,
            size_bytes: input.artifact.size_bytes,
        });
        Guest {
            component: self.linked.offered.toolpack.compiled.clone(),
            tool: Arc::clone(&self.linked.offered.tool),
            record: self.record.clone(),
            inputs: inputs.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixtures;

    /// What stands in an envelope never changes: the ids of all runs follow from it.
    #[test]
    fn i6_the_envelope_holds_kind_of_backend_and_each_image() {
        let (backend, images) = envelope_containers(&fixtures::grant());
        assert_eq!((backend, images), (json!(null), json!([])));

        let grant = fixtures::grant_of(fixtures::images(&["bwa", "samtools"]));
        let (backend, images) = envelope_containers(&grant);
        let digest = format!("sha256:{}", "5".repeat(64));
        let golden = json!([
            { "name": "bwa", "digest": digest, "platform": "linux/amd64" },
            { "name": "samtools", "digest": digest, "platform": "linux/amd64" },
        ]);
        assert_eq!((backend, images), (json!("docker"), golden));
    }
}
