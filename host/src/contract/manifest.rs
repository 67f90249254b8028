//! The one door from what a guest said of itself to a [`Manifest`].

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use helix_ids::{ArtifactType, Label, Role};

use super::schema::{ToolSchemas, is_param_name, is_reserved};
use super::schema_rules;
use super::text::{hidden, shown, tag};
use super::{Count, DeclaredImage, DeclaredInput, DeclaredOutput, Manifest, PLATFORM, Tool, raw};

pub const TOOLS_MAX: usize = 32;
pub const ROLES_MAX: usize = 32;
pub const IMAGES_MAX: usize = 32;
/// Most members of one role.
pub const COUNT_MAX: u32 = 1000;
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// A member's key and a hyphen may come before the label of a role that can have many, and the
/// whole must still be a label.
const LABEL_OF_MANY_BYTES_MAX: usize = 190;
const LINE_BYTES_MAX: usize = 256;

/// Names that the host keeps for tools of its own.
const RESERVED_TOOL_PREFIXES: &[&str] = &[
    "artifact_",
    "run_",
    "bundle_",
    "export_",
    "lineage",
    "policy_",
    "toolpack_",
    "host_",
    "batch_",
    "sheet_",
    "reference_",
];

/// Why a toolpack's description is refused: the author's turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ManifestError {
    /// Lower `snake_case`, listed in docs/errors.md.
    pub code: &'static str,
    /// Names the tool, the role and the field.
    pub message: String,
}

impl ManifestError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Manifest {
    /// Checks every rule of the toolpack contract.
    ///
    /// # Errors
    /// The first rule that is broken, naming tool, role and field.
    pub fn parse(raw: raw::Manifest) -> Result<Self, ManifestError> {
        Self::parse_with(raw, schema_rules::check)
    }

    /// Parses what this version of the host has parsed before: its schemas are known to keep the
    /// rules, and each is compiled when it is first applied.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_known(raw: raw::Manifest) -> Result<Self, ManifestError> {
        Self::parse_with(raw, schema_rules::read)
    }

    fn parse_with(raw: raw::Manifest, schema: ReadSchema) -> Result<Self, ManifestError> {
        let name = name(&raw.name, "toolpack")?;
        no_extra(&raw.extra, "toolpack")?;
        line(&raw.version, "version of the toolpack", 64)?;
        if raw.version.is_empty() {
            return Err(ManifestError::new("manifest_text", "version of the toolpack is empty"));
        }
        text(&raw.description, "description of the toolpack", DESCRIPTION_BYTES_MAX)?;
        line(&raw.licence, "licence of the toolpack", LINE_BYTES_MAX)?;
        web_address(&raw.homepage, "homepage of the toolpack")?;
        if !(1..=TOOLS_MAX).contains(&raw.tools.len()) {
            let message = format!("a toolpack has 1 to {TOOLS_MAX} tools, this one has {}", raw.tools.len());
            return Err(ManifestError::new("manifest_tools", message));
        }
        let mut names = BTreeSet::new();
        let mut tools = Vec::new();
        for tool in raw.tools {
            let tool = parse_tool(tool, schema)?;
            if !names.insert(tool.name.clone()) {
                return Err(ManifestError::new(
                    "manifest_tools",
                    format!("tool `{}` is there twice", tool.name),
                ));
            }
            tools.push(tool);
        }
        let raw::Manifest { version, description, licence, homepage, .. } = raw;
        Ok(Self { name, version, description, licence, homepage, tools })
    }
}

/// Makes a schema of a text, for errors called by what it is.
type ReadSchema = fn(&str, &str) -> Result<schema_rules::Checked, ManifestError>;

fn parse_tool(raw: raw::Tool, schema: ReadSchema) -> Result<Tool, ManifestError> {
    let tool_name: helix_ids::ToolName = name(&raw.name, "tool")?;
    let what = format!("tool `{tool_name}`");
    let reserved = RESERVED_TOOL_PREFIXES.iter().find(|prefix| tool_name.as_str().starts_with(**prefix));
    if let Some(prefix) = reserved {
        let message = format!("{what}: names that begin with `{prefix}` are the host's own");
        return Err(ManifestError::new("tool_name_reserved", message));
    }
    let contract = name(&raw.contract, &format!("contract version of {what}"))?;
    no_extra(&raw.extra, &what)?;
    line(&raw.title, &format!("title of {what}"), 128)?;
    text(&raw.description, &format!("description of {what}"), DESCRIPTION_BYTES_MAX)?;
    if raw.description.is_empty() {
        return Err(ManifestError::new("manifest_text", format!("description of {what} is empty")));
    }
    let images = parse_images(&raw.images, &what)?;
    let params = schema(&format!("params schema of {what}"), &raw.params_schema)?;
    let result = schema(&format!("result schema of {what}"), &raw.result_schema)?;
    let inputs = parse_inputs(raw.inputs, &what)?;
    let outputs = parse_outputs(raw.outputs, &what)?;
    check_params(&params.value, &inputs, &what)?;
    check_software(&raw.software, &what)?;
    Ok(Tool {
        name: tool_name,
        contract,
        title: raw.title,
        description: raw.description,
        schemas: Arc::new(ToolSchemas::new(params.compiled, result.compiled)),
        // Written out, no escape hides the word; where a text only mentions it, nothing is lost.
        has_patterns: params.value.to_string().contains("\"pattern"),
        params_schema: params.value,
        result_schema: result.value,
        inputs,
        outputs,
        images,
        read_only: raw.read_only,
        idempotent: raw.idempotent,
        software: raw.software,
    })
}

fn parse_inputs(raw: Vec<raw::Input>, what: &str) -> Result<Vec<DeclaredInput>, ManifestError> {
    let roles = parse_roles(raw.iter().map(|input| input.role.as_str()), "input", what)?;
    let mut inputs = Vec::new();
    for (role, input) in roles.into_iter().zip(raw) {
        let what = format!("input `{role}` of {what}");
        count(input.count, &what)?;
        text(&input.description, &format!("description of {what}"), DESCRIPTION_BYTES_MAX)?;
        let types =
            input.types.iter().map(|name| artifact_type(name, &what)).collect::<Result<BTreeSet<_>, _>>()?;
        if types.is_empty() || types.len() != input.types.len() {
            return Err(ManifestError::new("type_unknown", format!("{what} accepts no type, or one twice")));
        }
        inputs.push(DeclaredInput { role, types, count: input.count, description: input.description });
    }
    Ok(inputs)
}

fn parse_outputs(raw: Vec<raw::Output>, what: &str) -> Result<Vec<DeclaredOutput>, ManifestError> {
    let roles = parse_roles(raw.iter().map(|output| output.role.as_str()), "output", what)?;
    let mut outputs = Vec::new();
    for (role, output) in roles.into_iter().zip(raw) {
        let what = format!("output `{role}` of {what}");
        count(output.count, &what)?;
        text(&output.description, &format!("description of {what}"), DESCRIPTION_BYTES_MAX)?;
        let label: Label = output.label.parse().map_err(|error| {
            ManifestError::new(
                "label_invalid",
                format!("label `{}` of {what}: {error}", shown(&output.label, 100)),
            )
        })?;
        if output.count.max > 1 && label.as_str().len() > LABEL_OF_MANY_BYTES_MAX {
            let message =
                format!("label of {what}: at most {LABEL_OF_MANY_BYTES_MAX} bytes where there may be many");
            return Err(ManifestError::new("label_invalid", message));
        }
        outputs.push(DeclaredOutput {
            role,
            artifact_type: artifact_type(&output.artifact_type, &what)?,
            label,
            count: output.count,
            description: output.description,
            check: output.check,
        });
    }
    Ok(outputs)
}

fn parse_roles<'a>(
    raw: impl ExactSizeIterator<Item = &'a str>,
    kind: &str,
    what: &str,
) -> Result<Vec<Role>, ManifestError> {
    if raw.len() > ROLES_MAX {
        return Err(ManifestError::new(
            "role_invalid",
            format!("{what} declares more than {ROLES_MAX} {kind}s"),
        ));
    }
    let mut roles: Vec<Role> = Vec::new();
    for text in raw {
        let role: Role = text.parse().map_err(|error| {
            ManifestError::new("role_invalid", format!("{kind} `{}` of {what}: {error}", shown(text, 100)))
        })?;
        if is_reserved(role.as_str()) {
            return Err(ManifestError::new(
                "role_reserved",
                format!("{kind} `{role}` of {what}: the name is the host's"),
            ));
        }
        if roles.contains(&role) {
            return Err(ManifestError::new(
                "role_duplicate",
                format!("{kind} `{role}` of {what} is there twice"),
            ));
        }
        roles.push(role);
    }
    Ok(roles)
}

/// Params stand beside the roles in one flat object, so no name may be both, or the host's.
fn check_params(
    schema: &serde_json::Value,
    inputs: &[DeclaredInput],
    what: &str,
) -> Result<(), ManifestError> {
    let params = schema.get("properties").and_then(serde_json::Value::as_object);
    for param in params.into_iter().flat_map(serde_json::Map::keys) {
        let param_shown = shown(param, 100);
        if !is_param_name(param) {
            let message = format!("param `{param_shown}` of {what}: expected [A-Za-z][A-Za-z0-9_-]{{0,63}}");
            return Err(ManifestError::new("param_invalid", message));
        }
        if is_reserved(param) {
            return Err(ManifestError::new(
                "param_reserved",
                format!("param `{param}` of {what}: the name is the host's"),
            ));
        }
        if inputs.iter().any(|input| input.role.as_str() == param) {
            return Err(ManifestError::new(
                "role_is_param",
                format!("`{param}` of {what} is both an input and a param"),
            ));
        }
    }
    Ok(())
}

fn parse_images(raw: &[raw::Image], what: &str) -> Result<Vec<DeclaredImage>, ManifestError> {
    if raw.len() > IMAGES_MAX {
        return Err(ManifestError::new(
            "image_invalid",
            format!("{what} declares more than {IMAGES_MAX} images"),
        ));
    }
    let mut images: Vec<DeclaredImage> = Vec::new();
    for image in raw {
        let what = format!("image `{}` of {what}", shown(&image.name, 100));
        let invalid = |reason: String| ManifestError::new("image_invalid", format!("{what}: {reason}"));
        let name = image.name.parse().map_err(|error: helix_ids::NameError| invalid(error.to_string()))?;
        let reference = image
            .reference
            .parse()
            .map_err(|error| ManifestError::new("image_not_pinned", format!("{what}: {error}")))?;
        if image.platform != PLATFORM {
            let platform = shown(&image.platform, 100);
            return Err(invalid(format!("the platform `{platform}`: this version runs `{PLATFORM}` only")));
        }
        if images.iter().any(|other| other.name == name) {
            return Err(invalid("is there twice".to_owned()));
        }
        images.push(DeclaredImage { name, reference, platform: image.platform.clone() });
    }
    Ok(images)
}

fn check_software(software: &[raw::Software], what: &str) -> Result<(), ManifestError> {
    if software.len() > 32 {
        return Err(ManifestError::new(
            "manifest_text",
            format!("{what} names more than 32 pieces of software"),
        ));
    }
    for entry in software {
        let what = format!("software of {what}");
        line(&entry.name, &what, LINE_BYTES_MAX)?;
        line(&entry.version, &what, LINE_BYTES_MAX)?;
        for field in [&entry.doi, &entry.licence].into_iter().flatten() {
            line(field, &what, LINE_BYTES_MAX)?;
        }
        web_address(entry.url.as_deref().unwrap_or_default(), &what)?;
    }
    Ok(())
}

fn name<T: FromStr<Err = helix_ids::NameError>>(text: &str, what: &str) -> Result<T, ManifestError> {
    text.parse().map_err(|error| {
        ManifestError::new("manifest_name", format!("{what}: `{}` is {error}", shown(text, 100)))
    })
}

fn artifact_type(name: &str, what: &str) -> Result<ArtifactType, ManifestError> {
    name.parse().map_err(|error| {
        ManifestError::new("type_unknown", format!("{what}: `{}`: {error}", shown(name, 100)))
    })
}

fn count(count: Count, what: &str) -> Result<(), ManifestError> {
    let Count { min, max } = count;
    if min <= max && (1..=COUNT_MAX).contains(&max) {
        return Ok(());
    }
    let message = format!("{what}: count {min} to {max}; expected min <= max, and max from 1 to {COUNT_MAX}");
    Err(ManifestError::new("count_invalid", message))
}

fn no_extra(extra: &str, what: &str) -> Result<(), ManifestError> {
    if extra.is_empty() {
        return Ok(());
    }
    Err(ManifestError::new(
        "extra_not_supported",
        format!("{what}: `extra` is for later versions and must be empty"),
    ))
}

fn text(text: &str, what: &str, bytes_max: usize) -> Result<(), ManifestError> {
    if text.len() > bytes_max {
        return Err(ManifestError::new("manifest_text", format!("{what} is longer than {bytes_max} bytes")));
    }
    if let Some(c) = hidden(text) {
        let message = format!("{what} holds the invisible character {}", c.escape_unicode());
        return Err(ManifestError::new("manifest_text", message));
    }
    if let Some(tag) = tag(text) {
        let message = format!("{what} holds the tag `{}`; it is plain text", shown(tag, 100));
        return Err(ManifestError::new("manifest_text", message));
    }
    Ok(())
}

fn line(value: &str, what: &str, bytes_max: usize) -> Result<(), ManifestError> {
    text(value, what, bytes_max)?;
    if value.contains('\n') {
        return Err(ManifestError::new("manifest_text", format!("{what} has more than one line")));
    }
    Ok(())
}

fn web_address(value: &str, what: &str) -> Result<(), ManifestError> {
    line(value, what, 512)?;
    if value.is_empty() || value.starts_with("https://") || value.starts_with("http://") {
        return Ok(());
    }
    Err(ManifestError::new("manifest_text", format!("{what}: expected an https:// address or nothing")))
}
