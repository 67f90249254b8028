//! Depth of an unsorted file: every position of every reference that has reads is kept.

use crate::bam::References;

use super::totals::Totals;

/// Most positions: 128 MiB, half of what a run usually has.
const POSITIONS_MAX: u64 = 32 << 20;

/// How the depth changes along each reference that has reads.
pub struct Dense {
    changes: Vec<Option<Box<[i32]>>>,
    positions: u64,
}

/// The references that have reads are too long together.
#[derive(Debug)]
pub struct TooLong;

impl Dense {
    pub fn new(references: &References) -> Self {
        Self { changes: std::iter::repeat_with(|| None).take(references.len()).collect(), positions: 0 }
    }

    /// Adds a stretch of aligned bases within a reference.
    pub fn add(&mut self, reference: usize, bases: u32, from: u32, to: u32) -> Result<(), TooLong> {
        let Some(place) = self.changes.get_mut(reference) else { return Ok(()) };
        if place.is_none() {
            self.positions += u64::from(bases) + 1;
            if self.positions > POSITIONS_MAX {
                return Err(TooLong);
            }
        }
        let changes = place.get_or_insert_with(|| vec![0; bases as usize + 1].into());
        if let Some(change) = changes.get_mut(from as usize) {
            *change += 1;
        }
        if let Some(change) = changes.get_mut(to as usize) {
            *change -= 1;
        }
        Ok(())
    }

    pub fn finish(self, totals: &mut Totals) {
        for (reference, changes) in self.changes.into_iter().enumerate() {
            let Some(changes) = changes else { continue };
            // The last place is past the end: there the depth is 0 again.
            let within = changes.split_last().map_or(&[][..], |(_, within)| within);
            totals.positions(reference, 0, within, &mut 0);
        }
    }
}
