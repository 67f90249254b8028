//! Builds BAM files for tests, uncompressed: a bench hands them on as they are.

/// A file in the making.
#[derive(Clone, Debug)]
pub struct File(pub Vec<u8>);

/// A record in the making: of four bases on the first reference, unless changed.
#[derive(Clone, Debug)]
pub struct Draft {
    pub reference: i32,
    pub position: i32,
    pub name: Vec<u8>,
    pub mapq: u8,
    pub bin: Option<u16>,
    pub flag: u16,
    pub mate: (i32, i32),
    pub cigar: Vec<u32>,
    pub bases: usize,
    pub qualities: Vec<u8>,
    pub tags: Vec<u8>,
}

/// An operation as it stands in a file; the code is its place in `MIDNSHP=X`.
pub fn op(length: u32, letter: char) -> u32 {
    let code = "MIDNSHP=X".find(letter).and_then(|code| u32::try_from(code).ok()).unwrap_or(15);
    length << 4 | code
}

/// A record at a place (from 0) of as many matches as it has bases.
pub fn read(reference: i32, position: i32, bases: u32) -> Draft {
    Draft {
        reference,
        position,
        name: b"r".to_vec(),
        mapq: 30,
        bin: None,
        flag: 0,
        mate: (-1, -1),
        cigar: vec![op(bases, 'M')],
        bases: bases as usize,
        qualities: vec![30; bases as usize],
        tags: Vec::new(),
    }
}

impl Draft {
    pub fn flag(mut self, flag: u16) -> Self {
        self.flag = flag;
        self
    }

    pub fn cigar(mut self, cigar: &[u32]) -> Self {
        self.cigar = cigar.to_vec();
        self
    }

    /// With its length before it.
    pub fn bytes(&self) -> Vec<u8> {
        let bin = self.bin.unwrap_or(if self.position < 0 { 4680 } else { 4681 });
        let mut body = Vec::new();
        body.extend(self.reference.to_le_bytes());
        body.extend(self.position.to_le_bytes());
        body.push(u8::try_from(self.name.len() + 1).unwrap());
        body.push(self.mapq);
        body.extend(bin.to_le_bytes());
        body.extend(u16::try_from(self.cigar.len()).unwrap().to_le_bytes());
        body.extend(self.flag.to_le_bytes());
        body.extend(i32::try_from(self.bases).unwrap().to_le_bytes());
        body.extend(self.mate.0.to_le_bytes());
        body.extend(self.mate.1.to_le_bytes());
        body.extend(0_i32.to_le_bytes());
        body.extend(&self.name);
        body.push(0);
        self.cigar.iter().for_each(|op| body.extend(op.to_le_bytes()));
        body.extend(vec![0x11; self.bases.div_ceil(2)]);
        body.extend(&self.qualities);
        body.extend(&self.tags);
        [i32::try_from(body.len()).unwrap().to_le_bytes().to_vec(), body].concat()
    }
}

/// A header without text that names these references.
pub fn header(references: &[(&str, i32)]) -> File {
    header_with("", references)
}

pub fn header_with(text: &str, references: &[(&str, i32)]) -> File {
    let mut bytes = b"BAM\x01".to_vec();
    bytes.extend(i32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(i32::try_from(references.len()).unwrap().to_le_bytes());
    for (name, bases) in references {
        bytes.extend(i32::try_from(name.len() + 1).unwrap().to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(bases.to_le_bytes());
    }
    File(bytes)
}

impl File {
    pub fn record(mut self, draft: &Draft) -> Self {
        self.0.extend(draft.bytes());
        self
    }

    pub fn records(self, drafts: &[Draft]) -> Self {
        drafts.iter().fold(self, Self::record)
    }
}
