//! `fastq_filter`: keeps the reads that are good enough, pairs together.

mod keep;
mod out;
mod random;

use std::io;

use helix_toolpack::prelude::*;
use helix_toolpack::serde_json;

use crate::fastq::{Damage, Records, Visitor};
use crate::stats::quality::{Encoding, Errors};
use keep::{Keep, Reason, Sampler};
use out::GzOutput;

/// Most bases of a read that is filtered: it is gathered whole before it is kept or dropped. The
/// longest reads known have some millions.
const BASES_MAX: usize = 16 * 1024 * 1024;

/// What a caller may set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Least mean quality: the Phred score of the mean error probability.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 93.0))]
    min_mean_quality: f64,
    /// Least length of a read.
    #[serde(default)]
    min_length: u64,
    /// Greatest length of a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    max_length: Option<u64>,
    /// Most N bases in a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_n: Option<u64>,
    /// Keeps about this fraction of what passes; not with `sample_number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    sample_fraction: Option<f64>,
    /// Keeps exactly this many of what passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    sample_number: Option<u64>,
    /// The same seed draws the same sample.
    #[serde(default)]
    seed: u64,
    /// phred33: Sanger, Illumina 1.8 and later; phred64: Illumina 1.3 to 1.7.
    #[serde(default)]
    quality_encoding: Encoding,
}

/// How many were kept, and why the others were not.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Filtered {
    /// Whether two files were filtered as pairs. Counts are of pairs then.
    paired: bool,
    /// Reads (or pairs) that were read.
    reads_in: u64,
    /// Reads (or pairs) that were kept.
    reads_out: u64,
    /// Bases that were read.
    bases_in: u64,
    /// Bases that were kept.
    bases_out: u64,
    /// Dropped: shorter than `min_length`.
    too_short: u64,
    /// Dropped: longer than `max_length`.
    too_long: u64,
    /// Dropped: more N than `max_n`.
    too_many_n: u64,
    /// Dropped: below `min_mean_quality`.
    low_quality: u64,
    /// Passed, but not drawn into the sample.
    not_sampled: u64,
}

tool_io! {
    /// What `fastq_filter` reads and writes.
    pub struct FilterIo {
        inputs {
            reads: [FASTQ, FASTQ_GZ] 1..=2 "Reads to filter: one file, or both files of a pair in the same order";
        }
        outputs {
            filtered: FASTQ_GZ "filtered.fastq.gz" 1..=2 check whole "The reads that were kept, one file for each input";
            metrics: JSON "filter.json" 1..=1 check whole "How many were kept and why the others were not";
        }
    }
}

/// Filters reads.
pub struct FastqFilter;

impl Tool for FastqFilter {
    type Params = Params;
    type Result = Filtered;
    type Io = FilterIo;
    const NAME: &'static str = "fastq_filter";
    const TITLE: &'static str = "Filter and subsample reads";
    const DESCRIPTION: &'static str = "Keeps the FASTQ reads (plain or gzip; one file or both files of a pair) \
        that are good enough: by mean quality, length, number of N; and draws a random sample of them by \
        fraction or number, with a seed. A pair is kept or dropped as a whole. Writes gzip FASTQ, one file \
        for each input, and counts why reads were dropped. Does not trim.";

    fn software() -> Vec<Software> {
        crate::software()
    }

    fn check(params: &Params, _inputs: &[helix_toolpack::LinkedInput]) -> Result<(), ToolError> {
        if params.sample_fraction.is_some() && params.sample_number.is_some() {
            return Err(ToolError::invalid_param(
                "/sample_number",
                "give this or `sample_fraction`, not both",
            ));
        }
        if params.max_length.is_some_and(|most| most < params.min_length) {
            return Err(ToolError::invalid_param("/max_length", "less than `min_length`"));
        }
        Ok(())
    }

    fn plan(
        _params: &Params,
        inputs: &[helix_toolpack::LinkedInput],
    ) -> Result<helix_toolpack::Proposal, ToolError> {
        let files = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
        Ok(helix_toolpack::Proposal::reading(inputs)
            .writing("filtered", files, files)
            .writing("metrics", 1, 1))
    }

    fn run(params: Params, io: FilterIo, log: &Log) -> Result<Report<Filtered>, ToolError> {
        let sampler = match params.sample_number {
            // Which reads are drawn depends on how many pass, so they are counted first.
            Some(number) => {
                let mut counts = Filtered::default();
                pass(&params, &io, log, &mut Sampler::all(), &mut counts, None)?;
                Sampler::number(params.seed, number, counts.reads_out)
            }
            None => Sampler::fraction(params.seed, params.sample_fraction),
        };
        let mut outputs = Vec::new();
        for input in io.reads.iter() {
            let key = format!("reads_{}", input.linked().index + 1);
            outputs.push(GzOutput::new(io.filtered.create_keyed(&key)?));
        }
        let mut counts = Filtered::default();
        let mut sampler = sampler;
        pass(&params, &io, log, &mut sampler, &mut counts, Some(&mut outputs))?;
        for output in outputs {
            output.finish()?;
        }

        let mut metrics = io.metrics.create()?;
        serde_json::to_writer(&mut metrics, &counts)?;
        metrics.write_all(b"\n")?;
        metrics.finish()?;
        let words = tell(&counts);
        Ok(Report::new(counts, words))
    }
}

/// One file and the record that stands next in it.
struct File<'a> {
    input: &'a Input,
    records: Records<Reader>,
    record: Record,
}

/// A record, gathered.
#[derive(Default)]
pub struct Record {
    pub header: Vec<u8>,
    pub sequence: Vec<u8>,
    pub quality: Vec<u8>,
}

impl Visitor for Record {
    fn sequence(&mut self, _at: u64, piece: &[u8]) {
        gather(&mut self.sequence, piece);
    }

    fn quality(&mut self, _at: u64, piece: &[u8]) {
        gather(&mut self.quality, piece);
    }
}

/// What is past the most that a read may have is not kept; [`File::next`] refuses the read.
fn gather(line: &mut Vec<u8>, piece: &[u8]) {
    let room = BASES_MAX.saturating_sub(line.len());
    line.extend_from_slice(piece.get(..room).unwrap_or(piece));
}

impl File<'_> {
    fn next(&mut self) -> Result<bool, ToolError> {
        self.record.sequence.clear();
        self.record.quality.clear();
        let next = self.records.next(&mut self.record);
        let bases = next.map_err(|damage: Damage| self.input.invalid(damage.to_string()))?;
        if bases.is_some_and(|bases| bases > BASES_MAX as u64) {
            let record = self.records.record();
            return Err(self.input.invalid(format!("record {record} has more than {BASES_MAX} bases")));
        }
        let there = bases.is_some();
        if there {
            self.record.header.clear();
            self.record.header.extend_from_slice(self.records.header());
        }
        Ok(there)
    }
}

/// Reads all inputs side by side, counts, and writes what is kept.
fn pass(
    params: &Params,
    io: &FilterIo,
    log: &Log,
    sampler: &mut Sampler,
    counts: &mut Filtered,
    mut outputs: Option<&mut Vec<GzOutput>>,
) -> Result<(), ToolError> {
    let keep = Keep::new(params, Errors::new(params.quality_encoding));
    let open = |input| File { input, records: Records::new(Input::open(input)), record: Record::default() };
    let mut files: Vec<File<'_>> = io.reads.iter().map(open).collect();
    counts.paired = files.len() == 2;
    while next_of_all(&mut files)? {
        counts.reads_in += 1;
        let bases: u64 = files.iter().map(|file| crate::fastq::length(&file.record.sequence)).sum();
        counts.bases_in += bases;
        if counts.reads_in.is_multiple_of(1 << 18) {
            log.progress(counts.reads_in, None, "reads");
        }
        let dropped = files.iter().find_map(|file| keep.refuses(&file.record));
        match dropped {
            Some(Reason::Short) => counts.too_short += 1,
            Some(Reason::Long) => counts.too_long += 1,
            Some(Reason::ManyN) => counts.too_many_n += 1,
            Some(Reason::LowQuality) => counts.low_quality += 1,
            None if !sampler.draws() => counts.not_sampled += 1,
            None => {
                counts.reads_out += 1;
                counts.bases_out += bases;
                write(&files, outputs.as_deref_mut())?;
            }
        }
    }
    Ok(())
}

fn write(files: &[File<'_>], outputs: Option<&mut Vec<GzOutput>>) -> io::Result<()> {
    for (file, output) in files.iter().zip(outputs.into_iter().flatten()) {
        output.record(&file.record)?;
    }
    Ok(())
}

/// Whether there is one more record in each; both files of a pair must end together and name the
/// same reads.
fn next_of_all(files: &mut [File<'_>]) -> Result<bool, ToolError> {
    let mut there = Vec::new();
    for file in files.iter_mut() {
        there.push(file.next()?);
    }
    if let ([first, second], [first_there, second_there]) = (&*files, there.as_slice()) {
        let (ended, number) = if *first_there { (second, first) } else { (first, second) };
        if first_there != second_there {
            let reads = ended.records.record() - 1;
            return Err(ended.input.invalid(format!(
                "ends after {reads} reads, but the other file has more: they are no pair (record {})",
                number.records.record()
            )));
        }
        if *first_there && mate_name(&first.record.header) != mate_name(&second.record.header) {
            let record = second.records.record();
            return Err(second.input.invalid(format!(
                "record {record} names another read than record {record} of the other file: they are no pair"
            )));
        }
    }
    Ok(there.first().copied().unwrap_or_default())
}

/// A read's name without what tells mates apart: `/1` and `/2`, or anything after a space.
fn mate_name(header: &[u8]) -> &[u8] {
    let name = header.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    match name {
        [bare @ .., b'/' | b'.' | b'_', b'1' | b'2'] => bare,
        bare => bare,
    }
}

fn tell(counts: &Filtered) -> String {
    let what = if counts.paired { "pairs" } else { "reads" };
    let share =
        if counts.reads_in == 0 { 0.0 } else { 100.0 * counts.reads_out as f64 / counts.reads_in as f64 };
    format!(
        "Kept {} of {} {what} ({share:.2} %), {} of {} bases. Dropped: {} too short, {} too long, {} with too many N, {} of low quality; {} not sampled.",
        counts.reads_out,
        counts.reads_in,
        counts.bases_out,
        counts.bases_in,
        counts.too_short,
        counts.too_long,
        counts.too_many_n,
        counts.low_quality,
        counts.not_sampled,
    )
}

#[cfg(test)]
mod tests;
