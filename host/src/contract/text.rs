//! Text that a toolpack's author wrote for others to read.

use helix_ids::name::is_invisible;

pub use helix_ids::text::escaped_line as shown;

/// The first character that a reader would not see. A line break is seen.
pub(super) fn hidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_invisible(*c) && *c != '\n')
}

/// The first tag, such as `<IMPORTANT>` or `<|system|>`. A description is shown to people as text and
/// given to models, which take tags for the words of whoever set them up. What it says in plain words
/// is the operator's to judge, who allows the component.
pub(super) fn tag(text: &str) -> Option<&str> {
    let opens = |c| matches!(c, '<' | '＜');
    let in_angles = text.match_indices(opens).find_map(|(at, _)| {
        let rest = text.get(at..)?;
        let end = rest.find(['>', '＞'])?;
        let (tag, _) =
            rest.split_at_checked(end.saturating_add(rest.get(end..)?.chars().next()?.len_utf8()))?;
        let inside = tag.trim_matches(|c: char| matches!(c, '<' | '>' | '＜' | '＞') || c.is_whitespace());
        is_tag(inside).then_some(tag)
    });
    in_angles.or_else(|| ["[INST]", "[/INST]", "<<SYS"].into_iter().find(|mark| text.contains(mark)))
}

/// A name, maybe closing, or a name with attributes; a comparison (`a <b and c> d`) and an address
/// are none.
fn is_tag(inside: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|' | '/' | ':' | '.');
    let has_letter = inside.chars().any(char::is_alphabetic);
    let has_attribute = inside.starts_with(char::is_alphabetic) && inside.contains('=');
    has_letter && (inside.chars().all(is_of_name) || has_attribute || inside.starts_with(['!', '?', '|']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_and_comparisons_are_not() {
        let cases: &[(&str, Option<&str>)] = &[
            ("reads <IMPORTANT>all</IMPORTANT>", Some("<IMPORTANT>")),
            ("ends </system> here", Some("</system>")),
            ("<!-- unseen -->", Some("<!-- unseen -->")),
            ("1 < 2", None),
            ("see <img src=x>", Some("<img src=x>")),
            ("<|im_start|>system", Some("<|im_start|>")),
            ("< system >", Some("< system >")),
            ("＜IMPORTANT＞", Some("＜IMPORTANT＞")),
            ("[INST] do", Some("[INST]")),
            ("length a<b and quality c>d", None),
            ("by <ann@lab.org>", None),
            ("quality < 20 and depth > 3", None),
            ("keeps reads with Q<20", None),
            ("a -> b, c <- d, <3", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(tag(text), *expected, "{text}");
        }
    }
}
