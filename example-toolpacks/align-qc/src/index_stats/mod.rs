//! `bam_index_stats`: how many records lie on which reference, counted in the BAM file itself.

use helix_toolpack::LinkedInput;
use helix_toolpack::prelude::*;
use helix_toolpack::serde_json;

use crate::bam::{Bytes, Chunks, Damage, Header, Records, flag};
use crate::report::{self, grouped};
use crate::shown;

/// References that the result and the report name; the table has all of them.
const SHOWN_MAX: usize = 25;

/// Records between two looks at how far the run is.
const RECORDS_A_STEP: u64 = 1 << 20;

/// Nothing can be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {}

/// The numbers of `samtools idxstats`.
#[derive(Serialize, JsonSchema)]
pub struct IndexStats {
    /// Records in all.
    records: u64,
    /// Mapped records that lie on a reference.
    mapped: u64,
    /// Unmapped records that lie on a reference, beside their mates.
    unmapped_placed: u64,
    /// Records that lie on no reference.
    unplaced: u64,
    /// References in the header.
    references: u64,
    /// References with a mapped record.
    references_with_mapped: u64,
    /// The references with the most mapped records, at most 25.
    top: Vec<OfReference>,
}

/// One reference's numbers.
#[derive(Clone, Serialize, JsonSchema)]
pub struct OfReference {
    /// Its name.
    name: String,
    /// Its length in bases.
    bases: u32,
    /// Mapped records.
    mapped: u64,
    /// Unmapped records that lie beside their mates.
    unmapped: u64,
}

tool_io! {
    /// What `bam_index_stats` reads and writes.
    pub struct IndexStatsIo {
        inputs {
            alignments: [BAM] 1..=1 "Alignments, in any order; no index is needed";
        }
        outputs {
            report: HTML "index-stats.html" 1..=1 check sniff "Records by reference, for a person to read in a browser";
            metrics: JSON "index-stats.json" 1..=1 check whole "The totals, and the references with the most records";
            table: TSV "index-stats.tsv" 1..=1 check sniff "Every reference: name, length, mapped, unmapped, as `samtools idxstats` prints it";
        }
    }
}

/// Counts records by reference.
pub struct BamIndexStats;

impl Tool for BamIndexStats {
    type Params = Params;
    type Result = IndexStats;
    type Io = IndexStatsIo;
    const NAME: &'static str = "bam_index_stats";
    const TITLE: &'static str = "Counts of alignments by reference";
    const DESCRIPTION: &'static str = "Counts the records of a BAM file by reference sequence, mapped and \
        unmapped, with the numbers of `samtools idxstats`. Counts the records themselves, so the file needs \
        neither an index nor an order. Use it to see which chromosomes or contigs have reads, and how many \
        reads are placed nowhere. Damaged files are refused with the record's number and place.";

    fn software() -> Vec<Software> {
        crate::software()
    }

    fn run(_params: Params, io: IndexStatsIo, log: &Log) -> Result<Report<IndexStats>, ToolError> {
        let input = io.alignments.one()?;
        let (header, counted) = count(Bytes::new(input.open()), log).map_err(|damage| damage.of(input))?;
        let stats = counted.summary(&header);

        let mut table = io.table.create()?;
        for ((name, bases), [mapped, unmapped]) in header.references.iter().zip(&counted.placed) {
            table.write_all(report::cell(name).as_bytes())?;
            writeln!(table, "\t{bases}\t{mapped}\t{unmapped}")?;
        }
        writeln!(table, "*\t0\t{}\t{}", counted.unplaced[0], counted.unplaced[1])?;
        table.finish()?;
        let mut metrics = io.metrics.create()?;
        serde_json::to_writer(&mut metrics, &stats)?;
        metrics.write_all(b"\n")?;
        metrics.finish()?;
        io.report.write_all(html(&stats, input.linked()).as_bytes())?;
        let words = tell(&stats);
        Ok(Report::new(stats, words))
    }
}

/// Mapped and unmapped records, by reference and of none.
struct Counted {
    placed: Vec<[u64; 2]>,
    unplaced: [u64; 2],
}

fn count<C: Chunks>(mut bytes: Bytes<C>, log: &Log) -> Result<(Header, Counted), Damage> {
    let header = Header::read(&mut bytes)?;
    let references = header.references.len();
    let mut counted = Counted { placed: vec![[0; 2]; references], unplaced: [0; 2] };
    let mut records = Records::new(bytes, i32::try_from(references).unwrap_or(i32::MAX));
    loop {
        for _ in 0..RECORDS_A_STEP {
            let Some(core) = records.next_core()? else { return Ok((header, counted)) };
            let placed = usize::try_from(core.reference).ok().and_then(|id| counted.placed.get_mut(id));
            let [mapped, unmapped] = placed.unwrap_or(&mut counted.unplaced);
            *if core.is(flag::UNMAPPED) { unmapped } else { mapped } += 1;
        }
        log.progress(records.number(), None, "records");
    }
}

impl Counted {
    fn summary(&self, header: &Header) -> IndexStats {
        let mapped = self.placed.iter().map(|counts| counts[0]).sum();
        let unmapped_placed = self.placed.iter().map(|counts| counts[1]).sum();
        let unplaced = self.unplaced.iter().sum();
        let mut order: Vec<usize> = (0..self.placed.len()).filter(|&id| self.mapped(id) > 0).collect();
        let references_with_mapped = order.len() as u64;
        // Stable: those with the same number stay in the header's order.
        order.sort_by_key(|&id| std::cmp::Reverse(self.mapped(id)));
        let of = |&id: &usize| OfReference {
            name: shown(header.references.name(id)),
            bases: header.references.bases(id),
            mapped: self.mapped(id),
            unmapped: self.placed.get(id).map_or(0, |counts| counts[1]),
        };
        IndexStats {
            records: mapped + unmapped_placed + unplaced,
            mapped,
            unmapped_placed,
            unplaced,
            references: self.placed.len() as u64,
            references_with_mapped,
            top: order.iter().take(SHOWN_MAX).map(of).collect(),
        }
    }

    fn mapped(&self, id: usize) -> u64 {
        self.placed.get(id).map_or(0, |counts| counts[0])
    }
}

fn html(stats: &IndexStats, input: &LinkedInput) -> String {
    let title = format!("{} records on {} references", grouped(stats.records), grouped(stats.references));
    let mut page = report::Page::new("Alignments by reference", input, &title);
    page.cards(&[
        ("Records", grouped(stats.records)),
        ("Mapped", grouped(stats.mapped)),
        ("Unmapped, placed", grouped(stats.unmapped_placed)),
        ("Placed nowhere", grouped(stats.unplaced)),
        ("References with records", grouped(stats.references_with_mapped)),
    ]);
    let bars: Vec<(String, f64, String)> = stats
        .top
        .iter()
        .map(|of| (of.name.clone(), of.mapped as f64, format!("{} mapped", grouped(of.mapped))))
        .collect();
    if !bars.is_empty() {
        page.figure("Mapped records by reference", "", &report::bars(&bars, "Mapped records by reference"));
    }
    let rows = stats.top.iter().map(|of| {
        let per_kb = of.mapped as f64 * 1000.0 / f64::from(of.bases.max(1));
        vec![
            of.name.clone(),
            grouped(of.bases.into()),
            grouped(of.mapped),
            grouped(of.unmapped),
            format!("{per_kb:.2}"),
        ]
    });
    let header = ["reference", "bases", "mapped", "unmapped", "mapped per 1000 bases"];
    page.table("References with the most records", &header, rows);
    page.finish(
        "Numbers follow the definitions of <code>samtools idxstats</code>, counted in the records themselves: \
         every record counts, also secondary and supplementary ones. The table names at most 25 references; \
         index-stats.tsv has all of them.",
    )
}

fn tell(stats: &IndexStats) -> String {
    let mut text = format!(
        "{} records: {} mapped, {} unmapped beside their mates, {} placed nowhere. {} of {} references have \
         mapped records",
        stats.records,
        stats.mapped,
        stats.unmapped_placed,
        stats.unplaced,
        stats.references_with_mapped,
        stats.references,
    );
    for (place, of) in stats.top.iter().take(5).enumerate() {
        text.push_str(if place == 0 { "; most on " } else { ", " });
        text.push_str(&format!("{} ({})", of.name, of.mapped));
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests;
