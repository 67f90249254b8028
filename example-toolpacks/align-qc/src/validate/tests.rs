use super::*;
use crate::bam::testing::{Draft, File, header, header_with, op, read};

fn kinds(file: File) -> Vec<(String, u64, u64)> {
    let done = Bench::new().input("alignments", "BAM", file.0).run::<BamValidate>("{}").unwrap();
    let findings = done.result["findings"].as_array().unwrap();
    let errors = findings.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(done.result["valid"], !errors);
    let table = String::from_utf8_lossy(done.output("findings")).into_owned();
    assert!(table.lines().all(|line| line.split('\t').count() == 6), "{table}");
    let of = |name: &str, finding: &serde_json::Value| finding[name].as_u64().unwrap();
    findings
        .iter()
        .map(|finding| {
            let kind = finding["kind"].as_str().unwrap().to_owned();
            (kind, of("count", finding), of("first_record", finding))
        })
        .collect()
}

const TEXT: &str = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:100\n@RG\tID:one\n@CO\tany\tthing\n";

#[test]
fn a_good_file_has_no_finding() {
    let mut tagged = read(0, 5, 4).flag(99);
    tagged.tags = b"RGZone\0NMC\x01".to_vec();
    tagged.mate = (0, 9);
    let mut unplaced = read(-1, -1, 4).flag(4).cigar(&[]);
    unplaced.qualities = vec![255; 4];
    let file = header_with(TEXT, &[("c", 100)]).records(&[read(0, 5, 4), tagged, unplaced]);
    assert_eq!(kinds(file), []);
}

#[test]
fn the_header_is_held_against_the_references() {
    type References<'a> = &'a [(&'a str, i32)];
    let cases: [(&str, References<'_>, &str); 9] = [
        ("", &[("c", 100)], "no_header_references"),
        ("@SQ\tSN:d\tLN:100\n", &[("c", 100)], "header_references"),
        ("@SQ\tSN:c\tLN:99\n", &[("c", 100)], "header_references"),
        ("@SQ\tSN:c\tLN:100\n", &[("c", 100), ("d", 1)], "header_references"),
        ("@SQ\tSN:c\tLN:9\n@SQ\tSN:c\tLN:9\n", &[("c", 9), ("c", 9)], "duplicate_reference"),
        ("@RG\tID:a\n@RG\tID:a\n", &[], "duplicate_read_group"),
        ("@RG\tSM:a\n", &[], "header_text"),
        ("HD\n", &[], "header_text"),
        ("@CO\tx\n@HD\tVN:1.6\n", &[], "header_text"),
    ];
    for (text, references, expected) in cases {
        assert_eq!(kinds(header_with(text, references)), [(expected.to_owned(), 1, 0)], "{text:?}");
    }
}

#[test]
fn each_fault_of_a_record_is_named() {
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = read(0, 10, 4);
        change(&mut draft);
        draft
    };
    let tags = |bytes: &'static [u8]| with(&|draft: &mut Draft| draft.tags = bytes.to_vec());
    let cases: [(Draft, &str); 27] = [
        (with(&|d| d.reference = 7), "reference_out_of_range"),
        (with(&|d| d.mate = (-2, 0)), "reference_out_of_range"),
        (with(&|d| d.mate = (0, 100)), "position_out_of_range"),
        (with(&|d| d.position = -1), "position_out_of_range"),
        (with(&|d| d.reference = -1), "no_reference"),
        (with(&|d| d.name = b"a b".to_vec()), "read_name"),
        (with(&|d| d.name = Vec::new()), "read_name"),
        (with(&|d| d.cigar = vec![4 << 4 | 15]), "cigar_operation"),
        (with(&|d| d.cigar = vec![op(5, 'M')]), "cigar_length"),
        (with(&|d| d.cigar = vec![op(2, 'M'), op(1, 'S'), op(1, 'M')]), "cigar_shape"),
        (with(&|d| d.cigar = vec![op(1, 'S'), op(1, 'H'), op(3, 'M')]), "cigar_shape"),
        (with(&|d| d.cigar = vec![op(4, 'S'), op(4, 'N')]), "long_cigar"),
        (with(&|d| d.qualities[1] = 94), "quality"),
        (tags(b"NMq"), "tags"),
        (tags(b"XBBI\xff\xff\xff\x7f"), "tags"),
        (tags(b"1MC\x01"), "tag_name"),
        (tags(b"MDZ4\n\0"), "tag_value"),
        (tags(b"XXH123\0"), "tag_value"),
        (tags(b"NMC\x01NMC\x01"), "duplicate_tag"),
        (with(&|d| d.position = 5), "order"),
        (with(&|d| d.cigar = vec![op(4, 'M'), op(99, 'D')]), "past_end"),
        (with(&|d| d.cigar = vec![op(4, 'M'), op(0, 'D')]), "empty_operation"),
        (with(&|d| d.cigar = Vec::new()), "no_cigar"),
        (with(&|d| d.bin = Some(4680)), "bin"),
        (with(&|d| d.flag = 0x1000), "unknown_flags"),
        (with(&|d| d.flag = 0x40), "pair_flags"),
        (tags(b"RGZtwo\0"), "unknown_read_group"),
    ];
    for (draft, expected) in cases {
        let found = kinds(header_with(TEXT, &[("c", 100)]).records(&[read(0, 10, 4), draft]));
        assert!(found.contains(&(expected.to_owned(), 1, 2)), "{expected}: {found:?}");
    }
}

#[test]
fn bins_are_those_of_the_specification() {
    for (start, end, bin) in [
        (0, 16384, 4681),
        (16383, 16385, 585),
        (0, 1 << 29, 0),
        (-1, 0, 4680),
        (1 << 26, (1 << 26) + 1, 8777),
    ] {
        assert_eq!(record::bin(start, end), bin, "{start}..{end}");
    }
}

#[test]
fn a_file_that_cannot_be_followed_is_refused() {
    let mut bytes = header(&[("c", 100)]).record(&read(0, 1, 4)).0;
    bytes.truncate(bytes.len() - 1);
    let refused = Bench::new().input("alignments", "BAM", bytes).run::<BamValidate>("{}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "input alignments[0]: record 1 (decoded byte 22): the file ends within this record: it is truncated"
    );
}

#[test]
fn only_so_many_examples_are_kept() {
    let drafts = vec![read(0, 1, 4).flag(0x1000); 50];
    let bytes = header_with(TEXT, &[("c", 100)]).records(&drafts).0;
    let done =
        Bench::new().input("alignments", "BAM", bytes).run::<BamValidate>(r#"{"examples":3}"#).unwrap();
    assert_eq!(done.result["findings"][0]["count"], 50);
    assert_eq!(String::from_utf8_lossy(done.output("findings")).lines().count(), 4);
    assert!(
        done.summary.starts_with("Valid: 50 records on 1 references, 0 errors, 50 warnings"),
        "{}",
        done.summary
    );
}
