use std::io;

use super::testing::{File, header, header_with, op, read};
use super::*;

/// Chunks of a few bytes, so that everything crosses a border.
struct Pieces<'a>(std::slice::Chunks<'a, u8>);

impl Chunks for Pieces<'_> {
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.next().map(<[u8]>::to_vec))
    }
}

fn pieces(bytes: &[u8], size: usize) -> Bytes<Pieces<'_>> {
    Bytes::new(Pieces(bytes.chunks(size)))
}

/// Reads a whole file in both ways; they must agree.
fn walk(bytes: &[u8], size: usize) -> Result<Vec<Core>, Damage> {
    let mut first = pieces(bytes, size);
    let references = Header::pass(&mut first)?;
    let mut quick = Records::new(first, references);
    let mut cores = Vec::new();
    let quickly = loop {
        match quick.next_core() {
            Ok(Some(core)) => cores.push(core),
            Ok(None) => break Ok(()),
            Err(damage) => break Err(damage),
        }
    };
    let mut second = pieces(bytes, size);
    let header = Header::read(&mut second)?;
    assert_eq!(header.references.len(), usize::try_from(references).unwrap());
    let mut whole = Records::new(second, references);
    for core in &cores {
        let record = whole.next()?.unwrap();
        assert_eq!(record.core, *core);
    }
    let wholly = whole.next().map(|record| assert!(record.is_none()));
    assert_eq!(quickly, wholly);
    assert_eq!(quick.number(), cores.len() as u64 + u64::from(quickly.is_err()));
    quickly.map(|()| cores)
}

fn example() -> File {
    header_with("@HD\tVN:1.6\n", &[("chr1", 1000), ("chr2", 50)]).records(&[
        read(0, 5, 4),
        read(1, 7, 100).flag(flag::DUPLICATE),
        read(-1, -1, 0).flag(flag::UNMAPPED).cigar(&[]),
    ])
}

#[test]
fn records_are_the_same_in_chunks_of_any_size() {
    let bytes = example().0;
    let expected = walk(&bytes, bytes.len()).unwrap();
    assert_eq!(expected.iter().map(|core| core.position).collect::<Vec<_>>(), [5, 7, -1]);
    assert_eq!(expected[1].flag, flag::DUPLICATE);
    for size in 1..bytes.len() {
        assert_eq!(walk(&bytes, size).as_ref(), Ok(&expected), "chunks of {size}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let bytes = example().0;
    let whole = walk(&bytes, 64).unwrap().len();
    // Between two records a cut cannot be seen here: the host misses the end-of-file block.
    let mut ends = vec![header_with("@HD\tVN:1.6\n", &[("chr1", 1000), ("chr2", 50)]).0.len()];
    ends.push(ends[0] + read(0, 5, 4).bytes().len());
    ends.push(ends[1] + read(1, 7, 100).bytes().len());
    for cut in 0..bytes.len() {
        let result = walk(&bytes[..cut], 64);
        match ends.iter().position(|end| *end == cut) {
            Some(records) => assert_eq!(result.unwrap().len(), records),
            None => assert!(result.is_err(), "cut at {cut} of {whole} records"),
        }
    }
}

/// Four bytes of a good file replaced, and what is to be said of that.
#[test]
fn lengths_that_cannot_be_are_refused_with_their_place() {
    let good = header(&[("c", 100)]).records(&[read(0, 1, 4), read(0, 2, 4)]).0;
    let record = header(&[("c", 100)]).0.len() + read(0, 1, 4).bytes().len();
    let at = record as u64;
    let cases: [(usize, i32, u64, u64, What); 16] = [
        (0, 7, 0, 0, What::Magic),
        (4, -1, 0, 4, What::TextLength(-1)),
        (8, -2, 0, 8, What::ReferenceCount(-2)),
        (8, i32::MAX, 0, 74, What::NameLength(0)),
        (12, 0, 0, 12, What::NameLength(0)),
        (12, i32::MIN, 0, 12, What::NameLength(i32::MIN)),
        (18, -5, 0, 12, What::ReferenceLength(-5)),
        (record, 0, 2, at, What::BlockSize(0)),
        (record, 31, 2, at, What::BlockSize(31)),
        (record, -1, 2, at, What::BlockSize(-1)),
        (record, i32::MAX, 2, at, What::Truncated),
        (record, 41, 2, at, What::Parts { parts: 44, size: 41 }),
        (record + 4, 1, 2, at, What::Reference(1)),
        (record + 4, -2, 2, at, What::Reference(-2)),
        (record + 20, -1, 2, at, What::SequenceLength(-1)),
        (record + 24, 9, 2, at, What::MateReference(9)),
    ];
    for (place, value, number, offset, what) in cases {
        let mut bad = good.clone();
        bad[place..place + 4].copy_from_slice(&value.to_le_bytes());
        for size in [5, 4096] {
            let mut bytes = pieces(&bad, size);
            let damage = Header::pass(&mut bytes).and_then(|references| {
                let mut records = Records::new(bytes, references);
                while records.next_core()?.is_some() {}
                Ok(())
            });
            let damage = damage.unwrap_err();
            assert_eq!((damage.record, &damage.what), (number, &what), "{damage}");
            if !matches!(what, What::ReferenceLength(_)) {
                assert_eq!(damage.offset, offset, "{damage}");
            }
        }
    }
}

#[test]
fn counts_in_a_header_allocate_nothing() {
    let mut bytes = b"BAM\x01".to_vec();
    bytes.extend(i32::MAX.to_le_bytes());
    assert!(matches!(Header::read(&mut pieces(&bytes, 64)).unwrap_err().what, What::LongText(i32::MAX)));
    let mut many = b"BAM\x01\0\0\0\0".to_vec();
    many.extend(i32::MAX.to_le_bytes());
    assert!(matches!(Header::read(&mut pieces(&many, 64)).unwrap_err().what, What::ManyReferences(i32::MAX)));
    let mut named = b"BAM\x01\0\0\0\0\x01\0\0\0".to_vec();
    named.extend(i32::MAX.to_le_bytes());
    assert!(Header::read(&mut pieces(&named, 64)).is_err());
    assert!(matches!(Header::pass(&mut pieces(&named, 64)).unwrap_err().what, What::HeaderTruncated));
}

#[test]
fn a_long_record_is_followed_but_not_gathered() {
    let mut bytes = header(&[("c", 100)]).0;
    let mut long = read(0, 1, 4).bytes();
    long.extend(vec![0; 65 << 20]);
    let size = i32::try_from(long.len() - 4).unwrap();
    long[..4].copy_from_slice(&size.to_le_bytes());
    bytes.extend(long);
    let mut at = pieces(&bytes, 1 << 20);
    let references = Header::pass(&mut at).unwrap();
    let mut records = Records::new(at, references);
    assert_eq!(records.next_core().unwrap().unwrap().size, size);
    assert_eq!(records.next_core().unwrap(), None);

    let mut at = pieces(&bytes, 1 << 20);
    Header::pass(&mut at).unwrap();
    let mut records = Records::new(at, references);
    assert_eq!(records.next().unwrap_err().what, What::LongRecord(size));
}

#[test]
fn a_long_cigar_stands_in_its_tag() {
    let long: Vec<u32> = vec![op(2, 'M'), op(1, 'D'), op(2, 'M')];
    let mut draft = read(0, 5, 4).cigar(&[op(4, 'S'), op(5, 'N')]);
    draft.tags = b"XXc\x01CGBI\x03\0\0\0".to_vec();
    long.iter().for_each(|op| draft.tags.extend(op.to_le_bytes()));
    let bytes = header(&[("c", 100)]).record(&draft).0;
    let mut at = pieces(&bytes, 4096);
    let references = Header::pass(&mut at).unwrap();
    let mut records = Records::new(at, references);
    let record = records.next().unwrap().unwrap();
    let found: Vec<u32> = ops(record.cigar()).map(|op| op.length << 4 | op.code).collect();
    assert_eq!(found, long);
    assert_eq!(ops(record.short_cigar()).count(), 2);
}

#[test]
fn tags_are_read_until_the_first_that_is_broken() {
    let field = |tag: &[u8; 2], kind, value| Ok(Field { tag: *tag, kind, value });
    let all = b"NMC\x05MDZ4\0XBBs\x02\0\0\0\x01\0\x02\0XHH1A\0XAAx";
    let found: Vec<_> = aux::Fields::new(all).collect();
    assert_eq!(
        found,
        [
            field(b"NM", b'C', b"\x05"),
            field(b"MD", b'Z', b"4"),
            field(b"XB", b'B', b"s\x02\0\0\0\x01\0\x02\0"),
            field(b"XH", b'H', b"1A"),
            field(b"XA", b'A', b"x"),
        ]
    );
    let cases: [(&[u8], Broken); 7] = [
        (b"N", Broken::Truncated),
        (b"NMi\0\0", Broken::Truncated),
        (b"MDZ4", Broken::Truncated),
        (b"NMq\0", Broken::Kind(b'q')),
        (b"XBBA\0\0\0\0", Broken::Kind(b'A')),
        (b"XBBI\xff\xff\xff\xff", Broken::Count(-1)),
        (b"XBBI\xff\xff\xff\x7f", Broken::Count(i32::MAX)),
    ];
    for (bytes, broken) in cases {
        let found: Vec<_> = aux::Fields::new(bytes).collect();
        assert_eq!(found, [Err(broken)], "{bytes:?}");
    }
}
