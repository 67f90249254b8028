//! CIGAR operations.

/// One operation: its length, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub length: u32,
    pub code: u32,
}

impl Op {
    pub const SKIP: u32 = 3;
    pub const SOFT_CLIP: u32 = 4;
    pub const HARD_CLIP: u32 = 5;
    /// Codes from here on do not exist.
    pub const CODES: u32 = 9;

    /// The clip of a whole read.
    pub fn clip_of(bases: i32) -> Self {
        Self { length: bases.cast_unsigned(), code: Self::SOFT_CLIP }
    }

    /// Whether it stands for bases of the read: M, I, S, =, X.
    pub fn takes_read(self) -> bool {
        matches!(self.code, 0 | 1 | 4 | 7 | 8)
    }

    /// Whether it stands for bases of the reference: M, D, N, =, X.
    pub fn takes_reference(self) -> bool {
        matches!(self.code, 0 | 2 | 3 | 7 | 8)
    }

    /// Whether a base of the read lies on one of the reference: M, =, X.
    pub fn aligns(self) -> bool {
        self.takes_read() && self.takes_reference()
    }
}

/// The operations of a CIGAR as it stands in a record.
pub fn ops(cigar: &[u8]) -> impl Iterator<Item = Op> {
    cigar.as_chunks::<4>().0.iter().map(|four| {
        let word = u32::from_le_bytes(*four);
        Op { length: word >> 4, code: word & 0xf }
    })
}
