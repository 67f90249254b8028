//! Sixteen bytes where the guest's registers are not: native tests and examples.

/// See [`super::Bytes`].
#[derive(Clone, Copy)]
pub struct Register([u8; 16]);

impl Register {
    pub fn of(low: u64, high: u64) -> Self {
        Self((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
    }

    pub fn halves(self) -> (u64, u64) {
        let value = u128::from_le_bytes(self.0);
        let half = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or_default();
        (half(value), half(value >> 64))
    }

    pub fn equal(self, byte: u8) -> Self {
        Self(self.0.map(|lane| if lane == byte { 0xff } else { 0 }))
    }

    pub fn below(self, byte: u8) -> Self {
        Self(self.0.map(|lane| if lane < byte { 0xff } else { 0 }))
    }

    pub fn minus(self, other: Self) -> Self {
        self.both(other, u8::wrapping_sub)
    }

    pub fn and(self, other: Self) -> Self {
        self.both(other, |a, b| a & b)
    }

    pub fn or(self, other: Self) -> Self {
        self.both(other, |a, b| a | b)
    }

    pub fn without(self, other: Self) -> Self {
        self.both(other, |a, b| a & !b)
    }

    pub fn splat(byte: u8) -> Self {
        Self([byte; 16])
    }

    pub fn highest_bits(self) -> u16 {
        self.0.iter().rev().fold(0, |bits, lane| bits << 1 | u16::from(lane >> 7))
    }

    fn both(self, other: Self, of: impl Fn(u8, u8) -> u8) -> Self {
        let mut lanes = self.0;
        for (lane, other) in lanes.iter_mut().zip(other.0) {
            *lane = of(*lane, other);
        }
        Self(lanes)
    }
}
