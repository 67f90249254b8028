//! The records that cross the border, as plain data. They mirror `wit/v1/types.wit`; what this
//! version leaves out (`extra`) must be empty.

use serde::{Deserialize, Serialize};

/// How many, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// A part that an artifact can play in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredInput {
    /// The role's name.
    pub role: String,
    /// Accepted artifact types.
    pub types: Vec<String>,
    /// How many artifacts a call may link.
    pub count: Count,
    /// For a person or model that must choose an artifact.
    pub description: String,
}

/// How thoroughly the host looks at an output's bytes before it keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// Not at all.
    None,
    /// The first bytes agree with the type.
    Sniff,
    /// The whole file is complete and well formed.
    Whole,
}

/// An output that a tool makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredOutput {
    /// The role's name.
    pub role: String,
    /// The artifact type of every member.
    pub artifact_type: String,
    /// The artifact's human name.
    pub label: String,
    /// How many members a run may make.
    pub count: Count,
    /// What it is good for.
    pub description: String,
    /// What the host checks before it keeps the bytes.
    pub check: CheckLevel,
}

/// Software that a tool stands on, for citation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Software {
    /// Its name.
    pub name: String,
    /// The version that is built in.
    pub version: String,
    /// DOI of the publication to cite.
    pub doi: Option<String>,
    /// Where it lives.
    pub url: Option<String>,
    /// SPDX expression.
    pub licence: Option<String>,
}

impl Software {
    /// Software with a name and a version, to which the other fields may be added.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), doi: None, url: None, licence: None }
    }

    /// With the DOI to cite.
    #[must_use]
    pub fn doi(mut self, doi: &str) -> Self {
        self.doi = Some(doi.to_owned());
        self
    }

    /// With the place where it lives.
    #[must_use]
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    /// With its licence, an SPDX expression.
    #[must_use]
    pub fn licence(mut self, licence: &str) -> Self {
        self.licence = Some(licence.to_owned());
        self
    }
}

/// A container image that a tool's steps may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredImage {
    /// Short name, `[a-z][a-z0-9-]{0,39}`.
    pub name: String,
    /// `registry/repository@sha256:…`, never a tag.
    pub reference: String,
    /// Such as `linux/amd64`.
    pub platform: String,
}

impl DeclaredImage {
    /// Images by name from a list with one a line: name, reference, platform. Empty lines and what stands
    /// behind `#` are skipped. Keep the list in a file of its own and include it, for a site that mirrors
    /// images has other references than yours:
    ///
    /// ```
    /// # use helix_toolpack::DeclaredImage;
    /// // const IMAGES: &str = include_str!("../images.txt");
    /// const IMAGES: &str = "
    ///     # Pinned by digest, for one platform each.
    ///     samtools registry.example/samtools@sha256:4a0d7c1f9e2b56830d1c7a94be5f02836d9e1f70a4c2b8d5e6f3a1902b7c8d4e linux/amd64
    /// ";
    /// let images = DeclaredImage::pick(IMAGES, &["samtools"]);
    /// assert_eq!((images.len(), images[0].platform.as_str()), (1, "linux/amd64"));
    /// ```
    ///
    /// # Panics
    /// When the list lacks a name, or its line has not three words. So a component that was built with a
    /// wrong list does not describe itself, and says why.
    #[must_use]
    pub fn pick(list: &str, names: &[&str]) -> Vec<Self> {
        let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
        let lines: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
        let image = |name: &&str| {
            let mut of_name = lines.iter().filter(|words| words.first() == Some(name));
            let words = of_name.next().map(Vec::as_slice).unwrap_or_default();
            assert!(
                words.len() == 3,
                "the list of images has no line `{name} registry/repository@sha256:… platform`"
            );
            let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
            Self { name: word(0), reference: word(1), platform: word(2) }
        };
        names.iter().map(image).collect()
    }
}

/// What a tool says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredTool {
    /// The name that clients call.
    pub name: String,
    /// `v1`, `v2`, …
    pub contract: String,
    /// For people.
    pub title: String,
    /// For a model that must choose a tool.
    pub description: String,
    /// JSON Schema of the params.
    pub params_schema: String,
    /// JSON Schema of the result.
    pub result_schema: String,
    /// What it reads.
    pub inputs: Vec<DeclaredInput>,
    /// What it writes.
    pub outputs: Vec<DeclaredOutput>,
    /// What its steps may run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<DeclaredImage>,
    /// Changes nothing but by its declared outputs.
    pub read_only: bool,
    /// The same call again has no further effect.
    pub idempotent: bool,
    /// What it stands on.
    pub software: Vec<Software>,
}

/// What a toolpack says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The toolpack's name.
    pub name: String,
    /// The toolpack's own version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// SPDX expression.
    pub licence: String,
    /// Where it lives.
    pub homepage: String,
    /// Its tools.
    pub tools: Vec<DeclaredTool>,
}

/// An artifact as linked to this call: never a label, an id or a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LinkedInput {
    /// The role that it plays.
    pub role: String,
    /// Position within the role, from 0.
    pub index: u32,
    /// The sample's name, if the caller gave one.
    pub sample: Option<String>,
    /// Its artifact type.
    pub artifact_type: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Its size as stored, before anything is decoded.
    pub size_bytes: u64,
}

/// A call, as a toolpack sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The tool's name.
    pub tool: String,
    /// Canonical JSON, defaults applied: exactly the bytes that were hashed into the run's id.
    pub params: String,
    /// In order of declaration, then index.
    pub inputs: Vec<LinkedInput>,
}

/// An input that the run will read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedInput {
    /// Its role.
    pub role: String,
    /// Its position within the role.
    pub index: u32,
}

/// How many members of an output role the run will make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOutput {
    /// The role.
    pub role: String,
    /// Within what is declared.
    pub count: Count,
}

/// A step that the run may start, and the most that it may have. Nothing is used that is not ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// `[a-z][a-z0-9_-]{0,39}`.
    pub name: String,
    /// Short name of a declared image.
    pub image: String,
    /// Names of environment variables that an order may set.
    pub environment: Vec<String>,
    /// How often it may be started.
    pub instances_max: u32,
    /// Processors of one.
    pub cpus_max: u32,
    /// Memory of one.
    pub memory_bytes_max: u64,
    /// Time of one.
    pub seconds_max: u64,
}

impl PlannedStep {
    /// A step that is started once, with one processor, 1 GiB of memory and an hour.
    #[must_use]
    pub fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            environment: Vec::new(),
            instances_max: 1,
            cpus_max: 1,
            memory_bytes_max: 1 << 30,
            seconds_max: 3600,
        }
    }

    /// With the names of variables that an order may set.
    #[must_use]
    pub fn environment(mut self, names: &[&str]) -> Self {
        self.environment.extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Started so often at most.
    #[must_use]
    pub fn instances(mut self, most: u32) -> Self {
        self.instances_max = most;
        self
    }

    /// With so many processors each at most.
    #[must_use]
    pub fn cpus(mut self, most: u32) -> Self {
        self.cpus_max = most;
        self
    }

    /// With so much memory each at most.
    #[must_use]
    pub fn memory_bytes(mut self, most: u64) -> Self {
        self.memory_bytes_max = most;
        self
    }

    /// With so much time each at most.
    #[must_use]
    pub fn seconds(mut self, most: u64) -> Self {
        self.seconds_max = most;
        self
    }
}

/// What a call would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Exactly the linked inputs.
    pub inputs: Vec<PlannedInput>,
    /// One entry for each declared role.
    pub outputs: Vec<PlannedOutput>,
    /// Each with a name of its own.
    pub steps: Vec<PlannedStep>,
}

impl Proposal {
    /// A proposal that reads all that is linked, to which outputs may be added.
    #[must_use]
    pub fn reading(inputs: &[LinkedInput]) -> Self {
        let planned = |input: &LinkedInput| PlannedInput { role: input.role.clone(), index: input.index };
        Self { inputs: inputs.iter().map(planned).collect(), outputs: Vec::new(), steps: Vec::new() }
    }

    /// With `min` to `max` members of an output role. Every declared role must be named.
    #[must_use]
    pub fn writing(mut self, role: &str, min: u32, max: u32) -> Self {
        self.outputs.push(PlannedOutput { role: role.to_owned(), count: Count { min, max } });
        self
    }

    /// With a step that the run may start.
    #[must_use]
    pub fn starting(mut self, step: PlannedStep) -> Self {
        self.steps.push(step);
        self
    }
}
