//! `bam_validate`: does a BAM file keep to its specification, record by record?

mod findings;
mod header;
mod record;

use helix_toolpack::LinkedInput;
use helix_toolpack::prelude::*;
use helix_toolpack::serde_json;

use crate::bam::{Bytes, Chunks, Damage, Header, Records};
use crate::report::{self, grouped};
pub use findings::{Finding, Findings};
use record::Checker;

/// Records between two looks at how far the run is.
const RECORDS_A_STEP: u64 = 1 << 19;

/// What a caller may set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// How many findings of each kind the table holds.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    examples: u32,
}

fn ten() -> u32 {
    10
}

/// The verdict, and what it rests on.
#[derive(Serialize, JsonSchema)]
pub struct Validated {
    /// Whether there is no error. Warnings do not count.
    valid: bool,
    /// Records that were read: all of them.
    records: u64,
    /// References in the header.
    references: u64,
    /// The order that the header speaks of, as it stands there; empty if it says nothing.
    declared_order: String,
    /// Whether the records are in order of position.
    coordinate_sorted: bool,
    /// Findings that break the specification.
    errors: u64,
    /// Findings that are unusual or will trouble some programs.
    warnings: u64,
    /// Each kind of finding: how often, and the first.
    findings: Vec<Finding>,
}

tool_io! {
    /// What `bam_validate` reads and writes.
    pub struct ValidateIo {
        inputs {
            alignments: [BAM] 1..=1 "Alignments to check, in any order; no index is needed";
        }
        outputs {
            report: HTML "validation.html" 1..=1 check sniff "The verdict and the findings, for a person to read in a browser";
            metrics: JSON "validation.json" 1..=1 check whole "The verdict and the kinds of findings";
            findings: TSV "findings.tsv" 1..=1 check sniff "The first findings of each kind: record, place, what is wrong";
        }
    }
}

/// Checks a file.
pub struct BamValidate;

impl Tool for BamValidate {
    type Params = Params;
    type Result = Validated;
    type Io = ValidateIo;
    const NAME: &'static str = "bam_validate";
    const TITLE: &'static str = "Validate alignments";
    const DESCRIPTION: &'static str = "Checks a whole BAM file against the SAM/BAM specification: header text \
        against the binary list of references, read groups, sort order, and of every record its place, name, \
        flags, CIGAR against bases and reference, qualities, bin and tags. Answers with a verdict and with \
        every kind of finding, how often it occurs, and the record and place of the first ones. A file that \
        cannot be followed to its end (cut off, damaged blocks, lengths that cannot be, no end-of-file block) \
        is refused with its place instead.";

    fn software() -> Vec<Software> {
        crate::software()
    }

    fn run(params: Params, io: ValidateIo, log: &Log) -> Result<Report<Validated>, ToolError> {
        let input = io.alignments.one()?;
        let mut findings = Findings::new(params.examples);
        let verdict =
            check(Bytes::new(input.open()), &mut findings, log).map_err(|damage| damage.of(input))?;

        let mut table = io.findings.create()?;
        writeln!(table, "severity\tkind\trecord\toffset\tread\tdetail")?;
        for (kind, example) in findings.examples() {
            let (severity, name) = (kind.severity(), kind.name());
            let findings::Example { record, offset, read, detail } = example;
            writeln!(table, "{severity}\t{name}\t{record}\t{offset}\t{read}\t{detail}")?;
        }
        table.finish()?;
        let mut metrics = io.metrics.create()?;
        serde_json::to_writer(&mut metrics, &verdict)?;
        metrics.write_all(b"\n")?;
        metrics.finish()?;
        io.report.write_all(html(&verdict, input.linked()).as_bytes())?;
        let words = tell(&verdict);
        Ok(Report::new(verdict, words))
    }
}

fn check<C: Chunks>(mut bytes: Bytes<C>, findings: &mut Findings, log: &Log) -> Result<Validated, Damage> {
    let header = Header::read(&mut bytes)?;
    let facts = header::check(&header, findings);
    let declared_order = facts.order.clone();
    let references = i32::try_from(header.references.len()).unwrap_or(i32::MAX);
    let mut records = Records::new(bytes, references).lenient();
    let mut checker = Checker::new(&header, facts);
    while let Some(record) = records.next()? {
        checker.check(&record, findings);
        if record.number.is_multiple_of(RECORDS_A_STEP) {
            log.progress(record.number, None, "records");
        }
    }
    let (errors, warnings) = findings.counts();
    Ok(Validated {
        valid: errors == 0,
        records: records.number(),
        references: header.references.len() as u64,
        declared_order,
        coordinate_sorted: checker.sorted(),
        errors,
        warnings,
        findings: findings.summary(),
    })
}

fn html(verdict: &Validated, input: &LinkedInput) -> String {
    let title = if verdict.valid { "valid" } else { "not valid" };
    let mut page = report::Page::new("Validation of alignments", input, title);
    let order = if verdict.coordinate_sorted { "by position" } else { "other" };
    page.cards(&[
        ("Verdict", title.to_owned()),
        ("Records", grouped(verdict.records)),
        ("Errors", grouped(verdict.errors)),
        ("Warnings", grouped(verdict.warnings)),
        ("Order of the records", order.to_owned()),
    ]);
    let rows = verdict.findings.iter().map(|finding| {
        vec![
            finding.kind.clone(),
            finding.severity.to_string(),
            grouped(finding.count),
            grouped(finding.first_record),
            finding.first_detail.clone(),
        ]
    });
    page.table("Findings", &["kind", "severity", "count", "first record", "first detail"], rows);
    page.finish(
        "An error breaks the SAM/BAM specification; a warning is unusual or will trouble some programs. Record 0 \
         is the header. findings.tsv has the first findings of each kind; an offset there is the place of the \
         record in the decoded bytes.",
    )
}

fn tell(verdict: &Validated) -> String {
    let mut text = format!(
        "{}: {} records on {} references, {} errors, {} warnings; records {} order of position.",
        if verdict.valid { "Valid" } else { "Not valid" },
        verdict.records,
        verdict.references,
        verdict.errors,
        verdict.warnings,
        if verdict.coordinate_sorted { "in" } else { "not in" },
    );
    for finding in verdict.findings.iter().take(6) {
        text.push_str(&format!(
            "\n{} {} ({}×): record {}: {}",
            finding.severity, finding.kind, finding.count, finding.first_record, finding.first_detail
        ));
    }
    text
}

#[cfg(test)]
mod tests;
