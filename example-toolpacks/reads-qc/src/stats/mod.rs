//! `fastq_stats`: what is in these reads, as numbers, a table and pictures.

mod bins;
mod lengths;
pub mod quality;
mod summary;
mod tally;

use std::fmt::Write as _;

use helix_toolpack::prelude::*;
use helix_toolpack::serde_json;

use crate::fastq::Records;
use crate::report;
use quality::Encoding;
pub use summary::{Position, Summary, all_scores};
pub use tally::Tally;

/// What a caller may set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// How the quality bytes are to be read. The answer says which encoding they speak for.
    #[serde(default)]
    quality_encoding: Encoding,
}

/// The headline numbers.
#[derive(Serialize, JsonSchema)]
pub struct Stats {
    /// One entry for each input, in order.
    files: Vec<FileStats>,
    /// All inputs together.
    total: Summary,
}

/// One input's numbers.
#[derive(Serialize, JsonSchema)]
pub struct FileStats {
    /// Position of the input, from 0.
    index: u32,
    /// The sample's name, if the caller gave one.
    sample: Option<String>,
    #[serde(flatten)]
    summary: Summary,
}

tool_io! {
    /// What `fastq_stats` reads and writes.
    pub struct StatsIo {
        inputs {
            reads: [FASTQ, FASTQ_GZ] 1..=2 "Sequencing reads: one file, or both files of a pair";
        }
        outputs {
            report: HTML "report.html" 1..=1 check sniff "Report with plots, for a person to read in a browser";
            metrics: JSON "metrics.json" 1..=1 check whole "Every number: per file, per position, distributions";
            positions: TSV "positions.tsv" 1..=1 check sniff "Quality and base composition by position in the read";
            overview: PNG "overview.png" 1..=1 check whole "Quality by position, lengths, read quality and GC at a glance";
        }
    }
}

/// One input and what was counted in it.
pub struct Counted {
    pub index: u32,
    pub sample: Option<String>,
    pub digest: String,
    pub tally: Tally,
    pub summary: Summary,
}

impl Counted {
    /// What a person calls this input.
    pub fn name(&self) -> String {
        let place = format!("reads {}", self.index + 1);
        self.sample.as_ref().map_or(place.clone(), |sample| format!("{sample} · {place}"))
    }
}

/// Counts reads.
pub struct FastqStats;

impl Tool for FastqStats {
    type Params = Params;
    type Result = Stats;
    type Io = StatsIo;
    const NAME: &'static str = "fastq_stats";
    const TITLE: &'static str = "Statistics of sequencing reads";
    const DESCRIPTION: &'static str = "Quality control of FASTQ reads (plain or gzip; one file or both files \
        of a pair): number of reads and bases, lengths, N50, GC, Q20/Q30, quality encoding, quality and base \
        composition by position. Answers with the headline numbers (as `seqkit stats -a` defines them) and \
        makes an HTML report with plots, an overview picture, all metrics as JSON and a table by position. \
        Use it first on any reads. Damaged files are refused with the record's number.";

    fn software() -> Vec<Software> {
        crate::software()
    }

    fn run(params: Params, io: StatsIo, log: &Log) -> Result<Report<Stats>, ToolError> {
        let mut files = Vec::new();
        for input in io.reads.iter() {
            files.push(count(input, params.quality_encoding, log)?);
        }
        let mut all = Tally::new(params.quality_encoding);
        files.iter().for_each(|file| all.merge(&file.tally));
        let total = Summary::of(&all);

        write_metrics(&io, &files, &total)?;
        write_positions(&io, &files)?;
        io.report.write_all(report::html(&files, &total).as_bytes())?;
        io.overview.write_all(&report::png(&files).map_err(|error| ToolError::failed(error.to_string()))?)?;

        let summary = tell(&files, &total, params.quality_encoding);
        let of = |file: Counted| FileStats { index: file.index, sample: file.sample, summary: file.summary };
        Ok(Report::new(Stats { files: files.into_iter().map(of).collect(), total }, summary))
    }
}

fn count(input: &Input, encoding: Encoding, log: &Log) -> Result<Counted, ToolError> {
    let linked = input.linked();
    let mut tally = Tally::new(encoding);
    let mut records = Records::new(input.open());
    let mut steps = 0;
    tally
        .read(&mut records, |bytes, reads| {
            // Every 32 MiB: often enough to watch, rare enough to cost nothing.
            if bytes >> 25 > steps {
                steps = bytes >> 25;
                log.progress(bytes, None, &format!("file {}: {reads} reads", linked.index + 1));
            }
        })
        .map_err(|damage| input.invalid(damage.to_string()))?;
    let summary = Summary::of(&tally);
    if summary.doubts(encoding) {
        log.warning(&format!(
            "file {}: the qualities look like {}",
            linked.index + 1,
            summary.encoding_guess
        ));
    }
    Ok(Counted {
        index: linked.index,
        sample: linked.sample.clone(),
        digest: linked.digest.clone(),
        tally,
        summary,
    })
}

/// Every number, as `metrics.json` holds it.
#[derive(Serialize)]
struct Metrics<'a> {
    format: &'static str,
    files: Vec<FileMetrics<'a>>,
    total: &'a Summary,
}

#[derive(Serialize)]
struct FileMetrics<'a> {
    index: u32,
    sample: &'a Option<String>,
    digest: &'a str,
    summary: &'a Summary,
    /// (length, reads).
    lengths: Vec<(u64, u64)>,
    /// Bases by quality, from 0.
    qualities: Vec<u64>,
    /// Reads by the quality of their mean error, from 0.
    read_qualities: &'a [u64],
    /// Reads by percentage of G and C, from 0.
    read_gc_percents: &'a [u64],
    positions: Vec<Position>,
}

impl<'a> FileMetrics<'a> {
    fn of(file: &'a Counted) -> Self {
        let Counted { index, sample, digest, tally, summary } = file;
        Self {
            index: *index,
            sample,
            digest,
            summary,
            lengths: tally.lengths.counts().collect(),
            qualities: all_scores(tally),
            read_qualities: &tally.read_scores,
            read_gc_percents: &tally.read_gc,
            positions: Position::all(tally),
        }
    }
}

fn write_metrics(io: &StatsIo, files: &[Counted], total: &Summary) -> Result<(), ToolError> {
    let metrics = Metrics {
        format: "reads-qc/fastq_stats/1",
        files: files.iter().map(FileMetrics::of).collect(),
        total,
    };
    let mut output = io.metrics.create()?;
    serde_json::to_writer(&mut output, &metrics)?;
    output.write_all(b"\n")?;
    Ok(output.finish()?)
}

fn write_positions(io: &StatsIo, files: &[Counted]) -> Result<(), ToolError> {
    let mut output = io.positions.create()?;
    writeln!(
        output,
        "file\tfrom\tto\tbases\tquality_mean\tquality_q1\tquality_median\tquality_q3\ta_percent\tc_percent\tg_percent\tt_percent\tn_percent"
    )?;
    for file in files {
        for row in Position::all(&file.tally) {
            writeln!(
                output,
                "{}\t{}\t{}\t{}\t{:.3}\t{}\t{}\t{}\t{:.3}\t{:.3}\t{:.3}\t{:.3}\t{:.3}",
                file.index + 1,
                row.from,
                row.to,
                row.bases,
                row.quality_mean,
                row.quality_q1,
                row.quality_median,
                row.quality_q3,
                row.a_percent,
                row.c_percent,
                row.g_percent,
                row.t_percent,
                row.n_percent,
            )?;
        }
    }
    Ok(output.finish()?)
}

/// The words for a model.
fn tell(files: &[Counted], total: &Summary, encoding: Encoding) -> String {
    let mut text = String::new();
    let mut line = |name: &str, s: &Summary| {
        // Writing to a String cannot fail.
        writeln!(
            text,
            "{name}: {} reads, {} bases; length {}-{} (mean {:.1}, N50 {}); GC {:.2} %, Q20 {:.2} %, Q30 {:.2} %, mean quality {:.1}; encoding: {}.",
            s.reads, s.bases, s.length_min, s.length_max, s.length_mean, s.n50, s.gc_percent,
            s.q20_percent, s.q30_percent, s.quality_mean, s.encoding_guess,
        )
        .ok();
    };
    files.iter().for_each(|file| line(&file.name(), &file.summary));
    if let [first, second] = files {
        line("Together", total);
        if first.summary.reads != second.summary.reads {
            text.push_str("The two files have different numbers of reads: they are no intact pair.\n");
        }
    }
    if files.iter().any(|file| file.summary.doubts(encoding)) {
        text.push_str("The qualities do not look as they were read; consider `quality_encoding`.\n");
    }
    text
}

#[cfg(test)]
mod tests;
