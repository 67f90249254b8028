//! What is not wrong in a policy, and still is hardly what its author meant.

use std::collections::BTreeSet;

use super::decide::project_title;
use super::{Cap, GuestLimits, Names, Policy, Serve};

/// One line for each oddity, with its line in the file.
#[must_use]
pub fn odd(policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    odd_components(policy, &mut lines);
    odd_projects(policy, &mut lines);
    odd_images(policy, &mut lines);
    odd_roots(policy, &mut lines);
    lines
}

fn odd_components(policy: &Policy, lines: &mut Vec<String>) {
    let names: BTreeSet<_> = policy.components.iter().map(|rule| &rule.name).collect();
    for name in names {
        let mut rules = policy.components.iter().filter(|rule| rule.name == *name);
        if !rules.any(|rule| rule.serve == Serve::Offered) {
            lines.push(format!("no [[component]] {name} has `serve = true`, so it is not offered"));
        }
    }
    for rule in &policy.components {
        let (title, line) = (rule.title(), rule.line);
        if let Some(deny) = policy.denies.iter().find(|deny| deny.digest == rule.digest) {
            lines.push(format!("line {line}: {title} has no effect: line {} denies its digest", deny.line));
        }
        if !policy.project_rules.iter().any(|project| project.components.holds(&rule.name)) {
            lines.push(format!("line {line}: {title} stands in no project, so nobody may run it"));
        }
        if matches!(&rule.tools, Names::These(tools) if tools.is_empty()) {
            lines.push(format!("line {line}: {title} allows none of its tools"));
        }
        for name in rule.images.iter().filter(|name| !policy.images.iter().any(|image| image.name == **name))
        {
            lines
                .push(format!("line {line}: {title} lists the image `{name}`, and no [[image]] is named so"));
        }
        above_ceiling(policy, &title, &rule.limits, lines);
    }
}

fn odd_images(policy: &Policy, lines: &mut Vec<String>) {
    for rule in &policy.images {
        let (title, line, digest) = (rule.title(), rule.line, rule.image.digest());
        if !policy.components.iter().any(|component| component.images.contains(&rule.name)) {
            lines.push(format!("line {line}: {title} stands in no [[component]], so nobody may start it"));
        }
        if let Some(deny) = policy.denies.iter().find(|deny| deny.digest == digest) {
            lines.push(format!("line {line}: {title} has no effect: line {} denies its digest", deny.line));
        }
    }
    match (&policy.docker, policy.images.first()) {
        (None, Some(rule)) => lines.push(format!(
            "line {}: {} cannot run: there is no backend, such as [backend.docker]",
            rule.line,
            rule.title()
        )),
        (Some(_), None) => lines.push("there is [backend.docker], and no [[image]] to run on it".to_owned()),
        (Some(_), Some(_)) | (None, None) => {}
    }
}

fn odd_projects(policy: &Policy, lines: &mut Vec<String>) {
    if policy.projects.is_empty() {
        lines.push("there is no [[project]], so nobody can do anything".to_owned());
    }
    for (project, rule) in policy.projects.iter().zip(&policy.project_rules) {
        let title = project_title(project);
        if let Names::These(names) = &rule.components {
            for name in names.iter().filter(|name| !policy.components.iter().any(|rule| rule.name == **name))
            {
                lines.push(format!(
                    "line {}: {title} lists `{name}`, and no [[component]] is named so",
                    rule.line
                ));
            }
        }
        for kind in rule.backends.iter().flatten().filter(|kind| policy.backend(**kind).is_none()) {
            let line = rule.line;
            lines.push(format!(
                "line {line}: {title} lists the backend `{kind}`, and there is no [backend.{kind}]"
            ));
        }
        above_ceiling(policy, &title, &rule.limits, lines);
    }
}

fn odd_roots(policy: &Policy, lines: &mut Vec<String>) {
    let imports =
        policy.import_roots.iter().map(|(root, scope)| ("import", &root.name, &root.path, root.line, scope));
    let exports =
        policy.export_roots.iter().map(|(root, scope)| ("export", &root.name, &root.path, root.line, scope));
    for (kind, name, path, line, scope) in imports.chain(exports) {
        if matches!(scope, Names::These(projects) if projects.is_empty()) {
            lines.push(format!("line {line}: [[{kind}_root]] {name} is for no project"));
        }
        if policy.store_root.as_ref().is_some_and(|store| path.starts_with(store) || store.starts_with(path))
        {
            lines.push(format!("line {line}: [[{kind}_root]] {name} and [store] root lie in one another"));
        }
    }
    for (export, _) in &policy.export_roots {
        for (import, _) in &policy.import_roots {
            if import.path.starts_with(&export.path) || export.path.starts_with(&import.path) {
                lines.push(format!(
                    "line {}: [[export_root]] {} and [[import_root]] {} lie in one another, so an export can change what is imported",
                    export.line, export.name, import.name
                ));
            }
        }
    }
}

fn above_ceiling(policy: &Policy, title: &str, caps: &[Cap<GuestLimits>], lines: &mut Vec<String>) {
    for cap in caps {
        let ceiling = cap.key.get(&policy.guest.limits);
        if cap.value > ceiling {
            let (key, value, ceiling) = (cap.key.name, cap.key.show(cap.value), cap.key.show(ceiling));
            lines.push(format!(
                "line {}: {title} sets {key} = {value}, above the ceiling of {ceiling} in [limits.guest]; the ceiling holds",
                cap.line
            ));
        }
    }
}
