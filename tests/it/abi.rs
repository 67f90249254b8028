//! Values as the canonical ABI lays them out in a guest's memory.

/// A value with all that its size and alignment follow from.
pub enum Val {
    /// Also a bool, and an enum of up to 256 cases.
    U8(u8),
    U32(u32),
    /// A string, whether it is UTF-8 or not.
    Text(Vec<u8>),
    List(Vec<Val>),
    Record(Vec<Val>),
    /// A variant's case with its payload: number, alignment of the widest payload, payload.
    Case(u8, usize, Box<Val>),
}

impl Val {
    pub fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    fn align(&self) -> usize {
        match self {
            Self::U8(_) => 1,
            Self::U32(_) | Self::Text(_) | Self::List(_) => 4,
            Self::Record(fields) => fields.iter().map(Self::align).max().unwrap_or(1),
            Self::Case(_, align, _) => *align,
        }
    }
}

/// A stretch of a guest's memory, filled from its start.
pub struct Memory {
    start: u32,
    bytes: Vec<u8>,
}

impl Memory {
    pub fn at(start: u32) -> Self {
        Self { start, bytes: Vec::new() }
    }

    /// The address after the last byte.
    pub fn end(&self) -> u32 {
        self.address(self.bytes.len())
    }

    /// Puts bytes somewhere and gives their address.
    pub fn bytes(&mut self, bytes: &[u8], align: usize) -> u32 {
        let at = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(at, 0);
        self.bytes.extend_from_slice(bytes);
        self.address(at)
    }

    /// Puts a value, after all that it points to, and gives its address.
    pub fn put(&mut self, value: &Val) -> u32 {
        let mut flat = Vec::new();
        self.lower(value, &mut flat);
        self.bytes(&flat, value.align().max(4))
    }

    /// As the text of a data segment.
    pub fn escaped(&self) -> String {
        self.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }

    /// Appends a value to a record or list that begins aligned at `into`'s start.
    fn lower(&mut self, value: &Val, into: &mut Vec<u8>) {
        into.resize(into.len().next_multiple_of(value.align()), 0);
        match value {
            Val::U8(number) => into.push(*number),
            Val::U32(number) => into.extend(number.to_le_bytes()),
            Val::Text(text) => {
                let at = self.bytes(text, 1);
                pointer(at, text.len(), into);
            }
            Val::List(items) => {
                let mut flat = Vec::new();
                for item in items {
                    self.lower(item, &mut flat);
                    flat.resize(flat.len().next_multiple_of(item.align()), 0);
                }
                let at = self.bytes(&flat, 8);
                pointer(at, items.len(), into);
            }
            Val::Record(fields) => {
                for field in fields {
                    self.lower(field, into);
                }
                into.resize(into.len().next_multiple_of(value.align()), 0);
            }
            Val::Case(number, align, payload) => {
                into.push(*number);
                into.resize(into.len().next_multiple_of(*align), 0);
                self.lower(payload, into);
            }
        }
    }

    fn address(&self, offset: usize) -> u32 {
        self.start + u32::try_from(offset).unwrap_or(u32::MAX)
    }
}

fn pointer(at: u32, length: usize, into: &mut Vec<u8>) {
    into.extend(at.to_le_bytes());
    into.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}
