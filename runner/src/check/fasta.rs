//! FASTA.

use super::decoded::Decoded;
use super::{Checked, bad};

/// FASTA: begins with a header, and is text. A sequence may be one line of any length.
pub(super) fn fasta(input: &mut Decoded) -> Checked {
    let mut first = true;
    input.each_chunk(|chunk, offset| {
        let start = chunk.iter().position(|byte| !byte.is_ascii_whitespace());
        if let (true, Some(start)) = (first, start) {
            first = false;
            if !matches!(chunk.get(start), Some(b'>' | b';')) {
                return Err(bad("the first record does not begin with >", Some(offset + start as u64)));
            }
        }
        no_nul(chunk, offset)
    })
}

fn no_nul(chunk: &[u8], offset: u64) -> Checked {
    match chunk.iter().position(|byte| *byte == 0) {
        Some(position) => Err(bad("a zero byte in text", Some(offset + position as u64))),
        None => Ok(()),
    }
}
