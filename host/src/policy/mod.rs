//! What an operator allows. Pure: text in, decisions out; no IO and no clock (invariant I-10).

mod containers;
mod decide;
mod diff;
pub mod edit;
mod file;
pub mod limits;
mod odd;
mod raw;
pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use helix_ids::{CanonicalJson, Digest, ImageName, ProjectId, ProjectName, RootName, ToolName, ToolpackName};

pub use containers::{BackendKind, BackendRule, DockerRule, GrantedImage, ImageRule, Pull};
pub use diff::{Change, diff};
pub use file::FILE_BYTES_MAX;
pub use limits::{
    AttemptLimits, CallerLimits, CompileLimits, GuestLimits, HostLimits, RunLimits, StepLimits,
};
pub use odd::odd;

use crate::contract::DeclaredImage;
pub use crate::contract::Wall;

/// A policy file that was read and found good, with nothing left to check. Made by
/// [`Policy::from_toml`] only.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub compile: CompileLimits,
    pub caller: CallerLimits,
    pub host: HostLimits,
    guest: Ceiling<GuestLimits>,
    step: Ceiling<StepLimits>,
    run: Ceiling<RunLimits>,
    images: Vec<ImageRule>,
    docker: Option<DockerRule>,
    components: Vec<ComponentRule>,
    denies: Vec<DenyRule>,
    projects: Vec<Project>,
    /// Of the projects, in the same order.
    project_rules: Vec<ProjectRule>,
    import_roots: Vec<(ImportRoot, Names<ProjectName>)>,
    export_roots: Vec<(ExportRoot, Names<ProjectName>)>,
    store_root: Option<PathBuf>,
    text: String,
}

/// A list of names, or all, which an operator must say explicitly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names<T> {
    All,
    These(BTreeSet<T>),
}

impl<T: Ord> Names<T> {
    #[must_use]
    pub fn holds(&self, name: &T) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// The limits that hold for all.
#[derive(Clone, Debug)]
struct Ceiling<L> {
    limits: L,
    /// Where the file states one; the others are defaults.
    lines: BTreeMap<&'static str, u32>,
}

/// A limit that a level of the file states.
struct Cap<L: 'static> {
    key: &'static limits::Key<L>,
    value: u64,
    line: u32,
}

impl<L> Clone for Cap<L> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<L> fmt::Debug for Cap<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key.name, self.key.unit.show(self.value))
    }
}

#[derive(Clone, Debug)]
struct ProjectRule {
    components: Names<ToolpackName>,
    /// The first is the default. Every one of the file, if the project does not say.
    backends: Option<Vec<BackendKind>>,
    limits: Vec<Cap<GuestLimits>>,
    line: u32,
}

#[derive(Clone, Debug)]
struct DenyRule {
    digest: Digest,
    reason: String,
    kill_running: bool,
    line: u32,
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
    /// Which of its tools.
    pub tools: Names<ToolName>,
    /// Names of `[[image]]` that its tools may start.
    pub images: BTreeSet<ImageName>,
    limits: Vec<Cap<GuestLimits>>,
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
    /// Lower `snake_case`, listed in docs/errors.md.
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
    /// The images that the tool declares.
    pub images: &'a [DeclaredImage],
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
    /// What of the tool's images may be started, in the order in which it declares them.
    pub images: Vec<GrantedImage>,
    /// How much each container step may use.
    pub step_limits: StepLimits,
    /// What a run may set going in containers.
    pub run_limits: RunLimits,
    /// Where steps run; `None` where the tool declares no image.
    pub backend: Option<BackendRule>,
    /// Where each limit came from: key, value as text, rule, line. Those of steps stand there only
    /// for a tool that declares images.
    pub limit_origins: Vec<LimitOrigin>,
    /// Whether new calls may run it. A `Replay` component runs only to make again, or go on with,
    /// what was admitted before.
    pub serve: Serve,
}

#[derive(Clone, Debug)]
pub struct LimitOrigin {
    /// As in the table of its level; `step.…` and `run.…` where it is not the guest's.
    pub key: String,
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
    /// The most memory that any guest may have; no component may ask for more to begin with.
    #[must_use]
    pub fn guest_memory_bytes(&self) -> u64 {
        self.guest.limits.memory_bytes
    }

    /// Digest of the file's text, kept with each attempt for the audit.
    #[must_use]
    pub fn file_digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn projects(&self) -> &[Project] {
        &self.projects
    }

    /// The project that a caller means: by name, by id, or by saying nothing when there is
    /// exactly one.
    ///
    /// # Errors
    /// `project_unknown`, `project_required`.
    pub fn project(&self, asked: Option<&str>) -> Result<&Project, Denial> {
        let names: Vec<&str> = self.projects.iter().map(|project| project.name.as_str()).collect();
        let advice = format!("projects: {}", names.join(" "));
        match (asked, self.projects.as_slice()) {
            (None, [only]) => Ok(only),
            (None, []) => {
                let message = "there is no project: the policy file is missing, or names none".to_owned();
                let advice = "ask the operator; `helixmcp init` writes a policy with one".to_owned();
                Err(Denial { advice, ..default_denial("project_required", message) })
            }
            (None, _) => {
                let message = "say which project: there is not exactly one".to_owned();
                Err(Denial { advice, ..default_denial("project_required", message) })
            }
            (Some(asked), projects) => projects
                .iter()
                .find(|project| project.name.as_str() == asked || project.id.to_string() == asked)
                .ok_or_else(|| Denial {
                    advice,
                    ..default_denial("project_unknown", "no such project".to_owned())
                }),
        }
    }

    #[must_use]
    pub fn components(&self) -> &[ComponentRule] {
        &self.components
    }

    /// Import roots, whoever may read from them.
    pub fn all_import_roots(&self) -> impl Iterator<Item = &ImportRoot> {
        self.import_roots.iter().map(|(root, _scope)| root)
    }

    /// Export roots, whoever may write to them.
    pub fn all_export_roots(&self) -> impl Iterator<Item = &ExportRoot> {
        self.export_roots.iter().map(|(root, _scope)| root)
    }

    /// Import roots that a project may read from.
    #[must_use]
    pub fn import_roots(&self, project: &Project) -> Vec<&ImportRoot> {
        in_scope(&self.import_roots, project).collect()
    }

    /// # Errors
    /// `import_root_unknown` (advice lists the project's own roots).
    pub fn import_root(&self, project: &Project, name: &str) -> Result<&ImportRoot, Denial> {
        let roots = self.import_roots(project);
        let found = roots.iter().find(|root| root.name.as_str() == name);
        found
            .copied()
            .ok_or_else(|| no_root("import_root_unknown", "import", roots.iter().map(|root| &root.name)))
    }

    /// Export roots that a project may write to.
    #[must_use]
    pub fn export_roots(&self, project: &Project) -> Vec<&ExportRoot> {
        in_scope(&self.export_roots, project).collect()
    }

    /// # Errors
    /// `export_root_unknown`.
    pub fn export_root(&self, project: &Project, name: &str) -> Result<&ExportRoot, Denial> {
        let roots = self.export_roots(project);
        let found = roots.iter().find(|root| root.name.as_str() == name);
        found
            .copied()
            .ok_or_else(|| no_root("export_root_unknown", "export", roots.iter().map(|root| &root.name)))
    }

    /// `[store] root`, if objects lie outside the home.
    #[must_use]
    pub fn store_root(&self) -> Option<&Path> {
        self.store_root.as_deref()
    }
}

fn in_scope<'a, R>(roots: &'a [(R, Names<ProjectName>)], project: &Project) -> impl Iterator<Item = &'a R> {
    roots.iter().filter(|(_, scope)| scope.holds(&project.name)).map(|(root, _)| root)
}

fn no_root<'a>(code: &'static str, kind: &str, own: impl Iterator<Item = &'a RootName>) -> Denial {
    let own: Vec<&str> = own.map(RootName::as_str).collect();
    let advice = if own.is_empty() {
        format!("this project has no {kind} roots; an operator adds one under [[{kind}_root]]")
    } else {
        format!("{kind} roots of this project: {}", own.join(" "))
    };
    Denial { advice, ..default_denial(code, format!("this project has no such {kind} root")) }
}

/// What nothing allowed is denied.
fn default_denial(code: &'static str, message: String) -> Denial {
    Denial { code, message, advice: String::new(), rule: "default".to_owned(), line: None }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
