use flate2::read::MultiGzDecoder;

use super::*;

const READS: &str = "@a/1 x\nACGTACGT\n+\nIIIIIIII\n@b/1\nNNNTACGT\n+\n!!!!!!!!\n@c/1\nACG\n+\nIII\n";
const MATES: &str = "@a/2\nTTTTTTTT\n+\n55555555\n@b/2\nACGTACGT\n+\nIIIIIIII\n@c/2\nACGTA\n+\nIIIII\n";

fn unzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

fn names(done: &Done, key: &str) -> String {
    let bytes = &done.outputs[&("filtered".to_owned(), key.to_owned())];
    unzipped(bytes).lines().step_by(4).filter_map(|line| line.get(1..2)).collect()
}

fn run(bench: &Bench, params: &str) -> Done {
    bench.run::<FastqFilter>(params).unwrap_or_else(|error| panic!("{params}: {error}"))
}

#[test]
fn each_threshold_drops_what_it_names() {
    let bench = Bench::new().input("reads", "FASTQ", READS);
    for (params, kept, count) in [
        ("{}", "abc", "reads_out"),
        (r#"{"min_length":4}"#, "ab", "too_short"),
        (r#"{"max_length":4}"#, "c", "too_long"),
        (r#"{"max_n":2}"#, "ac", "too_many_n"),
        (r#"{"max_n":3}"#, "abc", "reads_out"),
        (r#"{"min_mean_quality":40}"#, "ac", "low_quality"),
        (r#"{"min_mean_quality":40.1}"#, "", "low_quality"),
    ] {
        let done = run(&bench, params);
        assert_eq!(names(&done, "reads_1"), kept, "{params}");
        let expected = if count == "reads_out" { 3 } else { 3 - kept.len() };
        assert_eq!(done.result[count], expected, "{params}");
    }
}

#[test]
fn kept_reads_are_unchanged_and_gzip_says_nothing_of_when() {
    let done = run(&Bench::new().input("reads", "FASTQ", READS.replace('\n', "\r\n")), "{}");
    let bytes = done.output("filtered");
    assert_eq!(unzipped(bytes), READS);
    assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, bytes[8], 255]);
}

#[test]
fn pairs_stay_together() {
    let bench = Bench::new().input("reads", "FASTQ", READS).input("reads", "FASTQ", MATES);
    let done = run(&bench, r#"{"min_mean_quality":20,"min_length":4}"#);
    assert_eq!((names(&done, "reads_1"), names(&done, "reads_2")), ("a".into(), "a".into()));
    assert_eq!(done.result["paired"], true);
    assert_eq!(done.result["bases_in"], 19 + 21);
}

#[test]
fn what_is_no_pair_is_refused() {
    let refused = |second: &str| {
        let bench = Bench::new().input("reads", "FASTQ", READS).input("reads", "FASTQ", second);
        bench.run::<FastqFilter>("{}").unwrap_err().to_string()
    };
    assert_eq!(
        refused("@a/2\nA\n+\nI\n"),
        "input reads[1]: ends after 1 reads, but the other file has more: they are no pair (record 2)"
    );
    assert_eq!(
        refused(&MATES.replace("@b", "@z")),
        "input reads[1]: record 2 names another read than record 2 of the other file: they are no pair"
    );
}

#[test]
fn samples_follow_from_the_seed() {
    let text: String = (0..1000).map(|n| format!("@r{n}\nACGT\n+\nIIII\n")).collect();
    let bench = Bench::new().input("reads", "FASTQ", text);
    let sample = |params: &str| unzipped(run(&bench, params).output("filtered"));

    let drawn = sample(r#"{"sample_number":100,"seed":7}"#);
    assert_eq!(drawn.lines().count(), 400);
    assert_eq!(drawn, sample(r#"{"sample_number":100,"seed":7}"#));
    assert_ne!(drawn, sample(r#"{"sample_number":100,"seed":8}"#));
    let about = sample(r#"{"sample_fraction":0.5,"seed":7}"#).lines().count() / 4;
    assert!((400..600).contains(&about), "{about}");
}

#[test]
fn params_that_contradict_are_refused_before_anything_runs() {
    let bench = Bench::new().input("reads", "FASTQ", READS);
    for (params, expected) in [
        (
            r#"{"sample_number":1,"sample_fraction":0.5}"#,
            "param `/sample_number`: give this or `sample_fraction`, not both",
        ),
        (r#"{"min_length":9,"max_length":8}"#, "param `/max_length`: less than `min_length`"),
    ] {
        assert_eq!(bench.run::<FastqFilter>(params).unwrap_err().to_string(), expected);
    }
}
