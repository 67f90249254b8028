//! A good manifest, from which each test breaks one thing.

use super::{CheckLevel, Count, Manifest, Tool, raw};

/// A param with a default, a nested object with one, a number, a choice; strict at every level.
pub(crate) const PARAMS: &str = concat!(
    r##"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"Params","type":"object","##,
    r##""properties":{"top":{"type":"integer","minimum":1,"maximum":100,"default":5},"##,
    r##""fraction":{"type":"number","default":0.5},"mode":{"type":"string","enum":["fast","slow"],"default":"fast"},"##,
    r##""trim":{"anyOf":[{"$ref":"#/$defs/Trim"},{"type":"null"}],"default":null},"tag":{"type":"string","pattern":"^[a-z]{1,8}$"}},"##,
    r##""required":["tag"],"additionalProperties":false,"##,
    r##""$defs":{"Trim":{"type":"object","properties":{"left":{"type":"integer","default":0},"right":{"type":"integer","default":0}},"additionalProperties":false}}}"##,
);

pub(crate) const RESULT: &str = concat!(
    r#"{"type":"object","properties":{"reads":{"type":"integer"},"note":{"type":"string"}},"#,
    r#""required":["reads"],"additionalProperties":false}"#,
);

pub(crate) fn manifest() -> raw::Manifest {
    let input = raw::Input {
        role: "reads".to_owned(),
        types: vec!["FASTQ".to_owned(), "FASTQ_GZ".to_owned()],
        count: Count { min: 1, max: 2 },
        description: "One file, or two of a pair.".to_owned(),
    };
    let output = raw::Output {
        role: "metrics".to_owned(),
        artifact_type: "JSON".to_owned(),
        label: "metrics.json".to_owned(),
        count: Count { min: 1, max: 1 },
        description: "All numbers.".to_owned(),
        check: CheckLevel::Sniff,
    };
    let plots = raw::Output {
        role: "plots".to_owned(),
        artifact_type: "PNG".to_owned(),
        count: Count { min: 0, max: 4 },
        label: "plot.png".to_owned(),
        ..output.clone()
    };
    let tool = raw::Tool {
        name: "fastq_stats".to_owned(),
        contract: "v1".to_owned(),
        title: "Statistics of reads".to_owned(),
        description: "Counts reads and bases of FASTQ files.".to_owned(),
        params_schema: PARAMS.to_owned(),
        result_schema: RESULT.to_owned(),
        inputs: vec![input],
        outputs: vec![output, plots],
        images: Vec::new(),
        read_only: true,
        idempotent: true,
        software: Vec::new(),
        extra: String::new(),
    };
    raw::Manifest {
        name: "reads-qc".to_owned(),
        version: "1.0.0".to_owned(),
        description: "Quality of reads.".to_owned(),
        licence: "Apache-2.0".to_owned(),
        homepage: String::new(),
        tools: vec![tool],
        extra: String::new(),
    }
}

pub(crate) fn tool() -> Tool {
    Manifest::parse(manifest()).unwrap().tools.remove(0)
}
