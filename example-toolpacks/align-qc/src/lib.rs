//! Quality control of alignments, in one pass over the records of a BAM file.
//!
//! The records are read by code of our own: what these tools want of most records is five numbers
//! at fixed offsets, and a general BAM library makes a value of every record to give them.

mod bam;
mod depth;
mod flagstat;
mod index_stats;
mod report;
mod validate;

use helix_toolpack::prelude::*;

pub use depth::BamDepth;
pub use flagstat::BamFlagstat;
pub use index_stats::BamIndexStats;
pub use validate::BamValidate;

export_toolpack! {
    name: "align-qc",
    version: env!("CARGO_PKG_VERSION"),
    description: "Quality control of alignments: counts by flag and by reference, depth of coverage with plots, validation.",
    licence: "Apache-2.0",
    homepage: "",
    tools: [BamFlagstat, BamIndexStats, BamDepth, BamValidate],
}

/// What the tools stand on.
fn software() -> Vec<Software> {
    vec![
        Software::new("align-qc", env!("CARGO_PKG_VERSION")).licence("Apache-2.0"),
        Software::new("SAMtools", "1.16")
            .doi("10.1093/gigascience/giab008")
            .url("https://www.htslib.org/")
            .licence("MIT"),
    ]
}

/// 100 × part / whole; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    ratio(part as f64 * 100.0, whole)
}

/// A share with six digits that mean something, as `samtools coverage` prints it: of a long
/// reference that is hardly covered, two decimals would say nothing. 0 of nothing.
fn ratio(part: f64, whole: u64) -> f64 {
    if part == 0.0 || whole == 0 {
        return 0.0;
    }
    let value = part / whole as f64;
    let digits = 5.0 - value.abs().log10().floor();
    // Powers of ten with a whole exponent that are not negative are exact here; others are not.
    if digits >= 0.0 {
        let unit = 10_f64.powf(digits);
        (value * unit).round() / unit
    } else {
        let unit = 10_f64.powf(-digits);
        (value / unit).round() * unit
    }
}

/// Text of a file, fit to be shown: control characters escaped, at most 120 characters.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut characters = text.chars();
    let mut out: String = characters.by_ref().take(120).flat_map(visible).collect();
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// The character, escaped where it could not be seen or would turn the text around.
fn visible(character: char) -> impl Iterator<Item = char> {
    let plain = !character.is_control() && character.escape_debug().len() == 1 || "\"'\\".contains(character);
    let escaped = (!plain).then(|| character.escape_default());
    plain.then_some(character).into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_keeps_within_its_budgets() {
        let manifest = Pack::manifest();
        for tool in &manifest.tools {
            assert!(tool.description.len() <= 1024, "{}: {}", tool.name, tool.description.len());
            assert!(tool.params_schema.len() <= 2048, "{}: {}", tool.name, tool.params_schema);
        }
        let names: Vec<&str> = manifest.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["bam_flagstat", "bam_index_stats", "bam_depth", "bam_validate"]);
    }

    #[test]
    fn shares_have_six_digits() {
        assert_eq!(percent(1, 3), 33.3333);
        assert_eq!(percent(83_642, 249_250_621), 0.0335574);
        assert_eq!(ratio(2_000_001.0, 1), 2_000_000.0);
        assert_eq!([percent(0, 5), percent(5, 0), percent(7, 7)], [0.0, 0.0, 100.0]);
    }

    #[test]
    fn names_from_a_file_cannot_hide_anything() {
        assert_eq!(shown(b"chr1 'a' \"b\" \\"), "chr1 'a' \"b\" \\");
        assert_eq!(shown(b"a\n\x1b[31m\0"), "a\\n\\u{1b}[31m\\u{0}");
        assert_eq!(shown("a\u{202e}b\u{200b}".as_bytes()), "a\\u{202e}b\\u{200b}");
        assert_eq!(shown(&[b'x'; 200]).chars().count(), 121);
    }
}
