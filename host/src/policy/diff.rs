//! What changes between two policies, by decisions and not by text.
//!
//! Every decision that either file can tell from another is asked of both: each project, each
//! listed digest, each listed tool and one that no list names.

mod containers;

use std::collections::BTreeSet;
use std::path::Path;

use helix_ids::{Digest, ProjectName, ToolName, ToolpackName};

use crate::contract::Wall;

use self::containers::{docker, images, killed};
use super::limits::{CALLER_KEYS, COMPILE_KEYS, GUEST_KEYS, HOST_KEYS, Key, RUN_KEYS, STEP_KEYS};
use super::{ComponentRule, Grant, Names, Policy, Project, Question, Serve};

/// One decision that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Something is allowed now that was not.
    pub wider: bool,
    pub what: String,
}

/// Every decision that differs.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Changes::default();
    let projects: BTreeSet<&ProjectName> =
        old.projects.iter().chain(&new.projects).map(|project| &project.name).collect();
    for name in projects {
        let has = |policy: &Policy| policy.projects.iter().any(|project| project.name == *name);
        changes.flag(&format!("project {name}"), has(old), has(new));
        let found = old.projects.iter().chain(&new.projects).find(|project| project.name == *name);
        if let Some(project) = found {
            components(old, new, project, &mut changes);
            images(old, new, project, &mut changes);
            import_roots(old, new, project, &mut changes);
            export_roots(old, new, project, &mut changes);
        }
    }
    offers(old, new, &mut changes);
    limits("limits.compile", COMPILE_KEYS, &old.compile, &new.compile, &mut changes);
    docker(old, new, &mut changes);
    killed(old, new, &mut changes);
    limits("limits.step", STEP_KEYS, &old.step.limits, &new.step.limits, &mut changes);
    limits("limits.run", RUN_KEYS, &old.run.limits, &new.run.limits, &mut changes);
    limits("limits.caller", CALLER_KEYS, &old.caller, &new.caller, &mut changes);
    limits("limits.host", HOST_KEYS, &old.host, &new.host, &mut changes);
    for wall in Wall::ALL {
        // What is required no more may be missing now.
        let may_lack = |policy: &Policy| !policy.host.require.contains(&wall);
        let what = format!("limits.host: a runner without the wall `{}`", wall.name());
        changes.flag(&what, may_lack(old), may_lack(new));
    }
    if old.host.cgroups != new.host.cgroups {
        changes.push(new.host.cgroups.is_empty(), "limits.host: the cgroups changed".to_owned());
    }
    if old.store_root != new.store_root {
        changes.push(false, "the store lies elsewhere".to_owned());
    }
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn push(&mut self, wider: bool, what: String) {
        self.0.push(Change { wider, what });
    }

    fn flag(&mut self, what: &str, old: bool, new: bool) {
        match (old, new) {
            (false, true) => self.push(true, format!("{what}: allowed now")),
            (true, false) => self.push(false, format!("{what}: no longer allowed")),
            (true, true) | (false, false) => {}
        }
    }

    fn value<L: Clone>(&mut self, what: &str, key: &Key<L>, old: u64, new: u64) {
        if old != new {
            let wider = (new > old) != key.reserve;
            self.push(wider, format!("{what}: {} {} became {}", key.name, key.show(old), key.show(new)));
        }
    }
}

fn limits<L: Clone>(what: &str, keys: &[Key<L>], old: &L, new: &L, changes: &mut Changes) {
    for key in keys {
        changes.value(what, key, key.get(old), key.get(new));
    }
}

fn components(old: &Policy, new: &Policy, project: &Project, changes: &mut Changes) {
    for (digest, name, tool) in questions(old, new) {
        let asked = |policy: &Policy, tool: &ToolName| -> Option<Grant> {
            let question = Question { project, component: digest, toolpack: &name, tool, images: &[] };
            policy.decide(&question).verdict.ok()
        };
        let (shown, tool) = match &tool {
            Some(tool) => (tool.to_string(), tool.clone()),
            None => match unlisted_tool(old, new) {
                Some(tool) if has_list(old, new, &digest) => ("every other tool".to_owned(), tool),
                Some(tool) => ("every tool".to_owned(), tool),
                None => continue,
            },
        };
        let what = format!("project {}: {name} {digest}: {shown}", project.name);
        match (asked(old, &tool), asked(new, &tool)) {
            (Some(old), Some(new)) => limits(&what, GUEST_KEYS, &old.limits, &new.limits, changes),
            (before, after) => changes.flag(&what, before.is_some(), after.is_some()),
        }
    }
}

/// Each digest under each of its names, with each listed tool, and with `None` for all others.
fn questions(old: &Policy, new: &Policy) -> BTreeSet<(Digest, ToolpackName, Option<ToolName>)> {
    let rules = || old.components.iter().chain(&new.components);
    let mut questions = BTreeSet::new();
    for rule in rules() {
        let same: Vec<&ComponentRule> = rules().filter(|other| other.digest == rule.digest).collect();
        for name in same.iter().map(|rule| &rule.name) {
            questions.insert((rule.digest, name.clone(), None));
            for tools in same.iter().map(|rule| &rule.tools) {
                let Names::These(tools) = tools else { continue };
                questions.extend(tools.iter().map(|tool| (rule.digest, name.clone(), Some(tool.clone()))));
            }
        }
    }
    questions
}

/// Does either file list tools of this digest by name?
fn has_list(old: &Policy, new: &Policy, digest: &Digest) -> bool {
    let mut rules = old.components.iter().chain(&new.components).filter(|rule| rule.digest == *digest);
    rules.any(|rule| matches!(rule.tools, Names::These(_)))
}

/// A tool's name that stands in no list of either file.
fn unlisted_tool(old: &Policy, new: &Policy) -> Option<ToolName> {
    let listed = |tool: &ToolName| {
        let rules = old.components.iter().chain(&new.components);
        rules
            .filter_map(|rule| match &rule.tools {
                Names::These(tools) => Some(tools),
                Names::All => None,
            })
            .any(|tools| tools.contains(tool))
    };
    (0u64..).filter_map(|number| format!("any_{number}").parse().ok()).find(|tool| !listed(tool))
}

fn offers(old: &Policy, new: &Policy, changes: &mut Changes) {
    let digests: BTreeSet<(&Digest, &ToolpackName)> =
        old.components.iter().chain(&new.components).map(|rule| (&rule.digest, &rule.name)).collect();
    for (digest, name) in digests {
        let offered = |policy: &Policy| {
            policy
                .admit_component(digest)
                .is_ok_and(|rule| rule.serve == Serve::Offered && rule.name == *name)
        };
        match (offered(old), offered(new)) {
            (false, true) => changes.push(true, format!("{name} {digest}: offered now")),
            (true, false) => changes.push(false, format!("{name} {digest}: no longer offered")),
            (true, true) | (false, false) => {}
        }
    }
}

/// A root that moved is wider unless it moved further in.
fn moved(changes: &mut Changes, what: &str, old: &Path, new: &Path) {
    if old != new {
        changes.push(!new.starts_with(old), format!("{what}: {} became {}", old.display(), new.display()));
    }
}

fn import_roots(old: &Policy, new: &Policy, project: &Project, changes: &mut Changes) {
    let (before, after) = (old.import_roots(project), new.import_roots(project));
    let names: BTreeSet<_> = before.iter().chain(&after).map(|root| &root.name).collect();
    for name in names {
        let what = format!("project {}: import root {name}", project.name);
        let find =
            |roots: &[&super::ImportRoot]| roots.iter().find(|root| root.name == *name).copied().cloned();
        match (find(&before), find(&after)) {
            (Some(old), Some(new)) => {
                moved(changes, &what, &old.path, &new.path);
                // No limit of its own is the widest.
                let size = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
                if old.max_file_bytes != new.max_file_bytes {
                    let wider = size(new.max_file_bytes) > size(old.max_file_bytes);
                    changes.push(wider, format!("{what}: max_file changed"));
                }
            }
            (old, new) => changes.flag(&what, old.is_some(), new.is_some()),
        }
    }
}

fn export_roots(old: &Policy, new: &Policy, project: &Project, changes: &mut Changes) {
    let (before, after) = (old.export_roots(project), new.export_roots(project));
    let names: BTreeSet<_> = before.iter().chain(&after).map(|root| &root.name).collect();
    for name in names {
        let what = format!("project {}: export root {name}", project.name);
        let find =
            |roots: &[&super::ExportRoot]| roots.iter().find(|root| root.name == *name).copied().cloned();
        match (find(&before), find(&after)) {
            (Some(old), Some(new)) => {
                moved(changes, &what, &old.path, &new.path);
                changes.flag(&format!("{what}: overwrite"), old.overwrite, new.overwrite);
            }
            (old, new) => changes.flag(&what, old.is_some(), new.is_some()),
        }
    }
}
