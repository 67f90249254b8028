//! From the flat arguments of a call to what is linked, what is hashed, and what only the host
//! reads.

use helix_ids::canonical::INTEGER_MAX;
use helix_ids::{ArtifactId, CanonicalJson, Role, SampleName};
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Number, Value};

use super::schema::{WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX};
use super::text::shown;
use super::{DeclaredInput, Tool};

/// Most bytes of the canonical params (invariant I-9).
pub const PARAMS_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a caller's value that an error repeats.
const ECHO_BYTES_MAX: usize = 200;

/// A call's arguments, checked against the tool's own schema.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The artifact ids of each role, in order of declaration; a role that was left out is there
    /// with none. The ids have the right shape and number; whether they exist is not known here.
    pub links: Vec<(Role, Vec<String>)>,
    pub samples: Samples,
    /// Canonical, with the schema's defaults filled in: exactly what the guest gets (I-6).
    pub params: CanonicalJson,
    pub project: Option<String>,
    pub dry_run: bool,
    pub retry: bool,
    pub wait_seconds: u32,
}

/// The sample names that a caller gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    None,
    /// One name for everything that is linked.
    One(SampleName),
    /// One for each member of the roles that have as many members.
    Each(Vec<SampleName>),
}

impl Samples {
    /// The sample of member `index` of a role that has `members` members.
    #[must_use]
    pub fn of(&self, members: usize, index: usize) -> Option<&SampleName> {
        match self {
            Self::None => None,
            Self::One(name) => Some(name),
            Self::Each(names) => names.get(index).filter(|_| names.len() == members),
        }
    }
}

/// Which argument is wrong, and why: the caller's turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {reason}")]
pub struct ArgumentError {
    /// Lower `snake_case`, listed in docs/errors.md.
    pub code: &'static str,
    /// JSON pointer into the arguments.
    pub pointer: String,
    pub reason: String,
}

impl ArgumentError {
    fn new(code: &'static str, pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, pointer: pointer.into(), reason: reason.into() }
    }

    /// Of a value of the wrong kind, which is shown capped and escaped.
    fn value(pointer: impl Into<String>, expected: &str, value: &Value) -> Self {
        let reason = format!("expected {expected}, got {}", shown(&value.to_string(), ECHO_BYTES_MAX));
        Self::new("argument_invalid", pointer, reason)
    }
}

/// Checks a call's arguments: the host's own, the roles, then the params against their schema.
///
/// # Errors
/// The first argument that is wrong.
pub fn parse(tool: &Tool, arguments: &Map<String, Value>) -> Result<Arguments, ArgumentError> {
    let mut host = HostArguments::default();
    let mut params = Map::new();
    for (name, value) in arguments {
        if tool.input(name).is_some() || host.take(name, value)? {
            continue;
        }
        if !is_param(tool, name) {
            return Err(unknown_field(tool, name));
        }
        params.insert(name.clone(), value.clone());
    }
    let mut links = Vec::new();
    for input in &tool.inputs {
        links.push((input.role.clone(), parse_role(input, arguments.get(input.role.as_str()))?));
    }
    check_samples(&host.samples, &links)?;
    let params = parse_params(tool, Value::Object(params))?;
    let HostArguments { project, samples, dry_run, retry, wait_seconds } = host;
    Ok(Arguments { links, samples, params, project, dry_run, retry, wait_seconds })
}

fn is_param(tool: &Tool, name: &str) -> bool {
    tool.params_schema.get("properties").is_some_and(|properties| properties.get(name).is_some())
}

fn unknown_field(tool: &Tool, name: &str) -> ArgumentError {
    let params = tool.params_schema.get("properties").and_then(Value::as_object);
    let params = params.into_iter().flat_map(Map::keys).map(String::as_str);
    let known: Vec<&str> = tool
        .inputs
        .iter()
        .map(|input| input.role.as_str())
        .chain(params)
        .chain(["project_id", "sample", "dry_run", "retry", "wait_seconds"])
        .collect();
    let reason = format!("unknown field; the fields are {}", shown(&known.join(" "), 1000));
    ArgumentError::new("unknown_field", format!("/{}", shown(&escape(name), ECHO_BYTES_MAX)), reason)
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The arguments that only the host reads; none of them is part of a run's identity.
struct HostArguments {
    project: Option<String>,
    samples: Samples,
    dry_run: bool,
    retry: bool,
    wait_seconds: u32,
}

impl Default for HostArguments {
    fn default() -> Self {
        Self {
            project: None,
            samples: Samples::None,
            dry_run: false,
            retry: false,
            wait_seconds: WAIT_SECONDS_DEFAULT,
        }
    }
}

impl HostArguments {
    /// Takes the argument if it is one of the host's own.
    fn take(&mut self, name: &str, value: &Value) -> Result<bool, ArgumentError> {
        let flag = || {
            value.as_bool().ok_or_else(|| ArgumentError::value(format!("/{name}"), "true or false", value))
        };
        match name {
            "project_id" => {
                let text = value.as_str().filter(|text| text.len() <= 64);
                let text =
                    text.ok_or_else(|| ArgumentError::value("/project_id", "a project's name or id", value))?;
                self.project = Some(text.to_owned());
            }
            "sample" => self.samples = parse_samples(value)?,
            "dry_run" => self.dry_run = flag()?,
            "retry" => self.retry = flag()?,
            "wait_seconds" => {
                let seconds = whole(value)
                    .and_then(|seconds| u32::try_from(seconds).ok())
                    .filter(|seconds| *seconds <= WAIT_SECONDS_MAX);
                let expected = format!("a whole number from 0 to {WAIT_SECONDS_MAX}");
                self.wait_seconds =
                    seconds.ok_or_else(|| ArgumentError::value("/wait_seconds", &expected, value))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn parse_samples(value: &Value) -> Result<Samples, ArgumentError> {
    let name = |pointer: String, value: &Value| -> Result<SampleName, ArgumentError> {
        let expected = "a sample name, [A-Za-z0-9][A-Za-z0-9._-]{0,63}";
        let parsed = value.as_str().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| ArgumentError::value(pointer, expected, value))
    };
    let Value::Array(names) = value else {
        return Ok(Samples::One(name("/sample".to_owned(), value)?));
    };
    let names = names.iter().enumerate().map(|(index, value)| name(format!("/sample/{index}"), value));
    Ok(Samples::Each(names.collect::<Result<_, _>>()?))
}

fn check_samples(samples: &Samples, links: &[(Role, Vec<String>)]) -> Result<(), ArgumentError> {
    let Samples::Each(names) = samples else { return Ok(()) };
    if links.iter().any(|(_, ids)| ids.len() == names.len()) {
        return Ok(());
    }
    let reason = format!("{} sample names, but no role has as many artifacts", names.len());
    Err(ArgumentError::new("sample_count", "/sample", reason))
}

/// A role with at most one member takes a string, any other an array.
fn parse_role(input: &DeclaredInput, value: Option<&Value>) -> Result<Vec<String>, ArgumentError> {
    let pointer = format!("/{}", input.role);
    let id = |pointer: String, value: &Value| match value.as_str() {
        Some(text) if text.parse::<ArtifactId>().is_ok() => Ok(text.to_owned()),
        _ => Err(ArgumentError::value(pointer, "an artifact id, `art_` and 26 digits", value)),
    };
    let ids = match value {
        None => Vec::new(),
        Some(Value::Array(values)) if input.count.max > 1 => {
            let ids = values.iter().enumerate().map(|(index, value)| id(format!("{pointer}/{index}"), value));
            ids.collect::<Result<_, _>>()?
        }
        Some(value) if input.count.max > 1 => {
            return Err(ArgumentError::value(pointer, "an array of artifact ids", value));
        }
        Some(value) => vec![id(pointer.clone(), value)?],
    };
    if input.count.holds(ids.len()) {
        return Ok(ids);
    }
    let (min, max) = (input.count.min, input.count.max);
    if value.is_none() {
        return Err(ArgumentError::new(
            "missing_field",
            pointer,
            format!("expected {min} to {max} artifacts"),
        ));
    }
    let reason = format!("expected {min} to {max} artifacts, got {}", ids.len());
    Err(ArgumentError::new("role_count", pointer, reason))
}

fn parse_params(tool: &Tool, mut params: Value) -> Result<CanonicalJson, ArgumentError> {
    let too_large = || {
        let reason = format!("the params are larger than {PARAMS_BYTES_MAX} bytes");
        ArgumentError::new("params_too_large", "", reason)
    };
    settle_numbers(&mut params, &mut String::new())?;
    // Before anything is done with them; spelled out, they may still come to less.
    if params.to_string().len() > 2 * PARAMS_BYTES_MAX {
        return Err(ArgumentError { pointer: largest(&params), ..too_large() });
    }
    let mut most = Most::default();
    fill_defaults(&mut params, &tool.params_schema, &tool.params_schema, &mut most)
        .map_err(|TooMuch| too_large())?;
    if let Err(error) = tool.schemas.params.validate(&params) {
        return Err(refused(&error));
    }
    let canonical = CanonicalJson::of(&params)
        .map_err(|error| ArgumentError::new("argument_invalid", "", error.to_string()))?;
    if canonical.as_str().len() > PARAMS_BYTES_MAX {
        return Err(too_large());
    }
    Ok(canonical)
}

/// The pointer of the member that takes most room.
fn largest(params: &Value) -> String {
    let members = params.as_object().into_iter().flatten();
    let largest = members.max_by_key(|(_, member)| member.to_string().len());
    largest.map_or_else(String::new, |(name, _)| format!("/{}", escape(name)))
}

/// What a schema said, with the caller's own value capped and escaped.
fn refused(error: &ValidationError<'_>) -> ArgumentError {
    // Of a choice between schemas, the error that lies deepest is of the one that was meant.
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } =
        error.kind()
    {
        let depth = |error: &ValidationError<'_>| error.instance_path().as_str().len();
        let deepest = context.iter().flatten().max_by_key(|inner| depth(inner));
        if let Some(inner) = deepest.filter(|inner| depth(inner) > depth(error)) {
            return refused(inner);
        }
    }
    let mut pointer = error.instance_path().to_string();
    let (code, reason) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            pointer = format!("{pointer}/{}", escape(property.as_str().unwrap_or_default()));
            ("missing_field", "is required".to_owned())
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            pointer = format!("{pointer}/{}", escape(unexpected.first().map_or("", String::as_str)));
            ("unknown_field", "unknown field".to_owned())
        }
        _ => {
            let masked = shown(&error.masked_with("it").to_string(), 400);
            let value = shown(&error.instance().to_string(), ECHO_BYTES_MAX);
            ("argument_invalid", format!("{masked}; got {value}"))
        }
    };
    ArgumentError::new(code, shown(&pointer, 500), reason)
}

/// A number that is whole becomes an integer, so that `1.0` and `1` are one value; one that
/// doubles cannot tell from its neighbours is refused.
fn settle_numbers(value: &mut Value, pointer: &mut String) -> Result<(), ArgumentError> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => match whole_number(number) {
            Some(integer) if integer.abs() <= INTEGER_MAX => {
                *number = integer.into();
                Ok(())
            }
            None if number.as_f64().is_some_and(|float| float.fract() != 0.0) => Ok(()),
            _ => Err(ArgumentError::new("number_out_of_range", pointer.clone(), "outside ±(2^53-1)")),
        },
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| within(pointer, &index.to_string(), |at| settle_numbers(item, at))),
        Value::Object(members) => members
            .iter_mut()
            .try_for_each(|(name, member)| within(pointer, name, |at| settle_numbers(member, at))),
    }
}

fn within<T>(pointer: &mut String, part: &str, inner: impl FnOnce(&mut String) -> T) -> T {
    let before = pointer.len();
    pointer.push('/');
    pointer.push_str(&escape(part));
    let answer = inner(pointer);
    pointer.truncate(before);
    answer
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => whole_number(number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The integer that this number is, if it is one that an `i64` can hold.
fn whole_number(number: &Number) -> Option<i64> {
    if let Some(integer) = number.as_i64() {
        return Some(integer);
    }
    // Through the decimal text, since no cast tells a float that fits from one that does not.
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && !number.is_u64())?;
    format!("{float:.0}").parse().ok()
}

/// Fills in what `schema` says of absent members, in objects at any depth and in arrays' items.
/// A choice between schemas is followed only where all but one are `null`, since anything else
/// would be a guess.
///
/// # Errors
/// [`TooMuch`]: a default may hold objects whose members have defaults, so what a short schema
/// fills in would else grow with the power of its depth (invariant I-9).
pub(super) fn fill_defaults(
    value: &mut Value,
    schema: &Value,
    root: &Value,
    most: &mut Most,
) -> Result<(), TooMuch> {
    most.visits = most.visits.checked_sub(1).ok_or(TooMuch)?;
    let definition = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.strip_prefix("#/$defs/"))
        .and_then(|name| root.get("$defs")?.get(name));
    // The manifest's door refused references in a circle, so this ends.
    if let Some(definition) = definition {
        fill_defaults(value, definition, root, most)?;
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        fill_defaults(value, part, root, most)?;
    }
    for choice in ["anyOf", "oneOf"] {
        let options = schema.get(choice).and_then(Value::as_array).into_iter().flatten();
        let mut options = options.filter(|option| option.get("type") != Some(&Value::from("null")));
        if let (Some(only), None) = (options.next(), options.next()) {
            fill_defaults(value, only, root, most)?;
        }
    }
    match value {
        Value::Object(members) => {
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                if !members.contains_key(name)
                    && let Some(default) = property.get("default")
                {
                    let bytes = name.len() + default.to_string().len();
                    most.bytes = most.bytes.checked_sub(bytes).ok_or(TooMuch)?;
                    members.insert(name.clone(), default.clone());
                }
                if let Some(member) = members.get_mut(name) {
                    fill_defaults(member, property, root, most)?;
                }
            }
        }
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                items.iter_mut().try_for_each(|item| fill_defaults(item, item_schema, root, most))?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

/// What filling in defaults may still cost.
pub(super) struct Most {
    /// Of defaults, as JSON.
    bytes: usize,
    /// Values looked at, each under each schema that holds for it.
    visits: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { bytes: PARAMS_BYTES_MAX, visits: 1_000_000 }
    }
}

/// The defaults come to more than any params may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
