//! One record, against the specification and against the header.

use super::findings::{Findings, Kind};
use super::header::Facts;
use crate::bam::{Broken, Core, Field, Header, Op, Record, flag, ops};
use crate::shown;

/// Positions from here on have no bin.
const BINNED_POSITIONS: i64 = 1 << 29;

/// Highest quality that SAM can write; 255 stands for none.
const QUALITY_MAX: u8 = 93;

/// Checks records in turn.
pub struct Checker<'a> {
    header: &'a Header,
    facts: Facts,
    /// The place of the last record: those on no reference come last.
    last: (u32, i32),
    sorted: bool,
    tags: Vec<[u8; 2]>,
}

impl<'a> Checker<'a> {
    pub fn new(header: &'a Header, facts: Facts) -> Self {
        Self { header, facts, last: (0, -1), sorted: true, tags: Vec::new() }
    }

    /// Whether the records so far are in order of position.
    pub fn sorted(&self) -> bool {
        self.sorted
    }

    pub fn check(&mut self, record: &Record<'_>, findings: &mut Findings) {
        self.place(record, findings);
        self.order(record, findings);
        check_flags(record, findings);
        check_name(record, findings);
        self.cigar(record, findings);
        check_qualities(record, findings);
        self.tags(record, findings);
    }

    fn place(&self, record: &Record<'_>, findings: &mut Findings) {
        let Core { reference, position, mate_reference, mate_position, .. } = record.core;
        for (whose, id, at) in [("", reference, position), ("mate's ", mate_reference, mate_position)] {
            let Ok(index) = usize::try_from(id) else {
                if id != -1 {
                    findings
                        .in_record(Kind::ReferenceOutOfRange, record, || format!("{whose}reference {id}"));
                }
                continue;
            };
            if index >= self.header.references.len() {
                findings.in_record(Kind::ReferenceOutOfRange, record, || format!("{whose}reference {id}"));
                continue;
            }
            let bases = self.header.references.bases(index);
            let within = at < 0 || at.cast_unsigned() < bases;
            if at < -1 || !within {
                findings.in_record(Kind::PositionOutOfRange, record, || {
                    format!("{whose}position {at} (from 0) on a reference of {bases} bases")
                });
            }
        }
        let mapped = !record.core.is(flag::UNMAPPED);
        if reference == -1 && (mapped || position >= 0) {
            findings.in_record(Kind::NoReference, record, || {
                format!("flag {}, position {position} (from 0)", record.core.flag)
            });
        } else if mapped && position == -1 && reference >= 0 {
            findings.in_record(Kind::PositionOutOfRange, record, || "mapped, but to no position".to_owned());
        }
    }

    fn order(&mut self, record: &Record<'_>, findings: &mut Findings) {
        // -1 becomes the greatest.
        let place = (record.core.reference.cast_unsigned(), record.core.position);
        if place < self.last {
            self.sorted = false;
            if self.facts.order == "coordinate" {
                findings.in_record(Kind::Order, record, || {
                    let (reference, position) = (record.core.reference, record.core.position);
                    format!("reference {reference}, position {position} (from 0) comes after a later one")
                });
            }
        }
        self.last = place;
    }

    fn cigar(&self, record: &Record<'_>, findings: &mut Findings) {
        let core = &record.core;
        let (short, cigar) = (record.short_cigar(), record.cigar());
        if cigar.is_empty() {
            if !core.is(flag::UNMAPPED) {
                findings.in_record(Kind::NoCigar, record, || format!("flag {}", core.flag));
            }
            check_bin(record, 0, findings);
            return;
        }
        let clip_and_skip = |cigar: &[u8]| {
            let mut ops = ops(cigar);
            ops.next() == Some(Op::clip_of(core.bases)) && ops.next().is_some_and(|op| op.code == Op::SKIP)
        };
        if short == cigar && clip_and_skip(short) {
            findings.in_record(Kind::LongCigar, record, || format!("{} operations", core.cigar_ops));
        }
        let (mut read, mut on_reference) = (0_i64, 0_i64);
        for op in ops(cigar) {
            if op.code >= Op::CODES {
                findings.in_record(Kind::CigarOperation, record, || format!("operation {}", op.code));
                return;
            }
            read += if op.takes_read() { i64::from(op.length) } else { 0 };
            on_reference += if op.takes_reference() { i64::from(op.length) } else { 0 };
        }
        if core.bases > 0 && read != i64::from(core.bases) {
            findings.in_record(Kind::CigarLength, record, || {
                format!("the CIGAR stands for {read} bases, there are {}", core.bases)
            });
        }
        if ops(cigar).any(|op| op.length == 0) {
            findings.in_record(Kind::EmptyOperation, record, || "an operation of length 0".to_owned());
        }
        if let Some(shape) = odd_shape(cigar) {
            findings.in_record(Kind::CigarShape, record, || shape.to_owned());
        }
        self.end(record, on_reference, findings);
        // An unmapped read's CIGAR says nothing of its place.
        check_bin(record, if core.is(flag::UNMAPPED) { 0 } else { on_reference }, findings);
    }

    fn end(&self, record: &Record<'_>, on_reference: i64, findings: &mut Findings) {
        let core = &record.core;
        let Some(index) =
            usize::try_from(core.reference).ok().filter(|id| *id < self.header.references.len())
        else {
            return;
        };
        let bases = self.header.references.bases(index);
        let end = i64::from(core.position) + on_reference;
        if !core.is(flag::UNMAPPED) && core.position >= 0 && end > i64::from(bases) {
            findings.in_record(Kind::PastEnd, record, || {
                format!("ends at {end} on a reference of {bases} bases")
            });
        }
    }

    fn tags(&mut self, record: &Record<'_>, findings: &mut Findings) {
        self.tags.clear();
        for field in record.fields() {
            match field {
                Err(broken) => findings.in_record(Kind::Tags, record, || match broken {
                    Broken::Truncated => "the record ends within a tag".to_owned(),
                    Broken::Kind(kind) => format!("a tag of type {}", shown(&[kind])),
                    Broken::Count(count) => format!("an array of {count} elements"),
                }),
                Ok(field) => self.tag(record, &field, findings),
            }
        }
    }

    fn tag(&mut self, record: &Record<'_>, field: &Field<'_>, findings: &mut Findings) {
        let Field { tag, kind, value } = *field;
        if !tag[0].is_ascii_alphabetic() || !tag[1].is_ascii_alphanumeric() {
            findings.in_record(Kind::TagName, record, || shown(&tag));
        }
        if self.tags.contains(&tag) {
            findings.in_record(Kind::DuplicateTag, record, || shown(&tag));
        }
        self.tags.push(tag);
        let good = match kind {
            b'A' => value.iter().all(u8::is_ascii_graphic),
            b'Z' => value.iter().all(|byte| (b' '..=b'~').contains(byte)),
            b'H' => value.len().is_multiple_of(2) && value.iter().all(u8::is_ascii_hexdigit),
            _ => true,
        };
        if !good {
            findings.in_record(Kind::TagValue, record, || format!("{}: {}", shown(&tag), shown(value)));
        }
        if tag == *b"RG" && kind == b'Z' && !self.facts.read_groups.contains(value) {
            findings.in_record(Kind::UnknownReadGroup, record, || shown(value));
        }
    }
}

fn check_flags(record: &Record<'_>, findings: &mut Findings) {
    let core = &record.core;
    let of_pairs = flag::PROPER_PAIR | flag::MATE_UNMAPPED | flag::MATE_REVERSE | flag::READ_1 | flag::READ_2;
    if core.is(!flag::KNOWN) {
        findings.in_record(Kind::UnknownFlags, record, || format!("flag {}", core.flag));
    }
    if !core.is(flag::PAIRED) && core.is(of_pairs) {
        findings
            .in_record(Kind::PairFlags, record, || format!("flag {} on a read without a mate", core.flag));
    }
    if core.is(flag::PAIRED) && core.is(flag::READ_1) == core.is(flag::READ_2) {
        let which = if core.is(flag::READ_1) { "both" } else { "neither" };
        findings
            .in_record(Kind::PairFlags, record, || format!("flag {}: {which} first and second", core.flag));
    }
}

fn check_name(record: &Record<'_>, findings: &mut Findings) {
    let good = |byte: &u8| matches!(byte, b'!'..=b'?' | b'A'..=b'~');
    match record.name().split_last() {
        Some((0, name)) if !name.is_empty() && name.iter().all(good) => {}
        // Programs fill names up so that what follows is aligned.
        Some((0, name)) if name.len() > 1 && good_then_padding(name) => {}
        _ => findings.in_record(Kind::ReadName, record, || shown(record.name())),
    }
}

fn good_then_padding(name: &[u8]) -> bool {
    let text: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
    !text.is_empty()
        && text.iter().all(u8::is_ascii_graphic)
        && name.get(text.len()..).unwrap_or_default().iter().all(|byte| *byte == 0)
}

fn check_qualities(record: &Record<'_>, findings: &mut Findings) {
    let qualities = record.qualities();
    let highest = qualities.iter().copied().max().unwrap_or_default();
    if highest > QUALITY_MAX && qualities.iter().any(|quality| *quality != 0xff) {
        findings.in_record(Kind::Quality, record, || format!("a quality of {highest}"));
    }
}

/// Hard clips stand only at the ends, soft clips have only hard clips outside of them.
fn odd_shape(cigar: &[u8]) -> Option<&'static str> {
    let inner = trimmed(cigar.as_chunks::<4>().0, Op::HARD_CLIP);
    if inner.iter().any(|op| is(op, Op::HARD_CLIP)) {
        return Some("a hard clip within the read");
    }
    let odd = trimmed(inner, Op::SOFT_CLIP).iter().any(|op| is(op, Op::SOFT_CLIP));
    odd.then_some("a soft clip within the read")
}

/// Without one operation of a kind at either end.
fn trimmed(ops: &[[u8; 4]], code: u32) -> &[[u8; 4]] {
    let ops = ops.split_first().filter(|(first, _)| is(first, code)).map_or(ops, |(_, rest)| rest);
    ops.split_last().filter(|(last, _)| is(last, code)).map_or(ops, |(_, rest)| rest)
}

fn is(op: &[u8; 4], code: u32) -> bool {
    u32::from(op[0] & 0xf) == code
}

/// The bin is that of the place; an unmapped read's place is one base long.
fn check_bin(record: &Record<'_>, on_reference: i64, findings: &mut Findings) {
    let start = i64::from(record.core.position);
    let end = start + on_reference.max(1);
    if start < -1 || end > BINNED_POSITIONS {
        return;
    }
    let expected = bin(start, end);
    if expected != i64::from(record.core.bin) {
        findings.in_record(Kind::Bin, record, || format!("bin {}, expected {expected}", record.core.bin));
    }
}

/// The smallest bin that holds a stretch (SAM specification, 5.3).
pub fn bin(start: i64, end: i64) -> i64 {
    let last = end - 1;
    for (shift, first) in [(14, 4681), (17, 585), (20, 73), (23, 9), (26, 1)] {
        if start >> shift == last >> shift {
            return first + (start >> shift);
        }
    }
    0
}
