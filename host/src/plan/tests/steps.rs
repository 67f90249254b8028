//! Steps: what may be planned, and what of a plan may be started.

use std::fmt::Write as _;
use std::sync::LazyLock;

use helix_ids::{ArtifactType, EnvName};

use super::*;
use crate::policy::Grant;
use crate::policy::fixtures::{grant_of, images};

fn tool() -> Tool {
    Tool { images: images(&["bwa", "samtools"]), ..fixtures::tool() }
}

fn grant() -> Grant {
    grant_of(tool().images)
}

fn planned(name: &str, image: &str) -> raw::PlannedStep {
    raw::PlannedStep {
        name: name.to_owned(),
        image: image.to_owned(),
        environment: vec!["OMP_NUM_THREADS".to_owned()],
        instances_max: 2,
        cpus_max: 2,
        memory_bytes_max: 1 << 30,
        seconds_max: 600,
    }
}

fn draft(steps: Vec<raw::PlannedStep>) -> Result<Draft, DraftError> {
    Draft::parse(raw::Proposal { steps, ..good() }, &tool())
}

fn plan_of(steps: Vec<raw::PlannedStep>, grant: &Grant) -> Result<Plan, Denial> {
    check(draft(steps).map_err(Denial::from)?, &linked(), &tool(), grant)
}

/// Made once: a manifest's schemas take longer to compile than everything else here.
static TWO_STEPS: LazyLock<Plan> =
    LazyLock::new(|| plan_of(vec![planned("align", "bwa"), planned("sort", "samtools")], &grant()).unwrap());

fn two_steps() -> &'static Plan {
    &TWO_STEPS
}

#[test]
fn a_step_is_planned_of_a_declared_image_and_once() {
    let edit = |edit: fn(&mut raw::PlannedStep)| {
        let mut step = planned("align", "bwa");
        edit(&mut step);
        vec![step]
    };
    let cases: Vec<(Vec<raw::PlannedStep>, Result<(), &str>)> = vec![
        (vec![planned("align", "bwa"), planned("sort", "bwa")], Ok(())),
        (vec![planned("align", "bwa"), planned("align", "samtools")], Err("step_duplicate")),
        (vec![planned("Align", "bwa")], Err("step_name")),
        (vec![planned("../x", "bwa")], Err("step_name")),
        (vec![planned("align", "fastqc")], Err("step_image_undeclared")),
        (vec![planned("align", "registry.example/bwa")], Err("step_image_undeclared")),
        (edit(|step| step.environment.push("OMP_NUM_THREADS".to_owned())), Err("step_environment")),
        (edit(|step| step.environment.push("LD_PRELOAD".to_owned())), Err("step_environment")),
        (edit(|step| step.environment.push("PATH".to_owned())), Err("step_environment")),
        (edit(|step| step.environment.push("a=b\0".to_owned())), Err("step_environment")),
        (edit(|step| step.instances_max = 0), Err("step_resources")),
        (edit(|step| step.cpus_max = 0), Err("step_resources")),
        (edit(|step| step.memory_bytes_max = 0), Err("step_resources")),
        (edit(|step| step.seconds_max = 0), Err("step_resources")),
    ];
    for (index, (steps, expected)) in cases.into_iter().enumerate() {
        assert_eq!(draft(steps).map(drop).map_err(|error| error.code), expected, "case {index}");
    }
}

#[test]
fn i1_a_step_over_its_limits_is_refused_with_both_numbers() {
    let edit = |edit: fn(&mut raw::PlannedStep)| {
        let mut step = planned("align", "bwa");
        edit(&mut step);
        step
    };
    let cases: Vec<(raw::PlannedStep, &str, &str)> = vec![
        (
            edit(|step| step.cpus_max = 5),
            "step_over_limit",
            "the tool needs 5 cpus for the step align, policy allows 4",
        ),
        (
            edit(|step| step.memory_bytes_max = u64::MAX),
            "step_over_limit",
            "the tool needs 18446744073709551615 bytes of memory for the step align, policy allows 8589934592",
        ),
        (
            edit(|step| step.seconds_max = 86_401),
            "step_over_limit",
            "the tool needs 86401 seconds for the step align, policy allows 86400",
        ),
        (
            edit(|step| step.instances_max = u32::MAX),
            "steps_over_limit",
            "the tool needs up to 4294967297 steps, policy allows 64",
        ),
    ];
    for (step, code, message) in cases {
        let denial = plan_of(vec![step, planned("sort", "samtools")], &grant()).unwrap_err();
        assert_eq!((denial.code, denial.message.as_str()), (code, message));
        assert!(denial.rule.starts_with("limits."), "{}", denial.rule);
    }
    let mut nowhere = grant();
    nowhere.backend = None;
    assert_eq!(plan_of(vec![planned("align", "bwa")], &nowhere).unwrap_err().code, "backend_not_allowed");
    assert!(plan_of(vec![], &nowhere).is_ok());
    let mut narrower = grant();
    narrower.images.retain(|image| image.name.as_str() == "samtools");
    let denial = plan_of(vec![planned("align", "bwa")], &narrower).unwrap_err();
    assert_eq!(denial.code, "step_image_undeclared");
}

/// What a person sees of it before anything starts.
#[test]
fn a_dry_run_shows_every_step_with_image_and_limits() {
    let json = two_steps().to_json();
    assert_eq!(
        json["steps"][0],
        serde_json::json!({
            "name": "align",
            "image": {
                "name": "bwa", "ref": format!("registry.example/bwa@sha256:{}", "5".repeat(64)),
                "platform": "linux/amd64", "user": "65534:65534",
            },
            "environment": ["OMP_NUM_THREADS"],
            "instances_max": 2, "cpus_max": 2, "memory_bytes_max": 1 << 30, "seconds_max": 600,
        })
    );
    assert_eq!(json["backend"], serde_json::json!({ "kind": "docker", "runtime": "runc" }));
    assert_eq!((&json["step_limits"]["cpus"], &json["run_limits"]["steps"]), (&4.into(), &64.into()));
    // A tool without steps is shown as it always was.
    let plain = plan().to_json();
    let keys: Vec<&String> = plain.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["plan", "tool", "inputs", "outputs", "steps", "limits"]);
}

fn input(index: u32) -> raw::Source {
    raw::Source::Input { role: "reads".to_owned(), index }
}

fn file(step: u32, capture: &str) -> raw::Source {
    raw::Source::File { step, capture: capture.to_owned() }
}

fn mounts(mounts: &[(raw::Source, &str)]) -> Vec<raw::Mount> {
    let mount = |(source, name): &(raw::Source, &str)| raw::Mount {
        source: source.clone(),
        name: (*name).to_owned(),
    };
    mounts.iter().map(mount).collect()
}

fn captures(captures: &[(&str, &str)]) -> Vec<raw::Capture> {
    let capture = |(name, artifact_type): &(&str, &str)| raw::Capture {
        name: (*name).to_owned(),
        artifact_type: (*artifact_type).to_owned(),
    };
    captures.iter().map(capture).collect()
}

fn variable(name: &str, value: &str) -> raw::Variable {
    raw::Variable { name: name.to_owned(), value: value.to_owned() }
}

fn asked() -> raw::Step {
    raw::Step {
        name: "align".to_owned(),
        argv: ["bwa", "mem", "$(reboot)"].map(str::to_owned).to_vec(),
        environment: vec![variable("OMP_NUM_THREADS", "2")],
        mounts: mounts(&[(input(1), "reads_2.fq"), (input(0), "reads_1.fq")]),
        captures: captures(&[("x/b.sam", "SAM"), ("a.log", "LOG")]),
        cpus: 2,
        memory_bytes: 1 << 30,
        seconds: 600,
    }
}

/// The canonical text of an ask is recorded and compared by every later pass, and by every later
/// version: it never changes.
#[test]
fn an_order_is_what_was_asked_within_the_plan() {
    let order = two_steps().order(asked(), &[]).unwrap();
    let digest = format!("sha256:{}", "5".repeat(64));
    let golden = format!(
        r#"{{"argv":["bwa","mem","$(reboot)"],"captures":[{{"name":"a.log","type":"LOG"}},{{"name":"x/b.sam","type":"SAM"}}],"cpus":2,"environment":{{"OMP_NUM_THREADS":"2"}},"image":{{"digest":"{digest}","name":"bwa","platform":"linux/amd64"}},"memory_bytes":1073741824,"mounts":[{{"name":"reads_1.fq","source":{{"input":{{"index":0,"role":"reads"}}}}}},{{"name":"reads_2.fq","source":{{"input":{{"index":1,"role":"reads"}}}}}}],"name":"align","seconds":600,"step":1}}"#
    );
    assert_eq!(helix_ids::CanonicalJson::of(&order.to_json()).unwrap().to_string(), golden);
    assert_eq!(order.capture("x/b.sam"), Some(ArtifactType::Sam));
    assert_eq!(order.capture("b.sam"), None);

    let mut sort = asked();
    sort.name = "sort".to_owned();
    sort.mounts = mounts(&[(file(0, "x/b.sam"), "in.sam")]);
    let second = two_steps().order(sort, std::slice::from_ref(&order)).unwrap();
    let name = "x/b.sam".parse().unwrap();
    assert_eq!(second.mounts, [("in.sam".parse().unwrap(), MountSource::Capture { step: 0, name })]);
    assert_eq!(
        second.to_json()["mounts"][0]["source"],
        serde_json::json!({ "file": { "step": 0, "name": "x/b.sam" } })
    );
    let mut turned = asked();
    turned.mounts.reverse();
    turned.captures.reverse();
    assert_eq!(two_steps().order(turned, &[]).unwrap(), order);
}

type Edit = fn(&mut raw::Step);

const WRONG: &[(&str, Edit)] = &[
    ("step_not_planned", |step| step.name = "other".to_owned()),
    ("step_not_planned", |step| step.name = "align\u{202e}".to_owned()),
    ("step_resources", |step| step.cpus = 0),
    ("step_resources", |step| step.cpus = 3),
    ("step_resources", |step| step.memory_bytes = 0),
    ("step_resources", |step| step.memory_bytes = (1 << 30) + 1),
    ("step_resources", |step| step.seconds = 601),
    ("step_resources", |step| step.seconds = u64::MAX),
    ("step_argv", |step| step.argv.clear()),
    ("step_argv", |step| step.argv = vec![String::new()]),
    ("step_argv", |step| step.argv.push("a\0b".to_owned())),
    ("step_argv", |step| step.argv = vec!["x".to_owned(); 513]),
    ("step_argv", |step| step.argv.push("x".repeat(128 << 10))),
    ("step_environment", |step| step.environment.push(variable("OTHER", "1"))),
    ("step_environment", |step| step.environment.push(variable("LD_PRELOAD", "/work/in/x.so"))),
    ("step_environment", |step| step.environment.push(variable("OMP_NUM_THREADS", "1"))),
    ("step_environment", |step| step.environment[0].value = "a\0b".to_owned()),
    ("step_environment", |step| step.environment[0].value = "x".repeat(4097)),
    ("step_mount", |step| step.mounts = mounts(&[(input(2), "a")])),
    ("step_mount", |step| {
        let source = raw::Source::Input { role: "other".to_owned(), index: 0 };
        step.mounts = mounts(&[(source, "a")]);
    }),
    ("step_mount", |step| step.mounts = mounts(&[(file(0, "a.log"), "a")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "../a")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "/etc/passwd")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "-rf")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "a"), (input(1), "a")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "a/b/c"), (input(1), "a")])),
    ("step_mount", |step| step.mounts = mounts(&[(input(0), "a/b"), (input(1), "a/b/c")])),
    ("step_mount", |step| {
        let many: Vec<String> = (0..65).map(|number| format!("a{number}")).collect();
        step.mounts = many.iter().flat_map(|name| mounts(&[(input(0), name)])).collect();
    }),
    ("step_capture", |step| step.captures = captures(&[("a", "NONSENSE")])),
    ("step_capture", |step| step.captures = captures(&[("a/../../b", "LOG")])),
    ("step_capture", |step| step.captures = captures(&[("a b", "LOG")])),
    ("step_capture", |step| step.captures = captures(&[("a", "LOG"), ("a", "SAM")])),
    ("step_capture", |step| step.captures = captures(&[("a", "LOG"), ("a/b", "LOG")])),
    ("step_capture", |step| {
        let many: Vec<String> = (0..65).map(|number| format!("a{number}")).collect();
        step.captures = many.iter().flat_map(|name| captures(&[(name, "LOG")])).collect();
    }),
];

#[test]
fn a_step_beside_its_plan_is_not_ordered() {
    for (index, (expected, edit)) in WRONG.iter().enumerate() {
        let mut step = asked();
        edit(&mut step);
        let error = two_steps().order(step, &[]).unwrap_err();
        assert_eq!(error.code, *expected, "case {index}: {error}");
        assert!(error.message.len() < 1000 && !error.message.contains(['\0', '\u{202e}']), "{error}");
    }
}

#[test]
fn a_step_that_names_a_folder_beside_a_file_is_ordered() {
    let mut step = asked();
    step.mounts = mounts(&[(input(0), "a/b"), (input(1), "a/c"), (input(0), "a.b")]);
    step.environment.clear();
    step.captures.clear();
    assert!(two_steps().order(step, &[]).is_ok());
}

#[test]
fn no_more_instances_start_than_were_planned_and_none_reads_from_a_later_one() {
    let plan = two_steps();
    let mut earlier = Vec::new();
    for _ in 0..2 {
        earlier.push(plan.order(asked(), &earlier).unwrap());
    }
    assert_eq!(plan.order(asked(), &earlier).unwrap_err().code, "step_instances");
    let mut sort = asked();
    sort.name = "sort".to_owned();
    sort.mounts = mounts(&[(file(1, "a.log"), "a")]);
    assert!(plan.order(sort.clone(), &earlier).is_ok());
    for (step, capture) in [(2, "a.log"), (u32::MAX, "a.log"), (0, "b.log"), (0, "../a.log")] {
        sort.mounts = mounts(&[(file(step, capture), "a")]);
        assert_eq!(plan.order(sort.clone(), &earlier).unwrap_err().code, "step_mount", "{step} {capture}");
    }
}

#[test]
fn i4_what_is_published_is_an_output_like_any_other() {
    let opened: Vec<(String, u32)> = vec![("reads".to_owned(), 0), ("reads".to_owned(), 1)];
    let metrics = Written { role: "metrics", key: "metrics", finished: true };
    let file = |role, key, artifact_type| Published { role, key, artifact_type };
    let png = ArtifactType::Png;
    let cases: Vec<(Vec<Written<'_>>, Vec<Published<'_>>, Result<(), &str>)> = vec![
        (vec![metrics], vec![file("plots", "a", png), file("plots", "b", png)], Ok(())),
        (vec![], vec![file("metrics", "m", ArtifactType::Json)], Ok(())),
        (vec![], vec![file("metrics", "m", ArtifactType::Tsv)], Err("output_type")),
        (vec![metrics], vec![file("metrics", "m", ArtifactType::Json)], Err("output_count")),
        (vec![metrics], vec![file("metrics", "metrics", ArtifactType::Json)], Err("output_key")),
        (vec![metrics], vec![file("plots", "a", png), file("plots", "a", png)], Err("output_key")),
        (vec![metrics], vec![file("plots", "../a", png)], Err("output_key")),
        (vec![metrics], vec![file("other", "a", png)], Err("output_undeclared")),
        (vec![], vec![file("plots", "a", png)], Err("output_count")),
    ];
    for (index, (written, published, expected)) in cases.into_iter().enumerate() {
        let found = two_steps().gate(&opened, &written, &published).map_err(|error| error.code);
        assert_eq!(found, expected, "case {index}");
    }
}

proptest::proptest! {
    /// Whatever a guest sends, what comes out lies within the plan and stays inside its folders.
    #[test]
    fn i1_no_order_leaves_its_plan(
        name in "align|sort|[a-z./-]{0,6}",
        argv in proptest::collection::vec(".{0,20}", 0..4),
        mount_names in proptest::collection::vec("[a-c./-]{0,5}", 0..4),
        capture_names in proptest::collection::vec("[a-c./-]{0,5}", 0..4),
        (cpus, memory_bytes, seconds) in (0u32..4, 0u64..(3 << 30), 0u64..1000),
    ) {
        let names: Vec<(raw::Source, &str)> = mount_names.iter().map(|name| (input(0), name.as_str())).collect();
        let outs: Vec<(&str, &str)> = capture_names.iter().map(|name| (name.as_str(), "LOG")).collect();
        let step = raw::Step {
            name, argv, cpus, memory_bytes, seconds,
            environment: Vec::new(), mounts: mounts(&names), captures: captures(&outs),
        };
        if let Ok(order) = two_steps().order(step.clone(), &[]) {
            proptest::prop_assert_eq!(&order.argv, &step.argv);
            proptest::prop_assert!(order.cpus <= 2 && order.memory_bytes <= 1 << 30 && order.seconds <= 600);
            let inside = |name: &helix_ids::RelName| {
                name.as_str().split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']))
            };
            proptest::prop_assert!(order.mounts.iter().all(|(name, _)| inside(name)));
            proptest::prop_assert!(order.captures.iter().all(|(name, _)| inside(name)));
            proptest::prop_assert!(helix_ids::CanonicalJson::of(&order.to_json()).is_ok());
        }
    }
}

/// The record of an ask stays small enough to be written: its parts are capped one by one.
#[test]
fn i9_the_largest_order_has_a_bounded_text() {
    let mut step = asked();
    let part = "a".repeat(60);
    let name = |number: usize| {
        let mut name = format!("{number}/{part}/{part}/{part}");
        write!(name, "{}", "b".repeat(60)).unwrap();
        name
    };
    step.argv = vec!["\u{1}".repeat(256); 512];
    step.mounts = (0..64).flat_map(|number| mounts(&[(input(0), &name(number))])).collect();
    step.captures = (0..64).flat_map(|number| captures(&[(&name(number), "LOG")])).collect();
    step.environment = vec![variable("OMP_NUM_THREADS", &"\u{1}".repeat(4096))];
    let order = two_steps().order(step, &[]).unwrap();
    let names: Vec<EnvName> = order.environment.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["OMP_NUM_THREADS".parse().unwrap()]);
    assert!(order.to_json().to_string().len() < 1 << 20);
}
