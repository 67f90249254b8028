use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::artifacts::{ArtifactError, export_beneath};

fn source(folder: &Path) -> File {
    let path = folder.join("source");
    fs::write(&path, "report").unwrap();
    File::open(path).unwrap()
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
    for name in
        ["", "../x", "/tmp/x", "up/x", "sub/../../x", "none/x", "a//b", "a\0b", "a\\b", "sub/", "link/x"]
    {
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
