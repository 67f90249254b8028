//! Lines of bounded length from a byte stream.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// One line of input, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// It passed the limit; what is left of it will be skipped.
    TooLong,
}

/// Reads lines and never holds more than one limit's worth of bytes.
pub struct Lines<R> {
    read: BufReader<R>,
    line: Vec<u8>,
    limit_bytes: usize,
    /// Inside a line that was too long.
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(read: R, limit_bytes: usize) -> Self {
        Self { read: BufReader::new(read), line: Vec::new(), limit_bytes, skipping: false }
    }

    /// The next line; `None` at the end of input. A last line without a newline counts.
    ///
    /// Cancel-safe: between `fill_buf`, which consumes nothing when it is dropped, and `consume`
    /// nothing is awaited.
    ///
    /// # Errors
    /// As the stream's.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.read.fill_buf().await?;
            if chunk.is_empty() {
                let last = std::mem::take(&mut self.line);
                self.skipping = false;
                return Ok((!last.is_empty()).then_some(Line::Whole(last)));
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let part = newline.and_then(|end| chunk.get(..end)).unwrap_or(chunk);
            let taken = part.len() + usize::from(newline.is_some());
            let fits = self.line.len() + part.len() <= self.limit_bytes;
            if fits && !self.skipping {
                self.line.extend_from_slice(part);
            }
            self.read.consume(taken);

            let was_skipping = self.skipping;
            match (newline.is_some(), fits) {
                (true, _) if was_skipping => self.skipping = false,
                (_, false) if !was_skipping => {
                    self.skipping = newline.is_none();
                    self.line = Vec::new();
                    return Ok(Some(Line::TooLong));
                }
                (true, _) => return Ok(Some(Line::Whole(std::mem::take(&mut self.line)))),
                (false, _) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `chunks`, which arrive one after another.
    async fn lines_of(chunks: &[&[u8]]) -> Vec<Line> {
        let mut reader = tokio_test_reader(chunks);
        let mut lines = Lines::new(&mut reader, 4);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn tokio_test_reader(chunks: &[&[u8]]) -> impl AsyncRead + Unpin {
        let (reader, mut writer) = tokio::io::duplex(2);
        let chunks: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.to_vec()).collect();
        tokio::spawn(async move {
            for chunk in chunks {
                tokio::io::AsyncWriteExt::write_all(&mut writer, &chunk).await.unwrap();
            }
        });
        reader
    }

    #[tokio::test]
    async fn i9_a_line_is_bounded_and_the_next_one_is_read() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        let cases: &[(&[&[u8]], &[Line])] = &[
            (&[b"a\nbc\n"], &[whole("a"), whole("bc")]),
            (&[b"a", b"b", b"\n"], &[whole("ab")]),
            (&[b"abcd\n"], &[whole("abcd")]),
            (&[b"abcde\nx\n"], &[Line::TooLong, whole("x")]),
            (&[b"abcdefghijklmnop\nx\n"], &[Line::TooLong, whole("x")]),
            (&[b"abcdefghijklmnop"], &[Line::TooLong]),
            (&[b"\n\nlast"], &[whole(""), whole(""), whole("last")]),
            (&[], &[]),
        ];
        for (chunks, expected) in cases {
            assert_eq!(&lines_of(chunks).await, expected, "{chunks:?}");
        }
    }
}
