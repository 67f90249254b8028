//! Formats of tab-separated columns.

use super::text::{is_text, lines};

/// How many lines are looked at.
const LINES_MAX: usize = 64;

/// Whole lines that are neither empty nor a comment. The head may be cut inside its last line, so
/// that one counts only when it is the only one.
fn records(head: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut all: Vec<&[u8]> = lines(head).collect();
    if all.len() > 1 {
        all.pop();
    }
    let is_record = |line: &&&[u8]| {
        let comments: [&[u8]; 3] = [b"#", b"track", b"browser"];
        !line.is_empty() && !comments.iter().any(|comment| line.starts_with(comment))
    };
    all.iter()
        .filter(is_record)
        .take(LINES_MAX)
        .map(|line| line.split(|byte| *byte == b'\t').collect())
        .collect()
}

fn is_number(column: Option<&&[u8]>) -> bool {
    column.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

fn number(column: Option<&&[u8]>) -> Option<u64> {
    std::str::from_utf8(column?).ok()?.parse().ok()
}

/// Every record satisfies `test`, and there is one, or nothing but comments.
fn all_records(head: &[u8], test: fn(&[&[u8]]) -> bool) -> bool {
    is_text(head) && records(head).iter().all(|columns| test(columns))
}

fn has_records(head: &[u8]) -> bool {
    !records(head).is_empty()
}

pub(super) fn is_sam(head: &[u8]) -> bool {
    const HEADERS: [&[u8]; 5] = [b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t"];
    if HEADERS.iter().any(|header| head.starts_with(header)) {
        return is_text(head);
    }
    let alignment = |columns: &[&[u8]]| {
        columns.len() >= 11
            && [1, 3, 4, 7].iter().all(|at| is_number(columns.get(*at)))
            && columns.get(5).is_some_and(|cigar| {
                *cigar == b"*".as_slice() || cigar.iter().all(|byte| b"0123456789MIDNSHP=X".contains(byte))
            })
    };
    has_records(head) && all_records(head, alignment)
}

/// Chromosome, start, end; start not behind the end.
pub(super) fn is_bed(head: &[u8]) -> bool {
    all_records(head, |columns| {
        let columns: Vec<&[u8]> = if let [line] = columns {
            line.split(u8::is_ascii_whitespace).filter(|column| !column.is_empty()).collect()
        } else {
            columns.to_vec()
        };
        match (number(columns.get(1)), number(columns.get(2))) {
            (Some(start), Some(end)) => start <= end,
            _ => false,
        }
    })
}

fn is_feature(columns: &[&[u8]]) -> bool {
    columns.len() == 9
        && is_number(columns.get(3))
        && is_number(columns.get(4))
        && columns.get(6).is_some_and(|strand| matches!(*strand, b"+" | b"-" | b"." | b"?"))
}

pub(super) fn is_gff3(head: &[u8]) -> bool {
    let attributes = |columns: &[&[u8]]| {
        is_feature(columns)
            && columns.get(8).is_some_and(|last| *last == b".".as_slice() || last.contains(&b'='))
    };
    // A `##FASTA` part may follow the features.
    let features = head.windows(8).position(|window| window == b"\n##FASTA").and_then(|at| head.get(..=at));
    let declared = head.starts_with(b"##gff-version");
    (declared || has_records(head)) && all_records(features.unwrap_or(head), attributes)
}

pub(super) fn is_gtf(head: &[u8]) -> bool {
    let attributes = |columns: &[&[u8]]| {
        is_feature(columns)
            && columns.get(8).is_some_and(|last| last.contains(&b'"') && last.starts_with(b"gene_id "))
    };
    has_records(head) && all_records(head, attributes)
}

/// Two or more columns, as many in every line.
pub(super) fn is_tsv(head: &[u8]) -> bool {
    let records = records(head);
    let width = records.first().map_or(0, Vec::len);
    is_text(head) && width >= 2 && records.iter().all(|columns| columns.len() == width)
}

/// An index of CRAM: six numbers a line, of which the first may be -1.
pub(super) fn is_crai(head: &[u8]) -> bool {
    let entry = |columns: &[&[u8]]| {
        columns.len() == 6
            && columns.iter().all(|column| is_number(Some(&column.strip_prefix(b"-").unwrap_or(column))))
    };
    has_records(head) && all_records(head, entry)
}
