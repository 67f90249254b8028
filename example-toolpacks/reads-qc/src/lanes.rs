//! Loops over bytes in blocks of one SIMD register, so that no byte is left for a slow loop at the
//! end: on reads of 150 bases such ends cost as much as all the rest.

/// Bytes in a block.
pub const LANES: usize = 16;

/// Bytes that are looked at together.
pub type Block = [u8; LANES];

/// Hands on every block of `piece`, the last one filled up with zeros.
#[inline]
pub fn blocks(piece: &[u8], mut each: impl FnMut(&Block)) {
    let (whole, rest) = piece.as_chunks::<LANES>();
    for block in whole {
        each(block);
    }
    if !rest.is_empty() {
        each(&padded(0, rest));
    }
}

/// The same for a piece whose first byte belongs into lane `start`.
#[inline]
pub fn blocks_from(start: usize, piece: &[u8], mut each: impl FnMut(&Block)) {
    let missing = (LANES - start % LANES) % LANES;
    let (first, aligned) = piece.split_at(missing.min(piece.len()));
    if !first.is_empty() {
        each(&padded(start % LANES, first));
    }
    blocks(aligned, each);
}

/// Fewer bytes than a block has, the first of them in lane `start`, zeros in all others.
///
/// A copy whose length is not known is a call out of the guest, several for each read. Two loads
/// that overlap and a shift do the same.
#[inline]
fn padded(start: usize, bytes: &[u8]) -> Block {
    let length = bytes.len();
    let (low, high) = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let high = if length > 8 { u64::from_le_bytes(*last) >> (8 * (LANES - length)) } else { 0 };
        (u64::from_le_bytes(*first), high)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let above = u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4));
        (u64::from(u32::from_le_bytes(*first)) | above, 0)
    } else {
        (bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)), 0)
    };
    let value = u128::from(high) << 64 | u128::from(low);
    if start == 0 { value.to_le_bytes() } else { (value << (8 * start)).to_le_bytes() }
}

/// The highest value that a function gives for any byte, at least its value for `filler`.
#[inline]
pub fn highest(piece: &[u8], filler: u8, value: impl Fn(u8) -> u8) -> u8 {
    let of = |bytes: &[u8]| bytes.iter().map(|&byte| value(byte)).fold(value(filler), u8::max);
    // The last block overlaps the one before: to look twice changes nothing.
    match piece.last_chunk::<LANES>() {
        Some(last) => of(piece.as_chunks::<LANES>().0.as_flattened()).max(of(last)),
        None => of(piece),
    }
}

/// Adds 1 to each lane whose byte passes a test. 255 blocks cannot overflow a lane.
#[inline(always)]
pub fn tally(lanes: &mut Block, block: &Block, test: impl Fn(u8) -> bool) {
    // By value: where the compiler cannot see that the two do not overlap, it makes no SIMD.
    let (mut sums, block) = (*lanes, *block);
    for (sum, byte) in sums.iter_mut().zip(block) {
        *sum = sum.wrapping_add(u8::from(test(byte)));
    }
    *lanes = sums;
}

/// The sum of a block's lanes.
#[inline]
pub fn sum(lanes: &Block) -> u64 {
    lanes.iter().map(|&lane| u64::from(lane)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_seen_once_at_any_length_and_start() {
        for (length, start) in (0..70).flat_map(|length| (0..20).map(move |start| (length, start))) {
            let piece: Vec<u8> = (0..length).map(|at| b'a' + at % 5).collect();
            let mut lanes = [0; LANES];
            let mut seen = Vec::new();
            blocks_from(start, &piece, |block| {
                tally(&mut lanes, block, |byte| byte == b'a');
                seen.extend_from_slice(block);
            });
            let trimmed: Vec<u8> = seen.iter().copied().filter(|&byte| byte != 0).collect();
            assert_eq!(trimmed, piece);
            let first = seen.iter().position(|&byte| byte != 0);
            assert_eq!(first, (length > 0).then_some(start % LANES));
            assert_eq!(sum(&lanes), piece.iter().filter(|&&byte| byte == b'a').count() as u64);
            assert_eq!(highest(&piece, b'a', |byte| byte - b'a'), length.saturating_sub(1).min(4));
        }
    }
}
