//! Quality scores and what they mean.

use helix_toolpack::prelude::*;

/// How a quality's byte is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Byte 33 is 0: Sanger, Illumina 1.8 and later.
    #[default]
    Phred33,
    /// Byte 64 is 0: Illumina 1.3 to 1.7.
    Phred64,
}

impl Encoding {
    /// The byte that stands for a score of 0.
    pub fn offset(self) -> u8 {
        match self {
            Self::Phred33 => 33,
            Self::Phred64 => 64,
        }
    }
}

/// The encoding that a file's lowest and highest byte speak for.
pub fn guess(bytes: Option<(u8, u8)>) -> &'static str {
    match bytes {
        None => "none: there are no qualities",
        Some((..59, _)) => "Sanger / Illumina 1.8+ (phred33)",
        Some((59..64, 75..)) => "Solexa (offset 64)",
        Some((64.., 75..)) => "Illumina 1.3 to 1.7 (phred64)",
        Some(_) => "unclear, read as Sanger / Illumina 1.8+ (phred33)",
    }
}

/// Errors are summed in units of 2⁻³⁴, so that sums are exact, the same everywhere, and a chunk's
/// does not overflow.
pub const ERROR_UNIT: f64 = (1_u64 << 34) as f64;

/// Highest score that a printable byte can stand for.
pub const SCORE_MAX: u8 = 93;

/// For each quality byte the probability that its base is wrong, in units of [`ERROR_UNIT`].
#[derive(Clone)]
pub struct Errors {
    pub by_byte: [u64; 256],
}

impl Errors {
    pub fn new(encoding: Encoding) -> Self {
        let mut by_byte = [0; 256];
        for (byte, error) in (0_u8..=u8::MAX).zip(&mut by_byte) {
            *error = units(probability(f64::from(byte.saturating_sub(encoding.offset()))));
        }
        Self { by_byte }
    }

    /// The errors that a piece of qualities makes expect.
    #[inline]
    pub fn sum(&self, piece: &[u8]) -> u64 {
        piece.iter().map(|&byte| self.of(byte)).fold(0, u64::wrapping_add)
    }

    #[inline]
    pub fn of(&self, byte: u8) -> u64 {
        self.by_byte.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

/// The probability of an error at a score.
pub fn probability(score: f64) -> f64 {
    10_f64.powf(-score / 10.0)
}

/// The score that stands for a mean probability of error.
pub fn score(probability: f64) -> f64 {
    // No errors at all cannot be told from the highest score.
    -10.0 * probability.max(self::probability(f64::from(SCORE_MAX))).log10()
}

fn units(probability: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^34")]
    let units = (probability * ERROR_UNIT).round() as u64;
    units
}

/// Turns a read's errors into its mean score without a logarithm for each read.
#[derive(Clone)]
pub struct Thresholds([u64; SCORE_MAX as usize]);

impl Thresholds {
    pub fn new() -> Self {
        let mut most = [0; SCORE_MAX as usize];
        for (score, units_most) in (1_u8..).zip(&mut most) {
            *units_most = units(probability(f64::from(score)));
        }
        Self(most)
    }

    /// The whole score, rounded down, of a read whose errors sum to `errors`.
    pub fn whole_score(&self, errors: u128, bases: u64) -> usize {
        // errors ≤ most × bases, without a wide product for each step.
        let mean = match u64::try_from(errors) {
            Ok(errors) => errors.div_ceil(bases.max(1)),
            Err(_wide) => u64::try_from(errors.div_ceil(u128::from(bases.max(1)))).unwrap_or(u64::MAX),
        };
        self.0.partition_point(|&most| mean <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart_by_their_bytes() {
        for (bytes, expected) in [
            (None, "none: there are no qualities"),
            (Some((33, 73)), "Sanger / Illumina 1.8+ (phred33)"),
            (Some((59, 104)), "Solexa (offset 64)"),
            (Some((66, 104)), "Illumina 1.3 to 1.7 (phred64)"),
            (Some((64, 74)), "unclear, read as Sanger / Illumina 1.8+ (phred33)"),
        ] {
            assert_eq!(guess(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_reads_score_is_that_of_its_mean_error() {
        let (errors, thresholds) = (Errors::new(Encoding::Phred33), Thresholds::new());
        let whole = |qualities: &[u8]| {
            thresholds.whole_score(u128::from(errors.sum(qualities)), qualities.len() as u64)
        };
        assert_eq!(whole(b"IIII"), 40);
        assert_eq!(whole(b"!!!!"), 0);
        assert_eq!(whole(b"+5"), 12, "10 and 20: a mean error of 0.055");
        assert_eq!(whole(b"~"), 93);
        assert!((score(probability(12.5)) - 12.5).abs() < 1e-9);
    }
}
