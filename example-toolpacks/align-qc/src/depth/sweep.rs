//! Depth of a sorted file: only the stretch that the current reads lie on is kept.

use super::totals::Totals;

/// Most positions between the start of the current read and the end of any before it.
pub const SPAN_MAX: u32 = 1 << 24;

/// Where the sweep is.
pub struct Sweep {
    reference: usize,
    /// The position of `changes[head]`.
    position: u32,
    /// Depth just before that position.
    depth: i64,
    /// How the depth changes, from `position` on.
    changes: Vec<i32>,
    head: usize,
}

impl Sweep {
    pub fn new() -> Self {
        Self { reference: 0, position: 0, depth: 0, changes: Vec::new(), head: 0 }
    }

    /// Goes on to where a read begins; what lies before is done. False if that is behind.
    pub fn advance(&mut self, reference: usize, position: u32, totals: &mut Totals) -> bool {
        if (reference, position) < (self.reference, self.position) {
            return false;
        }
        if reference > self.reference {
            self.finish(totals);
            self.reference = reference;
            self.position = 0;
        }
        // Where no read reaches there is nothing to count.
        let ahead = (position - self.position) as usize;
        let known = ahead.min(self.changes.len() - self.head);
        self.flush(known, totals);
        self.position = position;
        true
    }

    /// Adds a stretch of aligned bases of the read that was advanced to; or says how many bases
    /// away it ends, if that is too far.
    pub fn add(&mut self, from: u32, to: u32) -> Result<(), u32> {
        let (start, end) = (from.saturating_sub(self.position), to.saturating_sub(self.position));
        if end > SPAN_MAX {
            return Err(end);
        }
        self.make_room(end as usize + 1);
        let (start, end) = (self.head + start as usize, self.head + end as usize);
        if let Some(change) = self.changes.get_mut(start) {
            *change += 1;
        }
        if let Some(change) = self.changes.get_mut(end) {
            *change -= 1;
        }
        Ok(())
    }

    /// Counts what is left of the current reference.
    pub fn finish(&mut self, totals: &mut Totals) {
        self.flush(self.changes.len() - self.head, totals);
        self.changes.clear();
        self.head = 0;
        self.depth = 0;
    }

    fn flush(&mut self, positions: usize, totals: &mut Totals) {
        let done = self.changes.get(self.head..self.head + positions).unwrap_or_default();
        totals.positions(self.reference, self.position, done, &mut self.depth);
        self.head += positions;
        self.position += u32::try_from(positions).unwrap_or_default();
        if self.head == self.changes.len() {
            self.changes.clear();
            self.head = 0;
        }
    }

    /// Sees to it that so many positions can be changed. What is done is given up once it is more
    /// than what is not.
    fn make_room(&mut self, positions: usize) {
        if self.head + positions <= self.changes.len() {
            return;
        }
        if self.head > self.changes.len() / 2 {
            self.changes.drain(..self.head);
            self.head = 0;
        }
        self.changes.resize(self.head + positions, 0);
    }
}
