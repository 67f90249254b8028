//! `bam_flagstat`: how many records there are of which kind.

mod counts;

use helix_toolpack::LinkedInput;
use helix_toolpack::prelude::*;
use helix_toolpack::serde_json;

use crate::bam::{Bytes, Chunks, Damage, Header, Records};
use crate::report::{self, grouped};
pub use counts::{Counts, Tally};

/// Records between two looks at how far the run is.
const RECORDS_A_STEP: u64 = 1 << 20;

/// Nothing can be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {}

/// The numbers of `samtools flagstat`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Flagstat {
    /// Records that passed quality control: flag 0x200 is not set.
    pub passed: Counts,
    /// Records that failed it.
    pub failed: Counts,
}

tool_io! {
    /// What `bam_flagstat` reads and writes.
    pub struct FlagstatIo {
        inputs {
            alignments: [BAM] 1..=1 "Alignments, in any order; no index is needed";
        }
        outputs {
            report: HTML "flagstat.html" 1..=1 check sniff "The counts as a table, for a person to read in a browser";
            metrics: JSON "flagstat.json" 1..=1 check whole "The counts, by quality control passed and failed";
            table: TSV "flagstat.tsv" 1..=1 check sniff "The counts, one line each";
        }
    }
}

/// Counts records by flag.
pub struct BamFlagstat;

impl Tool for BamFlagstat {
    type Params = Params;
    type Result = Flagstat;
    type Io = FlagstatIo;
    const NAME: &'static str = "bam_flagstat";
    const TITLE: &'static str = "Counts of alignments by flag";
    const DESCRIPTION: &'static str = "Counts the records of a BAM file by their flags, as `samtools flagstat` \
        does: total, primary, secondary, supplementary, duplicates, mapped, paired, properly paired, singletons, \
        mates on another reference; each for records that passed and failed quality control. Use it first on \
        any alignments: is most of it mapped, are pairs intact? Damaged files are refused with the record's \
        number and place.";

    fn software() -> Vec<Software> {
        crate::software()
    }

    fn run(_params: Params, io: FlagstatIo, log: &Log) -> Result<Report<Flagstat>, ToolError> {
        let input = io.alignments.one()?;
        let stats = count(Bytes::new(input.open()), log).map_err(|damage| damage.of(input))?;

        let mut metrics = io.metrics.create()?;
        serde_json::to_writer(&mut metrics, &stats)?;
        metrics.write_all(b"\n")?;
        metrics.finish()?;
        let mut table = io.table.create()?;
        writeln!(table, "count\tpassed\tfailed")?;
        for (name, value) in Counts::ROWS {
            writeln!(table, "{name}\t{}\t{}", value(&stats.passed), value(&stats.failed))?;
        }
        table.finish()?;
        io.report.write_all(html(&stats, input.linked()).as_bytes())?;
        let words = tell(&stats);
        Ok(Report::new(stats, words))
    }
}

/// One pass over the records, of which only the first 36 bytes are looked at.
fn count<C: Chunks>(mut bytes: Bytes<C>, log: &Log) -> Result<Flagstat, Damage> {
    let references = Header::pass(&mut bytes)?;
    let mut records = Records::new(bytes, references);
    let mut tally = Tally::new();
    loop {
        for _ in 0..RECORDS_A_STEP {
            let Some(core) = records.next_core()? else { return Ok(tally.finish()) };
            tally.add(&core);
        }
        log.progress(records.number(), None, "records");
    }
}

fn html(stats: &Flagstat, input: &LinkedInput) -> String {
    let total = stats.passed.total + stats.failed.total;
    let mut page = report::Page::new("Alignment counts", input, &format!("{} records", grouped(total)));
    let passed = &stats.passed;
    page.cards(&[
        ("Records", grouped(total)),
        ("Primary", grouped(passed.primary)),
        ("Primary mapped", format!("{:.2} %", passed.primary_mapped_percent)),
        ("Properly paired", format!("{:.2} %", passed.properly_paired_percent)),
        ("Singletons", format!("{:.2} %", passed.singletons_percent)),
        ("Duplicates", grouped(passed.duplicates)),
    ]);
    let rows = Counts::ROWS.iter().map(|(name, value)| {
        vec![name.replace('_', " "), grouped(value(&stats.passed)), grouped(value(&stats.failed))]
    });
    page.table("Counts", &["", "quality control passed", "failed"], rows);
    page.finish(
        "Numbers follow the definitions of <code>samtools flagstat</code>. A read has one primary record and may \
         have secondary and supplementary ones; pairs are counted by primary records only. Percentages are \
         those of records that passed quality control.",
    )
}

fn tell(stats: &Flagstat) -> String {
    let c = &stats.passed;
    let mut text = format!(
        "{} records ({} failed quality control). Of those that passed: {} primary, {} secondary, {} supplementary; \
         {} mapped ({:.2} %), primary mapped {:.2} %; {} duplicates; {} paired in sequencing, properly paired \
         {} ({:.2} %), singletons {} ({:.2} %), mate on another reference {}.",
        c.total + stats.failed.total,
        stats.failed.total,
        c.primary,
        c.secondary,
        c.supplementary,
        c.mapped,
        c.mapped_percent,
        c.primary_mapped_percent,
        c.duplicates,
        c.paired,
        c.properly_paired,
        c.properly_paired_percent,
        c.singletons,
        c.singletons_percent,
        c.mate_on_other_reference,
    );
    if c.total + stats.failed.total == 0 {
        text.push_str(" The file has a header and no record.");
    }
    text
}

#[cfg(test)]
mod tests;
