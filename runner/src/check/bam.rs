//! BAM.

use std::io::{self, BufRead, Read};

use super::decoded::Decoded;
use super::{Checked, bad, ended};

/// Most reference sequences of a BAM header.
const REFERENCES_MAX: u32 = 1 << 24;

/// BAM: header, references, and whole records to the end. Offsets are those of decoded bytes.
pub(super) fn bam(input: &mut Decoded) -> Checked {
    let mut magic = [0; 4];
    input.read_exact(&mut magic).map_err(ended)?;
    if &magic != b"BAM\x01" {
        return Err(bad("does not begin as a BAM file", Some(0)));
    }
    let text = number(input).map_err(ended)?;
    skip(input, u64::from(text)).map_err(ended)?;
    let references = number(input).map_err(ended)?;
    if references > REFERENCES_MAX {
        return Err(bad("an impossible number of reference sequences", None));
    }
    for _ in 0..references {
        let name = number(input).map_err(ended)?;
        skip(input, u64::from(name) + 4).map_err(ended)?;
    }
    while !input.fill_buf().map_err(ended)?.is_empty() {
        let offset = input.offset;
        let size = number(input).map_err(ended)?;
        let mut fixed = [0; 32];
        if size < 32 {
            return Err(bad("a record is shorter than its fixed part", Some(offset)));
        }
        input.read_exact(&mut fixed).map_err(ended)?;
        record(&fixed, size, references).map_err(|reason| bad(reason, Some(offset)))?;
        skip(input, u64::from(size) - 32).map_err(ended)?;
    }
    Ok(())
}

/// A BAM record's fixed part agrees with its size and the header.
fn record(fixed: &[u8; 32], size: u32, references: u32) -> Result<(), &'static str> {
    let [r0, r1, r2, r3, _, _, _, _, name, _, _, _, c0, c1, _, _, s0, s1, s2, s3, n0, n1, n2, n3, ..] =
        *fixed;
    let names_reference = |id: i32| id == -1 || u32::try_from(id).is_ok_and(|id| id < references);
    let (reference, mate) = (i32::from_le_bytes([r0, r1, r2, r3]), i32::from_le_bytes([n0, n1, n2, n3]));
    if !names_reference(reference) || !names_reference(mate) {
        return Err("a record names a reference sequence that the header lacks");
    }
    let bases = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
    let operations = u64::from(u16::from_le_bytes([c0, c1]));
    let least = 32 + u64::from(name) + 4 * operations + bases.div_ceil(2) + bases;
    if name == 0 || least > u64::from(size) {
        return Err("a record's parts do not fit in its size");
    }
    Ok(())
}

fn number(input: &mut Decoded) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn skip(input: &mut Decoded, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.take(count), &mut io::sink())?;
    if skipped < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
