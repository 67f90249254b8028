//! Text that a toolpack's author wrote for others to read.

use helix_ids::name::is_invisible;

pub use helix_ids::text::escaped_line as shown;

/// The first character that a reader would not see. A line break is seen.
pub(super) fn hidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_invisible(*c) && *c != '\n')
}
