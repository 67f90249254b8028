//! What was found wrong, by kind.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::bam::Record;
use crate::shown;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! kinds {
    ($($variant:ident $name:literal $severity:ident $what:literal;)*) => {
        /// The kinds of findings, in the order in which they are told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $(#[doc = $what] $variant,)*
        }

        impl Kind {
            /// The word for it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

kinds! {
    HeaderText "header_text" Error "The header's text is not lines of tagged fields.";
    HeaderReferences "header_references" Error "The text's @SQ lines and the list of references differ.";
    DuplicateReference "duplicate_reference" Error "Two references have one name.";
    DuplicateReadGroup "duplicate_read_group" Error "Two read groups have one id.";
    ReferenceOutOfRange "reference_out_of_range" Error "A reference that is not in the header.";
    PositionOutOfRange "position_out_of_range" Error "A position before or past the reference.";
    NoReference "no_reference" Error "Mapped, or at a position, but on no reference.";
    ReadName "read_name" Error "The name is empty, does not end where it should or holds odd bytes.";
    CigarOperation "cigar_operation" Error "An operation that does not exist.";
    CigarLength "cigar_length" Error "The CIGAR stands for another number of bases than there are.";
    CigarShape "cigar_shape" Error "A clip within the read.";
    LongCigar "long_cigar" Error "A clip of the whole read without the CG tag that it promises.";
    Quality "quality" Error "A quality above 93.";
    Tags "tags" Error "The tags cannot be followed to the record's end.";
    TagName "tag_name" Error "A tag's name is not a letter and a letter or digit.";
    TagValue "tag_value" Error "A tag's text holds odd bytes.";
    DuplicateTag "duplicate_tag" Error "A tag stands twice.";
    Order "order" Error "The header says sorted by position; the record lies before the last.";
    PastEnd "past_end" Warning "The alignment reaches past the end of its reference.";
    EmptyOperation "empty_operation" Warning "A CIGAR operation of no length.";
    NoCigar "no_cigar" Warning "Mapped, but without CIGAR.";
    Bin "bin" Warning "The bin is not that of the place.";
    UnknownFlags "unknown_flags" Warning "Flags without a meaning.";
    PairFlags "pair_flags" Warning "Flags of a pair on a read without a mate, or of neither or both mates.";
    UnknownReadGroup "unknown_read_group" Warning "A read group that the header does not name.";
    NoHeaderReferences "no_header_references" Warning "The text has no @SQ lines, but there are references.";
}

/// One place where something is wrong. The header is record 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub record: u64,
    /// Where the record begins, in decoded bytes.
    pub offset: u64,
    pub read: String,
    pub detail: String,
}

/// A kind of finding.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// What is wrong.
    pub kind: String,
    pub severity: Severity,
    /// How often.
    pub count: u64,
    /// The first record that it was found in; 0 is the header.
    pub first_record: u64,
    /// Where that begins, in decoded bytes.
    pub first_offset: u64,
    /// What is wrong there.
    pub first_detail: String,
}

#[derive(Default)]
struct Found {
    count: u64,
    examples: Vec<Example>,
}

/// All findings, counted; the first of each kind in full.
pub struct Findings {
    found: BTreeMap<Kind, Found>,
    examples_max: usize,
}

impl Findings {
    pub fn new(examples_max: u32) -> Self {
        Self { found: BTreeMap::new(), examples_max: examples_max as usize }
    }

    /// Adds a finding in the header.
    pub fn in_header(&mut self, kind: Kind, detail: impl FnOnce() -> String) {
        self.add(kind, || Example { record: 0, offset: 0, read: String::new(), detail: detail() });
    }

    /// Adds a finding in a record.
    pub fn in_record(&mut self, kind: Kind, record: &Record<'_>, detail: impl FnOnce() -> String) {
        self.add(kind, || Example {
            record: record.number,
            offset: record.offset,
            read: shown(record.name().strip_suffix(&[0]).unwrap_or(record.name())),
            detail: detail(),
        });
    }

    fn add(&mut self, kind: Kind, example: impl FnOnce() -> Example) {
        let found = self.found.entry(kind).or_default();
        found.count += 1;
        if found.examples.len() < self.examples_max {
            found.examples.push(example());
        }
    }

    /// Errors and warnings.
    pub fn counts(&self) -> (u64, u64) {
        let of = |severity| {
            let kinds = self.found.iter().filter(|(kind, _)| kind.severity() == severity);
            kinds.map(|(_, found)| found.count).sum()
        };
        (of(Severity::Error), of(Severity::Warning))
    }

    /// The kinds that occur, with the first of each.
    pub fn summary(&self) -> Vec<Finding> {
        let finding = |(kind, found): (&Kind, &Found)| {
            found.examples.first().map(|first| Finding {
                kind: kind.name().to_owned(),
                severity: kind.severity(),
                count: found.count,
                first_record: first.record,
                first_offset: first.offset,
                first_detail: first.detail.clone(),
            })
        };
        self.found.iter().filter_map(finding).collect()
    }

    /// Every example that was kept.
    pub fn examples(&self) -> impl Iterator<Item = (Kind, &Example)> {
        self.found.iter().flat_map(|(kind, found)| found.examples.iter().map(|example| (*kind, example)))
    }
}
