//! Makes files, and damages them: pure functions from bytes to bytes.

use std::io::{Read, Write};

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc, GzBuilder};

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    packed(bytes, Compression::default())
}

/// The same for much, where packing well would take long.
pub fn gzip_fast(bytes: &[u8]) -> Result<Vec<u8>> {
    packed(bytes, Compression::fast())
}

/// One gzip member whose bytes are stored as they are: damage to them decodes.
pub fn stored(bytes: &[u8]) -> Result<Vec<u8>> {
    packed(bytes, Compression::none())
}

fn packed(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// One gzip member with a name, a comment and an extra field.
pub fn gzip_with_fields(bytes: &[u8]) -> Result<Vec<u8>> {
    let builder = GzBuilder::new().filename("reads.fq").comment("a comment").extra(b"XY\x02\0ab".to_vec());
    let mut encoder = builder.write(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

pub fn gunzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut plain).context("not whole")?;
    Ok(plain)
}

/// One BGZF block; `before` stands among its extra fields before its own.
pub fn block_behind(before: &[u8], bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    let deflated = encoder.finish()?;
    let mut crc = Crc::new();
    crc.update(bytes);
    let mut block = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    block.extend(u16::try_from(before.len() + 6)?.to_le_bytes());
    block.extend(before);
    block.extend(b"BC\x02\0");
    let size = block.len() + 2 + deflated.len() + 8;
    block.extend(u16::try_from(size - 1)?.to_le_bytes());
    block.extend(deflated);
    block.extend(crc.sum().to_le_bytes());
    block.extend(u32::try_from(bytes.len())?.to_le_bytes());
    Ok(block)
}

/// The blocks of a BGZF file, the empty one last.
pub fn blocks(bytes: &[u8], block_bytes: usize) -> Result<Vec<Vec<u8>>> {
    bytes.chunks(block_bytes).chain([&[][..]]).map(|chunk| block_behind(b"", chunk)).collect()
}

pub fn bgzf(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(blocks(bytes, 20_000)?.concat())
}

/// Overwrites bytes.
pub fn patched(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (target, byte) in bytes.iter_mut().skip(at).zip(with) {
        *target = *byte;
    }
    bytes
}

/// Flips one bit of the byte that lies so far before the end.
pub fn flipped_from_end(bytes: &[u8], back: usize) -> Vec<u8> {
    let at = bytes.len().saturating_sub(back);
    let byte = bytes.get(at).copied().unwrap_or_default();
    patched(bytes, at, &[byte ^ 1])
}

/// Without its last bytes.
pub fn cut(bytes: &[u8], by: usize) -> Vec<u8> {
    bytes.get(..bytes.len().saturating_sub(by)).unwrap_or_default().to_vec()
}

/// About `count` lengths at which to cut, the first and last bytes all among them.
pub fn cuts(length: usize, count: usize) -> Vec<usize> {
    let ends = 20.min(length);
    let step = (length / count.saturating_sub(2 * ends).max(1)).max(1);
    let mut cuts: Vec<usize> =
        (0..ends).chain((ends..length).step_by(step)).chain(length - ends..length).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
