//! A host in memory, so that a tool's tests are plain `cargo test`.

mod steps;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use self::steps::{Faked, Stage};
pub use self::steps::{Ordered, Played};
use crate::host::{Host, How, Level, Running, Sink, Source};
use crate::manifest::{Call, LinkedInput};
use crate::steps::Order;
use crate::{Tool, ToolError, tool};

/// Inputs for one call, in memory, and what stands in for its containers.
#[derive(Clone, Default)]
pub struct Bench {
    inputs: Vec<LinkedInput>,
    bytes: Vec<Rc<[u8]>>,
    fakes: BTreeMap<String, Rc<Faked>>,
}

/// What a call left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The report's result.
    pub result: Value,
    /// The report's summary.
    pub summary: String,
    /// Finished outputs by role and key.
    pub outputs: BTreeMap<(String, String), Vec<u8>>,
    /// Lines of log, with their level.
    pub log: Vec<(Level, String)>,
}

impl Done {
    /// The bytes of the only member of an output role; empty when there is none.
    #[must_use]
    pub fn output(&self, role: &str) -> &[u8] {
        let mut members = self.outputs.iter().filter(|((of, _), _)| of == role);
        members.next().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default()
    }
}

impl Bench {
    /// A call without inputs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Links bytes as the next member of a role.
    #[must_use]
    pub fn input(self, role: &str, artifact_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.sampled(role, artifact_type, None, bytes)
    }

    /// Links bytes as the next member of a role, with a sample's name.
    #[must_use]
    pub fn sampled(
        mut self,
        role: &str,
        artifact_type: &str,
        sample: Option<&str>,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        let bytes: Vec<u8> = bytes.into();
        let index = self.inputs.iter().map(|input| u32::from(input.role == role)).sum();
        self.inputs.push(LinkedInput {
            role: role.to_owned(),
            index,
            sample: sample.map(str::to_owned),
            artifact_type: artifact_type.to_owned(),
            digest: format!("sha256:{:064x}", self.inputs.len()),
            size_bytes: bytes.len().try_into().unwrap_or(u64::MAX),
        });
        self.bytes.push(bytes.into());
        self
    }

    /// Lets a function stand in for each step of this name: it sees what was ordered and says what came of
    /// it. The steps of a test end in the order in which they are started.
    #[must_use]
    pub fn step(mut self, name: &str, fake: impl Fn(&Ordered) -> Played + 'static) -> Self {
        self.fakes.insert(name.to_owned(), Rc::new(fake));
        self
    }

    /// Plans and runs a tool with params as JSON.
    ///
    /// # Errors
    /// The tool's own; also an output that was not finished, and steps that no host would run so: beside
    /// the plan, without what they promised, never waited for.
    pub fn run<T: Tool>(&self, params: &str) -> Result<Done, ToolError> {
        let call = Call { tool: T::NAME.to_owned(), params: params.to_owned(), inputs: self.inputs.clone() };
        let planned = tool::plan::<T>(&call)?.steps;

        let outputs = Outputs::default();
        let stage = Rc::new(Stage::new(planned, self.fakes.clone(), Rc::clone(&outputs)));
        let memory = Rc::new(Memory {
            bench: self.clone(),
            outputs,
            log: RefCell::default(),
            stage: Rc::clone(&stage),
        });
        let report = tool::run::<T>(&call, Rc::clone(&memory) as Rc<dyn Host>);
        // What a host refuses, the tool never sees.
        stage.refused()?;
        let report = report?;
        stage.left()?;
        let written = memory.outputs.borrow();
        if let Some(((role, key), _)) = written.iter().find(|(_, output)| !output.finished) {
            return Err(ToolError::failed(format!("output {role}/{key} was not finished")));
        }
        let outputs = written.iter().map(|(name, output)| (name.clone(), output.bytes.clone())).collect();
        let log = memory.log.borrow().clone();
        Ok(Done { result: serde_json::from_str(&report.result)?, summary: report.summary, outputs, log })
    }
}

type Outputs = Rc<RefCell<BTreeMap<(String, String), Written>>>;

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    finished: bool,
}

struct Memory {
    bench: Bench,
    outputs: Outputs,
    log: RefCell<Vec<(Level, String)>>,
    stage: Rc<Stage>,
}

impl Memory {
    fn linked(&self, role: &str, index: u32) -> Rc<[u8]> {
        let inputs = self.bench.inputs.iter().zip(&self.bench.bytes);
        let mut matching = inputs.filter(|(input, _)| input.role == role && input.index == index);
        matching.next().map(|(_, bytes)| Rc::clone(bytes)).unwrap_or_default()
    }
}

impl Host for Memory {
    fn open(&self, role: &str, index: u32, how: How) -> Box<dyn Source> {
        source(self.linked(role, index), how)
    }

    fn create(&self, role: &str, key: &str) -> Result<Box<dyn Sink>, ToolError> {
        let name = begin(&self.outputs, role, key, Written::default())?;
        Ok(Box::new(Member { name, outputs: Rc::clone(&self.outputs) }))
    }

    fn log(&self, level: Level, text: &str) {
        self.log.borrow_mut().push((level, text.to_owned()));
    }

    fn progress(&self, _done: u64, _total: Option<u64>, _text: &str) {}

    fn start(&self, order: &Order<'_>) -> Box<dyn Running> {
        Stage::start(&self.stage, order, |role, index| self.linked(role, index))
    }

    fn wait_any(&self, steps: &[&dyn Running]) -> usize {
        self.stage.wait_any(steps)
    }
}

/// Begins an output, or takes down one that is made elsewhere.
fn begin(outputs: &Outputs, role: &str, key: &str, written: Written) -> Result<(String, String), ToolError> {
    let name = (role.to_owned(), key.to_owned());
    let mut outputs = outputs.borrow_mut();
    if outputs.contains_key(&name) {
        return Err(ToolError::failed(format!("output key {key:?} of role {role:?} is taken")));
    }
    outputs.insert(name.clone(), written);
    Ok(name)
}

/// Bytes as a host hands them over.
fn source(bytes: Rc<[u8]>, how: How) -> Box<dyn Source> {
    if how == How::Decoded && bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(Decoded(MultiGzDecoder::new(Cursor::new(bytes))))
    } else {
        Box::new(Raw(Cursor::new(bytes)))
    }
}

struct Raw(Cursor<Rc<[u8]>>);

impl Source for Raw {
    fn read(&mut self, max: u32) -> io::Result<Vec<u8>> {
        full(&mut self.0, max)
    }

    fn read_at(&mut self, offset: u64, max: u32) -> io::Result<Vec<u8>> {
        let mut at = self.0.clone();
        at.set_position(offset);
        full(&mut at, max)
    }
}

struct Decoded(MultiGzDecoder<Cursor<Rc<[u8]>>>);

impl Source for Decoded {
    fn read(&mut self, max: u32) -> io::Result<Vec<u8>> {
        full(&mut self.0, max)
    }

    fn read_at(&mut self, _offset: u64, _max: u32) -> io::Result<Vec<u8>> {
        Err(io::Error::other("a decoded reader has no offsets"))
    }
}

fn full(reader: &mut impl Read, max: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(u64::from(max)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct Member {
    name: (String, String),
    outputs: Outputs,
}

impl Sink for Member {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(written) = self.outputs.borrow_mut().get_mut(&self.name) {
            written.bytes.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some(written) = self.outputs.borrow_mut().get_mut(&self.name) {
            written.finished = true;
        }
    }
}
