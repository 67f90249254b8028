//! A file's bytes, read by position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{CHUNK_BYTES, DecodeError};

/// Compressed bytes that are read at once. Holds any BGZF block and any header that we accept.
const WINDOW_BYTES: usize = 256 * 1024;

/// A window that moves over a file.
pub(super) struct Source {
    file: Arc<File>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the window's end lies in the file.
    read: u64,
}

impl Source {
    pub fn new(file: Arc<File>) -> Self {
        Self { file, window: vec![0; WINDOW_BYTES], start: 0, end: 0, read: 0 }
    }

    /// Position in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.read - (self.end - self.start) as u64
    }

    /// The next bytes: at least `wanted` of them, fewer only at the end of the file.
    pub fn fill(&mut self, wanted: usize) -> Result<&[u8], DecodeError> {
        if self.end - self.start < wanted {
            self.window.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < wanted {
                let space = self.window.get_mut(self.end..).unwrap_or_default();
                match self.file.read_at(space, self.read) {
                    Ok(0) => break,
                    Ok(count) => {
                        self.end += count;
                        self.read += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(DecodeError::Io(error)),
                }
            }
        }
        Ok(self.window.get(self.start..self.end).unwrap_or_default())
    }

    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Moves bytes to `out` up to a chunk; false at the end of the file.
    pub fn copy(&mut self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let bytes = self.fill(1)?;
        let count = bytes.len().min(CHUNK_BYTES - out.len());
        out.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.consume(count);
        Ok(count > 0)
    }
}
