//! What an operator allows. Pure: text in, decisions out; no IO and no clock (invariant I-10).

pub mod limits;

use std::path::PathBuf;

use helix_ids::{
    CanonicalJson, Digest, ImageName, PinnedImage, ProjectId, ProjectName, RootName, ToolName,
    ToolpackName,
};

pub use limits::{CallerLimits, CompileLimits, GuestLimits, HostLimits};

/// A policy file that was read and found good, with nothing left to check.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub compile: CompileLimits,
    pub caller: CallerLimits,
    pub host: HostLimits,
    // the rest is the helper's
}

#[derive(Clone, Debug)]
pub struct Project {
    pub name: ProjectName,
    pub id: ProjectId,
}

/// Whether a component's tools are offered, or only answer from what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    Offered,
    Replay,
}

#[derive(Clone, Debug)]
pub struct ComponentRule {
    pub digest: Digest,
    pub name: ToolpackName,
    pub serve: Serve,
    /// Line of its `[[component]]` in the file.
    pub line: u32,
}

#[derive(Clone, Debug)]
pub struct ImportRoot {
    pub name: RootName,
    pub path: PathBuf,
    pub max_file_bytes: Option<u64>,
    pub line: u32,
}

#[derive(Clone, Debug)]
pub struct ExportRoot {
    pub name: RootName,
    pub path: PathBuf,
    pub overwrite: bool,
    pub line: u32,
}

/// Why not: what the caller sees of it is `code` and `advice`; rule and line are the operator's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denial {
    /// Lower snake_case, listed in docs/errors.md.
    pub code: &'static str,
    /// For the caller: never the rest of the policy.
    pub message: String,
    /// The caller's own permitted alternatives (its roots, sizes), if there are any.
    pub advice: String,
    /// Which rule said so, e.g. `[[component]] reads-qc`; "default" where nothing allowed it.
    pub rule: String,
    /// Line in the policy file, where there is one.
    pub line: Option<u32>,
}

/// May this tool of this component run in this project?
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub project: &'a Project,
    pub component: Digest,
    pub toolpack: &'a ToolpackName,
    pub tool: &'a ToolName,
    /// The images that the tool declares: name, pinned reference, platform.
    pub images: &'a [(ImageName, PinnedImage, String)],
}

/// The answer, and how it came about. Enforcement and `policy explain` are this one function.
#[derive(Debug)]
pub struct Decision {
    pub verdict: Result<Grant, Denial>,
    /// Each rule that was looked at, in order, with its line and what it said.
    pub consulted: Vec<Consulted>,
}

#[derive(Clone, Debug)]
pub struct Consulted {
    pub rule: String,
    pub line: Option<u32>,
    pub effect: String,
}

/// What was allowed.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Canonical policy slice: what may execute, not how much. Its digest is the policy hash.
    pub slice: CanonicalJson,
    /// min(ceiling, project, component).
    pub limits: GuestLimits,
    /// Where each limit came from: key, value as text, rule, line.
    pub limit_origins: Vec<LimitOrigin>,
}

#[derive(Clone, Debug)]
pub struct LimitOrigin {
    pub key: &'static str,
    pub value: String,
    pub rule: String,
    pub line: Option<u32>,
}

/// One thing that is wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct PolicyProblem {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

/// Everything that is wrong with a policy file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PolicyError(pub Vec<PolicyProblem>);

impl Policy {
    /// Reads a policy. One bad entry refuses the whole file: half a policy is not a policy.
    ///
    /// # Errors
    /// Every problem found, with line and column.
    pub fn from_toml(_text: &str) -> Result<Self, PolicyError> {
        unimplemented!()
    }

    /// Digest of the file's text, kept with each attempt for the audit.
    pub fn file_digest(&self) -> Digest {
        unimplemented!()
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        unimplemented!()
    }

    pub fn projects(&self) -> &[Project] {
        unimplemented!()
    }

    /// The project that a caller means: by name, by id, or by saying nothing when there is
    /// exactly one.
    ///
    /// # Errors
    /// `project_unknown`, `project_required`.
    pub fn project(&self, _asked: Option<&str>) -> Result<&Project, Denial> {
        unimplemented!()
    }

    pub fn components(&self) -> &[ComponentRule] {
        unimplemented!()
    }

    /// The rule that lists this digest; the one gate before anything parses a component (I-2).
    ///
    /// # Errors
    /// `component_not_allowed`, `component_denied`.
    pub fn admit_component(&self, _digest: &Digest) -> Result<&ComponentRule, Denial> {
        unimplemented!()
    }

    /// May this tool run, and under which limits?
    pub fn decide(&self, _question: &Question<'_>) -> Decision {
        unimplemented!()
    }

    /// Import roots that a project may read from.
    pub fn import_roots(&self, _project: &Project) -> Vec<&ImportRoot> {
        unimplemented!()
    }

    /// # Errors
    /// `import_root_unknown` (advice lists the project's own roots).
    pub fn import_root(&self, _project: &Project, _name: &str) -> Result<&ImportRoot, Denial> {
        unimplemented!()
    }

    pub fn export_roots(&self, _project: &Project) -> Vec<&ExportRoot> {
        unimplemented!()
    }

    /// # Errors
    /// `export_root_unknown`.
    pub fn export_root(&self, _project: &Project, _name: &str) -> Result<&ExportRoot, Denial> {
        unimplemented!()
    }

    /// `[store] root`, if objects lie outside the home.
    pub fn store_root(&self) -> Option<&std::path::Path> {
        unimplemented!()
    }
}
