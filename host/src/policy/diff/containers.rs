//! What changes of containers: which images may be started by whom, as whom, and where.

use std::collections::BTreeSet;

use helix_ids::{Digest, ImageName, PinnedImage, ToolName, ToolpackName};

use super::{Changes, unlisted_tool};
use crate::contract::DeclaredImage;
use crate::policy::{ComponentRule, GrantedImage, Names, Policy, Project, Pull, Question};

/// Each image that either file allows to some component, asked of both.
pub(super) fn images(old: &Policy, new: &Policy, project: &Project, changes: &mut Changes) {
    let tool = unlisted_tool(old, new);
    let rules = || old.components.iter().chain(&new.components);
    let components: BTreeSet<(Digest, &ToolpackName)> =
        rules().map(|rule| (rule.digest, &rule.name)).collect();
    for (digest, name) in components {
        let listed: BTreeSet<_> =
            rules().filter(|rule| rule.digest == digest).flat_map(|rule| &rule.images).collect();
        for image in declared(old, new).iter().filter(|image| listed.contains(&image.name)) {
            let asked = |policy: &Policy| granted(policy, project, digest, name, tool.as_ref(), image);
            let what = format!(
                "project {}: {name} {digest}: image {} {}",
                project.name, image.name, image.reference
            );
            match (asked(old), asked(new)) {
                // Which of two users may do more, no policy can tell.
                (Some(old), Some(new)) if old.user != new.user => {
                    changes.push(true, format!("{what}: user {} became {}", old.user, new.user));
                }
                (before, after) => changes.flag(&what, before.is_some(), after.is_some()),
            }
        }
    }
}

/// Every image of either file, as a tool would declare it, each once.
fn declared(old: &Policy, new: &Policy) -> Vec<DeclaredImage> {
    let rules = old.images.iter().chain(&new.images);
    let all: BTreeSet<_> = rules.map(|rule| (&rule.name, &rule.image, &rule.platform)).collect();
    let one = |(name, reference, platform): (&ImageName, &PinnedImage, &String)| DeclaredImage {
        name: name.clone(),
        reference: reference.clone(),
        platform: platform.clone(),
    };
    all.into_iter().map(one).collect()
}

/// Whether some tool of the component may start the image.
fn granted(
    policy: &Policy,
    project: &Project,
    component: Digest,
    toolpack: &ToolpackName,
    unlisted: Option<&ToolName>,
    image: &DeclaredImage,
) -> Option<GrantedImage> {
    let rule: &ComponentRule = policy.admit_component(&component).ok()?;
    let tool = match &rule.tools {
        Names::All => unlisted?,
        Names::These(tools) => tools.first()?,
    };
    let images = std::slice::from_ref(image);
    let grant = policy.decide(&Question { project, component, toolpack, tool, images }).verdict.ok()?;
    grant.images.into_iter().next()
}

/// The backend itself: where it listens and how it starts a container.
pub(super) fn docker(old: &Policy, new: &Policy, changes: &mut Changes) {
    let (Some(before), Some(after)) = (&old.docker, &new.docker) else {
        return changes.flag("backend docker", old.docker.is_some(), new.docker.is_some());
    };
    if before.endpoint != after.endpoint {
        let what = format!("backend docker: endpoint {} became {}", before.endpoint, after.endpoint);
        changes.push(true, what);
    }
    if before.runtime != after.runtime {
        let what = format!("backend docker: runtime {} became {}", before.runtime, after.runtime);
        changes.push(true, what);
    }
    let pulls = |pull: Pull| pull == Pull::Missing;
    changes.flag("backend docker: fetching an image that is missing", pulls(before.pull), pulls(after.pull));
}

/// What is ended although it runs already.
pub(super) fn killed(old: &Policy, new: &Policy, changes: &mut Changes) {
    let digests: BTreeSet<Digest> = old.denies.iter().chain(&new.denies).map(|deny| deny.digest).collect();
    for digest in digests {
        let goes_on = |policy: &Policy| !policy.kills_running(&digest);
        changes.flag(&format!("{digest}: what runs of it already"), goes_on(old), goes_on(new));
    }
}
