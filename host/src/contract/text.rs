//! Text that somebody else wrote, made fit to be shown.

use helix_ids::name::is_invisible;

/// `text` with invisible characters escaped, cut at a character so that no more than `bytes_max`
/// bytes of the original remain. What is cut is marked by `…`.
#[must_use]
pub fn shown(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for (offset, c) in text.char_indices() {
        if offset + c.len_utf8() > bytes_max {
            out.push('…');
            break;
        }
        if is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The first character that a reader would not see. A line break is seen.
pub(super) fn hidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_invisible(*c) && *c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_capped() {
        let cases = [
            ("plain", 200, "plain"),
            ("a\u{202e}b\n", 200, "a\\u{202e}b\\u{a}"),
            ("größe", 3, "gr…"),
            ("", 0, ""),
        ];
        for (text, max, expected) in cases {
            assert_eq!(shown(text, max), expected);
        }
    }
}
