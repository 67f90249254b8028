//! Text, and JSON.

use super::decoded::Decoded;
use super::{Checked, bad, ended};

/// JSON: one value. The parser's own depth (128) holds.
pub(super) fn json(input: &mut Decoded) -> Checked {
    match serde_json::from_reader::<_, serde::de::IgnoredAny>(&mut *input) {
        Ok(_) => Ok(()),
        Err(error) if error.is_io() => Err(ended(error.into())),
        Err(error) => Err(bad(format!("not JSON: {error}"), None)),
    }
}

/// Text: UTF-8 to the last byte.
pub(super) fn utf8(input: &mut Decoded) -> Checked {
    // The beginning of a character that the next chunk goes on with: three bytes at most.
    let mut carried: Vec<u8> = Vec::new();
    input.each_chunk(|chunk, offset| {
        let start = offset - carried.len() as u64;
        carried.extend_from_slice(chunk);
        let rest = match std::str::from_utf8(&carried) {
            Ok(_) => carried.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(bad("not UTF-8", Some(start + error.valid_up_to() as u64))),
        };
        carried.drain(..rest);
        Ok(())
    })?;
    if carried.is_empty() { Ok(()) } else { Err(bad("the file ends within a character", None)) }
}
