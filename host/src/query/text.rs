//! Text of guests, containers and files is data: what is shown of it is capped and escaped here.

use std::fmt::Write as _;

use helix_ids::name::is_invisible;

/// What an escape is written as at most: `\u{e007f}`.
const ESCAPE_BYTES_MAX: usize = 10;

/// `ms` since 1970 as ISO 8601 with milliseconds, UTC.
#[must_use]
pub fn iso_time(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil_date(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01. Counts in eras of 400 years that
/// begin on the first of March, so that the leap day is the last of its year.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Makes every character visible that could change how a text reads: controls (but newline and
/// tab), bidirectional marks, zero-width characters.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut escaped, c);
    }
    escaped
}

/// [`escape`] for a place of one line: newline and tab are escaped too.
#[must_use]
pub fn escape_line(text: &str) -> String {
    escape(text).replace('\n', "\\n").replace('\t', "\\t")
}

fn push_escaped(escaped: &mut String, c: char) {
    match c {
        '\n' | '\t' => escaped.push(c),
        '\r' => escaped.push_str("\\r"),
        c if is_invisible(c) => escaped.extend(c.escape_unicode()),
        c => escaped.push(c),
    }
}

/// The end of a text: at most `max_bytes`, whole characters, escaped.
#[must_use]
pub fn tail(text: &str, max_bytes: usize) -> String {
    let start = text.ceil_char_boundary(text.len().saturating_sub(max_bytes));
    escape(text.get(start..).unwrap_or_default())
}

/// The beginning of a text on one line, with `…` where something was cut off.
#[must_use]
pub fn short(text: &str, max_bytes: usize) -> String {
    let head = text.get(..text.floor_char_boundary(max_bytes)).unwrap_or_default();
    let dots = if head.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", escape_line(head))
}

/// What is shown of a file's first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub text: String,
    pub is_text: bool,
    /// Something was left out.
    pub truncated: bool,
}

/// The head of a file as text, or in hex when it is none. `bytes` may be cut in the middle of a
/// character. What comes out obeys both caps after escaping, whatever the bytes are.
#[must_use]
pub fn head(bytes: &[u8], max_bytes: usize, max_lines: usize) -> Head {
    let (text, is_text) = match as_text(bytes) {
        Some(text) => (text, true),
        None => (hex_dump(bytes), false),
    };
    let mut shown = String::new();
    let mut lines = 1;
    for c in text.chars() {
        let before = shown.len();
        // A newline that would open one line too many is the end; the last line may keep its own.
        if lines > max_lines {
            return Head { text: shown, is_text, truncated: true };
        }
        push_escaped(&mut shown, c);
        if shown.len() > max_bytes {
            shown.truncate(before);
            return Head { text: shown, is_text, truncated: true };
        }
        lines += usize::from(c == '\n');
    }
    Head { text: shown, is_text, truncated: false }
}

/// Text, if that is what the bytes are: no NUL, and at most one character in ten unreadable.
fn as_text(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    // A character that the cap cut in two is no sign of binary data.
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        Ok(_) | Err(_) => bytes,
    };
    let text = String::from_utf8_lossy(whole);
    let unreadable = text.chars().filter(|&c| c == char::REPLACEMENT_CHARACTER).count();
    (unreadable * 10 <= text.chars().count()).then(|| text.into_owned())
}

/// Sixteen bytes a line: offset, hex, and what is printable ASCII.
fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::with_capacity(bytes.len() * ESCAPE_BYTES_MAX / 2);
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String = chunk
            .iter()
            .map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '.' })
            .collect();
        // Writing into a String cannot fail.
        if writeln!(dump, "{:08x}  {:<47}  {ascii}", line * 16, hex.join(" ")).is_err() {
            break;
        }
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(iso_time(ms), expected);
        }
    }

    #[test]
    fn nothing_unseen_is_shown() {
        let cases = [
            ("a\tb\nc", "a\tb\nc"),
            ("\u{1b}]52;c;x\u{7}", "\\u{1b}]52;c;x\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c\u{200d}d", "a\\u{202e}b\\u{2066}c\\u{200d}d"),
            ("x\r\n", "x\\r\n"),
            ("\u{e0041}", "\\u{e0041}"),
            ("größe 😀", "größe 😀"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected);
        }
        assert_eq!(escape_line("a\nb\t"), "a\\nb\\t");
        assert_eq!(short("äöü", 3), "ä…");
        assert_eq!(tail("äöü", 3), "ü");
    }

    #[test]
    fn heads_obey_both_caps() {
        let cases: &[(&[u8], usize, usize, &str, bool)] = &[
            (b"", 10, 10, "", false),
            (b"a\nb\n", 10, 2, "a\nb\n", false),
            (b"a\nb\nc", 10, 2, "a\nb\n", true),
            (b"a\nb", 10, 2, "a\nb", false),
            (b"abcdef", 4, 1, "abcd", true),
            (b"\x1b\x1b\x1b", 7, 1, "\\u{1b}", true),
            ("ab\u{e4}".as_bytes().get(..3).unwrap_or_default(), 10, 1, "ab", false),
        ];
        for (bytes, max_bytes, max_lines, text, truncated) in cases {
            let head = head(bytes, *max_bytes, *max_lines);
            assert_eq!((head.text.as_str(), head.truncated), (*text, *truncated), "{bytes:?}");
            assert!(head.is_text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        let shown = head(b"BAM\x01\0\0\x1b[31m", 1_000, 10);
        assert!(!shown.is_text);
        let hex = "42 41 4d 01 00 00 1b 5b 33 31 6d";
        assert_eq!(shown.text, format!("00000000  {hex:<47}  BAM....[31m\n"));
        assert!(!head(&[0xff, 0xfe, 0xfd], 100, 10).is_text);
        assert!(head(b"caf\xe9 au lait, without end", 100, 10).is_text);
    }
}
