//! The one function behind enforcement and `policy explain`. Deny beats allow beats the default,
//! which is deny.

use helix_ids::{CanonicalJson, Digest, ToolName};
use serde_json::json;

use super::limits::GUEST_KEYS;
use super::{
    Cap, ComponentRule, Consulted, Decision, Denial, Grant, GuestLimits, LimitOrigin, Policy, Project,
    ProjectRule, Question, default_denial,
};

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
        if let Some((name, _, _)) = question.images.first() {
            trail.note("default", None, format!("no [[image]] allows {name}"));
            return Err(default_denial(
                "image_not_allowed",
                format!("policy does not allow the image {name}"),
            ));
        }
        let (limits, limit_origins) = self.limits(question.project, project, rule);
        let slice = slice(&question.component, question.tool)?;
        Ok(Grant { slice, limits, limit_origins, serve: rule.serve })
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
        let mut limits = self.ceiling.clone();
        let mut origins = Vec::new();
        for key in GUEST_KEYS {
            let line = self.ceiling_lines.get(key.name).copied();
            let mut rule = if line.is_some() { "[limits.guest]" } else { "default" }.to_owned();
            let (mut value, mut line) = (key.get(&self.ceiling), line);
            let levels =
                [(project_title(project), &project_rule.limits), (component.title(), &component.limits)];
            for (title, caps) in levels {
                let cap: Option<&Cap<GuestLimits>> = caps.iter().find(|cap| cap.key.name == key.name);
                if let Some(cap) = cap.filter(|cap| cap.value < value) {
                    (value, line, rule) = (cap.value, Some(cap.line), title);
                }
            }
            key.set(&mut limits, value);
            origins.push(LimitOrigin { key: key.name, value: key.show(value), rule, line });
        }
        (limits, origins)
    }
}

pub(super) fn project_title(project: &Project) -> String {
    format!("[[project]] {}", project.name)
}

/// What may execute, not how much (I-6). A key that is added later is written only where it
/// differs from what its absence meant, so golden slices never change.
fn slice(component: &Digest, tool: &ToolName) -> Result<CanonicalJson, Denial> {
    let slice = json!({ "slice": 1, "component": component, "tool": tool });
    CanonicalJson::of(&slice).map_err(|error| default_denial("policy_slice", error.to_string()))
}
