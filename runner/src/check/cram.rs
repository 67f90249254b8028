//! CRAM, versions 2 and 3 (CRAM specification, §6 to §9): containers and their blocks, to the
//! container that says "this is all". Nothing is decompressed.

use std::io::{self, BufRead, Read};

use flate2::Crc;

use super::decoded::{Decoded, damage};
use super::{Checked, bad, ended};

/// Bytes of the file definition: magic, version, and the file's name.
const DEFINITION_BYTES: usize = 26;
/// Most slices of a container. Usual are one to some hundreds.
const LANDMARKS_MAX: u64 = 1 << 20;
/// Where the last container says that it starts: `EOF` in ASCII.
const END_START: u64 = 0x45_4f46;

struct Container {
    /// Bytes of its blocks.
    length: u64,
    blocks: u64,
    is_end: bool,
}

pub(super) fn cram(input: &mut Decoded) -> Checked {
    let mut definition = [0; DEFINITION_BYTES];
    input.read_exact(&mut definition).map_err(ended)?;
    let [b'C', b'R', b'A', b'M', major, minor, ..] = definition else {
        return Err(bad("does not begin as a CRAM file", Some(0)));
    };
    if !matches!((major, minor), (2, 0..=1) | (3, 0..=1)) {
        return Err(bad("a version of CRAM that does not exist", Some(4)));
    }
    let mut first = true;
    let mut at_end = false;
    while !input.fill_buf().map_err(ended)?.is_empty() {
        let offset = input.offset;
        let container = Container::read(input, major).map_err(ended)?;
        container.blocks(input, major, first, offset)?;
        // Some writers end a file twice.
        if at_end && !container.is_end {
            return Err(bad("containers follow the one that ends the file", Some(offset)));
        }
        at_end = container.is_end;
        first = false;
    }
    // Version 2.0 had no container for the end.
    if at_end || !first && (major, minor) == (2, 0) {
        return Ok(());
    }
    Err(bad("the end-of-file container is missing: the file was cut", Some(input.offset)))
}

impl Container {
    fn read(input: &mut Decoded, major: u8) -> io::Result<Self> {
        let offset = input.offset;
        let mut header = Summed { input, crc: Crc::new() };
        let length = i32::from_le_bytes(header.bytes()?);
        let reference = header.itf8()?;
        let start = header.itf8()?;
        let _span = header.itf8()?;
        let records = header.itf8()?;
        // How many records and bases came before.
        if major >= 3 {
            header.ltf8()?
        } else {
            header.itf8()?
        };
        header.ltf8()?;
        let blocks = header.itf8()?;
        let landmarks = header.itf8()?;
        if landmarks > LANDMARKS_MAX {
            return Err(damage(offset, "a container has more slices than any"));
        }
        for _ in 0..landmarks {
            header.itf8()?;
        }
        let sum = header.crc.sum();
        if major >= 3 && u32::from_le_bytes(header.bytes()?) != sum {
            return Err(damage(offset, "the checksum of a container's header does not match"));
        }
        let Ok(length) = u64::try_from(length) else {
            return Err(damage(offset, "a container is shorter than nothing"));
        };
        let is_end = reference == u64::from(u32::MAX) && start == END_START && records == 0;
        Ok(Self { length, blocks, is_end })
    }

    /// Every block, its checksum, and that together they are as long as the container says. Only
    /// the first container, which holds the header, may have room to spare.
    fn blocks(&self, input: &mut Decoded, major: u8, first: bool, offset: u64) -> Checked {
        // A block has at least its five numbers.
        if self.blocks.saturating_mul(5) > self.length {
            return Err(bad("a container is shorter than its blocks", Some(offset)));
        }
        let end = input.offset.saturating_add(self.length);
        for _ in 0..self.blocks {
            block(input, major, end).map_err(ended)?;
        }
        let spare = end.checked_sub(input.offset).filter(|spare| first || *spare == 0);
        let Some(mut spare) = spare else {
            return Err(bad("a container's blocks have another length than it says", Some(offset)));
        };
        while spare > 0 {
            let count = input.some(spare).map_err(ended)?.len();
            input.consume(count);
            spare -= count as u64;
        }
        Ok(())
    }
}

fn block(input: &mut Decoded, major: u8, end: u64) -> io::Result<()> {
    let offset = input.offset;
    let mut block = Summed { input, crc: Crc::new() };
    let [method, _content] = block.bytes()?;
    let _id = block.itf8()?;
    let packed = block.itf8()?;
    let plain = block.itf8()?;
    if method == 0 && packed != plain {
        return Err(damage(offset, "a block that is not compressed has two lengths"));
    }
    if packed > end.saturating_sub(block.input.offset) {
        return Err(damage(offset, "a block goes past its container's end"));
    }
    let mut left = packed;
    while left > 0 {
        let chunk = block.input.some(left)?;
        let count = chunk.len();
        block.crc.update(chunk);
        block.input.consume(count);
        left -= count as u64;
    }
    let sum = block.crc.sum();
    if major >= 3 && u32::from_le_bytes(block.bytes()?) != sum {
        return Err(damage(offset, "a block's checksum does not match"));
    }
    Ok(())
}

/// Numbers, and the checksum of the bytes that they were read from.
struct Summed<'a> {
    input: &'a mut Decoded,
    crc: Crc,
}

impl Summed<'_> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    /// 32 bits: as many ones as the first byte begins with, so many bytes follow. Of five bytes
    /// the last gives only its low half.
    fn itf8(&mut self) -> io::Result<u64> {
        let [first] = self.bytes()?;
        let more = first.leading_ones().min(4);
        let mut value = u64::from(first) & if more == 4 { 0x0f } else { 0xff >> (more + 1) };
        for place in 0..more {
            let [byte] = self.bytes()?;
            value = if place == 3 { value << 4 | u64::from(byte & 15) } else { value << 8 | u64::from(byte) };
        }
        Ok(value)
    }

    /// 64 bits: the same with up to eight more bytes, all of them whole.
    fn ltf8(&mut self) -> io::Result<u64> {
        let [first] = self.bytes()?;
        let more = first.leading_ones();
        let mut value = u64::from(first) & (0xff >> (more + 1));
        for _ in 0..more {
            let [byte] = self.bytes()?;
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }
}
