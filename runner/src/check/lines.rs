//! Lines of any length, handed on in pieces.

use std::io::BufRead;

use memchr::memchr;

use super::decoded::Decoded;
use super::{Checked, Ended, bad, ended};

/// Reads lines that end with LF or CRLF; the last may lack its end. A line may be longer than
/// memory: nothing of it is gathered.
pub(super) struct Lines<'a> {
    input: &'a mut Decoded,
}

impl<'a> Lines<'a> {
    pub fn new(input: &'a mut Decoded) -> Self {
        Self { input }
    }

    /// Of the next byte, among decoded bytes.
    pub fn offset(&self) -> u64 {
        self.input.offset
    }

    /// The next line's first byte; `None` at the end.
    pub fn peek(&mut self) -> Result<Option<u8>, Ended> {
        Ok(self.input.fill_buf().map_err(ended)?.first().copied())
    }

    /// Hands on the pieces of a line, without its end.
    pub fn line(&mut self, mut piece_of: impl FnMut(&[u8]) -> Result<(), &'static str>) -> Checked {
        // A CR at a chunk's end is part of the line's end only if a LF begins the next.
        let mut held_cr = false;
        loop {
            let offset = self.input.offset;
            let rest = self.input.fill_buf().map_err(ended)?;
            if rest.is_empty() {
                return Ok(());
            }
            let end = memchr(b'\n', rest);
            let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let length = piece.len() + usize::from(end.is_some());
            if held_cr && !piece.is_empty() {
                piece_of(b"\r").map_err(|reason| bad(reason, Some(offset)))?;
            }
            let bare = piece.strip_suffix(b"\r");
            held_cr = bare.is_some();
            let piece = bare.unwrap_or(piece);
            if !piece.is_empty() {
                piece_of(piece).map_err(|reason| bad(reason, Some(offset)))?;
            }
            self.input.consume(length);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// A name or description: any bytes but control characters. Where a stretch of a file was
/// overwritten with zeros, line ends went with it, and a header would hide what stood there.
pub(super) fn header(piece: &[u8]) -> Result<(), &'static str> {
    all(piece, |byte| !byte.is_ascii_control() || byte == b'\t', "a control character in a header")
}

/// Bases or residues, and the marks of gaps and stops.
pub(super) fn sequence(piece: &[u8]) -> Result<(), &'static str> {
    let known = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'.' | b'*');
    all(piece, known, "a byte that cannot stand in a sequence")
}

/// Every byte passes. All of them are looked at: a loop that may stop cannot use SIMD.
pub(super) fn all(piece: &[u8], test: impl Fn(u8) -> bool, reason: &'static str) -> Result<(), &'static str> {
    let passed = piece.iter().fold(true, |passed, byte| passed & test(*byte));
    if passed { Ok(()) } else { Err(reason) }
}
