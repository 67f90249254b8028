//! Damaged BAM.

use anyhow::{Context, Result};

use super::make::{bgzf, block_behind, blocks, cut, flipped_from_end, gzip, patched};

/// What must become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is whole, and has so many records.
    Records(usize),
    /// Its first bytes are not those of a BAM file: the import refuses it.
    NoBam,
    /// The host cannot decode it: whoever reads it to its end fails.
    Undecodable,
    /// It decodes, to what is no BAM file: whoever reads it must say so.
    Malformed,
    /// Its records can be told apart, and one of them holds what it cannot: whoever looks at that
    /// must say so, and whoever does not must count them all.
    Odd,
}

pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// A decoded BAM file, taken apart.
pub struct Parts {
    /// Magic, text and references.
    pub header: Vec<u8>,
    /// Each with its size before it.
    pub records: Vec<Vec<u8>>,
}

impl Parts {
    /// The first records of a whole file.
    pub fn of(decoded: &[u8], most: usize) -> Result<Self> {
        let text = number(decoded, 4)?;
        let mut at = 8 + text;
        let references = number(decoded, at)?;
        at += 4;
        for _ in 0..references {
            at += 8 + number(decoded, at)?;
        }
        let header = decoded.get(..at).context("a header")?.to_vec();
        let mut records = Vec::new();
        while at < decoded.len() && records.len() < most {
            let end = at + 4 + number(decoded, at)?;
            records.push(decoded.get(at..end).context("a record")?.to_vec());
            at = end;
        }
        Ok(Self { header, records })
    }

    pub fn joined(&self) -> Vec<u8> {
        [&self.header[..], &self.records.concat()].concat()
    }

    /// With the third record's bytes at `at` replaced.
    fn with_record_patched(&self, at: usize, with: &[u8]) -> Vec<u8> {
        let records = self.records.iter().enumerate();
        let records =
            records.map(|(n, record)| if n == 2 { patched(record, at, with) } else { record.clone() });
        [self.header.clone(), records.collect::<Vec<_>>().concat()].concat()
    }
}

fn number(bytes: &[u8], at: usize) -> Result<usize> {
    let number = bytes.get(at..).and_then(<[u8]>::first_chunk).context("ends within a number")?;
    Ok(usize::try_from(u32::from_le_bytes(*number))?)
}

/// Offsets in a record, its size counted.
const REFERENCE: usize = 4;
const POSITION: usize = 8;
const NAME_BYTES: usize = 12;
const OPERATIONS: usize = 16;
const BASES: usize = 20;
const MATE_REFERENCE: usize = 24;
const NAME: usize = 36;

pub fn cases(parts: &Parts) -> Result<Vec<Case>> {
    let mut cases = compressed(parts)?;
    let mut malformed = |name, plain: &[u8]| -> Result<()> {
        cases.push(Case { name, bytes: bgzf(plain)?, expected: Expected::Malformed });
        Ok(())
    };
    let plain = parts.joined();
    let references = parts.header.len();
    let text = 8 + number(&parts.header, 4)?;
    let most = u32::MAX.to_le_bytes();
    let half = (1_u32 << 31).to_le_bytes();
    malformed("the header's text is 2^32-1 bytes long", &patched(&plain, 4, &most))?;
    malformed("the header's text is 2^31 bytes long", &patched(&plain, 4, &half))?;
    malformed("2^32-1 reference sequences", &patched(&plain, text, &most))?;
    malformed("2^31 reference sequences", &patched(&plain, text, &half))?;
    malformed("a reference's name is 2^32-1 bytes long", &patched(&plain, text + 4, &most))?;
    malformed("a reference's name is empty", &patched(&plain, text + 4, &[0; 4]))?;
    malformed("one reference fewer than there are", &patched(&plain, text, &one_less(&plain, text)?))?;
    malformed("ends within the magic", &plain[..3])?;
    malformed("ends within the header's text", &plain[..20])?;
    malformed("ends within the references", &plain[..references - 2])?;
    malformed("ends within a record's size", &plain[..references + 2])?;
    malformed("ends within a record's fixed part", &plain[..references + 20])?;
    malformed("ends within a record", &cut(&plain, 5))?;
    malformed("junk after the last record", &[&plain[..], b"junk"].concat())?;
    malformed("zeros after the last record", &[&plain[..], &[0; 64]].concat())?;
    for (name, at, with) in [
        ("a record of 2^32-1 bytes", 0, &most[..]),
        ("a record of 2^31 bytes", 0, &half),
        ("a record of no bytes", 0, &[0; 4]),
        ("a record of 31 bytes", 0, &[31, 0, 0, 0]),
        ("a record of a gigabyte", 0, &[0, 0, 0, 0x40]),
        ("65,535 operations", OPERATIONS, &[0xff, 0xff]),
        ("2^32-1 bases", BASES, &most),
        ("2^31 bases", BASES, &half),
    ] {
        malformed(name, &parts.with_record_patched(at, with))?;
    }
    cases.extend(odd(parts)?);
    Ok(cases)
}

/// Records that are as long as they say, and hold what they cannot.
fn odd(parts: &Parts) -> Result<Vec<Case>> {
    let third = parts.records.get(2).context("three records")?;
    let bases = number(third, BASES)?;
    let fewer = u32::try_from(bases - 1)?.to_le_bytes();
    let operations = NAME + usize::from(*third.get(NAME_BYTES).context("a record")?);
    let below = (1_u32 << 31).to_le_bytes();
    let patches = [
        ("a reference that the header lacks", REFERENCE, &[0, 0, 0, 0x7f][..]),
        ("a reference below -1", REFERENCE, &[0xfe, 0xff, 0xff, 0xff]),
        ("a mate's reference that the header lacks", MATE_REFERENCE, &[0, 0, 0, 0x7f]),
        ("a position below -1", POSITION, &below),
        ("a name of no bytes", NAME_BYTES, &[0]),
        ("a name without its end", NAME, &[b'x'; 64]),
        ("a name that ends early", NAME + 1, &[0]),
        ("one base and quality fewer than are aligned", BASES, &fewer),
        ("an operation that does not exist", operations, &[0x0f]),
        ("a tag of a type that does not exist", third.len() - 3, b"XX?"),
    ];
    let case = |(name, at, with): (&'static str, usize, &[u8])| -> Result<Case> {
        let bytes = bgzf(&parts.with_record_patched(at, with))?;
        Ok(Case { name, bytes, expected: Expected::Odd })
    };
    patches.into_iter().map(case).collect()
}

fn one_less(bytes: &[u8], at: usize) -> Result<[u8; 4]> {
    Ok(u32::try_from(number(bytes, at)?.saturating_sub(1))?.to_le_bytes())
}

fn compressed(parts: &Parts) -> Result<Vec<Case>> {
    use Expected::{NoBam, Records, Undecodable};
    let plain = parts.joined();
    let all = blocks(&plain, 10_000)?;
    let good = all.concat();
    let end = all.last().map_or(0, Vec::len);
    let first = all.first().map_or(0, Vec::len);
    let last = first + all.get(1).map_or(0, Vec::len);
    let foreign: Vec<Vec<u8>> = plain
        .chunks(10_000)
        .chain([&[][..]])
        .map(|chunk| block_behind(b"XY\x02\0ab", chunk))
        .collect::<Result<_>>()?;
    let size = |change: u16| {
        let old = u16::from_le_bytes([good[16], good[17]]);
        patched(&good, 16, &old.wrapping_add(change).to_le_bytes())
    };
    let middle = first + (last - first) / 2;
    let whole = Records(parts.records.len());
    let case = |name, bytes, expected| Case { name, bytes, expected };
    Ok(vec![
        case("intact", good.clone(), whole),
        case("intact, in small blocks", blocks(&plain, 100)?.concat(), whole),
        case("intact, behind other extra fields", foreign.concat(), whole),
        case("a header and no records", bgzf(&parts.header)?, Records(0)),
        case("zeros after the end block", [&good[..], &[0; 100]].concat(), whole),
        case("empty", Vec::new(), NoBam),
        case("not compressed", plain.clone(), NoBam),
        case("gzip and not BGZF", gzip(&plain)?, NoBam),
        case("BGZF in gzip", gzip(&good)?, NoBam),
        case("SAM under its name", b"@HD\tVN:1.6\n".to_vec(), NoBam),
        case("BCF under its name", bgzf(b"BCF\x02\x02")?, NoBam),
        case("no end block", cut(&good, end), Undecodable),
        case("half an end block", cut(&good, end / 2), Undecodable),
        case("cut after its first block", good[..first].to_vec(), Undecodable),
        case("cut within its second block", good[..middle].to_vec(), Undecodable),
        case("junk after the end block", [&good[..], b"junk"].concat(), Undecodable),
        case("a bit flipped in a block", flipped_from_end(&good, good.len() - middle), Undecodable),
        case("four bytes overwritten in a block", patched(&good, middle, b"\xde\xad\xbe\xef"), Undecodable),
        case("zeros in a block", patched(&good, middle, &[0; 64]), Undecodable),
        case(
            "zeros from a block's border on",
            patched(&good, first, &vec![0; good.len() - first]),
            Undecodable,
        ),
        case("a wrong checksum", flipped_from_end(&good, end + 8), Undecodable),
        case("a wrong length", flipped_from_end(&good, end + 4), Undecodable),
        case("a block longer than it says", size(1), Undecodable),
        case("a block shorter than it says", size(u16::MAX), Undecodable),
        case("a block as long as none can be", patched(&good, 16, &[0xff, 0xff]), Undecodable),
    ])
}
