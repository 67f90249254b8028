//! Policies as data: `tests/policies/good` is accepted, `tests/policies/bad` is refused with the
//! first line that stands beside each.

use std::path::{Path, PathBuf};

use super::*;

mod containers;

const GOOD: &str = include_str!("../../../tests/policies/good/everything.toml");

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/policies").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn good_policies_are_accepted() {
    for path in folder("good") {
        let policy = Policy::from_bytes(&std::fs::read(&path).unwrap());
        assert!(policy.is_ok(), "{}: {}", path.display(), policy.unwrap_err());
    }
}

#[test]
fn bad_policies_are_refused_with_line_and_column() {
    let mut wrong = Vec::new();
    for path in folder("bad") {
        let expected = std::fs::read_to_string(path.with_extension("err")).unwrap_or_default();
        let found = match Policy::from_bytes(&std::fs::read(&path).unwrap()) {
            Ok(_policy) => "accepted".to_owned(),
            Err(error) => error.0[0].to_string(),
        };
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if found != expected.trim_end() {
            wrong.push(format!("{name}\t{found}"));
        }
    }
    assert!(wrong.is_empty(), "these are refused otherwise:\n{}", wrong.join("\n"));
}

const DIGEST_1: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const DIGEST_2: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const DIGEST_3: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

fn policy(text: &str) -> Policy {
    Policy::from_toml(text).unwrap()
}

fn ask(policy: &Policy, project: &str, digest: &str, toolpack: &str, tool: &str) -> Decision {
    ask_with(policy, project, digest, toolpack, tool, &[])
}

fn ask_with(
    policy: &Policy,
    project: &str,
    digest: &str,
    toolpack: &str,
    tool: &str,
    images: &[DeclaredImage],
) -> Decision {
    let name: ProjectName = project.parse().unwrap();
    let project = Project { id: helix_ids::identity::project_id(&name), name };
    policy.decide(&Question {
        project: &project,
        component: digest.parse().unwrap(),
        toolpack: &toolpack.parse().unwrap(),
        tool: &tool.parse().unwrap(),
        images,
    })
}

#[test]
fn deny_beats_allow_beats_the_default() {
    let policy = policy(GOOD);
    let cases = [
        ("default", DIGEST_1, "reads-qc", "fastq_stats", Ok(Serve::Offered)),
        ("default", DIGEST_2, "reads-qc", "anything", Ok(Serve::Replay)),
        ("teaching", DIGEST_1, "reads-qc", "fastq_filter", Ok(Serve::Offered)),
        ("default", DIGEST_1, "reads-qc", "other_tool", Err(("tool_not_allowed", Some(57)))),
        ("default", DIGEST_1, "other-pack", "fastq_stats", Err(("component_name_mismatch", Some(57)))),
        ("nobody", DIGEST_1, "reads-qc", "fastq_stats", Err(("project_unknown", None))),
        ("default", DIGEST_3, "reads-qc", "fastq_stats", Err(("component_denied", Some(113)))),
        (
            "default",
            &DIGEST_1.replace('1', "4"),
            "reads-qc",
            "fastq_stats",
            Err(("component_not_allowed", None)),
        ),
    ];
    for (project, digest, toolpack, tool, expected) in cases {
        let decision = ask(&policy, project, digest, toolpack, tool);
        let found = decision.verdict.map(|grant| grant.serve).map_err(|denial| (denial.code, denial.line));
        assert_eq!(found, expected, "{project} {digest} {toolpack} {tool}");
        assert!(!decision.consulted.is_empty());
    }
}

#[test]
fn a_denial_beats_the_entry_that_allows() {
    let text = format!("{GOOD}\n[[deny]]\ndigest = \"{DIGEST_1}\"\nreason = \"found bad\"\n");
    let denial = policy(&text).admit_component(&DIGEST_1.parse().unwrap()).unwrap_err();
    assert_eq!(denial.code, "component_denied");
    assert_eq!(
        odd(&policy(&text)),
        ["line 57: [[component]] reads-qc has no effect: line 118 denies its digest"]
    );
}

#[test]
fn a_lower_level_only_narrows() {
    let grant = ask(&policy(GOOD), "default", DIGEST_1, "reads-qc", "fastq_stats").verdict.unwrap();
    let origin = |key: &str| {
        let origin = grant.limit_origins.iter().find(|origin| origin.key == key).unwrap();
        (origin.value.clone(), origin.rule.clone(), origin.line)
    };
    assert_eq!(grant.limits.memory_bytes, 128 << 20);
    assert_eq!(grant.limits.wall, std::time::Duration::from_secs(60));
    assert_eq!(origin("memory"), ("128MiB".to_owned(), "[[component]] reads-qc".to_owned(), Some(63)));
    assert_eq!(origin("wall"), ("1min".to_owned(), "[[project]] default".to_owned(), Some(107)));
    assert_eq!(origin("stack"), ("512KiB".to_owned(), "[limits.guest]".to_owned(), Some(19)));
    let other = ask(&policy(GOOD), "teaching", DIGEST_2, "reads-qc", "a").verdict.unwrap();
    assert_eq!(other.limits.memory_bytes, 256 << 20);
}

/// The slice of a release never changes: it is a part of the identity of every run that was made
/// under it.
#[test]
fn i6_the_slice_says_what_may_execute_and_not_how_much() {
    let golden = format!(r#"{{"component":"{DIGEST_1}","slice":1,"tool":"fastq_stats"}}"#);
    let slice = |text: &str, project: &str| {
        let decision = ask(&policy(text), project, DIGEST_1, "reads-qc", "fastq_stats");
        decision.verdict.unwrap().slice.to_string()
    };
    assert_eq!(slice(GOOD, "default"), golden);
    assert_eq!(slice(GOOD, "teaching"), golden);
    assert_eq!(
        slice(&GOOD.replace("128MiB", "64MiB").replace("name = \"lab\"", "name = \"other\""), "default"),
        golden
    );
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let (smallest, everything) = (policy("version = 1\nname = \"lab\"\n"), policy(GOOD));
    assert_eq!(smallest.compile, everything.compile);
    assert_eq!(smallest.caller, everything.caller);
    assert_eq!(smallest.host, everything.host);
    assert_eq!(smallest.guest.limits, everything.guest.limits);
    assert_eq!(smallest.step.limits, everything.step.limits);
    assert_eq!(smallest.run.limits, everything.run.limits);
}

#[test]
fn a_project_is_named_or_is_the_only_one() {
    let two = policy(GOOD);
    assert_eq!(two.project(None).unwrap_err().code, "project_required");
    let unknown = two.project(Some("other")).unwrap_err();
    assert_eq!((unknown.code, unknown.advice.as_str()), ("project_unknown", "projects: default teaching"));
    let teaching = two.project(Some("teaching")).unwrap();
    assert_eq!(two.project(Some(&teaching.id.to_string())).unwrap().name, teaching.name);
    let one = policy("version = 1\nname = \"x\"\n[[project]]\nname = \"only\"\ncomponents = []\n");
    assert_eq!(one.project(None).unwrap().name.as_str(), "only");
}

#[test]
fn a_root_is_for_its_projects_only() {
    let policy = policy(GOOD);
    let (default, teaching) = (&policy.projects()[0], &policy.projects()[1]);
    assert_eq!(policy.import_root(default, "sequencer").unwrap().max_file_bytes, Some(200 << 30));
    let denial = policy.import_root(teaching, "sequencer").unwrap_err();
    assert_eq!(denial.code, "import_root_unknown");
    assert_eq!(denial.advice, "this project has no import roots; an operator adds one under [[import_root]]");
    assert_eq!(denial.message, policy.import_root(teaching, "nonsense").unwrap_err().message);
    assert_eq!(
        policy.import_root(default, "x").unwrap_err().advice,
        "import roots of this project: sequencer"
    );
    assert!(policy.export_root(teaching, "results").is_ok());
    assert_eq!(policy.export_root(default, "sequencer").unwrap_err().code, "export_root_unknown");
}

#[test]
fn what_is_odd_is_said_and_not_refused() {
    let text = format!(
        r#"version = 1
name = "lab"

[[component]]
digest = "{DIGEST_1}"
name = "reads-qc"
serve = "replay"
tools = []
limits = {{ memory = "1GiB" }}

[[project]]
name = "default"
components = ["reads-qx"]
limits = {{ wall = "1h" }}

[[import_root]]
name = "in"
path = "/data"
projects = []

[[export_root]]
name = "out"
path = "/data/out/"
projects = "all"
"#
    );
    assert_eq!(
        odd(&policy(&text)),
        [
            "no [[component]] reads-qc has `serve = true`, so it is not offered",
            "line 4: [[component]] reads-qc stands in no project, so nobody may run it",
            "line 4: [[component]] reads-qc allows none of its tools",
            "line 9: [[component]] reads-qc sets memory = 1GiB, above the ceiling of 256MiB in [limits.guest]; the ceiling holds",
            "line 11: [[project]] default lists `reads-qx`, and no [[component]] is named so",
            "line 14: [[project]] default sets wall = 1h, above the ceiling of 5min in [limits.guest]; the ceiling holds",
            "line 16: [[import_root]] in is for no project",
            "line 21: [[export_root]] out and [[import_root]] in lie in one another, so an export can change what is imported",
        ]
    );
    assert_eq!(odd(&policy(GOOD)), Vec::<String>::new());
}

#[test]
fn requiring_fewer_walls_is_wider() {
    let said = |to: &str| -> Vec<(bool, String)> {
        let changes = diff(&policy(GOOD), &policy(&GOOD.replace("require = [\"seccomp\"]", to)));
        changes.into_iter().map(|change| (change.wider, change.what)).collect()
    };
    let what = |wall: &str, how: &str| format!("limits.host: a runner without the wall `{wall}`: {how}");
    assert_eq!(said("require = []"), [(true, what("seccomp", "allowed now"))]);
    let more = "require = [\"seccomp\", \"landlock\"]";
    assert_eq!(said(more), [(false, what("landlock", "no longer allowed"))]);
}

#[test]
fn a_diff_tells_what_got_wider() {
    type Expected = &'static [(bool, &'static str)];
    let cases: &[(&str, &str, Expected)] = &[
        ("# Every key", "# Other words:", &[]),
        (
            "memory = \"128MiB\" ",
            "memory = \"64MiB\" ",
            &[
                (false, "project default: reads-qc {1}: fastq_filter: memory 128MiB became 64MiB"),
                (false, "project default: reads-qc {1}: fastq_stats: memory 128MiB became 64MiB"),
                (false, "project teaching: reads-qc {1}: fastq_filter: memory 128MiB became 64MiB"),
                (false, "project teaching: reads-qc {1}: fastq_stats: memory 128MiB became 64MiB"),
            ],
        ),
        (
            "\"fastq_stats\", \"fastq_filter\"",
            "\"fastq_stats\"",
            &[
                (false, "project default: reads-qc {1}: fastq_filter: no longer allowed"),
                (false, "project teaching: reads-qc {1}: fastq_filter: no longer allowed"),
            ],
        ),
        (
            "tools = [\"fastq_stats\", \"fastq_filter\"]",
            "tools = \"all\"",
            &[
                (true, "project default: reads-qc {1}: every other tool: allowed now"),
                (true, "project teaching: reads-qc {1}: every other tool: allowed now"),
            ],
        ),
        ("serve = true", "serve = \"replay\"", &[(false, "reads-qc {1}: no longer offered")]),
        ("queued = 64", "queued = 65", &[(true, "limits.caller: queued 64 became 65")]),
        (
            "free_space_floor = \"5GiB\"",
            "free_space_floor = \"1GiB\"",
            &[(true, "limits.host: free_space_floor 5GiB became 1GiB")],
        ),
        (
            "path = \"/data/sequencer\"",
            "path = \"/data\"",
            &[(true, "project default: import root sequencer: /data/sequencer became /data")],
        ),
        (
            "path = \"/data/sequencer\"",
            "path = \"/data/sequencer/a\"",
            &[(false, "project default: import root sequencer: /data/sequencer became /data/sequencer/a")],
        ),
        ("max_file = \"200GiB\"", "", &[(true, "project default: import root sequencer: max_file changed")]),
        (
            "overwrite = false",
            "overwrite = true",
            &[
                (true, "project default: export root results: overwrite: allowed now"),
                (true, "project teaching: export root results: overwrite: allowed now"),
            ],
        ),
        (
            "projects = [\"default\"]",
            "projects = \"all\"",
            &[(true, "project teaching: import root sequencer: allowed now")],
        ),
    ];
    for (from, to, expected) in cases {
        assert!(GOOD.contains(from), "{from}");
        let found = diff(&policy(GOOD), &policy(&GOOD.replace(from, to)));
        let expected: Vec<Change> = expected
            .iter()
            .map(|(wider, what)| Change { wider: *wider, what: what.replace("{1}", DIGEST_1) })
            .collect();
        assert_eq!(found, expected, "{from} -> {to}");
    }
}

#[test]
fn the_starter_is_good_and_allows_nothing_to_run() {
    let name = "default".parse().unwrap();
    for root in [None, Some("/data/reads"), Some("/odd \"quoted\\ name")] {
        let text = edit::starter(&name, root.map(Path::new), root.map(|_| Path::new("/exports")));
        let policy = policy(&text);
        assert_eq!(policy.project(None).unwrap().name, name);
        let roots = policy.import_roots(&policy.projects()[0]);
        assert_eq!(roots.first().map(|found| found.path.as_path()), root.map(Path::new));
        assert_eq!(policy.export_roots(&policy.projects()[0]).len(), roots.len());
        assert!(policy.components().is_empty());
        assert_eq!(odd(&policy), Vec::<String>::new());
        assert!(text.lines().count() <= 60, "{}", text.lines().count());
    }
}

#[test]
fn what_is_allowed_by_edit_keeps_the_comments() {
    let text = "version = 1\nname = \"lab\" # mine\n\n[[project]]\nname = \"default\"\ncomponents = [\"other\"] # few\n\n# The end.\n";
    let mut entry = edit::Allow {
        digest: DIGEST_1.parse().unwrap(),
        name: "reads-qc".parse().unwrap(),
        tools: Names::All,
        images: BTreeSet::new(),
        projects: vec!["default".parse().unwrap()],
    };
    let once = edit::allow(text, &entry).unwrap();
    let expected = format!(
        "version = 1\nname = \"lab\" # mine\n\n[[project]]\nname = \"default\"\ncomponents = [\"other\", \"reads-qc\"] # few\n\n# The end.\n\n[[component]]\ndigest = \"{DIGEST_1}\"\nname = \"reads-qc\"\nserve = true\ntools = \"all\"\n"
    );
    assert_eq!(once, expected);

    entry.digest = DIGEST_2.parse().unwrap();
    entry.tools = Names::These(["fastq_stats".parse().unwrap()].into());
    let twice = edit::allow(&once.replace("serve = true", "serve = true # since May"), &entry).unwrap();
    let expected = format!(
        "{}\n[[component]]\ndigest = \"{DIGEST_2}\"\nname = \"reads-qc\"\nserve = true\ntools = [\"fastq_stats\"]\n",
        expected.replace("serve = true", "serve = \"replay\" # since May")
    );
    assert_eq!(twice, expected);
}

#[test]
fn a_file_that_is_bad_or_of_another_form_is_not_edited() {
    let entry = edit::Allow {
        digest: DIGEST_1.parse().unwrap(),
        name: "reads-qc".parse().unwrap(),
        tools: Names::All,
        images: BTreeSet::new(),
        projects: vec![],
    };
    assert!(matches!(edit::allow("version = 2\n", &entry), Err(edit::EditError::Policy(_))));
    let inline = format!(
        "version = 1\nname = \"x\"\ncomponent = [{{ digest = \"{DIGEST_2}\", name = \"a\", serve = true, tools = \"all\" }}]\n"
    );
    assert!(matches!(edit::allow(&inline, &entry), Err(edit::EditError::Form(_))));
    let absent = edit::Allow { projects: vec!["nobody".parse().unwrap()], ..entry };
    assert!(matches!(edit::allow("version = 1\nname = \"x\"\n", &absent), Err(edit::EditError::Form(_))));
}

/// The keys that a table knows, as the reader itself names them when it meets another.
fn known_keys(before: &str) -> Vec<String> {
    let error = Policy::from_toml(&format!("{before}\nno_such_key = 1\n")).unwrap_err().0[0].message.clone();
    let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_is_in_the_documentation() {
    let documentation = include_str!("../../../docs/policy.md");
    let tables = [
        ("", ""),
        ("store", "[store]"),
        ("limits", "[limits]"),
        ("limits.compile", "[limits.compile]"),
        ("limits.guest", "[limits.guest]"),
        ("limits.step", "[limits.step]"),
        ("limits.run", "[limits.run]"),
        ("limits.caller", "[limits.caller]"),
        ("limits.host", "[limits.host]"),
        ("component", "[[component]]"),
        ("import_root", "[[import_root]]"),
        ("export_root", "[[export_root]]"),
        ("project", "[[project]]"),
        ("image", "[[image]]"),
        ("backend", "[backend]"),
        ("backend.docker", "[backend.docker]"),
        ("deny", "[[deny]]"),
    ];
    let head = "version = 1\nname = \"x\"";
    let mut missing = Vec::new();
    for (table, header) in tables {
        let keys = known_keys(&if table.is_empty() { head.to_owned() } else { format!("{head}\n{header}") });
        assert!(!keys.is_empty());
        for key in keys {
            let full = if table.is_empty() { key } else { format!("{table}.{key}") };
            if !documentation.contains(&format!("`{full}`")) {
                missing.push(full);
            }
        }
    }
    for key in super::file::WALL_KEYS {
        assert!(documentation.contains(&format!("| `limits.host.{key}` |")), "docs/policy.md lacks {key}");
    }
    for key in ["limits.host.resident", "limits.step.retry"] {
        assert!(documentation.contains(&format!("`{key}`")), "docs/policy.md lacks {key}");
    }
    assert!(missing.is_empty(), "docs/policy.md lacks {missing:?}");
}
