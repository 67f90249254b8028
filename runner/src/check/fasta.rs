//! FASTA.

use super::decoded::Decoded;
use super::lines::{Lines, header, sequence};
use super::{Checked, bad};

/// FASTA: begins with a header, and every other line is a header or letters. A sequence may be
/// one line of any length.
pub(super) fn fasta(input: &mut Decoded) -> Checked {
    let mut lines = Lines::new(input);
    let mut first = true;
    loop {
        let offset = lines.offset();
        match lines.peek()? {
            None => return Ok(()),
            Some(b'>' | b';') => {
                first = false;
                lines.line(header)?;
            }
            Some(b'\n' | b'\r') => lines.line(|_| Err("a line end within a line"))?,
            Some(_) if first => return Err(bad("the first record does not begin with >", Some(offset))),
            Some(_) => lines.line(sequence)?,
        }
    }
}
