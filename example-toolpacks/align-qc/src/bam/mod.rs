//! Reads BAM: the header, then record after record from chunks of decoded bytes.
//!
//! Damage is an error that names the record and the place, never a number that is quietly wrong.
//! What is refused here is what `samtools` refuses: a length that cannot be, a reference that is
//! not in the header, an end within a record. No length in the file becomes an allocation before
//! the bytes that it promises have come.

mod aux;
mod bytes;
mod cigar;
mod header;
mod record;
#[cfg(test)]
pub mod testing;

use std::fmt;

use helix_toolpack::{Input, ToolError};

pub use aux::{Broken, Field};
pub use bytes::{Bytes, Chunks};
pub use cigar::{Op, ops};
pub use header::{Header, References};
pub use record::{Core, Record, Records};

/// Bits of a record's flag (SAM specification, 1.4).
pub mod flag {
    pub const PAIRED: u16 = 0x1;
    pub const PROPER_PAIR: u16 = 0x2;
    pub const UNMAPPED: u16 = 0x4;
    pub const MATE_UNMAPPED: u16 = 0x8;
    pub const MATE_REVERSE: u16 = 0x20;
    pub const READ_1: u16 = 0x40;
    pub const READ_2: u16 = 0x80;
    pub const SECONDARY: u16 = 0x100;
    pub const QC_FAIL: u16 = 0x200;
    pub const DUPLICATE: u16 = 0x400;
    pub const SUPPLEMENTARY: u16 = 0x800;
    /// Every bit that has a meaning.
    pub const KNOWN: u16 = 0xfff;
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The record's number, from 1; 0 for the header.
    pub record: u64,
    /// Where it begins, in decoded bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: What,
}

/// The ways in which a file can be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Magic,
    HeaderTruncated,
    TextLength(i32),
    LongText(i32),
    ReferenceCount(i32),
    ManyReferences(i32),
    NameLength(i32),
    NameEnd,
    ReferenceLength(i32),
    Truncated,
    BlockSize(i32),
    LongRecord(i32),
    SequenceLength(i32),
    Parts { parts: u64, size: i32 },
    Reference(i32),
    MateReference(i32),
    CigarOp(u32),
    Position(i32),
    LongSpan(u32),
    Unreadable,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, offset, .. } = self;
        match record {
            0 => write!(f, "header (decoded byte {offset}): ")?,
            _ => write!(f, "record {record} (decoded byte {offset}): ")?,
        }
        match &self.what {
            What::Magic => f.write_str("does not begin as a BAM file"),
            What::HeaderTruncated => f.write_str("the file ends within the header: it is truncated"),
            What::TextLength(bytes) => write!(f, "says that its text has {bytes} bytes"),
            What::LongText(bytes) => write!(f, "its text has {bytes} bytes; at most 64 MiB are read"),
            What::ReferenceCount(count) => write!(f, "says that there are {count} references"),
            What::ManyReferences(count) => {
                write!(
                    f,
                    "{count} references are too many for this tool: at most 1,048,576, with 64 MiB of names"
                )
            }
            What::NameLength(bytes) => write!(f, "says that a reference's name has {bytes} bytes"),
            What::NameEnd => f.write_str("a reference's name does not end where it should"),
            What::ReferenceLength(bases) => write!(f, "says that a reference has {bases} bases"),
            What::Truncated => f.write_str("the file ends within this record: it is truncated"),
            What::BlockSize(size) => write!(f, "says that it has {size} bytes; the least is 32"),
            What::LongRecord(size) => write!(f, "has {size} bytes; at most 64 MiB are read"),
            What::SequenceLength(bases) => write!(f, "says that it has {bases} bases"),
            What::Parts { parts, size } => {
                write!(f, "its name, CIGAR, bases and qualities need {parts} bytes, but it has {size}")
            }
            What::Reference(id) => write!(f, "reference {id} is not in the header"),
            What::MateReference(id) => write!(f, "its mate's reference {id} is not in the header"),
            What::CigarOp(code) => write!(f, "its CIGAR has an operation {code}, which does not exist"),
            What::Position(position) => write!(f, "is mapped to position {position} (from 0)"),
            What::LongSpan(bases) => {
                write!(f, "spans {bases} bases of its reference; at most 16,777,216 are followed")
            }
            What::Unreadable => f.write_str("the bytes cannot be decoded"),
        }
    }
}

impl std::error::Error for Damage {}

impl Damage {
    /// Damage of the header.
    fn header(offset: u64, what: What) -> Self {
        Self { record: 0, offset, what }
    }

    /// The refusal that a caller sees.
    pub fn of(self, input: &Input) -> ToolError {
        input.invalid(self.to_string())
    }
}

/// Four bytes at an offset, as they stand in every BAM structure; 0 past the end, which callers
/// have ruled out.
#[inline]
fn int_at(bytes: &[u8], at: usize) -> i32 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>);
    four.map_or(0, |four| i32::from_le_bytes(*four))
}

/// A length that has been found not to be negative.
fn unsigned(length: i32) -> usize {
    usize::try_from(length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
