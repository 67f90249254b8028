//! The rows R2, R3, R5, R6, R7 and R8 of the hostile list, each against the door.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use helix_ids::ArtifactType;

use super::door_to;
use crate::artifacts::{ArtifactError, ImportSource, Store, list_beneath, open_beneath};

/// An import root with one file in a folder, and a secret beside the root.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/sub")).unwrap();
        fs::write(folder.path().join("root/sub/reads.fq"), "@r\nACGT\n+\nIIII\n").unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        Self { folder }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    fn read(&self, relative: &str) -> Result<String, ArtifactError> {
        let mut text = String::new();
        open_beneath(&door_to(&self.root()), relative)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    /// The message of the denial.
    fn denied(&self, relative: &str) -> String {
        match open_beneath(&door_to(&self.root()), relative) {
            Err(ArtifactError::Path { code: "import_path_denied", message }) => message,
            other => panic!("{relative:?}: {other:?}"),
        }
    }

    /// What is told of a file that is not there.
    fn missing(&self) -> String {
        self.denied("none.fq")
    }
}

#[test]
fn a_file_beneath_the_root_is_opened() {
    let lab = Lab::new();
    assert_eq!(lab.read("sub/reads.fq").unwrap(), "@r\nACGT\n+\nIIII\n");
    for name in ["-rf", "größe.txt", "a b", "gro\u{0308}sse", &"x".repeat(255)] {
        fs::write(lab.root().join(name), name).unwrap();
        assert_eq!(lab.read(name).unwrap(), name);
    }
}

/// R2, R8: the rule of paths.
#[test]
fn a_path_that_is_none_of_ours_is_refused() {
    let lab = Lab::new();
    let long = "x".repeat(256);
    let deep = "d/".repeat(2048) + "x";
    for path in [
        "",
        "/",
        ".",
        "..",
        "../secret",
        "/etc/passwd",
        "file:///etc/passwd",
        "C:\\x",
        "\\\\srv\\x",
        "sub/../../secret",
        "sub/../sub/reads.fq",
        "sub//reads.fq",
        "sub/./reads.fq",
        "sub/reads.fq/",
        "sub/",
        "a\0b",
        "a\nb",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\u{7f}b",
        &long,
        &deep,
    ] {
        lab.denied(path);
    }
}

/// R3: no symlink in any part, wherever it leads; and the answer does not tell what is there.
#[test]
fn links_are_never_followed() {
    let lab = Lab::new();
    let root = lab.root();
    let secret = File::open(lab.folder.path().join("secret")).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&secret);
    for (name, target) in [
        ("outside", "../secret".to_owned()),
        ("absolute", lab.folder.path().join("secret").display().to_string()),
        ("inside", "sub/reads.fq".to_owned()),
        ("chain", "inside".to_owned()),
        ("loop", "loop".to_owned()),
        ("dangling", "none".to_owned()),
        ("magic", format!("/proc/self/fd/{descriptor}")),
        ("folder", "sub".to_owned()),
        ("up", "..".to_owned()),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    for path in [
        "outside",
        "absolute",
        "inside",
        "chain",
        "loop",
        "dangling",
        "magic",
        "folder/reads.fq",
        "up/secret",
        "up/none",
        "folder",
    ] {
        assert_eq!(lab.denied(path), lab.missing(), "{path}");
    }
    assert!(lab.denied("folder/").contains("part"));
    let listed = list_beneath(&door_to(&root), "").unwrap();
    assert_eq!(listed.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["sub"]);
    for folder in ["folder", "up", "outside"] {
        assert!(matches!(list_beneath(&door_to(&root), folder), Err(ArtifactError::Path { .. })), "{folder}");
    }
}

/// R5: whatever is no regular file that we may read is refused at once; nothing waits for a writer.
#[test]
fn special_files_are_refused_at_once() {
    let lab = Lab::new();
    let root = lab.root();
    let fifo = root.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    for path in ["fifo", "socket", "sub", "none", "sub/reads.fq/x"] {
        assert_eq!(lab.denied(path), lab.missing(), "{path}");
    }
    // Where this process may make one, a device too.
    let zero = rustix::fs::makedev(1, 5);
    let device = root.join("zero");
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &device,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::RUSR,
        zero,
    );
    if made.is_ok() {
        assert_eq!(lab.denied("zero"), lab.missing());
    }
    // Root reads everything; everybody else is refused.
    let locked = root.join("locked");
    fs::write(&locked, "x").unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&locked).is_err() {
        assert_eq!(lab.denied("locked"), lab.missing());
    }
}

/// R7: a hard link shows a foreign file under a name of ours.
#[test]
fn files_of_foreign_owners_are_refused() {
    let lab = Lab::new();
    let foreign = lab.root().join("foreign");
    fs::write(&foreign, "x").unwrap();
    fs::hard_link(&foreign, lab.root().join("link")).unwrap();
    assert!(lab.read("link").is_ok());
    // Only root can give a file away; others cannot make the case.
    if std::os::unix::fs::chown(&foreign, Some(12_345), None).is_ok() {
        assert_eq!(lab.denied("link"), lab.missing());
        // With a root that belongs to the same owner it is theirs to share.
        std::os::unix::fs::chown(lab.root(), Some(12_345), None).unwrap();
        assert!(lab.read("link").is_ok());
    }
}

/// R6: too large by its own word, before a byte is read.
#[test]
fn a_sparse_giant_is_refused_by_its_size() {
    let lab = Lab::new();
    let giant = File::create(lab.root().join("giant")).unwrap();
    giant.set_len(8 << 40).unwrap();
    let file = open_beneath(&door_to(&lab.root()), "giant").unwrap();
    let refused = ImportSource::new(file, 5 << 40);
    assert!(matches!(refused, Err(ArtifactError::TooLarge { .. })), "{refused:?}");
}

/// R6: a file that changes while it is read becomes no artifact.
#[test]
fn a_file_that_changes_meanwhile_is_refused() {
    fn import(lab: &Lab, change: impl FnOnce(&Path)) -> Result<u64, ArtifactError> {
        let store = Store::open(&lab.folder.path().join("store"), 0).unwrap();
        let mut source =
            ImportSource::new(open_beneath(&door_to(&lab.root()), "sub/reads.fq").unwrap(), 1 << 20).unwrap();
        // The first bytes are read before the change, as a slow import would.
        let mut first = [0; 4];
        source.read_exact(&mut first).unwrap();
        change(&lab.root().join("sub/reads.fq"));
        store.put(&mut first.as_slice().chain(source), 1 << 20, &mut |_| ()).map(|stored| stored.size_bytes)
    }
    let append = |path: &Path| {
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
    };
    let truncate = |path: &Path| File::options().write(true).open(path).unwrap().set_len(2).unwrap();
    let rewrite = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        (&file).write_all(b"@q").unwrap();
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        file.set_times(times).unwrap();
    };
    assert_eq!(import(&Lab::new(), |_path| ()).unwrap(), 15);
    for (what, changed) in [
        ("append", import(&Lab::new(), append)),
        ("truncate", import(&Lab::new(), truncate)),
        ("rewrite", import(&Lab::new(), rewrite)),
    ] {
        assert!(matches!(changed, Err(ArtifactError::Changed)), "{what}: {changed:?}");
    }
    // One that is exchanged under its name is still the file that was opened.
    let exchange = |path: &Path| {
        fs::write(path.with_extension("new"), "other").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let exchanged = import(&Lab::new(), exchange);
    assert!(matches!(exchanged, Ok(15) | Err(ArtifactError::Changed)), "{exchanged:?}");
}

#[test]
fn a_stopped_import_leaves_nothing() {
    let lab = Lab::new();
    let store = Store::open(&lab.folder.path().join("store"), 0).unwrap();
    let source =
        ImportSource::new(open_beneath(&door_to(&lab.root()), "sub/reads.fq").unwrap(), 1 << 20).unwrap();
    let asked = std::cell::Cell::new(0);
    let mut source = source.stop_when(move || asked.replace(asked.get() + 1) > 0);
    let stopped = store.put(&mut source, 1 << 20, &mut |_| ());
    assert!(matches!(stopped, Err(ArtifactError::Cancelled)), "{stopped:?}");
    assert!(store.leftovers().unwrap().is_empty());
    assert_eq!(fs::read_dir(lab.folder.path().join("store/objects")).unwrap().count(), 0);
}

/// R8: a list shows what can be asked for by a clean name, and nothing else.
#[test]
fn a_list_is_sorted_and_clean() {
    let lab = Lab::new();
    let root = lab.root();
    for name in ["b.bam", "a.fastq.gz", "z", "bad\nname", "bad\u{202e}", "bad\\name"] {
        fs::write(root.join(name), "12").unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(b"bad\xff")), "x").unwrap();
    let listed = list_beneath(&door_to(&root), "").unwrap();
    let rows: Vec<_> = listed
        .iter()
        .map(|entry| (entry.path.as_str(), entry.is_dir, entry.size_bytes, entry.guessed_type))
        .collect();
    let expected = [
        ("a.fastq.gz", false, 2, Some(ArtifactType::FastqGz)),
        ("b.bam", false, 2, Some(ArtifactType::Bam)),
        ("sub", true, 0, None),
        ("z", false, 2, None),
    ];
    assert_eq!(rows, expected);
    let inner = list_beneath(&door_to(&root), "sub").unwrap();
    assert_eq!(inner[0].path, "sub/reads.fq");
    assert!(open_beneath(&door_to(&root), &inner[0].path).is_ok());
    for denied in ["..", "none", "sub/reads.fq", "/"] {
        assert!(matches!(list_beneath(&door_to(&root), denied), Err(ArtifactError::Path { .. })), "{denied}");
    }
}
