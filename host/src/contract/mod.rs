//! What a toolpack says of itself: `raw` as the guest said it, [`Manifest`] once it was checked.
//!
//! Pure. A [`Manifest`] exists only if every rule of the toolpack contract holds for it, so
//! whoever has one need not check a name, a role, a type or a schema again.

pub mod arguments;
mod difference;
mod manifest;

pub mod result;
pub mod schema;
mod schema_rules;
pub mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use helix_ids::{ArtifactType, ContractVersion, ImageName, Label, PinnedImage, Role, ToolName, ToolpackName};
use serde_json::Value;

pub use arguments::{ArgumentError, Arguments, Samples};
pub use helix_runner::protocol::Wall;
pub use helix_runner::raw;
pub use manifest::ManifestError;
pub use raw::{CheckLevel, Count};
pub use result::{Report, ReportError};
pub use schema::{ToolSchemas, input_schema};

/// A toolpack's checked description. Made by [`Manifest::parse`].
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: ToolpackName,
    pub version: String,
    pub description: String,
    pub licence: String,
    pub homepage: String,
    pub tools: Vec<Tool>,
}

/// One tool of a toolpack.
#[derive(Clone, Debug)]
pub struct Tool {
    pub name: ToolName,
    pub contract: ContractVersion,
    pub title: String,
    pub description: String,
    /// JSON Schema 2020-12 of the params alone: an object, `additionalProperties: false`.
    pub params_schema: Value,
    pub result_schema: Value,
    /// Whether the params' schema has patterns: params may then take long to check.
    pub has_patterns: bool,
    /// The two schemas compiled, once for each tool.
    pub schemas: Arc<ToolSchemas>,
    pub inputs: Vec<DeclaredInput>,
    pub outputs: Vec<DeclaredOutput>,
    pub images: Vec<DeclaredImage>,
    pub read_only: bool,
    pub idempotent: bool,
    pub software: Vec<raw::Software>,
}

#[derive(Clone, Debug)]
pub struct DeclaredInput {
    pub role: Role,
    pub types: BTreeSet<ArtifactType>,
    pub count: Count,
    pub description: String,
}

#[derive(Clone, Debug)]
pub struct DeclaredOutput {
    pub role: Role,
    pub artifact_type: ArtifactType,
    pub label: Label,
    pub count: Count,
    pub description: String,
    pub check: CheckLevel,
}

/// The one platform whose images are run.
pub const PLATFORM: &str = "linux/amd64";

/// A container image that a tool may start, pinned by its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredImage {
    pub name: ImageName,
    pub reference: PinnedImage,
    pub platform: String,
}

impl Tool {
    /// The declared image of this name.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&DeclaredImage> {
        self.images.iter().find(|image| image.name.as_str() == name)
    }

    /// The declared input of this role.
    #[must_use]
    pub fn input(&self, role: &str) -> Option<&DeclaredInput> {
        self.inputs.iter().find(|input| input.role.as_str() == role)
    }

    /// The declared output of this role.
    #[must_use]
    pub fn output(&self, role: &str) -> Option<&DeclaredOutput> {
        self.outputs.iter().find(|output| output.role.as_str() == role)
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
