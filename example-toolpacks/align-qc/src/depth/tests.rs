use super::*;
use crate::bam::testing::{Draft, header, op, read};

fn run(references: &[(&str, i32)], drafts: &[Draft], params: &str) -> Done {
    let bytes = header(references).records(drafts).0;
    Bench::new().input("alignments", "BAM", bytes).run::<BamDepth>(params).unwrap()
}

/// Depth of each position, by windows of one base.
fn depths(drafts: &[Draft], params: &str) -> String {
    let params = params.replace('{', r#"{"window_bases":1"#);
    let done = run(&[("c", 12)], drafts, &params);
    let table = String::from_utf8_lossy(done.output("windows")).into_owned();
    table.lines().skip(1).map(|line| line.rsplit('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn a_base_counts_where_it_lies_on_the_reference() {
    let cases: [(&[u32], u32, &str); 9] = [
        (&[op(4, 'M')], 4, "001111000000"),
        (&[op(2, 'M'), op(2, 'D'), op(2, 'M')], 4, "001100110000"),
        (&[op(2, 'M'), op(3, 'N'), op(2, 'M')], 4, "001100011000"),
        (&[op(1, 'M'), op(2, 'I'), op(1, 'M')], 4, "001100000000"),
        (&[op(1, 'S'), op(3, 'M')], 4, "001110000000"),
        (&[op(9, 'H'), op(2, '='), op(2, 'X')], 4, "001111000000"),
        (&[op(2, 'M'), op(3, 'P'), op(2, 'M')], 4, "001111000000"),
        (&[], 4, "000000000000"),
        (&[op(20, 'M')], 20, "001111111111"),
    ];
    for (cigar, bases, expected) in cases {
        assert_eq!(depths(&[read(0, 2, bases).cigar(cigar)], "{}"), expected, "{cigar:?}");
    }
}

#[test]
fn what_is_left_out_follows_the_params() {
    let mut poor = read(0, 0, 4);
    poor.mapq = 3;
    let mut mixed = read(0, 4, 4);
    mixed.qualities = vec![30, 10, 30, 255];
    let drafts = [
        poor,
        read(0, 0, 4).flag(flag::DUPLICATE),
        read(0, 0, 4).flag(flag::UNMAPPED),
        mixed,
        read(-1, -1, 4),
    ];
    assert_eq!(depths(&drafts, "{}"), "111111110000");
    assert_eq!(depths(&drafts, r#"{,"min_mapq":4}"#), "000011110000");
    assert_eq!(depths(&drafts, r#"{,"exclude_flags":0}"#), "222211110000");
    assert_eq!(depths(&drafts, r#"{,"min_base_quality":20}"#), "111110110000");
    let done = run(&[("c", 12)], &drafts, "{}");
    assert_eq!((&done.result["reads"], &done.result["reads_left_out"]), (&2.into(), &3.into()));
}

#[test]
fn a_sorted_and_a_shuffled_file_have_one_depth() {
    // Enough reads that the sweep moves its stretch many times.
    let mut drafts: Vec<Draft> = (0..4000)
        .map(|n: i32| {
            let length = 1 + n.unsigned_abs() * 7919 % 90;
            let skip = op(n.unsigned_abs() % 300, 'N');
            let cigar = [op(length, 'M'), skip, op(10, 'M')];
            let mut draft = read(n / 2000, n % 2000 * 5, length + 10).cigar(&cigar);
            draft.mapq = 60;
            draft
        })
        .collect();
    let references = [("a", 10_200), ("b", 10_050), ("c", 5)];
    let sorted = run(&references, &drafts, r#"{"window_bases":37}"#);
    drafts.reverse();
    let shuffled = run(&references, &drafts, r#"{"window_bases":37}"#);
    assert_eq!(sorted.result, shuffled.result);
    assert_eq!(sorted.outputs, shuffled.outputs);
    assert_eq!(sorted.log, []);
    assert_eq!(shuffled.log.len(), 1);
    let sum: u64 = drafts.iter().map(|draft| draft.bases as u64).sum();
    let past = sorted.result["bases_past_end"].as_u64().unwrap();
    let table = String::from_utf8_lossy(sorted.output("windows")).into_owned();
    let counted: f64 = table
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<f64> = line.split('\t').skip(1).map(|column| column.parse().unwrap()).collect();
            (columns[1] - columns[0]) * columns[2]
        })
        .sum();
    assert!(past > 0, "some reads reach past the end");
    assert!((counted - (sum - past) as f64).abs() < 1.0, "{counted} of {sum} - {past}");
}

#[test]
fn min_depth_is_what_counts_as_covered() {
    let drafts = [read(0, 0, 4), read(0, 2, 4)];
    let covered = |params: &str| run(&[("c", 12)], &drafts, params).result["covered_bases"].clone();
    assert_eq!(covered("{}"), 6);
    assert_eq!(covered(r#"{"min_depth":2}"#), 2);
    assert_eq!(covered(r#"{"min_depth":3}"#), 0);
}

#[test]
fn a_long_reference_costs_what_its_reads_cost() {
    let done = run(&[("c", i32::MAX)], &[read(0, 5, 4), read(0, 2_147_483_000, 4)], "{}");
    assert_eq!(done.result["covered_bases"], 8);
    assert_eq!(done.result["mean_depth"], 3.72529e-9);
    let unsorted = header(&[("c", i32::MAX)]).records(&[read(0, 9, 4), read(0, 5, 4)]).0;
    let refused = Bench::new().input("alignments", "BAM", unsorted).run::<BamDepth>("{}").unwrap_err();
    assert!(refused.to_string().contains("sort it first"), "{refused}");
    let bytes = header(&[("c", i32::MAX)]).0;
    let refused =
        Bench::new().input("alignments", "BAM", bytes).run::<BamDepth>(r#"{"window_bases":1}"#).unwrap_err();
    assert!(refused.to_string().starts_with("param `/window_bases`: windows of 1 bases"), "{refused}");
}

#[test]
fn damage_is_refused_with_its_place() {
    let cases: [(Draft, &str); 3] = [
        (read(0, 1, 4).cigar(&[4 << 4 | 9]), "its CIGAR has an operation 9, which does not exist"),
        (read(0, -5, 4), "is mapped to position -5 (from 0)"),
        (
            read(0, 1, 4).cigar(&[op(1, 'M'), op(1 << 25, 'N'), op(3, 'M')]),
            "spans 33554436 bases of its reference; at most 16,777,216 are followed",
        ),
    ];
    for (draft, reason) in cases {
        let bytes = header(&[("c", i32::MAX)]).record(&draft).0;
        let refused = Bench::new().input("alignments", "BAM", bytes).run::<BamDepth>("{}").unwrap_err();
        assert!(refused.to_string().ends_with(&format!("record 1 (decoded byte 22): {reason}")), "{refused}");
    }
}
