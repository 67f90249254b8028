//! The border to whoever runs the tool: a HelixMCP host, or memory in a native test.

use std::any::Any;
use std::io;
use std::rc::Rc;

use crate::ToolError;
use crate::manifest::{LinkedInput, PlannedStep};
use crate::steps::{Ended, Order};

/// How an input's bytes are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As they are.
    Raw,
    /// With gzip or BGZF undone by the host, on another thread and checked to the end. Other
    /// bytes come as they are.
    Decoded,
}

/// How much a line of log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the toolpack's author.
    Debug,
    /// For whoever waits.
    Info,
    /// Something that the caller may want to look at.
    Warning,
    /// Something went wrong.
    Error,
}

/// Bytes of an input.
#[doc(hidden)]
pub trait Source {
    /// Exactly `max` bytes except at the end, and none at the end.
    fn read(&mut self, max: u32) -> io::Result<Vec<u8>>;
    fn read_at(&mut self, offset: u64, max: u32) -> io::Result<Vec<u8>>;
}

/// Bytes of an output.
#[doc(hidden)]
pub trait Sink {
    fn write(&mut self, bytes: &[u8]);
    fn finish(&mut self);
}

/// A step that was started.
#[doc(hidden)]
pub trait Running {
    fn wait(&self) -> Ended;
    fn capture(&self, name: &str) -> Box<dyn Promise>;
    /// Itself, for the host that made it.
    fn as_any(&self) -> &dyn Any;
}

/// A file of a step.
#[doc(hidden)]
pub trait Promise {
    /// `None` where it was not made.
    fn open(&self, how: How) -> Option<Box<dyn Source>>;
    fn publish(&self, role: &str, key: &str) -> Result<(), ToolError>;
    /// Itself, for the host that made it.
    fn as_any(&self) -> &dyn Any;
}

/// The world's imports.
#[doc(hidden)]
pub trait Host {
    fn open(&self, role: &str, index: u32, how: How) -> Box<dyn Source>;
    fn create(&self, role: &str, key: &str) -> Result<Box<dyn Sink>, ToolError>;
    fn log(&self, level: Level, text: &str);
    fn progress(&self, done: u64, total: Option<u64>, text: &str);
    fn start(&self, order: &Order<'_>) -> Box<dyn Running>;
    fn wait_any(&self, steps: &[&dyn Running]) -> usize;
}

/// One call's host, linked inputs and planned steps.
#[doc(hidden)]
#[derive(Clone)]
pub struct Session {
    pub host: Rc<dyn Host>,
    pub inputs: Rc<[LinkedInput]>,
    pub planned: Rc<[PlannedStep]>,
}

/// Tells those who wait how the run goes. No answer comes back, so nothing follows from it.
pub struct Log {
    host: Rc<dyn Host>,
}

impl Log {
    pub(crate) fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// One line of log.
    pub fn line(&self, level: Level, text: &str) {
        self.host.log(level, text);
    }

    /// One line for whoever waits.
    pub fn info(&self, text: &str) {
        self.line(Level::Info, text);
    }

    /// One line that the caller may want to look at.
    pub fn warning(&self, text: &str) {
        self.line(Level::Warning, text);
    }

    /// How far the run is, in units of the tool's choice.
    pub fn progress(&self, done: u64, total: Option<u64>, text: &str) {
        self.host.progress(done, total, text);
    }
}
