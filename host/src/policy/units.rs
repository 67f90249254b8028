//! Amounts with their units: `"256MiB"`, `"10min"`, and plain counts.

/// What an amount is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Written as a whole number.
    Count,
    /// Written with `B`, `KiB`, `MiB`, `GiB` or `TiB`; kept in bytes.
    Bytes,
    /// Written with `ms`, `s`, `min`, `h` or `d`; kept in milliseconds.
    Time,
}

const BYTES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: &[(&str, u64)] =
    &[("min", 60_000), ("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("s", 1_000)];

/// Most digits after the point: enough for `1.5GiB`, and the arithmetic stays exact.
const FRACTION_DIGITS_MAX: usize = 3;

impl Unit {
    fn scale(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Count => &[],
            Self::Bytes => BYTES,
            Self::Time => TIMES,
        }
    }

    /// What a good value looks like.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Count => "a whole number above 0",
            Self::Bytes => "a size with its unit, such as \"256MiB\" (B, KiB, MiB, GiB, TiB)",
            Self::Time => "a time with its unit, such as \"10min\" (ms, s, min, h, d)",
        }
    }

    /// Reads a text such as `1.5GiB`; `None` where it is no such amount, or is 0.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<u64> {
        let (number, factor) =
            self.scale().iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > FRACTION_DIGITS_MAX {
            return None;
        }
        let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
        let part = thousandths.checked_mul(factor)?;
        let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
        let amount = whole.checked_add(part / 1000)?;
        (part % 1000 == 0 && amount > 0).then_some(amount)
    }

    /// Writes an amount so that it reads back the same.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        let mut best: Option<(&str, u64)> = None;
        for (unit, factor) in self.scale().iter().filter(|(_, factor)| amount.is_multiple_of(*factor)) {
            if best.is_none_or(|(_, largest)| *factor > largest) {
                best = Some((unit, *factor));
            }
        }
        match best {
            Some((unit, factor)) => format!("{}{unit}", amount / factor),
            None => amount.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_required_and_zero_is_no_limit() {
        let cases = [
            (Unit::Bytes, "256MiB", Some(256 << 20)),
            (Unit::Bytes, "1.5GiB", Some(3 << 29)),
            (Unit::Bytes, "1B", Some(1)),
            (Unit::Bytes, "1.5B", None),
            (Unit::Bytes, "256", None),
            (Unit::Bytes, "0MiB", None),
            (Unit::Bytes, "-1MiB", None),
            (Unit::Bytes, "1MB", None),
            (Unit::Bytes, " 1MiB", None),
            (Unit::Bytes, "1 MiB", None),
            (Unit::Bytes, "16777216TiB", None),
            (Unit::Bytes, "0.0001GiB", None),
            (Unit::Bytes, "MiB", None),
            (Unit::Bytes, "", None),
            (Unit::Time, "10min", Some(600_000)),
            (Unit::Time, "250ms", Some(250)),
            (Unit::Time, "7d", Some(604_800_000)),
            (Unit::Time, "0s", None),
            (Unit::Time, "1m", None),
            (Unit::Count, "7", None),
        ];
        for (unit, text, expected) in cases {
            assert_eq!(unit.parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(amount in 1u64..) {
            for unit in [Unit::Bytes, Unit::Time] {
                prop_assert_eq!(unit.parse(&unit.show(amount)), Some(amount));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            for unit in [Unit::Bytes, Unit::Time, Unit::Count] {
                let _amount = unit.parse(&text);
            }
        }
    }
}
