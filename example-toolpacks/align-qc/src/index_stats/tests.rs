use super::*;
use crate::bam::testing::{header, read};

#[test]
fn records_count_where_they_lie_in_any_order() {
    let bytes = header(&[("a", 100), ("empty", 7), ("b\tx", 50)])
        .records(&[
            read(2, 1, 4),
            read(0, 1, 4),
            read(2, 0, 4).flag(flag::SECONDARY),
            read(0, 1, 4).flag(flag::UNMAPPED),
            read(-1, -1, 4).flag(flag::UNMAPPED),
            read(-1, -1, 4),
        ])
        .0;
    let done = Bench::new().input("alignments", "BAM", bytes).run::<BamIndexStats>("{}").unwrap();
    let table = String::from_utf8_lossy(done.output("table")).into_owned();
    assert_eq!(table, "a\t100\t1\t1\nempty\t7\t0\t0\nb\\tx\t50\t2\t0\n*\t0\t1\t1\n");
    for (name, expected) in [
        ("records", 6),
        ("mapped", 3),
        ("unmapped_placed", 1),
        ("unplaced", 2),
        ("references", 3),
        ("references_with_mapped", 2),
    ] {
        assert_eq!(done.result[name], expected, "{name}");
    }
    assert_eq!(done.result["top"][0]["name"], "b\\tx");
    assert_eq!(done.result["top"][1]["unmapped"], 1);
    assert!(done.summary.ends_with("; most on b\\tx (2), a (1)."), "{}", done.summary);
}

#[test]
fn a_header_of_many_names_fits_the_answer() {
    let names: Vec<String> = (0..3000).map(|n| format!("{}{n}", "<\u{1}long>".repeat(40))).collect();
    let references: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let drafts: Vec<_> = (0..3000).map(|id| read(id, 1, 4)).collect();
    let bytes = header(&references).records(&drafts).0;
    let done = Bench::new().input("alignments", "BAM", bytes).run::<BamIndexStats>("{}").unwrap();
    assert_eq!(done.result["top"].as_array().map(Vec::len), Some(SHOWN_MAX));
    let report = String::from_utf8_lossy(done.output("report")).into_owned();
    assert!(report.contains("&lt;\\u{1}long&gt;") && !report.contains("<\u{1}long"), "escaped");
}
