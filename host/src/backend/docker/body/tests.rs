use std::path::PathBuf;
use std::time::Duration;

use helix_ids::{Digest, RunId};

use super::*;

fn order() -> Order {
    Order {
        labels: Labels {
            home: "0123456789abcdef".to_owned(),
            run: RunId::from_digest(&Digest::of(b"run")),
            attempt: 2,
            step: 3,
            try_: 1,
        },
        name: "sort".parse().unwrap(),
        image: format!("registry.example/samtools@{}", Digest::of(b"image")).parse().unwrap(),
        platform: "linux/amd64".to_owned(),
        user: "65534:65534".parse().unwrap(),
        argv: ["samtools", "sort", "", "b a"].map(str::to_owned).to_vec(),
        environment: vec![("THREADS".to_owned(), "2".to_owned())],
        mounts: vec![("deep/a.bam".parse().unwrap(), PathBuf::from("/store/objects/ab/cd/abcd"))],
        captures: vec!["b.bam".parse().unwrap()],
        cpus: 2,
        memory_bytes: 1 << 30,
        wall: Duration::from_secs(60),
        pids: 512,
        scratch_bytes: 1 << 20,
        stdout_bytes: 1 << 16,
        out_bytes: 1 << 33,
    }
}

fn body(order: &Order) -> Result<Body, BackendError> {
    let image = Image {
        id: "sha256:1".to_owned(),
        environment: ["PATH=/bin", "TZ=Mars", "LANG=C"].map(str::to_owned).to_vec(),
    };
    let keep = tempfile::tempdir().unwrap();
    let steps = super::super::super::folder::Steps::open(keep.path()).unwrap();
    let mut body = Body::new(order, writer_of(order)?, &image, &steps.of(order), "runc")?;
    // Where the folder lies differs from test to test.
    let mounts = body.create.host_config.as_mut().unwrap().mounts.as_mut().unwrap();
    for source in mounts.iter_mut().filter_map(|mount| mount.source.as_mut()) {
        *source = source.replace(keep.path().to_str().unwrap(), "/store");
    }
    Ok(body)
}

/// All walls of a step, as an engine hears of them: to be read by whoever changes one.
#[test]
fn every_wall_is_written_out() {
    let body = body(&order()).unwrap();
    let mut create = serde_json::to_value(&body.create).unwrap();
    create.sort_all_objects();
    insta::assert_snapshot!(serde_json::to_string_pretty(&create).unwrap());
    assert_eq!(
        body.environment,
        ["HOME=/tmp", "LANG=C", "LC_ALL=C.UTF-8", "PATH=/bin", "SOURCE_DATE_EPOCH=0", "THREADS=2", "TZ=UTC"]
    );
}

#[test]
fn labels_come_back_as_they_were() {
    let labels = order().labels;
    let written = HashMap::from(labels_of(&labels));
    assert_eq!(parse_labels(&written), Some(labels.clone()));
    for (missing, _) in labels_of(&labels) {
        let mut less = written.clone();
        less.remove(&missing);
        assert_eq!(parse_labels(&less), None, "{missing}");
    }
    let mut other = labels.clone();
    other.try_ = 2;
    assert_ne!(name_of(&labels), name_of(&other));
}

#[test]
fn what_no_engine_can_limit_is_refused() {
    let check = |change: fn(&mut Order)| {
        let mut order = order();
        change(&mut order);
        assert!(matches!(body(&order), Err(BackendError::Refused { .. })));
    };
    check(|order| order.memory_bytes = 0);
    check(|order| order.memory_bytes = u64::MAX);
    check(|order| order.pids = 0);
    check(|order| order.scratch_bytes = 0);
    check(|order| order.stdout_bytes = 0);
    check(|order| order.out_bytes = 0);
    check(|order| order.cpus = 0);
    check(|order| order.argv = Vec::new());
}
