//! Tags: the optional fields at the end of a record.

use super::{int_at, unsigned};

/// One tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub tag: [u8; 2],
    /// `A`, `c`, `C`, `s`, `S`, `i`, `I`, `f`, `Z`, `H` or `B`.
    pub kind: u8,
    /// Text without its NUL; of an array also its type and count.
    pub value: &'a [u8],
}

/// Why the tags of a record cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Ends within a tag.
    Truncated,
    /// A type that does not exist.
    Kind(u8),
    /// An array says that it has more elements than bytes are left, or fewer than none.
    Count(i32),
}

impl Field<'_> {
    /// Bytes of one element of an array of this type.
    fn element_bytes(kind: u8) -> Option<usize> {
        match kind {
            b'A' | b'c' | b'C' => Some(1),
            b's' | b'S' => Some(2),
            b'i' | b'I' | b'f' => Some(4),
            _ => None,
        }
    }
}

impl<'a> Field<'a> {
    /// The operations of a CIGAR that is too long for its place.
    pub fn long_cigar(&self) -> Option<&'a [u8]> {
        if self.tag == *b"CG" && self.kind == b'B' && self.value.first() == Some(&b'I') {
            self.value.get(5..)
        } else {
            None
        }
    }
}

/// The tags of a record, until the end or the first that is broken.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn parse(&self) -> Result<(Field<'a>, &'a [u8]), Broken> {
        let Some(([first, second, kind], after)) = self.rest.split_first_chunk::<3>() else {
            return Err(Broken::Truncated);
        };
        let (size, terminator) = match kind {
            b'Z' | b'H' => {
                let end = after.iter().position(|byte| *byte == 0).ok_or(Broken::Truncated)?;
                (end, 1)
            }
            b'B' => (array_bytes(after)?, 0),
            other => (Field::element_bytes(*other).ok_or(Broken::Kind(*other))?, 0),
        };
        let (value, after) = after.split_at_checked(size).ok_or(Broken::Truncated)?;
        let rest = after.get(terminator..).unwrap_or_default();
        Ok((Field { tag: [*first, *second], kind: *kind, value }, rest))
    }
}

/// Bytes of an array with its type and count.
fn array_bytes(bytes: &[u8]) -> Result<usize, Broken> {
    let kind = *bytes.first().ok_or(Broken::Truncated)?;
    let element = Field::element_bytes(kind).filter(|_| kind != b'A').ok_or(Broken::Kind(kind))?;
    if bytes.len() < 5 {
        return Err(Broken::Truncated);
    }
    let count = int_at(bytes, 1);
    let size = unsigned(count).checked_mul(element).filter(|size| count >= 0 && *size <= bytes.len() - 5);
    size.map(|size| size + 5).ok_or(Broken::Count(count))
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.parse() {
            Ok((field, rest)) => {
                self.rest = rest;
                Some(Ok(field))
            }
            Err(broken) => {
                self.rest = &[];
                Some(Err(broken))
            }
        }
    }
}
