//! Decoded bytes as a reader.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Checked, ended};
use crate::decode::{DecodeError, Decoder};

/// Most bytes that a file may decode to while it is checked.
const DECODED_BYTES_MAX: u64 = 1 << 40;

/// Reads what a file decodes to.
pub(super) struct Decoded {
    decoder: Decoder,
    chunk: Vec<u8>,
    position: usize,
    /// Of the next byte, among decoded bytes.
    pub offset: u64,
}

impl Decoded {
    pub fn new(file: OwnedFd) -> Self {
        Self::of(File::from(file))
    }

    pub fn of(file: File) -> Self {
        Self { decoder: Decoder::new(Arc::new(file)), chunk: Vec::new(), position: 0, offset: 0 }
    }

    /// Whether the file was compressed as BGZF, every member of it that was read so far.
    pub fn all_bgzf(&self) -> bool {
        self.decoder.all_bgzf()
    }

    /// Bytes that are there, `most` at most and one at least. The file's end is an error.
    pub fn some(&mut self, most: u64) -> io::Result<&[u8]> {
        let chunk = self.fill_buf()?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(chunk.get(..most).unwrap_or(chunk))
    }

    pub fn each_chunk(&mut self, mut look: impl FnMut(&[u8], u64) -> Checked) -> Checked {
        loop {
            let offset = self.offset;
            let chunk = self.fill_buf().map_err(ended)?;
            if chunk.is_empty() {
                return Ok(());
            }
            look(chunk, offset)?;
            let length = chunk.len();
            self.consume(length);
        }
    }
}

impl Read for Decoded {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.fill_buf()?;
        let count = chunk.read(target)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Decoded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.len() {
            self.position = 0;
            if self.offset > DECODED_BYTES_MAX {
                return Err(damage(0, "the file decodes to more than 1 TiB"));
            }
            self.decoder.next(&mut self.chunk).map_err(io::Error::other)?;
        }
        Ok(self.chunk.get(self.position..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
        self.offset += count as u64;
    }
}

/// What a part of a file is when it is not what it says, where only an [`io::Error`] can be given.
pub(super) fn damage(offset: u64, reason: &'static str) -> io::Error {
    io::Error::other(DecodeError::Damaged { offset, reason: reason.to_owned() })
}
