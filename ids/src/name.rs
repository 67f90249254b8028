//! Names with one door each: what is parsed once needs no check again.

use std::fmt;
use std::str::FromStr;

/// Serialises a type as its text and reads it through its one parser.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// Why a text is no name of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: expected {expected}")]
pub struct NameError {
    kind: &'static str,
    expected: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $expected:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { kind: $kind, expected: $expected })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        serde_as_text!($name);
    };
}

/// `first`, then up to `max - 1` bytes of `rest`.
fn shaped(text: &str, max: usize, first: fn(u8) -> bool, rest: fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    text.len() <= max && bytes.next().is_some_and(first) && bytes.all(rest)
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}

fn lower_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn file_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// What every step's environment holds already, whatever its tool declares.
const ENVIRONMENT_OF_HOST: [&str; 5] = ["HOME", "PATH", "LC_ALL", "TZ", "SOURCE_DATE_EPOCH"];

name!(
    /// A tool, as clients call it: `[a-z][a-z0-9_]{0,39}`.
    ToolName,
    "tool name",
    "[a-z][a-z0-9_]{0,39}",
    |text| shaped(text, 40, lower, |b| lower_digit(b) || b == b'_')
);
name!(
    /// A toolpack: `[a-z][a-z0-9-]{0,39}`.
    ToolpackName,
    "toolpack name",
    "[a-z][a-z0-9-]{0,39}",
    |text| shaped(text, 40, lower, |b| lower_digit(b) || b == b'-')
);
name!(
    /// The part that an artifact plays in a call: as a tool's name.
    Role,
    "role",
    "[a-z][a-z0-9_]{0,39}",
    |text| shaped(text, 40, lower, |b| lower_digit(b) || b == b'_')
);
name!(
    /// A tool's contract version: `v1`, `v2`, …
    ContractVersion,
    "contract version",
    "v[0-9]+",
    |text| text.len() > 1 && shaped(text, 10, |b| b == b'v', |b| b.is_ascii_digit())
);
name!(
    /// A project, as the policy names it: `[a-z][a-z0-9_-]{0,63}`.
    ProjectName,
    "project name",
    "[a-z][a-z0-9_-]{0,63}",
    |text| shaped(text, 64, lower, |b| lower_digit(b) || b == b'_' || b == b'-')
);
name!(
    /// An import or export root, as the policy names it: `[a-z][a-z0-9_-]{0,63}`.
    RootName,
    "root name",
    "[a-z][a-z0-9_-]{0,63}",
    |text| shaped(text, 64, lower, |b| lower_digit(b) || b == b'_' || b == b'-')
);
name!(
    /// A container image's short name: `[a-z][a-z0-9-]{0,39}`.
    ImageName,
    "image name",
    "[a-z][a-z0-9-]{0,39}",
    |text| shaped(text, 40, lower, |b| lower_digit(b) || b == b'-')
);
name!(
    /// A container step, as its toolpack names it: `[a-z][a-z0-9_-]{0,39}`.
    StepName,
    "step name",
    "[a-z][a-z0-9_-]{0,39}",
    |text| shaped(text, 40, lower, |b| lower_digit(b) || b == b'_' || b == b'-')
);
name!(
    /// An environment variable that a step may be given: `[A-Z_][A-Z0-9_]{0,63}`, and none that the
    /// host sets itself or that changes which code a program loads.
    EnvName,
    "environment name",
    "[A-Z_][A-Z0-9_]{0,63}, not HOME, PATH, LC_ALL, TZ, SOURCE_DATE_EPOCH or LD_…",
    |text| {
        shaped(text, 64, |b| upper(b) || b == b'_', |b| upper(b) || b.is_ascii_digit() || b == b'_')
            && !ENVIRONMENT_OF_HOST.contains(&text)
            && !text.starts_with("LD_")
    }
);
name!(
    /// A place inside a step's folder: 1 to 4 parts of `[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}`, joined by
    /// `/`. No part begins with a dot or a dash, so none climbs out, hides or reads as an option.
    RelName,
    "relative name",
    "1 to 4 parts of [A-Za-z0-9_][A-Za-z0-9._+-]{0,127} joined by `/`, at most 255 bytes",
    |text| {
        let part = |part: &str| {
            shaped(part, 128, |b| alphanumeric(b) || b == b'_', |b| file_byte(b) || b == b'+')
        };
        text.len() <= 255 && text.split('/').count() <= 4 && text.split('/').all(part)
    }
);
name!(
    /// Names a member of an output role, and orders it: `[A-Za-z0-9._-]{1,64}`, not `.` or `..`.
    OutputKey,
    "output key",
    "[A-Za-z0-9._-]{1,64}, not . or ..",
    |text| shaped(text, 64, file_byte, file_byte) && text != "." && text != ".."
);
name!(
    /// A sample, as the scientist names it: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    SampleName,
    "sample name",
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    |text| shaped(text, 64, alphanumeric, file_byte)
);
name!(
    /// An artifact's human name: 1 to 256 bytes without separators, control or bidi characters.
    Label,
    "label",
    "1 to 256 bytes without `/`, `\\`, control or bidirectional characters, not . or ..",
    |text| {
        (1..=256).contains(&text.len())
            && !text.contains(['/', '\\'])
            && text != "."
            && text != ".."
            && !text.chars().any(is_invisible)
    }
);

/// Characters that change how a text reads without being seen: controls, bidirectional marks,
/// zero-width characters and tags.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} is refused");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} is accepted");
        }
    }

    #[test]
    fn names_have_one_shape() {
        let long = "a".repeat(41);
        check::<ToolName>(&["a", "fastq_stats"], &["", "Tool", "1x", "a-b", "tооl", "a\n", &long]);
        check::<ToolpackName>(&["reads-qc"], &["reads_qc", "-a", &long]);
        check::<ContractVersion>(&["v1", "v12"], &["v", "1", "v1a", "V1"]);
        check::<OutputKey>(&["a.json", "R1_x-2"], &["", ".", "..", "a/b", "a b", "é"]);
        check::<StepName>(&["trim", "sort-2_x"], &["", "Trim", "2x", "-a", "a/b", "a b", &long]);
        check::<EnvName>(
            &["OMP_NUM_THREADS", "_X", "A1", "PATHS", "LD"],
            &["", "a", "1A", "A-B", "A=B", "HOME", "PATH", "TZ", "LC_ALL", "LD_PRELOAD", "LD_", "A\0"],
        );
        let deep = "a/b/c/d/e";
        let long_part = "a".repeat(129);
        let long_name = format!("{0}/{0}", "a".repeat(128));
        check::<RelName>(
            &["a", "reads_1.fastq.gz", "S37/qc/x.html", "a/b/c/d", "_x", "a+b-c..d"],
            &[
                "", ".", "..", "a/..", "../a", "/a", "a/", "a//b", ".a", "a/.b", "-a", "a/-b", "a b", "é",
                "a\n",
            ],
        );
        check::<RelName>(&[], &[deep, &long_part, &long_name]);
        check::<SampleName>(&["S1", "s.1_x-2"], &["", ".s", "a/b", "a b"]);
        let too_long = "x".repeat(257);
        check::<Label>(
            &["reads 1.fq.gz", "größe.tsv"],
            &["", "a/b", "a\\b", "..", "a\0", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{E0041}", &too_long],
        );
    }

    #[test]
    fn json_is_no_second_door() {
        assert!(serde_json::from_str::<ToolName>("\"fastq_stats\"").is_ok());
        assert!(serde_json::from_str::<ToolName>("\"../x\"").is_err());
    }
}
