//! Crockford's base 32, as far as ids need it: 128 bits as 26 digits, most significant first.

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Digits of an id. 26 × 5 = 130 bits: the first digit holds only three.
pub const ID_DIGITS: usize = 26;

/// Writes 128 bits as 26 digits.
#[must_use]
pub fn encode(bits: u128) -> String {
    (0..ID_DIGITS)
        .rev()
        .map(|place| {
            let digit = (bits >> (5 * place)) & 31;
            // `digit` is below 32 by the mask.
            char::from(DIGITS.get(digit as usize).copied().unwrap_or(b'0'))
        })
        .collect()
}

/// Reads 26 digits, in the one spelling that [`encode`] writes; anything else is `None`.
#[must_use]
pub fn decode(text: &str) -> Option<u128> {
    if text.len() != ID_DIGITS {
        return None;
    }
    let mut bits = 0_u128;
    for (place, byte) in text.bytes().enumerate() {
        let digit = DIGITS.iter().position(|known| *known == byte)? as u128;
        if place == 0 && digit > 7 {
            return None;
        }
        bits = (bits << 5) | digit;
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bits_set_is_the_largest_id() {
        assert_eq!(encode(u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert_eq!(encode(0), "0".repeat(26));
        assert_eq!(decode("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), None);
        assert_eq!(decode(&"I".repeat(26)), None);
    }

    proptest::proptest! {
        #[test]
        fn decode_undoes_encode(bits: u128) {
            proptest::prop_assert_eq!(decode(&encode(bits)), Some(bits));
        }
    }
}
