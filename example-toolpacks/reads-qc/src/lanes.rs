//! Loops over bytes, sixteen at a time.
//!
//! The registers are named outright: left to itself the compiler takes such blocks apart where a
//! value is used twice, and then counting bases alone costs what all the rest does.

#[cfg_attr(target_feature = "simd128", path = "lanes/simd128.rs")]
#[cfg_attr(not(target_feature = "simd128"), path = "lanes/portable.rs")]
mod register;

use register::Register;

/// Bytes in a block.
pub const LANES: usize = 16;

/// Bytes in memory that fit into one register.
pub type Block = [u8; LANES];

/// A block in a register. A lane that passes a test has all bits set, another none.
#[derive(Clone, Copy)]
pub struct Bytes(Register);

impl Bytes {
    #[inline(always)]
    pub fn of(block: &Block) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *block;
        Self(Register::of(u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest)))
    }

    #[inline(always)]
    pub fn zeros() -> Self {
        Self(Register::splat(0))
    }

    /// As where each lane passed.
    #[inline(always)]
    pub fn all() -> Self {
        Self(Register::splat(0xff))
    }

    #[inline(always)]
    pub fn to_block(self) -> Block {
        let (low, high) = self.0.halves();
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    }

    /// Each lane's bits that `mask` has too.
    #[inline(always)]
    pub fn masked(self, mask: u8) -> Self {
        Self(self.0.and(Register::splat(mask)))
    }

    /// Each lane less `byte`, wrapping.
    #[inline(always)]
    pub fn less(self, byte: u8) -> Self {
        Self(self.0.minus(Register::splat(byte)))
    }

    #[inline(always)]
    pub fn equal(self, byte: u8) -> Self {
        Self(self.0.equal(byte))
    }

    #[inline(always)]
    pub fn below(self, byte: u8) -> Self {
        Self(self.0.below(byte))
    }

    #[inline(always)]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    #[inline(always)]
    pub fn without(self, other: Self) -> Self {
        Self(self.0.without(other.0))
    }

    /// Counters, one higher where a lane of `passed` passed. 255 times cannot overflow.
    #[inline(always)]
    pub fn counting(self, passed: Self) -> Self {
        Self(self.0.minus(passed.0))
    }

    /// The first lane that passed.
    #[inline(always)]
    fn first(self) -> Option<usize> {
        let bits = self.0.highest_bits();
        if bits == 0 { None } else { Some(bits.trailing_zeros() as usize) }
    }

    /// The sum of all lanes.
    #[inline]
    pub fn sum(self) -> u64 {
        const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
        let (low, high) = self.0.halves();
        // Four sums of four lanes each, then those four in the highest one.
        let sums = (low & EVEN) + (low >> 8 & EVEN) + (high & EVEN) + (high >> 8 & EVEN);
        sums.wrapping_mul(0x0001_0001_0001_0001) >> 48
    }
}

/// Hands on every block of a piece whose first byte belongs into lane `start`, with zeros in the
/// lanes before its first byte and after its last.
#[inline(always)]
pub fn blocks_from(start: usize, mut piece: &[u8], mut each: impl FnMut(Bytes)) {
    let mut lane = start % LANES;
    while !piece.is_empty() {
        if let (0, Some((block, rest))) = (lane, piece.split_first_chunk::<LANES>()) {
            piece = rest;
            each(Bytes::of(block));
        } else {
            let (bytes, rest) = piece.split_at((LANES - lane).min(piece.len()));
            piece = rest;
            each(padded(lane, bytes));
            lane = 0;
        }
    }
}

/// At most a block's bytes, the first of them in lane `start`, zeros in all others.
///
/// A copy whose length is not known is a call out of the guest, several for each read. Two loads
/// that overlap and a shift do the same.
#[inline]
fn padded(start: usize, bytes: &[u8]) -> Bytes {
    let length = bytes.len();
    if let Some(block) = bytes.first_chunk::<LANES>() {
        return Bytes::of(block);
    }
    let (low, high) = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let high = if length > 8 { u64::from_le_bytes(*last) >> (8 * (LANES - length)) } else { 0 };
        (u64::from_le_bytes(*first), high)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let above = u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4));
        (u64::from(u32::from_le_bytes(*first)) | above, 0)
    } else {
        (bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)), 0)
    };
    if start == 0 {
        return Bytes(Register::of(low, high));
    }
    Bytes::of(&((u128::from(high) << 64 | u128::from(low)) << (8 * start)).to_le_bytes())
}

/// Where the first byte lies that passes a test; `None` also where it lies in the last few bytes,
/// which fill no block.
#[inline(always)]
pub fn find(bytes: &[u8], test: impl Fn(Bytes) -> Bytes) -> Option<usize> {
    let mut before = 0;
    for block in bytes.as_chunks::<LANES>().0 {
        if let Some(lane) = test(Bytes::of(block)).first() {
            return Some(before + lane);
        }
        before += LANES;
    }
    None
}

/// Whether any byte passes a test.
#[inline(always)]
pub fn any(piece: &[u8], test: impl Fn(Bytes) -> Bytes) -> bool {
    // The last block overlaps the one before: to look twice changes nothing.
    let Some(last) = piece.last_chunk::<LANES>() else {
        return test(padded(0, piece)).first().is_some_and(|lane| lane < piece.len());
    };
    let blocks = piece.as_chunks::<LANES>().0.iter();
    blocks.fold(test(Bytes::of(last)), |passed, block| passed.or(test(Bytes::of(block)))).first().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> impl Iterator<Item = Vec<u8>> {
        (0..70).map(|length| (0..length).map(|at| b'a' + at % 5).collect())
    }

    #[test]
    fn every_byte_is_seen_once_at_any_length_and_start() {
        for (piece, start) in pieces().flat_map(|piece| (0..20).map(move |start| (piece.clone(), start))) {
            let mut counters = Bytes::zeros();
            let mut seen = Vec::new();
            blocks_from(start, &piece, |bytes| {
                counters = counters.counting(bytes.equal(b'a'));
                seen.extend_from_slice(&bytes.to_block());
            });
            let trimmed: Vec<u8> = seen.iter().copied().filter(|&byte| byte != 0).collect();
            assert_eq!(trimmed, piece);
            let first = seen.iter().position(|&byte| byte != 0);
            assert_eq!(first, (!piece.is_empty()).then_some(start % LANES));
            assert_eq!(counters.sum(), piece.iter().filter(|&&byte| byte == b'a').count() as u64);
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_lies() {
        for (mut piece, at) in pieces().flat_map(|piece| (0..70).map(move |at| (piece.clone(), at))) {
            let test = |bytes: Bytes| bytes.equal(b'\n').or(bytes.less(b'x').below(2));
            assert!(!any(&piece, test));
            assert_eq!(find(&piece, test), None);
            let Some(byte) = piece.get_mut(at) else { continue };
            *byte = *b"\nxy".get(at % 3).unwrap();
            assert!(any(&piece, test), "{piece:?}");
            let whole = piece.len() / LANES * LANES;
            assert_eq!(find(&piece, test), (at < whole).then_some(at), "{piece:?}");
        }
    }

    #[test]
    fn lanes_are_bytes() {
        let block: Block = std::array::from_fn(|lane| b'Z'.wrapping_add(u8::try_from(lane * 16).unwrap()));
        let bytes = Bytes::of(&block);
        assert_eq!(bytes.to_block(), block);
        assert_eq!(bytes.masked(0xdf).to_block(), block.map(|byte| byte & 0xdf));
        assert_eq!(bytes.less(b'a').to_block(), block.map(|byte| byte.wrapping_sub(b'a')));
        let mask = |test: fn(u8) -> bool| block.map(|byte| if test(byte) { 0xff } else { 0 });
        assert_eq!(bytes.equal(b'j').to_block(), mask(|byte| byte == b'j'));
        assert_eq!(bytes.below(b'z').to_block(), mask(|byte| byte < b'z'));
        let some = bytes.below(b'z').without(bytes.below(b'[')).or(bytes.equal(b'j'));
        assert_eq!(some.to_block(), mask(|byte| (b'['..b'z').contains(&byte) || byte == b'j'));
        assert_eq!(bytes.sum(), block.iter().map(|&byte| u64::from(byte)).sum::<u64>());
        assert_eq!(Bytes::of(&[0xff; LANES]).sum(), 16 * 255);
    }
}
