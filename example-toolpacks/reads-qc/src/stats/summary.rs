//! The numbers that a tally comes down to. Names and definitions follow `seqkit stats -a`.

use helix_toolpack::prelude::*;

use super::bins;
use super::quality::{self, Encoding};
use super::tally::{BASES, Tally};

/// The headline numbers of one file, or of all.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// Number of reads (`num_seqs`).
    pub reads: u64,
    /// Number of bases (`sum_len`).
    pub bases: u64,
    /// Shortest read (`min_len`).
    pub length_min: u64,
    /// Mean length (`avg_len`).
    pub length_mean: f64,
    /// Longest read (`max_len`).
    pub length_max: u64,
    /// First quartile of the lengths (`Q1`).
    pub length_q1: f64,
    /// Median length (`Q2`).
    pub length_median: f64,
    /// Third quartile of the lengths (`Q3`).
    pub length_q3: f64,
    /// Gap characters `-` and `.` (`sum_gap`).
    pub gaps: u64,
    /// Reads of this length or longer hold half of the bases (`N50`).
    pub n50: u64,
    /// Percentage of bases with a quality of 20 or more (`Q20(%)`).
    pub q20_percent: f64,
    /// Percentage of bases with a quality of 30 or more (`Q30(%)`).
    pub q30_percent: f64,
    /// Quality of the mean probability of error (`AvgQual`).
    pub quality_mean: f64,
    /// Percentage of bases that are G or C (`GC(%)`).
    pub gc_percent: f64,
    /// Percentage of bases that are N.
    pub n_percent: f64,
    /// The encoding that the quality bytes speak for.
    pub encoding_guess: String,
}

/// What one bin of positions holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Position {
    /// First position of the bin, from 1.
    pub from: u64,
    /// Last position of the bin.
    pub to: u64,
    pub bases: u64,
    /// Mean of the scores themselves.
    pub quality_mean: f64,
    pub quality_q1: u8,
    pub quality_median: u8,
    pub quality_q3: u8,
    pub a_percent: f64,
    pub c_percent: f64,
    pub g_percent: f64,
    pub t_percent: f64,
    pub n_percent: f64,
}

impl Summary {
    /// Sums a tally up.
    pub fn of(tally: &Tally) -> Self {
        let lengths = tally.lengths.summary();
        let [_, c, g, _, n] = tally.bases().iter().fold([0; BASES], |sum, row| add(sum, *row));
        let scores = all_scores(tally);
        let at_least = |score: usize| -> u64 { scores.iter().skip(score).sum() };
        Self {
            reads: lengths.reads,
            bases: lengths.bases,
            length_min: lengths.min,
            length_mean: tidy(lengths.mean),
            length_max: lengths.max,
            length_q1: lengths.q1,
            length_median: lengths.median,
            length_q3: lengths.q3,
            gaps: tally.gaps,
            n50: lengths.n50,
            q20_percent: percent(at_least(20), lengths.bases),
            q30_percent: percent(at_least(30), lengths.bases),
            quality_mean: mean_error_score(&scores),
            gc_percent: percent(c + g, lengths.bases),
            n_percent: percent(n, lengths.bases),
            encoding_guess: quality::guess(tally.quality_bytes()).to_owned(),
        }
    }

    /// Whether the qualities were read with another offset than they speak for.
    pub fn doubts(&self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Phred33 => self.encoding_guess.contains("64"),
            Encoding::Phred64 => self.encoding_guess.starts_with("Sanger"),
        }
    }
}

/// One bin's scores and bases.
type Row<'a> = (&'a [u64], &'a [u64; BASES]);

impl Position {
    /// A tally's bins, in order.
    pub fn all(tally: &Tally) -> Vec<Self> {
        let rows = tally.scores().zip(tally.bases());
        rows.enumerate().map(|(bin, (scores, bases))| Self::of(bin, bin + 1, scores, *bases)).collect()
    }

    /// A tally's bins, drawn together to at most `most` of them.
    pub fn coarse(tally: &Tally, most: usize) -> Vec<Self> {
        let rows: Vec<Row<'_>> = tally.scores().zip(tally.bases()).collect();
        let step = rows.len().div_ceil(most).max(1);
        let group = |(index, rows): (usize, &[Row<'_>])| {
            let mut scores = vec![0; rows.first().map(|(scores, _)| scores.len()).unwrap_or_default()];
            let mut bases = [0; BASES];
            for (more, row) in rows {
                scores.iter_mut().zip(*more).for_each(|(count, more)| *count += more);
                bases = add(bases, **row);
            }
            Self::of(index * step, index * step + rows.len(), &scores, bases)
        };
        rows.chunks(step).enumerate().map(group).collect()
    }

    fn of(first_bin: usize, end_bin: usize, scores: &[u64], bases: [u64; BASES]) -> Self {
        let count: u64 = scores.iter().sum();
        let sum: u64 = (0..).zip(scores).map(|(score, count)| score * count).sum();
        let [a, c, g, t, n] = bases.map(|base| percent(base, count));
        Self {
            from: bins::first(first_bin) + 1,
            to: bins::first(end_bin),
            bases: count,
            quality_mean: tidy(ratio(sum, count)),
            quality_q1: nearest_rank(scores, count.div_ceil(4)),
            quality_median: nearest_rank(scores, count.div_ceil(2)),
            quality_q3: nearest_rank(scores, count - count / 4),
            a_percent: a,
            c_percent: c,
            g_percent: g,
            t_percent: t,
            n_percent: n,
        }
    }
}

/// All bases by score.
pub fn all_scores(tally: &Tally) -> Vec<u64> {
    let mut all = vec![0; usize::from(quality::SCORE_MAX) + 1];
    for scores in tally.scores() {
        all.iter_mut().zip(scores).for_each(|(count, more)| *count += more);
    }
    all
}

/// The score of the `rank`th base, the lowest first and from 1.
fn nearest_rank(scores: &[u64], rank: u64) -> u8 {
    let mut before = 0;
    let score = scores.iter().position(|count| {
        before += count;
        before >= rank
    });
    u8::try_from(score.unwrap_or_default()).unwrap_or(u8::MAX)
}

fn mean_error_score(scores: &[u64]) -> f64 {
    let bases: u64 = scores.iter().sum();
    if bases == 0 {
        return 0.0;
    }
    let errors: f64 = (0_u8..)
        .zip(scores)
        .map(|(score, &count)| count as f64 * quality::probability(f64::from(score)))
        .sum();
    tidy(quality::score(errors / bases as f64))
}

fn add(left: [u64; BASES], right: [u64; BASES]) -> [u64; BASES] {
    let mut sum = left;
    sum.iter_mut().zip(right).for_each(|(sum, more)| *sum += more);
    sum
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn percent(part: u64, whole: u64) -> f64 {
    tidy(100.0 * ratio(part, whole))
}

/// Six digits after the point: far more than is known, few enough to read, and the same on every
/// machine.
fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_scores_are_scores_that_occur() {
        let mut scores = [0; 94];
        for score in [2, 10, 30, 40] {
            scores[score] = 1;
        }
        let quartiles = |scores: &[u64]| {
            let position = Position::of(0, 1, scores, [0; BASES]);
            (position.quality_q1, position.quality_median, position.quality_q3, position.quality_mean)
        };
        assert_eq!(quartiles(&scores), (2, 10, 30, 20.5));
        assert_eq!(quartiles(&[0; 94]), (0, 0, 0, 0.0));
    }
}
