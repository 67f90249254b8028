//! Which reads are kept.

use super::random::Random;
use super::{Params, Record};
use crate::fastq::length;
use crate::stats::quality::{ERROR_UNIT, Errors, probability};

/// Why a read is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Short,
    Long,
    ManyN,
    LowQuality,
}

/// The thresholds.
pub struct Keep {
    min_length: u64,
    max_length: u64,
    max_n: u64,
    /// Most errors for each base, in the units of [`Errors`]; none: any.
    max_error: Option<f64>,
    errors: Errors,
}

impl Keep {
    pub fn new(params: &Params, errors: Errors) -> Self {
        // A hair more, so that a read whose every base has the least quality passes.
        let most = |score: f64| probability(score) * ERROR_UNIT * (1.0 + 1e-9) + 0.5;
        Self {
            min_length: params.min_length,
            max_length: params.max_length.unwrap_or(u64::MAX),
            max_n: params.max_n.unwrap_or(u64::MAX),
            max_error: Some(params.min_mean_quality).filter(|score| *score > 0.0).map(most),
            errors,
        }
    }

    /// Why a read is not kept, if so.
    pub fn refuses(&self, record: &Record) -> Option<Reason> {
        let bases = length(&record.sequence);
        if bases < self.min_length {
            return Some(Reason::Short);
        }
        if bases > self.max_length {
            return Some(Reason::Long);
        }
        if self.max_n < bases {
            let n = record.sequence.iter().filter(|byte| matches!(byte, b'N' | b'n')).count();
            if n as u64 > self.max_n {
                return Some(Reason::ManyN);
            }
        }
        let most = self.max_error? * bases as f64;
        let errors: u128 =
            record.quality.chunks(1 << 20).map(|piece| u128::from(self.errors.sum(piece))).sum();
        (errors as f64 > most).then_some(Reason::LowQuality)
    }
}

/// Draws a sample, one read after another.
pub struct Sampler {
    random: Random,
    how: How,
}

enum How {
    All,
    /// Each with this chance.
    Fraction(f64),
    /// Exactly `wanted` of the `left` that are still to come.
    Number {
        wanted: u64,
        left: u64,
    },
}

impl Sampler {
    pub fn all() -> Self {
        Self { random: Random::new(0), how: How::All }
    }

    pub fn fraction(seed: u64, fraction: Option<f64>) -> Self {
        Self { random: Random::new(seed), how: fraction.map_or(How::All, How::Fraction) }
    }

    pub fn number(seed: u64, wanted: u64, passing: u64) -> Self {
        Self { random: Random::new(seed), how: How::Number { wanted, left: passing } }
    }

    /// Whether the next read that passed is in the sample.
    pub fn draws(&mut self) -> bool {
        match &mut self.how {
            How::All => true,
            How::Fraction(fraction) => self.random.unit() < *fraction,
            // Selection sampling: each subset of that size is equally likely, in one pass.
            How::Number { wanted, left } => {
                let drawn = self.random.below((*left).max(1)) < *wanted;
                *wanted -= u64::from(drawn);
                *left = left.saturating_sub(1);
                drawn
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_drawn_exactly_and_evenly() {
        let mut drawn_at = [0; 20];
        for seed in 0..2000 {
            let mut sampler = Sampler::number(seed, 5, 20);
            let drawn: Vec<bool> = (0..20).map(|_| sampler.draws()).collect();
            assert_eq!(drawn.iter().filter(|drawn| **drawn).count(), 5);
            drawn_at.iter_mut().zip(drawn).for_each(|(count, drawn)| *count += i32::from(drawn));
        }
        // Expected 500 each, standard deviation 19.
        assert!(drawn_at.iter().all(|count| (400..600).contains(count)), "{drawn_at:?}");
        let mut few = Sampler::number(1, 5, 3);
        assert_eq!([few.draws(), few.draws(), few.draws()], [true; 3]);
    }
}
