//! Blocks of BGZF: gzip members that say how long they are.

use super::gzip::{Header, TRAILER_BYTES, split_trailer};
use super::{DecodeError, Decoder, damaged};

/// Most bytes that a BGZF block decodes to.
const BLOCK_BYTES_MAX: u32 = 65_536;

impl Decoder {
    /// One whole BGZF block. Blocks are small, so the faster decoder that needs all of its input
    /// at once can be used.
    pub(super) fn block(
        &mut self,
        header: &Header,
        block_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let offset = self.source.offset();
        let truncated = || damaged(offset, "the file ends within a BGZF block");
        let block = self.source.fill(block_bytes)?.get(..block_bytes).ok_or_else(truncated)?;
        let body = block.get(header.length..).unwrap_or_default();
        let Some((deflated, trailer)) = body.split_last_chunk::<TRAILER_BYTES>() else {
            return Err(damaged(offset, "a BGZF block is shorter than its own header says"));
        };
        let (crc, size) = split_trailer(*trailer);
        if size > BLOCK_BYTES_MAX {
            return Err(damaged(offset, "a BGZF block says that it decodes to more than 64 KiB"));
        }
        let before = out.len();
        out.resize(before + size as usize, 0);
        let target = out.get_mut(before..).unwrap_or_default();
        let written = self
            .block
            .deflate_decompress(deflated, target)
            .map_err(|error| damaged(offset, format!("a BGZF block does not decode ({error})")))?;
        if written != size as usize {
            return Err(damaged(offset, "a BGZF block decodes to another length than it says"));
        }
        if libdeflater::crc32(target) != crc {
            return Err(damaged(offset, "a BGZF block's checksum does not match"));
        }
        self.more_must_follow = size > 0;
        self.source.consume(block_bytes);
        Ok(())
    }
}

/// The size of the block, if the extra field is BGZF's.
pub(super) fn block_bytes(mut extra: &[u8]) -> Option<usize> {
    while let Some(([first, second, low, high], after)) = extra.split_first_chunk::<4>() {
        let (value, rest) = after.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        if (*first, *second) == (b'B', b'C') {
            let size = value.first_chunk::<2>().filter(|_| value.len() == 2)?;
            return Some(usize::from(u16::from_le_bytes(*size)) + 1);
        }
        extra = rest;
    }
    None
}
