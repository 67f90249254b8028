//! Depths, summed up by reference and by window.

use schemars::JsonSchema;
use serde::Serialize;

use crate::bam::{Header, References};
use crate::{percent, ratio, shown};

/// Windows that are aimed at when the caller names no size.
const WINDOWS_WANTED: u64 = 2000;

/// Most windows: 16 bytes each.
const WINDOWS_MAX: u64 = 2 << 20;

/// References that the result names.
const SHOWN_MAX: usize = 20;

/// How references are cut into windows.
pub struct Windows {
    pub bases: u32,
    /// The first window of each reference, and the end of the last.
    first: Vec<u32>,
}

/// What is known of a window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub sum: u64,
    pub covered: u32,
    pub max: u32,
}

/// What is known of a reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub reads: u64,
    pub sum: u64,
    pub covered: u32,
    pub max: u32,
}

/// One reference's numbers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct OfReference {
    /// Its name.
    pub name: String,
    /// Its length in bases.
    pub bases: u32,
    /// Records that were counted.
    pub reads: u64,
    /// Positions of depth `min_depth` or more.
    pub covered_bases: u32,
    /// Percent of its positions.
    pub covered_percent: f64,
    /// Aligned bases over its positions.
    pub mean_depth: f64,
    /// Its deepest position.
    pub max_depth: u32,
}

impl Windows {
    /// Cuts the references, or says why not.
    pub fn cut(references: &References, wanted: u32) -> Result<Self, String> {
        let bases = if wanted > 0 { wanted } else { round_size(references) };
        let mut first = vec![0];
        let mut end = 0_u64;
        for (_, length) in references.iter() {
            end += u64::from(length.div_ceil(bases));
            if end > WINDOWS_MAX {
                return Err(format!("windows of {bases} bases would be more than {WINDOWS_MAX}"));
            }
            first.push(u32::try_from(end).unwrap_or(u32::MAX));
        }
        Ok(Self { bases, first })
    }

    /// The windows of a reference, as places in [`Totals::windows`].
    pub fn of(&self, reference: usize) -> std::ops::Range<usize> {
        let at = |index: usize| self.first.get(index).map_or(0, |first| *first as usize);
        at(reference)..at(reference + 1)
    }
}

/// The least of 10, 20, 50, 100, … that makes few enough windows.
fn round_size(references: &References) -> u32 {
    let mut power = 10_u32;
    loop {
        for step in [1, 2, 5] {
            let size = step * power;
            if references.total_bases() / u64::from(size) <= WINDOWS_WANTED || size >= 500_000_000 {
                return size;
            }
        }
        power *= 10;
    }
}

/// All that is counted.
pub struct Totals {
    pub references: Vec<Sums>,
    pub windows: Vec<Window>,
    pub cut: Windows,
    pub left_out: u64,
    pub past_end: u64,
    min_depth: i64,
}

impl Totals {
    pub fn new(references: &References, cut: Windows, min_depth: u32) -> Self {
        let windows = cut.first.last().copied().unwrap_or_default() as usize;
        Self {
            references: vec![Sums::default(); references.len()],
            windows: vec![Window::default(); windows],
            cut,
            left_out: 0,
            past_end: 0,
            min_depth: i64::from(min_depth),
        }
    }

    /// Takes in how the depth changes at each position from `start` on, and carries it on.
    pub fn positions(&mut self, reference: usize, start: u32, mut changes: &[i32], depth: &mut i64) {
        let windows = self.cut.of(reference);
        let Some(sums) = self.references.get_mut(reference) else { return };
        let mut position = start;
        while !changes.is_empty() {
            let index = windows.start + (position / self.cut.bases) as usize;
            let room = (self.cut.bases - position % self.cut.bases) as usize;
            let (here, after) = changes.split_at(room.min(changes.len()));
            let (mut sum, mut covered, mut max) = (0_i64, 0_u32, 0_i64);
            for change in here {
                *depth += i64::from(*change);
                sum += *depth;
                covered += u32::from(*depth >= self.min_depth);
                max = max.max(*depth);
            }
            let (sum, max) = (sum.unsigned_abs(), u32::try_from(max).unwrap_or(u32::MAX));
            sums.sum += sum;
            sums.covered += covered;
            sums.max = sums.max.max(max);
            if let Some(window) = self.windows.get_mut(index) {
                window.sum += sum;
                window.covered += covered;
                window.max = window.max.max(max);
            }
            position += u32::try_from(here.len()).unwrap_or_default();
            changes = after;
        }
    }
}

impl OfReference {
    pub fn of(header: &Header, totals: &Totals, index: usize) -> Self {
        let bases = header.references.bases(index);
        let sums = totals.references.get(index).copied().unwrap_or_default();
        Self {
            name: shown(header.references.name(index)),
            bases,
            reads: sums.reads,
            covered_bases: sums.covered,
            covered_percent: percent(sums.covered.into(), bases.into()),
            mean_depth: mean(sums.sum, bases.into()),
            max_depth: sums.max,
        }
    }
}

/// A mean depth.
pub fn mean(sum: u64, bases: u64) -> f64 {
    ratio(sum as f64, bases)
}

/// References by their aligned bases, most first; those of the same number in the header's order.
pub fn by_bases(totals: &Totals) -> Vec<usize> {
    let sums = |&index: &usize| totals.references.get(index).map_or(0, |of| of.sum);
    let mut order: Vec<usize> = (0..totals.references.len()).filter(|index| sums(index) > 0).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sums(index)));
    order
}

impl super::Depth {
    pub fn of(header: &Header, totals: &Totals) -> Self {
        let all = || totals.references.iter();
        let bases = header.references.total_bases();
        let covered = all().map(|of| u64::from(of.covered)).sum();
        let top = by_bases(totals).into_iter().take(SHOWN_MAX);
        Self {
            reads: all().map(|of| of.reads).sum(),
            reads_left_out: totals.left_out,
            bases,
            covered_bases: covered,
            covered_percent: percent(covered, bases),
            mean_depth: mean(all().map(|of| of.sum).sum(), bases),
            max_depth: all().map(|of| u64::from(of.max)).max().unwrap_or_default(),
            bases_past_end: totals.past_end,
            window_bases: totals.cut.bases,
            references: header.references.len() as u64,
            references_with_reads: all().filter(|of| of.reads > 0).count() as u64,
            top: top.map(|index| OfReference::of(header, totals, index)).collect(),
        }
    }
}
