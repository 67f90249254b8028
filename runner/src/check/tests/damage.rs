//! Whatever is done to a file, its check ends with a verdict, and says `Good` only to what still
//! decodes to what it was, or to what is a whole file of its own.

use std::io::Write as _;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;

use super::*;
use crate::decode::tests::decode;

const FASTQ: &[u8] = b"@r1 x\nACGTN\n+\nIIII#\n@r2\nAC\n+r2\nII\n@r3\nACGTACGT\n+\n!!!!@@@@\n";

/// A record of two bases with a tag of each kind.
fn record_with_tags() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0_i32.to_le_bytes());
    body.extend(7_i32.to_le_bytes());
    body.extend([3, 60, 0, 0, 1, 0, 0, 0]);
    body.extend(2_u32.to_le_bytes());
    body.extend((-1_i32).to_le_bytes());
    body.extend((-1_i32).to_le_bytes());
    body.extend(0_i32.to_le_bytes());
    body.extend(b"ab\0");
    body.extend((2_u32 << 4).to_le_bytes());
    body.extend([0x12, 30, 31]);
    body.extend(b"XAAcXCC\x01XSs\x01\x02XIi\x01\x02\x03\x04XFf\0\0\0\0XZZtext\0XHH00\0");
    body.extend(b"XBBs\x02\0\0\0\x01\x02\x03\x04");
    let size = u32::try_from(body.len()).unwrap();
    [&size.to_le_bytes()[..], &body].concat()
}

/// Of one version, with one block in its header's container and the container that ends it.
fn cram_file() -> Vec<u8> {
    let summed = |bytes: &[u8]| {
        let mut crc = Crc::new();
        crc.update(bytes);
        [bytes, &crc.sum().to_le_bytes()].concat()
    };
    let header = b"\x04\0\0\0@HD\n";
    let block = summed(&[&[0, 0, 0, 8, 8][..], header].concat());
    let length = u32::try_from(block.len()).unwrap().to_le_bytes();
    let container = summed(&[&length[..], &[0, 0, 0, 0, 0, 0, 1, 1, 0]].concat());
    // As the specification gives it, byte for byte.
    let end = b"\x0f\0\0\0\xff\xff\xff\xff\x0f\xe0\x45\x4f\x46\0\0\0\0\x01\0\x05\xbd\xd9\x4f\0\x01\0\x06\x06\x01\0\x01\0\x01\0\xee\x63\x01\x4b";
    [&b"CRAM\x03\0"[..], &[b'n'; 20], &container, &block, end].concat()
}

/// An entry's bytes and those of the directory.
fn zip_entry(name: &[u8], bytes: &[u8], deflated: bool, offset: usize) -> (Vec<u8>, Vec<u8>) {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let packed = if deflated {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    } else {
        bytes.to_vec()
    };
    let mut crc = Crc::new();
    crc.update(bytes);
    let common = [
        &[20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0][..],
        &crc.sum().to_le_bytes(),
        &number(packed.len()),
        &number(bytes.len()),
        &number(name.len())[..2],
        &[0, 0],
    ]
    .concat();
    let local = [&b"PK\x03\x04"[..], &common, name, &packed].concat();
    let central = [&b"PK\x01\x02\x14\0"[..], &common, &[0; 10], &number(offset), name].concat();
    (local, central)
}

fn zip_file(entries: usize) -> Vec<u8> {
    let (first, first_row) = zip_entry(b"a", b"stored", false, 0);
    let varied: Vec<u8> = (0..300_u32).flat_map(|n| (n * n * 7919).to_le_bytes()).collect();
    let (second, second_row) = zip_entry(b"b", &varied, true, first.len());
    let rows =
        [&first_row[..], &second_row, &first_row].into_iter().take(entries).collect::<Vec<_>>().concat();
    let mut file = [first, second].concat();
    let start = u32::try_from(file.len()).unwrap();
    let count = u8::try_from(entries).unwrap();
    file.extend(&rows);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, 0, count, 0]);
    file.extend(u32::try_from(rows.len()).unwrap().to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// A small whole file of each format that is looked through.
fn whole_files() -> Vec<(ArtifactType, Vec<u8>)> {
    let blocks: Vec<u8> = FASTQ.chunks(25).flat_map(block).chain(block(b"")).collect();
    vec![
        (ArtifactType::Fastq, FASTQ.to_vec()),
        (ArtifactType::FastqGz, gzip(FASTQ)),
        (ArtifactType::FastqGz, blocks),
        (ArtifactType::Fasta, b">a x\nACGT\n>b\nMKV*\n".to_vec()),
        (ArtifactType::FastaGz, gzip(b">a x\nACGT\n")),
        (ArtifactType::Bam, bam_file(&[bam_record(0, 44), record_with_tags()])),
        (ArtifactType::Cram, cram_file()),
        (ArtifactType::Zip, zip_file(2)),
    ]
}

#[test]
fn the_whole_files_are_good() {
    for (artifact_type, bytes) in whole_files() {
        assert_eq!(verdict(artifact_type, &bytes), Verdict::Good, "{artifact_type}");
    }
}

/// What a cut may leave whole: text between two records or without its last line end.
#[test]
fn a_file_that_was_cut_is_bad() {
    for (artifact_type, bytes) in whole_files() {
        let good: Vec<usize> = (0..bytes.len())
            .filter(|length| verdict(artifact_type, &bytes[..*length]) == Verdict::Good)
            .collect();
        match artifact_type {
            ArtifactType::Fastq => {
                let whole = [0, 19, 20, 33, 34, FASTQ.len() - 1];
                assert_eq!(good, whole, "{:?}", String::from_utf8_lossy(FASTQ));
            }
            // Its sequences may have any length, also none: nothing says that one was cut.
            ArtifactType::Fasta => assert_eq!(good.len(), bytes.len()),
            _ => assert!(good.is_empty(), "{artifact_type}: {good:?}"),
        }
    }
}

/// Where the bytes of a ZIP file's second entry begin: two headers, two names, and the first entry.
const SECOND_ENTRY_BYTES: usize = 2 * (30 + 1) + 6;

fn inflated(deflated: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    DeflateDecoder::new(deflated).read_to_end(&mut plain).is_ok().then_some(plain)
}

/// What a flipped bit may change in silence, by its byte's position.
fn says_nothing(artifact_type: ArtifactType, bytes: &[u8], flipped: &[u8], at: usize) -> bool {
    match artifact_type {
        // The file's name, and 3.0 or 3.1.
        ArtifactType::Cram => (5..26).contains(&at),
        // Versions, times and attributes; and deflate may say the same in two ways.
        ArtifactType::Zip => {
            let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap_or_default();
            let deflated = SECOND_ENTRY_BYTES..directory;
            if deflated.contains(&at) {
                return inflated(&bytes[deflated.clone()]) == inflated(&flipped[deflated]);
            }
            let record = (0..=at).rev().find(|start| bytes[*start..].starts_with(b"PK")).unwrap_or_default();
            let (kind, at) = (bytes[record + 2], at - record);
            match kind {
                3 => matches!(at, 4..=5 | 10..=13),
                1 => matches!(at, 4..=7 | 12..=15 | 36..=41),
                _ => matches!(at, 8..=9),
            }
        }
        _ => false,
    }
}

#[test]
fn a_file_with_a_flipped_bit_is_bad_or_says_the_same() {
    for (artifact_type, bytes) in whole_files() {
        // Uncompressed text has nothing to compare with.
        if matches!(artifact_type, ArtifactType::Fastq | ArtifactType::Fasta) {
            continue;
        }
        let is_compressed = bytes.starts_with(&[0x1f, 0x8b]);
        let expected = decode(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if verdict(artifact_type, &flipped) == Verdict::Good {
                let same = is_compressed && decode(&flipped).as_ref() == Ok(&expected);
                let nothing = says_nothing(artifact_type, &bytes, &flipped, bit / 8);
                assert!(same || nothing, "{artifact_type}: bit {bit} of byte {}", bit / 8);
            }
        }
    }
}

/// The same below the checksums: what was damaged before it was compressed.
#[test]
fn a_record_with_a_flipped_bit_gets_a_verdict() {
    let whole = decode(&bam_file(&[bam_record(0, 44), record_with_tags()])).unwrap();
    let mut good = 0;
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let file = [block(&flipped), block(b"")].concat();
        good += usize::from(verdict(ArtifactType::Bam, &file) == Verdict::Good);
    }
    // Most bits are bases, qualities and names, of which any are possible.
    let bits = whole.len() * 8;
    assert!(good > 100 && good < bits * 8 / 10, "{good} of {bits}");
}

#[test]
fn a_cram_file_may_end_twice_and_not_go_on() {
    let whole = cram_file();
    let (start, end) = whole.split_at(whole.len() - 38);
    assert_eq!(verdict(ArtifactType::Cram, &[start, end, end].concat()), Verdict::Good);
    let on = [start, end, &start[26..], end].concat();
    let Verdict::Bad { reason, .. } = verdict(ArtifactType::Cram, &on) else { panic!("good") };
    assert_eq!(reason, "containers follow the one that ends the file");
}

/// Places and lengths of 64 bits that no file has.
#[test]
fn a_large_directory_lies_within_its_file() {
    for (place, size, start) in [(0, 44, 0), (0, u64::MAX - 5, 0), (0, 44, u64::MAX - 46), (u64::MAX, 44, 0)]
    {
        let mut file = b"PK\x06\x06".to_vec();
        for number in [size, 0, 0, 1, 1, 46, start] {
            file.extend(number.to_le_bytes());
        }
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(place.to_le_bytes());
        file.extend(b"\x01\0\0\0PK\x05\x06\0\0\0\0");
        file.extend([0xff; 12]);
        file.extend([0, 0]);
        assert!(matches!(verdict(ArtifactType::Zip, &file), Verdict::Bad { .. }), "{place} {size} {start}");
    }
    // An entry of 64 bits that lies behind all files.
    let (local, mut row) = zip_entry(b"a", b"", false, 0);
    row[42..46].fill(0xff);
    row[30] = 12;
    row.extend([1, 0, 8, 0]);
    row.extend((u64::MAX - 10).to_le_bytes());
    let length = u32::try_from(row.len()).unwrap().to_le_bytes();
    let start = u32::try_from(local.len()).unwrap().to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &length, &start, &[0, 0]].concat();
    assert!(matches!(verdict(ArtifactType::Zip, &[local, row, end].concat()), Verdict::Bad { .. }));
}

#[test]
fn entries_that_lie_over_one_another_are_refused() {
    let Verdict::Bad { reason, .. } = verdict(ArtifactType::Zip, &zip_file(3)) else { panic!("good") };
    assert_eq!(reason, "two entries overlap");
}

#[test]
fn a_bomb_in_an_archive_ends_at_the_length_that_it_says() {
    let (mut local, mut row) = zip_entry(b"a", &vec![0; 10_000_000], true, 0);
    for (bytes, at) in [(&mut local, 22), (&mut row, 24)] {
        bytes[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    let start = u32::try_from(local.len()).unwrap().to_le_bytes();
    let length = u32::try_from(row.len()).unwrap().to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &length, &start, &[0, 0]].concat();
    let Verdict::Bad { reason, .. } = verdict(ArtifactType::Zip, &[local, row, end].concat()) else {
        panic!("good")
    };
    assert_eq!(reason, "an entry decodes to more than it says");
}

#[test]
fn wrapped_lines_are_fastq_and_a_header_over_zeros_is_not() {
    for good in [
        "@r\nAC\nGT\n+\nII\nII\n",
        "@r\r\nAC\r\n+r\r\nII\r\n\r\n",
        "\n@e\n\n+\n\n@r\nA\n+\n@\n",
        "@gr\u{fc}n\nA\n+\nI",
    ] {
        assert_eq!(verdict(ArtifactType::Fastq, good.as_bytes()), Verdict::Good, "{good:?}");
    }
    for (bad, expected) in [
        ("@a\0\0\0\0@b\nAC\n+\nII\n", "a control character in a header"),
        ("@a\nAC\n+\nII\n@b\nAC\n+a\nII\n", "a record's + line names another read than its @ line"),
        ("@a\nAC\n+\nI\x7f\n", "a byte that cannot stand for a quality"),
        ("@a\nA C\n+\nIII\n", "a byte that cannot stand in a sequence"),
        ("@a\nAC\nII\n@b\n", "a record's third line does not begin with +"),
    ] {
        let Verdict::Bad { reason, .. } = verdict(ArtifactType::Fastq, bad.as_bytes()) else {
            panic!("good: {bad:?}")
        };
        assert_eq!(reason, expected, "{bad:?}");
    }
    assert_ne!(verdict(ArtifactType::Fasta, b">a\nACGT\n>b\nAC GT\0\n"), Verdict::Good);
    assert_eq!(verdict(ArtifactType::Fasta, b">a\r\nAC\r\n\r\n>b\nMK*-.\n"), Verdict::Good);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes at any place: a verdict, and for what is compressed `Good` only if nothing changed.
    #[test]
    fn overwritten_bytes_get_a_verdict(of in 0..8_usize, at in 0..1000_usize, with in proptest::collection::vec(any::<u8>(), 1..40)) {
        let (artifact_type, bytes) = whole_files().swap_remove(of);
        let mut damaged = bytes.clone();
        let start = bytes.len() * at / 1000;
        for (target, byte) in damaged.iter_mut().skip(start).zip(&with) {
            *target = *byte;
        }
        let judged = verdict(artifact_type, &damaged);
        if judged == Verdict::Good && bytes.starts_with(&[0x1f, 0x8b]) {
            prop_assert_eq!(decode(&damaged), decode(&bytes));
        }
    }

    /// No bytes end a check in any other way than with a verdict, whatever they are called.
    #[test]
    fn any_bytes_get_a_verdict(bytes: Vec<u8>, compress: bool) {
        for artifact_type in ArtifactType::ALL {
            for magic in [&b""[..], b"BAM\x01", b"CRAM\x03\0", b"PK\x03\x04", b"@"] {
                let file_bytes = [magic, &bytes].concat();
                let file_bytes = if compress { [block(&file_bytes), block(b"")].concat() } else { file_bytes };
                prop_assert!(check(file(&file_bytes).into(), *artifact_type).is_ok());
            }
        }
    }
}
