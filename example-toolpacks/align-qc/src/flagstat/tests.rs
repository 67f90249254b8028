use super::*;
use crate::bam::flag::*;
use crate::bam::testing::{header, read};

fn run(flags: &[(u16, i32, u8)]) -> Flagstat {
    let drafts: Vec<_> = flags
        .iter()
        .map(|(flag, mate, mapq)| {
            let mut draft = read(0, 1, 4).flag(*flag);
            draft.mate = (*mate, 0);
            draft.mapq = *mapq;
            draft
        })
        .collect();
    let bytes = header(&[("a", 100), ("b", 100)]).records(&drafts).0;
    let done = Bench::new().input("alignments", "BAM", bytes).run::<BamFlagstat>("{}").unwrap();
    let (passed, failed) = (&done.result["passed"], &done.result["failed"]);
    let table = String::from_utf8_lossy(done.output("table")).into_owned();
    for (line, (name, _)) in table.lines().skip(1).zip(Counts::ROWS) {
        assert_eq!(line, format!("{name}\t{}\t{}", passed[name], failed[name]));
    }
    count_of(&done)
}

fn count_of(done: &Done) -> Flagstat {
    let counts = |side: &str| {
        let of = |name: &str| done.result[side][name].as_u64().unwrap();
        Counts {
            total: of("total"),
            primary: of("primary"),
            secondary: of("secondary"),
            supplementary: of("supplementary"),
            duplicates: of("duplicates"),
            primary_duplicates: of("primary_duplicates"),
            mapped: of("mapped"),
            paired: of("paired"),
            properly_paired: of("properly_paired"),
            both_mapped: of("both_mapped"),
            singletons: of("singletons"),
            mate_on_other_reference: of("mate_on_other_reference"),
            mate_on_other_reference_mapq5: of("mate_on_other_reference_mapq5"),
            ..Counts::default()
        }
    };
    Flagstat { passed: counts("passed"), failed: counts("failed") }
}

#[test]
fn each_flag_counts_where_samtools_counts_it() {
    let pair = PAIRED | READ_1;
    let cases: [(&str, u16, i32, u8, &[&str]); 10] = [
        ("alone", 0, -1, 30, &["total", "primary", "mapped"]),
        ("unmapped", UNMAPPED, -1, 0, &["total", "primary"]),
        ("secondary", SECONDARY | pair, 0, 9, &["total", "secondary", "mapped"]),
        ("secondary first", SECONDARY | SUPPLEMENTARY, 0, 9, &["total", "secondary", "mapped"]),
        (
            "supplementary",
            SUPPLEMENTARY | DUPLICATE,
            0,
            9,
            &["total", "supplementary", "mapped", "duplicates"],
        ),
        ("duplicate", DUPLICATE, -1, 9, &["total", "primary", "mapped", "duplicates", "primary_duplicates"]),
        (
            "pair",
            pair | PROPER_PAIR,
            0,
            9,
            &["total", "primary", "mapped", "paired", "properly_paired", "both_mapped"],
        ),
        ("lost mate", pair | MATE_UNMAPPED, 0, 9, &["total", "primary", "mapped", "paired", "singletons"]),
        (
            "elsewhere",
            pair,
            1,
            4,
            &["total", "primary", "mapped", "paired", "both_mapped", "mate_on_other_reference"],
        ),
        ("proper but unmapped", pair | PROPER_PAIR | UNMAPPED, 0, 9, &["total", "primary", "paired"]),
    ];
    for (what, flags, mate, mapq, expected) in cases {
        let stats = run(&[(flags, mate, mapq)]);
        for (name, value) in Counts::ROWS {
            if !name.starts_with("read") && *name != "primary_mapped" {
                assert_eq!(value(&stats.passed), u64::from(expected.contains(name)), "{what}: {name}");
            }
        }
        let failed = run(&[(flags | QC_FAIL, mate, mapq)]);
        assert_eq!((failed.failed, failed.passed), (stats.passed, stats.failed), "{what}");
    }
    let well = run(&[(pair, 1, 5)]);
    assert_eq!(well.passed.mate_on_other_reference_mapq5, 1);
}

#[test]
fn no_record_is_no_share() {
    let bytes = header(&[]).0;
    let done = Bench::new().input("alignments", "BAM", bytes).run::<BamFlagstat>("{}").unwrap();
    assert_eq!(done.result["passed"]["mapped_percent"], 0.0);
    assert!(done.summary.contains("a header and no record"), "{}", done.summary);
    assert!(done.output("report").starts_with(b"<!doctype html>"));
}

#[test]
fn damage_is_refused_with_its_place() {
    let bytes = header(&[("a", 100)]).records(&[read(0, 1, 4), read(3, 1, 4)]).0;
    let refused = Bench::new().input("alignments", "BAM", bytes).run::<BamFlagstat>("{}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "input alignments[0]: record 2 (decoded byte 70): reference 3 is not in the header"
    );
    let refused = Bench::new().input("alignments", "BAM", "").run::<BamFlagstat>("{}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "input alignments[0]: header (decoded byte 0): does not begin as a BAM file"
    );
}
