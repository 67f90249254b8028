//! The header's text, against the specification and against the list of references.

use std::collections::BTreeSet;

use super::findings::{Findings, Kind};
use crate::bam::Header;
use crate::shown;

/// What records are held against.
#[derive(Debug, Default)]
pub struct Facts {
    /// What `@HD SO` says.
    pub order: String,
    /// Ids of the `@RG` lines.
    pub read_groups: BTreeSet<Vec<u8>>,
}

/// Checks the header and tells what it says.
pub fn check(header: &Header, findings: &mut Findings) -> Facts {
    let mut facts = Facts::default();
    let mut text = References::default();
    // Some programs fill the text up with NULs.
    let end = header.text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let lines = header.text.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.is_empty()) {
        if let Err(reason) = check_line(line, number, &mut facts, &mut text, header, findings) {
            findings.in_header(Kind::HeaderText, || format!("line {number}: {reason}"));
        }
    }
    let references = header.references.len();
    if text.lines == 0 && references > 0 {
        findings.in_header(Kind::NoHeaderReferences, || format!("{references} references, and no @SQ line"));
    } else if text.lines != references {
        findings.in_header(Kind::HeaderReferences, || {
            format!("{} @SQ lines, but {references} references", text.lines)
        });
    }
    let mut names = BTreeSet::new();
    for (name, _) in header.references.iter() {
        if !names.insert(name) {
            findings.in_header(Kind::DuplicateReference, || shown(name));
        }
    }
    facts
}

/// The `@SQ` lines that were seen.
#[derive(Default)]
struct References {
    lines: usize,
}

fn check_line(
    line: &[u8],
    number: usize,
    facts: &mut Facts,
    text: &mut References,
    header: &Header,
    findings: &mut Findings,
) -> Result<(), &'static str> {
    let mut fields = line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\t');
    let kind = fields.next().unwrap_or_default();
    let [b'@', first, second] = kind else { return Err("does not begin with @ and two letters") };
    if !first.is_ascii_alphabetic() || !second.is_ascii_alphabetic() {
        return Err("does not begin with @ and two letters");
    }
    if kind == b"@CO" {
        return Ok(());
    }
    if kind == b"@HD" && number != 1 {
        return Err("@HD stands only in the first line");
    }
    let mut values = Vec::new();
    for field in fields {
        let ([a, b, b':'], value) = field.split_at_checked(3).ok_or("a field is not TAG:value")? else {
            return Err("a field is not TAG:value");
        };
        values.push(([*a, *b], value));
    }
    let value = |tag: &[u8; 2]| values.iter().find(|(name, _)| name == tag).map(|(_, value)| *value);
    match kind {
        b"@HD" => facts.order = value(b"SO").map(shown).unwrap_or_default(),
        b"@SQ" => {
            let name = value(b"SN").ok_or("@SQ has no SN")?;
            let bases = value(b"LN").ok_or("@SQ has no LN")?;
            check_reference(text.lines, name, bases, header, findings);
            text.lines += 1;
        }
        b"@RG" => {
            let id = value(b"ID").ok_or("@RG has no ID")?;
            if !facts.read_groups.insert(id.to_vec()) {
                findings.in_header(Kind::DuplicateReadGroup, || shown(id));
            }
        }
        _ => {}
    }
    Ok(())
}

/// An `@SQ` line names the reference at its place in the list.
fn check_reference(index: usize, name: &[u8], bases: &[u8], header: &Header, findings: &mut Findings) {
    if index >= header.references.len() {
        return;
    }
    let (listed, length) = (header.references.name(index), header.references.bases(index));
    if listed != name || bases != length.to_string().as_bytes() {
        findings.in_header(Kind::HeaderReferences, || {
            format!(
                "reference {index} is {} of {length} bases in the list, {} of {} in the text",
                shown(listed),
                shown(name),
                shown(bases)
            )
        });
    }
}
