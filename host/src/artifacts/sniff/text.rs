//! Formats of lines and of markup. Each test holds of a head that is cut anywhere.

use serde::de::IgnoredAny;

/// Valid UTF-8 (but for a character cut at the end) without the controls that no text has.
pub(super) fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        // `None` says that the text ends inside a character.
        Err(error) => error.error_len().is_none(),
    };
    let control = |byte: &u8| byte.is_ascii_control() && !b"\t\n\r\x0c\x1b".contains(byte);
    valid && !head.iter().any(control)
}

/// The lines without their ends; the last may be cut.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

pub(super) fn is_vcf(head: &[u8]) -> bool {
    head.starts_with(b"##fileformat=VCFv")
}

/// `@` and a name, bases, `+`, as many qualities. Bases may be broken over lines, as they once were.
pub(super) fn is_fastq(head: &[u8]) -> bool {
    if !head.starts_with(b"@") {
        return false;
    }
    let mut rest = lines(head).skip(1).peekable();
    let mut bases = 0;
    loop {
        let Some(line) = rest.next() else {
            // Cut inside the first record: what there is of it fits.
            return head.contains(&b'\n');
        };
        if line.starts_with(b"+") {
            break;
        }
        if !line.iter().all(|byte| byte.is_ascii_alphabetic() || b".-*".contains(byte)) {
            return false;
        }
        bases += line.len();
    }
    let mut qualities = 0;
    while qualities < bases {
        let Some(line) = rest.next() else { return true };
        if !line.iter().all(u8::is_ascii_graphic) {
            return false;
        }
        qualities += line.len();
    }
    qualities == bases
}

/// `>` and a name, then letters.
pub(super) fn is_fasta(head: &[u8]) -> bool {
    if !head.starts_with(b">") {
        return false;
    }
    let residue = |byte: &u8| byte.is_ascii_alphabetic() || b"*-.".contains(byte);
    let body = lines(head).skip(1).filter(|line| !line.starts_with(b">"));
    body.take(64).all(|line| line.iter().all(residue))
}

/// One value that is an object or a list, whole or cut.
pub(super) fn is_json(head: &[u8]) -> bool {
    let start = skip_space(head);
    if !start.starts_with(b"{") && !start.starts_with(b"[") {
        return false;
    }
    match serde_json::from_slice::<IgnoredAny>(start) {
        Ok(_) => true,
        Err(error) => error.is_eof(),
    }
}

/// Begins with a tag.
pub(super) fn is_markup(head: &[u8]) -> bool {
    is_text(head) && skip_space(head).starts_with(b"<")
}

pub(super) fn is_html(head: &[u8]) -> bool {
    is_markup(head) && matches!(root_tag(head).as_deref(), Some("!doctype html" | "html" | "head" | "body"))
}

pub(super) fn is_svg(head: &[u8]) -> bool {
    is_markup(head) && matches!(root_tag(head).as_deref(), Some("svg" | "!doctype svg"))
}

/// The first tag that is no comment and no processing instruction, in lowercase.
fn root_tag(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(skip_space(head));
    let mut rest = text.as_ref();
    loop {
        rest = rest.trim_start().strip_prefix('<')?;
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->")?.1;
        } else if let Some(instruction) = rest.strip_prefix('?') {
            rest = instruction.split_once("?>")?.1;
        } else {
            break;
        }
    }
    let mut words = rest.split(|c: char| c.is_whitespace() || c == '>' || c == '/');
    let first = words.next()?.to_ascii_lowercase();
    if first == "!doctype" {
        return Some(format!("{first} {}", words.next().unwrap_or_default().to_ascii_lowercase()));
    }
    Some(first)
}

/// Without a byte order mark and white space.
fn skip_space(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start()
}
