//! Which format a file is of, by its first bytes and its name.

mod gzip;
mod table;
mod text;

#[cfg(test)]
mod tests;

use helix_ids::ArtifactType;

/// Most bytes that are looked at, and that a compressed head is inflated to.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The type that these first bytes (up to 64 KiB) and this file name speak for.
#[must_use]
pub fn sniff(head: &[u8], name: &str) -> ArtifactType {
    let by_content = content(head);
    match by_name(name) {
        // `.txt` and `.log` say nothing of the format; bytes that do are believed instead.
        Some(ArtifactType::Text | ArtifactType::Log) if !is_weak(by_content) => by_content,
        Some(named) if agrees(head, named) => named,
        Some(_) | None => by_content,
    }
}

/// Whether these first bytes can be of this type: a hint that the bytes contradict is refused.
#[must_use]
pub fn agrees(head: &[u8], artifact_type: ArtifactType) -> bool {
    let head = cut(head);
    let empty = head.is_empty();
    match artifact_type {
        ArtifactType::Unknown => true,
        ArtifactType::Text | ArtifactType::Md | ArtifactType::Log => text::is_text(head),
        ArtifactType::Tsv | ArtifactType::Csv => text::is_text(head) && is_weak_or_table(content(head)),
        ArtifactType::Fastq => empty || text::is_fastq(head),
        ArtifactType::Fasta => empty || text::is_fasta(head),
        ArtifactType::Sam => empty || table::is_sam(head),
        ArtifactType::Bed => empty || table::is_bed(head),
        ArtifactType::Gff3 => empty || table::is_gff3(head),
        ArtifactType::Gtf => empty || table::is_gtf(head),
        ArtifactType::Vcf => text::is_vcf(head),
        ArtifactType::Json => text::is_json(head),
        ArtifactType::Html => text::is_markup(head) && !text::is_svg(head),
        ArtifactType::Svg => text::is_svg(head),
        ArtifactType::FastqGz | ArtifactType::FastaGz | ArtifactType::VcfGz | ArtifactType::Crai => {
            gzip::agrees(head, artifact_type)
        }
        ArtifactType::Bam
        | ArtifactType::Bai
        | ArtifactType::Cram
        | ArtifactType::Tbi
        | ArtifactType::Csi
        | ArtifactType::Bcf
        | ArtifactType::Png
        | ArtifactType::Pdf
        | ArtifactType::Zip
        | ArtifactType::H5ad => content(head) == artifact_type,
    }
}

/// What a file's name ends in. Longer ends stand first.
const NAMES: &[(&str, ArtifactType)] = &[
    (".fastq.gz", ArtifactType::FastqGz),
    (".fq.gz", ArtifactType::FastqGz),
    (".fasta.gz", ArtifactType::FastaGz),
    (".fa.gz", ArtifactType::FastaGz),
    (".fna.gz", ArtifactType::FastaGz),
    (".faa.gz", ArtifactType::FastaGz),
    (".vcf.gz", ArtifactType::VcfGz),
    (".vcf.bgz", ArtifactType::VcfGz),
    (".fastq", ArtifactType::Fastq),
    (".fq", ArtifactType::Fastq),
    (".fasta", ArtifactType::Fasta),
    (".fa", ArtifactType::Fasta),
    (".fna", ArtifactType::Fasta),
    (".faa", ArtifactType::Fasta),
    (".sam", ArtifactType::Sam),
    (".bam", ArtifactType::Bam),
    (".bai", ArtifactType::Bai),
    (".cram", ArtifactType::Cram),
    (".crai", ArtifactType::Crai),
    (".vcf", ArtifactType::Vcf),
    (".tbi", ArtifactType::Tbi),
    (".csi", ArtifactType::Csi),
    (".bcf", ArtifactType::Bcf),
    (".bed", ArtifactType::Bed),
    (".gff3", ArtifactType::Gff3),
    (".gff", ArtifactType::Gff3),
    (".gtf", ArtifactType::Gtf),
    (".tsv", ArtifactType::Tsv),
    (".tab", ArtifactType::Tsv),
    (".csv", ArtifactType::Csv),
    (".json", ArtifactType::Json),
    (".txt", ArtifactType::Text),
    (".md", ArtifactType::Md),
    (".html", ArtifactType::Html),
    (".htm", ArtifactType::Html),
    (".svg", ArtifactType::Svg),
    (".png", ArtifactType::Png),
    (".pdf", ArtifactType::Pdf),
    (".zip", ArtifactType::Zip),
    (".h5ad", ArtifactType::H5ad),
    (".log", ArtifactType::Log),
];

pub(super) fn by_name(name: &str) -> Option<ArtifactType> {
    let name = name.to_ascii_lowercase();
    NAMES.iter().find(|(end, _)| name.ends_with(end)).map(|(_, named)| *named)
}

/// What binary formats begin with.
const MAGIC: &[(&[u8], ArtifactType)] = &[
    (b"\x89PNG\r\n\x1a\n", ArtifactType::Png),
    (b"\x89HDF\r\n\x1a\n", ArtifactType::H5ad),
    (b"%PDF-", ArtifactType::Pdf),
    (b"PK\x03\x04", ArtifactType::Zip),
    (b"PK\x05\x06", ArtifactType::Zip),
    (b"CRAM\x02", ArtifactType::Cram),
    (b"CRAM\x03", ArtifactType::Cram),
    (b"BAI\x01", ArtifactType::Bai),
    (b"BCF\x02", ArtifactType::Bcf),
];

/// A test of the first bytes.
type Test = fn(&[u8]) -> bool;

/// What the bytes alone speak for.
fn content(head: &[u8]) -> ArtifactType {
    let head = cut(head);
    if let Some((_, known)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return *known;
    }
    if gzip::is_gzip(head) {
        return gzip::content(head);
    }
    let tests: [(Test, ArtifactType); 12] = [
        (<[u8]>::is_empty, ArtifactType::Text),
        (text::is_vcf, ArtifactType::Vcf),
        (text::is_fastq, ArtifactType::Fastq),
        (text::is_fasta, ArtifactType::Fasta),
        (table::is_sam, ArtifactType::Sam),
        (text::is_svg, ArtifactType::Svg),
        (text::is_html, ArtifactType::Html),
        (text::is_json, ArtifactType::Json),
        (table::is_gtf, ArtifactType::Gtf),
        (table::is_gff3, ArtifactType::Gff3),
        (table::is_tsv, ArtifactType::Tsv),
        (text::is_text, ArtifactType::Text),
    ];
    tests.iter().find(|(test, _)| test(head)).map_or(ArtifactType::Unknown, |(_, known)| *known)
}

fn cut(head: &[u8]) -> &[u8] {
    head.get(..HEAD_BYTES_MAX).unwrap_or(head)
}

/// Says no more than that it is text, or nothing.
fn is_weak(found: ArtifactType) -> bool {
    matches!(found, ArtifactType::Unknown | ArtifactType::Text | ArtifactType::Tsv)
}

fn is_weak_or_table(found: ArtifactType) -> bool {
    is_weak(found)
        || matches!(found, ArtifactType::Sam | ArtifactType::Vcf | ArtifactType::Gff3 | ArtifactType::Gtf)
}
