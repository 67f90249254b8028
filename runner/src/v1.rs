//! Version 1 of the toolpack interface: the imports as a guest calls them, and its answers as
//! the host's own records. Nothing past this file knows the generated types.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::state::{Reader, State};
use super::stop::Stop;
use crate::raw;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/v1",
        world: "toolpack",
        imports: { default: trappable },
        with: {
            "helix:toolpack/artifacts.reader": crate::state::Reader,
            "helix:toolpack/outputs.writer": crate::v1::Writer,
        },
    });
}

pub use bindings::{Toolpack, ToolpackPre};

use bindings::helix::toolpack::{artifacts, log, outputs, types};

/// A writer that the guest holds: the position of its output.
pub struct Writer(usize);

/// The imports, ready to be linked.
pub fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    Toolpack::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
    Ok(linker)
}

impl artifacts::Host for State {
    fn open(
        &mut self,
        role: String,
        index: u32,
        how: artifacts::How,
    ) -> wasmtime::Result<Result<Resource<Reader>, artifacts::OpenError>> {
        self.enter("artifacts.open").map_err(raise)?;
        let decoded = matches!(how, artifacts::How::Decoded);
        let Some(reader) = State::open(self, &role, index, decoded).map_err(raise)? else {
            return Ok(Err(artifacts::OpenError::NotLinked));
        };
        Ok(Ok(self.table.push(reader)?))
    }
}

impl artifacts::HostReader for State {
    fn read(&mut self, reader: Resource<Reader>, max: u32) -> wasmtime::Result<Vec<u8>> {
        self.enter("reader.read").map_err(raise)?;
        self.with_reader(&reader, |state, reader| state.read(reader, max))
    }

    fn read_at(&mut self, reader: Resource<Reader>, offset: u64, max: u32) -> wasmtime::Result<Vec<u8>> {
        self.enter("reader.read-at").map_err(raise)?;
        self.with_reader(&reader, |state, reader| state.read_at(reader, offset, max))
    }

    fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
        let reader = self.table.delete(reader)?;
        self.close(reader);
        Ok(())
    }
}

impl State {
    /// Lends a reader to `act` together with the rest of the state, of which the table is a part.
    fn with_reader(
        &mut self,
        reader: &Resource<Reader>,
        act: impl FnOnce(&mut Self, &mut Reader) -> Result<Vec<u8>, Stop>,
    ) -> wasmtime::Result<Vec<u8>> {
        let mut lent = std::mem::replace(self.table.get_mut(reader)?, Reader::Lent);
        let result = act(self, &mut lent);
        *self.table.get_mut(reader)? = lent;
        result.map_err(raise)
    }
}

impl outputs::Host for State {
    fn create(
        &mut self,
        role: String,
        key: String,
    ) -> wasmtime::Result<Result<Resource<Writer>, outputs::CreateError>> {
        self.enter("outputs.create").map_err(raise)?;
        if !self.declares(&role) {
            return Ok(Err(outputs::CreateError::Undeclared));
        }
        if !self.key_is_free(&role, &key) {
            return Ok(Err(outputs::CreateError::BadKey));
        }
        let output = State::create(self, &role, &key).map_err(raise)?;
        Ok(Ok(self.table.push(Writer(output))?))
    }
}

impl outputs::HostWriter for State {
    fn write(&mut self, writer: Resource<Writer>, bytes: Vec<u8>) -> wasmtime::Result<()> {
        self.enter("writer.write").map_err(raise)?;
        let Writer(output) = *self.table.get(&writer)?;
        State::write(self, output, &bytes).map_err(raise)
    }

    fn finish(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.enter("writer.finish").map_err(raise)?;
        let Writer(output) = *self.table.get(&writer)?;
        State::finish(self, output).map_err(raise)
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        self.close_writer();
        Ok(())
    }
}

/// The one interface that is open while a guest describes or plans.
impl log::Host for State {
    fn log(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        self.count_call().map_err(raise)?;
        self.count_bytes(text.len() as u64).map_err(raise)?;
        let level = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warning => "warning",
            log::Level::Error => "error",
        };
        State::log(self, level, text).map_err(raise)
    }

    fn progress(&mut self, done: u64, total: Option<u64>, text: String) -> wasmtime::Result<()> {
        self.count_call().map_err(raise)?;
        self.count_bytes(text.len() as u64).map_err(raise)?;
        State::progress(self, done, total, text).map_err(raise)
    }
}

impl types::Host for State {}

fn raise(stop: Stop) -> wasmtime::Error {
    wasmtime::Error::new(stop)
}

/// A call, as the guest sees it.
pub fn call(call: raw::Call) -> types::Call {
    let input = |input: raw::LinkedInput| types::LinkedInput {
        role: input.role,
        index: input.index,
        sample: input.sample,
        type_: input.artifact_type,
        digest: input.digest,
        size_bytes: input.size_bytes,
    };
    types::Call { tool: call.tool, params: call.params, inputs: call.inputs.into_iter().map(input).collect() }
}

impl From<types::Manifest> for raw::Manifest {
    fn from(said: types::Manifest) -> Self {
        Self {
            name: said.name,
            version: said.version,
            description: said.description,
            licence: said.licence,
            homepage: said.homepage,
            tools: said.tools.into_iter().map(Into::into).collect(),
            extra: said.extra,
        }
    }
}

impl From<types::Tool> for raw::Tool {
    fn from(said: types::Tool) -> Self {
        Self {
            name: said.name,
            contract: said.contract,
            title: said.title,
            description: said.description,
            params_schema: said.params_schema,
            result_schema: said.result_schema,
            inputs: said.inputs.into_iter().map(Into::into).collect(),
            outputs: said.outputs.into_iter().map(Into::into).collect(),
            images: said.images.into_iter().map(Into::into).collect(),
            read_only: said.read_only,
            idempotent: said.idempotent,
            software: said.software.into_iter().map(Into::into).collect(),
            extra: said.extra,
        }
    }
}

impl From<types::DeclaredInput> for raw::Input {
    fn from(said: types::DeclaredInput) -> Self {
        Self { role: said.role, types: said.types, count: said.count.into(), description: said.description }
    }
}

impl From<types::DeclaredOutput> for raw::Output {
    fn from(said: types::DeclaredOutput) -> Self {
        Self {
            role: said.role,
            artifact_type: said.type_,
            label: said.label,
            count: said.count.into(),
            description: said.description,
            check: match said.check {
                types::CheckLevel::None => raw::CheckLevel::None,
                types::CheckLevel::Sniff => raw::CheckLevel::Sniff,
                types::CheckLevel::Whole => raw::CheckLevel::Whole,
            },
        }
    }
}

impl From<types::DeclaredImage> for raw::Image {
    fn from(said: types::DeclaredImage) -> Self {
        Self { name: said.name, reference: said.reference, platform: said.platform }
    }
}

impl From<types::Software> for raw::Software {
    fn from(said: types::Software) -> Self {
        Self { name: said.name, version: said.version, doi: said.doi, url: said.url, licence: said.licence }
    }
}

impl From<types::Count> for raw::Count {
    fn from(said: types::Count) -> Self {
        Self { min: said.min, max: said.max }
    }
}

impl From<types::Proposal> for raw::Proposal {
    fn from(said: types::Proposal) -> Self {
        let input = |said: types::PlannedInput| raw::PlannedInput { role: said.role, index: said.index };
        let output =
            |said: types::PlannedOutput| raw::PlannedOutput { role: said.role, count: said.count.into() };
        Self {
            inputs: said.inputs.into_iter().map(input).collect(),
            outputs: said.outputs.into_iter().map(output).collect(),
            steps: said.steps.into_iter().map(Into::into).collect(),
            extra: said.extra,
        }
    }
}

impl From<types::PlannedStep> for raw::PlannedStep {
    fn from(said: types::PlannedStep) -> Self {
        Self {
            name: said.name,
            image: said.image,
            environment: said.environment,
            instances_max: said.instances_max,
            cpus_max: said.cpus_max,
            memory_bytes_max: said.memory_bytes_max,
            seconds_max: said.seconds_max,
        }
    }
}

impl From<types::Report> for raw::Report {
    fn from(said: types::Report) -> Self {
        Self { result: said.result, summary: said.summary, extra: said.extra }
    }
}

impl From<types::ToolError> for raw::ToolError {
    fn from(said: types::ToolError) -> Self {
        match said {
            types::ToolError::InvalidParams(types::InvalidParams { pointer, reason }) => {
                Self::InvalidParams { pointer, reason }
            }
            types::ToolError::InvalidInput(types::InvalidInput { role, index, reason }) => {
                Self::InvalidInput { role, index, reason }
            }
            types::ToolError::Failed(reason) => Self::Failed { reason },
        }
    }
}
