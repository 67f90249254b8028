//! Text that a toolpack's author wrote for others to read.

use helix_ids::name::is_invisible;

pub use helix_ids::text::escaped_line as shown;

/// The first character that a reader would not see. A line break is seen.
pub(super) fn hidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_invisible(*c) && *c != '\n')
}

/// The first tag, such as `<IMPORTANT>`. A description is shown to people as text and given to
/// models, which take tags for the words of whoever set them up. What it says in plain words is the
/// operator's to judge, who allows the component.
pub(super) fn tag(text: &str) -> Option<&str> {
    text.match_indices('<').find_map(|(at, _)| {
        let rest = text.get(at..)?;
        let inside = rest.strip_prefix("</").or_else(|| rest.strip_prefix("<!")).or(rest.strip_prefix('<'))?;
        let is_tag = inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-');
        let (tag, _) = rest.split_once('>').filter(|_| is_tag)?;
        let end = tag.len() + 1;
        rest.get(..end)
    })
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
            ("1 < 2 <img src=x>", Some("<img src=x>")),
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
