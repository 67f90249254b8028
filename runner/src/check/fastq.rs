//! FASTQ.

use super::decoded::Decoded;
use super::lines::{Lines, all, header, sequence};
use super::{Checked, Ended, bad};

/// Longest header that is looked at; nothing else of a record is gathered.
const HEADER_BYTES_MAX: usize = 65_536;

/// FASTQ: `@` and `+` in their places, as many qualities as bases, and no byte where none can
/// stand. Sequences and qualities may be wrapped over several lines, as they once were.
pub(super) fn fastq(input: &mut Decoded) -> Checked {
    let mut lines = Lines::new(input);
    let mut name = Vec::new();
    loop {
        let offset = lines.offset();
        match lines.peek()? {
            None => return Ok(()),
            Some(b'@') => record(&mut lines, &mut name, offset)?,
            Some(b'\n' | b'\r') => lines.line(|_| Err("a line end within a line"))?,
            Some(_) => return Err(bad("a record does not begin with @", Some(offset))),
        }
    }
}

/// One record, from its header on; `offset` is where it begins.
fn record(lines: &mut Lines<'_>, name: &mut Vec<u8>, offset: u64) -> Checked {
    name.clear();
    lines.line(|piece| {
        header(piece)?;
        if name.len() + piece.len() > HEADER_BYTES_MAX {
            return Err("a header is longer than 64 KiB");
        }
        name.extend_from_slice(piece);
        Ok(())
    })?;
    let bases = bases(lines, offset)?;
    let mut seen = 0;
    lines.line(|piece| {
        let expected = name.get(seen..).unwrap_or_default();
        // The first byte is `+` here and `@` there.
        let same = match (seen, piece.split_first(), expected.split_first()) {
            (0, Some((_, piece)), Some((_, expected))) => expected.starts_with(piece),
            _ => expected.starts_with(piece),
        };
        seen += piece.len();
        if same { Ok(()) } else { Err(OTHER_NAME) }
    })?;
    if seen > 1 && seen != name.len() {
        return Err(bad(OTHER_NAME, Some(offset)));
    }
    qualities(lines, offset, bases)
}

const OTHER_NAME: &str = "a record's + line names another read than its @ line";

fn bases(lines: &mut Lines<'_>, offset: u64) -> Result<u64, Ended> {
    let mut bases = 0;
    loop {
        match lines.peek()? {
            Some(b'+') => return Ok(bases),
            Some(b'@') => return Err(bad("a record's third line does not begin with +", Some(offset))),
            Some(_) => {}
            None => return Err(bad("the file ends within a record", Some(offset))),
        }
        lines.line(|piece| {
            bases += piece.len() as u64;
            sequence(piece)
        })?;
    }
}

/// Lines are taken in until there are enough qualities; a line that is too short takes in the
/// next record, and then the counts do not fit or the record after it has no header.
fn qualities(lines: &mut Lines<'_>, offset: u64, bases: u64) -> Checked {
    let mut qualities = 0;
    loop {
        if lines.peek()?.is_none() {
            break;
        }
        let before = qualities;
        lines.line(|piece| {
            qualities += piece.len() as u64;
            all(piece, |byte| byte.is_ascii_graphic(), "a byte that cannot stand for a quality")
        })?;
        if qualities >= bases || before == qualities {
            break;
        }
    }
    match qualities {
        0 if bases > 0 && lines.peek()?.is_none() => Err(bad("the file ends within a record", Some(offset))),
        _ if qualities != bases => {
            Err(bad("a record has another number of qualities than of bases", Some(offset)))
        }
        _ => Ok(()),
    }
}
