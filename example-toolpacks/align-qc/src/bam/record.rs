//! Records, one after the other.

use super::aux::Fields;
use super::bytes::{Bytes, Chunks};
use super::cigar::{Op, ops};
use super::{Damage, What, int_at, unsigned};

/// Bytes of the numbers that begin every record, without the record's own length.
const CORE_BYTES: usize = 32;

/// The same, beside lengths that may be negative.
const CORE_SIZE: i64 = 32;

/// The length of a record before it.
const SIZE_BYTES: usize = 4;

/// Most bytes of a record that is looked at as a whole: a read of some millions of bases with the
/// signal's moves beside it has some tens of MB.
const RECORD_BYTES_MAX: i32 = 64 << 20;

/// The numbers that begin every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// Bytes that follow the length itself.
    pub size: i32,
    pub reference: i32,
    /// Leftmost base on the reference, from 0.
    pub position: i32,
    pub name_bytes: u8,
    pub mapq: u8,
    pub bin: u16,
    pub cigar_ops: u16,
    pub flag: u16,
    pub bases: i32,
    pub mate_reference: i32,
    pub mate_position: i32,
}

impl Core {
    #[inline]
    fn parse(head: &[u8; SIZE_BYTES + CORE_BYTES]) -> Self {
        let [low, high] = [head[14], head[15]];
        Self {
            size: int_at(head, 0),
            reference: int_at(head, 4),
            position: int_at(head, 8),
            name_bytes: head[12],
            mapq: head[13],
            bin: u16::from_le_bytes([low, high]),
            cigar_ops: u16::from_le_bytes([head[16], head[17]]),
            flag: u16::from_le_bytes([head[18], head[19]]),
            bases: int_at(head, 20),
            mate_reference: int_at(head, 24),
            mate_position: int_at(head, 28),
        }
    }

    /// Bytes of everything but the numbers and the tags.
    #[inline]
    fn parts(&self) -> u64 {
        // Negative lengths become huge here, and no record is as large.
        let bases = u64::from(self.bases.cast_unsigned());
        u64::from(self.name_bytes) + 4 * u64::from(self.cigar_ops) + bases.div_ceil(2) + bases
    }

    /// Whether the lengths can be as they say; references are compared with `references`.
    #[inline]
    fn fits(&self, references: i32) -> bool {
        let room = i64::from(self.size) - CORE_SIZE;
        // -1 stands for none, so one more than the number is between 0 and the count.
        let known = |id: i32| id.wrapping_add(1).cast_unsigned() <= references.cast_unsigned();
        // Lengths of 32 bits: their sum cannot pass an i64.
        let parts = i64::try_from(self.parts()).unwrap_or(i64::MAX);
        (room >= parts) & known(self.reference) & known(self.mate_reference)
    }

    /// Why it does not fit.
    fn misfit(&self, references: i32, lenient: bool) -> Option<What> {
        let known = |id: i32| lenient || (-1..references).contains(&id);
        if unsigned(self.size) < CORE_BYTES {
            Some(What::BlockSize(self.size))
        } else if self.bases < 0 {
            Some(What::SequenceLength(self.bases))
        } else if self.parts() > (unsigned(self.size) - CORE_BYTES) as u64 {
            Some(What::Parts { parts: self.parts() + CORE_BYTES as u64, size: self.size })
        } else if !known(self.reference) {
            Some(What::Reference(self.reference))
        } else if !known(self.mate_reference) {
            Some(What::MateReference(self.mate_reference))
        } else {
            None
        }
    }

    /// Whether any bit of a mask is set in the flag.
    #[inline]
    pub fn is(&self, mask: u16) -> bool {
        self.flag & mask != 0
    }
}

/// One record, whole.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// From 1.
    pub number: u64,
    /// Where it begins, in decoded bytes.
    pub offset: u64,
    pub core: Core,
    /// What follows the numbers.
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Damage of this record.
    pub fn damage(&self, what: What) -> Damage {
        Damage { record: self.number, offset: self.offset, what }
    }

    fn part(&self, start: usize, size: usize) -> &'a [u8] {
        self.body.get(start..start + size).unwrap_or_default()
    }

    /// With the NUL at its end.
    pub fn name(&self) -> &'a [u8] {
        self.part(0, usize::from(self.core.name_bytes))
    }

    fn cigar_start(&self) -> usize {
        usize::from(self.core.name_bytes)
    }

    fn sequence_start(&self) -> usize {
        self.cigar_start() + 4 * usize::from(self.core.cigar_ops)
    }

    fn quality_start(&self) -> usize {
        self.sequence_start() + unsigned(self.core.bases).div_ceil(2)
    }

    /// The CIGAR where it should stand.
    pub fn short_cigar(&self) -> &'a [u8] {
        self.part(self.cigar_start(), 4 * usize::from(self.core.cigar_ops))
    }

    /// The CIGAR: one of more than 65,535 operations stands in the tag `CG`, and where it should
    /// stand is a clip of the whole read.
    pub fn cigar(&self) -> &'a [u8] {
        let cigar = self.short_cigar();
        let stands_in = ops(cigar).next().is_some_and(|op| op == Op::clip_of(self.core.bases));
        if !stands_in || self.core.reference < 0 || self.core.position < 0 {
            return cigar;
        }
        let long = self.fields().find_map(|field| field.ok().and_then(|field| field.long_cigar()));
        long.filter(|long| long.len() >= cigar.len()).unwrap_or(cigar)
    }

    pub fn qualities(&self) -> &'a [u8] {
        self.part(self.quality_start(), unsigned(self.core.bases))
    }

    /// The tags.
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.body.get(self.quality_start() + unsigned(self.core.bases)..).unwrap_or_default())
    }
}

/// The records of one file, whose header has been read.
pub struct Records<C> {
    bytes: Bytes<C>,
    references: i32,
    number: u64,
    /// Where the current record begins.
    offset: u64,
    lenient: bool,
}

impl<C: Chunks> Records<C> {
    /// Begins at the first record.
    pub fn new(bytes: Bytes<C>, references: i32) -> Self {
        let offset = bytes.offset();
        Self { bytes, references, number: 0, offset, lenient: false }
    }

    /// Lets references pass that are not in the header, for who looks at them himself.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// The number of the current record, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Damage of the current record.
    fn damage(&self, what: What) -> Damage {
        Damage { record: self.number, offset: self.offset, what }
    }

    /// The next record's numbers; the rest of it is passed over unseen. `None` at the end.
    ///
    /// # Errors
    /// [`Damage`].
    #[inline]
    pub fn next_core(&mut self) -> Result<Option<Core>, Damage> {
        let rest = self.bytes.rest();
        if let Some(head) = rest.first_chunk() {
            let core = Core::parse(head);
            let whole = unsigned(core.size) + SIZE_BYTES;
            if whole <= rest.len() && core.fits(self.references) {
                self.number += 1;
                self.bytes.pass(whole);
                return Ok(Some(core));
            }
        }
        self.next_core_slowly()
    }

    /// Records that cross a border of chunks, or are damaged.
    #[cold]
    fn next_core_slowly(&mut self) -> Result<Option<Core>, Damage> {
        let Some(core) = self.head()? else { return Ok(None) };
        match self.bytes.skip(unsigned(core.size) - CORE_BYTES) {
            Ok(true) => Ok(Some(core)),
            Ok(false) => Err(self.damage(What::Truncated)),
            Err(_) => Err(self.damage(What::Unreadable)),
        }
    }

    /// The next record, whole. `None` at the end.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Damage> {
        let Some(core) = self.head()? else { return Ok(None) };
        if core.size > RECORD_BYTES_MAX {
            return Err(self.damage(What::LongRecord(core.size)));
        }
        let wanted = unsigned(core.size) - CORE_BYTES;
        let (number, offset) = (self.number, self.offset);
        let damage = |what| Damage { record: number, offset, what };
        let body = self.bytes.take(wanted).map_err(|_| damage(What::Unreadable))?;
        if body.len() < wanted {
            return Err(damage(What::Truncated));
        }
        Ok(Some(Record { number, offset, core, body }))
    }

    /// The numbers of the next record, checked.
    fn head(&mut self) -> Result<Option<Core>, Damage> {
        self.number += 1;
        self.offset = self.bytes.offset();
        let damage = |what| Damage { record: self.number, offset: self.offset, what };
        let head = self.bytes.take(SIZE_BYTES + CORE_BYTES).map_err(|_| damage(What::Unreadable))?;
        if head.is_empty() {
            self.number -= 1;
            return Ok(None);
        }
        // A length that cannot be says more than that the file ends before it.
        if head.len() >= SIZE_BYTES && unsigned(int_at(head, 0)) < CORE_BYTES {
            return Err(damage(What::BlockSize(int_at(head, 0))));
        }
        let core = head.first_chunk().map(Core::parse).ok_or_else(|| damage(What::Truncated))?;
        match core.misfit(self.references, self.lenient) {
            Some(what) => Err(damage(what)),
            None => Ok(Some(core)),
        }
    }
}
