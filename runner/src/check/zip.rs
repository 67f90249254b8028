//! ZIP (APPNOTE 6.3): the directory at the end, every entry at its place, none over another, and
//! each entry's bytes with their length and checksum.
//!
//! Entries must not overlap, and none is inflated past the length that it says, so a file costs
//! no more than its own bytes can hold: about a thousand times their number, a chunk at a time.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Checked, Ended, Plain, bad};

/// The directory's end, without its comment.
const END_BYTES: usize = 22;
/// A comment is 65,535 bytes at most.
const TAIL_BYTES: u64 = 65_535 + END_BYTES as u64;
/// An entry in the directory, and before its bytes, without names.
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// Most entries that a check looks at: it remembers where each lies.
const ENTRIES_MAX: u64 = 1 << 20;
/// A field that stands in the 64-bit extension instead.
const ELSEWHERE: u64 = 0xffff_ffff;

const ENCRYPTED: u16 = 1;
/// Lengths and checksum follow the entry's bytes.
const LENGTHS_FOLLOW: u16 = 8;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

pub(super) fn zip(file: &Plain) -> Checked {
    let directory = Directory::find(file)?;
    let mut at = directory.start;
    let mut places = Vec::new();
    for _ in 0..directory.entries {
        let entry = Entry::read(file, at)?;
        at += entry.length;
        if at > directory.end {
            return Err(bad("the directory is longer than it says", Some(at)));
        }
        places.push(entry.check(file, directory.start)?);
    }
    if at != directory.end {
        return Err(bad("the directory is shorter than it says", Some(at)));
    }
    places.sort_unstable();
    let overlap = places.windows(2).find(|pair| matches!(pair, [(_, end), (start, _)] if start < end));
    match overlap {
        Some(pair) => Err(bad("two entries overlap", pair.get(1).map(|place| place.0))),
        None => Ok(()),
    }
}

struct Directory {
    start: u64,
    end: u64,
    entries: u64,
}

impl Directory {
    fn find(file: &Plain) -> Result<Self, Ended> {
        let length = file.length()?;
        let tail_start = length.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; usize_of(length - tail_start)];
        let filled = file.read(&mut tail, tail_start)?;
        tail.truncate(filled);
        // The comment ends where the file does, so the last one that fits is the right one.
        let fits = |at: &usize| {
            let end = tail.get(*at..).unwrap_or_default();
            end.starts_with(b"PK\x05\x06") && usize::from(u16_at(end, 20)) + END_BYTES == end.len()
        };
        let Some(at) = (0..tail.len()).rev().find(fits) else {
            return Err(bad("the directory's end is missing: the file was cut, or bytes follow it", None));
        };
        let end = tail.get(at..).unwrap_or_default();
        let place = tail_start + at as u64;
        let mut found = Self {
            entries: u64::from(u16_at(end, 10)),
            start: u64::from(u32_at(end, 16)),
            end: u64::from(u32_at(end, 12)),
        };
        let mut directory_end = place;
        let mut disks = u32::from(u16_at(end, 4)) | u32::from(u16_at(end, 6));
        if found.start == ELSEWHERE || found.end == ELSEWHERE || found.entries == 0xffff {
            (found, directory_end, disks) = Self::wide(file, place)?;
        }
        let Some(length) = found.start.checked_add(found.end).filter(|end| *end == directory_end) else {
            return Err(bad("the directory does not lie where it says", Some(place)));
        };
        found.end = length;
        if disks != 0 {
            return Err(bad("a part of several", Some(place)));
        }
        if found.entries > ENTRIES_MAX {
            return Err(bad("more entries than a check looks at", Some(place)));
        }
        Ok(found)
    }

    /// The end of a large file's directory, whose place stands before the ordinary one; where it
    /// lies, and whether there are other parts.
    fn wide(file: &Plain, before: u64) -> Result<(Self, u64, u32), Ended> {
        let missing = || bad("the large directory's end is missing", Some(before));
        let locator: [u8; 20] = file.exactly(before.checked_sub(20).ok_or_else(missing)?)?;
        let place = u64_at(&locator, 8);
        if !locator.starts_with(b"PK\x06\x07") || place >= before {
            return Err(missing());
        }
        let end: [u8; 56] = file.exactly(place)?;
        if !end.starts_with(b"PK\x06\x06") || u64_at(&end, 4).checked_add(place + 12) != Some(before - 20) {
            return Err(missing());
        }
        let found = Self { entries: u64_at(&end, 32), start: u64_at(&end, 48), end: u64_at(&end, 40) };
        Ok((found, place, u32_at(&end, 16) | u32_at(&end, 20)))
    }
}

/// What the directory says of one entry.
struct Entry {
    /// In the directory.
    place: u64,
    length: u64,
    flags: u16,
    method: u16,
    sum: u32,
    packed: u64,
    plain: u64,
    offset: u64,
    name: Vec<u8>,
}

impl Entry {
    fn read(file: &Plain, place: u64) -> Result<Self, Ended> {
        let fixed: [u8; ENTRY_BYTES] = file.exactly(place)?;
        if !fixed.starts_with(b"PK\x01\x02") {
            return Err(bad("the directory has something else than an entry", Some(place)));
        }
        // Elsewhere, or in this part: there is no other.
        if !matches!(u16_at(&fixed, 34), 0 | 0xffff) {
            return Err(bad("an entry lies in another part", Some(place)));
        }
        let lengths = [u16_at(&fixed, 28), u16_at(&fixed, 30), u16_at(&fixed, 32)].map(usize::from);
        let [name, extra, comment] = lengths;
        let mut rest = vec![0; name + extra];
        if file.read(&mut rest, place + ENTRY_BYTES as u64)? < rest.len() {
            return Err(bad("the file ends within a part of it", Some(place)));
        }
        let wide = rest.split_off(name);
        let mut entry = Self {
            place,
            length: (ENTRY_BYTES + name + extra + comment) as u64,
            flags: u16_at(&fixed, 8),
            method: u16_at(&fixed, 10),
            sum: u32_at(&fixed, 16),
            packed: u64::from(u32_at(&fixed, 20)),
            plain: u64::from(u32_at(&fixed, 24)),
            offset: u64::from(u32_at(&fixed, 42)),
            name: rest,
        };
        let mut wide = extension(&wide).unwrap_or_default();
        for field in [&mut entry.plain, &mut entry.packed, &mut entry.offset] {
            if *field == ELSEWHERE {
                let Some((value, after)) = wide.split_first_chunk() else {
                    return Err(bad("an entry's length is missing", Some(place)));
                };
                *field = u64::from_le_bytes(*value);
                wide = after;
            }
        }
        Ok(entry)
    }

    /// The entry lies where the directory says and is what it says; from where to where.
    fn check(&self, file: &Plain, most: u64) -> Result<(u64, u64), Ended> {
        let at = |reason: &str| bad(reason, Some(self.offset));
        let local: [u8; LOCAL_BYTES] = file.exactly(self.offset)?;
        let mut name = vec![0; usize::from(u16_at(&local, 26))];
        let read = file.read(&mut name, self.offset + LOCAL_BYTES as u64)?;
        let same = local.starts_with(b"PK\x03\x04")
            && u16_at(&local, 6) == self.flags
            && u16_at(&local, 8) == self.method
            && read == name.len()
            && name == self.name;
        if !same {
            return Err(at("an entry is another one than the directory says"));
        }
        let (packed, plain) = (u64::from(u32_at(&local, 18)), u64::from(u32_at(&local, 22)));
        let says = |value: u64, expected: u64| value == expected || value == ELSEWHERE;
        let lengths = says(packed, self.packed) && says(plain, self.plain);
        if self.flags & LENGTHS_FOLLOW == 0 && !(lengths && u32_at(&local, 14) == self.sum) {
            return Err(at("an entry has other lengths or another checksum than the directory says"));
        }
        let start = self.offset + (LOCAL_BYTES + name.len()) as u64 + u64::from(u16_at(&local, 28));
        let Some(end) = start.checked_add(self.packed).filter(|end| *end <= most) else {
            return Err(at("an entry goes past the directory's start"));
        };
        if self.flags & ENCRYPTED == 0 {
            self.bytes(file, start)?;
        }
        Ok((self.offset, end))
    }

    /// The entry's bytes have their length and checksum. What is packed in a rarer way is not
    /// looked into.
    fn bytes(&self, file: &Plain, start: u64) -> Checked {
        let mut sum = match self.method {
            STORED => Unpacked { inflate: None, crc: Crc::new(), length: 0, ended: true },
            DEFLATED => {
                let inflate = Some(Decompress::new(false));
                Unpacked { inflate, crc: Crc::new(), length: 0, ended: false }
            }
            _ => return Ok(()),
        };
        let mut input = vec![0; 64 * 1024];
        let mut done = 0;
        while done < self.packed {
            let wanted = usize_of(self.packed - done).min(input.len());
            let window = input.get_mut(..wanted).unwrap_or_default();
            let read = file.read(window, start + done)?;
            if read == 0 {
                return Err(bad("the file ends within an entry", Some(self.offset)));
            }
            let window = window.get(..read).unwrap_or_default();
            sum.take(window, self.plain).map_err(|reason| bad(reason, Some(self.offset)))?;
            done += read as u64;
        }
        if !sum.ended || sum.length != self.plain || sum.crc.sum() != self.sum {
            return Err(bad("an entry's length or checksum does not match", Some(self.place)));
        }
        Ok(())
    }
}

/// Counts and sums an entry's bytes.
struct Unpacked {
    inflate: Option<Decompress>,
    crc: Crc,
    length: u64,
    ended: bool,
}

impl Unpacked {
    fn take(&mut self, mut input: &[u8], most: u64) -> Result<(), &'static str> {
        let Some(inflate) = &mut self.inflate else {
            self.crc.update(input);
            self.length += input.len() as u64;
            return Ok(());
        };
        let mut target = vec![0; 64 * 1024];
        loop {
            if self.ended {
                return if input.is_empty() { Ok(()) } else { Err("bytes follow an entry's end") };
            }
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(input, &mut target, FlushDecompress::None)
                .map_err(|_damage| "an entry does not decode")?;
            let written = usize_of(inflate.total_out() - before_out);
            input = input.get(usize_of(inflate.total_in() - before_in)..).unwrap_or_default();
            self.crc.update(target.get(..written).unwrap_or_default());
            self.length += written as u64;
            self.ended = matches!(status, Status::StreamEnd);
            if self.length > most {
                return Err("an entry decodes to more than it says");
            }
            // A full target may be followed by more that the decoder holds already.
            if input.is_empty() && written < target.len() && !self.ended {
                return Ok(());
            }
        }
    }
}

/// The 64-bit extension among an entry's extra fields.
fn extension(mut extra: &[u8]) -> Option<&[u8]> {
    while let Some(([i0, i1, l0, l1], after)) = extra.split_first_chunk::<4>() {
        let (value, rest) = after.split_at_checked(usize::from(u16::from_le_bytes([*l0, *l1])))?;
        if u16::from_le_bytes([*i0, *i1]) == 1 {
            return Some(value);
        }
        extra = rest;
    }
    None
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    let found = bytes.get(place..).and_then(<[u8]>::first_chunk);
    found.copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes(at(bytes, place))
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(at(bytes, place))
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(at(bytes, place))
}

/// Lengths that a buffer bounds.
fn usize_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
