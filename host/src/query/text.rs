//! Text of guests, containers and files is data: what is shown of it is capped and escaped here.

use std::fmt::Write as _;

use helix_ids::text::escaped;

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

/// The end of a text: at most `max_bytes`, whole characters, escaped.
#[must_use]
pub fn tail(text: &str, max_bytes: usize) -> String {
    let start = text.ceil_char_boundary(text.len().saturating_sub(max_bytes));
    escaped(text.get(start..).unwrap_or_default(), max_bytes * ESCAPE_BYTES_MAX)
}

/// Whether the bytes are text: no NUL, and at most one character in ten unreadable. They may be
/// cut in the middle of a character.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let unreadable = text.chars().filter(|&c| c == char::REPLACEMENT_CHARACTER).count();
    // One that the cap cut in two is no sign of binary data.
    !bytes.contains(&0) && unreadable.saturating_sub(1) * 10 <= text.chars().count()
}

/// Sixteen bytes a line: offset, hex, and what is printable ASCII.
#[must_use]
pub fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |&byte: &u8| byte.is_ascii_graphic() || byte == b' ';
        let ascii: String =
            chunk.iter().map(|byte| if printable(byte) { char::from(*byte) } else { '.' }).collect();
        let _infallible = writeln!(dump, "{:08x}  {:<47}  {ascii}", line * 16, hex.join(" "));
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
    fn a_tail_is_whole_characters_and_escaped() {
        assert_eq!(tail("äöü", 3), "ü");
        assert_eq!(tail("x\u{1b}\u{1b}\n", 3), "\\u{1b}\\u{1b}\n");
        assert_eq!(tail("", 3), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        let text: &[&[u8]] = &[b"", b"@r\nACGT\n", "größe".as_bytes(), b"caf\xe9 au lait", b"ab\xc3"];
        let other: &[&[u8]] = &[b"BAM\x01\0\0", &[0xff, 0xfe, 0xfd], b"\x7fELF\x02\x01\x01\0"];
        assert!(text.iter().all(|bytes| is_text(bytes)));
        assert!(!other.iter().any(|bytes| is_text(bytes)));
    }

    #[test]
    fn a_dump_shows_offset_hex_and_ascii() {
        let hex = "42 41 4d 01 00 00 1b 5b 33 31 6d";
        assert_eq!(hex_dump(b"BAM\x01\0\0\x1b[31m"), format!("00000000  {hex:<47}  BAM....[31m\n"));
        assert_eq!(hex_dump(&[b'a'; 17]).lines().nth(1).map(str::len), Some(10 + 47 + 2 + 1));
    }
}
