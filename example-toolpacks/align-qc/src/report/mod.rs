//! Pages for people: one file, no script, nothing fetched from anywhere.
//!
//! The same counts give the same bytes: no time, no random ids, numbers with fixed digits.

mod svg;

use std::fmt::Write as _;

use helix_toolpack::LinkedInput;

pub use svg::{Point, bars, coverage};

const STYLE: &str = include_str!("style.css");

/// A page that is being written.
pub struct Page(String);

impl Page {
    /// Begins a page about one input.
    pub fn new(title: &str, input: &LinkedInput, subtitle: &str) -> Self {
        let sample =
            input.sample.as_ref().map(|sample| format!("{} · ", escaped(sample))).unwrap_or_default();
        Self(format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>{title}</title><style>{STYLE}</style></head><body><main>\n\
             <header><h1>{title}</h1><p>{sample}{}</p><p class=\"digest\">{}</p></header>\n",
            escaped(subtitle),
            escaped(&input.digest),
        ))
    }

    /// The headline numbers.
    pub fn cards(&mut self, cards: &[(&str, String)]) {
        self.0.push_str("<section class=\"cards\">");
        for (name, value) in cards {
            self.add(&format_args!(
                "<div class=\"card\"><span>{}</span><strong>{}</strong></div>",
                escaped(name),
                escaped(value)
            ));
        }
        self.0.push_str("</section>\n");
    }

    /// A table; the first column names the rows.
    pub fn table(&mut self, title: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        self.add(&format_args!(
            "<section><h2>{}</h2><div class=\"scroll\"><table><thead><tr>",
            escaped(title)
        ));
        for name in header {
            self.add(&format_args!("<th>{}</th>", escaped(name)));
        }
        self.0.push_str("</tr></thead><tbody>");
        for row in rows {
            self.0.push_str("<tr>");
            for (column, value) in row.iter().enumerate() {
                let tag = if column == 0 { "th" } else { "td" };
                self.add(&format_args!("<{tag}>{}</{tag}>", escaped(value)));
            }
            self.0.push_str("</tr>");
        }
        self.0.push_str("</tbody></table></div></section>\n");
    }

    /// A picture, with a key of `(class, name)`s that is markup already.
    pub fn figure(&mut self, title: &str, key: &str, svg: &str) {
        self.add(&format_args!(
            "<figure><figcaption><h3>{}</h3>{key}</figcaption>{svg}</figure>\n",
            escaped(title)
        ));
    }

    /// A paragraph.
    pub fn note(&mut self, text: &str) {
        self.add(&format_args!("<p class=\"note\">{}</p>\n", escaped(text)));
    }

    /// The page's bytes. `methods` is markup.
    pub fn finish(mut self, methods: &str) -> String {
        self.add(&format_args!(
            "<footer><h2>How to read this</h2><p>{methods}</p></footer></main></body></html>\n"
        ));
        self.0
    }

    fn add(&mut self, text: &std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.0.write_fmt(*text).ok();
    }
}

/// A plot's key.
pub fn key(entries: &[(&str, &str)]) -> String {
    let entry = |(class, name): &(&str, &str)| format!("<span><i class=\"{class}\"></i>{name}</span>");
    format!("<p class=\"key\">{}</p>", entries.iter().map(entry).collect::<String>())
}

/// Text that came from outside, as text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A name in a table: whole, but no control character could end its cell or its line.
pub fn cell(name: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(name).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// A count with a thin space between thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number in four characters or so.
fn short(value: f64) -> String {
    for (unit, suffix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit {
            let scaled = format!("{:.1}", value / unit);
            return format!("{}{suffix}", scaled.strip_suffix(".0").unwrap_or(&scaled));
        }
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// About `count` round values from 0 to `most`.
fn ticks(most: f64, count: f64) -> Vec<f64> {
    let rough = (most / count).max(1e-3);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
    (0..50).map(|index| f64::from(index) * step).take_while(|at| *at <= most * 1.000_001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_made_for_reading() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            [short(1500.0), short(2e6), short(0.0), short(0.25)],
            ["1.5k", "2M", "0", "0.25"].map(str::to_owned)
        );
        assert_eq!(ticks(41.0, 5.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(0.0, 5.0).len(), 1);
        assert_eq!(ticks(1.0, 4.0), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn what_a_file_says_stays_text() {
        assert_eq!(escaped("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
        assert_eq!(cell(b"a\tb\nc"), "a\\tb\\nc");
    }
}
