//! BAM (SAM/BAM specification, §4.2).

use std::io::{self, BufRead, Read};

use super::decoded::Decoded;
use super::{Checked, Ended, bad, ended};

/// Most reference sequences of a BAM header.
const REFERENCES_MAX: u32 = 1 << 24;

/// Counts are signed in the format, or used so by everybody: a larger one is damage.
const COUNT_MAX: u32 = 0x7fff_ffff;

/// Bytes of a record's fixed part.
const FIXED_BYTES: u32 = 32;

const UNMAPPED: u16 = 4;

const DO_NOT_FIT: &str = "a record's parts do not fit in its size";

/// BAM: BGZF throughout, header, references, and whole records to the end. Offsets are those of
/// decoded bytes.
pub(super) fn bam(input: &mut Decoded) -> Checked {
    let references = header(input)?;
    while !input.fill_buf().map_err(ended)?.is_empty() {
        let offset = input.offset;
        let size = number(input).map_err(ended)?;
        if !(FIXED_BYTES..=COUNT_MAX).contains(&size) {
            return Err(bad("a record is shorter than its fixed part, or longer than any", Some(offset)));
        }
        let end = input.offset + u64::from(size);
        let fixed = Fixed::read(input).map_err(ended)?;
        fixed.check(size, references).map_err(|reason| bad(reason, Some(offset)))?;
        rest(input, &fixed, end, offset)?;
    }
    if !input.all_bgzf() {
        return Err(bad("compressed, but not as BGZF", Some(0)));
    }
    Ok(())
}

/// How many references there are.
fn header(input: &mut Decoded) -> Result<u32, Ended> {
    let mut magic = [0; 4];
    input.read_exact(&mut magic).map_err(ended)?;
    if &magic != b"BAM\x01" {
        return Err(bad("does not begin as a BAM file", Some(0)));
    }
    let count = |input: &mut Decoded, most: u32| {
        let offset = input.offset;
        let count = number(input).map_err(ended)?;
        if count > most { Err(bad("an impossible number in the header", Some(offset))) } else { Ok(count) }
    };
    let text = count(input, COUNT_MAX)?;
    skip(input, u64::from(text)).map_err(ended)?;
    let references = count(input, REFERENCES_MAX)?;
    for _ in 0..references {
        let offset = input.offset;
        let name = count(input, COUNT_MAX)?;
        if !ends_with_its_only_nul(input, u64::from(name)).map_err(ended)? {
            return Err(bad("the name of a reference sequence has no end", Some(offset)));
        }
        count(input, COUNT_MAX)?;
    }
    Ok(references)
}

/// What of a record's fixed part says how long the rest is, or refers to the header.
struct Fixed {
    reference: i32,
    position: i32,
    name_bytes: u8,
    operations: u16,
    flags: u16,
    bases: u32,
    mate_reference: i32,
}

impl Fixed {
    fn read(input: &mut Decoded) -> io::Result<Self> {
        let reference = signed(input)?;
        let position = signed(input)?;
        let [name_bytes, _quality, _, _] = bytes(input)?;
        let [o0, o1, f0, f1] = bytes(input)?;
        let bases = number(input)?;
        let mate_reference = signed(input)?;
        // The mate's position, which some writers leave as it was, and the template's length.
        skip(input, 8)?;
        Ok(Self {
            reference,
            position,
            name_bytes,
            operations: u16::from_le_bytes([o0, o1]),
            flags: u16::from_le_bytes([f0, f1]),
            bases,
            mate_reference,
        })
    }

    /// The fixed part agrees with the record's size and the header.
    fn check(&self, size: u32, references: u32) -> Result<(), &'static str> {
        let in_header = |id: i32| id == -1 || u32::try_from(id).is_ok_and(|id| id < references);
        if !in_header(self.reference) || !in_header(self.mate_reference) {
            return Err("a record names a reference sequence that the header lacks");
        }
        if self.position < -1 {
            return Err("a record lies before its reference sequence");
        }
        let least = u64::from(FIXED_BYTES)
            + u64::from(self.name_bytes)
            + 4 * u64::from(self.operations)
            + u64::from(self.bases.div_ceil(2))
            + u64::from(self.bases);
        if self.name_bytes == 0 || least > u64::from(size) { Err(DO_NOT_FIT) } else { Ok(()) }
    }
}

/// Name, operations, bases, qualities and tags; `end` is the record's.
fn rest(input: &mut Decoded, fixed: &Fixed, end: u64, offset: u64) -> Checked {
    let at = |reason: &str| bad(reason, Some(offset));
    if !ends_with_its_only_nul(input, u64::from(fixed.name_bytes)).map_err(ended)? {
        return Err(at("a record's name has no end, or two"));
    }
    let mut aligned = 0;
    for _ in 0..fixed.operations {
        let operation = number(input).map_err(ended)?;
        match operation & 15 {
            // Those that use up bases of the read: M, I, S, = and X.
            0 | 1 | 4 | 7 | 8 => aligned += u64::from(operation >> 4),
            2 | 3 | 5 | 6 => {}
            _ => return Err(at("a record has an alignment operation that does not exist")),
        }
    }
    let bases = u64::from(fixed.bases);
    let compared = fixed.operations > 0 && bases > 0 && fixed.flags & UNMAPPED == 0;
    if compared && aligned != bases {
        return Err(at("a record aligns another number of bases than it has"));
    }
    skip(input, bases.div_ceil(2) + bases).map_err(ended)?;
    while input.offset < end {
        if !tag(input, end).map_err(ended)? {
            return Err(at("a record's tags do not fit in its size"));
        }
    }
    Ok(())
}

/// One tag; false if it is none or goes past the record's end.
fn tag(input: &mut Decoded, end: u64) -> io::Result<bool> {
    let left = |input: &Decoded| end.saturating_sub(input.offset);
    if left(input) < 4 {
        return Ok(false);
    }
    let mut start = [0; 3];
    input.read_exact(&mut start)?;
    let [_, _, kind] = start;
    let length = match kind {
        b'Z' | b'H' => {
            let most = left(input);
            return skip_text(input, most);
        }
        b'B' => {
            if left(input) < 5 {
                return Ok(false);
            }
            let mut of = [0];
            input.read_exact(&mut of)?;
            let [of] = of;
            let count = number(input)?;
            number_bytes(of).map(|bytes| bytes * u64::from(count))
        }
        b'A' => Some(1),
        kind => number_bytes(kind),
    };
    match length {
        Some(length) if length <= left(input) => skip(input, length).map(|()| true),
        Some(_) | None => Ok(false),
    }
}

fn number_bytes(kind: u8) -> Option<u64> {
    match kind {
        b'c' | b'C' => Some(1),
        b's' | b'S' => Some(2),
        b'i' | b'I' | b'f' => Some(4),
        // In no specification, and read by everybody.
        b'd' => Some(8),
        _ => None,
    }
}

fn bytes(input: &mut Decoded) -> io::Result<[u8; 4]> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number(input: &mut Decoded) -> io::Result<u32> {
    bytes(input).map(u32::from_le_bytes)
}

fn signed(input: &mut Decoded) -> io::Result<i32> {
    bytes(input).map(i32::from_le_bytes)
}

/// Takes in `length` bytes; whether the last of them, and no other, is zero.
fn ends_with_its_only_nul(input: &mut Decoded, length: u64) -> io::Result<bool> {
    let mut left = length;
    let mut found = None;
    while left > 0 {
        let chunk = input.some(left)?;
        let count = chunk.len();
        if found.is_none() {
            found = chunk.iter().position(|byte| *byte == 0).map(|at| length - left + at as u64);
        }
        input.consume(count);
        left -= count as u64;
    }
    Ok(found.is_some_and(|at| at + 1 == length))
}

/// Skips text and the zero that ends it, within `most` bytes; false if there is none.
fn skip_text(input: &mut Decoded, most: u64) -> io::Result<bool> {
    let mut left = most;
    while left > 0 {
        let chunk = input.some(left)?;
        let end = chunk.iter().position(|byte| *byte == 0);
        let count = end.map_or(chunk.len(), |end| end + 1);
        input.consume(count);
        if end.is_some() {
            return Ok(true);
        }
        left -= count as u64;
    }
    Ok(false)
}

fn skip(input: &mut Decoded, count: u64) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        let count = input.some(left)?.len();
        input.consume(count);
        left -= count as u64;
    }
    Ok(())
}
