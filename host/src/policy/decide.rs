//! The one function behind enforcement and `policy explain`. Deny beats allow beats the default,
//! which is deny.

use helix_ids::{CanonicalJson, Digest, ToolName};
use serde_json::{Value, json};

use super::limits::{GUEST_KEYS, Key, RUN_KEYS, STEP_KEYS};
use super::{
    BackendKind, BackendRule, Cap, Ceiling, ComponentRule, Consulted, Decision, Denial, Grant, GrantedImage,
    GuestLimits, LimitOrigin, Policy, Project, ProjectRule, Question, default_denial,
};
use crate::contract::DeclaredImage;

impl ComponentRule {
    /// How this rule is named to an operator.
    pub(super) fn title(&self) -> String {
        format!("[[component]] {}", self.name)
    }
}

/// Each rule that was looked at, in order.
#[derive(Default)]
struct Trail(Vec<Consulted>);

impl Trail {
    fn note(&mut self, rule: impl Into<String>, line: Option<u32>, effect: impl Into<String>) {
        self.0.push(Consulted { rule: rule.into(), line, effect: effect.into() });
    }
}

impl Policy {
    /// The rule that lists this digest; the one gate before anything parses a component (I-2).
    ///
    /// # Errors
    /// `component_not_allowed`, `component_denied`.
    pub fn admit_component(&self, digest: &Digest) -> Result<&ComponentRule, Denial> {
        self.admit(digest, &mut Trail::default())
    }

    /// May this tool run, and under which limits?
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let mut trail = Trail::default();
        let verdict = self.verdict(question, &mut trail);
        Decision { verdict, consulted: trail.0 }
    }

    /// Whether what runs already of a component or an image shall be ended: a denial says so.
    #[must_use]
    pub fn kills_running(&self, digest: &Digest) -> bool {
        self.denies.iter().any(|deny| deny.digest == *digest && deny.kill_running)
    }

    fn admit(&self, digest: &Digest, trail: &mut Trail) -> Result<&ComponentRule, Denial> {
        if let Some(deny) = self.denies.iter().find(|deny| deny.digest == *digest) {
            trail.note("[[deny]]", Some(deny.line), format!("denies this digest: {}", deny.reason));
            return Err(Denial {
                code: "component_denied",
                message: format!("the component {digest} is denied: {}", deny.reason),
                advice: String::new(),
                rule: "[[deny]]".to_owned(),
                line: Some(deny.line),
            });
        }
        let Some(rule) = self.components.iter().find(|rule| rule.digest == *digest) else {
            trail.note("default", None, "no [[component]] allows this digest");
            let message = format!("no rule allows the component {digest}");
            let advice = "an operator allows a component with `helixmcp policy allow FILE`".to_owned();
            return Err(Denial { advice, ..default_denial("component_not_allowed", message) });
        };
        trail.note(rule.title(), Some(rule.line), "allows this digest");
        Ok(rule)
    }

    fn verdict(&self, question: &Question<'_>, trail: &mut Trail) -> Result<Grant, Denial> {
        let rule = self.admit(&question.component, trail)?;
        let by_rule = |code, message| Denial {
            rule: rule.title(),
            line: Some(rule.line),
            ..default_denial(code, message)
        };
        if rule.name != *question.toolpack {
            trail.note(rule.title(), Some(rule.line), format!("is not named {}", question.toolpack));
            let message = format!(
                "the component calls itself {}, and policy allows it as {}",
                question.toolpack, rule.name
            );
            return Err(by_rule("component_name_mismatch", message));
        }
        if !rule.tools.holds(question.tool) {
            trail.note(rule.title(), Some(rule.line), format!("does not list tool {}", question.tool));
            return Err(by_rule(
                "tool_not_allowed",
                format!("policy does not allow the tool {}", question.tool),
            ));
        }
        trail.note(rule.title(), Some(rule.line), format!("allows tool {}", question.tool));
        let project = self.project_rule(question, trail)?;
        let images = question
            .images
            .iter()
            .map(|declared| self.granted(declared, rule, trail))
            .collect::<Result<Vec<_>, Denial>>()?;
        let backend =
            if images.is_empty() { None } else { Some(self.backend_of(question.project, project, trail)?) };
        let (limits, mut limit_origins) = self.limits(question.project, project, rule);
        if !images.is_empty() {
            origins("step", "[limits.step]", STEP_KEYS, &self.step, &mut limit_origins);
            origins("run", "[limits.run]", RUN_KEYS, &self.run, &mut limit_origins);
        }
        Ok(Grant {
            slice: slice(&question.component, question.tool, &images, backend.as_ref())?,
            limits,
            images,
            step_limits: self.step.limits.clone(),
            run_limits: self.run.limits.clone(),
            backend,
            limit_origins,
            serve: rule.serve,
        })
    }

    /// An image that the tool declares, if both the component's rule and an `[[image]]` allow it.
    fn granted(
        &self,
        declared: &DeclaredImage,
        component: &ComponentRule,
        trail: &mut Trail,
    ) -> Result<GrantedImage, Denial> {
        let name = &declared.name;
        let rule = self.image(declared).inspect_err(|denial| {
            trail.note(denial.rule.clone(), denial.line, format!("refuses image {name}: {}", denial.code));
        })?;
        if !component.images.contains(name) {
            let title = component.title();
            trail.note(&title, Some(component.line), format!("does not list image {name}"));
            let message = format!("policy does not allow the image {name} to {}", component.name);
            let denial = default_denial("image_not_allowed", message);
            return Err(Denial { rule: title, line: Some(component.line), ..denial });
        }
        trail.note(component.title(), Some(component.line), format!("allows image {name}"));
        let (image, platform, user) = (rule.image.clone(), rule.platform.clone(), rule.user);
        trail.note(rule.title(), Some(rule.line), format!("is {image} on {platform}, run as {user}"));
        Ok(GrantedImage { name: rule.name.clone(), image, platform, user })
    }

    /// Where this project's containers run: the first of its backends, or of the file's.
    fn backend_of(
        &self,
        project: &Project,
        rule: &ProjectRule,
        trail: &mut Trail,
    ) -> Result<BackendRule, Denial> {
        let title = project_title(project);
        let kind = match &rule.backends {
            None => BackendKind::Docker,
            Some(kinds) => *kinds.first().ok_or_else(|| {
                trail.note(&title, Some(rule.line), "lists no backend");
                let message = format!("project {} may start no containers", project.name);
                let denial = default_denial("backend_not_allowed", message);
                Denial { rule: title.clone(), line: Some(rule.line), ..denial }
            })?,
        };
        let Some(backend) = self.backend(kind) else {
            trail.note("default", None, format!("there is no [backend.{kind}]"));
            let message = "policy names no backend on which the tool's images could run".to_owned();
            let advice = format!("an operator adds [backend.{kind}]");
            return Err(Denial { advice, ..default_denial("backend_not_allowed", message) });
        };
        trail.note(format!("[backend.{kind}]"), None, "runs the images");
        Ok(backend)
    }

    fn project_rule(&self, question: &Question<'_>, trail: &mut Trail) -> Result<&ProjectRule, Denial> {
        let name = &question.project.name;
        let found = self.projects.iter().position(|project| project.name == *name);
        let Some(rule) = found.and_then(|index| self.project_rules.get(index)) else {
            trail.note("default", None, format!("no [[project]] is named {name}"));
            return Err(default_denial("project_unknown", "no such project".to_owned()));
        };
        let title = project_title(question.project);
        if !rule.components.holds(question.toolpack) {
            trail.note(&title, Some(rule.line), format!("does not list component {}", question.toolpack));
            let message = format!("project {name} may not use the toolpack {}", question.toolpack);
            let denial = default_denial("component_not_in_project", message);
            return Err(Denial { rule: title, line: Some(rule.line), ..denial });
        }
        trail.note(title, Some(rule.line), format!("allows component {}", question.toolpack));
        Ok(rule)
    }

    /// The least of ceiling, project and component, key by key: a lower level only narrows.
    fn limits(
        &self,
        project: &Project,
        project_rule: &ProjectRule,
        component: &ComponentRule,
    ) -> (GuestLimits, Vec<LimitOrigin>) {
        let mut limits = self.guest.limits.clone();
        let mut origins = Vec::new();
        for key in GUEST_KEYS {
            let line = self.guest.lines.get(key.name).copied();
            let mut rule = if line.is_some() { "[limits.guest]" } else { "default" }.to_owned();
            let (mut value, mut line) = (key.get(&self.guest.limits), line);
            let levels =
                [(project_title(project), &project_rule.limits), (component.title(), &component.limits)];
            for (title, caps) in levels {
                let cap: Option<&Cap<GuestLimits>> = caps.iter().find(|cap| cap.key.name == key.name);
                if let Some(cap) = cap.filter(|cap| cap.value < value) {
                    (value, line, rule) = (cap.value, Some(cap.line), title);
                }
            }
            key.set(&mut limits, value);
            origins.push(LimitOrigin { key: key.name.to_owned(), value: key.show(value), rule, line });
        }
        (limits, origins)
    }
}

pub(super) fn project_title(project: &Project) -> String {
    format!("[[project]] {}", project.name)
}

/// Where limits come from that only the file's own table states.
fn origins<L: Clone>(
    prefix: &str,
    table: &str,
    keys: &[Key<L>],
    ceiling: &Ceiling<L>,
    origins: &mut Vec<LimitOrigin>,
) {
    origins.extend(keys.iter().map(|key| {
        let line = ceiling.lines.get(key.name).copied();
        let rule = if line.is_some() { table } else { "default" }.to_owned();
        let value = key.show(key.get(&ceiling.limits));
        LimitOrigin { key: format!("{prefix}.{}", key.name), value, rule, line }
    }));
}

/// What may execute, not how much (I-6). A key that is added later is written only where it
/// differs from what its absence meant, so golden slices never change: a tool without images has
/// neither images nor a backend in its slice.
fn slice(
    component: &Digest,
    tool: &ToolName,
    images: &[GrantedImage],
    backend: Option<&BackendRule>,
) -> Result<CanonicalJson, Denial> {
    let mut slice = json!({ "slice": 1, "component": component, "tool": tool });
    if !images.is_empty() {
        slice["images"] = images.iter().map(slice_image).collect();
    }
    if let Some(backend) = backend {
        let (kind, runtime) = (backend.kind().as_str(), backend.runtime());
        slice["backend"] = json!({ "kind": kind, "runtime": runtime, "network": "none" });
    }
    CanonicalJson::of(&slice).map_err(|error| default_denial("policy_slice", error.to_string()))
}

/// Not the registry: the digest says which image it is, wherever it came from.
fn slice_image(image: &GrantedImage) -> Value {
    json!({
        "name": image.name,
        "digest": image.image.digest(),
        "platform": image.platform,
        "user": image.user,
        "egress": "none",
    })
}
