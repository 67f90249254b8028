//! Decoded bytes as they come, in large chunks.

use std::io;

use helix_toolpack::Reader;

/// Where bytes come from.
pub trait Chunks {
    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>>;
}

impl Chunks for Reader {
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        Reader::chunk(self)
    }
}

/// A file's decoded bytes from its start. What lies within one chunk is lent out of it; only what
/// crosses a border is copied.
pub struct Bytes<C> {
    chunks: C,
    chunk: Vec<u8>,
    at: usize,
    /// Bytes of the file before this chunk.
    before: u64,
    gathered: Vec<u8>,
}

impl<C: Chunks> Bytes<C> {
    pub fn new(chunks: C) -> Self {
        Self { chunks, chunk: Vec::new(), at: 0, before: 0, gathered: Vec::new() }
    }

    /// How many bytes have been passed.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// What is left of the current chunk.
    #[inline]
    pub fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }

    /// Passes bytes of the current chunk.
    #[inline]
    pub fn pass(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The next `size` bytes; fewer only where the file ends.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn take(&mut self, size: usize) -> io::Result<&[u8]> {
        if self.rest().len() >= size {
            let start = self.at;
            self.at += size;
            return Ok(self.chunk.get(start..self.at).unwrap_or_default());
        }
        self.gathered.clear();
        loop {
            let wanted = size - self.gathered.len();
            let there = self.rest().len().min(wanted);
            self.gathered.extend_from_slice(self.chunk.get(self.at..self.at + there).unwrap_or_default());
            self.at += there;
            if there == wanted || !self.refill()? {
                return Ok(&self.gathered);
            }
        }
    }

    /// Passes `size` bytes; false where the file ends before.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn skip(&mut self, mut size: usize) -> io::Result<bool> {
        loop {
            let there = self.rest().len().min(size);
            self.at += there;
            size -= there;
            if size == 0 {
                return Ok(true);
            }
            if !self.refill()? {
                return Ok(false);
            }
        }
    }

    fn refill(&mut self) -> io::Result<bool> {
        let Some(chunk) = self.chunks.chunk()? else { return Ok(false) };
        self.before += self.chunk.len() as u64;
        self.chunk = chunk;
        self.at = 0;
        Ok(true)
    }
}
