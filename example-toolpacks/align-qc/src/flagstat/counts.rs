//! What the flags of the records add up to.

use schemars::JsonSchema;
use serde::Serialize;

use crate::bam::{Core, flag};
use crate::percent;

/// Least mapping quality of a mate elsewhere that is counted apart.
const HIGH_MAPQ: u8 = 5;

/// Counted beside the flag: its mate lies on another reference; and is well mapped.
const ELSEWHERE: usize = 1 << 12;
const WELL_MAPPED: usize = 1 << 13;
const KINDS: usize = 1 << 14;

/// How many records there are of each combination of flags. One addition a record: what the
/// combinations mean is worked out at the end, when there are few of them.
pub struct Tally(Vec<u64>);

impl Tally {
    pub fn new() -> Self {
        Self(vec![0; KINDS])
    }

    #[inline]
    pub fn add(&mut self, core: &Core) {
        let elsewhere = usize::from(core.mate_reference != core.reference);
        let well = usize::from(core.mapq >= HIGH_MAPQ);
        let kind = usize::from(core.flag & flag::KNOWN) | (elsewhere * ELSEWHERE) | (well * WELL_MAPPED);
        // Always there: every bit of `kind` lies below the length.
        if let Some(count) = self.0.get_mut(kind) {
            *count += 1;
        }
    }

    pub fn finish(&self) -> super::Flagstat {
        let (mut passed, mut failed) = (Counts::default(), Counts::default());
        for (kind, &count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let side = if kind & usize::from(flag::QC_FAIL) == 0 { &mut passed } else { &mut failed };
            side.add(kind, count);
        }
        passed.finish();
        failed.finish();
        super::Flagstat { passed, failed }
    }
}

/// Counts of records, and shares of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Counts {
    /// Records.
    pub total: u64,
    /// Neither secondary nor supplementary: one for each read.
    pub primary: u64,
    /// Flag 0x100.
    pub secondary: u64,
    /// Flag 0x800, and not secondary.
    pub supplementary: u64,
    /// Flag 0x400.
    pub duplicates: u64,
    /// Primary records with flag 0x400.
    pub primary_duplicates: u64,
    /// Without flag 0x4.
    pub mapped: u64,
    /// Percent of all.
    pub mapped_percent: f64,
    /// Primary records without flag 0x4.
    pub primary_mapped: u64,
    /// Percent of primary records.
    pub primary_mapped_percent: f64,
    /// Primary records of reads that have a mate.
    pub paired: u64,
    /// Of these, first of the pair.
    pub read1: u64,
    /// Of these, second of the pair.
    pub read2: u64,
    /// Of these, mapped and properly paired.
    pub properly_paired: u64,
    /// Percent of paired.
    pub properly_paired_percent: f64,
    /// Of these, both mapped.
    pub both_mapped: u64,
    /// Of these, mapped while the mate is not.
    pub singletons: u64,
    /// Percent of paired.
    pub singletons_percent: f64,
    /// Of these, both mapped, to different references.
    pub mate_on_other_reference: u64,
    /// The same with mapping quality 5 or more.
    pub mate_on_other_reference_mapq5: u64,
}

/// A count's name, and the count.
type Row = (&'static str, fn(&Counts) -> u64);

impl Counts {
    pub const ROWS: &[Row] = &[
        ("total", |c| c.total),
        ("primary", |c| c.primary),
        ("secondary", |c| c.secondary),
        ("supplementary", |c| c.supplementary),
        ("duplicates", |c| c.duplicates),
        ("primary_duplicates", |c| c.primary_duplicates),
        ("mapped", |c| c.mapped),
        ("primary_mapped", |c| c.primary_mapped),
        ("paired", |c| c.paired),
        ("read1", |c| c.read1),
        ("read2", |c| c.read2),
        ("properly_paired", |c| c.properly_paired),
        ("both_mapped", |c| c.both_mapped),
        ("singletons", |c| c.singletons),
        ("mate_on_other_reference", |c| c.mate_on_other_reference),
        ("mate_on_other_reference_mapq5", |c| c.mate_on_other_reference_mapq5),
    ];

    fn add(&mut self, kind: usize, count: u64) {
        let has = |bits: u16| kind & usize::from(bits) != 0;
        let mapped = !has(flag::UNMAPPED);
        let when = |condition: bool| if condition { count } else { 0 };
        self.total += count;
        self.mapped += when(mapped);
        self.duplicates += when(has(flag::DUPLICATE));
        if has(flag::SECONDARY) {
            self.secondary += count;
            return;
        }
        if has(flag::SUPPLEMENTARY) {
            self.supplementary += count;
            return;
        }
        self.primary += count;
        self.primary_mapped += when(mapped);
        self.primary_duplicates += when(has(flag::DUPLICATE));
        if !has(flag::PAIRED) {
            return;
        }
        let both = mapped && !has(flag::MATE_UNMAPPED);
        let elsewhere = both && kind & ELSEWHERE != 0;
        self.paired += count;
        self.read1 += when(has(flag::READ_1));
        self.read2 += when(has(flag::READ_2));
        self.properly_paired += when(mapped && has(flag::PROPER_PAIR));
        self.both_mapped += when(both);
        self.singletons += when(mapped && has(flag::MATE_UNMAPPED));
        self.mate_on_other_reference += when(elsewhere);
        self.mate_on_other_reference_mapq5 += when(elsewhere && kind & WELL_MAPPED != 0);
    }

    fn finish(&mut self) {
        self.mapped_percent = percent(self.mapped, self.total);
        self.primary_mapped_percent = percent(self.primary_mapped, self.primary);
        self.properly_paired_percent = percent(self.properly_paired, self.paired);
        self.singletons_percent = percent(self.singletons, self.paired);
    }
}
