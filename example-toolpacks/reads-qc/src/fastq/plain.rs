//! Records as nearly all are: four lines, whole in one chunk. They are found in few steps; whatever
//! else may be accepted or wrong is left to the reader of lines.

use super::{HEADER_BYTES_MAX, no_header_byte, no_letter, no_score};
use crate::lanes;

/// A header, one line of letters, a `+` line, and one line of as many qualities, each line with its
/// LF. Nothing about it can be damage.
pub struct Plain<'a> {
    pub sequence: &'a [u8],
    pub quality: &'a [u8],
    /// The header's, with its `@`.
    pub header_bytes: usize,
    /// All of the record's, with its last LF.
    pub bytes: usize,
}

impl<'a> Plain<'a> {
    /// The record that these bytes begin with, if it is one of these.
    #[inline]
    pub fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = line(bytes, lanes::find(bytes, no_header_byte)?)?;
        if header.first() != Some(&b'@') || header.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (sequence, rest) = line(rest, lanes::find(rest, no_letter)?)?;
        // A line end where the sequence should be is for who knows of empty reads.
        if sequence.is_empty() {
            return None;
        }
        let rest = after_plus(rest, header)?;
        let (quality, rest) = line(rest, sequence.len())?;
        if lanes::any(quality, no_score) {
            return None;
        }
        Some(Self { sequence, quality, header_bytes: header.len(), bytes: bytes.len() - rest.len() })
    }
}

/// What follows the `+` line, which is bare or says the header again.
#[inline(always)]
fn after_plus<'a>(bytes: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    match bytes {
        [b'+', b'\n', rest @ ..] => Some(rest),
        [b'+', rest @ ..] => rest.strip_prefix(header.get(1..)?)?.strip_prefix(b"\n"),
        _ => None,
    }
}

/// Parts a line of this length from what follows its end.
#[inline(always)]
fn line(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at_checked(length)?;
    let (b'\n', rest) = rest.split_first()? else { return None };
    Some((line, rest))
}
