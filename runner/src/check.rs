//! Whole-file checks: is a file complete, and what it says it is?
//!
//! Common tools answer "fine" to a truncated file, so the end of a step is no evidence. A check
//! reads every byte once and keeps none.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::Crc;
use helix_ids::ArtifactType;

use super::decode::{DecodeError, Decoder};
use crate::protocol::Verdict;

/// Longest line of a FASTQ file. The longest reads known have some millions of bases.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes that a file may decode to while it is checked.
const DECODED_BYTES_MAX: u64 = 1 << 40;
/// Most reference sequences of a BAM header.
const REFERENCES_MAX: u32 = 1 << 24;

/// Why a check did not come to its end, or that the file is bad.
#[derive(Debug)]
enum Ended {
    Bad { reason: String, offset: Option<u64> },
    Fault(String),
}

type Checked = Result<(), Ended>;

/// The first `max_bytes` without compression. Damage ends it early: what came before is shown.
pub fn head(file: OwnedFd, max_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut decoded = Decoded::new(file);
    match decoded.by_ref().take(max_bytes).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => match ended(error) {
            Ended::Bad { .. } => Ok(bytes),
            Ended::Fault(message) => Err(message),
        },
    }
}

/// Checks a whole file as its type.
pub fn check(file: OwnedFd, artifact_type: ArtifactType) -> Result<Verdict, String> {
    let checked = by_type(file, artifact_type);
    match checked {
        Ok(()) => Ok(Verdict::Good),
        Err(Ended::Bad { reason, offset }) => Ok(Verdict::Bad { reason, offset }),
        Err(Ended::Fault(message)) => Err(message),
    }
}

fn by_type(file: OwnedFd, artifact_type: ArtifactType) -> Checked {
    use ArtifactType as T;
    let plain = Plain(File::from(file));
    let compressed = plain.starts_with(&[0x1f, 0x8b])?;
    let needs_compression = matches!(
        artifact_type,
        T::FastqGz | T::FastaGz | T::VcfGz | T::Bam | T::Bcf | T::Tbi | T::Csi | T::Crai
    );
    if needs_compression && !compressed {
        return Err(bad("not compressed, as its type says", Some(0)));
    }
    if !needs_compression && compressed && artifact_type != T::Unknown {
        return Err(bad("compressed, which its type does not say", Some(0)));
    }
    match artifact_type {
        T::Fastq | T::FastqGz => fastq(&mut Decoded::of(plain.0)),
        T::Fasta | T::FastaGz => fasta(&mut Decoded::of(plain.0)),
        T::Bam => bam(&mut Decoded::of(plain.0)),
        T::VcfGz | T::Crai => utf8(&mut Decoded::of(plain.0)),
        T::Bcf => magic_then_all(&mut Decoded::of(plain.0), b"BCF\x02"),
        T::Tbi => magic_then_all(&mut Decoded::of(plain.0), b"TBI\x01"),
        T::Csi => magic_then_all(&mut Decoded::of(plain.0), b"CSI\x01"),
        T::Json => json(&mut Decoded::of(plain.0)),
        T::Png => png(&mut Decoded::of(plain.0)),
        T::Sam
        | T::Vcf
        | T::Bed
        | T::Gff3
        | T::Gtf
        | T::Tsv
        | T::Csv
        | T::Text
        | T::Md
        | T::Html
        | T::Svg
        | T::Log => utf8(&mut Decoded::of(plain.0)),
        T::Bai => plain.magic(b"BAI\x01"),
        T::Cram => plain.magic(b"CRAM"),
        T::Pdf => plain.magic(b"%PDF-"),
        T::Zip => plain.magic(b"PK"),
        T::H5ad => plain.magic(b"\x89HDF\r\n\x1a\n"),
        T::Unknown => Ok(()),
    }
}

/// FASTQ: four lines a record, `@` and `+` in their places, as many qualities as bases.
fn fastq(input: &mut Decoded) -> Checked {
    let mut lines = Lines::new(input);
    loop {
        let offset = lines.offset;
        if !lines.next()? {
            return Ok(());
        }
        if lines.text().is_empty() {
            return only_empty_lines(&mut lines);
        }
        if lines.text().first() != Some(&b'@') {
            return Err(bad("a record does not begin with @", Some(offset)));
        }
        if !lines.next()? {
            return Err(bad("the file ends within a record", Some(offset)));
        }
        let bases = lines.text().len();
        if !lines.next()? || lines.text().first() != Some(&b'+') {
            return Err(bad("a record's third line does not begin with +", Some(offset)));
        }
        let more = lines.next()?;
        if !more && bases > 0 {
            return Err(bad("the file ends within a record", Some(offset)));
        }
        if more && lines.text().len() != bases {
            return Err(bad("a record has another number of qualities than of bases", Some(offset)));
        }
    }
}

fn only_empty_lines(lines: &mut Lines<'_>) -> Checked {
    loop {
        let offset = lines.offset;
        if !lines.next()? {
            return Ok(());
        }
        if !lines.text().is_empty() {
            return Err(bad("an empty line stands between records", Some(offset)));
        }
    }
}

/// FASTA: begins with a header, and is text. A sequence may be one line of any length.
fn fasta(input: &mut Decoded) -> Checked {
    let mut first = true;
    input.each_chunk(|chunk, offset| {
        let start = chunk.iter().position(|byte| !byte.is_ascii_whitespace());
        if let (true, Some(start)) = (first, start) {
            first = false;
            if !matches!(chunk.get(start), Some(b'>' | b';')) {
                return Err(bad("the first record does not begin with >", Some(offset + start as u64)));
            }
        }
        no_nul(chunk, offset)
    })
}

fn no_nul(chunk: &[u8], offset: u64) -> Checked {
    match chunk.iter().position(|byte| *byte == 0) {
        Some(position) => Err(bad("a zero byte in text", Some(offset + position as u64))),
        None => Ok(()),
    }
}

/// BAM: header, references, and whole records to the end. Offsets are those of decoded bytes.
fn bam(input: &mut Decoded) -> Checked {
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

/// JSON: one value. The parser's own depth (128) holds.
fn json(input: &mut Decoded) -> Checked {
    match serde_json::from_reader::<_, serde::de::IgnoredAny>(&mut *input) {
        Ok(_) => Ok(()),
        Err(error) if error.is_io() => Err(ended(error.into())),
        Err(error) => Err(bad(format!("not JSON: {error}"), None)),
    }
}

/// PNG: signature, every chunk with its checksum, and nothing after the last.
fn png(input: &mut Decoded) -> Checked {
    let mut signature = [0; 8];
    input.read_exact(&mut signature).map_err(ended)?;
    if &signature != b"\x89PNG\r\n\x1a\n" {
        return Err(bad("does not begin as a PNG file", Some(0)));
    }
    loop {
        let offset = input.offset;
        let mut head = [0; 8];
        input.read_exact(&mut head).map_err(ended)?;
        let [l0, l1, l2, l3, name @ ..] = head;
        let mut crc = Crc::new();
        crc.update(&name);
        let mut left = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        while left > 0 {
            let bytes = input.fill_buf().map_err(ended)?;
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(bad("the file ends within a chunk", Some(offset)));
            }
            crc.update(bytes.get(..count).unwrap_or_default());
            input.consume(count);
            left -= count as u64;
        }
        let mut sum = [0; 4];
        input.read_exact(&mut sum).map_err(ended)?;
        if u32::from_be_bytes(sum) != crc.sum() {
            return Err(bad("a chunk's checksum does not match", Some(offset)));
        }
        if &name == b"IEND" {
            let rest = input.fill_buf().map_err(ended)?;
            return if rest.is_empty() { Ok(()) } else { Err(bad("bytes follow the last chunk", None)) };
        }
    }
}

/// Text: UTF-8 to the last byte.
fn utf8(input: &mut Decoded) -> Checked {
    // The beginning of a character that the next chunk goes on with: three bytes at most.
    let mut carried: Vec<u8> = Vec::new();
    input.each_chunk(|chunk, offset| {
        let start = offset - carried.len() as u64;
        carried.extend_from_slice(chunk);
        let rest = match std::str::from_utf8(&carried) {
            Ok(_) => carried.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => return Err(bad("not UTF-8", Some(start + error.valid_up_to() as u64))),
        };
        carried.drain(..rest);
        Ok(())
    })?;
    if carried.is_empty() { Ok(()) } else { Err(bad("the file ends within a character", None)) }
}

fn magic_then_all(input: &mut Decoded, magic: &[u8; 4]) -> Checked {
    let mut first = [0; 4];
    input.read_exact(&mut first).map_err(ended)?;
    if &first != magic {
        return Err(bad("does not begin as its type does", Some(0)));
    }
    input.each_chunk(|_, _| Ok(()))
}

/// The bytes of a file as they are.
struct Plain(File);

impl Plain {
    fn starts_with(&self, magic: &[u8]) -> Result<bool, Ended> {
        let mut first = vec![0; magic.len()];
        let mut filled = 0;
        while filled < first.len() {
            let space = first.get_mut(filled..).unwrap_or_default();
            match self.0.read_at(space, filled as u64) {
                Ok(0) => return Ok(false),
                Ok(count) => filled += count,
                Err(error) => return Err(Ended::Fault(error.to_string())),
            }
        }
        Ok(first == magic)
    }

    fn magic(&self, magic: &[u8]) -> Checked {
        if self.starts_with(magic)? { Ok(()) } else { Err(bad("does not begin as its type does", Some(0))) }
    }
}

/// Decoded bytes as a reader.
struct Decoded {
    decoder: Decoder,
    chunk: Vec<u8>,
    position: usize,
    /// Of the next byte, among decoded bytes.
    offset: u64,
}

impl Decoded {
    fn new(file: OwnedFd) -> Self {
        Self::of(File::from(file))
    }

    fn of(file: File) -> Self {
        Self { decoder: Decoder::new(Arc::new(file)), chunk: Vec::new(), position: 0, offset: 0 }
    }

    fn each_chunk(&mut self, mut look: impl FnMut(&[u8], u64) -> Checked) -> Checked {
        loop {
            let offset = self.offset;
            let chunk = self.fill_buf().map_err(ended)?;
            if chunk.is_empty() {
                return Ok(());
            }
            look(chunk, offset)?;
            let length = chunk.len();
            self.consume(length);
        }
    }
}

impl Read for Decoded {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.fill_buf()?;
        let count = chunk.read(target)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Decoded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.len() {
            self.position = 0;
            if self.offset > DECODED_BYTES_MAX {
                return Err(io::Error::other("the file decodes to more than a check reads"));
            }
            self.decoder.next(&mut self.chunk).map_err(io::Error::other)?;
        }
        Ok(self.chunk.get(self.position..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
        self.offset += count as u64;
    }
}

/// Lines without their ends (LF or CRLF).
struct Lines<'a> {
    input: &'a mut Decoded,
    line: Vec<u8>,
    /// Of the next line.
    offset: u64,
}

impl<'a> Lines<'a> {
    fn new(input: &'a mut Decoded) -> Self {
        Self { input, line: Vec::new(), offset: 0 }
    }

    fn next(&mut self) -> Result<bool, Ended> {
        self.line.clear();
        let read =
            (&mut *self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line).map_err(ended)?;
        self.offset += read as u64;
        if self.line.pop_if(|byte| *byte == b'\n').is_some() {
            self.line.pop_if(|byte| *byte == b'\r');
        } else if self.line.len() as u64 == LINE_BYTES_MAX {
            return Err(bad("a line is longer than 64 MiB", Some(self.offset)));
        }
        Ok(read > 0)
    }

    fn text(&self) -> &[u8] {
        &self.line
    }
}

/// What a reader's error means: a file that stops short is bad, like one that does not decode.
fn ended(error: io::Error) -> Ended {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return bad("the file ends within a part of it", None);
    }
    match error.downcast::<DecodeError>() {
        Ok(DecodeError::Damaged { offset, reason }) => Ended::Bad { reason, offset: Some(offset) },
        Ok(DecodeError::Io(source)) => Ended::Fault(source.to_string()),
        Err(error) => Ended::Fault(error.to_string()),
    }
}

fn bad(reason: impl Into<String>, offset: Option<u64>) -> Ended {
    Ended::Bad { reason: reason.into(), offset }
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::{block, file, gzip};
    use super::*;

    fn verdict(artifact_type: ArtifactType, bytes: &[u8]) -> Verdict {
        check(file(bytes).into(), artifact_type).unwrap()
    }

    /// A BAM record of four bases and one operation on the first reference.
    fn bam_record(reference: i32, size: u32) -> Vec<u8> {
        let mut record = size.to_le_bytes().to_vec();
        record.extend(reference.to_le_bytes());
        record.extend([0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]);
        record.extend((-1_i32).to_le_bytes());
        record.extend([0; 8]);
        record.extend(b"r\0\x40\0\0\0\x11\x11\xff\xff\xff\xff");
        record
    }

    fn bam_file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"BAM\x01\x04\0\0\0@HD\n\x01\0\0\0\x02\0\0\0c\0\x10\0\0\0".to_vec();
        bytes.extend(records.concat());
        [block(&bytes), block(b"")].concat()
    }

    #[test]
    fn a_bam_file_is_whole_or_it_is_not() {
        let good = bam_record(0, 44);
        assert_eq!(verdict(ArtifactType::Bam, &bam_file(&[])), Verdict::Good);
        assert_eq!(verdict(ArtifactType::Bam, &bam_file(&[good.clone(), good.clone()])), Verdict::Good);
        let cases = [
            (bam_file(&[bam_record(1, 44)]), "a record names a reference sequence that the header lacks"),
            (bam_file(&[bam_record(0, 40)]), "a record's parts do not fit in its size"),
            (bam_file(&[bam_record(0, 8)]), "a record is shorter than its fixed part"),
            (bam_file(&[good[..20].to_vec()]), "the file ends within a part of it"),
            (bam_file(&[bam_record(0, 900_000_000)]), "the file ends within a part of it"),
            (bam_file(&[good])[..60].to_vec(), "the file ends within a BGZF block"),
            (gzip(b"text"), "does not begin as a BAM file"),
        ];
        for (bytes, expected) in cases {
            let Verdict::Bad { reason, .. } = verdict(ArtifactType::Bam, &bytes) else {
                panic!("good: {expected}");
            };
            assert_eq!(reason, expected);
        }
    }

    fn png_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(body);
        let length = u32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], name, body, &crc.sum().to_be_bytes()].concat()
    }

    #[test]
    fn a_png_file_ends_where_it_says() {
        let signature = b"\x89PNG\r\n\x1a\n".to_vec();
        let whole = [signature.clone(), png_chunk(b"IHDR", &[0; 13]), png_chunk(b"IEND", b"")].concat();
        assert_eq!(verdict(ArtifactType::Png, &whole), Verdict::Good);
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        for bad in [&whole[..whole.len() - 1], &whole[..8], &[&whole[..], b"x"].concat(), &flipped, b"PNG"] {
            assert_ne!(verdict(ArtifactType::Png, bad), Verdict::Good);
        }
    }

    #[test]
    fn text_may_break_between_chunks_but_not_end_within_a_character() {
        let long = "ü".repeat(200_000);
        let shifted = format!("a{long}");
        assert_eq!(verdict(ArtifactType::Text, long.as_bytes()), Verdict::Good);
        assert_eq!(verdict(ArtifactType::Text, shifted.as_bytes()), Verdict::Good);
        let cut = &shifted.as_bytes()[..shifted.len() - 1];
        assert_ne!(verdict(ArtifactType::Text, cut), Verdict::Good);
        let mut bad = shifted.into_bytes();
        bad[300_001] = 0xff;
        let Verdict::Bad { offset, .. } = verdict(ArtifactType::Text, &bad) else { panic!("good") };
        assert!(offset.is_some_and(|offset| (300_000..=300_001).contains(&offset)), "{offset:?}");
    }

    #[test]
    fn deep_json_ends_no_runner() {
        let deep = "[".repeat(1_000_000);
        assert_ne!(verdict(ArtifactType::Json, deep.as_bytes()), Verdict::Good);
        assert_ne!(verdict(ArtifactType::Json, b"{} {}"), Verdict::Good);
        assert_ne!(verdict(ArtifactType::Json, b""), Verdict::Good);
    }

    #[test]
    fn damage_ends_a_head_and_does_not_spoil_it() {
        let text = "line\n".repeat(200_000);
        let whole = gzip(text.as_bytes());
        let start = head(file(&whole[..whole.len() / 2]).into(), 1 << 20).unwrap();
        assert!(text.as_bytes().starts_with(&start));
        assert_eq!(head(file(&whole).into(), 10).unwrap(), b"line\nline\n");
    }
}
