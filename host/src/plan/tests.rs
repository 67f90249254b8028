use super::*;
use crate::contract::{Count, fixtures, raw};
use crate::policy::fixtures::grant;

mod steps;

fn count(min: u32, max: u32) -> Count {
    Count { min, max }
}

fn proposal(inputs: &[(&str, u32)], outputs: &[(&str, Count)]) -> raw::Proposal {
    let inputs =
        inputs.iter().map(|(role, index)| raw::PlannedInput { role: (*role).to_owned(), index: *index });
    let outputs =
        outputs.iter().map(|(role, count)| raw::PlannedOutput { role: (*role).to_owned(), count: *count });
    raw::Proposal {
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        steps: Vec::new(),
        extra: String::new(),
    }
}

fn good() -> raw::Proposal {
    proposal(&[("reads", 0), ("reads", 1)], &[("metrics", count(1, 1)), ("plots", count(0, 2))])
}

fn linked() -> Vec<(Role, u32)> {
    vec![("reads".parse().unwrap(), 0), ("reads".parse().unwrap(), 1)]
}

fn plan() -> Plan {
    let tool = fixtures::tool();
    check(Draft::parse(good(), &tool).unwrap(), &linked(), &tool, &grant()).unwrap()
}

fn code(proposal: raw::Proposal) -> Result<(), &'static str> {
    let tool = fixtures::tool();
    let draft = Draft::parse(proposal, &tool).map_err(|error| error.code)?;
    check(draft, &linked(), &tool, &grant()).map(|_plan| ()).map_err(|denial| denial.code)
}

/// The fields are private and `check` is the only maker, so this is the whole of what a plan can
/// be: the linked inputs, the declared outputs, the granted limits.
#[test]
fn i1_a_plan_is_what_check_admitted() {
    let plan = plan();
    assert_eq!(plan.inputs(), linked());
    assert_eq!(plan.limits(), &grant().limits);
    let json = plan.to_json();
    assert_eq!(json["tool"], "fastq_stats");
    assert_eq!(json["inputs"], serde_json::json!([{"role":"reads","index":0},{"role":"reads","index":1}]));
    assert_eq!(
        json["outputs"][1],
        serde_json::json!({"role":"plots","min":0,"max":2,"type":"PNG","label":"plot.png","check":"sniff"}),
    );
    assert_eq!(json["limits"]["wall_ms"], 300_000);
}

#[test]
fn i4_planned_is_linked_and_within_the_declared() {
    let outputs = [("metrics", count(1, 1)), ("plots", count(0, 2))];
    let both = [("reads", 0), ("reads", 1)];
    let cases = [
        (good(), Ok(())),
        (proposal(&[("reads", 1), ("reads", 0)], &outputs), Ok(())),
        (proposal(&[("reads", 0)], &outputs), Err("input_not_planned")),
        (proposal(&[], &outputs), Err("input_not_planned")),
        (proposal(&[("reads", 0), ("reads", 1), ("reads", 2)], &outputs), Err("inputs_not_linked")),
        (proposal(&[("reads", 0), ("reads", u32::MAX)], &outputs), Err("inputs_not_linked")),
        (proposal(&[("reads", 0), ("reads", 0)], &outputs), Err("input_duplicate")),
        (proposal(&[("other", 0)], &outputs), Err("input_undeclared")),
        (proposal(&both, &outputs[..1]), Err("output_not_planned")),
        (proposal(&both, &[outputs[0], outputs[1], ("x\u{202e}", count(1, 1))]), Err("output_undeclared")),
        (proposal(&both, &[outputs[0], outputs[1], outputs[0]]), Err("output_duplicate")),
        (proposal(&both, &[("metrics", count(0, 1)), outputs[1]]), Err("output_count")),
        (proposal(&both, &[outputs[0], ("plots", count(0, 5))]), Err("output_count")),
        (proposal(&both, &[outputs[0], ("plots", count(2, 1))]), Err("output_count")),
        (raw::Proposal { extra: "{}".to_owned(), ..good() }, Err("extra_not_supported")),
    ];
    for (index, (proposal, expected)) in cases.into_iter().enumerate() {
        assert_eq!(code(proposal), expected, "case {index}");
    }
}

#[test]
fn a_plan_that_policy_has_no_room_for_is_refused_early() {
    let tool = fixtures::tool();
    let mut tight = grant();
    tight.limits.outputs = 1;
    let crowded =
        proposal(&[("reads", 0), ("reads", 1)], &[("metrics", count(1, 1)), ("plots", count(1, 2))]);
    let denial = check(Draft::parse(crowded, &tool).unwrap(), &linked(), &tool, &tight).unwrap_err();
    assert_eq!(denial.code, "outputs_over_limit");
    assert_eq!(denial.message, "the tool needs 2 outputs, policy allows 1");
}

#[test]
fn i4_the_gate_lets_through_what_was_planned() {
    let written = |role, key, finished| Written { role, key, finished };
    let opened =
        |indices: &[u32]| indices.iter().map(|index| ("reads".to_owned(), *index)).collect::<Vec<_>>();
    let metrics = written("metrics", "metrics", true);
    let cases = [
        (opened(&[0, 1]), vec![metrics], Ok(())),
        (opened(&[1, 0, 0]), vec![metrics, written("plots", "a", true), written("plots", "b", true)], Ok(())),
        (opened(&[0]), vec![metrics], Err("input_not_opened")),
        (opened(&[0, 1, 2]), vec![metrics], Err("input_not_planned")),
        (opened(&[0, 1]), vec![], Err("output_count")),
        (opened(&[0, 1]), vec![metrics, written("metrics", "again", true)], Err("output_count")),
        (opened(&[0, 1]), vec![written("metrics", "metrics", false)], Err("output_unfinished")),
        (opened(&[0, 1]), vec![metrics, written("results2", "a", true)], Err("output_undeclared")),
        (opened(&[0, 1]), vec![metrics, metrics], Err("output_key")),
        (opened(&[0, 1]), vec![metrics, written("plots", "../a", true)], Err("output_key")),
        (
            opened(&[0, 1]),
            vec![
                metrics,
                written("plots", "a", true),
                written("plots", "b", true),
                written("plots", "c", true),
            ],
            Err("output_count"),
        ),
    ];
    for (index, (opened, written, expected)) in cases.into_iter().enumerate() {
        let found = plan().gate(&opened, &written, &[]).map_err(|error| error.code);
        assert_eq!(found, expected, "case {index}");
    }
}
