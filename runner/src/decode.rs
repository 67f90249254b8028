//! Undoes gzip and BGZF: every member, each checksum and length checked.
//!
//! Zero bytes may follow the last member, and nothing else. A file whose members are all BGZF
//! blocks must end with the empty block that says "this is all": without it a truncation at a
//! block's border would look like a shorter file.
//!
//! Two decoders, each where it is the faster. Processor time for 67 MB of FASTQ (126 MB decoded;
//! the reads of Debian's bowtie2-examples, repeated): BGZF with libdeflate 0.36 s (350 MB/s) and
//! with zlib-rs 0.55 s (230 MB/s); one plain gzip member, which libdeflate cannot stream, with
//! zlib-rs 0.54 s (230 MB/s); `gzip -dc` 1.1 s (115 MB/s).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Decoded bytes in one chunk: large enough that handing it over costs nothing beside decoding.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Compressed bytes that are read at once. Holds any BGZF block and any header that we accept.
const WINDOW_BYTES: usize = 256 * 1024;

/// Longest gzip header: a name or comment has no length of its own.
const HEADER_BYTES_MAX: usize = 128 * 1024;

/// Bytes of checksum and length after each member.
const TRAILER_BYTES: usize = 8;

/// Most bytes that a BGZF block decodes to.
const BLOCK_BYTES_MAX: u32 = 65_536;

/// Why decoding stopped.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is not what it says; `offset` is in its own bytes.
    #[error("damaged at byte {offset}: {reason}")]
    Damaged { offset: u64, reason: String },
    /// The file cannot be read: ours.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
}

/// Reads a file from its start and gives its bytes without their compression.
///
/// Reads by position: the descriptor's own offset is shared with whoever else has it.
pub struct Decoder {
    source: Source,
    state: State,
    /// Whether each member so far was a BGZF block, and the last of them the empty one.
    all_bgzf: bool,
    ended_with_empty_block: bool,
    members: u64,
    block: libdeflater::Decompressor,
}

enum State {
    /// Nothing has been read.
    Start,
    /// Before a member, or the padding after the last.
    Between,
    Inflating(Box<Member>),
    /// Not compressed: as it comes.
    Plain,
    End,
}

struct Member {
    inflate: Decompress,
    crc: Crc,
    offset: u64,
}

struct Header {
    length: usize,
    /// Size of the whole block, where it is one of BGZF.
    block_bytes: Option<usize>,
}

impl Decoder {
    pub fn new(file: Arc<File>) -> Self {
        Self {
            source: Source::new(file),
            state: State::Start,
            all_bgzf: true,
            ended_with_empty_block: false,
            members: 0,
            block: libdeflater::Decompressor::new(),
        }
    }

    /// Fills `out` up to [`CHUNK_BYTES`], less only at the end. False when there was nothing left.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        out.clear();
        while out.len() < CHUNK_BYTES {
            match &mut self.state {
                State::Start => self.start()?,
                State::Between => self.begin_member(out)?,
                State::Inflating(_) => self.inflate(out)?,
                State::Plain => {
                    if !self.source.copy(out)? {
                        self.state = State::End;
                    }
                }
                State::End => break,
            }
        }
        Ok(!out.is_empty())
    }

    fn start(&mut self) -> Result<(), DecodeError> {
        let compressed = matches!(self.source.fill(2)?, [0x1f, 0x8b, ..]);
        self.state = if compressed { State::Between } else { State::Plain };
        Ok(())
    }

    fn begin_member(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let offset = self.source.offset();
        match self.source.fill(2)? {
            [] => return self.end(),
            [0, ..] => {
                self.padding()?;
                return self.end();
            }
            [0x1f, 0x8b, ..] => {}
            _ => return Err(damaged(offset, "bytes that belong to nothing follow the last gzip member")),
        }
        let header = self.header()?;
        self.members += 1;
        let Some(block_bytes) = header.block_bytes else {
            self.all_bgzf = false;
            self.source.consume(header.length);
            let member = Member { inflate: Decompress::new(false), crc: Crc::new(), offset };
            self.state = State::Inflating(Box::new(member));
            return Ok(());
        };
        self.block(&header, block_bytes, out)
    }

    /// One whole BGZF block. Blocks are small, so the faster decoder that needs all of its input
    /// at once can be used.
    fn block(&mut self, header: &Header, block_bytes: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
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
        self.ended_with_empty_block = size == 0;
        self.source.consume(block_bytes);
        Ok(())
    }

    fn inflate(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let State::Inflating(member) = &mut self.state else { return Ok(()) };
        let at = self.source.offset();
        let input = self.source.fill(1)?;
        let (given, read, written) = (input.len(), member.inflate.total_in(), member.inflate.total_out());
        let before = out.len();
        out.resize(CHUNK_BYTES, 0);
        let target = out.get_mut(before..).unwrap_or_default();
        let status = member
            .inflate
            .decompress(input, target, FlushDecompress::None)
            .map_err(|error| damaged(at, format!("a gzip member does not decode ({error})")))?;
        let read = to_usize(member.inflate.total_in() - read);
        let written = to_usize(member.inflate.total_out() - written);
        out.truncate(before + written);
        member.crc.update(out.get(before..).unwrap_or_default());
        self.source.consume(read);
        if matches!(status, Status::StreamEnd) {
            return self.end_member();
        }
        if read == 0 && written == 0 && given == 0 {
            return Err(damaged(at, "the file ends within a gzip member"));
        }
        Ok(())
    }

    fn end_member(&mut self) -> Result<(), DecodeError> {
        let State::Inflating(member) = std::mem::replace(&mut self.state, State::Between) else {
            return Ok(());
        };
        let at = self.source.offset();
        let Some(trailer) = self.source.fill(TRAILER_BYTES)?.first_chunk::<TRAILER_BYTES>() else {
            return Err(damaged(at, "the file ends within a gzip member"));
        };
        let (crc, size) = split_trailer(*trailer);
        if crc != member.crc.sum() {
            return Err(damaged(member.offset, "a gzip member's checksum does not match"));
        }
        if size != member.crc.amount() {
            return Err(damaged(member.offset, "a gzip member decodes to another length than it says"));
        }
        self.source.consume(TRAILER_BYTES);
        Ok(())
    }

    fn padding(&mut self) -> Result<(), DecodeError> {
        loop {
            let offset = self.source.offset();
            let rest = self.source.fill(1)?;
            if rest.is_empty() {
                return Ok(());
            }
            if let Some(position) = rest.iter().position(|byte| *byte != 0) {
                let offset = offset + position as u64;
                return Err(damaged(offset, "bytes that are not zero follow the last gzip member"));
            }
            let length = rest.len();
            self.source.consume(length);
        }
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        if self.all_bgzf && self.members > 0 && !self.ended_with_empty_block {
            let offset = self.source.offset();
            return Err(damaged(offset, "the BGZF end-of-file block is missing: the file was cut"));
        }
        self.state = State::End;
        Ok(())
    }

    fn header(&mut self) -> Result<Header, DecodeError> {
        let offset = self.source.offset();
        let mut wanted = 64;
        loop {
            let bytes = self.source.fill(wanted)?;
            let complete = bytes.len() < wanted;
            match parse_header(bytes) {
                Parsed::Header(header) => return Ok(header),
                Parsed::Bad(reason) => return Err(damaged(offset, reason)),
                Parsed::Short if complete => {
                    return Err(damaged(offset, "the file ends within a gzip header"));
                }
                Parsed::Short if wanted >= HEADER_BYTES_MAX => {
                    return Err(damaged(offset, "a gzip header is longer than 128 KiB"));
                }
                Parsed::Short => wanted *= 2,
            }
        }
    }
}

enum Parsed {
    Header(Header),
    /// More bytes are needed.
    Short,
    Bad(&'static str),
}

/// Reads a gzip header (RFC 1952).
fn parse_header(bytes: &[u8]) -> Parsed {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let Some((fixed, mut rest)) = bytes.split_first_chunk::<10>() else { return Parsed::Short };
    let [_, _, method, flags, ..] = *fixed;
    if method != 8 || flags & 0xe0 != 0 {
        return Parsed::Bad("a gzip header names a method or flag that does not exist");
    }
    let mut block_bytes = None;
    if flags & EXTRA != 0 {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return Parsed::Short };
        let Some((extra, after)) = after.split_at_checked(usize::from(u16::from_le_bytes(*length))) else {
            return Parsed::Short;
        };
        block_bytes = bgzf_block(extra);
        rest = after;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Parsed::Short };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & CHECKSUM != 0 {
        let before = bytes.len() - rest.len();
        let Some((checksum, after)) = rest.split_first_chunk::<2>() else { return Parsed::Short };
        let mut crc = Crc::new();
        crc.update(bytes.get(..before).unwrap_or_default());
        if crc.sum() & 0xffff != u32::from(u16::from_le_bytes(*checksum)) {
            return Parsed::Bad("a gzip header's checksum does not match");
        }
        rest = after;
    }
    Parsed::Header(Header { length: bytes.len() - rest.len(), block_bytes })
}

/// The size of the block, if the extra field is BGZF's.
fn bgzf_block(mut extra: &[u8]) -> Option<usize> {
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

fn split_trailer(trailer: [u8; TRAILER_BYTES]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = trailer;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn damaged(offset: u64, reason: impl Into<String>) -> DecodeError {
    DecodeError::Damaged { offset, reason: reason.into() }
}

/// Differences of counters within one buffer.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A window that moves over a file.
struct Source {
    file: Arc<File>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the window's end lies in the file.
    read: u64,
}

impl Source {
    fn new(file: Arc<File>) -> Self {
        Self { file, window: vec![0; WINDOW_BYTES], start: 0, end: 0, read: 0 }
    }

    /// Position in the file of the next byte.
    fn offset(&self) -> u64 {
        self.read - (self.end - self.start) as u64
    }

    /// The next bytes: at least `wanted` of them, fewer only at the end of the file.
    fn fill(&mut self, wanted: usize) -> Result<&[u8], DecodeError> {
        if self.end - self.start < wanted {
            self.window.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < wanted {
                let space = self.window.get_mut(self.end..).unwrap_or_default();
                match self.file.read_at(space, self.read) {
                    Ok(0) => break,
                    Ok(count) => {
                        self.end += count;
                        self.read += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(DecodeError::Io(error)),
                }
            }
        }
        Ok(self.window.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Moves bytes to `out` up to a chunk; false at the end of the file.
    fn copy(&mut self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let bytes = self.fill(1)?;
        let count = bytes.len().min(CHUNK_BYTES - out.len());
        out.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.consume(count);
        Ok(count > 0)
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};

    use super::*;

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// One BGZF block; the empty one ends a file.
    pub fn block(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        let deflated = encoder.finish().unwrap();
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut block = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0];
        block.extend(u16::try_from(deflated.len() + 25).unwrap().to_le_bytes());
        block.extend(deflated);
        block.extend(crc.sum().to_le_bytes());
        block.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        block
    }

    pub fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// All bytes, or where and why decoding stopped.
    fn decode(bytes: &[u8]) -> Result<Vec<u8>, (u64, String)> {
        let mut decoder = Decoder::new(Arc::new(file(bytes)));
        let (mut whole, mut chunk) = (Vec::new(), Vec::new());
        loop {
            match decoder.next(&mut chunk) {
                Ok(true) => whole.extend_from_slice(&chunk),
                Ok(false) => return Ok(whole),
                Err(DecodeError::Damaged { offset, reason }) => return Err((offset, reason)),
                Err(DecodeError::Io(error)) => panic!("{error}"),
            }
        }
    }

    /// A member with every optional field, as RFC 1952 allows.
    fn with_all_fields(bytes: &[u8], checksum_is_right: bool) -> Vec<u8> {
        let plain = gzip(bytes);
        let mut member = vec![0x1f, 0x8b, 8, 2 + 4 + 8 + 16, 0, 0, 0, 0, 0, 0xff];
        member.extend([4, 0, b'x', b'y', 0, 0]);
        member.extend(b"name\0comment\0");
        let mut crc = Crc::new();
        crc.update(&member);
        let sum = u16::try_from(crc.sum() & 0xffff).unwrap();
        member.extend(if checksum_is_right { sum } else { !sum }.to_le_bytes());
        member.extend(&plain[10..]);
        member
    }

    #[test]
    fn whole_files_decode() {
        let big: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
        let blocks: Vec<u8> = big.chunks(40_000).flat_map(block).chain(block(b"")).collect();
        let cases: [(&str, Vec<u8>, &[u8]); 10] = [
            ("empty", Vec::new(), b""),
            ("plain", b"plain".to_vec(), b"plain"),
            ("one byte of the magic", vec![0x1f], &[0x1f]),
            ("gzip", gzip(&big), &big),
            ("gzip of nothing", gzip(b""), b""),
            ("two members", [gzip(b"one "), gzip(b"two")].concat(), b"one two"),
            ("zeros after", [gzip(b"one"), vec![0; 400_000]].concat(), b"one"),
            ("all fields", with_all_fields(b"text", true), b"text"),
            ("BGZF", blocks, &big),
            ("BGZF and gzip", [block(b"one "), gzip(b"two")].concat(), b"one two"),
        ];
        for (what, bytes, expected) in cases {
            assert!(decode(&bytes).map_err(|error| (what, error)).unwrap() == expected, "{what}");
        }
    }

    #[test]
    fn damage_is_found_and_placed() {
        let (one, two) = (gzip(b"one"), block(b"two"));
        let flip = |bytes: &[u8], at: usize| {
            let mut bytes = bytes.to_vec();
            let at = bytes.len() - at;
            bytes[at] ^= 1;
            bytes
        };
        let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
        let cases: [(&str, Vec<u8>, u64); 12] = [
            ("the file ends within a gzip header", one[..5].to_vec(), 0),
            ("the file ends within a gzip member", cut(&one, 9), one.len() as u64 - 9),
            ("the file ends within a gzip member", cut(&one, 1), one.len() as u64 - 8),
            ("a gzip member's checksum does not match", flip(&one, 8), 0),
            ("a gzip member decodes to another length than it says", flip(&one, 4), 0),
            ("a gzip header's checksum does not match", with_all_fields(b"text", false), 0),
            (
                "bytes that belong to nothing follow the last gzip member",
                [&one[..], b"x"].concat(),
                one.len() as u64,
            ),
            (
                "bytes that are not zero follow the last gzip member",
                [&one[..], b"\0\0x"].concat(),
                one.len() as u64 + 2,
            ),
            ("the BGZF end-of-file block is missing: the file was cut", two.clone(), two.len() as u64),
            ("the file ends within a BGZF block", cut(&two, 1), 0),
            ("a BGZF block's checksum does not match", [flip(&two, 8), block(b"")].concat(), 0),
            ("the file ends within a gzip header", [&two[..], &[0x1f, 0x8b]].concat(), two.len() as u64),
        ];
        for (reason, bytes, offset) in cases {
            assert_eq!(decode(&bytes), Err((offset, reason.to_owned())));
        }
    }

    /// No single flipped bit of a small file is passed over, but for those that say nothing:
    /// time, operating system and compression level in the header.
    #[test]
    fn every_flipped_bit_is_seen() {
        for good in [gzip(b"some text to compress"), [block(b"some text"), block(b"")].concat()] {
            let expected = decode(&good).unwrap();
            for at in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[at / 8] ^= 1 << (at % 8);
                if let Ok(decoded) = decode(&bad) {
                    assert!(at / 8 < 2 || decoded == expected, "bit {at} changed the text in silence");
                }
            }
        }
    }
}
