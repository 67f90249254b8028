//! Canonical JSON: RFC 8785 behind a stricter door.
//!
//! RFC 8785 gives 2⁵³ and 2⁵³+1 the same bytes, and common parsers keep the last of two equal
//! keys in silence. Either would serve one call's answer to another, so [`parse`] refuses both
//! before anything is hashed.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::digest::Digest;

/// Deepest nesting that is read. Parsing recurses, so a caller could else choose our stack.
pub const DEPTH_MAX: usize = 64;

/// Largest magnitude of an integer: beyond it, doubles no longer tell neighbours apart.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// A JSON text in canonical form (RFC 8785): equal values have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalJson(String);

/// Why a text is refused before it is hashed.
#[derive(Debug, thiserror::Error)]
pub enum StrictError {
    /// More bytes than the door lets in.
    #[error("JSON is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// Not JSON, or JSON that we refuse; says what and where.
    #[error("{0}")]
    Refused(String),
}

/// Reads JSON, refusing duplicate keys at any depth, integers outside ±(2⁵³−1), numbers that are
/// not finite, lone surrogates, nesting deeper than [`DEPTH_MAX`] and more than `limit_bytes`.
/// A float that is a whole number within ±(2⁵³−1) is kept as that integer, and `-0` as `0`.
///
/// # Errors
/// [`StrictError`], with line and column where the parser knows them.
pub fn parse(text: &[u8], limit_bytes: usize) -> Result<Value, StrictError> {
    if text.len() > limit_bytes {
        return Err(StrictError::TooLarge { limit_bytes });
    }
    let refused = |error: serde_json::Error| StrictError::Refused(error.to_string());
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // Our own depth is smaller than serde_json's 128, so that limit never speaks first.
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).map_err(refused)?;
    deserializer.end().map_err(refused)?;
    Ok(value)
}

impl CanonicalJson {
    /// The canonical form of a value from [`parse`] or of our own making.
    ///
    /// # Errors
    /// When the value holds what [`parse`] would refuse.
    pub fn of(value: &Value) -> Result<Self, StrictError> {
        check(value, 0)?;
        let text = serde_json_canonicalizer::to_string(value)
            .map_err(|error| StrictError::Refused(error.to_string()))?;
        Ok(Self(text))
    }

    /// Parses `text` strictly and makes it canonical.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn from_text(text: &[u8], limit_bytes: usize) -> Result<Self, StrictError> {
        Self::of(&parse(text, limit_bytes)?)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 over the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The value again.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }
}

impl fmt::Display for CanonicalJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Holds a value that did not come through [`parse`] to the same rules.
fn check(value: &Value, depth: usize) -> Result<(), StrictError> {
    if depth > DEPTH_MAX {
        return Err(StrictError::Refused(format!("nested deeper than {DEPTH_MAX}")));
    }
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) if integer.abs() > INTEGER_MAX => Err(out_of_range(number)),
            (None, Some(_)) => Err(out_of_range(number)),
            (Some(_), _) | (None, None) => Ok(()),
        },
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        Value::Object(members) => members.values().try_for_each(|member| check(member, depth + 1)),
    }
}

fn out_of_range(number: impl fmt::Display) -> StrictError {
    StrictError::Refused(format!("integer {number} is outside ±(2^53-1)"))
}

/// Builds a `Value` and refuses on the way.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if (-INTEGER_MAX..=INTEGER_MAX).contains(&value) {
            Ok(Value::Number(value.into()))
        } else {
            Err(E::custom(out_of_range(value)))
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value)
            .map_err(|_too_large| E::custom(out_of_range(value)))
            .and_then(|v| self.visit_i64(v))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        number(value).map(Value::Number).ok_or_else(|| E::custom(out_of_range(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

/// A finite double as JSON keeps it: whole numbers within ±(2⁵³−1) as integers, larger whole
/// numbers refused, since their neighbours would have the same bytes.
fn number(value: f64) -> Option<Number> {
    let integer_max = INTEGER_MAX as f64;
    if !value.is_finite() {
        return None;
    }
    if value.fract() != 0.0 {
        return Number::from_f64(value);
    }
    if value.abs() > integer_max {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within ±(2^53-1)")]
    let integer = value as i64;
    Some(Number::from(integer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn canonical(text: &str) -> Result<String, String> {
        CanonicalJson::from_text(text.as_bytes(), LIMIT).map(|c| c.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_door_refuses_what_would_hash_alike() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let cases: &[(&str, &str)] = &[
            (r#"{"a":1,"a":2}"#, "duplicate key"),
            (r#"{"x":[{"a":1,"\u0061":2}]}"#, "duplicate key"),
            ("9007199254740992", "outside"),
            ("-9007199254740992", "outside"),
            ("18446744073709551616", "outside"),
            ("9007199254740993.0", "outside"),
            ("1e400", "out of range"),
            (r#""\ud800""#, "hex escape"),
            (r#""\ud800\u0041""#, "surrogate"),
            ("\u{feff}1", "expected value"),
            ("1 2", "trailing"),
            ("", "EOF"),
            ("NaN", "expected"),
            (&deep, "deeper"),
        ];
        for (text, reason) in cases {
            let error = canonical(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(canonical(&format!("\"{}\"", "x".repeat(LIMIT))).is_err());
        assert!(CanonicalJson::from_text(b"\"\xff\"", LIMIT).is_err());
    }

    #[test]
    fn equal_values_have_equal_bytes() {
        let cases: &[(&str, &str)] = &[
            (r#" { "b" : 1 , "a" : [ ] } "#, r#"{"a":[],"b":1}"#),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("1e-7", "1e-7"),
            (r#""\u0065\/""#, r#""e/""#),
            (r#"{"€":1,"\ud83d\ude00":2,"\ufb33":3}"#, "{\"€\":1,\"😀\":2,\"\u{fb33}\":3}"),
            (r#"{"10":1,"9":2,"__proto__":3}"#, r#"{"10":1,"9":2,"__proto__":3}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text).as_deref(), Ok(*expected), "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-INTEGER_MAX..=INTEGER_MAX).prop_map(Value::from),
            (-1e6..1e6_f64).prop_filter_map("whole", |f| (f.fract() != 0.0).then(|| Value::from(f))),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(value in any_json()) {
            let once = CanonicalJson::of(&value).unwrap();
            let twice = CanonicalJson::from_text(once.as_str().as_bytes(), usize::MAX).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn white_space_and_key_order_do_not_matter(value in any_json()) {
            let pretty = serde_json::to_string_pretty(&reversed(&value)).unwrap();
            let other = CanonicalJson::from_text(pretty.as_bytes(), usize::MAX).unwrap();
            prop_assert_eq!(CanonicalJson::of(&value).unwrap(), other);
        }

        #[test]
        fn different_values_have_different_bytes(a in any_json(), b in any_json()) {
            let same = CanonicalJson::of(&a).unwrap() == CanonicalJson::of(&b).unwrap();
            prop_assert_eq!(same, a == b);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _refused_or_not = parse(&bytes, LIMIT).is_ok();
        }
    }

    fn reversed(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                Value::Object(members.iter().rev().map(|(k, v)| (k.clone(), reversed(v))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(reversed).collect()),
            other => other.clone(),
        }
    }
}
