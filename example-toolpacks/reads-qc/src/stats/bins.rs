//! Positions within a read, in bins: exact at first, then 64 to the octave, so that a read of any
//! length needs a bounded number of them.

/// Positions that have a bin of their own.
pub const EXACT: usize = 512;

/// Bins in each octave after that.
const PER_OCTAVE: u64 = 64;

/// log2 of [`EXACT`].
const FIRST_OCTAVE: u32 = EXACT.ilog2();

/// log2 of [`PER_OCTAVE`].
const OCTAVE_BITS: u32 = PER_OCTAVE.ilog2();

const _: () = assert!(EXACT.is_power_of_two() && PER_OCTAVE.is_power_of_two());

/// The bin of a position, both from 0.
pub fn of(position: u64) -> usize {
    if position < EXACT as u64 {
        return usize::try_from(position).unwrap_or(EXACT);
    }
    let octave = position.ilog2();
    let within = (position >> (octave - OCTAVE_BITS)) & (PER_OCTAVE - 1);
    let bin = EXACT as u64 + u64::from(octave - FIRST_OCTAVE) * PER_OCTAVE + within;
    usize::try_from(bin).unwrap_or(usize::MAX)
}

/// The first position of a bin.
pub fn first(bin: usize) -> u64 {
    if bin < EXACT {
        return bin as u64;
    }
    let past = (bin - EXACT) as u64;
    let octave = FIRST_OCTAVE + u32::try_from(past / PER_OCTAVE).unwrap_or(u32::MAX);
    let width = 1_u64 << (octave - OCTAVE_BITS);
    (1 << octave) + (past % PER_OCTAVE) * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_a_partition_in_order() {
        for bin in 0..3000 {
            let start = first(bin);
            assert_eq!(of(start), bin);
            assert_eq!(of(first(bin + 1) - 1), bin);
            assert!(first(bin + 1) > start);
        }
        assert_eq!(first(EXACT + 1) - first(EXACT), 8);
        assert!(of(64 << 30) < 2500);
    }
}
