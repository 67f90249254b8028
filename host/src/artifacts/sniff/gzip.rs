//! Formats inside gzip and BGZF.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use helix_ids::ArtifactType;

use super::{HEAD_BYTES_MAX, Test, table, text};

pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(b"\x1f\x8b\x08")
}

/// BGZF is gzip with an extra field `BC` of two bytes; others may stand before it.
fn is_bgzf(head: &[u8]) -> bool {
    const EXTRA: u8 = 4;
    if !is_gzip(head) || head.get(3).is_none_or(|flags| flags & EXTRA == 0) {
        return false;
    }
    let length = head.get(10..).and_then(<[u8]>::first_chunk).map_or(0, |length| u16::from_le_bytes(*length));
    let mut extra = head.get(12..12 + usize::from(length)).unwrap_or_default();
    while let Some(([first, second, low, high], after)) = extra.split_first_chunk::<4>() {
        let length = u16::from_le_bytes([*low, *high]);
        if (*first, *second, length) == (b'B', b'C', 2) {
            return after.len() >= 2;
        }
        extra = after.get(usize::from(length)..).unwrap_or_default();
    }
    false
}

/// What begins a format that is kept in BGZF.
const BGZF_MAGIC: &[(&[u8], ArtifactType)] = &[
    (b"BAM\x01", ArtifactType::Bam),
    (b"BCF\x02", ArtifactType::Bcf),
    (b"TBI\x01", ArtifactType::Tbi),
    (b"CSI\x01", ArtifactType::Csi),
];

pub(super) fn content(head: &[u8]) -> ArtifactType {
    let inner = inflate(head);
    if is_bgzf(head)
        && let Some((_, known)) = BGZF_MAGIC.iter().find(|(magic, _)| inner.starts_with(magic))
    {
        return *known;
    }
    let tests: [(Test, ArtifactType); 4] = [
        (text::is_vcf, ArtifactType::VcfGz),
        (text::is_fastq, ArtifactType::FastqGz),
        (text::is_fasta, ArtifactType::FastaGz),
        (table::is_crai, ArtifactType::Crai),
    ];
    tests.iter().find(|(test, _)| test(&inner)).map_or(ArtifactType::Unknown, |(_, known)| *known)
}

/// For the types that are text inside gzip. Empty reads and empty indexes are files too.
pub(super) fn agrees(head: &[u8], artifact_type: ArtifactType) -> bool {
    if !is_gzip(head) {
        return false;
    }
    let empty = artifact_type != ArtifactType::VcfGz && inflates_to_nothing(head);
    empty || content(head) == artifact_type
}

fn inflates_to_nothing(head: &[u8]) -> bool {
    let mut byte = [0];
    matches!(MultiGzDecoder::new(head).read(&mut byte), Ok(0))
}

/// What the head inflates to, capped; the head is cut somewhere, so an error ends it.
fn inflate(head: &[u8]) -> Vec<u8> {
    const STEP_BYTES: usize = 4096;
    let mut decoder = MultiGzDecoder::new(head);
    let mut inner = Vec::new();
    let mut step = [0; STEP_BYTES];
    while inner.len() < HEAD_BYTES_MAX {
        match decoder.read(&mut step) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => inner.extend_from_slice(step.get(..bytes).unwrap_or_default()),
        }
    }
    inner
}
