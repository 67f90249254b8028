//! Whole-file checks: is a file complete, and what it says it is?
//!
//! Common tools answer "fine" to a truncated file, so the end of a step is no evidence. A check
//! reads every byte once and keeps none.

mod bam;
mod cram;
mod decoded;
mod fasta;
mod fastq;
mod lines;
mod png;
mod text;
mod zip;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use helix_ids::ArtifactType;

use self::bam::bam;
use self::cram::cram;
use self::decoded::Decoded;
use self::fasta::fasta;
use self::fastq::fastq;
use self::png::png;
use self::text::{json, utf8};
use self::zip::zip;
use crate::decode::DecodeError;
use crate::protocol::Verdict;

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
        T::Cram => cram(&mut Decoded::of(plain.0)),
        T::Pdf => plain.magic(b"%PDF-"),
        T::Zip => zip(&plain),
        T::H5ad => plain.magic(b"\x89HDF\r\n\x1a\n"),
        T::Unknown => Ok(()),
    }
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
    fn length(&self) -> Result<u64, Ended> {
        self.0.metadata().map(|metadata| metadata.len()).map_err(|error| Ended::Fault(error.to_string()))
    }

    /// Fills `target` from `offset` on; how much there was.
    fn read(&self, target: &mut [u8], offset: u64) -> Result<usize, Ended> {
        let mut filled = 0;
        while filled < target.len() {
            let space = target.get_mut(filled..).unwrap_or_default();
            // Positions beyond what the kernel can say are beyond the end of any file.
            let at = offset.saturating_add(filled as u64);
            if i64::try_from(at.saturating_add(space.len() as u64)).is_err() {
                break;
            }
            match self.0.read_at(space, at) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Ended::Fault(error.to_string())),
            }
        }
        Ok(filled)
    }

    /// Bytes that must be there.
    fn exactly<const N: usize>(&self, offset: u64) -> Result<[u8; N], Ended> {
        let mut bytes = [0; N];
        let whole = self.read(&mut bytes, offset)? == N;
        if whole { Ok(bytes) } else { Err(bad("the file ends within a part of it", Some(offset))) }
    }

    fn starts_with(&self, magic: &[u8]) -> Result<bool, Ended> {
        let mut first = vec![0; magic.len()];
        Ok(self.read(&mut first, 0)? == magic.len() && first == magic)
    }

    fn magic(&self, magic: &[u8]) -> Checked {
        if self.starts_with(magic)? { Ok(()) } else { Err(bad("does not begin as its type does", Some(0))) }
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
mod tests;
