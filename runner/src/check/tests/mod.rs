mod damage;

use super::*;
use flate2::Crc;

use crate::decode::tests::{block, file, gzip};

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
        (bam_file(&[bam_record(0, 8)]), "a record is shorter than its fixed part, or longer than any"),
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
