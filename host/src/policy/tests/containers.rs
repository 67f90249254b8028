//! Images, backends and what holds for steps.

use std::time::Duration;

use helix_ids::ContainerUser;

use super::*;

const IMAGE_5: &str =
    "registry.example/lab/fastqc@sha256:5555555555555555555555555555555555555555555555555555555555555555";

/// The same repository at another digest.
fn image_at(digit: char) -> String {
    IMAGE_5.replace(&"5".repeat(64), &digit.to_string().repeat(64))
}

fn image(name: &str, reference: &str) -> DeclaredImage {
    let (name, reference) = (name.parse().unwrap(), reference.parse().unwrap());
    DeclaredImage { name, reference, platform: "linux/amd64".to_owned() }
}

fn asked(text: &str, project: &str, image: &DeclaredImage) -> Result<Grant, Denial> {
    let images = std::slice::from_ref(image);
    ask_with(&policy(text), project, DIGEST_1, "reads-qc", "fastq_stats", images).verdict
}

#[test]
fn an_image_is_named_pinned_and_listed_or_it_is_denied() {
    let declared = image("fastqc", IMAGE_5);
    let other_digest = image("fastqc", &image_at('7'));
    let other_repository = image("fastqc", &IMAGE_5.replace("lab", "else"));
    let arm = DeclaredImage { platform: "linux/arm64".to_owned(), ..declared.clone() };
    let unlisted = GOOD.replace("images = [\"fastqc\"]\n", "");
    let denied =
        format!("{GOOD}\n[[deny]]\ndigest = \"{}\"\nreason = \"bad\"\n", declared.reference.digest());
    let no_backend = GOOD.replace("backends = [\"docker\"]", "backends = []");
    let docker =
        "[backend.docker]\nendpoint = \"unix:///run/docker.sock\"\nruntime = \"runc\"\npull = \"missing\"\n";
    let no_docker = GOOD.replace(docker, "");
    assert_ne!(GOOD, no_docker);
    let cases: [(&str, &DeclaredImage, Result<(), (&str, &str)>); 11] = [
        (GOOD, &declared, Ok(())),
        (GOOD, &image("fastqc", &image_at('6')), Ok(())),
        (GOOD, &image("bwa", IMAGE_5), Err(("image_not_allowed", "default"))),
        (GOOD, &other_digest, Err(("image_mismatch", "[[image]] fastqc"))),
        (GOOD, &other_repository, Err(("image_mismatch", "[[image]] fastqc"))),
        (GOOD, &arm, Err(("image_mismatch", "[[image]] fastqc"))),
        (&unlisted, &declared, Err(("image_not_allowed", "[[component]] reads-qc"))),
        (&denied, &declared, Err(("image_denied", "[[deny]]"))),
        (&denied, &image("fastqc", &image_at('6')), Ok(())),
        (&no_backend, &declared, Err(("backend_not_allowed", "[[project]] default"))),
        (&no_docker, &declared, Err(("backend_not_allowed", "default"))),
    ];
    for (index, (text, declared, expected)) in cases.into_iter().enumerate() {
        let found = asked(text, "default", declared).map(drop);
        let found = found.as_ref().map(|()| ()).map_err(|denial| (denial.code, denial.rule.as_str()));
        assert_eq!(found, expected.as_ref().map(|()| ()).map_err(|expected| *expected), "case {index}");
    }
}

#[test]
fn a_mismatch_tells_both_images() {
    let declared = image_at('7');
    let denial = asked(GOOD, "default", &image("fastqc", &declared)).unwrap_err();
    for reference in [&declared, IMAGE_5, &image_at('6')] {
        assert!(denial.message.contains(reference), "{}", denial.message);
    }
}

#[test]
fn a_grant_says_as_whom_where_and_how_much() {
    let text = GOOD.replace("cpus = 4", "cpus = 2").replace("steps = 64\n", "steps = 3\n");
    let grant = asked(&text, "default", &image("fastqc", IMAGE_5)).unwrap();
    let granted = GrantedImage {
        name: "fastqc".parse().unwrap(),
        image: IMAGE_5.parse().unwrap(),
        platform: "linux/amd64".to_owned(),
        user: ContainerUser::Ids { uid: 65534, gid: 65534 },
    };
    assert_eq!(grant.images, [granted]);
    let docker = DockerRule {
        endpoint: "unix:///run/docker.sock".to_owned(),
        runtime: "runc".to_owned(),
        pull: Pull::Missing,
    };
    assert_eq!(grant.backend, Some(BackendRule::Docker(docker)));
    assert_eq!((grant.step_limits.cpus, grant.run_limits.steps), (2, 3));
    assert_eq!(grant.step_limits.wall, Duration::from_secs(86_400));
    let origin = |key: &str| {
        let origin = grant.limit_origins.iter().find(|origin| origin.key == key).unwrap();
        (origin.value.clone(), origin.rule.clone(), origin.line)
    };
    assert_eq!(origin("step.cpus"), ("2".to_owned(), "[limits.step]".to_owned(), Some(32)));
    assert_eq!(origin("run.steps"), ("3".to_owned(), "[limits.run]".to_owned(), Some(40)));
    assert_eq!(origin("memory").0, "128MiB");

    // A tool without images is granted no backend, and its grant is what it was before there were any.
    let plain = ask(&policy(&text), "default", DIGEST_1, "reads-qc", "fastq_stats").verdict.unwrap();
    assert_eq!((plain.images.len(), plain.backend), (0, None));
    assert!(plain.limit_origins.iter().all(|origin| !origin.key.contains('.')));
}

#[test]
fn docker_has_its_defaults() {
    let text = include_str!("../../../../tests/policies/good/containers.toml");
    let docker = policy(text).docker().cloned().unwrap();
    let expected = DockerRule {
        endpoint: "unix:///var/run/docker.sock".to_owned(),
        runtime: "runc".to_owned(),
        pull: Pull::Never,
    };
    assert_eq!(docker, expected);
    let declared = image("fastqc", &IMAGE_5.replace("registry.example/lab", "localhost:5000"));
    assert_eq!(asked(text, "default", &declared).unwrap().images[0].user, ContainerUser::Host);
    assert_eq!(asked(text, "teaching", &declared).unwrap_err().code, "backend_not_allowed");
}

/// As the golden slice of a tool without images: what is in it never changes.
#[test]
fn i6_the_slice_holds_what_a_container_is_and_not_how_much() {
    let digest = "sha256:5555555555555555555555555555555555555555555555555555555555555555";
    let golden = format!(
        r#"{{"backend":{{"kind":"docker","network":"none","runtime":"runc"}},"component":"{DIGEST_1}","images":[{{"digest":"{digest}","egress":"none","name":"fastqc","platform":"linux/amd64","user":"65534:65534"}}],"slice":1,"tool":"fastq_stats"}}"#
    );
    let slice = |text: &str| asked(text, "default", &image("fastqc", IMAGE_5)).unwrap().slice.to_string();
    assert_eq!(slice(GOOD), golden);
    assert_eq!(slice(&GOOD.replace("runtime = \"runc\"\n", "")), golden);
    for (from, to) in [
        ("cpus = 4", "cpus = 64"),
        ("concurrent_steps = 4", "concurrent_steps = 1"),
        ("pull = \"missing\"", "pull = \"never\""),
        ("unix:///run/docker.sock", "unix:///run/podman/podman.sock"),
    ] {
        assert!(GOOD.contains(from));
        assert_eq!(slice(&GOOD.replace(from, to)), golden, "{from} -> {to}");
    }
    for (from, to) in [("runtime = \"runc\"", "runtime = \"runsc\""), ("\"65534:65534\"", "\"1000:1000\"")] {
        assert!(GOOD.contains(from));
        assert_ne!(slice(&GOOD.replace(from, to)), golden, "{from} -> {to}");
    }
    // Wherever it was fetched from, it is the same image.
    let (here, there) = ("registry.example/lab/fastqc@sha256:55", "localhost:5000/fastqc@sha256:55");
    let moved = image("fastqc", &IMAGE_5.replace(here, there));
    assert_eq!(asked(&GOOD.replace(here, there), "default", &moved).unwrap().slice.to_string(), golden);
}

#[test]
fn only_a_denial_that_says_so_ends_what_runs() {
    let policy = policy(&format!("{GOOD}\n[[deny]]\ndigest = \"{DIGEST_2}\"\nreason = \"bad\"\n"));
    let kills = |digest: &str| policy.kills_running(&digest.parse().unwrap());
    assert_eq!((kills(DIGEST_1), kills(DIGEST_2), kills(DIGEST_3)), (false, false, true));
}

#[test]
fn a_diff_tells_what_got_wider_of_containers() {
    let what = "project default: reads-qc {1}: image fastqc";
    let both = |how: &str| {
        let of = |project: &str, image: &str| {
            format!("project {project}: reads-qc {DIGEST_1}: image fastqc {image}: {how}")
        };
        let (five, six) = (IMAGE_5.to_owned(), image_at('6'));
        vec![of("default", &five), of("default", &six), of("teaching", &five), of("teaching", &six)]
    };
    let of_default = |how: &str| both(how).into_iter().filter(|line| line.contains("default:")).collect();
    let one = |line: &str| vec![line.replace("{1}", DIGEST_1)];
    let cases: Vec<(&str, &str, bool, Vec<String>)> = vec![
        ("images = [\"fastqc\"]\n", "", false, both("no longer allowed")),
        ("backends = [\"docker\"]", "backends = []", false, of_default("no longer allowed")),
        ("cpus = 4", "cpus = 5", true, one("limits.step: cpus 4 became 5")),
        ("wall = \"7d\"", "wall = \"1d\"", false, one("limits.run: wall 7d became 1d")),
        (
            "pull = \"missing\"",
            "pull = \"never\"",
            false,
            one("backend docker: fetching an image that is missing: no longer allowed"),
        ),
        ("runtime = \"runc\"", "runtime = \"runsc\"", true, one("backend docker: runtime runc became runsc")),
        (
            "unix:///run/docker.sock",
            "unix:///run/other.sock",
            true,
            one("backend docker: endpoint unix:///run/docker.sock became unix:///run/other.sock"),
        ),
        (
            "kill_running = true",
            "kill_running = false",
            true,
            vec![format!("{DIGEST_3}: what runs of it already: allowed now")],
        ),
        (
            "user = \"65534:65534\"",
            "user = \"host\"",
            true,
            ["default", "teaching"]
                .map(|project| {
                    let what = what.replace("default", project).replace("{1}", DIGEST_1);
                    format!("{what} {IMAGE_5}: user 65534:65534 became host")
                })
                .to_vec(),
        ),
    ];
    for (from, to, wider, expected) in cases {
        assert!(GOOD.contains(from), "{from}");
        let found = diff(&policy(GOOD), &policy(&GOOD.replace(from, to)));
        let expected: Vec<Change> = expected.into_iter().map(|what| Change { wider, what }).collect();
        assert_eq!(found, expected, "{from} -> {to}");
    }
}

#[test]
fn what_is_odd_of_containers_is_said_and_not_refused() {
    let odd = |text: &str| odd(&policy(text));
    let unused = GOOD.replace("images = [\"fastqc\"]\n", "");
    assert_eq!(
        odd(&unused),
        [
            "line 70: [[image]] fastqc stands in no [[component]], so nobody may start it",
            "line 78: [[image]] fastqc stands in no [[component]], so nobody may start it",
        ]
    );
    let unknown = GOOD.replace("images = [\"fastqc\"]", "images = [\"fastqc\", \"bwa\"]");
    assert_eq!(
        odd(&unknown),
        ["line 57: [[component]] reads-qc lists the image `bwa`, and no [[image]] is named so"]
    );
    let start = GOOD.find("[backend.docker]").unwrap();
    let end = GOOD.find("[[import_root]]").unwrap();
    let without = format!("{}{}", &GOOD[..start], &GOOD[end..]);
    assert_eq!(
        odd(&without),
        [
            "line 98: [[project]] default lists the backend `docker`, and there is no [backend.docker]",
            "line 71: [[image]] fastqc cannot run: there is no backend, such as [backend.docker]",
        ]
    );
    assert_eq!(
        odd("version = 1\nname = \"x\"\n[backend.docker]\n[[project]]\nname = \"a\"\ncomponents = []\n"),
        ["there is [backend.docker], and no [[image]] to run on it"]
    );
}

#[test]
fn what_is_allowed_by_edit_lists_its_images_and_the_lines_allow_them() {
    let declared = image("fastqc", IMAGE_5);
    let text = "version = 1\nname = \"lab\"\n\n[backend.docker]\n\n[[project]]\nname = \"default\"\ncomponents = \"all\"\n";
    let entry = edit::Allow {
        digest: DIGEST_1.parse().unwrap(),
        name: "reads-qc".parse().unwrap(),
        tools: Names::All,
        images: [declared.name.clone()].into(),
        projects: vec![],
    };
    let allowed = edit::allow(text, &entry).unwrap();
    assert!(allowed.ends_with("tools = \"all\"\nimages = [\"fastqc\"]\n"), "{allowed}");
    assert_eq!(asked(&allowed, "default", &declared).unwrap_err().code, "image_not_allowed");
    let complete = format!("{allowed}\n{}", edit::image_lines(&declared));
    assert!(asked(&complete, "default", &declared).is_ok());
    assert_eq!(odd(&policy(&complete)), Vec::<String>::new());

    let none = edit::Allow { images: BTreeSet::new(), ..entry };
    let narrower = edit::allow(&complete, &none).unwrap();
    assert!(!narrower.contains("images"), "{narrower}");
}
