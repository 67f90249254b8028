use std::io::Write;

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};

use super::*;
use crate::ahead::Ahead;

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

/// All bytes, or where and why decoding stopped; ahead of a reader it must be the same.
pub fn decode(bytes: &[u8]) -> Result<Vec<u8>, (u64, String)> {
    let decoded = in_turn(bytes);
    assert!(ahead(bytes) == decoded, "{:?}", decoded.err());
    decoded
}

fn ahead(bytes: &[u8]) -> Result<Vec<u8>, (u64, String)> {
    let mut ahead = Ahead::start(Arc::new(file(bytes))).unwrap();
    let mut whole = Vec::new();
    loop {
        match ahead.read(100_000) {
            Ok(part) if part.is_empty() => break,
            Ok(part) => whole.extend(part),
            Err(DecodeError::Damaged { offset, reason }) => return Err((offset, reason)),
            Err(DecodeError::Io(error)) => panic!("{error}"),
        }
    }
    assert!(ahead.ended());
    Ok(whole)
}

fn in_turn(bytes: &[u8]) -> Result<Vec<u8>, (u64, String)> {
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

/// Damage shows where it lies, and not later, among blocks that two threads decode; nor does it
/// matter where else there is some.
#[test]
fn the_first_damage_of_many_blocks_is_told() {
    let blocks: Vec<Vec<u8>> = (0..40_u8).map(|value| block(&[value; 65_000])).chain([block(b"")]).collect();
    let place = |at: usize| blocks[..at].iter().map(Vec::len).sum::<usize>();
    let whole = blocks.concat();
    assert!(decode(&whole).unwrap().chunks(65_000).zip(0_u8..).all(|(part, value)| part == [value; 65_000]));
    for first in [0, 3, 4, 5, 8, 9, 17, 39] {
        let mut bad = whole.clone();
        for at in [first, 39] {
            bad[place(at + 1) - 8] = !whole[place(at + 1) - 8];
        }
        let expected = (place(first) as u64, "a BGZF block's checksum does not match".to_owned());
        assert_eq!(decode(&bad), Err(expected));
        let cut = &whole[..place(first) + 30];
        assert_eq!(decode(cut).unwrap_err().0, place(first) as u64);
        let followed = [&whole[..place(first + 1)], &gzip(b"more")].concat();
        assert_eq!(decode(&followed).unwrap().len(), (first + 1) * 65_000 + 4);
    }
    let empty = block(b"").repeat(30_000);
    assert_eq!(decode(&[&empty[..], &block(b"text"), &block(b"")].concat()).unwrap(), b"text");
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
