//! Version 1 of the toolpack interface: the imports as a guest calls them, and its answers as
//! the host's own records. Nothing past this file and its folder knows the generated types.

mod records;
mod steps;

use wasmtime::component::{HasSelf, Linker, Resource};

use super::state::{Reader, State};
use super::stop::Stop;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/v1",
        world: "toolpack",
        imports: { default: trappable },
        with: {
            "helix:toolpack/artifacts.reader": crate::state::Reader,
            "helix:toolpack/outputs.writer": crate::v1::Writer,
            "helix:toolpack/steps.step": crate::v1::steps::Step,
            "helix:toolpack/steps.file": crate::v1::steps::File,
        },
    });
}

pub use bindings::{Toolpack, ToolpackPre};
pub use records::call;

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
        if let Err(refused) = self.may_create(&role, &key) {
            return Ok(Err(refused));
        }
        let output = State::create(self, &role, &key).map_err(raise)?;
        Ok(Ok(self.table.push(Writer(output))?))
    }
}

impl State {
    /// Whether there may be an output of this role and key, written or published.
    fn may_create(&self, role: &str, key: &str) -> Result<(), outputs::CreateError> {
        if !self.declares(role) {
            return Err(outputs::CreateError::Undeclared);
        }
        if !self.key_is_free(role, key) {
            return Err(outputs::CreateError::BadKey);
        }
        Ok(())
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
        self.give_back_handle();
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
