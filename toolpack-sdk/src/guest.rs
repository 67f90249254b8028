//! The component's side of the world: turns the generated records into ours and back.

mod steps;

use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Once;

use crate::host::{Host, How, Level, Running, Sink, Source};
use crate::manifest::{self, CheckLevel};
use crate::steps::Order;
use crate::{ToolError, Toolpack};

#[expect(clippy::all, reason = "generated from wit/v1")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit/v1",
        world: "toolpack",
        pub_export_macro: true,
        default_bindings_module: "$crate::guest::bindings",
    });
}

use bindings::helix::toolpack::types as wit;
use bindings::helix::toolpack::{artifacts, log, outputs};

/// A toolpack as the world wants it.
pub struct Exported<T>(PhantomData<T>);

impl<T: Toolpack> bindings::Guest for Exported<T> {
    fn describe() -> wit::Manifest {
        log_panics();
        T::manifest().into()
    }

    fn plan(call: wit::Call) -> Result<wit::Proposal, wit::ToolError> {
        log_panics();
        T::plan(&call.into()).map(Into::into).map_err(Into::into)
    }

    fn run(call: wit::Call) -> Result<wit::Report, wit::ToolError> {
        log_panics();
        let report = T::run(&call.into(), Rc::new(World))?;
        Ok(wit::Report { result: report.result, summary: report.summary, extra: String::new() })
    }
}

/// A panic becomes a trap, which has no words: they are logged first.
fn log_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| log::log(log::Level::Error, &panic.to_string())));
    });
}

/// The world's imports.
struct World;

impl Host for World {
    fn open(&self, role: &str, index: u32, how: How) -> Box<dyn Source> {
        let how = how.into();
        // An `Input` exists only for what is linked, so a refusal is the host's own mistake.
        match artifacts::open(role, index, how) {
            Ok(reader) => Box::new(reader),
            Err(artifacts::OpenError::NotLinked) => unreachable!("input {role}[{index}] is linked"),
        }
    }

    fn create(&self, role: &str, key: &str) -> Result<Box<dyn Sink>, ToolError> {
        match outputs::create(role, key) {
            Ok(writer) => Ok(Box::new(writer)),
            Err(refused) => Err(not_created(refused, role, key)),
        }
    }

    fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warning => log::Level::Warning,
            Level::Error => log::Level::Error,
        };
        log::log(level, text);
    }

    fn progress(&self, done: u64, total: Option<u64>, text: &str) {
        log::progress(done, total, text);
    }

    fn start(&self, order: &Order<'_>) -> Box<dyn Running> {
        steps::start(order)
    }

    fn wait_any(&self, steps: &[&dyn Running]) -> usize {
        steps::wait_any(steps)
    }
}

impl From<How> for artifacts::How {
    fn from(how: How) -> Self {
        match how {
            How::Raw => Self::Raw,
            How::Decoded => Self::Decoded,
        }
    }
}

/// Why there is no output, in words for the toolpack's author.
fn not_created(refused: outputs::CreateError, role: &str, key: &str) -> ToolError {
    match refused {
        outputs::CreateError::Undeclared => ToolError::failed(format!("no output role {role:?} is declared")),
        outputs::CreateError::BadKey => {
            ToolError::failed(format!("output key {key:?} of role {role:?} is malformed or taken"))
        }
    }
}

impl Source for artifacts::Reader {
    fn read(&mut self, max: u32) -> io::Result<Vec<u8>> {
        Ok(artifacts::Reader::read(self, max))
    }

    fn read_at(&mut self, offset: u64, max: u32) -> io::Result<Vec<u8>> {
        Ok(artifacts::Reader::read_at(self, offset, max))
    }
}

impl Sink for outputs::Writer {
    fn write(&mut self, bytes: &[u8]) {
        outputs::Writer::write(self, bytes);
    }

    fn finish(&mut self) {
        outputs::Writer::finish(self);
    }
}

impl From<wit::Call> for manifest::Call {
    fn from(call: wit::Call) -> Self {
        let linked = |input: wit::LinkedInput| manifest::LinkedInput {
            role: input.role,
            index: input.index,
            sample: input.sample,
            artifact_type: input.type_,
            digest: input.digest,
            size_bytes: input.size_bytes,
        };
        Self { tool: call.tool, params: call.params, inputs: call.inputs.into_iter().map(linked).collect() }
    }
}

impl From<manifest::Count> for wit::Count {
    fn from(count: manifest::Count) -> Self {
        Self { min: count.min, max: count.max }
    }
}

impl From<manifest::Manifest> for wit::Manifest {
    fn from(manifest: manifest::Manifest) -> Self {
        Self {
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            licence: manifest.licence,
            homepage: manifest.homepage,
            tools: manifest.tools.into_iter().map(Into::into).collect(),
            extra: String::new(),
        }
    }
}

impl From<manifest::DeclaredTool> for wit::Tool {
    fn from(tool: manifest::DeclaredTool) -> Self {
        let input = |input: manifest::DeclaredInput| wit::DeclaredInput {
            role: input.role,
            types: input.types,
            count: input.count.into(),
            description: input.description,
        };
        let software = |software: manifest::Software| wit::Software {
            name: software.name,
            version: software.version,
            doi: software.doi,
            url: software.url,
            licence: software.licence,
        };
        let image = |image: manifest::DeclaredImage| wit::DeclaredImage {
            name: image.name,
            reference: image.reference,
            platform: image.platform,
        };
        Self {
            name: tool.name,
            contract: tool.contract,
            title: tool.title,
            description: tool.description,
            params_schema: tool.params_schema,
            result_schema: tool.result_schema,
            inputs: tool.inputs.into_iter().map(input).collect(),
            outputs: tool.outputs.into_iter().map(Into::into).collect(),
            images: tool.images.into_iter().map(image).collect(),
            read_only: tool.read_only,
            idempotent: tool.idempotent,
            software: tool.software.into_iter().map(software).collect(),
            extra: String::new(),
        }
    }
}

impl From<manifest::DeclaredOutput> for wit::DeclaredOutput {
    fn from(output: manifest::DeclaredOutput) -> Self {
        Self {
            role: output.role,
            type_: output.artifact_type,
            label: output.label,
            count: output.count.into(),
            description: output.description,
            check: match output.check {
                CheckLevel::None => wit::CheckLevel::None,
                CheckLevel::Sniff => wit::CheckLevel::Sniff,
                CheckLevel::Whole => wit::CheckLevel::Whole,
            },
        }
    }
}

impl From<manifest::Proposal> for wit::Proposal {
    fn from(proposal: manifest::Proposal) -> Self {
        let input =
            |input: manifest::PlannedInput| wit::PlannedInput { role: input.role, index: input.index };
        let output = |output: manifest::PlannedOutput| wit::PlannedOutput {
            role: output.role,
            count: output.count.into(),
        };
        Self {
            inputs: proposal.inputs.into_iter().map(input).collect(),
            outputs: proposal.outputs.into_iter().map(output).collect(),
            steps: proposal.steps.into_iter().map(Into::into).collect(),
            extra: String::new(),
        }
    }
}

impl From<manifest::PlannedStep> for wit::PlannedStep {
    fn from(step: manifest::PlannedStep) -> Self {
        Self {
            name: step.name,
            image: step.image,
            environment: step.environment,
            instances_max: step.instances_max,
            cpus_max: step.cpus_max,
            memory_bytes_max: step.memory_bytes_max,
            seconds_max: step.seconds_max,
        }
    }
}

impl From<ToolError> for wit::ToolError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::InvalidParams { pointer, reason } => {
                Self::InvalidParams(wit::InvalidParams { pointer, reason })
            }
            ToolError::InvalidInput { role, index, reason } => {
                Self::InvalidInput(wit::InvalidInput { role, index, reason })
            }
            ToolError::Failed { reason } => Self::Failed(reason),
        }
    }
}
