//! Blocks of BGZF: gzip members that say how long they are.

use libdeflater::Decompressor;

use super::gzip::{Header, TRAILER_BYTES, split_trailer};
use super::{CHUNK_BYTES, DecodeError, Decoder, State, damaged};

/// Most bytes that a BGZF block decodes to.
const BLOCK_BYTES_MAX: u32 = 65_536;

/// Blocks that follow each other and have not been decoded: whoever has them needs no file.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    /// What they say that they decode to, all together.
    decoded_bytes: usize,
}

/// One block of a batch.
#[derive(Clone, Copy, Debug)]
struct Block {
    header_bytes: usize,
    bytes: usize,
    /// Where it begins in the file.
    offset: u64,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Decodes all of them, up to the first that is damaged.
    pub fn decode(&self, decompressor: &mut Decompressor, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        out.clear();
        let mut rest = self.bytes.as_slice();
        for block in &self.blocks {
            let (bytes, after) = rest.split_at_checked(block.bytes).unwrap_or((rest, &[]));
            inflate(decompressor, bytes, block.header_bytes, block.offset, out)?;
            rest = after;
        }
        Ok(())
    }
}

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
        let size = inflate(&mut self.block, block, header.length, offset, out)?;
        self.more_must_follow = size > 0;
        self.source.consume(block_bytes);
        Ok(())
    }

    /// Takes the whole blocks that follow, about a chunk of them. None are taken where something
    /// else follows, or damage: that is for [`Decoder::next`] to say.
    pub fn gather(&mut self, batch: &mut Batch) -> Result<(), DecodeError> {
        batch.bytes.clear();
        batch.blocks.clear();
        batch.decoded_bytes = 0;
        if matches!(self.state, State::Start) {
            self.start()?;
        }
        // Blocks that say that they hold nothing have bytes all the same.
        while matches!(self.state, State::Between) && batch.decoded_bytes.max(batch.bytes.len()) < CHUNK_BYTES
        {
            if !matches!(self.source.fill(2)?, [0x1f, 0x8b, ..]) {
                break;
            }
            let Some((header_bytes, block_bytes)) = self.block_ahead()? else { break };
            let offset = self.source.offset();
            let Some(block) = self.source.fill(block_bytes)?.get(..block_bytes) else { break };
            let Some(trailer) = block.last_chunk::<TRAILER_BYTES>() else { break };
            let (_crc, size) = split_trailer(*trailer);
            batch.bytes.extend_from_slice(block);
            batch.blocks.push(Block { header_bytes, bytes: block_bytes, offset });
            batch.decoded_bytes += size.min(BLOCK_BYTES_MAX) as usize;
            self.members += 1;
            self.blocks += 1;
            self.more_must_follow = size > 0;
            self.source.consume(block_bytes);
        }
        Ok(())
    }

    /// The sizes of the next member's header and of all of it, where it is a block.
    fn block_ahead(&mut self) -> Result<Option<(usize, usize)>, DecodeError> {
        match self.header() {
            Ok(header) => Ok(header.block_bytes.map(|block_bytes| (header.length, block_bytes))),
            Err(DecodeError::Damaged { .. }) => Ok(None),
            Err(io) => Err(io),
        }
    }
}

/// Appends what a block decodes to, and says how much that is.
fn inflate(
    decompressor: &mut Decompressor,
    block: &[u8],
    header_bytes: usize,
    offset: u64,
    out: &mut Vec<u8>,
) -> Result<u32, DecodeError> {
    let body = block.get(header_bytes..).unwrap_or_default();
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
    let written = decompressor
        .deflate_decompress(deflated, target)
        .map_err(|error| damaged(offset, format!("a BGZF block does not decode ({error})")))?;
    if written != size as usize {
        return Err(damaged(offset, "a BGZF block decodes to another length than it says"));
    }
    if libdeflater::crc32(target) != crc {
        return Err(damaged(offset, "a BGZF block's checksum does not match"));
    }
    Ok(size)
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
