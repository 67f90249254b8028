//! The header: its text, and the list of references that records point into.

use super::bytes::{Bytes, Chunks};
use super::{Damage, What, int_at, unsigned};

/// Most bytes of text, and of all names together.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Most references: more than the contigs of all but the largest assemblies.
const REFERENCES_MAX: i32 = 1 << 20;

/// What a file says before its first record.
#[derive(Debug, Default)]
pub struct Header {
    pub text: Vec<u8>,
    pub references: References,
}

/// The references, in the order in which records count them. Names lie one after the other, so
/// that a million of them is two allocations.
#[derive(Debug, Default)]
pub struct References {
    names: Vec<u8>,
    /// (end of the name, length in bases).
    list: Vec<(u32, u32)>,
}

impl References {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// A reference's name, as it stands in the file.
    pub fn name(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.list.get(before)).map_or(0, |entry| entry.0);
        let end = self.list.get(index).map_or(start, |entry| entry.0);
        self.names.get(start as usize..end as usize).unwrap_or_default()
    }

    /// A reference's length in bases.
    pub fn bases(&self, index: usize) -> u32 {
        self.list.get(index).map_or(0, |entry| entry.1)
    }

    /// Names and lengths in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        (0..self.len()).map(|index| (self.name(index), self.bases(index)))
    }

    /// Bases of all references together.
    pub fn total_bases(&self) -> u64 {
        self.list.iter().map(|entry| u64::from(entry.1)).sum()
    }

    fn push(&mut self, name: &[u8], bases: u32) {
        self.names.extend_from_slice(name);
        self.list.push((u32::try_from(self.names.len()).unwrap_or(u32::MAX), bases));
    }
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn read<C: Chunks>(bytes: &mut Bytes<C>) -> Result<Self, Damage> {
        let (text_bytes, at) = begin(bytes)?;
        if unsigned(text_bytes) > TEXT_BYTES_MAX {
            return Err(Damage::header(at, What::LongText(text_bytes)));
        }
        let text = exactly(bytes, unsigned(text_bytes))?.to_vec();
        let (count, at) = reference_count(bytes)?;
        if count > REFERENCES_MAX {
            return Err(Damage::header(at, What::ManyReferences(count)));
        }
        let mut references = References::default();
        for _ in 0..count {
            let (name_bytes, at) = name_length(bytes)?;
            if references.names.len() + unsigned(name_bytes) > TEXT_BYTES_MAX {
                return Err(Damage::header(at, What::ManyReferences(count)));
            }
            let entry = exactly(bytes, unsigned(name_bytes) + 4)?;
            let (name, length) = entry.split_at(unsigned(name_bytes));
            let bases = int_at(length, 0);
            let Some((0, name)) = name.split_last() else {
                return Err(Damage::header(at, What::NameEnd));
            };
            let Ok(bases) = u32::try_from(bases) else {
                return Err(Damage::header(at, What::ReferenceLength(bases)));
            };
            references.push(name, bases);
        }
        Ok(Self { text, references })
    }

    /// Passes the header and keeps nothing of it but the number of references.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn pass<C: Chunks>(bytes: &mut Bytes<C>) -> Result<i32, Damage> {
        let (text_bytes, at) = begin(bytes)?;
        skip(bytes, unsigned(text_bytes), at)?;
        let (count, _) = reference_count(bytes)?;
        for _ in 0..count {
            let (name_bytes, at) = name_length(bytes)?;
            skip(bytes, unsigned(name_bytes), at)?;
            let bases = int_at(exactly(bytes, 4)?, 0);
            if bases < 0 {
                return Err(Damage::header(at, What::ReferenceLength(bases)));
            }
        }
        Ok(count)
    }
}

/// The magic, and how long the text is.
fn begin<C: Chunks>(bytes: &mut Bytes<C>) -> Result<(i32, u64), Damage> {
    if take(bytes, 4)? != b"BAM\x01" {
        return Err(Damage::header(0, What::Magic));
    }
    let at = bytes.offset();
    let length = int_at(exactly(bytes, 4)?, 0);
    if length < 0 {
        return Err(Damage::header(at, What::TextLength(length)));
    }
    Ok((length, at))
}

fn reference_count<C: Chunks>(bytes: &mut Bytes<C>) -> Result<(i32, u64), Damage> {
    let at = bytes.offset();
    let count = int_at(exactly(bytes, 4)?, 0);
    if count < 0 {
        return Err(Damage::header(at, What::ReferenceCount(count)));
    }
    Ok((count, at))
}

fn name_length<C: Chunks>(bytes: &mut Bytes<C>) -> Result<(i32, u64), Damage> {
    let at = bytes.offset();
    let length = int_at(exactly(bytes, 4)?, 0);
    if length < 1 {
        return Err(Damage::header(at, What::NameLength(length)));
    }
    Ok((length, at))
}

fn skip<C: Chunks>(bytes: &mut Bytes<C>, size: usize, at: u64) -> Result<(), Damage> {
    match bytes.skip(size) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Damage::header(at, What::HeaderTruncated)),
        Err(_) => Err(Damage::header(at, What::Unreadable)),
    }
}

fn exactly<C: Chunks>(bytes: &mut Bytes<C>, size: usize) -> Result<&[u8], Damage> {
    let at = bytes.offset();
    let taken = take(bytes, size)?;
    if taken.len() < size { Err(Damage::header(at, What::HeaderTruncated)) } else { Ok(taken) }
}

fn take<C: Chunks>(bytes: &mut Bytes<C>, size: usize) -> Result<&[u8], Damage> {
    let at = bytes.offset();
    bytes.take(size).map_err(|_| Damage::header(at, What::Unreadable))
}
