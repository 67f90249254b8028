use std::io::Write as _;

use flate2::write::GzEncoder;
use helix_ids::ArtifactType::{self, *};
use proptest::prelude::*;

use super::{agrees, sniff};

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One BGZF block: gzip with the extra field `BC`.
fn bgzf(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .extra(b"BC\x02\x00\x00\x00".to_vec())
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The same with another extra field before it.
fn bgzf_behind_another_field(bytes: &[u8]) -> Vec<u8> {
    let extra = b"XY\x03\x00abcBC\x02\x00\x00\x00".to_vec();
    let mut encoder = flate2::GzBuilder::new().extra(extra).write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const FASTQ: &[u8] = b"@r1 x\nACGTN\n+\nIIII#\n@r2\nAC\n+r2\nII\n";
const FASTA: &[u8] = b">chr1 x\nACGTNacgt\nAC\n>p\nMKV*\n";
const SAM: &[u8] = b"@HD\tVN:1.6\n@SQ\tSN:c\tLN:9\n";
const ALIGNED: &[u8] = b"r1\t0\tchr1\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n";
const VCF: &[u8] = b"##fileformat=VCFv4.2\n#CHROM\tPOS\n";
const BED: &[u8] = b"track name=x\nchr1\t0\t10\tname\nchr2\t5\t5\n";
const GFF3: &[u8] = b"##gff-version 3\nchr1\tx\tgene\t1\t9\t.\t+\t.\tID=g1\n";
const GTF: &[u8] = b"chr1\tx\texon\t1\t9\t.\t+\t.\tgene_id \"g\"; transcript_id \"t\";\n";
const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";

/// Bytes, a file name, and what the two speak for.
type Case = (Vec<u8>, &'static str, ArtifactType);

#[test]
fn bytes_and_names_speak_for_a_type() {
    for (bytes, name, expected) in sequences().into_iter().chain(tables_and_documents()) {
        assert_eq!(sniff(&bytes, name), expected, "{name}: {:?}", String::from_utf8_lossy(&bytes));
        // What is said of bytes is never contradicted by them.
        assert!(agrees(&bytes, expected), "{name}: {expected}");
    }
}

fn sequences() -> Vec<Case> {
    vec![
        (FASTQ.into(), "x", Fastq),
        (FASTQ.into(), "x.fq", Fastq),
        (FASTQ.into(), "x.txt", Fastq),
        (FASTQ.into(), "x.bam", Fastq),
        (FASTQ.into(), "x.tsv", Fastq),
        (FASTQ[..9].into(), "x", Fastq),
        (b"@r\r\nAC\r\n+\r\nII\r\n".into(), "x", Fastq),
        (b"@r\nAC\nGT\n+\nII\nII\n@s\n".into(), "x", Fastq),
        (b"@r\n\n+\n\n".into(), "x", Fastq),
        (b"@r\nACGT\n+\nIIIII\n".into(), "x", Text),
        (b"@r\nA GT\n+\nIIII\n".into(), "x", Text),
        (b"".into(), "x.fastq", Fastq),
        (b"".into(), "x", Text),
        (gz(FASTQ), "x", FastqGz),
        (gz(FASTQ), "x.fastq.gz", FastqGz),
        (gz(FASTQ), "x.fasta.gz", FastqGz),
        (gz(FASTQ), "x.fastq", FastqGz),
        (bgzf(FASTQ), "x", FastqGz),
        (gz(b""), "x.fq.gz", FastqGz),
        (gz(b""), "x", Unknown),
        (FASTA.into(), "x", Fasta),
        (FASTA.into(), "x.FA", Fasta),
        (b">only a name\n".into(), "x.fna", Fasta),
        (b"> a quote\nof words\n".into(), "x.md", Md),
        (gz(FASTA), "x", FastaGz),
        (SAM.into(), "x", Sam),
        (ALIGNED.into(), "x", Sam),
        (bgzf(b"BAM\x01\0\0\0\0"), "x", Bam),
        (bgzf(b"BAM\x01\0\0\0\0"), "x.vcf.gz", Bam),
        (bgzf(b"BAM\x01\0\0\0\0"), "x.fq.gz", Bam),
        (bgzf_behind_another_field(b"BAM\x01\0\0\0\0"), "x", Bam),
        ([gz(b""), gz(b""), gz(FASTQ)].concat(), "x", FastqGz),
        (gz(b"BAM\x01\0\0\0\0"), "x.bam", Unknown),
        (b"BAI\x01\0\0\0\0".into(), "x", Bai),
        (b"CRAM\x03\x00".into(), "x", Cram),
        (gz(b"0\t1\t9\t0\t7\t9\n-1\t0\t0\t0\t7\t9\n"), "x.crai", Crai),
        (VCF.into(), "x", Vcf),
        (gz(VCF), "x", VcfGz),
        (bgzf(VCF), "x", VcfGz),
        (bgzf(b"TBI\x01"), "x", Tbi),
        (bgzf(b"CSI\x01"), "x", Csi),
        (bgzf(b"BCF\x02\x02"), "x", Bcf),
        (b"BCF\x02\x02".into(), "x", Bcf),
    ]
}

fn tables_and_documents() -> Vec<Case> {
    vec![
        (BED.into(), "x.bed", Bed),
        (b"chr1 5 9\n".into(), "x.bed", Bed),
        (b"chr1\t0\t9\n".into(), "x", Tsv),
        (b"chr1\t9\t0\n".into(), "x.bed", Tsv),
        (GFF3.into(), "x", Gff3),
        (GFF3.into(), "x.gff", Gff3),
        (GTF.into(), "x", Gtf),
        (b"a\tb\n1\t2\n".into(), "x", Tsv),
        (b"a\tb\n1\n".into(), "x", Text),
        (b"one\ntwo\n".into(), "x.tsv", Tsv),
        (b"a,b\n1,2\n".into(), "x.csv", Csv),
        (b"{\"a\": [1, 2]}".into(), "x", Json),
        (b" [1, 2".into(), "x", Json),
        (b"{\"a\": 1}\n{\"b\": 2}\n".into(), "x.json", Text),
        (b"{not json}".into(), "x.json", Text),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>".into(), "x", Html),
        (b"<?xml version=\"1.0\"?>\n<!-- x --><svg xmlns=\"\">".into(), "x", Svg),
        (b"<svg/>".into(), "x.html", Svg),
        (b"<div>part</div>".into(), "x.htm", Html),
        (b"\x89PNG\r\n\x1a\n....".into(), "x.jpg", Png),
        (b"%PDF-1.7".into(), "x", Pdf),
        (b"PK\x03\x04....".into(), "x", Zip),
        (b"PK\x05\x06".into(), "x", Zip),
        (b"\x89HDF\r\n\x1a\n".into(), "x.h5", H5ad),
        (b"# Title\n".into(), "README.md", Md),
        (b"it ran\n".into(), "x.log", Log),
        ("größe\n".into(), "x", Text),
        (ELF.into(), "x", Unknown),
        (ELF.into(), "x.vcf", Unknown),
        (b"\xff\xfe\x00".into(), "x.txt", Unknown),
    ]
}

/// R38: a hint that the bytes contradict is refused.
#[test]
fn a_hint_that_the_bytes_contradict_does_not_agree() {
    for artifact_type in ArtifactType::ALL {
        assert_eq!(agrees(ELF, *artifact_type), *artifact_type == Unknown, "{artifact_type}");
    }
    let cases: &[(&[u8], &[ArtifactType])] = &[
        (FASTQ, &[Fasta, FastqGz, Sam, Bam, Vcf, Bed, Tsv, Csv, Json, Html]),
        (FASTA, &[Fastq, FastaGz, Sam, Tsv, Json]),
        (VCF, &[VcfGz, Bcf, Fastq, Json]),
        (SAM, &[Fastq, Bam, Json]),
        (b"", &[Vcf, Bam, Json, Png, FastqGz, VcfGz, Html]),
        (b"chr1\tx\n", &[Bed, Gff3, Gtf, Sam]),
        (b"<svg/>", &[Html, Json]),
    ];
    for (bytes, wrong) in cases {
        for artifact_type in *wrong {
            assert!(!agrees(bytes, *artifact_type), "{artifact_type}: {:?}", String::from_utf8_lossy(bytes));
        }
    }
    for (bytes, wrong) in [(gz(FASTQ), FastaGz), (gz(FASTQ), Fastq), (gz(b""), VcfGz), (gz(VCF), Bcf)] {
        assert!(!agrees(&bytes, wrong), "{wrong}");
    }
    // Any text may be called text.
    assert!(agrees(FASTQ, Text) && agrees(b"", Text) && agrees(VCF, Tsv));
}

/// The head is cut anywhere: what agreed as a whole agrees as a head.
#[test]
fn a_cut_head_still_agrees() {
    let long_read = [b"@r\n".as_slice(), &[b'A'; 100_000]].concat();
    assert_eq!(sniff(&long_read, "x"), Fastq);
    let mut many = Vec::new();
    while many.len() < 80_000 {
        many.extend_from_slice(FASTQ);
    }
    for (whole, artifact_type) in
        [(FASTQ, Fastq), (FASTA, Fasta), (BED, Bed), (GFF3, Gff3), (b"{\"a\": [1, 2]}", Json)]
    {
        let start = match artifact_type {
            Gff3 => 16,
            Fastq => 7,
            _ => 4,
        };
        for end in start..whole.len() {
            let head = &whole[..end];
            let bed_in_its_first_line = artifact_type == Bed && end < 20;
            assert!(
                bed_in_its_first_line || agrees_or_is_short(head, artifact_type),
                "{artifact_type} at {end}"
            );
        }
    }
    let packed = gz(&many);
    for end in [200, packed.len() / 2, packed.len() - 1] {
        assert!(agrees(&packed[..end.min(packed.len())], FastqGz), "{end}");
    }
    let bomb = gz(&vec![b'A'; 50_000_000]);
    assert_eq!(sniff(&bomb, "x.fastq.gz"), Unknown);
}

/// A table's only line may be cut before its last column.
fn agrees_or_is_short(head: &[u8], artifact_type: ArtifactType) -> bool {
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    agrees(head, artifact_type) || (matches!(artifact_type, Bed | Gff3) && lines <= 1)
}

proptest! {
    /// Z7: arbitrary bytes never panic, and what is said of them they agree with.
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, name in "[a-z]{0,3}(\\.[a-z]{1,5}){0,2}") {
        let found = sniff(&bytes, &name);
        prop_assert!(agrees(&bytes, found), "{found}");
        let packed = gz(&bytes);
        let agreeing = ArtifactType::ALL.iter().filter(|known| agrees(&packed, **known));
        prop_assert!(agreeing.count() >= 1);
    }

    #[test]
    fn texts_never_panic(text in "[@>+#\\t\\n\\r ACGT0-9<{\\[\"=!?-]{0,200}", name in "x\\.(fq|fa|sam|bed|gff|gtf|json|svg)") {
        let found = sniff(text.as_bytes(), &name);
        prop_assert!(agrees(text.as_bytes(), found), "{found}");
    }
}
