//! Typed inputs and outputs: what [`crate::tool_io!`] gives to a tool.

use std::io::{self, BufRead, Read, Write};

use crate::ToolError;
use crate::host::{How, Session, Sink, Source};
use crate::manifest::{DeclaredInput, DeclaredOutput, LinkedInput};
use crate::steps::StepFile;

/// Most bytes that one read may ask of the host, and what a [`Reader`] asks for.
pub const CHUNK_BYTES: u32 = 1_048_576;

/// Written bytes are gathered to this size before they go to the host.
const GATHER_BYTES: usize = 262_144;

/// The roles of one tool. Made by [`crate::tool_io!`].
pub trait ToolIo: Sized {
    /// What the tool reads.
    fn inputs() -> Vec<DeclaredInput>;
    /// What the tool writes.
    fn outputs() -> Vec<DeclaredOutput>;
    /// Whether the tool starts container steps.
    #[doc(hidden)]
    const STEPS: bool;
    #[doc(hidden)]
    fn link(session: &Session) -> Self;
}

/// The artifacts that a call links to one role.
pub struct InputRole {
    role: &'static str,
    inputs: Vec<Input>,
}

impl InputRole {
    #[doc(hidden)]
    #[must_use]
    pub fn new(session: &Session, role: &'static str) -> Self {
        let linked = session.inputs.iter().filter(|input| input.role == role);
        let inputs = linked.map(|input| Input { session: session.clone(), linked: input.clone() }).collect();
        Self { role, inputs }
    }

    /// The only member.
    ///
    /// # Errors
    /// When there is none or more than one, which the host does not let happen for a role that
    /// is declared `1..=1`.
    pub fn one(&self) -> Result<&Input, ToolError> {
        match self.inputs.as_slice() {
            [input] => Ok(input),
            other => {
                Err(ToolError::failed(format!("role `{}` has {} members, not one", self.role, other.len())))
            }
        }
    }
}

impl std::ops::Deref for InputRole {
    type Target = [Input];

    fn deref(&self) -> &[Input] {
        &self.inputs
    }
}

/// One linked artifact.
pub struct Input {
    session: Session,
    linked: LinkedInput,
}

impl Input {
    /// What is known of it: type, size, digest, sample.
    #[must_use]
    pub fn linked(&self) -> &LinkedInput {
        &self.linked
    }

    /// Opens it from its start, with gzip or BGZF undone by the host.
    #[must_use]
    pub fn open(&self) -> Reader {
        self.open_as(How::Decoded)
    }

    /// Opens it from its start, as it is stored.
    #[must_use]
    pub fn open_raw(&self) -> Reader {
        self.open_as(How::Raw)
    }

    fn open_as(&self, how: How) -> Reader {
        let source = self.session.host.open(&self.linked.role, self.linked.index, how);
        Reader::new(source)
    }

    /// An error that says that the caller should bring another artifact in this place.
    #[must_use]
    pub fn invalid(&self, reason: impl Into<String>) -> ToolError {
        ToolError::InvalidInput {
            role: self.linked.role.clone(),
            index: self.linked.index,
            reason: reason.into(),
        }
    }
}

/// Reads an input, or what a step made, in chunks of [`CHUNK_BYTES`].
pub struct Reader {
    source: Box<dyn Source>,
    chunk: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self { source, chunk: Vec::new(), at: 0 }
    }

    /// The next bytes as one owned chunk, or `None` at the end: the fastest way through an input.
    ///
    /// # Errors
    /// Only natively, when the bytes cannot be decoded. In a component the host ends the run.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let rest = if self.at < self.chunk.len() {
            let rest = self.chunk.split_off(self.at);
            self.chunk.clear();
            rest
        } else {
            self.source.read(CHUNK_BYTES)?
        };
        self.at = 0;
        self.chunk.clear();
        Ok(if rest.is_empty() { None } else { Some(rest) })
    }

    /// `max` bytes at `offset`, fewer only at the end. For raw readers.
    ///
    /// # Errors
    /// Natively, on a decoded reader. In a component that traps.
    pub fn read_at(&mut self, offset: u64, max: u32) -> io::Result<Vec<u8>> {
        self.source.read_at(offset, max)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.chunk.len() {
            self.chunk = self.source.read(CHUNK_BYTES)?;
            self.at = 0;
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.chunk.len().min(self.at.saturating_add(amount));
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let taken = available.read(buffer)?;
        self.consume(taken);
        Ok(taken)
    }
}

/// One output role.
pub struct OutputRole {
    session: Session,
    role: &'static str,
}

impl OutputRole {
    #[doc(hidden)]
    #[must_use]
    pub fn new(session: &Session, role: &'static str) -> Self {
        Self { session: session.clone(), role }
    }

    /// Begins the only member of a role.
    ///
    /// # Errors
    /// When it was begun before.
    pub fn create(&self) -> Result<Output, ToolError> {
        self.create_keyed(self.role)
    }

    /// Begins one of many members. The key (`[A-Za-z0-9._-]{1,64}`) names it and orders it.
    ///
    /// # Errors
    /// When the key is taken or malformed.
    pub fn create_keyed(&self, key: &str) -> Result<Output, ToolError> {
        let sink = self.session.host.create(self.role, key)?;
        Ok(Output { sink, gathered: Vec::new() })
    }

    /// Makes a step's file the only member of a role, without its bytes passing through the tool. It need
    /// not be made yet; the run fails if it is not when the tool returns.
    ///
    /// # Errors
    /// When the member was begun before.
    pub fn publish(&self, file: &StepFile) -> Result<(), ToolError> {
        self.publish_keyed(self.role, file)
    }

    /// Makes a step's file one of many members, as [`OutputRole::create_keyed`] begins one.
    ///
    /// # Errors
    /// When the key is taken or malformed.
    pub fn publish_keyed(&self, key: &str, file: &StepFile) -> Result<(), ToolError> {
        file.promise.publish(self.role, key)
    }

    /// Writes the only member at once.
    ///
    /// # Errors
    /// When it was begun before.
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), ToolError> {
        let mut output = self.create()?;
        output.write_all(bytes)?;
        Ok(output.finish()?)
    }
}

/// An output that is being written. A run that returns without [`Output::finish`] fails.
#[must_use = "an output that is not finished fails the run"]
pub struct Output {
    sink: Box<dyn Sink>,
    gathered: Vec<u8>,
}

impl Output {
    /// Ends the output.
    ///
    /// # Errors
    /// None today; in a component the host ends the run instead.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.sink.finish();
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() + bytes.len() > GATHER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= GATHER_BYTES {
            // One host call has a cap on its bytes.
            let part = bytes.get(..GATHER_BYTES).unwrap_or(bytes);
            self.sink.write(part);
            return Ok(part.len());
        }
        self.gathered.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.sink.write(&self.gathered);
            self.gathered.clear();
        }
        Ok(())
    }
}
