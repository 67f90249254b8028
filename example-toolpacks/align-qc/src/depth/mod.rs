//! `bam_depth`: how deep the references are covered, along them and in all.

mod count;
mod dense;
mod out;
mod sweep;
mod totals;

use helix_toolpack::LinkedInput;
use helix_toolpack::prelude::*;

use crate::bam::flag;
pub use totals::{OfReference, Totals, Window};

/// What `samtools depth` and `samtools coverage` leave out.
const EXCLUDED: u16 = flag::UNMAPPED | flag::SECONDARY | flag::QC_FAIL | flag::DUPLICATE;

/// What a caller may set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Least mapping quality of a record.
    #[serde(default)]
    #[schemars(range(min = 0, max = 255))]
    min_mapq: u8,
    /// Least quality of a base; bases without qualities always count.
    #[serde(default)]
    #[schemars(range(min = 0, max = 93))]
    min_base_quality: u8,
    /// Records with any of these flags are left out. The default, 1796, is that of `samtools
    /// depth`: unmapped, secondary, failed, duplicate. Unmapped records never count.
    #[serde(default = "excluded")]
    #[schemars(range(min = 0, max = 4095))]
    exclude_flags: u16,
    /// A position counts as covered from this depth on.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    min_depth: u32,
    /// Bases in a window of the table and the plots; 0: chosen for about 2,000 windows in all.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    window_bases: u32,
}

fn excluded() -> u16 {
    EXCLUDED
}

fn one() -> u32 {
    1
}

/// The headline numbers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Depth {
    /// Records that were counted.
    reads: u64,
    /// Records that were left out by flag or mapping quality, or lie nowhere.
    reads_left_out: u64,
    /// Bases of all references.
    bases: u64,
    /// Positions of depth `min_depth` or more.
    covered_bases: u64,
    /// Percent of all positions.
    covered_percent: f64,
    /// Aligned bases (M, =, X) over all positions.
    mean_depth: f64,
    /// The deepest position.
    max_depth: u64,
    /// Aligned bases past the end of their reference, which count nowhere else.
    bases_past_end: u64,
    /// Bases in a window.
    window_bases: u32,
    /// References in the header.
    references: u64,
    /// References with a counted record.
    references_with_reads: u64,
    /// The references with the most aligned bases, at most 20.
    top: Vec<OfReference>,
}

tool_io! {
    /// What `bam_depth` reads and writes.
    pub struct DepthIo {
        inputs {
            alignments: [BAM] 1..=1 "Alignments; sorted by position unless the genome is small; no index is needed";
        }
        outputs {
            report: HTML "depth.html" 1..=1 check sniff "Coverage along the references as plots, for a person to read in a browser";
            metrics: JSON "depth.json" 1..=1 check whole "The totals, and the references with the most aligned bases";
            references: TSV "depth-references.tsv" 1..=1 check sniff "Every reference: length, reads, covered bases, mean and greatest depth";
            windows: TSV "depth-windows.tsv" 1..=1 check sniff "Every window: mean depth, covered bases, greatest depth";
        }
    }
}

/// Counts depth.
pub struct BamDepth;

impl Tool for BamDepth {
    type Params = Params;
    type Result = Depth;
    type Io = DepthIo;
    const NAME: &'static str = "bam_depth";
    const TITLE: &'static str = "Depth of coverage";
    const DESCRIPTION: &'static str = "Depth and breadth of coverage of a BAM file: mean and greatest depth and \
        covered bases of every reference and window, with plots, as `samtools depth` and `samtools coverage` \
        define them. A position's depth is the number of reads with a base aligned to it: deletions, skipped \
        introns, clips and insertions do not count; both mates of a pair do where they overlap. Unmapped, \
        secondary, failed and duplicate records are left out unless `exclude_flags` says otherwise. Sorted \
        files of any size; unsorted ones up to 32 million bases of reference. Damaged files are refused with \
        the record's number and place.";

    fn software() -> Vec<Software> {
        crate::software()
    }

    fn run(params: Params, io: DepthIo, log: &Log) -> Result<Report<Depth>, ToolError> {
        let input = io.alignments.one()?;
        let (header, totals) = count::count(input, &params, log)?;
        let depth = Depth::of(&header, &totals);
        out::write(&io, &header, &totals, &depth, input.linked())?;
        let words = tell(&depth, &params, input.linked());
        Ok(Report::new(depth, words))
    }
}

fn tell(depth: &Depth, params: &Params, input: &LinkedInput) -> String {
    let sample = input.sample.as_ref().map(|sample| format!("{sample}: ")).unwrap_or_default();
    let mut text = format!(
        "{sample}mean depth {}, {} of {} bases ({} %) at depth {} or more, greatest depth {}; {} reads counted, \
         {} left out; reads on {} of {} references",
        depth.mean_depth,
        depth.covered_bases,
        depth.bases,
        depth.covered_percent,
        params.min_depth,
        depth.max_depth,
        depth.reads,
        depth.reads_left_out,
        depth.references_with_reads,
        depth.references,
    );
    for (place, of) in depth.top.iter().take(5).enumerate() {
        text.push_str(if place == 0 { ": " } else { ", " });
        text.push_str(&format!("{} (mean {}, {} % covered)", of.name, of.mean_depth, of.covered_percent));
    }
    text.push('.');
    if depth.bases_past_end > 0 {
        text.push_str(&format!(
            " {} aligned bases lie past the end of their reference and are counted nowhere: was this file \
             aligned to other references than its header names?",
            depth.bases_past_end
        ));
    }
    text
}

#[cfg(test)]
mod tests;
