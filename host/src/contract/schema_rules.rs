//! Which JSON Schemas a toolpack may bring: a closed part of 2020-12 that is cheap to check and
//! reads nothing from elsewhere.
//!
//! A schema is written by a toolpack's author, shown to a model, and applied to what a caller
//! chose; so neither of the two may make us recurse without end, backtrack, or fetch.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::manifest::ManifestError;
use super::text::{hidden, shown, tag};

/// Most bytes of one schema's text.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of one schema's text.
pub const SCHEMA_DEPTH_MAX: usize = 16;
/// Most subschemas once every reference is replaced by what it names: the work that one value
/// may cost to check, which a short text with doubling references would else choose.
pub const SUBSCHEMAS_MAX: u64 = 1000;
/// Most regular expressions of one schema, with every reference replaced by what it names, and the
/// most bytes that one may have as text and compiled. The work of one is its compiled size times
/// the text, so the three together are what checking a value may cost.
pub const PATTERNS_MAX: u64 = 32;
pub const PATTERN_BYTES_MAX: usize = 512;
const PATTERN_COMPILED_BYTES_MAX: usize = 32 * 1024;
/// Longest text in a schema that a model may be shown.
const TEXT_BYTES_MAX: usize = 1024;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// At the root only what a client's own form of a tool's schema can hold.
const ROOT_KEYWORDS: &[&str] = &[
    "$schema",
    "$defs",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "title",
    "description",
    "examples",
    "$comment",
];

/// Keywords whose value is no schema.
const PLAIN_KEYWORDS: &[&str] = &[
    "title",
    "description",
    "$comment",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
];
const SCHEMA_KEYWORDS: &[&str] =
    &["items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"];
const LIST_KEYWORDS: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
const MAP_KEYWORDS: &[&str] = &["properties", "patternProperties", "dependentSchemas"];

/// A schema that keeps every rule, and its compiled form.
pub(super) struct Checked {
    pub value: Value,
    pub compiled: CompiledSchema,
}

/// A schema that is compiled when it is first applied, unless it was already.
pub struct CompiledSchema {
    /// Of what it is compiled; not needed where it was.
    source: Value,
    validator: OnceLock<Result<Validator, String>>,
}

impl CompiledSchema {
    /// Whether `value` keeps this schema.
    pub(super) fn validate<'a>(&self, value: &'a Value) -> Result<(), ValidationError<'a>> {
        match self.validator.get_or_init(|| compile(&self.source)) {
            Ok(validator) => validator.validate(value),
            // It compiled when it was checked. Where it does not any more, nothing keeps it.
            Err(error) => Err(ValidationError::custom(format!("the schema does not compile: {error}"))),
        }
    }
}

/// Reads a schema of which it is known that it keeps every rule.
pub(super) fn read(what: &str, text: &str) -> Result<Checked, ManifestError> {
    let value = helix_ids::canonical::parse(text.as_bytes(), SCHEMA_BYTES_MAX)
        .map_err(|error| bad(what, "", &error.to_string()))?;
    let compiled = CompiledSchema { source: value.clone(), validator: OnceLock::new() };
    Ok(Checked { value, compiled })
}

/// Reads and checks the schema `what`, such as "params schema of tool `x`".
pub(super) fn check(what: &str, text: &str) -> Result<Checked, ManifestError> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(ManifestError::new(
            "schema_too_large",
            format!("{what} is larger than {SCHEMA_BYTES_MAX} bytes"),
        ));
    }
    let value = helix_ids::canonical::parse(text.as_bytes(), SCHEMA_BYTES_MAX)
        .map_err(|error| bad(what, "", &error.to_string()))?;
    if depth(&value) > SCHEMA_DEPTH_MAX {
        let message = format!("{what} is nested deeper than {SCHEMA_DEPTH_MAX}");
        return Err(ManifestError::new("schema_too_deep", message));
    }
    let mut walk = Walk::new(what);
    walk.root(&value)?;
    walk.expanded_size()?;
    let validator = compile(&value).map_err(|error| bad(what, "", &error))?;
    for (pointer, schema) in &walk.defaults {
        check_default(what, pointer, schema, &value)?;
    }
    let compiled = CompiledSchema { source: Value::Null, validator: OnceLock::from(Ok(validator)) };
    Ok(Checked { value, compiled })
}

/// Compiles with the regular expression engine that is linear in its input.
fn compile(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| format!("{} at `{}`", error.masked(), error.instance_path()))
}

/// A default that its own schema refuses would make every call that relies on it fail.
fn check_default(
    what: &str,
    pointer: &str,
    schema: &Map<String, Value>,
    root: &Value,
) -> Result<(), ManifestError> {
    let Some(default) = schema.get("default") else { return Ok(()) };
    let mut alone = schema.clone();
    if let Some(definitions) = root.get("$defs") {
        alone.insert("$defs".to_owned(), definitions.clone());
    }
    let validator = compile(&Value::Object(alone)).map_err(|error| bad(what, pointer, &error))?;
    let mut value = default.clone();
    let mut most = super::arguments::Most::default();
    super::arguments::fill_defaults(&mut value, &Value::Object(schema.clone()), root, &mut most).map_err(
        |_too_much| bad(what, pointer, "the defaults within this default are larger than params may be"),
    )?;
    if validator.is_valid(&value) {
        Ok(())
    } else {
        Err(bad(what, pointer, "the default does not satisfy its own schema"))
    }
}

fn bad(what: &str, pointer: &str, reason: &str) -> ManifestError {
    let place = if pointer.is_empty() { String::new() } else { format!(", at `{}`", shown(pointer, 200)) };
    ManifestError::new("schema_invalid", format!("{what}{place}: {}", shown(reason, 400)))
}

/// How deeply `value` is nested. The strict parser has bounded it, so recursion is safe.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// One pass over a schema: refuses what is not allowed and notes what it costs.
struct Walk<'a> {
    what: &'a str,
    defaults: Vec<(String, &'a Map<String, Value>)>,
    /// Of the root (`None`) and of each definition.
    cost: BTreeMap<Option<&'a str>, Cost<'a>>,
}

/// What checking a value against a schema costs.
#[derive(Default)]
struct Cost<'a> {
    own: Size,
    refers_to: Vec<&'a str>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    subschemas: u64,
    patterns: u64,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            subschemas: self.subschemas.saturating_add(other.subschemas),
            patterns: self.patterns.saturating_add(other.patterns),
        }
    }
}

impl<'a> Walk<'a> {
    fn new(what: &'a str) -> Self {
        Self { what, defaults: Vec::new(), cost: BTreeMap::new() }
    }

    fn refuse<T>(&self, code: &'static str, pointer: &str, reason: &str) -> Result<T, ManifestError> {
        let error = bad(self.what, pointer, reason);
        Err(ManifestError { code, ..error })
    }

    fn root(&mut self, value: &'a Value) -> Result<(), ManifestError> {
        let Value::Object(root) = value else {
            return self.refuse("schema_invalid", "", "expected an object");
        };
        if let Some(keyword) = root.keys().find(|keyword| !ROOT_KEYWORDS.contains(&keyword.as_str())) {
            let reason =
                format!("keyword `{keyword}` is not allowed at the root, only {}", ROOT_KEYWORDS.join(" "));
            return self.refuse("schema_invalid", "", &reason);
        }
        if root.get("$schema").is_some_and(|dialect| dialect != DIALECT) {
            return self.refuse("schema_invalid", "/$schema", &format!("expected `{DIALECT}`"));
        }
        if root.get("type") != Some(&json!("object")) {
            return self.refuse("schema_invalid", "/type", "expected `\"object\"`");
        }
        if !root.get("properties").is_some_and(Value::is_object) {
            return self.refuse("schema_invalid", "/properties", "expected an object; `{}` means none");
        }
        if root.get("additionalProperties") != Some(&json!(false)) {
            return self.refuse("schema_invalid", "/additionalProperties", "expected `false`");
        }
        let definitions = match root.get("$defs") {
            None => None,
            Some(Value::Object(definitions)) => Some(definitions),
            Some(_) => return self.refuse("schema_invalid", "/$defs", "expected an object"),
        };
        self.object(None, "", root)?;
        for (name, definition) in definitions.into_iter().flatten() {
            self.text("/$defs", name)?;
            self.schema(Some(name), &format!("/$defs/{name}"), definition)?;
        }
        Ok(())
    }

    /// `within` is the definition in which this schema stands.
    fn schema(
        &mut self,
        within: Option<&'a str>,
        pointer: &str,
        value: &'a Value,
    ) -> Result<(), ManifestError> {
        match value {
            Value::Object(schema) => {
                if let Some(keyword) =
                    schema.keys().find(|keyword| ["$schema", "$defs"].contains(&keyword.as_str()))
                {
                    return self.refuse(
                        "schema_invalid",
                        pointer,
                        &format!("`{keyword}` stands at the root only"),
                    );
                }
                self.object(within, pointer, schema)
            }
            Value::Bool(_) => Ok(()),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.refuse("schema_invalid", pointer, "expected a schema")
            }
        }
    }

    fn object(
        &mut self,
        within: Option<&'a str>,
        at: &str,
        schema: &'a Map<String, Value>,
    ) -> Result<(), ManifestError> {
        self.cost.entry(within).or_default().own.subschemas += 1;
        if schema.contains_key("default") {
            self.defaults.push((at.to_owned(), schema));
        }
        for (keyword, value) in schema {
            let pointer = format!("{at}/{keyword}");
            match keyword.as_str() {
                "$schema" | "$defs" => {}
                "$ref" => self.reference(within, &pointer, value)?,
                "pattern" => self.pattern(within, &pointer, value.as_str())?,
                plain if PLAIN_KEYWORDS.contains(&plain) => {
                    self.texts(&pointer, value)?;
                    self.untagged(plain, &pointer, value)?;
                }
                one if SCHEMA_KEYWORDS.contains(&one) => self.schema(within, &pointer, value)?,
                list if LIST_KEYWORDS.contains(&list) => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.schema(within, &format!("{pointer}/{index}"), item)?;
                    }
                }
                map if MAP_KEYWORDS.contains(&map) => {
                    for (name, item) in value.as_object().into_iter().flatten() {
                        self.text(&pointer, name)?;
                        if map == "patternProperties" {
                            self.pattern(within, &pointer, Some(name))?;
                        }
                        self.schema(within, &format!("{pointer}/{name}"), item)?;
                    }
                }
                unknown => {
                    return self.refuse("schema_invalid", at, &format!("keyword `{unknown}` is not allowed"));
                }
            }
        }
        Ok(())
    }

    /// Only a definition of this same schema can be meant, so nothing is ever fetched.
    fn reference(
        &mut self,
        within: Option<&'a str>,
        pointer: &str,
        value: &'a Value,
    ) -> Result<(), ManifestError> {
        let name = value.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        match name {
            Some(name) if !name.is_empty() && !name.contains(['/', '~', '%']) => {
                self.cost.entry(within).or_default().refers_to.push(name);
                Ok(())
            }
            _ => self.refuse("schema_ref", pointer, "a reference is `#/$defs/NAME` and nothing else"),
        }
    }

    fn pattern(
        &mut self,
        within: Option<&'a str>,
        pointer: &str,
        pattern: Option<&str>,
    ) -> Result<(), ManifestError> {
        let Some(pattern) = pattern else {
            return self.refuse("schema_pattern", pointer, "expected a text");
        };
        // Each is compiled here to see whether it may be: so they are counted before.
        let own = &mut self.cost.entry(within).or_default().own;
        own.patterns += 1;
        if own.patterns > PATTERNS_MAX {
            return self.refuse("schema_pattern", pointer, &format!("more than {PATTERNS_MAX} patterns"));
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return self.refuse("schema_pattern", pointer, &format!("longer than {PATTERN_BYTES_MAX} bytes"));
        }
        if compile(&json!({ "pattern": pattern })).is_err() {
            let reason = "not a pattern in RE2's manner: no look-around, no back-references, of modest size";
            return self.refuse("schema_pattern", pointer, reason);
        }
        self.text(pointer, pattern)
    }

    /// What is there to be read is plain text; a value, such as `<DEL>` of a VCF, is what it is.
    fn untagged(&self, keyword: &str, pointer: &str, value: &Value) -> Result<(), ManifestError> {
        let to_be_read = ["title", "description", "$comment"].contains(&keyword);
        match value.as_str().filter(|_| to_be_read).and_then(tag) {
            Some(tag) => self.refuse("schema_text", pointer, &format!("holds the tag `{}`", shown(tag, 100))),
            None => Ok(()),
        }
    }

    fn texts(&self, pointer: &str, value: &Value) -> Result<(), ManifestError> {
        match value {
            Value::String(text) => self.text(pointer, text),
            Value::Array(items) => items.iter().try_for_each(|item| self.texts(pointer, item)),
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                self.text(pointer, name)?;
                self.texts(pointer, member)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn text(&self, pointer: &str, text: &str) -> Result<(), ManifestError> {
        if text.len() > TEXT_BYTES_MAX {
            return self.refuse(
                "schema_text",
                pointer,
                &format!("a text is longer than {TEXT_BYTES_MAX} bytes"),
            );
        }
        // A tab may be a param's value, such as a separator, and a schema shows it escaped.
        match hidden(text) {
            Some(c) if c != '\t' => {
                self.refuse("schema_text", pointer, &format!("invisible character {}", c.escape_unicode()))
            }
            _ => Ok(()),
        }
    }

    fn expanded_size(&self) -> Result<(), ManifestError> {
        let mut sizes = BTreeMap::new();
        for within in self.cost.keys() {
            let size = self.size_of(*within, &mut sizes)?;
            if size.subschemas > SUBSCHEMAS_MAX {
                let reason = format!("more than {SUBSCHEMAS_MAX} subschemas with references written out");
                return self.refuse("schema_too_large", "", &reason);
            }
            if size.patterns > PATTERNS_MAX {
                let reason = format!("more than {PATTERNS_MAX} patterns with references written out");
                return self.refuse("schema_pattern", "", &reason);
            }
        }
        Ok(())
    }

    /// The size of `within` with references written out. An entry of `None` is under way: to
    /// meet it again is a cycle.
    fn size_of(
        &self,
        within: Option<&'a str>,
        sizes: &mut BTreeMap<Option<&'a str>, Option<Size>>,
    ) -> Result<Size, ManifestError> {
        match sizes.get(&within) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => {
                let name = within.unwrap_or_default();
                return self.refuse("schema_ref", &format!("/$defs/{name}"), "refers to itself");
            }
            None => {}
        }
        sizes.insert(within, None);
        let nothing = Size { subschemas: 1, patterns: 0 };
        let (own, names) =
            self.cost.get(&within).map_or((nothing, &[][..]), |cost| (cost.own, &cost.refers_to));
        let mut size = own;
        for name in names {
            size = size.plus(self.size_of(Some(name), sizes)?);
        }
        sizes.insert(within, Some(size));
        Ok(size)
    }
}
