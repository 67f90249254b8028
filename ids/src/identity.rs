//! How a run's id follows from a call, and an artifact's from its bytes.

use std::fmt;

use crate::ArtifactType;
use crate::canonical::CanonicalJson;
use crate::digest::Digest;
use crate::id::{ArtifactId, ProjectId, RunId};
use crate::name::{ContractVersion, ProjectName, ToolName};

/// Digest of the policy slice under which a run was admitted.
pub type PolicyHash = Digest;

/// The four things from which a run's id follows, and nothing else (invariant I-6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIdentity {
    /// The tool's name.
    pub tool: ToolName,
    /// The tool's contract version.
    pub contract: ContractVersion,
    /// Digest of the canonical policy slice.
    pub policy_hash: Digest,
    /// Digest of the canonical envelope.
    pub params_hash: Digest,
}

impl RunIdentity {
    /// Makes the identity from the canonical texts that stand behind the two hashes.
    #[must_use]
    pub fn new(
        tool: ToolName,
        contract: ContractVersion,
        slice: &CanonicalJson,
        envelope: &CanonicalJson,
    ) -> Self {
        Self { tool, contract, policy_hash: slice.digest(), params_hash: envelope.digest() }
    }

    /// The full digest; compared before a stored run is used.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_string().as_bytes())
    }

    /// The run's id: the first 128 bits of [`Self::digest`].
    #[must_use]
    pub fn run_id(&self) -> RunId {
        RunId::from_digest(&self.digest())
    }
}

/// The preimage of the run's digest.
impl fmt::Display for RunIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, contract, policy_hash, params_hash } = self;
        write!(f, "tool={tool}|contract={contract}|policy={policy_hash}|params={params_hash}|")
    }
}

/// The id of a project with this name.
#[must_use]
pub fn project_id(name: &ProjectName) -> ProjectId {
    ProjectId::from_digest(&Digest::of(format!("project={name}|").as_bytes()))
}

/// The id of the artifact that these bytes under this type are in this project.
#[must_use]
pub fn artifact_id(project: ProjectId, digest: Digest, artifact_type: ArtifactType) -> ArtifactId {
    let preimage = format!("artifact|project={project}|digest={digest}|type={artifact_type}|");
    ArtifactId::from_digest(&Digest::of(preimage.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the original HelixMCP: its ids can be recomputed.
    #[test]
    fn i6_run_id_follows_from_four_things() {
        let policy = "sha256:1616a243386ac56ef829913c5bb4854fe4729e89a33de7d8380217b8c27be20c";
        let cases = [
            (
                "simulate_qc_fastq",
                "sha256:72e69bb0107da76cc4b261dff1349a1ee5f63501b8f6b552f20b14bbf8beaf4d",
                "run_4JM8CZP8W8Z52Q94G9GZ9DKGEG",
            ),
            (
                "artifact_import",
                "sha256:1a396b564423ae37b9c17a56d4714fabe172ae63208e7e9c7e63df15c537cf15",
                "run_0GDPDY0MPPN2H4VCD5CGX94MGG",
            ),
        ];
        for (tool, params, expected) in cases {
            let identity = RunIdentity {
                tool: tool.parse().unwrap(),
                contract: "v1".parse().unwrap(),
                policy_hash: policy.parse().unwrap(),
                params_hash: params.parse().unwrap(),
            };
            assert_eq!(identity.run_id().to_string(), expected);

            let flips = [
                RunIdentity { tool: "other".parse().unwrap(), ..identity.clone() },
                RunIdentity { contract: "v2".parse().unwrap(), ..identity.clone() },
                RunIdentity { policy_hash: identity.params_hash, ..identity.clone() },
                RunIdentity { params_hash: identity.policy_hash, ..identity.clone() },
            ];
            for flipped in flips {
                assert_ne!(flipped.run_id(), identity.run_id());
            }
        }
    }
}
