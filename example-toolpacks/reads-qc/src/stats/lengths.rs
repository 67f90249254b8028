//! Lengths of reads, counted exactly. What is derived follows `SeqKit`'s definitions.

use std::collections::BTreeMap;

/// Lengths below this are counted in a list, which is faster than a map.
const LISTED: usize = 1024;

/// How many reads of each length. Bounded: as many different lengths as there are take the square
/// of that in bases.
#[derive(Clone)]
pub struct Lengths {
    listed: Vec<u64>,
    longer: BTreeMap<u64, u64>,
}

/// What the lengths say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    pub reads: u64,
    pub bases: u64,
    pub min: u64,
    pub max: u64,
    pub mean: f64,
    pub q1: f64,
    pub median: f64,
    pub q3: f64,
    pub n50: u64,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { listed: vec![0; LISTED], longer: BTreeMap::new() }
    }
}

impl Lengths {
    pub fn add(&mut self, length: u64) {
        self.add_many(length, 1);
    }

    pub fn merge(&mut self, other: &Self) {
        for (length, reads) in other.counts() {
            self.add_many(length, reads);
        }
    }

    fn add_many(&mut self, length: u64, reads: u64) {
        let index = usize::try_from(length).unwrap_or(usize::MAX);
        match self.listed.get_mut(index) {
            Some(count) => *count += reads,
            None => *self.longer.entry(length).or_default() += reads,
        }
    }

    /// Every length that occurs with its number of reads, the shortest first.
    pub fn counts(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        let listed = self.listed.iter().enumerate().map(|(length, &reads)| (length as u64, reads));
        listed
            .filter(|(_, reads)| *reads > 0)
            .chain(self.longer.iter().map(|(&length, &reads)| (length, reads)))
    }

    pub fn summary(&self) -> Summary {
        let reads: u64 = self.counts().map(|(_, reads)| reads).sum();
        let bases: u64 = self.counts().map(|(length, reads)| length * reads).sum();
        if reads == 0 {
            return Summary::default();
        }
        // The hinges are the medians of the halves; the middle read of an odd number is in both.
        let half = reads.div_ceil(2);
        Summary {
            reads,
            bases,
            min: self.nth(0),
            max: self.nth(reads - 1),
            mean: bases as f64 / reads as f64,
            q1: self.median_of(0, half),
            median: self.median_of(0, reads),
            q3: self.median_of(reads - half, half),
            n50: self.n50(bases),
        }
    }

    /// The median of `count` sorted lengths from the `from`th on.
    fn median_of(&self, from: u64, count: u64) -> f64 {
        let (low, high) = (self.nth(from + (count - 1) / 2), self.nth(from + count / 2));
        (low + high) as f64 / 2.0
    }

    /// The length of the `index`th read, the shortest first.
    fn nth(&self, index: u64) -> u64 {
        let mut before = 0;
        let mut at = self.counts().skip_while(|(_, reads)| {
            before += reads;
            before <= index
        });
        at.next().map(|(length, _)| length).unwrap_or_default()
    }

    /// The length for which reads as long or longer hold at least half of the bases.
    fn n50(&self, bases: u64) -> u64 {
        let mut held = 0;
        let mut long = self.counts().rev().skip_while(|(length, reads)| {
            held += length * reads;
            held < bases.div_ceil(2)
        });
        long.next().map(|(length, _)| length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(lengths: &[u64]) -> Summary {
        let mut all = Lengths::default();
        lengths.iter().for_each(|&length| all.add(length));
        all.summary()
    }

    #[test]
    fn quartiles_are_the_medians_of_the_halves() {
        let quartiles = |lengths: &[u64]| {
            let all = summary(lengths);
            (all.q1, all.median, all.q3)
        };
        assert_eq!(quartiles(&[]), (0.0, 0.0, 0.0));
        assert_eq!(quartiles(&[150]), (150.0, 150.0, 150.0));
        assert_eq!(quartiles(&[2, 3, 4]), (2.5, 3.0, 3.5));
        assert_eq!(quartiles(&[1, 2, 3, 4]), (1.5, 2.5, 3.5));
        assert_eq!(quartiles(&[10, 20, 30, 40, 5000]), (20.0, 30.0, 40.0));
    }

    #[test]
    fn n50_counts_bases_from_the_longest() {
        assert_eq!(summary(&[]).n50, 0);
        assert_eq!(summary(&[2, 3, 4]).n50, 3);
        assert_eq!(summary(&[5, 5]).n50, 5);
        assert_eq!(summary(&[0, 0, 7]).n50, 7);
        assert_eq!(summary(&[1, 1, 2000]), Summary { n50: 2000, ..summary(&[1, 1, 2000]) });
    }
}
