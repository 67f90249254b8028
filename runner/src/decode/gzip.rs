//! Members of gzip (RFC 1952): header, deflated bytes, checksum and length.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{CHUNK_BYTES, DecodeError, Decoder, State, bgzf, damaged};

/// Longest gzip header: a name or comment has no length of its own.
const HEADER_BYTES_MAX: usize = 128 * 1024;

/// Room that a member's first step of decoding gets; each later one gets twice as much. Room is
/// filled with zeros first, which a file of a million empty members must not pay for in full.
const FIRST_ROOM_BYTES: usize = 4096;

/// Bytes of checksum and length after each member.
pub(super) const TRAILER_BYTES: usize = 8;

pub(super) struct Header {
    pub length: usize,
    /// Size of the whole block, where it is one of BGZF.
    pub block_bytes: Option<usize>,
}

/// A member that is being inflated.
pub(super) struct Member {
    inflate: Box<Decompress>,
    crc: Crc,
    offset: u64,
    /// How much room the next step of decoding gets.
    room: usize,
}

impl Member {
    /// `offset` is where its header begins.
    pub fn new(inflate: Box<Decompress>, offset: u64) -> Self {
        Self { inflate, crc: Crc::new(), offset, room: FIRST_ROOM_BYTES }
    }
}

impl Decoder {
    pub(super) fn inflate(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let State::Inflating(member) = &mut self.state else { return Ok(()) };
        let at = self.source.offset();
        let input = self.source.fill(1)?;
        let (given, read, written) = (input.len(), member.inflate.total_in(), member.inflate.total_out());
        let before = out.len();
        out.resize(CHUNK_BYTES.min(before + member.room), 0);
        member.room = CHUNK_BYTES.min(2 * member.room);
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
        let State::Inflating(mut member) = std::mem::replace(&mut self.state, State::Between) else {
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
        member.inflate.reset(false);
        self.inflate = Some(member.inflate);
        Ok(())
    }

    pub(super) fn header(&mut self) -> Result<Header, DecodeError> {
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
        block_bytes = bgzf::block_bytes(extra);
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

pub(super) fn split_trailer(trailer: [u8; TRAILER_BYTES]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = trailer;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// Differences of counters within one buffer.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
