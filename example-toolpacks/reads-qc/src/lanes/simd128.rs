//! Sixteen bytes in one of the guest's own registers.

use core::arch::wasm32::{
    i8x16_bitmask, i64x2_extract_lane, u8x16_eq, u8x16_lt, u8x16_splat, u8x16_sub, u64x2, v128, v128_and,
    v128_andnot, v128_or,
};

/// See [`super::Bytes`].
#[derive(Clone, Copy)]
pub struct Register(v128);

impl Register {
    #[inline(always)]
    pub fn of(low: u64, high: u64) -> Self {
        Self(u64x2(low, high))
    }

    #[inline(always)]
    pub fn halves(self) -> (u64, u64) {
        (i64x2_extract_lane::<0>(self.0).cast_unsigned(), i64x2_extract_lane::<1>(self.0).cast_unsigned())
    }

    #[inline(always)]
    pub fn equal(self, byte: u8) -> Self {
        Self(u8x16_eq(self.0, u8x16_splat(byte)))
    }

    #[inline(always)]
    pub fn below(self, byte: u8) -> Self {
        Self(u8x16_lt(self.0, u8x16_splat(byte)))
    }

    #[inline(always)]
    pub fn minus(self, other: Self) -> Self {
        Self(u8x16_sub(self.0, other.0))
    }

    #[inline(always)]
    pub fn and(self, other: Self) -> Self {
        Self(v128_and(self.0, other.0))
    }

    #[inline(always)]
    pub fn or(self, other: Self) -> Self {
        Self(v128_or(self.0, other.0))
    }

    #[inline(always)]
    pub fn without(self, other: Self) -> Self {
        Self(v128_andnot(self.0, other.0))
    }

    #[inline(always)]
    pub fn splat(byte: u8) -> Self {
        Self(u8x16_splat(byte))
    }

    #[inline(always)]
    pub fn highest_bits(self) -> u16 {
        i8x16_bitmask(self.0)
    }
}
