//! Text that somebody else wrote, made safe to show.

use crate::name::is_invisible;

/// At most `max_bytes` of `text`, with every control, bidirectional and zero-width character but
/// the newline and the tab written as `\u{…}`; an ellipsis says that something was cut.
#[must_use]
pub fn escaped(text: &str, max_bytes: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let before = out.len();
        if is_invisible(c) && c != '\n' && c != '\t' {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        if out.len() > max_bytes {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

/// As [`escaped`], on one line: newlines and tabs become spaces.
#[must_use]
pub fn escaped_line(text: &str, max_bytes: usize) -> String {
    escaped(&text.replace(['\n', '\t'], " "), max_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        let cases: &[(&str, usize, &str)] = &[
            ("plain\ttext\n", 99, "plain\ttext\n"),
            ("\u{1b}[2J", 99, "\\u{1b}[2J"),
            ("a\u{202e}b\u{200b}c", 99, "a\\u{202e}b\\u{200b}c"),
            ("größer", 4, "grö…"),
            ("", 0, ""),
        ];
        for (text, max, expected) in cases {
            assert_eq!(escaped(text, *max), *expected);
        }
        assert_eq!(escaped_line("a\nb", 9), "a b");
    }

    proptest::proptest! {
        #[test]
        fn escaped_text_is_bounded_and_visible(text: String, max in 0..64_usize) {
            let shown = escaped_line(&text, max);
            proptest::prop_assert!(shown.len() <= max + '…'.len_utf8());
            proptest::prop_assert!(!shown.chars().any(is_invisible));
        }
    }
}
