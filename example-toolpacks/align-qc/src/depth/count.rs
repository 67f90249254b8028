//! One pass over the records of a sorted file; a second one where it turns out not to be sorted.

use helix_toolpack::prelude::*;

use super::Params;
use super::dense::Dense;
use super::sweep::Sweep;
use super::totals::{Totals, Windows};
use crate::bam::{Bytes, Damage, Header, Op, Record, Records, What, flag, ops};

/// Records between two looks at how far the run is.
const RECORDS_A_STEP: u64 = 1 << 19;

/// What keeps the depths while records come.
enum Store {
    Sweep(Sweep),
    Dense(Dense),
}

/// Why a pass ended before the file did.
enum Stop {
    /// A record lies before one that was read already.
    Unsorted,
    TooLong,
    Damage(Damage),
}

/// Counts the depth along all references.
pub fn count(input: &Input, params: &Params, log: &Log) -> Result<(Header, Totals), ToolError> {
    match pass(input, params, log, |_| Store::Sweep(Sweep::new()))? {
        Ok(done) => return Ok(done),
        Err(Stop::Damage(damage)) => return Err(damage.of(input)),
        Err(Stop::Unsorted | Stop::TooLong) => {}
    }
    log.info("the records are not in order of position: counting them again, all positions at once");
    match pass(input, params, log, |header| Store::Dense(Dense::new(&header.references)))? {
        Ok(done) => Ok(done),
        Err(Stop::Damage(damage)) => Err(damage.of(input)),
        Err(Stop::Unsorted | Stop::TooLong) => Err(input.invalid(
            "is not sorted by position, and its references with reads have more than 32 million bases: \
             sort it first (`samtools sort`)",
        )),
    }
}

fn pass(
    input: &Input,
    params: &Params,
    log: &Log,
    store: impl FnOnce(&Header) -> Store,
) -> Result<Result<(Header, Totals), Stop>, ToolError> {
    let mut bytes = Bytes::new(input.open());
    let header = Header::read(&mut bytes).map_err(|damage| damage.of(input))?;
    let cut = Windows::cut(&header.references, params.window_bases)
        .map_err(|reason| ToolError::invalid_param("/window_bases", reason))?;
    let totals = Totals::new(&header.references, cut, params.min_depth);
    let references = i32::try_from(header.references.len()).unwrap_or(i32::MAX);
    let mut records = Records::new(bytes, references);
    let mut count = Count { params, store: store(&header), header, totals };
    loop {
        for _ in 0..RECORDS_A_STEP {
            match records.next() {
                Err(damage) => return Ok(Err(Stop::Damage(damage))),
                Ok(None) => return Ok(Ok(count.finish())),
                Ok(Some(record)) => {
                    if let Err(stop) = count.record(&record) {
                        return Ok(Err(stop));
                    }
                }
            }
        }
        log.progress(records.number(), None, "records");
    }
}

struct Count<'a> {
    params: &'a Params,
    store: Store,
    header: Header,
    totals: Totals,
}

impl Count<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Stop> {
        let core = &record.core;
        let out = core.is(self.params.exclude_flags | flag::UNMAPPED) || core.mapq < self.params.min_mapq;
        let reference = usize::try_from(core.reference);
        let (false, Ok(reference)) = (out, reference) else {
            self.totals.left_out += 1;
            return Ok(());
        };
        let Ok(start) = u32::try_from(core.position) else {
            return Err(Stop::Damage(record.damage(What::Position(core.position))));
        };
        if let Store::Sweep(sweep) = &mut self.store
            && !sweep.advance(reference, start, &mut self.totals)
        {
            return Err(Stop::Unsorted);
        }
        if let Some(sums) = self.totals.references.get_mut(reference) {
            sums.reads += 1;
        }
        self.bases(record, reference, start)
    }

    /// Adds a record's aligned stretches.
    fn bases(&mut self, record: &Record<'_>, reference: usize, start: u32) -> Result<(), Stop> {
        let mut at = u64::from(start);
        let mut base = 0_usize;
        for op in ops(record.cigar()) {
            if op.code >= Op::CODES {
                return Err(Stop::Damage(record.damage(What::CigarOp(op.code))));
            }
            let length = op.length as usize;
            // Bases without letters have no qualities either.
            if op.aligns() && (self.params.min_base_quality == 0 || record.core.bases == 0) {
                self.stretch(record, reference, at, u64::from(op.length))?;
            } else if op.aligns() {
                let qualities = record.qualities().get(base..base + length).unwrap_or_default();
                self.good_stretches(record, reference, at, qualities)?;
            }
            at += if op.takes_reference() { u64::from(op.length) } else { 0 };
            base += if op.takes_read() { length } else { 0 };
        }
        Ok(())
    }

    /// Adds the stretches whose bases are good enough.
    fn good_stretches(
        &mut self,
        record: &Record<'_>,
        reference: usize,
        at: u64,
        qualities: &[u8],
    ) -> Result<(), Stop> {
        let least = self.params.min_base_quality;
        let mut start = at;
        for run in qualities.chunk_by(|a, b| (*a >= least) == (*b >= least)) {
            if run.first().is_some_and(|quality| *quality >= least) {
                self.stretch(record, reference, start, run.len() as u64)?;
            }
            start += run.len() as u64;
        }
        Ok(())
    }

    fn stretch(&mut self, record: &Record<'_>, reference: usize, from: u64, length: u64) -> Result<(), Stop> {
        let bases = self.header.references.bases(reference);
        let within = (from + length).min(u64::from(bases)).saturating_sub(from);
        self.totals.past_end += length - within;
        let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(from + within)) else { return Ok(()) };
        if within == 0 {
            return Ok(());
        }
        match &mut self.store {
            Store::Sweep(sweep) => {
                sweep.add(from, to).map_err(|bases| Stop::Damage(record.damage(What::LongSpan(bases))))
            }
            Store::Dense(dense) => dense.add(reference, bases, from, to).map_err(|_| Stop::TooLong),
        }
    }

    fn finish(mut self) -> (Header, Totals) {
        match self.store {
            Store::Sweep(mut sweep) => sweep.finish(&mut self.totals),
            Store::Dense(dense) => dense.finish(&mut self.totals),
        }
        (self.header, self.totals)
    }
}
