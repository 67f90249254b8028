//! What one pass over a file counts. This is the hot loop.

use super::bins::{self, EXACT};
use super::lengths::Lengths;
use super::quality::{Encoding, Errors, Thresholds};
use crate::fastq::{Chunks, Damage, Records, Visitor, length};
use crate::lanes::{self, Block, Bytes, LANES};

/// The bases that are counted by position: A, C, G, T or U, N.
pub const BASES: usize = 5;

/// Records after which the counters of bytes are emptied into those that cannot overflow.
const BYTE_COUNTER_RECORDS: u8 = 255;

/// Bytes that lanes of a byte can count.
const LANE_BYTES_MAX: usize = 255 * LANES;

const _: () = assert!(EXACT <= LANE_BYTES_MAX && EXACT.is_multiple_of(LANES));

/// Records after which the exact positions' counters of qualities are emptied: a record counts each
/// position once.
const QUALITY_COUNTER_RECORDS: u32 = u32::MAX;

/// Qualities in one position's histogram: a byte without its highest bit.
type Row<T> = [T; 128];

/// A position's recent histogram: one counter for every byte, so that none needs a check, and a few
/// more: where rows begin at multiples of a power of two, the counters that reads really use fall
/// into few of the processor's cache lines and drive each other out.
type RecentRow = [u32; 264];

/// Qualities that are counted in one step of the loop.
const STEP: usize = 8;

/// The counts of one file, or of several.
#[derive(Clone)]
pub struct Tally {
    encoding: Encoding,
    errors: Errors,
    thresholds: Thresholds,
    pub lengths: Lengths,
    /// By position bin, then quality byte.
    quality: Vec<Row<u64>>,
    /// The same for exact positions, since the last flush: a quarter of the memory traffic.
    recent_quality: Vec<RecentRow>,
    recent_quality_records: u32,
    /// The same for wide bins, from the first of them.
    recent_wide: Vec<Row<u32>>,
    recent_wide_bases: u64,
    /// By position bin, then base.
    bases: Vec<[u64; BASES]>,
    /// By block of exact positions, base, lane: counted a block at a time.
    recent_exact: Vec<[Block; BASES]>,
    recent_records: u8,
    pub gaps: u64,
    /// Reads by the whole score of their mean error.
    pub read_scores: [u64; 94],
    /// Reads by their percentage of G and C, rounded down.
    pub read_gc: [u64; 101],
    gc_of_read: u64,
    errors_of_read: u128,
}

impl Visitor for Tally {
    #[inline]
    fn sequence(&mut self, at: u64, piece: &[u8]) {
        let index = usize::try_from(at).unwrap_or(usize::MAX);
        let (exact, mut wide) = piece.split_at(EXACT.saturating_sub(index).min(piece.len()));
        if !exact.is_empty() {
            self.count_exact(index, exact);
        }
        let mut position = at + length(exact);
        while !wide.is_empty() {
            let bin = bins::of(position);
            let (here, rest) = split(wide, bins::first(bin + 1) - position);
            here.chunks(LANE_BYTES_MAX).for_each(|part| self.count_wide(bin, part));
            position += length(here);
            wide = rest;
        }
    }

    #[inline]
    fn quality(&mut self, at: u64, piece: &[u8]) {
        let index = usize::try_from(at).unwrap_or(usize::MAX);
        let room = EXACT.saturating_sub(index).min(piece.len());
        let (exact, wide) = piece.split_at(room);
        if room > 0 {
            if self.recent_quality.len() < index + room {
                self.recent_quality.resize(index + room, [0; 264]);
            }
            let rows = self.recent_quality.get_mut(index..index + room).unwrap_or_default();
            self.errors_of_read += u128::from(count_qualities(rows, exact, &self.errors));
        }
        if !wide.is_empty() {
            self.count_wide_qualities(at + length(exact), wide);
        }
    }
}

impl Tally {
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            errors: Errors::new(encoding),
            thresholds: Thresholds::new(),
            lengths: Lengths::default(),
            quality: Vec::new(),
            recent_quality: Vec::new(),
            recent_quality_records: 0,
            recent_wide: Vec::new(),
            recent_wide_bases: 0,
            bases: Vec::new(),
            recent_exact: vec![[[0; LANES]; BASES]; EXACT / LANES],
            recent_records: 0,
            gaps: 0,
            read_scores: [0; 94],
            read_gc: [0; 101],
            gc_of_read: 0,
            errors_of_read: 0,
        }
    }

    /// Counts a whole file. `seen` gets the bytes and records so far, once in a while.
    ///
    /// # Errors
    /// [`Damage`]: the counts are void then.
    pub fn read<C: Chunks>(
        &mut self,
        records: &mut Records<C>,
        mut seen: impl FnMut(u64, u64),
    ) -> Result<(), Damage> {
        let mut told = 0;
        while let Some(bases) = records.next(self)? {
            self.end_read(bases);
            if records.read_bytes() != told {
                told = records.read_bytes();
                seen(told, records.record());
            }
        }
        self.flush();
        Ok(())
    }

    /// Adds the counts of another file.
    pub fn merge(&mut self, other: &Self) {
        self.lengths.merge(&other.lengths);
        self.quality.resize(self.quality.len().max(other.quality.len()), [0; 128]);
        for (row, more) in self.quality.iter_mut().zip(&other.quality) {
            row.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
        self.bases.resize(self.bases.len().max(other.bases.len()), [0; BASES]);
        for (row, more) in self.bases.iter_mut().zip(&other.bases) {
            row.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
        self.gaps += other.gaps;
        self.read_scores.iter_mut().zip(other.read_scores).for_each(|(count, more)| *count += more);
        self.read_gc.iter_mut().zip(other.read_gc).for_each(|(count, more)| *count += more);
    }

    /// The lowest and the highest quality byte, if there is one.
    pub fn quality_bytes(&self) -> Option<(u8, u8)> {
        let occurs =
            |byte: &u8| self.quality.iter().any(|row| row.get(usize::from(*byte)).is_some_and(|&n| n > 0));
        Some(((0..128).find(occurs)?, (0..128).rfind(occurs)?))
    }

    /// Each position bin's scores: how many bases have each, from 0.
    pub fn scores(&self) -> impl Iterator<Item = &[u64]> {
        let from = usize::from(self.encoding.offset());
        self.quality.iter().map(move |row| row.get(from..).unwrap_or_default())
    }

    /// Each position bin's bases, in the order A, C, G, T, N.
    pub fn bases(&self) -> &[[u64; BASES]] {
        &self.bases
    }

    fn end_read(&mut self, bases: u64) {
        self.lengths.add(bases);
        if bases > 0 {
            let score = self.thresholds.whole_score(self.errors_of_read, bases);
            add_one(&mut self.read_scores, score);
            let percent = usize::try_from(self.gc_of_read * 100 / bases).unwrap_or(100);
            add_one(&mut self.read_gc, percent);
        }
        self.gc_of_read = 0;
        self.errors_of_read = 0;
        self.recent_records += 1;
        if self.recent_records == BYTE_COUNTER_RECORDS {
            self.flush_exact();
        }
        self.recent_quality_records += 1;
        if self.recent_quality_records == QUALITY_COUNTER_RECORDS {
            self.flush_quality();
        }
    }

    #[inline]
    fn count_exact(&mut self, index: usize, piece: &[u8]) {
        let (mut gc, mut gaps) = (Bytes::zeros(), Bytes::zeros());
        let mut rows = self.recent_exact.get_mut(index / LANES..).unwrap_or_default().iter_mut();
        lanes::blocks_from(index, piece, |block| {
            let Some(row) = rows.next() else { return };
            let found = Found::of(block);
            for (counters, passed) in row.iter_mut().zip(found.bases()) {
                *counters = Bytes::of(counters).counting(passed).to_block();
            }
            gc = gc.counting(found.c).counting(found.g);
            gaps = gaps.counting(found.gap);
        });
        self.gc_of_read += gc.sum();
        self.gaps += gaps.sum();
    }

    fn count_wide(&mut self, bin: usize, piece: &[u8]) {
        if self.bases.len() <= bin {
            self.bases.resize(bin + 1, [0; BASES]);
        }
        let mut counters = [Bytes::zeros(); BASES];
        let mut gaps = Bytes::zeros();
        lanes::blocks_from(0, piece, |block| {
            let found = Found::of(block);
            for (counters, passed) in counters.iter_mut().zip(found.bases()) {
                *counters = counters.counting(passed);
            }
            gaps = gaps.counting(found.gap);
        });
        let [a, c, g, t, n] = counters.map(Bytes::sum);
        if let Some(row) = self.bases.get_mut(bin) {
            row.iter_mut().zip([a, c, g, t, n]).for_each(|(count, more)| *count += more);
        }
        self.gc_of_read += c + g;
        self.gaps += gaps.sum();
    }

    fn count_wide_qualities(&mut self, mut position: u64, mut wide: &[u8]) {
        self.recent_wide_bases += length(wide);
        if self.recent_wide_bases > u64::from(u32::MAX) {
            self.flush_wide_quality();
            self.recent_wide_bases = length(wide);
        }
        while !wide.is_empty() {
            let bin = bins::of(position);
            let (here, rest) = split(wide, bins::first(bin + 1) - position);
            let row = bin.saturating_sub(EXACT);
            if self.recent_wide.len() <= row {
                self.recent_wide.resize(row + 1, [0; 128]);
            }
            if let Some(row) = self.recent_wide.get_mut(row) {
                here.iter().for_each(|&byte| bump(row, byte));
            }
            self.errors_of_read += u128::from(self.errors.sum(here));
            position += length(here);
            wide = rest;
        }
    }

    fn flush(&mut self) {
        self.flush_exact();
        self.flush_quality();
        self.flush_wide_quality();
    }

    fn flush_exact(&mut self) {
        let rows = self.bases.len().max(self.recent_quality.len().min(EXACT));
        self.bases.resize(rows, [0; BASES]);
        for (rows, block) in self.bases.chunks_mut(LANES).zip(&mut self.recent_exact) {
            for (base, counters) in block.iter_mut().enumerate() {
                for (row, counter) in rows.iter_mut().zip(counters) {
                    if let Some(count) = row.get_mut(base) {
                        *count += u64::from(std::mem::take(counter));
                    }
                }
            }
        }
        self.recent_records = 0;
    }

    fn flush_quality(&mut self) {
        self.quality.resize(self.quality.len().max(self.recent_quality.len()), [0; 128]);
        for (row, recent) in self.quality.iter_mut().zip(&mut self.recent_quality) {
            for (count, recent) in row.iter_mut().zip(recent) {
                *count += u64::from(std::mem::take(recent));
            }
        }
        self.recent_quality_records = 0;
    }

    fn flush_wide_quality(&mut self) {
        if self.recent_wide.is_empty() {
            return;
        }
        self.quality.resize(self.quality.len().max(EXACT + self.recent_wide.len()), [0; 128]);
        let rows = self.quality.get_mut(EXACT..).unwrap_or_default();
        for (row, recent) in rows.iter_mut().zip(&mut self.recent_wide) {
            for (count, recent) in row.iter_mut().zip(recent) {
                *count += u64::from(std::mem::take(recent));
            }
        }
        self.recent_wide_bases = 0;
    }
}

/// Counts each quality in its position's row and gives the sum of their errors.
#[inline]
fn count_qualities(rows: &mut [RecentRow], piece: &[u8], errors: &Errors) -> u64 {
    let (row_steps, last_rows) = rows.as_chunks_mut::<STEP>();
    let (steps, last) = piece.as_chunks::<STEP>();
    let mut sum = 0_u64;
    for (rows, bytes) in row_steps.iter_mut().zip(steps) {
        for (row, &byte) in rows.iter_mut().zip(bytes) {
            sum = sum.wrapping_add(errors.of(byte));
            bump_recent(row, byte);
        }
    }
    for (row, &byte) in last_rows.iter_mut().zip(last) {
        sum = sum.wrapping_add(errors.of(byte));
        bump_recent(row, byte);
    }
    sum
}

#[inline(always)]
fn bump_recent(row: &mut RecentRow, byte: u8) {
    if let Some(count) = row.get_mut(usize::from(byte)) {
        *count = count.wrapping_add(1);
    }
}

#[inline]
fn bump(row: &mut Row<u32>, byte: u8) {
    if let Some(count) = row.get_mut(usize::from(byte & 127)) {
        *count = count.wrapping_add(1);
    }
}

fn add_one(counts: &mut [u64], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}

fn split(piece: &[u8], at: u64) -> (&[u8], &[u8]) {
    piece.split_at(usize::try_from(at).unwrap_or(usize::MAX).min(piece.len()))
}

/// Which lanes of a block hold which base.
struct Found {
    a: Bytes,
    c: Bytes,
    g: Bytes,
    /// T or U.
    t: Bytes,
    n: Bytes,
    /// `-` or `.`.
    gap: Bytes,
}

impl Found {
    #[inline(always)]
    fn of(block: Bytes) -> Self {
        let capitals = block.masked(0xdf);
        Self {
            a: capitals.equal(b'A'),
            c: capitals.equal(b'C'),
            g: capitals.equal(b'G'),
            t: block.masked(0xde).equal(b'T'),
            n: capitals.equal(b'N'),
            gap: block.less(b'-').below(2),
        }
    }

    /// In the order of [`BASES`].
    #[inline(always)]
    fn bases(&self) -> [Bytes; BASES] {
        [self.a, self.c, self.g, self.t, self.n]
    }
}
