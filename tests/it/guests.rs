//! Guests by name: `.wat` under tests/guests, completed by one shared prelude, encoded by
//! `wit-component` as a toolchain would.
//!
//! A file holds what is its own: functions that replace the prelude's (`$describe`, `$plan`,
//! `$run`, `$realloc`), and directives `;;@ key value` (values are JSON) that change what the
//! guest says of itself. A file that is a whole `(module …)` or `(component …)` is added, unused
//! unless it says `;;@ instantiate N`, to an otherwise honest component: so a test of a feature
//! tests nothing else. `;;@ whole` makes the file the component itself; `;;@ limits` says under
//! which limits the attack is tried; what is large is written out by [`crate::template`].

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::abi::{Memory, Val};
use crate::sections;
use crate::template::{self, DIRECTIVE, Repetitions};

/// Where static data begins; below it lies the area that host calls answer into.
const DATA_START: u32 = 4096;

/// A guest that behaves, from tests/guests/honest.
pub fn honest(name: &str) -> Result<Vec<u8>> {
    first(Guest::all(&folder("honest").join(format!("{name}.wat")))?)
}

/// One attack, from tests/guests/hostile.
pub fn hostile(name: &str) -> Result<Vec<u8>> {
    first(attacks(name)?)
}

/// An attack in each of its variants.
pub fn attacks(name: &str) -> Result<Vec<Guest>> {
    Guest::all(&folder("hostile").join(format!("{name}.wat")))
}

fn first(guests: Vec<Guest>) -> Result<Vec<u8>> {
    Ok(guests.into_iter().next().context("a file of no guest")?.component)
}

/// A guest, ready to be placed.
pub struct Guest {
    /// The value of `each` that it stands for.
    pub variant: String,
    pub component: Vec<u8>,
    /// `;;@ limits {"guest.fuel": "1000"}`: the limits under which it is tried, as TOML.
    pub limits: Vec<(String, String)>,
}

impl Guest {
    fn all(path: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
        let encode = |(variant, text): (String, String)| {
            let source = Source::parse(&name, &text)?;
            let component = source.encode().with_context(|| format!("cannot encode {}", path.display()))?;
            Ok(Self { variant, component, limits: source.limits()? })
        };
        template::variants(&text)?.into_iter().map(encode).collect()
    }
}

/// The names of all attacks.
pub fn hostile_names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder("hostile"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(kind)
}

/// A guest's file, taken apart.
struct Source {
    toolpack: String,
    directives: Vec<(String, Value)>,
    /// WIT of a world of its own, between `(;@wit` and `;)`.
    wit: Option<String>,
    code: String,
    /// What the code is, if not the body of the prelude's module: a section that is put beside it.
    beside: Option<u8>,
}

impl Source {
    fn parse(toolpack: &str, text: &str) -> Result<Self> {
        let repetitions = Repetitions::of(text)?;
        let mut directives = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(DIRECTIVE)) {
            let (key, value) = line.split_once(' ').unwrap_or((line, "true"));
            let value = serde_json::from_str(value).with_context(|| format!("directive `{line}`"))?;
            if !key.starts_with("repeat:") {
                directives.push((key.to_owned(), repetitions.apply_in(value)));
            }
        }
        let wit = text.split_once("(;@wit").and_then(|(_, rest)| rest.split_once(";)"));
        let lines = text.lines().filter(|line| !line.starts_with(DIRECTIVE)).map(|line| format!("{line}\n"));
        let code = repetitions.apply(&lines.collect::<String>());
        let begins = |word| text.lines().any(|line| line.starts_with(word));
        let module = begins("(module").then_some(sections::CORE_MODULE);
        let beside = module.or(begins("(component").then_some(sections::COMPONENT));
        Ok(Self {
            toolpack: toolpack.to_owned(),
            directives,
            wit: wit.map(|(wit, _)| wit.to_owned()),
            code,
            beside,
        })
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.directives.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.value(key).and_then(Value::as_str).unwrap_or(default).to_owned()
    }

    fn number(&self, key: &str) -> Option<usize> {
        self.value(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
    }

    fn limits(&self) -> Result<Vec<(String, String)>> {
        let Some(limits) = self.value("limits") else { return Ok(Vec::new()) };
        let limits = limits.as_object().context("limits are an object")?.iter();
        let toml = |value: &Value| value.as_str().map(str::to_owned).context("a limit is TOML in a text");
        limits.map(|(key, value)| Ok((key.clone(), toml(value)?))).collect()
    }

    fn byte(&self, key: &str, default: u8) -> u8 {
        self.number(key).and_then(|number| u8::try_from(number).ok()).unwrap_or(default)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        if self.value("whole").is_some() {
            return Ok(wat::parse_str(&self.code)?);
        }
        let mut module = wat::parse_str(self.module()?)?;
        let (resolve, world) = self.world()?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        let mut encoder = ComponentEncoder::default().merge_imports_based_on_semver(false).module(&module)?;
        let mut component = encoder.encode()?;
        if let Some(section) = self.beside {
            let times = self.number("instantiate").unwrap_or(0);
            let body = wat::parse_str(&self.code)?;
            sections::append_and_instantiate(&mut component, section, &body, times)?;
        }
        if let Some(depth) = self.number("nest") {
            sections::append(&mut component, sections::COMPONENT, &sections::nested(depth)?)?;
        }
        if let Some(bytes) = self.number("custom-section-bytes") {
            let mut section = vec![4, b'j', b'u', b'n', b'k'];
            section.resize(bytes, b'x');
            sections::append(&mut component, sections::CUSTOM, &section)?;
        }
        for _ in 0..self.number("custom-sections").unwrap_or(0) {
            sections::append(&mut component, sections::CUSTOM, b"\x01x")?;
        }
        if let Some(bytes) = self.number("truncate") {
            component.truncate(component.len().saturating_sub(bytes));
        }
        component.extend(self.text("trailing", "").bytes());
        Ok(component)
    }

    fn world(&self) -> Result<(Resolve, wit_parser::WorldId)> {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("wit").join("v1");
        let mut group = String::from("package helix:toolpack@1.0.0;\n");
        for file in ["types", "artifacts", "outputs", "steps", "log", "world"] {
            let text = fs::read_to_string(wit.join(format!("{file}.wit")))?;
            group.push_str(&text.replace("package helix:toolpack@1.0.0;", ""));
        }
        if let Some(Value::Array(pair)) = self.value("wit-replace") {
            let [Value::String(from), Value::String(to)] = pair.as_slice() else { bail!("wit-replace") };
            ensure!(group.contains(from.as_str()), "the WIT no longer says `{from}`");
            group = group.replace(from.as_str(), to);
        }
        let toolpack = resolve.push_str("toolpack.wit", &group)?;
        let world = match &self.wit {
            Some(own) => {
                let own = resolve.push_str("attack.wit", own)?;
                resolve.select_world(&[own], Some("attack"))?
            }
            None => resolve.select_world(&[toolpack], Some("toolpack"))?,
        };
        Ok((resolve, world))
    }

    /// The whole core module as text.
    fn module(&self) -> Result<String> {
        let own = if self.beside.is_some() { "" } else { self.code.as_str() };
        let prelude = fs::read_to_string(folder("").join("prelude.wat"))?;
        let (imports, rest) = prelude.split_once(";;; end of imports\n").context("the prelude's parts")?;
        let mut text = format!("(module\n{imports}\n");
        // The attack's own imports come first in its file, before all that is defined.
        let (own_imports, own_rest) = own.split_once(";;; end of imports\n").unwrap_or(("", own));
        text.push_str(own_imports);
        text.push_str(&self.data()?);
        text.push_str(own_rest);
        for definition in rest.split(";;; ").skip(1) {
            // Each default is named in its first line, and left out where the file has its own.
            let (name, body) = definition.split_once('\n').context("a default of the prelude")?;
            if !own_rest.contains(name.trim()) {
                text.push_str(body);
            }
        }
        text.push_str(")\n");
        Ok(text)
    }

    /// Memory with all that the guest says of itself, and globals that point into it.
    fn data(&self) -> Result<String> {
        let mut memory = Memory::at(DATA_START);
        let mut globals = String::new();
        let mut global = |name: &str, value: u32| {
            globals.push_str(&format!("(global ${name} i32 (i32.const {value}))\n"));
        };
        global("MANIFEST", memory.put(&self.manifest()?));
        global("PLAN", memory.put(&self.plan()));
        global("REPORT", memory.put(&self.report()));
        let mut texts = vec![("OUT", "out"), ("DATA", "data"), ("MAIN", "main"), ("HELLO", "hello\n")];
        texts.extend(self.named("text"));
        for (name, text) in texts {
            let at = memory.bytes(text.as_bytes(), 1);
            global(name, at);
            global(&format!("{name}_LEN"), u32::try_from(text.len())?);
        }
        for (name, reason) in self.named("failed") {
            let failed = Val::Case(2, 4, Box::new(Val::text(reason)));
            global(name, memory.put(&Val::Case(1, 4, Box::new(failed))));
        }
        let end = memory.end().next_multiple_of(16);
        let pages = self.number("pages").unwrap_or(4);
        ensure!(usize::try_from(end)? < pages * 65536, "static data is larger than the memory");
        Ok(format!(
            "(memory $memory (export \"memory\") {pages})\n{globals}(global $heap (mut i32) (i32.const {end}))\n\
             (data (i32.const {DATA_START}) \"{}\")\n",
            memory.escaped()
        ))
    }

    /// `;;@ text:NAME "…"` and `;;@ failed:NAME "…"`.
    fn named(&self, kind: &str) -> Vec<(&str, &str)> {
        let named = self.directives.iter();
        named
            .filter_map(|(key, value)| Some((key.strip_prefix(kind)?.strip_prefix(':')?, value.as_str()?)))
            .collect()
    }

    fn manifest(&self) -> Result<Val> {
        let schema = r#"{"type":"object","properties":{},"additionalProperties":false}"#;
        let tool = Val::Record(vec![
            Val::text(&self.text("tool", "attack")),
            Val::text("v1"),
            Val::text(&self.text("title", "A guest of the tests")),
            Val::text(&self.text("description", "Does what the test says.")),
            Val::text(&self.text("params-schema", schema)),
            Val::text(&self.text("result-schema", schema)),
            Val::List(vec![declared_input()]),
            Val::List(self.outputs().into_iter().map(|output| self.declared_output(output)).collect()),
            Val::List(Vec::new()),
            Val::U8(self.byte("read-only", 1)),
            Val::U8(1),
            Val::List(Vec::new()),
            Val::text(""),
        ]);
        Ok(Val::Record(vec![
            Val::text(&self.text("toolpack", &self.toolpack)),
            Val::text("1.0.0"),
            Val::text("A guest of the tests."),
            Val::text("Apache-2.0"),
            Val::text(""),
            Val::List(vec![tool]),
            Val::text(""),
        ]))
    }

    fn declared_output(&self, (role, most): (String, u32)) -> Val {
        Val::Record(vec![
            Val::text(&role),
            Val::text(&self.text("output-type", "TEXT")),
            Val::text(&self.text("label", &format!("{role}.txt"))),
            Val::U32(1),
            Val::U32(most),
            Val::text("What the guest wrote."),
            Val::U8(self.byte("output-check", 0)),
        ])
    }

    /// (role, most): each exactly once unless `;;@ outputs [["out", 2]]` says otherwise.
    fn outputs(&self) -> Vec<(String, u32)> {
        let Some(Value::Array(rows)) = self.value("outputs") else { return vec![("out".to_owned(), 1)] };
        let row = |row: &Value| {
            Some((row[0].as_str()?.to_owned(), row[1].as_u64().and_then(|most| u32::try_from(most).ok())?))
        };
        rows.iter().filter_map(row).collect()
    }

    fn plan(&self) -> Val {
        let inputs = match self.value("plan-inputs") {
            Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).map(planned_input).collect(),
            _ => Vec::new(),
        };
        let outputs = self.outputs().into_iter().map(|(role, most)| {
            let most = self.number("plan-most").and_then(|most| u32::try_from(most).ok()).unwrap_or(most);
            Val::Record(vec![Val::text(&role), Val::U32(1), Val::U32(most)])
        });
        let proposal = Val::Record(vec![
            Val::List(inputs),
            Val::List(outputs.collect()),
            Val::List(Vec::new()),
            Val::text(""),
        ]);
        Val::Case(0, 4, Box::new(proposal))
    }

    fn report(&self) -> Val {
        let summary = match self.value("summary-bytes") {
            Some(Value::Array(bytes)) => {
                Val::Text(bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect())
            }
            _ => Val::text(&self.text("summary", "Done.")),
        };
        let report = Val::Record(vec![Val::text(&self.text("result", "{}")), summary, Val::text("")]);
        Val::Case(0, 4, Box::new(report))
    }
}

fn declared_input() -> Val {
    Val::Record(vec![
        Val::text("data"),
        Val::List(vec![Val::text("TEXT"), Val::text("FASTQ"), Val::text("FASTQ_GZ"), Val::text("BAM")]),
        Val::U32(0),
        Val::U32(1),
        Val::text("Any text, or what a host decodes."),
    ])
}

fn planned_input(role: &str) -> Val {
    Val::Record(vec![Val::text(role), Val::U32(0)])
}
