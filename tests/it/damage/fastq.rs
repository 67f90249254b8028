//! Damaged FASTQ, and FASTQ that only looks so.

use anyhow::Result;

use super::make::{
    bgzf, block_behind, blocks, cut, flipped_from_end, gzip, gzip_with_fields, patched, stored,
};

/// What must become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is whole: these numbers and no others.
    Numbers { reads: u64, bases: u64 },
    /// The import refuses it.
    Import(&'static str),
    /// The run fails.
    Run(&'static str),
}

pub struct Case {
    pub name: &'static str,
    /// What the file is called.
    pub file: &'static str,
    pub hint: Option<&'static str>,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

const MISMATCH: Expected = Expected::Import("type_mismatch");
const DAMAGED: Expected = Expected::Run("input_damaged");
const INVALID: Expected = Expected::Run("invalid_input");

/// How many records and bases four-line FASTQ has, counted by its lines alone.
pub fn numbers(text: &[u8]) -> Expected {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let sequences = lines.chunks_exact(4).filter_map(|record| record.get(1));
    let (mut reads, mut bases) = (0, 0);
    for sequence in sequences {
        reads += 1;
        bases += sequence.len() as u64;
    }
    Expected::Numbers { reads, bases }
}

/// What a cut of four-line FASTQ is: whole only between two records, with or without the last
/// line's end; in its first header it says nothing of what it is.
pub fn of_cut(text: &[u8]) -> Expected {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let length = |back: usize| lines.get(lines.len().wrapping_sub(back)).map(|line| line.len());
    let between = ends.is_multiple_of(4) && text.last().is_none_or(|byte| *byte == b'\n');
    let lacks_a_line_end = ends % 4 == 3 && length(1) > Some(0) && length(1) == length(3);
    match ends {
        _ if between || lacks_a_line_end => numbers(text),
        0 => MISMATCH,
        _ => INVALID,
    }
}

fn case(name: &'static str, bytes: Vec<u8>, expected: Expected) -> Case {
    Case { name, file: "reads.fastq", hint: Some("FASTQ"), bytes, expected }
}

fn packed(name: &'static str, bytes: Vec<u8>, expected: Expected) -> Case {
    Case { name, file: "reads.fastq.gz", hint: Some("FASTQ_GZ"), bytes, expected }
}

/// Byte positions of a text's lines.
fn line_starts(text: &[u8]) -> Vec<usize> {
    let after = |(at, byte): (usize, &u8)| (*byte == b'\n').then_some(at + 1);
    [0].into_iter().chain(text.iter().enumerate().filter_map(after)).collect()
}

fn with_line_ends(text: &[u8], end: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.join(end)
}

/// Each sequence and quality line broken in two.
fn wrapped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (first, second) = line.split_at(if number % 2 == 1 { line.len() / 2 } else { 0 });
        out.extend_from_slice(first);
        out.extend(first.last().map(|_| b'\n'));
        out.extend_from_slice(second);
    }
    out
}

/// Plain files; `text` is some dozens of intact four-line records.
pub fn plain(text: &[u8]) -> Vec<Case> {
    let whole = numbers(text);
    let starts = line_starts(text);
    // Lines of the sixth record, which no sniffer looks at.
    let at = |line: usize| starts.get(20 + line).copied().unwrap_or_default();
    let (header, sequence, plus, quality) = (at(0), at(1), at(2), at(3));
    let first = |line: usize| starts.get(line).copied().unwrap_or_default();
    let without = |from: usize, to: usize| {
        let (start, end) = (text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
        [start, end].concat()
    };
    let blank_between = [&text[..header], b"\n\r\n", &text[header..]].concat();
    let no_reads = Expected::Numbers { reads: 0, bases: 0 };
    vec![
        case("intact", text.to_vec(), whole),
        case("lines end with CR and LF", with_line_ends(text, b"\r\n"), whole),
        case("lines end with CR alone", with_line_ends(text, b"\r"), MISMATCH),
        case("no last line end", cut(text, 1), whole),
        case("empty", Vec::new(), no_reads),
        case("a header alone", text[..first(1)].to_vec(), INVALID),
        case("wrapped lines", wrapped(text), whole),
        case("blank lines between records", blank_between, whole),
        case("letters beyond ASCII in a header", patched(text, header + 1, "\u{e9}\u{fc}".as_bytes()), whole),
        case("bytes that are no UTF-8 in a header", patched(text, header + 1, b"\xff\xfe"), whole),
        case("letters beyond ASCII in a sequence", patched(text, sequence, "\u{e9}".as_bytes()), INVALID),
        case("letters beyond ASCII in qualities", patched(text, quality, "\u{e9}".as_bytes()), INVALID),
        case("zeros in a header", patched(text, header + 1, &[0; 4]), INVALID),
        case("zeros over whole records", patched(text, header + 5, &vec![0; at(8) - header]), INVALID),
        case("zeros in a sequence", patched(text, sequence, &[0; 4]), INVALID),
        case("zeros in qualities", patched(text, quality, &[0; 4]), INVALID),
        case("zeros in the first sequence", patched(text, first(1), &[0; 4]), MISMATCH),
        case("zeros at the end", [text, &[0; 512]].concat(), INVALID),
        case("one quality too few", without(quality, quality + 1), INVALID),
        case("one base too few", without(sequence, sequence + 1), INVALID),
        case("one quality too few in the first record", without(first(3), first(3) + 1), MISMATCH),
        case("a record without qualities", without(quality, at(4)), INVALID),
        case("a record without its sequence", without(sequence, plus), INVALID),
        case("a record without its + line", without(plus, quality), INVALID),
        case("a record without its header", without(header, sequence), INVALID),
        case(
            "the + line names another read",
            [&text[..plus + 1], b"other", &text[plus + 1..]].concat(),
            INVALID,
        ),
        case("a space in a sequence", patched(text, sequence, b" "), INVALID),
        case("a tab among qualities", patched(text, quality, b"\t"), INVALID),
        case("ends within a record", text[..quality + 3].to_vec(), INVALID),
        case("junk at the end", [text, b"junk\n"].concat(), INVALID),
        case("begins with a byte order mark", [b"\xef\xbb\xbf", text].concat(), MISMATCH),
        case("UTF-16", text.iter().flat_map(|byte| [*byte, 0]).collect(), MISMATCH),
        case("FASTA", b">r\nACGT\n".to_vec(), MISMATCH),
    ]
}

/// Compressed files.
pub fn compressed(text: &[u8]) -> Result<Vec<Case>> {
    let whole = numbers(text);
    let starts = line_starts(text);
    let half = starts.get(starts.len() / 8 * 4).copied().unwrap_or_default();
    let (one, two) = text.split_at(half);
    let packed_text = gzip(text)?;
    let stored_text = stored(text)?;
    let middle = packed_text.len() / 2;
    let in_middle = stored_text.len() / 2;
    let empty = gzip(b"")?;
    let pair = [gzip(one)?, gzip(two)?].concat();
    let no_reads = Expected::Numbers { reads: 0, bases: 0 };
    let mut cases = vec![
        packed("gzip", packed_text.clone(), whole),
        packed("gzip, stored", stored_text.clone(), whole),
        packed("gzip with every field", gzip_with_fields(text)?, whole),
        packed("gzip of lines that end with CR and LF", gzip(&with_line_ends(text, b"\r\n"))?, whole),
        packed("several members", pair.clone(), whole),
        packed(
            "a member for each byte",
            text.iter().map(|byte| gzip(&[*byte])).collect::<Result<Vec<_>>>()?.concat(),
            whole,
        ),
        packed(
            "empty members among others",
            [&empty, &gzip(one)?, &empty, &gzip(two)?, &empty].map(Vec::as_slice).concat(),
            whole,
        ),
        packed("gzip of nothing", empty.clone(), no_reads),
        packed("zeros after the last member", [&packed_text[..], &[0; 4096]].concat(), whole),
        packed("nothing", Vec::new(), MISMATCH),
        packed("one byte", packed_text[..1].to_vec(), MISMATCH),
        packed("junk after the last member", [&packed_text[..], b"junk"].concat(), DAMAGED),
        packed(
            "junk after zeros after the last member",
            [&packed_text[..], &[0; 100], b"junk"].concat(),
            DAMAGED,
        ),
        packed("plain reads after the last member", [&packed_text[..], text].concat(), DAMAGED),
        packed("wrong checksum", flipped_from_end(&packed_text, 8), DAMAGED),
        packed("wrong length", flipped_from_end(&packed_text, 4), DAMAGED),
        packed("no checksum and length", cut(&packed_text, 8), DAMAGED),
        packed("a bit flipped in the middle", flipped_from_end(&packed_text, middle), DAMAGED),
        packed("a bit flipped in stored bytes", flipped_from_end(&stored_text, in_middle), DAMAGED),
        packed("zeros in the middle", patched(&packed_text, middle, &[0; 64]), DAMAGED),
        packed("zeros over stored records", patched(&stored_text, in_middle, &[0; 700]), DAMAGED),
        packed("other bytes in the middle", patched(&packed_text, middle, &[0xa5; 64]), DAMAGED),
        packed("cut in half", packed_text[..middle].to_vec(), DAMAGED),
        packed("the second member is cut", cut(&pair, 30), DAMAGED),
        packed("the second member's checksum is wrong", flipped_from_end(&pair, 8), DAMAGED),
        packed("the second member has another method", patched(&pair, gzip(one)?.len() + 2, &[7]), DAMAGED),
        packed("not compressed where it says so", text.to_vec(), MISMATCH),
        packed("compressed twice", gzip(&packed_text)?, MISMATCH),
        packed("a bomb of zeros", gzip(&[0; 1_000_000])?, MISMATCH),
        packed("gzip of qualities that do not fit", gzip(&text[..text.len() - 2])?, INVALID),
        Case {
            name: "compressed where it does not say so",
            hint: Some("FASTQ"),
            ..packed("", packed_text, MISMATCH)
        },
    ];
    cases.extend(in_blocks(text)?);
    Ok(cases)
}

fn in_blocks(text: &[u8]) -> Result<Vec<Case>> {
    let whole = numbers(text);
    let all = blocks(text, 2_000)?;
    let good = all.concat();
    let first = all.first().map_or(0, Vec::len);
    let end = all.last().map_or(0, Vec::len);
    let size = |change: u16| -> Vec<u8> {
        let old = u16::from_le_bytes([good[16], good[17]]);
        patched(&good, 16, &old.wrapping_add(change).to_le_bytes())
    };
    let foreign: Vec<Vec<u8>> = text
        .chunks(2_000)
        .chain([&[][..]])
        .map(|chunk| block_behind(b"XY\x03\0abc", chunk))
        .collect::<Result<_>>()?;
    let bam = bgzf(b"BAM\x01\0\0\0\0\0\0\0\0")?;
    Ok(vec![
        packed("BGZF", good.clone(), whole),
        packed("BGZF of nothing", blocks(b"", 1)?.concat(), Expected::Numbers { reads: 0, bases: 0 }),
        packed("BGZF behind other extra fields", foreign.concat(), whole),
        packed("BGZF with empty blocks in the middle", [&good[..], &good[..]].concat(), twice(whole)),
        packed("BGZF without its end block", cut(&good, end), DAMAGED),
        packed("BGZF cut after its first block", good[..first].to_vec(), DAMAGED),
        packed("BGZF with half an end block", cut(&good, end / 2), DAMAGED),
        packed("gzip, then BGZF without its end block", [gzip(text)?, cut(&good, end)].concat(), DAMAGED),
        packed("a block longer than it says", size(1), DAMAGED),
        packed("a block much longer than it says", size(5_000), DAMAGED),
        packed("a block shorter than it says", size(u16::MAX), DAMAGED),
        packed("a block with a wrong checksum", flipped_from_end(&good, end + 8), DAMAGED),
        packed("a block with a wrong length", flipped_from_end(&good, end + 4), DAMAGED),
        packed("junk after the end block", [&good[..], b"junk"].concat(), DAMAGED),
        packed("BAM under another name", bam, MISMATCH),
    ])
}

fn twice(expected: Expected) -> Expected {
    match expected {
        Expected::Numbers { reads, bases } => Expected::Numbers { reads: 2 * reads, bases: 2 * bases },
        other => other,
    }
}
