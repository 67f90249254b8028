//! Reads FASTQ record by record from chunks of bytes, without gathering lines.
//!
//! A line may be longer than memory: what it holds is handed on in pieces, as it comes. Damage is
//! an error that names the record and the line, never a number that is quietly wrong. Accepted
//! are LF and CRLF, a last line without its end, blank lines between records, and sequences and
//! qualities that are wrapped over several lines. A header may hold any bytes but control
//! characters.

mod plain;

use std::fmt;
use std::io;
use std::ops::Range;

use helix_toolpack::Reader;
use memchr::memchr;

use crate::lanes::{self, Bytes};
use plain::Plain;

/// Longest header that is looked at. Names of reads are short; without a cap a file without line
/// ends would be gathered whole.
const HEADER_BYTES_MAX: usize = 65_536;

/// What `~` stands for, the highest quality.
const SCORE_MAX: u8 = b'~' - b'!';

/// Where bytes come from.
pub trait Chunks {
    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>>;
}

impl Chunks for Reader {
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        Reader::chunk(self)
    }
}

/// Takes a record's parts as they come.
pub trait Visitor {
    /// A piece of the sequence: letters, `-`, `.` and `*` only. `at` is its first position.
    fn sequence(&mut self, at: u64, piece: &[u8]);
    /// A piece of the qualities: bytes from `!` to `~` only.
    fn quality(&mut self, at: u64, piece: &[u8]);
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The record's number, from 1.
    pub record: u64,
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: What,
}

/// The ways in which a file can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    NoHeader,
    LongHeader,
    HeaderByte(u8),
    NoPlus,
    OtherName,
    Truncated,
    SequenceByte(u8),
    QualityByte(u8),
    Lengths { bases: u64, qualities: u64 },
    Unreadable,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} (line {}): ", self.record, self.line)?;
        match self.what {
            What::NoHeader => f.write_str("a record begins with `@`, this line does not"),
            What::LongHeader => write!(f, "the header is longer than {HEADER_BYTES_MAX} bytes"),
            What::HeaderByte(byte) => write!(f, "byte 0x{byte:02x} cannot stand in a header"),
            What::NoPlus => f.write_str("the next record begins before this one's `+` line"),
            What::OtherName => f.write_str("the `+` line names another read than the `@` line"),
            What::Truncated => f.write_str("the file ends within this record: it is truncated"),
            What::SequenceByte(byte) => write!(f, "byte 0x{byte:02x} cannot stand in a sequence"),
            What::QualityByte(byte) => write!(f, "byte 0x{byte:02x} cannot stand for a quality"),
            What::Lengths { bases, qualities } => {
                write!(f, "{bases} bases, but {qualities} qualities")
            }
            What::Unreadable => f.write_str("the bytes cannot be decoded"),
        }
    }
}

impl std::error::Error for Damage {}

/// The records of one file.
pub struct Records<C> {
    chunks: C,
    chunk: Vec<u8>,
    at: usize,
    read_bytes: u64,
    record: u64,
    line: u64,
    /// The header line, with its `@`, unless it is a plain record's.
    header: Vec<u8>,
    /// Where a plain record's header lies in the chunk, with its `@`.
    plain_header: Option<Range<usize>>,
}

impl<C: Chunks> Records<C> {
    /// Begins at the first byte.
    pub fn new(chunks: C) -> Self {
        Self {
            chunks,
            chunk: Vec::new(),
            at: 0,
            read_bytes: 0,
            record: 0,
            line: 0,
            header: Vec::new(),
            plain_header: None,
        }
    }

    /// How many bytes were taken in so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The number of the current record, from 1.
    pub fn record(&self) -> u64 {
        self.record
    }

    /// The current record's header line, without `@`.
    pub fn header(&self) -> &[u8] {
        let header = match &self.plain_header {
            Some(range) => self.chunk.get(range.clone()).unwrap_or_default(),
            None => &self.header,
        };
        header.get(1..).unwrap_or_default()
    }

    /// Hands the next record to `visitor` and says how many bases it has; `None` at the end.
    ///
    /// # Errors
    /// [`Damage`]; what the visitor saw of the record is then void.
    #[inline]
    pub fn next(&mut self, visitor: &mut impl Visitor) -> Result<Option<u64>, Damage> {
        match self.next_plain(visitor) {
            Some(bases) => Ok(Some(bases)),
            None => self.next_of_any_shape(visitor),
        }
    }

    /// The next record, if it is a plain one.
    #[inline]
    fn next_plain(&mut self, visitor: &mut impl Visitor) -> Option<u64> {
        let plain = Plain::first_of(self.chunk.get(self.at..)?)?;
        self.plain_header = Some(self.at..self.at + plain.header_bytes);
        self.at += plain.bytes;
        self.record += 1;
        self.line += 4;
        visitor.sequence(0, plain.sequence);
        visitor.quality(0, plain.quality);
        Some(length(plain.sequence))
    }

    /// The next record, line by line and piece by piece.
    fn next_of_any_shape(&mut self, visitor: &mut impl Visitor) -> Result<Option<u64>, Damage> {
        self.plain_header = None;
        if !self.next_header()? {
            return Ok(None);
        }
        let bases = self.next_sequence(visitor)?;
        self.check_plus()?;
        self.next_quality(visitor, bases)?;
        Ok(Some(bases))
    }

    fn next_header(&mut self) -> Result<bool, Damage> {
        self.record += 1;
        loop {
            match self.peek()? {
                None => return Ok(false),
                Some(b'@') => break,
                Some(b'\n' | b'\r') => self.blank()?,
                Some(_) => {
                    self.line += 1;
                    return Err(self.damage(What::NoHeader));
                }
            }
        }
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        self.line(|piece| {
            if header.len() + piece.len() > HEADER_BYTES_MAX {
                return Err(What::LongHeader);
            }
            check_header(piece)?;
            header.extend_from_slice(piece);
            Ok(())
        })?;
        self.header = header;
        Ok(true)
    }

    /// A line that must hold nothing.
    fn blank(&mut self) -> Result<(), Damage> {
        self.line(|piece| if piece.is_empty() { Ok(()) } else { Err(What::NoHeader) })
    }

    /// How many bases.
    fn next_sequence(&mut self, visitor: &mut impl Visitor) -> Result<u64, Damage> {
        let mut bases = 0;
        loop {
            match self.peek()? {
                None => return Err(self.damage(What::Truncated)),
                Some(b'+') => return Ok(bases),
                Some(b'@') => return Err(self.damage(What::NoPlus)),
                Some(_) => {}
            }
            self.line(|piece| {
                check_sequence(piece)?;
                visitor.sequence(bases, piece);
                bases += length(piece);
                Ok(())
            })?;
        }
    }

    /// The `+` line is bare or says the header again.
    fn check_plus(&mut self) -> Result<(), Damage> {
        let header = std::mem::take(&mut self.header);
        let mut seen = 0;
        self.line(|piece| {
            let expected = header.get(seen.max(1)..).unwrap_or_default();
            let piece = if seen == 0 { piece.get(1..).unwrap_or_default() } else { piece };
            if !expected.starts_with(piece) {
                return Err(What::OtherName);
            }
            seen += piece.len() + usize::from(seen == 0);
            Ok(())
        })?;
        let repeated = seen.saturating_sub(1);
        let whole = repeated == 0 || repeated + 1 == header.len();
        self.header = header;
        if whole { Ok(()) } else { Err(self.damage(What::OtherName)) }
    }

    /// How many qualities. They may be wrapped, also where the sequence is not, so lines are taken
    /// in until there are enough. Where a line was too short, that takes in the next record, and
    /// then the counts do not fit or the record after it has no header: never a quiet mistake.
    fn next_quality(&mut self, visitor: &mut impl Visitor, bases: u64) -> Result<(), Damage> {
        let mut qualities = 0;
        let mut first_line = None;
        while first_line.is_none() || qualities < bases {
            if self.peek()?.is_none() {
                break;
            }
            self.line(|piece| {
                check_quality(piece)?;
                // What is past the bases is counted for the message and given to nobody.
                let room = usize::try_from(bases.saturating_sub(qualities)).unwrap_or(usize::MAX);
                if room > 0 {
                    visitor.quality(qualities, piece.get(..room).unwrap_or(piece));
                }
                qualities += length(piece);
                Ok(())
            })?;
            let (first, _) = *first_line.get_or_insert((qualities, self.line));
            if first == 0 {
                break;
            }
        }
        match first_line {
            // An empty read's empty line may have lost its end.
            None if bases > 0 => Err(self.damage(What::Truncated)),
            Some((first, line)) if qualities != bases => {
                let what = What::Lengths { bases, qualities: first };
                Err(Damage { record: self.record, line, what })
            }
            _ => Ok(()),
        }
    }

    fn damage(&self, what: What) -> Damage {
        Damage { record: self.record, line: self.line.max(1), what }
    }

    /// The next line's first byte.
    fn peek(&mut self) -> Result<Option<u8>, Damage> {
        self.fill()?;
        Ok(self.chunk.get(self.at).copied())
    }

    /// Makes sure that there are bytes, unless the file has ended.
    #[inline]
    fn fill(&mut self) -> Result<bool, Damage> {
        if self.at < self.chunk.len() {
            return Ok(true);
        }
        self.at = 0;
        let chunk = self.chunks.chunk().map_err(|_unreadable| self.damage(What::Unreadable))?;
        self.chunk = chunk.unwrap_or_default();
        self.read_bytes += length(&self.chunk);
        Ok(!self.chunk.is_empty())
    }

    /// Hands on a line's pieces without its end. There must be a byte left.
    #[inline]
    fn line(&mut self, mut piece_of: impl FnMut(&[u8]) -> Result<(), What>) -> Result<(), Damage> {
        self.line += 1;
        let (record, line) = (self.record, self.line);
        let at_line = |what| Damage { record, line, what };
        // A CR at a chunk's end is part of the line's end only if a LF begins the next.
        let mut held_cr = false;
        while self.fill()? {
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let end = memchr(b'\n', rest);
            let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            self.at += piece.len() + usize::from(end.is_some());
            if held_cr && !piece.is_empty() {
                piece_of(b"\r").map_err(at_line)?;
            }
            let bare = piece.strip_suffix(b"\r");
            held_cr = bare.is_some();
            let piece = bare.unwrap_or(piece);
            if !piece.is_empty() {
                piece_of(piece).map_err(at_line)?;
            }
            if end.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// A piece's length. No slice is longer than `u64` counts.
pub fn length(piece: &[u8]) -> u64 {
    piece.len().try_into().unwrap_or(u64::MAX)
}

/// A control character in a header is no name's: where a stretch of a file was overwritten with
/// zeros, line ends went with it, and a header that took them would hide the records between.
#[inline(always)]
fn no_header_byte(bytes: Bytes) -> Bytes {
    bytes.below(b' ').without(bytes.equal(b'\t')).or(bytes.equal(0x7f))
}

#[inline(always)]
fn no_letter(bytes: Bytes) -> Bytes {
    Bytes::all().without(bytes.masked(0xdf).less(b'A').below(26))
}

#[inline(always)]
fn no_score(bytes: Bytes) -> Bytes {
    Bytes::all().without(bytes.less(b'!').below(SCORE_MAX + 1))
}

#[inline]
fn check_header(piece: &[u8]) -> Result<(), What> {
    check(piece, no_header_byte, |byte| byte < b' ' && byte != b'\t' || byte == 0x7f, What::HeaderByte)
}

#[inline]
fn check_sequence(piece: &[u8]) -> Result<(), What> {
    let unknown = |byte: u8| !byte.is_ascii_alphabetic() && !matches!(byte, b'-' | b'.' | b'*');
    check(piece, no_letter, unknown, What::SequenceByte)
}

#[inline]
fn check_quality(piece: &[u8]) -> Result<(), What> {
    check(piece, no_score, |byte| !(b'!'..=b'~').contains(&byte), What::QualityByte)
}

/// Looks for a wrong byte one at a time only where there may be one.
#[inline]
fn check(
    piece: &[u8],
    suspect: impl Fn(Bytes) -> Bytes,
    wrong: impl Fn(u8) -> bool,
    what: impl Fn(u8) -> What,
) -> Result<(), What> {
    if !lanes::any(piece, suspect) {
        return Ok(());
    }
    piece.iter().copied().find(|&byte| wrong(byte)).map_or(Ok(()), |byte| Err(what(byte)))
}

#[cfg(test)]
pub mod tests;
