//! The names of things in HelixMCP: digests, ids, names, artifact types, pinned images and the
//! canonical JSON from which run ids follow.
//!
//! A leaf crate: it knows no network, no database and no WebAssembly, so that a small verifier
//! can stand on it alone.

pub mod artifact_type;
pub mod canonical;
pub mod crockford;
pub mod digest;
pub mod id;
pub mod identity;
pub mod image;
pub mod name;
pub mod text;

pub use artifact_type::ArtifactType;
pub use canonical::{CanonicalJson, StrictError};
pub use digest::{Digest, DigestWriter, ParseDigestError};
pub use id::{ArtifactId, DenialId, ProjectId, RunId};
pub use identity::{PolicyHash, RunIdentity};
pub use image::{ContainerUser, PinnedImage};
pub use name::{
    ContractVersion, EnvName, ImageName, Label, NameError, OutputKey, ProjectName, RelName, Role, RootName,
    SampleName, StepName, ToolName, ToolpackName,
};
