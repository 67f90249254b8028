//! PNG.

use std::io::{BufRead, Read};

use flate2::Crc;

use super::decoded::Decoded;
use super::{Checked, bad, ended};

/// PNG: signature, every chunk with its checksum, and nothing after the last.
pub(super) fn png(input: &mut Decoded) -> Checked {
    let mut signature = [0; 8];
    input.read_exact(&mut signature).map_err(ended)?;
    if &signature != b"\x89PNG\r\n\x1a\n" {
        return Err(bad("does not begin as a PNG file", Some(0)));
    }
    loop {
        let offset = input.offset;
        let mut head = [0; 8];
        input.read_exact(&mut head).map_err(ended)?;
        let [l0, l1, l2, l3, name @ ..] = head;
        let mut crc = Crc::new();
        crc.update(&name);
        let mut left = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        while left > 0 {
            let bytes = input.fill_buf().map_err(ended)?;
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(bad("the file ends within a chunk", Some(offset)));
            }
            crc.update(bytes.get(..count).unwrap_or_default());
            input.consume(count);
            left -= count as u64;
        }
        let mut sum = [0; 4];
        input.read_exact(&mut sum).map_err(ended)?;
        if u32::from_be_bytes(sum) != crc.sum() {
            return Err(bad("a chunk's checksum does not match", Some(offset)));
        }
        if &name == b"IEND" {
            let rest = input.fill_buf().map_err(ended)?;
            return if rest.is_empty() { Ok(()) } else { Err(bad("bytes follow the last chunk", None)) };
        }
    }
}
