use super::*;
use crate::fastq::tests::{Pieces, shapes};

const TWO_READS: &str = "@a\nACGTN\n+\nIIII!\n@b\ngc-\n+\n555\n";

#[test]
fn headline_numbers() {
    let done = Bench::new().sampled("reads", "FASTQ", Some("S1"), TWO_READS).run::<FastqStats>("{}").unwrap();
    let file = &done.result["files"][0];
    for (name, expected) in [
        ("reads", 2.0),
        ("bases", 8.0),
        ("length_min", 3.0),
        ("length_mean", 4.0),
        ("length_max", 5.0),
        ("length_q1", 3.0),
        ("length_median", 4.0),
        ("length_q3", 5.0),
        ("gaps", 1.0),
        ("n50", 5.0),
        ("q20_percent", 87.5),
        ("q30_percent", 50.0),
        ("gc_percent", 50.0),
        ("n_percent", 12.5),
    ] {
        assert_eq!(file[name].as_f64(), Some(expected), "{name}");
    }
    assert_eq!(file["sample"], "S1");
    assert_eq!(done.result["total"]["reads"], 2);
    assert!(done.summary.starts_with("S1 · reads 1: 2 reads, 8 bases;"), "{}", done.summary);
}

#[test]
fn positions_hold_means_and_quartiles() {
    let done = Bench::new().input("reads", "FASTQ", TWO_READS).run::<FastqStats>("{}").unwrap();
    let table = String::from_utf8_lossy(done.output("positions")).into_owned();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[1], "1\t1\t1\t2\t30.000\t20\t20\t40\t50.000\t0.000\t50.000\t0.000\t0.000");
    assert_eq!(rows[5], "1\t5\t5\t1\t0.000\t0\t0\t0\t0.000\t0.000\t0.000\t0.000\t100.000");
    assert_eq!(rows.len(), 6);
}

#[test]
fn an_empty_file_has_no_reads_and_a_report_all_the_same() {
    let done = Bench::new().input("reads", "FASTQ", "").run::<FastqStats>("{}").unwrap();
    assert_eq!(done.result["total"]["reads"], 0);
    assert_eq!(done.result["total"]["quality_mean"], 0.0);
    assert!(done.output("report").starts_with(b"<!doctype html>"));
    assert!(done.output("overview").starts_with(b"\x89PNG"));
}

#[test]
fn damage_names_file_and_record() {
    let bench = Bench::new().input("reads", "FASTQ", TWO_READS).input("reads", "FASTQ", "@a\nAC\n+\nI\n");
    let refused = bench.run::<FastqStats>("{}").unwrap_err();
    assert_eq!(refused.to_string(), "input reads[1]: record 1 (line 4): 2 bases, but 1 qualities");
}

#[test]
fn gzip_of_several_members_is_read_whole() {
    let member = |text: &str| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap()
    };
    let bytes = [member(TWO_READS), member(TWO_READS)].concat();
    let done = Bench::new().input("reads", "FASTQ_GZ", bytes).run::<FastqStats>("{}").unwrap();
    assert_eq!(done.result["total"]["reads"], 4);
}

#[test]
fn the_same_reads_count_the_same_wherever_they_lie() {
    // More than 255 records, positions past the exact ones, several chunks: every flush happens.
    let read =
        |length: usize, base: &str| format!("@r\n{}\n+\n{}\n", base.repeat(length), "I".repeat(length));
    let text: String = (0..600)
        .map(|n| read(if n % 2 == 0 { 150 } else { 3000 }, if n % 3 == 0 { "G" } else { "A" }))
        .collect();
    let done = Bench::new().input("reads", "FASTQ", text).run::<FastqStats>("{}").unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(done.output("metrics")).unwrap();
    let positions = metrics["files"][0]["positions"].as_array().unwrap();
    let bases: u64 = positions.iter().map(|row| row["bases"].as_u64().unwrap()).sum();
    assert_eq!(bases, 300 * 150 + 300 * 3000);
    for row in positions {
        let (from, to) = (row["from"].as_u64().unwrap(), row["to"].as_u64().unwrap());
        let reads = if from <= 150 { 600 } else { 300 };
        assert_eq!(row["bases"].as_u64(), Some(reads * (to.min(3000) - from + 1)), "{from}..={to}");
        assert_eq!(row["g_percent"], 33.333333, "{from}");
        assert_eq!(row["quality_median"], 40);
    }
}

#[test]
fn a_read_counts_the_same_whole_and_in_pieces() {
    let text = shapes();
    let counted = |size| {
        let mut tally = Tally::new(Encoding::Phred33);
        tally.read(&mut Records::new(Pieces::of(&text, size)), |_, _| {}).unwrap();
        (Summary::of(&tally), Position::all(&tally), tally.read_scores, tally.read_gc)
    };
    let whole = counted(usize::MAX);
    assert_eq!(whole.1.len(), 64, "as many positions as the longest read has");
    for size in 1..100 {
        assert_eq!(counted(size), whole, "in chunks of {size}");
    }
}

#[test]
fn an_unlikely_encoding_is_told() {
    let text = "@a\nACGT\n+\nhhhh\n";
    let done = Bench::new().input("reads", "FASTQ", text).run::<FastqStats>("{}").unwrap();
    assert!(done.summary.contains("consider `quality_encoding`"), "{}", done.summary);
    let done = Bench::new()
        .input("reads", "FASTQ", text)
        .run::<FastqStats>(r#"{"quality_encoding":"phred64"}"#)
        .unwrap();
    assert_eq!(done.result["total"]["quality_mean"], 40.0);
    assert!(!done.summary.contains("consider"), "{}", done.summary);
}
