//! FASTQ.

use std::io::{BufRead, Read};

use super::decoded::Decoded;
use super::{Checked, Ended, bad, ended};

/// Longest line of a FASTQ file. The longest reads known have some millions of bases.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// FASTQ: four lines a record, `@` and `+` in their places, as many qualities as bases.
pub(super) fn fastq(input: &mut Decoded) -> Checked {
    let mut lines = Lines::new(input);
    loop {
        let offset = lines.offset;
        if !lines.next()? {
            return Ok(());
        }
        if lines.text().is_empty() {
            return only_empty_lines(&mut lines);
        }
        if lines.text().first() != Some(&b'@') {
            return Err(bad("a record does not begin with @", Some(offset)));
        }
        if !lines.next()? {
            return Err(bad("the file ends within a record", Some(offset)));
        }
        let bases = lines.text().len();
        if !lines.next()? || lines.text().first() != Some(&b'+') {
            return Err(bad("a record's third line does not begin with +", Some(offset)));
        }
        let more = lines.next()?;
        if !more && bases > 0 {
            return Err(bad("the file ends within a record", Some(offset)));
        }
        if more && lines.text().len() != bases {
            return Err(bad("a record has another number of qualities than of bases", Some(offset)));
        }
    }
}

fn only_empty_lines(lines: &mut Lines<'_>) -> Checked {
    loop {
        let offset = lines.offset;
        if !lines.next()? {
            return Ok(());
        }
        if !lines.text().is_empty() {
            return Err(bad("an empty line stands between records", Some(offset)));
        }
    }
}

/// Lines without their ends (LF or CRLF).
struct Lines<'a> {
    input: &'a mut Decoded,
    line: Vec<u8>,
    /// Of the next line.
    offset: u64,
}

impl<'a> Lines<'a> {
    fn new(input: &'a mut Decoded) -> Self {
        Self { input, line: Vec::new(), offset: 0 }
    }

    fn next(&mut self) -> Result<bool, Ended> {
        self.line.clear();
        let read =
            (&mut *self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line).map_err(ended)?;
        self.offset += read as u64;
        if self.line.pop_if(|byte| *byte == b'\n').is_some() {
            self.line.pop_if(|byte| *byte == b'\r');
        } else if self.line.len() as u64 == LINE_BYTES_MAX {
            return Err(bad("a line is longer than 64 MiB", Some(self.offset)));
        }
        Ok(read > 0)
    }

    fn text(&self) -> &[u8] {
        &self.line
    }
}
