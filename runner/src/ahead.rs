//! Decodes ahead of the guest, on a thread of its own where there is enough to decode.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::decode::{CHUNK_BYTES, DecodeError, Decoder};

/// Chunks that wait for the guest: enough that neither side waits for the other's hiccups.
const CHUNKS_AHEAD: usize = 4;

/// Stack of a decoding thread, which holds its buffers on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// Room of a chunk: a BGZF block may begin just before the chunk is full.
const CHUNK_ROOM: usize = CHUNK_BYTES + 64 * 1024;

/// A file of fewer bytes is decoded when the guest asks: to start a thread would take longer.
const SMALL_BYTES: i64 = 64 * 1024;

/// Where chunks come from.
enum Chunks {
    Ahead(Receiver<Result<Vec<u8>, DecodeError>>),
    Here(Box<Decoder>),
}

impl Chunks {
    /// The next one; an empty one is the end.
    fn next(&mut self) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Ahead(chunks) => {
                chunks.recv().unwrap_or_else(|lost| Err(DecodeError::Io(std::io::Error::other(lost))))
            }
            Self::Here(decoder) => {
                let mut chunk = Vec::with_capacity(CHUNK_ROOM);
                decoder.next(&mut chunk).map(|_more| chunk)
            }
        }
    }
}

/// A decoded input, read from its start.
pub struct Ahead {
    chunks: Chunks,
    chunk: Vec<u8>,
    position: usize,
    ended: bool,
}

impl Ahead {
    /// Begins to decode.
    pub fn start(file: Arc<File>) -> std::io::Result<Self> {
        // Asked by its descriptor alone: calls that take a name are gone.
        if rustix::fs::fstat(&file)?.st_size < SMALL_BYTES {
            return Ok(Self::of(Chunks::Here(Box::new(Decoder::new(file)))));
        }
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        let decode = move || {
            let mut decoder = Decoder::new(file);
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_ROOM);
                // An empty chunk says that this is all: silence could also be a thread that died.
                let message = decoder.next(&mut chunk).map(|_more| chunk);
                let last = message.as_ref().map_or(true, Vec::is_empty);
                // Nobody listens any more: the guest dropped its reader.
                if sender.send(message).is_err() || last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("decode".into()).stack_size(STACK_BYTES).spawn(decode)?;
        Ok(Self::of(Chunks::Ahead(chunks)))
    }

    fn of(chunks: Chunks) -> Self {
        Self { chunks, chunk: Vec::new(), position: 0, ended: false }
    }

    /// Whether everything has been decoded and found whole.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next `max` bytes: fewer only at the end.
    pub fn read(&mut self, max: usize) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = Vec::with_capacity(max);
        while bytes.len() < max {
            let rest = self.chunk.get(self.position..).unwrap_or_default();
            if rest.is_empty() {
                if !self.refill()? {
                    break;
                }
                continue;
            }
            let count = rest.len().min(max - bytes.len());
            bytes.extend_from_slice(rest.get(..count).unwrap_or_default());
            self.position += count;
        }
        Ok(bytes)
    }

    /// Decodes what is left and gives its length: damage there counts as well.
    pub fn skip(&mut self) -> Result<Option<u64>, DecodeError> {
        let rest = self.chunk.len() - self.position;
        self.position = self.chunk.len();
        if rest > 0 {
            return Ok(Some(rest as u64));
        }
        if !self.refill()? {
            return Ok(None);
        }
        self.position = self.chunk.len();
        Ok(Some(self.chunk.len() as u64))
    }

    fn refill(&mut self) -> Result<bool, DecodeError> {
        if self.ended {
            return Ok(false);
        }
        self.chunk = self.chunks.next()?;
        self.ended = self.chunk.is_empty();
        self.position = 0;
        Ok(!self.ended)
    }
}
