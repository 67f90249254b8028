use super::*;

/// A file that comes in chunks of one size.
pub struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> Pieces<'a> {
    pub fn of(text: &'a [u8], size: usize) -> Self {
        Self { rest: text, size }
    }
}

impl Chunks for Pieces<'_> {
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (now, later) = self.rest.split_at(self.size.min(self.rest.len()));
        self.rest = later;
        Ok(if now.is_empty() { None } else { Some(now.to_vec()) })
    }
}

#[derive(Default, Debug, PartialEq)]
struct Seen(Vec<u8>, Vec<u8>);

impl Visitor for Seen {
    fn sequence(&mut self, at: u64, piece: &[u8]) {
        assert_eq!(at, length(&self.0));
        self.0.extend_from_slice(piece);
    }

    fn quality(&mut self, at: u64, piece: &[u8]) {
        assert_eq!(at, length(&self.1));
        self.1.extend_from_slice(piece);
    }
}

type Read = (String, String, String);

fn read_in(text: &[u8], size: usize) -> Result<Vec<Read>, Damage> {
    let mut records = Records::new(Pieces::of(text, size));
    let mut all = Vec::new();
    loop {
        let mut seen = Seen::default();
        if records.next(&mut seen)?.is_none() {
            return Ok(all);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        all.push((text(records.header()), text(&seen.0), text(&seen.1)));
    }
}

/// The same for every size of chunk.
fn read(text: &str) -> Result<Vec<Read>, Damage> {
    let whole = read_in(text.as_bytes(), usize::MAX);
    for size in 1..=text.len() {
        assert_eq!(read_in(text.as_bytes(), size), whole, "in chunks of {size}");
    }
    whole
}

#[test]
fn what_is_accepted() {
    let plain = vec![("a x".into(), "ACGT".into(), "II@I".into()), ("b".into(), "nA".into(), "+!".into())];
    for text in [
        "@a x\nACGT\n+\nII@I\n@b\nnA\n+\n+!\n",
        "@a x\nACGT\n+\nII@I\n@b\nnA\n+\n+!",
        "@a x\r\nACGT\r\n+\r\nII@I\r\n@b\r\nnA\r\n+\r\n+!\r\n",
        "\n@a x\nACGT\n+a x\nII@I\n\n\r\n@b\nnA\n+b\n+!\n\n",
        "@a x\nAC\nGT\n+\nII\n@I\n@b\nn\nA\n+\n+\n!\n",
        "@a x\nACGT\n+\nII\n@I\n@b\nnA\n+\n+\n!\n",
    ] {
        assert_eq!(read(text).as_ref(), Ok(&plain), "{text:?}");
    }
    // Names are bytes, in whatever encoding.
    let named = vec![("a\tgr\u{f6}\u{df}e".into(), "A".into(), "I".into())];
    assert_eq!(read("@a\tgr\u{f6}\u{df}e\nA\n+\nI\n").as_ref(), Ok(&named));
    assert_eq!(read(""), Ok(vec![]));
    let empty_read = vec![("e".into(), String::new(), String::new())];
    for text in ["@e\n\n+\n\n", "@e\n\n+\n", "@e\n+\n\n", "@e\n\n+"] {
        assert_eq!(read(text).as_ref(), Ok(&empty_read), "{text:?}");
    }
}

#[test]
fn what_is_damage() {
    let cases: &[(&str, &str)] = &[
        (">a\nACGT\n", "record 1 (line 1): a record begins with `@`, this line does not"),
        ("@a\nAC\n+\nII\nx\n", "record 2 (line 5): a record begins with `@`, this line does not"),
        (
            "@a\nACGT\nIIII\n@b\nAC\n+\nII\n",
            "record 1 (line 3): the next record begins before this one's `+` line",
        ),
        ("@a\nACGT\n+\nII\n@bc\nAC\n+\nII\n", "record 1 (line 4): 4 bases, but 2 qualities"),
        ("@a\nAC\n+\nIIII\n", "record 1 (line 4): 2 bases, but 4 qualities"),
        ("@a\nAC\n+\n\n@b\nAC\n+\nII\n", "record 1 (line 4): 2 bases, but 0 qualities"),
        ("@a\nAC\n+b\nII\n", "record 1 (line 3): the `+` line names another read than the `@` line"),
        ("@ab\nAC\n+a\nII\n", "record 1 (line 3): the `+` line names another read than the `@` line"),
        ("@a\nA C\n+\nIII\n", "record 1 (line 2): byte 0x20 cannot stand in a sequence"),
        ("@a\nA\rC\n+\nIII\n", "record 1 (line 2): byte 0x0d cannot stand in a sequence"),
        ("@a\nACG\n+\nI\tI\n", "record 1 (line 4): byte 0x09 cannot stand for a quality"),
        ("@a\nAC\n+\nII\n@b", "record 2 (line 5): the file ends within this record: it is truncated"),
        ("@a\nAC\n+\nII\n@b\nAC", "record 2 (line 6): the file ends within this record: it is truncated"),
        ("@a\nAC\n+\n", "record 1 (line 3): the file ends within this record: it is truncated"),
        ("@a\nACGT\n+\nIII", "record 1 (line 4): 4 bases, but 3 qualities"),
        // The short line's lack is filled by the next header exactly, and still is damage.
        (
            "@a\nACGT\n+\nII\n@b\nAC\n+\nII\n",
            "record 2 (line 6): a record begins with `@`, this line does not",
        ),
        ("@e\n\n+\n@b\nAC\n+\nII\n", "record 1 (line 4): 0 bases, but 2 qualities"),
        // Zeros where line ends were: the header would swallow a record.
        ("@a\0\0\0\0\0\0\0\0\0@b\nAC\n+\nII\n", "record 1 (line 1): byte 0x00 cannot stand in a header"),
        ("@a\rAC\r+\rII\r", "record 1 (line 1): byte 0x0d cannot stand in a header"),
        ("@a\nAC\n+\0\nII\n", "record 1 (line 3): the `+` line names another read than the `@` line"),
    ];
    for (text, expected) in cases {
        let damage = read(text).expect_err(text);
        assert_eq!(damage.to_string(), *expected, "{text:?}");
    }
}

/// Reads of many lengths and shapes, plain ones and others.
pub fn shapes() -> Vec<u8> {
    let mut text = Vec::new();
    for (number, length) in [40, 16, 15, 1, 33, 17, 64, 5, 48].into_iter().enumerate() {
        let bases: String = "ACGTNacgtuRY".chars().cycle().skip(number).take(length).collect();
        let scores: String = ('!'..='~').cycle().skip(31 * number).take(length).collect();
        let header = format!("read/{number} with\ta t\u{e4}il");
        let plus = if number % 3 == 1 { header.as_str() } else { "" };
        text.extend_from_slice(format!("@{header}\n{bases}\n+{plus}\n{scores}\n").as_bytes());
    }
    text
}

#[test]
fn a_record_found_whole_is_the_one_that_is_read_in_pieces() {
    let good = shapes();
    // In chunks of 7 bytes no record lies whole in one.
    let same = |text: &[u8]| {
        let whole = read_in(text, usize::MAX);
        assert_eq!(whole, read_in(text, 7), "{}", String::from_utf8_lossy(text));
        whole
    };
    assert_eq!(same(&good).unwrap().len(), 9);
    for at in 0..good.len() {
        for byte in *b"\n\r\t\0 +-@A[~\x7f\xff" {
            let mut bad = good.clone();
            bad[at] = byte;
            same(&bad).ok();
            bad.insert(at, good[at]);
            same(&bad).ok();
        }
        let mut bad = good.clone();
        bad.remove(at);
        same(&bad).ok();
        same(&good[..at]).ok();
    }
}

#[test]
fn a_line_longer_than_any_chunk_is_read_in_pieces() {
    let bases = "ACGT".repeat(500_000);
    let text = format!("@long\n{bases}\n+\n{}\n", "I".repeat(bases.len()));
    let records = read_in(text.as_bytes(), 65_536).unwrap();
    assert_eq!(records.first().map(|read| read.1.len()), Some(2_000_000));

    let header = format!("@{}\nA\n+\nI\n", "x".repeat(HEADER_BYTES_MAX));
    assert_eq!(read_in(header.as_bytes(), 4096).unwrap_err().what, What::LongHeader);
}
