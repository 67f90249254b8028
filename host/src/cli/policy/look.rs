//! A component as an operator must see it before allowing it. Only a runner looks inside (I-2).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use helix_ids::Digest;
use serde_json::{Value, json};

use super::images;
use crate::cli::Settings;
use crate::cli::home::Home;
use crate::cli::output::{self, EXIT_FAILED, EXIT_FAULT, Told};
use crate::contract::{Count, Manifest, Tool};
use crate::policy::Policy;
use crate::sandbox::client::SandboxSettings;
use crate::sandbox::protocol::{CompileLimits, Inspection};
use crate::sandbox::{GuestError, LoadError, Sandbox};

/// A component that a runner looked at.
pub(in crate::cli) struct Looked {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub inspection: Inspection,
    pub manifest: Manifest,
}

/// Looks into components, with the home's cache, so that the host need not compile them again.
pub(super) struct Looker {
    sandbox: Sandbox,
    limits: CompileLimits,
    toolpacks: PathBuf,
}

impl Looker {
    pub fn new(settings: &Settings, policy: &Policy) -> anyhow::Result<Self> {
        let home = Home::open_or_make(&settings.home)?;
        let sandbox = Sandbox::new(SandboxSettings {
            cache_dir: home.folder("cache")?,
            key: home.cache_key()?,
            runners_max: 1,
            runner_exe: PathBuf::from("/proc/self/exe"),
        });
        sandbox.confine(crate::call::host::confinement(policy));
        let limits = crate::catalog::load::limits(policy);
        Ok(Self { sandbox, limits, toolpacks: home.folder("toolpacks")? })
    }

    /// Where the home keeps components.
    pub fn toolpacks(&self) -> &Path {
        &self.toolpacks
    }

    /// # Errors
    /// [`Told`] with the reason code where the toolpack's author must act.
    pub async fn look(&self, bytes: Vec<u8>) -> anyhow::Result<Looked> {
        let compiled = self.sandbox.load(&bytes, &self.limits).await.map_err(of_load)?;
        let raw = self.sandbox.describe(&compiled).await.map_err(|error| of_guest(&error))?;
        let manifest = Manifest::parse(raw)
            .map_err(|error| Told::error(EXIT_FAILED, format!("refused ({}): {error}", error.code)))?;
        Ok(Looked { digest: compiled.digest, bytes, inspection: compiled.inspection, manifest })
    }

    /// A component that the home keeps already; `None` where its file is not there.
    pub async fn kept(&self, digest: &Digest) -> anyhow::Result<Option<Looked>> {
        let path = self.toolpacks.join(format!("{}.wasm", digest.to_hex()));
        let bytes = match self.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if Digest::of(&bytes) != *digest {
            let message = format!("{} is damaged: it holds other bytes", path.display());
            return Err(Told::error(EXIT_FAULT, message));
        }
        Ok(Some(self.look(bytes).await?))
    }

    /// At most one byte more than a component may have, which is then refused for its size.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(self.limits.component_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn of_load(error: LoadError) -> anyhow::Error {
    match error {
        LoadError::Refused { code, message } => {
            Told::error(EXIT_FAILED, format!("refused ({code}): {message}"))
        }
        LoadError::Fault { message } => Told::error(EXIT_FAULT, message),
    }
}

fn of_guest(error: &GuestError) -> anyhow::Error {
    let code = match error {
        GuestError::Fault { .. } => EXIT_FAULT,
        GuestError::Tool(..)
        | GuestError::Trap { .. }
        | GuestError::Input { .. }
        | GuestError::Limit { .. } => EXIT_FAILED,
    };
    Told::error(code, format!("`describe` did not answer: {error}"))
}

impl Looked {
    /// As JSON; with a policy, also what it says of each image.
    pub fn to_json(&self, policy: Option<&Policy>) -> Value {
        let Manifest { name, version, description, licence, homepage, tools } = &self.manifest;
        json!({
            "digest": self.digest,
            "name": name,
            "version": version,
            "description": description,
            "licence": licence,
            "homepage": homepage,
            "size_bytes": self.inspection.size_bytes.to_string(),
            "functions": self.inspection.functions,
            "imports": self.inspection.imports,
            "images": images::to_json(&self.manifest, policy),
            "tools": tools.iter().map(tool_json).collect::<Vec<_>>(),
        })
    }

    /// All that the toolpack says of itself, for a person.
    pub fn print(&self, out: &mut dyn Write, policy: Option<&Policy>) -> io::Result<()> {
        let manifest = &self.manifest;
        writeln!(out, "toolpack  {} {}", manifest.name, output::visible(&manifest.version))?;
        writeln!(out, "digest    {}", self.digest)?;
        let (size, functions) = (output::size(self.inspection.size_bytes), self.inspection.functions);
        writeln!(out, "size      {size}, {functions} functions")?;
        writeln!(out, "licence   {}", output::visible(&manifest.licence))?;
        if !manifest.homepage.is_empty() {
            writeln!(out, "homepage  {}", output::visible(&manifest.homepage))?;
        }
        writeln!(out, "imports   {}", output::visible(&self.inspection.imports.join(", ")))?;
        images::print(out, manifest, policy)?;
        indented(out, "  ", &manifest.description)?;
        manifest.tools.iter().try_for_each(|tool| print_tool(out, tool))
    }

    /// What the policy lacks before this toolpack's containers can start, ready to be added.
    pub fn print_missing(&self, out: &mut dyn Write, policy: &Policy) -> io::Result<()> {
        images::print_missing(out, &self.manifest, policy)
    }
}

/// Descriptions in full: a model will read them and do as they say.
fn print_tool(out: &mut dyn Write, tool: &Tool) -> io::Result<()> {
    writeln!(out, "\ntool {} ({}): {}", tool.name, tool.contract, output::visible(&tool.title))?;
    indented(out, "  ", &tool.description)?;
    for input in &tool.inputs {
        let types: Vec<&str> = input.types.iter().map(|accepted| accepted.as_str()).collect();
        writeln!(out, "  takes {} {} of {}", count(input.count), input.role, types.join(" or "))?;
        indented(out, "    ", &input.description)?;
    }
    for output in &tool.outputs {
        writeln!(out, "  makes {} {} of {}", count(output.count), output.role, output.artifact_type)?;
        indented(out, "    ", &output.description)?;
    }
    for image in &tool.images {
        writeln!(out, "  starts containers of {}", image.name)?;
    }
    let params = tool.params_schema.get("properties").and_then(Value::as_object);
    for (name, schema) in params.into_iter().flatten() {
        indented(out, "  ", &format!("param {name}: {schema}"))?;
    }
    for software in &tool.software {
        let line = format!("stands on {} {}", software.name, software.version);
        indented(out, "  ", &line)?;
    }
    Ok(())
}

fn indented(out: &mut dyn Write, indent: &str, text: &str) -> io::Result<()> {
    output::visible(text).lines().try_for_each(|line| writeln!(out, "{indent}{line}"))
}

fn count(count: Count) -> String {
    if count.min == count.max { count.min.to_string() } else { format!("{} to {}", count.min, count.max) }
}

fn tool_json(tool: &Tool) -> Value {
    let inputs: Vec<Value> = tool
        .inputs
        .iter()
        .map(|input| {
            json!({
                "role": input.role, "types": input.types, "min": input.count.min, "max": input.count.max,
                "description": input.description,
            })
        })
        .collect();
    let outputs: Vec<Value> = tool
        .outputs
        .iter()
        .map(|output| {
            json!({
                "role": output.role, "type": output.artifact_type, "min": output.count.min,
                "max": output.count.max, "description": output.description,
            })
        })
        .collect();
    json!({
        "name": tool.name,
        "contract": tool.contract,
        "title": tool.title,
        "description": tool.description,
        "params_schema": tool.params_schema,
        "inputs": inputs,
        "outputs": outputs,
        "images": tool.images.iter().map(|image| &image.name).collect::<Vec<_>>(),
        "software": tool.software,
    })
}
