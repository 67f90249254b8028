//! For benchmarks: compresses stdin to BGZF on stdout, as sequencers' software and `bgzip` do:
//! blocks of 65,280 bytes, and the empty block at the end.

use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// Bytes of text in a block, as bgzip cuts it.
const BLOCK_BYTES: usize = 65_280;

/// What a block has beside its deflated bytes.
const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0];
const AROUND_BYTES: usize = HEADER.len() + 2 + 8;

fn main() -> Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::BufWriter::new(io::stdout().lock()));
    loop {
        let mut text = Vec::with_capacity(BLOCK_BYTES);
        input.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut text)?;
        output.write_all(&block(&text)?)?;
        if text.is_empty() {
            output.flush()?;
            return Ok(());
        }
    }
}

fn block(text: &[u8]) -> Result<Vec<u8>> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::new(6));
    deflate.write_all(text)?;
    let deflated = deflate.finish()?;
    let mut crc = Crc::new();
    crc.update(text);
    let size = u16::try_from(deflated.len() + AROUND_BYTES - 1).context("a block that does not compress")?;
    let mut block = HEADER.to_vec();
    block.extend_from_slice(&size.to_le_bytes());
    block.extend_from_slice(&deflated);
    block.extend_from_slice(&crc.sum().to_le_bytes());
    block.extend_from_slice(&crc.amount().to_le_bytes());
    Ok(block)
}
