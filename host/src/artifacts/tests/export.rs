use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FlockOperation;
use tokio_util::sync::CancellationToken;

use super::door_to;
use crate::artifacts::{ArtifactError, Door, Export, Private, Swept};

fn source(folder: &Path) -> File {
    let path = folder.join("source");
    fs::write(&path, "report").unwrap();
    File::open(path).unwrap()
}

/// The file under this name, with no floor.
fn export(file: &File, name: &str, overwrite: bool) -> Export {
    Export {
        file: file.try_clone().unwrap(),
        relative: name.to_owned(),
        overwrite,
        floor_bytes: 0,
        gone: CancellationToken::new(),
        swept: Arc::new(Swept::default()),
    }
}

fn export_beneath(
    root: &Path,
    name: &str,
    file: &mut File,
    overwrite: bool,
) -> Result<PathBuf, ArtifactError> {
    crate::artifacts::export_beneath(&door_to(root), &mut export(file, name, overwrite), || Ok(()))
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_export_is_a_whole_file_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("out");
    fs::create_dir_all(root.join("sub")).unwrap();
    let mut file = source(folder.path());
    for name in ["report.html", "sub/report.html"] {
        let path = export_beneath(&root, name, &mut file, false).unwrap();
        assert_eq!(path, root.join(name));
        assert_eq!(fs::read_to_string(&path).unwrap(), "report");
    }
    fs::write(root.join("report.html"), "mine").unwrap();
    let exists = export_beneath(&root, "report.html", &mut file, false);
    assert!(matches!(exists, Err(ArtifactError::Path { code: "export_exists", .. })), "{exists:?}");
    assert_eq!(fs::read_to_string(root.join("report.html")).unwrap(), "mine");
    export_beneath(&root, "report.html", &mut file, true).unwrap();
    assert_eq!(fs::read_to_string(root.join("report.html")).unwrap(), "report");
    // No temporary is left, whatever happened.
    assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
}

#[test]
fn an_export_never_leaves_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("out");
    fs::create_dir_all(root.join("sub")).unwrap();
    let mut file = source(folder.path());
    symlink("..", root.join("up")).unwrap();
    symlink(folder.path().join("source"), root.join("link")).unwrap();
    for name in [
        "",
        "../x",
        "/tmp/x",
        "up/x",
        "sub/../../x",
        "none/x",
        "a//b",
        "a\0b",
        "a\\b",
        "sub/",
        "link/x",
        "-rf",
        ".profile",
        "sub/-rf",
        ".ssh/keys",
        "...",
        "-/x",
    ] {
        let denied = export_beneath(&root, name, &mut file, true);
        assert!(
            matches!(denied, Err(ArtifactError::Path { code: "export_path_denied", .. })),
            "{name:?}: {denied:?}"
        );
    }
    // A folder is not replaced by a file; a link is, and what it points to stays.
    assert!(export_beneath(&root, "sub", &mut file, true).is_err());
    export_beneath(&root, "link", &mut file, true).unwrap();
    assert!(root.join("link").symlink_metadata().unwrap().is_file());
    let mut left: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["link", "sub", "up"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn an_export_leaves_the_floor_free() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut full = Export { floor_bytes: u64::MAX, ..export(&file, "report", false) };
    let refused = crate::artifacts::export_beneath(&door_to(&out), &mut full, || Ok(()));
    assert!(matches!(refused, Err(ArtifactError::Full { floor_bytes: u64::MAX })), "{refused:?}");
    assert!(names(&out).is_empty());
}

#[test]
fn an_export_that_nobody_waits_for_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut left = export(&file, "report", false);
    left.gone.cancel();
    let stopped = crate::artifacts::export_beneath(&door_to(&out), &mut left, || Ok(()));
    assert!(matches!(stopped, Err(ArtifactError::Cancelled)), "{stopped:?}");
    assert!(names(&out).is_empty());
}

/// What is called like a part and is none of a killed host's stays: one that is being written, one
/// with a second name, a link, a folder, and whatever is only almost called so.
#[test]
fn only_a_part_that_a_killed_host_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let part = |digit: &str| format!(".helixmcp-export-{}.part", digit.repeat(32));
    let almost = [
        format!("{}x", part("a")),
        part("A"),
        ".helixmcp-export-.part".to_owned(),
        format!("x{}", part("a")),
    ];
    for name in almost.iter().chain(&[part("0"), part("1"), part("2")]) {
        fs::write(out.join(name), "half").unwrap();
    }
    let writing = File::open(out.join(part("1"))).unwrap();
    rustix::fs::flock(&writing, FlockOperation::NonBlockingLockExclusive).unwrap();
    fs::hard_link(out.join(part("2")), folder.path().join("mine")).unwrap();
    symlink(folder.path().join("source"), out.join(part("3"))).unwrap();
    fs::create_dir(out.join(part("4"))).unwrap();

    let mut first = export(&file, "report", false);
    crate::artifacts::export_beneath(&door_to(&out), &mut first, || Ok(())).unwrap();
    let mut expected: Vec<String> = almost.to_vec();
    expected.extend([part("1"), part("2"), part("3"), part("4"), "report".to_owned()]);
    expected.sort();
    assert_eq!(names(&out), expected);
    assert_eq!(fs::read_to_string(folder.path().join("source")).unwrap(), "report");

    // Once for each folder and host.
    fs::write(out.join(part("5")), "half").unwrap();
    let mut second = Export { swept: first.swept, ..export(&file, "other", false) };
    crate::artifacts::export_beneath(&door_to(&out), &mut second, || Ok(())).unwrap();
    assert!(names(&out).contains(&part("5")));
}

/// A root that became a link since the policy was read, or has one on the way.
#[test]
fn no_door_leads_to_what_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    fs::create_dir_all(path.join("home/keys")).unwrap();
    fs::create_dir_all(path.join("home/import")).unwrap();
    fs::write(path.join("home/policy.toml"), "policy").unwrap();
    let (home, policy) = (path.join("home"), path.join("home/policy.toml"));
    let private = Private::new(&home, &policy, [&*home]);
    let file = source(&path);
    for target in ["home", "", "home/keys"] {
        let root = path.join("root");
        symlink(path.join(target), &root).unwrap();
        let door = Door::new(&root, private.clone());
        let opened = crate::artifacts::open_beneath(&door, "policy.toml").map(drop);
        let listed = crate::artifacts::list_beneath(&door, "").map(drop);
        let written =
            crate::artifacts::export_beneath(&door, &mut export(&file, "x", true), || Ok(())).map(drop);
        for outcome in [opened, listed, written] {
            let refused = matches!(outcome, Err(ArtifactError::Path { code: "root_private", .. }));
            assert!(refused, "{target}: {outcome:?}");
        }
        fs::remove_file(root).unwrap();
    }
    assert_eq!(names(&path.join("home")), ["import", "keys", "policy.toml"]);

    fs::hard_link(&policy, home.join("import/linked")).unwrap();
    let door = Door::new(&home.join("import"), private);
    let linked = crate::artifacts::open_beneath(&door, "linked");
    assert!(matches!(linked, Err(ArtifactError::Path { code: "import_path_denied", .. })), "{linked:?}");
    crate::artifacts::export_beneath(&door, &mut export(&file, "x", false), || Ok(())).unwrap();
}

/// Bytes go out as they are read: nobody finds them before it stands in the record.
#[test]
fn what_goes_out_is_recorded_before_it_has_its_name() {
    let keep = tempfile::tempdir().unwrap();
    let out = keep.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(keep.path().join("bytes"), "bytes").unwrap();
    let file = File::open(keep.path().join("bytes")).unwrap();
    let named = || out.join("report").exists();

    let full = crate::artifacts::export_beneath(&door_to(&out), &mut export(&file, "report", false), || {
        assert!(!named());
        Err(ArtifactError::Full { floor_bytes: 1 })
    });
    assert!(matches!(full, Err(ArtifactError::Full { .. })), "{full:?}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "a part is left");

    let export_it = |record: &mut dyn FnMut()| {
        crate::artifacts::export_beneath(&door_to(&out), &mut export(&file, "report", false), || {
            record();
            Ok(())
        })
    };
    export_it(&mut || assert!(!named())).unwrap();
    assert!(named());
    let exists = export_it(&mut || panic!("a refusal stands in the record as an export"));
    assert!(matches!(exists, Err(ArtifactError::Path { code: "export_exists", .. })), "{exists:?}");
}
